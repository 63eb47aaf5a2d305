"""Reading a CDISC dataset from whatever format it comes in, and finding the datasets of a folder.

What a file is is told by its first bytes; a file whose name says something else is refused. Formats: SAS
transport version 5 and 8 (``.xpt``), ``.sas7bdat``, Dataset-JSON 1.1 (``.json``), Parquet, and text tables
(``.csv``, ``.tsv``, also ``.gz``).
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
from pyreadstat import PyreadstatError, ReadstatError

from pdbiomarker.clinical.cdisc.dataset import Dataset, dataset_of, from_sas_numbers
from pdbiomarker.clinical.cdisc.datasetjson import read_dataset_json
from pdbiomarker.errors import InputError, Problems
from pdbiomarker.tables import decode_text, nearest, read_table

__all__ = ["KNOWN", "read_dataset", "read_datasets"]

#: Datasets that are read, and what they become.
KNOWN: Final[Mapping[str, str]] = {
    "DM": "participants",
    "ADSL": "participants, outcomes",
    "EX": "doses",
    "ADEX": "doses",
    "PC": "concentrations",
    "ADPC": "concentrations",
    "PP": "parameters",
    "ADPP": "parameters",
    "TU": "lesions",
    "TR": "lesions",
    "RS": "responses",
    "ADRS": "responses, parameters",
    "IS": "ada",
    "ADAB": "ada, parameters",
    "AE": "adverse_events",
    "ADAE": "adverse_events",
    "DS": "outcomes",
    "DD": "outcomes",
    "ADTTE": "parameters",
    "BE": "biopsies",
    "BS": "specimen_findings",
    "MI": "specimen_findings",
    "RELSPEC": "biopsies",
}
#: Analysis datasets whose names begin like those of others.
_OTHERS: Final = frozenset({"ADPPK"})
_SUFFIXES: Final[Mapping[str, str]] = {
    ".xpt": "xpt",
    ".sas7bdat": "sas7bdat",
    ".json": "json",
    ".parquet": "parquet",
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".csv.gz": "text",
    ".tsv.gz": "text",
}
_CALLED: Final[Mapping[str, str]] = {
    "xpt": "a SAS transport file (XPT)",
    "sas7bdat": "a SAS dataset (sas7bdat)",
    "json": "a JSON document",
    "parquet": "a Parquet file",
    "text": "a text table",
}
_SAS7BDAT: Final = b"\x00" * 12 + b"\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92\x08\x00"
_MEMBER: Final = (b"HEADER RECORD*******MEMBER  HEADER", b"HEADER RECORD*******MEMBV8  HEADER")
_OBSERVATIONS: Final = (b"HEADER RECORD*******OBS     HEADER", b"HEADER RECORD*******OBSV8   HEADER")
_CARD: Final = 80
_READ_ERRORS: Final = (
    *(PyreadstatError, ReadstatError, pa.ArrowException, UserWarning),
    *(OSError, ValueError, UnicodeError, TypeError, KeyError, IndexError),
)


def read_dataset(path: str | Path, *, name: str | None = None) -> Dataset:
    """Read one CDISC dataset.

    Parameters
    ----------
    path : path
        XPT, sas7bdat, Dataset-JSON, Parquet or a text table.
    name : str, optional
        What the dataset is, such as ``PC``. Default: as the file says (`DOMAIN`, the name it carries, or its
        file name).

    Returns
    -------
    Dataset
        Labels, formats and lengths as the file has them.

    Raises
    ------
    InputError
        E-FILE-...: missing, empty, not text; E-CDISC-001: damaged, cut short or not what its name says;
        E-CDISC-002: breaks Dataset-JSON.
    """
    problems = Problems()
    found = _read(Path(path), problems)
    problems.raise_if_any()
    if found is None:
        raise InputError(problems)
    file = Path(path)
    chosen = (
        name
        or _name_of(found, file)
        or found.name
        or (_suffix(file) and file.name.split(".")[0])
        or file.stem
    )
    return Dataset(str(chosen).upper(), found.label, found.frame, found.variables, found.file)


def read_datasets(
    folder: str | Path, *, use: Mapping[str, str] | None = None, problems: Problems | None = None
) -> dict[str, Dataset]:
    """Read the CDISC datasets of a folder that this package knows, see :data:`KNOWN`.

    Parameters
    ----------
    folder : path
        Files of a format that cannot hold a dataset are passed over, and so are datasets that are not known:
        both are told (warnings).
    use : mapping of dataset to file name, optional
        Which file is which dataset, where the files do not say, or several are the same one.
    problems : Problems, optional
        Where what is told is added; without it, errors are raised and warnings are lost.

    Returns
    -------
    dict of name to Dataset
        In alphabetical order. Files of one dataset that is split (such as ``rsonc.xpt``, ``rsirec.xpt``) are
        joined where they share no record.

    Raises
    ------
    InputError
        Every file that cannot be read, and datasets that are given twice (E-CDISC-003).
    """
    told = Problems() if problems is None else problems
    root, chosen = Path(folder), {key.upper(): file for key, file in (use or {}).items()}
    files = _files(root, told)
    _check_use(chosen, [file.name for file in files], told)
    by_file = {file: key for key, file in chosen.items()}
    found: dict[str, list[Dataset]] = {}
    for file in files:
        declared = by_file.get(file.name)
        guess = declared or _name_of_file(file)
        if declared is None and guess in chosen:
            told.add(
                "E-CDISC-015",
                f"The file is not read: for {guess}, {chosen[str(guess)]} was asked for.",
                remedy="Nothing need be done, if that was meant.",
                file=file.name,
                severity="warning",
            )
            continue
        data = _read(file, told)
        if data is None:
            continue
        name = declared or _name_of(data, file)
        if name is None or name not in KNOWN:
            _unknown(file, told)
        elif declared is not None or name not in chosen:
            found.setdefault(name, []).append(
                Dataset(name, data.label, data.frame, data.variables, data.file)
            )
    joined = {name: _joined(name, parts, told) for name, parts in sorted(found.items())}
    told.raise_if_any()
    return {name: data for name, data in joined.items() if data is not None}


def _files(root: Path, problems: Problems) -> list[Path]:
    if not root.is_dir():
        problems.add(
            "E-FILE-001",
            "There is no such folder.",
            remedy="Name the folder of the datasets.",
            file=root.name,
        )
        return []
    inside = sorted(p for p in root.iterdir() if p.is_file() and not p.name.startswith("."))
    files = [p for p in inside if _suffix(p) is not None]
    for path in inside:
        if path not in files and path.suffix.casefold() not in {".md", ".pdf", ".xml", ".html", ".xsl"}:
            problems.add(
                "E-CDISC-015",
                "The file is not read: its name is not that of a format that is.",
                remedy=f"Formats are {', '.join(_SUFFIXES)}.",
                file=path.name,
                severity="warning",
            )
    if not files:
        problems.add(
            "E-FILE-004",
            "The folder holds no dataset.",
            remedy=f"Put the datasets there: {', '.join(_SUFFIXES)}.",
            file=root.name,
        )
    return files


def _check_use(use: Mapping[str, str], names: Sequence[str], problems: Problems) -> None:
    for key, file in use.items():
        if key not in KNOWN:
            problems.add(
                "E-CDISC-003",
                f"The dataset {key!r} is not one that is read.",
                remedy=nearest(key, KNOWN),
                column=key,
                value=key,
            )
        if file not in names:
            problems.add(
                "E-FILE-001",
                f"The file for {key} is not in the folder.",
                remedy=nearest(file, names),
                file=file,
            )


def _suffix(path: Path) -> str | None:
    name = path.name.casefold()
    return next((s for s in sorted(_SUFFIXES, key=len, reverse=True) if name.endswith(s)), None)


def _read(path: Path, problems: Problems) -> Dataset | None:
    label, suffix = path.name, _suffix(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        problems.add(
            "E-FILE-001", f"The file cannot be opened ({reason}).", remedy="Correct its name.", file=label
        )
        return None
    if not head:
        problems.add("E-FILE-004", "The file is empty.", remedy="Export the dataset again.", file=label)
        return None
    said, is_ = _SUFFIXES.get(suffix or "", "text"), _format(head)
    if said != is_:
        problems.add(
            "E-CDISC-001",
            f"The name of the file says that it is {_CALLED[said]}; by its first bytes it is {_CALLED[is_]}.",
            remedy="Give the file its right name, or export the dataset again.",
            file=label,
        )
        return None
    try:
        return _READERS[is_](path, problems)
    except _READ_ERRORS as error:
        said = str(error).split("\n")[0].replace(f"{path.parent}/", "").rstrip(".")
        problems.add(
            "E-CDISC-001",
            f"{_CALLED[is_].capitalize()} that cannot be read: it is damaged or cut short ({said}).",
            remedy="Check that the file is complete; copy or export it again.",
            file=label,
        )
        return None


def _format(head: bytes) -> str:
    if head.startswith(b"HEADER RECORD*******LIB"):
        return "xpt"
    if head.startswith(_SAS7BDAT[:24]):
        return "sas7bdat"
    if head.startswith(b"PAR1"):
        return "parquet"
    return "json" if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["} else "text"


def _from_text(path: Path, problems: Problems) -> Dataset | None:
    frame = read_table(path, problems=problems)
    if frame is None:
        return None
    return dataset_of("", frame.rename(columns=lambda c: str(c).strip().upper()), file=path.name)


def _from_json(path: Path, problems: Problems) -> Dataset | None:
    remedy = "Dataset-JSON is UTF-8: export it again."
    text = decode_text(path.read_bytes(), problems, file=path.name, remedy=remedy)
    return None if text is None else read_dataset_json(text, file=path.name, problems=problems)


def _from_parquet(path: Path, problems: Problems) -> Dataset | None:
    del problems
    with _quiet():
        table = pq.ParquetFile(path).read()
        frame = table.to_pandas(date_as_object=True)
    labels = {field.name: (field.metadata or {}).get(b"label", b"").decode() for field in table.schema}
    label = (table.schema.metadata or {}).get(b"label", b"").decode()
    return dataset_of("", frame, label=label, labels=labels, file=path.name)


def _from_xpt(path: Path, problems: Problems) -> Dataset | None:
    data = path.read_bytes()
    members = sum(data.count(mark) for mark in _MEMBER)
    if members > 1:
        problems.add(
            "E-CDISC-001",
            f"The transport file holds {members} datasets; one is read from each file.",
            remedy="Export each dataset to a file of its own.",
            file=path.name,
        )
        return None
    frame, meta = _decoded(pyreadstat.read_xport, path, problems)
    width = sum(meta.variable_storage_width.values())
    start = max(data.find(mark) for mark in _OBSERVATIONS)
    if start < 0 or len(data) % _CARD or _is_torn(data[start + _CARD :], width):
        problems.add(
            "E-CDISC-001",
            "The transport file is cut short: it ends within a record.",
            remedy="Copy or export it again, in binary mode.",
            file=path.name,
        )
        return None
    return _of_sas(frame, meta, path)


def _is_torn(observations: bytes, width: int) -> bool:
    """Tell whether the last record is incomplete; what fills the last card is blank."""
    rest = observations[len(observations) // width * width :] if width else b""
    return bool(rest.strip(b" "))


def _from_sas7bdat(path: Path, problems: Problems) -> Dataset | None:
    frame, meta = _decoded(pyreadstat.read_sas7bdat, path, problems)
    return _of_sas(frame, meta, path)


def _decoded(reader: Any, path: Path, problems: Problems) -> tuple[pd.DataFrame, Any]:
    """Read as UTF-8; where that fails, as Windows-1252, and say so."""
    with _quiet():
        try:
            frame, meta = reader(str(path), disable_datetime_conversion=True)
            return frame, meta
        except (ReadstatError, UnicodeDecodeError) as error:
            if "convert" not in str(error).casefold() and "utf" not in str(error).casefold():
                raise
            frame, meta = reader(str(path), encoding="WINDOWS-1252", disable_datetime_conversion=True)
    problems.add(
        "E-FILE-003",
        "The texts are not UTF-8; they are read as Windows-1252.",
        remedy="Check accents and Greek letters; export in ASCII or UTF-8.",
        file=path.name,
        severity="warning",
    )
    return frame, meta


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the readers print off standard output; what they warn of is a fault."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter(
            "error", UserWarning
        )  # such as two variables of one name, of which one is renamed
        yield


def _of_sas(frame: pd.DataFrame, meta: Any, path: Path) -> Dataset:
    formats = {str(k): v or "" for k, v in meta.original_variable_types.items()}
    frame = from_sas_numbers(frame, formats)
    blank = {c: frame[c].map(lambda v: None if isinstance(v, str) and not v else v) for c in frame.columns}
    found = dataset_of(
        str(meta.table_name or ""),
        pd.DataFrame(blank, columns=list(frame.columns)),
        label=str(meta.file_label or ""),
        labels={k: v or "" for k, v in meta.column_names_to_labels.items()},
        formats=formats,
        file=path.name,
    )
    widths = meta.variable_storage_width
    variables = tuple(
        type(v)(v.name, v.label, v.kind, widths.get(v.name) if v.kind == "text" else None, v.format)
        for v in found.variables
    )
    return Dataset(found.name, found.label, found.frame, variables, found.file)


def _name_of(data: Dataset, path: Path) -> str | None:
    """Tell which dataset it is: an analysis dataset by its name, a domain by DOMAIN, else by its name."""
    named = _known(data.name.upper()) or _name_of_file(path)
    if named is not None and named.startswith("AD"):
        return named
    domain = data.frame["DOMAIN"].dropna().unique().tolist() if "DOMAIN" in data else []
    if len(domain) == 1 and "PARAMCD" not in data:
        return str(domain[0]).upper()
    return named


def _name_of_file(path: Path) -> str | None:
    """Tell a dataset by the words of its file's name: ``study__adrs_onco.parquet`` is ADRS."""
    words = re.split(r"[^A-Z0-9]+", path.name.upper().split(".")[0])
    return next((known for word in words for known in [_known(word)] if known is not None), None)


def _known(word: str) -> str | None:
    if word in KNOWN or word in _OTHERS:
        return word
    starts = [k for k in KNOWN if k.startswith("AD") and word.startswith(k)]
    return max(starts, key=len, default=None)


def _unknown(path: Path, problems: Problems) -> None:
    problems.add(
        "E-CDISC-015",
        "The file is not a dataset that is read, or it cannot be told which one it is.",
        remedy=f"Datasets are {', '.join(KNOWN)}; say which one a file is by DATASET=FILE.",
        file=path.name,
        severity="warning",
    )


def _joined(name: str, parts: Sequence[Dataset], problems: Problems) -> Dataset | None:
    """Join the files of a split dataset; files that hold the same records are refused."""
    if len(parts) == 1:
        return parts[0]
    owners: Counter[object] = Counter()
    sequence = f"{name}SEQ"
    for part in parts:
        keys = [c for c in ("USUBJID", sequence) if c in part]
        owners.update(
            {tuple(row) for row in part.frame[keys].to_numpy(dtype=object).tolist()} if keys else {0}
        )
    if any(count > 1 for count in owners.values()) or sequence not in parts[0]:
        files = ", ".join(part.file for part in parts)
        problems.add(
            "E-CDISC-003",
            f"Several files are {name} and share records: {files}.",
            remedy=f"Say which one counts, as {name}={parts[0].file}.",
            file=parts[0].file,
            value=name,
        )
        return None
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    labels = {k: v for part in reversed(parts) for k, v in part.labels.items()}
    return dataset_of(
        name, frame, label=parts[0].label, labels=labels, file=" + ".join(part.file for part in parts)
    )


_READERS: Final[Mapping[str, Callable[[Path, Problems], Dataset | None]]] = {
    "text": _from_text,
    "json": _from_json,
    "xpt": _from_xpt,
    "sas7bdat": _from_sas7bdat,
    "parquet": _from_parquet,
}
