"""The report of a results folder, written again in any of its formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pdbiomarker import audit
from pdbiomarker.errors import VerificationError
from pdbiomarker.provenance import MANIFEST, sha256_file, verify
from pdbiomarker.report import FORMATS, Cuts, build, compare_cuts, cuts_section, formats_of, write_report
from pdbiomarker.run.decisions import read_review
from pdbiomarker.run.results import read_result

#: What does not change a result: a file that was added, a sign-off.
_ADDED_OR_SIGNED: Final = frozenset({"E-RUN-060", "E-AUDIT-003"})

__all__ = ["diff_results", "report_results"]


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
    result = read_result(root)
    document = build(result.study, result, read_review(root))
    if against is not None:
        _unchanged(Path(against))
        section = cuts_section(compare_cuts(read_result(against), result))
        document = dataclasses.replace(document, sections=(section, *document.sections))
    paths = {name: target if is_file else target / f"review.{name}" for name in wanted}
    written = write_report(document, result, paths)
    _record(root, written, against=against is not None)
    return written


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
