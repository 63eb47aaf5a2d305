"""How the workflow cuts the slides of a study into jobs, and which files each job depends on.

A batch holds slides of about the minutes that a job should take. Where one batch ends depends on the slides
near the cut alone, so that a slide that is added, taken away or replaced changes its own batch and not those
after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pdbiomarker.errors import InputError
from pdbiomarker.provenance import code_version, sha256_json, sha256_text
from pdbiomarker.run.jobs import Job, run_jobs
from pdbiomarker.run.trip import value_of
from pdbiomarker.run.work import CHECK, SLIDES, WorkFolder, look, look_at

__all__ = ["Batch", "Cost", "Scatter", "cut", "scatter"]

_GB: Final = 1e9
#: One slide in so many ends a batch that is more than half full.
_CUT_EVERY: Final = 8
_SUMMARY: Final = (
    "study.yaml",
    "plan.yaml",
    "participants.csv",
    "biopsies.csv",
    "slides.csv",
    "libraries.csv",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What the measuring of slides costs, on one core.

    Attributes
    ----------
    minutes_per_slide : float
        Of any slide, however small.
    minutes_per_gb : float
        Of each gigabyte of its file beside.
    minutes_per_job : float
        What one batch should take, `threads` slides at a time.
    threads : int
    """

    minutes_per_slide: float = 0.05
    minutes_per_gb: float = 30.0
    minutes_per_job: float = 60.0
    threads: int = 2

    def minutes(self, n_bytes: float, slides: int = 1) -> float:
        """Give the minutes that slides take on one core."""
        return slides * self.minutes_per_slide + n_bytes / _GB * self.minutes_per_gb


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Slides that one job measures.

    Attributes
    ----------
    slides : tuple of str
        Their ids.
    files : tuple of str
        Slides, regions and panel files.
    token : str
        Changes when anything changes that the outcome of one of the slides depends on.
    minutes : float
        What the job takes on its threads.
    """

    slides: tuple[str, ...]
    files: tuple[str, ...]
    token: str
    minutes: float


@dataclasses.dataclass(frozen=True, slots=True)
class Scatter:
    """The jobs of a study.

    Attributes
    ----------
    batches : mapping of str to Batch
        By a name that is safe in a path; empty where the study is refused: its check says why.
    inputs : tuple of str
        Every file of the study but those of the batches.
    clinical : bool
        Whether it has clinical sheets.
    token : str
        Changes when any file of the study changes, by size or time.
    """

    batches: Mapping[str, Batch]
    inputs: tuple[str, ...]
    clinical: bool
    token: str


def cut(slides: Sequence[Mapping[str, Any]], cost: Cost) -> list[list[Mapping[str, Any]]]:
    """Cut slides, in the order of their ids, into batches of about the minutes wanted.

    A batch ends when it is full; or, from half on, at a slide whose id says so (one in eight).
    """
    batches: list[list[Mapping[str, Any]]] = []
    room = cost.minutes_per_job * cost.threads
    used = room
    for slide in slides:
        minutes = cost.minutes(slide["bytes"])
        if used + minutes > room or not batches:
            batches.append([])
            used = 0.0
        batches[-1].append(slide)
        used += minutes
        if used >= room / 2 and int(sha256_text(slide["slide_id"])[:8], 16) % _CUT_EVERY == 0:
            used = room
    return batches


def scatter(
    study: str | Path,
    work: str | Path,
    *,
    plan: str | Path | None = None,
    out: str | Path | None = None,
    cost: Cost | None = None,
) -> Scatter:
    """Give the jobs of a study.

    The study is read when one of its files changed since it was read last; the result is kept in `work`.

    Parameters
    ----------
    study, work : str or Path
        The study folder and the work folder.
    plan : str or Path, optional
        The plan, where it is not that of the study.
    out : str or Path, optional
        The results folder. Where a file of it is not as its step left it (by size and time), what says in
        `work` that the step is complete is removed, so that the step is taken again.
    cost : Cost, optional
    """
    folder = Path(study).absolute()
    kept = WorkFolder(work)
    prices = cost or Cost()
    arguments = {"study": str(folder), "plan": None if plan is None else str(Path(plan).absolute())}
    if out is not None:
        _forget_damaged(kept, Path(out))
    content = kept.read_scatter()
    if content is None or not _is_current(content, arguments, prices):
        try:
            content = _survey(arguments, prices)
        except InputError:
            named = [folder / name for name in _SUMMARY if (folder / name).is_file()]
            return Scatter({}, tuple(map(str, named)), clinical=False, token="")
        kept.write_scatter(content)
    slides = {slide["slide_id"]: slide for slide in content["slides"]}
    batches = {
        name: _batch([slides[slide_id] for slide_id in ids], prices)
        for name, ids in content["batches"].items()
    }
    seen = [code_version(), [look(path) for path in content["inputs"]], [b.token for b in batches.values()]]
    token = sha256_json(seen)[:16]
    return Scatter(batches, tuple(content["inputs"]), clinical=bool(content["clinical"]), token=token)


def _is_current(content: Mapping[str, Any], arguments: Mapping[str, Any], cost: Cost) -> bool:
    asked = {**arguments, "cost": dataclasses.asdict(cost)}
    return bool(content["asked"] == asked) and all(
        look(path) == seen for path, seen in content["looks"].items()
    )


def _survey(arguments: Mapping[str, Any], cost: Cost) -> dict[str, Any]:
    """Read the study in a process of its own; raise when it is refused."""
    job = Job("scatter", "pdbiomarker.run.steps:describe_study", {**arguments, "hash_slides": False})
    (ended,) = run_jobs([job])
    described = value_of(ended)
    folder = Path(arguments["study"])
    slides = described["slides"]
    measured = {name for slide in slides for name in (slide["name"], slide["regions_name"])}
    files = {name: path for name, path in described["files"].items() if name not in measured}
    watched = {str(folder), str(folder / "clinical"), *files.values()}
    watched |= {str(Path(path).parent) for path in described["files"].values()}
    watched |= {
        str(folder / str(row["value"])) for row in described["problems"] if row["code"] == "E-FILE-001"
    }
    return {
        "asked": {**arguments, "cost": dataclasses.asdict(cost)},
        "looks": {path: look(path) for path in sorted(watched)},
        "slides": slides,
        "inputs": [files[name] for name in sorted(files)],
        "clinical": any(name.startswith("clinical/") for name in files),
        "batches": {batch[0]["slug"]: [slide["slide_id"] for slide in batch] for batch in cut(slides, cost)},
    }


def _batch(slides: Sequence[Mapping[str, Any]], cost: Cost) -> Batch:
    files: list[str] = []
    seen: list[Any] = [code_version()]
    for slide in slides:
        own = [slide["file"], *([slide["regions"]] * (slide["regions"] is not None))]
        files += own
        facts = [slide[key] for key in ("slide_id", "slug", "name", "panel_sha256", "mpp", "origin")]
        seen.append([*facts, *map(look, own)])
        if Path(slide["panel"]).is_file():
            files.append(slide["panel"])
    minutes = cost.minutes(sum(slide["bytes"] for slide in slides), len(slides)) / cost.threads
    return Batch(
        tuple(slide["slide_id"] for slide in slides),
        tuple(dict.fromkeys(files)),
        sha256_json(seen)[:16],
        max(minutes, *(cost.minutes(slide["bytes"]) for slide in slides)),
    )


def _forget_damaged(kept: WorkFolder, out: Path) -> None:
    for name, looks in kept.outputs().items():
        if any(look_at(out, file) != seen for file, seen in looks.items()):
            (kept.path / name).unlink(missing_ok=True)
    if not out.is_dir():
        for path in (kept.path / CHECK, *(kept.path / SLIDES).glob("*.json")):
            path.unlink(missing_ok=True)
