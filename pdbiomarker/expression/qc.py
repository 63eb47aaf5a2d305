"""Quality of a count assay: depth, genes seen, handling, and where each biopsy lies among the others.

Components are those of log2 CPM over the 500 most variable genes, centred; they are for looking at, and no
analysis uses them. How much of each is explained by visit, batch and site stands beside them: a component
that follows the batch is a reason to have the batch in the formula.

`immune_stroma` is the mean of the scores of T cells, myeloid cells and stroma, relative to the other
biopsies: a rough stand-in for low tumour content. It is *offered*: copy it into biopsies.csv to name it in
a formula. It is measured after treatment and moves with an influx, so it belongs into a sensitivity
analysis, never into the primary model, and nothing here uses it unasked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker.expression.library_size import FloatArray, voom_log_cpm
from pdbiomarker.expression.signatures import signature_scores

__all__ = ["QC_COLUMNS", "Components", "components", "expression_qc"]

#: Genes of the components, and how many components are kept.
_VARIABLE, _KEPT = 500, 3
#: Genes whose share of the reads is told.
_TOP: Final = 50
#: A biopsy this many robust standard deviations from the median is flagged.
_FAR: Final = 5.0
#: One with fewer genes than this share of the median is flagged.
_FEW_GENES: Final = 0.5
_TISSUE: Final = ("CD8T", "MYELOID", "TGFB_STROMA")

#: Columns of :func:`expression_qc`, in order.
QC_COLUMNS: Final = (
    "biopsy_id",
    "assay",
    "visit",
    "batch",
    "site",
    "library_size",
    "genes_detected",
    "top_50_share",
    "handling_score",
    "immune_stroma",
    "pc1",
    "pc2",
    "pc3",
    "flags",
)


@dataclass(frozen=True)
class Components:
    """Principal components of log expression.

    Attributes
    ----------
    scores : array, biopsies x components
        At most three; signs are such that the gene with the largest loading is positive.
    share : array, components
        Of the variance.
    """

    scores: FloatArray
    share: FloatArray


def components(log2_cpm: FloatArray) -> Components:
    """Find the first components over the 500 most variable genes.

    Parameters
    ----------
    log2_cpm : array, genes x biopsies

    Returns
    -------
    Components
        Without any where fewer than three biopsies, or no gene that varies, are given.
    """
    n = log2_cpm.shape[1]
    spread = log2_cpm.var(axis=1) if n else np.zeros(len(log2_cpm))
    order = np.lexsort((np.arange(spread.size), -np.round(spread, 9)))[:_VARIABLE]
    order = order[spread[order] > 0]
    if n < 3 or order.size == 0:
        return Components(np.zeros((n, 0)), np.zeros(0))
    x = log2_cpm[order] - log2_cpm[order].mean(axis=1, keepdims=True)
    left, size, right = np.linalg.svd(x, full_matrices=False)
    kept = min(_KEPT, n - 1, size.size)
    heavy = np.argmax(np.abs(np.round(left[:, :kept], 9)), axis=0)
    signs = np.sign(left[heavy, np.arange(kept)])
    # Rounded: the last bits of a singular vector depend on the processor.
    scores = np.round(right[:kept].T * size[:kept] * signs, 9)
    return Components(scores, size[:kept] ** 2 / np.sum(size**2))


def expression_qc(
    assays: Mapping[str, AnnData], facts: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Describe the quality of count assays.

    Parameters
    ----------
    assays : mapping of name to AnnData, biopsies x genes
        Count assays; others are passed over.
    facts : DataFrame, optional
        Index: biopsy ids; columns visit, batch and site, where they are known. A batch of the assay's own
        `obs` stands before that of the biopsies.

    Returns
    -------
    DataFrame
        One row for each assay and biopsy, columns :data:`QC_COLUMNS`; `flags` says what is unusual.
    DataFrame
        One row for each assay and component: share of the variance, and the share of the component that
        visit, batch and site explain (R squared; missing where there is one level, or one for each biopsy).
    """
    biopsies, parts = [], []
    for name, adata in assays.items():
        kinds = adata.var["kind"].astype(str) if "kind" in adata.var else pd.Series(dtype=str)
        if adata.n_obs == 0 or not (kinds == "count").any():
            continue
        table, share = _of_assay(name, adata, facts)
        biopsies.append(table)
        parts.append(_explained(name, table, share))
    empty = pd.DataFrame(columns=list(QC_COLUMNS))
    columns = ["assay", "component", "share", "visit", "batch", "site"]
    return (
        pd.concat(biopsies, ignore_index=True) if biopsies else empty,
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns),
    )


def _of_assay(name: str, adata: AnnData, facts: pd.DataFrame | None) -> tuple[pd.DataFrame, FloatArray]:
    counts = np.asarray(adata.X, dtype=np.float64).T
    measured = np.isfinite(counts).all(axis=0) & (np.nansum(counts, axis=0) > 0)
    n = adata.n_obs
    table = pd.DataFrame({"biopsy_id": [str(b) for b in adata.obs_names], "assay": name})
    for column in ("visit", "batch", "site"):
        table[column] = _fact(column, adata, facts)
    reads = counts[:, measured]
    size = reads.sum(axis=0)
    found: dict[str, FloatArray] = {key: np.full(n, np.nan) for key in QC_COLUMNS[5:13]}
    found["library_size"][measured] = size
    found["genes_detected"][measured] = (reads > 0).sum(axis=0)
    top = -np.sort(-reads, axis=0)[:_TOP].sum(axis=0)
    found["top_50_share"][measured] = top / size
    scores = signature_scores(adata, ["HANDLING", *_TISSUE])
    values = np.asarray(scores.X, dtype=np.float64)
    found["handling_score"] = values[:, 0]
    found["immune_stroma"] = _relative(values[:, 1:])
    pcs = (
        components(voom_log_cpm(reads, size)) if measured.any() else Components(np.zeros((0, 0)), np.zeros(0))
    )
    for k in range(pcs.scores.shape[1]):
        found[f"pc{k + 1}"][measured] = pcs.scores[:, k]
    for key, column_values in found.items():
        table[key] = column_values
    table["flags"] = _flags(table)
    return table[list(QC_COLUMNS)], pcs.share


def _fact(column: str, adata: AnnData, facts: pd.DataFrame | None) -> list[str]:
    ids = [str(b) for b in adata.obs_names]
    own: dict[str, Any] = {}
    if facts is not None and column in facts:
        own |= {str(b): v for b, v in facts[column].items()}
    if column in adata.obs:
        given = zip(ids, adata.obs[column].astype(object), strict=True)
        own |= {b: v for b, v in given if isinstance(v, str) and v}
    return ["" if b not in own or pd.isna(own[b]) else str(own[b]) for b in ids]


def _relative(scores: FloatArray) -> FloatArray:
    """Mean of the scores that were made, each less its own mean over the biopsies."""
    made = np.isfinite(scores).any(axis=0)
    if not made.any():
        return np.full(len(scores), np.nan)
    centred = scores[:, made] - np.nanmean(scores[:, made], axis=0)
    return np.asarray(centred.mean(axis=1), dtype=np.float64)


def _flags(table: pd.DataFrame) -> list[str]:
    flags: list[list[str]] = [[] for _ in range(len(table))]
    seen = table["genes_detected"].to_numpy(dtype=np.float64)
    usual = float(np.nanmedian(seen)) if np.isfinite(seen).any() else np.nan
    for k in np.flatnonzero(seen < _FEW_GENES * usual):
        flags[k].append(f"{seen[k]:.0f} genes seen, half of the biopsies have {usual:.0f} or more")
    for column, what in (
        ("handling_score", "handling score"),
        ("top_50_share", "share of the 50 most counted genes"),
        ("pc1", "first component"),
        ("pc2", "second component"),
    ):
        values = table[column].to_numpy(dtype=np.float64)
        if np.isfinite(values).sum() < 6:
            continue
        middle = float(np.nanmedian(values))
        spread = 1.4826 * float(np.nanmedian(np.abs(values - middle)))
        if spread > 0:
            for k in np.flatnonzero(np.abs(values - middle) > _FAR * spread):
                flags[k].append(f"{what} {(values[k] - middle) / spread:+.1f} robust SD from the median")
    return ["; ".join(own) for own in flags]


def _explained(name: str, table: pd.DataFrame, share: FloatArray) -> pd.DataFrame:
    rows = []
    for k, part in enumerate(share.tolist()):
        scores = table[f"pc{k + 1}"].to_numpy(dtype=np.float64)
        row: dict[str, object] = {"assay": name, "component": f"pc{k + 1}", "share": part}
        for column in ("visit", "batch", "site"):
            row[column] = _r_squared(scores, table[column].tolist())
        rows.append(row)
    return pd.DataFrame(rows, columns=["assay", "component", "share", "visit", "batch", "site"])


def _r_squared(values: FloatArray, levels: Sequence[str]) -> float:
    """Share of the variance between levels; NaN where they cannot tell."""
    known = np.isfinite(values) & np.array([bool(v) for v in levels], dtype=bool)
    y = values[known]
    codes, names = pd.factorize(np.array(levels, dtype=object)[known])
    if not 1 < len(names) < y.size or float(y.var()) == 0:
        return float("nan")
    means = np.bincount(codes, weights=y) / np.bincount(codes)
    # Levels that explain everything: rounding alone can pass 1.
    return min(float(np.sum((means[codes] - y.mean()) ** 2) / np.sum((y - y.mean()) ** 2)), 1.0)
