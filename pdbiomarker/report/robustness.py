"""How far the primary features rest on the model and on single participants, as a table of the report."""

from __future__ import annotations

from typing import Final, NamedTuple

import pandas as pd

from pdbiomarker.plot.numbers import format_interval
from pdbiomarker.plot.select import Result
from pdbiomarker.report.content import Column

__all__ = ["Robustness", "robustness_of"]

#: Below so many participants a bootstrap interval is a secondary figure.
_BOOTSTRAP: Final = 20


class Robustness(NamedTuple):
    """Rows of primary features with their columns and caption."""

    caption: str
    rows: pd.DataFrame
    columns: tuple[tuple[str, Column], ...]


def robustness_of(result: Result) -> Robustness | None:
    """Choose the rows of primary features; None where the result has none."""
    table = getattr(result, "robustness", None)
    if not isinstance(table, pd.DataFrame) or table.empty:
        return None
    rows = table[
        (table["family"] == "primary") & (table["sign_flip_p"].notna() | table["without_low"].notna())
    ]
    if rows.empty:
        return None
    shown = rows.assign(without=_spans(rows, "without_effect"), bootstrap=_spans(rows, "bootstrap_effect"))
    columns = [
        ("label", Column("feature", "name")),
        *([("contrast", Column("contrast"))] if rows["contrast"].nunique() > 1 else []),
        ("n_changes", Column("changes", "number")),
        ("sign_flip_p", Column("sign-flip p", "p")),
        ("signed_rank_p", Column("signed-rank p", "p")),
        ("sign_flip_smallest_p", Column("smallest possible p", "p")),
        ("without", Column("effect without one participant")),
        ("moves_most", Column("moved most by", "id")),
        ("without_largest_p", Column("largest p without one", "p")),
        ("bootstrap", Column("bootstrap 95 % CI")),
    ]
    return Robustness(_caption(rows), shown.reset_index(drop=True), tuple(columns))


def _caption(rows: pd.DataFrame) -> str:
    few = bool((rows["n_changes"] < _BOOTSTRAP).any())
    caution = " Below 20 participants the bootstrap interval is too short: a secondary figure." if few else ""
    sampled = bool((rows["sign_flip_method"] == "monte-carlo").any())
    flips = "100,000 sampled sign flips above 20 pairs" if sampled else "all sign flips"
    return (
        "How far the primary features rest on the model and on single participants. Sign-flip test of the "
        f"mean change ({flips}) and Wilcoxon's signed-rank test (zero changes left out), both two-sided, p "
        "not adjusted; the effect of the model when it is fitted without each participant, from the smallest "
        f"to the largest; percentile bootstrap over participants.{caution} All features: results/robustness.csv."
    )


def _spans(rows: pd.DataFrame, name: str) -> list[str]:
    limits = zip(rows[f"{name}_low"], rows[f"{name}_high"], strict=True)
    return [format_interval(low, high) for low, high in limits]
