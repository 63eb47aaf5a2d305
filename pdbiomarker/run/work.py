"""The work that a study makes, and the folder in which steps of one run on several machines keep it.

::

    WORK/check.json             the work, as the step "check" found it, and how its files looked then
    WORK/scatter.json           how the workflow cut the slides into batches
    WORK/slides/<batch>.json    the hashes of the slides of a batch, and those that were lost
    WORK/<step>.json            that a step is complete, for a scheduler that watches files

Nothing of it is a result: it holds paths of this machine, lies beside the results folder, and may be removed.
What is complete stands in the results folder alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from pdbiomarker.errors import InputError, Problem, Problems
from pdbiomarker.provenance import DONE, code_version, read_record, sha256_file, sha256_json, write_text

__all__ = [
    "CHECK",
    "SLIDES",
    "WATCHED",
    "Work",
    "WorkFolder",
    "look",
    "look_at",
    "look_of",
    "pick_slides",
    "slide_key",
]

CHECK: Final = "check.json"
SCATTER: Final = "scatter.json"
SLIDES: Final = "slides"
#: What a scheduler may watch of a step: it gets a new time even where it was complete before.
WATCHED: Final[Mapping[str, str]] = {"change": "results/pd_change.csv", "report": "review.html"}
_FORMAT: Final = "pdbiomarker-work-1"

#: Size and time of change of a file; None where there is none.
type Look = list[int] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """The description of the work (JSON); see :func:`pdbiomarker.run.description.describe`."""

    study: Mapping[str, Any]
    plan: Mapping[str, Any]
    inputs: Mapping[str, str]
    files: Mapping[str, str]
    slides: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any]
    problems: Sequence[Problem]
    key: str
    bytes_needed: int
    report: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    looks: Mapping[str, Look] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Self:
        """Read it from the dict that the survey gives."""
        problems = tuple(Problem(**row) for row in described["problems"])
        return cls(**{**described, "problems": problems})


def slide_key(slide: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Give the key of the measuring of a slide: the hash of everything that the outcome depends on.

    Parameters
    ----------
    slide : mapping
        As :func:`pdbiomarker.run.description.describe` gives it.
    inputs : mapping of str to str
        Hashes; those of the slide and of its regions are among them.
    """
    region = "" if slide["regions_name"] is None else inputs[slide["regions_name"]]
    file, panel = inputs[slide["name"]], slide["panel_sha256"]
    return sha256_json(
        [code_version(), slide["slide_id"], file, panel, slide["mpp"], region, slide["origin"]]
    )


def look_of(out: Path, steps: Iterable[str]) -> dict[str, Look]:
    """Tell how the records of steps and their outputs look, by path below the results folder."""
    names: list[str] = []
    for step in steps:
        record = read_record(out, step)
        names += [f"{DONE}/{step}.json", *(record.outputs if record is not None else ())]
    return {name: look_at(out, name) for name in names}


def look_at(out: Path, name: str) -> Look:
    """Tell how a file of the results folder looks: of the two that the workflow shows to Snakemake, the size.

    Snakemake gives its outputs a new time when their job has ended.
    """
    seen = look(out / name)
    return [seen[0]] if seen is not None and name in WATCHED.values() else seen


def look(path: str | Path) -> Look:
    """Give size and time of change of a file, of a folder those of its files together."""
    file = Path(path)
    try:
        parts = [file, *sorted(file.iterdir())] if file.is_dir() else [file]
        seen = [part.stat() for part in parts]
    except OSError:
        return None
    return [sum(s.st_size for s in seen), max(s.st_mtime_ns for s in seen), len(seen)]


def pick_slides(slides: Sequence[Mapping[str, Any]], part: str) -> list[Mapping[str, Any]]:
    """Give the slides of a part such as ``"3/40"``: of n parts of about as many bytes, in the order of ids.

    Raises
    ------
    InputError
        E-RUN-042: the text is no such part.
    """
    this, _, of = part.partition("/")
    if not (
        this.isascii() and this.isdigit() and of.isascii() and of.isdigit() and 1 <= int(this) <= int(of)
    ):
        raise no_batch(part)
    whole = sum(slide["bytes"] + 1 for slide in slides)
    chosen, before = [], 0
    for slide in slides:
        middle = before + (slide["bytes"] + 1) / 2
        before += slide["bytes"] + 1
        if int(middle * int(of) / whole) == int(this) - 1:
            chosen.append(slide)
    return chosen


def no_batch(name: str) -> InputError:
    """Say that there is no such batch."""
    problems = Problems()
    problems.add(
        "E-RUN-042",
        f"There is no batch {name!r} of slides.",
        remedy="Write the third of 40 parts as 3/40, or give the name of a batch of the workflow.",
        value=name,
    )
    return InputError(problems)


class WorkFolder:
    """The folder of the steps of one run.

    Parameters
    ----------
    path : path
        Made when something is written into it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def write_check(self, described: Mapping[str, Any]) -> None:
        """Keep the work as the survey described it, without the hashes of its slides."""
        looks = {described["files"][name]: look(described["files"][name]) for name in described["inputs"]}
        self._write(CHECK, {"work": described, "looks": looks})

    def batch(self, name: str, work: Work) -> list[Mapping[str, Any]]:
        """Give the slides of a batch: one that the workflow cut (``scatter.json``), or a part such as 3/40.

        Raises
        ------
        InputError
            E-RUN-042: there is none of that name.
        """
        if "/" in name:
            return pick_slides(work.slides, name)
        content = self._read(SCATTER)
        batches = {} if content is None else content["batches"]
        if name not in batches:
            raise no_batch(name)
        chosen = set(batches[name])
        return [slide for slide in work.slides if slide["slide_id"] in chosen]

    def write_scatter(self, content: Mapping[str, Any]) -> None:
        """Keep how the workflow cut the slides into batches."""
        self._write(SCATTER, content)

    def read_scatter(self) -> dict[str, Any] | None:
        """Read how the workflow cut the slides; None where it did not, or with another version."""
        return self._read(SCATTER)

    def write_slides(
        self, batch: str, slides: Mapping[str, Any], lost: Iterable[Problem], *, outputs: Mapping[str, Look]
    ) -> None:
        """Keep what a batch found: by slide id ``inputs``, ``key`` and ``looks``; and what was lost, why."""
        told = [dataclasses.asdict(problem) for problem in lost]
        content = {"slides": dict(slides), "lost": told, "outputs": dict(outputs)}
        self._write(f"{SLIDES}/{batch}.json", content)

    def write_step(self, step: str, outputs: Mapping[str, Look]) -> Path:
        """Say that a step is complete, and how what it left looked then."""
        return self._write(f"{step}.json", {"step": step, "outputs": dict(outputs)})

    def outputs(self) -> dict[str, dict[str, Look]]:
        """Give, by file of this folder, how the outputs of its step looked when it was complete."""
        names = [path.name for path in self.path.glob("*.json") if path.name not in {CHECK, SCATTER}]
        names += [f"{SLIDES}/{path.name}" for path in (self.path / SLIDES).glob("*.json")]
        contents = {name: self._read(name) for name in sorted(names)}
        return {name: dict(c["outputs"]) for name, c in contents.items() if c is not None and "outputs" in c}

    def _write(self, name: str, content: Mapping[str, Any]) -> Path:
        whole = {"format": _FORMAT, "version": code_version(), **content}
        path = self.path / name
        # The order of keys stays: some results keep it, too.
        write_text(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
        return path

    def _read(self, name: str) -> dict[str, Any] | None:
        """Read one of the files; None where it is missing, unreadable, or of another version."""
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
            current = content["format"] == _FORMAT and content["version"] == code_version()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return dict(content) if current else None

    def read_check(self) -> Work:
        """Read the work, if its inputs are what they were.

        Raises
        ------
        InputError
            E-RUN-040: there is none, it is of another version, or an input changed since.
        """
        content = self._read(CHECK)
        if content is None:
            raise _unchecked("There is no check of the study by this version of pdbiomarker.", str(self.path))
        problems = Problems()
        work = Work.of(content["work"])
        for name, digest in sorted(work.inputs.items()):
            file = work.files[name]
            if look(file) == content["looks"].get(file):
                continue
            try:
                same = sha256_file(file) == digest
            except OSError:
                same = False
            if not same:
                problems.extend(
                    _unchecked("The file was changed since the study was checked.", name).problems
                )
        problems.raise_if_any()
        return work

    def read_slides(self) -> tuple[dict[str, Any], list[Problem]]:
        """Give what the batches found, by slide id, and what they lost; where two did, the later says."""
        found: dict[str, Any] = {}
        lost: dict[str | None, Problem] = {}
        files = sorted(
            (self.path / SLIDES).glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name)
        )
        for path in files:
            content = self._read(f"{SLIDES}/{path.name}")
            if content is not None:
                found |= content["slides"]
                lost |= {row["item"]: Problem(**row) for row in content["lost"]}
        return found, list(lost.values())


def _unchecked(message: str, file: str) -> InputError:
    problems = Problems()
    remedy = "Take the step 'check' again; the workflow does so by itself."
    problems.add("E-RUN-040", message, remedy=remedy, file=file)
    return InputError(problems)
