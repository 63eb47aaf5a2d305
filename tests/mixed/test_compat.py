"""Peers' definitions by name, against the peers' own numbers.

Tolerances: lmerTest 1e-7 (estimate), 1e-6 (SE), 1e-5 (df); dream 1e-4 (its optimiser is not tight); limma
5e-6, because its consensus is known to 1e-5. Sources: `tests/golden/README.md`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.errors import AssayError, FormulaError
from pdbiomarker.mixed import RandomSlopes, fit


@pytest.fixture(scope="module")
def weighted_pairs(golden: Path) -> tuple[np.ndarray, np.ndarray, pd.Series, np.ndarray, pd.DataFrame]:
    data = pd.read_csv(golden / "edge_cases" / "edge_data.csv").query("case == 'weights_strong'")
    results = pd.read_csv(golden / "edge_cases" / "edge_results.csv").query("case == 'weights_strong'")
    X = np.column_stack([np.ones(len(data)), data.time == "ON"])
    return data.y.to_numpy()[None], X, data.participant, data.w.to_numpy()[None], results


@pytest.mark.parametrize("compat", ["lmerTest", "dream"])
def test_pbkrtest_drops_the_weights(weighted_pairs: tuple, compat: str) -> None:
    """The wrong value, reproduced; dream's, at weights of mean 1, is as far from the right one."""
    Y, X, participant, W, results = weighted_pairs
    reference = results[results.ddf.str.contains("wrong")]
    # dream divides by the mean of the weights in use; lmer takes them as they are.
    result = fit(Y, X, participant, weights=W, compat=compat)
    right = fit(Y, X, participant, weights=W)
    np.testing.assert_allclose(result.estimate[0], reference.estimate, rtol=1e-7)
    if compat == "lmerTest":
        np.testing.assert_allclose(result.se[0], reference.se, rtol=1e-6)
        np.testing.assert_allclose(result.df[0], reference.df, rtol=1e-5)
        np.testing.assert_allclose(np.log10(result.p[0]), np.log10(reference.p), rtol=0, atol=1e-5)
    assert (np.abs(result.df[0] / right.df[0] - 1) > 0.04).all()
    assert result.df[0, 1] / right.df[0, 1] < 0.75


@pytest.fixture(scope="module")
def several_terms(golden: Path) -> dict[str, pd.DataFrame]:
    return {
        part: pd.read_csv(golden / "mixed_compat" / f"{part}.csv") for part in ("data", "results", "varcomp")
    }


@pytest.mark.parametrize("case", ["one", "nested", "crossed", "slope", "diagonal"])
@pytest.mark.parametrize("ddf", ["Satterthwaite", "Kenward-Roger"])
def test_lmertest_with_weights(several_terms: dict[str, pd.DataFrame], case: str, ddf: str) -> None:
    """lmerTest's contest1D and contestMD of weighted fits, pbkrtest's missing weights included.

    At our optimum 1e-4 (lmer's optimiser stops early), and at R's own variance components 1e-6; log10 p 1e-5.
    """
    data = several_terms["data"]
    reference = several_terms["results"].query("case == @case and ddf == @ddf").set_index("test")
    rows = several_terms["varcomp"].query("case == @case").reset_index(drop=True)
    X = np.column_stack([np.ones(len(data)), data.visit == "B", data.visit == "C"]).astype(float)
    groups = {"participant": data.participant}
    groups |= {"nested": {"participant/lesion": data.lesion}, "crossed": {"batch": data.batch}}.get(case, {})
    slopes = None
    if case in {"slope", "diagonal"}:
        slopes = {"participant": RandomSlopes(data.week.to_numpy(float)[:, None], correlated=case == "slope")}
    ours = fit(
        data.y.to_numpy()[None], X, groups, weights=data.w.to_numpy()[None], slopes=slopes, compat="lmerTest",
        ddf=ddf.lower(),
    )  # fmt: skip
    order = {"nested": [1, 0], "slope": [0, 2, 1]}.get(case, range(len(rows) - 1))
    variance = rows.vcov.to_numpy()[list(order)]
    theirs = dataclasses.replace(ours, variance=variance[None], sigma2=rows.vcov.to_numpy()[-1:])
    np.testing.assert_allclose(ours.variance[0], variance, rtol=1e-3)
    b = reference.loc[["b1", "b2", "b3"]]
    for result, close in ((ours, 1e-4), (theirs.contrast(np.eye(3)), 1e-6)):
        if case == "one" and result is not ours:
            continue
        np.testing.assert_allclose(result.estimate[0], b.estimate, rtol=close)
        np.testing.assert_allclose(result.se[0], b.se, rtol=close)
        np.testing.assert_allclose(result.df[0], b.df, rtol=10 * close)
        np.testing.assert_allclose(np.log10(result.p[0]), np.log10(b.p), rtol=0, atol=10 * close)
    joint, visit = theirs.joint(np.eye(3)[1:]), reference.loc["visit"]
    assert joint.num_df[0] == visit.num_df
    np.testing.assert_allclose([joint.F[0], joint.den_df[0]], [visit.F, visit.df], rtol=1e-5)
    assert np.log10(joint.p[0]) == pytest.approx(np.log10(visit.p), abs=1e-5)


def test_df_without_weights_are_far_off(several_terms: dict[str, pd.DataFrame]) -> None:
    """Weights of mean 2.5: pbkrtest gives 206 df where 47 are right (Satterthwaite 47), with 58 rows."""
    data = several_terms["data"]
    X = np.column_stack([np.ones(len(data)), data.visit == "B", data.visit == "C"]).astype(float)
    options = {"weights": data.w.to_numpy()[None], "contrasts": [[0, 1, 0]]}
    right, wrong = (fit([data.y], X, data.participant, compat=c, **options) for c in (None, "lmerTest"))
    assert right.df[0, 0] == pytest.approx(46.8, abs=1.5)
    assert wrong.df[0, 0] == pytest.approx(205.58, abs=0.01)


def test_dream_is_lmer_on_weights_of_mean_one(weighted_pairs: tuple) -> None:
    Y, X, participant, W, _ = weighted_pairs
    scaled, dream = (
        fit(Y, X, participant, weights=w, compat=name)
        for w, name in ((W / W.mean(), "lmerTest"), (7.3 * W, "dream"))
    )
    for name in ("estimate", "se", "df", "sigma2", "theta", "rdf"):
        np.testing.assert_allclose(getattr(dream, name), getattr(scaled, name), rtol=1e-9, err_msg=name)


def test_lmer_kenward_roger_depends_on_the_scale_of_weights(weighted_pairs: tuple) -> None:
    Y, X, participant, W, _ = weighted_pairs
    one, hundred = (fit(Y, X, participant, weights=c * W, compat="lmerTest") for c in (1, 100))
    assert np.abs(one.df[0] / hundred.df[0] - 1).max() > 0.01
    ours = [fit(Y, X, participant, weights=c * W).df for c in (1, 100)]
    np.testing.assert_allclose(*ours, rtol=1e-9)


@pytest.mark.parametrize("ddf", ["kenward-roger", "satterthwaite", "residual"])
def test_lmertest_without_weights_is_ours(weighted_pairs: tuple, ddf: str) -> None:
    """Two solvers, the fast one and that of blocks: 1e-8."""
    Y, X, participant, W, _ = weighted_pairs
    for weights in (None, W if ddf != "kenward-roger" else None):
        ours, theirs = (
            fit(Y, X, participant, ddf=ddf, compat=c, weights=weights) for c in (None, "lmerTest")
        )
        for name in (
            "estimate",
            "se",
            "df",
            "t",
            "p",
            "sigma2",
            "theta",
            "variance",
            "loglik",
            "rdf",
            "coefficients",
        ):
            np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), rtol=1e-8, err_msg=name)


@pytest.mark.parametrize("mode", ["unweighted", "weighted"])
def test_residual_df_of_dream(golden: Path, mode: str) -> None:
    """variancePartition's rdf of 60 genes: 1e-5."""
    where = golden / "sim200"
    reference = pd.read_csv(where / "lmer_variance_components.csv").query("mode == @mode")
    E, W, X = (
        pd.read_csv(where / f"{part}.csv", index_col=0) for part in ("voom_E", "voom_weights", "design")
    )
    participant = pd.read_csv(where / "samples.csv", index_col=0).participant.loc[E.columns]
    weights = W.loc[reference.gene].to_numpy() if mode == "weighted" else None
    for compat in ("dream", None):
        result = fit(
            E.loc[reference.gene].to_numpy(),
            X.to_numpy(),
            participant,
            weights=weights,
            compat=compat,
            ddf="residual",
        )
        np.testing.assert_allclose(result.rdf, reference.dream_rdf, rtol=1e-5)
    assert len(reference) == 60


@pytest.mark.data
@pytest.mark.parametrize("folder", ["sim200", "riaz200"])
def test_dream(shared_golden: Callable[[str], Path], folder: str) -> None:
    """dream's Satterthwaite fit of all genes, its sigma and rdf: 1e-4."""
    where = shared_golden(f"{folder}/dream_contrasts.csv").parent
    E, W, X, C = (
        pd.read_csv(where / f"{part}.csv", index_col=0)
        for part in ("voom_E", "voom_weights", "design", "contrasts")
    )
    participant = pd.read_csv(where / "samples.csv", index_col=0).participant.loc[E.columns]
    reference = pd.read_csv(where / "dream_contrasts.csv").query("stage == 'dream'")
    genes = pd.read_csv(where / "dream_genes.csv").set_index("gene")
    result = fit(
        E.to_numpy(), X.to_numpy(), participant, weights=W.to_numpy(), contrasts=C.to_numpy(), compat="dream",
        ddf="satterthwaite",
    )  # fmt: skip
    compared = 0
    for i, name in enumerate(C.index):
        expected = reference[reference.coef == name].set_index("gene")
        if not len(expected):
            continue
        expected = expected.loc[E.index]
        np.testing.assert_allclose(result.estimate[:, i], expected.logFC, rtol=0, atol=1e-4)
        # dream's unscaled SE is divided by sigma.
        se = result.se[:, i] / np.sqrt(result.sigma2)
        np.testing.assert_allclose(se, expected.stdev_unscaled, rtol=1e-4)
        np.testing.assert_allclose(result.df[:, i], expected.df_satt, rtol=1e-4)
        compared += len(expected)
    assert compared >= 400
    genes = genes.loc[E.index]
    np.testing.assert_allclose(np.sqrt(result.sigma2), genes.sigma, rtol=1e-4)
    np.testing.assert_allclose(result.rdf, genes.rdf, rtol=1e-4)


@pytest.mark.data
@pytest.mark.parametrize("folder", ["sim200", "riaz200"])
def test_limma(shared_golden: Callable[[str], Path], folder: str) -> None:
    """lmFit with the consensus of duplicateCorrelation, and contrasts.fit."""
    where = shared_golden(f"{folder}/limma_voom_dupcor_std_contrasts.csv").parent
    E, W, X, C = (
        pd.read_csv(where / f"{part}.csv", index_col=0)
        for part in ("voom_E", "voom_weights", "design", "contrasts")
    )
    participant = pd.read_csv(where / "samples.csv", index_col=0).participant.loc[E.columns]
    reference = pd.read_csv(where / "limma_voom_dupcor_std_contrasts.csv")
    genes = pd.read_csv(where / "limma_voom_dupcor_std_genes.csv").set_index("gene").loc[E.index]
    result = fit(
        E.to_numpy(), X.to_numpy(), participant, weights=W.to_numpy(), contrasts=C.to_numpy(), compat="limma",
        ddf="residual",
    )  # fmt: skip
    np.testing.assert_allclose(np.sqrt(result.sigma2), genes.sigma, rtol=1e-6)
    np.testing.assert_array_equal(result.df, np.repeat(genes.df_residual.to_numpy()[:, None], len(C), axis=1))
    consensus = (
        pd.read_csv(where / "limma_dupcor_consensus.csv").set_index("what").value["consensus_weighted"]
    )
    np.testing.assert_allclose(result.theta, consensus / (1 - consensus), rtol=1e-5)
    for i, name in enumerate(C.index):
        expected = reference[reference.contrast == name].set_index("gene").loc[E.index]
        np.testing.assert_allclose(result.estimate[:, i], expected.logFC, rtol=0, atol=5e-6)
        np.testing.assert_allclose(
            result.se[:, i], expected.stdev_unscaled * genes.sigma, rtol=5e-6, err_msg=str(name)
        )
    assert (result.status == "ok").all()
    assert result.ddf == "residual"


def _pairs() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    return {
        "Y": rng.normal(size=(5, 16)),
        "X": np.column_stack([np.ones(16), np.tile([0.0, 1.0], 8)]),
        "groups": np.repeat(np.arange(8), 2),
    }


def test_limma_without_what_it_can_test() -> None:
    parts = _pairs()
    Y = parts["Y"]
    Y[1] = 2.5
    Y[2, 1:] = np.nan
    Y[3, ::2] = np.nan
    result = fit(Y, parts["X"], parts["groups"], compat="limma", ddf="residual", contrasts=[[0, 1]])
    assert list(result.status) == ["ok", "constant", "too_few", "not_estimable", "ok"]
    assert np.isfinite(result.p[[0, 4]]).all()
    assert np.isnan(result.p[1:4]).all()
    np.testing.assert_array_equal(result.n_obs, [16, 16, 1, 8, 16])
    np.testing.assert_array_equal(result.n_groups, [8, 8, 1, 8, 8])
    again = result.contrast([[0, 1], [1, 0.5]])
    np.testing.assert_allclose(again.se[:, 0], result.se[:, 0], rtol=1e-12)
    with pytest.raises(FormulaError, match="moderated"):
        result.joint([[0, 1]])


@pytest.mark.parametrize(
    ("compat", "changes", "reason"),
    [
        ("lmerTest", {"allow_negative_icc": True}, "never negative"),
        ("lmerTest", {"known_variance": np.ones((5, 16))}, "no known variances"),
        ("dream", {"allow_negative_icc": True}, "never negative"),
        ("dream", {"known_variance": np.ones((5, 16))}, "no known variances"),
        (
            "limma",
            {"groups": {"a": np.repeat(np.arange(8), 2), "b": np.arange(16) % 3}},
            "one random intercept",
        ),
        ("limma", {"slopes": {"group": np.ones((16, 1))}}, "one random intercept"),
        ("limma", {}, "ddf='residual'"),
    ],
)
def test_refused_with_the_reason(compat: str, changes: dict[str, Any], reason: str) -> None:
    parts = _pairs() | changes
    with pytest.raises(FormulaError, match=reason) as caught:
        fit(parts.pop("Y"), parts.pop("X"), parts.pop("groups"), compat=compat, **parts)
    assert caught.value.problems[0].column == "compat"
    assert caught.value.problems[0].remedy


def test_an_unknown_peer() -> None:
    parts = _pairs()
    with pytest.raises(AssayError, match="lmerTest, dream, limma"):
        fit(parts["Y"], parts["X"], parts["groups"], compat="nlme")
