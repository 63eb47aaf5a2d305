"""Everything that can be known of a study before any work: all problems at once, and the work it makes."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pandas as pd
from anndata import AnnData

from pdbiomarker import expression, ihc
from pdbiomarker.change import pd_change
from pdbiomarker.change.clinic import BEFORE_BIOPSY, JOINED_COLUMNS
from pdbiomarker.change.families import resolve_families
from pdbiomarker.clinical.efficacy_rules import rules_of_folder
from pdbiomarker.decide.asked import check_decisions, decision_files
from pdbiomarker.errors import InputError, PlanError, Problem, Problems
from pdbiomarker.pairing import assign_visits
from pdbiomarker.plan import DEFAULT_FORMULA, Plan, undeclared_events
from pdbiomarker.provenance import code_version, sha256_file, sha256_json, slug
from pdbiomarker.run.assays import Collecting, count_assays, identity_problems, panel_file
from pdbiomarker.run.censored import censored_problems
from pdbiomarker.run.jobs import Tell
from pdbiomarker.run.results import plan_facts, study_facts
from pdbiomarker.run.work import look, slide_key
from pdbiomarker.study import (
    CLINICAL,
    LOCK_FILE,
    AssaySpec,
    Study,
    StudySpec,
    check_files,
    is_panel_file,
    read_study,
    shown_path,
)
from pdbiomarker.study.clinical import RULES_FILE
from pdbiomarker.tables import add_rows, order_by_texts, read_table, to_number

__all__ = [
    "SlideFile",
    "Survey",
    "describe",
    "expected_assay",
    "plan_file_of",
    "plan_of",
    "read_truth",
    "slide_files",
    "survey",
    "survey_slides",
]

_SHEETS: Final = (
    *("study.yaml", LOCK_FILE, "participants.csv", "biopsies.csv", "libraries.csv", "slides.csv"),
    "overrides.csv",
)
_TWIN: Final = "E-SLIDE-011"
#: Where a simulated study keeps what was planted.
TRUTH: Final = "truth/features.csv"
_COMPARTMENTS: Final = ihc.COMPARTMENT_ORDER
_SPACE_AT_LEAST: Final = 64 << 20
_SPACE_PER_SLIDE_BYTE: Final = 0.2
_SPACE_PER_COUNT_BYTE: Final = 40.0


@dataclasses.dataclass(frozen=True)
class Survey:
    """A study, its plan and its count assays, as far as they could be read, and every problem.

    Attributes
    ----------
    study : Study or None
        Without its assays. None when it is refused.
    plan : Plan or None
    plan_file : Path or None
        None: the study has no plan, the default one is used.
    assays : mapping of str to AnnData
        Count assays and their signatures.
    problems : Problems
    """

    study: Study | None
    plan: Plan | None
    plan_file: Path | None
    assays: Mapping[str, AnnData]
    problems: Problems

    def settled(self) -> tuple[Study, Plan]:
        """Return study and plan; raise with every problem when one of them is an error."""
        self.problems.raise_if_any()
        if self.study is None or self.plan is None:
            raise InputError(self.problems)
        return self.study, self.plan


def survey(folder: Path, plan: Path | None = None) -> Survey:
    """Read all of a study but its slides, and collect every problem.

    Parameters
    ----------
    folder : Path
        The study folder.
    plan : Path, optional
        The plan; default: ``plan.yaml`` of the folder, or the default plan.
    """
    found: list[Problem] = []
    plan_file = plan_file_of(folder, plan)
    study: Study | None = None
    with Collecting(found):
        study = read_study(folder)
    if study is not None and not study.spec.assays:
        found.append(
            Problem(
                "E-STUDY-001",
                "The study has no assay: there is nothing to measure.",
                "Name one under 'assays', such as 'rna: {kind: count, file: counts.csv.gz}'.",
                "study.yaml",
                column="assays",
            )
        )
        return Survey(study, None, plan_file, {}, Problems([*study.problems, *found]))
    assays: Mapping[str, AnnData] = {}
    read = False
    if study is not None:
        found.extend(study.problems)
        found.extend(read_truth(study)[1])
        with Collecting(found):
            _check_panels(study)
            found.extend(_twins(study))
        with Collecting(found):
            rules_of_folder(study.path)
        with Collecting(found):
            assays = count_assays(study, found)
            read = True
            found.extend(identity_problems(study, assays))
        found.extend(_before_first_dose(study))
    the_plan: Plan | None = None
    of_plan: list[Problem] = []
    with Collecting(of_plan):
        the_plan = plan_of(study, plan_file, assays)
    found.extend(_computed(p) for p in of_plan if read or study is None or not _is_of_unread(study, p))
    if study is not None and the_plan is not None:
        found.extend(undeclared_events(study, the_plan.intercurrent))
        with Collecting(found):
            _check_plan(study, the_plan, assays)
        with Collecting(found):
            check_decisions(the_plan, folder)
            found.extend(censored_problems(the_plan, assays))
    return Survey(study, the_plan, plan_file, assays, Problems(dict.fromkeys(found)))


def _computed(problem: Problem) -> Problem:
    """Say of a column of the formula that a run computes from clinical/ only later, how to use it."""
    if problem.code != "E-FORMULA-003" or problem.value not in JOINED_COLUMNS:
        return problem
    if problem.value not in BEFORE_BIOPSY:
        remedy = "It was not settled when the biopsy was taken, and may not enter its model: take it out."
    else:
        remedy = (
            "A run computes it from clinical/ after the pairs are known. In Python: study.with_assay(...), "
            "first = pd_change(study, plan), joined = clinical_join(first, tables=clinical_tables(study)"
            f".tables), then pd_change(with_clinical_columns(study, joined, [{problem.value!r}]), plan). Or "
            "put a column of that name into participants.csv."
        )
    return dataclasses.replace(problem, remedy=remedy)


def _is_of_unread(study: Study, problem: Problem) -> bool:
    """Tell whether a family names an assay that would be made of one that was refused."""
    assay = str(problem.value).partition(":")[0]
    counts = [spec.name for spec in study.spec.assays if spec.kind == "count"]
    made = assay in counts or any(assay.startswith(f"{name}_") for name in counts)
    return problem.code == "E-PLAN-003" and made


def read_truth(study: Study) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read the planted effects of a simulated study, if it has any.

    Returns
    -------
    DataFrame or None
        assay, feature, contrast (texts) and effect (float64, model scale). None without the file, and where
        the file cannot be used.
    list of Problem
        Why it cannot be used, as warnings: nothing that is estimated depends on it.
    """
    path = study.resolve(TRUTH)
    if not path.is_file():
        return None, []
    problems = Problems()
    table = read_table(path, name=TRUTH, problems=problems)
    keys = ["assay", "feature", "contrast"]
    truth: pd.DataFrame | None = None
    if table is not None and {*keys, "true"} <= set(table.columns):
        effect = to_number(table["true"], file=TRUTH, problems=problems)
        truth = order_by_texts(table[keys].assign(effect=effect).dropna()).reset_index(drop=True)
        if truth.duplicated(keys).any():
            problems.add(
                "E-SHEET-005",
                "An assay, feature and contrast occur twice.",
                remedy="Keep one row.",
                file=TRUTH,
            )
    elif table is not None:
        problems.add(
            "E-SHEET-001",
            "The columns are not assay, feature, contrast and true.",
            remedy="Name them so.",
            file=TRUTH,
        )
    if not problems.errors:
        return truth, []
    first = problems.errors[0]
    why = f"{first.message} The planted effects are left out of the report."
    return None, [dataclasses.replace(first, message=why, severity="warning")]


def plan_file_of(folder: Path, plan: Path | None) -> Path | None:
    """Return the plan's file: the one given, that of the study, or None where there is none."""
    own = folder / "plan.yaml"
    return plan if plan is not None else own if own.exists() else None


def plan_of(study: Study | None, file: Path | None, assays: Mapping[str, AnnData]) -> Plan | None:
    """Read the plan, against the study where there is one."""
    if study is not None:
        # A single-cell file is no assay itself: those of its cell types are, and only they can be analysed.
        declared = tuple(spec for spec in study.spec.assays if spec.h5ad is None)
        spec = dataclasses.replace(study.spec, assays=declared)
        study = dataclasses.replace(study, spec=spec, assays=MappingProxyType(dict(assays)))
    if file is not None:
        return Plan.read(file, study)
    return None if study is None else Plan.default(study)


def _check_plan(study: Study, plan: Plan, counts: Mapping[str, AnnData]) -> None:
    """Refuse what the analysis would refuse: formula, contrasts, random terms, features, decision rules."""
    pd_change(study, dataclasses.replace(plan, families={}, adjust={}))
    assays, lacking = dict(counts), {}
    for spec in study.spec.assays:
        if spec.kind == "ihc" and spec.cells is None:
            possible = _compartments(study, spec)
            assays[spec.name] = empty_assay(possible)
            drawn = empty_assay(dict.fromkeys(possible, _COMPARTMENTS))
            for feature in drawn.var_names.difference(assays[spec.name].var_names):
                lacking[spec.name, str(feature)] = _why_lacking(spec, str(feature))
    problems = Problems()
    families: dict[str, tuple[str, ...]] = {}
    for family, refs in plan.families.items():
        for ref in refs:
            assay, _, feature = ref.partition(":")
            if (assay, feature) in lacking:
                problems.add(
                    "E-PLAN-003",
                    f"The feature {feature!r} cannot be measured: {lacking[assay, feature]}",
                    remedy="Draw and export these regions, or name a feature of the whole tissue, such as "
                    f"{assay}:{feature.rpartition('_')[0]}_tissue.",
                    file="plan.yaml",
                    column=f"families.{family}",
                    value=ref,
                )
        families[family] = tuple(
            ref
            for ref in refs
            if ref.partition(":")[0] in assays  # others are told elsewhere
            and (ref.partition(":")[0], ref.partition(":")[2]) not in lacking
        )
    decided = {"decisions": tuple(plan.decisions.get("features", ()))}
    for named in (families, decided):
        try:
            resolve_families(dataclasses.replace(plan, families=named, adjust={}), assays)
        except InputError as error:
            problems.extend(error.problems)
    problems.raise_if_any(PlanError)


def _compartments(study: Study, spec: AssaySpec) -> dict[str, tuple[str, ...]]:
    """Give the compartments that the slides of each panel of an assay can have, from their region files."""
    found: dict[str, set[str]] = {}
    slides = slide_files(study)
    if spec.panel is not None and not any(slide.assay == spec.name for slide in slides):
        found[panel_file(study, spec.panel)] = set()
    for slide in slides:
        if slide.assay != spec.name:
            continue
        own = found.setdefault(slide.panel, set())
        panel = ihc.read_panel(slide.panel)
        if slide.regions is not None and len(own) < len(_COMPARTMENTS) - 1:
            own |= set(ihc.compartments_in(study.resolve(slide.regions), panel))
        elif slide.regions is None and panel.tumour is not None:
            own |= {"nest", "stroma"} | ({"margin"} if panel.margin_um > 0 else set())
    return {
        panel: tuple(name for name in _COMPARTMENTS if name == "tissue" or name in own)
        for panel, own in found.items()
    }


def _why_lacking(spec: AssaySpec, feature: str) -> str:
    compartment = feature.rpartition("_")[2]
    if spec.regions is None:
        why = f"study.yaml names none for {spec.name!r}"
        return f"{compartment} is known only where regions were drawn, and {why}."
    folder = spec.regions.rstrip("/")
    file = f"{folder}/SLIDE_ID.geojson"
    return f"no slide of its panel has a file {file} with a region of the class {compartment}."


def expected_assay(study: Study, spec: AssaySpec) -> AnnData:
    """Return an assay without biopsies that has every feature its slides can give, measured or not."""
    return empty_assay(_compartments(study, spec))


def empty_assay(compartments: Mapping[str, Sequence[str]]) -> AnnData:
    """Return an assay without biopsies that has the features which panels give in their compartments."""
    cells = pd.DataFrame({"class": pd.Series(dtype="int8"), "compartment": pd.Series(dtype=object)})
    of_marker = {ihc.read_panel(name).marker: name for name in sorted(compartments, reverse=True)}
    panels = {name: ihc.read_panel(name) for name in sorted(of_marker.values())}
    scores = [
        (name, "", ihc.score_cells(cells, dict.fromkeys(compartments[name], 0.0), panel))
        for name, panel in panels.items()
    ]
    whole = ihc.assemble(scores, list(panels.values()))[:0].copy()
    whole.var["unmeasured"] = "{}"  # what was said of a biopsy that is not there
    return whole


def _check_panels(study: Study) -> None:
    problems = Problems()
    for panel in sorted(_panels(study)):
        try:
            ihc.read_panel(panel_file(study, panel))
        except InputError as error:
            problems.extend(error.problems)
    problems.raise_if_any()
    for spec in study.spec.assays:
        markers: set[str] = set()
        for name in sorted(_compartments(study, spec)) if spec.kind == "ihc" and spec.cells is None else ():
            marker = ihc.read_panel(name).marker
            if marker in markers:
                problems.add(
                    "E-PANEL-001",
                    f"Two panels of the assay {spec.name!r} measure {marker}: their features have one name.",
                    remedy="Measure all of its slides with one panel, or make two assays of them.",
                    file=spec.slides or "slides.csv",
                    column="panel",
                    value=Path(name).name,
                )
            markers.add(marker)
    problems.raise_if_any()


def _panels(study: Study) -> set[str]:
    """Every panel that study.yaml or a slide names."""
    named = {spec.panel for spec in study.spec.assays if spec.kind == "ihc" and spec.panel is not None}
    return named | (
        {str(panel) for panel in study.slides["panel"].dropna()} if "panel" in study.slides else set()
    )


def _twins(study: Study) -> Iterator[Problem]:
    """Slides whose content another slide has: they would count twice, or for two biopsies."""
    files = slide_files(study)
    sizes = Counter(slide.file.stat().st_size for slide in files)
    alike = [slide for slide in files if sizes[slide.file.stat().st_size] > 1]
    reasons = ihc.find_twins(
        [(s.slide_id, s.biopsy_id, ihc.slide_hash(s.file), ihc.read_panel(s.panel).hash) for s in alike]
    )
    for slide in alike:
        if slide.slide_id in reasons:
            yield Problem(
                _TWIN,
                reasons[slide.slide_id],
                f"Correct the paths in {slide.sheet}.",
                slide.sheet,
                slide.line,
                "path",
                slide.name,
                severity="quarantine",
                item=slide.slide_id,
            )


def _before_first_dose(study: Study) -> Iterator[Problem]:
    """Biopsies that a label puts on treatment and a date before it."""
    visits = assign_visits(study)
    told = {(p.code, p.item) for p in study.problems}
    for biopsy, row in visits[visits["status"] == "quarantined"].iterrows():
        if (row["code"], str(biopsy)) in told:
            continue
        line = study.biopsies.at[biopsy, "line"] if "line" in study.biopsies else None
        yield Problem(
            str(row["code"]),
            str(row["reason"]),
            "Correct the visit or the date; the biopsy is left out until then.",
            "biopsies.csv",
            None if line is None else int(str(line)),
            "visit",
            str(study.biopsies.at[biopsy, "visit"]),
            severity="quarantine",
            item=str(biopsy),
        )


def survey_slides(
    source: str | Sequence[str], panel: str | None, *, mpp: float | None = None, regions: str | None = None
) -> Survey:
    """Read a slide sheet, slides, or the slides of a study folder, for measuring alone.

    Parameters
    ----------
    source : str or sequence of str
        ``slides.csv`` with slide_id, biopsy_id, path and perhaps mpp; or a study folder; or slides, each of
        which is a biopsy of its name.
    panel : str, optional
        A panel by name or file; needed with a sheet, and overrides that of a study.
    mpp : float, optional
        Micrometres per pixel of slides that do not state it.
    regions : str, optional
        Folder of region files by slide id, or the one file of the one slide.
    """
    if panel is not None and is_panel_file(panel):
        panel = str(Path(panel).absolute())  # what is given by hand is not sought in the study
    slides = None if isinstance(source, str) else [Path(path) for path in source]
    file = Path(source) if isinstance(source, str) else Path(source[0])
    if slides is None and file.is_dir():
        found = survey(file)
        if found.study is None or panel is None:
            return found
        under = found.study.slides.assign(panel=panel)
        return dataclasses.replace(found, study=dataclasses.replace(found.study, slides=under))
    problems = Problems()
    plan = Plan(DEFAULT_FORMULA, {}, {})
    if panel is None:
        problems.add(
            "E-PANEL-002",
            "A slide sheet by itself needs a panel.",
            remedy="Name one with --panel, such as cd8 or ki67, or give a panel file.",
            file=file.name,
        )
    else:
        try:
            ihc.read_panel(panel)
        except InputError as error:
            problems.extend(error.problems)
    sheet = read_table(file, problems=problems) if slides is None else _sheet_of(slides, mpp, problems)
    study = None if sheet is None else _slides_study(sheet, file, panel, problems)
    if study is not None and not problems.errors:
        study = _beside(study, file, slides=slides is not None, regions=regions)
        if regions is not None and Path(regions).is_dir():
            check_files(Path(regions).iterdir(), problems, root=Path(regions))
        problems.extend(_twins(study))
    return Survey(None if problems.errors else study, plan, None, {}, problems)


def _sheet_of(slides: Sequence[Path], mpp: float | None, problems: Problems) -> pd.DataFrame | None:
    """Make a slide sheet of slides given by name, or None; paths start from the folder of the first."""
    names: list[str | None] = [ihc.slide_name(path.name) for path in slides]
    first: dict[str | None, Path] = {}
    for name, path in zip(names, slides, strict=True):
        if first.setdefault(name, path) is not path:
            both = " and ".join(repr(f"{one.parent.name}/{one.name}") for one in (first[name], path))
            problems.add(
                "E-SHEET-005",
                f"The slides {both} would both be called {name!r}.",
                remedy="Rename one of the files, or give a slide sheet with an id for each slide.",
                file=path.name,
                value=name,
            )
    if len(first) < len(slides):
        return None
    where = [
        Path(os.path.relpath(path.absolute(), slides[0].absolute().parent)).as_posix() for path in slides
    ]
    columns: dict[str, list[str | None]] = {"slide_id": names, "biopsy_id": names, "path": [*where]}
    if mpp is not None:
        columns["mpp"] = [f"{mpp!r}"] * len(slides)
    return pd.DataFrame(columns, index=range(1, len(slides) + 1), dtype=object)


def _beside(study: Study, file: Path, *, slides: bool, regions: str | None) -> Study:
    """Say where the regions lie, and that slides given by name stand in no sheet."""
    (spec,) = study.spec.assays
    if regions is not None:
        spec = dataclasses.replace(
            spec, regions=Path(os.path.relpath(Path(regions).absolute(), file.absolute().parent)).as_posix()
        )
    if slides:
        spec = dataclasses.replace(spec, slides=None)
    return dataclasses.replace(study, spec=dataclasses.replace(study.spec, assays=(spec,)))


def _slides_study(sheet: pd.DataFrame, file: Path, panel: str | None, problems: Problems) -> Study | None:
    """Make a study of nothing but slides; every biopsy stands for a participant of its own."""
    needed = ("slide_id", "biopsy_id", "path")
    missing = [name for name in needed if name not in sheet]
    for name in missing:
        problems.add(
            "E-SHEET-001", f"The column {name!r} is missing.", remedy="Add it.", file=file.name, column=name
        )
    if missing:
        return None
    for name in needed:
        empty = [(int(line), None, "The cell is empty.") for line in sheet.index[sheet[name].isna()]]
        add_rows(
            problems, "E-SHEET-004", empty, remedy="Fill it, or remove the row.", file=file.name, column=name
        )
    twice = (sheet["slide_id"].duplicated() & sheet["slide_id"].notna()).to_numpy()
    ids_again = zip(sheet.index[twice], sheet["slide_id"][twice], strict=True)
    again = [(int(line), str(slide), "The slide id occurs twice.") for line, slide in ids_again]
    add_rows(problems, "E-SHEET-005", again, remedy="Give each slide an id of its own.", file=file.name)
    mpp = to_number(sheet["mpp"], file=file.name, problems=problems, low=0) if "mpp" in sheet else None
    if problems.errors:
        return None
    lines = sheet.index.to_numpy()
    slides = sheet.assign(line=lines, assay="ihc", panel=panel, mpp=float("nan") if mpp is None else mpp)
    slides = slides.set_index("slide_id")
    absent = [str(s) for s, path in slides["path"].items() if not (file.parent / str(path)).is_file()]
    for slide in absent:
        problems.add(
            "E-FILE-001",
            f"The file of slide {slide!r} of biopsy {slides.at[slide, 'biopsy_id']!r} does not exist.",
            remedy="Put the file there, or correct the path; it is relative to the sheet.",
            file=file.name,
            row=int(str(slides.at[slide, "line"])),
            column="path",
            value=shown_path(str(slides.at[slide, "path"]), file.parent),
            severity="quarantine",
            item=slide,
        )
    ids = pd.Index(sorted(set(slides["biopsy_id"])), dtype=object, name="biopsy_id")
    biopsies = pd.DataFrame({"participant_id": list(ids), "visit": None}, index=ids)
    biopsies["study_day"] = pd.array([pd.NA] * len(ids), dtype="Int64")
    spec = StudySpec(file.stem, None, (), {}, (AssaySpec("ihc", "ihc", slides=file.name, panel=panel),), {})
    return Study(
        spec,
        pd.DataFrame(index=ids.rename("participant_id")),
        biopsies,
        pd.DataFrame({"biopsy_id": pd.Series(dtype=object)}, index=pd.Index([], dtype=object)),
        slides.drop(index=absent),
        problems=tuple(problems),
        path=file.parent,
    )


# --- the work ------------------------------------------------------------------------------------------


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
    files = dict(_input_files(study, found.plan_file))
    files |= {name: (study.path or Path()) / name for name in decision_files(plan)}
    inputs: dict[str, str] = {}
    looks = {name: look(path) for name, path in sorted(files.items())}  # before they are hashed
    twins = {problem.item for problem in found.problems if problem.code == _TWIN}
    every = slide_files(study)
    slide_names = {slide.name for slide in every}
    measured = {name for slide in every for name in (slide.name, slide.regions)}
    left = {name for slide in every if slide.slide_id not in twins for name in (slide.name, slide.regions)}
    for done, (name, path) in enumerate(sorted(files.items()), start=1):
        if hash_slides or name not in left:
            inputs[name] = (ihc.slide_hash if name in slide_names else sha256_file)(path)
        tell("check", done, len(files))
    slides = [slide for slide in _slides(study) if slide["slide_id"] not in twins]
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


def _input_files(study: Study, plan_file: Path | None) -> Iterator[tuple[str, Path]]:
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
    for panel in sorted(_panels(study)):
        if is_panel_file(panel):
            yield shown_path(panel, folder), folder / panel
    for slide in slide_files(study):
        yield slide.name, slide.file
        if slide.regions is not None:
            yield slide.regions, folder / slide.regions
    if plan_file is not None:
        yield "plan.yaml", plan_file


@dataclasses.dataclass(frozen=True, slots=True)
class SlideFile:
    """A slide whose file is there.

    Attributes
    ----------
    slide_id, biopsy_id, assay : str
    name : str
        Its path for messages and the manifest: relative to the study folder, never absolute.
    file : Path
    sheet : str
        The sheet; of a slide given by its name, that.
    line : int or None
        Where it stands in the sheet.
    panel : str
        Name or path.
    mpp : float or None
        From the sheet.
    regions : str or None
        Its GeoJSON file, relative to the study folder.
    """

    slide_id: str
    biopsy_id: str
    assay: str
    name: str
    file: Path
    sheet: str
    line: int | None
    panel: str
    mpp: float | None
    regions: str | None
    origin: dict[str, str | None]  # scanner and batch, by which a panel may calibrate


def slide_files(study: Study) -> list[SlideFile]:
    """List the slides of a study whose file is there, by id; the others are in its problems."""
    folder = (study.path or Path()).absolute()
    specs = {spec.name: spec for spec in study.spec.assays}
    found = []
    for slide_id, row in study.slides.sort_index().iterrows():
        spec = specs.get(str(row["assay"]))
        path = Path(str(row["path"]))
        if spec is None or not (folder / path).is_file():
            continue
        panel, mpp, line = row["panel"], row["mpp"], row.get("line")
        name = _slide_name(str(slide_id), str(path), folder)
        sheet = spec.slides or ("slides.csv" if (folder / "slides.csv").exists() else "biopsies.csv")
        if spec.slides is None and not study.spec.visits:  # given by name: there is no sheet
            sheet, line = name, None
        region = _region_of(folder, spec.regions, str(slide_id))
        found.append(
            SlideFile(
                slide_id=str(slide_id),
                biopsy_id=str(row["biopsy_id"]),
                assay=spec.name,
                name=name,
                file=folder / path,
                sheet=sheet,
                line=None if line is None or pd.isna(line) else int(line),
                panel=panel_file(study, str(panel)),
                mpp=None if pd.isna(mpp) else float(mpp),
                regions=region,
                origin={name: _text(row.get(name)) for name in ("scanner", "batch")},
            )
        )
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _region_of(folder: Path, regions: str | None, slide_id: str) -> str | None:
    """Give the region file of a slide, from the study folder."""
    if regions is None:
        return None
    if (folder / regions).is_file():
        return regions
    found = ihc.find_regions(folder / regions, slide_id)
    return None if found is None else f"{regions.rstrip('/')}/{found.name}"


def _slide_name(slide_id: str, path: str, folder: Path) -> str:
    shown = shown_path(path, folder)
    inside = (folder / shown).is_file() and (folder / shown).samefile(folder / path)
    return shown if inside else f"{slide_id}: {shown}"


def _slides(study: Study) -> list[dict[str, Any]]:
    """Describe the measuring of each slide."""
    taken: list[str] = []
    slides = []
    folder = (study.path or Path()).absolute()
    for slide in slide_files(study):
        name = slug(slide.slide_id, taken)
        taken.append(name)
        slides.append(
            {
                **dataclasses.asdict(slide),
                "file": str(slide.file),
                "regions": None if slide.regions is None else str(folder / slide.regions),
                "regions_name": slide.regions,
                "panel_sha256": ihc.read_panel(slide.panel).hash,
                "slug": name,
                "step": f"slide-{name}",
                "bytes": slide.file.stat().st_size,
            }
        )
    return slides
