"""One lane of an nCounter run: the RCC file.

An RCC file is text in sections (``<Header>``, ``<Sample_Attributes>``, ``<Lane_Attributes>``,
``<Code_Summary>``), the last one a table of CodeClass, Name, Accession and Count. It looks like XML and is
none: it is read line by line, and a file with a document type or an entity is refused.

Names of controls carry their concentration in fM: ``POS_A(128)``, ``NEG_A(0)``.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from pdbiomarker.errors import Problems
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.study.ids import control_character
from pdbiomarker.tables import decode_text, is_number, read_at_most

__all__ = ["CONTROLS", "Lane", "Probe", "class_of", "code_sets", "probe_name", "rcc_files", "read_rcc"]

_LIMIT: Final = 16 << 20
_SECTIONS: Final = ("Header", "Sample_Attributes", "Lane_Attributes", "Code_Summary")
_COLUMNS: Final = ("CodeClass", "Name", "Accession", "Count")
_CONCENTRATION: Final = re.compile(r"\((\d+(?:\.\d+)?|\.\d+)\)$", re.ASCII)
_CONTROL: Final = re.compile(r"(POS|NEG)_[A-H]", re.IGNORECASE)
#: Concentrations of the positive controls in fM, where their names do not say.
_USUAL: Final = {"A": 128.0, "B": 32.0, "C": 8.0, "D": 2.0, "E": 0.5, "F": 0.125}
#: Code classes of controls.
CONTROLS: Final = ("positive", "negative", "ligation", "spikein", "binding", "purification", "reserved")


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """A probe: its class (lower case), name without concentration, accession and concentration in fM."""

    code_class: str
    name: str
    accession: str
    concentration: float


@dataclasses.dataclass(frozen=True)
class Lane:
    """What an RCC file says.

    Attributes
    ----------
    name : str
        The file's name without its ending.
    file : str
        For messages.
    sample, lane, cartridge, date, code_set : str
        Sample id, lane number, cartridge, date (YYYYMMDD) and GeneRLF.
    fov_count, fov_counted : float
        Fields of view asked for and counted.
    binding_density : float
        Barcodes for each square micrometre.
    probes : tuple of Probe
    counts : array, probes
    """

    name: str
    file: str
    sample: str
    lane: str
    cartridge: str
    date: str
    code_set: str
    fov_count: float
    fov_counted: float
    binding_density: float
    probes: tuple[Probe, ...]
    counts: FloatArray

    def of_class(self, code_class: str) -> FloatArray:
        """Counts of the probes of a class, in their order."""
        chosen = [k for k, probe in enumerate(self.probes) if probe.code_class == code_class]
        return np.asarray(self.counts[chosen], dtype=np.float64)


def class_of(text: str) -> str:
    """Code class in one word of lower case: endogenous, housekeeping, positive, negative, ...

    Examples
    --------
    >>> class_of("Endogenous1"), class_of("House Keeping"), class_of("Positive")
    ('endogenous', 'housekeeping', 'positive')
    """
    plain = re.sub(r"[^a-z]", "", text.lower())
    known = ("endogenous", "housekeeping", *CONTROLS)
    return next((name for name in known if plain.startswith(name)), plain)


def probe_name(text: str) -> str:
    """Name of a probe without the concentration that controls carry.

    Examples
    --------
    >>> probe_name("POS_A(128)"), probe_name("HLA-A")
    ('POS_A', 'HLA-A')
    """
    plain = _CONCENTRATION.sub("", text.strip())
    return plain if _CONTROL.fullmatch(plain) else text.strip()


def rcc_files(folder: Path) -> list[Path]:
    """RCC files below a folder, sorted by path; they may be gzip-packed."""
    found = [f for f in folder.rglob("*") if re.search(r"\.rcc(\.gz)?$", f.name, re.IGNORECASE)]
    return sorted(f for f in found if f.is_file() and not f.name.startswith("."))


def read_rcc(path: Path, problems: Problems) -> Lane | None:
    """Read one RCC file.

    Parameters
    ----------
    path : Path
    problems : Problems
        Added: E-FILE-001, 003, 005 (sections missing or not closed), E-SHEET-001, 003, E-COUNT-001 to 003,
        005, E-LANE-001.

    Returns
    -------
    Lane or None
        None where a fault was found.
    """
    before = len(problems.errors)
    text = _text(path, problems)
    if text is None:
        return None
    lines = text.splitlines()
    sections = _sections(lines, path.name, problems)
    if sections is None:
        return None
    attributes = {name: dict(_pairs(lines[first : last - 1])) for name, (first, last) in sections.items()}
    first, last = sections["Code_Summary"]
    found = _codes(lines[first : last - 1], first + 1, path.name, problems)
    lane, sample = attributes["Lane_Attributes"], attributes["Sample_Attributes"]
    numbers = {}
    for key in ("FovCount", "FovCounted", "BindingDensity"):
        value = lane.get(key, "")
        if not is_number(value):
            problems.add(
                "E-LANE-001",
                f"The lane attribute {key} is missing or no number.",
                remedy="Export the lane again from the instrument.",
                file=path.name,
                column=key,
                value=value,
            )
            continue
        numbers[key] = float(value)
    if len(problems.errors) > before or found is None:
        return None
    probes, counts = found
    return Lane(
        name=re.sub(r"\.rcc(\.gz)?$", "", path.name, flags=re.IGNORECASE),
        file=path.name,
        sample=sample.get("ID", ""),
        lane=lane.get("ID", ""),
        cartridge=lane.get("CartridgeID", "") or lane.get("CartridgeBarcode", ""),
        date=sample.get("Date", ""),
        code_set=sample.get("GeneRLF", ""),
        fov_count=numbers["FovCount"],
        fov_counted=numbers["FovCounted"],
        binding_density=numbers["BindingDensity"],
        probes=probes,
        counts=counts,
    )


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [(key.strip(), value.strip()) for key, _, value in (line.partition(",") for line in lines)]


def _sections(lines: list[str], file: str, problems: Problems) -> dict[str, tuple[int, int]] | None:
    """First and last line of each section that is closed; None, with problems, where one is missing."""
    sections: dict[str, tuple[int, int]] = {}
    opened: tuple[str, int] | None = None
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("<!"):
            problems.add(
                "E-LANE-001",
                "The file declares a document type or an entity, which no RCC file does.",
                remedy="Export the lane again from the instrument.",
                file=file,
                row=number,
            )
            return None
        mark = re.fullmatch(r"<(/?)(\w+)>", line.strip())
        if mark and not mark[1]:
            opened = (mark[2], number)
        elif mark and opened is not None and mark[2] == opened[0]:
            sections[mark[2]] = (opened[1], number)
            opened = None
    missing = [name for name in _SECTIONS if name not in sections]
    for name in missing:
        problems.add(
            "E-FILE-005",
            f"The section <{name}> is missing or not closed: the file is no RCC file, or cut short.",
            remedy="Export the lane again from the instrument.",
            file=file,
            column=name,
        )
    return None if missing else sections


def _codes(
    lines: list[str], first: int, file: str, problems: Problems
) -> tuple[tuple[Probe, ...], FloatArray] | None:
    rows = list(csv.reader(io.StringIO("\n".join(lines))))
    if not rows or tuple(rows[0]) != _COLUMNS:
        problems.add(
            "E-SHEET-001",
            f"The columns of <Code_Summary> are not {', '.join(_COLUMNS)}.",
            remedy="Export the lane again from the instrument.",
            file=file,
            row=first,
        )
        return None
    seen: dict[tuple[str, str], int] = {}
    probes: list[Probe] = []
    counts: list[float] = []
    for number, row in enumerate(rows[1:], start=first + 1):
        if not _is_whole(row, number, file, problems):
            continue
        code, count = (row[0], row[1]), row[3].strip()
        other = seen.setdefault(code, number)
        if other != number:
            problems.add(
                "E-COUNT-005",
                f"The code {row[1]!r} stands in lines {other} and {number}.",
                remedy="Keep one of them.",
                file=file,
                row=number,
                column="Name",
                value=row[1],
            )
        fault = _fault(count)
        if fault:
            problems.add(
                fault,
                f"The count of {row[1]!r} is not a whole number of 0 or more.",
                remedy="Give raw counts.",
                file=file,
                row=number,
                column="Count",
                value=count,
            )
            continue
        probes.append(_probe(row))
        counts.append(float(count))
    return tuple(probes), np.array(counts, dtype=np.float64)


def _is_whole(row: list[str], number: int, file: str, problems: Problems) -> bool:
    """Whether a row has all its fields and nothing that a damaged file has; tell what it lacks."""
    text = ",".join(row)
    if len(row) != len(_COLUMNS):
        problems.add(
            "E-SHEET-003",
            "The row does not have four fields.",
            remedy="Export the lane again from the instrument.",
            file=file,
            row=number,
            value=text[:80],
        )
        return False
    if any(control_character(field) for field in row):
        problems.add(
            "E-SHEET-010",
            "The row holds a control or invisible character: the file is damaged.",
            remedy="Export the lane again from the instrument.",
            file=file,
            row=number,
            value=ascii(text)[:80],
        )
        return False
    return True


def _probe(row: list[str]) -> Probe:
    name = probe_name(row[1])
    found = _CONCENTRATION.search(row[1])
    known = float(found[1]) if found and name != row[1].strip() else _USUAL.get(name[-1:], np.nan)
    code_class = class_of(row[0])
    return Probe(code_class, name, row[2].strip(), known if code_class == "positive" else np.nan)


def _fault(text: str) -> str:
    if not is_number(text):
        return "E-COUNT-001"
    if float(text) < 0:
        return "E-COUNT-002"
    return "" if float(text).is_integer() else "E-COUNT-003"


def _text(path: Path, problems: Problems) -> str | None:
    if not path.is_file():
        problems.add("E-FILE-001", "There is no such file.", remedy="Correct the path.", file=path.name)
        return None
    try:
        with path.open("rb") as stream:
            data = read_at_most(stream, _LIMIT + 1)
        if data.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = read_at_most(packed, _LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        problems.add(
            "E-FILE-005",
            f"The file cannot be read: {type(error).__name__}; it is damaged or cut short.",
            remedy="Export the lane again from the instrument.",
            file=path.name,
        )
        return None
    if len(data) > _LIMIT:
        problems.add(
            "E-FILE-005",
            "The file is larger than 16 MB: it is no RCC file.",
            remedy="Name the lane's file.",
            file=path.name,
        )
        return None
    return decode_text(data, problems, file=path.name, remedy="Export the lane again from the instrument.")


def code_sets(lanes: Mapping[str, Lane]) -> dict[tuple[str, ...], list[str]]:
    """Lanes by what they measure: the name of the code set and its probes."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name, lane in lanes.items():
        key = (lane.code_set, *sorted(f"{p.code_class}/{p.name}" for p in lane.probes))
        found.setdefault(key, []).append(name)
    return found
