"""Annotated regions: QuPath's GeoJSON, in pixels of the full image, by compartment.

Polygons that are not valid or lie off the slide are quarantined, each by itself, with its reason. Where
regions of one compartment overlap, their area counts once. A region that lies wholly inside one of the other
compartment was drawn on top of it and counts as what it says; where nest and stroma merely overlap, it is
nest. The invasive margin, where one is asked for, is a band on both sides of the border of the nests; it
belongs to neither.
"""

from __future__ import annotations

import dataclasses
import json
import math
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

from pdbiomarker.errors import Problems
from pdbiomarker.provenance import write_text

__all__ = [
    "COMPARTMENTS",
    "Compartments",
    "Regions",
    "check_regions",
    "load_features",
    "read_regions",
    "regions_of",
    "write_regions",
]

Float = npt.NDArray[np.float64]

#: Classes of QuPath, in lower case, and the compartment each stands for. A trailing ``*`` is ignored.
COMPARTMENTS: Final[Mapping[str, str]] = {
    "tumor": "nest",
    "tumour": "nest",
    "nest": "nest",
    "tumor nest": "nest",
    "tumour nest": "nest",
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
_FARTHEST: Final = 1e7  # pixels: no slide is a tenth as wide
_QUPATH: Final[Mapping[str, tuple[str, tuple[int, int, int]]]] = {
    "nest": ("Tumor", (200, 0, 0)),
    "stroma": ("Stroma", (150, 200, 150)),
    "margin": ("Margin", (230, 150, 0)),
    "excluded": ("Ignore*", (180, 180, 180)),
}
_NAMESPACE: Final = uuid.UUID("1f0b2d52-6d7e-5a3c-9a44-7354c0ffee01")


class Compartments(Protocol):
    """What :class:`Regions` and :class:`pdbiomarker.ihc.MaskRegions` have in common."""

    @property
    def names(self) -> tuple[str, ...]:
        """Compartments that there are, in the order in which they are scored."""

    def areas_mm2(self, mpp: float) -> dict[str, float]:
        """Area of the compartments whose area was drawn; that of the others is the tissue in them."""

    def locate(self, x: Float, y: Float) -> npt.NDArray[np.object_]:
        """Compartment of positions in pixels of the full image; ``tissue`` for none."""

    def border_um(self, x: Float, y: Float, mpp: float) -> Float:
        """Distance of positions to the border of the tumour in um, negative inside."""

    def with_margin(self, width: float) -> Compartments:
        """Cut a band of `width` pixels on both sides of the border of the tumour out of the others."""


@dataclasses.dataclass(frozen=True, slots=True)
class Regions:
    """Annotated compartments of one slide, in pixels of the full image.

    Attributes
    ----------
    compartments : mapping of str to geometry
        ``nest`` and ``stroma``, where they were annotated: without what is excluded, and apart; and
        ``margin``, where it was asked for.
    excluded : geometry
        What counts neither as area nor for cells.
    tumour : geometry
        The nests before a margin was cut out: what distances are measured to.
    """

    compartments: Mapping[str, BaseGeometry]
    excluded: BaseGeometry
    tumour: BaseGeometry = dataclasses.field(default_factory=shapely.Polygon)

    @property
    def names(self) -> tuple[str, ...]:
        """Compartments that there are, in the order in which they are scored."""
        return tuple(name for name in ("nest", "stroma", "margin") if name in self.compartments)

    def areas_mm2(self, mpp: float) -> dict[str, float]:
        """Annotated area of every compartment in mm2, without what is excluded.

        The margin was not drawn and may reach beyond the tissue: it is not among them.
        """
        return {
            name: float(shape.area) * mpp**2 * 1e-6
            for name, shape in self.compartments.items()
            if name != "margin"
        }

    def locate(self, x: Float, y: Float) -> npt.NDArray[np.object_]:
        """Compartment of positions in pixels: a name, ``excluded``, or ``tissue`` for none."""
        where = np.full(len(x), "tissue", dtype=object)
        for name, shape in (*self.compartments.items(), ("excluded", self.excluded)):
            shapely.prepare(shape)
            where[shapely.contains_xy(shape, x, y)] = name
        return where

    def border_um(self, x: Float, y: Float, mpp: float) -> Float:
        """Distance to the border of the nests in um, negative inside; NaN without nests."""
        if self.tumour.is_empty:
            return np.full(len(x), np.nan)
        lines = shapely.get_parts(shapely.boundary(self.tumour))
        corners = [shapely.get_coordinates(line) for line in lines]
        pairs = np.concatenate([np.stack([ring[:-1], ring[1:]], axis=1) for ring in corners])
        found = np.full(len(x), np.nan)
        if len(x):
            tree = shapely.STRtree(np.atleast_1d(shapely.linestrings(pairs)))
            (which, _), distance = tree.query_nearest(
                shapely.points(x, y), return_distance=True, all_matches=False
            )
            found[which] = distance * mpp
        shapely.prepare(self.tumour)
        return np.where(shapely.contains_xy(self.tumour, x, y), -found, found)

    def with_margin(self, width: float) -> Regions:
        """Cut a band of `width` pixels on both sides of the border of the nests out of the others."""
        if width <= 0 or self.tumour.is_empty:
            return self
        band = self.tumour.boundary.buffer(width).difference(self.excluded)
        cut = {name: shape.difference(band) for name, shape in self.compartments.items()}
        kept = {name: shape for name, shape in cut.items() if shape.area > 0}
        return dataclasses.replace(self, compartments={**kept, "margin": band})


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
    features = load_features(file, problems)
    if features is None:
        return None
    return regions_of(features, file.name, shape=shape, problems=problems)


def regions_of(
    features: list[Any], file: str, *, shape: tuple[int, int] | None = None, problems: Problems
) -> Regions:
    """Make regions of GeoJSON features; see :func:`read_regions`."""
    stem = Path(file).stem
    found: dict[str, list[BaseGeometry]] = {"nest": [], "stroma": [], "excluded": []}
    for number, feature in enumerate(features, start=1):
        name = f"{stem}#{number}"
        compartment = _compartment(feature, name, file, problems)
        if compartment is None:
            continue
        for polygon in _polygons(feature, name, file, problems):
            kept = _on_slide(polygon, shape, name, file, problems)
            if kept is not None:
                found[compartment].append(kept)
    return _arrange(found, file, problems)


def check_regions(path: str | Path) -> Problems:
    """Check a GeoJSON file by itself (what lies off the slide is known only with the slide)."""
    problems = Problems()
    read_regions(path, problems=problems)
    return problems


def load_features(file: Path, problems: Problems) -> list[Any] | None:
    """Read the features of a GeoJSON file; None (told: E-FILE-001, E-REGION-001) where it is none."""

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
        except (TypeError, ValueError, OverflowError):
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
    if np.abs(ring[:, :2]).max(initial=0) > _FARTHEST:
        return "a coordinate is farther out than any slide reaches"
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
    islands = _inside(found["stroma"], unions["nest"])
    if not islands.is_empty:
        overlap(
            "Stroma was drawn inside a nest; it counts as stroma.",
            "Draw them apart, if that was not meant.",
        )
        unions["nest"] = unions["nest"].difference(islands).union(_inside(found["nest"], islands))
    if unions["nest"].intersection(unions["stroma"]).area > _OVERLAP * max(unions["stroma"].area, 1.0):
        overlap(
            "Nest and stroma overlap; what both claim counts as nest.",
            "Draw them apart, if that was not meant.",
        )
    unions["stroma"] = unions["stroma"].difference(unions["nest"])
    kept = {name: unions[name].difference(unions["excluded"]) for name in _SCORED if found[name]}
    shown = {name: shape for name, shape in kept.items() if shape.area > 0}
    return Regions(shown, unions["excluded"], unions["nest"])


def _inside(shapes: list[BaseGeometry], outer: BaseGeometry) -> BaseGeometry:
    """Give the union of the shapes that lie wholly inside another, smaller than it."""
    shapely.prepare(outer)
    own = [shape for shape in shapes if shape.area < outer.area * (1 - _OVERLAP) and outer.covers(shape)]
    return shapely.union_all(own) if own else shapely.Polygon()


def write_regions(regions: Regions, path: str | Path, *, name: str = "") -> Path:
    """Write regions as QuPath reads annotations: pixels of the full image, one feature a polygon.

    Parameters
    ----------
    regions : Regions
    path : path
        ``<slide_id>.geojson``.
    name : str
        What the ids of the features are made from, such as the slide's id: same name, same bytes.

    Returns
    -------
    Path
    """
    features = []
    for compartment, shape in (*regions.compartments.items(), ("excluded", regions.excluded)):
        label, colour = _QUPATH[compartment]
        for number, part in enumerate(shapely.get_parts(shape), start=1):
            if part.geom_type != "Polygon" or part.is_empty:
                continue
            rings = [shapely.get_coordinates(ring).tolist() for ring in (part.exterior, *part.interiors)]
            features.append(
                {
                    "type": "Feature",
                    "id": str(uuid.uuid5(_NAMESPACE, f"{name}/{compartment}/{number}")),
                    "geometry": {"type": "Polygon", "coordinates": rings},
                    "properties": {
                        "objectType": "annotation",
                        "classification": {"name": label, "color": list(colour)},
                        "isLocked": False,
                    },
                }
            )
    document = {"type": "FeatureCollection", "features": features}
    write_text(path, json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n")
    return Path(path)
