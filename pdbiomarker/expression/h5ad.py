"""Raw counts of bulk libraries in an h5ad file: libraries x genes, nothing taken from other files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.expression.hdf5 import check_hdf5
from pdbiomarker.expression.hdf5_probe import structure_problem
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.expression.matrix import RawMatrix, matrix_of

__all__ = ["H5adCounts", "read_h5ad_counts"]

#: More rows than this are cells, not libraries.
MOST_LIBRARIES: Final = 5_000
_SYMBOLS: Final = ("gene_name", "symbol", "gene_symbol", "gene_symbols", "feature_name")


class H5adCounts(NamedTuple):
    """Counts of a file, the place they were taken from, and symbols where `var` has them."""

    raw: RawMatrix
    place: str
    symbols: Sequence[str] | None


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
    broken = structure_problem(path, name, "E-ASSAY-002")
    if broken is not None:
        problems.extend([broken])
        return None
    try:
        with h5py.File(path, "r") as file:
            before = len(problems.errors)
            check_hdf5(file, name, problems)
            if len(problems.errors) > before:
                return None
            rows = len(file["obs"][file["obs"].attrs.get("_index", "_index")]) if "obs" in file else 0
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
