"""The work that a study makes, as JSON: what it reads, with hashes, and what is to be measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pdbiomarker import expression, ihc
from pdbiomarker.decide.asked import decision_files
from pdbiomarker.provenance import code_version, sha256_file, sha256_json
from pdbiomarker.run.jobs import Tell
from pdbiomarker.run.results import plan_facts, study_facts
from pdbiomarker.run.slide_files import TWIN, panels_named, slide_files, slides_to_measure
from pdbiomarker.run.survey import TRUTH, Survey
from pdbiomarker.run.work import look, slide_key
from pdbiomarker.study import (
    CLINICAL,
    LOCK_FILE,
    Study,
    is_panel_file,
    shown_path,
)
from pdbiomarker.study.clinical import RULES_FILE

__all__ = ["describe", "input_files"]

_SHEETS: Final = (
    *("study.yaml", LOCK_FILE, "participants.csv", "biopsies.csv", "libraries.csv", "slides.csv"),
    "overrides.csv",
)
_SPACE_AT_LEAST: Final = 64 << 20
_SPACE_PER_SLIDE_BYTE: Final = 0.2
_SPACE_PER_COUNT_BYTE: Final = 40.0


def describe(found: Survey, tell: Tell, *, hash_slides: bool = True) -> dict[str, Any]:
    """Describe the work that a study makes, as JSON; raise when it is refused.

    Parameters
    ----------
    found : Survey
    tell : callable
    hash_slides : bool
        False: slides and regions are not read; those who measure them add their hashes to ``inputs``, and
        the key of each slide (:func:`pdbiomarker.run.work.slide_key`).

    Returns
    -------
    dict
        ``study, plan`` (as understood), ``inputs`` (name -> sha256), ``files`` (name -> absolute path),
        ``looks`` (of these files, size and time), ``slides`` (one dict each), ``parameters``, ``problems``,
        ``key`` (hash of all but the slides), ``bytes_needed``.
    """
    study, plan = found.settled()
    files = dict(input_files(study, found.plan_file))
    files |= {name: (study.path or Path()) / name for name in decision_files(plan)}
    inputs: dict[str, str] = {}
    looks = {name: look(path) for name, path in sorted(files.items())}  # before they are hashed
    twins = {problem.item for problem in found.problems if problem.code == TWIN}
    every = slide_files(study)
    slide_names = {slide.name for slide in every}
    measured = {name for slide in every for name in (slide.name, slide.regions)}
    left = {name for slide in every if slide.slide_id not in twins for name in (slide.name, slide.regions)}
    for done, (name, path) in enumerate(sorted(files.items()), start=1):
        if hash_slides or name not in left:
            inputs[name] = (ihc.slide_hash if name in slide_names else sha256_file)(path)
        tell("check", done, len(files))
    slides = [slide for slide in slides_to_measure(study) if slide["slide_id"] not in twins]
    if hash_slides:
        slides = [{**slide, "key": slide_key(slide, inputs)} for slide in slides]
    shared = {name: digest for name, digest in inputs.items() if name not in measured}
    spec = study_facts(study.spec)
    measured_counts = {
        name
        for spec in study.spec.assays
        if expression.has_expression(spec)
        for name in expression.assay_files(spec, study)
    }
    measured_counts |= {spec.h5ad for spec in study.spec.assays if spec.h5ad is not None}
    counts = sum(files[name].stat().st_size for name in measured_counts)
    needed = _SPACE_AT_LEAST + _SPACE_PER_COUNT_BYTE * counts
    needed += _SPACE_PER_SLIDE_BYTE * sum(slide["bytes"] for slide in slides)
    return {
        "study": spec,
        "plan": plan_facts(plan),
        "inputs": inputs,
        "files": {name: str(path.absolute()) for name, path in sorted(files.items())},
        "looks": looks,
        "slides": slides,
        "parameters": {
            "study": spec["id"],
            "data_cutoff": spec["data_cutoff"],
            "plan": plan_facts(plan),
            "plan_sha256": plan.hash,
            "seed": plan.seed,
        },
        "problems": [dataclasses.asdict(p) for p in found.problems],
        "key": sha256_json([code_version(), spec, plan_facts(plan), shared]),
        "bytes_needed": int(needed),
    }


def input_files(study: Study, plan_file: Path | None) -> Iterator[tuple[str, Path]]:
    """Every file that a study is made of: its name in the manifest, and where it is."""
    folder = study.path or Path()
    sheets = (*_SHEETS, TRUTH) if study.spec.visits else ()  # slides by themselves are no study
    names = [name for name in sheets if (folder / name).is_file()]
    rules = f"{CLINICAL}/{RULES_FILE}"
    names += [rules] if (folder / rules).is_file() else []
    names += [
        f"{CLINICAL}/{name}.csv" for name in study.clinical if (folder / CLINICAL / f"{name}.csv").is_file()
    ]
    for spec in study.spec.assays:
        folders = {"regions", "files", "rcc", "cells"}
        names += [name for key, name in spec.named_files.items() if key not in folders]
        names += [] if spec.slides is None else [spec.slides]
        if spec.cells is not None and (folder / spec.cells).is_dir():
            inside = sorted(path for path in (folder / spec.cells).iterdir() if path.is_file())
            names += [path.relative_to(folder).as_posix() for path in inside]
        elif spec.cells is not None:
            names.append(spec.cells)
        if expression.has_expression(spec):
            names += expression.assay_files(spec, study)
    for name in dict.fromkeys(names):
        yield name, folder / name
    for panel in sorted(panels_named(study)):
        if is_panel_file(panel):
            yield shown_path(panel, folder), folder / panel
    for slide in slide_files(study):
        yield slide.name, slide.file
        if slide.regions is not None:
            yield slide.regions, folder / slide.regions
    if plan_file is not None:
        yield "plan.yaml", plan_file
