"""Count matrices: genes x libraries in a file, biopsies x genes in the study.

Refused (:class:`~pdbiomarker.errors.AssayError`): what makes the matrix as a whole doubtful, such as text,
negative, fractional or missing counts, repeated genes or libraries, a transposed table. Quarantined: single
libraries, namely one without a read (E-COUNT-009), one with less than 1/50 of the median depth (E-COUNT-014),
one that no biopsy claims (E-COUNT-007), and a library of the sheets that the matrix lacks (E-COUNT-008).
Told only: two identical libraries (E-COUNT-015), names that a spreadsheet turned into dates (E-COUNT-013).

Several libraries of one biopsy are summed: reads of one RNA add up, and the sum has the variance that the
voom trend assumes of a count of its size.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import AssayError, Problem, Problems
from pdbiomarker.expression.checks import check_matrix
from pdbiomarker.expression.genes import labels, map_symbols
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.expression.matrix import read_matrix
from pdbiomarker.provenance import sha256_file
from pdbiomarker.study import AssaySpec, Study
from pdbiomarker.tables import nearest, read_table

__all__ = ["SHALLOW", "check_counts", "problems_of", "read_counts"]

#: A library with less than this share of the median depth is quarantined.
SHALLOW: Final = 1 / 50


@dataclasses.dataclass(frozen=True)
class _Counts:
    """A matrix that passed its checks: values genes x libraries."""

    values: FloatArray
    genes: list[str]
    libraries: list[str]

    def keep(self, chosen: npt.NDArray[np.bool_]) -> _Counts:
        libraries = [library for library, ok in zip(self.libraries, chosen, strict=True) if ok]
        return _Counts(self.values[:, chosen], self.genes, libraries)


def check_counts(path: str | Path) -> Problems:
    """Find everything that is wrong with a count matrix by itself.

    Parameters
    ----------
    path : path
        Genes x libraries: CSV, TSV (either may be gzip-packed) or Parquet; the first column is the gene id.

    Returns
    -------
    Problems
        Empty for a sound matrix. At most 20 of each kind are told one by one.
    """
    problems = Problems()
    path = Path(path)
    counts = _checked(path, path.name, problems, expected=())
    if counts is not None and not problems.errors:
        _usable_libraries(counts, path.name, problems)
    return problems


def read_counts(
    path: str | Path,
    *,
    study: Study | None = None,
    spec: AssaySpec | None = None,
    genes: pd.DataFrame | str | Path | None = None,
) -> AnnData:
    """Read a count matrix as an assay.

    Parameters
    ----------
    path : path
        Genes x libraries: CSV, TSV (either may be gzip-packed) or Parquet; the first column is the gene id,
        kept as text (``007``, ``1E5``, ``NA`` stay).
    study : Study, optional
        Its `libraries` say which biopsy each library belongs to.
    spec : AssaySpec, optional
        The assay in study.yaml: names the file in messages, and the `genes` table.
    genes : DataFrame or path, optional
        Table of symbols, instead of the one of `spec`; see :mod:`pdbiomarker.expression.genes`.

    Returns
    -------
    AnnData, biopsies x genes
        Without a study, libraries x genes. `X` holds counts as float64. `obs`: n_libraries, library_size
        (reads), libraries (ids joined by ``;``), batch where the sheets have one. `var`: the columns of an
        assay (kind ``count``, unit ``reads``) and symbol, empty where unknown. ``uns["problems"]`` holds
        quarantined libraries and warnings: see :func:`problems_of`.

    Raises
    ------
    AssayError
        With every fault of the matrix, its gene, line, library and value (E-COUNT-001 to 006, 010 to 012,
        E-FILE and E-SHEET codes), or when no library is left.

    Notes
    -----
    22,187 genes x 109 libraries take about 0.3 s.
    """
    path = Path(path)
    name = path.name if spec is None or spec.file is None else spec.file
    problems = Problems()
    expected = () if study is None else tuple(map(str, study.libraries.index))
    counts = _checked(path, name, problems, expected=expected)
    if counts is None:
        raise AssayError(problems)
    table, table_name = _genes_table(genes, study, spec, problems)
    symbols = [""] * len(counts.genes)
    if table is not None:
        symbols = map_symbols(counts.genes, table, table_name, problems=problems)
    problems.raise_if_any(AssayError)
    n_features, n_libraries = len(counts.genes), len(counts.libraries)
    counts = _usable_libraries(counts, name, problems)
    adata = _by_library(counts) if study is None else _by_biopsy(counts, study, name, problems)
    problems.raise_if_any(AssayError)
    adata.var = _features(counts.genes, symbols)
    adata.uns["problems"] = _to_json(problems)
    adata.uns["provenance"] = {
        "reader": "pdbiomarker.expression.read_counts",
        "file": name,
        "sha256": sha256_file(path),
        "matrix": f"{n_features} genes x {n_libraries} libraries",
        "libraries_of_a_biopsy": "summed",
    }
    return adata


def problems_of(adata: AnnData) -> tuple[Problem, ...]:
    """Quarantined items and warnings that were told while an assay was read.

    ``uns["problems"]`` is JSON text, a list of objects with the fields of
    :class:`~pdbiomarker.errors.Problem`, because a list of mappings does not survive an h5ad file.
    """
    rows = json.loads(str(adata.uns.get("problems", "[]")))
    return tuple(Problem(**row) for row in rows)


def _to_json(problems: Problems) -> str:
    return json.dumps([dataclasses.asdict(p) for p in problems], ensure_ascii=False)


def _checked(path: Path, name: str, problems: Problems, *, expected: Sequence[str]) -> _Counts | None:
    """Read and check; None where there is no matrix to check."""
    raw = read_matrix(path, name, problems)
    if raw is None:
        return None
    gene_ids, library_ids = check_matrix(raw, name, problems, expected=expected)
    return _Counts(raw.values, gene_ids, library_ids)


def _genes_table(
    genes: pd.DataFrame | str | Path | None, study: Study | None, spec: AssaySpec | None, problems: Problems
) -> tuple[pd.DataFrame | None, str]:
    """The table of symbols and its name in messages."""
    if isinstance(genes, pd.DataFrame):
        return genes, "genes table"
    if genes is not None:
        return read_table(genes, problems=problems), Path(genes).name
    if spec is None or spec.genes is None:
        return None, ""
    file = Path(spec.genes) if study is None else study.resolve(spec.genes)
    return read_table(file, name=spec.genes, problems=problems), spec.genes


def _usable_libraries(counts: _Counts, name: str, problems: Problems) -> _Counts:
    """Quarantine libraries without reads or with too few, tell identical ones."""
    depth = counts.values.sum(axis=0)
    usual = float(np.median(depth[depth > 0])) if (depth > 0).any() else 0.0
    for library, reads in zip(counts.libraries, depth.tolist(), strict=True):
        if reads == 0:
            code, what = "E-COUNT-009", "has no read at all"
        elif reads < SHALLOW * usual:
            code, what = "E-COUNT-014", f"has {reads:.0f} reads, less than 1/50 of the median {usual:.0f}"
        else:
            continue
        problems.add(
            code,
            f"Library {library!r} {what}; it is left out.",
            remedy="Sequence it again, or remove it from the sheet.",
            file=name,
            row=1,
            column=library,
            value=f"{reads:.0f}",
            severity="quarantine",
            item=library,
        )
    kept = counts.keep((depth > 0) & (depth >= SHALLOW * usual))
    seen: dict[bytes, str] = {}
    for library, column in zip(kept.libraries, kept.values.T, strict=True):
        digest = hashlib.sha256(np.ascontiguousarray(column).tobytes()).digest()
        twin = seen.setdefault(digest, library)
        if twin != library:
            problems.add(
                "E-COUNT-015",
                f"Libraries {twin!r} and {library!r} have the same counts for all {len(kept.genes)} genes.",
                remedy="Check whether one was copied over the other.",
                file=name,
                row=1,
                column=library,
                severity="warning",
                item=library,
            )
    if not kept.libraries:
        problems.add(
            "E-COUNT-009",
            "No library has any reads.",
            remedy="Check that this is the count matrix.",
            file=name,
        )
    return kept


def _by_library(counts: _Counts) -> AnnData:
    obs = pd.DataFrame(
        {
            "n_libraries": np.ones(len(counts.libraries), dtype=np.int64),
            "library_size": counts.values.sum(axis=0),
            "libraries": counts.libraries,
        },
        index=pd.Index(counts.libraries, dtype=str),
    )
    return AnnData(X=np.ascontiguousarray(counts.values.T), obs=obs)


def _by_biopsy(counts: _Counts, study: Study, name: str, problems: Problems) -> AnnData:
    """Sum the libraries of each biopsy; biopsies in the order of the sheet."""
    sheet = study.libraries
    owner = {str(library): str(biopsy) for library, biopsy in sheet["biopsy_id"].items()}
    _tell_unmatched(counts, sheet, name, problems)
    claimed = [library in owner for library in counts.libraries]
    if not any(claimed):
        problems.add(
            "E-COUNT-007",
            f"No library of the matrix is claimed by a biopsy; the matrix has {_some(counts.libraries)}, "
            f"the sheets {_some(list(owner))}.",
            remedy="Use the same library ids in the sheets and in the header of the matrix.",
            file=name,
            row=1,
        )
        raise AssayError(problems)
    counts = counts.keep(np.array(claimed, dtype=bool))
    members: dict[str, list[int]] = {}
    for k, library in enumerate(counts.libraries):
        members.setdefault(owner[library], []).append(k)
    place = {str(biopsy): k for k, biopsy in enumerate(study.biopsies.index)}
    biopsies = sorted(members, key=lambda b: (place.get(b, len(place)), b))
    X = np.empty((len(biopsies), len(counts.genes)))
    for row, biopsy in enumerate(biopsies):
        X[row] = counts.values[:, members[biopsy]].sum(axis=1)
    columns: dict[str, Any] = {
        "n_libraries": [len(members[b]) for b in biopsies],
        "library_size": X.sum(axis=1),
        "libraries": [";".join(counts.libraries[k] for k in members[b]) for b in biopsies],
    }
    if "batch" in sheet.columns:
        batch = {str(i): str(v) for i, v in sheet["batch"].items() if isinstance(v, str) and v}
        of_biopsy = [[batch.get(counts.libraries[k], "") for k in members[b]] for b in biopsies]
        columns["batch"] = ["+".join(dict.fromkeys(v for v in values if v)) for values in of_biopsy]
    return AnnData(X=X, obs=pd.DataFrame(columns, index=pd.Index(biopsies, dtype=str)))


def _tell_unmatched(counts: _Counts, sheet: pd.DataFrame, name: str, problems: Problems) -> None:
    """Libraries without a biopsy, and libraries of the sheets without a column.

    Where no sheet names libraries, biopsy ids stand for them, and a biopsy without a column is no fault.
    """
    claimed = [str(library) for library in sheet.index]
    known, told = set(claimed), {p.item for p in problems}
    for library in counts.libraries:
        if library not in known:
            problems.add(
                "E-COUNT-007",
                f"No biopsy claims library {library!r}; it is left out.",
                remedy=f"Name it in the sheet, or remove the column. {nearest(library, claimed)}",
                file=name,
                row=1,
                column=library,
                value=library,
                severity="quarantine",
                item=library,
            )
    present = set(counts.libraries)
    sources = sheet["source"].tolist() if "source" in sheet else [name] * len(claimed)
    lines = sheet["line"].tolist() if "line" in sheet else [None] * len(claimed)
    for library, source, line in zip(claimed, sources, lines, strict=True):
        if library not in present and library not in told and source != "biopsy_id":
            problems.add(
                "E-COUNT-008",
                f"Library {library!r} of the sheets is not in the matrix.",
                remedy=f"Correct the id, or remove it from the sheet. {nearest(library, counts.libraries)}",
                file=str(source),
                row=None if line is None else int(line),
                value=library,
                severity="quarantine",
                item=library,
            )


def _some(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids[:3])) + (", ..." if len(ids) > 3 else "") if ids else "none"


def _features(genes: Sequence[str], symbols: Sequence[str]) -> pd.DataFrame:
    """The columns of an assay, for genes."""
    n = len(genes)
    return pd.DataFrame(
        {
            "kind": ["count"] * n,
            "unit": ["reads"] * n,
            "lower": np.zeros(n),
            "upper": np.full(n, np.nan),
            "lloq": np.full(n, np.nan),
            "family": [""] * n,
            "label": labels(genes, symbols),
            "expected_direction": np.zeros(n, dtype=np.int64),
            "symbol": list(symbols),
        },
        index=pd.Index(genes, dtype=str),
    )
