"""What the columns of an export mean: names and units, normalised, declared, never guessed.

``um`` may be written with the letter u, the micro sign or the Greek mu; a square as 2, ^2 or the superscript.

Column names that were checked against public exports and the scripts that read them: QuPath's detection and
annotation tables (``Image, Object type, Name, Class, Parent, Centroid X µm, Nucleus: Area µm^2, Nucleus: DAB
OD mean, Num Detections, Num Positive, Area µm^2``, and StarDist's ``DAB: Nucleus: Mean``); HALO's object data
(``Image Location, Analysis Region, Classifier Label, Object Id, XMin .. YMax, Nucleus Area (µm²), <marker>
Positive Classification``). HALO's columns of optical densities and of its summaries could not be checked:
they are read where `columns` declares them.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pdbiomarker.errors import Problems
from pdbiomarker.tables import nearest

__all__ = ["OURS", "Role", "match_columns", "normal_name"]

_UNITS: Final = {
    "um": "um",
    "um2": "um2",
    "micron": "um",
    "microns": "um",
    "mm": "mm",
    "mm2": "mm2",
    "px": "px",
    "px2": "px2",
    "pixel": "px",
    "pixels": "px",
    "%": "percent",
    "percent": "percent",
    "fraction": "fraction",
}
_UNIT: Final = re.compile(rf"(.*?)[\s:]*[\[(]?\b({'|'.join(u for u in _UNITS if u != '%')})[\])]?")
_PERCENT: Final = re.compile(r"(?:%\s*(.*)|(.*?)\s*[\[(]?%[\])]?)")

#: Our names, as `columns` may declare them, and the role and unit of each.
OURS: Final[Mapping[str, tuple[str, str]]] = {
    "slide": ("slide", ""),
    "biopsy_id": ("biopsy", ""),
    "x_um": ("x", "um"),
    "y_um": ("y", "um"),
    "x_px": ("x", "px"),
    "y_px": ("y", "px"),
    "area_um2": ("area", "um2"),
    "area_mm2": ("region_area", "mm2"),
    "area_px2": ("area", "px2"),
    "dab_od_mean": ("dab", ""),
    "haematoxylin_od_mean": ("hematoxylin", ""),
    "class": ("class", ""),
    "positive": ("positive", ""),
    "compartment": ("compartment", ""),
    "n_cells": ("n", ""),
    "n_positive": ("n_positive", ""),
    "n_negative": ("n_negative", ""),
    "n_1": ("n_1", ""),
    "n_2": ("n_2", ""),
    "n_3": ("n_3", ""),
    "positive_percent": ("share", "percent"),
    "positive_fraction": ("share", "fraction"),
    "hscore": ("hscore", ""),
}
_DAB: Final = {
    "nucleus": ("nucleus: dab od mean", "dab: nucleus: mean"),
    "ring": ("cytoplasm: dab od mean", "dab: cytoplasm: mean"),
    "cytoplasm": ("cytoplasm: dab od mean", "dab: cytoplasm: mean"),
    "membrane": ("membrane: dab od mean", "dab: membrane: mean"),
    "cell": ("cell: dab od mean", "dab: cell: mean"),
}
#: Role -> normal names, the first that is there.
_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "slide": ("image", "slide", "slide id", "image name", "image location", "sample name", "sample"),
    "biopsy": ("biopsy id", "biopsy"),
    "x": ("centroid x", "x", "cell x position"),
    "y": ("centroid y", "y", "cell y position"),
    "x_min": ("xmin",),
    "x_max": ("xmax",),
    "y_min": ("ymin",),
    "y_max": ("ymax",),
    "area": ("nucleus: area", "nucleus area", "area"),
    "region_area": ("area",),
    "hematoxylin": (
        "nucleus: hematoxylin od mean",
        "hematoxylin: nucleus: mean",
        "haematoxylin od mean",
        "hematoxylin od mean",
        "haematoxylin od",
        "hematoxylin od",
    ),
    "class": ("class", "classification", "phenotype"),
    "name": ("name",),
    "parent": ("parent",),
    "object": ("object type",),
    "compartment": ("compartment", "classifier label", "tissue category"),
    "cell_type": ("cell type",),
    "n": ("num detections", "num cells", "n cells"),
    "n_positive": ("num positive", "n positive"),
    "n_negative": ("num negative", "n negative"),
    "n_1": ("num 1+",),
    "n_2": ("num 2+",),
    "n_3": ("num 3+",),
    "share": ("positive",),
    "hscore": ("h-score", "hscore"),
}
_BOXES: Final = frozenset({"x_min", "x_max", "y_min", "y_max"})
_LENGTHS: Final = frozenset({"x", "y", "area", "region_area"})
_EXAMPLE: Final = {"x": "x_um", "y": "y_um", "area": "area_um2", "region_area": "area_mm2"}
#: QuPath's own cell detection writes the area of a nucleus on the scale of the positions, and names no unit.
_BARE_AREA: Final = "nucleus: area"


@dataclasses.dataclass(frozen=True, slots=True)
class Role:
    """A column that is read.

    Attributes
    ----------
    column : str
        As the file has it.
    role : str
        What it is.
    unit : str
        ``um``, ``um2``, ``mm``, ``mm2``, ``px``, ``px2``, ``percent``, ``fraction``, or "" where it has none.
    """

    column: str
    role: str
    unit: str


def normal_name(text: str) -> tuple[str, str]:
    """Split a column's name into its normal form and its unit.

    Examples
    --------
    >>> normal_name("Centroid X um"), normal_name("Nucleus Area (um2)"), normal_name("Positive %")
    (('centroid x', 'um'), ('nucleus area', 'um2'), ('positive', 'percent'))
    """
    whole = text.replace("Âµ", "µ").replace("Â²", "²").replace("^2", "2")
    plain = unicodedata.normalize("NFKC", whole).replace("μ", "u").replace("_", " ").casefold()
    plain = re.sub(r"\s+", " ", plain).strip()
    share = _PERCENT.fullmatch(plain)
    if share:
        return (share[1] or share[2] or "").strip(), "percent"
    found = _UNIT.fullmatch(plain)
    if found and found[1]:
        return found[1].strip(), _UNITS[found[2]]
    return plain, ""


def match_columns(
    header: Sequence[str],
    *,
    file: str,
    marker: str,
    measure: str,
    declared: Mapping[str, str],
    problems: Problems,
) -> dict[str, Role]:
    """Find out what the columns of a file are.

    Parameters
    ----------
    header : sequence of str
    file : str
    marker : str
        Of the panel: HALO names its columns after it.
    measure : str
        Where the panel measures DAB: which of several columns is taken.
    declared : mapping of str to str
        The file's name of a column -> one of :data:`OURS`; goes before everything else.
    problems : Problems
        E-CELLS-002: a length or area without a unit. E-SHEET-001: a declared column that is not there.

    Returns
    -------
    dict
        Role -> what is read for it.
    """
    roles: dict[str, Role] = {}
    for theirs, ours in declared.items():
        if theirs not in header:
            problems.add(
                "E-SHEET-001",
                "There is no such column.",
                remedy=nearest(theirs, header),
                file=file,
                column=theirs,
            )
        elif ours not in OURS:
            problems.add(
                "E-CELLS-002",
                "There is no such name.",
                remedy=nearest(ours, OURS),
                file=file,
                column=theirs,
                value=ours,
            )
        else:
            role, unit = OURS[ours]
            roles[role] = Role(theirs, role, unit)
    taken = {role.column for role in roles.values()}
    normal = [(name, *normal_name(name)) for name in header if name not in taken]
    folded = re.sub(r"[\s-]", "", marker).casefold()
    for role, names in _table(measure).items():
        if role not in roles:
            found = _first(normal, names, role)
            if found is not None:
                roles[role] = found
    if "positive" not in roles:
        for column, name, unit in normal:
            stem = re.sub(r" positive( classification)?$", "", name)
            if not unit and (name == "positive" or (stem != name and _folded(stem) in {folded, "dab"})):
                roles["positive"] = Role(column, "positive", "")
                break
    _area_as_positions(roles)
    for role in sorted(_LENGTHS & roles.keys()):
        if not roles[role].unit:
            theirs, ours = roles[role].column, _EXAMPLE[role]
            problems.add(
                "E-CELLS-002",
                "The name of the column states no unit.",
                remedy=f"Declare it: --column '{theirs}={ours}', in study.yaml {{{theirs!r}: {ours}}}.",
                file=file,
                column=theirs,
            )
    return roles


def _area_as_positions(roles: dict[str, Role]) -> None:
    area, units = roles.get("area"), {roles[role].unit for role in ("x", "y") if role in roles}
    if area and normal_name(area.column) == (_BARE_AREA, "") and not area.unit and units in ({"um"}, {"px"}):
        roles["area"] = dataclasses.replace(area, unit=f"{units.pop()}2")


def _folded(text: str) -> str:
    return re.sub(r"[\s-]", "", text).casefold()


def _table(measure: str) -> dict[str, tuple[str, ...]]:
    own = _DAB.get(measure, _DAB["nucleus"])
    return {**_KNOWN, "dab": (*own, "dab od mean", "dab od")}


def _first(normal: Iterable[tuple[str, str, str]], names: Sequence[str], role: str) -> Role | None:
    by_name: dict[str, Role] = {}
    for column, name, unit in normal:
        if role == "share" and not unit:
            continue  # without a unit it may be a call, not a share
        own = "px" if role in _BOXES else unit
        by_name.setdefault(name, Role(column, role, own))
    return next((by_name[name] for name in names if name in by_name), None)
