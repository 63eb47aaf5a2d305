"""Claims on what measures a biopsy: counts of reads and cells, limits, scores, nuclei, gene sets."""

# ruff: noqa: E501 - tables of claims and prose, one line each
from __future__ import annotations

import functools

import numpy as np
import pandas as pd

from pdbiomarker.expression import competitive, rotate, scoring, self_contained
from pdbiomarker.ihc import score_cells
from pdbiomarker.ihc.panel import FeatureSpec, Panel
from pdbiomarker.mixed.glmm import fit_counts, fit_proportions
from pdbiomarker.mixed.tobit import fit_tobit
from pdbiomarker.normalize import (
    deseq_size_factors,
    filter_by_expr,
    norm_factors,
    tmm_factors,
    voom,
    voom_quality_weights,
    vst,
)
from tests.validation.claim import Claim, Sources, absolute, differing, relative

# --- reads ------------------------------------------------------------------------------------------------


def numbers(sources: Sources, name: str) -> np.ndarray:
    """A table of `tests/golden` without its first column."""
    return pd.read_csv(sources.golden(name)).iloc[:, 1:].to_numpy(float)


def factors(method: str, column: str, sources: Sources) -> float:
    """On the simulated trial, and on a matrix of 12 libraries."""
    trial = pd.read_csv(sources.golden("sim200/edger_norm_factors.csv"))
    dense = pd.read_csv(sources.golden("bulk_norm/dense_factors.csv"))
    worst = relative(norm_factors(numbers(sources, "sim200/counts.csv"), method), trial[column])
    if column in dense:
        counts = numbers(sources, "bulk_norm/dense_counts.csv")
        worst = max(worst, relative(norm_factors(counts, method), dense[column]))
    return worst


def size_factors(kind: str, sources: Sources) -> float:
    worst = 0.0
    for matrix in ("dense", "sparse"):
        expected = pd.read_csv(sources.golden(f"bulk_norm/{matrix}_factors.csv"))
        if kind in expected:
            counts = numbers(sources, f"bulk_norm/{matrix}_counts.csv")
            worst = max(worst, relative(deseq_size_factors(counts, kind=kind), expected[kind]))
    return worst


def kept_genes(sources: Sources) -> float:
    counts = numbers(sources, "sim200/counts.csv")
    visits = pd.read_csv(sources.golden("sim200/samples.csv"))["timepoint"].astype(str).tolist()
    expected = pd.read_csv(sources.golden("sim200/edger_filter_avelogcpm.csv"))["filterByExpr_group"]
    return differing(filter_by_expr(counts, visits, counts.sum(axis=0) * tmm_factors(counts)), expected)


def voom_part(part: str, sources: Sources) -> float:
    counts, design = (numbers(sources, f"sim200/{name}.csv") for name in ("counts", "design"))
    found = voom(counts, design, norm_factors=tmm_factors(counts))
    values, name = (found.E, "voom_E") if part == "values" else (found.weights, "voom_weights")
    return relative(values, numbers(sources, f"sim200/{name}.csv"))


def library_weights(sources: Sources) -> float:
    kept = pd.read_csv(sources.golden("bulk_norm/kept.csv"))["kept"].to_numpy(bool)
    counts = numbers(sources, "bulk_norm/dense_counts.csv")[kept]
    visit = pd.read_csv(sources.golden("bulk_norm/dense_libraries.csv"))["visit"]
    design = np.column_stack([np.ones(12), visit == "on"]).astype(float)
    found = voom_quality_weights(counts, design, counts.sum(axis=0) * tmm_factors(counts))
    expected = pd.read_csv(sources.golden("bulk_norm/sample_weights.csv"))["quality"]
    return relative(found.sample_weights, expected)


def stabilised(sources: Sources) -> float:
    return absolute(
        vst(numbers(sources, "bulk_norm/dense_counts.csv")).values, numbers(sources, "bulk_norm/vst.csv")
    )


# --- cells and limits -------------------------------------------------------------------------------------


def glmm(family: str, column: str, sources: Sources) -> float:
    """glmmTMB's panel: 17 pairs, one feature after the other."""
    data = pd.read_csv(sources.golden("glmm/glmm_data.csv"))
    table = pd.read_csv(sources.golden("glmm/glmm_results.csv"))
    table = table[table["family"] == family]
    features = [rows for _, rows in data.groupby("feature")]
    first = features[0]
    X = np.column_stack([np.ones(len(first)), first["visit"] == "C2D1"]).astype(float)

    def values(name: str) -> np.ndarray:
        return np.stack([rows[name].to_numpy(float) for rows in features])

    people = first["participant"].to_numpy(object)
    if family == "nbinom2":
        found = fit_counts(values("count"), X, people, offset=np.log(values("area_mm2")))
    else:
        found = fit_proportions(values("positive"), X, people, n=values("n_cells"), family="betabinomial")
    expected = table[column].to_numpy().reshape(-1, 2)
    return (absolute if column == "estimate" else relative)(getattr(found, column), expected)


def tobit(column: str, sources: Sources) -> float:
    data = pd.read_csv(sources.golden("tobit/tobit_data.csv"))
    results = pd.read_csv(sources.golden("tobit/tobit_results.csv"))
    worst = 0.0
    for case, rows in data.groupby("case"):
        expected = results[results["case"] == case].set_index("parameter")
        visits = np.arange(1, rows.visit.max() + 1)
        X = np.column_stack([np.ones(len(rows)), rows.visit.to_numpy()[:, None] == visits]).astype(float)
        found = fit_tobit([rows.y], X, rows.participant, censored=rows.side.to_numpy())
        p = X.shape[1]
        if column == "estimate":
            worst = max(worst, absolute(found.estimate[0], expected.value.to_numpy()[:p]))
        else:
            worst = max(worst, relative(found.se[0], expected.se.to_numpy()[:p]))
    return worst


# --- IHC --------------------------------------------------------------------------------------------------


def ihc_scores(_: Sources) -> float:
    """Forty tables of 150 to 900 cells, each score written out as its definition says, cell by cell."""
    rng = np.random.default_rng(51)
    names = ("density", "pct", "hscore", "bin0", "bin1", "bin2", "bin3", "tps", "cps")
    panel = Panel.model_validate(
        {"marker": "X", "label": "X", "min_cells": 10, "features": {n: FeatureSpec(label=n) for n in names}}
    )
    worst = 0.0
    for _set in range(40):
        n = int(rng.integers(150, 900))
        grade = rng.integers(0, 4, n)
        kind = rng.choice(["tumour", "lymphocyte", "macrophage", "other"], n, p=[0.7, 0.1, 0.1, 0.1])
        area = float(rng.uniform(0.5, 12))
        cells = pd.DataFrame({"class": grade.astype(np.int8), "cell_type": kind, "compartment": "tissue"})
        found = score_cells(cells.assign(positive=grade > 0), {"tissue": area}, panel).set_index("feature")[
            "value"
        ]
        listed = list(zip(grade.tolist(), kind.tolist(), strict=True))
        tumour = [g for g, k in listed if k == "tumour"]
        stained = [g > 0 for g, k in listed if k in ("tumour", "lymphocyte", "macrophage")]
        by_hand = {
            "density_tissue": sum(g > 0 for g, _ in listed) / area,
            "pct_tissue": sum(g > 0 for g, _ in listed) / n,
            "hscore_tissue": sum(100 * g for g, _ in listed) / n,
            **{f"bin{b}_tissue": sum(g == b for g, _ in listed) / n for b in range(4)},
            "tps": sum(g > 0 for g in tumour) / len(tumour),
            "cps": min(100.0, 100 * sum(stained) / len(tumour)),
        }
        worst = max(worst, *(relative(found[f"X_{name}"], value) for name, value in by_hand.items()))
    return worst


def nuclei(part: str, sources: Sources) -> float:
    """Share of annotated Ki-67 nuclei that are not found within 6 um, or are classed otherwise than annotated."""
    match = _nuclei(sources)
    return 1 - (match.near / match.truth if part == "found" else match.same_class / match.near)


@functools.cache
def _nuclei(sources: Sources):
    from pdbiomarker.ihc import segment
    from tests.ihc.test_nuclei import matched

    return matched(lambda name: sources.outside(f"data/{name}"), lambda _, density: segment(density, 0.5))


# --- gene sets --------------------------------------------------------------------------------------------


def gene_set_scores(method: str, sources: Sources) -> float:
    counts = pd.read_csv(sources.golden("signatures/counts.csv"), index_col=0)
    table = pd.read_csv(sources.golden("signatures/sets.csv"))
    scores = pd.read_csv(sources.golden("signatures/gsva_scores.csv")).set_index(["case", "set"])
    x = counts.to_numpy(dtype=float)
    values = np.log2((x + 0.5) / (x.sum(axis=0) + 1) * 1e6)
    places = {
        str(k): np.array([counts.index.get_loc(g) for g in v])
        for k, v in table.groupby("set", sort=False)["gene"]
    }
    if method == "ssgsea":
        found = scoring.ssgsea(values, list(places.values()))
    else:
        moving = scoring.varying(values)
        at = np.cumsum(moving) - 1
        rows = [np.array([at[g] for g in genes if moving[g]]) for genes in places.values()]
        found = scoring.gsva(values[moving], rows, values[moving], kernel="gaussian")
    expected = scores.loc[f"logcpm/{method}"].loc[list(places)].to_numpy(float)
    return absolute(found, expected)


def gene_set_tests(kind: str, sources: Sources) -> float:
    values = pd.read_csv(sources.golden("signatures/voom_E.csv"), index_col=0)
    weights = numbers(sources, "signatures/voom_weights.csv")
    results = pd.read_csv(sources.golden("signatures/gene_set_tests.csv")).set_index("case")
    genes = [str(g) for g in values.index]
    sets = {
        str(k): [g for g in v if g in genes]
        for k, v in pd.read_csv(sources.golden("signatures/sets.csv")).groupby("set", sort=False)["gene"]
        if k in set(results["set"])
    }
    X, contrast = np.column_stack([np.ones(14), np.tile([0.0, 1.0], 7)]), np.array([0.0, 1.0])
    rotated = rotate(values.to_numpy(float), X, contrast, weights=weights)
    name = "camera/voom/0.01" if kind == "camera" else "fry/voom"
    found = (
        competitive(rotated.z(), genes, sets) if kind == "camera" else self_contained(rotated, genes, sets)
    )
    return relative(found["p"], results.loc[name, "PValue"])


READS, CELLS, IHC, SETS = "Transcripts", "Cells in counts, and limits of assays", "Slides", "Gene sets"
EDGER, DESEQ = "edgeR 3.40.2 (`golden/sim200`, `golden/bulk_norm`)", "DESeq2 1.38.3 (`golden/bulk_norm`)"
LIMMA, GLMMTMB = "limma 3.54.1", "glmmTMB 1.1.5 (`golden/glmm`)"
GSVA = "GSVA 1.46 (`golden/signatures`)"
BRUTE = "brute force over single cells"
TILES = "four published Ki-67 tiles, annotated nuclei (BCData)"

CLAIMS = [
    *(Claim(f"factors_{method}", READS, f"library factors, {column}", EDGER, "relative", 1e-9,
            functools.partial(factors, method, column), "normalize/test_size_factors.py")
      for method, column in (("tmm", "TMM"), ("tmmwsp", "TMMwsp"), ("rle", "RLE"), ("uq", "upperquartile"))),
    *(Claim(f"size_factors_{kind}", READS, f"size factors, {kind}", DESEQ, "relative", 1e-9,
            functools.partial(size_factors, kind), "normalize/test_size_factors.py") for kind in ("ratio", "poscounts")),
    Claim("filter", READS, "genes kept or left out otherwise than by filterByExpr", EDGER, "cases", 0, kept_genes,
          "test_normalize.py"),
    Claim("voom_values", READS, "voom: log2 CPM", f"{LIMMA} (`golden/sim200`, 10 digits)", "relative", 1e-9,
          functools.partial(voom_part, "values"), "test_normalize.py"),
    Claim("voom_weights", READS, "voom: weights", f"{LIMMA} (`golden/sim200`, 10 digits)", "relative", 1e-8,
          functools.partial(voom_part, "weights"), "test_normalize.py"),
    Claim("library_weights", READS, "weights of whole libraries", f"{LIMMA} voomWithQualityWeights", "relative", 1e-7,
          library_weights, "normalize/test_bulk_r.py"),
    Claim("vst", READS, "variance-stabilised log2 values", f"{DESEQ}, whose search stops at 1e-6", "absolute", 1e-4,
          stabilised, "normalize/test_bulk_r.py"),
    *(Claim(f"{family}_{column}", CELLS, f"{what}: {told}", GLMMTMB, unit, 1e-5,
            functools.partial(glmm, family, column), "mixed/test_counts.py")
      for family, what in (("nbinom2", "negative binomial"), ("betabinomial", "beta-binomial"))
      for column, told, unit in (("estimate", "estimates", "absolute"), ("se", "standard errors", "relative"))),
    Claim("tobit_estimate", CELLS, "censored values (Tobit): estimates", "trapezoidal rule exact to rounding "
          "(`golden/tobit`)", "absolute", 2e-6, functools.partial(tobit, "estimate"), "mixed/test_tobit.py"),
    Claim("tobit_se", CELLS, "censored values (Tobit): standard errors", "the same", "relative", 1e-5,
          functools.partial(tobit, "se"), "mixed/test_tobit.py"),
    Claim("ihc_scores", IHC, "density, percent, H-score, bins, TPS, CPS", BRUTE, "relative", 1e-12, ihc_scores,
          "ihc/test_scores.py, ihc/test_compartments.py"),
    Claim("nuclei_found", IHC, "annotated tumour nuclei not found within 6 um", TILES, "share", 0.12,
          functools.partial(nuclei, "found"), "ihc/test_nuclei.py", data=True),
    Claim("nuclei_classes", IHC, "found nuclei classed otherwise than annotated", TILES, "share", 0.013,
          functools.partial(nuclei, "classes"), "ihc/test_nuclei.py", data=True),
    *(Claim(f"score_{method}", SETS, f"scores, {method}", GSVA, "absolute", 1e-9,
            functools.partial(gene_set_scores, method), "expression/test_scoring.py") for method in ("ssgsea", "gsva")),
    Claim("camera", SETS, "p of the competitive test, voom weights", f"{LIMMA} camera, which approximates z", "relative",
          1e-8, functools.partial(gene_set_tests, "camera"), "expression/test_enrichment.py"),
    Claim("fry", SETS, "p of the self-contained test, voom weights", f"{LIMMA} fry", "relative", 1e-9,
          functools.partial(gene_set_tests, "fry"), "expression/test_enrichment.py"),
]  # fmt: skip
