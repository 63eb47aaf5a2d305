"""Error rates by simulation with known truth: the scenarios, and the command that makes their full results.

    OMP_NUM_THREADS=1 python tests/calibration_study.py

writes `tests/calibration/results.csv` (a minute and a half) from the seed below. `tests/test_calibration.py`
runs every scenario small, and holds the committed full results against the same bounds. A bound is what is
nominal, or what is known of the method, and three Monte-Carlo standard errors around it.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pdbiomarker.expression.library_size import tmm_factors
from pdbiomarker.mixed import MixedFit, fit
from pdbiomarker.mixed.adjust import adjust
from pdbiomarker.mixed.glmm import fit_counts
from pdbiomarker.mixed.moderate import moderated_t, squeeze_variances
from pdbiomarker.normalize.trend import voom

SEED = 20260115
HERE = Path(__file__).parent
RESULTS = HERE / "calibration" / "results.csv"
LIMMA = HERE / "calibration" / "trial_limma.csv"
DESIGN = HERE / "golden" / "sim200"
EFFECT = 0.8
ON = [[0.0, 1.0]]


@dataclasses.dataclass(frozen=True)
class Bound:
    """Where a measure should lie, apart from Monte-Carlo error; `sd` of one set, None for a share."""

    low: float
    high: float
    sd: float | None = None

    def holds(self, value: float, sets: int) -> bool:
        return self.low - self.error(self.low, sets) <= value <= self.high + self.error(self.high, sets)

    def error(self, at: float, sets: int) -> float:
        spread = np.sqrt(at * (1 - at)) if self.sd is None else self.sd
        return float(3 * spread / np.sqrt(sets))


@dataclasses.dataclass(frozen=True)
class Scenario:
    """`run` takes a random generator and the number of sets, and gives the measures that `bounds` name."""

    name: str
    run: Callable[[np.random.Generator, int], dict[str, float]]
    bounds: dict[str, Bound]
    quick: int
    full: int

    def measure(self, sets: int) -> dict[str, float]:
        return self.run(np.random.default_rng([SEED, *self.name.encode()]), sets)


def pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Design matrix and participants of n pairs, the first visit first."""
    return np.column_stack([np.ones(2 * n), np.repeat([0.0, 1.0], n)]), np.tile(np.arange(n), 2)


def null_sets(
    rng: np.random.Generator, sets: int, n: int, icc: float, *, missing: bool = False
) -> np.ndarray:
    """Standard normal values of pairs (sets x 2 n) with an intraclass correlation."""
    level = rng.normal(size=(sets, n)) * np.sqrt(icc)
    y = np.concatenate([level, level], axis=1) + rng.normal(size=(sets, 2 * n)) * np.sqrt(1 - icc)
    if missing:
        y[:, 2 * n - n // 3 :] = np.nan
    return y


def by_default(y: np.ndarray, n: int) -> MixedFit:
    """What `pd_change` fits to n pairs: the correlation may be negative where every pair is complete."""
    X, people = pairs(n)
    return fit(y, X, people, contrasts=ON, allow_negative_icc=bool(np.isfinite(y).all()))


def rates(p: np.ndarray) -> dict[str, float]:
    """Shares of p below .05 and .01, of all sets: a set without a test is not rejected."""
    return {"rate_05": float((p < 0.05).mean()), "rate_01": float((p < 0.01).mean())}


def level_and_coverage(
    rng: np.random.Generator, sets: int, *, n: int, icc: float, missing: bool
) -> dict[str, float]:
    """Type I error where nothing changes, and how often the 95 % limits hold a change of .8."""
    null = by_default(null_sets(rng, sets, n, icc, missing=missing), n)
    y = null_sets(rng, sets, n, icc, missing=missing)
    y[:, n:] += EFFECT
    low, high = by_default(y, n).confint()
    inside = (low[:, 0] <= EFFECT) & (high[:, 0] >= EFFECT)
    return rates(null.p[:, 0]) | {"coverage_95": float(inside.mean())}


def plain(rng: np.random.Generator, sets: int, *, n: int, icc: float) -> dict[str, float]:
    """Kenward-Roger with a variance that is not negative, complete pairs."""
    X, people = pairs(n)
    return rates(fit(null_sets(rng, sets, n, icc), X, people, contrasts=ON).p[:, 0])


def unpaired(rng: np.random.Generator, sets: int, *, n_pairs: int, n_single: int) -> dict[str, float]:
    """Few pairs beside many baselines without a second biopsy, intraclass correlation .3."""
    n = n_pairs + n_single
    y = null_sets(rng, sets, n, 0.3)
    y[:, n + n_pairs :] = np.nan
    return rates(by_default(y, n).p[:, 0])


def large_counts(rng: np.random.Generator, sets: int, *, late: float) -> dict[str, float]:
    """(i) About 400 cells, participant SD 1, within-participant SD .6 (ln), `late` on treatment; weight 1."""
    n = 12
    level = np.tile(rng.normal(size=(sets, n)), 2)
    within = np.repeat([0.6, late], n) * rng.normal(size=(sets, 2 * n))
    y = np.log2(rng.poisson(np.exp(np.log(400) + level + within)) + 0.5)
    found = by_default(y, n)
    return rates(found.p[:, 0]) | {"gmr": float(2 ** np.median(found.estimate[:, 0]))}


def shrinking_area(rng: np.random.Generator, sets: int) -> dict[str, float]:
    """(ii) .3 cells/mm2, 8 then 2 mm2, SD .7, dispersion .3: counts with an offset, and densities."""
    n = 12
    X, people = pairs(n)
    area = np.repeat([8.0, 2.0], n)
    mean = 0.3 * area * np.exp(0.7 * np.tile(rng.normal(size=(sets, n)), 2))
    counts = rng.poisson(mean * rng.gamma(1 / 0.3, 0.3, mean.shape)).astype(float)
    found = fit_counts(counts, X, people, offset=np.log(area), contrasts=ON)
    density = np.log2((counts + 0.5) / area)
    return {
        "gmr": float(np.exp(np.nanmedian(found.estimate[:, 0]))),
        "gmr_of_log_densities": float(2 ** (density[:, n:] - density[:, :n]).mean()),
        "rate_05": float((found.p[:, 0] < 0.05).mean()),
    }


def replicates(rng: np.random.Generator, sets: int) -> dict[str, float]:
    """(iii) Three biopsies a visit, SDs 1, .7, .7 of participant, visit, biopsy; visit in or out."""
    n, k = 12, 3
    people, visit = np.repeat(np.arange(n), 2 * k), np.tile(np.repeat([0, 1], k), n)
    X = np.column_stack([np.ones(len(people)), visit.astype(float)])
    y = rng.normal(size=(sets, n))[:, people] + 0.7 * rng.normal(size=(sets, 2 * n))[:, 2 * people + visit]
    y += 0.7 * rng.normal(size=y.shape)
    both = fit(y, X, {"participant": people, "participant/visit": visit}, contrasts=ON)
    alone = fit(y, X, people, contrasts=ON)
    without = {f"{name}_without_visit": value for name, value in rates(alone.p[:, 0]).items()}
    return rates(both.p[:, 0]) | without


def late_heterogeneity(rng: np.random.Generator, sets: int) -> dict[str, float]:
    """(iii) Three visits, slope SD 1 at the late one: each on its own two, and all under one intercept."""
    n = 12
    level = rng.normal(size=(sets, n))
    first, early, late = (level + 0.7 * rng.normal(size=(sets, n)) for _ in range(3))
    late = late + rng.normal(size=(sets, n))
    out = {}
    for name, on in (("early", early), ("late", late)):
        p = by_default(np.concatenate([first, on], axis=1), n).p[:, 0]
        out[f"{name}_05"] = float((p < 0.05).mean())
    visit = np.repeat(np.arange(3), n)
    X = np.column_stack([np.ones(3 * n), visit == 1, visit == 2])
    p = fit(np.concatenate([first, early, late], axis=1), X, np.tile(np.arange(n), 3)).p
    return out | {
        "early_one_intercept_05": float((p[:, 1] < 0.05).mean()),
        "late_one_intercept_05": float((p[:, 2] < 0.05).mean()),
    }


def overdispersed(rng: np.random.Generator, sets: int, *, n: int) -> dict[str, float]:
    """(iv) Negative binomial of size 2.5, mean 30, participant SD .6: t with pairs - 1, and z."""
    X, people = pairs(n)
    mean = 30 * np.exp(0.6 * np.tile(rng.normal(size=(sets, n)), 2))
    counts = rng.poisson(mean * rng.gamma(2.5, 0.4, mean.shape)).astype(float)
    found = fit_counts(counts, X, people, contrasts=ON)
    return {
        "rate_05": float((found.p[:, 0] < 0.05).mean()),
        "rate_05_of_z": float((np.abs(found.t[:, 0]) > 1.959964).mean()),
    }


def trial(seed: int, genes: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts (genes x 88) of a trial on the golden design, and the true log2 change of each gene."""
    rng = np.random.default_rng([SEED, seed])
    samples = pd.read_csv(DESIGN / "samples.csv")
    people = pd.factorize(samples.participant)[0]
    on, eot = (samples.timepoint == "ON").to_numpy(), (samples.timepoint == "EOT").to_numpy()
    base = rng.normal(5.0, 1.6, genes)
    between = np.where(rng.random(genes) < 0.2, 0.0, np.sqrt(rng.gamma(1.5, 0.25, genes)))
    change = np.where(rng.random(genes) < 0.12, rng.normal(0, 0.9, genes), 0.0)
    later = np.where(rng.random(genes) < 0.08, rng.normal(0, 0.8, genes), 0.0)
    purity = np.where(rng.random(genes) < 0.5, rng.normal(0, 1.2, genes), 0.0)
    log_mean = base[:, None] + (between[:, None] * rng.normal(size=(genes, people.max() + 1)))[:, people]
    log_mean += np.outer(change, on) + np.outer(later, eot)
    log_mean += np.outer(purity, samples.purity - samples.purity.mean())
    depth = 30e6 * genes / 20_000 * np.exp(0.35 * rng.normal(size=len(people)))
    mean = 2.0**log_mean
    mean *= depth / mean.sum(axis=0)
    dispersion = ((0.04 + 2.0 / np.maximum(mean.mean(axis=1), 1.0)) * 10 / rng.chisquare(10, genes))[:, None]
    counts = rng.poisson(mean * rng.gamma(1 / dispersion, dispersion, mean.shape))
    return counts, change


def trial_model() -> tuple[np.ndarray, np.ndarray]:
    """Design matrix and participants of the trial: ~ timepoint * logdose + purity + (1|participant)."""
    people = pd.factorize(pd.read_csv(DESIGN / "samples.csv").participant)[0]
    return pd.read_csv(DESIGN / "design.csv", index_col=0).to_numpy(), people


def ours_on_trial(counts: np.ndarray) -> np.ndarray:
    """P of each gene's change on treatment: TMM, voom, Kenward-Roger, moderated variances."""
    X, people = trial_model()
    prepared = voom(counts, X, norm_factors=tmm_factors(counts))
    contrast = np.eye(X.shape[1])[1:2]
    found = fit(prepared.E, X, people, weights=prepared.weights, contrasts=contrast)
    prior = squeeze_variances(found.sigma2, found.df[:, 0], definition="limma-3.62")
    unscaled = found.se / np.sqrt(found.sigma2)[:, None]
    return np.asarray(moderated_t(found.estimate, unscaled, found.df, moderation=prior, cap=False).p[:, 0])


def discoveries(p: np.ndarray, change: np.ndarray) -> dict[str, float]:
    """At a BH false discovery rate of 5 %: the share of false ones, and of true changes that are found."""
    found = adjust(p, "bh").rejected
    null = change == 0
    return {
        "fdr": float((found & null).sum() / max(1, found.sum())),
        "power": float((found & ~null).sum() / max(1, (~null).sum())),
        "null_001": float((p[null] < 0.001).mean()),
    }


TRIALS, GENES = 3, 4000


def trials(_rng: np.random.Generator, sets: int) -> dict[str, float]:
    """Mean of `sets` trials of 4,000 genes, limma's numbers for the same counts beside ours."""
    each = []
    for seed in range(sets):
        counts, change = trial(seed, GENES)
        each.append(discoveries(ours_on_trial(counts), change))
    theirs = pd.read_csv(LIMMA).iloc[:sets]
    out = pd.DataFrame(each).mean().to_dict()
    out |= {f"limma_{name}": float(theirs[name].mean()) for name in ("fdr", "power", "null_001")}
    return out | {"power_above_limma": out["power"] - out["limma_power"]}


def _scenarios() -> list[Scenario]:
    nominal = {"rate_05": Bound(0.05, 0.05), "rate_01": Bound(0.01, 0.01), "coverage_95": Bound(0.95, 0.95)}
    # A variance that stops at 0 costs what is known of plain Kenward-Roger: up to .058 and .012.
    excess = {
        "rate_05": Bound(0.05, 0.058),
        "rate_01": Bound(0.0095, 0.012),
        "coverage_95": Bound(0.942, 0.95),
    }
    out = [
        Scenario(
            f"{n} pairs, ICC {icc}, {'a third of on-treatment missing' if missing else 'complete'}",
            functools.partial(level_and_coverage, n=n, icc=icc, missing=missing),
            excess if missing else nominal,
            4000,
            100_000,
        )
        for missing in (False, True)
        for n in (4, 6, 10, 20)
        for icc in (0.0, 0.3, 0.7)
    ]
    for n, icc, low, high in ((6, 0.3, 0.051, 0.056), (10, 0.0, 0.055, 0.059), (10, 0.3, 0.05, 0.055)):
        bounds = {"rate_05": Bound(low, high), "rate_01": Bound(0.0095, 0.012)}
        name = f"plain Kenward-Roger, {n} pairs, ICC {icc}"
        out.append(Scenario(name, functools.partial(plain, n=n, icc=icc), bounds, 4000, 100_000))
    for a, b in ((2, 20), (3, 12), (4, 30), (8, 20)):
        run = functools.partial(unpaired, n_pairs=a, n_single=b)
        bounds = {"rate_05": Bound(0.035, 0.065), "rate_01": Bound(0.004, 0.018)}
        out.append(Scenario(f"{a} pairs and {b} single baselines", run, bounds, 4000, 40_000))
    level = {"rate_05": Bound(0.05, 0.05), "rate_01": Bound(0.01, 0.01)}
    out += [
        Scenario(
            f"(i) counts near 400, SD .6 then {late}",
            functools.partial(large_counts, late=late),
            level | {"gmr": Bound(0.995, 1.005, sd=0.5)},
            4000,
            40_000,
        )
        for late in (0.6, 1.0)
    ]
    return [
        *out,
        Scenario(
            "(ii) area 8 to 2 mm2",
            shrinking_area,
            {
                "gmr": Bound(0.95, 1.06, sd=0.5),
                "gmr_of_log_densities": Bound(1.6, 1.9, sd=0.5),
                "rate_05": Bound(0.03, 0.065),
            },
            150,
            2000,
        ),
        Scenario(
            "(iii) three biopsies a visit",
            replicates,
            {"rate_05": Bound(0.045, 0.055), "rate_05_without_visit": Bound(0.17, 0.26)},
            400,
            10_000,
        ),
        Scenario(
            "(iii) three visits, late heterogeneity",
            late_heterogeneity,
            {
                "early_05": Bound(0.05, 0.05),
                "late_05": Bound(0.05, 0.05),
                "early_one_intercept_05": Bound(0.0, 0.02),
                "late_one_intercept_05": Bound(0.065, 0.1),
            },
            4000,
            40_000,
        ),
        *(
            Scenario(
                f"(iv) negative binomial, {n} pairs",
                functools.partial(overdispersed, n=n),
                {"rate_05": Bound(0.03, high), "rate_05_of_z": Bound(low, 0.2)},
                300,
                3000,
            )
            for n, high, low in ((6, 0.08, 0.1), (10, 0.065, 0.06))
        ),
        Scenario(
            "trial of 4,000 genes, moderated",
            trials,
            {
                "fdr": Bound(0.02, 0.05, sd=0.01),
                "null_001": Bound(0.0005, 0.0016, sd=0.0006),
                "power_above_limma": Bound(0.0, 0.2, sd=0.0),
            },
            0,
            TRIALS,
        ),
    ]


SCENARIOS = _scenarios()


def results() -> pd.DataFrame:
    """Every measure of every scenario at full size."""
    rows = []
    for scenario in SCENARIOS:
        for name, value in scenario.measure(scenario.full).items():
            bound = scenario.bounds.get(name)
            within = "" if bound is None else "yes" if bound.holds(value, scenario.full) else "no"
            row = (scenario.name, name, f"{value:.6g}", scenario.full, within, SEED)
            print(*row, sep="\t", flush=True)
            rows.append(row)
    return pd.DataFrame(rows, columns=["scenario", "measure", "value", "sets", "within_bound", "seed"])


def write_trials(folder: Path) -> None:
    """Counts, design and participants of the trials, for `calibration/trial_limma.R`."""
    for seed in range(TRIALS):
        pd.DataFrame(trial(seed, GENES)[0]).to_csv(folder / f"counts_{seed}.csv", index=False)
        pd.DataFrame({"change": trial(seed, GENES)[1]}).to_csv(folder / f"change_{seed}.csv", index=False)
    X, people = trial_model()
    pd.DataFrame(X).to_csv(folder / "design.csv", index=False)
    pd.DataFrame({"participant": people}).to_csv(folder / "participant.csv", index=False)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_trials(Path(sys.argv[1]))
    else:
        results().to_csv(RESULTS, index=False)
