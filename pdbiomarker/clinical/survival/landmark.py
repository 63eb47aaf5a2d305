"""Landmark: compare only those who were still at risk when the comparison could be made.

A change seen in a biopsy on day L exists only in those who lived to L without progression. Counting their
time from the first dose credits the change with days that it took to be seen (immortal time). So time
restarts at L, and who had an event or left before is left out, with a row.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdbiomarker.clinical.survival.estimate import times_and_events
from pdbiomarker.errors import Problems

__all__ = ["landmark"]


def landmark(table: pd.DataFrame, day: float) -> pd.DataFrame:
    """Restart time at a fixed day.

    Parameters
    ----------
    table : DataFrame
        ``participant_id, days, event``: ``TimeToEvent.table``.
    day : float
        Days after the start, above 0: at or after the end of the window in which the covariate was measured,
        the same for everybody.

    Returns
    -------
    DataFrame
        All rows and columns of `table`; ``days`` counted from the landmark, NaN for those not in the
        analysis, ``days_from_start`` as before, ``landmark_day, in_analysis, why_not``.

    Raises
    ------
    InputError
        E-SURV-001, -006: columns or times that cannot be used, a landmark that is not above 0.

    Notes
    -----
    Anderson, Cain and Gelber 1983, doi:10.1200/JCO.1983.1.11.710.

    Examples
    --------
    >>> import pandas as pd
    >>> times = pd.DataFrame({"days": [20.0, 90.0], "event": [True, True]}, index=["a", "b"])
    >>> landmark(times, 42)["days"].tolist()
    [nan, 48.0]
    """
    problems = Problems()
    if not (np.isfinite(day) and day > 0):
        problems.add("E-SURV-006", "A landmark lies after the start.", column="day", value=day)
    problems.raise_if_any()
    times_and_events(table)
    days = pd.to_numeric(table["days"], errors="coerce").to_numpy(dtype=float)
    event = np.array([str(value).casefold() in {"true", "1", "1.0"} for value in table["event"]])
    known = np.isfinite(days)
    inside = known & (days > day)
    early = np.where(event, "event at or before the landmark", "censored at or before the landmark")
    why = np.where(known, np.where(inside, "", early), "no time")
    out = table.copy()
    out["days_from_start"] = days
    out["days"] = np.where(inside, days - day, np.nan)
    out["event"] = event & inside
    out["landmark_day"] = float(day)
    out["in_analysis"] = inside
    out["why_not"] = why
    return out
