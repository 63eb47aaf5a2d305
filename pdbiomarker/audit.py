"""The audit log of a results folder: what was done with it, when, and by whom where that is said.

``audit.jsonl`` has one line of JSON for each event; lines are only ever added. Every line holds the hash of
the line before and a hash of itself, so that an edited, removed or inserted line shows. Where a manifest was
written, its ``run`` part names the last line before it and the line after it names the manifest: the log
cannot be cut short before that without a trace. ``audit.head.json`` beside it has the number and the hash of
the last line: nor can it be cut short after that.

What shows::

    an edited line            its own hash, and the one in the line after
    a removed, inserted or
    moved line                its number, and the hash of the line before
    a log cut short, at or
    before the manifest       the manifest names a line that is not there, or no line names the manifest
    a log cut short later     audit.head.json names a line that is not there
    a log removed or replaced the manifest names a line that is not there

What does not: log, ``audit.head.json`` and, before the line that names it, the manifest written anew with
matching hashes. Against that helps a copy of the last hash kept elsewhere (``pdbiomarker audit OUT`` prints
it).

A line names no host, no path and, unless the caller asks for it, no person.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pdbiomarker.errors import InputError, Problem, Problems, tame
from pdbiomarker.hashes import canonical_json, now_utc, sha256_json
from pdbiomarker.whole_files import write_text

__all__ = [
    "AUDIT",
    "HEAD",
    "SIGNOFFS",
    "USER_VARIABLE",
    "AuditLine",
    "append",
    "check",
    "checked_name",
    "read",
]

AUDIT: Final = "audit.jsonl"
#: Number and hash of the last line of the log: what shows that it was cut short.
HEAD: Final = "audit.head.json"
SIGNOFFS: Final = "signoffs.json"
#: Who is recorded, where nobody is named: only what a person put here on purpose, never the login.
USER_VARIABLE: Final = "PDBIOMARKER_USER"
_FIRST: Final = "0" * 64
_LONGEST_NAME: Final = 200
_REMEDY: Final = (
    "Nobody can mend it: take the folder from a backup, or make it anew and say why in the study's records."
)


@dataclasses.dataclass(frozen=True, slots=True)
class AuditLine:
    """One event.

    Attributes
    ----------
    n : int
        Its number, from 1.
    time : str
        UTC, ISO 8601.
    event : str
        Such as ``"run started"``, ``"run_study"``, ``"report"``, ``"signed"``.
    detail : mapping
        What is worth knowing of it (JSON).
    files : mapping of str to str
        Files that the event put into the folder, beside those of the manifest -> sha256.
    manifest : str
        sha256 of ``manifest.json`` then; empty where there was none.
    user : str
        Who, where that was said.
    previous, sha256 : str
        Hash of the line before (zeros for the first), and of this one.
    """

    n: int
    time: str
    event: str
    detail: Mapping[str, Any]
    files: Mapping[str, str]
    manifest: str
    user: str
    previous: str
    sha256: str = ""

    def sealed(self) -> AuditLine:
        """Return the line with its own hash."""
        content = dataclasses.asdict(self)
        del content["sha256"]
        return dataclasses.replace(self, sha256=sha256_json(content))

    def to_json(self) -> str:
        """Return the text of the line, without its end."""
        return canonical_json(dataclasses.asdict(self))


def append(
    folder: str | Path,
    event: str,
    *,
    detail: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    manifest: str = "",
    user: str | None = None,
) -> AuditLine:
    """Add one line to the log of a folder; any number of processes may do so at a time.

    Parameters
    ----------
    folder : str or Path
        The results folder; it exists.
    event, detail, files, manifest
        See :class:`AuditLine`.
    user : str, optional
        Who. Default: what stands in the environment variable ``PDBIOMARKER_USER``, else nobody is named; the
        login and the host are never read.

    Returns
    -------
    AuditLine

    Raises
    ------
    InputError
        E-AUDIT-004: a name that cannot be recorded.
    OSError
        The log cannot be written to, or is a link.
    """
    who = os.environ.get(USER_VARIABLE, "") if user is None else user
    who = checked_name(who, "user") if who.strip() else ""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(Path(folder) / AUDIT, flags, 0o666)
    with os.fdopen(descriptor, "r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # let go when the file is closed, however that happens
        whole, torn = _split(stream.read())
        told = dict(detail or {})
        if torn:  # a line cut off by a power failure was never a whole record: its hash is kept, it goes
            told["torn_line_sha256"] = sha256_json(torn.decode("utf-8", "replace"))
            stream.truncate(sum(len(line) + 1 for line in whole))
        last = _read_head(Path(folder))
        if last is not None:
            number, digest = last
            if number < 1 or [_hash_of(text) for text in whole[number - 1 : number]] != [digest]:
                # Else this event would cover what was cut off.
                told["lines_before"] = {"line": number, "sha256": digest}
        line = AuditLine(
            len(whole) + 1,
            now_utc(),
            event,
            told,
            dict(sorted((files or {}).items())),
            manifest,
            who,
            _hash_of(whole[-1]) if whole else _FIRST,
        ).sealed()
        stream.write(line.to_json().encode("utf-8") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
        _keep_head(Path(folder), line)
    return line


def _keep_head(folder: Path, line: AuditLine) -> None:
    """Note the last line, while the log is locked; a process killed before it leaves an older note."""
    write_text(folder / HEAD, _head(line.n, line.sha256))


def read(folder: str | Path) -> list[AuditLine]:
    """Read the log of a folder, oldest line first; lines that are no records are left out.

    Raises
    ------
    OSError
        There is a log and it cannot be read.
    """
    path = Path(folder) / AUDIT
    if not path.is_file():
        return []
    return [line for line in map(_line, _split(path.read_bytes())[0]) if line is not None]


def check(
    folder: str | Path, *, head: Mapping[str, Any] | None, manifest: str, kept: bool = False
) -> list[Problem]:
    """Check the chain of a log, and that it fits the manifest.

    Parameters
    ----------
    folder : str or Path
    head : mapping or None
        ``line`` and ``sha256`` of the last line before the manifest, from its ``run`` part; None: of a
        manifest that names none.
    manifest : str
        sha256 of ``manifest.json`` as it stands.
    kept : bool
        There must be an ``audit.head.json``; without, it is only used where it is there.

    Returns
    -------
    list of Problem
        E-AUDIT-001 for every line that was edited, removed, inserted or moved; E-AUDIT-002 where the log is
        cut short or missing.
    """
    path = Path(folder) / AUDIT
    problems = Problems()
    last = _read_head(Path(folder))  # before the log, to which others may add
    if path.is_symlink() or (path.exists() and not path.is_file()):
        problems.add("E-AUDIT-001", "The audit log is not a regular file.", remedy=_REMEDY, file=AUDIT)
        return list(problems)
    whole, torn = _split(path.read_bytes() if path.exists() else b"")
    before = _FIRST
    for number, text in enumerate(whole, start=1):
        fault = _fault(text, number, before)
        if fault:
            problems.add("E-AUDIT-001", fault, remedy=_REMEDY, file=AUDIT, row=number)
        before = _hash_of(text)
    if torn:
        problems.add(
            "E-AUDIT-001", "The last line does not end.", remedy=_REMEDY, file=AUDIT, row=len(whole) + 1
        )
    hashes = [_hash_of(text) for text in whole]
    if not problems.errors and (kept or last is not None):
        _check_last(hashes, last, problems)
    if head is not None and not problems.errors:
        _check_head(hashes, read(folder), head, manifest, problems)
    return list(problems)


def _read_head(folder: Path) -> tuple[int, str] | None:
    """Read number and hash of the last line; None: there is no note; (-1, ""): it is none of ours."""
    path = folder / HEAD
    if not path.exists() and not path.is_symlink():
        return None
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        number, digest = int(json.loads(text)["line"]), str(json.loads(text)["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return -1, ""
    ours = text == _head(number, digest) and number > 0 and not path.is_symlink()
    return (number, digest) if ours else (-1, "")


def _head(number: int, digest: str) -> str:
    return canonical_json({"line": number, "sha256": digest}) + "\n"


def _check_last(hashes: list[str], last: tuple[int, str] | None, problems: Problems) -> None:
    """Hold the log against the note of its last line; lines after it may be those of a killed process."""
    number, expected = last or (0, "")
    if last is None or number < 0:
        said = "The note of the last line of the log is missing, or was edited."
    elif number > len(hashes):
        said = f"The log has {len(hashes)} lines and had {number}: its last lines were cut off."
    elif hashes[number - 1] != expected:
        said = f"Line {number} of the log is not the one that was noted when it was written."
    else:
        return
    if number > len(hashes):
        problems.add("E-AUDIT-002", said, remedy=_REMEDY, file=AUDIT, row=len(hashes))
    else:
        problems.add("E-AUDIT-002", said, remedy=_REMEDY, file=HEAD, column="line")


def _check_head(
    hashes: list[str], lines: list[AuditLine], head: Mapping[str, Any], manifest: str, problems: Problems
) -> None:
    """Hold the log against the manifest: the line before it, and the one that names it."""
    number, expected = head.get("line"), head.get("sha256")
    if not isinstance(number, int) or not 0 <= number <= len(hashes):
        said = f"The log has {len(hashes)} lines, and the manifest was written after line {number}."
    elif number and hashes[number - 1] != expected:
        said = f"Line {number} is not the one that the manifest was written after."
    elif not any(line.manifest == manifest for line in lines[number:]):
        said = f"No line after {number} names the manifest as it stands."
    else:
        return
    problems.add("E-AUDIT-002", said, remedy=_REMEDY, file=AUDIT, row=len(hashes) or None)


def checked_name(text: str, column: str) -> str:
    """Return a name, role or meaning that can be recorded.

    Raises
    ------
    InputError
        E-AUDIT-004: it is empty, longer than 200 characters, or holds control characters.
    """
    name = text.strip()
    if name and len(name) <= _LONGEST_NAME and tame(name, one_line=True) == name:
        return name
    problems = Problems()
    problems.add(
        "E-AUDIT-004",
        "The text to be recorded is empty, longer than 200 characters, or holds control characters.",
        remedy="Give a plain text on one line.",
        column=column,
        value=ascii(text[:60]),
    )
    raise InputError(problems)


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Give the whole lines of a log, and what follows the last of them."""
    *whole, torn = data.split(b"\n")
    return whole, torn


def _hash_of(text: bytes) -> str:
    """Hash of a line as the next one holds it: the line's own where it is a record, else of its bytes."""
    line = _line(text)
    return line.sha256 if line is not None else sha256_json(text.decode("utf-8", "backslashreplace"))


def _line(text: bytes) -> AuditLine | None:
    try:
        line = AuditLine(**json.loads(text.decode("utf-8")))
        return line if isinstance(line.n, int) and isinstance(line.files, dict) else None
    except (ValueError, TypeError, RecursionError):
        return None


def _fault(text: bytes, number: int, before: str) -> str:
    """Say what is wrong with a line; nothing where it is as it was written."""
    line = _line(text)
    if line is None:
        return "The line is no record of this log."
    if line.sealed().sha256 != line.sha256 or line.to_json().encode("utf-8") != text:
        return "The line was edited after it was written."
    if line.n != number:
        return f"This line was written as line {line.n}: lines before it were removed, inserted or moved."
    if line.previous != before:
        return "The line does not follow the one before it: that was edited or replaced."
    return ""
