"""From slides to an assay.

A slide that cannot be used is quarantined with its reason; the others go on. The result is the same for any
number of workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import ItemError, Problem, Problems, ResourceError, StudyError
from pdbiomarker.ihc.assemble import assemble
from pdbiomarker.ihc.compartments import find_regions
from pdbiomarker.ihc.measure import SlideOptions, SlideResult, quantify_slide
from pdbiomarker.ihc.outputs import write_slide
from pdbiomarker.ihc.panel import Panel, read_panel
from pdbiomarker.ihc.segmenters import Segmenter, check_portable
from pdbiomarker.processes import surrounded
from pdbiomarker.provenance import slug
from pdbiomarker.study import Study
from pdbiomarker.tables import read_table, to_number

__all__ = ["find_twins", "quantify"]


def quantify(
    slides: pd.DataFrame | str | Path,
    *,
    panel: str | Path | Panel,
    study: Study | None = None,
    regions: str | Path | None = None,
    workers: int = 1,
    out: str | Path | None = None,
    segmenter: Segmenter | None = None,
) -> AnnData:
    """Quantify slides into an assay, biopsies x features.

    Parameters
    ----------
    slides : DataFrame or path
        Index slide_id; columns biopsy_id and path, and where needed panel (overrides `panel`), mpp, batch,
        scanner. A path is a ``slides.csv`` whose slide paths are relative to its folder.
    panel : str, Path or Panel
        The panel of slides that name none.
    study : Study, optional
        Its folder is where relative paths of a DataFrame start; biopsies it does not know are quarantined.
    regions : path, optional
        Folder with ``<slide_id>.geojson``, or a mask ``<slide_id>.mask.png`` or ``.mask.tif``.
    workers : int
        Processes; a slide is one job. A single slide is worked on by as many threads.
    out : path, optional
        Folder for each slide's cells, scores, QC and overlays.
    segmenter : callable, optional
        ``(optical density (Y, X, 3) float32, pixel size um) -> labels (Y, X) int32``, instead of the default;
        see :mod:`pdbiomarker.ihc.segmenters`. With more than one worker it must be a function of a module,
        which each worker imports.

    Returns
    -------
    AnnData
        See :func:`assemble`. Slides that were quarantined, and warnings: :func:`problems_of`.

    Raises
    ------
    StudyError
        The sheet cannot be used.
    AssayError
        A panel cannot be used; E-PANEL-003: the segmenter breaks its contract.
    ResourceError
        E-RUN-005: a worker was killed.
    """
    sheet, root = _sheet(slides, study)
    default = read_panel(panel)
    jobs, problems = [], Problems()
    for slide_id, row in sheet.iterrows():
        own = row.get("panel")
        chosen = default if own is None or pd.isna(own) else read_panel(_panel_of(str(own), root))
        region = None if regions is None else find_regions(regions, str(slide_id))
        mpp = row.get("mpp")
        jobs.append(
            _Job(
                str(slide_id),
                str(row["biopsy_id"]),
                root / str(row["path"]),
                chosen,
                None if mpp is None or pd.isna(mpp) else float(mpp),
                region,
                {name: _text(row.get(name)) for name in ("scanner", "batch")},
                segmenter,
            )
        )
    done: list[tuple[_Job, SlideResult]] = []
    for job, result in zip(jobs, _run(jobs, workers), strict=True):
        if isinstance(result, Problem):
            problems.extend([result])
            continue
        problems.extend(dataclasses.replace(p, item=p.item or job.slide_id) for p in result.problems)
        done.append((job, result))
    done = _without_twins(done, problems)
    if out is not None:
        _write(done, Path(out))
    return _collect(done, sheet, problems)


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    slide_id: str
    biopsy_id: str
    path: Path
    panel: Panel
    mpp: float | None
    regions: Path | None
    origin: dict[str, str | None]
    segmenter: Segmenter | None = None
    threads: int = 1


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and str(value) else None


def _panel_of(text: str, root: Path) -> str | Path:
    return root / text if text.lower().endswith((".yaml", ".yml")) else text


def _sheet(slides: pd.DataFrame | str | Path, study: Study | None) -> tuple[pd.DataFrame, Path]:
    """The slides by id in sorted order, and the folder their paths start from."""
    problems = Problems()
    root = Path() if study is None or study.path is None else Path(study.path)
    name = "slides"
    if isinstance(slides, pd.DataFrame):
        frame = slides.copy()
        if "slide_id" in frame:
            frame = frame.set_index("slide_id")
    else:
        name, root = Path(slides).name, Path(slides).parent
        frame = _read_sheet(slides, name, problems)
    _check_sheet(frame, name, study, problems)
    frame.index = pd.Index([str(value) for value in frame.index], dtype=object, name="slide_id")
    return frame.sort_index(), root


def _read_sheet(path: str | Path, name: str, problems: Problems) -> pd.DataFrame:
    """The sheet's rows by slide id."""
    table = read_table(path, problems=problems)
    problems.raise_if_any(StudyError)
    if table is None:
        raise StudyError(problems)
    if "mpp" in table:
        table["mpp"] = to_number(table["mpp"], file=name, problems=problems)
    if "slide_id" not in table:
        problems.add(
            "E-SHEET-001",
            "The column 'slide_id' is missing.",
            remedy="Add it.",
            file=name,
            column="slide_id",
        )
    problems.raise_if_any(StudyError)
    return table.set_index("slide_id")


def _check_sheet(frame: pd.DataFrame, name: str, study: Study | None, problems: Problems) -> None:
    """Refuse a sheet without its columns, with a slide twice, or with biopsies that are not known."""
    for column in ("biopsy_id", "path"):
        if column not in frame:
            problems.add(
                "E-SHEET-001",
                f"The column {column!r} is missing.",
                remedy="Add it.",
                file=name,
                column=column,
            )
    for slide_id in frame.index[frame.index.duplicated()]:
        problems.add(
            "E-SHEET-005",
            "The slide id occurs twice.",
            remedy="Give each slide an id of its own.",
            file=name,
            column="slide_id",
            value=slide_id,
        )
    problems.raise_if_any(StudyError)
    for column in ("biopsy_id", "path"):
        for slide_id in frame.index[frame[column].isna()]:
            problems.add(
                "E-SHEET-017",
                f"The slide has no {column}.",
                remedy="Fill the cell.",
                file=name,
                column=column,
                value=slide_id,
            )
    if study is not None:
        unknown = frame.index[~frame["biopsy_id"].isin(study.biopsies.index)]
        for slide_id in unknown:
            problems.add(
                "E-SHEET-006",
                "The slide's biopsy is not in biopsies.csv.",
                remedy="Correct the id, or add the biopsy.",
                file=name,
                column="biopsy_id",
                value=frame.at[slide_id, "biopsy_id"],
            )
    problems.raise_if_any(StudyError)


def _attempt(job: _Job) -> SlideResult | Problem:
    try:
        return quantify_slide(
            job.path,
            job.panel,
            mpp=job.mpp,
            regions=job.regions,
            origin=job.origin,
            options=SlideOptions(segmenter=job.segmenter, threads=job.threads),
        )
    except ItemError as error:
        return dataclasses.replace(error.problem, severity="quarantine", item=job.slide_id)


def _run(jobs: list[_Job], workers: int) -> list[SlideResult | Problem]:
    if workers <= 1 or len(jobs) <= 1:
        return [_attempt(dataclasses.replace(job, threads=max(1, workers))) for job in jobs]
    check_portable(jobs[0].segmenter)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_one_thread) as pool:
        with _safe_path():
            futures: list[Future[SlideResult | Problem]] = [pool.submit(_attempt, job) for job in jobs]
        try:
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise ResourceError(
                "E-RUN-005: a worker was killed, most likely for want of memory. Remedy: use fewer workers."
            ) from error


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Start workers that import nothing from the working directory, which may hold foreign files."""
    path = sys.path
    sys.path = [entry for entry in path if entry]
    try:
        with surrounded({"PYTHONSAFEPATH": "1"}):
            yield
    finally:
        sys.path = path


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _without_twins(
    done: list[tuple[_Job, SlideResult]], problems: Problems
) -> list[tuple[_Job, SlideResult]]:
    """Leave out slides whose content another slide has: they would count twice, or for two biopsies."""
    twins = find_twins(
        [(job.slide_id, job.biopsy_id, str(result.qc["sha256"]), job.panel.hash) for job, result in done]
    )
    for job, _ in done:
        if job.slide_id in twins:
            problems.add(
                "E-SLIDE-011",
                twins[job.slide_id],
                remedy="Correct the paths in slides.csv.",
                file=job.path.name,
                severity="quarantine",
                item=job.slide_id,
            )
    return [(job, result) for job, result in done if job.slide_id not in twins]


def find_twins(slides: Sequence[tuple[str, str, str, str]]) -> dict[str, str]:
    """Find the slides to be left out because another slide has the same content.

    Parameters
    ----------
    slides : sequence of (slide id, biopsy id, SHA-256 of the content, hash of the panel)

    Returns
    -------
    dict
        Slide id -> reason. Of one biopsy, the first of the slides stays; where biopsies differ, none does.
    """
    first: dict[tuple[str, str], str] = {}
    owners: dict[tuple[str, str], set[str]] = {}
    for slide, biopsy, content, panel in slides:
        first.setdefault((content, panel), slide)
        owners.setdefault((content, panel), set()).add(biopsy)
    reasons = {}
    for slide, _, content, panel in slides:
        original = first[content, panel]
        if len(owners[content, panel]) > 1:
            reasons[slide] = (
                "The slide has the same content as a slide of another biopsy: which it shows is unknown."
            )
        elif original != slide:
            reasons[slide] = f"The slide has the same content as {original!r} and would count twice."
    return reasons


def _collect(done: list[tuple[_Job, SlideResult]], sheet: pd.DataFrame, problems: Problems) -> AnnData:
    facts = pd.DataFrame(index=[job.slide_id for job, _ in done])
    for name in ("batch", "scanner"):
        if name in sheet:
            facts[name] = sheet[name].reindex(facts.index)
    for name in ("white_red", "white_green", "white_blue", "mpp", "focus", "nodata_share", "artefact_share"):
        facts[name] = [float(result.qc[name]) for _, result in done]
    panels = {job.panel.marker: job.panel for job, _ in done}
    results = [(job.slide_id, job.biopsy_id, result.scores) for job, result in done]
    return assemble(
        results,
        [panels[name] for name in sorted(panels)],
        facts=facts,
        problems=problems,
        sensitivity={job.slide_id: result.sensitivity for job, result in done},
    )


def _write(done: list[tuple[_Job, SlideResult]], out: Path) -> None:
    taken: list[str] = []
    for job, result in done:
        folder = slug(job.slide_id, taken)
        taken.append(folder)
        write_slide(result, job.slide_id, out / folder)
