"""Gene signatures: one number for each biopsy from the counts of a few genes.

A signature is a file ``reference/signatures/<NAME>.yaml`` that states its genes, its definition, its source
and how it differs from the published one. The definition known here is ``mean_log2_cpm``: the mean over the
genes of log2 CPM with the total reads as library size and voom's half count, the log2 of the geometric mean
of the CPM. It needs no other biopsy, so adding one never changes a score.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pdbiomarker.errors import AssayError, Problem, Problems
from pdbiomarker.expression.library_size import FloatArray, voom_log_cpm
from pdbiomarker.reference import list_reference, reference_path
from pdbiomarker.tables import nearest, read_yaml

__all__ = ["Signature", "available_signatures", "read_signature", "signature_scores"]

_FOLDER: Final = "signatures"


class Signature(BaseModel):
    """What a signature file says.

    Attributes
    ----------
    name, label : str
        Feature id, and the name for people.
    genes : tuple of str
        Gene symbols.
    score : {"mean_log2_cpm"}
        Name of the definition.
    unit : str
    expected_direction : {-1, 0, 1}
        Of an immune-activating treatment.
    definition, differs : str
        The formula in words, and where it is not the published one.
    source, doi, pmid, licence : str
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(min_length=1)
    label: str
    genes: tuple[str, ...] = Field(min_length=1, strict=False)
    score: Literal["mean_log2_cpm"]
    unit: str
    expected_direction: Literal[-1, 0, 1]
    definition: str
    differs: str = ""
    source: str
    doi: str
    pmid: str
    licence: str


def available_signatures() -> list[str]:
    """Names of the signatures that come with the package, sorted."""
    files = list_reference(_FOLDER)
    return sorted(f.rpartition("/")[2].removesuffix(".yaml") for f in files if f.endswith(".yaml"))


def read_signature(name: str) -> Signature:
    """Read the definition of a signature.

    Parameters
    ----------
    name : str
        One of :func:`available_signatures`.

    Raises
    ------
    AssayError
        There is no such signature, or its file breaks the schema.

    Examples
    --------
    >>> read_signature("CYT").genes
    ('GZMA', 'PRF1')
    """
    problems = Problems()
    if name not in available_signatures():
        problems.add(
            "E-FILE-001",
            f"There is no signature {name!r}.",
            remedy=nearest(name, available_signatures()),
            file=_FOLDER,
            value=name,
        )
        raise AssayError(problems)
    file = f"{_FOLDER}/{name}.yaml"
    data = read_yaml(reference_path(file), problems, name=file)
    problems.raise_if_any(AssayError)
    try:
        return Signature.model_validate(data)
    except ValidationError as error:
        for fault in error.errors():
            problems.add(
                "E-PANEL-001",
                str(fault["msg"]) + ".",
                remedy="See the attributes of Signature.",
                file=file,
                column=".".join(map(str, fault["loc"])),
                value=fault["input"],
            )
        raise AssayError(problems) from error


def signature_scores(adata_counts: AnnData, names: Sequence[str] = ("CYT",)) -> AnnData:
    """Score signatures on a count assay.

    Parameters
    ----------
    adata_counts : AnnData, biopsies x genes
        From :func:`pdbiomarker.expression.read_counts`. Genes are found by ``var["symbol"]``, else by id;
        the counts of several ids with one symbol are summed.
    names : sequence of str
        See :func:`available_signatures`.

    Returns
    -------
    AnnData, biopsies x signatures
        Kind ``signature``, unit log2 CPM. A score is NaN in every biopsy when one of its genes is not in
        the matrix, and in a biopsy that was not measured; the former is a problem E-COUNT-018 in
        ``uns["problems"]`` (see :func:`pdbiomarker.expression.problems_of`).

    Raises
    ------
    AssayError
        An unknown signature (E-FILE-001), or an assay without counts (E-ASSAY-001).
    """
    signatures = [read_signature(name) for name in names]
    counts, symbols, ids = _counts(adata_counts)
    measured = np.isfinite(counts).all(axis=1)
    problems = Problems()
    scores = np.full((adata_counts.n_obs, len(signatures)), np.nan)
    if measured.any():
        reads = counts[measured]
        size = reads.sum(axis=1)
        for k, signature in enumerate(signatures):
            genes = _gene_counts(signature, reads, symbols, ids, problems)
            if genes is not None:
                scores[measured, k] = voom_log_cpm(genes, size).mean(axis=0)
    adata = AnnData(
        X=scores,
        obs=pd.DataFrame(index=pd.Index(adata_counts.obs_names, dtype=str)),
        var=_features(signatures),
    )
    adata.uns["problems"] = json.dumps([dataclasses.asdict(p) for p in problems], ensure_ascii=False)
    adata.uns["provenance"] = _provenance(adata_counts, signatures)
    return adata


def _counts(adata: AnnData) -> tuple[FloatArray, list[str], list[str]]:
    """Counts of the assay, with the symbol and the id of each column."""
    is_count = (
        (adata.var["kind"].astype(str) == "count").to_numpy() if "kind" in adata.var else np.zeros(0, bool)
    )
    if not is_count.any():
        raise AssayError(
            [
                Problem(
                    "E-ASSAY-001",
                    "Signatures are scored on counts, and the assay has no feature of kind 'count'.",
                    remedy="Give the assay that read_counts made.",
                )
            ]
        )
    X = np.asarray(adata.X, dtype=np.float64)[:, is_count]
    ids = [str(i) for i in adata.var_names[is_count]]
    if "symbol" not in adata.var:
        return X, [""] * len(ids), ids
    symbols = adata.var["symbol"].astype(object)[is_count]
    return X, [s if isinstance(s, str) else "" for s in symbols], ids


def _gene_counts(
    signature: Signature, reads: FloatArray, symbols: Sequence[str], ids: Sequence[str], problems: Problems
) -> npt.NDArray[np.float64] | None:
    """Counts of the signature's genes, genes x biopsies; None when one is missing."""
    rows, missing = [], []
    for gene in signature.genes:
        columns = [k for k, s in enumerate(symbols) if s == gene] or [
            k for k, i in enumerate(ids) if i == gene
        ]
        if columns:
            rows.append(reads[:, columns].sum(axis=1))
        else:
            missing.append(gene)
    for gene in missing:
        problems.add(
            "E-COUNT-018",
            f"Signature {signature.name} needs gene {gene!r}, which the matrix lacks; it is not scored.",
            remedy="Give a genes table that maps the ids to symbols, or a matrix with this gene.",
            column=signature.name,
            value=gene,
            severity="warning",
            item=signature.name,
        )
    return None if missing else np.array(rows)


def _features(signatures: Sequence[Signature]) -> pd.DataFrame:
    n = len(signatures)
    return pd.DataFrame(
        {
            "kind": ["signature"] * n,
            "unit": [s.unit for s in signatures],
            "lower": np.full(n, np.nan),
            "upper": np.full(n, np.nan),
            "lloq": np.full(n, np.nan),
            "family": [""] * n,
            "label": [s.label for s in signatures],
            "expected_direction": np.array([s.expected_direction for s in signatures], dtype=np.int64),
            "genes": [";".join(s.genes) for s in signatures],
        },
        index=pd.Index([s.name for s in signatures], dtype=str),
    )


def _provenance(adata: AnnData, signatures: Sequence[Signature]) -> dict[str, Any]:
    before = dict(adata.uns.get("provenance", {}))
    told = {f"signature_{s.name}": f"{s.definition} Source: {s.source}, PMID {s.pmid}." for s in signatures}
    return {**before, "signatures": "pdbiomarker.expression.signature_scores", **told}
