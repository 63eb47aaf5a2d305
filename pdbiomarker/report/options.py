"""The options used, in words: the last sentence of every figure's caption."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pdbiomarker.decide import Review
from pdbiomarker.plot.decided import noise_words
from pdbiomarker.plot.numbers import format_number, p_name
from pdbiomarker.plot.select import RATIO_KINDS, Result, effect_unit, rows_of, select, set_label

__all__ = ["model_options", "pairing_options", "review_options", "span_of_pairs", "true_effect"]


def span_of_pairs(rows: pd.DataFrame) -> str:
    """How many pairs stand behind rows: ``n = 8 pairs``, ``n = 1 to 9 pairs``.

    Rows of contrasts without pairs count participants.
    """
    for column, word in (("n_pairs", "pairs"), ("n_participants", "participants")):
        n = rows[column].dropna()
        if len(n):
            span = f"{int(n.min())} to {int(n.max())}" if n.min() != n.max() else f"{int(n.iloc[0])}"
            return f"n = {span} {word}"
    return "n = 0 pairs"


def model_options(result: Result, rows: pd.DataFrame | None = None, *, contrast: str | None = None) -> str:
    """How effects were estimated: contrast, analysis set, model, adjustment.

    Parameters
    ----------
    result : PDResult
    rows : DataFrame, optional
        Rows of its table that are shown: their analysis sets, where there is one, and their adjustment.
    contrast : str, optional
        Its name; default: that of the rows, where there is one.
    """
    plan = result.plan
    parts = []
    shown = rows if rows is not None else result.table.iloc[:0]
    names = [contrast] if contrast is not None else list(dict.fromkeys(shown["contrast"].astype(str)))
    texts = [str(dict(plan.contrasts).get(name, name)) for name in names]
    if texts:
        parts.append(f"contrast {', '.join(texts[:3])}")
    sets = list(dict.fromkeys(shown["set"].astype(str)))
    if len(sets) == 1:
        parts.append(f"set {set_label(sets[0], result)}")
    parts.append(f"model {plan.formula}, {plan.ddf}")
    replicates = getattr(plan, "replicates", None)
    if replicates:
        parts.append(f"replicates: {replicates}")
    adjusted = shown.loc[shown["q"].notna(), "adjustment"] if len(shown) else pd.Series(dtype=object)
    how = sorted({p_name(a) for a in adjusted})
    if how:
        parts.append(f"{' and '.join(how)} within the family")
    return f"Options: {'; '.join(parts)}."


def pairing_options(result: Result) -> str:
    """How biopsies become pairs: windows of the visits, rules of adequacy."""
    spec = result.study.spec
    visits = ", ".join(f"{v.name}{_window(v)}" for v in spec.visits)
    rules = ", ".join(map(_rule, (getattr(spec, "adequacy", None) or {}).values()))
    return f"Options: visits {visits} (study days); adequate: {rules or 'no rule'}."


def _window(visit: Any) -> str:
    low, high = getattr(visit, "low", None), getattr(visit, "high", None)
    return f" {low} to {high}".replace("-", "−") if low is not None and high is not None else " by its label"


def _rule(rule: Any) -> str:
    name = str(rule.column).replace("_", " ")
    low, high = getattr(rule, "min", None), getattr(rule, "max", None)
    told = [f"≥ {low:g}"] if low is not None else []
    told += [f"≤ {high:g}"] if high is not None else []
    return f"{name} {' and '.join(told)}" if told else f"{name} as allowed"


def review_options(result: Result, review: Review, reference: str) -> str:
    """What a figure of a decision rests on: contrast, analysis set, where the noise comes from."""
    chosen = select(result, reference, review.contrast)
    rows = review.of("noise", reference)
    known = len(rows) and pd.notna(rows["sigma"].iloc[0])
    text = str(dict(result.plan.contrasts).get(review.contrast, review.contrast))
    return (
        f"n = {len(chosen.pairs)} pairs. Options: contrast {text}; set {chosen.set_name}; "
        f"{noise_words(rows.iloc[0] if known else None)}."
    )


def true_effect(result: Result, contrast: str, row: Any) -> str:
    """The true effect of a rule, as ``2-fold``, ``an odds ratio of 2``, ``a change of 9 points``.

    Parameters
    ----------
    result : PDResult
    contrast : str
        That the decisions are made on.
    row : named tuple
        Of the table of decisions.
    """
    mine = rows_of(result.table, row.assay, row.feature, contrast=contrast)
    kind = str(mine["kind"].iloc[0]) if len(mine) else ""
    if kind == "proportion":
        return f"an odds ratio of {row.target:.3g}"
    if kind in RATIO_KINDS or not kind:
        return f"{row.target:.3g}-fold"
    return f"a change of {format_number(float(row.target))} {effect_unit(result, mine.iloc[0])}"
