"""Gene-set tests: equal to limma's camera, cameraPR and fry, and of the stated level."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pdbiomarker.errors import AssayError
from pdbiomarker.expression import competitive, competitive_from_table, rotate, self_contained
from pdbiomarker.expression.enrichment import z_of_t

RELATIVE = 1e-9


@pytest.fixture(scope="module")
def case(golden):
    folder = golden / "signatures"
    values = pd.read_csv(folder / "voom_E.csv", index_col=0)
    weights = pd.read_csv(folder / "voom_weights.csv", index_col=0).to_numpy(dtype=float)
    sets = pd.read_csv(folder / "sets.csv")
    genes = [str(g) for g in values.index]
    visit, person = np.tile([0.0, 1.0], 7), np.repeat(np.arange(7), 2)
    paired = np.column_stack([np.ones(14), *((person == k) * 1.0 for k in range(1, 7)), visit])
    results = pd.read_csv(folder / "gene_set_tests.csv")
    return {
        "Y": values.to_numpy(dtype=float),
        "W": weights,
        "genes": genes,
        "sets": {
            str(k): [g for g in v if g in genes]
            for k, v in sets.groupby("set", sort=False)["gene"]
            if k in set(results["set"])
        },
        "plain": (np.column_stack([np.ones(14), visit]), np.array([0.0, 1.0])),
        "paired": (paired, np.eye(8)[7]),
        "person": person,
        "rho": float(pd.read_csv(folder / "correlation.csv")["value"].iloc[0]),
        "statistics": pd.read_csv(folder / "statistics.csv"),
        "results": results.set_index("case"),
    }


def check(case, name, table, rtol=RELATIVE):
    rows = case["results"].loc[name]
    assert table["set"].tolist() == rows["set"].tolist()
    assert table["n_genes"].tolist() == rows["NGenes"].tolist()
    assert table["direction"].tolist() == rows["Direction"].str.lower().tolist()
    np.testing.assert_allclose(table["p"], rows["PValue"], rtol=rtol)
    if "p_mixed" in table:
        np.testing.assert_allclose(table["p_mixed"], rows["PValue.Mixed"], rtol=rtol)


def test_z_of_t(case):
    """Oracle: limma's zscoreT; and far tails by mpmath-free identities: symmetric, monotone, finite."""
    s = case["statistics"]
    np.testing.assert_allclose(z_of_t(s["t"], s["df_total"]), s["z"], rtol=1e-9)
    far = z_of_t(np.array([-400.0, 400.0]), 5)
    assert np.isfinite(far).all()
    assert far[0] == -far[1]
    assert z_of_t(2.5, np.inf) == pytest.approx(2.5, rel=1e-12)
    assert np.isnan(z_of_t(np.nan, 5))


@pytest.mark.parametrize(
    ("name", "correlation", "ranks"),
    [
        ("cameraPR/t/0.01", 0.01, False),
        ("cameraPR/t/0.1", 0.1, False),
        ("cameraPR/t/0", 0.0, False),
        ("cameraPR/ranks/0.05", 0.05, True),
    ],
)
def test_competitive_equals_camera_pr(case, name, correlation, ranks):
    table = competitive(
        case["statistics"]["t"], case["genes"], case["sets"], correlation=correlation, ranks=ranks
    )
    check(case, name, table)


@pytest.mark.parametrize(
    ("name", "design", "weighted"),
    [("camera/plain", "plain", False), ("camera/voom", "plain", True), ("camera/paired", "paired", False)],
)
def test_competitive_equals_camera(case, name, design, weighted):
    """Relative 1e-8: camera turns t into z by an approximation (Hill), ours is exact."""
    X, contrast = case[design]
    rotated = rotate(case["Y"], X, contrast, weights=case["W"] if weighted else None)
    check(case, f"{name}/0.01", competitive(rotated.z(), case["genes"], case["sets"]), rtol=1e-8)
    if design == "plain":
        rows = case["results"].loc[f"{name}/estimated"]
        index = {k: np.array([case["genes"].index(g) for g in v]) for k, v in case["sets"].items()}
        found = {k: rotated.correlation(v) for k, v in index.items()}
        known = rows["Correlation"].notna().to_numpy()
        np.testing.assert_allclose(
            np.array(list(found.values()))[known], rows["Correlation"][known], rtol=1e-9
        )
        table = competitive(
            rotated.z(),
            case["genes"],
            case["sets"],
            correlation={k: max(0.0, v) for k, v in found.items()},
            df=rotated.residual.shape[1],
        )
        check(case, f"{name}/estimated", table, rtol=1e-8)


@pytest.mark.parametrize(
    ("name", "design", "options", "standardise"),
    [
        ("fry/plain", "plain", "", "posterior"),
        ("fry/plain/none", "plain", "", "none"),
        ("fry/plain/residual.sd", "plain", "", "residual"),
        ("fry/voom", "plain", "weights", "posterior"),
        ("fry/paired", "paired", "", "posterior"),
        ("fry/block", "plain", "block", "posterior"),
        ("fry/voom_block", "plain", "weights block", "posterior"),
    ],
)
def test_self_contained_equals_fry(case, name, design, options, standardise):
    X, contrast = case[design]
    rotated = rotate(
        case["Y"],
        X,
        contrast,
        weights=case["W"] if "weights" in options else None,
        groups=case["person"] if "block" in options else None,
        rho=case["rho"] if "block" in options else 0.0,
    )
    check(case, name, self_contained(rotated, case["genes"], case["sets"], standardise=standardise))


def test_any_contrast_is_the_same_as_its_coefficient(case):
    """Reparametrised: visit as two cell means, contrast (-1, 1)."""
    X, contrast = case["plain"]
    means = np.column_stack([1 - X[:, 1], X[:, 1]])
    one, two = rotate(case["Y"], X, contrast), rotate(case["Y"], means, [-1.0, 1.0])
    np.testing.assert_allclose(two.effect, one.effect, atol=1e-10)
    np.testing.assert_allclose(two.sigma2, one.sigma2, rtol=1e-10)


@pytest.mark.slow
def test_levels_under_the_null():
    """Rate of p < .05 with no change, 2,000 sets of 10 independent genes: within 4 standard errors of .05.

    The mixed p, which equals limma's, is conservative where a set has fewer genes than there are biopsies
    (.003 here): it must not be above .05.
    """
    draw = np.random.default_rng(11)
    genes = [f"g{k}" for k in range(500)]
    sets = {f"s{k}": genes[10 * k : 10 * k + 10] for k in range(50)}
    X = np.column_stack([np.ones(16), np.tile([0.0, 1.0], 8)])
    rates = {"competitive": [], "self": [], "mixed": []}
    for _ in range(40):
        rotated = rotate(draw.normal(size=(500, 16)), X, [0.0, 1.0])
        rates["competitive"] += competitive(rotated.z(), genes, sets, correlation=0.0)["p"].tolist()
        found = self_contained(rotated, genes, sets)
        rates["self"] += found["p"].tolist()
        rates["mixed"] += found["p_mixed"].tolist()
    found_rates = {name: float(np.mean(np.array(p) < 0.05)) for name, p in rates.items()}
    for name in ("competitive", "self"):
        assert abs(found_rates[name] - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000), name
    assert found_rates["mixed"] <= 0.05


def test_from_a_result_table():
    """The statistics are read contrast by contrast; missing tests and foreign genes are counted."""
    draw = np.random.default_rng(1)
    t = draw.normal(size=60)
    t[:5] += 3
    table = pd.DataFrame(
        {
            "assay": "rna",
            "contrast": "on",
            "set": "strict",
            "kind": "count",
            "feature": [f"id{k}" for k in range(60)],
            "label": [f"G{k}" for k in range(58)] + ["G57 (id58)", "G59"],
            "t": t,
            "df": 20.0,
        }
    )
    table.loc[7, "t"] = np.nan
    found = competitive_from_table(
        table, {"up": [f"G{k}" for k in range(5)], "mixed": ["G7", "G8", "other"]}
    ).set_index("set")
    assert found.loc["up", "direction"] == "up"
    assert found.loc["up", "p"] < 1e-4
    assert found.loc["mixed", ["n_genes", "n_missing"]].tolist() == [1, 2]
    assert found["analysis_set"].tolist() == ["strict", "strict"]
    z = z_of_t(t, 20.0)
    z[57] = (z[57] + z[58]) / 2
    kept = np.delete(z, [7, 58])
    rest = np.r_[kept[:7], kept[7:]]
    delta = rest[:5].mean() - rest[5:].mean()
    assert delta > 0
    assert competitive_from_table(table[table["kind"] == "none"], {"up": ["G1"]}).empty


def test_sets_that_cannot_be_tested():
    z = stats.norm.ppf((np.arange(10) + 0.5) / 10)
    genes = [f"g{k}" for k in range(10)]
    table = competitive(z, genes, {"none": ["x"], "all": genes, "one": ["g9"]}).set_index("set")
    assert table["p"].isna().tolist() == [True, True, False]
    assert table.loc["none", "n_missing"] == 1
    assert table.loc["one", "q"] == table.loc["one", "p"]
    with pytest.raises(AssayError, match="cannot have a mean correlation"):
        competitive(z, genes, {"two": ["g0", "g1"]}, correlation=-1.0)
    with pytest.raises(AssayError, match="named twice"):
        competitive(z, ["g0"] * 10, {"a": ["g0"]})
    with pytest.raises(AssayError, match="9 genes are named for 10"):
        competitive(z, genes[:9], {"a": ["g0"]})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"contrast": [0.0, 0.0]}, "E-MODEL-007"),
        ({"contrast": [1.0]}, "E-MODEL-001"),
        ({"X": np.ones((14, 2))}, "E-MODEL-007"),
        ({"Y": np.full((3, 14), np.nan)}, "E-MODEL-002"),
        ({"weights": np.ones((2, 14))}, "E-MODEL-001"),
    ],
)
def test_what_cannot_be_rotated(case, change, code):
    X, contrast = case["plain"]
    given = {"Y": case["Y"], "X": X, "contrast": contrast, "weights": None} | change
    with pytest.raises(AssayError, match=code):
        rotate(given["Y"], given["X"], given["contrast"], weights=given["weights"])
