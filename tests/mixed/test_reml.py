"""REML fits against R: sleep, the simulated trial, small designs, and real data.

Tolerances: estimate 1e-7, SE 1e-6 (relative), df 1e-5 (relative), log10 p 1e-5.
The reference numbers come from lmerTest and pbkrtest with a tight optimiser; see `tests/golden/README.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.mixed import MixedFit, fit, reml

DDF = {"Satterthwaite": "satterthwaite", "Kenward-Roger": "kenward-roger"}
ESTIMATE, SE, DF, LOG_P = 1e-7, 1e-6, 1e-5, 1e-5

# R's `sleep`: extra sleep of ten people under two drugs.
FIRST = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SECOND = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
SLEEP_X = np.column_stack([np.ones(20), np.repeat([0.0, 1.0], 10)])
SLEEP_ID = np.tile(np.arange(1, 11), 2)


def _indexed(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, index_col=0)


def _compare(
    result: MixedFit,
    rows: np.ndarray,
    columns: np.ndarray,
    reference: pd.DataFrame,
    estimate: float = ESTIMATE,
) -> None:
    found = {name: getattr(result, name)[rows, columns] for name in ("estimate", "se", "df", "p")}
    np.testing.assert_allclose(found["estimate"], reference["estimate"], rtol=0, atol=estimate)
    np.testing.assert_allclose(found["se"], reference["se"], rtol=SE)
    np.testing.assert_allclose(found["df"], reference["df"], rtol=DF)
    np.testing.assert_allclose(np.log10(found["p"]), np.log10(reference["p"]), rtol=0, atol=LOG_P)


class _Set:
    """A reference set: expression, weights divided by their mean, design, contrasts, results."""

    def __init__(self, folder: Path, participant: pd.Series) -> None:
        self.E = _indexed(folder / "voom_E.csv")
        weights = _indexed(folder / "voom_weights.csv")
        self.W = weights.div(weights.mean(axis=1), axis=0)
        self.X = _indexed(folder / "design.csv")
        self.C = _indexed(folder / "contrasts.csv")
        self.results = pd.read_csv(folder / "lmer_contrasts.csv")
        self.components = pd.read_csv(folder / "lmer_variance_components.csv")
        self.participant = participant.loc[self.E.columns].to_numpy()

    def fit(self, mode: str, ddf: str) -> MixedFit:
        weights = self.W.to_numpy() if mode == "weighted" else None
        return fit(
            self.E.to_numpy(),
            self.X.to_numpy(),
            {"participant": self.participant},
            weights=weights,
            contrasts=self.C.to_numpy(),
            ddf=ddf,
        )

    def check(self, mode: str, name: str, dense: Callable[..., Any]) -> None:
        """All rows against R; a gene whose estimate differs by more than 1e-7, against the dense optimum too.

        Such a gene is one where lmer stopped short of the optimum (R's theta is off in the seventh digit): at
        most one in a set, by at most 2e-7. There ours must meet the dense implementation to 1e-10.
        """
        reference = self.results.query("mode == @mode and ddf == @name")
        assert reference.gene.nunique() == 60
        result = self.fit(mode, DDF[name])
        genes = self.E.index.get_indexer(reference.gene)
        contrasts = self.C.index.get_indexer(reference.contrast)
        off = np.abs(result.estimate[genes, contrasts] - reference.estimate.to_numpy()) > ESTIMATE
        unsettled = np.unique(genes[off])
        assert len(unsettled) <= 1
        _compare(result, genes, contrasts, reference, 2e-7 if len(unsettled) else ESTIMATE)
        for gene in unsettled:
            best = dense(
                self.E.to_numpy()[gene],
                self.X.to_numpy(),
                self.participant,
                weights=self.W.to_numpy()[gene] if mode == "weighted" else None,
                contrasts=self.C.to_numpy(),
                ddf=DDF[name],
            )
            np.testing.assert_allclose(result.estimate[gene], best.estimate, rtol=0, atol=1e-10)
            np.testing.assert_allclose(result.se[gene], best.se, rtol=1e-9)
            np.testing.assert_allclose(result.df[gene], best.df, rtol=1e-9)

    def check_components(self, mode: str) -> None:
        reference = self.components.query("mode == @mode")
        result = self.fit(mode, "residual")
        genes = self.E.index.get_indexer(reference.gene)
        # R's theta is a ratio of standard deviations. The optimiser's error enters it to first order.
        np.testing.assert_allclose(np.sqrt(result.theta[genes, 0]), reference.theta, rtol=0, atol=1e-6)
        np.testing.assert_allclose(np.sqrt(result.sigma2[genes]), reference.sigma, rtol=1e-6)
        np.testing.assert_allclose(-2 * result.loglik[genes], reference.REMLcrit, rtol=0, atol=1e-6)
        singular = reference.singular.astype(str).str.upper() == "TRUE"
        np.testing.assert_array_equal(result.status[genes] == "singular", singular)


@pytest.fixture(scope="module")
def sim200(golden: Path) -> _Set:
    folder = golden / "sim200"
    return _Set(folder, _indexed(folder / "samples.csv").participant)


@pytest.fixture(scope="module")
def edge_cases(golden: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    folder = golden / "edge_cases"
    return tuple(pd.read_csv(folder / f"edge_{name}.csv") for name in ("data", "results", "varcomp"))


@pytest.mark.parametrize("ddf", ["kenward-roger", "satterthwaite"])
def test_trap_02_sleep_gives_t_not_z(ddf: str) -> None:
    result = fit([np.concatenate([FIRST, SECOND])], SLEEP_X, SLEEP_ID, ddf=ddf)
    assert result.estimate[0, 1] == pytest.approx(1.58, abs=1e-12)
    assert result.se[0, 1] == pytest.approx(0.38895872, abs=5e-9)  # R, 8 digits
    assert result.df[0, 1] == pytest.approx(9.0, rel=1e-9)
    assert result.t[0, 1] == pytest.approx(4.0621277, abs=5e-8)
    assert result.p[0, 1] == pytest.approx(0.0028328901, abs=2e-10)  # the reference is cut, not rounded
    assert result.sigma2[0] * result.theta[0, 0] == pytest.approx(2.84833336, abs=1e-7)
    assert result.sigma2[0] == pytest.approx(0.75644444, abs=5e-9)
    assert result.status[0] == "ok"


@pytest.mark.parametrize(
    ("ddf", "se", "df", "p"),
    [
        ("satterthwaite", 0.27104676, 6.1211712, 0.0048280122),
        ("kenward-roger", 0.27307920, 6.1747097, 0.0049047857),
    ],
)
def test_incomplete_sleep(ddf: str, se: float, df: float, p: float) -> None:
    """Without group 2 of participants 3 and 7 and group 1 of participant 9; lmerTest, 8 digits."""
    first, second = FIRST.copy(), SECOND.copy()
    first[8] = second[2] = second[6] = np.nan
    result = fit([np.concatenate([first, second])], SLEEP_X, SLEEP_ID, ddf=ddf)
    assert result.estimate[0, 1] == pytest.approx(1.1673035, abs=1e-7)
    assert result.se[0, 1] == pytest.approx(se, rel=SE)
    assert result.df[0, 1] == pytest.approx(df, rel=DF)
    assert np.log10(result.p[0, 1]) == pytest.approx(np.log10(p), abs=LOG_P)
    assert result.sigma2[0] * result.theta[0, 0] == pytest.approx(3.44150406, rel=1e-6)
    assert result.sigma2[0] == pytest.approx(0.26088861, rel=1e-6)
    assert result.n_obs[0] == 17
    assert result.n_groups[0] == 10


@pytest.mark.parametrize("mode", ["unweighted", "weighted"])
@pytest.mark.parametrize("name", list(DDF))
def test_simulated_trial(sim200: _Set, dense: Callable[..., Any], mode: str, name: str) -> None:
    assert len(sim200.C) == 8
    sim200.check(mode, name, dense)


@pytest.mark.parametrize("mode", ["unweighted", "weighted"])
def test_simulated_trial_variance_components(sim200: _Set, mode: str) -> None:
    sim200.check_components(mode)


@pytest.mark.parametrize("name", list(DDF))
def test_missing_responses(sim200: _Set, golden: Path, name: str) -> None:
    Y = _indexed(golden / "sim200" / "missing_E.csv")
    reference = pd.read_csv(golden / "sim200" / "missing_lmer_contrasts.csv").query("ddf == @name")
    result = fit(
        Y.to_numpy(), sim200.X.to_numpy(), sim200.participant, contrasts=sim200.C.to_numpy(), ddf=DDF[name]
    )
    genes, contrasts = Y.index.get_indexer(reference.gene), sim200.C.index.get_indexer(reference.contrast)
    _compare(result, genes, contrasts, reference)
    np.testing.assert_array_equal(result.n_obs[genes], reference.n)
    np.testing.assert_allclose(np.sqrt(result.theta[genes, 0]), reference.theta, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(result.sigma2[genes]), reference.sigma, rtol=1e-6)


def _edge_design(case: str, data: pd.DataFrame) -> np.ndarray:
    on, eot = (data.time == "ON").to_numpy(float), (data.time == "EOT").to_numpy(float)
    one = np.ones(len(data))
    if case != "three_times_dose":
        return np.column_stack([one, on])
    dose = np.log10(data.dose.to_numpy())
    return np.column_stack([one, on, eot, dose, on * dose, eot * dose])


@pytest.mark.parametrize(
    "case", ["pairs4", "pairs12", "pairs12_missing", "negative_intraclass_singular", "three_times_dose"]
)
@pytest.mark.parametrize("name", list(DDF))
def test_edge_cases(edge_cases: tuple[pd.DataFrame, ...], case: str, name: str) -> None:
    everything, results, components = edge_cases
    data = everything[everything.case == case]
    X = _edge_design(case, data)
    result = fit([data.y.to_numpy()], X, data.participant, ddf=DDF[name])
    reference = results.query("case == @case and ddf == @name")
    assert len(reference) == X.shape[1]
    _compare(result, np.zeros(X.shape[1], int), np.arange(X.shape[1]), reference)
    varcomp = components[components.case == case].set_index("grp")
    assert result.sigma2[0] == pytest.approx(varcomp.vcov["Residual"], rel=1e-6)
    assert result.sigma2[0] * result.theta[0, 0] == pytest.approx(varcomp.vcov["participant"], rel=1e-6)
    assert -2 * result.loglik[0] == pytest.approx(varcomp.REMLcrit["Residual"], abs=1e-6)
    assert (result.status[0] == "singular") == (str(varcomp.singular["Residual"]).upper() == "TRUE")


def test_four_pairs_are_the_paired_t_test(edge_cases: tuple[pd.DataFrame, ...]) -> None:
    """Closer to the exact test than lmer's optimiser: 1e-9 instead of 3e-8."""
    data = edge_cases[0].query("case == 'pairs4'")
    exact = edge_cases[1].query("case == 'pairs4' and ddf == 'exact'").iloc[0]
    for ddf in DDF.values():
        result = fit([data.y.to_numpy()], _edge_design("pairs4", data), data.participant, ddf=ddf)
        for name in ("estimate", "se", "df", "t", "p"):
            assert getattr(result, name)[0, 1] == pytest.approx(exact[name], rel=1e-9)


def test_singular_fit_of_ten_complete_pairs(edge_cases: tuple[pd.DataFrame, ...]) -> None:
    """Kenward-Roger holds 9 df where lmerTest's Satterthwaite jumps to n - p = 18."""
    data = edge_cases[0].query("case == 'negative_intraclass_singular'")
    X = np.column_stack([np.ones(20), data.time == "ON"])
    kr, satterthwaite = (
        fit([data.y], X, data.participant, ddf=ddf) for ddf in ("kenward-roger", "satterthwaite")
    )
    assert kr.status[0] == satterthwaite.status[0] == "singular"
    assert kr.theta[0, 0] == 0
    assert kr.df[0, 1] == pytest.approx(9, rel=1e-12)
    assert satterthwaite.df[0, 1] == 18


def test_strong_weights(edge_cases: tuple[pd.DataFrame, ...]) -> None:
    """Kenward-Roger with its weights: the exact rows, not those of pbkrtest, which leaves the weights out."""
    data = edge_cases[0].query("case == 'weights_strong'")
    results = edge_cases[1].query("case == 'weights_strong'")
    X = np.column_stack([np.ones(len(data)), data.time == "ON"])
    for label, ddf in [
        ("Satterthwaite", "satterthwaite"),
        ("Kenward-Roger (exact; scaled rows)", "kenward-roger"),
    ]:
        result = fit([data.y], X, data.participant, weights=[data.w], ddf=ddf)
        _compare(result, np.zeros(2, int), np.arange(2), results[results.ddf == label], ESTIMATE)
    wrong = results[results.ddf.str.contains("wrong")].set_index("coef").df["timeON"]
    assert abs(result.df[0, 1] / wrong - 1) > 0.3


@pytest.mark.data
@pytest.mark.parametrize("mode", ["unweighted", "weighted"])
@pytest.mark.parametrize("name", list(DDF))
def test_checkmate038(
    shared_golden: Callable[[str], Path], dense: Callable[..., Any], mode: str, name: str
) -> None:
    folder = shared_golden("riaz200/lmer_contrasts.csv").parent
    reference = _Set(folder, _indexed(folder / "samples.csv").participant)
    reference.check(mode, name, dense)
    reference.check_components(mode)


@pytest.mark.data
def test_cytolytic_score(shared_data: Callable[[str], Path]) -> None:
    """Of 103 libraries of 61 participants; lmerTest, 8 digits."""
    table = pd.read_csv(shared_data("riaz2017/reference/cyt_lmm_input.csv"))
    X = np.column_stack([np.ones(len(table)), table.timepoint == "On"])
    result = fit([table.cyt], X, table.participant, ddf="satterthwaite")
    assert (result.n_obs[0], result.n_groups[0]) == (103, 61)
    assert result.estimate[0, 1] == pytest.approx(1.1827893, rel=1e-6)
    assert result.se[0, 1] == pytest.approx(0.27738946, rel=1e-6)
    assert result.df[0, 1] == pytest.approx(46.481129, rel=1e-6)
    assert result.p[0, 1] == pytest.approx(9.7440681e-05, rel=1e-5)
    assert result.sigma2[0] * result.theta[0, 0] == pytest.approx(3.3052322, rel=1e-6)
    assert result.sigma2[0] == pytest.approx(1.7394912, rel=1e-6)
    assert -2 * result.loglik[0] == pytest.approx(434.951, abs=5e-4)


def _deviance(Y: np.ndarray, X: np.ndarray, groups: np.ndarray, theta: float, w: np.ndarray) -> np.ndarray:
    """Minus twice the profiled REML log-likelihood of each row of Y at one theta, with dense matrices."""
    V = np.diag(1 / w) + theta * (groups[:, None] == groups)
    solved = np.linalg.solve(V, X)
    A = X.T @ solved
    P = np.linalg.inv(V) - solved @ np.linalg.solve(A, solved.T)
    nu = len(X) - X.shape[1]
    logs = np.linalg.slogdet(V)[1] + np.linalg.slogdet(A)[1]
    s2 = np.einsum("gi,ij,gj->g", Y, P, Y) / nu
    return np.asarray(logs + nu * (1 + np.log(2 * np.pi * s2)))


def test_the_lower_of_two_minima_is_found() -> None:
    """Nine people, seven pairs: minima at theta = 2 (42.68488) and -.404 (42.59918), by dense scan."""
    second = [6.134965, 6.179001, 6.278825, 5.956672, 9.697770, 5.213623, 6.930326, 5.813546, 6.236944]
    first = [5.198378, 6.224101, 6.071719, np.nan, np.nan, 5.179249, 4.510646, 4.478162, 5.931272]
    X = np.column_stack([np.ones(18), np.repeat([0.0, 1.0], 9)])
    result = fit([first + second], X, np.tile(np.arange(9), 2), allow_negative_icc=True)
    assert result.theta[0, 0] == pytest.approx(-0.404286, abs=1e-5)
    assert result.estimate[0, 1] == pytest.approx(1.38162, abs=1e-5)
    criterion = -2 * result.loglik[0] - 14 * (1 + np.log(2 * np.pi) - np.log(14))
    assert criterion == pytest.approx(42.59918, abs=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("negative", [False, True])
def test_no_theta_is_better_than_the_one_found(negative: bool, weighted: bool) -> None:
    """4 x 1,000 small unbalanced sets with heavy tails against a scan of 260 thetas: never worse by 1e-8."""
    rng = np.random.default_rng(3 + 2 * negative + weighted)
    for _ in range(20):
        pairs, one, two = rng.integers(3, 13), rng.integers(0, 5), rng.integers(0, 5)
        groups = np.concatenate([np.repeat(np.arange(pairs), 2), pairs + np.arange(one + two)])
        visit = np.concatenate([np.tile([0.0, 1.0], pairs), np.zeros(one), np.ones(two)])
        X = np.column_stack([np.ones(len(visit)), visit, rng.normal(size=len(visit))])
        X = X[:, : rng.integers(2, 4)]
        Y = rng.standard_t(2.5, (50, len(visit)))
        Y += rng.normal(size=(50, groups.max() + 1))[:, groups] * rng.choice([0.0, 0.4, 1.0], (50, 1))
        w = rng.lognormal(0, 0.8, len(visit)) if weighted else np.ones(len(visit))
        weights = np.broadcast_to(w, Y.shape) if weighted else None
        result = fit(Y, X, groups, weights=weights, allow_negative_icc=negative)
        found = np.isin(result.status, ["ok", "singular"])
        assert found.mean() > 0.9
        largest = np.bincount(groups, w).max()
        scan = np.concatenate(
            [np.linspace(np.log(0.01), -0.02, 120) if negative else [], np.linspace(0, 12, 140)]
        )
        best = np.min([_deviance(Y, X, groups, np.expm1(phi) / largest, w) for phi in scan], axis=0)
        # With weights the log-likelihood holds sum log w, which the dense determinant holds too.
        assert (-2 * result.loglik - best)[found].max() < 1e-8


def test_polishing_ends_at_rounding() -> None:
    """Two searches that end 1e-10 apart, as those of two CPUs do, are one result to 1e-12."""
    rng = np.random.default_rng(7)
    groups = np.arange(0, 40, 2, dtype=np.intp)
    X = np.column_stack([np.ones(40), np.tile([0.0, 1.0], 20), rng.normal(size=40)])
    design = reml.GroupedDesign(
        np.linalg.qr(X)[0][None], np.ones((1, 40)), groups, np.ones((1, 3), dtype=bool)
    )
    response = rng.normal(size=(50, 40)) + 1.5 * np.repeat(rng.normal(size=(50, 20)), 2, axis=1)
    data, largest = design.moments(response), np.full(50, 2.0)
    found = reml.solve(design, response, allow_negative=False)
    phi = np.log1p(found.theta * largest)
    every = np.ones(50, dtype=bool)
    for shift in (1e-10, 8e-10, -1e-7, 1e-5):
        moved, point = reml._finish(data, largest, phi + shift, movable=every)
        np.testing.assert_allclose(moved, phi, rtol=0, atol=1e-12)
        np.testing.assert_allclose(np.log(point.residual), np.log(found.s2 * found.dof), rtol=0, atol=1e-12)
