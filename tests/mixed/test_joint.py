"""Joint F tests against lmerTest and pbkrtest, a dense implementation, and exact F tests.

Tolerances against R (`tests/golden/README.md`, tight optimiser): F and denominator df 1e-5 relative, log10 p
1e-5. Kenward-Roger with weights: R's model on scaled rows, see there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dense_mixed import DenseModel, Group
from scipy import stats

from pdbiomarker.errors import AssayError
from pdbiomarker.mixed import fit
from pdbiomarker.mixed.inference import f_tail

DDF = {"Satterthwaite": "satterthwaite", "Kenward-Roger": "kenward-roger"}


def _hypotheses(names: list[str], folder: str) -> dict[str, list[int]]:
    """Columns of each hypothesis, as in `01_reference.R`."""
    if folder == "sim200":
        return {"timepoint": [1, 2], "interaction": [5, 6], "all_time": [1, 2, 5, 6]}
    interaction = [i for i, name in enumerate(names) if name.startswith("timepointOn:cohort")]
    cohort = [i for i, name in enumerate(names) if name.startswith("cohort")]
    return {
        "timepoint_any": [names.index("timepointOn"), *interaction],
        "cohort_any": [*cohort, *interaction],
    }


@pytest.mark.data
@pytest.mark.parametrize("folder", ["sim200", "riaz200"])
@pytest.mark.parametrize("mode", ["unweighted", "weighted"])
@pytest.mark.parametrize("name", list(DDF))
def test_lmer_joint_tests(shared_golden: Callable[[str], Path], folder: str, mode: str, name: str) -> None:
    where = shared_golden(f"{folder}/lmer_joint_F.csv").parent
    reference = pd.read_csv(where / "lmer_joint_F.csv").query("mode == @mode and ddf == @name")
    E, W, X = (
        pd.read_csv(where / f"{part}.csv", index_col=0) for part in ("voom_E", "voom_weights", "design")
    )
    genes = reference.gene.unique()
    assert len(genes) == 60
    participant = pd.read_csv(where / "samples.csv", index_col=0).participant.loc[E.columns]
    weights = W.div(W.mean(axis=1), axis=0).loc[genes].to_numpy() if mode == "weighted" else None
    result = fit(
        E.loc[genes].to_numpy(), X.to_numpy(), {"participant": participant}, weights=weights, ddf=DDF[name]
    )
    tested = 0
    for test, columns in _hypotheses(list(X.columns), folder).items():
        expected = reference[reference.test == test].set_index("gene").loc[genes]
        found = result.joint(np.eye(X.shape[1])[columns])
        np.testing.assert_array_equal(found.num_df, expected.NumDF)
        np.testing.assert_allclose(found.F, expected.F, rtol=1e-5)
        np.testing.assert_allclose(found.den_df, expected.DenDF, rtol=1e-5)
        np.testing.assert_allclose(np.log10(found.p), np.log10(expected.p), rtol=0, atol=1e-5)
        tested += len(expected)
    assert tested == len(reference)


@pytest.fixture(scope="module")
def nested() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(5)
    participant, lesion, visit = (
        np.repeat(np.arange(7), 6),
        np.tile(np.repeat([0, 1], 3), 7),
        np.tile([0, 1, 2], 14),
    )
    keep = rng.random(42) < 0.8
    participant, lesion, visit = participant[keep], lesion[keep], visit[keep]
    X = np.column_stack(
        [np.ones(keep.sum()), visit == 1, visit == 2, np.linspace(-1, 1, 7)[participant]]
    ).astype(float)
    Y = rng.normal(size=(3, 7))[:, participant] + rng.normal(size=(3, 14))[:, 2 * participant + lesion]
    Y += 0.7 * rng.normal(size=Y.shape)
    return Y, X, {"participant": participant, "participant/lesion": lesion}, rng.lognormal(0, 0.6, Y.shape)


@pytest.mark.parametrize("weighted", [False, True])
def test_dense_kenward_roger(nested: tuple, weighted: bool) -> None:
    """The published algorithm with n x n matrices, nested terms: 1e-7."""
    Y, X, groups, W = nested
    L = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    result = fit(Y, X, groups, weights=W if weighted else None).joint(L)
    labels = [f"{a}|{b}" for a, b in zip(*groups.values(), strict=True)]
    terms = [Group(list(groups["participant"])), Group(labels)]
    for g, y in enumerate(Y):
        model = DenseModel(y, X, terms, weights=W[g] if weighted else None)
        components = model.components(model.optimum(4))
        P = model.pieces(components)[3]
        _, m, F, p = model.kenward_roger(components, float(model.y @ P @ model.y) / model.nu, L)
        np.testing.assert_allclose([result.F[g], result.den_df[g], result.p[g]], [F, m, p], rtol=1e-7)


@pytest.mark.parametrize("ddf", ["kenward-roger", "satterthwaite", "residual"])
def test_one_row_is_the_t_test(nested: tuple, ddf: str) -> None:
    Y, X, groups, W = nested
    result = fit(Y, X, groups, weights=W, ddf=ddf)
    for i in range(4):
        found = result.joint(np.eye(4)[[i]])
        np.testing.assert_allclose(found.F, result.t[:, i] ** 2, rtol=1e-9)
        np.testing.assert_allclose(found.den_df, result.df[:, i], rtol=1e-7)
        np.testing.assert_allclose(found.p, result.p[:, i], rtol=1e-7)


@pytest.mark.parametrize("ddf", ["kenward-roger", "satterthwaite", "residual"])
def test_the_hypothesis_counts_not_its_rows(nested: tuple, ddf: str) -> None:
    """Rows that depend on others change nothing; Satterthwaite has its own directions: their scale alone."""
    Y, X, groups, _ = nested
    result = fit(Y, X, groups, ddf=ddf)
    L = np.array([[0, 1, 0, 0], [0, 0, 1, 0.0]])
    plain = result.joint(L)
    more = (
        result.joint(np.vstack([L, L[0] - L[1], 0 * L[0]]))
        if ddf != "satterthwaite"
        else result.joint(-3 * L)
    )
    for name in ("F", "num_df", "den_df", "p"):
        np.testing.assert_allclose(getattr(more, name), getattr(plain, name), rtol=1e-8)
    assert set(plain.num_df) == {2.0}


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("ddf", ["kenward-roger", "satterthwaite"])
def test_balanced_blocks_are_the_analysis_of_variance(ddf: str, negative: bool) -> None:
    """Complete blocks of three visits: F of the two-way analysis of variance with 2 and 2 (n - 1) df."""
    rng = np.random.default_rng(3)
    y = 2 * rng.normal(size=9)[:, None] + rng.normal(size=(9, 3))
    X = np.column_stack([np.ones(27), np.tile([0, 1, 0], 9), np.tile([0, 0, 1], 9)])
    result = fit([y.ravel()], X, np.repeat(np.arange(9), 3), ddf=ddf, allow_negative_icc=negative)
    found = result.joint([[0, 1, 0], [0, 0, 1]])
    rest = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    F = 9 * np.var(y.mean(axis=0)) * 3 / 2 / ((rest**2).sum() / 16)
    assert result.status[0] == "ok"
    assert found.F[0] == pytest.approx(F, rel=1e-9)
    assert found.den_df[0] == pytest.approx(16, rel=1e-7)
    assert found.p[0] == pytest.approx(stats.f.sf(F, 2, 16), rel=1e-7)


def test_negative_intraclass_correlation() -> None:
    """Differences against the block's own sign: the analysis of variance still, with theta below zero."""
    rng = np.random.default_rng(8)
    y = rng.normal(size=(9, 3))
    y -= 0.8 * y.mean(axis=1, keepdims=True)
    X = np.column_stack([np.ones(27), np.tile([0, 1, 0], 9), np.tile([0, 0, 1], 9)])
    result = fit([y.ravel()], X, np.repeat(np.arange(9), 3), allow_negative_icc=True)
    assert result.theta[0, 0] < 0
    found = result.joint([[0, 1, 0], [0, 0, 1]])
    rest = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    assert found.F[0] == pytest.approx(9 * np.var(y.mean(axis=0)) * 3 / 2 / ((rest**2).sum() / 16), rel=1e-8)
    assert found.den_df[0] == pytest.approx(16, rel=1e-7)


def test_features_without_a_test() -> None:
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(12), np.tile([0.0, 1.0], 6), np.tile([1.0, 0.0], 6)])
    Y = rng.normal(size=(3, 12))
    Y[1] = 3.0
    Y[2, 1::2] = np.nan
    result = fit(Y, X, np.repeat(np.arange(6), 2))
    np.testing.assert_array_equal(result.aliased, [[False, False, True]] * 2 + [[False, True, True]])
    whole = result.joint([[0, 1, 0], [0, 0, 1]])
    assert np.isnan(whole.F).all()
    one = result.joint([[0, 1, -1], [0, 2, -2]])
    assert np.isfinite(one.p[0])
    assert one.num_df[0] == 1
    assert np.isnan(one.p[1:]).all()


def test_refused_hypothesis(nested: tuple) -> None:
    Y, X, groups, _ = nested
    for L in ([[1.0, 0]], [[np.nan, 0, 0, 0]], [1.0, 0, 0, 0]):
        with pytest.raises(AssayError):
            fit(Y, X, groups).joint(L)


@pytest.mark.parametrize(
    ("F", "q", "m", "p"),
    [
        (3.2, 2, 17.5, stats.f.sf(3.2, 2, 17.5)),
        (1e4, 4, 30.2, 4.7186e-46),
        (0.02, 3, 8, stats.f.sf(0.02, 3, 8)),
    ],
)
def test_tail(F: float, q: float, m: float, p: float) -> None:
    found = f_tail(np.array([F]), np.array([q]), np.array([m]))[0]
    assert found == pytest.approx(stats.f.sf(F, q, m), rel=1e-10)
    assert found == pytest.approx(p, rel=1)
