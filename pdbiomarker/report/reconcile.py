"""What stands side by side on the front page and seems to disagree: why both can be true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import RATIO_KINDS, Selection, as_effect
from pdbiomarker.report.content import Fact, RuleLine

__all__ = ["USABLE", "both_true", "two_estimates"]

#: Statuses that carry an estimate one may read.
USABLE: Final = frozenset({"ok", "singular"})
#: Verdicts of a test that found a change.
_SHOWN: Final = frozenset({"Change shown", "Consider"})


def both_true(verdict: str, rules: Sequence[RuleLine]) -> tuple[Fact, ...]:
    """Why a change can be shown where a rule says stop, and none where a rule says go.

    Parameters
    ----------
    verdict : str
        Of the finding.
    rules : sequence of RuleLine
    """
    stops, goes = ([one.rule for one in rules if one.verdict == said] for said in ("stop", "go"))
    if verdict in _SHOWN and stops:
        told = (
            f"The mean moved, but not by as much, or in as many participants, as {_named(stops)} for. "
            "Both can be true."
        )
        return (Fact(f"{verdict.lower()}, and stop", told),)
    if verdict == "No change shown" and goes:
        told = (
            f"{_named(goes)} for something else than a mean that moved, such as enough participants with a "
            "change. Both can be true."
        )
        return (Fact("no change shown, and go", told),)
    return ()


def _named(rules: Sequence[str]) -> str:
    names = f"{', '.join(rules[:-1])} and {rules[-1]}" if len(rules) > 1 else rules[0]
    return f"{names} {'asks' if len(rules) == 1 else 'ask'}"


def two_estimates(chosen: Selection) -> tuple[Fact, ...]:
    """Why the rules may quote another number than the effect: theirs is the plain mean of the pairs."""
    change = chosen.pairs["change"].to_numpy(dtype=float)
    row = chosen.row
    if str(row["status"]) not in USABLE or not change.size:
        return ()
    ratio = chosen.kind in RATIO_KINDS
    plain = format_number(as_effect(chosen.kind, float(change.mean())))
    model = format_number(float(row["effect"]))
    if plain == model:
        return ()
    sign, unit = ("× ", "") if ratio else ("", f" {row['effect_unit']}")
    mean = "geometric mean" if ratio else "mean"
    others = int(row["n_participants"]) - int(row["n_pairs"]) if pd.notna(row["n_pairs"]) else 0
    whose = f", which also uses the {others} with one biopsy" if others > 0 else ""
    return (
        Fact(
            "two estimates",
            f"{sign}{model}{unit} is the mixed model's{whose}; the decision rules judge the plain {mean} of "
            f"the {len(change)} pairs, {sign}{plain}{unit}.",
        ),
    )
