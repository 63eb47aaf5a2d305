"""QuPath's GeoJSON: detections become rows of a table, annotations become regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.errors import Problems
from pdbiomarker.ihc.exports.raw import RawTable
from pdbiomarker.ihc.regions import load_features
from pdbiomarker.tables import add_rows

__all__ = ["read_geojson"]

_X: Final = "Centroid X px"
_Y: Final = "Centroid Y px"
_CLASS: Final = "Class"
_AREA: Final = "Nucleus: Area px^2"
_DETECTIONS: Final = frozenset({"detection", "cell", "tile"})


def read_geojson(path: Path, problems: Problems) -> tuple[RawTable, list[Any]] | None:
    """Read detections and annotations.

    Returns
    -------
    RawTable
        Columns as QuPath's tables name them: ``Class``, ``Centroid X px``, ``Nucleus: Area px^2`` (of the
        nucleus' outline where there is one) and every measurement. `lines` numbers the features.
    list
        The features that are annotations.
    None where the file cannot be read (told).
    """
    features = load_features(path, problems)
    if features is None:
        return None
    rows: list[dict[str, str]] = []
    numbers: list[int] = []
    annotations: list[Any] = []
    wrong: list[tuple[int, str | None, str]] = []
    for number, feature in enumerate(features, start=1):
        properties = feature.get("properties") if isinstance(feature, dict) else None
        properties = properties if isinstance(properties, dict) else {}
        kind = properties.get("objectType", properties.get("object_type", "annotation"))
        if kind not in _DETECTIONS:
            annotations.append(feature)
            continue
        place = _place(feature)
        if place is None:
            wrong.append((number, None, "The outline of the cell cannot be read."))
            continue
        x, y, area = place
        row = {_X: repr(x), _Y: repr(y), _CLASS: _class_of(properties), **_measurements(properties)}
        if area > 0:
            row[_AREA] = repr(area)
        rows.append(row)
        numbers.append(number)
    add_rows(problems, "E-REGION-002", wrong, remedy="Export the detections again.", file=path.name)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: np.array([row.get(name, "") for row in rows], dtype=object) for name in names}
    return RawTable(path.name, columns, np.array(numbers, dtype=np.int64)), annotations


def _class_of(properties: Mapping[str, Any]) -> str:
    found = properties.get("classification")
    if not isinstance(found, dict):
        return ""
    names = found.get("names")
    if isinstance(names, list):
        return ": ".join(map(str, names))
    return str(found.get("name") or "")


def _measurements(properties: Mapping[str, Any]) -> dict[str, str]:
    """Measurements as a mapping, or in the older form as a list of names and values."""
    found = properties.get("measurements")
    if isinstance(found, list):
        pairs = [(m.get("name"), m.get("value")) for m in found if isinstance(m, dict)]
    else:
        pairs = list(found.items()) if isinstance(found, dict) else []
    return {str(name): "" if value is None else str(value) for name, value in pairs}


def _place(feature: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Centroid and area (pixels) of a cell's nucleus, or of the cell; area 0 for a point."""
    for key in ("nucleusGeometry", "geometry"):
        geometry = feature.get(key)
        if not isinstance(geometry, dict):
            continue
        try:
            found = _measure(geometry)
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
        return found if found is not None and all(np.isfinite(found)) else None
    return None


def _measure(geometry: Mapping[str, Any]) -> tuple[float, float, float] | None:
    coordinates: Any = geometry.get("coordinates")
    if geometry.get("type") == "Point":
        x, y = np.asarray(coordinates, dtype=np.float64)[:2]
        return float(x), float(y), 0.0
    shapes: Any = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(str(geometry.get("type")))
    if not shapes:
        return None
    parts = [_centroid(np.asarray(rings[0], dtype=np.float64)[:, :2]) for rings in shapes]
    total = sum(area for _, _, area in parts)
    if total <= 0:
        return None
    x, y = (float(sum(p[axis] * p[2] for p in parts)) / total for axis in (0, 1))
    return x, y, float(total)


def _centroid(ring: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Centroid and area of a ring, by the shoelace formula; shifted, so that far corners lose no digits."""
    origin = ring[0]
    a = ring - origin
    b = np.roll(a, -1, axis=0)
    cross = a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]
    doubled = float(cross.sum())
    if doubled == 0:
        return float(origin[0]), float(origin[1]), 0.0
    x, y = ((a + b) * cross[:, None]).sum(axis=0) / (3 * doubled) + origin
    return float(x), float(y), abs(doubled) / 2
