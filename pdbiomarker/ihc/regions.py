"""Annotated regions: QuPath's GeoJSON, in pixels of the full image, by compartment.

Polygons that are not valid or lie off the slide are quarantined, each by itself, with its reason. Where
regions of one compartment overlap, their area counts once; where nest and stroma overlap, it is nest.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

from pdbiomarker.errors import Problems

__all__ = ["COMPARTMENTS", "Regions", "check_regions", "read_regions"]

#: Classes of QuPath, in lower case, and the compartment each stands for. A trailing ``*`` is ignored.
COMPARTMENTS: Final[Mapping[str, str]] = {
    "tumor": "nest",
    "tumour": "nest",
    "nest": "nest",
    "tumor nest": "nest",
    "stroma": "stroma",
    "ignore": "excluded",
    "exclude": "excluded",
    "excluded": "excluded",
    "exclusion": "excluded",
    "artifact": "excluded",
    "artefact": "excluded",
    "necrosis": "excluded",
}
_SCORED: Final = ("nest", "stroma")
_MAX_BYTES: Final = 256 * 2**20
_OVERLAP: Final = 1e-3


@dataclasses.dataclass(frozen=True, slots=True)
class Regions:
    """Annotated compartments of one slide, in pixels of the full image.

    Attributes
    ----------
    compartments : mapping of str to geometry
        ``nest`` and ``stroma``, where they were annotated: without what is excluded, and apart.
    excluded : geometry
        What counts neither as area nor for cells.
    """

    compartments: Mapping[str, BaseGeometry]
    excluded: BaseGeometry

    def areas_mm2(self, mpp: float) -> dict[str, float]:
        """Annotated area of every compartment in mm2, without what is excluded."""
        return {name: float(shape.area) * mpp**2 * 1e-6 for name, shape in self.compartments.items()}

    def locate(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.object_]:
        """Compartment of positions in pixels: ``nest``, ``stroma``, ``excluded``, or ``tissue`` for none."""
        where = np.full(len(x), "tissue", dtype=object)
        for name, shape in (*self.compartments.items(), ("excluded", self.excluded)):
            shapely.prepare(shape)
            where[shapely.contains_xy(shape, x, y)] = name
        return where


def read_regions(
    path: str | Path, *, shape: tuple[int, int] | None = None, problems: Problems
) -> Regions | None:
    """Read the annotations of a slide.

    Parameters
    ----------
    path : path
        GeoJSON: a FeatureCollection, a list of features or one feature; Polygon or MultiPolygon, with the
        class in ``properties.classification.name``.
    shape : tuple of int, optional
        Height and width of the slide, to find what lies off it.
    problems : Problems
        Takes E-REGION-001 (the file cannot be read), -002 (invalid polygon), -003 (off the slide), -004
        (overlap), -005 (a class without a compartment).

    Returns
    -------
    Regions or None
        None when the file cannot be read.
    """
    file = Path(path)
    features = _features(file, problems)
    if features is None:
        return None
    found: dict[str, list[BaseGeometry]] = {"nest": [], "stroma": [], "excluded": []}
    for number, feature in enumerate(features, start=1):
        name = f"{file.stem}#{number}"
        compartment = _compartment(feature, name, file.name, problems)
        if compartment is None:
            continue
        for polygon in _polygons(feature, name, file.name, problems):
            kept = _on_slide(polygon, shape, name, file.name, problems)
            if kept is not None:
                found[compartment].append(kept)
    return _arrange(found, file.name, problems)


def check_regions(path: str | Path) -> Problems:
    """Check a GeoJSON file by itself (what lies off the slide is known only with the slide)."""
    problems = Problems()
    read_regions(path, problems=problems)
    return problems


def _features(file: Path, problems: Problems) -> list[Any] | None:
    def refuse(message: str, remedy: str) -> None:
        problems.add(
            "E-REGION-001", message, remedy=remedy, file=file.name, severity="quarantine", item=file.stem
        )

    try:
        if not file.is_file():
            problems.add(
                "E-FILE-001",
                "There is no such region file.",
                remedy="Correct the path.",
                file=file.name,
                severity="quarantine",
                item=file.stem,
            )
            return None
        if file.stat().st_size > _MAX_BYTES:
            refuse("The file is larger than 256 MB.", "Export annotations only, without the detected cells.")
            return None
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        place = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        refuse(f"The file is no GeoJSON ({type(error).__name__}{place}).", "Export the annotations again.")
        return None
    if isinstance(data, dict) and data.get("type") == "FeatureCollection":
        data = data.get("features")
    elif isinstance(data, dict) and data.get("type") == "Feature":
        data = [data]
    if not isinstance(data, list):
        refuse("The file holds no features.", "Export the annotations as a FeatureCollection.")
        return None
    return data


def _compartment(feature: Any, name: str, file: str, problems: Problems) -> str | None:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    classification = properties.get("classification") if isinstance(properties, dict) else None
    label = classification.get("name") if isinstance(classification, dict) else None
    if not isinstance(label, str):
        label = None
    compartment = COMPARTMENTS.get((label or "").strip().rstrip("*").strip().lower())
    if compartment is None:
        problems.add(
            "E-REGION-005",
            "The region has no class that stands for a compartment; it is not used.",
            remedy="Use Tumor, Stroma, Ignore*, Exclude, Necrosis or Artifact.",
            file=file,
            column=name,
            value=label,
            severity="warning",
            item=name,
        )
    return compartment


def _polygons(feature: Any, name: str, file: str, problems: Problems) -> Iterator[BaseGeometry]:
    geometry = feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    coordinates = geometry.get("coordinates") if isinstance(geometry, dict) else None
    parts = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(str(kind))
    if not isinstance(parts, list):
        _invalid(f"it is a {kind}, not a polygon", name, file, problems)
        return
    for part in parts:
        try:
            rings = [np.asarray(ring, dtype=np.float64) for ring in part]
        except (TypeError, ValueError):
            _invalid("its coordinates are not pairs of numbers", name, file, problems)
            continue
        reason = "it has no ring" if not rings else next((r for r in map(_ring_fault, rings) if r), "")
        if reason:
            _invalid(reason, name, file, problems)
            continue
        polygon = shapely.Polygon(rings[0][:, :2], [ring[:, :2] for ring in rings[1:]])
        if not polygon.is_valid or polygon.area <= 0:
            _invalid(
                explain_validity(polygon) if not polygon.is_valid else "it has no area", name, file, problems
            )
            continue
        yield polygon


def _ring_fault(ring: npt.NDArray[np.float64]) -> str:
    if ring.ndim != 2 or ring.shape[1] < 2:
        return "its coordinates are not pairs of numbers"
    if not np.isfinite(ring).all():
        return "a coordinate is not finite"
    if len(ring) < 4:
        return f"a ring has {len(ring)} positions, fewer than 4"
    if not np.array_equal(ring[0, :2], ring[-1, :2]):
        return "a ring is not closed"
    return ""


def _invalid(reason: str, name: str, file: str, problems: Problems) -> None:
    problems.add(
        "E-REGION-002",
        f"The region is left out: {reason}.",
        remedy="Draw the region again and export it.",
        file=file,
        column=name,
        severity="quarantine",
        item=name,
    )


def _on_slide(
    polygon: BaseGeometry, shape: tuple[int, int] | None, name: str, file: str, problems: Problems
) -> BaseGeometry | None:
    if shape is None:
        return polygon
    inside = polygon.intersection(shapely.box(0, 0, shape[1], shape[0]))
    lost = 1 - inside.area / polygon.area
    if inside.area > 0 and lost < _OVERLAP:
        return inside
    gone = inside.area == 0 or not math.isfinite(lost)
    problems.add(
        "E-REGION-003",
        "The region lies off the slide; it is left out."
        if gone
        else f"{100 * lost:.1f} % of the region lies off the slide; that part is cut off.",
        remedy="Check that the regions belong to this slide and are in pixels of the full image.",
        file=file,
        column=name,
        severity="quarantine" if gone else "warning",
        item=name,
    )
    return None if gone else inside


def _arrange(found: Mapping[str, list[BaseGeometry]], file: str, problems: Problems) -> Regions:
    unions = {name: shapely.union_all(shapes) for name, shapes in found.items()}

    def overlap(message: str, remedy: str) -> None:
        problems.add("E-REGION-004", message, remedy=remedy, file=file, severity="warning")

    for name in _SCORED:
        total = sum(shape.area for shape in found[name])
        if total > unions[name].area * (1 + _OVERLAP):
            overlap(
                f"Regions of the {name} overlap; their area counts once.",
                "Merge them, if that was not meant.",
            )
    if unions["nest"].intersection(unions["stroma"]).area > _OVERLAP * max(unions["stroma"].area, 1.0):
        overlap(
            "Nest and stroma overlap; what both claim counts as nest.",
            "Draw them apart, if that was not meant.",
        )
    unions["stroma"] = unions["stroma"].difference(unions["nest"])
    kept = {name: unions[name].difference(unions["excluded"]) for name in _SCORED if found[name]}
    return Regions({name: shape for name, shape in kept.items() if shape.area > 0}, unions["excluded"])
