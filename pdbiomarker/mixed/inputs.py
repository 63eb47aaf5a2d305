"""What `fit` accepts: every fault of the arrays is found, with its place, before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdbiomarker.errors import AssayError, FormulaError, Problem, Problems

from .inference import DdfMethod
from .structure import Term

__all__ = ["Compat", "Inputs", "Options", "RandomSlopes", "check_contrasts", "check_inputs"]

Array = NDArray[np.float64]
Compat = Literal["lmerTest", "dream", "limma"]

#: How many places of one fault are named.
SHOWN = 5


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RandomSlopes:
    """Covariates whose slope varies between the groups of a term.

    Attributes
    ----------
    covariates : (n, k) array
        One covariate a column.
    correlated : bool
        Whether the slopes are correlated with the group's intercept and with each other, lme4's
        ``(1 + x | g)``; False is ``(1 + x || g)``.
    """

    covariates: ArrayLike
    correlated: bool = True


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Checked input of `fit`: G features, n observations, p coefficients, k contrasts.

    Attributes
    ----------
    Y : (G, n) array
        Responses; NaN = missing.
    X : (n, p) array
    terms : tuple of Term
        Groups are numbered from 0 in the order of first appearance.
    weights, known_variance : (G, n) array or None
    contrasts : (k, p) array
    ddf : {"kenward-roger", "satterthwaite", "residual"}
    allow_negative : bool
        Whether theta of the only intercept may be negative.
    compat : {"lmerTest", "dream", "limma"} or None
    """

    Y: Array
    X: Array
    terms: tuple[Term, ...]
    weights: Array | None
    known_variance: Array | None
    contrasts: Array
    ddf: DdfMethod
    allow_negative: bool
    compat: Compat | None

    @property
    def one_intercept(self) -> bool:
        """Whether the fast way of one intercept and no known variances is open."""
        return len(self.terms) == 1 and self.terms[0].effects == 1 and self.known_variance is None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Options:
    """What `fit` was told besides Y, X and groups."""

    weights: ArrayLike | None
    known_variance: ArrayLike | None
    slopes: Mapping[str, ArrayLike | RandomSlopes] | None
    contrasts: ArrayLike | None
    ddf: str
    allow_negative_icc: bool
    compat: str | None


def check_inputs(
    Y: ArrayLike, X: ArrayLike, groups: ArrayLike | Mapping[str, ArrayLike], options: Options
) -> Inputs:
    """Turn what `fit` was given into arrays, or refuse it with every problem found.

    Raises
    ------
    AssayError
        Shapes, infinite or missing values, negative weights or variances, missing labels, an unknown ddf or
        compat.
    FormulaError
        No grouping term, slopes of a term that is not there, what a peer does not fit, or a negative
        intraclass correlation of more than one intercept.
    """
    problems = Problems()
    responses = _numbers(Y, "Y", 2, problems)
    design = _numbers(X, "X", 2, problems)
    terms = _terms(groups, options.slopes, problems)
    weighting = None if options.weights is None else _numbers(options.weights, "weights", 2, problems)
    known = None
    if options.known_variance is not None:
        known = _numbers(options.known_variance, "known_variance", 2, problems)
    rows = None if options.contrasts is None else _numbers(options.contrasts, "contrasts", 2, problems)
    _choice(
        options.ddf,
        "ddf",
        get_args(DdfMethod),
        "This method for the degrees of freedom does not exist.",
        problems,
    )
    if options.compat is not None:
        _choice(
            options.compat, "compat", get_args(Compat), "This package's definitions are not known.", problems
        )
    if responses is None or design is None:
        raise AssayError(problems)
    n, p = design.shape
    _same_length(responses.shape[1], n, "Y has {} observations (columns), X has {} (rows).", problems)
    for term in terms:
        _same_length(len(term.codes), n, "groups has {} labels, X has {} rows.", problems)
        if len(term.slopes) != len(term.codes):
            _shape(f"slopes of {term.name} have {len(term.slopes)} rows, X has {n}.", "slopes", problems)
        _places(
            ~np.isfinite(term.slopes), term.slopes, "slopes", "A covariate is missing or infinite.", problems
        )
    _places(np.isinf(responses), responses, "Y", "A response is infinite.", problems)
    _places(~np.isfinite(design), design, "X", "A value of the design is missing or infinite.", problems)
    if rows is not None:
        _check_rows(rows, p, problems)
    if weighting is not None:
        _known_values(weighting, responses, "weights", "weight", problems)
    if known is not None:
        _known_values(known, responses, "known_variance", "known variance", problems)
    problems.raise_if_any(AssayError)
    checked = Inputs(
        Y=responses,
        X=design,
        terms=terms,
        weights=_unit_mean(weighting, responses) if options.compat == "dream" else weighting,
        known_variance=known,
        contrasts=np.eye(p) if rows is None else rows,
        ddf=cast("DdfMethod", options.ddf),
        allow_negative=options.allow_negative_icc,
        compat=cast("Compat | None", options.compat),
    )
    _check_model(checked)
    return checked


def check_contrasts(contrasts: ArrayLike, coefficients: int) -> Array:
    """Contrasts as a (k, p) array, or an AssayError."""
    problems = Problems()
    rows = _numbers(contrasts, "contrasts", 2, problems)
    if rows is not None:
        _check_rows(rows, coefficients, problems)
    problems.raise_if_any(AssayError)
    if rows is None:
        raise AssayError(problems)
    return rows


def _check_rows(rows: Array, p: int, problems: Problems) -> None:
    if rows.shape[1] != p:
        _shape(f"contrasts has {rows.shape[1]} columns, X has {p}.", "contrasts", problems)
    _places(~np.isfinite(rows), rows, "contrasts", "A contrast is missing or infinite.", problems)


def _choice(value: str, name: str, known: tuple[str, ...], message: str, problems: Problems) -> None:
    if value not in known:
        problems.add(
            "E-MODEL-005", message, column=name, value=value, remedy=f"use one of {', '.join(known)}"
        )


def _known_values(values: Array, responses: Array, name: str, what: str, problems: Problems) -> None:
    """Weights or variances: of the responses' shape, known where a response is, not negative."""
    bad = ~np.isfinite(values)
    if values.shape == responses.shape:
        bad &= ~np.isnan(responses)
    else:
        _shape(f"{name} has shape {values.shape}, Y has {responses.shape}.", name, problems)
    _places(bad, values, name, f"A {what} is missing or infinite.", problems)
    _places(values < 0, values, name, f"A {what} is negative.", problems, code="E-MODEL-003")


def _unit_mean(weights: Array | None, responses: Array) -> Array | None:
    """Weights divided by their mean over each feature's observations, as dream does."""
    if weights is None:
        return None
    used = ~np.isnan(responses) & (weights > 0)
    total = np.where(used, weights, 0.0).sum(axis=1, keepdims=True)
    mean = total / np.maximum(used.sum(axis=1, keepdims=True), 1)
    return np.asarray(weights / np.where(mean > 0, mean, 1.0))


def _check_model(inputs: Inputs) -> None:
    """Refuse models that the asked definitions do not have."""
    several = len(inputs.terms) > 1 or inputs.terms[0].effects > 1
    if inputs.allow_negative and not inputs.one_intercept:
        raise FormulaError(
            [
                Problem(
                    "E-FORMULA-006",
                    "A negative intraclass correlation is fitted for one random intercept alone.",
                    "leave allow_negative_icc out, or keep one term without slopes and known variances",
                    column="allow_negative_icc",
                    value="True",
                )
            ]
        )
    unlike = inputs.known_variance is not None or inputs.allow_negative
    refusals = {
        "lmerTest": (unlike, "lmerTest has no known variances, and its variances are never negative."),
        "dream": (unlike, "dream has no known variances, and its variances are never negative."),
        "limma": (
            unlike or several,
            "limma has one random intercept (its block) and no known variances; its correlation may be "
            "negative in any case.",
        ),
    }
    if inputs.compat is None:
        return
    refused, reason = refusals[inputs.compat]
    if not refused and inputs.compat == "limma" and inputs.ddf != "residual":
        refused, reason = True, "limma has residual degrees of freedom only: give ddf='residual'."
    if refused:
        remedy = "leave out compat, or what it cannot have"
        raise FormulaError([Problem("E-FORMULA-006", reason, remedy, column="compat", value=inputs.compat)])


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


def _terms(
    groups: ArrayLike | Mapping[str, ArrayLike],
    slopes: Mapping[str, ArrayLike | RandomSlopes] | None,
    problems: Problems,
) -> tuple[Term, ...]:
    """The grouping terms; labels of ``a/b`` are read within those of ``a``."""
    named = groups if isinstance(groups, Mapping) else {"group": groups}
    if not named:
        raise FormulaError(
            [
                Problem(
                    "E-FORMULA-006",
                    "The mixed model needs at least one random intercept.",
                    "name a grouping term, such as (1|participant)",
                    column="groups",
                    value="none",
                )
            ]
        )
    codes = {name: _codes(labels, name, problems) for name, labels in named.items()}
    for name in named:
        parent = name.rpartition("/")[0]
        if parent in codes and len(codes[parent]) == len(codes[name]):
            pairs = np.column_stack([codes[parent], codes[name]])
            _, first, which = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
            codes[name] = np.argsort(np.argsort(first))[which.reshape(-1)]
    unknown = sorted(set(slopes or {}) - set(named))
    if unknown:
        raise FormulaError(
            [
                Problem(
                    "E-FORMULA-006",
                    "Slopes are given for a term that is not a grouping term.",
                    f"use the names of groups: {', '.join(named)}",
                    column="slopes",
                    value=", ".join(unknown),
                )
            ]
        )
    terms = []
    for name, code in codes.items():
        given = (slopes or {}).get(name)
        options = given if isinstance(given, RandomSlopes) else RandomSlopes(np.zeros((len(code), 0)))
        if given is not None and not isinstance(given, RandomSlopes):
            options = RandomSlopes(given)
        covariates = _numbers(options.covariates, f"slopes[{name}]", 2, problems)
        terms.append(
            Term(
                name, code, np.zeros((len(code), 0)) if covariates is None else covariates, options.correlated
            )
        )
    return tuple(terms)


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
