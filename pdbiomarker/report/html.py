"""The HTML writer: one file that needs no network, in which every text from the study stays text.

Figures and images are data URIs in ``img`` elements, where nothing in them can run. The only script is our
own, allowed by its hash; the content-security policy forbids everything else, so the page could not reach a
network if it wanted to.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pdbiomarker.plot.style import render_svg
from pdbiomarker.report.content import Block, Cell, Column, Document, Figure, Picture, Section, numbered

__all__ = ["render_html"]

_TEMPLATE: Final = "review.html.jinja"
_SCRIPT: Final = "review.js"
_STYLE: Final = "review.css"


def render_html(document: Document) -> str:
    """Write a document as one HTML page: the same text for the same document.

    Parameters
    ----------
    document : Document

    Returns
    -------
    str
        A complete page; text is escaped, figures are embedded.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["picture"] = _picture
    environment.filters["jpeg"] = _jpeg
    environment.filters["sort_value"] = _sort_value
    environment.filters["rows_of"] = _layout
    script, css = _resource(_SCRIPT), _resource(_STYLE)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    template = environment.from_string(_resource(_TEMPLATE))
    return template.render(
        document=document,
        policy=policy,
        script=Markup(script),  # noqa: S704  (our own file, not input)
        css=Markup(css),  # noqa: S704
        numbers=numbered(document),
    )


def _resource(name: str) -> str:
    return (resources.files("pdbiomarker.report") / "templates" / name).read_text(encoding="utf-8")


def _layout(section: Section) -> list[tuple[Block, ...]]:
    """Group the blocks of a section into rows: two narrow figures that follow each other share one."""
    rows: list[tuple[Block, ...]] = []
    waiting: list[Block] = []
    for block in section.blocks:
        if isinstance(block, Figure) and not block.wide:
            waiting.append(block)
            if len(waiting) == 2:
                rows.append(tuple(waiting))
                waiting = []
            continue
        if waiting:
            rows.append(tuple(waiting))
            waiting = []
        rows.append((block,))
    return [*rows, tuple(waiting)] if waiting else rows


def _picture(figure: Figure) -> dict[str, Any]:
    """Draw a figure: its data URI and its natural size in CSS pixels."""
    drawing = figure.draw()
    width, height = drawing.get_size_inches()
    data = base64.b64encode(render_svg(drawing)).decode("ascii")
    return {
        "src": f"data:image/svg+xml;base64,{data}",
        "width": round(width * 96),
        "height": round(height * 96),
    }


def _jpeg(picture: Picture) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture.data).decode('ascii')}"


def _sort_value(value: Cell, column: Column) -> str:
    """The exact value of a numeric cell, for sorting and for those who check."""
    if not column.numeric or value is None or isinstance(value, str):
        return ""
    return repr(value)
