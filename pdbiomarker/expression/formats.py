"""The files that counting tools write, told apart by their content.

============== ========================================================== =================================
format         recognised by                                              library id
============== ========================================================== =================================
table          none of the others: csv, tsv, parquet, xlsx, genes x       the header
               libraries
featurecounts  ``Geneid Chr Start End Strand Length`` in the header       the alignment file's name
star           ``N_unmapped`` in the first row, four columns              the file's name before
                                                                          ``ReadsPerGene.out.tab``
htseq          no header, ``__no_feature`` at the end                     the file's name
salmon         ``Name Length EffectiveLength TPM NumReads``               the folder of ``quant.sf``
kallisto       ``target_id length eff_length est_counts tpm``             the folder of ``abundance.tsv``
h5ad           HDF5                                                       the index of `obs`
============== ========================================================== =================================

Rows of these tools that count reads over genes (``N_unmapped``, ``__no_feature``, ...) have a known place:
they become columns of `obs`, not features. In a plain table they are refused, because there nothing says that
no other row was added by hand.

STAR counts each library three ways. Which one belongs to the protocol is taken from the data, for all
libraries alike: one strand holds 80 % of the stranded reads or more, or neither holds over 60 %; between,
`strand` must be named.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from pdbiomarker.errors import Problems
from pdbiomarker.expression.h5ad import read_h5ad_counts
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.expression.matrix import (
    IntArray,
    RawMatrix,
    column_numbers,
    matrix_of,
    read_bytes,
    read_matrix,
)
from pdbiomarker.expression.quantified import COUNTS_FROM, Transcripts, count_genes, gene_of, gene_sums
from pdbiomarker.tables import nearest, read_table

__all__ = ["FORMATS", "STRANDS", "CountSource", "Reading", "files_in", "library_name", "read_source", "sniff"]

FORMATS: Final = ("table", "featurecounts", "star", "htseq", "salmon", "kallisto", "h5ad")
STRANDS: Final = ("unstranded", "forward", "reverse")

_FEATURECOUNTS: Final = ["Geneid", "Chr", "Start", "End", "Strand", "Length"]
_SALMON: Final = ["Name", "Length", "EffectiveLength", "TPM", "NumReads"]
_KALLISTO: Final = ["target_id", "length", "eff_length", "est_counts", "tpm"]
_STAR_FILE: Final = "ReadsPerGene.out.tab"
_STAR_ROWS: Final = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
_ENDINGS: Final = re.compile(
    r"(\.gz|\.bam|\.sam|\.cram|\.txt|\.tsv|\.tab|\.counts?|\.htseq|[._]htseq|[._]counts?|\.sorted|_sorted|"
    r"\.markdup|\.dedup|\.rmdup|Aligned\.sortedByCoord\.out|Aligned\.toTranscriptome\.out|Aligned\.out|\.sf)$",
    re.IGNORECASE,
)
_HTSEQ_FILES: Final = (".txt", ".tsv", ".counts", ".count", ".htseq", ".tab")
#: A strand with this share of the stranded reads is the protocol's; below the second, there is none.
_STRANDED: Final = 0.8
_UNSTRANDED: Final = 0.6


@dataclasses.dataclass(frozen=True)
class CountSource:
    """How the files of a count assay are read.

    Attributes
    ----------
    format : str
        One of :data:`FORMATS`, or ``auto``: told by content.
    strand : {"unstranded", "forward", "reverse"} or None
        Which count of STAR; None: as the data show.
    transcripts : Path or None
        Table of transcript and gene ids, for Salmon and kallisto.
    counts_from : {"length_scaled", "scaled", "estimated"}
        See :mod:`pdbiomarker.expression.quantified`.
    """

    format: str = "auto"
    strand: str | None = None
    transcripts: Path | None = None
    counts_from: str = "length_scaled"


@dataclasses.dataclass(frozen=True)
class Reading:
    """What files hold: the matrix, and what goes with it.

    Attributes
    ----------
    raw : RawMatrix
    lengths : array, genes x libraries, or None
        Effective lengths.
    summary : mapping of str to array, libraries
        Reads over genes, such as ``N_unmapped``.
    facts : mapping of str to str
        For the provenance: format, strand, definition of the counts.
    files : sequence of Path
    symbols : sequence of str or None
        Of the genes, where the file holds them.
    """

    raw: RawMatrix
    lengths: FloatArray | None = None
    summary: Mapping[str, FloatArray] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Sequence[Path] = ()
    symbols: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True)
class _Part:
    """One library of one file: ids, one or more columns, the lines they stand in."""

    library: str
    file: str
    ids: list[str]
    columns: list[pa.ChunkedArray]
    lines: IntArray


def library_name(path: str | Path, kind: str) -> str:
    """Id of the library in a file that one tool wrote.

    Examples
    --------
    >>> library_name("salmon/L1/quant.sf", "salmon"), library_name("star/L1_ReadsPerGene.out.tab", "star")
    ('L1', 'L1')
    >>> library_name("/data/bam/L1.sorted.bam", "featurecounts"), library_name("L1.counts.txt.gz", "htseq")
    ('L1', 'L1')
    """
    path = Path(str(path).replace("\\", "/"))
    name = path.name
    if kind in {"salmon", "kallisto"} and re.match(r"(quant(\.genes)?|abundance)\.", name):
        return path.parent.name
    if kind == "star" and _STAR_FILE in name:
        return name.partition(_STAR_FILE)[0].strip("._-") or path.parent.name
    while (shorter := _ENDINGS.sub("", name)) not in {name, ""}:
        name = shorter
    return name.rstrip("._-") or path.name


def sniff(data: bytes) -> str:
    """Format of a text file by its first line, and its last for HTSeq."""
    first = data[:4096].split(b"\n", 1)
    lines = [part.decode("utf-8", "replace").rstrip("\r").split("\t") for part in first]
    head = lines[0]
    if head[0].startswith("# Program:featureCounts") and len(lines) > 1 and lines[1][:6] == _FEATURECOUNTS:
        return "featurecounts"
    for kind, names in (("featurecounts", _FEATURECOUNTS), ("salmon", _SALMON), ("kallisto", _KALLISTO)):
        if head[: len(names)] == names:
            return kind
    if head[0] == _STAR_ROWS[0] and len(head) == 4:
        return "star"
    last = data[-400:].rstrip().rpartition(b"\n")[2]
    if last.startswith(b"__") and b"\t" in last and head[-1].isdecimal():
        return "htseq"
    return "table"


def read_source(
    path: Path | Sequence[Path] | Mapping[str, Path], name: str, problems: Problems, source: CountSource
) -> Reading | None:
    """Read a count assay from one file, a folder, several files, or files by library.

    Parameters
    ----------
    path : Path, sequence of Path, or mapping of library id to Path
    name : str
        What problems call the file or folder.
    problems : Problems
    source : CountSource

    Returns
    -------
    Reading or None
        None where there is nothing to check; the problems say why.
    """
    if source.format not in {"auto", *FORMATS}:
        problems.add(
            "E-COUNT-033",
            "There is no such format of counts.",
            remedy=nearest(source.format, list(FORMATS)),
            file=name,
            value=source.format,
        )
        return None
    files = _files(path, name, problems)
    if files is None:
        return None
    if len(files) == 1 and next(iter(files)) is None:
        return _read_single(next(iter(files.values())), name, problems, source)
    return _read_many(files, name, problems, source)


def _files(
    path: Path | Sequence[Path] | Mapping[str, Path], name: str, problems: Problems
) -> dict[str | None, Path] | None:
    """Files by library; under None, one file whose libraries it names itself."""
    if isinstance(path, Mapping):
        return {str(library): Path(file) for library, file in path.items()}
    if isinstance(path, Path) and not path.is_dir():
        return {None: path}
    found = sorted(files_in(path)) if isinstance(path, Path) else [Path(file) for file in path]
    if not found:
        problems.add(
            "E-FILE-002",
            "The folder holds no file of counts: no quant.sf, abundance.tsv, *ReadsPerGene.out.tab or *.txt.",
            remedy="Name the folder that holds them, or one count matrix.",
            file=name,
        )
        return None
    return {f"\0{k}": file for k, file in enumerate(found)}


def files_in(folder: Path) -> list[Path]:
    """Files of one counting tool below a folder: Salmon's, else kallisto's, else STAR's, else text files."""
    files = [f for f in folder.rglob("*") if f.is_file() and not f.name.startswith(".")]
    for pattern in (r"quant\.sf(\.gz)?", r"abundance\.tsv(\.gz)?", rf".*{re.escape(_STAR_FILE)}(\.gz)?"):
        chosen = [f for f in files if re.fullmatch(pattern, f.name)]
        if chosen:
            return chosen
    return [
        f
        for f in files
        if f.name.removesuffix(".gz").endswith(_HTSEQ_FILES) and not f.name.endswith(".summary")
    ]


def _read_single(path: Path, name: str, problems: Problems, source: CountSource) -> Reading | None:
    if _is_hdf5(path):  # before anything is read: such a file may be larger than the memory
        found = read_h5ad_counts(path, name, problems)
        facts = {"format": "h5ad", "counts": "" if found is None else found.place}
        return None if found is None else Reading(found.raw, None, {}, facts, (path,), found.symbols)
    data = read_bytes(path, name, problems)
    if data is None:
        return None
    kind = sniff(data) if source.format == "auto" else source.format
    if kind in {"table", "h5ad"}:
        raw = read_matrix(path, name, problems, data=data)
        return None if raw is None else Reading(raw, facts={"format": "table"}, files=(path,))
    return _read_many({f"\0{0}": path}, name, problems, source)


def _is_hdf5(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(4) == b"\x89HDF"
    except OSError:
        return False


def _read_many(
    files: Mapping[str | None, Path], name: str, problems: Problems, source: CountSource
) -> Reading | None:
    """Files of one tool, a library or more each, brought to the same genes."""
    parts: list[_Part] = []
    kinds: dict[str, str] = {}
    for library, file in files.items():
        shown = file.name if file.parent.name == "" else f"{file.parent.name}/{file.name}"
        data = read_bytes(file, shown, problems)
        if data is None:
            continue
        kind = sniff(data) if source.format == "auto" else source.format
        kinds.setdefault(kind, shown)
        if kind in {"table", "h5ad"}:
            problems.add(
                "E-COUNT-033",
                "The file is not of a tool whose files can be put together.",
                remedy="Give one matrix of all libraries, or files of featureCounts, STAR, HTSeq, Salmon or "
                "kallisto.",
                file=shown,
            )
            continue
        own = None if library is None or library.startswith("\0") else library
        parts += _parts(data, kind, file, own, problems)
    if len(kinds) > 1:
        told = "; ".join(f"{kind}: {file}" for kind, file in kinds.items())
        problems.add(
            "E-COUNT-033",
            f"The files are of several formats: {told}.",
            remedy="Give the files of one tool.",
            file=name,
        )
    if problems.errors or not parts or len(kinds) != 1:
        return None
    kind = next(iter(kinds))
    if not _same_genes(parts, name, problems):
        return None
    paths = tuple(files.values())
    if kind in {"salmon", "kallisto"}:
        return _quantified(parts, kind, name, problems, source, paths)
    if kind == "star":
        return _star(parts, name, problems, source, paths)
    return _plain(parts, kind, paths)


def _parts(data: bytes, kind: str, file: Path, library: str | None, problems: Problems) -> list[_Part]:
    """Take a tool's file apart: one part for each library."""
    shown = f"{file.parent.name}/{file.name}" if file.parent.name else file.name
    data = data.removeprefix(b"\xef\xbb\xbf")
    lead = 0
    if kind == "featurecounts" and data.startswith(b"#"):
        data, lead = data.partition(b"\n")[2], 1
    header = kind not in {"star", "htseq"}
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(
                autogenerate_column_names=True, use_threads=False, block_size=64 * 2**20
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={f"f{k}": pa.string() for k in range(_width(data))},
                strings_can_be_null=False,
                null_values=[],
            ),
        )
    except pa.ArrowInvalid as error:
        problems.add(
            "E-FILE-005",
            f"The file cannot be read as {kind} writes it: {str(error).splitlines()[0]}",
            remedy="It may be cut short; copy it again from its source.",
            file=shown,
        )
        return []
    names = [str(column[0]) for column in table.columns] if header else []
    table = table.slice(1) if header else table
    ids = table.column(0).to_pylist()
    lines = np.arange(1 + lead + int(header), 1 + lead + int(header) + table.num_rows, dtype=np.int64)
    if kind == "featurecounts":
        counted = list(range(len(_FEATURECOUNTS), table.num_columns))
        stems = {k: library_name(names[k], kind) for k in counted}
        if library is not None and len(counted) == 1:
            stems = {counted[0]: library}
        unique = len(set(stems.values())) == len(stems)
        return [
            _Part(stems[k] if unique else names[k], shown, ids, [table.column(k)], lines) for k in counted
        ]
    own = library or library_name(file, kind)
    places = {
        "star": range(1, 4),
        "htseq": [table.num_columns - 1],
        "salmon": [4, 3, 2],
        "kallisto": [3, 4, 2],
    }[kind]
    if max(places) >= table.num_columns:
        problems.add(
            "E-FILE-005",
            f"The file has {table.num_columns} columns, a file of {kind} {max(places) + 1}.",
            remedy="Copy it again from its source.",
            file=shown,
        )
        return []
    return [_Part(own, shown, ids, [table.column(k) for k in places], lines)]


def _width(data: bytes) -> int:
    return data.partition(b"\n")[0].count(b"\t") + 1


def _same_genes(parts: Sequence[_Part], name: str, problems: Problems) -> bool:
    """Bring every part to the order of the first; refuse files that count other features."""
    first = parts[0]
    known = set(first.ids)
    for part in parts[1:]:
        if part.ids != first.ids and set(part.ids) != known:
            lacking = next(iter(sorted(known - set(part.ids))), "")
            foreign = next(iter(sorted(set(part.ids) - known)), "")
            problems.add(
                "E-COUNT-033",
                f"The file counts other features than {first.file}"
                + (f"; it lacks {lacking!r}" if lacking else "")
                + (f"; {foreign!r} is only here" if foreign else "")
                + ".",
                remedy="Count all libraries with one annotation; a shorter file may be cut off.",
                file=part.file or name,
                value=foreign or lacking,
            )
    return not problems.errors


def _in_order(part: _Part, ids: list[str]) -> pa.Array | None:
    if part.ids == ids:
        return None
    place = {i: k for k, i in enumerate(part.ids)}
    return pa.array([place[i] for i in ids])


def _numbers(
    parts: Sequence[_Part], ids: list[str], column: int
) -> tuple[FloatArray, np.ndarray[tuple[int, ...], np.dtype[np.int8]], list[pa.ChunkedArray]]:
    values = np.empty((len(ids), len(parts)), order="F")
    faults = np.zeros(values.shape, dtype=np.int8, order="F")
    cells: list[pa.ChunkedArray] = []
    for k, part in enumerate(parts):
        order = _in_order(part, ids)
        cell = part.columns[column] if order is None else part.columns[column].take(order)
        values[:, k], faults[:, k] = column_numbers(cell)
        cells.append(cell)
    return values, faults, cells


def _plain(parts: Sequence[_Part], kind: str, paths: Sequence[Path]) -> Reading:
    ids = parts[0].ids
    values, faults, cells = _numbers(parts, ids, 0)
    summary = {
        i.strip("_"): values[k].copy() for k, i in enumerate(ids) if kind == "htseq" and i.startswith("__")
    }
    kept = np.array([not (kind == "htseq" and i.startswith("__")) for i in ids])
    return _reading(parts, (values, faults, cells), kept, summary, facts={"format": kind}, files=paths)


def _reading(
    parts: Sequence[_Part],
    numbers: tuple[FloatArray, np.ndarray[tuple[int, ...], np.dtype[np.int8]], list[pa.ChunkedArray]],
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]],
    summary: Mapping[str, FloatArray],
    *,
    facts: Mapping[str, str],
    files: Sequence[Path],
) -> Reading:
    values, faults, cells = numbers
    mask = pa.array(kept)
    raw = RawMatrix(
        np.asfortranarray(values[kept]),
        np.asfortranarray(faults[kept]),
        [i for i, ok in zip(parts[0].ids, kept, strict=True) if ok],
        [part.library for part in parts],
        parts[0].lines[kept],
        [cell.filter(mask) for cell in cells],
    )
    return Reading(raw, None, summary, facts, tuple(files))


def _star(
    parts: Sequence[_Part], name: str, problems: Problems, source: CountSource, paths: Sequence[Path]
) -> Reading | None:
    ids = parts[0].ids
    kept = np.array([i not in _STAR_ROWS for i in ids])
    stranded = [np.nansum(_numbers(parts, ids, k)[0][kept], axis=0) for k in (1, 2)]
    strand = source.strand or _strand(stranded, parts, name, problems)
    if strand is None:
        return None
    if strand not in STRANDS:
        problems.add(
            "E-COUNT-033",
            "There is no such strand.",
            remedy=f"Use one of {', '.join(STRANDS)}.",
            file=name,
            column="strand",
            value=strand,
        )
        return None
    numbers = _numbers(parts, ids, STRANDS.index(strand))
    summary = {i: numbers[0][k].copy() for k, i in enumerate(ids) if i in _STAR_ROWS}
    facts = {
        "format": "star",
        "strand": strand + ("" if source.strand else ", as the reads of the strands show"),
    }
    return _reading(parts, numbers, kept, summary, facts=facts, files=paths)


def _strand(
    stranded: Sequence[FloatArray], parts: Sequence[_Part], name: str, problems: Problems
) -> str | None:
    """Which count of STAR the protocol asks for; None, with a problem, where the reads do not say."""
    total = stranded[0] + stranded[1]
    share = stranded[0] / np.where(total > 0, total, 1)
    seen = total > 0
    found = {
        "forward" if s >= _STRANDED
        else "reverse" if s <= 1 - _STRANDED
        else "unstranded" if abs(s - 0.5) <= _UNSTRANDED - 0.5
        else "unclear"
        for s in share[seen].tolist()
    }  # fmt: skip
    if len(found) == 1 and "unclear" not in found:
        return found.pop()
    odd = int(np.argmin(np.abs(share - 0.7)))
    problems.add(
        "E-COUNT-033",
        f"The reads do not say which strand was sequenced: the forward strand holds {share.min():.0%} to "
        f"{share.max():.0%} of them, {share[odd]:.0%} in library {parts[odd].library!r}.",
        remedy="Name it: `strand: reverse` (most kits), `forward` or `unstranded`; leave out libraries of "
        "another protocol.",
        file=name,
        column="strand",
    )
    return None


def _quantified(
    parts: Sequence[_Part],
    kind: str,
    name: str,
    problems: Problems,
    source: CountSource,
    paths: Sequence[Path],
) -> Reading | None:
    if source.counts_from not in COUNTS_FROM:
        problems.add(
            "E-COUNT-033",
            "There is no such definition of counts.",
            remedy=nearest(source.counts_from, list(COUNTS_FROM)),
            file=name,
            column="counts_from",
            value=source.counts_from,
        )
        return None
    table: pd.DataFrame | None = None
    if source.transcripts is not None:
        table = read_table(source.transcripts, problems=problems)
    ids = parts[0].ids
    genes = None if problems.errors else gene_of(ids, table, name, problems)
    if genes is None:
        return None
    values = [_numbers(parts, ids, k)[0] for k in range(3)]
    for what, array in zip(("reads", "TPM", "effective length"), values, strict=True):
        if not np.isfinite(array).all() or (array < 0).any():
            row, column = np.argwhere(~np.isfinite(array) | (array < 0))[0]
            problems.add(
                "E-COUNT-004",
                f"The {what} of {ids[row]!r} in library {parts[column].library!r} is no number of 0 or more.",
                remedy="Copy the file again from its source.",
                file=parts[column].file,
                row=int(parts[column].lines[row]),
            )
            return None
    _tell_unmapped(ids, genes, values[0], name, problems)
    sums = gene_sums(Transcripts(ids, *values), genes)
    counts = np.rint(count_genes(sums, source.counts_from))
    raw = matrix_of(counts, sums.genes, [part.library for part in parts])
    facts = {"format": kind, "counts": f"{source.counts_from}: {COUNTS_FROM[source.counts_from]}"}
    return Reading(raw, sums.length, {}, facts, tuple(paths))


def _tell_unmapped(
    ids: Sequence[str], genes: Sequence[str], reads: FloatArray, name: str, problems: Problems
) -> None:
    lost = np.array([not g for g in genes])
    if not lost.any():
        return
    share = reads[lost].sum() / max(float(reads.sum()), 1.0)
    problems.add(
        "E-COUNT-036",
        f"{int(lost.sum())} of {len(ids)} transcripts, with {share:.1%} of the reads, have no gene in the "
        "table; they are left out.",
        remedy="Give the table of the annotation that was quantified.",
        file=name,
        value=ids[int(np.argmax(lost))],
        severity="warning",
    )
