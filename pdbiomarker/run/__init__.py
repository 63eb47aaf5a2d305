"""The whole road for one study folder, in a results folder that can be gone on with, checked and read back.

Importing this loads nothing heavy: the work is done in processes of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pdbiomarker.errors import InputError, Problem
from pdbiomarker.run.request import Request, RunOutcome
from pdbiomarker.run.road import travel

__all__ = ["RunOutcome", "change_study", "quantify_slides", "run_study"]

_STUDY = "pdbiomarker.run.steps:describe_study"
_SLIDES = "pdbiomarker.run.steps:describe_slides"
_SHEET_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".xlsx")


def run_study(  # noqa: PLR0913 -- one argument for each thing that a run can be told
    path: str | Path,
    out: str | Path,
    *,
    plan: str | Path | None = None,
    formats: Sequence[str] = ("html",),
    against: str | Path | None = None,
    workers: int | None = None,
    fresh: bool = False,
    dry_run: bool = False,
    progress: bool = True,
) -> RunOutcome:
    """Take a study folder the whole road: check, slides, counts, paired change, decisions, report.

    The results folder holds ``review.html`` (and what else `formats` asks for), ``results/``, ``assays/``,
    ``slides/``, ``manifest.json`` and ``run.log``. A second run into it makes only what is missing, damaged
    or out of date; the same input gives the same bytes, ``run.log`` and the ``run`` part of the manifest
    aside, however many workers and stops there were.

    Parameters
    ----------
    path : str or Path
        The study folder; nothing in it is changed.
    out : str or Path
        The results folder: new, empty, or one to go on with.
    plan : str or Path, optional
        The analysis plan; default: ``plan.yaml`` of the study, or the default plan where it has none.
    formats : sequence of str
        Formats of the report, of ``html``, ``pdf``, ``pptx``, ``xlsx``. A later run that asks for more makes
        only those; one that asks for fewer keeps the others where they are still true, and removes them
        where they are not. What this machine cannot write (a PDF without Chromium) is quarantined.
    against : str or Path, optional
        The results folder of an earlier data cut: the report then has a section on what changed since.
    workers : int, optional
        Slides measured at a time; default: the number of cores.
    fresh : bool
        Remove what an earlier run made in `out` and start anew; only slides that were measured from the
        same file with the same panel, regions and code are kept.
    dry_run : bool
        Check everything, say what would be done, write nothing.
    progress : bool
        Show progress on standard error.

    Returns
    -------
    RunOutcome
        Its `exit_code` is 4 when an item was quarantined, else 0.

    Raises
    ------
    InputError
        The input is refused, with every problem; `out` is not a results folder (E-RUN-006); a format is
        unknown (E-RUN-008); `against` is of another study (E-RUN-009), or is `out` itself (E-RUN-036).
    VerificationError
        E-RUN-001: `out` was made with another study description, plan or package version. E-RUN-003:
        `against` was edited since its run.
    ResourceError
        Disk or memory ran out.
    FolderInUseError
        Another run holds `out`.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> outcome = pb.run_study("expansion/", "expansion-results/")  # doctest: +SKIP
    >>> pb.read_result(outcome.out).table  # doctest: +SKIP
    """
    if against is not None and Path(against).resolve() == Path(out).resolve():
        raise InputError(
            [
                Problem(
                    "E-RUN-036",
                    "The earlier results are those that this run writes.",
                    "Give each data cut a results folder of its own.",
                    str(against),
                    column="against",
                )
            ]
        )
    asked = {
        "formats": list(formats),
        "against": None if against is None else str(Path(against).absolute()),
    }
    return travel(
        Request(
            "run_study",
            _STUDY,
            {**_study_arguments(path, plan), **asked},
            Path(out),
            workers=_workers(workers),
            fresh=fresh,
            dry_run=dry_run,
            progress=progress,
        )
    )


def change_study(
    path: str | Path,
    out: str | Path,
    *,
    plan: str | Path | None = None,
    workers: int | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> RunOutcome:
    """Estimate the paired change of every feature; like :func:`run_study`, without the report."""
    return travel(
        Request(
            "change_study",
            _STUDY,
            _study_arguments(path, plan),
            Path(out),
            until="change",
            workers=_workers(workers),
            fresh=fresh,
            progress=progress,
        )
    )


def quantify_slides(
    path: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    panel: str | None = None,
    facts: Mapping[str, float | str | None] | None = None,
    workers: int | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> RunOutcome:
    """Find and score the cells of every slide.

    Parameters
    ----------
    path : str, Path, or a sequence of them
        Slides; or a slide sheet (slide_id, biopsy_id, path relative to the sheet, perhaps mpp); or a study
        folder. Slides given by themselves are biopsies of their names.
    out : str or Path
        The results folder; it will hold ``cells.parquet``, ``scores.csv``, ``sensitivity.csv``, ``qc.csv``
        and ``overlay/`` of all slides, ``assays/<assay>.h5ad``, and the same by slide in ``slides/``.
    panel : str, optional
        A panel by name or file; needed unless `path` is a study.
    facts : mapping, optional
        ``mpp``: micrometres per pixel of slides that do not state it. ``regions``: a folder of region files
        by slide id, or the one file of the one slide. Both for slides and sheets. ``also``: ``geojson``,
        ``anndata``, or both with a comma between: the cells of each slide in that form.
    workers, fresh, progress
        As for :func:`run_study`.
    """
    given = [path] if isinstance(path, (str, Path)) else list(path)
    paths = [str(Path(one).absolute()) for one in given]
    is_sheet = len(paths) == 1 and (Path(paths[0]).is_dir() or paths[0].lower().endswith(_SHEET_SUFFIXES))
    said = dict(facts or {})
    regions = said.get("regions")
    return travel(
        Request(
            "quantify_slides",
            _SLIDES,
            {
                "study": paths[0] if is_sheet else paths,
                "panel": panel,
                "mpp": said.get("mpp"),
                "regions": None if regions is None else str(Path(str(regions)).absolute()),
                "also": sorted(str(said.get("also") or "").replace(",", " ").split()),
            },
            Path(out),
            until="assays",
            workers=_workers(workers),
            fresh=fresh,
            progress=progress,
        )
    )


def _study_arguments(path: str | Path, plan: str | Path | None) -> dict[str, str | None]:
    return {
        "study": str(Path(path).absolute()),
        "plan": None if plan is None else str(Path(plan).absolute()),
    }


def _workers(workers: int | None) -> int:
    return max(1, len(os.sched_getaffinity(0)) if workers is None else workers)
