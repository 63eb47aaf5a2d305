"""Counts or nCounter lanes by themselves: files in, an assay and its tables out, without a study."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker import expression
from pdbiomarker.errors import InputError, Problem, Problems
from pdbiomarker.expression.ncounter import rcc_files
from pdbiomarker.normalize import NormalizeOptions, normalize
from pdbiomarker.normalize.size_factors import Normalization
from pdbiomarker.provenance import code_version, write_text
from pdbiomarker.run.request import RunOutcome
from pdbiomarker.run.results import frame_of, quarantine_table, write_assay
from pdbiomarker.tables import write_table

__all__ = ["ExpressionOptions", "write_expression"]

_MARK: Final = "provenance.json"
_QUARANTINED: Final = 4


@dataclasses.dataclass(frozen=True)
class ExpressionOptions:
    """How files are read and scaled.

    Attributes
    ----------
    format, strand, counts_from : str
        See :class:`pdbiomarker.expression.CountSource`; also the format ``nsolver``.
    transcripts, genes : Path or None
        Tables of transcript and gene ids, and of gene ids and symbols (nSolver: of probes and classes).
    kind : {"intensity", "count"}
        Of an nCounter run.
    background : {"threshold", "subtract", "none"}
    housekeeping : tuple of str
    normalization : str
        See :mod:`pdbiomarker.normalize.size_factors`.
    """

    format: str = "auto"
    strand: str | None = None
    counts_from: str = "length_scaled"
    transcripts: Path | None = None
    genes: Path | None = None
    kind: str = "intensity"
    background: str = "threshold"
    housekeeping: tuple[str, ...] = ()
    normalization: str = "tmm"


def write_expression(
    inputs: str | Path | Sequence[str | Path], out: str | Path, *, options: ExpressionOptions | None = None
) -> RunOutcome:
    """Read counts or nCounter lanes, bring them to the model scale, and write what was found.

    Parameters
    ----------
    inputs : path or sequence of paths
        A count matrix; the files of featureCounts, STAR, HTSeq, Salmon or kallisto, or their folder; a folder
        of RCC files; an nSolver export (with ``format="nsolver"``).
    out : path
        A folder: new, empty, or one that this function wrote.
    options : ExpressionOptions, optional

    Returns
    -------
    RunOutcome
        `made` names the assay first: ``expression.h5ad`` (libraries x features; X raw, layers y and w on the
        model scale), ``libraries.csv`` (depth, factors, quality), ``features.csv`` (symbol, tested, note),
        ``quarantine.csv``, ``problems.csv``, ``provenance.json``. Same input, same bytes. `exit_code` 4 when
        a library was quarantined.

    Raises
    ------
    InputError
        With every fault of the files; E-RUN-006: `out` is some other folder.
    """
    paths = [Path(inputs)] if isinstance(inputs, str | Path) else [Path(p) for p in inputs]
    options, folder = options or ExpressionOptions(), Path(out)
    _check_folder(folder)
    adata = _read(paths, options)
    scaled = normalize(
        adata, options=NormalizeOptions(normalization=cast("Normalization", options.normalization))
    )
    problems = expression.problems_of(adata)
    folder.mkdir(parents=True, exist_ok=True)
    made = [write_assay(_without_problems(scaled), folder / "expression.h5ad")]
    tables = {
        "libraries": frame_of(scaled.obs).reset_index(names="library_id"),
        "features": frame_of(scaled.var).reset_index(names="feature"),
        "quarantine": quarantine_table(problems),
        "problems": _problem_table(problems),
    }
    for name, table in tables.items():
        made.append(folder / f"{name}.csv")
        write_table(table, made[-1])
    facts = {
        **{str(k): v for k, v in dict(adata.uns["provenance"]).items()},
        "normalization": _plain(scaled.uns.get("normalization", {})),
        "options": _plain(dataclasses.asdict(options)),
        "version": code_version(),
    }
    made.append(folder / _MARK)
    write_text(made[-1], json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    lost = any(p.severity == "quarantine" for p in problems)
    return RunOutcome(_QUARANTINED if lost else 0, folder, tuple(made), problems)


def _check_folder(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise InputError(
            [
                Problem(
                    "E-RUN-006",
                    "The folder is not empty and was not written by this command.",
                    "Name a new folder.",
                    folder.name,
                )
            ]
        )


def _read(paths: Sequence[Path], options: ExpressionOptions) -> AnnData:
    lanes = expression.LaneOptions(background=options.background, housekeeping=options.housekeeping)
    if len(paths) == 1 and paths[0].is_dir() and rcc_files(paths[0]):
        return expression.read_ncounter(paths[0], kind=options.kind, options=lanes)
    if options.format == "nsolver":
        if len(paths) > 1:
            problems = Problems()
            problems.add(
                "E-FILE-002", "An nSolver export is one file.", remedy="Name one.", file=paths[1].name
            )
            problems.raise_if_any()
        return expression.read_nsolver(paths[0], classes=options.genes, options=lanes)
    source = expression.CountSource(
        format=options.format,
        strand=options.strand,
        transcripts=options.transcripts,
        counts_from=options.counts_from,
    )
    one = paths[0] if len(paths) == 1 else list(paths)
    return expression.read_counts(one, genes=options.genes, source=source)


def _without_problems(adata: AnnData) -> AnnData:
    out = adata.copy()
    out.uns.pop("problems", None)
    return out


def _problem_table(problems: Sequence[Problem]) -> pd.DataFrame:
    fields = [f.name for f in dataclasses.fields(Problem)]
    frame = pd.DataFrame([dataclasses.asdict(p) for p in problems], columns=fields, dtype=object)
    frame["row"] = frame["row"].astype("Int64")
    return frame[["severity", "code", "item", "file", "row", "column", "value", "message", "remedy"]]


def _plain(value: Any) -> Any:
    """Give JSON for options and facts; of paths the name only."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list | np.ndarray):
        return [_plain(v) for v in value]
    return value.name if isinstance(value, Path) else value
