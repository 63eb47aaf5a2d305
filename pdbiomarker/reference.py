"""The reference files that travel with the package: panels, signatures, windows, rules, noise, genes.

In a checkout they are the folder ``reference/``; in an installed wheel, ``pdbiomarker/_reference``. Each is
listed in ``MANIFEST.tsv`` with its source, version, licence and SHA-256.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

from pdbiomarker.errors import Problems
from pdbiomarker.tables import nearest

MANIFEST = "MANIFEST.tsv"


@dataclasses.dataclass(frozen=True, slots=True)
class ReferenceFile:
    """One line of the manifest.

    Attributes
    ----------
    path : str
        Below the reference folder, with ``/``.
    source, version, licence : str
        Where it comes from, which edition, and under which terms.
    sha256 : str
        Of the file's bytes.
    """

    path: str
    source: str
    version: str
    licence: str
    sha256: str


def _root() -> Path:
    package = Path(__file__).resolve().parent
    installed = package / "_reference"
    return installed if installed.is_dir() else package.parent / "reference"


def reference_path(name: str) -> Path:
    """Give the path of a reference file.

    Parameters
    ----------
    name : str
        Path below the reference folder, such as ``"panels/cd8.yaml"``; ``""`` is the folder itself.

    Raises
    ------
    InputError
        E-FILE-006 when the name leads outside the folder, E-FILE-001 when there is no such file (the
        nearest are named).

    Examples
    --------
    >>> reference_path("MANIFEST.tsv").name
    'MANIFEST.tsv'
    """
    root = _root().resolve()
    problems = Problems()
    try:
        path = (root / name).resolve()
        outside = not path.is_relative_to(root) or Path(name).is_absolute()
        exists = path.exists()
    except (OSError, ValueError):
        outside, exists, path = False, False, root
    if outside:
        problems.add(
            "E-FILE-006",
            "The name leads outside the reference folder.",
            remedy="Give a name below the folder, without '..'.",
            file="reference",
            value=name,
        )
    elif not exists:
        problems.add(
            "E-FILE-001",
            "There is no such reference file.",
            remedy=nearest(name, list_reference()),
            file="reference",
            value=name,
        )
    problems.raise_if_any()
    return path


def list_reference(folder: str = "") -> list[str]:
    """List the reference files below a folder, sorted, as paths below the reference folder."""
    root = _root().resolve()
    return sorted(
        file.relative_to(root).as_posix()
        for file in (root / folder).rglob("*")
        if file.is_file() and not file.name.startswith(".")
    )


def reference_names(folder: str) -> list[str]:
    """List the YAML files of a reference folder by name, sorted, without the ending.

    Examples
    --------
    >>> reference_names("windows")
    ['q3w', 'q4w']
    """
    names = list_reference(folder)
    return sorted(Path(name).stem for name in names if name.endswith(".yaml"))


def read_manifest() -> list[ReferenceFile]:
    """Read the manifest of the reference files, in the order of its lines.

    Raises
    ------
    InputError
        E-FILE-001 when the manifest is missing.
    """
    with reference_path(MANIFEST).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        ReferenceFile(row["path"], row["source"], row["version"], row["licence"], row["sha256"])
        for row in rows
    ]


def find_reference(name: str) -> ReferenceFile:
    """Give the line of the manifest for a file, by its path or, where that is enough, its name alone.

    Raises
    ------
    InputError
        E-REF-080: no file, or several files, of that name; the nearest are named.

    Examples
    --------
    >>> find_reference("cd8").path
    'panels/cd8.yaml'
    """
    files = read_manifest()
    wanted = name.casefold()
    found = [file for file in files if file.path.casefold() == wanted]
    found = found or [file for file in files if wanted in _short(file.path)]
    if len(found) != 1:
        problems = Problems()
        several = ", ".join(file.path for file in found)
        names = sorted({file.path for file in files} | {s for file in files for s in _short(file.path)})
        problems.add(
            "E-REF-080",
            "Several reference files have that name."
            if found
            else "There is no reference file of that name.",
            remedy=f"Give the path of one: {several}." if found else nearest(name, names),
            file="reference",
            value=name,
        )
        problems.raise_if_any()
    return found[0]


def _short(path: str) -> set[str]:
    file = Path(path)
    return {file.name.casefold(), file.stem.casefold()}
