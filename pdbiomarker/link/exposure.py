"""Change against exposure: rank correlation, slope, shape test, and curves where the data carry one.

Related is the change of each pair to the exposure of its participant (dose, cumulative dose) or of its
on-treatment biopsy (area under the curve up to it, concentration at it). Exposure up to the biopsy says more
than nominal dose: clearance changes with time. No curve is forced to rise: a bell and the absence of any
relation compete with Emax.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.change import PDResult
from pdbiomarker.errors import Problems
from pdbiomarker.link.association import Association, slope, spearman
from pdbiomarker.link.curves import SHAPES, Averaged, Fit, averaged, fit_shape, shape_test
from pdbiomarker.link.found import Link, link_row, link_table
from pdbiomarker.link.values import as_read, change_table, find_measured, unused
from pdbiomarker.tables import nearest

__all__ = ["MIN_DECADES", "MIN_PAIRS", "exposure_pd"]

Floats = NDArray[np.float64]

#: Curves need so many pairs,
MIN_PAIRS: Final = 12
#: exposures over so many decades,
MIN_DECADES: Final = 1.0
#: and for each shape one exposure more than it has parameters.
_SPARE: Final = 1
_TEST_PAIRS: Final = 5
_TEST_LEVELS: Final = 3
_NO_CURVE: Final = "Curves (Emax, bell): not fitted"


def exposure_pd(
    result: PDResult,
    feature: str,
    exposure: str | pd.Series,
    *,
    contrast: str | None = None,
    unit: str = "",
    seed: int | None = None,
) -> Link:
    """Relate the change of a feature to exposure.

    Parameters
    ----------
    result : PDResult
    feature : str
        ``assay:feature``.
    exposure : str or Series
        A numeric column of participants.csv, or of biopsies.csv (the value of the on-treatment biopsy); or
        numbers indexed by participant or by biopsy. Not below 0.
    contrast : str, optional
        Default: the plan's first change.
    unit : str
        Of the exposure, for people.
    seed : int, optional
        Of permutations; default: the plan's.

    Returns
    -------
    Link
        `table`: Spearman's correlation, the slope per tenfold exposure, a test of several shapes at once,
        and, where :data:`MIN_PAIRS` pairs span :data:`MIN_DECADES` decades, every shape with its AICc,
        weight and parameters and the averaged difference between the ends; else the reason.

    Raises
    ------
    InputError
        E-LINK-001 (feature, contrast) or E-LINK-002: no such column, or a Series whose index is neither
        participants nor biopsies, or with values below 0.

    Examples
    --------
    >>> exposure_pd(result, "ihc:CD8_density", "dose_mg").row("Spearman correlation")  # doctest: +SKIP
    """
    found = find_measured(result, feature, contrast)
    name, values = _read(result, exposure)
    points = change_table(result, found)
    points["exposure"] = _of_pairs(result, points, values)
    lacking = points["used"] & points["exposure"].isna()
    points.loc[lacking, "why"] = f"{name} not known"
    points.loc[lacking, "used"] = False
    used = points[points["used"]]
    x, y = used["exposure"].to_numpy(dtype=float), used["change"].to_numpy(dtype=float)
    drawn = result.plan.seed if seed is None else seed
    rows = [
        link_row("correlation", "Spearman correlation", spearman(x, y, seed=drawn), unit="correlation"),
        _slope_row(x, y, found.kind),
        _shape_row(x, y, drawn),
    ]
    curve, more = _curves(x, y, found.kind)
    label = " ".join(part for part in (name.replace("_mg", " (mg)").replace("_", " "), unit) if part)
    note = " ".join(
        part
        for part in (
            unused(points),
            "Dose and exposure were not randomised: calendar time, site and "
            "assay lot go with them; p-values are not adjusted.",
        )
        if part
    )
    return Link(
        "exposure",
        found.reference,
        name,
        found.label,
        label,
        found.contrast,
        link_table(rows + more, found.reference, name, contrast=found.contrast),
        points.reset_index(),
        note,
        curve,
        {"kind": found.kind, "unit": found.unit},
    )


def _read(result: PDResult, exposure: str | pd.Series) -> tuple[str, pd.Series]:
    """Give name and numbers of an exposure, indexed by participant or biopsy."""
    study, problems = result.study, Problems()
    if isinstance(exposure, str):
        for frame in (study.participants, study.biopsies):
            if exposure in frame:
                values = pd.to_numeric(frame[exposure], errors="coerce").astype(float)
                told = frame[exposure].notna()
                if (told & values.isna()).any() or not told.any():
                    problems.add(
                        "E-LINK-002",
                        "The exposure is not a column of numbers.",
                        remedy="Name a numeric column, or give a Series.",
                        column=exposure,
                        value=next(iter(frame.loc[told & values.isna(), exposure]), None),
                    )
                return _checked(exposure, values, problems)
        known = [*map(str, study.participants.columns), *map(str, study.biopsies.columns)]
        problems.add(
            "E-LINK-002",
            "Neither participants.csv nor biopsies.csv has such a column.",
            remedy=nearest(exposure, known),
            column="exposure",
            value=exposure,
        )
        problems.raise_if_any()
    values = pd.Series(exposure).astype(float)
    name = str(values.name) if values.name is not None else "exposure"
    index = pd.Index(values.index)
    for known_ids in (study.participants.index, study.biopsies.index):
        if len(index) and index.isin(known_ids).all() and index.is_unique:
            return _checked(name, values, problems)
    strange = [v for v in index if v not in study.participants.index and v not in study.biopsies.index]
    problems.add(
        "E-LINK-002",
        "The exposure is indexed neither by participants nor by biopsies, each once.",
        remedy="Give one value for each participant_id, or for each biopsy_id.",
        column=name,
        value=next(iter(strange), None),
    )
    problems.raise_if_any()
    raise AssertionError  # pragma: no cover - the line above raises


def _checked(name: str, values: pd.Series, problems: Problems) -> tuple[str, pd.Series]:
    wrong = values[(values < 0) | np.isinf(values)]
    if len(wrong):
        problems.add(
            "E-LINK-002",
            "An exposure is below 0 or infinite.",
            remedy="Check the unit and the table.",
            column=name,
            value=f"{wrong.index[0]}: {wrong.iloc[0]:g}",
        )
    problems.raise_if_any()
    return name, values


def _of_pairs(result: PDResult, points: pd.DataFrame, values: pd.Series) -> Floats:
    """Exposure of each participant: his own, or that of his on-treatment biopsies (their mean)."""
    if values.index.isin(result.study.participants.index).all():
        return values.reindex(points.index).to_numpy(dtype=float)
    out = []
    for ids in points["on_biopsy"]:
        own = values.reindex(str(ids).split(";")) if isinstance(ids, str) else pd.Series(dtype=float)
        out.append(float(own.mean()) if len(own) and own.notna().all() else np.nan)
    return np.array(out, dtype=float)


def _slope_row(x: Floats, y: Floats, kind: str) -> dict[str, Any]:
    above = x > 0
    zeros = int((~above).sum())
    told, unit = as_read(slope(np.log10(x[above]), y[above]), kind)
    why = f"{zeros} with exposure 0, which has no logarithm, left out" if zeros else ""
    return link_row("slope", "change per tenfold exposure", told, unit=unit, note=why)


def _shape_row(x: Floats, y: Floats, seed: int) -> dict[str, Any]:
    levels = len(np.unique(x))
    if len(x) < _TEST_PAIRS or levels < _TEST_LEVELS or np.ptp(y) == 0:
        why = f"{len(x)} pairs at {levels} exposures: {_TEST_PAIRS} pairs at {_TEST_LEVELS} are needed"
        return link_row("shape test", "any of five shapes", note=why)
    p, best = shape_test(x, y, seed=seed)
    row = link_row("shape test", "any of five shapes", note=f"largest correlation with the shape {best}")
    return {
        **row,
        "p": p,
        "p_method": "20,000 permutations, largest of the shapes",
        "n": len(x),
        "status": "ok",
    }


def _why_not(x: Floats) -> str:
    """Why curves are not fitted; empty where they are."""
    positive = x[x > 0]
    decades = float(np.log10(positive.max() / positive.min())) if len(positive) else 0.0
    faults = []
    if len(x) < MIN_PAIRS:
        faults.append(f"{len(x)} pairs, at least {MIN_PAIRS} needed")
    if decades < MIN_DECADES - 1e-9:
        faults.append(f"exposures span {decades:.2f} decades (log10), at least {MIN_DECADES:g} needed")
    levels = len(np.unique(x))
    if levels < SHAPES["Emax"] + _SPARE:
        faults.append(f"{levels} different exposures, at least {SHAPES['Emax'] + _SPARE} needed")
    return "; ".join(faults)


def _curves(x: Floats, y: Floats, kind: str) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    why = _why_not(x)
    if why or np.ptp(y) == 0:
        said = f"{_NO_CURVE}: {why or 'the change does not vary'}."
        return pd.DataFrame(), [link_row("curves", "curves", status="not_asked", note=said)]
    levels, zeros = len(np.unique(x)), int((x == 0).sum())
    fits: dict[str, Fit] = {}
    rows: list[dict[str, Any]] = []
    for shape, k in SHAPES.items():
        if levels < k + _SPARE:
            why = f"{levels} different exposures, at least {k + _SPARE} needed"
        elif zeros and shape in ("log-linear", "bell"):
            why = f"{zeros} with exposure 0, which has no logarithm"
        else:
            fits[shape] = fit_shape(shape, x, y)
            continue
        rows.append(link_row("curves", "weight by AICc", group=shape, status="not_asked", note=why))
    average = averaged(fits, x)
    for shape, fit in fits.items():
        rows += _fit_rows(shape, fit, average.weights[shape], kind)
    difference = Association(*average.difference, np.nan, "", len(x))
    told, unit = as_read(difference, kind)
    rows.append(link_row("curves", "largest against least exposure, shapes averaged", told, unit=unit))
    return _curve(average), rows


def _curve(average: Averaged) -> pd.DataFrame:
    return pd.DataFrame(
        {"exposure": average.x, "mean": average.mean, "low": average.low, "high": average.high}
    )


def _fit_rows(shape: str, fit: Fit, weight: float, kind: str) -> list[dict[str, Any]]:
    def plain(value: float, low: float = np.nan, high: float = np.nan) -> Association:
        return Association(value, low, high, np.nan, "", fit.n)

    rows = [
        link_row("curves", "weight by AICc", plain(weight), group=shape, unit="share"),
        link_row("curves", "AICc", plain(fit.aicc), group=shape, unit="AICc"),
    ]
    if "Emax" not in shape:
        return rows
    edge = "at the end of the range looked at: the data do not hold it" if fit.at_edge else ""
    opened = "a missing limit is open within a tenth of the least to ten times the largest exposure"
    emax, unit = as_read(plain(*fit.emax), kind)
    told = [("ED50", plain(*fit.ed50), "exposure"), ("Emax", emax, unit)]
    told += [("Hill coefficient", plain(*fit.hill), "exponent")] if shape == "sigmoid Emax" else []
    for name, value, what in told:
        free = opened if np.isnan([value.low, value.high]).any() else ""
        note = "; ".join(part for part in (edge, free) if part)
        rows.append(link_row("curves", name, value, group=shape, unit=what, note=note))
    return rows
