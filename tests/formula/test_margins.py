"""Marginal means and their comparisons against R's emmeans; which contrasts are within participants."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from formula_golden import GOLDEN, LEVELS, TABLE, golden_design, least_squares

from pdbiomarker import mixed
from pdbiomarker.errors import FormulaError
from pdbiomarker.formula import Design, contrast_vector, design_matrix, is_within, marginal_means, parse

CASES: list[dict[str, Any]] = json.loads((GOLDEN / "margins.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[f"{case['formula']}: {case['names']}" for case in CASES])
def test_equals_emmeans(case: dict[str, Any]) -> None:
    """Rows to 1e-12, means, differences and their SE to 1e-9: emmeans 1.8.4 (make_contrasts.R)."""
    design, table = golden_design(case["formula"])
    means = marginal_means(design, table, case["names"], at=case["at"], weights=case["weights"])
    assert list(means.labels) == case["labels"]
    np.testing.assert_allclose(means.rows, np.array(case["rows"]), rtol=1e-12, atol=1e-12)
    estimates, errors = least_squares(design, means.rows)
    np.testing.assert_allclose(estimates, case["mean"], rtol=1e-9)
    np.testing.assert_allclose(errors, case["mean_se"], rtol=1e-9)
    compared = means.contrasts(case["method"], by=case["by"])
    assert list(compared.labels) == [label.replace("dose_mg", "") for label in case["compared"]]
    np.testing.assert_allclose(compared.rows, np.array(case["vectors"]), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(compared.weights @ means.rows, compared.rows, rtol=1e-12, atol=1e-12)
    estimates, errors = least_squares(design, compared.rows)
    np.testing.assert_allclose(estimates, case["estimate"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(errors, case["se"], rtol=1e-9)


def test_enough_cases() -> None:
    assert len(CASES) >= 8


def design_of(formula: str) -> Design:
    return design_matrix(parse(formula), TABLE, levels=LEVELS)


def test_contrasts_are_differences_of_marginal_means() -> None:
    design = design_of("~ visit*arm*dose")
    means = marginal_means(design, TABLE, ["visit", "arm"], at={"dose": 4}, weights="proportional")
    assert not means.rows.flags.writeable
    compared = means.contrasts("trt.vs.ctrl", by=["arm"])
    assert compared.by == ("A", "B", "C")
    for row, arm in zip(compared.rows, "ABC", strict=True):
        text = f"on - pre at arm = {arm}, dose = 4"
        np.testing.assert_array_equal(row, contrast_vector(design, TABLE, text, weights="proportional"))
    against = means.contrasts("trt.vs.ctrl", reference="on B")
    assert against.labels[0] == "pre A - on B"
    assert means.contrasts("trt.vs.ctrl", by=["arm"], reference="on").labels == ("pre - on",) * 3


def test_used_with_a_mixed_fit() -> None:
    """Complete pairs: each arm's change is its mean of differences, tested with the common residual."""
    design = design_of("~ visit*arm")
    participant = np.repeat(np.arange(6), 2)
    y = np.array([[1.0, 2.5, 2.0, 4.1, 0.3, 0.9, 1.4, 3.0, 2.2, 3.1, 1.0, 1.2]])
    compared = marginal_means(design, TABLE, ["visit", "arm"]).contrasts("revpairwise", by=["arm"])
    fit = mixed.fit(y, design.matrix, participant, contrasts=compared.rows, ddf="kenward-roger")
    change = (y[0, 1::2] - y[0, ::2]).reshape(2, 3)
    np.testing.assert_allclose(fit.estimate[0], change.mean(axis=0), rtol=1e-9)
    pooled = ((change - change.mean(axis=0)) ** 2).sum() / 3
    np.testing.assert_allclose(fit.se[0], np.sqrt(pooled / 2), rtol=1e-6)
    np.testing.assert_allclose(fit.df[0], 3.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"names": ["vist"]}, "Nearest that exist: 'visit'"),
        ({"names": ["other"]}, "not in the fixed part"),
        ({"names": ["visit"], "at": {"arm": ["A", "B"]}}, "held at 2 values"),
        ({"names": ["visit"], "at": {"dose": []}}, "held at 0 values"),
        ({"names": ["visit"], "at": {"dose": "high"}}, "finite number"),
        ({"names": ["visit"], "at": {"dose": float("nan")}}, "finite number"),
        ({"names": ["visit"], "at": {"arm": "Z"}}, "no such level"),
        ({"names": ["visit"], "at": {"visit": "late"}}, "No row used has"),
        ({"names": ["visit", "dose"], "at": {"dose": list(range(1, 20_000))}}, "more than 10,000"),
        ({"names": ["visit"], "weights": "flat"}, "no such weights"),
    ],
)
def test_refused(arguments: dict[str, Any], says: str) -> None:
    design = design_of("~ visit*arm*dose")
    with pytest.raises(FormulaError, match=says):
        marginal_means(design, TABLE, **arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"method": "tukey"}, "no such method"),
        ({"by": ["dose"]}, "no such column"),
        ({"by": ["visit", "arm"]}, "nothing to compare"),
        ({"method": "trt.vs.ctrl", "reference": "late A"}, "no such mean"),
    ],
)
def test_comparisons_refused(arguments: dict[str, Any], says: str) -> None:
    means = marginal_means(design_of("~ visit*arm"), TABLE, ["visit", "arm"])
    with pytest.raises(FormulaError, match=says):
        means.contrasts(**arguments)


def test_no_names_give_the_overall_mean() -> None:
    design = design_of("~ visit + dose")
    means = marginal_means(design, TABLE, [])
    assert means.labels == ("",)
    np.testing.assert_allclose(means.rows, [[1, 0.5, TABLE["dose"].mean()]], rtol=1e-15)


FORMULAS = [
    "~ visit * dose",
    "~ visit * dose * arm",
    "~ C(visit, sum) * arm + sex",
    "~ C(visit, helmert) * dose",
    "~ 0 + visit + visit:dose",
    "~ visit:dose + visit",
    "~ visit:sex + dose",
    "~ 0 + visit:arm",
    "~ arm + visit:arm",
    "~ 0 + arm:visit + dose:visit",
]
TEXTS = {
    "on - pre": True,
    "pre - on": True,
    "(on - pre at dose = 9) - (on - pre at dose = 1)": True,
    "(arm: B - A at on) - (arm: B - A at pre)": True,
    "0.5 * (on - pre at arm = A) + 0.5 * (on - pre at arm = C)": True,
    "(on at dose = 9) - (pre at dose = 1)": False,
    "(on at arm = B) - (pre at arm = A)": False,
    "dose: 9 - 1 at on": False,
    "dose: 9 - 1": False,
    "arm: B - A at on": False,
    "sex: F - M": False,
}


def shared_by_visits(design: Design) -> np.ndarray:
    """Differences of the rows between visits, all else the same: what they span is within participants."""
    return np.asarray(design.rows(TABLE.assign(visit="on")) - design.rows(TABLE.assign(visit="pre")))


@pytest.mark.parametrize("formula", FORMULAS)
def test_within_participants_whatever_the_coding(formula: str) -> None:
    """By the sum of coefficients over visits, and by the span of differences between visits."""
    design = design_of(formula)
    between = shared_by_visits(design)
    decided = 0
    for text, expected in TEXTS.items():
        try:
            vector = contrast_vector(design, TABLE, text)
        except FormulaError:
            continue
        fitted, *_ = np.linalg.lstsq(between.T, vector, rcond=None)
        spanned = np.allclose(between.T @ fitted, vector, atol=1e-9)
        assert is_within(design, vector) == spanned == expected, text
        decided += 1
    assert decided >= 4


def test_marginal_means_are_not_within() -> None:
    for formula in FORMULAS:
        design = design_of(formula)
        for row in marginal_means(design, TABLE, ["visit"]).rows:
            assert not is_within(design, row)


def test_within_needs_the_factor() -> None:
    design = design_of("~ arm + dose")
    assert not is_within(design, contrast_vector(design, TABLE, "arm: B - A"))
    assert not is_within(design, np.zeros(4))
    assert is_within(design, contrast_vector(design, TABLE, "arm: B - A"), factor="arm")


@pytest.mark.parametrize("vector", [[1.0, 2.0], [np.nan, 0, 0, 0], [[0, 0, 0, 1.0]]])
def test_within_refuses_what_is_no_contrast(vector: Any) -> None:
    with pytest.raises(FormulaError, match="4 finite coefficients"):
        is_within(design_of("~ arm + dose"), vector)


def test_proportional_means_of_a_saturated_design_are_raw_means() -> None:
    """With no number in the model, the proportional mean over balanced visits is the plain mean."""
    design = design_of("~ visit*arm*sex")
    y = np.arange(len(TABLE), dtype=float) ** 1.5
    coefficients, *_ = np.linalg.lstsq(design.matrix, y, rcond=None)
    means = marginal_means(design, TABLE, ["visit"], weights="proportional").rows @ coefficients
    raw = pd.Series(y).groupby(TABLE["visit"]).mean()
    np.testing.assert_allclose(means, [raw["pre"], raw["on"]], rtol=1e-12)
