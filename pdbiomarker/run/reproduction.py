"""Repeat a run from the inputs it recorded, and compare every byte of what it makes."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pdbiomarker.errors import InputError, Problem, Problems, VerificationError
from pdbiomarker.hashes import sha256_json
from pdbiomarker.provenance import MANIFEST, Manifest, read_manifest
from pdbiomarker.run import RunOutcome, change_study, quantify_slides, run_study
from pdbiomarker.verification import verify

__all__ = ["Compared", "Reproduction", "reproduce"]

#: What the repeated run needs to know, by the function that made the folder.
#: A folder that was made step by step is what a run makes.
_REPEATABLE: Final = ("change_study", "quantify_slides", "run_step", "run_study")
_ENVIRONMENT: Final = ("python", "implementation", "system", "machine", "cpu", "blas")


@dataclasses.dataclass(frozen=True, slots=True)
class Compared:
    """One file of the two runs.

    Attributes
    ----------
    file : str
        Relative to the results folder.
    status : {"same", "different", "missing", "new", "edited"}
        ``missing``: the repeated run did not make it; ``new``: only that made it; ``edited``: the repeated
        run gives what the manifest has, and the file in the folder was changed or lost since.
    recorded, repeated : str
        sha256 of the manifest and of the repeated run; empty where there is none.
    """

    file: str
    status: str
    recorded: str
    repeated: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reproduction:
    """How a repeated run compares.

    Attributes
    ----------
    files : tuple of Compared
        Every file of either run, by name.
    reasons : tuple of Problem
        E-RUN-063: whatever differs now that the results may depend on: code, packages, platform, inputs.
    """

    files: tuple[Compared, ...]
    reasons: tuple[Problem, ...]

    @property
    def same(self) -> bool:
        """Whether every byte is the same."""
        return all(file.status == "same" for file in self.files)

    def problems(self) -> list[Problem]:
        """Give one E-RUN-062 for each file that is not the same, then the reasons."""
        known = "; ".join(sorted({_short(reason) for reason in self.reasons}))
        why = f"What changed: {known}." if known else "Code, packages, platform and inputs are the same."
        words = {
            "different": "The repeated run gives other bytes.",
            "missing": "The repeated run does not make the file.",
            "new": "Only the repeated run makes the file.",
            "edited": "The repeated run gives what the manifest has; the file was changed since.",
        }
        found = [
            Problem("E-RUN-062", f"{words[f.status]} {why}", _REMEDY, f.file, column=f.status)
            for f in self.files
            if f.status != "same"
        ]
        return [*found, *self.reasons]


_REMEDY: Final = (
    "Repeat it with the versions and the inputs of the manifest; where those are the same, report it: the "
    "results should be too."
)


def reproduce(
    results: str | Path,
    *,
    study: str | Path | None = None,
    plan: str | Path | None = None,
    workers: int | None = None,
    scratch: str | Path | None = None,
    progress: bool = True,
) -> Reproduction:
    """Run again what made a results folder, in a folder of its own, and compare every byte.

    Parameters
    ----------
    results : str or Path
        What ``pdbiomarker run``, ``change`` or ``quantify`` left; nothing in it is changed.
    study : str or Path, optional
        The study folder, slide sheet or slide. Default: where it lay from the results, if that was close.
    plan : str or Path, optional
        The plan, where the run was given one that is not the study's own.
    workers : int, optional
        Slides at a time; any number gives the same bytes.
    scratch : str or Path, optional
        Where the folder for the repeated run is made, and removed; default: the system's temporary folder.
    progress : bool
        Show progress on standard error.

    Returns
    -------
    Reproduction

    Raises
    ------
    VerificationError
        E-RUN-003: the manifest was edited.
    StudyError
        There is no manifest, or it cannot be read.
    InputError
        E-RUN-061: where the study lies, or how the folder was made, is not known; or the study is refused.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> pb.reproduce("expansion-results/", study="expansion/").same  # doctest: +SKIP
    True
    """
    root = Path(results)
    before = read_manifest(root)
    differ = [p for p in verify(root) if p.code == "E-RUN-003"]
    edited = {p.file for p in differ}
    if MANIFEST in edited:  # it says what is repeated, and with what it is compared
        raise VerificationError([p for p in differ if p.file == MANIFEST])
    repeat = _repeater(root, before, study=study, plan=plan)
    with tempfile.TemporaryDirectory(prefix="pdbiomarker-", dir=scratch) as folder:
        out = Path(folder) / "out"
        repeat(out, {"workers": workers, "progress": progress})
        after = read_manifest(out)
    return Reproduction(_compare(before, after, edited), tuple(_reasons(before, after)))


def _repeater(
    root: Path, before: Manifest, *, study: str | Path | None, plan: str | Path | None
) -> Callable[[Path, Mapping[str, Any]], RunOutcome]:
    """Give what makes the folder again; refuse where it is not known how."""
    function = before.run.get("function")
    recorded = before.run.get("again")
    if function not in _REPEATABLE or not isinstance(recorded, dict):
        raise InputError([_unknown("how the folder was made", f"It was made by {function!r}.", "function")])
    given = {name: _found(root, value) for name, value in recorded.items()}
    where: Any = given.pop("study", None) if study is None else study
    if _is_lost(where):
        said = "The study does not lie where it did, or lay too far from the results to tell."
        raise InputError([_unknown("where the study lies", said, "--study")])
    if function == "quantify_slides":
        facts = {"mpp": given.get("mpp"), "regions": given.get("regions")}
        facts["also"] = ",".join(given.get("also") or ()) or None
        if _is_lost(facts["regions"], optional=True) or _is_lost(given.get("panel"), optional=True):
            raise InputError([_unknown("where regions or panel lie", "They lay elsewhere.", "regions")])
        return lambda out, how: quantify_slides(where, out, panel=given.get("panel"), facts=facts, **how)
    chosen: Any = given.get("plan") if plan is None else plan
    if _is_lost(chosen, optional=True):
        said = "The run was given a plan that does not lie where it did."
        raise InputError([_unknown("which plan", said, "--plan")])
    if function == "change_study":
        return lambda out, how: change_study(where, out, plan=chosen, **how)
    against: Any = given.get("against")
    if _is_lost(against, optional=True):
        raise InputError([_unknown("where the earlier results lie", "They lay elsewhere.", "against")])
    formats = tuple(f for f in given.get("formats") or ("html",) if isinstance(f, str))
    return lambda out, how: run_study(where, out, plan=chosen, formats=formats, against=against, **how)


def _found(root: Path, value: Any) -> Any:
    """Turn a recorded path back into one of now: empty where it is not known, or nothing lies there."""
    if isinstance(value, list):
        return [_found(root, item) for item in value]
    if not isinstance(value, dict):
        return value
    path = root.absolute() / str(value.get("path") or "")
    return str(path) if value.get("path") and path.exists() else ""


def _is_lost(where: Any, *, optional: bool = False) -> bool:
    if where is None:
        return not optional
    return any(item in ("", None) for item in where) if isinstance(where, list) else where == ""


def _unknown(what: str, said: str, option: str) -> Problem:
    return Problem(
        "E-RUN-061",
        f"The run cannot be repeated: {what} is not known. {said}",
        "Give the study with --study and, where the run had another plan than the study's, --plan.",
        "manifest.json",
        column=option,
    )


def _compare(before: Manifest, after: Manifest, edited: set[str]) -> tuple[Compared, ...]:
    rows = []
    for name in sorted({*before.outputs, *after.outputs}):
        recorded, repeated = before.outputs.get(name, ""), after.outputs.get(name, "")
        if recorded != repeated:
            status = "missing" if not repeated else "new" if not recorded else "different"
        else:
            status = "edited" if name in edited else "same"
        rows.append(Compared(name, status, recorded, repeated))
    for part in ("parameters", "quarantine", "warnings"):
        old, new = (sha256_json(_plain(getattr(one, part))) for one in (before, after))
        status = "same" if old == new else "different"
        rows.append(Compared(f"manifest.json: {part}", status, old, new))
    return tuple(rows)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else [dict(row) for row in value]


def _reasons(before: Manifest, after: Manifest) -> list[Problem]:
    """Name everything that differs now and that the results may depend on."""
    found = Problems()

    def tell(what: str, column: str, old: object, new: object) -> None:
        if old != new:
            found.add(
                "E-RUN-063",
                f"{what} was {_shown(old)} and is {_shown(new)} now.",
                remedy=_REMEDY,
                file="manifest.json",
                column=column,
                value=new,
                severity="warning",
            )

    tell("The code of pdbiomarker", "version", before.version, after.version)
    for key in _ENVIRONMENT:
        tell(f"The platform ({key})", key, before.environment.get(key), after.environment.get(key))
    packages = [dict(one.environment.get("packages") or {}) for one in (before, after)]
    for name in sorted({*packages[0], *packages[1]}):
        if name != "pdbiomarker":
            tell(f"The package {name}", name, packages[0].get(name), packages[1].get(name))
    for name in sorted({*before.inputs, *after.inputs}):
        tell(f"The input {name}", name, before.inputs.get(name), after.inputs.get(name))
    tell("The plan", "plan", *(one.parameters.get("plan_sha256") for one in (before, after)))
    return list(found)


def _shown(value: object) -> str:
    return "absent" if value in (None, "") else str(value)[:80]


def _short(reason: Problem) -> str:
    return reason.message.partition(" was ")[0]
