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
    without = [
        f"{span} ({who})" if who else span
        for span, who in zip(_spans(rows, "without_effect"), rows["moves_most"], strict=True)
    ]
    shown = rows.assign(without=without, bootstrap=_spans(rows, "bootstrap_effect"))
    exact = [
        ("sign_flip_p", Column("sign-flip p", "p")),
        ("signed_rank_p", Column("rank p", "p")),
        ("sign_flip_smallest_p", Column("least p", "p")),
        ("bootstrap", Column("bootstrap")),
    ]
    columns = [
        ("label", Column("feature", "name")),
        *([("contrast", Column("contrast"))] if rows["contrast"].nunique() > 1 else []),
        ("n_changes", Column("changes", "number")),
        *(exact if rows["sign_flip_p"].notna().any() else []),
        ("without", Column("without one")),
        ("without_largest_p", Column("largest p", "p")),
    ]
    return Robustness(_caption(rows), shown.reset_index(drop=True), tuple(columns))


def _caption(rows: pd.DataFrame) -> str:
    few = bool((rows["n_changes"] < _BOOTSTRAP).any())
    caution = " Below 20 participants the bootstrap interval is too short: a secondary figure." if few else ""
    sampled = bool((rows["sign_flip_method"] == "monte-carlo").any())
    flips = "100,000 sampled sign flips above 20 pairs" if sampled else "all sign flips"
    start = "How far the primary features rest on the model and on single participants. "
    without = (
        "Without one: the effect of the model fitted without each participant, from the smallest to the "
        "largest (in brackets the participant who moves it most), and the largest p of these fits. "
    )
    end = "All features: results/robustness.csv."
    if rows["sign_flip_p"].isna().all():
        return f"{start}{without}{end}"
    return (
        f"{start}Sign-flip test of the mean change ({flips}) and Wilcoxon's signed-rank test (zero changes "
        "left out), both two-sided, not adjusted; least p: the smallest that so many changes could give; "
        f"95 % percentile bootstrap over participants.{caution} {without}{end}"
    )


def _spans(rows: pd.DataFrame, name: str) -> list[str]:
    limits = zip(rows[f"{name}_low"], rows[f"{name}_high"], strict=True)
    return [format_interval(low, high) for low, high in limits]
