"""Everything that can be known of a study before any work: all problems at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pandas as pd
from anndata import AnnData

from pdbiomarker import ihc
from pdbiomarker.change.clinic import BEFORE_BIOPSY, JOINED_COLUMNS
from pdbiomarker.change.families import resolve_families
from pdbiomarker.change.question import read_model
from pdbiomarker.clinical.efficacy_rules import rules_of_folder
from pdbiomarker.decide.asked import check_decisions
from pdbiomarker.errors import InputError, PlanError, Problem, Problems
from pdbiomarker.pairing import assign_visits
from pdbiomarker.plan import Plan, undeclared_events
from pdbiomarker.run.assays import Collecting, count_assays, identity_problems, panel_file
from pdbiomarker.run.censored import censored_problems
from pdbiomarker.run.expected import COMPARTMENTS, compartments_of, empty_assay, why_lacking
from pdbiomarker.run.primary import primary_problems
from pdbiomarker.run.slide_files import panels_named, twins_among
from pdbiomarker.study import (
    Study,
    read_study,
)
from pdbiomarker.tables import order_by_texts, read_table, to_number

__all__ = [
    "TRUTH",
    "Survey",
    "plan_file_of",
    "plan_of",
    "read_truth",
    "survey",
]

#: Panels of an assay of slides, and the compartments in which each can measure.
Compartments = Mapping[str, tuple[str, ...]]

#: Where a simulated study keeps what was planted.
TRUTH: Final = "truth/features.csv"


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
    drawn: Mapping[str, Compartments] = {}
    read = False
    if study is not None:
        found.extend(study.problems)
        found.extend(read_truth(study)[1])
        with Collecting(found):
            drawn = _check_panels(study)
            found.extend(twins_among(study))
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
            found.extend(_check_plan(study, the_plan, assays, drawn))
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


def _check_plan(
    study: Study, plan: Plan, counts: Mapping[str, AnnData], drawn: Mapping[str, Compartments]
) -> list[Problem]:
    """Refuse what the analysis would refuse: formula, contrasts, random terms, features, decision rules.

    Returns
    -------
    list of Problem
        Warnings: primary features that will get no estimate.
    """
    model = read_model(study, plan)
    assays, lacking = dict(counts), {}
    for name, possible in drawn.items():
        assays[name] = empty_assay(possible)
        everything = empty_assay(dict.fromkeys(possible, COMPARTMENTS))
        for feature in everything.var_names.difference(assays[name].var_names):
            lacking[name, str(feature)] = why_lacking(study.spec.assay(name), str(feature))
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
    of_features = []
    for named in (families, decided):
        try:
            of_features.append(resolve_families(dataclasses.replace(plan, families=named, adjust={}), assays))
        except InputError as error:
            problems.extend(error.problems)
    problems.raise_if_any(PlanError)
    visits = list(dict.fromkeys(visit for touched in model.visits.values() for visit in touched))
    primary = [feature for feature, family in of_features[0].items() if family == "primary"]
    return list(primary_problems(study, primary, assays, visits))


def _check_panels(study: Study) -> dict[str, Compartments]:
    """Refuse panels that cannot be read, or give two features one name.

    Returns
    -------
    dict
        Of each assay of slides that are to be measured: its panels, and the compartments that each can have.
    """
    problems = Problems()
    for panel in sorted(panels_named(study)):
        try:
            ihc.read_panel(panel_file(study, panel))
        except InputError as error:
            problems.extend(error.problems)
    problems.raise_if_any()
    drawn: dict[str, Compartments] = {
        spec.name: compartments_of(study, spec)
        for spec in study.spec.assays
        if spec.kind == "ihc" and spec.cells is None
    }
    for assay, panels in drawn.items():
        markers: set[str] = set()
        for name in sorted(panels):
            marker = ihc.read_panel(name).marker
            if marker in markers:
                problems.add(
                    "E-PANEL-001",
                    f"Two panels of the assay {assay!r} measure {marker}: their features have one name.",
                    remedy="Measure all of its slides with one panel, or make two assays of them.",
                    file=study.spec.assay(assay).slides or "slides.csv",
                    column="panel",
                    value=Path(name).name,
                )
            markers.add(marker)
    problems.raise_if_any()
    return drawn


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
