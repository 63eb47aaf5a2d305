"""Slide images for the report: decoded, scaled by one factor for all, and written as JPEG within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from pdbiomarker.plot.select import Result
from pdbiomarker.report.content import ThumbnailRow

__all__ = ["thumbnail_rows"]

#: All images of a report together, in bytes of JPEG.
BUDGET: Final = 9_000_000
_QUALITY: Final = 82
_LONGEST: Final = 520
_LIMIT: Final = 64_000_000
_SMALLEST: Final = 60

Image = npt.NDArray[np.uint8]
_Entry = tuple[str, str, Image | None, Image | None]


def thumbnail_rows(result: Result) -> tuple[ThumbnailRow, ...]:
    """Read the images of a result: one row per participant, visits in the order of the study.

    All overviews are reduced by one factor and all fields by another, so that two images of a kind side by
    side have the same magnification where their files have. The factors are chosen so that the longest side
    is at most 520 pixels and everything together fits a budget of 9 MB. A file that is missing or cannot be
    decoded leaves an empty place.
    """
    images: Mapping[str, Any] = getattr(result, "images", None) or {}
    visits = [str(v.name) for v in result.study.spec.visits]
    entries: dict[str, list[_Entry]] = {}
    for slide_id in sorted(images):
        item = images[slide_id]
        overview, field = _read(item.get("overview")), _read(item.get("field"))
        visit = str(item.get("visit") or "")
        entries.setdefault(str(item["participant_id"]), []).append((visit, str(slide_id), overview, field))
    if not entries:
        return ()

    def place(entry: _Entry) -> tuple[int, str]:
        return (visits.index(entry[0]) if entry[0] in visits else len(visits), entry[1])

    ordered = {p: sorted(entries[p], key=place) for p in sorted(entries)}
    return _encode_all(ordered)


def _read(path: str | Path | None) -> Image | None:
    """Decode an image; None when there is none to decode."""
    if path is None:
        return None
    file = Path(path)
    if not file.is_file() or file.stat().st_size > _LIMIT:
        return None
    data = np.frombuffer(file.read_bytes(), dtype=np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    return None if decoded is None else np.asarray(decoded, dtype=np.uint8)


def _encode_all(rows: Mapping[str, Sequence[_Entry]]) -> tuple[ThumbnailRow, ...]:
    every = [entry for row in rows.values() for entry in row]
    longest = _LONGEST
    while True:
        factors = [_factor([e[k] for e in every], longest) for k in (2, 3)]
        made = tuple(
            ThumbnailRow(
                participant,
                tuple(
                    (
                        f"{visit} · {slide}" if visit else slide,
                        _jpeg(over, factors[0]),
                        _jpeg(field, factors[1]),
                    )
                    for visit, slide, over, field in row
                ),
            )
            for participant, row in rows.items()
        )
        size = sum(len(image) for row in made for entry in row.images for image in entry[1:] if image)
        if size <= BUDGET or longest <= _SMALLEST:
            return made
        longest = max(_SMALLEST, int(longest * max(0.5, min(0.9, (BUDGET / size) ** 0.5))))


def _factor(images: Sequence[Image | str | None], longest: int) -> float:
    sides = [max(image.shape[:2]) for image in images if isinstance(image, np.ndarray)]
    return min(1.0, longest / max(sides)) if sides else 1.0


def _jpeg(image: Image | None, factor: float) -> bytes | None:
    if image is None:
        return None
    if factor < 1:
        size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(data.tobytes()) if done else None
