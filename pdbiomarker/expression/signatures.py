"""Signature scores: one number for each biopsy and gene set, with its method and what it was made of.

The usual definition, ``mean_log2_cpm``, is the mean over the genes of log2 CPM with the total reads as
library size and voom's half count: the log2 of the geometric mean of the CPM. It needs no other biopsy. The
others (:data:`METHODS`, defined in :mod:`pdbiomarker.expression.scoring`) are chosen by name; those that
measure a biopsy against others take a :class:`SignatureReference`, and then a new biopsy never changes an
old score.

Rows of one symbol are summed before anything is scored. Genes missing from the matrix are listed with the
coverage; below a signature's `min_coverage` it is not scored, and the reason is told.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import AssayError, Problem, Problems
from pdbiomarker.expression import scoring
from pdbiomarker.expression.extras import load_extra
from pdbiomarker.expression.genesets import Signature, available_signatures, read_signature
from pdbiomarker.expression.library_size import FloatArray, voom_log_cpm
from pdbiomarker.provenance import atomic_path
from pdbiomarker.study.assay_problems import keep_problems
from pdbiomarker.tables import nearest

__all__ = [
    "METHODS",
    "NEEDS_REFERENCE",
    "Signature",
    "SignatureReference",
    "available_signatures",
    "fit_reference",
    "read_reference",
    "read_signature",
    "signature_scores",
]

#: Name of each method, and its unit.
METHODS: Final[Mapping[str, str]] = {
    "mean_log2_cpm": "log2 CPM",
    "mean_z": "z",
    "singscore": "rank score",
    "ssgsea": "ssGSEA score",
    "gsva": "GSVA score",
    "plage": "PLAGE score",
    "zscore": "combined z",
    "ulm": "t of a linear model",
}
#: Methods that measure a biopsy against reference biopsies.
NEEDS_REFERENCE: Final = frozenset({"mean_z", "gsva", "plage", "zscore"})

Index = npt.NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class SignatureReference:
    """Log expression of the biopsies that others are measured against.

    Attributes
    ----------
    log2_cpm : DataFrame, genes x biopsies
        Index: symbols (ids where there is none). Never to be changed.
    """

    log2_cpm: pd.DataFrame

    @property
    def hash(self) -> str:
        """SHA-256 of the values and names: what scores made with it depend on."""
        digest = hashlib.sha256(np.ascontiguousarray(self.log2_cpm.to_numpy(dtype=np.float64)).tobytes())
        digest.update("\n".join([*map(str, self.log2_cpm.index), *map(str, self.log2_cpm)]).encode())
        return digest.hexdigest()

    def write(self, path: str | Path) -> Path:
        """Write as Parquet, every bit kept, and return the path."""
        with atomic_path(Path(path)) as partial:
            self.log2_cpm.rename_axis("gene").reset_index().to_parquet(
                partial, index=False, compression="zstd"
            )
        return Path(path)


def read_reference(path: str | Path) -> SignatureReference:
    """Read what :meth:`SignatureReference.write` wrote.

    Raises
    ------
    AssayError
        E-FILE-001, E-FILE-005.
    """
    path, problems = Path(path), Problems()
    if not path.is_file():
        problems.add("E-FILE-001", "There is no such file.", remedy="Correct the path.", file=path.name)
    problems.raise_if_any(AssayError)
    try:
        table = pd.read_parquet(path)
        values = table.drop(columns="gene").astype(np.float64)
    except (OSError, ValueError, KeyError) as error:
        problems.add(
            "E-FILE-005",
            f"The file holds no signature reference ({type(error).__name__}).",
            remedy="Write it with SignatureReference.write.",
            file=path.name,
        )
        raise AssayError(problems) from error
    values.index = pd.Index(table["gene"].astype(str), dtype=object)
    return SignatureReference(values)


def fit_reference(adata_counts: AnnData, biopsies: Sequence[str] | None = None) -> SignatureReference:
    """Keep the log expression of some biopsies, to measure others against.

    Parameters
    ----------
    adata_counts : AnnData, biopsies x genes
    biopsies : sequence of str, optional
        Such as all baselines; default every measured biopsy.

    Raises
    ------
    AssayError
        E-ASSAY-001: no counts, fewer than two biopsies, or a biopsy that is not in the assay.
    """
    matrix = _Matrix.of(adata_counts)
    wanted = matrix.biopsies if biopsies is None else list(biopsies)
    place = {b: k for k, b in enumerate(matrix.biopsies)}
    strange = [b for b in wanted if b not in place]
    if strange or len(wanted) < 2:
        why = f"{strange[0]!r} was not measured" if strange else f"{len(wanted)} biopsies are too few"
        raise AssayError(
            [
                Problem(
                    "E-ASSAY-001",
                    f"The reference cannot be made: {why}.",
                    "Name two or more measured biopsies.",
                    column="biopsies",
                )
            ]
        )
    chosen = matrix.log2_cpm[:, [place[b] for b in wanted]]
    return SignatureReference(
        pd.DataFrame(chosen, index=pd.Index(matrix.genes, dtype=object), columns=wanted)
    )


def signature_scores(
    adata_counts: AnnData,
    names: Sequence[str | Signature] = ("CYT",),
    *,
    method: str = "mean_log2_cpm",
    reference: SignatureReference | None = None,
) -> AnnData:
    """Score signatures on a count assay.

    Parameters
    ----------
    adata_counts : AnnData, biopsies x genes
        From :func:`pdbiomarker.expression.read_counts`. Genes are found by ``var["symbol"]``, else by id,
        else by an alias; the counts of several ids with one symbol are summed.
    names : sequence of str or Signature
        See :func:`available_signatures`; signatures of a GMT file come from
        :func:`pdbiomarker.expression.read_gene_sets`.
    method : str
        One of :data:`METHODS`. ``ulm`` is that of decoupler (extra ``singlecell``).
    reference : SignatureReference, optional
        For the methods in :data:`NEEDS_REFERENCE`; without it all biopsies of the assay are the reference,
        and more biopsies change every score.

    Returns
    -------
    AnnData, biopsies x signatures
        Kind ``signature``. `var` also has genes, n_genes, n_found, coverage, missing, method, reference;
        `obs` has signature_genes_detected, the share of the signatures' genes with a read. A score is NaN
        in every biopsy below `min_coverage`, and in a biopsy that was not measured; missing genes are
        problems E-COUNT-018 in ``uns["problems"]`` (see :func:`pdbiomarker.expression.problems_of`).

    Raises
    ------
    AssayError
        An unknown signature (E-FILE-001) or method, an assay without counts, a reference with genes that the
        matrix lacks (E-ASSAY-001).
    MissingExtraError
        ``ulm`` without decoupler.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> counts = pb.expression.read_counts("trial/counts.csv.gz")
    >>> scores = pb.expression.signature_scores(counts, ["CYT"])
    >>> scores.shape, scores.var.at["CYT", "unit"]
    ((12, 1), 'log2 CPM')
    """
    signatures = [n if isinstance(n, Signature) else read_signature(n) for n in names]
    _check_method(method, signatures)
    matrix = _Matrix.of(adata_counts)
    found = [_found(s, matrix) for s in signatures]
    problems = Problems()
    scores = np.full((adata_counts.n_obs, len(signatures)), np.nan)
    constants: list[list[str]] = [[] for _ in signatures]
    if matrix.measured.any():
        usable = [k for k, f in enumerate(found) if f.coverage >= signatures[k].min_coverage and f.rows]
        if usable:
            rows = [found[k] for k in usable]
            made, lost = _scored(method, matrix, rows, reference)
            scores[np.ix_(matrix.measured, usable)] = made.T
            for k, names_lost in zip(usable, lost, strict=True):
                constants[k] = names_lost
    _tell(signatures, found, constants, problems)
    adata = AnnData(
        X=scores,
        obs=pd.DataFrame(
            {"signature_genes_detected": _detected(found, matrix, adata_counts.n_obs)},
            index=pd.Index(adata_counts.obs_names, dtype=str),
        ),
        var=_features(signatures, found, method, reference),
    )
    keep_problems(adata, problems)
    adata.uns["provenance"] = _provenance(adata_counts, signatures, method, reference)
    return adata


# --- the matrix ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Matrix:
    """Counts of the measured biopsies, one row for each symbol."""

    counts: FloatArray
    genes: list[str]
    ids: Mapping[str, int]
    biopsies: list[str]
    measured: npt.NDArray[np.bool_]
    log2_cpm: FloatArray

    @classmethod
    def of(cls, adata: AnnData) -> _Matrix:
        """Take the counts of an assay apart."""
        is_count = (
            (adata.var["kind"].astype(str) == "count").to_numpy()
            if "kind" in adata.var
            else np.zeros(0, bool)
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
        values = np.asarray(adata.X, dtype=np.float64)[:, is_count]
        ids = [str(i) for i in adata.var_names[is_count]]
        symbols = [""] * len(ids)
        if "symbol" in adata.var:
            symbols = [s if isinstance(s, str) else "" for s in adata.var["symbol"].astype(object)[is_count]]
        named = [s or i for s, i in zip(symbols, ids, strict=True)]
        codes, genes = pd.factorize(np.array(named, dtype=object))
        measured = np.isfinite(values).all(axis=1)
        reads = values[measured].T
        summed = reads
        if len(genes) < len(ids):
            order = np.argsort(codes, kind="stable")
            summed = np.add.reduceat(reads[order], np.flatnonzero(np.diff(codes[order], prepend=-1)), axis=0)
        size = reads.sum(axis=0)
        place = {str(g): k for k, g in enumerate(genes)}
        by_id = {i: int(c) for i, c in zip(ids, codes, strict=True)}
        return cls(
            counts=summed,
            genes=[str(g) for g in genes],
            ids={**by_id, **place},
            biopsies=[str(b) for b in adata.obs_names[measured]],
            measured=measured,
            log2_cpm=voom_log_cpm(summed, size),
        )


@dataclasses.dataclass(frozen=True)
class _Found:
    """Which genes of a signature the matrix has: symbols, rows, weights, and those that are missing."""

    genes: tuple[str, ...]
    rows: tuple[int, ...]
    weights: FloatArray | None
    missing: tuple[str, ...]

    @property
    def coverage(self) -> float:
        return len(self.genes) / (len(self.genes) + len(self.missing))


def _found(signature: Signature, matrix: _Matrix) -> _Found:
    genes, rows, missing = [], [], []
    for gene in signature.genes:
        known = [n for n in (gene, *signature.aliases.get(gene, ())) if n in matrix.ids]
        row = matrix.ids[known[0]] if known else -1
        if row < 0 or row in rows:  # an alias may name a gene that is in the set already
            missing.append(gene)
        else:
            genes.append(gene)
            rows.append(row)
    weights = np.array([signature.weights[g] for g in genes]) if signature.weights else None
    return _Found(tuple(genes), tuple(rows), weights, tuple(missing))


def _detected(found: Sequence[_Found], matrix: _Matrix, n: int) -> FloatArray:
    """Share of the genes of all signatures with at least one read, for each biopsy."""
    out = np.full(n, np.nan)
    rows = sorted({row for f in found for row in f.rows})
    if rows and matrix.measured.any():
        out[matrix.measured] = (matrix.counts[rows] > 0).mean(axis=0)
    return out


# --- scoring -------------------------------------------------------------------------------------------


def _scored(
    method: str, matrix: _Matrix, found: Sequence[_Found], reference: SignatureReference | None
) -> tuple[FloatArray, list[list[str]]]:
    """Scores, signatures x measured biopsies, and for each signature the genes left out as constant."""
    none: list[list[str]] = [[] for _ in found]
    rows = [np.array(f.rows, dtype=np.intp) for f in found]
    x = matrix.log2_cpm
    if method == "mean_log2_cpm":
        return np.array(
            [scoring.mean_of_genes(x, r, f.weights) for r, f in zip(rows, found, strict=True)]
        ), none
    if method in {"singscore", "ssgsea"}:
        return (scoring.singscore if method == "singscore" else scoring.ssgsea)(x, rows), none
    if method == "ulm":
        return _ulm(x, rows, found), none
    genes = matrix.genes
    against = x
    if reference is not None:
        genes, against, x, rows = _onto(reference, matrix, found)
    moving = scoring.varying(against) if against.shape[1] > 1 else np.zeros(len(against), dtype=bool)
    lost = [[genes[i] for i in r if not moving[i]] for r in rows]
    return _against(method, x, against, moving, (rows, found)), lost


def _against(
    method: str,
    x: FloatArray,
    against: FloatArray,
    moving: npt.NDArray[np.bool_],
    sets: tuple[Sequence[Index], Sequence[_Found]],
) -> FloatArray:
    """Scores of the methods that measure against reference biopsies; genes constant there are left out."""
    out = np.full((len(sets[0]), x.shape[1]), np.nan)
    new_row = np.cumsum(moving) - 1
    x, against = x[moving], against[moving]
    kept = [moving[rows] for rows in sets[0]]
    rows = [new_row[r[k]] for r, k in zip(sets[0], kept, strict=True)]
    usable = [k for k, r in enumerate(rows) if r.size]
    if method == "gsva":
        out[usable] = scoring.gsva(x, [rows[k] for k in usable], against)
        return out
    z, z_reference = scoring.standardised(x, against), scoring.standardised(against, against)
    for k in usable:
        weights = sets[1][k].weights
        scores: dict[str, Callable[[], FloatArray]] = {
            "mean_z": lambda k=k, w=weights: scoring.mean_of_genes(  # type: ignore[misc]
                z, rows[k], None if w is None else w[kept[k]]
            ),
            "zscore": lambda k=k: scoring.combined_z(z, rows[k]),  # type: ignore[misc]
            "plage": lambda k=k: scoring.plage(z, rows[k], z_reference),  # type: ignore[misc]
        }
        out[k] = scores[method]()
    return out


def _onto(
    reference: SignatureReference, matrix: _Matrix, found: Sequence[_Found]
) -> tuple[list[str], FloatArray, FloatArray, list[Index]]:
    """Bring the matrix to the genes of the reference, in its order."""
    genes = [str(g) for g in reference.log2_cpm.index]
    place = {g: k for k, g in enumerate(matrix.genes)}
    lacking = [g for g in genes if g not in place]
    own = {g: k for k, g in enumerate(genes)}
    strange = [g for f in found for r, g in zip(f.rows, f.genes, strict=True) if matrix.genes[r] not in own]
    if lacking or strange:
        which = (
            f"the matrix lacks {len(lacking)} of its genes, such as {lacking[0]!r}"
            if lacking
            else f"it lacks {len(strange)} genes of the signatures, such as {strange[0]!r}"
        )
        raise AssayError(
            [
                Problem(
                    "E-ASSAY-001",
                    f"The reference does not fit: {which}.",
                    "Score on a matrix with the genes of the reference (zeros where no read was seen).",
                    column="reference",
                )
            ]
        )
    x = matrix.log2_cpm[[place[g] for g in genes]]
    rows = [np.array([own[matrix.genes[r]] for r in f.rows], dtype=np.intp) for f in found]
    return genes, reference.log2_cpm.to_numpy(dtype=np.float64), x, rows


def _ulm(x: FloatArray, rows: Sequence[Index], found: Sequence[_Found]) -> FloatArray:
    """T of the slope of expression on membership, by decoupler."""
    decoupler = load_extra("decoupler")
    names = [f"g{k}" for k in range(len(x))]
    data = pd.DataFrame(np.array(x.T), index=[f"b{k}" for k in range(x.shape[1])], columns=names)
    net = pd.concat(
        [
            pd.DataFrame(
                {
                    "source": f"s{k}",
                    "target": [names[i] for i in r],
                    "weight": np.ones(r.size) if f.weights is None else f.weights,
                }
            )
            for k, (r, f) in enumerate(zip(rows, found, strict=True))
        ],
        ignore_index=True,
    )
    scores, _ = decoupler.mt.ulm(data=data, net=net, tmin=1)
    ordered = scores.loc[data.index].reindex(columns=[f"s{k}" for k in range(len(rows))])
    return np.asarray(ordered.to_numpy(dtype=np.float64).T)


# --- what is told --------------------------------------------------------------------------------------


def _check_method(method: str, signatures: Sequence[Signature]) -> None:
    problems = Problems()
    if method not in METHODS:
        problems.add(
            "E-ASSAY-001",
            f"There is no scoring method {method!r}.",
            remedy=nearest(method, METHODS),
            column="method",
            value=method,
        )
    twice = [s.name for k, s in enumerate(signatures) if s.name in {o.name for o in signatures[:k]}]
    if twice:
        problems.add(
            "E-ASSAY-001",
            f"The signature {twice[0]!r} is asked for twice.",
            remedy="Name each once.",
            column="signatures",
            value=twice[0],
        )
    problems.raise_if_any(AssayError)


def _tell(
    signatures: Sequence[Signature],
    found: Sequence[_Found],
    constants: Sequence[Sequence[str]],
    problems: Problems,
) -> None:
    for signature, own, constant in zip(signatures, found, constants, strict=True):
        if own.missing:
            k, n = len(own.genes), len(signature.genes)
            scored = own.coverage >= signature.min_coverage and k > 0
            what = (
                f"it is scored on the other {k} of {n}."
                if scored
                else f"{k} of {n} are below its floor of {signature.min_coverage:.0%}: it is not scored."
            )
            many = "a gene" if len(own.missing) == 1 else f"{len(own.missing)} genes"
            problems.add(
                "E-COUNT-018",
                f"Signature {signature.name} needs {many} that the matrix lacks; {what}",
                remedy="Give a genes table that maps the ids to symbols, or a matrix with these genes.",
                column=signature.name,
                value=";".join(own.missing),
                severity="warning",
                item=signature.name,
            )
        if constant:
            problems.add(
                "E-COUNT-018",
                f"Signature {signature.name}: {len(constant)} of its genes do not vary over the reference "
                "biopsies and are left out.",
                remedy="Nothing need be done; more biopsies in the reference would help.",
                column=signature.name,
                value=";".join(constant),
                severity="warning",
                item=signature.name,
            )


def _features(
    signatures: Sequence[Signature],
    found: Sequence[_Found],
    method: str,
    reference: SignatureReference | None,
) -> pd.DataFrame:
    n = len(signatures)
    usual = method == "mean_log2_cpm"
    return pd.DataFrame(
        {
            "kind": ["signature"] * n,
            "unit": [s.unit if usual else METHODS[method] for s in signatures],
            "lower": np.full(n, np.nan),
            "upper": np.full(n, np.nan),
            "lloq": np.full(n, np.nan),
            "family": [""] * n,
            "label": [s.label if usual else f"{s.label}, {method}" for s in signatures],
            "expected_direction": np.array([s.expected_direction for s in signatures], dtype=np.int64),
            "genes": [";".join(s.genes) for s in signatures],
            "n_genes": np.array([len(s.genes) for s in signatures], dtype=np.int64),
            "n_found": np.array([len(f.genes) for f in found], dtype=np.int64),
            "coverage": np.array([f.coverage for f in found]),
            "missing": [";".join(f.missing) for f in found],
            "method": [method] * n,
            "reference": [_reference_name(method, reference)] * n,
        },
        index=pd.Index([s.name for s in signatures], dtype=str),
    )


def _reference_name(method: str, reference: SignatureReference | None) -> str:
    if method not in NEEDS_REFERENCE:
        return "none needed"
    if reference is None:
        return "all biopsies of the assay"
    return f"fixed, {reference.log2_cpm.shape[1]} biopsies, {reference.hash[:12]}"


def _provenance(
    adata: AnnData, signatures: Sequence[Signature], method: str, reference: SignatureReference | None
) -> dict[str, Any]:
    before = dict(adata.uns.get("provenance", {}))
    told = {
        f"signature_{s.name}": f"{s.definition} Source: {s.source}, "
        + (f"PMID {s.pmid}." if s.pmid else f"doi {s.doi}." if s.doi else "as given.")
        for s in signatures
    }
    return {
        **before,
        "signatures": "pdbiomarker.expression.signature_scores",
        "signature_method": method,
        "signature_reference": _reference_name(method, reference),
        **told,
    }
