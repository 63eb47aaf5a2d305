"""The report of a result: one model of the content, and its writers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pdbiomarker.change import PDResult
from pdbiomarker.decide import Review, review_of_plan
from pdbiomarker.plot.select import Result
from pdbiomarker.provenance import atomic_path
from pdbiomarker.report.build import build
from pdbiomarker.report.content import Document
from pdbiomarker.report.html import render_html

__all__ = ["Document", "build", "render_html", "report"]


def report(study: Any, result: Result, path: str | Path, *, review: Review | None = None) -> Path:
    """Write the report of a result as one self-contained HTML file.

    Parameters
    ----------
    study : Study
        Gives the id and the data cut-off.
    result : PDResult
        With an attribute `truth` (planted effects), a section sets planted against estimated; with
        `images`, a section shows the slides.
    path : str or Path
        The file to write, such as ``review.html``. It is written whole or not at all.
    review : Review, optional
        The decisions, such as :func:`pdbiomarker.read_review` reads them; by default they are made here, as
        the plan asks, where it names features to decide on or a family ``primary``.

    Returns
    -------
    Path
        `path`.

    Notes
    -----
    The same result gives the same bytes. The file holds no clock time, no calendar date of a participant
    (study days only), no path of this machine, and opens without a network.
    """
    target = Path(path)
    decided = review_of_plan(result) if review is None and isinstance(result, PDResult) else review
    text = render_html(build(study, result, decided))
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
    return target
