"""One look for every figure.

Settings are applied inside :func:`style` and undone after it: importing this module changes nothing. Colours
are safe for the colour-blind (Okabe and Ito 2008; viridis, Smith and van der Walt 2015). Text that came from
a study is never read as mathematics, so ``$x$`` stays ``$x$``.
"""

from __future__ import annotations

import functools
import io
import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pdbiomarker.errors import InputError, Problem
from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import refuse

__all__ = [
    "ACCENT",
    "GRID",
    "INK",
    "MARKERS",
    "MUTED",
    "Hue",
    "describe",
    "despine",
    "empty",
    "hue_of",
    "name_size",
    "new_axes",
    "palette",
    "panels_of",
    "plain",
    "ratio_axis",
    "render_png",
    "render_svg",
    "settle",
    "short_id",
    "side_legend",
    "split",
    "spread",
    "style",
    "titles",
    "words_of",
]

INK: Final = "#17252d"
MUTED: Final = "#5f6d75"
FAINT: Final = "#a9b4ba"
GRID: Final = "#e4e9ec"
ACCENT: Final = "#0b6477"
UP: Final = "#c04f15"
DOWN: Final = "#1f6fb2"
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "h")
_OKABE_ITO: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C7A00")
_MAX_LEVELS: Final = 7

#: The DejaVu Sans that comes with matplotlib. Under its usual name any other version that is installed, or
#: stands in a list of fonts kept in the user's home, may take its place, and figures differ in their bytes.
_FAMILY: Final = "DejaVu Sans of matplotlib"
_FACES: Final = (
    ("DejaVuSans.ttf", "normal", 400),
    ("DejaVuSans-Bold.ttf", "normal", 700),
    ("DejaVuSans-Oblique.ttf", "oblique", 400),
    ("DejaVuSans-BoldOblique.ttf", "oblique", 700),
)
_RC: Final[Mapping[str, Any]] = {
    "font.family": [_FAMILY],
    "font.size": 9.0,
    "text.parse_math": False,
    # Hinted text changes its width with the resolution: what is laid out once must fit every format.
    "text.hinting": "no_hinting",
    "text.color": INK,
    "axes.edgecolor": "#8b979e",
    "axes.labelcolor": INK,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.formatter.useoffset": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "hatch.linewidth": 0.6,
    "hatch.color": "#c3ccd1",
    "svg.fonttype": "path",
    "svg.hashsalt": "pdbiomarker",
    "path.simplify": True,
}


@functools.cache
def _register_fonts() -> None:
    """Make matplotlib's own fonts known under a name that no other font has."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for file, slant, weight in _FACES:
        entry = font_manager.FontEntry(
            fname=str(folder / file),
            name=_FAMILY,
            style=slant,
            variant="normal",
            weight=weight,
            stretch="normal",
            size="scalable",
        )
        font_manager.fontManager.ttflist.append(entry)


@contextmanager
def style() -> Iterator[None]:
    """Apply the look to everything drawn inside; nothing outside is changed."""
    _register_fonts()
    with mpl.rc_context({**sns.axes_style("ticks"), **_RC}):  # type: ignore[dict-item]
        yield


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return `ax`, or the axes of a new figure of that size in inches."""
    if ax is not None:
        return ax
    return plt.figure(figsize=(width, height), layout="constrained").add_subplot()


def figure(width: float, height: float) -> Figure:
    """Make a figure outside pyplot: nothing keeps it alive, no window opens."""
    return Figure(figsize=(width, height), layout="constrained")


@functools.cache
def _glyphs() -> frozenset[int]:
    _register_fonts()
    font = font_manager.get_font(font_manager.findfont(_FAMILY))
    return frozenset(font.get_charmap())


def plain(text: object, limit: int = 60) -> str:
    """Make any text drawable: one line, known glyphs only, at most `limit` characters.

    Characters that the font lacks, control characters and marks that turn the direction of writing become a
    box, so that two ids never look the same because something in them is invisible.
    """
    known = _glyphs()
    line = re.sub(r"[\t\n\r ]+", " ", str(text)).strip()
    drawn = "".join(c if c.isprintable() and ord(c) in known else "□" for c in line)
    return drawn if len(drawn) <= limit else drawn[: limit - 1] + "…"


def short_id(name: object, limit: int = 12) -> str:
    """Make an id drawable in little room: a long one keeps its start and its end, where ids differ."""
    drawn = plain(name, 500)
    if len(drawn) <= limit:
        return drawn
    tail = (limit - 1) // 2
    return f"{drawn[: limit - 1 - tail]}…{drawn[-tail:]}"


def name_size(ax: Axes, n: int) -> float:
    """Font size, at most 7.5, at which `n` turned names stand beside each other below the axes."""
    fig = ax.get_figure(root=True)
    width = 0.8 * float(fig.get_figwidth()) * 72.0 if fig is not None else 400.0
    return float(np.clip(0.85 * width / max(n, 1), 4.5, 7.5))


def titles(ax: Axes, title: str, subtitle: str = "", *, lift: float = 0.0, across: bool = False) -> None:
    """Write a bold title and, below it, a grey line of facts, both flush left.

    `lift` raises both by so many points; `across` lets the line run over the panels at the right.
    """
    width = _line_width(ax, across=across)
    whole = re.sub(r" ([<=>]) ", "\u00a0\\1\u00a0", subtitle).replace("95 % CI", "95\u00a0%\u00a0CI")
    lines = [part for line in whole.split("\n") for part in textwrap.wrap(line, width)]
    # A place of its own: else every layout measures all ticks, in case some stand on top, where we have none.
    ax.set_title(plain(title, 90), loc="left", y=1.0, pad=8.0 + lift + 12.5 * len(lines), color=INK)
    said = [plain(line.replace("\u00a0", " "), 600) for line in subtitle.split("\n") if line.strip()]
    ax.set_label("\n".join([plain(title, 90), " ".join(map(_ended, said))]))
    for i, line in enumerate(reversed(lines)):
        written = ax.annotate(
            line,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 6 + lift + 12.5 * i),
            textcoords="offset points",
            color=MUTED,
            fontsize=8.5,
            va="bottom",
        )
        # Its height is that of the title's pad, which stays in the layout.
        written.set_in_layout(not across)


def words_of(fig: Figure) -> tuple[str, str]:
    """The title of a figure, and its titles with their facts as one text for those who cannot see it.

    Returns
    -------
    tuple of str
        ``("CD8: change per participant", "CD8: change per participant. 8 pairs: 8 up, ...")``;
        empty where nothing in the figure has a title.
    """
    told = [str(ax.get_label()).partition("\n") for ax in fig.axes if "\n" in str(ax.get_label())]
    ends = [f"{_ended(title)} {_ended(facts)}".strip() for title, _, facts in told]
    return (told[0][0] if told else "", " ".join(ends))


def describe(ax: Axes, text: str) -> None:
    """Add what is seen, in words and numbers, to what :func:`words_of` tells of titled axes."""
    ax.set_label(f"{_ended(str(ax.get_label()))} {_ended(plain(text, 600))}")


def _ended(text: str) -> str:
    return text if not text or text[-1] in ".?!" else f"{text}."


def settle(fig: Figure) -> Figure:
    """Lay a figure out for good, so that every format draws it in the same places, whichever comes first.

    A figure that keeps an engine, even one that does nothing, is drawn once more whenever it is written.
    """
    for axis in (axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)):
        if not axis.get_label_text():
            axis.set_label_coords(0.5, 0.5)  # anywhere: else all ticks are measured for the place of no label
    engine = fig.get_layout_engine()
    if engine is not None:
        engine.execute(fig)
    with mpl.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        fig.set_layout_engine(None)
    return fig


def _line_width(ax: Axes, *, across: bool) -> int:
    """Characters of a subtitle that fit above the axes: those of its share of the figure, less its margin."""
    fig, spec = ax.get_figure(root=True), ax.get_subplotspec()
    if fig is None:
        return 80
    share = 1.0
    if spec is not None:
        columns = spec.get_topmost_subplotspec()
        share = (columns.colspan.stop - columns.colspan.start) / columns.get_gridspec().ncols
        if columns is not spec and not across:  # one of several panels side by side in that place
            share *= (spec.colspan.stop - spec.colspan.start) / spec.get_gridspec().ncols
    return max(36, int((float(fig.get_figwidth()) * share - 0.9) * 15))


def split(host: Axes, heights: Sequence[float]) -> list[Axes]:
    """Divide the place of `host` into panels one above the other.

    Raises
    ------
    InputError
        The axes have no place in a grid (made by ``fig.add_axes``) and cannot be divided.
    """
    if len(heights) == 1:
        return [host]
    spec = host.get_subplotspec()
    fig = host.get_figure()
    if spec is None or fig is None:
        problem = Problem(
            "E-RESULT-002",
            "Axes without a place in a grid cannot be divided into panels.",
            "Pass axes made by add_subplot, or none.",
            column="ax",
        )
        raise InputError([problem])
    host.remove()
    grid = spec.subgridspec(len(heights), 1, height_ratios=list(heights))
    return [fig.add_subplot(grid[i]) for i in range(len(heights))]


def panels_of(host: Axes, n: int) -> list[Axes]:
    """Divide the place of `host` into `n` panels side by side; axes without a place in a grid stay one.

    The panels of axes that cannot be divided are that one, `n` times.
    """
    spec, fig = host.get_subplotspec(), host.get_figure(root=True)
    if n == 1 or spec is None or fig is None:
        return [host] * n
    host.remove()
    grid = spec.subgridspec(1, n)
    return [fig.add_subplot(grid[i]) for i in range(n)]


def despine(ax: Axes, *, left: bool = False) -> None:
    """Remove the frame, but for the axes that carry ticks."""
    sns.despine(ax=ax, left=left)


def empty(ax: Axes, title: str, why: str) -> Axes:
    """Fill axes that have nothing to show with the reason."""
    ax.set_axis_off()
    titles(ax, title)
    ax.set_label(f"{plain(title, 90)}\n{plain(why, 400)}")
    ax.text(
        0.5,
        0.5,
        "\n".join(textwrap.wrap(plain(why, 400), 60)),
        transform=ax.transAxes,
        ha="center",
        va="center",
        color=MUTED,
        fontsize=10,
        linespacing=1.5,
        bbox={"boxstyle": "round,pad=1.0", "facecolor": "#f5f7f8", "edgecolor": GRID},
    )
    return ax


def ratio_axis(ax: Axes, which: str, low: float, high: float) -> None:
    """Label a log2 axis (values are log2 of a ratio) with the ratios: ¼, ½, 1, 2, 4.

    Parameters
    ----------
    ax : Axes
    which : {"x", "y"}
    low, high : float
        Limits, on the log2 scale.
    """
    axis = ax.xaxis if which == "x" else ax.yaxis
    span = high - low
    if span < 2.2:
        steps = [s for s in (0.5, 0.67, 0.75, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 0.25) if s]
        ticks = sorted(float(np.log2(s)) for s in steps)
        ticks = [t for t in ticks if low <= t <= high]
        ticks = _thin(ticks, span / 7)
    else:
        step = max(1, int(np.ceil(span / 9)))
        first, last = int(np.ceil(low / step)), int(np.floor(high / step))
        ticks = [float(step * k) for k in range(first, last + 1)]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: _ratio_label(float(v))))
    (ax.set_xlim if which == "x" else ax.set_ylim)(low, high)


def _thin(ticks: Sequence[float], gap: float) -> list[float]:
    """Keep 0 (ratio 1) and every tick that is at least `gap` from those kept."""
    kept = [0.0] if any(t == 0 for t in ticks) else []
    for tick in sorted(ticks, key=abs):
        if all(abs(tick - k) >= gap for k in kept):
            kept.append(tick)
    return sorted(kept)


def _ratio_label(log2_ratio: float) -> str:
    simple = {-1.0: "½", -2.0: "¼", -3.0: "⅛"}
    if log2_ratio in simple:
        return simple[log2_ratio]
    ratio = 2.0**log2_ratio
    if log2_ratio < 0 and float(log2_ratio).is_integer():
        return f"1/{format_number(round(1 / ratio))}"
    return f"{ratio:,.0f}" if ratio >= 1 and float(log2_ratio).is_integer() else f"{ratio:.3g}"


def linear_axis(ax: Axes, which: str) -> None:
    """Label a linear axis with plain numbers, five or so."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(MaxNLocator(6))
    axis.set_major_formatter(
        FuncFormatter(lambda v, _: (f"{v:,.0f}" if abs(v) >= 1000 else f"{v:.4g}").replace("-", "−"))
    )


def log_axis(ax: Axes, which: str, low: float, high: float) -> None:
    """Make a log axis with plain numbers as labels, from `low` to `high` in natural units (> 0)."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    (ax.set_xlim if which == "x" else ax.set_ylim)(low, high)
    decades = np.log10(high / low)
    mantissas = (1, 2, 5) if decades < 3 else ((1, 3) if decades < 5 else (1,))
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    ticks = [m * 10.0**e for e in range(first, last + 1) for m in mantissas]
    ticks = [t for t in ticks if low <= t <= high]
    if len(ticks) < 3:
        ticks = [float(t) for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high and t > 0]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1000 else f"{v:.4g}"))


def spread(
    positions: npt.NDArray[np.float64], gap: float, low: float = 0.0, high: float = 1.0
) -> npt.NDArray[np.float64]:
    """Move label positions apart until neighbours are `gap` apart, staying within `low` and `high`.

    Parameters
    ----------
    positions : array, shape (n,)
        Wanted positions.
    gap : float
        Least distance; reduced when `n` labels do not fit.

    Returns
    -------
    array, shape (n,)
        The order of the positions is kept.
    """
    wanted = np.asarray(positions, dtype=float)
    n = wanted.size
    if n < 2:
        return np.asarray(np.clip(wanted, low, high))
    gap = min(gap, (high - low) / (n - 1))
    order = np.argsort(wanted, kind="stable")
    placed = np.clip(wanted[order], low, high)
    for _ in range(200):
        overlap = gap - np.diff(placed)
        if overlap.max() <= gap * 1e-3:
            break
        push = np.where(overlap > 0, overlap / 2, 0.0)
        placed[:-1] -= push
        placed[1:] += push
        placed = np.clip(placed, low, high)
    for i in range(1, n):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    excess = placed[-1] - high
    if excess > 0:
        placed[-1] = high
        for i in range(n - 2, -1, -1):
            placed[i] = min(placed[i], placed[i + 1] - gap)
    result = np.empty(n)
    result[order] = placed
    return result


def side_legend(ax: Axes, handles: Sequence[Any], title: str = "") -> None:
    """Write a legend at the right of the axes."""
    ax.legend(
        handles=list(handles),
        title=title or None,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        alignment="left",
        handlelength=1.2,
    )


def palette(n: int) -> list[str]:
    """Give `n` distinct colours, at most seven; beyond, they repeat."""
    return [_OKABE_ITO[k % len(_OKABE_ITO)] for k in range(n)]


class Hue:
    """Colours and markers for the levels of a column of the participants.

    Attributes
    ----------
    name : str
        The column, as it is written in the legend.
    levels : tuple of str
        In order: numbers ascending, text sorted; what is missing comes last as ``not recorded``.
    """

    def __init__(
        self, name: str, of_participant: Mapping[str, str], levels: Sequence[str], ordered: bool
    ) -> None:
        self.name = name
        self.levels = tuple(levels)
        self._of = dict(of_participant)
        self._colors = dict(zip(levels, _palette(levels, ordered), strict=True))
        self._markers = {level: MARKERS[i % len(MARKERS)] for i, level in enumerate(levels)}

    def level(self, participant: str) -> str:
        """The level of a participant."""
        return self._of.get(participant, _UNKNOWN)

    def color(self, participant: str) -> str:
        """The colour of a participant."""
        return self._colors.get(self.level(participant), FAINT)

    def marker(self, participant: str) -> str:
        """The marker of a participant: a second sign, for print and for the colour-blind."""
        return self._markers.get(self.level(participant), "o")

    def color_of_level(self, level: str) -> str:
        """The colour of a level."""
        return self._colors.get(level, FAINT)

    def marker_of_level(self, level: str) -> str:
        """The marker of a level."""
        return self._markers.get(level, "o")


_UNKNOWN: Final = "not recorded"
_OTHER: Final = "other"


def _palette(levels: Sequence[str], ordered: bool) -> list[str]:
    real = [level for level in levels if level not in (_UNKNOWN, _OTHER)]
    if ordered:
        ramp = mpl.colormaps["viridis"](np.linspace(0.72, 0.05, max(len(real), 1)))
        colors = [mpl.colors.to_hex(c) for c in ramp]
    else:
        colors = list(_OKABE_ITO[: len(real)])
    return colors[: len(real)] + [FAINT] * (len(levels) - len(real))


def hue_of(participants: pd.DataFrame, column: str) -> Hue:
    """Read the levels of a column of the participants.

    Numbers are ordered and get an ordered palette; with more than seven different numbers they are cut into
    four groups of about equal size. Text gets distinct colours; beyond seven levels the rarest are ``other``.

    Raises
    ------
    InputError
        The participants have no such column.
    """
    if column not in participants.columns:
        known = [str(c) for c in participants.columns]
        raise refuse(f"The participants have no column {column!r}.", column, known, "hue")
    values = participants[column]
    ids = [str(i) for i in participants.index]
    numeric = pd.to_numeric(values, errors="coerce")
    missing = values.isna().to_numpy()
    name = column.replace("_mg", " (mg)").replace("_", " ")
    if bool(np.asarray(numeric.notna() | values.isna()).all()) and bool(numeric.notna().any()):
        texts, levels = _numeric_levels(numeric)
        ordered = True
    else:
        texts = [plain(v, 28) for v in values]
        counts = pd.Series(
            [t for t, m in zip(texts, missing, strict=True) if not m], dtype=object
        ).value_counts()
        ranked = sorted(counts.index, key=lambda t: (-int(counts[t]), t))
        kept = ranked if len(ranked) <= _MAX_LEVELS else ranked[: _MAX_LEVELS - 1]
        texts = [t if t in kept else _OTHER for t in texts]
        levels = sorted(kept) + ([_OTHER] if len(kept) < len(ranked) else [])
        ordered = False
    texts = [_UNKNOWN if m else t for t, m in zip(texts, missing, strict=True)]
    if missing.any():
        levels = [*levels, _UNKNOWN]
    return Hue(name, dict(zip(ids, texts, strict=True)), levels, ordered)


def _numeric_levels(numeric: pd.Series) -> tuple[list[str], list[str]]:
    distinct = sorted(set(numeric.dropna().astype(float)))
    if len(distinct) <= _MAX_LEVELS:
        return [f"{v:g}" for v in numeric.astype(float)], [f"{v:g}" for v in distinct]
    cuts = np.unique(np.quantile(numeric.dropna().astype(float), [0, 0.25, 0.5, 0.75, 1]))
    names = [f"{a:.3g} to {b:.3g}" for a, b in itertools.pairwise(cuts)]
    which = np.clip(np.searchsorted(cuts, numeric.fillna(cuts[0]), side="left") - 1, 0, len(names) - 1)
    return [names[int(i)] for i in which], names


def render_svg(fig: Figure) -> bytes:
    """Draw a figure as SVG: the same bytes for the same figure, no clock, no comments, text as outlines."""
    buffer = io.BytesIO()
    _register_fonts()
    with mpl.rc_context(_RC):  # type: ignore[arg-type]
        fig.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    return re.sub(rb"<!--.*?-->\n?", b"", buffer.getvalue(), flags=re.DOTALL)


def render_png(fig: Figure, *, dpi: int = 150) -> bytes:
    """Draw a figure as PNG: the same bytes for the same figure."""
    buffer = io.BytesIO()
    _register_fonts()
    with mpl.rc_context(_RC):  # type: ignore[arg-type]
        fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
