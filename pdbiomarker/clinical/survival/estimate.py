r"""Kaplan and Meier's estimate with log-log limits, medians, and survival at fixed days.

At the distinct times t_j with d_j events among n_j at risk, S(t) = prod (1 - d_j / n_j) and, after Greenwood,

    se(log S) = sqrt( sum d_j / (n_j (n_j - d_j)) ),    limits  S^exp(-+ z se / |log S|).

A quantile and its limits are where S and its limits fall to the level (Brookmeyer and Crowley 1982,
doi:10.2307/2530286); where a curve lies exactly on the level they are the middle of that stretch. A censored
time ties with events as if it came after them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from pdbiomarker.clinical.columns import text_of
from pdbiomarker.clinical.response.inputs import refuse_missing_columns
from pdbiomarker.errors import Problems

__all__ = ["CURVE_COLUMNS", "KaplanMeier", "kaplan_meier", "times_and_events"]

Array = NDArray[np.float64]

#: The columns of ``KaplanMeier.table``, in order.
CURVE_COLUMNS: Final = (
    "group",
    "days",
    "n_risk",
    "n_event",
    "n_censored",
    "survival",
    "se",
    "ci_low",
    "ci_high",
)
_TIE: Final = 1e-10


@dataclasses.dataclass(frozen=True, eq=False)
class KaplanMeier:
    """Curves of one or more groups.

    Attributes
    ----------
    table : DataFrame
        :data:`CURVE_COLUMNS`, one row a group and distinct time; ``n_risk`` just before it, ``se`` of the
        survival (Greenwood). Before the first event the limits are 1; at survival 0, and in a
        group without events, there are none (NaN).
    medians : DataFrame
        ``group, n, n_events, median_days, ci_low, ci_high``; NaN where the curve or its limit does not fall
        to one half: not reached.
    level : float
    left_out : DataFrame
        ``participant_id, why_not`` of the rows without a time.
    by : str or None
        The column that makes the groups.
    """

    table: pd.DataFrame
    medians: pd.DataFrame
    level: float
    left_out: pd.DataFrame
    by: str | None = None

    def at(self, days: Sequence[float]) -> pd.DataFrame:
        """Give survival at fixed days: ``group, days, n_risk, survival, se, ci_low, ci_high``.

        Beyond the last time of a group its survival is not known (NaN), unless it is 0. ``n_risk`` counts
        those with that time or a longer one.
        """
        rows: list[tuple[object, ...]] = []
        for name, curve in self.table.groupby("group", sort=False):
            group = str(name)
            times = curve["days"].to_numpy()
            left = curve["n_risk"].to_numpy()
            for day in days:
                place = int(np.searchsorted(times, day, side="right")) - 1
                risk = int(left[k]) if (k := int(np.searchsorted(times, day))) < len(times) else 0
                if place < 0:
                    rows.append((group, float(day), risk, 1.0, 0.0, 1.0, 1.0))
                    continue
                own = curve.iloc[place]
                unknown = day > times[-1] and float(own["survival"]) > 0
                cells = [float(own[c]) for c in ("survival", "se", "ci_low", "ci_high")]
                rows.append((group, float(day), risk, *([np.nan] * 4 if unknown else cells)))
        columns = ["group", "days", "n_risk", "survival", "se", "ci_low", "ci_high"]
        return pd.DataFrame(rows, columns=columns)


def kaplan_meier(table: pd.DataFrame, *, by: str | None = None, level: float = 0.95) -> KaplanMeier:
    """Estimate survival.

    Parameters
    ----------
    table : DataFrame
        ``days`` (0 or more) and ``event`` (true, false), one row a participant: ``TimeToEvent.table``. Rows
        without days are left out and listed.
    by : str, optional
        A column that makes groups, ordered as numbers where they are numbers.
    level : float
        Of the limits.

    Returns
    -------
    KaplanMeier
        Without rows: empty tables.

    Raises
    ------
    InputError
        E-SURV-001: a column is missing; E-SURV-006: a time below 0, an event that is neither true nor false.

    Examples
    --------
    >>> import pandas as pd
    >>> times = pd.DataFrame({"days": [5, 8, 8, 12], "event": [True, True, False, True]})
    >>> kaplan_meier(times).table["survival"].tolist()
    [0.75, 0.5, 0.0]
    """
    times, events, kept = times_and_events(table)
    if not 0 < level < 1:
        _refuse("A level lies between 0 and 1.", "level", level)
    if by is None:
        groups = [("all", np.ones(len(times), dtype=bool))]
    else:
        refuse_missing_columns(table, (by,), code="E-SURV-001", file="", problems=Problems())
        texts, order = _levels(table.loc[kept, by])
        groups = [(name, np.array([text == name for text in texts], dtype=bool)) for name in order]
    curves, medians = [], []
    for name, member in groups:
        own_times, own_events = times[member], events[member]
        curve = _curve(own_times, own_events, level)
        curves.append(curve.assign(group=name))
        middle = [_quantile(curve["days"].to_numpy(), curve[c].to_numpy(), 0.5) for c in _BANDS]
        medians.append((name, len(own_times), int(own_events.sum()), *middle))
    whole = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=list(CURVE_COLUMNS))
    names = ["group", "n", "n_events", "median_days", "ci_low", "ci_high"]
    return KaplanMeier(
        whole[list(CURVE_COLUMNS)], pd.DataFrame(medians, columns=names), level, _left_out(table, kept), by
    )


_BANDS: Final = ("survival", "ci_low", "ci_high")


def times_and_events(table: pd.DataFrame) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Read days and events of the rows that have a time.

    Returns
    -------
    times, events : (n,) arrays
        Events are 0 and 1.
    kept : (rows,) array of bool

    Raises
    ------
    InputError
        E-SURV-001, E-SURV-006.
    """
    refuse_missing_columns(table, ("days", "event"), code="E-SURV-001", file="", problems=Problems())
    days = pd.to_numeric(table["days"], errors="coerce").to_numpy(dtype=float)
    kept = np.isfinite(days)
    texts = [text_of(value).casefold() for value in table["event"]]
    known = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
    for text, inside in zip(texts, kept, strict=True):
        if inside and text not in known:
            _refuse("An event is true or false (1 or 0).", "event", text)
    if (days[kept] < 0).any():
        _refuse("A time is 0 or more days.", "days", float(days[kept].min()))
    events = np.array([known.get(text, 0.0) for text in texts], dtype=float)
    return days[kept], events[kept], kept


def _refuse(message: str, column: str, value: object) -> None:
    problems = Problems()
    problems.add("E-SURV-006", message, remedy="Correct the table.", column=column, value=value)
    problems.raise_if_any()


def _left_out(table: pd.DataFrame, kept: NDArray[np.bool_]) -> pd.DataFrame:
    rows = table[~kept]
    ids = rows["participant_id"] if "participant_id" in rows.columns else rows.index.astype(str)
    notes = rows["note"] if "note" in rows.columns else [""] * len(rows)
    why = [text_of(note) or "no time" for note in notes]
    return pd.DataFrame({"participant_id": [text_of(i) for i in ids], "why_not": why})


def _levels(values: pd.Series) -> tuple[list[str], list[str]]:
    numbers = pd.to_numeric(values, errors="coerce")
    missing = "not recorded"
    if len(values) and bool((numbers.notna() | values.isna()).all()) and values.dtype != bool:
        texts = [missing if np.isnan(v) else f"{v:g}" for v in numbers.astype(float)]
        order = [f"{v:g}" for v in sorted(set(numbers.dropna().astype(float)))]
    else:
        texts = [text_of(value) or missing for value in values]
        order = sorted(set(texts) - {missing})
    return texts, order + [missing] * (missing in texts)


def _curve(times: Array, events: Array, level: float) -> pd.DataFrame:
    """One group's curve, a row for each distinct time."""
    distinct = np.unique(times)
    n_event = np.array([int(events[times == t].sum()) for t in distinct], dtype=int)
    n_all = np.array([int((times == t).sum()) for t in distinct], dtype=int)
    n_risk = len(times) - np.concatenate([[0], np.cumsum(n_all)])[:-1].astype(int)
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = np.cumprod(1 - n_event / n_risk)
        log_se = np.sqrt(np.cumsum(n_event / (n_risk * (n_risk - n_event))))
        theta = stats.norm.isf((1 - level) / 2) * log_se / np.abs(np.log(survival))
        low, high = survival ** np.exp(theta), survival ** np.exp(-theta)
        se = np.where(survival > 0, survival * log_se, np.nan)
    certain, none = survival == 1, survival == 0
    # Before the first event the limits are 1; where there is none, nothing is known of them.
    known = 1.0 if n_event.any() else np.nan
    low, high = np.where(certain, known, low), np.where(certain, known, high)
    return pd.DataFrame(
        {
            "days": distinct,
            "n_risk": n_risk,
            "n_event": n_event,
            "n_censored": n_all - n_event,
            "survival": survival,
            "se": np.where(certain, 0.0, se),
            "ci_low": np.where(none, np.nan, low),
            "ci_high": np.where(none, np.nan, high),
        }
    )


def _quantile(times: ArrayLike, band: ArrayLike, at: float) -> float:
    """Find where a falling band reaches the level `at`; the middle of the stretch where it lies on it."""
    t, s = np.asarray(times, dtype=float), np.asarray(band, dtype=float)
    below = np.flatnonzero((s <= at + _TIE) | np.isnan(s)) if len(s) else np.array([], dtype=int)
    below = below[~np.isnan(s[below])] if len(below) else below
    if not len(below):
        return float("nan")
    first = int(below[0])
    if abs(s[first] - at) > _TIE:
        return float(t[first])
    lower = np.flatnonzero(s < at - _TIE)
    return float((t[first] + t[lower[0]]) / 2) if len(lower) else float(t[first])
