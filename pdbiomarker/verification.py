"""Whether a results folder is what its run left: every file by the manifest, the manifest by the log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pdbiomarker.audit import AUDIT, HEAD, SIGNOFFS
from pdbiomarker.audit import check as check_log
from pdbiomarker.audit import read as read_log
from pdbiomarker.errors import Problem, Problems, VerificationError
from pdbiomarker.hashes import sha256_file
from pdbiomarker.provenance import (
    DONE,
    JOBS,
    LOCK,
    MANIFEST,
    Manifest,
    read_manifest,
    read_record,
    relative_name,
)

__all__ = ["later_files", "log_head", "read_unchanged", "verify"]

_AGAIN: Final = "Run the study again into this folder: what changed is made again."
#: What file managers leave behind by themselves.
_DROPPINGS: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def verify(folder: str | Path) -> list[Problem]:
    """Compare every file of a results folder with its manifest and its audit log.

    Parameters
    ----------
    folder : str or Path
        A folder that a run has completed.

    Returns
    -------
    list of Problem
        E-RUN-003 for each file that is missing, differs from its hash, or is no regular file, for a manifest
        that was edited, and for a record that is not of its outputs; E-RUN-060 for each file that neither
        manifest nor log knows (a warning for what file managers leave); E-AUDIT-001 to 003 for the log and
        the sign-offs. Empty when nothing changed.

    Raises
    ------
    StudyError
        When there is no manifest, or it cannot be read.
    """
    root = Path(folder)
    problems = Problems()
    manifest = _read_whole(root, problems)
    digest = sha256_file(root / MANIFEST)
    logs = manifest.run.get("files", {})
    expected = {**manifest.outputs, **(logs if isinstance(logs, dict) else {})}
    expected |= later_files(root, digest)
    for name in sorted(expected):
        _verify_file(root, name, expected[name], problems)
    _verify_records(root, manifest.outputs, problems)
    _verify_others(root, {*expected, MANIFEST, AUDIT, HEAD, SIGNOFFS}, problems)
    head = log_head(manifest)
    problems.extend(check_log(root, head=head, manifest=digest, kept="kept" in (head or {})))
    _verify_signoffs(root, digest, problems)
    return list(problems)


def log_head(manifest: Manifest) -> Mapping[str, Any] | None:
    """Give what a manifest says of the log before it; None of a manifest that says nothing."""
    head = manifest.run.get(AUDIT)
    return head if isinstance(head, dict) else None


def read_unchanged(folder: str | Path, parts: Iterable[str]) -> Manifest:
    """Read the manifest of a results folder, parts of which are as the run left them.

    Parameters
    ----------
    folder : str or Path
    parts : iterable of str
        Folders below it, such as ``"assays"``: every file that the manifest lists there is hashed.

    Raises
    ------
    VerificationError
        E-RUN-003 for each file that differs, is missing, or is no regular file, and for an edited manifest.
    StudyError
        When there is no manifest, or it cannot be read.
    """
    root, below = Path(folder), tuple(f"{part}/" for part in parts)
    problems = Problems()
    manifest = _read_whole(root, problems)
    for name in sorted(name for name in manifest.outputs if name.startswith(below)):
        _verify_file(root, name, manifest.outputs[name], problems)
    problems.raise_if_any(VerificationError)
    return manifest


def _read_whole(root: Path, problems: Problems) -> Manifest:
    """Read a manifest, and tell where it is not as it was written."""
    manifest = read_manifest(root)
    if manifest.to_json().encode("utf-8", "surrogatepass") != (root / MANIFEST).read_bytes():
        problems.add("E-RUN-003", "The manifest was edited after the run.", remedy=_AGAIN, file=MANIFEST)
    return manifest


def later_files(root: Path, digest: str) -> dict[str, str]:
    """Files that the log says were added since the manifest was written, such as further reports."""
    found: dict[str, str] = {}
    seen = False
    for line in read_log(root):
        seen |= line.manifest == digest
        if seen:
            found |= {str(name): str(value) for name, value in line.files.items()}
    found.pop(SIGNOFFS, None)
    return found


def _verify_file(root: Path, name: str, expected: str, problems: Problems) -> None:
    path = root / name
    try:
        relative_name(root, name)
        found = sha256_file(path) if path.is_file() and not path.is_symlink() else ""
    except (OSError, ValueError):
        found = ""
    if not found:
        problems.add(
            "E-RUN-003",
            "The file is missing, is no regular file, or cannot be read.",
            remedy=_AGAIN,
            file=name,
        )
        return
    if found != expected:
        problems.add(
            "E-RUN-003",
            f"The file differs from the manifest, which has sha256 {expected}.",
            remedy=_AGAIN,
            file=name,
            column="sha256",
            value=found,
        )


def _verify_records(root: Path, outputs: Mapping[str, str], problems: Problems) -> None:
    """Hold the record of each step against the manifest: they tell of the same outputs."""
    for name in sorted(outputs):
        folder, _, file = name.rpartition("/")
        if folder != DONE or not file.endswith(".json"):
            continue
        record = read_record(root, file.removesuffix(".json"))
        if record is None:
            path = root / name
            if path.is_file() and sha256_file(path) == outputs[name]:  # else it was told already
                problems.add(
                    "E-RUN-003",
                    "The record of a step was edited, or is no record: its seal does not fit.",
                    remedy=_AGAIN,
                    file=name,
                )
            continue
        wrong = sorted(path for path, digest in record.outputs.items() if outputs.get(path) != digest)
        if wrong:
            problems.add(
                "E-RUN-003",
                f"The record of a step and the manifest have different hashes of {wrong[0]!r}.",
                remedy=_AGAIN,
                file=name,
                value=wrong[0],
            )


def _verify_others(root: Path, known: set[str], problems: Problems) -> None:
    """Name everything in the folder that is not known: files, links, pipes."""
    for parent, folders, files in root.walk():  # does not follow links
        links = [name for name in folders if (parent / name).is_symlink()]
        for entry in sorted([*files, *links]):
            name = (parent / entry).relative_to(root).as_posix()
            if name in known or name.startswith(f"{JOBS}/"):
                continue
            harmless = entry in _DROPPINGS or name == LOCK
            problems.add(
                "E-RUN-060",
                "The file is not in the manifest: it was put here after the run, or by hand.",
                remedy="Keep other files outside the results folder.",
                file=name,
                severity="warning" if harmless else "error",
            )


def _verify_signoffs(root: Path, digest: str, problems: Problems) -> None:
    """Hold the sign-offs against the log, which has their hash, and against the manifest they are of."""
    path = root / SIGNOFFS
    signed = [line.files[SIGNOFFS] for line in read_log(root) if SIGNOFFS in line.files]
    if not path.exists() and not path.is_symlink() and not signed:
        return
    remedy = "Take the file from a backup, or sign the folder again: pdbiomarker sign OUT."
    own = path.is_file() and not path.is_symlink()
    if not own or not signed or sha256_file(path) != signed[-1]:
        problems.add(
            "E-AUDIT-003",
            "The sign-offs were edited, replaced or removed: the log has another hash of them.",
            remedy=remedy,
            file=SIGNOFFS,
        )
        return
    if json.loads(path.read_text(encoding="utf-8"))[-1]["manifest"] != digest:
        problems.add(
            "E-AUDIT-003",
            "The last sign-off is of another state of the folder: it was made again since.",
            remedy=remedy,
            file=SIGNOFFS,
            severity="warning",
        )
