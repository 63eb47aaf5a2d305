"""A study folder to be filled: sheets with their heads, study.yaml and plan.yaml with comments."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pdbiomarker.errors import Problems, StudyError
from pdbiomarker.study.ids import normal_id

__all__ = ["init_study"]

_PLACEHOLDER = "STUDY-ID"


def init_study(path: str | Path, *, id: str | None = None) -> list[Path]:
    """Write a study folder to be filled.

    Parameters
    ----------
    path : str or Path
        The folder: new, or without any of the files that are written.
    id : str, optional
        The study's name; default: the name of the folder.

    Returns
    -------
    list of Path
        The files written, in the order in which a person fills them.

    Raises
    ------
    StudyError
        E-STUDY-015, for every file that is there already: nothing is written then; E-STUDY-001: the name is
        empty or holds control characters.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> pb.init_study("expansion/", id="IGM-7354-101")  # doctest: +SKIP
    """
    target = Path(path)
    name = target.resolve().name if id is None else id
    template = resources.files("pdbiomarker.study") / "template"
    files = _files(template)
    problems = Problems()
    if not name or normal_id(name) != name or not name.isprintable():
        problems.add(
            "E-STUDY-001",
            "The study's name is empty, or has spaces or invisible characters in or around it.",
            remedy="Give a name that a reader can type.",
            column="id",
            value=ascii(name),
        )
    for relative in files:
        if (target / relative).exists() or (target.exists() and not target.is_dir()):
            problems.add(
                "E-STUDY-015",
                "The file is there already, and is not written over.",
                remedy="Name a new folder, or move the file away.",
                file=relative,
            )
    problems.raise_if_any(StudyError)
    written = []
    for relative, text in files.items():
        file = target / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        quoted = "'" + name.replace("'", "''") + "'"
        file.write_text(text.replace(_PLACEHOLDER, quoted), encoding="utf-8")
        written.append(file)
    return written


def _files(folder: Traversable, prefix: str = "") -> dict[str, str]:
    """Give the texts of the template by their names, those of the folder itself first."""
    found: dict[str, str] = {}
    for item in sorted(folder.iterdir(), key=lambda item: (item.is_dir(), item.name)):
        if item.is_dir():
            found |= _files(item, f"{prefix}{item.name}/")
        else:
            found[prefix + item.name] = item.read_text(encoding="utf-8")
    return found
