"""What the models of counts, proportions and censored values accept; every fault is found before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdbiomarker.errors import AssayError, Problems

__all__ = [
    "Checked",
    "Inference",
    "InferenceMethod",
    "check_arrays",
    "check_counts",
    "check_inference",
    "numbers",
    "places",
    "shaped",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]
InferenceMethod = Literal["t", "bootstrap", "wald"]

#: How many places of one fault are named.
SHOWN = 5
#: Above this, doubles no longer count by ones without doubt.
LARGEST_COUNT = 1e15


@dataclasses.dataclass(frozen=True, slots=True)
class Inference:
    """How contrasts of a generalised model are tested.

    Attributes
    ----------
    method : {"t", "bootstrap", "wald"}
        ``t``: estimate / SE against Student's t with pairs - 1 degrees of freedom. ``bootstrap``: p from the
        likelihood ratio, refitted to `resamples` sets drawn from the fit without the contrast,
        (1 + number at least as large) / (resamples + 1). ``wald``: the normal distribution, too liberal at
        the sizes of these studies (.14 at nominal .05 with 6 pairs); for comparison with other programs only.
    n_pairs : int or None
        Pairs of the contrasts; None: counted from the design (see `GlmmFit.n_pairs`).
    resamples : int
        Bootstrap sets.
    seed : int
        Of the bootstrap; every feature and contrast starts its own generator from it.
    """

    method: InferenceMethod = "t"
    n_pairs: int | None = None
    resamples: int = 999
    seed: int = 1


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """Checked input: F features, n observations, p coefficients, k contrasts.

    Attributes
    ----------
    y : (F, n) array
        NaN = missing.
    X : (n, p) array
    participants : (n,) array
        Codes in the order of first appearance.
    biopsies : (n,) array or None
        Codes of biopsies within participants.
    contrasts : (k, p) array
    """

    y: Array
    X: Array
    participants: Indices
    biopsies: Indices | None
    contrasts: Array


def numbers(values: ArrayLike, name: str, dimensions: tuple[int, ...], problems: Problems) -> Array | None:
    """A float64 array with one of those numbers of dimensions, or None and a problem."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        problems.add(
            "E-MODEL-002",
            f"{name} holds something that is not a number.",
            column=name,
            value=error,
            remedy="give a numeric array; missing values are NaN",
        )
        return None
    if array.ndim not in dimensions:
        _shape(
            f"{name} has {array.ndim} dimensions instead of {' or '.join(map(str, dimensions))}.", problems
        )
        return None
    return array


def places(bad: Flags, values: Array, name: str, fault: tuple[str, str, str], problems: Problems) -> None:
    """Name the first few places of a fault, given as code, message and remedy."""
    code, message, remedy = fault
    for place in np.argwhere(bad)[:SHOWN].tolist():
        problems.add(
            code,
            f"{message} ({int(bad.sum())} in all)",
            column=f"{name}[{', '.join(map(str, place))}]",
            value=values[tuple(place)],
            remedy=remedy,
        )


def check_arrays(
    y: ArrayLike,
    X: ArrayLike,
    groups: ArrayLike | Mapping[str, ArrayLike],
    *,
    contrasts: ArrayLike | None,
    problems: Problems,
) -> Checked:
    """Turn responses, design, groups and contrasts into arrays.

    Raises
    ------
    AssayError
        With everything found, and what `problems` held before, when shapes do not fit or a value of the
        design is missing. Faults of the values of y are left to the caller.
    """
    responses = numbers(y, "y", (1, 2), problems)
    design = numbers(X, "X", (2,), problems)
    labels = _terms(groups, problems)
    rows = None if contrasts is None else numbers(contrasts, "contrasts", (1, 2), problems)
    if responses is None or design is None or labels is None:
        raise AssayError(problems)
    responses = np.atleast_2d(responses)
    n, p = design.shape
    if responses.shape[1] != n:
        _shape(f"y has {responses.shape[1]} observations (columns), X has {n} (rows).", problems)
    codes = {name: _codes(values, name, n, problems) for name, values in labels.items()}
    matrix = np.eye(p) if rows is None else np.atleast_2d(rows)
    if matrix.shape[1] != p:
        _shape(f"contrasts has {matrix.shape[1]} columns, X has {p}.", problems)
    remedy = "give a finite number; a missing response is NaN"
    places(np.isinf(responses), responses, "y", ("E-MODEL-002", "A response is infinite.", remedy), problems)
    unknown = ("E-MODEL-002", "A value of the design is missing or infinite.", remedy)
    places(~np.isfinite(design), design, "X", unknown, problems)
    places(~np.isfinite(matrix), matrix, "contrasts", unknown, problems)
    problems.raise_if_any(AssayError)
    participants, *rest = codes.values()
    biopsies = None
    if rest:
        # The same label under two participants is two biopsies.
        _, biopsies = np.unique(np.stack([participants, rest[0]]), axis=1, return_inverse=True)
        biopsies = biopsies.reshape(-1).astype(np.intp)
    return Checked(responses, design, participants, biopsies, matrix)


def check_inference(inference: Inference | str, problems: Problems) -> Inference:
    """The options, from their object or the name of the method."""
    options = Inference(method=inference) if isinstance(inference, str) else inference  # type: ignore[arg-type]
    if options.method not in get_args(InferenceMethod):
        problems.add(
            "E-MODEL-005",
            "This method of inference does not exist.",
            column="inference",
            value=options.method,
            remedy=f"use one of {', '.join(get_args(InferenceMethod))}",
        )
    if options.resamples < 1 or (options.n_pairs is not None and options.n_pairs < 0):
        problems.add(
            "E-MODEL-005",
            "The number of resamples is not positive, or the number of pairs is negative.",
            column="inference",
            value=f"resamples={options.resamples}, n_pairs={options.n_pairs}",
            remedy="give positive numbers",
        )
    return options


def check_counts(counts: Array, size: Array | None, problems: Problems) -> None:
    """Counts are whole, not negative, and not above their totals; totals are whole."""
    remedy = "give counts of cells, not densities or percentages; a missing count is NaN"
    with np.errstate(invalid="ignore"):
        for name, values in (("y", counts), ("n", size)):
            if values is not None:
                bad = (values < 0) | (values > LARGEST_COUNT) | (values != np.floor(values))
                bad &= np.isfinite(values)
                fault = ("E-MODEL-020", "A count is negative, not whole or too large.", remedy)
                places(bad, values, name, fault, problems)
        if size is not None:
            fault = ("E-MODEL-020", "A count is above its total.", remedy)
            places(counts > size, counts, "y", fault, problems)


def _terms(groups: ArrayLike | Mapping[str, ArrayLike], problems: Problems) -> Mapping[str, ArrayLike] | None:
    """Labels by name of the term: the participant first, then the biopsy if there is one."""
    if not isinstance(groups, Mapping):
        return {"participant": groups}
    if len(groups) in (1, 2):
        return groups
    problems.add(
        "E-FORMULA-006",
        "This model fits a participant intercept and at most one biopsy intercept within it.",
        column="groups",
        value=", ".join(map(str, groups)) or "none",
        remedy="give the labels of the participants, or participants and biopsies, in this order",
    )
    return None


def _codes(labels: ArrayLike, term: str, n: int, problems: Problems) -> Indices:
    """Number the labels in the order in which they appear; missing ones are problems."""
    listed = np.asarray(labels, dtype=object)
    codes = np.zeros(n, dtype=np.intp)
    if listed.shape != (n,):
        _shape(f"The labels of {term} have shape {listed.shape}, X has {n} rows.", problems)
        return codes
    seen: dict[object, int] = {}
    for i, label in enumerate(listed.tolist()):
        # A missing value (None, NaN, NaT, pandas' NA) is the one that is not plainly equal to itself.
        same = label == label  # noqa: PLR0124
        if label is None or not isinstance(same, bool | np.bool_) or not same:
            problems.add(
                "E-MODEL-004",
                f"Observation {i} has no label of {term}.",
                column="groups",
                value=label,
                remedy="name the group of every observation, or leave the observation out",
            )
        else:
            codes[i] = seen.setdefault(label, len(seen))
    return codes


def _shape(message: str, problems: Problems) -> None:
    problems.add(
        "E-MODEL-001",
        message,
        remedy="y is features x observations, X observations x coefficients, offset and totals one an "
        "observation or like y, groups one label an observation, contrasts k x coefficients",
    )


def shaped(values: ArrayLike, name: str, shape: tuple[int, int], problems: Problems) -> Array | None:
    """Numbers for each feature and observation, from (n,) or (features, n); None and a problem otherwise."""
    array = numbers(values, name, (1, 2), problems)
    if array is None:
        return None
    if array.shape not in (shape, shape[1:], (1, shape[1])):
        _shape(f"{name} has shape {array.shape}, y has {shape}.", problems)
        return None
    return np.atleast_2d(array)
