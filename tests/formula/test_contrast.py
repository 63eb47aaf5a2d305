"""Contrasts of levels: how they are read, and their coefficients against R's emmeans."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from formula_golden import GOLDEN, golden_table
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker.errors import FormulaError
from pdbiomarker.formula import Contrast, contrast_vector, design_matrix, parse, parse_contrast

CASES: list[dict[str, Any]] = json.loads((GOLDEN / "contrasts.json").read_text(encoding="utf-8"))
VISITS = ["screening", "C1D1", "C1D15", "C2D1", "Cycle 2 Day 1", "pre-dose", "pre", "dose", "C2 at rest"]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['formula']}: {case['contrast']}" for case in CASES])
def test_equals_emmeans(case: dict[str, Any]) -> None:
    """Coefficients to 1e-12, estimate and standard error to 1e-9: emmeans 1.8.4 on lm (make_formula.R)."""
    table = golden_table()
    design = design_matrix(parse(case["formula"]), table, levels={"visit": ["screening", "C1D15", "C2D1"]})
    vector = contrast_vector(design, table, case["contrast"])
    np.testing.assert_allclose(vector, np.array(case["vector"]), rtol=1e-12, atol=1e-12)
    X = design.matrix
    n, rank = len(X), np.linalg.matrix_rank(X)
    y = np.arange(1, n + 1) + np.sin(np.arange(1, n + 1))
    coefficients, *_ = np.linalg.lstsq(X, y, rcond=None)
    assert vector @ coefficients == pytest.approx(case["estimate"], rel=1e-9)
    residual = y - X @ coefficients
    variance = residual @ residual / (n - rank) * (vector @ np.linalg.pinv(X.T @ X) @ vector)
    assert np.sqrt(variance) == pytest.approx(case["se"], rel=1e-9)


def test_enough_cases() -> None:
    assert len(CASES) >= 8


@pytest.mark.parametrize(
    ("text", "minuend", "subtrahend"),
    [
        ("C2D1 - screening", "C2D1", "screening"),
        ("  C2D1-screening\n", "C2D1", "screening"),
        ("C1D15 - C1D1", "C1D15", "C1D1"),
        ("C1D1 - C1D15", "C1D1", "C1D15"),
        ("Cycle 2 Day 1 - pre-dose", "Cycle 2 Day 1", "pre-dose"),
        ("pre-dose - pre", "pre-dose", "pre"),
        ("pre-dose-pre", "pre-dose", "pre"),
        ("pre - pre-dose", "pre", "pre-dose"),
        ("pre-dose", "pre", "dose"),
        ('`pre-dose` - "dose"', "pre-dose", "dose"),
        ("C2 at rest - pre", "C2 at rest", "pre"),
    ],
)
def test_levels_are_found_whatever_they_hold(text: str, minuend: str, subtrahend: str) -> None:
    assert parse_contrast(text, VISITS) == Contrast(minuend, subtrahend)


def test_columns_held() -> None:
    contrast = parse_contrast('C2D1 - screening at dose_mg = 100 , `the arm`="A, B", sex=F', VISITS)
    assert contrast.at == (("dose_mg", "100"), ("the arm", "A, B"), ("sex", "F"))
    assert parse_contrast("pre - C2 at rest at sex = F", VISITS).subtrahend == "C2 at rest"
    assert parse_contrast("pre - C2 at rest", ["pre", "C2", "C2 at rest"]).subtrahend == "C2 at rest"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("C2D2 - screening", "Nearest that exist: 'C2D1'"),
        ("C2D1 - screning", "Nearest that exist: 'screening'"),
        ("C2D1 - screning at dose = 1", "Nearest that exist: 'screening'"),
        ("C2D1", "Expected '-'"),
        ("C2D1 screening", "no ' - '"),
        ("C2D1 -", "Expected a level"),
        ("- screening", "Expected a level"),
        ("", "no ' - '"),
        ("C2D1 - C2D1", "minus itself"),
        ("C2D1 - screening - pre", "sum to -1"),
        ("(C2D1 + pre)/3 - screening", "sum to -0.333333"),
        ("C2D1 - screening at", "Expected the name"),
        ("C2D1 - screening at  ", "Expected the name"),
        ("C2D1 - screening at dose", "Expected '='"),
        ("C2D1 - screening at dose = ", "Expected a value"),
        ("C2D1 - screening at = 4", "Expected the name"),
        ("C2D1 - screening at dose = 4,", "Expected the name"),
        ("C2D1 - screening at dose = 4 = 5", "Expected ','"),
        ("C2D1 - screening at dose = 4, dose = 5", "held twice"),
        ("C2D1 - screening\x00", "invisible character"),
        ("x" * 20_000, "at most 10,000"),
        ("__import__('os').system('true') - screening", "no such level"),
    ],
)
def test_refused(text: str, says: str) -> None:
    with pytest.raises(FormulaError, match=says) as caught:
        parse_contrast(text, VISITS)
    assert str(caught.value.problems[0].column).startswith("position ")


def test_two_readings_are_refused() -> None:
    levels = ["a", "a-b", "b-c", "c"]
    with pytest.raises(FormulaError, match="more than one way"):
        parse_contrast("a-b-c", levels)
    assert parse_contrast("`a`-b-c", levels) == Contrast("a", "b-c")
    assert parse_contrast("a-b-`c`", levels) == Contrast("a-b", "c")


TABLE = pd.DataFrame(
    {
        "visit": ["pre", "on", "pre", "on", "pre", "on"],
        "arm": ["A", "A", "B", "B", "C", "C"],
        "dose": [1.0, 1.0, 2.0, 2.0, 9.0, 9.0],
        "week": [0, 3, 0, 3, 0, 3],
        "other": [1.0, 2.0, 3.0, 4.0, 5.0, 7.0],
    }
)
LEVELS = {"visit": ["pre", "on", "late"]}


@pytest.mark.parametrize(
    ("formula", "text", "factor", "says"),
    [
        ("~ visit", "late - pre", "visit", "No row used has 'late' as visit"),
        ("~ arm", "on - pre", "visit", "is not in the formula"),
        ("~ week", "3 - 0", "week", "is a number"),
        ("~ visit*dose", "on - pre at other = 1", "visit", "not in the fixed part"),
        ("~ visit*dose", "on - pre at visit = pre", "visit", "is the factor compared"),
        ("~ visit*dose", "on - pre at dose = high", "visit", "finite number"),
        ("~ visit*dose", "on - pre at dose = 1e999", "visit", "finite number"),
        ("~ visit*dose", "on - pre at dose = inf", "visit", "finite number"),
        ("~ visit*log(dose)", "on - pre at dose = 0", "visit", "cannot be taken"),
        ("~ visit*arm", "on - pre at arm = D", "visit", "no such level"),
        ("~ visit*C(dose)", "on - pre at dose = 4", "visit", "no such level"),
    ],
)
def test_contrasts_that_do_not_fit(formula: str, text: str, factor: str, says: str) -> None:
    design = design_matrix(parse(formula), TABLE, levels=LEVELS)
    with pytest.raises(FormulaError, match=says):
        contrast_vector(design, TABLE, text, factor=factor)


def test_another_table_is_refused() -> None:
    design = design_matrix(parse("~ visit*dose"), TABLE, levels=LEVELS)
    with pytest.raises(FormulaError, match="made of 6 rows"):
        contrast_vector(design, TABLE.iloc[:4], "on - pre")


def test_a_number_as_factor_is_averaged_over_its_levels() -> None:
    """`C(dose)` gives its levels equal weight; beside it, `dose` takes the same values (worked by hand)."""
    design = design_matrix(parse("~ visit*dose + C(dose)"), TABLE, levels=LEVELS)
    assert design.names == ("(Intercept)", "visiton", "dose", "C(dose)2", "C(dose)9", "visiton:dose")
    np.testing.assert_allclose(contrast_vector(design, TABLE, "on - pre"), [0, 1, 0, 0, 0, 4.0], atol=1e-15)
    held = contrast_vector(design, TABLE, "on - pre at dose = 9.0")
    np.testing.assert_allclose(held, [0, 1, 0, 0, 0, 9.0], atol=1e-15)


def test_two_variables_of_one_column_move_together() -> None:
    """E[x * log2(x)] over the levels of x, not E[x] E[log2(x)] (worked by hand)."""
    design = design_matrix(parse("~ C(dose) + visit:dose:log2(dose) + visit"), TABLE, levels=LEVELS)
    vector = dict(zip(design.names, contrast_vector(design, TABLE, "on - pre"), strict=True))
    expected = (0 + 2 + 9 * np.log2(9)) / 3
    assert vector["visiton:dose:log2(dose)"] == pytest.approx(expected, rel=1e-14)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4, unique=True), st.text(max_size=30))
def test_random_text_is_read_or_refused(levels: list[str], text: str) -> None:
    for candidate in (text, f"{levels[0]} - {levels[-1]}", f"{levels[0]} - {levels[-1]} at {text}"):
        try:
            contrast = parse_contrast(candidate, levels)
        except FormulaError:
            continue
        assert {contrast.minuend, contrast.subtrahend} <= set(levels)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.1, 100), min_size=6, max_size=6, unique=True),
    st.sampled_from(
        ["~ visit*dose", "~ visit*scale(dose)", "~ 0 + visit*arm", "~ C(visit, helmert)*dose + arm"]
    ),
)
def test_swapping_the_levels_negates(doses: list[float], formula: str) -> None:
    table = TABLE.assign(dose=doses)
    design = design_matrix(parse(formula), table)
    there = contrast_vector(design, table, "on - pre")
    np.testing.assert_array_equal(there, -contrast_vector(design, table, "pre - on"))
