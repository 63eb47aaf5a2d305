"""Five simulations that expose a wrong analysis, through `pd_change` as a plan calls it; seeds are fixed.

Bounds are three Monte Carlo standard errors around the stated rates. `tests/test_calibration.py` holds the
larger versions on arrays.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from builders import assay, study_folder

from pdbiomarker.change import pd_change
from pdbiomarker.change.families import adjust
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study

FEATURES = 1000


def study_of(tmp_path, people, visits, per_visit=1):
    """A study without assays: biopsies `P00.0.0`, participant by visit by replicate."""
    rows = ["participant_id,biopsy_id,visit"]
    rows += [
        f"P{i:02d},P{i:02d}.{v}.{k},{visit}"
        for i in range(people)
        for v, visit in enumerate(visits)
        for k in range(per_visit)
    ]
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study=f"id: T\nvisits: {{{', '.join(f'{v}: {{}}' for v in visits)}}}\n",
        plan="seed: 1\n",
    )
    return read_study(folder)


def answers(study, values, *, kind="score", numerator=None, denominator=None, **plan):
    """Strict rows of `pd_change` on arrays (biopsies of the study x features)."""
    ids = list(study.biopsies.index)

    def table(array):
        return None if array is None else {b: list(row) for b, row in zip(ids, array, strict=True)}

    names = [f"f{j}" for j in range(values.shape[1])]
    adata = assay(table(values), names, kind=kind, numerator=table(numerator), denominator=table(denominator))
    study = study.with_assay("ihc", adata)
    base = Plan.default(study)
    found = pd_change(study, dataclasses.replace(base, **{"contrasts": base.contrasts, **plan})).table
    return found[found["set"] == "strict"].reset_index(drop=True)


def near(rate, level, n):
    return rate == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / n))


def test_constant_noise_does_not_turn_into_weights(tmp_path):
    """(i) sigma_w .6 (ln), counts near 400, participant SD 1: .05, also where the spread grows."""
    rng = np.random.default_rng(1)
    n = 12
    study = study_of(tmp_path, n, ("Pre", "On"))
    level = np.repeat(rng.normal(size=(n, FEATURES)), 2, axis=0)
    for late, what in ((0.6, "rate"), (1.0, "ratio")):
        spread = np.tile([0.6, late], n)[:, None]
        cells = rng.poisson(400 * np.exp(level + spread * rng.normal(size=level.shape))).astype(float)
        area = np.ones_like(cells)
        found = answers(study, cells, kind="density", numerator=cells, denominator=area)
        linear = found["model"] == "linear mixed"
        assert linear.mean() > 0.95
        if what == "rate":
            assert near((found.loc[linear, "p"] < 0.05).mean(), 0.05, linear.sum())
        else:
            assert np.exp(np.log(found.loc[linear, "effect"]).mean()) == pytest.approx(1.0, abs=0.05)


def test_a_shrinking_area_is_no_effect(tmp_path):
    """(ii) area 8 -> 2 mm2 at .3 cells/mm2, participant SD .7, dispersion .3: ratio 1.0 (log2 says 1.76)."""
    rng = np.random.default_rng(2)
    n, features = 12, 150
    study = study_of(tmp_path, n, ("Pre", "On"))
    area = np.tile([8.0, 2.0], n)[:, None] * np.ones((1, features))
    mean = 0.3 * area * np.exp(0.7 * np.repeat(rng.normal(size=(n, features)), 2, axis=0))
    cells = rng.poisson(mean * rng.gamma(1 / 0.3, 0.3, mean.shape)).astype(float)
    found = answers(study, cells / area, kind="density", numerator=cells, denominator=area)
    assert (found["model"] == "negative binomial mixed").all()
    assert found["effect"].median() == pytest.approx(1.0, abs=0.15)
    assert found["p"].lt(0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / features) + 0.02


@pytest.mark.parametrize(
    ("formula", "replicates", "lowest", "highest"),
    [
        ("~ visit + (1|participant) + (1|participant:visit)", "all", 0.03, 0.07),
        ("~ visit + (1|participant)", "select", 0.03, 0.07),
    ],
)
def test_three_biopsies_of_a_visit(tmp_path, formula, replicates, lowest, highest):
    """(iii) SDs of participant, visit within and biopsy 1/.7/.7: .051 with the term for the visit."""
    rng = np.random.default_rng(3)
    n, features = 12, FEATURES
    study = study_of(tmp_path, n, ("Pre", "On"), per_visit=3)
    y = np.repeat(rng.normal(size=(n, features)), 6, axis=0)
    y = y + 0.7 * np.repeat(rng.normal(size=(2 * n, features)), 3, axis=0)
    y = y + 0.7 * rng.normal(size=y.shape)
    found = answers(study, y, formula=formula, replicates=replicates)
    assert lowest < (found["p"] < 0.05).mean() < highest
    assert (found["n_biopsies"] == (72 if replicates == "all" else 24)).all()


def test_a_late_heterogeneity_spoils_neither_visit(tmp_path):
    """(iii) three visits, a slope SD of 1 at the late one: both changes hold .05."""
    rng = np.random.default_rng(4)
    n = 12
    study = study_of(tmp_path, n, ("Pre", "Early", "Late"))
    level = rng.normal(size=(n, 1, FEATURES))
    y = level + 0.7 * rng.normal(size=(n, 3, FEATURES))
    y[:, 2] += rng.normal(size=(n, FEATURES))
    found = answers(study, y.reshape(3 * n, FEATURES))
    assert found["contrast"].nunique() == 2
    for _, rows in found.groupby("contrast"):
        assert near((rows["p"] < 0.05).mean(), 0.05, FEATURES)


@pytest.mark.parametrize(("people", "limit"), [(6, 0.08), (10, 0.065)])
def test_few_cells_are_tested_by_t(tmp_path, people, limit):
    """(iv) negative binomial of size 2.5 at 6 and 10 pairs: at most .08 and .065 (z: .14 and .08)."""
    rng = np.random.default_rng([people, 5])
    features = 300
    study = study_of(tmp_path, people, ("Pre", "On"))
    mean = 5 * np.exp(0.6 * np.repeat(rng.normal(size=(people, features)), 2, axis=0))
    cells = rng.poisson(mean * rng.gamma(2.5, 0.4, mean.shape)).astype(float)
    found = answers(study, cells, kind="density", numerator=cells, denominator=np.ones_like(cells))
    counted = found[found["model"] == "negative binomial mixed"]
    assert len(counted) > 0.8 * features
    assert counted["p"].lt(0.05).mean() <= limit + 3 * np.sqrt(0.05 * 0.95 / features)


@pytest.mark.parametrize("method", ["holm", "fixed-sequence"])
def test_an_inert_drug_is_called_as_often_as_said(tmp_path, method):
    """(v) four primary features of two changes each, no effect: any call in at most .05 of 250 trials.

    Each trial is a family of its own, all in one study of ten participants.
    """
    rng = np.random.default_rng(6)
    n, trials, size = 10, 250, 4
    study = study_of(tmp_path, n, ("Pre", "Early", "Late"))
    y = rng.normal(size=(n, 1, trials * size)) + 0.7 * rng.normal(size=(n, 3, trials * size))
    families = {f"t{t}": tuple(f"ihc:f{size * t + j}" for j in range(size)) for t in range(trials)}
    found = answers(study, y.reshape(3 * n, -1), families={"primary": families.pop("t0"), **families})
    # one family over features and changes: the table of each trial as if it were the primary one
    called = 0
    for family, rows in found.groupby("family"):
        own = rows.assign(family="primary", set="strict")
        plan = Plan("~ visit + (1|participant)", {"Early": "x", "Late": "y"}, {}, adjust={"primary": method})
        called += bool((adjust(own, plan)["q"] < 0.05).any())
        assert len(own) == 2 * size, family
    assert called / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert (found["p"] < 0.05).any()
