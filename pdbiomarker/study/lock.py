"""plan.lock.yaml: which plan was locked when, by whom, and for which look at the data.

The file holds entries ``1``, ``2`` ..., one for each lock. An entry holds the plan in full, what study.yaml
says of visits and adequacy, the hashes of named decision rules, the date, who locked it, the data cut-off
and the version. It ends with a seal: the SHA-256 of the entry together with the seal of the one before. An
edited, removed or reordered entry no longer fits its seal, and the file is refused. The seal finds edits;
it is no signature: who can run the package can make a new file. Keep a copy of the first seal where others
see it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from pdbiomarker.errors import Problems
from pdbiomarker.provenance import sha256_json, write_text
from pdbiomarker.tables import load_yaml, to_yaml, validate_yaml

__all__ = ["LOCK_FILE", "LockEntry", "PlanLock", "read_lock", "write_lock"]

LOCK_FILE: Final = "plan.lock.yaml"
_FORMAT: Final = "pdbiomarker-plan-lock-1"


@dataclasses.dataclass(frozen=True, slots=True)
class LockEntry:
    """One lock of a plan.

    Attributes
    ----------
    study_id, date, by : str
        `date` is an ISO date; `by` may be empty.
    unblinded, data_cutoff : str or None
        ISO dates, as known at locking.
    look, of : int
        Which declared look at the data the lock is for.
    version : str
        Of pdbiomarker.
    plan, study : mapping
        Content of the plan, and of study.yaml what decides on visits and adequacy, as JSON.
    rules : mapping of name to SHA-256
        Named decision rules.
    reason : str
        Why a plan was locked again.
    """

    study_id: str
    date: str
    by: str
    unblinded: str | None
    data_cutoff: str | None
    look: int
    of: int
    version: str
    plan: Mapping[str, Any]
    study: Mapping[str, Any]
    rules: Mapping[str, str]
    reason: str = ""

    def facts(self) -> dict[str, Any]:
        """Give the entry as JSON."""
        return dataclasses.asdict(self)

    def seal(self, before: str) -> str:
        """SHA-256 of the entry and the seal of the one before it."""
        return sha256_json([before, self.facts()])


@dataclasses.dataclass(frozen=True, slots=True)
class PlanLock:
    """The locks of a study's plan, the oldest first."""

    entries: tuple[LockEntry, ...]

    @property
    def seals(self) -> tuple[str, ...]:
        """The seal of every entry."""
        found: list[str] = []
        for entry in self.entries:
            found.append(entry.seal(found[-1] if found else ""))
        return tuple(found)

    def facts(self) -> list[dict[str, Any]]:
        """Give the entries as JSON."""
        return [entry.facts() for entry in self.entries]

    @classmethod
    def of(cls, content: Sequence[Mapping[str, Any]]) -> PlanLock:
        """Make a lock from what :meth:`facts` gave."""
        return cls(tuple(LockEntry(**row) for row in content))


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    study_id: str
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    by: str
    unblinded: str | None = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    data_cutoff: str | None
    look: int = Field(ge=1)
    of: int = Field(ge=1)
    version: str
    plan: dict[str, Any]
    study: dict[str, Any]
    rules: dict[str, str]
    reason: str
    seal: str


class _LockFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    format: Literal["pdbiomarker-plan-lock-1"]
    locks: dict[str, _Entry] = Field(min_length=1)


def read_lock(folder: Path, study_id: str | None, problems: Problems) -> PlanLock | None:
    """Read the lock of a study folder.

    Parameters
    ----------
    folder : Path
    study_id : str or None
        None: the study is not known, and the lock's is not compared.
    problems : Problems
        E-LOCK-001: the file is no lock that can be read; E-LOCK-002: an entry does not fit its seal;
        E-LOCK-003: it is another study's.

    Returns
    -------
    PlanLock or None
        None where there is no lock, and where a fault was found.
    """
    path = folder / LOCK_FILE
    if not path.exists():
        return None
    before = len(problems.errors)
    document = load_yaml(path, problems, name=LOCK_FILE)
    content = None
    if document is not None:
        content = validate_yaml(_LockFile, document, code="E-LOCK-001", problems=problems)
    if content is None or document is None:
        return None
    seal, entries = "", []
    for place, (name, row) in enumerate(content.locks.items(), start=1):
        entry = LockEntry(**row.model_dump(exclude={"seal"}))
        seal = entry.seal(seal)
        line = document.line(("locks", name))
        if seal != row.seal or name != str(place):
            problems.add(
                "E-LOCK-002",
                f"Lock {name} does not fit its seal: the file was edited, or entries were removed.",
                remedy="Put the file back as `pdbiomarker plan lock` wrote it (from version control); what "
                "was changed since belongs into a new lock.",
                file=LOCK_FILE,
                row=line,
                column=f"locks.{name}.seal",
                value=row.seal[:12],
            )
            return None
        if study_id is not None and entry.study_id != study_id:
            problems.add(
                "E-LOCK-003",
                f"The lock is of the study {entry.study_id!r}; study.yaml says {study_id!r}.",
                remedy="Remove the lock of the other study, and lock this one's plan.",
                file=LOCK_FILE,
                row=line,
                column=f"locks.{name}.study_id",
                value=entry.study_id,
            )
        entries.append(entry)
    return None if len(problems.errors) > before else PlanLock(tuple(entries))


def write_lock(folder: Path, lock: PlanLock) -> Path:
    """Write the lock of a study folder, whole or not at all, and return its path."""
    rows = {
        str(place): {**entry.facts(), "seal": seal}
        for place, (entry, seal) in enumerate(zip(lock.entries, lock.seals, strict=True), start=1)
    }
    path = folder / LOCK_FILE
    write_text(path, to_yaml({"format": _FORMAT, "locks": rows}))
    return path
