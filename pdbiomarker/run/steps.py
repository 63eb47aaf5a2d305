"""The steps of a run that compute, each in a process of its own.

A step reads its inputs from files, leaves its outputs as files and records them (see
:mod:`pdbiomarker.provenance`): the same files, whoever runs it and whenever. What a step takes from the one
before comes from files, too, so that a run that goes on after a stop gives the same bytes as one that did
not stop.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from pdbiomarker import ihc
from pdbiomarker.change import PDResult, pd_change
from pdbiomarker.decide import review_of_plan
from pdbiomarker.errors import InputError, ItemError, Problem, Problems
from pdbiomarker.pairing import assign_visits
from pdbiomarker.provenance import forget, is_complete, mark_done, sha256_file, sha256_json
from pdbiomarker.run.assays import count_assays, expression_tables
from pdbiomarker.run.decisions import write_review
from pdbiomarker.run.demo import PARTIAL_STUDY
from pdbiomarker.run.description import describe
from pdbiomarker.run.documents import STEPS
from pdbiomarker.run.expected import expected_assay
from pdbiomarker.run.jobs import Tell
from pdbiomarker.run.links import write_links
from pdbiomarker.run.named_slides import survey_slides
from pdbiomarker.run.reports import asked_report, write_documents
from pdbiomarker.run.results import (
    frame_of,
    quarantine_table,
    read_parts,
    write_assay,
    write_clinical,
    write_result,
)
from pdbiomarker.run.sharing import item_lock
from pdbiomarker.run.survey import plan_file_of, plan_of, read_truth, survey
from pdbiomarker.run.trial import clinical_tables, with_clinical
from pdbiomarker.run.work import look, slide_key
from pdbiomarker.simulate import simulate_study
from pdbiomarker.study import Study, read_study, shown_path
from pdbiomarker.tables import read_table, to_typed, write_table

__all__ = [
    "describe_slides",
    "describe_study",
    "hash_slide",
    "make_assays",
    "make_change",
    "make_clinical",
    "make_decide",
    "make_report",
    "measure_slide",
    "measure_slide_shared",
    "simulate_trial",
]

Task = Mapping[str, Any]


# --- before any work -----------------------------------------------------------------------------------


def describe_study(
    *,
    study: str,
    plan: str | None,
    formats: Sequence[str] = ("html",),
    against: str | None = None,
    hash_slides: bool = True,
    tell: Tell,
) -> dict[str, Any]:
    """Check a study folder and describe its work; see :func:`pdbiomarker.run.description.describe`.

    Raises
    ------
    InputError
        With every problem of the folder, or of what is asked of the report.
    """
    found = survey(Path(study), None if plan is None else Path(plan))
    read, _ = found.settled()
    report = asked_report(formats, against, read.spec.id)
    lacking = [dataclasses.asdict(problem) for problem in report["lacking"]]
    return {**describe(found, tell, hash_slides=hash_slides), "report": {**report, "lacking": lacking}}


def describe_slides(
    *,
    study: str | Sequence[str],
    panel: str | None,
    mpp: float | None,
    regions: str | None,
    also: Sequence[str],
    tell: Tell,
) -> dict[str, Any]:
    """Check slides, a slide sheet, or the slides of a study folder, and describe the work."""
    work = describe(survey_slides(study, panel, mpp=mpp, regions=regions), tell)
    return {**work, "key": sha256_json([work["key"], list(also)])}


# --- slides --------------------------------------------------------------------------------------------


def measure_slide(*, slide: Task, out: str, tell: Tell) -> None:
    """Find and score the cells of one slide; one that cannot be measured is recorded with the reason.

    Leaves ``slides/<slug>/cells.parquet, scores.csv, qc.csv, overlay/*.png``.
    """
    del tell  # a slide is one item of the progress
    root = Path(out)
    folder = root / "slides" / slide["slug"]
    try:
        found = ihc.quantify_slide(
            slide["file"],
            ihc.read_panel(slide["panel"]),
            mpp=slide["mpp"],
            regions=slide["regions"],
            origin=slide["origin"],
        )
    except ItemError as error:
        row = _problem_row(error.problem, slide)
        mark_done(root, slide["step"], slide["key"], outputs=[], facts={"problems": [row]})
        return
    outputs = ihc.write_slide(found, slide["slide_id"], folder)
    problems = [_problem_row(p, slide) for p in found.problems]
    mark_done(root, slide["step"], slide["key"], outputs=outputs, facts={"problems": problems})


def measure_slide_shared(*, slide: Task, out: str, tell: Tell) -> dict[str, Any]:
    """Measure one slide that is not complete, while others work in the same results folder.

    Returns
    -------
    dict
        As from :func:`hash_slide`, and ``made``: whether it was measured now.
    """
    root = Path(out)
    with item_lock(root, slide["step"], wait=math.inf):
        found = hash_slide(slide=slide, tell=tell)
        made = not is_complete(root, slide["step"], found["key"])
        if made:
            forget(root, slide["step"])
            measure_slide(slide={**slide, "key": found["key"]}, out=out, tell=tell)
    return {**found, "made": made}


def hash_slide(*, slide: Task, tell: Tell) -> dict[str, Any]:
    """Hash a slide and its regions: ``inputs`` (name -> sha256), ``key``, and how the files ``look``."""
    del tell
    looks = {slide["file"]: look(slide["file"])}
    inputs = {slide["name"]: ihc.slide_hash(slide["file"])}
    if slide["regions"] is not None:
        looks[slide["regions"]] = look(slide["regions"])
        inputs[slide["regions_name"]] = sha256_file(slide["regions"])
    return {"inputs": inputs, "key": slide_key(slide, inputs), "looks": looks}


def _problem_row(problem: Problem, slide: Task) -> dict[str, Any]:
    """Return a problem of a slide as JSON, with the place of the slide in its sheet."""
    severity = "quarantine" if problem.severity == "error" else problem.severity
    placed = dataclasses.replace(
        problem,
        file=slide["sheet"],
        row=slide["line"],
        value=problem.value if problem.value is not None else slide["name"],
        severity=severity,
        item=slide["slide_id"],
    )
    return dataclasses.asdict(placed)


# --- assays, change, report ----------------------------------------------------------------------------


def make_assays(*, task: Task, tell: Tell) -> str:
    """Put the scores of slides together to assays, and list what was left out."""
    out = Path(task["out"])
    found = survey_slides(task["study"], task["panel"], mpp=task["mpp"], regions=task["regions"])
    study, _ = found.settled()
    assays = _slide_assays(study, task, out)
    tell("assays", 1, 1)
    written = [write_assay(adata, out / "assays" / f"{name}.h5ad") for name, adata in assays.items()]
    written.append(out / "results" / "quarantine.csv")
    write_table(quarantine_table([Problem(**row) for row in task["problems"]]), written[-1])
    folders = [(slide["slide_id"], out / "slides" / slide["slug"]) for slide in task["slides"]]
    written += ihc.join_slides(folders, out)
    for slide, folder in folders:
        written += _also(slide, folder, task["also"])
    mark_done(out, "assays", task["key"], outputs=written)
    return ", ".join(f"{name}: {a.n_obs} biopsies x {a.n_vars} features" for name, a in assays.items())


def _also(slide: str, folder: Path, forms: Sequence[str]) -> list[Path]:
    """Write the cells of a slide in further forms: ``geojson`` (QuPath), ``anndata``."""
    written = []
    cells = pd.read_parquet(folder / "cells.parquet") if forms else None
    if cells is not None and "geojson" in forms:
        mpp = float(_typed_table(folder / "qc.csv")["mpp"].iloc[0])
        written.append(ihc.write_cells_geojson(cells, folder / "cells.geojson", mpp=mpp, slide_id=slide))
    if cells is not None and "anndata" in forms:
        written.append(write_assay(ihc.cells_to_anndata(cells, slide), folder / "cells.h5ad"))
    return written


def make_change(*, task: Task, tell: Tell) -> str:
    """Assemble and read the assays, fit the models, and leave ``assays/`` and ``results/``."""
    out = Path(task["out"])
    study = read_study(task["study"])
    counts = count_assays(study, [])
    given = None if task["plan"] is None else Path(task["plan"])
    plan = plan_of(study, plan_file_of(Path(task["study"]), given), counts)
    if plan is None:
        raise RuntimeError("the study has no plan")
    measured = {**_slide_assays(study, task, out), **counts}
    shown = [shown_path(str(path), Path(task["study"])) for path in study.slides["path"]]
    study = dataclasses.replace(
        study,
        slides=study.slides.assign(path=pd.Series(shown, index=study.slides.index, dtype=object)),
        problems=tuple(Problem(**row) for row in task["problems"]),
    )
    for name in sorted(measured, key=_place_of([spec.name for spec in study.spec.assays])):
        study = study.with_assay(name, measured[name])
    of = len(study.assays) + 1
    result = pd_change(study, plan, progress=lambda _, done, __: tell("change", done, of))
    result = dataclasses.replace(
        result,
        qc={**_quality(counts, task, out), **expression_tables(study, counts)},
        truth=_truth(study),
        images=_images(study, task),
    )
    facts = {**task["facts"], "images": result.images}
    later = {"response"} if study.clinical else set()  # make_clinical writes it, from what it computes
    written = write_result(result, out, facts=facts) + write_links(result, out, without=later)
    mark_done(out, "change", task["key"], outputs=written)
    tell("change", of, of)
    strict = result.table[result.table["set"] == "strict"]
    features = len(strict[["assay", "feature"]].drop_duplicates())
    contrasts = f" in {len(plan.contrasts)} contrasts" if len(plan.contrasts) > 1 else ""
    return f"{strict['p'].notna().sum():,} tests of {features:,} features{contrasts}"


def make_decide(*, task: Task, tell: Tell) -> str:
    """Decide on the features that the plan names, or its primary family, and leave tables in ``results/``."""
    out = Path(task["out"])
    result = _dated(read_parts(out), Path(task["study"]))
    review = review_of_plan(result, Path(task["study"]))
    tell("decide", 1, 1)
    written = [] if review is None else write_review(review, out / "results")
    mark_done(out, "decide", task["key"], outputs=written)
    if review is None:
        return "no primary family, so nothing is decided"
    cohort = review.decisions.cohort
    judged = cohort[cohort["verdict"] != "not evaluable"]
    none = f", {len(cohort) - len(judged)} not evaluable" if len(judged) < len(cohort) else ""
    return f"{len(judged)} verdicts on {len(review.features)} features{none}"


def _dated(result: PDResult, folder: Path) -> PDResult:
    """Give participants and biopsies their dates back, which results do not hold, from the study folder.

    Only the check of dose against calendar time reads them, and tells days since the first of them.
    """
    study = read_study(folder)
    people, biopsies = result.study.participants, result.study.biopsies
    if "first_dose_datetime" in study.participants:
        first = study.participants["first_dose_datetime"].reindex(people.index)
        people = people.assign(first_dose_datetime=first)
    if "collection_date" in study.biopsies:
        taken = study.biopsies["collection_date"].reindex(biopsies.index)
        biopsies = biopsies.assign(collection_date=taken)
    dated = dataclasses.replace(result.study, participants=people, biopsies=biopsies)
    return dataclasses.replace(result, study=dated)


def make_clinical(*, task: Task, tell: Tell) -> str:
    """Compute the trial around the biopsies from the clinical sheets: ``results/clinical_*.csv``.

    A part that cannot be made is quarantined, as a slide is.
    """
    out = Path(task["out"])
    study = read_study(task["study"])
    outcome = clinical_tables(study)
    result = with_clinical(read_parts(out), outcome)
    tables = result.clinical
    tell("clinical", 1, 1)
    told = [dataclasses.asdict(p) for p in outcome.problems]
    written = write_clinical(tables, outcome.problems, out)
    written += write_links(result, out, only={"response"}) if study.clinical else []
    mark_done(out, "clinical", task["key"], outputs=written, facts={"problems": told})
    lost = [str(p.item) for p in outcome.problems if p.severity == "quarantine"]
    return f"{len(tables)} tables" + (f", without {', '.join(lost)}" if lost else "")


def make_report(*, task: Task, tell: Tell) -> dict[str, Any]:
    """Write the report from the results on the disk, in the formats asked for; each has a record of its own.

    Returns
    -------
    dict
        ``note``: what was written; ``problems``: formats that could not be.
    """
    out = Path(task["out"])
    notes: list[str] = []

    def written(name: str, path: Path) -> None:
        mark_done(out, STEPS[name], task["key"], outputs=[path])
        notes.append(f"{path.name}, {path.stat().st_size / 1e6:.1f} MB")
        tell("report", len(notes), len(task["formats"]))

    lost = write_documents(out, task["formats"], task["against"], written=written)
    return {"note": "; ".join(notes), "problems": [dataclasses.asdict(problem) for problem in lost]}


def simulate_trial(*, folder: str, seed: int, n_participants: int, key: str, tell: Tell) -> None:
    """Draw the trial of the demonstration into ``study/``, whole or not at all."""
    root = Path(folder)
    partial = root / PARTIAL_STUDY
    if partial.exists():
        shutil.rmtree(partial)
    simulate_study(partial, seed=seed, n_participants=n_participants, progress=tell)
    forget(root, "simulate")
    study = root / "study"
    partial.rename(study)
    files = sorted(path for path in study.rglob("*") if path.is_file())
    mark_done(root, "simulate", key, outputs=files)


def _place_of(names: Sequence[str]) -> Any:
    """Return a sort key: assays in the order of study.yaml, the signatures of one right after it."""

    def place(name: str) -> tuple[int, str]:
        own = [i for i, known in enumerate(names) if name == known or name.startswith(f"{known}_")]
        return (min(own, default=len(names)), name)

    return place


def _slide_assays(study: Study, task: Task, out: Path) -> dict[str, AnnData]:
    """Assemble every assay that comes from slides; biopsies without a measured slide are not in it."""
    assays = {}
    for spec in study.spec.assays:
        if spec.kind != "ihc" or spec.cells is not None:
            continue
        own = [slide for slide in task["slides"] if slide["assay"] == spec.name]
        if own:
            scores = [(s["slide_id"], s["biopsy_id"], _scores(out, s, "scores.csv")) for s in own]
            moved = {s["slide_id"]: _scores(out, s, "sensitivity.csv") for s in own}
            panels = [ihc.read_panel(name) for name in sorted({s["panel"] for s in own})]
            facts = study.slides[[c for c in ("batch", "scanner") if c in study.slides]]
            measured = ihc.assemble(scores, panels, facts=facts, sensitivity=moved)
            assays[spec.name] = _with_features(measured, expected_assay(study, spec))
        else:
            assays[spec.name] = expected_assay(study, spec)
        assays[spec.name].uns.pop("problems", None)  # they are the study's
    return assays


def _with_features(measured: AnnData, expected: AnnData) -> AnnData:
    """Add, without values, the features that no measured slide has: of regions on quarantined slides."""
    own, every = frame_of(measured.var), frame_of(expected.var)
    lacking = every.index.difference(own.index)
    if lacking.empty:
        return measured
    var = pd.concat([own, every.loc[lacking]])
    var = var.loc[[*every.index, *own.index.difference(every.index)]]
    place = var.index.get_indexer(own.index)

    def widened(values: Any) -> NDArray[np.float64]:
        wide = np.full((measured.n_obs, len(var)), np.nan)
        wide[:, place] = np.asarray(values, dtype=float)
        return wide

    whole = AnnData(X=widened(measured.X), obs=frame_of(measured.obs), var=var)
    for layer in [name for name in measured.layers.keys() if name is not None]:  # noqa: SIM118 - None is X
        whole.layers[layer] = widened(measured.layers[layer])
    whole.uns = dict(measured.uns)
    return whole


def _scores(out: Path, slide: Task, name: str) -> pd.DataFrame:
    return ihc.typed_scores(_typed_table(out / "slides" / slide["slug"] / name))


def _quality(counts: Mapping[str, AnnData], task: Task, out: Path) -> dict[str, pd.DataFrame]:
    """Quality tables for the report: one row per slide, one per biopsy of a count assay."""
    tables: dict[str, pd.DataFrame] = {}
    rows = []
    for slide in task["slides"]:
        qc = _typed_table(out / "slides" / slide["slug"] / "qc.csv")
        rows.append(
            {
                "slide_id": slide["slide_id"],
                "biopsy_id": slide["biopsy_id"],
                "assay": slide["assay"],
                "folder": slide["slug"],
                **{str(k): v for k, v in qc.iloc[0].items() if k not in {"slide_id", "biopsy_id", "assay"}},
            }
        )
    if rows:
        tables["slides"] = pd.DataFrame(rows)
    libraries = []
    for name, adata in counts.items():
        if "library_size" in adata.obs:
            libraries.append(frame_of(adata.obs).reset_index(names="biopsy_id").assign(assay=name))
    if libraries:
        tables["libraries"] = pd.concat(libraries, ignore_index=True)
    return tables


def _typed_table(path: Path) -> pd.DataFrame:
    problems = Problems()
    frame = read_table(path, problems=problems)
    problems.raise_if_any()
    if frame is None:
        raise InputError(problems)
    return frame.apply(to_typed)


def _truth(study: Study) -> pd.DataFrame | None:
    """Planted effects of a simulated study (model scale), for the features that were measured."""
    truth, _ = read_truth(study)
    if truth is None:
        return None
    homes = {str(f): name for name, adata in study.assays.items() for f in adata.var_names}
    truth["assay"] = [
        homes.get(str(f), a) if a not in study.assays or f not in study.assays[a].var_names else a
        for a, f in zip(truth["assay"], truth["feature"], strict=True)
    ]
    pairs = zip(truth["assay"], truth["feature"], strict=True)
    known = [a in study.assays and f in study.assays[a].var_names for a, f in pairs]
    return truth[known].reset_index(drop=True)


def _images(study: Study, task: Task) -> dict[str, dict[str, str]]:
    """Overlay images of the measured slides, as paths relative to the results folder."""
    visits = assign_visits(study)
    images = {}
    for slide in task["slides"]:
        biopsy = slide["biopsy_id"]
        visit = visits.at[biopsy, "visit"]
        images[slide["slide_id"]] = {
            "biopsy_id": biopsy,
            "participant_id": str(study.biopsies.at[biopsy, "participant_id"]),
            "visit": "" if visit is None else str(visit),
            "overview": f"slides/{slide['slug']}/overlay/overview.png",
            "field": f"slides/{slide['slug']}/overlay/field.png",
        }
    return images
