"""Contrasts beyond one level minus another: how they are read, and their coefficients against R's emmeans."""

from __future__ import annotations

import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from formula_golden import GOLDEN, LEVELS, ORDER, TABLE, golden_design, least_squares
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker.errors import FormulaError
from pdbiomarker.formula import (
    Cell,
    Contrast,
    Design,
    Setting,
    contrast_vector,
    design_matrix,
    parse,
    parse_contrast,
    read_contrast,
)

CASES: list[dict[str, Any]] = json.loads((GOLDEN / "contrasts_general.json").read_text(encoding="utf-8"))
COLUMNS = {"dose_mg": None, "cohort": ["A", "B", "C", "anti-PD-1"], "sex": ["F", "M"], "LDH (U/L)": None}


def cells(contrast: Contrast) -> dict[tuple[str, ...], float]:
    return {tuple(f"{s.column}={s.value}" for s in cell.settings): cell.weight for cell in contrast.cells}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['formula']}: {case['contrast']}" for case in CASES])
def test_equals_emmeans(case: dict[str, Any]) -> None:
    """Coefficients to 1e-12, estimate and standard error to 1e-9: emmeans 1.8.4 (make_contrasts.R)."""
    design, table = golden_design(case["formula"])
    vector = contrast_vector(design, table, case["contrast"], weights=case["weights"])
    np.testing.assert_allclose(vector, np.array(case["vector"]), rtol=1e-12, atol=1e-12)
    estimate, se = least_squares(design, vector[None, :])
    assert estimate[0] == pytest.approx(case["estimate"], rel=1e-9)
    assert se[0] == pytest.approx(case["se"], rel=1e-9)


def test_enough_cases() -> None:
    assert len(CASES) >= 25
    assert sum(case["weights"] == "proportional" for case in CASES) >= 6


@pytest.mark.parametrize(
    ("text", "expected", "visits"),
    [
        (
            "dose_mg: 10 - 3 at C2D1",
            {("dose_mg=10", "visit=C2D1"): 1, ("dose_mg=3", "visit=C2D1"): -1},
            ["C2D1"],
        ),
        ("dose_mg:1e1--3", {("dose_mg=1e1",): 1, ("dose_mg=-3",): -1}, ORDER),
        ("`LDH (U/L)`: 250 - 100", {("LDH (U/L)=250",): 1, ("LDH (U/L)=100",): -1}, ORDER),
        ("LDH (U/L): 250 - 100", {("LDH (U/L)=250",): 1, ("LDH (U/L)=100",): -1}, ORDER),
        ("cohort: anti-PD-1 - A", {("cohort=anti-PD-1",): 1, ("cohort=A",): -1}, ORDER),
        (
            "cohort: B - A at C2D1, sex = F",
            {("cohort=B", "visit=C2D1", "sex=F"): 1, ("cohort=A", "visit=C2D1", "sex=F"): -1},
            ["C2D1"],
        ),
        (
            "(C2D1 - screening at dose_mg = 10) - (C2D1 - screening at dose_mg = 3)",
            {
                ("visit=C2D1", "dose_mg=10"): 1,
                ("visit=screening", "dose_mg=10"): -1,
                ("visit=C2D1", "dose_mg=3"): -1,
                ("visit=screening", "dose_mg=3"): 1,
            },
            ["screening", "C2D1"],
        ),
        (
            "0.5 * (cohort: A - B) + 0.5 * (cohort: C - B) at visit = 'C1D15'",
            {
                ("cohort=A", "visit=C1D15"): 0.5,
                ("cohort=B", "visit=C1D15"): -1,
                ("cohort=C", "visit=C1D15"): 0.5,
            },
            ["C1D15"],
        ),
        (
            "(C1D15 + C2D1)/2 - screening",
            {("visit=C1D15",): 0.5, ("visit=C2D1",): 0.5, ("visit=screening",): -1},
            ORDER,
        ),
        (
            "1/3*screening + 1/3*C1D15 + 1/3*C2D1 - C2D1",
            {("visit=screening",): 1 / 3, ("visit=C1D15",): 1 / 3, ("visit=C2D1",): -2 / 3},
            ORDER,
        ),
        ("-0.5 * C2D1 + screening/2", {("visit=C2D1",): -0.5, ("visit=screening",): 0.5}, None),
        ("- (C2D1 - screening)", {("visit=C2D1",): -1, ("visit=screening",): 1}, None),
        ("cohort: (B - A) + (C - A)", {("cohort=B",): 1, ("cohort=A",): -2, ("cohort=C",): 1}, ORDER),
        ("2 * (C2D1 - screening) / 4", {("visit=C2D1",): 0.5, ("visit=screening",): -0.5}, None),
        (
            "(cohort: B - A) - (C2D1 - screening)",
            {("cohort=B",): 1, ("cohort=A",): -1, ("visit=C2D1",): -1, ("visit=screening",): 1},
            ORDER,
        ),
    ],
)
def test_read(text: str, expected: dict[tuple[str, ...], float], visits: list[str] | None) -> None:
    contrast = parse_contrast(text, ORDER, columns=COLUMNS)
    assert cells(contrast) == expected
    assert contrast.text == text
    assert list(contrast.visits) == (visits or ["screening", "C2D1"])


def test_one_level_minus_another_however_written() -> None:
    plain = parse_contrast("C2D1 - screening at dose_mg = 10", ORDER)
    assert plain == parse_contrast("(C2D1 at dose_mg = 10) - (screening at dose_mg = 10)", ORDER)
    assert plain == parse_contrast("-(screening - C2D1) at dose_mg = 10", ORDER)
    assert plain.is_difference
    assert plain.cells[0] == Cell(1.0, (Setting("visit", "C2D1"), Setting("dose_mg", "10")))
    dose = parse_contrast("(C2D1 at dose_mg = 10) - (C2D1 at dose_mg = 3)", ORDER)
    assert (dose.factor, dose.minuend, dose.subtrahend, dose.at) == (
        "dose_mg",
        "10",
        "3",
        (("visit", "C2D1"),),
    )
    slope = parse_contrast("(C2D1 - screening at sex = F) - (C2D1 - screening at sex = M)", ORDER)
    assert not slope.is_difference
    assert (slope.minuend, slope.subtrahend, slope.factor, slope.at) == ("", "", "", ())


def test_visits_stand_in_the_order_of_the_study() -> None:
    assert parse_contrast("C2D1 - screening", ORDER).visits == ("screening", "C2D1")
    assert parse_contrast("screening - C2D1", ORDER).visits == ("screening", "C2D1")
    assert parse_contrast("cohort: B - A", ORDER).visits == tuple(ORDER)
    assert parse_contrast("B - A at visit = C1D15", ["A", "B"], factor="cohort").visits == ("C1D15",)
    assert Contrast("C2D1", "screening").visits == ("screening", "C2D1")


@pytest.mark.parametrize(
    "text",
    [
        "dose_mg: 10 - 3 at C2D1",
        "cohort: B - A at C2D1",
        "cohort: anti-PD-1 - A at C2D1",
        "cohort: `anti-PD-1`-A at visit=C2D1",
        "tumour type: TNBC - non-small cell lung (NSCLC) at C2D1",
        "(arm: B - A at C2D1, dose_mg = 10) - (arm: B - A at C2D1, dose_mg = 3)",
    ],
)
def test_columns_that_are_not_known_yet(text: str) -> None:
    """A plan is read before the columns are: names and levels are then taken as they stand."""
    assert parse_contrast(text, ORDER).visits == ("C2D1",)


def test_levels_of_columns_that_are_not_known_yet() -> None:
    contrast = parse_contrast("tumour type: TNBC - non-small cell lung (NSCLC) at C2D1", ORDER)
    assert (contrast.factor, contrast.subtrahend) == ("tumour type", "non-small cell lung (NSCLC)")
    assert parse_contrast("arm: B-A", ORDER).minuend == "B"


@pytest.mark.parametrize(
    ("text", "says", "position"),
    [
        ("C2D1 - screening - C1D15", "weights of the levels sum to -1", 1),
        ("C2D1 + screening", "sum to 2", 1),
        ("0.3 * C2D1 + 0.3 * C1D15 - screening", "sum to -0.4", 1),
        ("(C2D1 - screening", "'at' or '\\)'", 18),
        ("C2D1 - screening)", "closes none", 17),
        ("C2D1 - (screening at dose_mg = 3) + 1", "no such level", 37),
        ("0.5 (C2D1 - screening)", "Expected '\\*'", 5),
        ("0 * C2D1 - screening", "not zero", 1),
        ("(C2D1 - screening)/0", "not zero", 20),
        ("1/0 * (C2D1 - screening)", "not zero", 3),
        ("dos_mg: 10 - 3", "Nearest that exist: 'dose_mg'", 1),
        ("(cohrt: B - A)", "Nearest that exist: 'cohort'", 2),
        ("cohort: D - A", "no such level of 'cohort'", 9),
        ("cohort: C2D1 - screening", "no such level of 'cohort'", 9),
        ("dose_mg: high - low", "holds numbers", 10),
        ("dose_mg: 10 - low", "holds numbers", 15),
        ("dose_mg: 10 - 3 at C2D2", "Nearest that exist: 'C2D1'", 20),
        ("dose_mg: 10 - 3 at visit = C2D2", "Nearest that exist: 'C2D1'", 28),
        ("cohort: B - A at sex = X", "no such level", 24),
        ("cohort: B - A at cohort = A", "is the factor compared", 18),
        ("(C2D1 - screening at sex = F) - (C2D1 - screening) at sex = M", "held twice", 55),
        (
            "C2D1 - screening at dose_mg = 10 - (C2D1 - screening)",
            "put each part of a sum in parentheses",
            31,
        ),
        ("(C2D1 - screening) - (C2D1 - screening)", "minus itself", 1),
        ("dose_mg: 10", "Expected '-' and a second level", 12),
        ("dose_mg:", "Expected a level", 9),
        (": 10 - 3", "no such level", 1),
        ("()", "Expected a level", 2),
        ("C2D1 - ()", "Expected a level", 9),
        ("C2D1 \N{MINUS SIGN} screening", "not the sign", 6),
        ("C2D1 \N{EN DASH} screening", "not the sign", 6),
        ("C2D1 - screening 2", "no such level", 8),
        ("C2D1 - screening, sex = F", "'at' or the end", 17),
        ("(" * 21 + "C2D1 - screening" + ")" * 21, "at most 20 deep", 21),
        ("(" * 9_000, "at most 20 deep", 21),
        ("C2D1" + " - C2D1 + screening" * 200, "at most 200 levels", None),
        ("dose_mg: 10 - 3; import os", "no such|holds numbers|Expected", None),
        ("eval: 10 - 3", "not in the fixed part", 1),
        ("dose_mg: 10 ** 3 - 3", "Expected|holds numbers", None),
    ],
)
def test_refused_with_position(text: str, says: str, position: int | None) -> None:
    with pytest.raises(FormulaError, match=says) as caught:
        parse_contrast(text, ORDER, columns=COLUMNS)
    place = str(caught.value.problems[0].column)
    assert re.fullmatch("position [0-9]+", place)
    assert position is None or place == f"position {position}"


@pytest.mark.parametrize(
    "text", ["a" + "-a" * 120, "(" * 18 + "a" + "-a-a" * 300, "a" * 5_000, "a-" * 4_999 + "a"]
)
def test_texts_with_many_readings_end_soon(text: str) -> None:
    levels = ["a", "a-a", "a-a-a", "aa", "aaa"]
    started = time.process_time()
    with pytest.raises(FormulaError):
        parse_contrast(text, levels, columns={"a": ["a", "a-a"], "b": None})
    assert time.process_time() - started < 5


def test_two_readings_are_refused() -> None:
    levels = ["a", "a-b", "b", "b-c", "c"]
    with pytest.raises(FormulaError, match="more than one way"):
        parse_contrast("2 * (a-b-c) - (b - a)", ["a", "a-b", "b-c", "c", "b"])
    assert cells(parse_contrast("(`a`-b-c) - (`a`-`c`)", levels)) == {("visit=b-c",): -1, ("visit=c",): 1}
    with pytest.raises(FormulaError, match="more than one way"):
        parse_contrast("dose: 1 - 2", ["dose: 1", "2"], columns={"dose": None})
    assert parse_contrast("`dose: 1` - 2", ["dose: 1", "2"], columns={"dose": None}).factor == "visit"


def test_weights_of_levels_that_are_numbers() -> None:
    contrast = parse_contrast("2 * 2 - 2 * 1", ["1", "2"])
    assert cells(contrast) == {("visit=2",): 2, ("visit=1",): -2}


@pytest.mark.parametrize(
    ("formula", "text", "says"),
    [
        ("~ visit + dose", "(on - pre at dose = 9) - (on - pre at dose = 1)", "zero whatever the data"),
        ("~ visit*dose", "other: 2 - 1 at on", "'other' is not in the fixed part"),
        ("~ visit*arm", "arm: B - A at late", "No row used has 'late' as visit"),
        ("~ visit*arm", "arm: B - D at on", "no such level"),
        ("~ visit*log(dose)", "dose: 2 - 0 at on", "cannot be taken"),
        ("~ visit*dose", "dose: 1e999 - 0", "finite number"),
        ("~ visit*C(dose)", "dose: 4.5 - 1", "no such level"),
        ("~ arm + dose", "(arm: B - A) - (on - pre)", "no such level"),
    ],
)
def test_contrasts_that_do_not_fit(formula: str, text: str, says: str) -> None:
    design = design_matrix(parse(formula), TABLE, levels=LEVELS)
    with pytest.raises(FormulaError, match=says):
        contrast_vector(design, TABLE, text)


def test_visit_is_not_needed_when_no_visit_is_named() -> None:
    design = design_matrix(parse("~ arm + dose"), TABLE)
    assert list(contrast_vector(design, TABLE, "arm: C - B")) == [0, -1, 1, 0]
    assert list(contrast_vector(design, TABLE, "C - B", factor="arm")) == [0, -1, 1, 0]
    assert read_contrast(design, "arm: C - B").visits == ()


def test_numbers_under_c_are_levels() -> None:
    design = design_matrix(parse("~ visit + C(dose)"), TABLE)
    vector = dict(zip(design.names, contrast_vector(design, TABLE, "dose: 9.0 - 2"), strict=True))
    assert {name: value for name, value in vector.items() if value} == {"C(dose)9": 1, "C(dose)2": -1}


def test_unknown_weights_are_refused() -> None:
    design = design_matrix(parse("~ visit"), TABLE)
    with pytest.raises(FormulaError, match="no such weights"):
        contrast_vector(design, TABLE, "on - pre", weights="cells")  # type: ignore[arg-type]


def laid_out(design: Design, named: dict[str, Any], weights: str) -> np.ndarray:
    """The marginal mean by laying the grid out as a table: equal weight to levels, or to the rows used."""
    factors = {name: list(levels) for name, levels in design.levels.items() if name not in named}
    numbers = {name: TABLE[name].mean() for name in ("dose", "other") if name not in named}
    if weights == "equal":
        grid = pd.DataFrame(list(itertools.product(*factors.values())), columns=list(factors))
    else:
        grid = TABLE[list(factors)].copy()
    if not factors:
        grid = pd.DataFrame(index=[0])
    return np.asarray(design.rows(grid.assign(**numbers, **named)).mean(axis=0))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        ["~ visit*arm*dose", "~ visit*arm + sex*dose", "~ 0 + visit:sex + arm", "~ visit*sex*arm - arm"]
    ),
    st.sampled_from(["equal", "proportional"]),
    st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=2),
    st.sampled_from([1.5, 4.0]),
)
def test_equals_the_grid_laid_out(formula: str, weights: Any, scale: list[int], dose: float) -> None:
    design = design_matrix(parse(formula), TABLE, levels=LEVELS)
    first, second = scale
    text = f"{first} * (on - pre at arm = B) - {second} / 2 * (arm: C - A at on)"
    expected = first * (
        laid_out(design, {"visit": "on", "arm": "B"}, weights)
        - laid_out(design, {"visit": "pre", "arm": "B"}, weights)
    ) - second / 2 * (
        laid_out(design, {"arm": "C", "visit": "on"}, weights)
        - laid_out(design, {"arm": "A", "visit": "on"}, weights)
    )
    np.testing.assert_allclose(
        contrast_vector(design, TABLE, text, weights=weights), expected, rtol=1e-12, atol=1e-12
    )
    if "dose" in formula:
        np.testing.assert_allclose(
            contrast_vector(design, TABLE, f"dose: {dose} - 1 at on", weights=weights),
            laid_out(design, {"dose": dose, "visit": "on"}, weights)
            - laid_out(design, {"dose": 1.0, "visit": "on"}, weights),
            rtol=1e-12,
            atol=1e-12,
        )


_WORDS = "C2D1,screening,C1D15,cohort,A,B,dose_mg,sex,F,10,3,0.5,0,e9, at , ,\n"
_PIECES = st.sampled_from([*_WORDS.split(","), *':-+*/()=,`"'])


@settings(max_examples=400, deadline=None)
@given(st.lists(_PIECES, max_size=25).map("".join), st.booleans())
def test_random_text_is_read_or_refused(text: str, known: bool) -> None:
    try:
        contrast = parse_contrast(text, ORDER, columns=COLUMNS if known else None)
    except FormulaError:
        return
    assert abs(sum(cell.weight for cell in contrast.cells)) < 1e-12 * sum(
        abs(c.weight) for c in contrast.cells
    )
    assert set(contrast.visits) <= set(ORDER)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.tuples(st.sampled_from(ORDER), st.sampled_from(ORDER), st.sampled_from(["", "F", "M"])),
        lambda inner: st.tuples(
            st.sampled_from(["+", "-"]), st.sampled_from(["", "0.5", "2", "1/3"]), inner, inner
        ),
        max_leaves=6,
    )
)
def test_written_sums_mean_what_they_say(tree: Any) -> None:
    """Random trees of differences, written out and read back, have the weights worked out beside them."""

    def write(node: Any) -> tuple[str, dict[frozenset[str], float]]:
        if len(node) == 3:
            held = f" at sex = {node[2]}" if node[2] else ""
            found: dict[frozenset[str], float] = {}
            for level, sign in ((node[0], 1.0), (node[1], -1.0)):
                key = frozenset([f"visit={level}", *([f"sex={node[2]}"] if node[2] else [])])
                found[key] = found.get(key, 0.0) + sign
            return f"({node[0]} - {node[1]}{held})", found
        sign, weight, left, right = node
        (a, x), (b, y) = write(left), write(right)
        factor = {"": 1.0, "0.5": 0.5, "2": 2.0, "1/3": 1 / 3}[weight] * (1 if sign == "+" else -1)
        joined = {key: x.get(key, 0.0) + factor * y.get(key, 0.0) for key in {**x, **y}}
        return f"({a} {sign} {weight + ' * ' if weight else ''}{b})", joined

    text, expected = write(tree)
    expected = {key: value for key, value in expected.items() if abs(value) > 1e-9}
    if not expected:
        with pytest.raises(FormulaError, match="minus itself"):
            parse_contrast(text, ORDER, columns=COLUMNS)
        return
    found = {
        frozenset(f"{s.column}={s.value}" for s in cell.settings): cell.weight
        for cell in parse_contrast(text, ORDER, columns=COLUMNS).cells
    }
    assert found == pytest.approx(expected, rel=1e-12)


DOCS = (Path(__file__).parents[2] / "docs" / "contrasts.md").read_text(encoding="utf-8")
ASKED = DOCS.split("## What can be asked")[1].split("- A level that stands alone")[0]


@pytest.mark.parametrize("text", re.findall(r"^\| `([^`]+)` \|", ASKED, re.MULTILINE))
def test_what_the_docs_ask_can_be_asked(text: str) -> None:
    known = parse_contrast(text, ORDER, columns=COLUMNS)
    before = parse_contrast(text, ORDER)
    assert before == known
    assert before.visits == known.visits


def test_the_docs_examples_of_a_plan_and_an_error() -> None:
    plan = yaml.safe_load(DOCS.split("```yaml")[1].split("```")[0])
    assert len(plan["contrasts"]) == 5
    design = design_matrix(
        parse("~ visit * dose_mg + sex"), golden_design("~ visit")[1], levels={"visit": ORDER}
    )
    for text in plan["contrasts"].values():
        assert contrast_vector(design, golden_design("~ visit")[1], text).any()
    with pytest.raises(FormulaError) as caught:
        parse_contrast("dose_mg: 10 - 3 at C2D2", ORDER)
    shown = DOCS.split("```\n")[2].split("...")[0]
    told = caught.value.problems[0]
    for line in [*told.message.splitlines()[1:3], told.column, "Nearest that exist: 'C2D1'."]:
        assert str(line).strip() in shown


@pytest.mark.parametrize(
    "text",
    ["log2(dose_mg): 3 - 1", "C2D1 vs screening", "C2D1 - 2^3", "0.33 * C2D1 + 0.33 * C1D15 - screening"],
)
def test_what_the_docs_refuse(text: str) -> None:
    for columns in (COLUMNS, None):
        with pytest.raises(FormulaError):
            parse_contrast(text, ORDER, columns=columns)
