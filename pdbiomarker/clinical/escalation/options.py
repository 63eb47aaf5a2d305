"""Designs by name, and the options of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from numbers import Real
from typing import Final, cast

from pdbiomarker.clinical.escalation.outcomes import refuse
from pdbiomarker.errors import Problems
from pdbiomarker.tables import nearest

__all__ = ["DESIGNS", "EscalationOptions", "design_name", "read_options"]

#: Names of designs: as they are given -> as the tables write them.
DESIGNS: Final[Mapping[str, str]] = {"3+3": "3+3", "boin": "BOIN", "mtpi": "mTPI", "mtpi2": "mTPI-2"}


@dataclasses.dataclass(frozen=True)
class EscalationOptions:
    """Options of the designs; each design uses its own and refuses those of others.

    Attributes
    ----------
    strict_mode : bool
        3+3: refuse a path that the design would not have taken (E-DOSE-004). False: judge the counts alone.
    allow_deescalate : bool
        3+3: after two toxicities, fill the dose below to six participants. False: stop there.
    epsilon1, epsilon2 : float
        mTPI and mTPI-2: the equivalence interval is target - epsilon1 to target + epsilon2.
    exclusion_certainty : float
        BOIN, mTPI and mTPI-2: a dose and those above it are excluded when the posterior probability (uniform
        prior) that its toxicity exceeds the target is larger than this; BOIN needs three participants.
    use_stopping_rule : bool
        BOIN: stop the trial when the lowest dose is excluded. False: stay at the lowest dose.
    """

    strict_mode: bool = True
    allow_deescalate: bool = False
    epsilon1: float = 0.05
    epsilon2: float = 0.05
    exclusion_certainty: float = 0.95
    use_stopping_rule: bool = True


_USED: Final[Mapping[str, tuple[str, ...]]] = {
    "3+3": ("strict_mode", "allow_deescalate"),
    "boin": ("exclusion_certainty", "use_stopping_rule"),
    "mtpi": ("epsilon1", "epsilon2", "exclusion_certainty"),
    "mtpi2": ("epsilon1", "epsilon2", "exclusion_certainty"),
}


def design_name(design: str) -> str:
    """Give the key of a design: ``mTPI-2`` and ``mtpi2`` are the same.

    Raises
    ------
    InputError
        E-DOSE-003: no such design.
    """
    key = design.strip().casefold().replace("-", "").replace(" ", "")
    if key not in DESIGNS:
        raise refuse(
            f"There is no design {design!r}. {nearest(design, DESIGNS)}",
            "Use 3+3, boin, mtpi or mtpi2. The continual reassessment method is not computed: give its "
            "recommendation as it was made.",
            "design",
            design,
        )
    return key


def read_options(
    design: str, target: float, options: Mapping[str, object] | EscalationOptions | None
) -> EscalationOptions:
    """Check the target and the options of a design.

    Parameters
    ----------
    design : str
        As from :func:`design_name`.
    target : float
        Toxicity aimed at, strictly between 0 and 1.
    options : mapping, EscalationOptions or None
        Names as in :class:`EscalationOptions`.

    Raises
    ------
    InputError
        E-DOSE-003, once for each fault.
    """
    problems = Problems()
    if not _is_proportion(target):
        problems.add(
            "E-DOSE-003",
            "The target toxicity must lie between 0 and 1.",
            remedy="Give a proportion, such as 0.30.",
            column="target",
            value=target,
        )
    if isinstance(options, EscalationOptions):
        chosen = options
    elif not _is_mapping(options):
        problems.add(
            "E-DOSE-003",
            "The options are not a mapping of names to values.",
            remedy=f"Give a mapping; {DESIGNS[design]} has: {', '.join(_USED[design])}.",
            column="options",
            value=options,
        )
        problems.raise_if_any()
    else:
        given = dict(options or {})
        _check_names(design, given, problems)
        problems.raise_if_any()
        # The values were checked above, each against the type of its field.
        chosen = dataclasses.replace(EscalationOptions(), **cast("dict[str, bool]", given))
    if not len(problems):  # a range around a target that is none says nothing
        _check_ranges(design, target, chosen, problems)
    problems.raise_if_any()
    return chosen


def _is_proportion(value: object) -> bool:
    return isinstance(value, Real) and 0 < float(value) < 1


def _is_mapping(value: object) -> bool:
    return value is None or isinstance(value, Mapping)


def _check_names(design: str, given: Mapping[str, object], problems: Problems) -> None:
    kinds = {
        field.name: bool if field.type == "bool" else float for field in dataclasses.fields(EscalationOptions)
    }
    for name, value in given.items():
        if name not in _USED[design]:
            problems.add(
                "E-DOSE-003",
                f"The design {DESIGNS[design]} has no option {name!r}.",
                remedy=f"It has: {', '.join(_USED[design])}.",
                column=name,
                value=value,
            )
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if (kinds[name] is bool) != isinstance(value, bool) or (kinds[name] is float and not is_number):
            problems.add(
                "E-DOSE-003",
                f"The option {name!r} is not a {'truth value' if kinds[name] is bool else 'number'}.",
                remedy="Give True or False." if kinds[name] is bool else "Give a number, such as 0.05.",
                column=name,
                value=value,
            )


def _check_ranges(design: str, target: float, options: EscalationOptions, problems: Problems) -> None:
    uses = _USED[design]
    if "exclusion_certainty" in uses and not 0.5 <= options.exclusion_certainty < 1:
        problems.add(
            "E-DOSE-003",
            "The certainty for excluding a dose must be at least 0.5 and below 1.",
            remedy="0.95 is usual.",
            column="exclusion_certainty",
            value=options.exclusion_certainty,
        )
    if "epsilon1" in uses and not (0 < options.epsilon1 < target and 0 < options.epsilon2 < 1 - target):
        problems.add(
            "E-DOSE-003",
            f"The interval {target - options.epsilon1:g} to {target + options.epsilon2:g} around the target "
            f"{target:g} must be wider than 0 on both sides and lie inside 0 to 1.",
            remedy="0.05 on both sides is usual.",
            column="epsilon1, epsilon2",
        )
