"""From the rows of an export to cells, areas and counts under our names and units."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.ihc.exports.classes import CellClass, compartment_of, read_class
from pdbiomarker.ihc.exports.columns import Role
from pdbiomarker.ihc.exports.raw import RawTable, to_floats
from pdbiomarker.ihc.panel import Panel
from pdbiomarker.tables import add_rows, nearest

__all__ = ["FACTORS", "Reading", "cells_of", "grades_of", "positions_of", "slides_of"]

Float = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]
Mask = npt.NDArray[np.bool_]

#: What a value in a unit is multiplied by, and the power of the pixel size that comes on top.
FACTORS: Final[Mapping[str, tuple[float, int]]] = {
    "um": (1.0, 0),
    "mm": (1e3, 0),
    "px": (1.0, 1),
    "um2": (1.0, 0),
    "mm2": (1e6, 0),
    "px2": (1.0, 2),
    "": (1.0, 0),
}
_TRUE: Final = frozenset({"true", "1", "1.0", "yes", "positive", "+"})
_FALSE: Final = frozenset({"false", "0", "0.0", "no", "negative", "-"})
_LARGEST_UM2: Final = 1e5
_DISAGREE: Final = 0.02


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read.

    Attributes
    ----------
    panel : Panel
    mpp : float or None
        Micrometres per pixel, where the export is in pixels.
    classes : mapping of str to str
        What classes mean that are not known.
    default_slide : str
        Where no column names the slide.
    """

    panel: Panel
    mpp: float | None
    classes: Mapping[str, str]
    default_slide: str


def slides_of(raw: RawTable, roles: Mapping[str, Role], reading: Reading, problems: Problems) -> Texts:
    """Give the slide of each row: the column's text (of a path, the file's name), or that of the file."""
    role = roles.get("slide")
    if role is None:
        return np.full(len(raw.lines), reading.default_slide, dtype=object)
    texts = raw.columns[role.column]
    names = {text: PurePosixPath(text.replace("\\", "/")).name for text in set(texts)}
    empty = [(int(raw.lines[i]), None, "The row names no slide.") for i in np.flatnonzero(texts == "")]
    add_rows(problems, "E-SHEET-004", empty, remedy="Export it again.", file=raw.file, column=role.column)
    return np.array([names[text] for text in texts], dtype=object)


def scaled(raw: RawTable, role: Role, reading: Reading, problems: Problems, *, high: float = np.inf) -> Float:
    """Numbers of a column in um or um2."""
    factor, power = FACTORS[role.unit]
    if power and reading.mpp is None:
        problems.add(
            "E-CELLS-003",
            "The column is in pixels, and the size of a pixel is not given.",
            remedy="Give the micrometres per pixel of the image (--mpp).",
            file=raw.file,
            column=role.column,
        )
        return np.full(len(raw.lines), np.nan)
    return to_floats(raw, role.column, problems, low=0, high=high) * factor * (reading.mpp or 1.0) ** power


def positions_of(
    raw: RawTable, roles: Mapping[str, Role], reading: Reading, problems: Problems
) -> tuple[Float, Float] | None:
    """Give the positions in um; the middle of the box where there is one. None: there are none."""
    if {"x", "y"} <= roles.keys():
        x, y = (scaled(raw, roles[axis], reading, problems) for axis in ("x", "y"))
        return x, y
    if {"x_min", "x_max", "y_min", "y_max"} <= roles.keys():
        x, y = (
            (
                scaled(raw, roles[f"{a}_min"], reading, problems)
                + scaled(raw, roles[f"{a}_max"], reading, problems)
            )
            / 2
            for a in ("x", "y")
        )
        return x, y
    return None


def _classes(
    raw: RawTable, roles: Mapping[str, Role], reading: Reading, problems: Problems
) -> list[CellClass]:
    """Give the class of every row; unknown ones are refused with the row."""
    role = roles.get("class") or roles.get("name")
    if role is None:
        return [CellClass(None)] * len(raw.lines)
    texts = raw.columns[role.column]
    known = {text: read_class(text, reading.panel.marker, reading.classes) for text in dict.fromkeys(texts)}
    unknown = [
        (int(raw.lines[i]), str(texts[i]), f"The class is not known for {reading.panel.marker}.")
        for i in np.flatnonzero([known[text] is None for text in texts])
    ]
    remedy = "Declare it, such as --class 'Other=negative' or --class 'Tumor cells=tumour'."
    add_rows(problems, "E-CELLS-004", unknown, remedy=remedy, file=raw.file, column=role.column)
    return [known[text] or CellClass(None) for text in texts]


def grades_of(
    raw: RawTable, roles: Mapping[str, Role], reading: Reading, classes: list[CellClass], problems: Problems
) -> tuple[npt.NDArray[np.float64], Float, bool]:
    """Give the grade of each cell (NaN: not measured), its DAB, and whether 1+, 2+ and 3+ are told apart.

    The export's own call goes first: its class, then its column of positivity. Where neither speaks, the
    panel's thresholds are put to its DAB. Where the call says "positive" and no more, DAB grades it.
    """
    n = len(classes)
    dab = (
        to_floats(raw, roles["dab"].column, problems, low=-4, high=4)
        if "dab" in roles
        else np.full(n, np.nan)
    )
    measured = np.where(
        np.isfinite(dab), np.searchsorted(np.asarray(reading.panel.thresholds), dab, side="right"), np.nan
    )
    if reading.panel.statistic == "p90" and np.isfinite(measured).any():
        measured[:] = np.nan
        problems.add(
            "E-CELLS-009",
            "The panel judges by the 90th percentile of the membrane, and the export has a mean: it calls no "
            "cell; only the export's own calls count.",
            remedy="Export the calls, or give a panel with statistic: mean.",
            file=raw.file,
            column=roles["dab"].column,
            severity="warning",
        )
    grade = np.array([np.nan if c.grade is None else c.grade for c in classes])
    coarse = np.array([not c.graded for c in classes], dtype=np.bool_)
    if "positive" in roles:
        called = _calls(raw, roles["positive"], problems)
        clash = np.isfinite(grade) & np.isfinite(called) & ((grade > 0) != (called > 0))
        told = [
            (int(raw.lines[i]), None, "Class and positivity contradict each other.")
            for i in np.flatnonzero(clash)
        ]
        column = roles["positive"].column
        add_rows(problems, "E-CELLS-008", told, remedy="Export it again.", file=raw.file, column=column)
        coarse |= np.isnan(grade) & (called > 0)
        grade = np.where(np.isnan(grade), called, grade)
    both = np.isfinite(grade) & np.isfinite(measured)
    apart = int((both & ((grade > 0) != (measured > 0))).sum())
    if both.any() and apart > _DISAGREE * both.sum():
        problems.add(
            "E-CELLS-009",
            f"{apart} of {int(both.sum())} cells are called otherwise than the panel's threshold "
            f"{reading.panel.thresholds[0]:g} would call them; the export's calls stand.",
            remedy="Use one threshold for pre and on; state it in the panel.",
            file=raw.file,
            severity="warning",
        )
    grade = np.where(coarse & np.isfinite(measured), np.maximum(measured, 1), grade)
    graded = not bool((coarse & np.isnan(measured)).any())
    return np.where(np.isnan(grade), measured, grade), dab, graded


def _calls(raw: RawTable, role: Role, problems: Problems) -> Float:
    texts = raw.columns[role.column]
    known = {
        t: 1.0 if t.casefold() in _TRUE else 0.0 if t.casefold() in _FALSE else np.nan for t in set(texts)
    }
    wrong = [
        (int(raw.lines[i]), str(texts[i]), "The cell is neither positive nor negative.")
        for i in np.flatnonzero([np.isnan(known[t]) and t != "" for t in texts])
    ]
    remedy = "Export 0 and 1, or true and false."
    add_rows(problems, "E-SHEET-007", wrong, remedy=remedy, file=raw.file, column=role.column)
    return np.array([known[text] for text in texts])


def _places(raw: RawTable, roles: Mapping[str, Role], classes: list[CellClass], problems: Problems) -> Texts:
    """Compartment of each cell, from its column or from QuPath's parent."""
    role = roles.get("compartment") or roles.get("parent")
    if role is None:
        return np.full(len(classes), "tissue", dtype=object)
    texts = raw.columns[role.column]
    known = {text: compartment_of(text) for text in dict.fromkeys(texts)}
    strange = [text for text, place in known.items() if place is None]
    if strange and role.role == "parent":
        problems.add(
            "E-REGION-005",
            f"Regions that stand for no compartment ({', '.join(strange[:5])}): their cells count as tissue.",
            remedy="Use the classes Tumor, Stroma, Ignore*, Necrosis or Artifact for regions.",
            file=raw.file,
            column=role.column,
            severity="warning",
        )
    elif strange:
        rows = np.flatnonzero([known[text] is None for text in texts])
        told = [(int(raw.lines[i]), str(texts[i]), "The compartment is not known.") for i in rows]
        remedy = nearest(strange[0], ["tissue", "nest", "tumor", "stroma", "margin", "excluded"])
        add_rows(problems, "E-REGION-005", told, remedy=remedy, file=raw.file, column=role.column)
    return np.array([known[text] or "tissue" for text in texts], dtype=object)


def cells_of(
    raw: RawTable, roles: Mapping[str, Role], reading: Reading, problems: Problems
) -> tuple[pd.DataFrame, bool]:
    """Cells of an export: one row each, in the file's order.

    Returns
    -------
    DataFrame
        slide, x_um, y_um, area_um2, dab_od_mean, haematoxylin_od_mean (NaN where the export has none),
        positive, class, compartment, cell_type, and biopsy_id where the export has it. Cells in excluded
        regions or of excluded classes are not among them; those without a call and a measurement are told
        and left out.
    bool
        Whether 1+, 2+ and 3+ are told apart.
    """
    n = len(raw.lines)
    blank = np.full(n, np.nan)
    classes = _classes(raw, roles, reading, problems)
    grade, dab, graded = grades_of(raw, roles, reading, classes, problems)
    places = positions_of(raw, roles, reading, problems)
    x, y = (blank, blank) if places is None else places
    area = scaled(raw, roles["area"], reading, problems, high=_LARGEST_UM2) if "area" in roles else blank
    blue = (
        to_floats(raw, roles["hematoxylin"].column, problems, low=-4, high=4)
        if "hematoxylin" in roles
        else blank
    )
    compartment = _places(raw, roles, classes, problems)
    kinds = np.array([c.kind for c in classes], dtype=object)
    if "cell_type" in roles:
        kinds = _kinds(raw, roles["cell_type"], reading, kinds, problems)
    columns = {
        "slide": slides_of(raw, roles, reading, problems),
        "x_um": x,
        "y_um": y,
        "area_um2": area,
        "dab_od_mean": dab,
        "haematoxylin_od_mean": blue,
        "positive": grade > 0,
        "class": np.nan_to_num(grade).astype(np.int8),
        "compartment": compartment,
        "cell_type": kinds,
    }
    if "biopsy" in roles:
        columns["biopsy_id"] = raw.columns[roles["biopsy"].column]
    _check_order(raw, roles, places, problems)
    lost = np.isnan(grade)
    if lost.any():
        _tell_lost(raw, lost, roles, problems)
    keep = ~lost & (kinds != "excluded") & (compartment != "excluded")
    return pd.DataFrame(columns)[keep].reset_index(drop=True), graded


def _kinds(raw: RawTable, role: Role, reading: Reading, kinds: Texts, problems: Problems) -> Texts:
    texts = raw.columns[role.column]
    known = {text: read_class(text, reading.panel.marker, reading.classes) for text in dict.fromkeys(texts)}
    rows = np.flatnonzero([known[text] is None for text in texts])
    told = [(int(raw.lines[i]), str(texts[i]), "The kind of cell is not known.") for i in rows]
    remedy = "Declare it, such as --class 'Fibroblast=other'."
    add_rows(problems, "E-CELLS-004", told, remedy=remedy, file=raw.file, column=role.column)
    found = np.array([(known[text] or CellClass(None)).kind for text in texts], dtype=object)
    return np.where(found == "", kinds, found)


def _check_order(
    raw: RawTable, roles: Mapping[str, Role], places: tuple[Float, Float] | None, problems: Problems
) -> None:
    """Refuse cells without a position where the export has positions."""
    if places is None or problems.errors:
        return
    rows = np.flatnonzero(np.isnan(places[0]) | np.isnan(places[1]))
    told = [(int(raw.lines[i]), None, "The cell has no position.") for i in rows]
    column = (roles.get("x") or roles["x_min"]).column
    add_rows(problems, "E-SHEET-017", told, remedy="Export it again.", file=raw.file, column=column)


def _tell_lost(raw: RawTable, lost: Mask, roles: Mapping[str, Role], problems: Problems) -> None:
    if not {"dab", "positive", "class", "name"} & roles.keys() or not (~lost).any():
        problems.add(
            "E-CELLS-001",
            "No cell is called positive or negative, and none has a DAB optical density.",
            remedy="Export the class, or the mean DAB optical density; or declare its column.",
            file=raw.file,
        )
        return
    role = roles.get("dab") or roles.get("positive") or roles.get("class") or roles["name"]
    problems.add(
        "E-CELLS-005",
        f"{int(lost.sum())} of {len(lost)} cells have neither a call nor a measurement (the first in row "
        f"{int(raw.lines[np.flatnonzero(lost)[0]])}); they are left out of numerator and denominator.",
        remedy="Export all measurements, if that was not meant.",
        file=raw.file,
        row=int(raw.lines[np.flatnonzero(lost)[0]]),
        column=role.column,
        severity="warning",
    )
