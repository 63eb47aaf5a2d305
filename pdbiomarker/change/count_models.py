"""Models of what is no number on a line: counts of cells, k of n cells, and values beyond a limit.

* densities with few cells (a median count below 10 at a visit): the negative binomial mixed model of the
  count with log(area) as offset, because log2((n + 1/2)/area) turns a change of area into an effect;
* proportions of few cells (n p or n (1 - p) below 5 in most biopsies): the beta-binomial mixed model;
* values below an LLOQ or above a ULOQ: the Tobit mixed model.

All are fitted by maximum likelihood and tested by t with pairs - 1 degrees of freedom. They answer contrasts
over two visits; the count models have the participant and perhaps the visit within as random terms, the Tobit
model the participant alone.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdbiomarker.change.linear import Setting
from pdbiomarker.mixed.glmm import fit_counts, fit_proportions
from pdbiomarker.mixed.tobit import fit_tobit

__all__ = ["COUNTS", "PROPORTIONS", "TOBIT", "Likelihood", "fit_cells", "fit_censored"]

Floats = NDArray[np.float64]

COUNTS: Final = "negative binomial mixed"
PROPORTIONS: Final = "beta-binomial mixed"
TOBIT: Final = "tobit mixed"
_SEPARATED: Final = "no cell at one visit: the ratio has no finite estimate"


@dataclasses.dataclass(frozen=True, eq=False)
class Likelihood:
    """Fits of F features by maximum likelihood; fields as in :class:`~pdbiomarker.change.linear.Linear`."""

    estimate: Floats
    se: Floats
    df: Floats
    t: Floats
    p: Floats
    var_participant: Floats
    var_visit: Floats
    var_residual: Floats
    status: NDArray[np.object_]
    notes: tuple[str, ...]
    model: str


def fit_cells(setting: Setting, kind: str, numerator: Floats, denominator: Floats) -> Likelihood:
    """Fit counts in an area (``density``) or k of n cells (``proportion``), (F, n) arrays."""
    groups = {str(name): labels for name, labels in setting.random.groups.items()}
    given = groups if len(groups) > 1 else next(iter(groups.values()))
    if kind == "density":
        with np.errstate(divide="ignore", invalid="ignore"):
            area = np.log(denominator)
        fit = fit_counts(numerator, setting.matrix, given, offset=area, contrasts=setting.vector[None, :])
    else:
        fit = fit_proportions(
            numerator, setting.matrix, given, n=denominator, contrasts=setting.vector[None, :]
        )
    unit = 1 / np.log(2) if kind == "density" else 1.0
    status = np.asarray(fit.status, dtype=object)
    known = np.isin(status.astype(str), ["ok", "singular"])
    status[known & ~np.asarray(fit.estimable)[:, 0]] = "not_estimable"
    separated = np.char.find(np.asarray(fit.boundary, dtype=str), "separated") >= 0
    return Likelihood(
        estimate=fit.estimate[:, 0] * unit,
        se=fit.se[:, 0] * unit,
        df=fit.df[:, 0],
        t=fit.t[:, 0],
        p=fit.p[:, 0],
        var_participant=np.square(fit.sigma * unit),
        var_visit=np.square(fit.sigma_biopsy * unit),
        var_residual=np.full(len(status), np.nan),
        status=status,
        notes=tuple(_SEPARATED if apart else "" for apart in separated),
        model=COUNTS if kind == "density" else PROPORTIONS,
    )


def fit_censored(setting: Setting, y: Floats, side: Floats) -> Likelihood:
    """Fit values of which some are only known to lie beyond a limit, (F, n) arrays; side as in the layer."""
    people = next(iter(setting.random.groups.values()))
    fit = fit_tobit(y, setting.matrix, people, censored=side, contrasts=setting.vector[None, :])
    status = np.asarray(fit.status, dtype=object)
    known = np.isin(status.astype(str), ["ok", "singular"])
    status[known & ~np.asarray(fit.estimable)[:, 0]] = "not_estimable"
    all_pairs = (setting.layout.counts(y) > 0).all(axis=2).sum(axis=1).tolist()
    counted = fit.n_pairs[:, 0].tolist()
    notes = []
    for low, high, pairs, every in zip(
        fit.n_left.tolist(), fit.n_right.tolist(), counted, all_pairs, strict=True
    ):
        sides = [
            f"{n} value{'' if n == 1 else 's'} {way} a limit of the assay"
            for n, way in ((low, "below"), (high, "above"))
            if n
        ]
        note = f"{' and '.join(sides)}, known only to lie beyond it (Tobit model)"
        fewer = (
            f"; {pairs} of {every} pairs have a measured value and carry the test"
            if 0 < pairs < every
            else ""
        )
        notes.append(note + fewer)
    return Likelihood(
        estimate=fit.estimate[:, 0],
        se=fit.se[:, 0],
        df=fit.df[:, 0],
        t=fit.t[:, 0],
        p=fit.p[:, 0],
        var_participant=np.square(fit.sigma),
        var_visit=np.full(len(status), np.nan),
        var_residual=np.square(fit.residual),
        status=status,
        notes=tuple(notes),
        model=TOBIT,
    )
