"""Error rates of what `pd_change` does by default, by simulation with known truth.

`calibration_study` holds the scenarios and their bounds: what is nominal (or known of the method), and three
Monte-Carlo standard errors. Every scenario runs small here, always. Its full size (100,000 sets) is committed
in `calibration/results.csv` with its seed, and held against the same bounds; `--slow` makes it again.
"""

from __future__ import annotations

from pathlib import Path

import calibration_study as study
import numpy as np
import pandas as pd
import pytest
from builders import assay, study_folder

import pdbiomarker as pb
from pdbiomarker.mixed import fit
from pdbiomarker.mixed.adjust import adjust
from pdbiomarker.mixed.moderate import moderated_t, squeeze_variances

SMALL = [s for s in study.SCENARIOS if s.quick]


@pytest.mark.parametrize("scenario", SMALL, ids=lambda s: s.name)
def test_small(scenario: study.Scenario) -> None:
    found = scenario.measure(scenario.quick)
    for name, bound in scenario.bounds.items():
        assert bound.holds(found[name], scenario.quick), (name, found[name])


@pytest.mark.parametrize("scenario", study.SCENARIOS, ids=lambda s: s.name)
def test_committed_full_results(scenario: study.Scenario) -> None:
    """Complete, made at full size with the seed that stands here, and within every bound."""
    table = pd.read_csv(study.RESULTS)
    assert (table.seed == study.SEED).all()
    rows = table[table.scenario == scenario.name].set_index("measure")
    assert (rows.sets == scenario.full).all()
    for name, bound in scenario.bounds.items():
        assert bound.holds(rows.value[name], scenario.full), (name, rows.value[name])


def test_no_committed_result_is_left_over() -> None:
    assert set(pd.read_csv(study.RESULTS).scenario) == {s.name for s in study.SCENARIOS}


@pytest.mark.slow
def test_full_results_again(request: pytest.FixtureRequest) -> None:
    """Every committed number, to the digits that stand there."""
    if not request.config.getoption("--slow"):
        pytest.skip("a minute and a half: give --slow")
    now, committed = study.results(), pd.read_csv(study.RESULTS)
    pd.testing.assert_frame_equal(
        now[["scenario", "measure", "sets"]], committed[["scenario", "measure", "sets"]]
    )
    np.testing.assert_allclose(now.value.astype(float), committed.value, rtol=2e-3, atol=1e-4)


def test_bounds_can_be_missed() -> None:
    """z instead of t, and no random intercept, fall outside: the scenarios can tell wrong from right."""
    bound = study.Bound(0.05, 0.05)
    y = study.null_sets(np.random.default_rng(1), 4000, 6, 0.3)
    found = study.by_default(y, 6)
    assert bound.holds((found.p < 0.05).mean(), 4000)
    assert not bound.holds((np.abs(found.t) > 1.959964).mean(), 4000)
    y = study.null_sets(np.random.default_rng(1), 4000, 6, 0.7)
    X, _ = study.pairs(6)
    apart = fit(y, X, np.arange(12) // 2, contrasts=study.ON)
    assert not bound.holds((apart.p < 0.05).mean(), 4000)


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "a third of on-treatment missing"])
def test_the_default_of_pd_change_is_what_is_simulated(tmp_path: Path, missing: bool) -> None:
    """60 features through `pd_change` and through the simulated fit: the same numbers to 1e-12."""
    n, features = 6, 60
    y = study.null_sets(np.random.default_rng(5), features, n, 0.3, missing=missing)
    lines, ids = ["participant_id,biopsy_id,visit,study_day"], []
    for v, (visit, day) in enumerate((("screening", -7), ("C2D1", 29))):
        for i in range(n):
            ids.append(f"B{i}{v}")
            lines.append(f"P{i},{ids[-1]},{visit},{day}")
    folder = study_folder(tmp_path / "study", biopsies="\n".join(lines) + "\n")
    values = assay(dict(zip(ids, y.T, strict=True)), [f"F{k:02d}" for k in range(features)])
    result = pb.pd_change(pb.read_study(folder).with_assay("x", values), pb.Plan.read(folder / "plan.yaml"))
    table = result.table[result.table["set"] == "strict"].set_index("feature").sort_index()
    expected = study.by_default(y, n)
    assert len(table) == features
    for name in ("estimate", "se", "df", "p"):
        np.testing.assert_allclose(table[name], getattr(expected, name)[:, 0], rtol=1e-12)


def test_golden_trial_beside_limma(golden: Path) -> None:
    """The 200 genes with their truth: at least limma's power at BH 5 %, no more false discoveries.

    The change at the mean dose; a gene whose change depends on the dose is no null and no plain change.
    """
    folder = golden / "sim200"

    def matrix(name: str) -> pd.DataFrame:
        return pd.read_csv(folder / f"{name}.csv", index_col=0)

    X, E, W = matrix("design"), matrix("voom_E"), matrix("voom_weights")
    truth = matrix("truth").loc[E.index]
    people = matrix("samples").participant.to_numpy()
    contrast = matrix("contrasts").loc[["ON"]].to_numpy()
    found = fit(E.to_numpy(), X.to_numpy(), people, weights=W.to_numpy(), contrasts=contrast)
    prior = squeeze_variances(found.sigma2, found.df[:, 0], definition="limma-3.62")
    unscaled = found.se / np.sqrt(found.sigma2)[:, None]
    ours = moderated_t(found.estimate, unscaled, found.df, moderation=prior, cap=False).p[:, 0]
    table = pd.read_csv(folder / "limma_voom_dupcor_std_contrasts.csv").query("contrast == 'ON'")
    theirs = table.set_index("gene").p.loc[E.index].to_numpy()
    clear = (truth.b_int == 0).to_numpy()
    null = (truth.b_on == 0).to_numpy()[clear]
    assert (~null).sum() >= 20
    rejected = [adjust(p[clear], "bh").rejected for p in (ours, theirs)]
    hits, false = zip(*[((r & ~null).sum(), (r & null).sum()) for r in rejected], strict=True)
    assert hits[0] >= hits[1]
    assert false[0] <= false[1]
