"""Marks of participants: whose an artist is, in the file that is written."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import numpy as np
import pytest

from pdbiomarker import plot
from pdbiomarker.plot.marks import mark, mark_of, read_marks
from pdbiomarker.plot.style import figure, render_png, render_svg


def test_a_mark_holds_nothing_of_the_id() -> None:
    """SHA-256 of the id, first 16 digits: of "abc" it begins ba7816bf8f01cfea (FIPS 180-2, example B.1)."""
    assert mark_of("abc") == "ba7816bf8f01cfea"
    for name in ("<script>", "", "x" * 200, "שלום", "\ud800"):
        assert re.fullmatch(r"[0-9a-f]{16}", mark_of(name))


def test_marks_are_read_back_in_order() -> None:
    fig = figure(2, 2)
    (line,) = fig.add_subplot().plot([1, np.nan, 3], [1, 2, 3], "o")
    mark(line, ["a", "b", "c"])
    assert read_marks(line.get_gid()) == [mark_of("a"), mark_of("c")]  # a point without a place is not drawn
    mark([line, line], "b")
    assert read_marks(line.get_gid()) == [mark_of("b")]
    for other in ("axes_1", "who-", "who-xyz", "who-ba7816bf8f01cfea-", ""):
        assert read_marks(other) == []


def test_one_artist_a_participant() -> None:
    fig = figure(2, 2)
    bars = fig.add_subplot().bar([0, 1], [1, 2])
    mark(bars, ["a", "b"])
    assert [read_marks(bar.get_gid()) for bar in bars] == [[mark_of("a")], [mark_of("b")]]
    with pytest.raises(ValueError, match="shorter"):
        mark(bars, ["a"])


def test_marks_change_nothing_of_a_figure(fake: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    result = fake.make_result(genes=1)

    def draw() -> tuple[bytes, bool]:
        fig = figure(6, 4)
        plot.waterfall(result, "ihc:CD8_density_tissue", ax=fig.add_subplot())
        return render_png(fig, dpi=60), b"who-" in render_svg(fig)

    marked, named = draw()
    assert named
    module = sys.modules["pdbiomarker.plot.waterfall"]
    monkeypatch.setattr(module, "mark", lambda artists, people: None)
    assert draw() == (marked, False)
