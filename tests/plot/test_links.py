"""Figures of links: what they show is what the link holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from linked import trial
from matplotlib.axes import Axes

from pdbiomarker import PDResult, link, plot
from pdbiomarker.plot.style import hue_of, render_png


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> PDResult:
    return trial(tmp_path_factory.mktemp("links") / "study", swap=True)


@pytest.fixture(scope="module")
def links(result: PDResult) -> link.Links:
    return link.link_study(result)


def points_of(ax: Axes) -> int:
    """Markers that are drawn one by one or together, without means and lines."""
    return sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() in tuple("os^Dvx"))


def words_of(ax: Axes) -> str:
    """All texts, the subtitle's lines (annotated from the last to the first) in their order."""
    return " ".join([ax.get_title(loc="left"), *(t.get_text() for t in reversed(ax.texts))]).replace(
        "\xa0", " "
    )


def test_exposure_shows_every_pair_means_and_the_allowed_curve(result: PDResult, links: link.Links) -> None:
    found = links.exposure[0]
    ax = plot.exposure(found, hue=hue_of(result.study.participants, "dose_mg"))
    assert points_of(ax) == 23 + 4  # pairs, and one mean for each dose
    curves = [line for line in ax.lines if len(line.get_xdata()) == len(found.curve)]
    assert len(curves) == 1
    assert np.asarray(curves[0].get_ydata()) == pytest.approx(found.curve["mean"].to_numpy())
    doses = found.points.loc[found.points["used"].astype(bool), "exposure"].value_counts()
    shown = [f"{dose} mg\nn = {doses[dose]}" for dose in (1, 3, 10, 30)]
    assert [t.get_text() for t in ax.get_xticklabels()] == shown
    assert "n = 23 pairs" in words_of(ax)


def test_exposure_without_a_curve_says_why(result: PDResult) -> None:
    dose = pd.Series(np.linspace(10, 20, 24), result.study.participants.index, name="AUC")
    found = link.exposure_pd(result, "ihc:CD8_density", dose)
    ax = plot.exposure(found)
    assert not [line for line in ax.lines if len(line.get_xdata()) > 50]
    assert "at least 1 needed" in words_of(ax)


def test_response_shows_groups_in_order_with_their_n(links: link.Links) -> None:
    ax = plot.response(links.response[0])
    told = [t.get_text() for t in ax.get_xticklabels()]
    assert [t.partition("\n")[0] for t in told] == ["CR", "PR", "SD", "PD", "not evaluable"]
    assert sum(int(t.rpartition("= ")[2]) for t in told) == 23
    assert "Jonckheere-Terpstra" in words_of(ax)


def test_landmark_shows_two_curves_from_the_landmark(links: link.Links) -> None:
    ax = plot.landmark(links.response[0])
    curves = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert len(curves) == 2
    assert all(line.get_xdata()[0] == 0 and line.get_ydata()[0] == 1 for line in curves)
    kept = int(links.response[0].row("hazard ratio per doubling")["n"])
    assert (
        sum(
            int(t.get_text().rpartition("= ")[2])
            for t in ax.texts
            if "median" in t.get_text() or "below" in t.get_text()
        )
        == kept
    )
    assert "study day 36" in ax.get_xlabel()
    assert "picture only" in words_of(ax)


def test_concordance_rings_who_is_discordant(links: link.Links) -> None:
    ax = plot.concordance(links.concordance[0])
    panels = ax.get_figure(root=True).axes
    assert len(panels) == 2
    for panel in panels:
        assert "P05" in [t.get_text() for t in panel.texts]
    assert "1 participant discordant" in words_of(ax)


def test_blood_says_that_it_is_no_surrogate(result: PDResult, links: link.Links) -> None:
    ax = plot.blood(links.blood[0], hue=hue_of(result.study.participants, "dose_mg"))
    assert points_of(ax) == 23
    assert "no surrogate" in words_of(ax)


def test_empty_links_are_figures_with_a_reason(result: PDResult) -> None:
    nobody = pd.Series({"P01": 3.0}, name="AUC")
    found = link.exposure_pd(result, "ihc:CD8_density", nobody)
    assert "No pair" in words_of(plot.exposure(found))
    silent = pd.DataFrame({"best_response": "NE"}, index=result.study.participants.index)
    told = link.response_pd(result, "ihc:CD8_density", silent)
    assert "No pair" in words_of(plot.response(told))
    assert "no survival" in words_of(plot.landmark(told))


def test_the_same_figure_has_the_same_bytes(links: link.Links) -> None:
    first, second = (plot.response(links.response[0]).get_figure(root=True) for _ in range(2))
    assert first is not None
    assert second is not None
    assert render_png(first) == render_png(second)
