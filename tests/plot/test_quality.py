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


def pairs_table(similar: dict[tuple[int, int], float], n: int = 6) -> pd.DataFrame:
    """Pairs of `n` libraries, two a participant; unlike but for those given."""
    rows = [
        (f"LIB{a}", f"LIB{b}", f"P{a // 2}", f"P{b // 2}", similar.get((a, b), 0.05))
        for a in range(n)
        for b in range(a + 1, n)
    ]
    names = ["library_a", "library_b", "participant_a", "participant_b", "similarity"]
    return pd.DataFrame(rows, columns=names)


def test_the_matrix_of_likeness_holds_every_pair_and_frames_a_swap() -> None:
    """LIB1 and LIB2 changed places: each is like the other participant's library."""
    swapped = {(0, 2): 0.9, (1, 3): 0.8, (4, 5): 0.85}
    told = identity_table().assign(other_library=["LIB2", "LIB3", "LIB0", "LIB1", "", ""])
    ax = plot.likeness_matrix(pairs_table(swapped), told)
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert drawn.shape == (6, 6)
    assert np.isnan(np.diag(drawn)).all()
    for a in range(6):
        for b in range(a + 1, 6):
            assert drawn[a, b] == drawn[b, a] == swapped.get((a, b), 0.05)
    framed = {(p.get_x() + 0.5, p.get_y() + 0.5) for p in ax.patches if p.get_width() == p.get_height() == 1}
    assert framed == {(0, 2), (2, 0), (1, 3), (3, 1)}
    assert "6 libraries of 3 participants; 2 suspects" in _texts(ax)
    assert "Too few libraries" in _texts(plot.likeness_matrix(pairs_table({}).iloc[:0]))
    plt.close("all")
