"""Values beyond the limits of quantification: what is known of them is a bound, and the model is told so.

A value below the lower limit of quantification (LLOQ) is known to be at most that limit, one above the upper
(ULOQ) at least that. Neither the limit nor half of it stands for the value: the bound and its side go to the
model, which treats the value as censored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import Problems
from pdbiomarker.expression.library_size import FloatArray

__all__ = ["LAYER", "bounded"]

#: The layer that says of each value: -1 at most X, 0 observed, 1 at least X.
LAYER: Final = "censored"


def bounded(
    adata: AnnData, x: FloatArray, notes: Sequence[list[str]], problems: Problems
) -> tuple[FloatArray, FloatArray]:
    """Put values beyond a limit at the limit, and say on which side they lie.

    Parameters
    ----------
    adata : AnnData
        ``var["lloq"]`` and ``var["uloq"]`` where there are limits; ``layers["censored"]`` where a reader
        knows of single values.
    x : array, biopsies x features
    notes : list of str for each feature
        What is said of it is added.
    problems : Problems

    Returns
    -------
    x, side : arrays, biopsies x features
        Side: -1 at most x, 0 observed, 1 at least x. Counts, and densities and proportions with their cells,
        are never censored: a count model needs no limit.
    """
    side = np.zeros(x.shape)
    if LAYER in adata.layers:
        side = np.nan_to_num(np.asarray(adata.layers[LAYER], dtype=np.float64))
        for k in np.flatnonzero(~np.isin(side, (-1.0, 0.0, 1.0)).all(axis=0)).tolist():
            problems.add(
                "E-ASSAY-001",
                f"The layer {LAYER} of {adata.var_names[k]} holds something other than -1, 0 and 1.",
                remedy="Write -1 for at most X, 0 for observed, 1 for at least X.",
                column=str(adata.var_names[k]),
            )
    counted = _counted(adata)
    out = x.copy()
    for column, sign, name in (("lloq", -1.0, "LLOQ"), ("uloq", 1.0, "ULOQ")):
        limit = _limits(adata, column)
        with np.errstate(invalid="ignore"):
            beyond = (x - limit) * sign > 0
        where = "below" if sign < 0 else "above"
        for k in np.flatnonzero(beyond.any(axis=0)).tolist():
            n = int(beyond[:, k].sum())
            told = f"{n} value{'' if n == 1 else 's'} {where} the {name} of {limit[k]:g}"
            said = (
                f"{told}: censored" if not counted[k] else f"caution: {told}: used as given, with its counts"
            )
            notes[k].append(said)
        beyond &= ~counted
        side = np.where(beyond, sign, side)
        out = np.where(beyond, limit, out)
    side = np.where(np.isfinite(x) & ~counted, side, 0.0)
    for k in np.flatnonzero((side != 0).any(axis=0)).tolist():
        low, high = int((side[:, k] < 0).sum()), int((side[:, k] > 0).sum())
        if not any("censored" in note for note in notes[k]):
            notes[k].append(f"censored: {low} below and {high} above a limit")
    return out, side


def _limits(adata: AnnData, column: str) -> FloatArray:
    if column not in adata.var:
        return np.full(adata.n_vars, np.nan)
    return pd.to_numeric(adata.var[column], errors="coerce").to_numpy(dtype=np.float64)


def _counted(adata: AnnData) -> npt.NDArray[np.bool_]:
    """Features whose cells are known, and counts."""
    kinds = adata.var["kind"].astype(str).to_numpy()
    counted = kinds == "count"
    if "numerator" in adata.layers:
        known = np.isfinite(np.asarray(adata.layers["numerator"], dtype=np.float64)).any(axis=0)
        counted |= known & np.isin(kinds, ("density", "proportion"))
    return np.asarray(counted, dtype=bool)
