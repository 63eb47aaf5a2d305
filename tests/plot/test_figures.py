"""Figures: what is drawn equals what the result says, nothing disappears, and nothing global changes."""

from __future__ import annotations

from types import ModuleType

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pdbiomarker import plot
from pdbiomarker.errors import InputError
from pdbiomarker.plot.numbers import format_interval, format_number
from pdbiomarker.plot.select import not_evaluable, select
from pdbiomarker.plot.style import (
    figure,
    hue_of,
    plain,
    render_png,
    render_svg,
    settle,
    short_id,
    spread,
    style,
)

DENSITY = "CD8_density_tissue"


def _texts(ax: Axes) -> str:
    """All text of a figure as it will be drawn."""
    fig = ax.get_figure(root=True)
    assert isinstance(fig, Figure)
    fig.canvas.draw()
    found = [t.get_text() for t in fig.findobj(mpl.text.Text)]
    return "\n".join(t for t in found if t).replace("\u00a0", " ")


@pytest.mark.parametrize("feature", [DENSITY, "CD8_pct_tissue", "CD8_hscore_tissue", "CYT"])
def test_paired_draws_every_participant_and_says_n(fake: ModuleType, feature: str) -> None:
    result = fake.make_result(genes=3)
    ax = plot.paired(result, feature, hue="dose_mg")
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and list(line.get_xdata()) == [0, 1]]
    chosen = select(result, feature)
    assert len(lines) == len(chosen.pairs) == 9
    factor = 100.0 if feature == "CD8_pct_tissue" else 1.0
    drawn = sorted(tuple(float(v) for v in line.get_ydata()) for line in lines)
    wanted = sorted(
        (b * factor, o * factor) for b, o in chosen.pairs[["baseline_value", "on_value"]].to_numpy()
    )
    np.testing.assert_allclose(drawn, wanted, rtol=1e-12)
    text = _texts(ax)
    assert "9 pairs, 3 with one visit only" in text
    assert "(95 % CI" in text
    assert ax.get_yscale() == ("log" if feature == DENSITY else "linear")


@pytest.mark.parametrize("feature", [DENSITY, "CD8_hscore_tissue"])
def test_intervals_of_few_pairs_stand_within_the_axis(fake: ModuleType, feature: str) -> None:
    """Four pairs: the interval of a mean is wider than their values, and is not cut."""
    result = fake.make_result(genes=3, n=4, lost={}, seed=5)
    ax = plot.paired(result, feature)
    low, high = ax.get_ylim()
    values = select(result, feature).pairs[["baseline_value", "on_value"]].to_numpy()
    whiskers = [line for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2]
    assert len(whiskers) == 2
    ends = np.array([line.get_ydata() for line in whiskers], dtype=float)
    assert ends.max() > values.max()
    assert low <= ends.min()
    assert ends.max() <= high


def test_paired_summary_is_the_geometric_mean_with_its_t_interval(fake: ModuleType) -> None:
    """Oracle: scipy's mean and t interval of the logarithms; relative tolerance 1e-12."""
    result = fake.make_result(genes=3)
    ax = plot.paired(result, DENSITY)
    pairs = select(result, DENSITY).pairs
    diamonds = [line for line in ax.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert [float(d.get_ydata()[0]) for d in diamonds] == pytest.approx(
        [float(np.exp(np.log(pairs[c]).mean())) for c in ("baseline_value", "on_value")], rel=1e-12
    )


def test_zeros_are_drawn_and_make_the_summary_a_median(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    rows = result.changes["feature"] == DENSITY
    result.changes.loc[result.changes.index[rows][0], "baseline_value"] = 0.0
    ax = plot.paired(result, DENSITY)
    assert "0" in [t.get_text() for t in ax.texts]
    assert ax.get_legend() is not None
    assert "median" in _texts(ax)


def test_waterfall_has_a_place_for_every_participant(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    ax = plot.waterfall(result, DENSITY, hue="dose_mg")
    pairs = select(result, DENSITY).pairs
    heights = [bar.get_height() for bar in ax.patches if bar.get_width() < 1]
    np.testing.assert_allclose(heights, sorted(np.log2(pairs["ratio"]), reverse=True), rtol=1e-12)
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert sorted(labels) == sorted(result.study.participants.index)
    text = _texts(ax)
    assert "3 not evaluable (NE): 2 no biopsy, 1 not adequate" in text
    assert text.count("NE ·") == 3


def test_waterfall_counts_when_there_are_too_many_without_a_pair(fake: ModuleType) -> None:
    result = fake.make_result(genes=3, n=60, lost=dict.fromkeys(range(5, 40), "on"))
    text = _texts(plot.waterfall(result, DENSITY))
    assert "35 not evaluable (NE): 35 no biopsy" in text
    assert "35 NE\n35 no biopsy" in text


def test_forest_shows_every_row_and_its_numbers(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    text = _texts(plot.forest(result))
    shown = result.table[result.table["kind"] != "count"]
    for _, row in shown.iterrows():
        assert (
            f"{format_number(row['effect'])} ({format_interval(row['effect_low'], row['effect_high'])})"
            in text
        )
    assert "kenward-roger" in text
    assert "change (points)" in text
    assert "ratio on treatment / baseline" in text


def test_forest_keeps_a_line_without_estimate_with_the_reason(fake: ModuleType) -> None:
    result = fake.make_result(genes=3, lost=dict.fromkeys(range(10), "on"))
    text = _texts(plot.forest(result, family="primary"))
    assert "too few: 2 pairs; at least 3 are needed" in text
    assert "CD8 density (tissue)" in text


def test_forest_groups_sets_with_their_feature(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    ordered = result.table.sort_values("set", kind="stable", ignore_index=True)
    ax = plot.forest(fake.dataclasses.replace(result, table=ordered), family="panel")
    labels = [t.get_text().strip() for t in ax.get_yticklabels()]
    assert labels == ["CD8+ cells (tissue)", "all biopsied", "Ki-67 density (tissue)", "all biopsied"]


def test_forest_refuses_what_does_not_fit(fake: ModuleType) -> None:
    with pytest.raises(InputError, match=r"E-RESULT-002.*do not fit"):
        plot.forest(fake.make_result(genes=300), family="genes")


def test_volcano_counts_tested_called_and_left_out(fake: ModuleType) -> None:
    result = fake.make_result(genes=300)
    rows = result.table[(result.table["assay"] == "rna") & (result.table["set"] == "strict")]
    up = int(((rows["q"] < 0.05) & (rows["estimate"] > 0)).sum())
    down = int(((rows["q"] < 0.05) & (rows["estimate"] < 0)).sum())
    text = _texts(plot.volcano(result)).replace("\n", " ")
    assert "299 features tested, 1 not tested" in text
    assert f"{up} up, {down} down" in text
    assert up + down > 5


def test_volcano_names_do_not_cover_each_other(fake: ModuleType) -> None:
    ax = plot.volcano(fake.make_result(genes=300), labels=25)
    fig = ax.get_figure(root=True)
    assert isinstance(fig, Figure)
    renderer = fig.canvas.get_renderer()  # type: ignore[attr-defined]
    names = [t for t in ax.texts if t.get_text().startswith("GENE")]
    assert len(names) > 8
    boxes = [t.get_window_extent(renderer) for t in names]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_volcano_of_twenty_thousand_genes_is_small_and_rasterised(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    row = result.table[result.table["kind"] == "count"].iloc[[0]]
    rng = np.random.default_rng(0)
    n = 22_000
    table = row.loc[row.index.repeat(n)].reset_index(drop=True)
    table["feature"] = [f"G{i}" for i in range(n)]
    table["estimate"], table["p"] = rng.normal(size=n), rng.uniform(size=n)
    table["q"] = 1.0
    with style():
        ax = figure(7, 5).add_subplot()
    plot.volcano(fake.dataclasses.replace(result, table=table), ax=ax)
    fig = ax.get_figure(root=True)
    assert isinstance(fig, Figure)
    svg = render_svg(fig)
    assert len(svg) < 1_500_000
    assert b"data:image/png" in svg


def test_flow_is_that_of_the_table(fake: ModuleType) -> None:
    text = _texts(plot.accountability(fake.make_result(genes=3), "ihc"))
    for step, n in (("enrolled", 12), ("screening biopsy taken", 11), ("C2D1 biopsy adequate", 9)):
        assert step in text
        assert f"\n{n}\n" in text
    assert "−1: P06" in text


def test_truth_counts_intervals_that_hold_the_planted_effect(fake: ModuleType) -> None:
    result = fake.make_result(genes=200, with_truth=True)
    few, many = _texts(plot.truth(result, "ihc")), _texts(plot.truth(result, "rna"))
    table = result.table[(result.table["set"] == "strict") & (result.table["assay"] == "ihc")]
    true = dict(zip(result.truth["feature"], result.truth["true"], strict=True))
    inside = sum(r.ci_low <= true[r.feature] <= r.ci_high for r in table.itertuples())
    assert f"{inside} of 4 95 % intervals" in few
    assert "199 features; 1 planted without estimate" in many


@pytest.mark.parametrize("draw", [plot.paired, plot.waterfall])
def test_without_pairs_the_axes_say_why(fake: ModuleType, draw: object) -> None:
    result = fake.make_result(genes=3, lost=dict.fromkeys(range(12), "on"))
    assert callable(draw)
    empty = result.changes.iloc[:0]
    for changed in (result, fake.dataclasses.replace(result, changes=empty)):
        ax = draw(changed, DENSITY)
        assert isinstance(ax, Axes)
        if draw is plot.waterfall or changed is not result:
            assert "No evaluable pairs" in _texts(ax)


def test_empty_results_draw(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    nothing = fake.dataclasses.replace(
        result, table=result.table.iloc[:0], changes=result.changes.iloc[:0],
        accountability=result.accountability.iloc[:0],
    )  # fmt: skip
    assert "no features" in _texts(plot.volcano(nothing))
    assert "No biopsy" in _texts(plot.accountability(nothing))
    assert "No feature" in _texts(plot.forest(nothing))
    assert "Nothing was planted" in _texts(plot.truth(nothing))


def test_one_pair_and_equal_values_draw(fake: ModuleType) -> None:
    result = fake.make_result(genes=3, lost=dict.fromkeys(range(1, 12), "on"))
    result.changes.loc[:, ["baseline_value", "on_value"]] = 5.0
    result.changes.loc[result.changes["change"].notna(), ["change", "ratio"]] = [0.0, 1.0]
    for draw in (plot.paired, plot.waterfall):
        draw(result, DENSITY).get_figure().canvas.draw()


def test_hostile_ids_are_text(fake: ModuleType) -> None:
    result = fake.make_result(genes=3, ids=fake.HOSTILE)
    for ax in (plot.paired(result, DENSITY), plot.waterfall(result, DENSITY)):
        text = _texts(ax)
        assert "$x$" in text
        assert "□ emoji" in text
        fig = ax.get_figure()
        assert isinstance(fig, Figure)
        svg = render_svg(fig)
        assert b"<script" not in svg
        assert b"<!--" not in svg


def test_nothing_global_changes(fake: ModuleType) -> None:
    before = dict(mpl.rcParams)
    result = fake.make_result(genes=30)
    plot.paired(result, DENSITY)
    plot.volcano(result)
    assert dict(mpl.rcParams) == before


def test_the_same_figure_gives_the_same_bytes(fake: ModuleType) -> None:
    result = fake.make_result(genes=30)
    made = []
    for _ in range(2):
        fig = plot.waterfall(result, DENSITY, hue="dose_mg").get_figure()
        assert isinstance(fig, Figure)
        made.append((render_svg(fig), render_png(fig)))
        plt.close("all")
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature": "CD9_density"}, r"no feature 'CD9_density'.*CD8"),
        ({"feature": DENSITY, "contrast": "late"}, r"no contrast 'late'.*on_treatment"),
        ({"feature": DENSITY, "set_": "others"}, r"no analysis set 'others'"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(
    fake: ModuleType, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        plot.paired(fake.make_result(genes=3), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("draw", [plot.paired, plot.waterfall])
def test_a_wrong_hue_is_refused_with_the_nearest_column(fake: ModuleType, draw: object) -> None:
    assert callable(draw)
    with pytest.raises(InputError, match=r"no column 'dose'.*dose_mg"):
        draw(fake.make_result(genes=3), DENSITY, hue="dose")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"assay": "rnaseq"}, r"no assay 'rnaseq'.*rna"),
        ({"contrast": "late"}, r"no contrast 'late'.*on_treatment"),
        ({"set_": "strikt"}, r"no analysis set 'strikt'.*strict"),
    ],
)
def test_volcano_refuses_what_does_not_exist(
    fake: ModuleType, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        plot.volcano(fake.make_result(genes=3), **arguments)  # type: ignore[arg-type]


def test_axes_of_a_signature_have_the_unit_of_its_assay(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    var = pd.DataFrame({"unit": ["log2 CPM"]}, index=["CYT"])
    result.study.assays["rna_signatures"] = fake.SimpleNamespace(var=var, layers={}, obs=None)
    assert "change (log2 CPM)" in _texts(plot.forest(result, ["CYT"]))
    assert "change (log2 CPM)" in _texts(plot.waterfall(result, "CYT"))
    assert "log2 CPM (95 % CI" in _texts(plot.paired(result, "CYT"))


def test_paired_says_whose_mean_and_whose_estimate(fake: ModuleType) -> None:
    text = _texts(plot.paired(fake.make_result(genes=3), DENSITY))
    assert "geometric mean\nof the pairs, 95 % CI" in text
    assert "Model: ratio" in text


def test_a_long_reason_points_to_the_file(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    flow = result.accountability
    flow.loc[flow["n_lost"] > 0, "reason"] = "; ".join(f"P{i} (no usable biopsy)" for i in range(60))
    assert "(all in dispositions.csv)" in _texts(plot.accountability(result, "ihc"))
    flow.loc[flow["n_lost"] > 0, "reason"] = "P1 (none); and 6 more, listed in biopsies.csv of the results"
    assert "P1 (none); and 6 more (all in dispositions.csv)" in _texts(plot.accountability(result, "ihc"))


def test_a_flow_without_a_rule_of_adequacy_has_no_such_step(fake: ModuleType) -> None:
    result = fake.make_result(genes=3, lost={2: "on"})
    assert "C2D1 biopsy adequate" in _texts(plot.accountability(result, "ihc"))
    result.study.spec.adequacy = {}
    assert "adequate" not in _texts(plot.accountability(result, "ihc"))


def test_a_name_in_two_assays_must_be_qualified(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    table = pd.concat([result.table, result.table[result.table["feature"] == "CYT"].assign(assay="other")])
    both = fake.dataclasses.replace(result, table=table)
    with pytest.raises(InputError, match="stands in 2 assays"):
        plot.paired(both, "CYT")
    assert select(both, "rna_signatures:CYT").row["assay"] == "rna_signatures"


def test_a_biopsy_that_lost_its_visit_is_named_as_the_reason(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    lost = {"biopsy_id": "P03-2", "participant_id": "P03", "visit": None, "assay": "ihc", "set": "strict"}
    lost |= {"used": False, "code": "E-PAIR-002", "reason": "Study day 40 is in no visit window."}
    biopsies = pd.concat([result.biopsies, pd.DataFrame([lost])], ignore_index=True)
    told = not_evaluable(fake.dataclasses.replace(result, biopsies=biopsies), select(result, DENSITY))
    assert {p: w for p, w, _ in told} == {
        "P03": "off window",
        "P06": "not adequate",
        "P10": "no biopsy",
    }


def test_hues_are_ordered_numbers_sorted_text_and_named_gaps() -> None:
    people = pd.DataFrame(
        {"dose": [100.0, 10.0, None, 30.0], "site": ["b", "a", None, "b"]}, index=["1", "2", "3", "4"]
    )
    assert hue_of(people, "dose").levels == ("10", "30", "100", "not recorded")
    assert hue_of(people, "site").levels == ("a", "b", "not recorded")
    assert hue_of(people, "site").level("3") == "not recorded"
    many = pd.DataFrame({"age": np.arange(40.0), "arm": [f"a{i % 10}" for i in range(40)]})
    many.index = many.index.astype(str)
    assert len(hue_of(many, "age").levels) == 4
    assert len(hue_of(many, "arm").levels) == 7


def test_plain_text_has_known_glyphs_on_one_line() -> None:
    assert plain("a\nb\u202ec\U0001f9ec") == "a b□c□"
    assert plain("x" * 100, 10) == "x" * 9 + "…"
    assert short_id("PARTICIPANT-000123", 11) == "PARTI…00123"


def test_spread_keeps_order_distance_and_limits() -> None:
    wanted = np.array([0.5, 0.5, 0.51, 0.99, 1.0, 0.0])
    placed = spread(wanted, 0.05)
    assert (np.diff(np.sort(placed)) > 0.049).all()
    assert placed.min() >= 0
    assert placed.max() <= 1
    assert (np.argsort(placed, kind="stable") == np.argsort(wanted, kind="stable")).all()


def test_a_figure_that_was_laid_out_is_drawn_once_for_each_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout engine that stays, even one that does nothing, makes matplotlib draw everything twice."""
    fig = figure(4, 3)
    with style():
        ax = fig.add_subplot()
        ax.plot([0, 1], [0, 1])
        ax.set_ylabel("a long label, which takes its room\nfrom the axes")
        settle(fig)
    place = ax.get_position().bounds
    assert place[0] > 0.13  # the label's room: the layout was made, not only turned off
    drawn: list[object] = []
    draw = Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda self, renderer: drawn.append(renderer) or draw(self, renderer))
    svg = render_svg(fig)
    assert len(drawn) == 1
    render_png(fig)
    assert len(drawn) == 2
    assert ax.get_position().bounds == place
    assert render_svg(fig) == svg
