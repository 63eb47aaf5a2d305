"""Aliased columns and estimable contrasts."""

from __future__ import annotations

import numpy as np
import pytest

from pdbiomarker.mixed.basis import contrast_coordinates, orthonormal_basis, unit_coefficients

RNG = np.random.default_rng(3)
PLAIN = RNG.normal(size=(12, 4))


def test_basis_reproduces_the_columns() -> None:
    observed = np.array([[True] * 12, [True, False] * 6])
    basis = orthonormal_basis(PLAIN, observed)
    for i in range(2):
        rebuilt = basis.columns[i] @ basis.triangle[i]
        np.testing.assert_allclose(rebuilt, np.where(observed[i][:, None], PLAIN, 0), atol=1e-14)
        np.testing.assert_allclose(basis.columns[i].T @ basis.columns[i], np.eye(4), atol=1e-14)
    assert basis.kept.all()


def test_aliased_column_is_found_whatever_its_unit() -> None:
    for unit in (1e-9, 1.0, 1e9):
        X = np.column_stack([PLAIN, (PLAIN[:, 1] - 2 * PLAIN[:, 2]) * unit])
        basis = orthonormal_basis(X, np.ones((1, 12), dtype=bool))
        np.testing.assert_array_equal(basis.kept[0], [True, True, True, True, False])


def test_nearly_aliased_column_is_kept() -> None:
    """R's lm keeps what differs by more than 1e-7 of its length."""
    X = np.column_stack([np.ones(12), 1 + 1e-5 * PLAIN[:, 0]])
    assert orthonormal_basis(X, np.ones((1, 12), dtype=bool)).kept.all()


def test_estimable_contrasts_agree_with_the_row_space() -> None:
    """Independent definition: projecting l on the rows of X, by the pseudo-inverse, leaves it as it is."""
    X = np.column_stack(
        [np.ones(12), np.arange(12) % 2, np.arange(12) % 3 == 0, np.arange(12) % 2 * 3.0, PLAIN[:, 0]]
    )
    contrasts = np.vstack([np.eye(5), [0, 1, 0, 3, 0], [0, 3, 0, -1, 0], [1, 1, 1, 3, 1], np.zeros(5)])
    observed = np.array([[True] * 12, [True] * 6 + [False] * 6, [True, False] * 6])
    _, estimable = contrast_coordinates(orthonormal_basis(X, observed), contrasts)
    for i, rows in enumerate(observed):
        projection = np.linalg.pinv(X[rows]) @ X[rows]
        expected = np.abs(contrasts @ projection - contrasts).max(axis=1) < 1e-9
        np.testing.assert_array_equal(estimable[i], expected)


def test_estimates_of_estimable_contrasts_agree_with_least_squares() -> None:
    X = np.column_stack([PLAIN, PLAIN.sum(axis=1)])
    contrasts = np.array([[1, 0, 0, 0, 1], [0, 2, 0, 1, 3.0]])
    y = RNG.normal(size=12)
    basis = orthonormal_basis(X, np.ones((1, 12), dtype=bool))
    coordinates, estimable = contrast_coordinates(basis, contrasts)
    assert estimable.all()
    least = contrasts @ np.linalg.pinv(X) @ y
    np.testing.assert_allclose(coordinates[0] @ basis.columns[0].T @ y, least, atol=1e-12)


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.column_stack([np.ones(4), [0, 1, 0, 1]]), [1, 0]),
        (np.column_stack([[0, 1, 0, 1], np.full(4, 4.0)]), [0, 0.25]),
        (np.column_stack([[1, 0, 1, 0], [0, 1, 0, 1]]), [1, 1]),
        (np.column_stack([[1, 2, 3, 4]]), None),
    ],
)
def test_unit_coefficients(X: np.ndarray, expected: list[float] | None) -> None:
    found = unit_coefficients(X.astype(float))
    if expected is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found, expected)
