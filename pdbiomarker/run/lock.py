"""Locking the plan of a study folder, and holding it against its lock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pdbiomarker.decide import default_presets, preset, rule_sha256
from pdbiomarker.decide.asked import named_rule
from pdbiomarker.errors import PlanError, Problems
from pdbiomarker.plan import LockStatus, Plan, lock_status, locked_content
from pdbiomarker.provenance import now_utc, package_version
from pdbiomarker.run.survey import survey
from pdbiomarker.study import LOCK_FILE, LockEntry, PlanLock, Study, write_lock
from pdbiomarker.tables import parse_date

__all__ = ["check_plan", "lock_plan", "show_plan"]

_ISO_LENGTH: Final = 10


def lock_plan(
    study: str | Path,
    *,
    by: str = "",
    date: str | None = None,
    unblinded: str | None = None,
    rules: Sequence[str] = (),
    reason: str = "",
    plan: str | Path | None = None,
) -> Path:
    """Lock the plan of a study folder: write, or add to, ``plan.lock.yaml``.

    Parameters
    ----------
    study : path
        The study folder; it is checked first, as a run would.
    by : str
        Who locks it.
    date : str, optional
        ISO date of the lock; default: today (UTC).
    unblinded : str, optional
        ISO date of unblinding, where it is known already.
    rules : sequence of str
        Decision rules to lock: presets or .yaml files, by their path or their name in the study folder.
        Default: those of the plan's key ``decisions``, else those of the lock before, else the presets that
        a run applies by default.
    reason : str
        Why a plan that is locked already is locked again; needed where anything but the look changed.
    plan : path, optional
        Default: plan.yaml of the folder, or the default plan.

    Returns
    -------
    Path
        The lock.

    Raises
    ------
    InputError
        What :func:`pdbiomarker.check` finds; E-LOCK-001 to 003: the lock that is there cannot be used;
        E-LOCK-004: nothing changed since the last lock, or it changed and no reason is given; E-LOCK-005: a
        date is not ISO 8601, or lies before the last lock.
    """
    folder = Path(study)
    found, the_plan = survey(folder, None if plan is None else Path(plan)).settled()
    before = found.lock.entries if found.lock is not None else ()
    asked = list(rules or the_plan.decisions.get("rules", ()))
    if not asked and not (before and before[-1].rules):
        asked = list(default_presets())
    hashes = _hashes(asked, folder, given=bool(rules))
    looks = the_plan.looks
    entry = LockEntry(
        study_id=found.spec.id,
        date=date or now_utc()[:_ISO_LENGTH],
        by=by.strip(),
        unblinded=unblinded,
        data_cutoff=found.spec.data_cutoff,
        look=int(looks["look"]) if looks else 1,
        of=int(looks["of"]) if looks else 1,
        version=package_version(),
        plan=the_plan.content,
        study=locked_content(found.spec),
        rules=hashes or (dict(before[-1].rules) if before else {}),
        reason=reason.strip(),
    )
    problems = Problems()
    _check_dates(entry, before, problems)
    if before:
        _check_again(entry, before[-1], problems)
    problems.raise_if_any(PlanError)
    return write_lock(folder, PlanLock((*before, entry)))


def _hashes(names: Sequence[str], folder: Path, *, given: bool) -> dict[str, str]:
    """Hash of each rule by its name; files that the plan names lie in the study folder."""
    found = {}
    for text in dict.fromkeys(names):
        elsewhere = given and (Path(text).is_file() or not (folder / text).is_file())
        rule = named_rule(text, None if elsewhere else folder)
        whole = preset(rule) if isinstance(rule, str) else rule
        found[whole.name] = rule_sha256(whole)
    return found


def _check_dates(entry: LockEntry, before: Sequence[LockEntry], problems: Problems) -> None:
    for column, value in (("date", entry.date), ("unblinded", entry.unblinded)):
        if value is not None and (parse_date(value) is None or len(value) != _ISO_LENGTH):
            problems.add(
                "E-LOCK-005",
                "The date is not an ISO 8601 date.",
                remedy="Write it as YYYY-MM-DD.",
                file=LOCK_FILE,
                column=column,
                value=value,
            )
    if before and entry.date < before[-1].date:
        problems.add(
            "E-LOCK-005",
            f"The last lock is of {before[-1].date}: a new one cannot be older.",
            remedy="Give the day on which it is locked.",
            file=LOCK_FILE,
            column="date",
            value=entry.date,
        )


def _check_again(entry: LockEntry, last: LockEntry, problems: Problems) -> None:
    """Refuse to lock what is locked, and to lock what changed without a reason."""

    def content(one: LockEntry) -> list[object]:
        looks = dict(one.plan.get("looks", {}))
        looks.pop("look", None)
        return [{**one.plan, "looks": looks}, dict(one.study), dict(one.rules)]

    same_look = (entry.look, entry.data_cutoff) == (last.look, last.data_cutoff)
    same_look &= entry.unblinded in (None, last.unblinded)
    changed = content(entry) != content(last)
    if same_look and not changed:
        said, remedy = (
            "Plan, visits, adequacy, rules and look are as they were locked last.",
            "Nothing needs to be done.",
        )
    elif changed and not entry.reason:
        said, remedy = (
            "The plan, its rules, or visits and adequacy of study.yaml changed since the last lock.",
            "Give the reason of the amendment (--reason), or put the plan back.",
        )
    else:
        return
    problems.add("E-LOCK-004", said, remedy=remedy, file=LOCK_FILE, value=last.date)


def check_plan(study: str | Path, *, plan: str | Path | None = None) -> LockStatus:
    """Hold the plan of a study folder against its lock.

    Parameters
    ----------
    study : path
    plan : path, optional
        Default: plan.yaml of the folder, or the default plan.

    Returns
    -------
    LockStatus
        Locked before unblinding or not, every deviation, every look.

    Raises
    ------
    InputError
        The study or its lock is refused.
    """
    found, the_plan = survey(Path(study), None if plan is None else Path(plan)).settled()
    return lock_status(found, the_plan)


def show_plan(study: str | Path, *, plan: str | Path | None = None) -> str:
    """Give the plan of a study folder in full, defaults included, its hash, and the history of its locks.

    Parameters
    ----------
    study : path
    plan : path, optional
        Default: plan.yaml of the folder, or the default plan.

    Returns
    -------
    str
        YAML; what is not part of the plan stands in comments.

    Raises
    ------
    InputError
        The study or its lock is refused.
    """
    found, the_plan = survey(Path(study), None if plan is None else Path(plan)).settled()
    return "".join(f"{line}\n" for line in _shown(found, the_plan))


def _shown(study: Study, plan: Plan) -> list[str]:
    lines = [*plan.to_yaml().splitlines(), f"# SHA-256 {plan.hash}", f"# {lock_status(study, plan).said}"]
    if study.lock is not None:
        for place, (entry, seal) in enumerate(
            zip(study.lock.entries, study.lock.seals, strict=True), start=1
        ):
            parts = [f"lock {place}: {entry.date}", f"look {entry.look} of {entry.of}"]
            parts += [f"by {entry.by}"] if entry.by else []
            parts += [f"data cut-off {entry.data_cutoff}"] if entry.data_cutoff else []
            parts += [f"rules {', '.join(entry.rules)}"] if entry.rules else []
            parts += [f"reason: {entry.reason}"] if entry.reason else []
            lines.append(f"# {'; '.join(parts)}; seal {seal[:12]}")
    return lines
