"""Maximum likelihood of small censored data sets, by a trapezoidal rule that is exact to rounding.

    python make_tobit.py        (numpy, scipy)

Per participant the likelihood is integrated over its effect on 16,001 points of -10 to 10 standard deviations.
The gradient is the derivative of that sum by complex steps (no differences), the Hessian the central difference
of the gradient, the maximum a zero of the gradient by Newton's method from the simulated truth. Parameters:
coefficients, log s_u, log s. Standard errors are those of the observed information.
"""

import csv
from pathlib import Path

import numpy as np
from scipy.special import log_ndtr

HERE = Path(__file__).parent
U, STEP = np.linspace(-10, 10, 16001, retstep=True)
CASES = [(1, 7, 2, 0.5, 4.2, 6.3), (2, 10, 2, 0.3, 4.6, np.inf), (3, 8, 3, 0.8, 4.0, 6.0), (4, 12, 2, 1.2, -np.inf, 5.5)]


def data(seed, n, visits, noise, low, high):
    rng = np.random.default_rng(seed)
    people = np.tile(np.arange(n), visits)
    visit = np.repeat(np.arange(visits), n)
    X = np.column_stack([visit == v for v in range(visits)]).astype(float)
    X[:, 0] = 1.0
    y = 5 + 0.4 * visit + rng.normal(size=n)[people] + noise * rng.normal(size=n * visits)
    side = np.where(y < low, -1, np.where(y > high, 1, 0))
    return people, X, np.round(np.clip(y, low, high), 6), side


def loglik(x, people, X, y, side):
    sigma, residual = np.exp(x[-2]), np.exp(x[-1])
    eta = X @ x[:-2]
    total = 0.0
    for person in np.unique(people):
        rows = people == person
        z = (y[rows] - eta[rows] - sigma * U[:, None]) / residual
        s = side[rows]
        seen = -(z**2) / 2 - np.log(residual) - 0.5 * np.log(2 * np.pi)
        h = np.where(s == 0, seen, log_ndtr(np.where(s == 0, 0, -s) * z)).sum(axis=1) - U**2 / 2
        peak = h.real.max()
        total += np.log(np.exp(h - peak).sum() * STEP) + peak - 0.5 * np.log(2 * np.pi)
    return total


def gradient(x, *parts):
    h = 1e-30
    return np.array([loglik(x + 1j * h * e, *parts).imag / h for e in np.eye(len(x))])


def hessian(x, *parts):
    h = 1e-4
    rows = []
    for e in np.eye(len(x)):
        near, far = (gradient(x + k * h * e, *parts) - gradient(x - k * h * e, *parts) for k in (1, 2))
        rows.append((8 * near - far) / (12 * h))
    return 0.5 * (np.array(rows) + np.array(rows).T)


def main():
    with open(HERE / "tobit_data.csv", "w", newline="") as d, open(HERE / "tobit_results.csv", "w", newline="") as r:
        rows, results = csv.writer(d), csv.writer(r)
        rows.writerow(["case", "participant", "visit", "y", "side"])
        results.writerow(["case", "parameter", "value", "se", "loglik", "largest_gradient"])
        for case, settings in enumerate(CASES):
            parts = data(*settings)
            people, X, y, side = parts
            visit = (X[:, 1:] * np.arange(1, X.shape[1])).sum(axis=1).astype(int)
            rows.writerows([case, f"P{p}", v, repr(float(a)), s] for p, v, a, s in zip(people, visit, y, side))
            x = np.array([5.0, *(0.4 * np.arange(1, X.shape[1])), 0.0, np.log(settings[3])])
            for _ in range(60):
                step = np.linalg.solve(hessian(x, *parts), -gradient(x, *parts))
                x = x + step * min(1.0, 0.5 / np.abs(step).max())
                if np.abs(step).max() < 1e-11:
                    break
            covariance = np.linalg.inv(-hessian(x, *parts))
            slope = np.abs(gradient(x, *parts)).max()
            names = [f"b{j}" for j in range(X.shape[1])] + ["log_sigma", "log_residual"]
            for name, value, variance in zip(names, x, np.diag(covariance)):
                results.writerow([case, name, f"{value:.12g}", f"{np.sqrt(variance):.10g}", f"{loglik(x, *parts).real:.12g}", f"{slope:.1e}"])
            print(case, x, slope, (side != 0).sum(), flush=True)


if __name__ == "__main__":
    main()
