"""What must not leave a study with its report: calendar dates of participants, and paths of this machine."""

from __future__ import annotations

import re
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Final

import pandas as pd

__all__ = ["clean", "relative_name", "shareable"]

_DATE: Final = re.compile(
    r"(?<![\w-])(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T ][0-2]\d:[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?![\w-])"
)
_POSIX: Final = re.compile(r"(?<![\w.<:/])(?:file://)?/(?:[^\s/'\"<>:;,]+/)+([^\s/'\"<>:;,]*)")
_WINDOWS: Final = re.compile(r"(?<![\w])(?:[A-Za-z]:|\\)\\(?:[^\\\s'\"<>]+\\)*([^\\\s'\"<>:;,]*)")
_PRIVATE: Final = re.compile(
    r"(^|_)(date|datetime|time|dob|birth|path|folder|user|host|barcode|mrn|patient_name|initials)($|_)", re.I
)


def clean(text: str) -> str:
    """Replace calendar dates by ``[date]`` and absolute paths by the file's name.

    Examples
    --------
    >>> clean("/data/trial/slides/S1.tif was scanned on 2024-03-01")
    'S1.tif was scanned on [date]'
    """
    without = _WINDOWS.sub(r"\1", _POSIX.sub(r"\1", text))
    return _DATE.sub("[date]", without)


def relative_name(name: str) -> str:
    """Give the file's name for an absolute path; a relative path stays as it is."""
    if PurePosixPath(name).is_absolute():
        return PurePath(name).name
    windows = PureWindowsPath(name)
    return windows.name if windows.is_absolute() or windows.drive else name


def shareable(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out columns that hold dates, clock times, paths or names of people."""
    kept = [
        c
        for c in frame.columns
        if not _PRIVATE.search(str(c)) and not pd.api.types.is_datetime64_any_dtype(frame[c])
    ]
    return frame[kept]
