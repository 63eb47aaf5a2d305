"""Rows that count cells of a region or slide: QuPath's annotation tables, and summaries.

Counts are taken where there are counts. A percentage is taken only with the number of cells beside it, and
only when the two give a whole number of positive cells. The unit of a percentage is in its name or declared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.errors import Problems
from pdbiomarker.ihc.exports.cells import Reading, scaled, slides_of
from pdbiomarker.ihc.exports.classes import compartment_of
from pdbiomarker.ihc.exports.columns import Role
from pdbiomarker.ihc.exports.raw import RawTable, to_floats
from pdbiomarker.tables import add_rows

__all__ = ["Summary", "summaries_of"]

Float = npt.NDArray[np.float64]
Bins = tuple[float, float, float, float]

_WHOLE: Final = 1e-6  # cells
_HSCORE: Final = 0.6  # points: printed H-scores are rounded


@dataclasses.dataclass(slots=True)
class Summary:
    """What the rows of a table say of slides.

    Attributes
    ----------
    areas : dict
        Slide -> compartment -> mm2.
    counts : dict
        Slide -> compartment -> cells that are negative, 1+, 2+ and 3+.
    biopsies : dict
        Slide -> biopsy, where the table says so.
    graded : bool
        Whether 1+, 2+ and 3+ are told apart.
    """

    areas: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    counts: dict[str, dict[str, Bins]] = dataclasses.field(default_factory=dict)
    biopsies: dict[str, str] = dataclasses.field(default_factory=dict)
    graded: bool = True


def summaries_of(raw: RawTable, roles: Mapping[str, Role], reading: Reading, problems: Problems) -> Summary:
    """Read counts and areas by slide and compartment; regions of one compartment are added up."""
    slides = slides_of(raw, roles, reading, problems)
    places = _places(raw, roles, problems)
    n = len(raw.lines)
    measured = roles.get("region_area") or roles.get("area")
    area = np.full(n, np.nan) if measured is None else scaled(raw, measured, reading, problems) * 1e-6
    bins, graded = _bins(raw, roles, problems)
    found = Summary(graded=graded)
    if problems.errors:
        return found
    seen: dict[tuple[str, str], int] = {}
    twice: list[tuple[int, str | None, str]] = []
    by_region = "class" in roles or "compartment" in roles or "name" in roles
    for row in range(n):
        slide, place = str(slides[row]), str(places[row])
        other = seen.setdefault((slide, place), int(raw.lines[row]))
        if other != int(raw.lines[row]) and not by_region:
            twice.append(
                (int(raw.lines[row]), slide, f"The slide stands in rows {other} and {raw.lines[row]}.")
            )
            continue
        areas = found.areas.setdefault(slide, {})
        if np.isfinite(area[row]):
            areas[place] = areas.get(place, 0.0) + float(area[row])
        if bins is not None and np.isfinite(bins[row]).all() and place != "excluded":
            own = found.counts.setdefault(slide, {})
            before = np.array(own.get(place, (0.0,) * 4))
            own[place] = tuple((before + bins[row]).tolist())
        if "biopsy" in roles:
            found.biopsies[slide] = str(raw.columns[roles["biopsy"].column][row])
    remedy = "Choose the rows, such as --where 'DAB threshold=0.2'."
    column = roles["slide"].column if "slide" in roles else None
    add_rows(problems, "E-SHEET-005", twice, remedy=remedy, file=raw.file, column=column)
    for slide in found.areas:
        _whole(found.areas[slide])
        if slide in found.counts:
            _whole_counts(found.counts[slide])
    return found


def _whole(areas: dict[str, float]) -> None:
    """The area of the tissue: as drawn, or else the compartments together; without what is excluded."""
    parts = sum(areas.get(name, 0.0) for name in ("nest", "stroma", "margin"))
    lost = areas.pop("excluded", 0.0)
    if "tissue" in areas:
        areas["tissue"] = max(areas["tissue"] - lost, 0.0)
    elif parts:
        areas["tissue"] = parts


def _whole_counts(counts: dict[str, Bins]) -> None:
    if "tissue" not in counts:
        counts["tissue"] = tuple(np.sum([np.array(c) for c in counts.values()], axis=0).tolist())


def _places(raw: RawTable, roles: Mapping[str, Role], problems: Problems) -> npt.NDArray[np.object_]:
    role = roles.get("compartment") or roles.get("class") or roles.get("name")
    if role is None:
        return np.full(len(raw.lines), "tissue", dtype=object)
    texts = raw.columns[role.column]
    known: dict[str, Any] = {text: compartment_of(text) for text in dict.fromkeys(texts)}
    if role.role == "name":
        known = {text: place or "tissue" for text, place in known.items()}
    rows = np.flatnonzero([known[text] is None for text in texts])
    told = [
        (int(raw.lines[i]), str(texts[i]), "The region has no class that stands for a compartment.")
        for i in rows
    ]
    remedy = "Use Tumor, Stroma, Tissue, Ignore*, Necrosis or Artifact."
    add_rows(problems, "E-REGION-005", told, remedy=remedy, file=raw.file, column=role.column)
    return np.array([known[text] or "tissue" for text in texts], dtype=object)


def _bins(raw: RawTable, roles: Mapping[str, Role], problems: Problems) -> tuple[Float | None, bool]:
    """Cells by intensity in every row; None where the table has no counts."""
    have = {
        name: to_floats(raw, roles[name].column, problems, low=0)
        for name in ("n", "n_positive", "n_negative", "n_1", "n_2", "n_3", "share")
        if name in roles
    }
    if problems.errors:
        return None, True
    grades = [have.get(name) for name in ("n_1", "n_2", "n_3")]
    total = have.get("n")
    if total is None and "n_positive" in have and "n_negative" in have:
        total = have["n_positive"] + have["n_negative"]
    graded = all(g is not None for g in grades)
    if graded:
        upper = np.column_stack([g for g in grades if g is not None])
        negative = have.get("n_negative")
        if negative is None:
            negative = None if total is None else total - upper.sum(axis=1)
        bins = None if negative is None else np.column_stack([negative, upper])
    else:
        positive = have.get("n_positive")
        if positive is None and total is not None and "n_negative" in have:
            positive = total - have["n_negative"]
        if positive is None and total is not None and "share" in have:
            positive = _from_share(raw, roles["share"], have["share"], total, problems)
        bins = None
        if positive is not None and total is not None:
            zero = np.zeros(len(total))
            bins = np.column_stack([total - positive, positive, zero, zero])
    if bins is not None:
        _check_bins(raw, roles, have, bins, problems)
        if graded:
            _check_hscore(raw, roles, bins, problems)
    return bins, graded


def _from_share(raw: RawTable, role: Role, share: Float, total: Float, problems: Problems) -> Float:
    """Positive cells from a percentage or fraction and the number of cells; they must be whole."""
    top = 100.0 if role.unit == "percent" else 1.0
    positive = share / top * total
    whole = np.rint(positive)
    decimals = np.array([len(text.partition(".")[2]) for text in raw.columns[role.column]])
    slack = 0.5 * 10.0**-decimals / top * total + _WHOLE  # as far as the printed decimals can tell
    over = np.flatnonzero(share > top)
    told = [(int(raw.lines[i]), f"{share[i]:g}", f"The {role.unit} lies above {top:g}.") for i in over]
    add_rows(problems, "E-SHEET-008", told, remedy="Declare its unit.", file=raw.file, column=role.column)
    odd = np.flatnonzero(np.abs(positive - whole) > slack)
    told = [
        (int(raw.lines[i]), f"{share[i]:g}", f"It gives {positive[i]:.3f} positive cells of {total[i]:g}.")
        for i in odd
    ]
    remedy = "Export the counts; a share belongs to whole cells."
    add_rows(problems, "E-CELLS-006", told, remedy=remedy, file=raw.file, column=role.column)
    return whole


def _check_bins(
    raw: RawTable, roles: Mapping[str, Role], have: Mapping[str, Float], bins: Float, problems: Problems
) -> None:
    """Refuse rows whose counts are not whole, or contradict each other."""
    total = have.get("n", bins.sum(axis=1))
    positive = have.get("n_positive", bins[:, 1:].sum(axis=1))
    finite = np.isfinite(bins).all(axis=1)
    odd = (np.rint(bins) != bins).any(axis=1) | (bins < 0).any(axis=1)
    odd |= (np.abs(total - bins.sum(axis=1)) > 0.5) | (np.abs(positive - bins[:, 1:].sum(axis=1)) > 0.5)
    if "n_negative" in have:
        odd |= np.abs(have["n_negative"] - bins[:, 0]) > 0.5
    if "share" in have and "share" in roles:
        top = 100.0 if roles["share"].unit == "percent" else 1.0
        told_share = have["share"] / top * total
        odd |= np.abs(told_share - positive) > np.maximum(0.5, 1e-3 * total)
    rows = np.flatnonzero(odd & finite)
    told = [
        (int(raw.lines[i]), None, "The counts of the row contradict each other, or are not whole.")
        for i in rows
    ]
    add_rows(problems, "E-CELLS-006", told, remedy="Export the table again.", file=raw.file)


def _check_hscore(raw: RawTable, roles: Mapping[str, Role], bins: Float, problems: Problems) -> None:
    """Hold an exported H-score against the counts: weights 2, 3, 4 (0 to 400) are another score."""
    if "hscore" not in roles:
        return
    stated = to_floats(raw, roles["hscore"].column, problems, low=0, high=300)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = 100 * (bins @ np.arange(4.0)) / bins.sum(axis=1)
    rows = np.flatnonzero(np.abs(stated - own) > _HSCORE)
    told = [
        (int(raw.lines[i]), f"{stated[i]:g}", f"The counts give an H-score of {own[i]:.1f}.") for i in rows
    ]
    remedy = "Check its weights: ours are 1, 2, 3 (0 to 300)."
    add_rows(problems, "E-CELLS-006", told, remedy=remedy, file=raw.file, column=roles["hscore"].column)
