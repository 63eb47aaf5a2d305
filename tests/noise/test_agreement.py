"""Intraclass correlations against the published table and by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from pdbiomarker.errors import InputError
from pdbiomarker.noise import icc

#: Shrout and Fleiss 1979, table 2: six targets, four judges.
RATINGS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


@pytest.mark.parametrize(
    ("form", "value", "low", "high"),
    [
        # Values: Shrout and Fleiss 1979, table 4; limits: as R's psych::ICC prints for this table.
        ("ICC(1,1)", 0.17, -0.13, 0.72),
        ("ICC(2,1)", 0.29, 0.02, 0.76),
        ("ICC(3,1)", 0.71, 0.34, 0.95),
    ],
)
def test_the_published_table_is_reproduced(form, value, low, high):
    found = icc(RATINGS, form)
    assert (round(found.value, 2), round(found.low, 2), round(found.high, 2)) == (value, low, high)
    assert found.form == form
    assert (found.n_subjects, found.n_columns, found.n_left_out) == (6, 4, 0)


def test_a_shift_of_one_reader_lowers_agreement_and_leaves_consistency_alone():
    random = np.random.default_rng(2)
    table = random.normal(size=(15, 1)) + 0.4 * random.normal(size=(15, 2))
    shifted = table + np.array([0.0, 2.0])
    assert icc(shifted, "ICC(3,1)").value == pytest.approx(icc(table, "ICC(3,1)").value, abs=1e-12)
    assert icc(shifted, "ICC(2,1)").value < icc(table, "ICC(2,1)").value - 0.3


@pytest.mark.parametrize("form", ["ICC(1,1)", "ICC(2,1)", "ICC(3,1)"])
def test_limits_cover_the_truth(form):
    """95 % limits of 400 tables with a true correlation of .6 (readers without shifts: all forms agree)."""
    random = np.random.default_rng(11)
    inside = 0
    for _ in range(400):
        table = np.sqrt(0.6) * random.normal(size=(12, 1)) + np.sqrt(0.4) * random.normal(size=(12, 3))
        found = icc(table, form)
        inside += found.low <= 0.6 <= found.high
    assert 0.915 <= inside / 400 <= 0.985  # three Monte Carlo standard errors are .033


def test_a_subject_with_a_missing_value_is_left_out_and_counted():
    table = [[1.0, 1.2], [2.0, 2.1], [3.0, np.nan], [4.0, 4.4]]
    found = icc(table, "ICC(1,1)")
    assert (found.n_subjects, found.n_left_out) == (3, 1)
    assert found.value == icc([table[0], table[1], table[3]], "ICC(1,1)").value


def test_equal_replicates_agree_wholly():
    table = [[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]]
    assert [icc(table, f).value for f in ("ICC(1,1)", "ICC(2,1)", "ICC(3,1)")] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("values", "form", "column"),
    [
        (RATINGS, "ICC(4,1)", "form"),
        ([[1.0, 2.0]], "ICC(1,1)", "values"),
        ([[1.0], [2.0]], "ICC(1,1)", "values"),
        ([[3.0, 3.0], [3.0, 3.0]], "ICC(2,1)", "values"),
    ],
)
def test_what_cannot_be_estimated_is_refused(values, form, column):
    with pytest.raises(InputError) as caught:
        icc(values, form)
    assert [(p.code, p.column) for p in caught.value.problems] == [("E-NOISE-001", column)]
