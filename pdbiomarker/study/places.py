"""What in a folder of inputs is no file to be read: pipes, devices, links that lead nowhere or away."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pdbiomarker.errors import Problems

__all__ = ["amiss", "check_files", "leads_outside", "tell_outside"]

_DOCUMENTS: Final = frozenset(
    {".csv", ".geojson", ".json", ".parquet", ".png", ".rcc", ".tif", ".tiff", ".tsv"}
)
_LINKED_FOLDER: Final = "A link leads to a folder: it is not followed, and what lies behind it is not read."
_NAMED_FOLDER: Final = "A folder has the name of a file."


def amiss(path: Path, what: str = "file") -> tuple[str, str]:
    """Say of a path that is not the file or folder it is named as: it is not there, or is of another kind.

    Returns
    -------
    (str, str)
        E-FILE-001 or E-FILE-002, and a sentence.
    """
    try:
        exists = path.exists()
    except (OSError, ValueError):  # no file can have such a name
        exists = False
    if not exists:
        return "E-FILE-001", f"The {what} does not exist."
    return "E-FILE-002", f"The path is not a {'folder' if what.endswith('folder') else 'regular file'}."


def leads_outside(folder: Path, path: str) -> bool:
    """Tell whether a path of the study's own files is absolute, or leaves the study folder."""
    try:
        return Path(path).is_absolute() or not (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links that lead to one another
        return True


def tell_outside(file: str, value: str, problems: Problems) -> None:
    """Refuse a file of the study, named in `file`, that lies elsewhere."""
    problems.add(
        "E-FILE-006",
        "The path leads outside the study folder.",
        remedy="Put the file into the study folder.",
        file=file,
        value=value,
    )


def check_files(paths: Iterable[Path], problems: Problems, *, root: Path) -> None:
    """Tell which entries of a folder of inputs cannot be read as files, so that none is passed over.

    Readers take the regular files of such a folder and would wait for ever on a pipe; without this check,
    regions that are a pipe or a broken link would count as regions that were not drawn.

    Parameters
    ----------
    paths : iterable of Path
        The entries; nothing is opened.
    problems : Problems
        E-FILE-001: a link that leads nowhere; E-FILE-002: a pipe, socket, device, a folder in place of a
        file, and as a warning a link to a folder, which is not followed; E-FILE-006: a link that leads out of
        `root`. Named by their path from `root`.
    root : Path
        The study folder, or the folder itself where it was given by its name.
    """
    for path in sorted(paths):
        name = path.relative_to(root).as_posix()
        code, said = _fault(path, name, root)
        if code:
            problems.add(
                code,
                said,
                remedy="Put the file itself there, or remove this entry from the folder.",
                file=name,
                severity="warning" if said == _LINKED_FOLDER else "error",
            )


def _fault(path: Path, name: str, root: Path) -> tuple[str, str]:
    """Say what is wrong with an entry of a folder; nothing where it may be read, or passed over."""
    link = path.is_symlink()
    if path.is_dir():
        if link:
            return "E-FILE-002", _LINKED_FOLDER
        return ("E-FILE-002", _NAMED_FOLDER) if path.suffix.casefold() in _DOCUMENTS else ("", "")
    if link and not path.exists():
        return "E-FILE-001", "The link leads nowhere."
    if not path.is_file():
        return "E-FILE-002", "It is a pipe, socket or device, not a regular file."
    if name.encode("utf-8", "replace").decode("utf-8") != name:
        return "E-FILE-002", "The name of the file is not UTF-8: no record could name it."
    if leads_outside(root, name):
        return "E-FILE-006", "It leads outside the study folder."
    return "", ""
