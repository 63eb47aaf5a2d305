"""Raw counts of bulk libraries in an h5ad file: libraries x genes, nothing taken from other files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.expression.matrix import RawMatrix, matrix_of

__all__ = ["H5adCounts", "damaged_matrices", "foreign_data", "read_h5ad_counts", "sparse_fault"]

#: More rows than this are cells, not libraries.
MOST_LIBRARIES: Final = 5_000
_SYMBOLS: Final = ("gene_name", "symbol", "gene_symbol", "gene_symbols", "feature_name")
_PARTS: Final = ("indptr", "indices", "data")
#: The version of a sparse matrix' encoding that anndata writes, and this package knows.
_VERSION: Final = "0.1.0"
_AT_ONCE: Final = 4_000_000


class H5adCounts(NamedTuple):
    """Counts of a file, the place they were taken from, and symbols where `var` has them."""

    raw: RawMatrix
    place: str
    symbols: Sequence[str] | None


def foreign_data(group: h5py.Group) -> Iterator[str]:
    """Names, below a group, of links to other files and of data that are stored in other files."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield f"{group.name.rstrip('/')}/{name}"
            continue
        if isinstance(link, h5py.SoftLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from foreign_data(item)
        elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            yield str(item.name)


def sparse_fault(matrix: h5py.Group, shape: tuple[int, int], *, by_row: bool = True) -> str:
    """Say why the pointers of a compressed sparse matrix do not fit; empty where they do.

    Parameters
    ----------
    matrix : h5py.Group
        With ``indptr``, ``indices`` and ``data``.
    shape : tuple of int
        Rows and columns that it must have.
    by_row : bool
        Whether rows are compressed (csr), or columns (csc).
    """
    if any(not isinstance(matrix.get(part), h5py.Dataset) for part in _PARTS):
        return f"it lacks {' or '.join(_PARTS)}"
    kinds = {part: matrix[part].dtype.kind for part in _PARTS}
    if kinds["data"] not in "iufb" or kinds["indices"] not in "iu" or kinds["indptr"] not in "iu":
        return f"{', '.join(_PARTS)} are not all numbers"
    version = str(matrix.attrs.get("encoding-version", _VERSION))
    if version != _VERSION:
        return f"its encoding is version {version}; {_VERSION} is read"
    lines, columns = matrix["indptr"].shape[0] - 1, matrix["indices"].shape[0]
    stored = matrix["data"].shape[0]
    stated = tuple(int(v) for v in matrix.attrs.get("shape", ()))
    if stated != shape:
        return f"its shape is {stated}, obs and var say {shape}"
    expected = shape[0] if by_row else shape[1]
    if lines != expected:
        return f"there are {lines + 1} pointers for {expected} {'rows' if by_row else 'columns'}"
    if columns != stored:
        return f"there are {columns} columns for {stored} values"
    pointers = np.asarray(matrix["indptr"][:], dtype=np.int64)
    if pointers.size and pointers[0] != 0:
        return "the first pointer is not 0"
    if (np.diff(pointers) < 0).any():
        return "pointers fall"
    if pointers.size and pointers[-1] != stored:
        return f"the last pointer is {pointers[-1]}, and {stored} values are stored"
    return ""


def damaged_matrices(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Name the sparse matrices of an AnnData file whose pointers or column numbers do not fit, and why.

    A sparse library would read foreign memory with them, or put values into wrong columns.
    """
    rows, columns = _length(file, "obs"), _length(file, "var")
    places = {"X": columns, "raw/X": _length(file, "raw/var")}
    places |= {f"layers/{name}": columns for name in file.get("layers", ())}
    for place, width in places.items():
        matrix = file.get(place)
        kind = "" if matrix is None else str(matrix.attrs.get("encoding-type", ""))
        if not isinstance(matrix, h5py.Group) or kind not in {"csr_matrix", "csc_matrix"}:
            continue
        by_row = kind == "csr_matrix"
        why = sparse_fault(matrix, (rows, width), by_row=by_row)
        across = width if by_row else rows
        for start in range(0, 0 if why else matrix["indices"].shape[0], _AT_ONCE):
            part = matrix["indices"][start : start + _AT_ONCE]
            bad = part[(part < 0) | (part >= across)]
            if bad.size:
                why = f"it names {'column' if by_row else 'row'} {bad[0]} of {across}"
                break
        if why:
            yield place, why


def _length(file: h5py.File, frame: str) -> int:
    """Rows of obs or var; 0 where it is not there."""
    group = file.get(frame)
    if not isinstance(group, h5py.Group):
        return 0
    index = group[str(group.attrs.get("_index", "_index"))]
    return int((index["values"] if isinstance(index, h5py.Group) else index).shape[0])


def read_h5ad_counts(path: Path, name: str, problems: Problems) -> H5adCounts | None:
    """Read the raw counts of an h5ad file.

    Parameters
    ----------
    path : Path
    name : str
        What problems call the file.
    problems : Problems
        Added: E-FILE-005, E-ASSAY-002, E-COUNT-033.

    Returns
    -------
    H5adCounts or None
        ``layers["counts"]`` where it exists, else `X` where it is whole, else ``raw.X``.
    """
    try:
        with h5py.File(path, "r") as file:
            foreign = list(foreign_data(file))
            damaged = [] if foreign else list(damaged_matrices(file))
            rows = len(file["obs"][file["obs"].attrs.get("_index", "_index")]) if "obs" in file else 0
        for place in foreign:
            problems.add(
                "E-ASSAY-002",
                "The file takes data from another file; that is not followed.",
                remedy="Write a file that holds all of its data.",
                file=name,
                column=place,
            )
        for place, why in damaged:
            problems.add(
                "E-FILE-005",
                f"The matrix {place} of the file is damaged: {why}.",
                remedy="Write the file again from its source.",
                file=name,
                column=place,
            )
        if foreign or damaged:
            return None
        if rows > MOST_LIBRARIES:
            problems.add(
                "E-COUNT-033",
                f"The file holds {rows} rows: these look like cells, not libraries; cells are no replicates.",
                remedy="Sum them to pseudobulk by biopsy and cell type first.",
                file=name,
            )
            return None
        adata = ad.read_h5ad(path)
    except Exception as error:  # whatever a foreign or damaged file makes its reader raise
        problems.add(
            "E-FILE-005",
            f"The file is no AnnData that can be read ({type(error).__name__}).",
            remedy="Write it again with anndata.",
            file=name,
        )
        return None
    place, values, var = _raw_counts(adata)
    if values is None:
        problems.add(
            "E-COUNT-033",
            "The file has no matrix of counts: neither layers['counts'], X nor raw.",
            remedy="Store raw counts in layers['counts'].",
            file=name,
        )
        return None
    symbols = next(([str(s) for s in var[c].tolist()] for c in _SYMBOLS if c in var), None)
    genes, libraries = [str(g) for g in var.index], [str(b) for b in adata.obs_names]
    return H5adCounts(matrix_of(values.T, genes, libraries), place, symbols)


def _raw_counts(adata: ad.AnnData) -> tuple[str, FloatArray | None, pd.DataFrame]:
    if "counts" in adata.layers:
        return "layers['counts']", _dense(adata.layers["counts"]), cast("pd.DataFrame", adata.var)
    plain = None if adata.X is None else _dense(adata.X)
    if adata.raw is not None and (plain is None or (plain != np.floor(plain)).any()):
        return "raw.X", _dense(adata.raw.X), pd.DataFrame(adata.raw.var)
    return "X", plain, cast("pd.DataFrame", adata.var)


def _dense(values: Any) -> FloatArray:
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, dtype=np.float64)
