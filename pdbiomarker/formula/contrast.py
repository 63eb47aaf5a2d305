"""Contrasts as coefficients: weighted sums of marginal means.

The text is read by :mod:`pdbiomarker.formula.contrast_grammar` into cells with weights; each cell is a
marginal mean of :mod:`pdbiomarker.formula.margins`, a row of coefficients; the contrast is their weighted
sum.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import FormulaError
from pdbiomarker.formula.cells import VISIT, Contrast
from pdbiomarker.formula.contrast_grammar import parse_contrast
from pdbiomarker.formula.design import Design
from pdbiomarker.formula.grammar import nearest, refusal, shown
from pdbiomarker.formula.margins import ReferenceGrid, Weights, held_column

__all__ = ["contrast_vector", "read_contrast"]

type Floats = npt.NDArray[np.float64]

#: Sums of cells that cancel but for rounding are zero: so many units in the last place of the summands.
_ROUNDING: Final = 16 * float(np.finfo(np.float64).eps)


def read_contrast(design: Design, text: str, *, factor: str = VISIT) -> Contrast:
    """Read a contrast against the columns and levels of a design.

    Parameters
    ----------
    design : Design
        From :func:`design_matrix`.
    text : str
        See :func:`parse_contrast`.
    factor : str
        The column of levels that stand without one.

    Returns
    -------
    Contrast

    Raises
    ------
    FormulaError
        For what is no contrast of levels and columns of this design.
    """
    names = dict.fromkeys(v.column for term in design.formula.fixed for v in term.variables)
    known = {
        name: None
        if name in design.coding.numeric
        else (*design.levels[name], *design.dropped_levels.get(name, ()))
        for name in names
    }
    if factor in design.levels:
        levels = (*design.levels[factor], *design.dropped_levels.get(factor, ()))
        return parse_contrast(text, levels, factor=factor, columns=known)
    try:
        return parse_contrast(text, (), factor=factor, columns=known)
    except FormulaError as error:
        if ":" in text:
            raise
        why = (
            "is a number; write C() around it" if factor in design.coding.numeric else "is not in the formula"
        )
        remedy = nearest(factor, design.levels)
        message = f"{shown(factor)} {why}."
        raise refusal(text, 0, message, remedy=remedy, value=factor, code=5) from error


def contrast_vector(
    design: Design,
    data: pd.DataFrame,
    text: str | Contrast,
    *,
    factor: str = VISIT,
    weights: Weights = "equal",
) -> Floats:
    """Coefficients of a contrast: a weighted sum of marginal means.

    Parameters
    ----------
    design : Design
        From :func:`design_matrix`.
    data : DataFrame, n rows
        The table that the design was made of; numbers are held at their mean over its used rows.
    text : str or Contrast
        ``C2D1 - screening``, ``C2D1 - screening at sex = F``, ``dose_mg: 10 - 3 at C2D1``,
        ``(C2D1 - screening at dose_mg = 10) - (C2D1 - screening at dose_mg = 3)``; see
        :func:`parse_contrast`. Or one that has been read.
    factor : str
        The column of levels that stand without one.
    weights : {"equal", "proportional"}
        How factors that the contrast does not name are averaged: each level with equal weight, or by the
        frequencies of their combinations in the rows used.

    Returns
    -------
    ndarray of float, (p,)
        ``vector @ coefficients`` is the contrast.

    Raises
    ------
    FormulaError
        For levels or columns that the design does not have, values that do not fit, and a contrast that is
        zero whatever the data are, as the formula lacks the interaction that it asks about.

    Notes
    -----
    These are the definitions of R's emmeans, with one exception: a number with two distinct values is held
    at its mean too, where emmeans would give both values equal weight.
    """
    contrast = text if isinstance(text, Contrast) else read_contrast(design, text, factor=factor)
    text = contrast.text
    grid = ReferenceGrid(design, data, weights)
    rows = []
    for cell in contrast.cells:
        named = {}
        for setting in cell.settings:
            if setting.column not in grid.names:
                message = f"Column {shown(setting.column)} is not in the fixed part of the formula."
                at = max(0, text.rfind(setting.column, 0, setting.position))
                remedy = nearest(setting.column, grid.names)
                raise refusal(text, at, message, remedy=remedy, value=setting.column, code=5)
            named[setting.column] = held_column(design, setting.column, setting.value, text, setting.position)
        rows.append(cell.weight * grid.mean(named))
    summands = np.array(rows)
    vector = np.array([math.fsum(column) for column in summands.T])
    vector[np.abs(vector) <= _ROUNDING * np.abs(summands).sum(axis=0)] = 0.0
    if not vector.any():
        message = (
            "The contrast is zero whatever the data are: the formula has no term that tells its parts apart."
        )
        remedy = "Add the interaction to the formula (visit * dose_mg), or leave the contrast out."
        raise refusal(text, 0, message, remedy=remedy, code=5)
    return vector
