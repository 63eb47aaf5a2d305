"""Heat map, signatures at a glance, quality by batch, slopes by dose: numbers, reasons, room for labels."""

from __future__ import annotations

import dataclasses
from types import ModuleType, SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from overlaps import overlapping_texts

from pdbiomarker import plot
from pdbiomarker.errors import InputError
from pdbiomarker.plot.select import not_evaluable, rows_of, select, unchanging
from pdbiomarker.plot.style import render_svg, words_of

DENSITY = "ihc:CD8_density_tissue"


def figure_of(ax: Axes) -> Figure:
    fig = ax.get_figure(root=True)
    assert isinstance(fig, Figure)
    return fig


def texts(ax: Axes) -> str:
    fig = figure_of(ax)
    fig.canvas.draw()
    found = [t.get_text() for a in fig.axes for t in [*a.texts, *a.get_xticklabels(), *a.get_yticklabels()]]
    legends = [t.get_text() for a in fig.axes if a.get_legend() for t in a.get_legend().get_texts()]
    return "\n".join([*found, *legends]).replace("\u00a0", " ")


def cells(ax: Axes) -> np.ma.MaskedArray:
    mesh = next(c for c in ax.collections if isinstance(c, QuadMesh))
    values = mesh.get_array()
    assert values is not None
    return np.ma.asarray(values)


# --- heat map -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [12, 60])
def test_the_heat_map_shows_the_changes_of_the_result_and_a_reason_for_the_others(
    fake: ModuleType, n: int
) -> None:
    lost = {2: "on", 5: "inadequate", 9: "baseline"}
    result = fake.make_result(genes=3, n=n, lost=lost)
    ax = plot.change_heatmap(result, [DENSITY, "CD8_pct_tissue"])
    people = [t.get_text() for t in ax.get_xticklabels()]
    assert sorted(people) == sorted(result.study.participants.index)
    drawn = cells(ax)
    for y, feature in enumerate((DENSITY, "CD8_pct_tissue")):
        pairs = select(result, feature).pairs.set_index("participant_id")
        wanted = np.log2(pairs["ratio"])  # of odds ratios too
        for x, person in enumerate(people):
            if person in wanted.index:
                assert float(drawn[y, x]) == pytest.approx(wanted[person], rel=1e-12)
            else:
                assert drawn.mask[y, x]
    hatched = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_gid() == "missing"]
    assert all(p.get_hatch() for p in hatched)
    spots = {(round(p.get_y() + 0.5), round(p.get_x() + 0.5)) for p in hatched}
    assert spots == {(int(y), int(x)) for y, x in np.argwhere(drawn.mask)}
    text = texts(ax)
    assert "no biopsy (4)" in text
    assert "not adequate (2)" in text
    assert {p.get_hatch() for p in hatched} == {"////", "\\\\\\\\"}  # one for each reason
    assert overlapping_texts(figure_of(ax)) == []


def test_participants_stand_by_dose_then_by_the_first_feature(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    ax = plot.change_heatmap(result)
    people = [t.get_text() for t in ax.get_xticklabels()]
    doses = result.study.participants.loc[people, "dose_mg"].tolist()
    assert doses == sorted(doses)
    change = select(result, DENSITY).pairs.set_index("participant_id")["change"]
    for dose in (10.0, 30.0, 100.0):
        own = [change.get(p, -np.inf) for p, d in zip(people, doses, strict=True) if d == dose]
        assert own == sorted(own, reverse=True)
    text = texts(ax)
    assert all(f"{dose} mg" in text for dose in (10, 30, 100))
    assert "10.0" not in text


def test_other_scales_are_divided_by_their_spread(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    assert plot.heatmap_features(result)[0] == DENSITY  # the primary family first
    ax = plot.change_heatmap(result, ["CD8_hscore_tissue", DENSITY])
    change = select(result, "CD8_hscore_tissue").pairs.set_index("participant_id")["change"]
    people = [t.get_text() for t in ax.get_xticklabels()]
    drawn = {p: float(v) for p, v in zip(people, cells(ax)[0], strict=True) if v is not np.ma.masked}
    assert drawn == pytest.approx((change / change.std(ddof=1)).to_dict(), rel=1e-12)


def test_dots_are_the_changes_beyond_the_limit_of_noise(
    fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = fake.make_result(genes=3)
    monkeypatch.setattr(
        "pdbiomarker.plot.heatmap.noise_of",
        lambda _result, review, _chosen: None if review is None else SimpleNamespace(limit=1.2),
    )
    ax = plot.change_heatmap(result, [DENSITY], review=SimpleNamespace())
    dots = next(c for c in ax.collections if isinstance(c, PathCollection))
    beyond = int((select(result, DENSITY).pairs["change"].abs() > 1.2).sum())
    assert 0 < beyond < 9
    assert len(dots.get_offsets()) == beyond
    assert f"Dots: {beyond} changes" in words_of(figure_of(ax))[1]


def test_the_heat_map_of_nothing_says_so_and_the_same_has_the_same_bytes(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    bare = dataclasses.replace(result, table=result.table.iloc[:0], changes=result.changes.iloc[:0])
    assert "No participant has a change" in texts(plot.change_heatmap(bare)).replace("\n", " ")
    first, second = (render_svg(figure_of(plot.change_heatmap(result))) for _ in range(2))
    assert first == second
    with pytest.raises(InputError, match="no feature 'CD9'"):
        plot.change_heatmap(result, ["CD9"])


# --- signatures ---------------------------------------------------------------------------------------


def many_signatures(result: object) -> pd.DataFrame:
    table: pd.DataFrame = result.table  # type: ignore[attr-defined]
    own = table[(table["feature"] == "CYT") & (table["set"] == "strict")]
    rows = [own.assign(feature=f"S{k}", label=f"Signature {k}", effect=own["effect"] - 0.3 * k,
                       effect_low=own["effect_low"] - 0.3 * k, effect_high=own["effect_high"] - 0.3 * k,
                       q=[0.001, 0.2, 0.03, 0.9, 0.04][k]) for k in range(5)]  # fmt: skip
    rows.append(
        own.assign(feature="S5", label="Signature 5", status="too_few", effect=np.nan, note="2 genes")
    )
    return pd.concat([*rows[::-1], table[table["kind"] != "signature"]], ignore_index=True)


def test_signatures_are_in_order_with_their_intervals_and_adjusted_p(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    table = many_signatures(result)
    ax = plot.signatures(dataclasses.replace(result, table=table))
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == [f"Signature {k}" for k in range(6)]
    rows = table[table["kind"] == "signature"].sort_values("effect", ascending=False)
    dots = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    assert [float(d.get_xdata()[0]) for d in dots] == rows["effect"].dropna().tolist()
    bars = [line for line in ax.lines if line.get_marker() == "None" and len(set(line.get_ydata())) == 1]
    assert [list(b.get_xdata()) for b in bars] == rows.dropna(subset="effect")[
        ["effect_low", "effect_high"]
    ].to_numpy().tolist()
    filled = [d.get_markerfacecolor() != "white" for d in dots]
    assert filled == [q < 0.05 for q in rows["q"][:5]]
    text = texts(ax)
    assert "2 genes" in text
    assert all(q in text for q in ("0.0010", "0.20", "0.030"))
    assert overlapping_texts(figure_of(ax)) == []
    with pytest.raises(InputError, match="No signature has the assay 'x'"):
        plot.signatures(result, "x")


# --- quality by batch ---------------------------------------------------------------------------------


def with_batches(result: object, batch: list[str]) -> object:
    slides: pd.DataFrame = result.qc["slides"]  # type: ignore[attr-defined]
    table = slides.assign(assay="ihc", batch=batch, tissue_mm2=np.linspace(0.8, 3.3, len(slides)))
    table["visit"] = [["screening", "C2D1"][k % 2] for k in range(len(table))]
    return dataclasses.replace(result, qc={"slides": table})  # type: ignore[type-var]


def test_trap_09_a_batch_of_one_visit_is_told_and_every_point_is_drawn(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    same = with_batches(result, ["run1", "run2"] * 12)
    assert plot.batch_assays(same) == [("slides", "ihc")]
    ax = plot.quality_by_batch(same, "slides", "ihc")
    assert "no batch holds two visits" in words_of(figure_of(ax))[1]
    for panel, column in zip(figure_of(ax).axes, ("tissue_mm2", "cells_per_mm2"), strict=True):
        points = [line for line in panel.lines if line.get_gid()]
        drawn = sorted(float(y) for line in points for y in line.get_ydata())
        table = same.qc["slides"]  # type: ignore[attr-defined]
        values = table["tissue_mm2"] if column == "tissue_mm2" else table["n_cells"] / table["tissue_mm2"]
        assert drawn == pytest.approx(sorted(values), rel=1e-12)
        assert [t.get_text() for t in panel.get_xticklabels()] == ["run1\n12 | 0", "run2\n0 | 12"]
    assert overlapping_texts(figure_of(ax)) == []


def test_crossed_batches_have_a_small_association(fake: ModuleType) -> None:
    """Oracle: in a balanced table Cramér's V is 0."""
    result = fake.make_result(genes=3)
    crossed = with_batches(result, ["run1", "run1", "run2", "run2"] * 6)
    told = words_of(figure_of(plot.quality_by_batch(crossed, "slides", "ihc")))[1]
    assert "2 of 2 batches hold more than one visit; Cramér's V of batch and visit 0." in told
    alone = with_batches(result, ["run1"] * 24)
    assert "one batch only" in words_of(figure_of(plot.quality_by_batch(alone, "slides", "ihc")))[1]
    with pytest.raises(InputError, match="no quality table 'x'"):
        plot.quality_by_batch(result, "x", "ihc")


# --- slopes by dose -----------------------------------------------------------------------------------


def test_slopes_by_dose_draw_each_pair_once_on_one_scale(fake: ModuleType) -> None:
    result = fake.make_result(genes=3, n=60)
    ax = plot.paired_by(result, DENSITY, "dose_mg")
    panels = figure_of(ax).axes
    assert len(panels) == 3
    assert len({panel.get_ylim() for panel in panels}) == 1
    drawn = sorted(
        tuple(float(v) for v in line.get_ydata())
        for panel in panels
        for line in panel.lines
        if list(line.get_xdata()) == [0, 1]
    )
    pairs = select(result, DENSITY).pairs[["baseline_value", "on_value"]]
    np.testing.assert_allclose(drawn, sorted(map(tuple, pairs.to_numpy())), rtol=1e-12)
    text = texts(ax)
    assert all(f"{dose} mg\n" in text for dose in (10, 30, 100))
    assert overlapping_texts(figure_of(ax)) == []
    with pytest.raises(InputError, match="no column 'dose'"):
        plot.paired_by(result, DENSITY, "dose")


@pytest.mark.parametrize("draw", [plot.paired, lambda r, f: plot.paired_by(r, f, "dose_mg")])
def test_the_limit_of_quantification_is_drawn_where_the_assay_states_it(
    fake: ModuleType, draw: object
) -> None:
    result = fake.make_result(genes=3)
    result.study.assays["ihc"].var["lloq"] = [70.0]
    ax = draw(result, DENSITY)  # type: ignore[operator]
    limits = [line for line in ax.lines if set(line.get_ydata()) == {70.0}]
    assert len(limits) == 1
    assert "LLOQ 70" in texts(ax)


@pytest.mark.parametrize("n", [12, 60])
def test_labels_of_the_waterfall_keep_apart(fake: ModuleType, n: int) -> None:
    result = fake.make_result(genes=3, n=n)
    ax = plot.waterfall(result, DENSITY, hue="dose_mg", ax=None if n == 12 else wide())
    assert len(not_evaluable(result, select(result, DENSITY))) == 3
    assert overlapping_texts(figure_of(ax)) == []


def wide() -> Axes:
    return plt.figure(figsize=(11.0, 4.6), layout="constrained").add_subplot()


# --- rows found once ----------------------------------------------------------------------------------


def test_names_written_into_a_result_after_a_first_look_are_seen(fake: ModuleType) -> None:
    """A notebook's user renames what he saw: rows are found by the names that stand there now."""
    result = fake.make_result(genes=3, n=12)
    before = select(result, DENSITY)
    for table in (result.table, result.changes):
        table["feature"] = table["feature"].replace({"CD8_density_tissue": "mine"})
    with pytest.raises(InputError, match="E-RESULT-001"):
        select(result, DENSITY)
    renamed = select(result, "ihc:mine")
    columns = ["participant_id", "change"]
    pd.testing.assert_frame_equal(renamed.pairs[columns], before.pairs[columns])
    result.table.loc[result.table["feature"] == "mine", "label"] = "T cells"
    assert select(result, "ihc:mine").label == "T cells"


def test_a_table_as_it_was_is_looked_through_once(fake: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    result = fake.make_result(genes=3, n=12)
    select(result, DENSITY)
    monkeypatch.setattr("pdbiomarker.plot.select._Places", None)
    select(result, DENSITY)


def test_numbers_written_into_a_result_are_seen_but_while_nobody_writes(fake: ModuleType) -> None:
    """Rows are kept while a report is written only: a figure in a notebook shows the numbers as they are."""
    result = fake.make_result(genes=3, n=12)
    table = result.table
    assay, feature = DENSITY.split(":")
    own = table["feature"] == feature
    table.loc[own, "effect"] = 1.25
    with unchanging():
        first = rows_of(table, assay, feature)
        first["effect"] = 9.0  # a copy of what is kept
        with unchanging():
            assert (rows_of(table, assay, feature)["effect"] == 1.25).all()
        assert rows_of(table, assay, feature).index.equals(first.index)
    table.loc[own, "effect"] = 2.5
    assert (rows_of(table, assay, feature)["effect"] == 2.5).all()
    with unchanging():
        assert (rows_of(table, assay, feature)["effect"] == 2.5).all()
