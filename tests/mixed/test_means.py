"""Marginal means against emmeans; the grid is built with `pdbiomarker.formula`.

Tolerances against R (tight optimiser): means 1e-7 relative, SE 1e-6, df 1e-5, limits 1e-6, log10 p 1e-5.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.errors import AssayError
from pdbiomarker.formula import design_matrix, parse
from pdbiomarker.mixed import MixedFit, fit, marginal_means

FORMULAS = {
    "sim200": "~ timepoint * logdose + purity + (1|participant)",
    "riaz200": "~ timepoint * cohort + age10 + (1|participant)",
}
LEVELS = {"sim200": ["PRE", "ON", "EOT"], "riaz200": ["Pre", "On"]}


def _compare(result: MixedFit, column: int, reference: pd.DataFrame, value: str) -> None:
    lower, upper = result.confint()
    np.testing.assert_allclose(result.estimate[:, column], reference[value], rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(result.se[:, column], reference["SE"], rtol=1e-6)
    np.testing.assert_allclose(result.df[:, column], reference["df"], rtol=1e-5)
    np.testing.assert_allclose(lower[:, column], reference["lower.CL"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(upper[:, column], reference["upper.CL"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        np.log10(result.p[:, column]), np.log10(reference["p.value"]), rtol=1e-6, atol=1e-5
    )


@pytest.mark.data
@pytest.mark.parametrize("folder", list(FORMULAS))
@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
def test_emmeans(shared_golden: Callable[[str], Path], folder: str, ddf: str) -> None:
    where = shared_golden(f"{folder}/emmeans_means.csv").parent
    E = pd.read_csv(where / "voom_E.csv", index_col=0)
    samples = pd.read_csv(where / "samples.csv", index_col=0).loc[E.columns]
    samples.index = samples.index.astype(str)
    samples["participant"] = samples["participant"].astype(str)
    if folder == "riaz200":
        samples["age10"] = (samples["age"] - 60) / 10
    design = design_matrix(parse(FORMULAS[folder]), samples, levels={"timepoint": LEVELS[folder]})
    assert design.rows_used.all()
    means = pd.read_csv(where / "emmeans_means.csv").query("ddf == @ddf")
    contrasts = pd.read_csv(where / "emmeans_contrasts.csv").query("ddf == @ddf")
    genes = means.gene.unique()
    assert len(genes) == 12
    cohorts = sorted(samples["cohort"].unique()) if folder == "riaz200" else [""]
    grid = pd.DataFrame(itertools.product(cohorts, LEVELS[folder]), columns=["cohort", "timepoint"])
    if folder == "riaz200":
        grid["age10"] = samples["age10"].mean()
    else:
        grid = grid.assign(logdose=0.0, purity=samples["purity"].mean()).drop(columns="cohort")
    visits = len(LEVELS[folder])
    compared = np.kron(np.eye(len(cohorts)), np.column_stack([-np.ones(visits - 1), np.eye(visits - 1)]))
    model = fit(E.loc[genes].to_numpy(), design.matrix, {"participant": samples.participant}, ddf=ddf)
    found = marginal_means(model, design.rows(grid), contrasts=compared)
    assert found.contrasts is not None
    for i, row in enumerate(grid.itertuples()):
        expected = means[means.timepoint == row.timepoint]
        if folder == "riaz200":
            expected = expected[expected.cohort == row.cohort]
        _compare(found.means, i, expected.set_index("gene").loc[genes], "emmean")
    names = [f"{visit} - {LEVELS[folder][0]}" for visit in LEVELS[folder][1:]]
    for i, (cohort, name) in enumerate(itertools.product(cohorts, names)):
        expected = contrasts[contrasts.contrast == name]
        if folder == "riaz200":
            expected = expected[expected.cohort == cohort]
        _compare(found.contrasts, i, expected.set_index("gene").loc[genes], "estimate")


def _crossed() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    participant, visit = np.repeat(np.arange(10), 2), np.tile([0.0, 1.0], 10)
    arm = (participant % 3 == 0).astype(float)
    X = np.column_stack([np.ones(20), visit, arm, visit * arm])
    return rng.normal(size=(2, 20)) + rng.normal(size=(2, 10))[:, participant], X, participant, arm


def test_weights_average_the_grid() -> None:
    Y, X, participant, arm = _crossed()
    model = fit(Y, X, participant)
    grid = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1.0]])
    share = arm.mean()
    equal = marginal_means(model, grid, [[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]], contrasts=[[-1, 1]])
    proportional = marginal_means(model, grid, [[1 - share, 0, share, 0], [0, 1 - share, 0, share]])
    assert equal.contrasts is not None
    assert proportional.contrasts is None
    np.testing.assert_allclose(
        equal.contrasts.estimate[:, 0], model.estimate[:, 1] + 0.5 * model.estimate[:, 3], rtol=1e-12
    )
    # Proportional means of complete pairs are the means themselves.
    np.testing.assert_allclose(
        proportional.means.estimate,
        np.column_stack([Y[:, ::2].mean(axis=1), Y[:, 1::2].mean(axis=1)]),
        rtol=1e-9,
    )


def test_an_empty_cell_is_not_estimable() -> None:
    Y, X, participant, arm = _crossed()
    Y[0, (X[:, 1] == 1) & (arm == 1)] = np.nan
    found = marginal_means(
        fit(Y, X, participant),
        [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1.0]],
        contrasts=[[-1, 1, 0, 0], [0, 0, -1, 1]],
    )
    assert found.contrasts is not None
    np.testing.assert_array_equal(found.means.estimable, [[True, True, True, False], [True] * 4])
    np.testing.assert_array_equal(found.contrasts.estimable, [[True, False], [True, True]])
    assert np.isnan(found.contrasts.p[0, 1])


def test_refused() -> None:
    Y, X, participant, _ = _crossed()
    model = fit(Y, X, participant)
    for changes in ({"weights": [[1.0, 2.0]]}, {"contrasts": [[np.nan, 1.0, 0, 0]]}, {"weights": [1.0] * 4}):
        with pytest.raises(AssayError):
            marginal_means(model, np.eye(4), **changes)
    with pytest.raises(AssayError):
        marginal_means(model, np.eye(3))
