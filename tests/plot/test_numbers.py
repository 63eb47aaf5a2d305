"""Formatting: oracle values written by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdbiomarker.plot.numbers import (
    format_interval,
    format_number,
    format_p,
    format_words,
    p_equals,
    p_name,
    smallest_exact_p,
)
from pdbiomarker.plot.style import figure, linear_axis


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (0.0, "0"),
        (7, "7"),
        (12345, "12,345"),
        (1234.5, "1,234"),
        (999.7, "1,000"),
        (2.0951, "2.10"),
        (9.996, "10.0"),
        (-0.5, "−0.500"),
        (0.000123, "0.000123"),
        (0.00001234, "1.23e−5"),
        (3.2e17, "3.20e17"),
    ],
)
def test_numbers_have_three_significant_digits(value: float | None, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0028328901, "0.0028"),
        (0.04962, "0.0496"),
        (0.0504, "0.0504"),
        (0.3, "0.30"),
        (0.000099, "< 0.0001"),
        (0.0001, "0.00010"),
        (0.0, "< 0.0001"),
        (0.995, "> 0.99"),
        (1.0, "> 0.99"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_p_values_have_a_floor_and_show_the_side_of_05(p: float | None, text: str) -> None:
    assert format_p(p) == text


@given(st.floats(min_value=1e-4, max_value=0.99))
def test_a_written_p_never_changes_side(p: float) -> None:
    written = float(format_p(p))
    assert written == pytest.approx(p, rel=0.06)
    if abs(p - 0.05) > 6e-5:
        assert (written < 0.05) == (p < 0.05)


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_a_written_number_is_right_to_three_digits(value: float) -> None:
    written = float(format_number(value).replace(",", "").replace("−", "-"))
    assert written == pytest.approx(value, rel=5.1e-3)


def test_intervals_and_names() -> None:
    assert format_interval(1.4, 3.2) == "1.40 to 3.20"
    assert format_interval(math.nan, 3.2) == "–"
    assert p_equals("Holm p", 0.0028) == "Holm p = 0.0028"
    assert p_equals("BH q", 1e-9) == "BH q < 0.0001"
    assert [p_name(a) for a in ("holm", "bh", None, "none", "x")] == ["Holm p", "BH q", "p", "p", "x p"]


def test_words_have_the_signs_of_print() -> None:
    assert (
        format_words("r -0.5 (-3 to -.2), p <= 0.05, >= 2 of 101-005, 95%")
        == "r −0.5 (−3 to −.2), p ≤ 0.05, ≥ 2 of 101-005, 95 %"
    )


def test_a_linear_axis_writes_every_number_below_zero_with_a_minus() -> None:
    ax = figure(3, 3).add_subplot()
    ax.set_ylim(-4000, 4000)
    linear_axis(ax, "y")
    told = ax.yaxis.get_major_formatter()
    assert [told(v, 0) for v in (-2500.0, -999.5, -0.5, 0.0, 2500.0)] == [
        "−2,500",
        "−999.5",
        "−0.5",
        "0",
        "2,500",
    ]


def test_trap_31_smallest_exact_p_is_that_of_sign_flips() -> None:
    assert [smallest_exact_p(n) for n in (0, 1, 2, 5, 6)] == [1.0, 1.0, 0.5, 0.0625, 0.03125]
