"""Design matrices against R's model.matrix, and what a table may not be."""

from __future__ import annotations

import copy
import json
import pickle  # noqa: TID251
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from formula_golden import GOLDEN, golden_table

from pdbiomarker.errors import FormulaError
from pdbiomarker.formula import MAX_COLUMNS, design_matrix, parse
from pdbiomarker.formula.coding import MAX_POLY_LEVELS, contrast_matrix

CASES: list[dict[str, Any]] = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))
LEVELS = {"visit": ["screening", "C1D15", "C2D1"]}


def small(**columns: list[object]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame({name: pd.Series(values) for name, values in columns.items()}).set_index(
        pd.Index([f"B{i + 1}" for i in range(n)])
    )


def refused(text: str, table: pd.DataFrame, **options: Any) -> str:
    with pytest.raises(FormulaError) as caught:
        design_matrix(parse(text), table, **options)
    return str(caught.value)


def test_enough_cases() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=[case["formula"] for case in CASES])
def test_equals_model_matrix(case: dict[str, Any]) -> None:
    """Names exactly, values to 1e-12, rows exactly: R 4.2.2 model.matrix (golden/formula/make_formula.R)."""
    design = design_matrix(parse(case["formula"]), golden_table(), levels=LEVELS)
    assert list(design.names) == case["names"]
    assert list(np.flatnonzero(design.rows_used) + 1) == case["rows"]
    np.testing.assert_allclose(design.matrix, np.array(case["matrix"], dtype=float), rtol=1e-12, atol=1e-12)
    assert len(design.term_of_column) == len(design.names)


def test_equals_model_matrix_on_random_formulas() -> None:
    """Names exactly, weighted sums of columns and of their squares to 1e-11, from the same R script."""
    cases = json.loads((GOLDEN / "random.json").read_text(encoding="utf-8"))
    table = golden_table()
    assert len(cases) > 200
    for case in cases:
        design = design_matrix(parse(case["formula"]), table, levels=LEVELS)
        assert list(design.names) == case["names"], case["formula"]
        rows = np.arange(1, len(design.matrix) + 1)
        np.testing.assert_allclose(rows @ design.matrix, case["first"], rtol=1e-11, atol=1e-9)
        np.testing.assert_allclose(rows @ design.matrix**2, case["second"], rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=[case["formula"] for case in CASES])
def test_rows_repeat_the_design(case: dict[str, Any]) -> None:
    """Coding the used rows again, one at a time and in another order, gives the same numbers exactly."""
    table = golden_table()
    design = design_matrix(parse(case["formula"]), table, levels=LEVELS)
    used = table[design.rows_used]
    np.testing.assert_array_equal(design.rows(used), design.matrix)
    np.testing.assert_array_equal(design.rows(used.iloc[::-1]), design.matrix[::-1])
    np.testing.assert_array_equal(design.rows(used.iloc[[5]]), design.matrix[[5]])


@pytest.mark.parametrize("k", range(2, MAX_POLY_LEVELS + 1))
def test_polynomials(k: int) -> None:
    """R's contr.poly to 1e-9 (its own QR is not exact at high degrees); orthonormal to 1e-12."""
    expected = json.loads((GOLDEN / "polynomials.json").read_text(encoding="utf-8"))[k - 2]
    found = contrast_matrix("poly", k)
    np.testing.assert_allclose(found, np.array(expected), atol=1e-9)
    np.testing.assert_allclose(found.T @ found, np.eye(k - 1), atol=1e-12)


def test_missing_rows_are_reported() -> None:
    table = small(
        visit=["a", None, "b", "a"], x=[1.0, 2.0, np.nan, 4.0], g=["1", None, "2", "2"], h=["u"] * 4
    )
    design = design_matrix(parse("~ x + (1|g/h)"), table)
    assert design.rows_used.tolist() == [True, False, False, True]
    assert [(m.row, m.column) for m in design.missing] == [("B2", "g"), ("B3", "x")]
    assert design.groups["g"].tolist() == ["1", "2"]
    assert design.groups["g:h"].tolist() == ["1:u", "2:u"]


def test_group_labels_never_collide() -> None:
    table = small(a=["p:q", "p", "p\\"], b=["r", "q:r", ":q"], x=[1.0, 2.0, 3.0])
    assert len(set(design_matrix(parse("~ x + (1|a:b)"), table).groups["a:b"])) == 3


def test_whole_numbers_stay_distinct_as_labels() -> None:
    table = small(g=[2**53, 2**53 + 1, 100000], x=[1.0, 2.0, 3.0])
    groups = design_matrix(parse("~ x + (1|g)"), table).groups["g"].tolist()
    assert groups == ["9007199254740992", "9007199254740993", "100000"]
    assert design_matrix(parse("~ C(x)"), table).names == ("(Intercept)", "C(x)2", "C(x)3")


def test_many_unknown_columns_against_a_wide_table() -> None:
    table = pd.DataFrame(np.ones((2, 3000)), columns=[f"column{i}" for i in range(3000)])
    start = time.process_time()
    message = refused("~ " + "+".join(f"v{i}" for i in range(199)), table)
    assert time.process_time() - start < 1.0
    assert message.startswith("199 problems")


def test_aliases_of_the_keys() -> None:
    table = small(participant=["1", "2"], x=[1.0, 2.0])
    assert design_matrix(parse("~ x + (1|participant_id)"), table).groups["participant"].tolist() == [
        "1",
        "2",
    ]
    renamed = table.rename(columns={"participant": "participant_id"})
    assert design_matrix(parse("~ x + (1|participant)"), renamed).groups["participant"].tolist() == ["1", "2"]


def test_level_order() -> None:
    table = small(v=["b", "a", "c"], c=pd.Categorical(["z", "y", "z"], ["z", "y", "unused"]))  # type: ignore[arg-type]
    assert design_matrix(parse("~ v"), table).names == ("(Intercept)", "vb", "vc")
    assert design_matrix(parse("~ v"), table, levels={"v": ["c", "b", "a"]}).names == (
        "(Intercept)",
        "vb",
        "va",
    )
    design = design_matrix(parse("~ c"), table, levels={"nothing": ["x"]})
    assert design.levels["c"] == ("z", "y")
    assert design.dropped_levels["c"] == ("unused",)


def test_categories_that_are_not_text() -> None:
    table = small(n=pd.Categorical([10, 2, 10], [10, 2]), t=pd.Categorical([True, False, True]))  # type: ignore[arg-type]
    design = design_matrix(parse("~ n + t"), table)
    assert design.names == ("(Intercept)", "n2", "tTRUE")
    assert design.levels["n"] == ("10", "2")


def test_texts_that_look_like_numbers_stay_text() -> None:
    table = small(v=["007", "1E5", "NA", "TRUE"])
    assert design_matrix(parse("~ 0 + v"), table).names == ("v007", "v1E5", "vNA", "vTRUE")


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "float32", "int8", "object"])
def test_numbers_of_any_dtype(dtype: str) -> None:
    table = small(x=[1, 2, 3], y=["a", "b", "a"]).astype({"x": dtype})
    np.testing.assert_array_equal(design_matrix(parse("~ x"), table).matrix[:, 1], [1.0, 2.0, 3.0])


def test_truth_with_missing_values() -> None:
    table = small(t=pd.array([True, None, False], dtype="boolean"))  # type: ignore[arg-type]
    design = design_matrix(parse("~ t"), table)
    assert design.names == ("(Intercept)", "tTRUE")
    assert design.matrix[:, 1].tolist() == [1.0, 0.0]


def test_parameters_come_from_the_rows_used() -> None:
    table = small(x=[1.0, 3.0, 50.0, 8.0], v=["a", "b", None, "a"])
    design = design_matrix(parse("~ v + scale(x) + center(log2(x))"), table)
    kept = np.array([1.0, 3.0, 8.0])
    assert design.transforms["scale(x)"] == pytest.approx(
        {"center": kept.mean(), "scale": kept.std(ddof=1)}, rel=1e-14
    )
    assert design.transforms["center(log2(x))"]["center"] == pytest.approx(np.log2(kept).mean(), rel=1e-14)
    new = design.rows(small(x=[100.0], v=["b"]))
    np.testing.assert_allclose(new[0, 2], (100 - kept.mean()) / kept.std(ddof=1), rtol=1e-14)


def test_unknown_columns_are_all_named() -> None:
    message = refused(
        "~ vist + dse_mg + (1|particpant)", small(visit=["a", "b"], dose_mg=[1, 2], participant=["1", "2"])
    )
    assert message.startswith("3 problems")
    for name in ("'visit'", "'dose_mg'", "'participant'"):
        assert f"Nearest that exist: {name}" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("~ one", "only the level 'a'"),
        ("~ 0 + one", "only the level 'a'"),
        ("~ yes", "only the level 'TRUE'"),
        ("~ C(k)", "only the level '4'"),
        ("~ one + yes", "2 problems"),
        ("~ log(z)", "cannot be taken in row 'B2' (and 1 more)"),
        ("~ log2(z)", "Found: '0'"),
        ("~ sqrt(n)", "cannot be taken in row 'B3'"),
        ("~ log(v)", "takes numbers"),
        ("~ log10(center(x))", "cannot be taken in row 'B1'"),
        ("~ scale(k)", "no variation"),
        ("~ i", "is infinite in row 'B2'"),
        ("~ d", "holds datetime64 values"),
        ("~ m", "holds mixed"),
        ("~ hole", "'hole' misses 3"),
        ("~ C(v, treatment, base = X)", "no such level"),
        ("~ C(ids, poly) + v", None),
    ],
)
def test_columns_that_do_not_fit(text: str, says: str | None) -> None:
    table = small(
        one=["a", "a", "a"],
        yes=[True, True, True],
        k=[4, 4, 4],
        z=[1.0, 0.0, -1.0],
        n=[0.0, 4.0, -1.0],
        v=["a", "b", "a"],
        x=[1.0, 2.0, 3.0],
        i=[1.0, np.inf, 2.0],
        d=list(pd.to_datetime(["2025-01-01", "2025-01-02", "2025-01-03"])),
        m=["a", 1, 2.5],
        hole=[None, None, None],
        ids=["1", "2", "3"],
    )
    if says is None:
        assert len(design_matrix(parse(text), table).names) == 4
    else:
        assert says in refused(text, table)


def test_levels_that_are_not_listed_are_refused() -> None:
    message = refused("~ v", small(v=["a", "b", "A"]), levels={"v": ["a", "b"]})
    assert "row 'B3'" in message
    assert "Nearest that exist: 'a'" in message


def test_too_many_polynomials_and_columns() -> None:
    names = [f"s{i:03d}" for i in range(60)]
    table = small(a=names, b=names, x=list(range(60)))
    assert "at most 15 levels" in refused("~ C(a, poly)", table)
    assert f"over {MAX_COLUMNS:,} columns" in refused("~ a*b", table)
    assert "No row of 0" in refused("~ x", table.iloc[:0])


def test_two_columns_of_one_name() -> None:
    table = pd.DataFrame([[1.0, 2.0], [2.0, 3.0]], columns=["x", "x"])
    assert "several columns 'x'" in refused("~ x", table)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"v": ["c"]}, "not one of its levels"),
        ({"v": [None]}, "no value in row 'B1'"),
        ({"x": [np.nan]}, "no value in row 'B1'"),
        ({"x": ["4"]}, "must hold numbers"),
        ({"v": [1.0]}, "must hold labels"),
        ({"x": [-1.0]}, "cannot be taken in row 'B1'"),
    ],
)
def test_new_rows_that_do_not_fit(change: dict[str, list[object]], says: str) -> None:
    design = design_matrix(parse("~ v + log(x)"), small(v=["a", "b", "a"], x=[1.0, 2.0, 3.0]))
    with pytest.raises(FormulaError, match=says):
        design.rows(small(**({"v": ["a"], "x": [1.0]} | change)))
    with pytest.raises(FormulaError, match="no column 'x'"):
        design.rows(small(v=["a"]))


def test_the_input_is_left_alone_and_the_design_is_frozen() -> None:
    table = small(v=["a", "b", None], x=[1.0, 2.0, 3.0], g=["1", "2", "3"])
    before = table.copy(deep=True)
    design = design_matrix(parse("~ v*x + (1|g)"), table)
    pd.testing.assert_frame_equal(table, before)
    with pytest.raises(ValueError, match="read-only"):
        design.matrix[0, 0] = 2.0
    with pytest.raises(TypeError):
        design.levels["v"] = ()  # type: ignore[index]


def test_a_formula_crosses_processes() -> None:
    formula = parse("~ visit * log2(`dose mg`) + (1|participant/biopsy)")
    assert pickle.loads(pickle.dumps(formula)) == formula  # noqa: S301
    assert copy.deepcopy(formula) == formula


def test_order_of_rows_and_unused_columns_do_not_matter() -> None:
    table = golden_table()
    formula = parse("~ visit * scale(age) + C(site, helmert) + marker")
    design = design_matrix(formula, table, levels=LEVELS)
    reverse = design_matrix(formula, table.iloc[::-1].drop(columns=["arm", "sex"]), levels=LEVELS)
    assert reverse.names == design.names
    np.testing.assert_allclose(reverse.matrix[::-1], design.matrix, rtol=0, atol=1e-13)
