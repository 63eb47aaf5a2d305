"""Waterfall, spider, swimmer and survival curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from clinical_trial import trial
from matplotlib.axes import Axes

from pdbiomarker.clinical.efficacy import Efficacy, efficacy, swimmer_data
from pdbiomarker.clinical.survival import kaplan_meier
from pdbiomarker.errors import InputError
from pdbiomarker.plot import size_waterfall, spider, survival_curve, swimmer
from pdbiomarker.plot.style import render_png


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return trial()


@pytest.fixture(scope="module")
def made(tables: dict[str, pd.DataFrame]) -> Efficacy:
    return efficacy(tables["participants"], tables)


def words(ax: Axes) -> str:
    texts = [text.get_text() for text in ax.texts] + [label.get_text() for label in ax.get_xticklabels()]
    legend = ax.get_legend()
    texts += [] if legend is None else [text.get_text() for text in legend.get_texts()]
    return "\n".join(texts)


def test_waterfall_has_a_bar_for_each_change_and_a_place_for_everybody(made: Efficacy) -> None:
    table = made.waterfall.copy()
    table.loc[0, "best_size_change_pct"] = 250.0
    table.loc[3, ["best_size_change_pct", "why_not"]] = [np.nan, "no sum of diameters after baseline"]
    ax = size_waterfall(table)
    heights = sorted((p.get_height() for p in ax.patches if p.get_width() < 1), reverse=True)
    assert len(heights) >= len(table) - 1
    assert heights[0] == 100
    assert "250 %" in words(ax)
    assert "NE · no sum of diameters after baseline" in words(ax)
    assert all(person in words(ax) for person in table["participant_id"])


def test_waterfall_and_spider_may_be_coloured_by_a_number(made: Efficacy) -> None:
    change = np.linspace(-1, 2, len(made.waterfall))
    change[2] = np.nan
    table = made.waterfall.assign(CD8_log2_change=change)
    ax = size_waterfall(table, hue="CD8_log2_change")
    assert "CD8 log2 change not recorded" in words(ax)
    assert len({p.get_facecolor() for p in ax.patches}) > 10
    lines = made.spider.merge(table[["participant_id", "CD8_log2_change"]], on="participant_id")
    assert len(spider(lines, hue="CD8_log2_change").get_figure().axes) == 2  # with its scale


def test_spider_labels_each_line_and_leaves_open_what_does_not_count(made: Efficacy) -> None:
    ax = spider(made.spider)
    assert all(person in words(ax) for person in made.spider["participant_id"])
    dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
    later = made.spider[~made.spider["counted"]]
    assert len(dotted) == later["participant_id"].nunique()


def test_swimmer_draws_every_kind_of_mark(made: Efficacy, tables: dict[str, pd.DataFrame]) -> None:
    bars, marks = swimmer_data(made, tables["participants"], tables["outcomes"])
    bars = bars.merge(tables["participants"], on="participant_id")
    biopsies = tables["biopsies"].assign(adequate=lambda t: t["adequate"].astype(object))
    biopsies.loc[0, "adequate"] = None
    ax = swimmer(bars, marks, biopsies, doses=tables["doses"], hue="dose_mg")
    for label in ("10 mg", "ongoing", "dose", "biopsy, adequate", "biopsy, inadequate", "death"):
        assert label in words(ax).split("\n"), label
    assert "biopsy, not assessed" in words(ax)
    assert "progression" in words(ax)


def test_survival_curve_has_the_numbers_at_risk_of_the_estimate(made: Efficacy) -> None:
    curves = made.curves["pfs_by_dose_mg"]
    ax = survival_curve(curves, unit="days")
    below = next(a for a in ax.get_figure().axes if a is not ax)
    shown = [text.get_text() for text in below.texts if text.get_text().isdigit()]
    ticks = [float(t) for t in ax.get_xticks()]
    want = curves.at(ticks)["n_risk"].astype(int).astype(str).tolist()
    assert shown == want
    assert "not reached" in words(ax)


def test_figures_without_anything_say_so(made: Efficacy) -> None:
    nobody = pd.DataFrame({"days": [], "event": []})
    assert "Nobody has a time" in words(survival_curve(kaplan_meier(nobody)))
    assert "Nobody" in words(size_waterfall(made.waterfall.assign(best_size_change_pct=np.nan)))
    assert "No sum" in words(spider(made.spider.iloc[:0]))
    assert "Nobody was treated" in words(swimmer(pd.DataFrame({"participant_id": [], "end_day": []})))


def test_missing_columns_and_units_are_refused(made: Efficacy) -> None:
    with pytest.raises(InputError, match="best_response"):
        size_waterfall(made.waterfall.drop(columns="best_response"))
    with pytest.raises(InputError, match="fortnights"):
        survival_curve(made.curves["pfs"], unit="fortnights")


def test_the_same_bytes_twice(made: Efficacy) -> None:
    first, second = (render_png(size_waterfall(made.waterfall).get_figure()) for _ in range(2))
    assert first == second
