"""Sign-offs of a results folder: who looked at what, in which role, and what they mean by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pdbiomarker import audit
from pdbiomarker.errors import VerificationError
from pdbiomarker.hashes import now_utc, sha256_file
from pdbiomarker.provenance import MANIFEST, FolderLock, write_text
from pdbiomarker.verification import verify

__all__ = ["sign_results"]

_NOTE: Final = "A record of a review. It is not an electronic signature: nobody's identity was checked."


def sign_results(results: str | Path, *, name: str, role: str, meaning: str) -> Path:
    """Add a sign-off to ``signoffs.json`` of a results folder, and to its audit log.

    It holds name, role, meaning, time (UTC), and the hash of the manifest, which holds the hash of every
    result. It is no electronic signature: nothing proves that the person named is the person who typed.

    Parameters
    ----------
    results : str or Path
        A folder in which every file is as the run left it.
    name, role, meaning : str
        Such as ``"A. Author"``, ``"statistician"``, ``"reviewed"``; one line each, at most 200 characters.

    Returns
    -------
    Path
        ``signoffs.json``.

    Raises
    ------
    VerificationError
        A file differs from the manifest: what was changed cannot be signed.
    InputError
        E-AUDIT-004: a text that cannot be recorded; E-FILE-001: no manifest.
    """
    root = Path(results)
    told = {
        "name": audit.checked_name(name, "name"),
        "role": audit.checked_name(role, "role"),
        "meaning": audit.checked_name(meaning, "meaning"),
    }
    path = root / audit.SIGNOFFS
    problems = [p for p in verify(root) if p.severity == "error"]
    if problems:
        raise VerificationError(problems)
    with FolderLock(root):
        before: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        digest = sha256_file(root / MANIFEST)
        entry = {**told, "time": now_utc(), "manifest": digest, "note": _NOTE}
        write_text(path, json.dumps([*before, entry], indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        files = {audit.SIGNOFFS: sha256_file(path)}
        audit.append(root, "signed", detail=told, files=files, manifest=digest, user=told["name"])
    return path
