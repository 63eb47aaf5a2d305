"""The noise of a biopsy's value and its limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from builders import assay, study_folder
from scipy import stats

import pdbiomarker as pb
from pdbiomarker.errors import InputError
from pdbiomarker.expression.library_size import tmm_factors
from pdbiomarker.noise import (
    Noise,
    borrow_noise,
    counting_variance,
    estimate_noise,
    noise_of_pairs,
    noise_of_study,
)


def known(sigma: float, df: float = np.inf, **more) -> Noise:
    return Noise("CD8_density", "log2", sigma, df, "replicate biopsies", **more)


@pytest.mark.parametrize(
    ("sigma", "fold", "chance"),
    [(0.3, 1.78, 0.009), (0.5, 2.61, 0.079), (0.7, 3.84, 0.156), (0.9, 5.64, 0.216)],
)
def test_published_limits_of_a_known_sigma(sigma, fold, chance):
    """MDC95 folds and chances of a doubling by noise alone: exp(+-z sqrt2 sigma) on logs; printed figures."""
    noise = known(sigma)
    assert round(noise.fold_limit(), 2) == fold
    assert round(noise.chance_beyond(1.0), 3) == chance
    assert noise.fold_limit() == pytest.approx(2 ** (stats.norm.ppf(0.975) * np.sqrt(2) * sigma), rel=1e-12)
    table = noise.limits()
    assert table["chance_up_2fold"].round(3).unique().tolist() == [chance]
    assert table["fold"].iloc[0] == noise.fold_limit()


@pytest.mark.parametrize("df", [4.0, 6.0, 20.0])
def test_limits_are_prediction_limits(df):
    """A new change stays inside 95 % limits 95 % of the time, sigma estimated: 40,000 simulated pairs."""
    random = np.random.default_rng(4)
    sigma = 0.7
    s = sigma * np.sqrt(random.chisquare(df, 40_000) / df)
    change = np.sqrt(2) * sigma * random.standard_normal(40_000)
    limit = known(1.0, df).limit() * s
    assert np.mean(np.abs(change) > limit) == pytest.approx(0.05, abs=0.0035)


def test_plug_in_limits_would_give_a_false_go_of_14_percent():
    """2 of 12 above the limit, noise with 6 df: .139 by normal limits, .062 by t, .035 with sigma known."""
    grid = (np.arange(20_000) + 0.5) / 20_000
    s = np.sqrt(stats.chi2.ppf(grid, 6) / 6)

    def false_go(limit: float) -> float:
        return float(np.mean(stats.binom.sf(1, 12, stats.norm.sf(limit * s / np.sqrt(2)))))

    assert false_go(known(1.0).limit()) == pytest.approx(0.139, abs=0.001)
    assert false_go(known(1.0, 6.0).limit()) == pytest.approx(0.062, abs=0.001)
    assert stats.binom.sf(1, 12, 0.025) == pytest.approx(0.035, abs=0.001)


def test_limits_of_same_visit_replicates_are_too_narrow_in_time():
    """Variation in time as large as sigma^2 turns 5 % into 16.6 %."""
    assert 1 - known(0.7).true_level(0.95, time_ratio=1.0) == pytest.approx(0.166, abs=0.0005)
    assert known(0.7).true_level(0.95, time_ratio=0.0) == pytest.approx(0.95)


def test_limits_scale_with_the_kind():
    logit = dataclasses.replace(known(0.5), scale="logit")
    assert logit.fold_limit() == pytest.approx(np.exp(logit.limit()))
    points = dataclasses.replace(known(0.5), scale="identity")
    assert np.isnan(points.fold_limit())
    assert known(0.5).limit(sided=1) == pytest.approx(1.6449 * np.sqrt(2) * 0.5, rel=1e-4)
    table = known(0.5, 12.0, low=0.36, high=0.83).limits()
    assert table["method"].unique().tolist() == [
        "prediction (t)",
        "sigma known",
        "lower confidence limit of sigma",
        "upper confidence limit of sigma",
    ]
    assert table.loc[0, "change"] == pytest.approx(stats.t.ppf(0.975, 12) * np.sqrt(2) * 0.5)


def replicate_biopsies(random, sigma=0.6, participants=14):
    person = np.repeat(np.arange(participants), 4)
    visit = np.tile([0, 0, 1, 1], participants)
    y = (
        random.normal(size=participants)[person]
        + 0.5 * random.normal(size=2 * participants)[person * 2 + visit]
    )
    return y + 1.0 * visit + sigma * random.normal(size=len(y)), person, visit


def test_replicate_biopsies_give_sigma_without_bias_and_limits_that_cover():
    """The drug's effect and differences between visits do not enter: 60 sets, 28 df, planted .6."""
    random = np.random.default_rng(8)
    sets = 60
    squares, inside = 0.0, 0
    for _ in range(sets):
        y, person, visit = replicate_biopsies(random)
        levels = {"participant": person, "visit": visit, "biopsy": np.arange(len(y))}
        found = estimate_noise(y, levels, feature="f", scale="log2", fixed=visit)
        squares += found.sigma**2 / sets
        inside += found.low <= 0.6 <= found.high
    assert found.df == pytest.approx(28.0)
    assert squares == pytest.approx(0.36, abs=3 * 0.36 * np.sqrt(2 / 28 / sets))
    assert inside / sets >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / sets)
    assert (found.basis, found.bound) == ("replicate biopsies", "none")
    assert "variation in time is left out" in found.notes[0]


@pytest.mark.parametrize(
    ("inner", "basis"), [("core", "replicate cores"), ("section", "serial sections"), ("region", "regions")]
)
def test_units_of_one_biopsy_bound_sigma_from_below(inner, basis):
    """One biopsy a visit with 4 units: only differences between units are told, averaged over 4."""
    random = np.random.default_rng(9)
    person, visit = np.repeat(np.arange(10), 8), np.tile(np.repeat([0, 1], 4), 10)
    y = 2.0 * random.normal(size=20)[person * 2 + visit] + 0.5 * random.normal(size=80)
    levels = {"participant": person, "visit": visit, "biopsy": np.ones(80), inner: np.arange(80)}
    found = estimate_noise(y, levels, feature="f", scale="log2")
    within = np.square(y.reshape(20, 4) - y.reshape(20, 4).mean(axis=1)[:, None]).sum() / 60
    assert found.sigma == pytest.approx(np.sqrt(within / 4), rel=1e-9)
    assert found.df == pytest.approx(60.0)
    assert (found.basis, found.bound) == (basis, "lower")
    assert "bounded from below" in repr(found)
    assert any("averages 4 units" in note for note in found.notes)
    single = estimate_noise(y, levels, feature="f", scale="log2", units={inner: 1})
    assert single.sigma == pytest.approx(np.sqrt(within), rel=1e-9)


def test_rows_within_a_biopsy_without_a_name_are_technical_replicates():
    levels = {"participant": list("aabb"), "biopsy": [1, 1, 2, 2]}
    found = estimate_noise([1.0, 1.2, 3.0, 3.3], levels, feature="f", scale="log2")
    assert (found.basis, found.bound) == ("technical replicates", "lower")
    unnamed = estimate_noise([1.0, 1.2, 3.0, 3.3], {"participant": list("aabb")}, feature="f", scale="log2")
    assert unnamed.basis == "replicate biopsies"


def test_pairs_bound_sigma_from_above():
    """SD of changes / sqrt 2 with exact chi-squared limits; covers the planted value 95 % of the time."""
    random = np.random.default_rng(12)
    inside = 0
    for _ in range(2000):
        d = 1.0 + np.sqrt(2) * 0.7 * random.normal(size=11)
        found = noise_of_pairs(d, feature="f", scale="log2", treated=False)
        inside += found.low <= 0.7 <= found.high
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)
    treated = noise_of_pairs([*d, np.nan], feature="f", scale="log2")
    assert treated.sigma == pytest.approx(d.std(ddof=1) / np.sqrt(2), rel=1e-12)
    assert (treated.df, treated.bound) == (10.0, "upper")
    assert found.bound == "none"


def test_counting_variance_is_that_of_simulated_counts():
    """The delta method against 200,000 Poisson and binomial draws, at 60 cells and 60 of 200."""
    random = np.random.default_rng(13)
    n = random.poisson(60, 200_000)
    assert np.log2(n + 0.5).var() == pytest.approx(counting_variance([60.0])[0], rel=0.02)
    k = random.binomial(200, 0.3, 200_000)
    logit = np.log((k + 0.5) / (200 - k + 0.5))
    assert logit.var() == pytest.approx(counting_variance([60.0], [200.0])[0], rel=0.02)


def test_a_study_with_replicates_gives_noise_per_feature(tmp_path):
    """Two biopsies at a visit; brute force: pooled variance of log2 densities within each visit."""
    random = np.random.default_rng(20)
    rows, values, counts, areas = [], {}, {}, {}
    for p in range(8):
        for visit, day in (("screening", -7), ("C2D1", 29)):
            for b in range(2):
                name = f"P{p}{visit[0]}{b}"
                rows.append(f"P{p},{name},{visit},{day}")
                n, area = float(random.poisson(200)), 2.0
                values[name], counts[name], areas[name] = [n / area, 5.0], [n, np.nan], [area, np.nan]
    folder = study_folder(
        tmp_path, biopsies="participant_id,biopsy_id,visit,study_day\n" + "\n".join(rows) + "\n"
    )
    study = pb.read_study(folder).with_assay(
        "ihc",
        assay(
            values, ["CD8_density", "flat"], kind=["density", "score"], numerator=counts, denominator=areas
        ),
    )
    found = noise_of_study(study, "ihc")
    y = np.log2((np.array([counts[b][0] for b in counts]) + 0.5) / 2.0).reshape(16, 2)
    pooled = np.square(y[:, 0] - y[:, 1]).sum() / 2 / 16
    noise = found["CD8_density"]
    assert noise.sigma == pytest.approx(np.sqrt(pooled), rel=1e-9)
    assert (noise.df, noise.scale, noise.basis) == (16.0, "log2", "replicate biopsies")
    # Biopsies that differ by counting only: all of sigma is counting error.
    assert noise.counting_variance == pytest.approx(noise.sigma**2, rel=0.6)
    assert isinstance(found["flat"], str)
    assert "All replicates are equal" in found["flat"]
    with pytest.raises(InputError, match="E-NOISE-001"):
        noise_of_study(study, "rna")


def test_a_study_without_replicates_says_why_there_is_no_noise(tmp_path):
    biopsies = (
        "participant_id,biopsy_id,visit,study_day\nP1,A,screening,-7\nP1,B,C2D1,29\nP2,C,screening,-7\n"
    )
    study = pb.read_study(study_folder(tmp_path, biopsies=biopsies))
    study = study.with_assay("x", assay({"A": [1.0], "B": [2.0], "C": [3.0]}, ["f"]))
    assert noise_of_study(study, "x") == {
        "f": "No group holds two measurements, so no variance within groups can be estimated."
    }


@pytest.mark.parametrize(
    ("sigma", "df", "scale"), [(-1.0, 5.0, "log2"), (0.5, 0.0, "log2"), (0.5, 5.0, "ln")]
)
def test_impossible_noise_is_refused(sigma, df, scale):
    with pytest.raises(InputError) as caught:
        Noise("f", scale, sigma, df, "regions")
    (problem,) = caught.value.problems
    wrong = {"sigma": sigma} if sigma < 0 else {"df": df} if df <= 0 else {"scale": scale}
    assert (problem.code, {problem.column: problem.value}) == (
        "E-NOISE-001",
        {name: str(value) for name, value in wrong.items()},
    )


@pytest.mark.data
def test_several_biopsies_of_a_time_point_in_ovarian_cancer(shared_data):
    """25 participants, 1-4 biopsies per time point: brute-force pooled SD; what can be borrowed equals it."""
    counts = pd.read_csv(shared_data("hgsoc_multibiopsy/ega_multibiopsy_counts.csv.gz"), index_col=0)
    samples = pd.read_csv(shared_data("hgsoc_multibiopsy/ega_multibiopsy_samples.csv"))
    samples = samples.set_index("sample_id").loc[counts.columns]
    x = counts.to_numpy(dtype=float)
    y = np.log2((x + 0.5) / (x.sum(axis=0) * tmm_factors(x) + 1) * 1e6)
    groups = samples["participant"] + samples["timepoint"]
    levels = {
        "participant": samples["participant"].to_numpy(),
        "visit": samples["timepoint"].to_numpy(),
        "biopsy": samples.index.to_numpy(),
    }
    for gene in ("CD8A", "CD274", "MKI67"):
        row = pd.Series(y[counts.index.get_loc(gene)], index=samples.index)
        pooled = np.square(row - row.groupby(groups).transform("mean")).sum() / (80 - 48)
        found = estimate_noise(row, levels, feature=gene, scale="log2", fixed=levels["visit"])
        assert found.df == pytest.approx(32.0)
        assert found.sigma == pytest.approx(np.sqrt(pooled), rel=1e-9)
        assert borrow_noise(gene, "log2").sigma == pytest.approx(found.sigma, abs=6e-4)
        # A doubling of CD8A between two such biopsies happens by noise alone in about three of ten pairs.
        assert found.chance_beyond(1.0) > (0.14 if gene == "CD274" else 0.25)
