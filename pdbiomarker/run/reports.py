"""The report of a results folder, written again in any of its formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pdbiomarker.errors import VerificationError
from pdbiomarker.provenance import verify
from pdbiomarker.report import FORMATS, build, formats_of, write_report
from pdbiomarker.run.results import read_result

__all__ = ["report_results"]


def report_results(
    results: str | Path, out: str | Path | None = None, *, formats: Sequence[str] = ("html",)
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
    made_again = {*(f"review.{name}" for name in FORMATS), "run.log"}
    edited = [p for p in verify(root) if p.severity == "error" and p.file not in made_again]
    if edited:
        raise VerificationError(edited)
    result = read_result(root)
    paths = {name: target if is_file else target / f"review.{name}" for name in wanted}
    return write_report(build(result.study, result), result, paths)
