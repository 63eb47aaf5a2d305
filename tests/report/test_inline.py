"""Figures as inline SVG: what passes, what does not, and whose each mark is."""

from __future__ import annotations

import re
import xml.sax.handler
from types import ModuleType

import pytest
from defusedxml import sax

from pdbiomarker import plot
from pdbiomarker.plot.marks import mark, mark_of
from pdbiomarker.plot.style import figure, render_svg
from pdbiomarker.report.inline import Inliner

GROUP = f'<g id="who-{mark_of("a")}">{{}}</g>'
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{}</svg>'


def _written(inner: str) -> str | None:
    return Inliner({mark_of("a"): 0}).write(HEAD.format(GROUP.format(inner)).encode())


class _Reader(xml.sax.handler.ContentHandler):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str]]] = []

    def startElement(self, name: str, attrs: xml.sax.xmlreader.AttributesImpl) -> None:
        self.seen.append((name, dict(attrs.items())))


def _read(text: str) -> list[tuple[str, dict[str, str]]]:
    reader = _Reader()
    sax.parseString(f"<svg>{text}</svg>".encode(), reader)
    return reader.seen


def test_style_becomes_attributes() -> None:
    text = _written(
        '<path d="M 0.12345 1 \nL 10 20.5555" style="fill: none; stroke: #0b6477; opacity: 0.3"/>'
    )
    assert (
        text == '<g data-p="0"><path d="M 0.12 1 L 10 20.56" fill="none" stroke="#0b6477" opacity="0.3"/></g>'
    )


@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>",
        "<foreignObject><p/></foreignObject>",
        '<path d="M 0 0" onclick="alert(1)"/>',
        '<image href="x.png"/>',
        '<image xlink:href="https://example.org/x.png"/>',
        '<image xlink:href="data:image/svg+xml;base64,AAAA"/>',
        '<use xlink:href="other.svg#a"/>',
        '<use xlink:href="#missing"/>',
        '<path d="M 0 0" style="fill: url(https://example.org/#a)"/>',
        '<path d="M 0 0" style="fill: url(#missing)"/>',
        '<path d="M 0 0" style="background: red"/>',
        '<path d="M 0 0" style="fill: expression(alert&lt;1&gt;)"/>',
        "<a><path d='M 0 0'/></a>",
        "<animate/>",
        "<text>P-007</text>",
    ],
)
def test_anything_else_keeps_the_figure_out_of_the_page(inner: str) -> None:
    assert _written(inner) is None
    assert _written('<path d="M 0 0"/>') is not None


def test_a_broken_or_unmarked_drawing_is_left_as_it_is() -> None:
    page = Inliner({mark_of("a"): 0})
    assert page.write(HEAD.format(GROUP.format("<path")).encode()) is None
    assert page.write(HEAD.format("<g><path d='M 0 0'/></g>").encode()) is None
    assert page.letters() == ""


def test_points_of_one_artist_belong_to_their_participants() -> None:
    fig = figure(3, 2)
    ax = fig.add_subplot()
    mark(ax.plot([1, 2, float("nan"), 3], [1, 5, 2, 4], "o")[0], ["b", "a", "x", "c"])
    mark(ax.scatter([1, 2], [2, 3]), ["c", "stranger"])
    text = Inliner({mark_of(p): i for i, p in enumerate("abc")}).write(render_svg(fig))
    assert text is not None
    points = [a for n, a in _read(text) if n == "use" and "data-p" in a]
    assert [a["data-p"] for a in points] == ["2", "1", "0", "2"]  # a scatter is drawn before lines
    xs = [float(a["x"]) for a in points]
    assert xs[1] < xs[2] < xs[3]
    assert xs[0] == xs[1]


def test_points_that_cannot_be_told_apart_get_no_owner() -> None:
    """Fewer points than marks: nobody knows which is missing, so none is named."""
    points = '<defs><path id="m1" d="M 0 0"/></defs><use xlink:href="#m1" x="1" y="1"/>'
    people = {mark_of(p): i for i, p in enumerate("ab")}

    def written(marks: str, drawn: int) -> str:
        inner = points + '<use xlink:href="#m1" x="2" y="1"/>' * (drawn - 1)
        return str(Inliner(people).write(HEAD.format(f'<g id="who-{marks}">{inner}</g>').encode()))

    both = f"{mark_of('a')}-{mark_of('b')}"
    assert re.findall(r'data-p="(\d)"', written(both, 2)) == ["0", "1"]
    assert "data-p" not in written(both, 1)
    assert "data-p" not in written(both, 3)


def test_two_figures_share_letters_and_no_ids(fake: ModuleType) -> None:
    result = fake.make_result(genes=1, ids=fake.HOSTILE)
    people = {mark_of(p): i for i, p in enumerate(result.study.participants.index)}
    page, texts = Inliner(people), []
    for draw in (plot.paired, plot.waterfall):
        fig = figure(6, 4)
        draw(result, "ihc:CD8_density_tissue", ax=fig.add_subplot())
        text = page.write(render_svg(fig))
        assert text is not None
        texts.append(text)
    whole = _read(page.letters() + "".join(texts))
    ids = [a["id"] for _, a in whole if "id" in a]
    assert len(ids) == len(set(ids)) > 40
    links = {a["href"][1:] for _, a in whole if "href" in a}
    links |= set(re.findall(r"url\(#([^)]+)\)", "".join(texts)))
    assert links <= set(ids)
    shown = [{a["data-p"] for _, a in _read(text) if "data-p" in a} for text in texts]
    assert shown[1] == {str(i) for i in range(12)}
    assert "alert" not in "".join(texts)
    assert "style=" not in "".join(texts)
