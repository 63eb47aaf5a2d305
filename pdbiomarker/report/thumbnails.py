"""Slide images for the report: decoded, brought to one magnification, and written as JPEG within a budget.

A JPEG written here holds pixels only: no EXIF, no comment, no name of a file. Label and macro images of a
slide never get here, as the pictures are drawn from its tissue.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import (
    Result,
    Selection,
    not_evaluable,
    primary_set,
    reason_word,
    select,
    unit_of,
)
from pdbiomarker.report.content import Document, Picture, ThumbnailRow, Thumbnails, Views
from pdbiomarker.report.privacy import clean

__all__ = ["made_ahead", "same_magnification", "thumbnail_rows"]

#: All images of a report together, in bytes of JPEG: a third more in the page, which has to stay below 15 MB.
BUDGET: Final = 5_000_000
_QUALITY: Final = 82
#: Where there are too many images for the budget: more pixels of a lower quality show more than fewer.
_DENSE_QUALITY: Final = 70
_LONGEST: Final = 520
#: A field may be opened large, so it keeps more pixels than an overview.
_NEARER: Final = 1.75
_LIMIT: Final = 64_000_000
_PIXEL_LIMIT: Final = 1 << 26
_SMALLEST: Final = 60
#: So many images of a kind tell what all of them will need.
_SAMPLE: Final = 32
_SPARE: Final = 0.96
_THREADS: Final = 8
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_REASON: Final = 90

Image = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class _View:
    """A picture: where it lies, its height and width, how many micrometres a pixel is (NaN: not known).

    It is decoded when it is reduced and forgotten then: three hundred slides would fill a gigabyte.
    """

    file: Path
    shape: tuple[int, int]
    um: float


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One slide as read, or a visit without one."""

    visit: str
    slide: str
    title: str
    overview: _View | None
    field: _View | None


def thumbnail_rows(result: Result) -> tuple[ThumbnailRow, ...]:
    """Read the images of a result: one row per participant, visits in the order of the study.

    All overviews are brought to one number of micrometres per pixel and all fields to another, so that two
    images of a kind side by side have the same magnification; where a result does not say what a pixel of
    its pictures is (see :func:`same_magnification`), all of a kind are reduced by one factor. The scales are
    chosen so that the longest side is at most 520 pixels (910 of a field, which a reader may enlarge) and
    everything together fits a budget of 5 MB. A file that is missing or cannot be decoded leaves an empty
    place; so does a visit without a slide, with the reason in its title. A title says visit, slide and
    score, and why a biopsy is not used.
    """
    images: Mapping[str, Any] = getattr(result, "images", None) or {}
    if not images:
        return ()
    visits = [str(v.name) for v in result.study.spec.visits]
    resolutions, facts = _resolutions(result), _Facts.of(result)
    entries: dict[str, list[_Entry]] = {}
    for slide_id in sorted(images):
        item = images[slide_id]
        wide_um, near_um = resolutions.get(str(slide_id), (np.nan, np.nan))
        overview, field = _read(item.get("overview"), wide_um), _read(item.get("field"), near_um)
        named = item.get("visit")
        visit = named if isinstance(named, str) and named not in {"", "nan"} else "no visit"
        title = " · ".join(
            [visit, str(slide_id), *facts.of_slide(str(slide_id), str(item.get("biopsy_id", "")))]
        )
        entry = _Entry(visit, str(slide_id), title, overview, field)
        entries.setdefault(str(item["participant_id"]), []).append(entry)
    for person, visit, why in facts.without_slide(entries):
        title = f"{visit} · no slide: {why}" if why else f"{visit} · no slide"
        entries.setdefault(person, []).append(_Entry(visit, "", title, None, None))

    def place(entry: _Entry) -> tuple[int, str]:
        return (visits.index(entry.visit) if entry.visit in visits else len(visits), entry.slide)

    album = _Album({p: sorted(entries[p], key=place) for p in sorted(entries)})
    return tuple(
        ThumbnailRow(p, functools.partial(album.of, p), sum(bool(e.overview or e.field) for e in row))
        for p, row in album.rows.items()
    )


def same_magnification(result: Result) -> bool:
    """Whether what a pixel is of every picture is known, so that all have one magnification."""
    images: Mapping[str, Any] = getattr(result, "images", None) or {}
    known = _resolutions(result)
    return bool(images) and all(np.isfinite(known.get(str(s), (np.nan,))).all() for s in images)


def _resolutions(result: Result) -> dict[str, tuple[float, float]]:
    """Micrometres per pixel of the overview and of the field of each slide."""
    table = result.qc.get("slides")
    if table is None or not {"slide_id", "overview_um", "field_um"} <= set(table.columns):
        return {}
    rows = zip(table["slide_id"].astype(str), table["overview_um"], table["field_um"], strict=True)
    return {slide: (float(wide), float(near)) for slide, wide, near in rows}


# --- what a title says --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Facts:
    """The first feature of the assay of the slides: who has no pair of it, scores, biopsies left out.

    A slide of another stain is told by the first feature of its own: `stains` says which it is.
    """

    chosen: Selection | None
    stains: Mapping[str, str]
    scores: Mapping[str, Mapping[str, str]]
    left: Mapping[str, str]
    lost: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, result: Result) -> _Facts:
        """Read a result; nothing is known of one whose slides belong to no assay of the table."""
        slides = result.qc.get("slides")
        table = result.table
        if slides is None or "assay" not in slides.columns or table.empty:
            return cls(None, {}, {}, {}, {})
        rows = table[table["assay"].isin(set(slides["assay"])) & (table["set"] == primary_set(table))]
        if rows.empty:
            return cls(None, {}, {}, {}, {})
        row = rows.iloc[int((rows["family"] != "primary").to_numpy().argmin())]
        chosen = select(result, f"{row['assay']}:{row['feature']}", row["contrast"], row["set"])
        known = _losses(result, chosen)
        lost = {p: (word, known.get(p, reason)) for p, word, reason in not_evaluable(result, chosen)}
        stains = _stains(slides, str(chosen.row["feature"]))
        first = {stain: rows[rows["feature"].str.startswith(f"{stain}_")] for stain in set(stains.values())}
        scores = {
            stain: _scores(result, select(result, f"{r['assay']}:{r['feature']}", r["contrast"], r["set"]))
            for stain, own in first.items()
            for _, r in own.head(1).iterrows()
        }
        scores[""] = _scores(result, chosen)
        return cls(chosen, stains, scores, _left_out(result, chosen), lost)

    def of_slide(self, slide: str, biopsy: str) -> list[str]:
        """The score of a slide's biopsy in the slide's own stain, and why the biopsy is not used."""
        stain = self.stains.get(slide, "")
        scored = self.scores.get(stain, {})
        told = [scored[biopsy]] if biopsy in scored else [stain] if stain else []
        return [*told, f"not used: {self.left[biopsy]}"] if biopsy in self.left else told

    def without_slide(self, entries: Mapping[str, Sequence[_Entry]]) -> list[tuple[str, str, str]]:
        """Participants without a pair and the visits of which they have no slide, with the reason."""
        if self.chosen is None:
            return []
        empty = []
        for person, (word, reason) in self.lost.items():
            have = {entry.visit for entry in entries.get(person, ())}
            told = clean(reason) if reason and reason != f"no usable biopsy at {self.chosen.on}" else word
            told = told if len(told) <= _REASON else f"{told[: _REASON - 1]}…"
            empty += [(person, v, told) for v in (self.chosen.baseline, self.chosen.on) if v not in have]
        return empty


def _losses(result: Result, chosen: Selection) -> dict[str, str]:
    """Why participants were lost, as the study recorded it; empty where a result keeps no dispositions."""
    table = getattr(result, "dispositions", None)
    if not isinstance(table, pd.DataFrame) or table.empty:
        return {}
    for column in ("assay", "contrast", "set"):
        table = table[table[column] == chosen.row[column]]
    told = table[(table["outcome"] == "lost") & table["reason"].astype(str).ne("")]
    return dict(zip(told["participant_id"].astype(str), told["reason"].astype(str), strict=True))


def _stains(slides: pd.DataFrame, feature: str) -> dict[str, str]:
    """The stain of each slide that is not stained for `feature`, whose name begins with its stain."""
    if "panel" not in slides.columns:
        return {}
    named = zip(slides["slide_id"].astype(str), slides["panel"], strict=True)
    told = {slide: panel for slide, panel in named if isinstance(panel, str) and panel}
    return {slide: stain for slide, stain in told.items() if not feature.startswith(f"{stain}_")}


def _scores(result: Result, chosen: Selection) -> dict[str, str]:
    """The value of the feature of each biopsy, with its name and unit."""
    assay, feature = str(chosen.row["assay"]), str(chosen.row["feature"])
    adata = getattr(result.study, "assays", {}).get(assay)
    if adata is None or feature not in getattr(adata, "var_names", ()):
        return {}
    values = np.ravel(np.asarray(adata.X[:, int(adata.var_names.get_loc(feature))])).astype(np.float64)
    factor = 100.0 if chosen.kind == "proportion" else 1.0
    unit = unit_of(result, assay, feature, chosen.kind)
    return {
        str(b): f"{chosen.label} {format_number(factor * float(v))} {unit}"
        for b, v in zip(adata.obs_names, values, strict=True)
        if np.isfinite(v)
    }


def _left_out(result: Result, chosen: Selection) -> dict[str, str]:
    """Biopsies that the primary analysis does not use, each with its reason in two words."""
    rows: pd.DataFrame = result.biopsies.reset_index()
    rows = rows[~rows["used"].astype(bool)]
    for column in ("assay", "set"):
        rows = rows[rows[column] == chosen.row[column]] if column in rows.columns else rows
    told = zip(rows["biopsy_id"].astype(str), rows["code"], rows["reason"], strict=True)
    return {b: reason_word(code, reason) for b, code, reason in told}


# --- pictures -----------------------------------------------------------------------------------------


def _read(path: str | Path | None, um: float) -> _View | None:
    """Find an image and its size; None when there is none that can be decoded."""
    if path is None:
        return None
    file = Path(path)
    if not file.is_file() or file.stat().st_size > _LIMIT:
        return None
    with file.open("rb") as opened:
        head = opened.read(24)
    if head.startswith(_PNG) and len(head) == 24:
        width, height = struct.unpack(">II", head[16:])
        return _View(file, (height, width), um) if 0 < width * height <= _PIXEL_LIMIT else None
    decoded = _decode(file)
    return None if decoded is None else _View(file, decoded.shape[:2], um)


def _decode(file: Path) -> Image | None:
    """Decode an image, red first."""
    data = file.read_bytes()
    if data.startswith(_PNG):
        try:  # about twice as fast
            image = np.asarray(imagecodecs.png_decode(data))
        except imagecodecs.PngError:
            return None
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            return image
    bytes_ = np.frombuffer(data, dtype=np.uint8)
    decoded = cv2.imdecode(bytes_, cv2.IMREAD_COLOR) if bytes_.size else None
    return None if decoded is None else np.asarray(decoded, dtype=np.uint8)[..., ::-1]


class _Album:
    """The pictures of a report, made once: when a writer asks for the first, or ahead of that."""

    def __init__(self, rows: Mapping[str, Sequence[_Entry]]) -> None:
        self.rows = rows
        self._made: Mapping[str, tuple[Views, ...]] | None = None
        self._making = threading.Lock()

    def of(self, person: str) -> tuple[Views, ...]:
        """The pictures of a participant; waits where they are being made."""
        with self._making:
            if self._made is None:
                self._made = _encode_all(self.rows)
        return self._made[person]


@contextlib.contextmanager
def made_ahead(document: Document) -> Iterator[None]:
    """Make the pictures of a document in a thread of their own, while its figures are drawn.

    What fails there fails again, and is told, when a writer asks for the pictures.
    """
    blocks = [block for section in document.sections for block in section.blocks]
    with ThreadPoolExecutor(1) as beside:
        for block in blocks:
            if isinstance(block, Thumbnails) and block.rows:
                beside.submit(block.rows[0].make)
        yield


def _encode_all(rows: Mapping[str, Sequence[_Entry]]) -> dict[str, tuple[Views, ...]]:
    """Reduce every image so that all together fit the budget."""
    every = [entry for row in rows.values() for entry in row]
    with ThreadPoolExecutor(_threads()) as pool:
        longest, quality = _fitting(every, pool)
        while True:
            wide, near = _scales(every, longest, quality)
            pictures = list(pool.map(functools.partial(_reduced, wide, near), every))
            size = sum(len(p.data) for both in pictures for p in both if p is not None)
            if size <= BUDGET or longest <= _SMALLEST:
                break
            longest = max(_SMALLEST, int(longest * 0.93))  # the part that was tried told too little
    left = iter(pictures)
    return {person: tuple((e.title, *next(left)) for e in row) for person, row in rows.items()}


def _fitting(every: Sequence[_Entry], pool: ThreadPoolExecutor) -> tuple[int, int]:
    """The longest side and the quality at which all images fit the budget, as a part of them tells."""
    kinds = [[e.overview for e in every if e.overview], [e.field for e in every if e.field]]
    tried = [(kind, view) for kind in (0, 1) for view in _spread(kinds[kind])]
    weights = [len(kinds[kind]) / len(_spread(kinds[kind])) for kind, _ in tried]
    budget = BUDGET if max(weights, default=1.0) == 1.0 else _SPARE * BUDGET
    decoded = list(pool.map(_decode, [view.file for _, view in tried]))
    longest, quality = _LONGEST, _QUALITY
    while True:
        scales = _scales(every, longest, quality)
        encoders = [functools.partial(scales[kind].encode, view) for kind, view in tried]
        made = pool.map(_call, encoders, decoded)
        size = sum(w * len(p.data) for p, w in zip(made, weights, strict=True) if p is not None)
        if size <= budget or longest <= _SMALLEST:
            return longest, quality
        quality = _DENSE_QUALITY
        longest = max(_SMALLEST, int(longest * max(0.5, min(0.95, (budget / size) ** 0.5))))


def _scales(every: Sequence[_Entry], longest: int, quality: int) -> tuple[_Scale, _Scale]:
    """The scale of overviews and that of fields."""
    wide = _Scale.fit([e.overview for e in every if e.overview], longest, quality)
    return wide, _Scale.fit([e.field for e in every if e.field], round(_NEARER * longest), quality)


def _reduced(wide: _Scale, near: _Scale, entry: _Entry) -> tuple[Picture | None, Picture | None]:
    """Both pictures of a slide; the images are decoded here and forgotten."""
    return (
        None if entry.overview is None else wide.encode(entry.overview, _decode(entry.overview.file)),
        None if entry.field is None else near.encode(entry.field, _decode(entry.field.file)),
    )


def _call(encoder: Callable[[Image | None], Picture | None], image: Image | None) -> Picture | None:
    return encoder(image)


def _spread(views: Sequence[_View]) -> Sequence[_View]:
    """Images from first to last, at even distances."""
    if len(views) <= _SAMPLE:
        return views
    return [views[k] for k in np.linspace(0, len(views) - 1, _SAMPLE).round().astype(int)]


def _threads() -> int:
    """Decoding runs outside Python, so threads share it; the bytes do not depend on how many."""
    return max(1, min(_THREADS, len(os.sched_getaffinity(0))))


@dataclasses.dataclass(frozen=True)
class _Scale:
    """How images of one kind are reduced, and the width of the widest of them.

    Attributes
    ----------
    um : float
        Micrometres per pixel of every image when reduced; NaN: all are reduced by `factor`.
    quality : int
        Of the JPEG.
    """

    um: float
    factor: float
    widest: float
    quality: int

    @classmethod
    def fit(cls, views: Sequence[_View], longest: int, quality: int) -> _Scale:
        """Reduce so that no side is longer than `longest` pixels, and none is enlarged."""
        known = bool(views) and all(np.isfinite(v.um) and v.um > 0 for v in views)
        ums = [v.um if known else 1.0 for v in views]
        sides = [max(v.shape) * um for v, um in zip(views, ums, strict=True)]
        target = max([*ums, max(sides, default=1.0) / longest], default=1.0)
        widths = [v.shape[1] * um / target for v, um in zip(views, ums, strict=True)]
        return cls(target if known else np.nan, 1.0 / target, max(widths, default=1.0), quality)

    def encode(self, view: _View, image: Image | None) -> Picture | None:
        """Reduce one image and write it as JPEG; None for one that could not be decoded."""
        if image is None:
            return None
        factor = self.factor if np.isnan(self.um) else view.um / self.um
        share = image.shape[1] * factor / self.widest
        if factor < 1:
            size = tuple(max(1, round(side * factor)) for side in (image.shape[1], image.shape[0]))
            whole = np.ascontiguousarray(image)
            image = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        blue_first = np.ascontiguousarray(image[..., ::-1])  # as the encoder wants it: of few pixels by now
        done, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return Picture(bytes(data.tobytes()), min(1.0, share)) if done else None
