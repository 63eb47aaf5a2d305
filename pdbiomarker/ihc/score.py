"""Scores of slides and biopsies, each with its numerator, denominator and area.

:mod:`pdbiomarker.ihc.definitions` has the formulas and their sources. Scores of several slides or regions of
one biopsy are made from sums of counts and areas, never as means of scores. A score that cannot be made is
NaN and says why in ``note``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.ihc.definitions import CPS_LEAST_TUMOUR_CELLS, DEFINITIONS, value_of
from pdbiomarker.ihc.panel import Panel
from pdbiomarker.ihc.tiles import Tiles, find_hotspot, resample

__all__ = [
    "COMPARTMENT_ORDER",
    "IMMUNE",
    "NO_TUMOUR",
    "SCORE_COLUMNS",
    "SCORE_KINDS",
    "SENSITIVITY_FACTORS",
    "TUMOUR",
    "feature_name",
    "pool_scores",
    "score_cells",
    "score_counts",
    "threshold_sensitivity",
    "typed_scores",
]

SCORE_COLUMNS: Final = (
    "feature",
    "kind",
    "value",
    "numerator",
    "denominator",
    "area_mm2",
    "n_cells",
    "n_0",
    "n_1",
    "n_2",
    "n_3",
    "within_se",
    "within_low",
    "within_high",
    "n_tiles",
    "status",
    "note",
)
_TEXTS: Final = ("feature", "kind", "status", "note")
SCORE_KINDS: Final = {name: found.kind for name, found in DEFINITIONS.items()}
COMPARTMENT_ORDER: Final = ("tissue", "nest", "stroma", "margin")
#: What ``cell_type`` calls tumour cells, and the immune cells that count towards the combined positive score.
TUMOUR: Final = "tumour"
IMMUNE: Final = ("lymphocyte", "macrophage")
#: By how much the thresholds are moved in :func:`threshold_sensitivity`.
SENSITIVITY_FACTORS: Final = (0.8, 0.9, 1.0, 1.1, 1.2)
_BINS: Final = ("n_0", "n_1", "n_2", "n_3")
#: Status of a score: made; too few cells, which more slides may mend; not to be made at all.
OK: Final = "ok"
TOO_FEW: Final = "too_few"
REFUSED: Final = "refused"
NO_TUMOUR: Final = "needs tumour classes or tumour regions: there are neither"
_UNGRADED: Final = "the cells are only positive or negative: 1+, 2+ and 3+ are not told apart"
_BY_REGION: Final = "cells inside the tumour regions stand for tumour cells"

Float = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def feature_name(panel: Panel, score: str, compartment: str) -> str:
    """Name of a feature, such as ``CD8_density_tissue``; scores of tumour cells name no compartment."""
    if DEFINITIONS[score].scope == "tumour":
        return f"{panel.marker}_{score}"
    return f"{panel.marker}_{score}_{compartment}"


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """Whose cells make a score: numerator and denominator of each cell (0 where it does not count)."""

    score: str
    compartment: str
    numerator: Float
    denominator: Float | None  # None: the area
    counted: Mask
    note: str = ""
    refused: str = ""


def score_cells(
    cells: pd.DataFrame,
    areas_mm2: Mapping[str, float],
    panel: Panel,
    *,
    tiles: Tiles | None = None,
    graded: bool = True,
) -> pd.DataFrame:
    """Scores of one slide.

    Parameters
    ----------
    cells : DataFrame
        Columns ``class`` (0-3) and ``compartment``; where they are known ``x_um``, ``y_um``, ``border_um``
        (distance to the border of the tumour, negative inside) and ``cell_type`` (``tumour``,
        ``lymphocyte``, ``macrophage``, or another text).
    areas_mm2 : mapping of str to float
        Evaluable area by compartment; NaN where it is not known. ``tissue`` takes all cells; any other name
        takes its own.
    panel : Panel
        Which scores, and how few cells are too few.
    tiles : Tiles, optional
        The grid for the error within the section; without it those columns are NaN.
    graded : bool
        Whether 1+, 2+ and 3+ were told apart; if not, class 1 stands for positive.

    Returns
    -------
    DataFrame
        Columns :data:`SCORE_COLUMNS`. ``within_se``, ``within_low`` and ``within_high`` are a bootstrap over
        `tiles`: the error within this section, and nothing else.
    """
    grades = cells["class"].to_numpy().astype(np.int64)
    rows = []
    where = None if tiles is None else tiles.of(cells["x_um"].to_numpy(), cells["y_um"].to_numpy())
    for part in _parts(cells, grades, areas_mm2, panel):
        row = _row(part, cells, grades, areas_mm2, panel)
        if part.refused or (DEFINITIONS[part.score].graded and not graded):
            row |= {"value": np.nan, "status": REFUSED, "note": part.refused or _UNGRADED}
        elif tiles is not None and where is not None and part.score != "hotspot":
            row |= _within(part, grades, tiles, where)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def _parts(
    cells: pd.DataFrame, grades: npt.NDArray[np.int64], areas: Mapping[str, float], panel: Panel
) -> Iterator[_Part]:
    places = cells["compartment"].to_numpy()
    everyone = np.ones(len(cells), dtype=np.bool_)
    one = np.ones(len(cells))
    for compartment in areas:
        own = everyone if compartment == "tissue" else places == compartment
        for score in panel.features:
            scope = DEFINITIONS[score].scope
            if scope == "border" and compartment != "tissue" and "border_um" in cells:
                depth = np.abs(cells["border_um"].to_numpy(dtype=np.float64))
                counted = own & (grades > 0) & np.isfinite(depth)
                yield _Part(score, compartment, np.where(counted, depth, 0.0), one, counted)
            elif scope == "compartment":
                yield _Part(score, compartment, _weights(score, grades), _cells_or_area(score, one), own)
    for score in panel.features:
        if DEFINITIONS[score].scope == "tumour":
            yield _of_tumour(score, cells, grades, areas)


def _weights(score: str, grades: npt.NDArray[np.int64]) -> Float:
    """What each cell adds to the numerator."""
    if score == "hscore":
        counted = 100 * grades
    elif score.startswith("bin"):
        counted = (grades == int(score[-1])).astype(np.int64)
    else:
        counted = (grades > 0).astype(np.int64)
    weights: Float = counted.astype(np.float64)
    return weights


def _cells_or_area(score: str, one: Float) -> Float | None:
    return None if score == "density" else one


def _of_tumour(
    score: str, cells: pd.DataFrame, grades: npt.NDArray[np.int64], areas: Mapping[str, float]
) -> _Part:
    """The tumour cells of a slide by their class, or else by the tumour regions."""
    kinds = cells["cell_type"].to_numpy() if "cell_type" in cells else np.full(len(cells), "", dtype=object)
    tumour = kinds == TUMOUR
    immune = np.isin(kinds, IMMUNE)
    note = refused = ""
    if not tumour.any() and "nest" in areas:
        if "border_um" in cells:
            tumour = cells["border_um"].to_numpy(dtype=np.float64) <= 0
        else:
            tumour = cells["compartment"].to_numpy() == "nest"
        immune, note = ~tumour, _BY_REGION
        if score == "cps":
            note += ", positive cells outside for immune cells"
    elif not tumour.any():
        refused = NO_TUMOUR
    elif score == "cps" and not immune.any():
        refused = "needs a class for lymphocytes or macrophages: there is none"
    positive = grades > 0
    if score == "cps":
        numerator = 100.0 * (positive & (tumour | immune))
    else:
        numerator = (positive & tumour).astype(np.float64)
    return _Part(score, "tissue", numerator, tumour.astype(np.float64), tumour, note, refused)


def _row(
    part: _Part,
    cells: pd.DataFrame,
    grades: npt.NDArray[np.int64],
    areas: Mapping[str, float],
    panel: Panel,
) -> dict[str, Any]:
    area = float(areas.get(part.compartment, np.nan))
    bins = np.bincount(grades[part.counted], minlength=4)[:4].astype(np.float64)
    # the numerator of the combined positive score counts immune cells, its denominator does not
    numerator = float(part.numerator.sum() if part.score == "cps" else part.numerator[part.counted].sum())
    denominator = area if part.denominator is None else float(part.denominator[part.counted].sum())
    if part.score == "hotspot":
        numerator, denominator, why = find_hotspot(cells, part.counted, panel.hotspot)
        if why:
            value, status, note = np.nan, REFUSED, why
        else:
            value, status, note = _value(part.score, numerator, denominator, bins, panel)
            note = note or f"{panel.hotspot.fields} of {panel.hotspot.candidates} fields"
    else:
        value, status, note = _value(part.score, numerator, denominator, bins, panel)
    name = feature_name(panel, part.score, part.compartment)
    row = _plain_row(name, part.score, (numerator, denominator, area), bins)
    return row | {
        "value": value,
        "n_cells": int(part.counted.sum()),
        "status": status,
        "note": note or part.note,
    }


def _plain_row(name: str, score: str, sums: tuple[float, float, float], bins: Float) -> dict[str, Any]:
    """A row without its value."""
    numerator, denominator, area = sums
    return {
        "feature": name,
        "kind": SCORE_KINDS[score],
        "numerator": numerator,
        "denominator": denominator,
        "area_mm2": area,
        "n_cells": int(bins.sum()),
        **dict(zip(_BINS, bins.astype(int).tolist(), strict=True)),
        "within_se": np.nan,
        "within_low": np.nan,
        "within_high": np.nan,
        "n_tiles": 0,
    }


def _within(
    part: _Part, grades: npt.NDArray[np.int64], tiles: Tiles, where: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """The error of a score within its section."""
    area = tiles.areas_mm2.get(part.compartment)
    if area is None:
        return {}
    n = len(area)
    numerator = part.numerator if part.score == "cps" else np.where(part.counted, part.numerator, 0.0)
    columns: list[npt.NDArray[Any]] = [np.bincount(where, numerator, n)]
    if part.denominator is None:
        columns.append(area)
    else:
        columns.append(np.bincount(where, np.where(part.counted, part.denominator, 0.0), n))
    columns += [np.bincount(where[part.counted & (grades == g)], minlength=n) for g in range(4)]
    spread, low, high, count = resample(part.score, np.column_stack(columns).astype(np.float64), area > 0)
    return {"within_se": spread, "within_low": low, "within_high": high, "n_tiles": count}


def score_counts(
    bins: Mapping[str, tuple[float, float, float, float]],
    areas_mm2: Mapping[str, float],
    panel: Panel,
    *,
    graded: bool = True,
) -> pd.DataFrame:
    """Scores of one slide from counts by intensity, where the cells themselves are not at hand.

    Parameters
    ----------
    bins : mapping of str to four floats
        Cells that are negative, 1+, 2+ and 3+, by compartment; ``tissue`` is the whole slide.
    areas_mm2 : mapping of str to float
        NaN where not known.
    panel : Panel
    graded : bool
        As for :func:`score_cells`.

    Returns
    -------
    DataFrame
        Columns :data:`SCORE_COLUMNS`; scores that need single cells are NaN with that reason.
    """
    rows = []
    for compartment, counts in bins.items():
        n = np.asarray(counts, dtype=np.float64)
        area = float(areas_mm2.get(compartment, np.nan))
        for score in panel.features:
            definition = DEFINITIONS[score]
            if definition.scope != "compartment":
                continue
            weights = _weights(score, np.arange(4))
            numerator = float((weights * n).sum())
            denominator = area if score == "density" else float(n.sum())
            value, status, note = _value(score, numerator, denominator, n, panel)
            if score == "hotspot" or (definition.graded and not graded):
                value, status = np.nan, REFUSED
                note = _UNGRADED if definition.graded else "needs the cells, not their counts"
            row = _plain_row(
                feature_name(panel, score, compartment), score, (numerator, denominator, area), n
            )
            rows.append(row | {"value": value, "status": status, "note": note})
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def pool_scores(scores: Iterable[pd.DataFrame], panel: Panel) -> pd.DataFrame:
    """Scores of several slides of one biopsy, from sums, in the order in which features first appear.

    A slide whose score was refused (no tumour classes, no grades, no area, no field for a hot-spot) does not
    count, and the note says so; one with too few cells does. The errors within the sections are joined as
    independent.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for frame in scores:
        for record in frame.to_dict("records"):
            found.setdefault(str(record["feature"]), []).append({str(k): v for k, v in record.items()})
    rows = [_pooled(records, panel) for records in found.values()]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def _pooled(records: list[dict[str, Any]], panel: Panel) -> dict[str, Any]:
    usable = [record for record in records if record["status"] != REFUSED]
    if not usable or len(records) == 1:
        return {**records[0], "note": _text(records[0]["note"])}
    score = str(records[0]["feature"]).removeprefix(f"{panel.marker}_").partition("_")[0]
    row = dict(usable[0])
    for key in ("numerator", "denominator", "area_mm2"):
        row[key] = float(sum(record[key] for record in usable))
    for key in ("n_cells", *_BINS):
        row[key] = int(sum(record[key] for record in usable))
    bins = np.array([row[key] for key in _BINS], dtype=np.float64)
    row["value"], row["status"], note = _value(score, row["numerator"], row["denominator"], bins, panel)
    told = [note, *(_text(record["note"]) for record in usable if record["status"] == OK)]
    lost = len(records) - len(usable)
    if lost:
        why = next(_text(record["note"]) for record in records if record["status"] == REFUSED)
        told.append(f"{lost} of {len(records)} slides left out: {why}")
    row["note"] = "; ".join(dict.fromkeys(text for text in told if text))
    if len(usable) > 1:
        row |= _joined_errors(usable, row["denominator"], score)
    return row


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _joined_errors(records: list[dict[str, Any]], denominator: float, score: str) -> dict[str, Any]:
    spreads, shares = (np.array([r[k] for r in records], dtype=float) for k in ("within_se", "denominator"))
    joined = np.nan
    if score not in {"allred", "receptor"} and denominator > 0:  # classes are no ratios of sums
        joined = float(f"{np.sqrt(((shares * spreads) ** 2).sum()) / denominator:.6g}")
    tiles = int(sum(record["n_tiles"] for record in records))
    return {"within_se": joined, "within_low": np.nan, "within_high": np.nan, "n_tiles": tiles}


def _value(
    score: str, numerator: float, denominator: float, bins: Float, panel: Panel
) -> tuple[float, str, str]:
    """Value, status and note of a score."""
    if score == "density":
        if np.isnan(denominator):
            return np.nan, REFUSED, "the area is not known"
        if denominator <= 0:
            return np.nan, TOO_FEW, "no evaluable area"
        return numerator / denominator, OK, ""
    n = int(denominator)
    least = {"cps": CPS_LEAST_TUMOUR_CELLS, "distance": 1}.get(score, panel.min_cells)
    if n == 0:
        return np.nan, TOO_FEW, "no positive cells" if score == "distance" else "no cells"
    if n < least:
        of = "viable tumour cells" if DEFINITIONS[score].scope == "tumour" else "cells"
        end = ": not evaluable" if score == "cps" else ""
        return np.nan, TOO_FEW, f"{n} {of}, fewer than {least}{end}"
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    value = float(value_of(score, above, below, bins))
    return value, OK, _class_name(value, panel) if score == "receptor" else ""


def _class_name(value: float, panel: Panel) -> str:
    """The name of a receptor's class; only the oestrogen receptor has a low positive one."""
    names = ("negative", "low positive" if panel.receptor == "ER" else "positive", "positive")
    return f"{panel.receptor} {names[int(value)]}"


def typed_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Give a table of scores that was read from a file its types: an empty column holds no numbers there."""
    numbers = {name: pd.to_numeric(scores[name]) for name in SCORE_COLUMNS if name not in _TEXTS}
    return scores.assign(**numbers)


def threshold_sensitivity(cells: pd.DataFrame, areas_mm2: Mapping[str, float], panel: Panel) -> pd.DataFrame:
    """How every score moves when the panel's thresholds are moved together.

    Parameters
    ----------
    cells : DataFrame
        As for :func:`score_cells`, with ``dab_od_mean`` (decadic), or ``dab_od_membrane_p90`` where the panel
        judges by it, for every cell.
    areas_mm2 : mapping of str to float
    panel : Panel

    Returns
    -------
    DataFrame
        Columns feature, factor (of :data:`SENSITIVITY_FACTORS`), threshold (1+), then the others of
        :data:`SCORE_COLUMNS`; empty where a cell lacks that measure. Factor 1 is the score itself.
    """
    columns = ["feature", "factor", "threshold", *SCORE_COLUMNS[1:]]
    frames = []
    decides = "dab_od_membrane_p90" if panel.statistic == "p90" else "dab_od_mean"
    known = decides in cells and bool(cells[decides].notna().all())  # what is missing would sort above 3+
    for factor in SENSITIVITY_FACTORS if known else ():
        limits = np.asarray(panel.thresholds) * factor
        moved = np.searchsorted(limits, cells[decides].to_numpy(dtype=np.float64), side="right")
        scores = score_cells(cells.assign(**{"class": moved.astype(np.int8)}), areas_mm2, panel)
        frames.append(scores.assign(factor=factor, threshold=float(limits[0])))
    if not frames:
        return pd.DataFrame(columns=columns)
    table = pd.concat(frames, ignore_index=True)[columns]
    return table.sort_values(["feature", "factor"], kind="stable", ignore_index=True)
