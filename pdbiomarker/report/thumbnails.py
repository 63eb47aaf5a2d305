"""Slide images for the report: decoded, scaled by one factor for all, and written as JPEG within a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from pdbiomarker.plot.select import Result
from pdbiomarker.report.content import Picture, ThumbnailRow

__all__ = ["thumbnail_rows"]

#: All images of a report together, in bytes of JPEG.
BUDGET: Final = 8_000_000
_QUALITY: Final = 82
_LONGEST: Final = 520
#: A field may be opened large, so it keeps more pixels than an overview.
_NEARER: Final = 1.75
_LIMIT: Final = 64_000_000
_SMALLEST: Final = 60

Image = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One slide as read."""

    visit: str
    slide: str
    overview: Image | None
    field: Image | None

    @property
    def title(self) -> str:
        """Visit and slide."""
        return f"{self.visit} · {self.slide}" if self.visit else self.slide


def thumbnail_rows(result: Result) -> tuple[ThumbnailRow, ...]:
    """Read the images of a result: one row per participant, visits in the order of the study.

    All overviews are reduced by one factor and all fields by another, so that two images of a kind side by
    side have the same magnification where their files have. The factors are chosen so that the longest side
    is at most 520 pixels (910 of a field, which a reader may enlarge) and everything together fits a budget
    of 8 MB. A file that is missing or cannot be decoded leaves an empty place.
    """
    images: Mapping[str, Any] = getattr(result, "images", None) or {}
    visits = [str(v.name) for v in result.study.spec.visits]
    entries: dict[str, list[_Entry]] = {}
    for slide_id in sorted(images):
        item = images[slide_id]
        overview, field = _read(item.get("overview")), _read(item.get("field"))
        named = item.get("visit")
        visit = named if isinstance(named, str) and named not in {"", "nan"} else "no visit"
        entries.setdefault(str(item["participant_id"]), []).append(
            _Entry(visit, str(slide_id), overview, field)
        )
    if not entries:
        return ()

    def place(entry: _Entry) -> tuple[int, str]:
        return (visits.index(entry.visit) if entry.visit in visits else len(visits), entry.slide)

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
        wide = _Scale.fit([e.overview for e in every if e.overview is not None], longest)
        near = _Scale.fit([e.field for e in every if e.field is not None], round(_NEARER * longest))
        made = tuple(
            ThumbnailRow(person, tuple((e.title, wide.encode(e.overview), near.encode(e.field)) for e in row))
            for person, row in rows.items()
        )
        size = sum(len(p.data) for row in made for _, *both in row.images for p in both if p is not None)
        if size <= BUDGET or longest <= _SMALLEST:
            return made
        longest = max(_SMALLEST, int(longest * max(0.5, min(0.9, (BUDGET / size) ** 0.5))))


@dataclasses.dataclass(frozen=True)
class _Scale:
    """How much images of one kind are reduced, and the width of the widest of them."""

    factor: float
    widest: int

    @classmethod
    def fit(cls, images: Sequence[Image], longest: int) -> _Scale:
        """Reduce so that no side is longer than `longest` pixels."""
        sides = [max(image.shape[:2]) for image in images]
        widths = [image.shape[1] for image in images]
        return cls(min(1.0, longest / max(sides, default=1)), max(widths, default=1))

    def encode(self, image: Image | None) -> Picture | None:
        """Reduce one image and write it as JPEG."""
        if image is None:
            return None
        share = image.shape[1] / self.widest
        if self.factor < 1:
            size = tuple(max(1, round(side * self.factor)) for side in (image.shape[1], image.shape[0]))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return Picture(bytes(data.tobytes()), share) if done else None
