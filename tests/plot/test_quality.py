"""Figures of the quality of transcripts: every library is drawn, suspects are named."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pdbiomarker import plot


def _texts(ax: Axes) -> str:
    fig = ax.get_figure(root=True)
    assert isinstance(fig, Figure)
    fig.canvas.draw()
    return "\n".join(t.get_text() for t in fig.findobj(mpl.text.Text))


def _drawn(ax: Axes) -> int:
    """Points of the filled markers."""
    return sum(len(line.get_xdata()) for line in ax.lines if line.get_markerfacecolor() != "none"
               and line.get_linestyle() == "None")  # fmt: skip


def identity_table(n: int = 6) -> pd.DataFrame:
    suspect = np.arange(n) == 1
    return pd.DataFrame(
        {
            "library_id": [f"LIB{k}" for k in range(n)],
            "participant_id": [f"P{k // 2}" for k in range(n)],
            "sex": ["F", "F", "M", "M", None, "M"][:n],
            "sex_check": np.where(suspect, "contradicts", "agrees"),
            "y_log2_cpm": [-5.0, 4.0, 5.0, 6.0, 5.5, 4.5][:n],
            "xist_log2_cpm": [6.0, -5.0, -5.0, -5.0, -5.0, -5.0][:n],
            "own_similarity": [0.1, 0.1, 0.8, 0.8, np.nan, 0.7][:n],
            "other_similarity": [0.9, 0.9, 0.2, 0.1, 0.3, 0.2][:n],
            "verdict": ["suspect", "suspect", "consistent", "consistent", "single", "unconfirmed"][:n],
        }
    )


def test_sexes_draws_every_library_and_names_the_contradiction() -> None:
    ax = plot.sexes(identity_table())
    text = _texts(ax)
    assert _drawn(ax) == 6
    assert "5 of 6 libraries agree, 1 contradict" in text
    assert "LIB1" in text
    assert "LIB2" not in text
    assert "recorded female (2)" in text
    assert "sex not recorded (1)" in text
    plt.close("all")


def test_sexes_without_xist_and_without_anything() -> None:
    ax = plot.sexes(identity_table().assign(xist_log2_cpm=np.nan))
    assert "XIST is not in the matrix" in _texts(ax)
    assert "no gene of the Y chromosome" in _texts(plot.sexes(identity_table().assign(y_log2_cpm=np.nan)))
    plt.close("all")


def test_likeness_draws_every_library() -> None:
    ax = plot.likeness(identity_table())
    text = _texts(ax)
    assert _drawn(ax) == 6
    assert "6 libraries; 2 suspects" in text
    assert "LIB0" in text
    assert "only library of its participant (1)" in text
    empty = plot.likeness(identity_table().assign(other_similarity=np.nan))
    assert "Too few libraries" in _texts(empty)
    plt.close("all")


def test_components_draws_every_biopsy_and_rings_the_flagged() -> None:
    table = pd.DataFrame(
        {
            "biopsy_id": [f"B{k}" for k in range(12)],
            "assay": "rna",
            "visit": ["pre", "on", None] * 4,
            "batch": [f"R{k}" for k in range(12)],
            "site": "",
            "pc1": np.arange(12.0),
            "pc2": np.arange(12.0) ** 2,
            "flags": ["first component"] + [""] * 11,
        }
    )
    ax = plot.components(table)
    assert "rna, 12 biopsies; colour: visit; 1 flagged" in _texts(ax)
    assert "not recorded (4)" in _texts(ax)
    assert _drawn(ax) == 12
    assert "B0" in _texts(ax)
    many = plot.components(table, hue="batch")
    assert _drawn(many) == 12  # beyond seven colours the rest are grey
    assert "Too few biopsies" in _texts(plot.components(table.assign(pc2=np.nan)))
    assert mpl.rcParams["axes.titlelocation"] == mpl.rcParamsDefault["axes.titlelocation"]
    plt.close("all")
