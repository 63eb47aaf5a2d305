"""Hashes of files, texts and JSON, and the time: what manifest, records and log are made of."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path

__all__ = ["canonical_json", "now_utc", "sha256_file", "sha256_json", "sha256_text"]


def sha256_file(path: str | Path) -> str:
    """Return the sha256 of a file's content as 64 hexadecimal digits.

    Parameters
    ----------
    path : str or Path
        A regular file; it is read in pieces of 1 MiB.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """Return the sha256 of a text in UTF-8.

    Examples
    --------
    >>> sha256_text("")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and no choice left to the writer; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def sha256_json(value: object) -> str:
    """Return the sha256 of the canonical JSON of a value made of dicts, lists, texts and numbers."""
    return sha256_text(canonical_json(value))


def now_utc() -> str:
    """Return the time in UTC as ISO 8601, to the second: for the `run` part and the logs only."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
