"""Moderation of variances against limma's own numbers, its limits, and simulations with known truth.

References for the definition "limma-3.60": R 4.2.2 with limma 3.54.1 (`tests/golden/sim200` and
`tests/golden/moderation/make_squeeze.R`). For "limma-3.62": pylimma 0.2.0 (`make_squeeze_362.py`), whose
optimiser stops at about 1e-4 of d0, so that agreement is to that, and the optimum is checked by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import optimize, special, stats

from pdbiomarker.errors import AssayError
from pdbiomarker.mixed import fdist
from pdbiomarker.mixed.moderate import Moderation, moderated_t, squeeze_variances

Array = NDArray[np.float64]


def _same(found: object, expected: object, rtol: float) -> None:
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=rtol, atol=0)


def _wide(table: pd.DataFrame, columns: str, values: str, genes: pd.Index) -> Array:
    return table.set_index(["gene", columns])[values].unstack().loc[genes].to_numpy(float)  # noqa: PD010


def _folder(name: str, golden: Path, shared_golden: Callable[[str], Path]) -> Path:
    return golden / name if name == "sim200" else shared_golden(name)


SETS = ["sim200", pytest.param("riaz200", marks=pytest.mark.data)]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", ["std", "trend", "robust"])
def test_squeeze_is_limma(name: str, kind: str, golden: Path, shared_golden: Callable[[str], Path]) -> None:
    """d0, s0 and posterior of R on dream's variances (unequal df); the table has 12 digits: 1e-10."""
    table = pd.read_csv(_folder(name, golden, shared_golden) / "limma_squeezeVar.csv")
    found = squeeze_variances(
        table["var"],
        table["df"],
        covariate=table["covariate"] if kind == "trend" else None,
        robust=kind == "robust",
    )
    _same(found.df_prior, table[f"d0_{kind}"], 1e-10)
    _same(found.s2_prior, table[f"s0_{kind}"], 1e-10)
    _same(found.s2_post, table[f"post_{kind}"], 1e-10)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("correlation", ["nocorr", "dupcor"])
@pytest.mark.parametrize("kind", ["std", "trend", "robust"])
def test_ebayes_of_voom_fits(
    name: str, correlation: str, kind: str, golden: Path, shared_golden: Callable[[str], Path]
) -> None:
    """All of limma's eBayes from its own sigma and df; the trend's covariate has 11 digits: 1e-9."""
    folder = _folder(name, golden, shared_golden)
    genes = pd.read_csv(folder / f"limma_voom_{correlation}_{kind}_genes.csv", index_col="gene")
    plain = pd.read_csv(folder / f"limma_voom_{correlation}_std_contrasts.csv")
    tests = pd.read_csv(folder / f"limma_voom_{correlation}_{kind}_contrasts.csv")
    mean = pd.read_csv(folder / "voom_E.csv", index_col=0).loc[genes.index].to_numpy().mean(axis=1)
    found = squeeze_variances(
        genes["sigma"] ** 2,
        genes["df_residual"],
        covariate=mean if kind == "trend" else None,
        robust=kind == "robust",
    )
    _same(found.df_prior, genes["df_prior"], 1e-9)
    _same(found.s2_prior, genes["s2_prior"], 1e-9)
    _same(found.s2_post, genes["s2_post"], 1e-9)

    def wide(table: pd.DataFrame, column: str) -> Array:
        return _wide(table, "contrast", column, genes.index)

    t, df, p = moderated_t(
        wide(plain, "logFC"), wide(plain, "stdev_unscaled"), genes["df_residual"], moderation=found
    )
    _same(t, wide(tests, "t"), 1e-9)
    _same(df[:, 0], genes["df_total"], 1e-9)
    _same(np.log10(p), np.log10(wide(tests, "p")), 1e-8)


@pytest.mark.parametrize("name", SETS)
def test_ebayes_of_dream(name: str, golden: Path, shared_golden: Callable[[str], Path]) -> None:
    """dream: prior from tr((I-H)^2) df, total df = Satterthwaite df + d0 without a bound."""
    folder = _folder(name, golden, shared_golden)
    genes = pd.read_csv(folder / "dream_genes.csv", index_col="gene")
    table = pd.read_csv(folder / "dream_contrasts.csv")
    found = squeeze_variances(genes["sigma"] ** 2, genes["rdf"])
    _same(found.df_prior, genes["df_prior"], 1e-10)
    _same(found.s2_post, genes["s2_post"], 1e-10)

    def wide(stage: str, column: str) -> Array:
        part = table[table["stage"] == stage]
        return _wide(part, "coef", column, genes.index)

    t, _, p = moderated_t(
        wide("dream", "logFC"),
        wide("dream", "stdev_unscaled"),
        wide("dream", "df_satt"),
        moderation=found,
        cap=False,
    )
    _same(t, wide("eBayes", "t"), 1e-10)
    # The smallest p are 1e-107; p itself agrees to 1e-8 relative there.
    _same(p, wide("eBayes", "p"), 1e-8)


def _cases(name: str) -> list[object]:
    table = pd.read_csv(Path(__file__).parents[1] / "golden" / "moderation" / name)
    return [pytest.param(frame, id=str(case)) for case, frame in table.groupby("case", sort=False)]


@pytest.mark.parametrize("frame", _cases("squeeze_cases.csv"))
def test_definition_360_in_every_corner(frame: pd.DataFrame) -> None:
    """Outliers, equal and unequal df, trends, infinite d0, zeros, missing, df 0, ties, 2 to 30 features.

    Robust d0 to 1e-7 because limma's root finder stops at 1e-8; else 1e-12.
    """
    robust = bool(frame["robust"].iloc[0])
    covariate = None if frame["covariate"].isna().all() else frame["covariate"]
    found = squeeze_variances(frame["s2"], frame["df"], covariate=covariate, robust=robust)
    for values, column in ((found.df_prior, "d0"), (found.s2_prior, "s0"), (found.s2_post, "post")):
        _same(values, frame[column], 1e-7 if robust else 1e-12)


@pytest.mark.parametrize("frame", _cases("squeeze_362_cases.csv"))
def test_definition_362(frame: pd.DataFrame) -> None:
    """To where the reference's optimiser stops; the trend of 600 features to its interpolation."""
    covariate = None if frame["covariate"].isna().all() else frame["covariate"]
    robust = bool(frame["robust"].iloc[0])
    found = squeeze_variances(
        frame["s2"], frame["df"], covariate=covariate, robust=robust, definition="limma-3.62"
    )
    tolerance = 2e-3 if frame["case"].iloc[0] == "many_trend" else 5e-4
    for values, column in ((found.df_prior, "d0"), (found.s2_prior, "s0"), (found.s2_post, "post")):
        _same(values, frame[column], tolerance)
    assert found.algorithm == ("robust likelihood" if robust else "likelihood")


@pytest.mark.data
def test_d0_of_riaz_in_both_definitions(shared_golden: Callable[[str], Path]) -> None:
    """The input is dream's residual variances and df of the 200 genes: 2.35 to 3.60, 2.00 since 3.62."""
    table = pd.read_csv(shared_golden("riaz200/limma_squeezeVar.csv"))
    old = squeeze_variances(table["var"], table["df"])
    new = squeeze_variances(table["var"], table["df"], definition="limma-3.62")
    assert round(old.df_common, 2) == 2.35
    assert round(new.df_common, 2) == 2.00
    assert (old.algorithm, new.algorithm) == ("moments", "likelihood")


def test_likelihood_is_at_its_optimum() -> None:
    """The criterion written with scipy's F density and minimised by golden section: same d0 to 1e-6."""
    rng = np.random.default_rng(4)
    df = rng.uniform(2, 30, 80)
    s2 = 0.4 * rng.f(df, 7.0)
    found = squeeze_variances(s2, df, definition="limma-3.62")
    e = np.log(s2) + np.log(df / 2) - special.digamma(df / 2)
    location = np.average(e, weights=1 / special.polygamma(1, df / 2))

    def loss(log_d0: float) -> float:
        d0 = np.exp(log_d0)
        s0 = np.exp(location + special.digamma(d0 / 2) - np.log(d0 / 2))
        return float(-stats.f.logpdf(s2 / s0, df, d0).sum() + len(s2) * np.log(s0))

    best = optimize.minimize_scalar(loss, bounds=(np.log(2), 8), method="bounded", options={"xatol": 1e-12})
    assert found.df_common == pytest.approx(np.exp(best.x), rel=1e-6)
    assert loss(np.log(found.df_common)) <= best.fun + 1e-12


def test_equal_df_are_the_same_in_both_definitions() -> None:
    s2 = 0.3 * np.random.default_rng(1).f(9, 5.0, 60)
    df = np.where(np.arange(60) == 3, 0.0, 9.0)
    old, new = (squeeze_variances(s2, df, definition=d) for d in ("limma-3.60", "limma-3.62"))
    np.testing.assert_array_equal(old.s2_post, new.s2_post)
    assert (new.algorithm, new.definition) == ("moments", "limma-3.62")


@pytest.mark.parametrize("definition", ["limma-3.60", "limma-3.62"])
@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("trend", [False, True])
def test_known_prior_is_found(definition: str, robust: bool, trend: bool) -> None:
    """20,000 features, d0 = 6: d0 within 4 %, s0 within 3 % (about four standard errors)."""
    rng = np.random.default_rng(8)
    df, x = rng.uniform(5, 60, 20_000), rng.uniform(0, 10, 20_000)
    s0 = np.exp(0.3 * x) if trend else np.full(20_000, 0.7)
    found = squeeze_variances(
        s0 * rng.f(df, 6.0),
        df,
        covariate=x if trend else None,
        robust=robust,
        definition=definition,  # type: ignore[arg-type]
    )
    assert found.df_common == pytest.approx(6.0, rel=0.04)
    middle = (x > 1) & (x < 9)
    assert np.abs(np.log(found.s2_prior / s0))[middle].max() < (0.12 if trend else 0.03)


def test_outliers_keep_their_variance_only_if_robust() -> None:
    rng = np.random.default_rng(2)
    s2 = rng.f(8, 20.0, 500)
    s2[:3] = 60.0
    for definition in ("limma-3.60", "limma-3.62"):
        df = 8.0 + (np.arange(500) % 2 if definition == "limma-3.62" else np.zeros(500))
        plain = squeeze_variances(s2, df, definition=definition)  # type: ignore[arg-type]
        robust = squeeze_variances(s2, df, robust=True, definition=definition)  # type: ignore[arg-type]
        assert robust.df_common > plain.df_common
        assert (robust.df_prior[:3] < 2).all()
        assert (robust.s2_post[:3] > 50).all()
        np.testing.assert_array_equal(robust.df_prior[100:], np.maximum(robust.df_prior[100:], 2))


def test_features_that_say_nothing_take_the_prior() -> None:
    rng = np.random.default_rng(3)
    s2, df, x = rng.f(10, 6.0, 40), np.full(40, 10.0), rng.normal(size=40)
    s2[0], df[1], s2[2], x[2] = np.nan, 0.0, np.nan, np.nan
    found = squeeze_variances(s2, df, covariate=x)
    assert found.n_informing == 37
    assert np.isnan(found.s2_post[[0, 2]]).all()
    assert np.isnan(found.s2_prior[2])
    assert found.s2_post[1] == found.s2_prior[1]
    assert np.isfinite(found.df_prior).all()


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [1.0, 0.5, 0.1]])
def test_three_features_on_a_line_have_that_line_as_their_trend(weights: list[float]) -> None:
    """Too few for a smooth trend: a straight line, which meets what lies on one whatever the weights."""
    x, df = np.array([2.0, -1.0, 4.0]), np.array([5.0, 8.0, 13.0])
    line = 1.0 + 0.5 * x
    s2 = np.exp(line - (np.log(df / 2) - special.digamma(df / 2)))
    elsewhere, own, prior = fdist._likelihood_fit(fdist.Variances(s2, df, x), x, np.asarray(weights))
    assert prior > 1e6, "nothing scatters about the line, so b(d0) is 0"
    np.testing.assert_allclose(np.log(own), line, rtol=1e-6)
    np.testing.assert_allclose(elsewhere, own, rtol=1e-12)
    found = squeeze_variances(s2, df, covariate=x)
    np.testing.assert_allclose(np.diff(np.log(found.s2_prior)), np.diff(line), rtol=1e-9)


def test_one_feature_is_not_moderated() -> None:
    found = squeeze_variances([0.3, np.nan], [5.0, 4.0])
    assert (found.algorithm, found.df_common) == ("none", 0.0)
    _same(found.s2_post, [0.3, np.nan], 0)
    t = moderated_t([[1.0], [1.0]], [[0.5], [0.5]], [5.0, 4.0], moderation=found)
    assert t.p[0, 0] == pytest.approx(2 * stats.t.sf(2 / np.sqrt(0.3), 5), rel=1e-12)
    assert np.isnan(t.p[1, 0])


def test_zero_variances_are_raised_and_counted() -> None:
    s2 = np.random.default_rng(5).f(10, 6.0, 30)
    s2[4] = 0.0
    found = squeeze_variances(s2, 10)
    assert found.n_raised == 1
    assert found.s2_post[4] == pytest.approx(found.df_common * found.s2_prior[4] / (10 + found.df_common))


def test_infinite_prior_gives_normal_or_capped_tests() -> None:
    u = (np.arange(30) + 0.5) / 30
    s2 = stats.chi2.ppf(u * 0.6 + 0.2, 6) / 6
    found = squeeze_variances(s2, 6)
    assert np.isinf(found.df_common)
    _same(found.s2_post, np.full(30, s2.mean()), 1e-12)
    estimate, sd = np.full((30, 1), 2.0), np.full((30, 1), 0.8)
    free = moderated_t(estimate, sd, 6, moderation=found, cap=False)
    bound = moderated_t(estimate, sd, 6, moderation=found)
    z = 2.0 / 0.8 / np.sqrt(s2.mean())
    assert free.p[0, 0] == pytest.approx(2 * stats.norm.sf(z), rel=1e-12)
    assert bound.df[0, 0] == 180
    assert bound.p[0, 0] == pytest.approx(2 * stats.t.sf(z, 180), rel=1e-12)


def test_moderation_does_not_depend_on_unit_or_order() -> None:
    rng = np.random.default_rng(6)
    df, x = rng.uniform(3, 30, 70), rng.normal(size=70)
    s2 = rng.f(df, 5.0)
    order = rng.permutation(70)
    for definition in ("limma-3.60", "limma-3.62"):
        for robust in (False, True):

            def squeeze(rows: object, unit: float) -> Moderation:
                return squeeze_variances(
                    unit * s2[rows],  # type: ignore[call-overload]
                    df[rows],  # type: ignore[call-overload]
                    covariate=x[rows],  # type: ignore[call-overload]
                    robust=robust,  # noqa: B023
                    definition=definition,  # type: ignore[arg-type] # noqa: B023
                )

            base, other = squeeze(np.arange(70), 1.0), squeeze(order, 1e6)
            _same(other.s2_post, 1e6 * base.s2_post[order], 1e-8)
            _same(other.df_prior, base.df_prior[order], 1e-8)


def test_null_p_values_are_uniform() -> None:
    """20,000 null features, 4 residual df, d0 = 6: rate below .001, .01, .05 within four standard errors."""
    rng = np.random.default_rng(9)
    n, df = 20_000, 4
    variance = 6.0 / rng.chisquare(6, n)
    estimate = rng.normal(size=(n, 1)) * np.sqrt(variance)[:, None]
    found = squeeze_variances(variance * rng.chisquare(df, n) / df, df)
    p = moderated_t(estimate, np.ones((n, 1)), df, moderation=found).p
    for level in (0.001, 0.01, 0.05):
        assert abs((p < level).mean() - level) < 4 * np.sqrt(level / n)


def test_inverse_trigamma() -> None:
    for y in (1e-4, 0.01, 0.5, 3.0, 80.0, 1e5):
        assert fdist.inverse_trigamma(float(special.polygamma(1, y))) == pytest.approx(y, rel=1e-6)


def test_far_tail_beyond_the_smallest_double() -> None:
    """Where P(F > f) still is a double the series agrees with it; beyond, it goes on in a straight line."""
    a = fdist._log_upper_tail(40.0, 10.0, 900.0)
    fdist_tiny, fdist.TINY = fdist.TINY, 1.0
    try:
        assert fdist._log_upper_tail(40.0, 10.0, 900.0) == pytest.approx(a, rel=1e-12)
    finally:
        fdist.TINY = fdist_tiny
    assert np.isfinite(fdist._log_upper_tail(1e6, 10.0, 900.0))


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        ({"s2": [0.1, -0.2, 0.3]}, "E-MODEL-006", "s2[1]"),
        ({"s2": [0.1, np.inf, 0.3]}, "E-MODEL-006", "s2[1]"),
        ({"s2": [0.0, 0.0, 0.3]}, "E-MODEL-006", "s2"),
        ({"s2": [[0.1, 0.2, 0.3]]}, "E-MODEL-001", None),
        ({"df": [1.0, 2.0]}, "E-MODEL-001", None),
        ({"df": [1.0, np.nan, 2.0]}, "E-MODEL-006", "df[1]"),
        ({"df": -1.0}, "E-MODEL-006", "df[0]"),
        ({"covariate": [1.0, 2.0]}, "E-MODEL-001", None),
        ({"covariate": [1.0, 2.0, np.nan]}, "E-MODEL-006", "covariate[2]"),
        ({"definition": "limma-3.58"}, "E-MODEL-006", "definition"),
    ],
)
def test_refusals(change: dict[str, object], code: str, place: str | None) -> None:
    good: dict[str, object] = {"s2": [0.1, 0.2, 0.3], "df": [4.0, 5.0, 6.0]}
    with pytest.raises(AssayError) as caught:
        squeeze_variances(**(good | change))  # type: ignore[arg-type]
    assert (caught.value.problems[0].code, caught.value.problems[0].column) == (code, place)


def test_shapes_of_tests_are_checked() -> None:
    found = squeeze_variances([0.1, 0.2, 0.3], 5)
    with pytest.raises(AssayError, match="E-MODEL-001"):
        moderated_t([[1.0]], [[1.0]], 5, moderation=found)
    with pytest.raises(AssayError, match="E-MODEL-001"):
        moderated_t(np.ones((3, 1)), np.ones((3, 1)), [5.0, 5.0], moderation=found)
