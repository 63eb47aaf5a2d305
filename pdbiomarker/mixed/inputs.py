"""What `fit` accepts: every fault of the arrays is found, with its place, before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdbiomarker.errors import AssayError, FormulaError, Problem, Problems

from .inference import DdfMethod

__all__ = ["Inputs", "check_inputs"]

Array = NDArray[np.float64]

#: How many places of one fault are named.
SHOWN = 5


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Checked input of `fit`: G features, n observations, p coefficients, q groups, k contrasts.

    Attributes
    ----------
    Y : (G, n) array
        Responses; NaN = missing.
    X : (n, p) array
    codes : (n,) array
        Group of each observation, 0 to q - 1, in the order of first appearance.
    weights : (G, n) array or None
    contrasts : (k, p) array
    ddf : {"kenward-roger", "satterthwaite", "residual"}
    term : str
        Name of the grouping term.
    """

    Y: Array
    X: Array
    codes: NDArray[np.intp]
    weights: Array | None
    contrasts: Array
    ddf: DdfMethod
    term: str


def check_inputs(
    Y: ArrayLike,
    X: ArrayLike,
    groups: ArrayLike | Mapping[str, ArrayLike],
    *,
    weights: ArrayLike | None,
    contrasts: ArrayLike | None,
    ddf: str,
) -> Inputs:
    """Turn what `fit` was given into arrays, or refuse it with every problem found.

    Raises
    ------
    AssayError
        Shapes, infinite or missing values, negative weights, missing labels, an unknown ddf.
    FormulaError
        More than one grouping term, or none.
    """
    problems = Problems()
    responses = _numbers(Y, "Y", 2, problems)
    design = _numbers(X, "X", 2, problems)
    term, labels = _one_term(groups)
    codes = _codes(labels, term, problems)
    weighting = None if weights is None else _numbers(weights, "weights", 2, problems)
    rows = None if contrasts is None else _numbers(contrasts, "contrasts", 2, problems)
    if ddf not in get_args(DdfMethod):
        problems.add(
            "E-MODEL-005",
            "This method for the degrees of freedom does not exist.",
            column="ddf",
            value=ddf,
            remedy=f"use one of {', '.join(get_args(DdfMethod))}",
        )
    if responses is None or design is None:
        raise AssayError(problems)
    n, p = design.shape
    _same_length(responses.shape[1], n, "Y has {} observations (columns), X has {} (rows).", problems)
    _same_length(len(codes), n, "groups has {} labels, X has {} rows.", problems)
    if weighting is not None and weighting.shape != responses.shape:
        _shape(f"weights has shape {weighting.shape}, Y has {responses.shape}.", "weights", problems)
    if rows is not None and rows.shape[1] != p:
        _shape(f"contrasts has {rows.shape[1]} columns, X has {p}.", "contrasts", problems)
    _places(np.isinf(responses), responses, "Y", "A response is infinite.", problems)
    _places(~np.isfinite(design), design, "X", "A value of the design is missing or infinite.", problems)
    if rows is not None:
        _places(~np.isfinite(rows), rows, "contrasts", "A contrast is missing or infinite.", problems)
    if weighting is not None:
        bad = ~np.isfinite(weighting)
        if weighting.shape == responses.shape:
            bad &= ~np.isnan(responses)
        _places(bad, weighting, "weights", "A weight is missing or infinite.", problems)
        _places(weighting < 0, weighting, "weights", "A weight is negative.", problems, code="E-MODEL-003")
    problems.raise_if_any(AssayError)
    return Inputs(
        responses, design, codes, weighting, np.eye(p) if rows is None else rows, cast("DdfMethod", ddf), term
    )


def _numbers(values: ArrayLike, name: str, dimensions: int, problems: Problems) -> Array | None:
    """A float64 array with that many dimensions, or None and a problem."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        problems.add(
            "E-MODEL-002", f"{name} holds something that is not a number.", column=name, value=error,
            remedy="give a numeric array; missing responses are NaN",
        )  # fmt: skip
        return None
    if array.ndim != dimensions:
        _shape(f"{name} has {array.ndim} dimensions instead of {dimensions}.", name, problems)
        return None
    return array


def _one_term(groups: ArrayLike | Mapping[str, ArrayLike]) -> tuple[str, ArrayLike]:
    """Name and labels of the only grouping term."""
    if not isinstance(groups, Mapping):
        return "group", groups
    if len(groups) != 1:
        named = ", ".join(f"(1|{name})" for name in groups) or "none"
        raise FormulaError(
            [
                Problem(
                    "E-FORMULA-006",
                    "The mixed model fits exactly one random intercept.",
                    "keep one term, such as (1|participant)",
                    column="groups",
                    value=named,
                )
            ]
        )
    return next(iter(groups.items()))


def _codes(labels: ArrayLike, term: str, problems: Problems) -> NDArray[np.intp]:
    """Number the labels in the order in which they appear; missing ones are problems."""
    listed = np.asarray(labels, dtype=object)
    if listed.ndim != 1:
        _shape(f"The labels of {term} have {listed.ndim} dimensions instead of 1.", "groups", problems)
        return np.zeros(0, dtype=np.intp)
    seen: dict[object, int] = {}
    codes = np.zeros(len(listed), dtype=np.intp)
    missing = []
    for i, label in enumerate(listed.tolist()):
        # A missing value (None, NaN, NaT, pandas' NA) is the one that is not plainly equal to itself.
        if label is None or not _equals_itself(label):
            missing.append(i)
        else:
            codes[i] = seen.setdefault(label, len(seen))
    for i in missing[:SHOWN]:
        problems.add(
            "E-MODEL-004",
            f"Observation {i} has no label of {term} ({len(missing)} in all).",
            column="groups",
            value=listed[i],
            remedy="name the group of every observation, or leave the observation out",
        )
    return codes


def _equals_itself(label: object) -> bool:
    same = label == label  # noqa: PLR0124
    return isinstance(same, bool | np.bool_) and bool(same)


def _same_length(found: int, expected: int, text: str, problems: Problems) -> None:
    if found != expected:
        _shape(text.format(found, expected), "", problems)


def _shape(message: str, column: str, problems: Problems) -> None:
    problems.add(
        "E-MODEL-001",
        message,
        column=column or None,
        remedy="Y is features x observations, X observations x coefficients, weights like Y, "
        "groups one label an observation, contrasts k x coefficients",
    )


def _places(
    bad: NDArray[np.bool_],
    values: Array,
    name: str,
    message: str,
    problems: Problems,
    *,
    code: str = "E-MODEL-002",
) -> None:
    """Name the first few places of a fault."""
    if not bad.any():
        return
    count = int(bad.sum())
    for row, column in np.argwhere(bad)[:SHOWN].tolist():
        problems.add(
            code,
            f"{message} ({count} in all)",
            column=f"{name}[{row}, {column}]",
            value=values[row, column],
            remedy="a missing response is NaN; an observation to leave out has weight 0",
        )
