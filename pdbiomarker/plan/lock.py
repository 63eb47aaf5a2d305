"""What a plan was when it was locked, what deviates from that now, and which looks were declared and used.

The reference is the last lock from before unblinding, so that an amendment that was locked in time is no
deviation. Where the day of unblinding is not known, or no lock is older, it is the first lock. Keys are
compared one by one. ``looks.look`` counts up by itself and is judged with the looks, not as a deviation.

A look that nobody declared shows in one of these ways: this look's number, or the data cut-off that it is at,
stands in no lock; the number of looks grew; or one look was locked at two data cut-offs.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from pdbiomarker.errors import Problem
from pdbiomarker.mixed.adjust import look_levels
from pdbiomarker.plan.model import Plan
from pdbiomarker.study import LOCK_FILE, Declared, LockEntry, PlanLock, Study, StudySpec, spec_mapping

__all__ = [
    "DEVIATION_COLUMNS",
    "LockStatus",
    "declared_of",
    "lock_status",
    "locked_content",
    "rule_is_locked",
]

#: Columns of :attr:`LockStatus.table`, in order.
DEVIATION_COLUMNS: Final = ("kind", "key", "locked", "now", "caps_verdict", "told")
#: What study.yaml says of which biopsies count.
_STUDY_KEYS: Final = ("visits", "adequacy", "schedule", "archival")
#: Keys that do not touch what the primary verdict rests on.
_SECONDARY: Final = ("seed", "stable_genes")
_LOOK: Final = "looks.look"
_ONE: Final[Mapping[str, Any]] = {"look": 1, "of": 1, "boundary": "bonferroni", "information": None}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LockStatus:
    """How a study and its plan stand to the lock.

    Attributes
    ----------
    before_unblinding : bool or None
        Whether plan, visits and adequacy are as they were locked before unblinding, and every look was
        declared. None: there is no lock, or the day of unblinding is not known.
    said : str
        Why, in a sentence.
    table : DataFrame
        Columns :data:`DEVIATION_COLUMNS`: a row for the lock, for each deviation, for each declared look, and
        for each undeclared one. `caps_verdict`: whether no verdict may go above ``consider`` for it.
    """

    before_unblinding: bool | None
    said: str
    table: pd.DataFrame

    @property
    def deviations(self) -> pd.DataFrame:
        """The rows that deviate."""
        return self.table[self.table["kind"].isin(["deviation", "undeclared look"])]

    def problems(self) -> list[Problem]:
        """Every deviation as a problem (E-LOCK-006), and a plan that was never locked; empty: none."""
        if self.table["key"].iloc[0] == LOCK_FILE:
            return [Problem("E-LOCK-006", self.said, "Lock it with `pdbiomarker plan lock`.", LOCK_FILE)]
        return [
            Problem(
                "E-LOCK-006",
                f"{row['told']}; locked: {row['locked'] or 'nothing'!s}.",
                "Put it back, or lock the amendment with its reason; reports list every deviation.",
                LOCK_FILE,
                column=str(row["key"]),
                value=str(row["now"]),
            )
            for _, row in self.deviations.iterrows()
        ]

    def facts(self) -> dict[str, Any]:
        """Status and sentence as JSON."""
        return {
            "locked_before_unblinding": self.before_unblinding,
            "said": self.said,
            "n_deviations": len(self.deviations),
        }


def locked_content(spec: StudySpec) -> dict[str, Any]:
    """Give what a lock holds of study.yaml, as JSON: visits, and what makes a biopsy count."""
    content = spec_mapping(spec)
    return {key: content[key] for key in _STUDY_KEYS if key in content}


def lock_status(study: Study, plan: Plan) -> LockStatus:
    """Hold a study and its plan against the lock of the study folder.

    Parameters
    ----------
    study : Study
        `lock`, `spec` and the declared day of unblinding are used.
    plan : Plan

    Returns
    -------
    LockStatus
    """
    lock = study.lock
    if lock is None:
        said = "The plan was never locked."
        return LockStatus(None, said, _table([_row("lock", LOCK_FILE, "", "", said, caps=True)]))
    unblinded = _unblinded(study, lock)
    reference = _reference(lock, unblinded)
    in_time = None if unblinded is None else reference.date < unblinded
    rows = [*_deviations(reference, study, plan), *_looks(lock, reference, study, plan)]
    rows += list(_undeclared(lock, reference, study, plan))
    capping = [row["key"] for row in rows if row["caps_verdict"]]
    said = _sentence(reference, unblinded, in_time=in_time, deviating=capping)
    before = in_time if not in_time else not capping
    head = _row(
        "lock", "locked before unblinding", reference.date, unblinded or "", said, caps=before is not True
    )
    return LockStatus(before, said, _table([head, *rows]))


def declared_of(study: Study, plan: Plan, given: Declared | None = None) -> Declared:
    """Give the declared facts of a study: those of study.yaml, then `given`; a lock decides on the plan.

    Parameters
    ----------
    study : Study
    plan : Plan
    given : Declared, optional
        What somebody says beside study.yaml. It cannot make a plan locked that its lock says is not.

    Returns
    -------
    Declared
    """
    facts = study.spec.declared.updated(given)
    if study.lock is None:
        return facts
    status = lock_status(study, plan)
    locked = facts.plan_locked if status.before_unblinding is None else status.before_unblinding
    day = _unblinded(study, study.lock)
    return dataclasses.replace(facts, plan_locked=locked, unblinded=day, lock_said=status.said.rstrip("."))


def rule_is_locked(study: Study, name: str, sha256: str) -> bool | None:
    """Whether a decision rule is the one that was locked with the plan; None: the study has no lock.

    Parameters
    ----------
    study : Study
    name : str
        Of the rule.
    sha256 : str
        Of its content.
    """
    if study.lock is None:
        return None
    return _reference(study.lock, _unblinded(study, study.lock)).rules.get(name) == sha256


def _unblinded(study: Study, lock: PlanLock) -> str | None:
    """The earliest day of unblinding that anybody recorded."""
    days = [study.spec.declared.unblinded, *(entry.unblinded for entry in lock.entries)]
    return min((day for day in days if day is not None), default=None)


def _reference(lock: PlanLock, unblinded: str | None) -> LockEntry:
    early = [entry for entry in lock.entries if unblinded is not None and entry.date < unblinded]
    return early[-1] if early else lock.entries[0]


def _sentence(
    reference: LockEntry, unblinded: str | None, *, in_time: bool | None, deviating: list[str]
) -> str:
    who = f" by {reference.by}" if reference.by else ""
    start = f"Locked on {reference.date}{who}"
    if in_time is None:
        return f"{start}; the day of unblinding is not recorded, so that the order of the two is not known."
    if not in_time:
        return f"{start}, which is not before unblinding on {unblinded}."
    start += f", before unblinding on {unblinded}"
    if not deviating:
        return f"{start}; what the verdicts rest on is as it was locked."
    more = f" and {len(deviating) - 3} more" if len(deviating) > 3 else ""
    return f"{start}; since then changed: {', '.join(deviating[:3])}{more}."


def _row(kind: str, key: str, locked: str, now: str, told: str, *, caps: bool) -> dict[str, Any]:
    return {"kind": kind, "key": key, "locked": locked, "now": now, "caps_verdict": caps, "told": told}


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(DEVIATION_COLUMNS)).astype({"caps_verdict": bool})


def _flat(content: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of nested mappings: its keys joined by points, and its value as JSON."""
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _secondary(key: str, plan: Plan) -> bool:
    """Whether a key leaves the primary family and its model as they are."""
    part, _, name = key.partition(".")
    families = part in {"families", "adjust"} and name != "primary" and "primary" in plan.families
    return families or part in _SECONDARY


def _deviations(reference: LockEntry, study: Study, plan: Plan) -> list[dict[str, Any]]:
    """Keys of plan and study.yaml that differ from the lock, in the order of the plan."""
    rows = []
    for file, then, now in (
        ("plan.yaml", reference.plan, plan.content),
        ("study.yaml", reference.study, locked_content(study.spec)),
    ):
        before, after = dict(_flat(then)), dict(_flat(now))
        for key in dict.fromkeys([*before, *after]):
            # How many looks there are is told with the looks; which one this is counts up by itself.
            if before.get(key) == after.get(key) or key.startswith("looks."):
                continue
            caps = not _secondary(key, plan)  # no key of study.yaml is
            told = f"{file} deviates from the lock of {reference.date}" + ("" if caps else "; secondary")
            rows.append(
                _row("deviation", key, before.get(key, "not set"), after.get(key, "not set"), told, caps=caps)
            )
        # The order of visits is part of what they mean: the first is the reference level.
        if file == "study.yaml" and list(then.get("visits", ())) != list(now.get("visits", ())):
            old, new = (", ".join(content.get("visits", ())) for content in (then, now))
            if set(then.get("visits", ())) == set(now.get("visits", ())):
                rows.append(
                    _row("deviation", "visits", old, new, "the order of the visits changed", caps=True)
                )
    return rows


def _looks_of(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {**_ONE, **plan.get("looks", {})}


def _looks(lock: PlanLock, reference: LockEntry, study: Study, plan: Plan) -> list[dict[str, Any]]:
    """A row for each declared look: when it was locked, whether it was used, and its level."""
    looks = _looks_of(plan.content)
    of, boundary, now = looks["of"], looks["boundary"], looks["look"]
    level = look_levels(of, boundary=boundary, information=looks["information"]).level if of > 1 else [0.05]
    rows = []
    for number in range(1, of + 1):
        own = [entry for entry in lock.entries if entry.look == number]
        locked = "; ".join(f"{e.date}" + (f", cut-off {e.data_cutoff}" if e.data_cutoff else "") for e in own)
        used = "this look" if number == now else "used" if number < now else "not yet"
        if number == now and study.spec.data_cutoff:
            used += f", cut-off {study.spec.data_cutoff}"
        told = f"{boundary if of > 1 else 'one look'}, two-sided level {float(level[number - 1]):.4g}"
        rows.append(_row("look", f"look {number} of {of}", locked, used, told, caps=False))
    before = _looks_of(reference.plan)
    for key in ("of", "boundary", "information"):
        if before[key] != looks[key]:
            kind = "undeclared look" if key == "of" and looks["of"] > before["of"] else "deviation"
            old, new = (_text(value) for value in (before[key], looks[key]))
            told = f"the looks of plan.yaml deviate from the lock of {reference.date}"
            rows.append(_row(kind, f"looks.{key}", old, new, told, caps=True))
    return rows


def _undeclared(lock: PlanLock, reference: LockEntry, study: Study, plan: Plan) -> Iterator[dict[str, Any]]:
    """Looks at the data that no lock declares."""
    now = _looks_of(plan.content)["look"]
    allowed = _looks_of(reference.plan)["of"]
    cutoff = study.spec.data_cutoff
    for number in sorted({entry.look for entry in lock.entries}):
        cuts = list(dict.fromkeys(e.data_cutoff for e in lock.entries if e.look == number and e.data_cutoff))
        if len(cuts) > 1:
            told = (
                f"look {number} was locked at {len(cuts)} data cut-offs: all but one are looks of their own"
            )
            yield _row("undeclared look", f"look {number}", cuts[0], ", ".join(cuts[1:]), told, caps=True)
    own = [entry for entry in lock.entries if entry.look == now]
    if not own:
        told = f"look {now} is in no lock"
        yield _row("undeclared look", _LOOK, "", str(now), told, caps=True)
    elif now > allowed:
        told = f"{allowed} looks were locked, and this is number {now}"
        yield _row("undeclared look", _LOOK, str(allowed), str(now), told, caps=True)
    known = {entry.data_cutoff for entry in own}
    if own and cutoff is not None and None not in known and cutoff not in known:
        told = f"look {now} was locked for another data cut-off: this is a look that no lock declares"
        shown = ", ".join(sorted(str(c) for c in known))
        yield _row("undeclared look", "data_cutoff", shown, cutoff, told, caps=True)
