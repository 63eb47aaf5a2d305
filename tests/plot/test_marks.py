"""Marks of participants: whose an artist is, in the file that is written."""

from __future__ import annotations

import re
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

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


def _owners(ax: Axes) -> dict[str, list[Artist]]:
    """Every marked artist of an axes by the marks on it."""
    found: dict[str, list[Artist]] = {}
    for artist in ax.get_children():
        for who in read_marks(str(artist.get_gid() or "")):
            found.setdefault(who, []).append(artist)
    return found


def test_a_forest_has_the_own_changes_of_participants_below_its_line(fake: ModuleType) -> None:
    """Each tick of the primary row stands at log2 of the participant's own ratio, or not at all."""
    result = fake.make_result(genes=3)
    ax = plot.forest(result, ["CD8_density_tissue"])
    row = result.table[
        (result.table["feature"] == "CD8_density_tissue") & (result.table["set"] == "strict")
    ].iloc[0]
    own = result.changes
    own = own[(own["feature"] == row["feature"]) & (own["assay"] == row["assay"]) & (own["set"] == "strict")]
    own = own.dropna(subset="change").set_index("participant_id")["change"]
    low, high = ax.get_xlim()
    inside = own[(own >= low) & (own <= high)]
    (line,) = {artist for artists in _owners(ax).values() for artist in artists}
    assert isinstance(line, Line2D)
    assert len(inside) >= 3
    assert dict(zip(read_marks(str(line.get_gid())), np.asarray(line.get_xdata()), strict=True)) == {
        mark_of(person): change for person, change in inside.items()
    }


def test_slopes_in_panels_mark_the_line_of_every_participant(fake: ModuleType) -> None:
    """Where participants are many, each dose has a panel: a line, or a point, of each of them in one."""
    result = fake.make_result(genes=3)
    first = plot.paired_by(result, "CD8_density_tissue", "dose_mg")
    found = [_owners(ax) for ax in first.figure.axes]
    own = result.changes
    own = own[(own["feature"] == "CD8_density_tissue") & (own["set"] == "strict")]
    seen = own.loc[own[["baseline_value", "on_value"]].notna().any(axis=1), "participant_id"]
    assert sum(map(len, found)) == len(seen) >= 9
    assert {who for panel in found for who in panel} == {mark_of(person) for person in seen}
    for panel in found:
        for who, artists in panel.items():
            (line,) = artists
            assert isinstance(line, Line2D)
            values = own[[mark_of(p) == who for p in own["participant_id"]]]
            told = values[["baseline_value", "on_value"]].to_numpy(dtype=float).ravel()
            assert np.array_equal(np.asarray(line.get_ydata()), told[np.isfinite(told)])


def test_the_flow_marks_where_the_way_of_each_participant_ends(fake: ModuleType) -> None:
    made = fake.make_result(genes=3)
    flow = made.accountability
    steps = flow.loc[(flow["assay"] == "ihc") & (flow["set"] == "strict"), "step"].astype(str).tolist()
    lost = {"P03": steps[-2], "P06": steps[1]}
    rows = [
        (
            "strict",
            "ihc",
            "on_treatment",
            person,
            "lost" if person in lost else "evaluable",
            lost.get(person, ""),
        )
        for person in sorted({f"P{k:02d}" for k in range(1, 13)})
    ]
    names = ["set", "assay", "contrast", "participant_id", "outcome", "step"]
    result = SimpleNamespace(**vars(made), dispositions=pd.DataFrame(rows, columns=names))
    ax = plot.accountability(result, "ihc")  # type: ignore[arg-type]
    found = _owners(ax)
    assert set(found) == {mark_of(person) for *_, person, _, _ in rows}
    for *_, person, _, step in rows:
        (band,) = found[mark_of(person)]
        assert isinstance(band, Rectangle)
        assert round(band.get_y() + 0.31) == (steps.index(step) if step else len(steps) - 1)
