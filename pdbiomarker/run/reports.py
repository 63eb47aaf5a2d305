"""The report of a results folder, written again in any of its formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from pdbiomarker import audit
from pdbiomarker.change import PDResult
from pdbiomarker.decide import Review
from pdbiomarker.errors import Problem, Problems, ResourceError, VerificationError
from pdbiomarker.provenance import MANIFEST, read_manifest, sha256_file, sha256_json
from pdbiomarker.report import (
    FORMATS,
    Cuts,
    Document,
    build,
    compare_cuts,
    cuts_section,
    formats_of,
    pictured,
    write_report,
)
from pdbiomarker.report.pdf import browser
from pdbiomarker.run.decisions import read_review
from pdbiomarker.run.documents import document_of
from pdbiomarker.run.results import read_parts, read_result
from pdbiomarker.verification import verify

#: What does not change a result: a file that was added, a sign-off.
_ADDED_OR_SIGNED: Final = frozenset({"E-RUN-060", "E-AUDIT-003"})

__all__ = ["asked_report", "diff_results", "report_results", "write_documents"]


def report_results(
    results: str | Path,
    out: str | Path | None = None,
    *,
    formats: Sequence[str] = ("html",),
    against: str | Path | None = None,
) -> list[Path]:
    """Write the report of a results folder in one or several formats.

    Parameters
    ----------
    results : path
        What ``pdbiomarker run`` or ``change`` left.
    out : path, optional
        A folder, which gets ``review.html``, ``review.pdf``, ``review.pptx`` and ``review.xlsx``; or a file,
        whose suffix then says the format. Default: `results`.
    formats : sequence of str
        Of ``html``, ``pdf``, ``pptx``, ``xlsx``.
    against : path, optional
        The results folder of an earlier data cut: the report then has a section on what changed since.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    VerificationError
        A result was edited since the run.
    InputError
        E-RUN-008: an unknown format.
    ResourceError
        E-RUN-007: the PDF could not be printed.
    """
    root = Path(results)
    target = root if out is None else Path(out)
    suffix = target.suffix.removeprefix(".").lower()
    is_file = suffix in FORMATS
    wanted = formats_of([suffix] if is_file else formats)
    _unchanged(root)
    if against is not None:
        _unchanged(Path(against))
    result = read_result(root)
    paths = {name: target if is_file else target / document_of(name) for name in wanted}
    review = read_review(root)
    written = write_report(_document(result, review, against, paths), result, paths, review=review)
    _record(root, written, against=against is not None)
    return written


def _document(
    result: PDResult, review: Review | None, against: str | Path | None, formats: Iterable[str]
) -> Document:
    """Make the content of the report of a results folder; with an earlier cut, what changed comes first."""
    document = build(result.study, result, review, ahead=pictured(formats))
    if against is None:
        return document
    section = cuts_section(compare_cuts(read_result(against), result), document.findings)
    return dataclasses.replace(document, sections=(section, *document.sections))


def asked_report(formats: Sequence[str], against: str | None, study: str) -> dict[str, Any]:
    """Check what is asked of the report of a run, before any work.

    Parameters
    ----------
    formats : sequence of str
    against : str or None
        The results folder of an earlier data cut.
    study : str
        The study's id.

    Returns
    -------
    dict
        ``formats``, in the order of `FORMATS`; ``against``, the hash of the earlier results, or None;
        ``lacking``, problems of formats that this machine cannot write.

    Raises
    ------
    InputError
        E-RUN-008: an unknown format. E-RUN-009: the earlier results are of another study.
    VerificationError
        E-RUN-003: the earlier results were edited.
    """
    wanted = formats_of(formats)
    lacking = [_unwritten("pdf", "")] if "pdf" in wanted and browser() is None else []
    digest = None
    if against is not None:
        _unchanged(Path(against))
        before = read_manifest(against)
        digest = sha256_json(dict(before.outputs))
        problems = Problems()
        if before.parameters.get("study") != study:
            problems.add(
                "E-RUN-009",
                "The earlier results are of another study.",
                remedy=f"Give the results of an earlier data cut of {study} to --against.",
                file=Path(against).name,
                column="id",
                value=before.parameters.get("study"),
            )
        problems.raise_if_any()
    return {"formats": wanted, "against": digest, "lacking": lacking}


def write_documents(
    out: Path,
    formats: Sequence[str],
    against: str | None,
    *,
    written: Callable[[str, Path], None],
) -> list[Problem]:
    """Write the report of a run that has not ended yet.

    Parameters
    ----------
    out : Path
        The results folder.
    formats : sequence of str
    against : str or None
        As in :func:`report_results`.
    written : callable
        Called with each format and its file when it is whole.

    Returns
    -------
    list of Problem
        E-RUN-035, quarantined: a format that could not be written; the others were.
    """
    result = read_parts(out)
    paths = {name: out / document_of(name) for name in formats}
    lost: list[Problem] = []

    def ended(name: str, error: ResourceError | None) -> None:
        if error is None:
            written(name, paths[name])
        else:
            lost.append(_unwritten(name, f" {str(error).partition(' Remedy:')[0]}"))

    review = read_review(out)
    write_report(_document(result, review, against, paths), result, paths, review=review, ended=ended)
    return lost


def _unwritten(name: str, why: str) -> Problem:
    """Tell that a format was left out; of a PDF, that a browser prints it."""
    return Problem(
        "E-RUN-035",
        f"The report was not written as {name}.{why or ' No Chromium or Chrome was found, which prints it.'}",
        "Install Chromium (Debian: apt-get install chromium) and give the same command again: it makes only "
        "this file. Or print review.html from any browser.",
        document_of(name),
        column="format",
        value=name,
        severity="quarantine",
        item=document_of(name),
    )


def _record(root: Path, written: Sequence[Path], *, against: bool) -> None:
    """Tell the audit log of the folder which files a report put into it, so that they can be verified."""
    here = root.resolve()
    inside = [path.resolve() for path in written if path.resolve().is_relative_to(here)]
    files = {path.relative_to(here).as_posix(): sha256_file(path) for path in inside}
    if files:
        detail = {"formats": sorted(path.suffix.lstrip(".") for path in inside), "against": against}
        audit.append(root, "report", detail=detail, files=files, manifest=sha256_file(root / MANIFEST))


def diff_results(
    old: str | Path, new: str | Path, out: str | Path | None = None, *, tolerance: float = 0.25
) -> Cuts:
    """Compare two results folders of one study: two data cuts.

    Parameters
    ----------
    old, new : path
        What ``pdbiomarker run`` or ``change`` left.
    out : path, optional
        A folder for ``facts.csv``, ``items.csv``, ``pairs.csv`` and ``results.csv``.
    tolerance : float
        An estimate has moved when it differs by more than so many standard errors of the earlier cut.

    Returns
    -------
    Cuts
        See :class:`pdbiomarker.report.cuts.Cuts`.

    Raises
    ------
    VerificationError
        A result was edited since its run.
    InputError
        E-RUN-009: the folders are of two studies.
    """
    for folder in (old, new):
        _unchanged(Path(folder))
    cuts = compare_cuts(read_result(old), read_result(new), tolerance=tolerance)
    if out is not None:
        cuts.write(out)
    return cuts


def _unchanged(root: Path) -> None:
    made_again = {*(f"review.{name}" for name in FORMATS), "run.log"}
    edited = [
        p
        for p in verify(root)
        if p.severity == "error" and p.file not in made_again and p.code not in _ADDED_OR_SIGNED
    ]
    if edited:
        raise VerificationError(edited)
