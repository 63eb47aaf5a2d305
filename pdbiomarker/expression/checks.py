"""What is wrong with a count matrix: ids, cells, and whether the numbers are counts at all.

Every check looks at the whole matrix and adds what it finds, so that one reading tells everything. Of each
kind of fault the first :data:`MAX_SHOWN` are told one by one, the rest counted.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Sequence
from typing import Final

import numpy as np

from pdbiomarker.errors import Problems
from pdbiomarker.expression.identifiers import GENE_ID, date_in, serial_date
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.expression.matrix import FRACTION, MISSING, NEGATIVE, TEXT, RawMatrix
from pdbiomarker.study.ids import control_character, normal_id

__all__ = ["MAX_SHOWN", "check_matrix", "clean_ids", "looks_like"]

#: Faults of one kind that are told one by one.
MAX_SHOWN: Final = 20

_SUMMARY: Final = re.compile(
    r"__\w+|N_(unmapped|multimapping|noFeature|ambiguous)|Unassigned_\w+|Assigned|"
    r"(no_feature|ambiguous|too_low_aQual|not_aligned|alignment_not_unique)|(grand[ _])?(total|sum)s?",
    re.IGNORECASE,
)
_WELL_KNOWN: Final = frozenset(
    ["ACTB", "GAPDH", "B2M", "TP53", "CD8A", "CD3E", "CD4", "PTPRC", "GZMA", "PRF1", "MKI67", "EGFR", "TBP"]
)
#: What may stand over the gene ids.
_CORNER: Final = re.compile(
    r"(\W*|.*gene.*|.*symbol.*|.*ensembl.*|.*entrez.*|.*feature.*|.*transcript.*|.*probe.*|.*target.*|.*name.*|"
    r".*id|index|unnamed.*|x|rownames|row\.?names|hugo.*|hgnc.*)",
    re.IGNORECASE,
)
#: An id of which nothing need be cleaned.
_ORDINARY: Final = re.compile(r"[!-~]*")
#: No logarithm or z-score of anything sequenced is above this.
_LOG_CEILING: Final = 30.0
#: A matrix without known ids looks transposed when it has more columns than this and than rows, their sums
#: spread this many times wider than those of the rows, and by more than this (log2, one standard deviation).
_COLUMNS_TO_JUDGE: Final = 20
_TIMES_WIDER: Final = 2.0
_LEAST_SPREAD: Final = 1.0
#: Share of fractions among the values other than 0 from which the matrix as a whole is judged.
_MOSTLY: Final = 0.5


def check_matrix(
    raw: RawMatrix, name: str, problems: Problems, *, expected: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Add every fault of a matrix and give its cleaned ids.

    Parameters
    ----------
    raw : RawMatrix
    name : str
        What problems call the file.
    problems : Problems
        Added: E-COUNT-001 to 006, 010 to 013, 016, 035; E-SHEET-004, 009, 010.
    expected : collection of str
        Library ids that a sheet names, if any; a matrix that holds them as rows is transposed.

    Returns
    -------
    genes, libraries : list of str
        Ids without surrounding space and in Unicode's compatibility form; otherwise as typed.
    """
    genes = clean_ids(raw.genes, "gene id", name, problems=problems, lines=raw.lines.tolist())
    libraries = clean_ids(raw.libraries, "library id", name, problems=problems)
    _check_shift(raw, genes, libraries, name, problems, expected=expected)
    _check_orientation(genes, libraries, name, problems, expected=expected)
    _check_spread(raw, genes, libraries, name, problems, expected=expected)
    _check_genes(raw, genes, name, problems)
    _check_libraries(libraries, name, problems)
    _check_cells(raw, genes, libraries, name, problems)
    _check_scale(raw, name, problems)
    return genes, libraries


def clean_ids(
    ids: Sequence[str], what: str, name: str, *, problems: Problems, lines: Sequence[int] | None = None
) -> list[str]:
    """Strip and normalise ids; say where that changed one, refuse control characters."""
    cleaned = [i if _ORDINARY.fullmatch(i) else normal_id(i) for i in ids]
    changed = [k for k, (old, new) in enumerate(zip(ids, cleaned, strict=True)) if old != new]

    def place(k: int) -> int:
        return 1 if lines is None else int(lines[k])

    if changed:
        k = changed[0]
        problems.add(
            "E-SHEET-009",
            f"{len(changed)} {what}{'s' if len(changed) > 1 else ''} had surrounding spaces or compatibility "
            f"characters, which were removed; the first is {ids[k]!r}.",
            remedy="Type the id as the other sheets do.",
            file=name,
            row=place(k),
            value=ids[k],
            severity="warning",
        )
    _tell(
        problems,
        [k for k, i in enumerate(cleaned) if not _ORDINARY.fullmatch(i) and control_character(i) is not None],
        lambda k: problems.add(
            "E-SHEET-010",
            f"The {what} holds a control or invisible character.",
            remedy="Remove it.",
            file=name,
            row=place(k),
            value=ascii(cleaned[k]),
        ),
        ("E-SHEET-010", f"{what}s hold a control or invisible character", name),
    )
    return cleaned


def _tell(
    problems: Problems, found: Sequence[int], one: Callable[[int], None], rest: tuple[str, str, str]
) -> None:
    """Tell the first of many one by one, then count the rest."""
    for k in found[:MAX_SHOWN]:
        one(k)
    if len(found) > MAX_SHOWN:
        code, what, name = rest
        problems.add(code, f"{len(found) - MAX_SHOWN} more {what}.", remedy="See the first ones.", file=name)


def _check_shift(
    raw: RawMatrix,
    genes: Sequence[str],
    libraries: Sequence[str],
    name: str,
    problems: Problems,
    *,
    expected: Collection[str],
) -> None:
    """Refuse a header that stands one column beside its columns."""
    known = set(expected)
    evidence = ""
    if raw.corner in known and raw.corner not in libraries:
        evidence = f"{raw.corner!r} is a library of the sheets and stands over the gene ids"
    elif len(libraries) > 1 and libraries[-1] == "" and not _CORNER.fullmatch(raw.corner):
        evidence = f"{raw.corner!r} stands over the gene ids, and the last column has counts and no name"
    elif _are_row_numbers(genes) and (raw.faults[:, 0] == TEXT).all():
        evidence = "the first column holds row numbers, and the gene ids stand in the second"
    if evidence:
        problems.add(
            "E-COUNT-035",
            f"The columns are shifted against the header: {evidence}.",
            remedy="Export the table again with a name for the gene column, and without row numbers.",
            file=name,
            row=1,
            value=raw.corner,
        )


def _are_row_numbers(genes: Sequence[str]) -> bool:
    return genes[0] in {"0", "1"} and list(genes) == [str(k + int(genes[0])) for k in range(len(genes))]


def _check_orientation(
    genes: Sequence[str],
    libraries: Sequence[str],
    name: str,
    problems: Problems,
    *,
    expected: Collection[str],
) -> None:
    known = set(expected)
    rows_expected = sum(g in known for g in genes)
    columns_expected = sum(c in known for c in libraries)
    gene_columns = sum(bool(GENE_ID.fullmatch(c)) or c in _WELL_KNOWN for c in libraries)
    gene_rows = sum(bool(GENE_ID.fullmatch(g)) or g in _WELL_KNOWN for g in genes)
    evidence = ""
    if rows_expected > columns_expected:
        evidence = f"{rows_expected} ids of the first column are library ids of the sheets"
    elif gene_columns >= 2 and gene_columns > gene_rows:
        evidence = f"{gene_columns} columns are named like genes, {gene_rows} rows are"
    elif len(libraries) >= 2000 and len(libraries) > 5 * len(genes) and columns_expected == 0:
        evidence = f"it has {len(libraries)} columns and {len(genes)} rows"
    if evidence:
        problems.add(
            "E-COUNT-010",
            f"The matrix looks transposed: {evidence}.",
            remedy="Give one row for each gene and one column for each library.",
            file=name,
            row=1,
        )


def _check_spread(
    raw: RawMatrix,
    genes: Sequence[str],
    libraries: Sequence[str],
    name: str,
    problems: Problems,
    *,
    expected: Collection[str],
) -> None:
    """Tell a matrix whose columns differ as genes do, and whose rows are as alike as libraries are."""
    if (
        len(libraries) <= max(len(genes), _COLUMNS_TO_JUDGE)
        or len(genes) < 2
        or set(expected) & set(libraries)
    ):
        return
    if any(problem.code == "E-COUNT-010" for problem in problems):
        return
    counts = np.where(raw.faults == 0, raw.values, 0.0)
    rows, columns = (np.log2(counts.sum(axis=axis) + 1).std() for axis in (1, 0))
    if columns > _TIMES_WIDER * rows and columns > _LEAST_SPREAD:
        problems.add(
            "E-COUNT-010",
            f"The matrix looks transposed: its {len(libraries)} columns differ in their sums by a factor of "
            f"{2**columns:.1f} (one standard deviation), its {len(genes)} rows by {2**rows:.1f}.",
            remedy="Give one row for each gene and one column for each library, unless this is so.",
            file=name,
            row=1,
            severity="warning",
        )


def _check_genes(raw: RawMatrix, genes: Sequence[str], name: str, problems: Problems) -> None:
    lines = raw.lines.tolist()
    _tell(
        problems,
        [k for k, g in enumerate(genes) if not g],
        lambda k: problems.add(
            "E-COUNT-012",
            "The gene has no name.",
            remedy="Name it, or remove the row.",
            file=name,
            row=lines[k],
            value="",
        ),
        ("E-COUNT-012", "genes have no name", name),
    )
    first: dict[str, int] = {}
    again: list[int] = []
    for k, gene in enumerate(genes):
        if gene and first.setdefault(gene, k) != k:
            again.append(k)
    _tell(
        problems,
        again,
        lambda k: problems.add(
            "E-COUNT-005",
            f"Gene {genes[k]!r} stands in rows {lines[first[genes[k]]]} and {lines[k]}.",
            remedy="Use unique ids (Ensembl or Entrez), or sum the rows of one gene.",
            file=name,
            row=lines[k],
            value=genes[k],
        ),
        ("E-COUNT-005", "rows repeat a gene", name),
    )
    _tell(
        problems,
        [k for k, g in enumerate(genes) if _SUMMARY.fullmatch(g)],
        lambda k: problems.add(
            "E-COUNT-011",
            f"Row {genes[k]!r} counts reads over genes; it is no gene and would distort library sizes.",
            remedy="Remove the row.",
            file=name,
            row=lines[k],
            value=genes[k],
        ),
        ("E-COUNT-011", "rows summarise others", name),
    )
    _check_dates(genes, lines, name, problems)


def _check_dates(genes: Sequence[str], lines: Sequence[int], name: str, problems: Problems) -> None:
    numeric = sum(g.isdecimal() for g in genes)
    serials = 0 < numeric <= 0.05 * len(genes)
    found: dict[int, str] = {}
    for k, gene in enumerate(genes):
        meant = date_in(gene)
        if meant is None and serials:
            meant = serial_date(gene)
        if meant is not None:
            found[k] = meant

    def tell(k: int) -> None:
        meant = f": probably {found[k]}" if found[k] else ""
        problems.add(
            "E-COUNT-013",
            f"Gene name {genes[k]!r} is a date that a spreadsheet made of a gene symbol{meant}.",
            remedy="Export the counts again with the id column as text; until then the row keeps this name.",
            file=name,
            row=lines[k],
            value=genes[k],
            severity="warning",
        )

    shown = list(found)
    for k in shown[:MAX_SHOWN]:
        tell(k)
    if len(shown) > MAX_SHOWN:
        problems.add(
            "E-COUNT-013",
            f"{len(shown) - MAX_SHOWN} more gene names are dates.",
            remedy="Export the counts again with the id column as text.",
            file=name,
            severity="warning",
        )


def _check_libraries(libraries: Sequence[str], name: str, problems: Problems) -> None:
    first: dict[str, int] = {}
    folded: dict[str, str] = {}
    for k, library in enumerate(libraries):
        if not library:
            problems.add(
                "E-SHEET-004",
                f"Column {k + 2} has no library id.",
                remedy="Name the library, or remove the column.",
                file=name,
                row=1,
                value="",
            )
        elif first.setdefault(library, k) != k:
            problems.add(
                "E-COUNT-006",
                f"Library {library!r} stands in columns {first[library] + 2} and {k + 2}.",
                remedy="Give each library one column and one id.",
                file=name,
                row=1,
                column=library,
                value=library,
            )
        elif folded.setdefault(library.casefold(), library) != library:
            problems.add(
                "E-SHEET-009",
                f"Libraries {folded[library.casefold()]!r} and {library!r} differ only in case.",
                remedy="Check that they are two libraries.",
                file=name,
                row=1,
                column=library,
                value=library,
                severity="warning",
            )


_CELL: Final = {
    TEXT: ("E-COUNT-001", "is text", "Give the number of reads; without thousands separators."),
    NEGATIVE: ("E-COUNT-002", "is negative", "Give raw counts: the numbers of reads before any correction."),
    FRACTION: (
        "E-COUNT-003",
        "is fractional",
        "Give raw counts; round expected counts (RSEM, Salmon) first.",
    ),
    MISSING: (
        "E-COUNT-004",
        "is missing, infinite or too large",
        "A gene that was not seen has the count 0.",
    ),
}


#: A column with nothing but these is no library; it is told once.
_NO_LIBRARY: Final = {TEXT: "text", MISSING: "no number"}


def _check_cells(
    raw: RawMatrix, genes: Sequence[str], libraries: Sequence[str], name: str, problems: Problems
) -> None:
    if not raw.faults.any():
        return
    evidence = looks_like(raw.values)
    for fault, (code, what, remedy) in _CELL.items():
        bad = raw.faults == fault
        whole = np.flatnonzero(bad.all(axis=0)) if fault in _NO_LIBRARY else np.zeros(0, dtype=np.intp)
        for k in whole.tolist():
            problems.add(
                code,
                f"Column {libraries[k]!r} holds {_NO_LIBRARY[fault]} in all rows: it is no library.",
                remedy="Keep the gene id and the count columns only.",
                file=name,
                row=int(raw.lines[0]),
                column=libraries[k],
                value=raw.text(0, k),
            )
        bad[:, whole] = False
        total = int(bad.sum())
        if total == 0:
            continue
        because = f" {evidence}" if evidence and fault in (NEGATIVE, FRACTION) else ""
        if because or total > MAX_SHOWN:
            shown = f" The first {MAX_SHOWN} follow." if total > MAX_SHOWN else ""
            problems.add(
                code,
                f"Of {bad.size} counts {total} {what.replace('is ', 'are ')}.{because}{shown}",
                remedy=remedy,
                file=name,
            )
        # Row by row, as a reader of the file meets them; only so many rows as can be shown are searched.
        rows = np.flatnonzero(bad.any(axis=1))[:MAX_SHOWN]
        cells = ((int(g), int(k)) for g in rows for k in np.flatnonzero(bad[g]))
        for g, k in itertools.islice(cells, MAX_SHOWN):
            problems.add(
                code,
                f"The count of gene {genes[g]!r} in library {libraries[k]!r} {what}.",
                remedy=remedy,
                file=name,
                row=int(raw.lines[g]),
                column=libraries[k],
                value=raw.text(g, k),
            )


def looks_like(values: FloatArray) -> str:
    """Say in a sentence what values that are not counts look like; empty where nothing is typical.

    Parameters
    ----------
    values : array, genes x libraries
        NaN where a cell is no number.

    Returns
    -------
    str
    """
    finite = np.isfinite(values)
    seen = values[finite]
    other_than_zero = seen[seen != 0]
    if other_than_zero.size == 0 or (other_than_zero != np.floor(other_than_zero)).mean() < _MOSTLY:
        return ""
    low, high = float(seen.min()), float(seen.max())
    if low < 0 and high <= _LOG_CEILING:
        means = np.array([row[ok].mean() for row, ok in zip(values, finite, strict=True) if ok.any()])
        if np.abs(means).mean() < 0.1 * seen.std():
            return (
                f"These look like z-scores or centred log values: {low:.3g} to {high:.3g}, gene means near 0."
            )
        return f"These look like log values: {low:.3g} to {high:.3g}."
    if low < 0:
        return f"These look like background- or batch-corrected values: {low:.3g} to {high:.3g}."
    if high <= _LOG_CEILING:
        return f"These look like log values: {low:.3g} to {high:.3g}."
    sums = np.where(finite, values, 0).sum(axis=0)
    if np.all(np.abs(sums / 1e6 - 1) < 0.01):
        return "These look like TPM or CPM: every library sums to one million."
    if sums.size > 2 and sums.std() < 0.01 * sums.mean():
        return f"These look like normalised values: every library sums to about {sums.mean():.4g}."
    return "These look like FPKM, normalised or expected counts: large values with fractions."


def _check_scale(raw: RawMatrix, name: str, problems: Problems) -> None:
    """Whole numbers that are nevertheless no counts: rounded TPM, or libraries forced to one depth."""
    if raw.faults.any() or raw.values.shape[1] < 3 or raw.values.shape[0] < 100:
        return
    sums = raw.values.sum(axis=0)
    if sums.mean() > 0 and sums.std() < 1e-3 * sums.mean():
        problems.add(
            "E-COUNT-016",
            f"Every library sums to about {sums.mean():.6g}: these look like rounded TPM, or libraries "
            "scaled or subsampled to one depth; voom's weights assume raw counts.",
            remedy="Give the raw counts.",
            file=name,
            severity="warning",
        )
