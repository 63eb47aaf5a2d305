r"""Shapes of a change against exposure x: fitted by least squares, compared by AICc, averaged; arrays only.

    constant        E0
    linear          E0 + b x
    log-linear      E0 + b log10 x
    bell            E0 + b log10 x + c (log10 x)^2
    Emax            E0 + Em x / (ED50 + x)
    sigmoid Emax    E0 + Em x^h / (ED50^h + x^h)

ED50 lies between a tenth of the least and ten times the largest exposure, h between .5 and 5: outside, the
data hold no information. Given (ED50, h) a shape is a straight line in its own basis f, so that the residual
sum of squares is known on a grid and then refined. Limits of ED50 and Em are by the profile likelihood,

    {theta : RSS(theta) <= RSS_min (1 + F(.95; 1, n - k) / (n - k))}.

AICc = n log(RSS/n) + 2 q + 2 q (q + 1)/(n - q - 1) with q = k + 1 (the variance). Averages are weighted by
exp(-AICc/2); their variance adds the disagreement of the shapes: (sum w sqrt(v + (theta - average)^2))^2.

The contrast test holds the shapes (at fixed guesses of their parameters) against a permutation: the largest
of their squared correlations with the change, so that one test covers all of them, falling ones included.

Sources: Bretz, Pinheiro and Branson 2005, doi:10.1111/j.1541-0420.2005.00344.x; Burnham and Anderson 2004,
doi:10.1177/0049124104268644.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from pdbiomarker.link.association import in_order

__all__ = ["SHAPES", "Averaged", "Fit", "averaged", "fit_shape", "shape_test"]

Floats = NDArray[np.float64]

#: Parameters of the mean, by shape.
SHAPES: Final[Mapping[str, int]] = {
    "constant": 1,
    "linear": 2,
    "log-linear": 2,
    "bell": 3,
    "Emax": 3,
    "sigmoid Emax": 4,
}
_LOGS: Final = frozenset({"log-linear", "bell"})
_HILL: Final = (0.5, 5.0)
_GRID: Final = 121
_HILLS: Final = 19
_DRAWS: Final = 20_000
_CHUNK: Final = 2_000


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """One shape, fitted.

    Attributes
    ----------
    shape : str
    rss, aicc : float
        AICc is infinite where the participants are too few for the parameters.
    n, k : int
        Participants, parameters of the mean.
    coefficients : array
        Of the basis, the intercept first.
    ed50, hill, emax : (value, low, high)
        NaN where the shape has none. A limit at the end of the range looked at is given as NaN: open.
    at_edge : bool
        Whether ED50 or h lies at the end of its range.
    """

    shape: str
    rss: float
    aicc: float
    n: int
    k: int
    coefficients: Floats
    ed50: tuple[float, float, float]
    hill: tuple[float, float, float]
    emax: tuple[float, float, float]
    at_edge: bool = False

    def predict(self, x: ArrayLike) -> Floats:
        """Give the mean at exposures."""
        return _basis(self.shape, np.asarray(x, dtype=float), self.ed50[0], self.hill[0]) @ self.coefficients

    def jacobian(self, x: ArrayLike) -> Floats:
        """Give the derivatives of the mean by its parameters, (len(x), k)."""
        at = np.asarray(x, dtype=float)
        own = _basis(self.shape, at, self.ed50[0], self.hill[0])
        columns = [own]
        if "Emax" in self.shape:
            step, em = 1e-5, self.coefficients[1]
            for d50, dh in [(step, 0.0), (0.0, step)][: 1 + (self.shape != "Emax")]:
                pair = [
                    _basis(self.shape, at, self.ed50[0] * math.exp(s * d50), self.hill[0] * math.exp(s * dh))
                    for s in (1, -1)
                ]
                columns.append(em * (pair[0][:, 1:2] - pair[1][:, 1:2]) / (2 * step))
        return np.hstack(columns)


def _basis(shape: str, x: Floats, ed50: float, hill: float) -> Floats:
    one = np.ones(len(x))
    if shape == "constant":
        return one[:, None]
    if shape == "linear":
        return np.column_stack([one, x])
    if shape in _LOGS:
        log = np.log10(x)
        return np.column_stack([one, log] if shape == "log-linear" else [one, log, log**2])
    h = 1.0 if shape == "Emax" else hill
    with np.errstate(divide="ignore"):
        return np.column_stack([one, 1 / (1 + np.exp(h * (math.log(ed50) - np.log(x))))])


def _least(shape: str, x: Floats, y: Floats, ed50: float, hill: float) -> tuple[float, Floats]:
    basis = _basis(shape, x, ed50, hill)
    coefficients = np.linalg.lstsq(basis, y, rcond=None)[0]
    return float(np.square(y - basis @ coefficients).sum()), coefficients


def fit_shape(shape: str, x: ArrayLike, y: ArrayLike) -> Fit:
    """Fit one shape.

    Parameters
    ----------
    shape : str
        A key of :data:`SHAPES`.
    x : (n,) array
        Exposures, not below 0, and above 0 for the shapes in log10 x.
    y : (n,) array
        Changes.

    Returns
    -------
    Fit
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    n, k = len(a), SHAPES[shape]
    none = (np.nan, np.nan, np.nan)
    if "Emax" not in shape:
        least, coefficients = _least(shape, a, b, 1.0, 1.0)
        return Fit(shape, least, _aicc(least, n, k), n, k, coefficients, none, none, none)
    positive = a[a > 0]
    low, high = math.log(positive.min() / 10), math.log(positive.max() * 10)
    hills = np.geomspace(*_HILL, _HILLS) if shape != "Emax" else np.array([1.0])
    grid = np.linspace(low, high, _GRID)
    rss = np.array([[_least(shape, a, b, math.exp(g), float(h))[0] for h in hills] for g in grid])
    i, j = np.unravel_index(int(rss.argmin()), rss.shape)
    start = [float(grid[i]), float(np.log(hills[j]))]
    bounds = [(low, high), (math.log(_HILL[0]), math.log(_HILL[1]))][: 1 + (shape != "Emax")]

    def loss(at: Floats) -> float:
        return _least(shape, a, b, math.exp(at[0]), math.exp(at[1]) if len(at) > 1 else 1.0)[0]

    found = optimize.minimize(
        loss,
        np.array(start[: len(bounds)]),
        method="Nelder-Mead",
        bounds=bounds,
        options={"xatol": 1e-8, "fatol": 1e-12 * max(float(rss.min()), 1e-300), "maxiter": 2000},
    )
    place = found.x if found.fun <= rss.min() else np.array(start[: len(bounds)])
    ed50, hill = math.exp(place[0]), math.exp(place[1]) if len(place) > 1 else 1.0
    best, coefficients = _least(shape, a, b, ed50, hill)
    edge = any(min(abs(v - lo), abs(hi - v)) < 1e-3 for v, (lo, hi) in zip(place, bounds, strict=True))
    # The best place joins the grid: a region narrower than its steps is still found.
    grid, hills = np.unique([*grid, place[0]]), np.unique([*hills, hill])
    rss = _surface(shape, a, b, grid=grid, hills=hills)
    limits, em = _profile(shape, a, b, best, grid=grid, hills=hills, rss=rss)
    return Fit(
        shape,
        best,
        _aicc(best, n, k),
        n,
        k,
        coefficients,
        (ed50, *limits[0]),
        (hill, *limits[1]) if shape != "Emax" else (1.0, np.nan, np.nan),
        (float(coefficients[1]), *em),
        edge,
    )


def _surface(shape: str, x: Floats, y: Floats, *, grid: Floats, hills: Floats) -> Floats:
    """Residual sums of squares over log ED50 and h."""
    return np.array([[_least(shape, x, y, math.exp(g), float(h))[0] for h in hills] for g in grid])


def _profile(
    shape: str, x: Floats, y: Floats, best: float, *, grid: Floats, hills: Floats, rss: Floats
) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """Limits of ED50, of h and of Em: where the residual sum of squares stays below the critical one."""
    df = len(x) - SHAPES[shape]
    if df < 1:
        return [(np.nan, np.nan)] * 2, (np.nan, np.nan)
    critical = best * (1 + stats.f.ppf(0.95, 1, df) / df)
    over = rss.min(axis=1)
    ed50 = _where(
        grid, over, critical, lambda g: min(_least(shape, x, y, math.exp(g), float(h))[0] for h in hills)
    )
    h = (np.nan, np.nan)
    if len(hills) > 1:
        logs = np.log(hills)
        inside = logs[rss.min(axis=0) <= critical]
        ends = (inside.min() if len(inside) else np.nan, inside.max() if len(inside) else np.nan)
        h = tuple(np.nan if e in (logs[0], logs[-1]) else float(np.exp(e)) for e in ends)  # type: ignore[assignment]
    reach: list[tuple[float, float, bool]] = []
    for i, g in enumerate(grid):
        last = i in (0, len(grid) - 1)
        for j, hill in enumerate(hills):
            if rss[i, j] > critical:
                continue
            basis = _basis(shape, x, math.exp(g), float(hill))
            coefficients = np.linalg.lstsq(basis, y, rcond=None)[0]
            f = basis[:, 1] - basis[:, 1].mean()
            half = math.sqrt((critical - rss[i, j]) / max(float(f @ f), 1e-300))
            reach.append((float(coefficients[1]) - half, float(coefficients[1]) + half, last))
    em = (np.nan, np.nan)
    if reach:
        # Found at the end of the range of ED50, a limit is one of that range, not of the data.
        least, most = min(reach, key=lambda r: r[0]), max(reach, key=lambda r: r[1])
        em = (np.nan if least[2] else least[0], np.nan if most[2] else most[1])
    limits = tuple(np.nan if np.isnan(v) else math.exp(v) for v in ed50)
    return [limits, h], em  # type: ignore[list-item]


def _where(
    grid: Floats, over: Floats, critical: float, exact: Callable[[float], float]
) -> tuple[float, float]:
    """Ends of the region below the critical value, refined; NaN where it reaches the end of the grid."""
    inside = np.flatnonzero(over <= critical)
    if not len(inside):
        return np.nan, np.nan
    out = []
    for at, step in ((int(inside[0]), -1), (int(inside[-1]), 1)):
        if not 0 <= at + step < len(grid):
            out.append(np.nan)
            continue
        first, last = sorted((float(grid[at]), float(grid[at + step])))
        if (exact(first) - critical) * (exact(last) - critical) > 0:
            out.append(float(grid[at]))
            continue
        out.append(float(optimize.brentq(lambda g: exact(g) - critical, first, last, xtol=1e-6)))
    return out[0], out[1]


def _aicc(rss: float, n: int, k: int) -> float:
    q = k + 1
    if n - q - 1 <= 0:
        return math.inf
    return n * math.log(max(rss, 1e-300) / n) + 2 * q + 2 * q * (q + 1) / (n - q - 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Averaged:
    """Shapes weighed by AICc.

    Attributes
    ----------
    weights : mapping of shape to float
        Sum 1.
    x, mean, low, high : arrays
        The averaged curve with its limits at 95 %, pointwise.
    difference : (value, low, high)
        Mean at the largest exposure less that at the least.
    """

    weights: Mapping[str, float]
    x: Floats
    mean: Floats
    low: Floats
    high: Floats
    difference: tuple[float, float, float]


def averaged(fits: Mapping[str, Fit], x: ArrayLike, *, points: int = 101) -> Averaged:
    """Average shapes over the range of the exposures.

    Parameters
    ----------
    fits : mapping of shape to Fit
        Of the same participants.
    x : (n,) array
        Their exposures.
    points : int
        Of the curve, equally spaced in log10 x.

    Returns
    -------
    Averaged
    """
    given = np.asarray(x, dtype=float)
    positive = given[given > 0]
    at = np.geomspace(positive.min(), positive.max(), points)
    if (given == 0).any():
        at = np.concatenate([[0.0], at])
    scores = np.array([fit.aicc for fit in fits.values()])
    raw = np.exp(-(scores - scores.min()) / 2)
    weights = raw / raw.sum()
    df = min(fit.n - fit.k for fit in fits.values())
    t = float(stats.t.ppf(0.975, max(df, 1)))
    spans = []
    for rows in (np.eye(len(at)), (np.eye(len(at))[-1] - np.eye(len(at))[0])[None, :]):
        means = np.array([rows @ fit.predict(at) for fit in fits.values()])
        variances = np.array([_variance(fit, rows @ fit.jacobian(at), given) for fit in fits.values()])
        average = weights @ means
        se = weights @ np.sqrt(variances + np.square(means - average))
        spans.append((average, average - t * se, average + t * se))
    curve, ends = spans
    return Averaged(
        dict(zip(fits, weights.tolist(), strict=True)),
        at,
        *curve,
        (float(ends[0][0]), float(ends[1][0]), float(ends[2][0])),
    )


def _variance(fit: Fit, rows: Floats, x: Floats) -> Floats:
    """Variance of linear functions of a fit, by its derivatives."""
    own = fit.jacobian(x)
    covariance = np.linalg.pinv(own.T @ own, rcond=1e-10) * fit.rss / max(fit.n - fit.k, 1)
    return np.asarray(np.einsum("ij,jk,ik->i", rows, covariance, rows), dtype=float)


def shape_test(x: ArrayLike, y: ArrayLike, *, seed: int = 1) -> tuple[float, str]:
    """Test for any relation among the shapes, with one permutation p for all of them.

    Parameters
    ----------
    x, y : (n,) arrays
        Exposures (0 allowed) and changes.
    seed : int

    Returns
    -------
    p : float
    shape : str
        The shape that fits best.
    """
    a, b = in_order(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    positive = a[a > 0]
    # Where there is no logarithm (exposure 0), a tenth of the least exposure stands for it.
    log = np.log10(np.where(a > 0, a, positive.min() / 10))
    middle = float(np.median(positive))
    columns = {
        "linear": a,
        "log-linear": log,
        "bell": -np.square(log - (log.min() + log.max()) / 2),
        "Emax": _basis("Emax", a, middle, 1.0)[:, 1],
        "sigmoid Emax": _basis("sigmoid Emax", a, middle, 3.0)[:, 1],
    }
    told = {name: c - c.mean() for name, c in columns.items() if np.ptp(c) > 1e-12 * max(1.0, abs(c).max())}
    shapes = np.array([c / np.linalg.norm(c) for c in told.values()])
    centred = b - b.mean()
    observed = np.abs(shapes @ centred)
    rng = np.random.default_rng(seed)
    edge = observed.max() * (1 - 1e-9)
    k = 0
    for _ in range(_DRAWS // _CHUNK):
        drawn = rng.permuted(np.tile(centred, (_CHUNK, 1)), axis=1)
        k += int((np.abs(drawn @ shapes.T).max(axis=1) >= edge).sum())
    return (k + 1) / (_DRAWS + 1), list(told)[int(observed.argmax())]
