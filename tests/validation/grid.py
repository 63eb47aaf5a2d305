"""Type I error, coverage and false discovery rate over a grid, by simulation with known truth.

    OMP_NUM_THREADS=1 python -m tests.validation.grid

writes `results/grid.csv` (10,000 sets a cell) and `results/fdr.csv` (200 sets of 2,000 genes) from the seed
below, in about two minutes. Each set is fitted as `pd_change` does by default: complete pairs with a
correlation that may be negative, the rest without. Missing: the last 30 % of the participants have no second
biopsy (rounded); participants are exchangeable, so it is no matter which.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pdbiomarker.expression.library_size import tmm_factors
from pdbiomarker.mixed import MixedFit, fit
from pdbiomarker.mixed.adjust import adjust
from pdbiomarker.mixed.moderate import moderated_t, squeeze_variances
from pdbiomarker.normalize import voom

SEED = 20260117
HERE = Path(__file__).parent / "results"
GRID, FDR = HERE / "grid.csv", HERE / "fdr.csv"
SETS, SETS_OF_GENES, GENES, TRUE = 10_000, 200, 2000, 0.1
Errors = Literal["normal", "t5", "counts"]
ERRORS: tuple[Errors, ...] = ("normal", "t5", "counts")
#: Cells a biopsy has at the median, and the ratio of which the limits are asked whether they hold it.
MEDIAN_COUNT, RATIO = 30.0, 2.0
#: What each measure should be.
NOMINAL = {"rate_05": 0.05, "rate_01": 0.01, "coverage_95": 0.95}


def band(share: float, sets: int) -> float:
    """Three Monte-Carlo standard errors of a share."""
    return float(3 * np.sqrt(share * (1 - share) / sets))


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of the grid."""

    pairs: int
    icc: float
    missing: float
    errors: Errors

    @property
    def name(self) -> str:
        return f"{self.pairs} pairs, ICC {self.icc:g}, {self.missing:.0%} missing, {self.errors}"

    def logs(self, rng: np.random.Generator, sets: int) -> np.ndarray:
        """Values of total variance 1 (sets x 2 pairs), first visits first."""

        def draw(*shape: int) -> np.ndarray:
            return (
                rng.standard_t(5, shape) / np.sqrt(5 / 3) if self.errors == "t5" else rng.normal(size=shape)
            )

        level = np.tile(rng.normal(size=(sets, self.pairs)), 2)
        return np.sqrt(self.icc) * level + np.sqrt(1 - self.icc) * draw(sets, 2 * self.pairs)

    def fit(self, rng: np.random.Generator, sets: int, ratio: float = 1.0) -> MixedFit:
        """Sets without a change (or with a ratio of cells), as `pd_change` fits them."""
        n, lost = self.pairs, round(self.missing * self.pairs)
        y = self.logs(rng, sets)
        if self.errors == "counts":
            mean = MEDIAN_COUNT * np.exp(y)
            mean[:, n:] *= ratio
            y = np.log2(rng.poisson(mean) + 0.5)
        if lost:
            y[:, 2 * n - lost :] = np.nan
        visit = np.repeat([0.0, 1.0], n)
        X = np.column_stack([np.ones(2 * n), visit])
        return fit(y, X, np.tile(np.arange(n), 2), contrasts=[[0.0, 1.0]], allow_negative_icc=not lost)

    def measure(self, sets: int) -> dict[str, float]:
        """Shares of p below .05 and .01, and of 95 % limits that hold the truth.

        A change added to all second biopsies moves estimate and limits by itself, so limits miss it exactly
        where p of the set without it is below .05; of counts, limits are asked about a ratio of 2.
        """
        rng = np.random.default_rng([SEED, *self.name.encode()])
        p = self.fit(rng, sets).p[:, 0]
        found = {"rate_05": float((p < 0.05).mean()), "rate_01": float((p < 0.01).mean())}
        inside = float((~(p < 0.05)).mean())
        if self.errors == "counts":
            low, high = self.fit(rng, sets, RATIO).confint()
            inside = float(((low[:, 0] <= np.log2(RATIO)) & (high[:, 0] >= np.log2(RATIO))).mean())
        return found | {"coverage_95": inside}


CELLS = [
    Cell(*values) for values in itertools.product((4, 6, 8, 12, 20, 40), (0.0, 0.3, 0.7), (0.0, 0.3), ERRORS)
]
#: What runs with every test, 1,000 sets each.
QUICK = [cell for cell in CELLS if cell.pairs in (4, 12) and cell.icc != 0.3]


def genes(seed: int, *, correlated: bool) -> tuple[np.ndarray, np.ndarray]:
    """Counts (2,000 genes x 36 libraries of 20 participants, 16 of them pairs), and which genes change.

    A tenth change, with an SD of 1 on log2. Correlated: blocks of 50 genes share half of the variance of the
    single biopsy, as cells that come and go together do.
    """
    rng = np.random.default_rng([SEED, int(correlated), seed])
    people, on = np.r_[np.arange(20), np.arange(16)], np.repeat([0.0, 1.0], [20, 16])
    change = np.where(rng.random(GENES) < TRUE, rng.normal(0, 1.0, GENES), 0.0)
    within = rng.normal(size=(GENES, len(people)))
    if correlated:
        shared = rng.normal(size=(GENES // 50, len(people))).repeat(50, axis=0)
        within = np.sqrt(0.5) * (within + shared)
    spread = np.sqrt(0.15 * 8 / rng.chisquare(8, GENES))[:, None]
    log_mean = rng.normal(5, 1.5, GENES)[:, None] + 0.5 * rng.normal(size=(GENES, 20))[:, people]
    mean = 2.0 ** (log_mean + np.outer(change, on) + spread * within)
    mean *= 4e6 * np.exp(0.3 * rng.normal(size=len(people))) / mean.sum(axis=0)
    return rng.poisson(mean).astype(float), change != 0


def discoveries(seed: int, *, correlated: bool) -> dict[str, float]:
    """False share of the calls at 5 % (0 without a call), and share of the changed genes that are called."""
    counts, changed = genes(seed, correlated=correlated)
    people, on = np.r_[np.arange(20), np.arange(16)], np.repeat([0.0, 1.0], [20, 16])
    X = np.column_stack([np.ones(len(on)), on])
    prepared = voom(counts, X, norm_factors=tmm_factors(counts))
    found = fit(prepared.E, X, people, weights=prepared.weights, contrasts=[[0.0, 1.0]])
    prior = squeeze_variances(found.sigma2, found.df[:, 0], definition="limma-3.62")
    unscaled = found.se / np.sqrt(found.sigma2)[:, None]
    p = moderated_t(found.estimate, unscaled, found.df, moderation=prior, cap=False).p[:, 0]
    called = adjust(p, "bh").rejected
    return {
        "fdp": float((called & ~changed).sum() / max(1, called.sum())),
        "power": float((called & changed).sum() / changed.sum()),
        "calls": float(called.sum()),
    }


def main() -> None:
    """Write both tables."""
    rows = [
        {**dataclasses.asdict(c), **{k: f"{v:.6g}" for k, v in c.measure(SETS).items()}, "sets": SETS}
        for c in CELLS
    ]
    pd.DataFrame(rows).assign(seed=SEED).to_csv(GRID, index=False)
    each = [
        {"genes": name, "set": seed} | {k: f"{v:.6g}" for k, v in discoveries(seed, correlated=flag).items()}
        for name, flag in (("independent", False), ("correlated", True))
        for seed in range(SETS_OF_GENES)
    ]
    pd.DataFrame(each).assign(seed=SEED).to_csv(FDR, index=False)


if __name__ == "__main__":
    main()
