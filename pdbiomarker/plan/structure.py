"""Which random terms and contrasts a plan may have: what the biopsies can tell at all, whatever their values.

A row of an assay is one biopsy. So the variance between biopsies is the residual variance, a term
``(1|biopsy)`` cannot be told from it; and where one biopsy of each participant and visit is kept, neither can
``(1|participant:visit)``. Where all are kept that term is needed: three biopsies of a visit share what the
visit was, and taken for independent they gave a type I error of .21 at a nominal .05 (with the term .051).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from pdbiomarker.formula import Contrast, Formula, RandomTerm

__all__ = ["PARTICIPANT", "Fault", "contrast_fault", "random_faults"]

#: What a formula may call the participant.
PARTICIPANT: Final = frozenset({"participant", "participant_id"})
_BIOPSY: Final = frozenset({"biopsy", "biopsy_id"})
_TWO: Final = 2


class Fault(NamedTuple):
    """What is wrong, and what to do: `code` is a key of the catalogue of errors."""

    code: str
    message: str
    remedy: str


def _groups(term: RandomTerm) -> frozenset[str]:
    """The grouping columns, the participant under one name."""
    return frozenset("participant" if name in PARTICIPANT else name for name in term.groups)


def random_faults(formula: Formula, replicates: str) -> Iterator[Fault]:
    """Find the random terms that no study of biopsies could identify, and those that are missing.

    Parameters
    ----------
    formula : Formula
    replicates : {"select", "all"}

    Yields
    ------
    Fault
    """
    terms = formula.random
    intercepts = {_groups(term) for term in terms if term.intercept}
    if frozenset({"participant"}) not in intercepts:
        found = ", ".join(term.label for term in terms) or "none"
        yield Fault(
            "E-FORMULA-006",
            f"The model needs the random term (1|participant); the formula has: {found}.",
            "Write for instance '~ visit + (1|participant)'.",
        )
    for term in terms:
        groups = _groups(term)
        if groups & _BIOPSY:
            yield Fault(
                "E-FORMULA-006",
                f"A row is one biopsy: the variance of {term.label} cannot be told from the residual.",
                "Leave it out; for several biopsies of a visit use (1|participant:visit) with 'replicates: "
                "all'.",
            )
        elif replicates == "select" and {"participant", "visit"} <= groups:
            yield Fault(
                "E-FORMULA-006",
                "One biopsy of each participant and visit is kept, so that the variance of "
                f"{term.label} cannot be told from the residual.",
                "Keep all biopsies with 'replicates: all', or leave the term out.",
            )
        elif replicates == "select" and "participant" in groups and "visit" in term.slopes:
            yield Fault(
                "E-FORMULA-006",
                f"One biopsy of each participant and visit is kept: {term.label} has as many effects as "
                "biopsies.",
                "Keep all biopsies with 'replicates: all', or write (1|participant).",
            )
        elif not term.intercept and groups not in intercepts:
            yield Fault(
                "E-FORMULA-006",
                f"The term {term.label} has a slope without an intercept of its groups.",
                f"Write (1 + {' + '.join(term.slopes)} | {term.group}), or add (1 | {term.group}).",
            )
    if replicates == "all" and not any(_holds_visits(term) for term in terms):
        yield Fault(
            "E-PLAN-004",
            "With all biopsies of a visit kept, the formula needs a random term below the participant: "
            "biopsies of one visit are not independent.",
            "Add (1|participant:visit), or use 'replicates: select'.",
        )


def _holds_visits(term: RandomTerm) -> bool:
    """Whether a term lets the visits of a participant differ beyond the residual."""
    groups = _groups(term)
    return groups == {"participant", "visit"} or (groups == {"participant"} and "visit" in term.slopes)


def contrast_fault(name: str, contrast: Contrast) -> Fault | None:
    """Say why a contrast that can be read is not estimated; None where it is.

    Over three or more visits a participant intercept would share one variance among early and late changes.
    Such contrasts rest on one number for each participant, the weighted sum of the visits, and so need the
    same weights in everybody.
    """
    if len(contrast.visits) <= _TWO or contrast.visit_weights is not None:
        return None
    return Fault(
        "E-PLAN-002",
        f"The contrast {name!r} compares different visits in different participants, over "
        f"{len(contrast.visits)} visits; this is not estimated.",
        "Split it into contrasts that each compare the same visits, or two visits.",
    )
