"""A single-cell h5ad file, read a slice of cells at a time, and checked before anything is computed.

A compressed sparse row matrix is three arrays: the counts, their column numbers, and pointers to the start
of each cell. Damaged pointers or columns make a sparse library read foreign memory or put counts into wrong
genes, so the pointers are checked whole, and columns and counts slice by slice, first. Data in other files
are not followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anndata as ad
import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from pdbiomarker.errors import AssayError, PdBiomarkerError, Problem, Problems
from pdbiomarker.expression.hdf5 import foreign_data, parts_fault, pointer_fault, unsafe_items
from pdbiomarker.expression.hdf5_probe import structure_problem
from pdbiomarker.tables import nearest

__all__ = ["CellFile", "open_cells"]

IntArray = npt.NDArray[np.int64]

#: Counts read at a time; a slice holds at least one cell.
SLICE: Final = 4_000_000
#: Where symbols stand when the index holds ids.
_SYMBOLS: Final = ("gene_name", "symbol", "gene_symbol", "feature_name", "gene_symbols")
#: No logarithm of counts is larger.
_LOG_CEILING: Final = 30.0


@dataclass(frozen=True)
class CellFile:
    """An open file whose pointers were checked.

    Attributes
    ----------
    name : str
        For messages.
    n_cells : int
    genes, symbols : list of str
    """

    name: str
    n_cells: int
    genes: list[str]
    symbols: list[str]
    _file: h5py.File
    _matrix: h5py.Group | h5py.Dataset
    _pointers: IntArray | None

    def column(self, name: str, what: str) -> npt.NDArray[np.object_]:
        """Read a column of `obs` as texts; None where a cell has no value.

        Raises
        ------
        AssayError
            E-CELL-004: there is no such column.
        """
        obs = self._file["obs"]
        if name not in obs or name == obs.attrs.get("_index"):
            have = [str(k) for k in obs if k not in {"__categories", obs.attrs.get("_index")}]
            _refuse(
                "E-CELL-004",
                f"The cells have no column {name!r}, which should hold {what}; there are "
                f"{', '.join(have) or 'none'}.",
                f"Name the column under 'single_cell' in study.yaml. {nearest(name, have)}",
                self.name,
                name,
            )
        with _told(self.name):
            values: Any = ad.io.read_elem(obs[name])
            texts = np.asarray(values, dtype=object)
        return np.array([None if pd.isna(v) else str(v) for v in texts], dtype=object)

    def slices(self) -> Iterator[tuple[int, sparse.csr_array]]:
        """Give the counts slice by slice: the first cell, and cells x genes.

        Raises
        ------
        AssayError
            E-CELL-002: a column number outside the genes; E-CELL-003: not counts.
        """
        start = 0
        while start < self.n_cells:
            stop = self._stop(start)
            yield start, self._slice(start, stop)
            start = stop

    def _stop(self, start: int) -> int:
        if self._pointers is None:
            return min(self.n_cells, start + max(1, SLICE // max(1, len(self.genes))))
        end = int(np.searchsorted(self._pointers, self._pointers[start] + SLICE, side="right")) - 1
        return min(self.n_cells, max(start + 1, end))

    def _slice(self, start: int, stop: int) -> sparse.csr_array:
        if self._pointers is None:
            with _told(self.name):
                dense = np.asarray(self._matrix[start:stop], dtype=np.float64)
            _check_counts(dense, self.name, start)
            return sparse.csr_array(dense)
        first, last = int(self._pointers[start]), int(self._pointers[stop])
        with _told(self.name):
            columns = np.asarray(self._matrix["indices"][first:last], dtype=np.int64)
            data = np.asarray(self._matrix["data"][first:last], dtype=np.float64)
        if columns.size and (columns.min() < 0 or columns.max() >= len(self.genes)):
            bad = int(columns[(columns < 0) | (columns >= len(self.genes))][0])
            _refuse(
                "E-CELL-002",
                f"The matrix names column {bad} in the cells from {start}, and has {len(self.genes)} genes.",
                "The file is damaged: write it again from its source.",
                self.name,
                "indices",
                bad,
            )
        _check_counts(data, self.name, start)
        pointers = self._pointers[start : stop + 1] - first
        return sparse.csr_array((data, columns, pointers), shape=(stop - start, len(self.genes)))


@contextmanager
def open_cells(path: Path, name: str, *, layer: str | None = None) -> Iterator[CellFile]:
    """Open a file for slices.

    Parameters
    ----------
    path : Path
    name : str
        What messages call it.
    layer : str, optional
        Where the raw counts are; default `X`.

    Raises
    ------
    AssayError
        E-FILE-001; E-CELL-001: no HDF5 or AnnData file, one that the HDF5 library does not survive, or data
        in another file; E-CELL-002: pointers that do not fit; E-COUNT-005: two genes of one name.
    """
    if not path.is_file():
        _refuse("E-FILE-001", "There is no such file.", "Correct the path.", name)
    broken = structure_problem(path, name, "E-CELL-001")
    if broken is not None:
        raise AssayError([broken])
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise AssayError([_damaged(name, f"it is no HDF5 file ({error})")]) from error
    with file:
        with _told(name):
            outside = list(foreign_data(file))
        if outside:
            _refuse(
                "E-CELL-001",
                f"The file takes data from another file ({outside[0]}); that is not followed.",
                "Write a file that holds all of its data.",
                name,
                outside[0],
            )
        with _told(name):
            unsafe = list(unsafe_items(file))
        for place, why in unsafe:
            _refuse(
                "E-CELL-002",
                f"The file is damaged, or not what it claims to be: {why}.",
                "Write it again from its source.",
                name,
                place,
            )
        with _told(name):
            opened = _opened(file, name, layer)
        yield opened


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what h5py and anndata raise over a damaged file into an error that names it."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        if isinstance(error, PdBiomarkerError):
            raise
        raise AssayError(
            [_damaged(name, f"it is no sound HDF5 file ({type(error).__name__}: {error})")]
        ) from error


def _opened(file: h5py.File, name: str, layer: str | None) -> CellFile:
    place = "X" if layer is None else f"layers/{layer}"
    if "obs" not in file or "var" not in file or place not in file:
        have = [f"layers/{k}" for k in file.get("layers", ())] + (["X"] if "X" in file else [])
        _refuse(
            "E-CELL-001",
            f"The file has no {place}, obs or var; matrices: {', '.join(have) or 'none'}.",
            "Give an h5ad file with raw counts in X, or name their layer.",
            name,
            place,
        )
    genes = _index(file["var"])
    symbols = next((_texts(file["var"][c]) for c in _SYMBOLS if c in file["var"]), genes)
    cells = _index_item(file["obs"])
    n_cells = int((cells["values"] if isinstance(cells, h5py.Group) else cells).shape[0])
    seen: set[str] = set()
    for gene in genes:
        if gene in seen:
            _refuse(
                "E-COUNT-005",
                f"The gene {gene!r} stands in two columns.",
                "Use unique ids (Ensembl) as index of var, with the symbols in a column gene_name.",
                name,
                "var",
                gene,
            )
        seen.add(gene)
    matrix = file[place]
    pointers = _pointers(matrix, name, n_cells, len(genes))
    return CellFile(name, n_cells, genes, symbols, file, matrix, pointers)


def _index_item(frame: h5py.Group) -> h5py.Dataset | h5py.Group:
    """The ids of a frame: texts, or a group of values and mask where some may be missing."""
    return frame[str(frame.attrs.get("_index", "_index"))]


def _index(frame: h5py.Group) -> list[str]:
    return _texts(_index_item(frame))


def _texts(item: h5py.Dataset | h5py.Group) -> list[str]:
    values: Any = ad.io.read_elem(item)
    return [str(v) for v in np.asarray(values, dtype=object)]


def _pointers(matrix: h5py.Group | h5py.Dataset, name: str, n_cells: int, n_genes: int) -> IntArray | None:
    """Row pointers of a sparse matrix, checked; None for a dense one."""
    if isinstance(matrix, h5py.Dataset):
        if matrix.dtype.kind not in "iufb":
            raise AssayError([_damaged(name, f"the matrix holds {matrix.dtype}, not numbers")])
        if matrix.shape != (n_cells, n_genes):
            why = f"the matrix is {matrix.shape}, obs and var say {(n_cells, n_genes)}"
            raise AssayError([_damaged(name, why)])
        return None
    kind = str(matrix.attrs.get("encoding-type", ""))
    if kind != "csr_matrix":
        _refuse(
            "E-CELL-001",
            f"The matrix is stored as {kind or 'an unknown kind'}: cells cannot be read one after the other.",
            "Store it by cells: adata.X = scipy.sparse.csr_matrix(adata.X), then write again.",
            name,
            "X",
            kind,
        )
    kind_fault = parts_fault(matrix)
    if kind_fault:
        raise AssayError([_damaged(name, kind_fault)])
    shape = tuple(int(v) for v in matrix.attrs.get("shape", ()))
    pointers = np.asarray(matrix["indptr"][:], dtype=np.int64)
    if shape != (n_cells, n_genes):
        raise AssayError([_damaged(name, f"its shape is {shape}, obs and var say {(n_cells, n_genes)}")])
    fault = pointer_fault(matrix, pointers, n_cells)
    if fault:
        raise AssayError([_damaged(name, fault)])
    return pointers


def _check_counts(data: npt.NDArray[np.float64], name: str, start: int) -> None:
    """Refuse what are no counts."""
    if data.size == 0:
        return
    finite = bool(np.isfinite(data).all())
    low, high = (float(data.min()), float(data.max())) if finite else (np.nan, np.nan)
    whole = finite and bool((data == np.floor(data)).all())
    if finite and low >= 0 and whole:
        return
    if not finite:
        what = "missing or infinite values"
    elif low < 0:
        what = f"values below 0, to {low:.3g}: they look scaled"
    elif high <= _LOG_CEILING:
        what = f"fractions up to {high:.3g}: they look log-normalised"
    else:
        what = f"fractions up to {high:.6g}: they look normalised or corrected for ambient RNA"
    _refuse(
        "E-CELL-003",
        f"The cells from {start} have {what}; pseudobulk needs raw counts.",
        "Name the layer with the raw counts under 'single_cell: {layer: counts}', or write them to X.",
        name,
        "X",
        "" if not finite else f"{low:.3g} to {high:.6g}",
    )


def _damaged(name: str, why: str) -> Problem:
    code = "E-CELL-001" if "HDF5" in why else "E-CELL-002"
    return Problem(
        code,
        f"The file cannot be used: {why}.",
        "The file is damaged: write it again from its source.",
        name,
    )


def _refuse(
    code: str, message: str, remedy: str, name: str, column: str | None = None, value: object = None
) -> None:
    problems = Problems()
    problems.add(code, message, remedy=remedy, file=name, column=column, value=value)
    problems.raise_if_any(AssayError)
