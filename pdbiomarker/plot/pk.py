"""Pharmacokinetics: concentrations over time, and how exposure follows dose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pdbiomarker.clinical import pk
from pdbiomarker.clinical.pk.convert import common_unit
from pdbiomarker.clinical.pk.profiles import clean_samples
from pdbiomarker.errors import Problems
from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.numbers import format_interval, format_number, format_unit
from pdbiomarker.plot.style import (
    FAINT,
    INK,
    MUTED,
    Hue,
    despine,
    empty,
    figure,
    hue_of,
    linear_axis,
    log_axis,
    new_axes,
    plain,
    spread,
    style,
    titles,
)

__all__ = ["concentration_time", "dose_proportionality"]

_IN_DAYS: Final = 240.0
#: A dose counts as sampled where the next sample comes within so many hours.
_SAMPLED_WITHIN: Final = 24.0
_NAMES: Final = {
    "cmax": "Cmax",
    "auc_last": "AUClast",
    "auc_all": "AUCall",
    "auc_inf": "AUCinf",
    "auc_tau": "AUCtau",
    "half_life": "half-life",
    "cl": "CL",
    "vz": "Vz",
    "vss": "Vss",
}


def concentration_time(
    concentrations: pd.DataFrame,
    dose: Mapping[str, float],
    *,
    dose_unit: str = "mg",
    dose_times: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Draw concentrations over time on a linear and on a log scale, by dose.

    Parameters
    ----------
    concentrations : DataFrame
        As :func:`pdbiomarker.clinical.pk.nca` takes them; nominal_time_h and lloq where known.
    dose : mapping of participant to dose level
    dose_unit : str
        As the labels write it.
    dose_times : mapping of participant to hours from the first dose, optional
        Nominal times of the doses received: no line leads over a dose after which nobody sampled within
        24 h, as nobody knows what lies between.

    Returns
    -------
    Figure
        Thin lines are participants, thick ones geometric means at the nominal times; values below the limit
        are 0 in the linear panel and absent from the log panel.

    Raises
    ------
    InputError
        As :func:`pdbiomarker.clinical.pk.nca`.
    """
    problems = Problems()
    samples = clean_samples(concentrations, problems)
    problems.raise_if_any()
    samples["nominal"] = _nominal(concentrations, samples)
    samples = samples[~samples["missing"]].sort_values(["participant_id", "time_h"], kind="stable")
    unit = common_unit(concentrations["unit"]) if "unit" in concentrations else None
    means = pk.concentration_summary(concentrations, dose)
    # Two participants make a mean; one is drawn already.
    means["geo_mean"] = means["geo_mean"].where(means["n"] - means["n_blq"] >= 2)
    people = sorted(set(samples["participant_id"]))
    levels = pd.DataFrame({"dose": [dose.get(p, math.nan) for p in people]}, index=people)
    with style():
        fig = figure(11.5, 4.8)
        axes = fig.subplots(1, 2)
        if not (~samples["blq"]).any():
            for ax in axes:
                empty(ax, "Concentration over time", "No sample lies above the limit of quantification.")
            return fig
        hue = hue_of(levels, "dose")
        in_days = float(samples["time_h"].max()) > _IN_DAYS
        for ax, log in zip(axes, (False, True), strict=True):
            _lines(ax, samples, means, hue, doses=dose_times or {}, log=log, per=24.0 if in_days else 1.0)
            _scales(ax, samples, log=log, per=24.0 if in_days else 1.0)
            ax.set_xlabel(f"{'Days' if in_days else 'Hours'} from the first dose")
            in_unit = f" ({plain(format_unit(unit.text), 20)})" if unit is not None else ""
            ax.set_ylabel(f"Concentration{in_unit}")
            _lloq(ax, samples, named=log)
            despine(ax)
        _labels(axes[1], means, samples, hue, levels, dose_unit, per=24.0 if in_days else 1.0)
        below = int(samples["blq"].sum())
        titles(
            axes[0],
            "Concentration over time",
            f"n = {len(people)} participants, {len(samples)} samples, {below} below the limit (drawn as 0).\n"
            "Thin: a participant.",
        )
        titles(
            axes[1],
            "The same on a log scale",
            "Thick: geometric mean of values above it (at least 2, and half).\n"
            f"Below the limit: not drawn.{' Gap: a dose that was not sampled.' if dose_times else ''}",
        )
    return fig


def _nominal(concentrations: pd.DataFrame, samples: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Nominal times of the samples; the actual time where there is none."""
    actual = samples["time_h"].to_numpy(dtype=float)
    if "nominal_time_h" not in concentrations:
        return actual
    given = pd.to_numeric(concentrations["nominal_time_h"], errors="coerce").to_numpy(dtype=float)
    return np.where(np.isnan(given), actual, given)


def _broken(
    times: npt.ArrayLike, nominal: npt.ArrayLike, values: npt.ArrayLike, doses: Sequence[float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Put a gap where a dose lies between two samples and the later one comes more than 24 h after it."""
    x, at, y = (np.asarray(v, dtype=float) for v in (times, nominal, values))
    gaps = [
        i + 1
        for i in range(len(at) - 1)
        if any(at[i] < d < at[i + 1] and at[i + 1] - d > _SAMPLED_WITHIN for d in doses)
    ]
    return np.insert(x, gaps, np.nan), np.insert(y, gaps, np.nan)


def _lines(
    ax: Axes,
    samples: pd.DataFrame,
    means: pd.DataFrame,
    hue: Hue,
    *,
    doses: Mapping[str, Sequence[float]],
    log: bool,
    per: float,
) -> None:
    faint = min(0.45, max(0.1, 12 / samples["participant_id"].nunique()))
    for person, part in samples.groupby("participant_id", sort=True):
        shown = part[~part["blq"]]
        # A gap where a sample lies below the limit: no line leads across it.
        values = part["concentration"] if log else part["concentration"].fillna(0.0)
        color = hue.color(str(person))
        x, y = _broken(part["time_h"], part["nominal"], values, doses.get(str(person), ()))
        drawn = ax.plot(x / per, y, color=color, lw=0.8, alpha=faint, zorder=2)
        if len(shown) == 1:
            drawn += ax.plot(
                shown["time_h"] / per, shown["concentration"], "o", ms=3, color=color, alpha=0.45, zorder=2
            )
        mark(drawn, str(person))
    for level in hue.levels:
        part = _of_level(means, level)
        given = {d for p, times in doses.items() if hue.level(p) == level for d in times}
        x, y = _broken(part["time_h"], part["time_h"], part["geo_mean"], sorted(given))
        ax.plot(
            x / per,
            y,
            color=hue.color_of_level(level),
            marker=hue.marker_of_level(level),
            ms=5,
            lw=2.4,
            zorder=4,
        )


def _of_level(table: pd.DataFrame, level: str) -> pd.DataFrame:
    doses = table["dose"].map(lambda value: "not recorded" if pd.isna(value) else f"{value:g}")
    return table[doses == level]


def _scales(ax: Axes, samples: pd.DataFrame, *, log: bool, per: float) -> None:
    times, values = samples["time_h"] / per, samples["concentration"].dropna()
    low, high = min(0.0, float(times.min())), float(times.max())
    room = 0.02 * (high - low)
    ax.set_xlim(low - room, high + (9 if log else 1) * room)
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    if log:
        known = samples["lloq"].dropna()
        least = min(float(values.min()), float(known[known > 0].min()) if (known > 0).any() else math.inf)
        log_axis(ax, "y", least / 1.6, float(values.max()) * 1.6)
    else:
        ax.set_ylim(0, float(values.max()) * 1.06)
        linear_axis(ax, "y")


def _lloq(ax: Axes, samples: pd.DataFrame, *, named: bool) -> None:
    limits = sorted(set(samples["lloq"].dropna()))
    if len(limits) != 1:
        return
    ax.axhline(limits[0], color=MUTED, lw=1.0, ls=(0, (4, 3)), zorder=1)
    if not named:  # at the foot of a linear scale the name would lie on the curves
        return
    ax.annotate(
        f"LLOQ {limits[0]:g}",
        (1, limits[0]),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8,
        color=MUTED,
    )


def _labels(
    ax: Axes,
    means: pd.DataFrame,
    samples: pd.DataFrame,
    hue: Hue,
    levels: pd.DataFrame,
    unit: str,
    *,
    per: float,
) -> None:
    """Name each dose at the end of its curve, the names moved apart."""
    named: list[tuple[str, float, float]] = []
    for level in hue.levels:
        part = _of_level(means, level)
        ends = part[["time_h", "geo_mean"]].dropna().to_numpy()
        if not len(ends):
            people = [p for p in levels.index if hue.level(str(p)) == level]
            own = samples[samples["participant_id"].isin(people) & ~samples["blq"]]
            ends = own[["time_h", "concentration"]].sort_values("time_h").to_numpy()
        if len(ends):
            named.append((level, float(ends[-1][0]) / per, float(ends[-1][1])))
    low, high = (math.log10(v) for v in ax.get_ylim())
    wanted = np.array([(math.log10(y) - low) / (high - low) for _, _, y in named])
    for (level, x, _), y in zip(named, spread(wanted, 0.055, 0.03, 0.97), strict=True):
        n = sum(hue.level(str(p)) == level for p in levels.index)
        text = level if level == "not recorded" else f"{level} {plain(unit, 8)}"
        ax.annotate(
            f"{text} (n = {n})",
            (x, float(y)),
            xycoords=("data", "axes fraction"),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            fontweight="bold",
            color=hue.color_of_level(level),
            annotation_clip=False,
        )


def dose_proportionality(
    parameters: pd.DataFrame,
    value: str = "auc_inf",
    *,
    unit: str = "",
    dose_unit: str = "mg",
    confidence: float = 0.90,
    ax: Axes | None = None,
) -> Axes:
    """Draw a parameter against dose with the power model, on log axes.

    Parameters
    ----------
    parameters : DataFrame
        participant_id, dose and the column `value`.
    value : str
    unit, dose_unit : str
        As the labels write them.
    confidence : float
        Of the interval of the slope.
    ax : Axes, optional

    Raises
    ------
    InputError
        As :func:`pdbiomarker.clinical.pk.dose_proportionality`.
    """
    fit = pk.dose_proportionality(parameters, values=[value], confidence=confidence).iloc[0]
    name = _NAMES.get(value, plain(value.replace("_", " "), 30))
    with style():
        ax = new_axes(ax, 6.2, 4.8)
        frame = parameters.assign(
            x=pd.to_numeric(parameters["dose"], errors="coerce"),
            y=pd.to_numeric(parameters[value], errors="coerce"),
        )
        frame = frame[(frame["x"] > 0) & (frame["y"] > 0)]
        if frame.empty:
            return empty(ax, f"{name} by dose", f"No value: {fit['note']}")
        low, high = float(frame["x"].min()), float(frame["x"].max())
        edge = max((high / low) ** 0.12, 1.15)
        log_axis(ax, "x", low / edge, high * edge**2)
        log_axis(ax, "y", float(frame["y"].min()) / 1.5, float(frame["y"].max()) * 1.5)
        ax.set_xticks(sorted(set(frame["x"])), [format_number(v) for v in sorted(set(frame["x"]))])
        hue = hue_of(frame.assign(key=range(len(frame))).set_index("key"), "dose")
        for key, (x, y) in enumerate(zip(frame["x"], frame["y"], strict=True)):
            ax.plot(x, y, hue.marker(str(key)), color=hue.color(str(key)), ms=6, alpha=0.8, zorder=3)
        if math.isfinite(fit["slope"]):
            _power(ax, frame, fit, low, high)
        ax.set_xlabel(f"Dose ({plain(dose_unit, 12)})")
        ax.set_ylabel(f"{name} ({plain(format_unit(unit), 24)})" if unit else name)
        despine(ax)
        titles(ax, f"{name} by dose: {plain(str(fit['verdict']), 40)}", _words(fit))
    return ax


def _power(ax: Axes, frame: pd.DataFrame, fit: pd.Series, low: float, high: float) -> None:
    xs = np.geomspace(low, high, 50)
    ax.plot(xs, np.exp(fit["intercept"]) * xs ** fit["slope"], color=INK, lw=2.0, zorder=2)
    middle = float(np.exp(np.log(frame["x"]).mean()))
    at_middle = float(np.exp(fit["intercept"]) * middle ** fit["slope"])
    ax.plot(xs, at_middle * xs / middle, color=FAINT, lw=1.4, ls=(0, (4, 3)), zorder=1)
    ends = [float(np.exp(fit["intercept"]) * high ** fit["slope"]), at_middle * high / middle]
    bottom, top = (math.log(v) for v in ax.get_ylim())
    places = spread(np.array([(math.log(y) - bottom) / (top - bottom) for y in ends]), 0.05, 0.02, 0.98)
    names = ((f"slope {format_number(fit['slope'])}", INK), ("slope 1", MUTED))
    for (text, color), y in zip(names, places, strict=True):
        ax.annotate(
            text,
            (high, float(y)),
            xycoords=("data", "axes fraction"),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=color,
        )


def _words(fit: pd.Series) -> str:
    n = f"n = {fit['n']} values of {fit['n_participants']} participants, {fit['n_doses']} doses."
    if not math.isfinite(fit["ci_low"]):
        return f"{n} Not estimable: {plain(str(fit['note']), 120)}."
    level = f"{100 * fit['confidence']:g}"
    model = "least squares" if fit["model"] == "ols" else "random intercept of the participant, Kenward-Roger"
    needs = format_interval(fit["accept_low"], fit["accept_high"])
    return (
        f"{n} Slope of the power model {format_number(fit['slope'])} ({level} % CI "
        f"{format_interval(fit['ci_low'], fit['ci_high'])}; {model}). Proportional over this range where the "
        f"interval lies in {needs}."
    )
