"""Slide images for the report: decoded, brought to one magnification, and written as JPEG within a budget.

A JPEG written here holds pixels only: no EXIF, no comment, no name of a file. Label and macro images of a
slide never get here, as the pictures are drawn from its tissue.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
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
from pdbiomarker.processes import program_command, run_program
from pdbiomarker.report import shrink
from pdbiomarker.report.content import Document, Picture, ThumbnailRow, Thumbnails, Views
from pdbiomarker.report.privacy import clean
from pdbiomarker.report.shrink import BUDGET, View, view_of

__all__ = ["BUDGET", "begin", "made_ahead", "same_magnification", "thumbnail_rows"]

#: From so many images on a process of its own reduces them, while figures are drawn in this one.
_MANY: Final = 100
_PROGRAM: Final = Path(shrink.__file__)
_SECONDS: Final = 600.0
_REASON: Final = 90


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One slide as read, or a visit without one."""

    visit: str
    slide: str
    title: str
    overview: View | None
    field: View | None


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
        overview, field = view_of(item.get("overview"), wide_um), view_of(item.get("field"), near_um)
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


def begin(rows: Sequence[ThumbnailRow]) -> None:
    """Begin with the pictures in a thread of their own, for a document that will be written.

    What fails there fails again, and is told, when a writer asks for the pictures.
    """
    beside = ThreadPoolExecutor(1)
    beside.submit(rows[0].make)
    beside.shutdown(wait=False)


@contextlib.contextmanager
def made_ahead(document: Document) -> Iterator[None]:
    """Have the pictures of a document made while its figures are drawn; at the end none is at work."""
    blocks = [block for section in document.sections for block in section.blocks]
    with ThreadPoolExecutor(1) as beside:
        for block in blocks:
            if isinstance(block, Thumbnails) and block.rows:
                beside.submit(block.rows[0].make)
        yield


def _encode_all(rows: Mapping[str, Sequence[_Entry]]) -> dict[str, tuple[Views, ...]]:
    """Reduce every image so that all together fit the budget."""
    made = iter(_shrunk([(entry.overview, entry.field) for row in rows.values() for entry in row]))

    def views(entry: _Entry) -> Views:
        wide, near = (None if one is None else Picture(*one) for one in next(made))
        return entry.title, wide, near

    return {person: tuple(map(views, row)) for person, row in rows.items()}


def _shrunk(slides: Sequence[shrink.Both]) -> list[tuple[shrink.Shrunk, shrink.Shrunk]]:
    """Reduce images, many of them in a process of its own; where that cannot be, in this one: same bytes."""
    if sum(view is not None for both in slides for view in both) >= _MANY:
        try:
            done = run_program(
                program_command(_PROGRAM), seconds=_SECONDS, given=shrink.packed(slides, shrink.processors())
            )
            done.check_returncode()
            return shrink.unpacked(done.stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            pass
    return shrink.shrink(slides, threads=shrink.processors())
