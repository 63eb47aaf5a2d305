"""Shapes of exposure against R's lm and nls, and by simulation with known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.link import SHAPES, averaged, fit_shape, shape_test

Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def r(golden: Path) -> pd.Series:
    table = pd.read_csv(golden / "link" / "link_results.csv")
    return table.set_index(["case", "quantity"])["value"]


@pytest.fixture(scope="module")
def data(golden: Path) -> Arrays:
    table = pd.read_csv(golden / "link" / "curves.csv")
    return table["x"].to_numpy(dtype=float), table["y"].to_numpy(dtype=float)


@pytest.mark.parametrize("shape", ["constant", "linear", "log-linear", "bell", "Emax"])
def test_fits_are_those_of_r(data: Arrays, r: pd.Series, shape: str) -> None:
    fit = fit_shape(shape, *data)
    assert fit.rss == pytest.approx(r[shape, "rss"], rel=1e-9)
    assert fit.aicc == pytest.approx(r[shape, "aicc"], abs=1e-7)


def test_emax_has_the_profile_limits_of_r(data: Arrays, r: pd.Series) -> None:
    """R interpolates its profile: .5 % for ED50, .5 % for Emax."""
    fit = fit_shape("Emax", *data)
    assert fit.emax[0] == pytest.approx(r["Emax", "emax"], rel=1e-5)
    assert fit.ed50[0] == pytest.approx(r["Emax", "ed50"], rel=1e-5)
    assert fit.ed50[1:] == pytest.approx([r["Emax", "ed50_low"], r["Emax", "ed50_high"]], rel=5e-3)
    assert fit.emax[1:] == pytest.approx([r["Emax", "emax_low"], r["Emax", "emax_high"]], rel=5e-3)
    assert not fit.at_edge


def test_sigmoid_emax_is_never_worse_than_emax_and_finds_its_truth() -> None:
    x = np.geomspace(1, 100, 40)
    y = 0.5 + 2 * x**3 / (10**3 + x**3)
    fit = fit_shape("sigmoid Emax", x, y + np.random.default_rng(0).normal(0, 0.02, 40))
    assert fit.ed50[0] == pytest.approx(10, rel=0.03)
    assert fit.hill[0] == pytest.approx(3, rel=0.1)
    assert fit.emax[1] < 2 < fit.emax[2]
    assert fit.rss <= fit_shape("Emax", x, y).rss


def test_a_limit_that_the_data_do_not_hold_is_open() -> None:
    """A straight rise in log exposure: Emax has not been reached, its upper limit is not known."""
    draw = np.random.default_rng(5)
    x = np.tile([1.0, 3.0, 10.0, 30.0], 5)
    fit = fit_shape("Emax", x, 0.02 * x + draw.normal(0, 0.3, 20))
    assert np.isnan(fit.ed50[2])
    assert np.isnan(fit.emax[2])


def test_jacobian_is_the_numerical_one(data: Arrays) -> None:
    fit = fit_shape("Emax", *data)
    e0, em = fit.coefficients
    at = np.array([2.0, 15.0, 80.0])
    ed50 = fit.ed50[0]
    by_log = -em * at * ed50 / (ed50 + at) ** 2
    expected = np.column_stack([np.ones(3), at / (ed50 + at), by_log])
    assert fit.jacobian(at) == pytest.approx(expected, abs=1e-7)
    assert fit.predict(at) == pytest.approx(e0 + em * at / (ed50 + at), abs=1e-10)


def test_weights_are_those_of_burnham_and_anderson(data: Arrays) -> None:
    fits = {shape: fit_shape(shape, *data) for shape in SHAPES}
    average = averaged(fits, data[0])
    scores = np.array([fit.aicc for fit in fits.values()])
    expected = np.exp(-(scores - scores.min()) / 2)
    assert list(average.weights.values()) == pytest.approx((expected / expected.sum()).tolist(), abs=1e-12)
    means = np.array([fit.predict(average.x) for fit in fits.values()])
    assert average.mean == pytest.approx(expected / expected.sum() @ means, abs=1e-10)
    assert (average.low < average.mean).all()
    assert average.difference[0] == pytest.approx(average.mean[-1] - average.mean[0], abs=1e-10)


def test_a_bell_is_not_forced_to_rise() -> None:
    x = np.tile([1.0, 3.0, 10.0, 30.0, 100.0], 6)
    y = 1 - (np.log10(x) - 1) ** 2 + np.random.default_rng(6).normal(0, 0.2, 30)
    fits = {shape: fit_shape(shape, x, y) for shape in SHAPES}
    average = averaged(fits, x)
    assert average.weights["bell"] > 0.9
    assert average.mean[50] > average.mean[0] + 0.5
    assert average.mean[50] > average.mean[-1] + 0.5
    p, shape = shape_test(x, y)
    assert shape == "bell"
    assert p < 0.001


def test_the_difference_covers_its_truth() -> None:
    draw, hits = np.random.default_rng(7), 0
    x = np.tile([1.0, 3.0, 10.0, 30.0], 6)
    truth = 2 * (30 / 40 - 1 / 11)
    for _ in range(100):
        y = 2 * x / (10 + x) + draw.normal(0, 0.5, 24)
        fits = {s: fit_shape(s, x, y) for s in ("constant", "linear", "log-linear", "bell", "Emax")}
        low, high = averaged(fits, x).difference[1:]
        hits += low <= truth <= high
    assert 0.88 <= hits / 100 <= 1.0


def test_the_shape_test_keeps_its_level() -> None:
    draw = np.random.default_rng(8)
    x = np.tile([1.0, 3.0, 10.0, 30.0], 4)
    p = [shape_test(x, draw.standard_t(3, 16), seed=k)[0] for k in range(200)]
    assert 0.015 <= np.mean(np.array(p) <= 0.05) <= 0.095  # binomial SD .0154
    zero = np.where(x == 1, 0.0, x)
    assert shape_test(zero, np.log1p(zero) + draw.normal(0, 0.1, 16))[0] < 0.01
