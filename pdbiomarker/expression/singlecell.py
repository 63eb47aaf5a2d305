"""Single cells become biopsies: counts summed by biopsy and cell type, and the share of each type.

A cell is never a replicate: what is compared are biopsies. The raw counts of a biopsy's cells of one type are
summed (pseudobulk) and go the road of any count assay, **one assay for each cell type**, named
``<assay>_<type>``: library sizes, filter and trend of the variance belong to one kind of cell. The numbers of
cells form the assay ``<assay>_composition``, with numerator and denominator, and go the road of proportions.

Quality of a cell: total counts, genes seen, share of mitochondrial counts, defined as scanpy's
``calculate_qc_metrics`` defines them; cells outside the limits are left out and counted by reason. Cell types
are taken from a column, or by markers: of each type the mean, over its markers, of ln(1 + counts per
10,000); the highest type wins if it is at least .25 and .1 above the next, else the cell is ``unassigned``,
which stays in the denominator of the composition.

The file is read once, a slice of 4 million counts at a time. With N cells, g genes, G groups (biopsies times
types) the memory is about ``150 N + 24 G g + 0.3e9`` bytes: 500,000 cells, 30,000 genes and 100 biopsies with
20 types need 2 GB, whatever the size of the file.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData
from scipy import sparse

from pdbiomarker.errors import AssayError, Problem, Problems
from pdbiomarker.expression.cellfile import CellFile, open_cells
from pdbiomarker.expression.genes import gene_features
from pdbiomarker.expression.genesets import read_gene_sets
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.provenance import sha256_file
from pdbiomarker.study import SingleCellOptions as Options
from pdbiomarker.study import Study
from pdbiomarker.study.assay_problems import keep_problems
from pdbiomarker.tables import nearest

__all__ = ["COMPOSITION", "Pseudobulk", "read_cells"]

#: What is appended to the name of a single-cell assay for the shares of its cell types.
COMPOSITION: Final = "_composition"
UNASSIGNED: Final = "unassigned"
_MARKER_LEAST, _MARKER_MARGIN = 0.25, 0.1
_SCALE: Final = 10_000.0
_TOLD: Final = 20


@dataclasses.dataclass(frozen=True)
class Pseudobulk:
    """What a single-cell file gives.

    Attributes
    ----------
    assays : mapping of name to AnnData
        Biopsies x genes for each cell type, and the composition.
    cells : DataFrame
        One row for each biopsy: biopsy_id, cells, passed, few_genes, mito, without_type, median_counts,
        median_genes, median_mito.
    problems : tuple of Problem
        What was left out, and warnings.
    """

    assays: Mapping[str, AnnData]
    cells: pd.DataFrame
    problems: tuple[Problem, ...]


def read_cells(
    path: str | Path,
    *,
    options: Options | None = None,
    study: Study | None = None,
    name: str = "sc",
    markers: Mapping[str, Sequence[str]] | None = None,
) -> Pseudobulk:
    """Sum single cells by biopsy and cell type.

    Parameters
    ----------
    path : path
        h5ad with raw counts, sparse by cells or dense.
    options : Options, optional
        Columns, limits; default its defaults.
    study : Study, optional
        Its biopsies are known; cells of others are left out and told (E-CELL-005). Also names files.
    name : str
        The assay's name.
    markers : mapping of cell type to symbols, optional
        Instead of `options.markers`.

    Returns
    -------
    Pseudobulk

    Raises
    ------
    AssayError
        E-CELL-001 to 004, E-FILE, E-COUNT-005: the file is refused; E-CELL-007: no cell passes.
    """
    path, options = Path(path), options or Options()
    problems = Problems()
    shown = path.name
    if markers is None and options.markers is not None:
        source = Path(options.markers) if study is None else study.resolve(options.markers)
        markers = {s.name: s.genes for s in read_gene_sets(source, problems=problems)}
    with open_cells(path, shown, layer=options.layer) as file:
        biopsies = _biopsies(file, options, study, problems)
        typing = _Typing.of(file, options, markers)
        sums = _pass(file, biopsies, typing, options)
    _tell(sums, biopsies, options, shown, problems)
    problems.raise_if_any(AssayError)
    assays = _assays(sums, biopsies, typing, options, name, problems)
    facts = {"reader": "pdbiomarker.expression.read_cells", "file": shown, "sha256": sha256_file(path)}
    facts["cells"] = f"{int(sums.cells.sum())} read, {int(sums.passed.sum())} used"
    facts["cell_types"] = "by markers" if markers is not None else f"obs column {options.cell_type}"
    for adata in assays.values():
        adata.uns["provenance"] = dict(facts)
        keep_problems(adata, ())
    told = tuple(problems)
    if assays:
        keep_problems(next(iter(assays.values())), told)
    return Pseudobulk(assays, _cells_table(sums, biopsies), told)


# --- who each cell is ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Biopsies:
    """Biopsy of each cell (-1: none of the study), and their ids in order."""

    codes: npt.NDArray[np.int32]
    ids: list[str]


def _biopsies(file: CellFile, options: Options, study: Study | None, problems: Problems) -> _Biopsies:
    values = file.column(options.biopsy, "the biopsy of each cell")
    codes, found = pd.factorize(values)
    seen = [str(v) for v in found]
    if study is None:
        known = sorted(seen)
    else:
        known = [str(b) for b in study.biopsies.index if str(b) in set(seen)]
        strange = sorted(set(seen) - set(known))
        for one in strange[:_TOLD]:
            count = int((codes == seen.index(one)).sum())
            problems.add(
                "E-CELL-005",
                f"{count} cells are of the biopsy {one!r}, which the study does not know; they are left out.",
                remedy=f"Correct the id. {nearest(one, [str(b) for b in study.biopsies.index])}",
                file=file.name,
                column=options.biopsy,
                value=one,
                severity="quarantine",
                item=one,
            )
    if not known:
        problems.add(
            "E-CELL-005",
            f"No cell is of a biopsy of the study; the file has {', '.join(map(repr, seen[:3]))}.",
            remedy="Name the column with the biopsy ids under 'single_cell: {biopsy: ...}'.",
            file=file.name,
            column=options.biopsy,
        )
        problems.raise_if_any(AssayError)
    place = {b: k for k, b in enumerate(known)}
    to = np.array([place.get(s, -1) for s in seen] + [-1], dtype=np.int32)  # the last stands for no value
    return _Biopsies(to[codes], known)


@dataclasses.dataclass(frozen=True)
class _Typing:
    """Cell types in order; the type of each cell, or the markers that decide it (genes x types, means)."""

    names: list[str]
    codes: npt.NDArray[np.int32] | None
    markers: sparse.csr_array | None

    @classmethod
    def of(cls, file: CellFile, options: Options, markers: Mapping[str, Sequence[str]] | None) -> _Typing:
        if markers is None:
            values = file.column(options.cell_type, "the type of each cell")
            codes, found = pd.factorize(values)
            names = sorted(str(v) for v in found)
            place = {n: k for k, n in enumerate(names)}
            to = np.array([place[str(v)] for v in found] + [-1], dtype=np.int32)
            return cls(names, to[codes], None)
        column = {s: k for k, s in enumerate(file.symbols)}
        names = list(markers)
        weights = sparse.lil_array((len(file.genes), len(names)))
        for k, genes in enumerate(markers.values()):
            rows = [column[g] for g in dict.fromkeys(genes) if g in column]
            if not rows:
                raise AssayError(
                    [
                        Problem(
                            "E-CELL-004",
                            f"The file has none of the markers of {names[k]!r}.",
                            "Correct the markers: they are compared with the symbols of the file.",
                            file.name,
                            value=names[k],
                        )
                    ]
                )
            for row in rows:
                weights[row, k] = 1.0 / len(rows)
        return cls([*names, UNASSIGNED], None, weights.tocsr())

    def type_of(self, counts: sparse.csr_array, total: FloatArray, start: int) -> npt.NDArray[np.int32]:
        """Type of each cell of a slice; -1 without one."""
        if self.codes is not None:
            return self.codes[start : start + counts.shape[0]]
        if self.markers is None:
            raise RuntimeError("cells are typed neither by a column nor by markers")
        level = counts.copy()
        rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        level.data = np.log1p(level.data * _SCALE / np.maximum(total[rows], 1.0))
        scores = np.asarray((level @ self.markers).toarray())
        order = np.sort(scores, axis=1)
        best = scores.argmax(axis=1).astype(np.int32)
        second = order[:, -2] if scores.shape[1] > 1 else np.full(len(scores), -np.inf)
        sure = (order[:, -1] >= _MARKER_LEAST) & (order[:, -1] - second >= _MARKER_MARGIN)
        return np.where(sure, best, len(self.names) - 1).astype(np.int32)


# --- the pass ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Sums:
    """What one pass over the cells leaves; groups are biopsy times number of types plus type."""

    counts: FloatArray
    cells: npt.NDArray[np.int64]
    passed: npt.NDArray[np.int64]
    lost: Mapping[str, npt.NDArray[np.int64]]
    quality: FloatArray
    used: npt.NDArray[np.bool_]
    genes: list[str]
    symbols: list[str]


def _pass(file: CellFile, biopsies: _Biopsies, typing: _Typing, options: Options) -> _Sums:
    n_types, n_genes = len(typing.names), len(file.genes)
    n_groups = len(biopsies.ids) * n_types
    sums = _Sums(
        counts=np.zeros((n_groups, n_genes)),
        cells=np.zeros(len(biopsies.ids), dtype=np.int64),
        passed=np.zeros(n_groups, dtype=np.int64),
        lost={k: np.zeros(len(biopsies.ids), dtype=np.int64) for k in ("few_genes", "mito", "without_type")},
        quality=np.zeros((file.n_cells, 3)),
        used=np.zeros(file.n_cells, dtype=bool),
        genes=file.genes,
        symbols=file.symbols,
    )
    mito = np.array([s.upper().startswith("MT-") for s in file.symbols], dtype=np.float64)
    for start, counts in file.slices():
        stop = start + counts.shape[0]
        total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        seen = _genes_seen(counts)
        share = np.divide(counts @ mito, total, out=np.zeros_like(total), where=total > 0)
        sums.quality[start:stop] = np.column_stack([total, seen, share])
        own = biopsies.codes[start:stop]
        types = typing.type_of(counts, total, start)
        known = own >= 0
        np.add.at(sums.cells, own[known], 1)
        few = known & ((seen < options.min_genes) | (total == 0))
        high = known & ~few & (share > options.max_mito)
        untyped = known & ~few & ~high & (types < 0)
        for reason, bad in (("few_genes", few), ("mito", high), ("without_type", untyped)):
            np.add.at(sums.lost[reason], own[bad], 1)
        good = np.flatnonzero(known & ~few & ~high & ~untyped)
        sums.used[start + good] = True
        group = own[good].astype(np.int64) * n_types + types[good]
        np.add.at(sums.passed, group, 1)
        touched, code = np.unique(group, return_inverse=True)
        if touched.size:
            chooser = sparse.csr_array(
                (np.ones(good.size), (code, good)), shape=(touched.size, counts.shape[0])
            )
            sums.counts[touched] += (chooser @ counts).toarray()
    return sums


def _genes_seen(counts: sparse.csr_array) -> FloatArray:
    """Genes with a count above 0 in each cell; a stored zero, or a gene stored twice, does not add."""
    clean = counts.copy()
    clean.sum_duplicates()
    clean.eliminate_zeros()
    return np.diff(clean.indptr).astype(np.float64)


# --- the assays ----------------------------------------------------------------------------------------


def _assays(
    sums: _Sums,
    biopsies: _Biopsies,
    typing: _Typing,
    options: Options,
    name: str,
    problems: Problems,
) -> dict[str, AnnData]:
    n_types = len(typing.names)
    numbers = sums.passed.reshape(len(biopsies.ids), n_types)
    counts = sums.counts.reshape(len(biopsies.ids), n_types, -1)
    names = _assay_names(name, typing.names)
    assays: dict[str, AnnData] = {}
    for k, cell_type in enumerate(typing.names):
        enough = (numbers[:, k] >= options.min_cells) & (counts[:, k].sum(axis=1) > 0)
        few = [f"{b} ({n})" for b, n, ok in zip(biopsies.ids, numbers[:, k], enough, strict=True) if not ok]
        if cell_type == UNASSIGNED or not enough.any():
            if cell_type != UNASSIGNED:
                problems.add(
                    "E-CELL-006",
                    f"No biopsy has {options.min_cells} cells of the type {cell_type!r}; it has no assay.",
                    remedy="Merge it with a like type, or lower 'single_cell: {min_cells: ...}'.",
                    column=name,
                    value=cell_type,
                    severity="warning",
                )
            continue
        if few:
            problems.add(
                "E-CELL-006",
                f"{len(few)} of {len(biopsies.ids)} biopsies have below {options.min_cells} cells of type "
                f"{cell_type!r} and no value: {', '.join(few[:5])}{', ...' if len(few) > 5 else ''}.",
                remedy="Nothing need be done; the composition still counts these cells.",
                column=name,
                value=cell_type,
                severity="warning",
            )
        assays[names[k]] = _counts_assay(
            sums,
            counts[enough, k],
            numbers[enough, k],
            [biopsies.ids[i] for i in np.flatnonzero(enough)],
            cell_type=cell_type,
        )
    assays[name + COMPOSITION] = _composition(sums, numbers, biopsies, typing.names, options)
    return assays


def _assay_names(name: str, types: Sequence[str]) -> list[str]:
    """Names that a plan can write; two types never share one."""
    made: list[str] = []
    for cell_type in types:
        base = f"{name}_{re.sub(r'[^A-Za-z0-9]+', '_', cell_type).strip('_') or 'type'}"[:36]
        own, k = base, 2
        while own.casefold() in {m.casefold() for m in made} or own == name + COMPOSITION:
            own, k = f"{base}_{k}", k + 1
        made.append(own)
    return made


def _counts_assay(
    sums: _Sums,
    counts: FloatArray,
    cells: npt.NDArray[np.int64],
    ids: Sequence[str],
    *,
    cell_type: str,
) -> AnnData:
    symbols = ["" if s == g else s for s, g in zip(sums.symbols, sums.genes, strict=True)]
    var = gene_features(sums.genes, symbols, kind="count", unit="reads")
    obs = pd.DataFrame(
        {"n_cells": cells, "library_size": counts.sum(axis=1), "cell_type": cell_type},
        index=pd.Index(ids, dtype=str),
    )
    return AnnData(X=np.ascontiguousarray(counts), obs=obs, var=var)


def _composition(
    sums: _Sums,
    numbers: npt.NDArray[np.int64],
    biopsies: _Biopsies,
    types: Sequence[str],
    options: Options,
) -> AnnData:
    total = numbers.sum(axis=1)
    chosen = total >= options.min_cells
    numerator = numbers[chosen].astype(np.float64)
    denominator = np.repeat(total[chosen].astype(np.float64)[:, None], len(types), axis=1)
    n = len(types)
    features = [re.sub(r"[^A-Za-z0-9]+", "_", t).strip("_") or "type" for t in types]
    if len(set(features)) < n:
        features = list(types)
    var = pd.DataFrame(
        {
            "kind": ["proportion"] * n,
            "unit": ["share of cells"] * n,
            "lower": np.zeros(n),
            "upper": np.ones(n),
            "lloq": np.full(n, np.nan),
            "family": [""] * n,
            "label": [f"{t}, share of cells" for t in types],
            "expected_direction": np.zeros(n, dtype=np.int64),
        },
        index=pd.Index(features, dtype=str),
    )
    table = _cells_table(sums, biopsies).set_index("biopsy_id")
    kept = [b for b, ok in zip(biopsies.ids, chosen, strict=True) if ok]
    obs = table.loc[kept].copy()
    obs.index = pd.Index(kept, dtype=str)
    adata = AnnData(X=numerator / denominator, obs=obs, var=var)
    adata.layers["numerator"], adata.layers["denominator"] = numerator, denominator
    return adata


# --- what is told --------------------------------------------------------------------------------------


def _cells_table(sums: _Sums, biopsies: _Biopsies) -> pd.DataFrame:
    """Cells of each biopsy, those left out by reason, and medians over the cells used."""
    medians = np.full((len(biopsies.ids), 3), np.nan)
    for k in range(len(biopsies.ids)):
        own = sums.quality[sums.used & (biopsies.codes == k)]
        if len(own):
            medians[k] = np.median(own, axis=0)
    n_types = sums.passed.size // max(1, len(biopsies.ids))
    return pd.DataFrame(
        {
            "biopsy_id": biopsies.ids,
            "cells": sums.cells,
            "passed": sums.passed.reshape(-1, n_types).sum(axis=1),
            **sums.lost,
            "median_counts": medians[:, 0],
            "median_genes": medians[:, 1],
            "median_mito": medians[:, 2],
        }
    )


def _tell(sums: _Sums, biopsies: _Biopsies, options: Options, shown: str, problems: Problems) -> None:
    lost = {reason: int(numbers.sum()) for reason, numbers in sums.lost.items()}
    nobody = int((biopsies.codes < 0).sum())
    total = int(sums.cells.sum())
    if sums.passed.sum() == 0:
        problems.add(
            "E-CELL-007",
            f"None of {total} cells passes: {lost['few_genes']} have fewer than {options.min_genes} genes, "
            f"{lost['mito']} more than {options.max_mito:.0%} mitochondrial counts, "
            f"{lost['without_type']} no type.",
            remedy="Set 'single_cell: {min_genes: ..., max_mito: ...}' to fit the assay.",
            file=shown,
        )
        return
    if any(lost.values()) or nobody:
        problems.add(
            "E-CELL-007",
            f"Of {total + nobody} cells {sum(lost.values())} are left out: {lost['few_genes']} with fewer "
            f"than {options.min_genes} genes, {lost['mito']} with more than {options.max_mito:.0%} "
            f"mitochondrial counts, {lost['without_type']} without a type; "
            f"{nobody} belong to no biopsy of the study.",
            remedy="See results/qc_cells.csv.",
            file=shown,
            severity="warning",
        )
