"""The report of a result: one model of the content, and its writers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from pdbiomarker.change import PDResult
from pdbiomarker.decide import Review, review_of_plan
from pdbiomarker.errors import Problems, ResourceError
from pdbiomarker.plot.select import Result
from pdbiomarker.provenance import atomic_path
from pdbiomarker.report.build import build, uncollected
from pdbiomarker.report.content import Document
from pdbiomarker.report.cuts import Cuts, compare_cuts
from pdbiomarker.report.cuts_panel import cuts_section
from pdbiomarker.report.deck import render_deck
from pdbiomarker.report.html import render_html
from pdbiomarker.report.pdf import render_pdf
from pdbiomarker.report.thumbnails import made_ahead
from pdbiomarker.report.workbook import render_workbook

__all__ = [
    "FORMATS",
    "Cuts",
    "Document",
    "build",
    "compare_cuts",
    "complete_results",
    "cuts_section",
    "formats_of",
    "pictured",
    "render_html",
    "report",
    "write_report",
]

#: Formats of the report, by the suffix of the file.
FORMATS: Final = ("html", "pdf", "pptx", "xlsx")

#: Complete tables of a result that the workbook holds.
_RESULTS: Final[Mapping[str, str]] = {
    "pd_change": "table",
    "changes": "changes",
    "accountability": "accountability",
    "biopsies": "biopsies",
    "pairs": "pairs",
    "robustness": "robustness",
    "dispositions": "dispositions",
}
_REVIEWED: Final = (
    *("responders", "responder_rates", "noise", "noise_components"),
    *("dose_response", "dose_trend", "honesty_checks"),
)
_DECIDED: Final = ("cohort", "dose_levels", "participants", "operating", "curves")


def report(study: Any, result: Result, path: str | Path, *, review: Review | None = None) -> Path:
    """Write the report of a result as one file: a page, a PDF, slides or a workbook.

    Parameters
    ----------
    study : Study
        Gives the id and the data cut-off.
    result : PDResult
        With an attribute `truth` (planted effects), a section sets planted against estimated; with
        `images`, a section shows the slides.
    path : str or Path
        The file to write; its suffix says the format: ``.html`` (one file that needs no network), ``.pdf``
        (needs Chromium), ``.pptx`` (16:9, tables as tables) or ``.xlsx`` (every table and the complete
        results). It is written whole or not at all.
    review : Review, optional
        The decisions, such as :func:`pdbiomarker.read_review` reads them; by default they are made here, as
        the plan asks, where it names features to decide on or a family ``primary``.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        E-RUN-008: the suffix is none of these.
    ResourceError
        E-RUN-007: a PDF was asked for, and no browser printed it.

    Notes
    -----
    The same result gives the same bytes. No format holds a clock time, a calendar date of a participant
    (study days only) or a path of this machine.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> study, plan = pb.read_study("trial"), pb.Plan.read("trial/plan.yaml")
    >>> result = pb.pd_change(study, plan)  # doctest: +SKIP
    >>> pb.report(study, result, "review.html")  # doctest: +SKIP
    PosixPath('review.html')
    """
    target = Path(path)
    (format_,) = formats_of([target.suffix.removeprefix(".")])
    decided = review_of_plan(result) if review is None and isinstance(result, PDResult) else review
    document = build(study, result, decided, ahead=pictured([format_]))
    return write_report(document, result, {format_: target}, review=decided)[0]


def formats_of(names: Iterable[str]) -> list[str]:
    """Check names of formats: those of `FORMATS`, in their order, each once.

    Raises
    ------
    InputError
        E-RUN-008, for each that is not known.
    """
    problems = Problems()
    wanted = [name.strip().lower() for name in names]
    for name in wanted:
        if name not in FORMATS:
            problems.add(
                "E-RUN-008",
                f"The report has no format {name!r}.",
                remedy=f"Use {', '.join(FORMATS)}.",
                column="format",
                value=name,
            )
    problems.raise_if_any()
    return [name for name in FORMATS if name in wanted]


def pictured(formats: Iterable[str]) -> bool:
    """Whether one of the formats shows the pictures of slides."""
    return bool(set(formats) - {"xlsx"})


def write_report(
    document: Document,
    result: Result,
    paths: Mapping[str, Path],
    *,
    review: Review | None = None,
    ended: Callable[[str, ResourceError | None], None] | None = None,
) -> list[Path]:
    """Write a document in several formats: the same numbers, from the same objects.

    Parameters
    ----------
    document : Document
        As from :func:`build`.
    result : PDResult
        Its complete tables go into the workbook.
    paths : mapping of format to Path
    review : Review, optional
        Its complete tables go into the workbook as well.
    ended : callable, optional
        Called with each format when it was written, or with what it lacked; the others are then written all
        the same. Without it, what a format lacks is raised.

    Returns
    -------
    list of Path
        Those written, in the order of `FORMATS`.
    """
    ahead = made_ahead(document) if pictured(paths) else contextlib.nullcontext()
    with uncollected(), ahead:
        return _write(document, result, paths, review=review, ended=ended)


def _write(
    document: Document,
    result: Result,
    paths: Mapping[str, Path],
    *,
    review: Review | None,
    ended: Callable[[str, ResourceError | None], None] | None,
) -> list[Path]:
    page = render_html(document) if {"html", "pdf"} & set(paths) else ""
    written = []
    for format_ in (name for name in FORMATS if name in paths):
        try:
            if format_ == "html":
                data = page.encode("utf-8")
            elif format_ == "pdf":
                data = render_pdf(page, **_running(document))
            elif format_ == "pptx":
                data = render_deck(document)
            else:
                data = render_workbook(document, complete_results(result, review))
        except ResourceError as error:
            if ended is None:
                raise
            ended(format_, error)
            continue
        with atomic_path(paths[format_]) as partial:
            partial.write_bytes(data)
        written.append(paths[format_])
        if ended is not None:
            ended(format_, None)
    return written


def _running(document: Document) -> dict[str, str]:
    """What stands on every page of paper: the study with its cut-off, and whether the data are simulated."""
    cutoff = next((fact.value for fact in document.facts if fact.name == "Data cut-off"), "not stated")
    simulated = any(notice.tone == "simulated" for notice in document.notices)
    title = document.title if len(document.title) <= 90 else f"{document.title[:89]}…"
    return {
        "running": f"{title} · data cut-off {cutoff[:30]}",
        "mark": "SIMULATED DATA" if simulated else "",
    }


def complete_results(result: Result, review: Review | None = None) -> dict[str, pd.DataFrame]:
    """Give the complete tables behind a report, by the names of their files in a results folder.

    Parameters
    ----------
    result : PDResult
    review : Review, optional
    """
    found: dict[str, object] = {
        name: getattr(result, attribute, None) for name, attribute in _RESULTS.items()
    }
    if review is not None:
        found |= {name: getattr(review, name, None) for name in _REVIEWED}
        found |= {f"decisions_{name}": getattr(review.decisions, name, None) for name in _DECIDED}
        found |= {f"honesty_{name.replace(' ', '_')}": frame for name, frame in review.details.items()}
    found |= dict(getattr(result, "listings", {}))
    found |= {f"qc_{name}": frame for name, frame in result.qc.items()}
    found |= {f"clinical_{name}": frame for name, frame in getattr(result, "clinical", {}).items()}
    found["truth"] = getattr(result, "truth", None)
    return {name: frame for name, frame in found.items() if isinstance(frame, pd.DataFrame) and len(frame)}
