"""The random terms of a formula on the biopsies of one question.

A plan's terms are those that some data could identify (:mod:`pdbiomarker.plan.structure`). In the biopsies of
one question a term may still say nothing of its own: all in one batch, a batch for each biopsy, no
participant with several biopsies of a visit. Such a term leaves the model as it is, whatever its variance,
and is left out with a note.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.errors import FormulaError, Problem
from pdbiomarker.formula import Design, Formula, RandomTerm
from pdbiomarker.mixed import RandomSlopes

__all__ = ["PARTICIPANT", "RandomPart", "random_part"]

PARTICIPANT: Final = "participant"
VISITS: Final = "participant:visit"
_ALIAS: Final = "participant_id"


@dataclasses.dataclass(frozen=True, eq=False)
class RandomPart:
    """Random terms of n biopsies.

    Attributes
    ----------
    groups : mapping of term to (n,) array of labels
        The participant first, where there is a participant term.
    slopes : mapping of term to RandomSlopes
    note : str
        Which terms say nothing here and were left out.
    """

    groups: Mapping[str, NDArray[np.object_]]
    slopes: Mapping[str, RandomSlopes]
    note: str = ""

    @property
    def only_participant(self) -> bool:
        """Whether it is (1|participant) and nothing else."""
        return list(self.groups) == [PARTICIPANT] and not self.slopes

    @property
    def fits_counts(self) -> bool:
        """Whether the count models have these terms: the participant, and perhaps the visit within."""
        return not self.slopes and list(self.groups) in ([PARTICIPANT], [PARTICIPANT, VISITS])


def random_part(
    formula: Formula, design: Design, frame: pd.DataFrame, *, visits: Sequence[str]
) -> RandomPart:
    """Give the random terms of a formula on the biopsies of one question.

    Parameters
    ----------
    formula : Formula
        Of this question.
    design : Design
        Of these biopsies.
    frame : DataFrame
        The table that the design was made of.
    visits : sequence of str
        Of the question. At one visit the participant is a term only where there are several biopsies of one.

    Raises
    ------
    FormulaError
        A slope of a column that is no number, or slopes of one grouping in two forms.
    """
    by_group: dict[str, list[RandomTerm]] = {}
    labels: dict[str, NDArray[np.object_]] = {}
    for term in formula.random:
        name = ":".join(PARTICIPANT if g == _ALIAS else g for g in _ordered(term.groups))
        by_group.setdefault(name, []).append(term)
        labels[name] = design.groups[term.group]
        if name == PARTICIPANT:
            labels[name] = frame[PARTICIPANT].to_numpy(dtype=str).astype(object)
    order = sorted(by_group, key=lambda name: (name != PARTICIPANT, name != VISITS))
    groups: dict[str, NDArray[np.object_]] = {}
    slopes: dict[str, RandomSlopes] = {}
    told: list[str] = []
    for name in order:
        sloped = [term for term in by_group[name] if term.slopes]
        why = "" if sloped else _says_nothing(name, labels[name], groups)
        if why and (name != PARTICIPANT or len(visits) == 1):
            told += [] if name == PARTICIPANT else [f"(1|{name}) is left out: {why}"]
            continue
        groups[name] = labels[name]
        if sloped:
            slopes[name] = _slopes(formula, sloped, frame, visits)
    return RandomPart(groups, slopes, "; ".join(told))


def _ordered(groups: tuple[str, ...]) -> list[str]:
    """The participant first, so that one grouping has one name."""
    return sorted(groups, key=lambda g: g not in {PARTICIPANT, _ALIAS})


def _says_nothing(name: str, labels: NDArray[np.object_], others: Mapping[str, NDArray[np.object_]]) -> str:
    codes = pd.factorize(labels)[0]
    if len(np.unique(codes)) == len(codes):
        if name == VISITS:
            return "no participant has several biopsies at a visit"
        return "each of its groups is one biopsy, and its variance part of the residual"
    if codes.max(initial=0) == 0:
        return "all biopsies are in one group"
    for other, theirs in others.items():
        joint = len(np.unique(np.column_stack([codes, pd.factorize(theirs)[0]]), axis=0))
        if joint == len(np.unique(codes)) == len(np.unique(theirs)):
            return f"its groups are those of (1|{other})"
    return ""


def _slopes(
    formula: Formula, sloped: list[RandomTerm], frame: pd.DataFrame, visits: Sequence[str]
) -> RandomSlopes:
    def refuse(message: str, remedy: str, value: str) -> FormulaError:
        return FormulaError(
            [Problem("E-FORMULA-006", message, remedy, "plan.yaml", column="formula", value=value)]
        )

    if len(sloped) > 1:
        written = " + ".join(term.label for term in sloped)
        raise refuse(
            f"The slopes of one grouping stand in several terms: {written}.",
            "Write them as one term, such as (1 + a + b | participant).",
            formula.text,
        )
    columns: list[Any] = []
    for name in sloped[0].slopes:
        column = frame[name]
        if name == "visit":
            column = (column == visits[-1]).astype(float)
        if not pd.api.types.is_numeric_dtype(column):
            raise refuse(
                f"The random slope of {name!r} is of a column of text; slopes vary with numbers.",
                f"Leave it out, or make a column of numbers of {name!r}.",
                formula.text,
            )
        columns.append(column.to_numpy(dtype=float))
    return RandomSlopes(np.column_stack(columns), correlated=sloped[0].intercept)
