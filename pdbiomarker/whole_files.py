"""Files that are whole or not there: written beside their place, flushed to the disk, and renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["PARTIAL_PREFIX", "atomic_path", "remove_partial_files", "write_text"]

#: How the name of a file begins that is not whole yet.
PARTIAL_PREFIX: Final = ".partial-"


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    r"""Write a file whole or not at all.

    Gives a temporary path in the same folder (with the same suffix) to write to. When the block ends, the
    file is flushed to the disk, renamed over `path`, and the folder is flushed; when the block raises,
    the temporary file is removed and whatever stood at `path` stays as it was.

    Parameters
    ----------
    path : str or Path
        The file to be. Its folder is made when missing.

    Yields
    ------
    Path
        Where to write.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "table.csv"
    >>> with atomic_path(target) as partial:
    ...     _ = partial.write_text("a,b\n", encoding="utf-8")
    >>> target.read_text(encoding="utf-8")
    'a,b\n'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f"{PARTIAL_PREFIX}{os.getpid()}-{secrets.token_hex(4)}{target.suffix[:16]}"
    try:
        yield partial
        _flush(partial)
        partial.replace(target)
        _flush(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8, its line ends as they are."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def remove_partial_files(folder: str | Path) -> None:
    """Remove temporary files that a killed run left anywhere below `folder`."""
    for stray in sorted(Path(folder).rglob(f"{PARTIAL_PREFIX}*")):
        if stray.is_file() and not stray.is_symlink():
            stray.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
