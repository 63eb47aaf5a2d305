"""Count matrices: genes x libraries in a file, biopsies x genes in the study.

Refused (:class:`~pdbiomarker.errors.AssayError`): what makes the matrix as a whole doubtful, such as text,
negative, fractional or missing counts, repeated genes or libraries, a transposed table. Quarantined: single
libraries, namely one without a read (E-COUNT-009), one with less than 1/50 of the median depth (E-COUNT-014),
one that no biopsy claims (E-COUNT-007), a library of the sheets that the matrix lacks (E-COUNT-008), and
copies of another library (E-COUNT-015). Told only: names that a spreadsheet turned into dates (E-COUNT-013),
outdated symbols and ids of several kinds (E-COUNT-031, 038).

Several libraries of one biopsy are summed: reads of one RNA add up, and the sum has the variance that the
voom trend assumes of a count of its size.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.expression.checks import check_matrix
from pdbiomarker.expression.formats import CountSource, Reading, read_source
from pdbiomarker.expression.genes import gene_features, map_symbols
from pdbiomarker.expression.identifiers import check_ids, current_symbols
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.provenance import sha256_file, sha256_json
from pdbiomarker.study import AssaySpec, Study
from pdbiomarker.study.assay_problems import keep_problems
from pdbiomarker.tables import id_key, nearest, read_table

__all__ = ["SHALLOW", "check_counts", "read_counts"]

#: A library with less than this share of the median depth is quarantined.
SHALLOW: Final = 1 / 50
#: Two libraries that agree in this many genes with reads are copies, not chance.
_GENES_OF_A_COPY: Final = 50


@dataclasses.dataclass(frozen=True)
class _Counts:
    """A matrix that passed its checks: values genes x libraries."""

    values: FloatArray
    genes: list[str]
    libraries: list[str]
    reading: Reading
    lengths: FloatArray | None = None
    summary: Mapping[str, FloatArray] = dataclasses.field(default_factory=dict)

    def keep(self, chosen: npt.NDArray[np.bool_]) -> _Counts:
        libraries = [library for library, ok in zip(self.libraries, chosen, strict=True) if ok]
        return dataclasses.replace(
            self,
            values=self.values[:, chosen],
            libraries=libraries,
            lengths=None if self.lengths is None else self.lengths[:, chosen],
            summary={name: reads[chosen] for name, reads in self.summary.items()},
        )


def check_counts(path: str | Path) -> Problems:
    """Find everything that is wrong with a count matrix by itself.

    Parameters
    ----------
    path : path
        See :func:`read_counts`.

    Returns
    -------
    Problems
        Empty for a sound matrix. At most 20 of each kind are told one by one.
    """
    problems = Problems()
    path = Path(path)
    counts = _checked(path, path.name, problems, expected=(), source=CountSource())
    if counts is not None and not problems.errors:
        _usable_libraries(counts, path.name, problems, owner=None)
    return problems


def read_counts(
    path: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
    *,
    study: Study | None = None,
    spec: AssaySpec | None = None,
    genes: pd.DataFrame | str | Path | None = None,
    source: CountSource | None = None,
) -> AnnData:
    """Read counts as an assay.

    Parameters
    ----------
    path : path, sequence of paths, or mapping of library id to path
        One matrix, genes x libraries: CSV, TSV (either may be gzip-packed), Parquet, XLSX or h5ad; the first
        column is the gene id, kept as text (``007``, ``1E5``, ``NA`` stay). Or the files of featureCounts,
        STAR, HTSeq, Salmon or kallisto: one, several, or the folder that holds them; see
        :mod:`pdbiomarker.expression.formats`.
    study : Study, optional
        Its `libraries` say which biopsy each library belongs to.
    spec : AssaySpec, optional
        The assay in study.yaml: names the file in messages, and the `genes` table.
    genes : DataFrame or path, optional
        Table of symbols, instead of the one of `spec`; see :mod:`pdbiomarker.expression.genes`.
    source : CountSource, optional
        Format, strand, transcript table and definition of counts; default: told by content.

    Returns
    -------
    AnnData, biopsies x genes
        Without a study, libraries x genes. `X` holds counts as float64. `obs`: n_libraries, library_size
        (reads), libraries (ids joined by ``;``), batch where the sheets have one, and what a counting tool
        says of reads over genes (``N_unmapped``, ``no_feature``). `var`: the columns of an assay (kind
        ``count``, unit ``reads``) and symbol, empty where unknown. ``layers["length"]``: effective lengths,
        from Salmon and kallisto. ``uns["problems"]`` holds quarantined libraries and warnings: see
        :func:`pdbiomarker.expression.problems_of`; ``uns["gene_ids"]`` how many ids are of which kind.

    Raises
    ------
    AssayError
        With every fault of the matrix, its gene, line, library and value (E-COUNT-001 to 006, 010 to 012,
        033, 035; E-FILE and E-SHEET codes), or when no library is left.

    Notes
    -----
    22,187 genes x 109 libraries take about 0.3 s.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> pb.expression.read_counts("trial/counts.csv.gz").shape  # libraries x genes
    (12, 100)
    >>> study = pb.read_study("trial")
    >>> pb.expression.read_counts("trial/counts.csv.gz", study=study).shape  # biopsies x genes
    (11, 100)
    """
    where = _where(path)
    name = _name(where) if spec is None or spec.file is None else spec.file
    problems = Problems()
    expected = () if study is None else tuple(map(str, study.libraries.index))
    counts = _checked(where, name, problems, expected=expected, source=source or CountSource())
    if counts is None:
        raise AssayError(problems)
    reading = counts.reading
    table, table_name = _genes_table(genes, study, spec, problems)
    current = current_symbols(counts.genes)
    symbols = [current.get(g, "") for g in counts.genes]
    if reading.symbols is not None:
        symbols = list(reading.symbols)
    if table is not None:
        symbols = map_symbols(counts.genes, table, table_name, problems=problems)
    kinds = check_ids(counts.genes, name, problems)
    problems.raise_if_any(AssayError)
    n_features, n_libraries = len(counts.genes), len(counts.libraries)
    owner = None if study is None else {str(k): str(v) for k, v in study.libraries["biopsy_id"].items()}
    counts = _usable_libraries(counts, name, problems, owner=owner)
    adata = _by_library(counts) if study is None else _by_biopsy(counts, study, name, problems)
    problems.raise_if_any(AssayError)
    adata.var = gene_features(counts.genes, symbols, kind="count", unit="reads")
    keep_problems(adata, problems)
    adata.uns["provenance"] = {
        "reader": "pdbiomarker.expression.read_counts",
        "file": name,
        "sha256": _hash(reading.files),
        "matrix": f"{n_features} genes x {n_libraries} libraries",
        "libraries_of_a_biopsy": "summed",
        **reading.facts,
    }
    adata.uns["gene_ids"] = kinds
    return adata


def _where(
    path: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
) -> Path | list[Path] | dict[str, Path]:
    if isinstance(path, str | Path):
        return Path(path)
    if isinstance(path, Mapping):
        return {str(library): Path(file) for library, file in path.items()}
    return [Path(file) for file in path]


def _name(where: Path | list[Path] | dict[str, Path]) -> str:
    if isinstance(where, Path):
        return where.name
    files = list(where.values()) if isinstance(where, dict) else where
    return f"{files[0].name} and {len(files) - 1} more" if len(files) > 1 else files[0].name if files else ""


def _hash(files: Sequence[Path]) -> str:
    """Hash of the one file, or of the names and hashes of several."""
    if len(files) == 1:
        return sha256_file(files[0])
    return sha256_json([[file.name, sha256_file(file)] for file in files])


def _checked(
    where: Path | list[Path] | dict[str, Path],
    name: str,
    problems: Problems,
    *,
    expected: Sequence[str],
    source: CountSource,
) -> _Counts | None:
    """Read and check; None where there is no matrix to check."""
    reading = read_source(where, name, problems, source)
    if reading is None:
        return None
    gene_ids, library_ids = check_matrix(reading.raw, name, problems, expected=expected)
    return _Counts(reading.raw.values, gene_ids, library_ids, reading, reading.lengths, reading.summary)


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


def _usable_libraries(
    counts: _Counts, name: str, problems: Problems, *, owner: Mapping[str, str] | None
) -> _Counts:
    """Quarantine libraries without reads or with too few, and copies of another library."""
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
    kept = _without_copies(kept, name, problems, owner)
    if not kept.libraries:
        problems.add(
            "E-COUNT-009",
            "No library has any reads.",
            remedy="Check that this is the count matrix.",
            file=name,
        )
    return kept


def _without_copies(
    counts: _Counts, name: str, problems: Problems, owner: Mapping[str, str] | None
) -> _Counts:
    """Tell identical libraries; where the study says whose they are, leave copies out.

    Of one biopsy the copy is left out, or its reads would count twice. Of two biopsies both are: nothing says
    whose reads they are.
    """
    seen: dict[bytes, str] = {}
    lost: set[str] = set()
    for library, column in zip(counts.libraries, counts.values.T, strict=True):
        digest = hashlib.sha256(np.ascontiguousarray(column).tobytes()).digest()
        twin = seen.setdefault(digest, library)
        if twin == library:
            continue
        said = f"Libraries {twin!r} and {library!r} have the same counts for all {len(counts.genes)} genes"
        claimed = owner is not None and twin in owner and library in owner
        certain = claimed and int((column > 0).sum()) >= _GENES_OF_A_COPY
        both = certain and owner is not None and owner[twin] != owner[library]
        gone = ([twin] if both and twin not in lost else []) + [library] if certain else []
        for item in gone or [library]:
            problems.add(
                "E-COUNT-015",
                f"{said}; {item!r} is left out." if gone else f"{said}.",
                remedy="Check which of them was copied over the other, and give each its own counts.",
                file=name,
                row=1,
                column=item,
                severity="quarantine" if gone else "warning",
                item=item,
            )
        lost.update(gone)
    return counts.keep(np.array([library not in lost for library in counts.libraries], dtype=bool))


def _by_library(counts: _Counts) -> AnnData:
    obs = pd.DataFrame(
        {
            "n_libraries": np.ones(len(counts.libraries), dtype=np.int64),
            "library_size": counts.values.sum(axis=0),
            "libraries": counts.libraries,
            **counts.summary,
        },
        index=pd.Index(counts.libraries, dtype=str),
    )
    adata = AnnData(X=np.ascontiguousarray(counts.values.T), obs=obs)
    if counts.lengths is not None:
        adata.layers["length"] = np.ascontiguousarray(counts.lengths.T)
    return adata


def _by_biopsy(counts: _Counts, study: Study, name: str, problems: Problems) -> AnnData:
    """Sum the libraries of each biopsy; biopsies in the order of the sheet."""
    sheet = study.libraries
    owner = {str(library): str(biopsy) for library, biopsy in sheet["biopsy_id"].items()}
    _tell_unmatched(counts, sheet, name, problems, left_out=study.left_out["library"])
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
    for k, library in sorted(enumerate(counts.libraries), key=lambda pair: id_key(pair[1])):
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
    for label, reads in counts.summary.items():
        columns[label] = [reads[members[b]].sum() for b in biopsies]
    if "batch" in sheet.columns:
        batch = {str(i): str(v) for i, v in sheet["batch"].items() if isinstance(v, str) and v}
        of_biopsy = [[batch.get(counts.libraries[k], "") for k in members[b]] for b in biopsies]
        columns["batch"] = ["+".join(dict.fromkeys(v for v in values if v)) for values in of_biopsy]
    adata = AnnData(X=X, obs=pd.DataFrame(columns, index=pd.Index(biopsies, dtype=str)))
    if counts.lengths is not None:
        lengths = [counts.lengths[:, members[b]].mean(axis=1) for b in biopsies]
        adata.layers["length"] = np.array(lengths)
    return adata


def _tell_unmatched(
    counts: _Counts, sheet: pd.DataFrame, name: str, problems: Problems, *, left_out: set[str]
) -> None:
    """Libraries without a biopsy (but those that a reviewer left out), and those without a column.

    Where no sheet names libraries, biopsy ids stand for them, and a biopsy without a column is no fault.
    """
    claimed = [str(library) for library in sheet.index]
    known, told = set(claimed), {p.item for p in problems}
    for library in counts.libraries:
        if library not in known and library not in left_out:
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
