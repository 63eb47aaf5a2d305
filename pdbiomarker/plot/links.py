"""Figures of links: change against exposure, response, survival, another assay, blood.

Each takes a :class:`pdbiomarker.link.Link` and gives axes. Every participant is a point; what is fitted is
drawn only where the link allows it, and what is told stands in the grey line above.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy import stats

from pdbiomarker.link import RESPONSE_ORDER, Link, kaplan_meier
from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.numbers import format_interval, format_number, p_equals
from pdbiomarker.plot.select import RATIO_KINDS
from pdbiomarker.plot.style import (
    ACCENT,
    DOWN,
    INK,
    MUTED,
    UP,
    Hue,
    despine,
    empty,
    linear_axis,
    log_axis,
    new_axes,
    panels_of,
    plain,
    ratio_axis,
    short_id,
    side_legend,
    split,
    spread,
    style,
    titles,
)

__all__ = ["blood", "concordance", "exposure", "landmark", "response"]

Floats = NDArray[np.float64]

#: A group's mean is drawn from so many on, its interval from so many: that of three leaves the axes.
_MEANS: Final = 3
_INTERVALS: Final = 5
_LEVELS: Final = 7
_NAMED: Final = 8
#: A figure so much wider than high has its two panels side by side.
_BESIDE: Final = 1.6


def exposure(link: Link, *, hue: Hue | None = None, ax: Axes | None = None) -> Axes:
    """Draw changes against exposure.

    Parameters
    ----------
    link : Link
        Of :func:`pdbiomarker.link.exposure_pd`.
    hue : Hue, optional
        Colours of participants, from :func:`pdbiomarker.plot.style.hue_of`.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        One point for each pair. At exposures that three pairs share (doses), their mean, from five pairs on
        with its 95 % interval. The averaged curve with its band only where curves are fitted.
    """
    with style():
        ax = new_axes(ax, 6.2, 4.2)
        used = link.points[link.points["used"].astype(bool)]
        title = f"{link.label}: change by {link.other_label}"
        if used.empty:
            return empty(ax, title, "No pair with a known exposure.")
        x, y = used["exposure"].to_numpy(dtype=float), _shown(used["change"], str(link.facts["kind"]))
        logs = bool((x > 0).all()) and x.max() / x.min() >= 3
        if len(link.curve):
            curve = link.curve[link.curve["exposure"] > 0] if logs else link.curve
            at = curve["exposure"].to_numpy(dtype=float)
            low, mean, high = (_shown(curve[c], str(link.facts["kind"])) for c in ("low", "mean", "high"))
            ax.fill_between(at, low, high, color=ACCENT, alpha=0.12, lw=0, zorder=1)
            ax.plot(at, mean, color=ACCENT, zorder=2)
        places = _fanned(x, logs)
        for person, a, b in zip(used["participant_id"], places, y, strict=True):
            point = ax.plot(
                [a],
                [b],
                hue.marker(str(person)) if hue else "o",
                ms=5.5,
                mew=0.5,
                mec="white",
                alpha=0.9,
                color=hue.color(str(person)) if hue else ACCENT,
                zorder=3,
            )
            mark(point, str(person))
        if len(np.unique(x)) <= _LEVELS:
            _means(ax, x, y, logs)
        ax.axhline(0, color=INK, lw=0.9, zorder=0)
        _change_axis(ax, y, str(link.facts["kind"]), "y")
        ax.set_ylabel(_change_name(str(link.facts["kind"]), str(link.facts["unit"])))
        if logs:
            log_axis(ax, "x", float(x.min()) / 1.35, float(x.max()) * 1.35)
            levels = np.unique(x)
            if len(levels) <= _LEVELS:
                unit = " mg" if link.other.endswith("_mg") else ""
                ax.set_xticks(levels, [f"{v:g}{unit}\nn = {int((x == v).sum())}" for v in levels])
        else:
            pad = 0.06 * float(np.ptp(x) or 1.0)
            ax.set_xlim(float(x.min()) - pad, float(x.max()) + pad)
            linear_axis(ax, "x")
        ax.set_xlabel(plain(link.other_label, 60) + (" (log axis)" if logs else ""))
        _legend_of(ax, hue, used["participant_id"].astype(str).tolist(), link.other)
        despine(ax)
        titles(ax, title, _exposure_facts(link))
        return ax


def _exposure_facts(link: Link) -> str:
    r, s = link.row("Spearman correlation"), link.row("change per tenfold exposure")
    told = f"Spearman {_value(r)}; n = {int(r['n'])} pairs."
    if np.isfinite(s["estimate"]):
        times = "×" if s["unit"] != "units" else " units"
        told += f" {format_number(float(s['estimate']), 3)}{times} per tenfold exposure"
        told += f" ({format_interval(s['low'], s['high'])}), {p_equals('p', float(s['p']))}."
    why = link.table.loc[link.table["quantity"] == "curves", "note"]
    weights = link.table[(link.table["quantity"] == "weight by AICc") & (link.table["status"] == "ok")]
    if len(why):
        return f"{told} {why.iloc[0]}"
    best = weights.sort_values("estimate", ascending=False, kind="stable").head(3)
    shapes = ", ".join(f"{g} {w:.2f}" for g, w in zip(best["group"], best["estimate"], strict=True))
    return f"{told} Curve: shapes averaged by AICc ({shapes})."


def _means(ax: Axes, x: Floats, y: Floats, logs: bool) -> None:
    """Mean of the pairs at each exposure, left of its points."""
    step = float(np.ptp(x)) * 0.035
    for level in np.unique(x):
        own = y[x == level]
        _mean_mark(ax, level / 1.16 if logs else level - step, own)


def _mean_mark(ax: Axes, x: float, y: Floats) -> None:
    """Mean of a group, with its 95 % interval (t) where the group is large enough."""
    if len(y) < _MEANS:
        return
    half = float(stats.t.ppf(0.975, len(y) - 1) * y.std(ddof=1) / np.sqrt(len(y)))
    reach = half if len(y) >= _INTERVALS else 0.0
    ax.errorbar(
        [x], [y.mean()], yerr=[[reach], [reach]], fmt="D", ms=5, color=INK, capsize=3 if reach else 0, lw=1.2,
        zorder=4,
    )  # fmt: skip


def _fanned(x: Floats, logs: bool) -> Floats:
    """Move points of one exposure apart sideways, in their order."""
    out = x.astype(float).copy()
    width = 0.10 if logs else float(np.ptp(x)) * 0.03
    for level in np.unique(x):
        own = np.flatnonzero(x == level)
        if len(own) < 2:
            continue
        steps = np.linspace(0.0, 1.0, len(own))
        out[own] = level * (1 + width * steps * 1.6) if logs else level + width * steps
    return out


def response(link: Link, *, ax: Axes | None = None) -> Axes:
    """Draw changes by best response: a point each, means from three on, their 95 % intervals from five on.

    Parameters
    ----------
    link : Link
        Of :func:`pdbiomarker.link.response_pd`.
    ax : Axes, optional
        Where to draw; default: a new figure.
    """
    with style():
        ax = new_axes(ax, 6.2, 4.2)
        used = link.points[link.points["used"].astype(bool)]
        title = f"{link.label}: change by best response"
        known = used[used["best_response"] != ""]
        if known.empty:
            return empty(ax, title, "No pair with an evaluable best response.")
        kind = str(link.facts["kind"])
        groups = sorted(set(known["best_response"]), key=lambda g: (-RESPONSE_ORDER[g], g))
        groups += [""] if len(known) < len(used) else []
        for k, group in enumerate(groups):
            own = used[used["best_response"] == group].sort_values("change", kind="stable")
            y = _shown(own["change"], kind)
            offsets = np.linspace(0, 0.3, len(y)) if len(y) > 1 else np.zeros(1)
            colour = MUTED if not group else UP if RESPONSE_ORDER[group] >= 2 else DOWN
            points = ax.plot(
                k + offsets,
                y,
                "o" if group else "x",
                color=colour,
                ms=5,
                alpha=0.75,
                mew=0 if group else 1,
                zorder=3,
            )
            mark(points[0], own["participant_id"].tolist())
            if group:
                _mean_mark(ax, k - 0.17, y)
        counts = [int((used["best_response"] == g).sum()) for g in groups]
        names = [f"{g or 'not evaluable'}\nn = {n}" for g, n in zip(groups, counts, strict=True)]
        ax.set_xticks(range(len(groups)), names)
        ax.set_xlim(-0.5, len(groups) - 0.3)
        ax.axhline(0, color=INK, lw=0.9, zorder=0)
        _change_axis(ax, _shown(used["change"], kind), kind, "y")
        ax.set_ylabel(_change_name(kind, str(link.facts["unit"])))
        ax.tick_params(axis="x", length=0)
        despine(ax)
        order, area = link.row("order across groups"), link.row("area under the curve, responders (CR, PR)")
        told = f"n = {int(order['n'])} pairs with a response."
        if np.isfinite(order["estimate"]):
            told += (
                f" Better response, larger change in {100 * order['estimate']:.0f} % of pairs of participants"
            )
            told += f" (Jonckheere-Terpstra, {p_equals('p', float(order['p']))})."
        if np.isfinite(area["estimate"]):
            told += f" Responders against others: AUC {_value(area)}."
        titles(ax, title, told)
        return ax


def landmark(link: Link, *, ax: Axes | None = None) -> Axes:
    """Draw survival from the landmark day, participants split at the median change: a picture, no test.

    Parameters
    ----------
    link : Link
        Of :func:`pdbiomarker.link.response_pd`.
    ax : Axes, optional
        Where to draw; default: a new figure.
    """
    with style():
        ax = new_axes(ax, 6.2, 4.2)
        rows = link.table[link.table["analysis"] == "progression-free survival"].iloc[0]
        title = f"{link.label}: PFS by change"
        points = link.points
        kept = points[points["landmark_time"].notna()]
        if kept.empty:
            return empty(ax, title, str(rows["note"]))
        time, event = (
            kept["landmark_time"].to_numpy(dtype=float),
            kept["landmark_event"].to_numpy(dtype=float),
        )
        change = kept["change"].to_numpy(dtype=float)
        middle = float(np.median(change))
        end = float(time.max())
        labels = []
        for high, colour, name in ((True, UP, "above the median change"), (False, DOWN, "at or below it")):
            own = (change > middle) == high
            if not own.any():
                continue
            at, survival = kaplan_meier(time[own], event[own] > 0)
            ax.step(at, survival, where="post", color=colour, lw=1.8)
            cut = own & (event == 0)
            heights = [survival[np.searchsorted(at, t, side="right") - 1] for t in time[cut]]
            ax.plot(time[cut], heights, "|", color=colour, ms=8, mew=1.2)
            labels.append((float(survival[-1]), colour, f"{name}\nn = {int(own.sum())}"))
        heights_ = spread(np.array([v for v, _, _ in labels]), 0.16, 0.05, 0.97)
        for place, (_, colour, text) in zip(heights_, labels, strict=True):
            ax.text(end * 1.03, float(place), text, color=colour, va="center", fontsize=8.5)
        ax.set_ylim(0, 1.03)
        ax.set_xlim(0, end * 1.42)
        ax.set_xticks([t for t in ax.get_xticks() if 0 <= t <= end])
        linear_axis(ax, "y")
        ax.set_xlabel(f"days from the landmark, study day {link.facts['landmark_day']}")
        ax.set_ylabel("progression-free survival")
        despine(ax)
        told = f"{rows['quantity'].capitalize()} {_value(rows)} (Cox, all changes; "
        told += f"{p_equals('p', float(rows['p']))}). " if np.isfinite(rows["p"]) else ""
        told = told if np.isfinite(rows["estimate"]) else ""
        titles(
            ax,
            title,
            f"{told}{str(rows['note'])[:1].upper()}{str(rows['note'])[1:]}. The split is a picture only.",
        )
        return ax


def concordance(link: Link, *, ax: Axes | None = None) -> Axes:
    """Draw two assays against each other: levels at each visit above, changes below or beside.

    Parameters
    ----------
    link : Link
        Of :func:`pdbiomarker.link.concordance`.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        The upper panel. Discordant participants are ringed and named.
    """
    with style():
        ax = new_axes(ax, 5.6, 7.4)
        used = link.points[link.points["used"].astype(bool)]
        title = f"{link.label} and {link.other_label}"
        if len(used) < 2:
            return empty(ax, title, "Fewer than two biopsies with both values.")
        width, height = ax.get_figure(root=True).get_size_inches()  # type: ignore[union-attr]
        upper, lower = panels_of(ax, 2) if width > _BESIDE * height else split(ax, [1.0, 1.0])
        kinds, visits = link.facts["kinds"], list(link.facts["visits"])
        told = []
        for k, visit in enumerate(visits):
            own = used[used["visit"] == visit]
            points = upper.plot(
                own["a"],
                own["b"],
                "os^Dv"[k % 5],
                color=(DOWN, UP, ACCENT, MUTED)[k % 4],
                ms=5.5,
                alpha=0.8,
                mew=0,
                label=f"{visit} (n = {len(own)})",
            )
            mark(points[0], own["participant_id"].tolist())
            told.append(f"{visit} {_value(link.row('Spearman correlation', visit))}")
        _ring(upper, used[used["discordant"]])
        assays = link.facts["assays"]
        upper.set_xlabel(f"{plain(link.label, 40)}, {assays[0]} ({_scale(kinds[0])})")
        upper.set_ylabel(f"{plain(link.other_label, 40)}, {assays[1]} ({_scale(kinds[1])})")
        upper.legend(loc="best")
        for which in ("x", "y"):
            linear_axis(upper, which)
            linear_axis(lower, which)
        flagged = used.loc[used["discordant"], "participant_id"].nunique()
        many = "participant" if flagged == 1 else "participants"
        said = f"Spearman: {'; '.join(told)}. "
        said += f"{flagged} {many} discordant (ringed)." if flagged else "Nobody is discordant."
        titles(upper, f"{title}: levels", said)
        _change_panel(lower, link, used, visits)
        for panel in (upper, lower):
            despine(panel)
        return upper


def _change_panel(ax: Axes, link: Link, used: pd.DataFrame, visits: list[str]) -> None:
    title = f"{link.label} and {link.other_label}: changes"
    if len(visits) < 2:
        empty(ax, title, "Both values at one visit only.")
        return
    wide = used.pivot_table(index="participant_id", columns="visit", values=["a", "b"], sort=True)
    x, y = ((wide[c][visits[-1]] - wide[c][visits[0]]).to_numpy(dtype=float) for c in ("a", "b"))
    ax.axhline(0, color=MUTED, lw=0.8, zorder=0)
    ax.axvline(0, color=MUTED, lw=0.8, zorder=0)
    mark(ax.plot(x, y, "o", color=ACCENT, ms=5.5, alpha=0.8, mew=0)[0], wide.index.tolist())
    flagged = set(used.loc[used["discordant"], "participant_id"])
    at = [k for k, person in enumerate(wide.index) if person in flagged and np.isfinite(x[k] + y[k])]
    _ring(ax, pd.DataFrame({"a": x[at], "b": y[at], "participant_id": [wide.index[k] for k in at]}))
    kinds = link.facts["kinds"]
    ax.set_xlabel(f"change of {plain(link.label, 40)} ({_scale(kinds[0])})")
    ax.set_ylabel(f"change of {plain(link.other_label, 40)} ({_scale(kinds[1])})")
    r = link.row("correlation within participants, centred by visit")
    titles(
        ax,
        title,
        f"{visits[-1]} less {visits[0]}. Within participants, centred by visit: r {_value(r)}; "
        f"n = {int(np.isfinite(x + y).sum())} pairs.",
    )


def _ring(ax: Axes, rows: pd.DataFrame) -> None:
    rings = ax.plot(rows["a"], rows["b"], "o", ms=11, mfc="none", mec=INK, mew=1.1, zorder=4)
    mark(rings[0], rows["participant_id"].tolist())
    for row in rows.head(_NAMED).itertuples():
        name = ax.annotate(
            short_id(row.participant_id),
            (row.a, row.b),
            xytext=(8, 5),
            textcoords="offset points",
            fontsize=8,
            color=INK,
        )
        mark(name, str(row.participant_id))


def blood(link: Link, *, hue: Hue | None = None, ax: Axes | None = None) -> Axes:
    """Draw the change in blood against the change in the tumour, one point for each participant with both.

    Parameters
    ----------
    link : Link
        Of :func:`pdbiomarker.link.blood_tumor`.
    hue : Hue, optional
        Colours of participants.
    ax : Axes, optional
        Where to draw; default: a new figure.
    """
    with style():
        ax = new_axes(ax, 6.0, 4.6)
        used = link.points[link.points["used"].astype(bool)]
        title = f"Blood and tumour: {link.label} and {link.other_label}"
        if used.empty:
            return empty(ax, title, "No participant with a change in both.")
        kinds, units = link.facts["kinds"], link.facts["units"]
        x, y = _shown(used["blood"], kinds[0]), _shown(used["tumor"], kinds[1])
        for person, a, b in zip(used["participant_id"], x, y, strict=True):
            point = ax.plot(
                [a],
                [b],
                hue.marker(str(person)) if hue else "o",
                ms=6,
                mew=0.5,
                mec="white",
                alpha=0.9,
                color=hue.color(str(person)) if hue else ACCENT,
                zorder=3,
            )
            mark(point, str(person))
        ax.axhline(0, color=MUTED, lw=0.8, zorder=0)
        ax.axvline(0, color=MUTED, lw=0.8, zorder=0)
        _change_axis(ax, x, kinds[0], "x")
        _change_axis(ax, y, kinds[1], "y")
        ax.set_xlabel(f"blood: {plain(link.label, 40)}, {_change_name(kinds[0], units[0])}")
        ax.set_ylabel(f"tumour: {plain(link.other_label, 30)}, {_change_name(kinds[1], units[1])}")
        _legend_of(ax, hue, used["participant_id"].astype(str).tolist(), "")
        despine(ax)
        r = link.row("Spearman correlation of changes")
        titles(
            ax,
            title,
            f"Spearman {_value(r)}; n = {int(r['n'])} participants with both. Blood is no surrogate "
            "for the tumour.",
        )
        return ax


# --- what the figures share ----------------------------------------------------------------------------


def _shown(values: pd.Series, kind: str) -> Floats:
    """Changes as they are drawn: log2 of the ratio where the change is one."""
    given = values.to_numpy(dtype=float)
    return given / np.log(2) if kind == "proportion" else given


def _change_name(kind: str, unit: str) -> str:
    if kind == "proportion":
        return "odds ratio (log axis)"
    return "fold change (log axis)" if kind in RATIO_KINDS else f"change ({plain(unit, 24) or 'units'})"


def _scale(kind: str) -> str:
    return "logit" if kind == "proportion" else "log2" if kind in RATIO_KINDS else "units"


def _change_axis(ax: Axes, values: Floats, kind: str, which: str) -> None:
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    pad = 0.08 * (high - low) or 0.5
    if kind in RATIO_KINDS:
        ratio_axis(ax, which, low - pad, high + pad)
        return
    (ax.set_xlim if which == "x" else ax.set_ylim)(low - pad, high + pad)
    linear_axis(ax, which)


def _value(row: pd.Series) -> str:
    """A number with its interval, or a dash with the reason."""
    if not np.isfinite(row["estimate"]):
        return f"not told ({row['note']})"
    span = f" ({format_interval(row['low'], row['high'])})" if np.isfinite(row["low"]) else ""
    return f"{row['estimate']:.2f}".replace("-", "−") + span


def _legend_of(ax: Axes, hue: Hue | None, people: list[str], shown: str) -> None:
    """Legend of the colours, but where the axis tells them."""
    if hue is None or hue.name == shown.replace("_mg", " (mg)").replace("_", " "):
        return
    present = {hue.level(p) for p in people}
    handles = [
        Line2D([], [], ls="", marker=hue.marker_of_level(v), color=hue.color_of_level(v), label=v)
        for v in hue.levels
        if v in present
    ]
    side_legend(ax, handles, plain(hue.name, 30))
