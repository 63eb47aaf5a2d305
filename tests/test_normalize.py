"""Every kind on its scale; kernels against R. Oracles: edgeR 3.40.2, limma 3.54.1, R 4.2.2 (golden)."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker import expression
from pdbiomarker.errors import AssayError
from pdbiomarker.normalize import (
    CountFilter,
    NormalizeOptions,
    filter_by_expr,
    lowess,
    normalize,
    tmm_factors,
    voom,
)


@pytest.fixture(scope="module", params=["sim200", "riaz200"])
def reference(request, golden, shared_golden):
    folder = golden / "sim200" if request.param == "sim200" else shared_golden("riaz200")
    return lambda name: pd.read_csv(folder / f"{name}.csv")


def numbers(table):
    return table.iloc[:, 1:].to_numpy(float)


# --- kernels against R --------------------------------------------------------------------------------


def test_filter_equals_edger(reference):
    counts, samples, expected = (reference(n) for n in ("counts", "samples", "edger_filter_avelogcpm"))
    y = numbers(counts)
    size = y.sum(axis=0) * tmm_factors(y)
    group = samples["timepoint"].astype(str).tolist()
    assert filter_by_expr(y, group, size).tolist() == expected["filterByExpr_group"].tolist()
    design = numbers(reference("design"))
    assert filter_by_expr(y, None, size, design=design).tolist() == expected["filterByExpr_design"].tolist()


def test_voom_equals_limma(reference):
    """The files hold 10 significant digits of E and of the weights: 1e-9 relative is their precision."""
    y, design = numbers(reference("counts")), numbers(reference("design"))
    E, weights, trend = voom(y, design, norm_factors=tmm_factors(y))
    np.testing.assert_allclose(E, numbers(reference("voom_E")), rtol=1e-9)
    np.testing.assert_allclose(weights, numbers(reference("voom_weights")), rtol=1e-8)
    line = reference("voom_trend_line").drop_duplicates("x")
    np.testing.assert_allclose(trend.x, line["x"], rtol=1e-11)
    np.testing.assert_allclose(trend.y, line["y"], rtol=1e-11)


def plain_lowess(x, y, span, robust_steps, skip):
    """Cleveland's algorithm point by point, straight from its description: an independent second writing."""
    n, span_n = len(x), max(2, min(len(x), int(span * len(x) + 1e-7)))
    reach, robust, fit = skip * (x[-1] - x[0]), np.ones(n), np.zeros(n)
    for step in range(robust_steps + 1):
        left, last, i = 0, -1, 0
        while True:
            while left + span_n < n and x[i] - x[left] > x[left + span_n] - x[i]:
                left += 1
            h = max(x[i] - x[left], x[left + span_n - 1] - x[i])
            weight = np.zeros(n)
            for j in range(left, n):
                distance = abs(x[j] - x[i])
                if distance <= 0.999 * h:
                    weight[j] = robust[j] * (1 if distance <= 0.001 * h else (1 - (distance / h) ** 3) ** 3)
                elif x[j] > x[i]:
                    break
            if weight.sum() <= 0:
                fit[i] = y[i]
            else:
                weight /= weight.sum()
                centre = weight @ x
                spread = weight @ (x - centre) ** 2
                if np.sqrt(spread) > 0.001 * (x[-1] - x[0]):
                    weight = weight * (1 + (x[i] - centre) / spread * (x - centre))
                fit[i] = weight @ y
            for j in range(last + 1, i):
                share = (x[j] - x[last]) / (x[i] - x[last])
                fit[j] = share * fit[i] + (1 - share) * fit[last]
            last = i
            cut = x[last] + reach
            i = last + 1
            while i < n and x[i] <= cut:
                if x[i] == x[last]:
                    fit[i], last = fit[last], i
                i += 1
            i = max(last + 1, i - 1)
            if last >= n - 1:
                break
        size = np.abs(y - fit)
        scale = 6 * np.median(size)
        if step == robust_steps or scale <= 1e-7 * size.mean():
            return fit
        robust = np.where(
            size <= 0.001 * scale, 1, np.where(size <= 0.999 * scale, (1 - (size / scale) ** 2) ** 2, 0)
        )
    return fit


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(2, 60),
    span=st.floats(0.1, 1),
    steps=st.integers(0, 3),
    skip=st.sampled_from([0, 0.01, 0.1]),
    decimals=st.sampled_from([0, 1, 6]),
)
def test_lowess_equals_its_plain_writing(seed, n, span, steps, skip, decimals):
    """Ties, windows at the edges, skipped points, robustness: all to 1e-9."""
    rng = np.random.default_rng(seed)
    x = np.sort(np.round(rng.exponential(3, n), decimals))
    y = np.round(np.sin(x) + rng.normal(size=n) / 3, 3)
    ours = lowess(x, y, span=span, robust_steps=steps, skip=skip)
    np.testing.assert_allclose(ours, plain_lowess(x, y, span, steps, skip), rtol=1e-9, atol=1e-9)


def test_lowess_of_r_cars():
    """R 4.2.2: print(lowess(cars)$y[c(1, 3, 5, 6, 7, 20, 44, 50)], digits = 12)."""
    speed = [
        4,
        4,
        7,
        7,
        8,
        9,
        10,
        10,
        10,
        11,
        11,
        12,
        12,
        12,
        12,
        13,
        13,
        13,
        13,
        14,
        14,
        14,
        14,
        15,
        15,
        15,
        16,
    ]
    speed += [16, 17, 17, 17, 18, 18, 18, 18, 19, 19, 19, 20, 20, 20, 20, 20, 22, 23, 24, 24, 24, 24, 25]
    dist = [
        2,
        10,
        4,
        22,
        16,
        10,
        18,
        26,
        34,
        17,
        28,
        14,
        20,
        24,
        28,
        26,
        34,
        34,
        46,
        26,
        36,
        60,
        80,
        20,
        26,
        54,
    ]
    dist += [32, 40, 32, 40, 50, 42, 56, 76, 84, 36, 46, 68, 32, 48, 52, 56, 64, 66, 54, 70, 92, 93, 120, 85]
    fit = lowess(np.array(speed, float), np.array(dist, float), span=2 / 3)
    first = [4.96545927719, 13.12449503967, 15.85863338210, 18.57969051422, 21.28031257853]
    last = [32.96250613616, 67.58582423143, 84.32869809683]
    np.testing.assert_allclose(fit[[0, 2, 4, 5, 6, 19, 43, 49]], first + last, rtol=1e-11)


def test_rank_deficient_design_gives_the_weights_of_its_column_space():
    rng = np.random.default_rng(4)
    y = rng.negative_binomial(3, 0.01, (300, 12)).astype(float)
    x = np.repeat([0.0, 1.0], 6)
    full = np.column_stack([np.ones(12), x])
    aliased = np.column_stack([np.ones(12), x, 1 - x, 2 * x])
    np.testing.assert_allclose(voom(y, aliased).weights, voom(y, full).weights, rtol=1e-10)
    assert filter_by_expr(y, design=aliased).tolist() == filter_by_expr(y, design=full).tolist()


def test_voom_without_residuals_weighs_all_the_same():
    y = np.random.default_rng(0).poisson(50, (20, 2)).astype(float)
    fitted = voom(y, np.eye(2))
    assert fitted.trend is None
    assert (fitted.weights == 1).all()
    assert voom(y[:1]).trend is None


def test_filter_by_hand():
    """Four libraries of 1e6 reads, two groups: a gene needs 10 reads in two libraries and 15 in all."""
    rest = 10**6
    y = np.array(
        [[10, 10, 0, 0], [10, 0, 0, 0], [9, 9, 9, 9], [10, 4, 0, 10], [10, 10, 0, 10], [0, 0, 0, 0]], float
    )
    y = np.vstack([y, rest - y.sum(axis=0)])
    kept = filter_by_expr(y, ["a", "a", "b", "b"])
    assert kept.tolist() == [True, False, False, True, True, False, True]
    assert filter_by_expr(y).tolist() == [False] * 6 + [True]
    strict = CountFilter(min_total_count=25)
    assert filter_by_expr(y, ["a", "a", "b", "b"], limits=strict).tolist() == [
        False,
        False,
        False,
        False,
        True,
        False,
        True,
    ]


@pytest.mark.data
def test_full_riaz_matrix(shared_data):
    """filterByExpr by timepoint keeps 16,313 of 22,187 genes of all 109 libraries (reference/README)."""
    adata = expression.read_counts(shared_data("riaz2017/counts.csv.gz"))
    visits = ["On" if "_On_" in library else "Pre" for library in adata.obs_names]
    design = np.column_stack([np.ones(109), [v == "On" for v in visits]])
    result = normalize(adata, design, visits=visits)
    assert int(result.var["tested"].sum()) == 16313
    assert result.shape == adata.shape
    left_out = ~result.var["tested"].to_numpy()
    assert np.isnan(result.layers["y"][:, left_out]).all()
    assert (result.layers["w"][:, left_out] == 0).all()
    assert set(result.var["note"][left_out]) == {
        "too few counts to test (filterByExpr)",
        "no read in any biopsy: not tested",
    }
    assert (result.layers["w"][:, ~left_out] > 0).all()


@pytest.mark.data
def test_riaz_without_the_flagged_libraries(shared_data):
    """107 libraries: 16,287 genes (reference/README, limma-voom + duplicateCorrelation)."""
    adata = expression.read_counts(shared_data("riaz2017/counts.csv.gz"))
    samples = pd.read_csv(shared_data("riaz2017/samples.csv"), index_col=0, dtype=str).loc[adata.obs_names]
    good = samples["flag"].isna().to_numpy()
    visits = samples["timepoint"][good].tolist()
    assert int(filter_by_expr(adata.X[good].T, visits).sum()) == 16287


# --- the road: an assay of mixed kinds ----------------------------------------------------------------


def build(values, kinds, *, numerator=None, denominator=None, **var):
    names = list(values)
    x = np.array([values[n] for n in names], dtype=float).T
    frame = pd.DataFrame({"kind": kinds, **var}, index=pd.Index(names, dtype=str))
    obs = pd.DataFrame(index=pd.Index([f"B{k}" for k in range(len(x))], dtype=str))
    adata = ad.AnnData(x, obs=obs, var=frame)
    for name, table in (("numerator", numerator), ("denominator", denominator)):
        if table is not None:
            adata.layers[name] = np.array([table.get(n, [np.nan] * len(x)) for n in names], dtype=float).T
    return adata


def test_every_kind_on_its_scale():
    n = {"dens": [400, 20, 0], "prop": [50, 5, np.nan]}
    d = {"dens": [2.0, 4.0, 0.5], "prop": [100, 100, np.nan]}
    values = {
        "dens": [200, 5, 0],
        "prop": [0.5, 0.05, np.nan],
        "hscore": [0, 150, 300],
        "cyt": [-1.5, 2, np.nan],
        "od": [0.25, 8, 0],
    }
    adata = build(
        values, ["density", "proportion", "score", "signature", "intensity"], numerator=n, denominator=d
    )
    result = normalize(adata)
    y, w = result.layers["y"], result.layers["w"]
    np.testing.assert_allclose(y[:, 0], np.log2([200.25, 20.5 / 4, 1.0]), rtol=1e-15)
    np.testing.assert_allclose(y[:2, 1], np.log([1.0, 5.5 / 95.5]), rtol=1e-15, atol=1e-15)
    assert y[:, 2].tolist() == [0, 150, 300]
    np.testing.assert_array_equal(y[:, 3], [-1.5, 2, np.nan])
    np.testing.assert_array_equal(y[:, 4], [-2, 3, np.nan])
    assert np.array_equal(w, np.isfinite(y).astype(float))
    assert result.var["tested"].all()
    assert result.var.loc["od", "note"] == "1 value of 0 or below: no logarithm, left out"
    assert result.var.loc["hscore", "note"] == ""
    assert "y" not in adata.layers


def test_trap_21_weights_never_come_from_n():
    """Analysis decision 1: 4 cells or 40,000, in .1 or 100 mm2, weigh the same."""
    adata = build(
        {"dens": [40, 400], "prop": [0.5, 0.5]},
        ["density", "proportion"],
        numerator={"dens": [4, 40000], "prop": [2, 20000]},
        denominator={"dens": [0.1, 100], "prop": [4, 40000]},
    )
    assert (normalize(adata).layers["w"] == 1).all()


def test_no_area_and_no_cells_are_missing_with_a_note():
    adata = build(
        {"dens": [np.nan, 30, 40], "prop": [np.nan, np.nan, 0.5]},
        ["density", "proportion"],
        numerator={"dens": [0, 30, 40], "prop": [0, 0, 50]},
        denominator={"dens": [0, 1, 1], "prop": [0, 0, 100]},
    )
    result = normalize(adata)
    assert np.isnan(result.layers["y"]).tolist() == [[True, True], [False, True], [False, False]]
    assert result.layers["w"].tolist() == [[0, 0], [1, 0], [1, 1]]
    assert result.var["note"].tolist() == [
        "1 biopsy has no area: no value, left out",
        "2 biopsies have no cell: no value, left out",
    ]


def test_trap_21_small_counts_are_cautioned_and_not_primary():
    """Analysis decisions 2 and 3: the visit with its median; for a proportion, most biopsies."""
    visits = ["screening"] * 3 + ["C2D1"] * 3
    area, cells = [1.0] * 6, [100.0] * 6
    adata = build(
        {"low": [1] * 6, "high": [1] * 6, "few": [0.5] * 6, "most": [0.5] * 6},
        ["density", "density", "proportion", "proportion"],
        numerator={
            "low": [2, 3, 90, 20, 30, 40],
            "high": [10, 11, 12, 20, 30, 40],
            "few": [1, 2, 96, 50, 50, 50],
            "most": [1, 2, 50, 50, 50, 50],
        },
        denominator={"low": area, "high": area, "few": cells, "most": cells},
    )
    var = normalize(adata, visits=visits).var
    assert var["primary_ok"].tolist() == [False, True, False, True]
    assert var["note"].tolist() == [
        "caution: median count 3 at screening, below 10: a count model is primary",
        "",
        "caution: 3 of 6 biopsies have fewer than 5 positive or negative cells: beta-binomial is primary",
        "",
    ]
    # Without visits the median of all biopsies decides: (20 + 30) / 2 is enough.
    assert normalize(adata).var["primary_ok"].tolist() == [True, True, False, True]


def test_density_and_proportion_without_counts():
    adata = build({"d": [4, 0, 16], "p": [0.5, 0, 1]}, ["density", "proportion"])
    result = normalize(adata)
    np.testing.assert_array_equal(result.layers["y"], [[2, 0], [np.nan, np.nan], [4, np.nan]])
    assert result.var["primary_ok"].tolist() == [False, False]
    assert result.var["note"].tolist() == [
        "caution: no cell counts beside the density, so zeros have no logarithm; 1 value of 0 left out",
        "caution: no cell counts beside the proportion, so 0 and 1 have no logit; "
        "2 values of 0 or 1 left out",
    ]
    adata = build({"d": [4, 1, 16], "p": [0.5, 0.25, 0.75]}, ["density", "proportion"])
    assert normalize(adata).var["note"].tolist() == [
        "no cell counts beside the density: counting error is not known",
        "no cell counts beside the proportion: counting error is not known",
    ]


def test_values_beyond_a_limit_are_censored_there():
    adata = build({"il6": [0.5, 1, 4, 99]}, ["intensity"], lloq=[1.0])
    adata.var["uloq"] = [64.0]
    result = normalize(adata)
    assert result.layers["y"][:, 0].tolist() == [0, 0, 2, 6]
    assert result.layers["censored"][:, 0].tolist() == [-1, 0, 0, 1]
    note = "1 value below the LLOQ of 1: censored; 1 value above the ULOQ of 64: censored"
    assert result.var["note"].tolist() == [note]
    assert adata.X[0, 0] == 0.5  # the raw value stays


def test_flags_of_single_values_are_kept_and_checked():
    adata = build({"a": [2.0, 8.0], "b": [1.0, 1.0]}, ["intensity", "score"])
    adata.layers["censored"] = np.array([[0.0, 0.0], [1.0, -1.0]])
    result = normalize(adata)
    assert result.layers["censored"].tolist() == [[0, 0], [1, -1]]
    assert result.var["note"].tolist() == [
        "censored: 0 below and 1 above a limit",
        "censored: 1 below and 0 above a limit",
    ]
    adata.layers["censored"][0, 0] = 2.0
    with pytest.raises(AssayError, match="something other than -1, 0 and 1"):
        normalize(adata)


def test_nothing_is_censored_without_limits():
    assert "censored" not in normalize(build({"a": [2.0, 8.0]}, ["intensity"], lloq=[1.0])).layers


def test_nothing_measured_stays_as_a_row():
    result = normalize(build({"a": [np.nan] * 3, "b": [1, 2, 3]}, ["score", "score"]))
    assert result.var["tested"].tolist() == [False, True]
    assert result.var["note"].tolist() == ["not measured in any of these biopsies", ""]


def count_assay(seed=0, genes=80, biopsies=8):
    rng = np.random.default_rng(seed)
    y = rng.negative_binomial(2, 0.01, (biopsies, genes)).astype(float)
    y[:, 0] = 0
    y[:, 1] = 0
    y[0, 1] = 3
    return build({f"G{k}": y[:, k] for k in range(genes)}, "count")


def test_counts_with_an_unmeasured_biopsy_and_an_incomplete_gene():
    adata = count_assay()
    whole = normalize(adata[1:].copy())
    adata.X[0] = np.nan
    part = normalize(adata)
    assert np.isnan(part.layers["y"][0]).all()
    assert (part.layers["w"][0] == 0).all()
    np.testing.assert_array_equal(part.layers["y"][1:], whole.layers["y"])
    np.testing.assert_array_equal(part.layers["w"][1:], whole.layers["w"])
    assert np.isnan(part.obs["norm_factor"].iloc[0])
    adata.X[3, 5] = np.nan
    result = normalize(adata)
    assert result.var.loc["G5", "note"] == "a count is missing in a measured biopsy: not tested"
    assert not result.var.loc["G5", "tested"]
    assert result.var["note"].iloc[:2].tolist() == ["no read in any biopsy: not tested"] * 2


def test_counts_equal_the_kernels():
    adata = count_assay()
    visits = ["a", "b"] * 4
    design = np.column_stack([np.ones(8), [v == "b" for v in visits]])
    result = normalize(adata, design, visits=visits)
    y = adata.X.T
    kept = filter_by_expr(y, visits)
    fitted = voom(y[kept], design, norm_factors=tmm_factors(y[kept]))
    np.testing.assert_array_equal(result.layers["y"][:, kept], fitted.E.T)
    np.testing.assert_array_equal(result.layers["w"][:, kept], fitted.weights.T)
    assert result.var["tested"].tolist() == kept.tolist()
    np.testing.assert_allclose(
        result.obs["effective_library_size"], y[kept].sum(axis=0) * result.obs["norm_factor"]
    )
    np.testing.assert_array_equal(result.uns["voom_trend"]["x"], fitted.trend.x)
    every = normalize(adata, design, options=NormalizeOptions(filter_by="none"))
    assert every.var["tested"].tolist() == [False] + [True] * 79


def test_counts_and_other_kinds_in_one_assay():
    counts = count_assay(genes=30)
    mixed = build(
        {**{g: counts.X[:, k] for k, g in enumerate(counts.var_names)}, "score": np.arange(8)},
        ["count"] * 30 + ["score"],
    )
    alone, together = normalize(counts), normalize(mixed)
    np.testing.assert_array_equal(together.layers["y"][:, :30], alone.layers["y"])
    assert together.layers["y"][:, 30].tolist() == list(range(8))


def test_all_genes_too_low_and_a_single_biopsy():
    low = build({"a": [1, 0, 2], "b": [0, 0, 1]}, "count")
    result = normalize(low)
    assert not result.var["tested"].any()
    assert (result.var["note"] == "too few counts to test (filterByExpr)").all()
    one = normalize(build({"a": [100], "b": [900]}, "count"))
    assert one.layers["w"].tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: normalize(build({"a": [1, 2]}, ["densty"])), "E-ASSAY-001 .*unknown kind.*'density'"),
        (
            lambda: normalize(build({"a": [1, 2]}, ["score"]), np.ones((3, 1))),
            r"design has shape \(3, 1\) for 2",
        ),
        (
            lambda: normalize(build({"a": [1, 2]}, ["score"]), np.array([[1.0], [np.nan]])),
            "missing values .*'B1'",
        ),
        (lambda: normalize(build({"a": [1, 2]}, ["score"]), visits=["x"]), "1 visits for 2 biopsies"),
        (lambda: normalize(build({"a": [1, -2]}, ["count"])), r"E-COUNT-002 \[a\].*biopsy 'B1'"),
        (lambda: normalize(build({"a": [1, 2.5]}, ["count"])), r"E-COUNT-003 \[a\]"),
        (lambda: normalize(build({"a": [1, np.inf]}, ["count"])), r"E-COUNT-004 \[a\]"),
        (
            lambda: normalize(build({"a": [1]}, ["density"], numerator={"a": [-1]}, denominator={"a": [1]})),
            "negative number of cells",
        ),
        (
            lambda: normalize(build({"a": [1]}, ["density"], numerator={"a": [1]}, denominator={"a": [-1]})),
            "negative area",
        ),
        (
            lambda: normalize(
                build({"a": [1]}, ["proportion"], numerator={"a": [3]}, denominator={"a": [2]})
            ),
            "more positive cells than cells",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(AssayError, match=message):
        make()


# --- invariants ---------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_gene_and_biopsy_order_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    adata = count_assay(seed)
    visits = np.array(["a", "b"] * 4)
    design = np.column_stack([np.ones(8), visits == "b"]).astype(float)
    genes, biopsies = rng.permutation(80), rng.permutation(8)
    before = normalize(adata, design, visits=visits.tolist())
    after = normalize(adata[biopsies][:, genes].copy(), design[biopsies], visits=visits[biopsies].tolist())
    for layer in ("y", "w"):
        np.testing.assert_allclose(
            after.layers[layer], before.layers[layer][np.ix_(biopsies, genes)], rtol=1e-9, equal_nan=True
        )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), factor=st.sampled_from([1e-6, 0.01, 1e6]))
def test_a_change_of_the_unit_of_area_shifts_every_log_density_alike(seed, factor):
    rng = np.random.default_rng(seed)
    n, area = rng.poisson(50, 6).astype(float), rng.uniform(0.5, 8, 6)
    first = build({"d": n / area}, ["density"], numerator={"d": n}, denominator={"d": area})
    second = build(
        {"d": n / area / factor}, ["density"], numerator={"d": n}, denominator={"d": area * factor}
    )
    shift = normalize(second).layers["y"] - normalize(first).layers["y"]
    np.testing.assert_allclose(shift, -np.log2(factor), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_swapping_positive_and_negative_negates_the_logit(seed):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 500, 6)
    k = rng.binomial(n, 0.3)
    one = build({"p": k / n}, ["proportion"], numerator={"p": k}, denominator={"p": n})
    other = build({"p": 1 - k / n}, ["proportion"], numerator={"p": n - k}, denominator={"p": n})
    np.testing.assert_allclose(normalize(one).layers["y"], -normalize(other).layers["y"], atol=1e-12)


def test_an_added_all_zero_gene_leaves_the_others():
    adata = count_assay()
    more = build({**{g: adata.X[:, k] for k, g in enumerate(adata.var_names)}, "zero": np.zeros(8)}, "count")
    np.testing.assert_array_equal(normalize(more).layers["y"][:, :80], normalize(adata).layers["y"])


def test_round_trip_through_h5ad(tmp_path):
    result = normalize(count_assay())
    with ad.settings.override(allow_write_nullable_strings=False):
        result.write_h5ad(tmp_path / "n.h5ad")
    back = ad.read_h5ad(tmp_path / "n.h5ad")
    for layer in ("y", "w"):
        np.testing.assert_array_equal(back.layers[layer], result.layers[layer])
    assert back.var["note"].tolist() == result.var["note"].tolist()
    assert back.var["tested"].tolist() == result.var["tested"].tolist()
    np.testing.assert_array_equal(back.uns["voom_trend"]["y"], result.uns["voom_trend"]["y"])
