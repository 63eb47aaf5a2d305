"""What a plan asks of a study: the model and its contrasts, read once and held against the study.

A contrast touches one visit, two, or more, and is fitted on the biopsies of these visits alone, because one
participant intercept over three visits would share one variance between an early and a late change:

* **two visits** (``C2D1 - screening``, at a dose, differences of such changes, a comparison of cohorts over
  two visits): the mixed model on those two visits;
* **one visit** (``dose_mg: 10 - 3 at C2D1``): the formula without the visit, on the biopsies of that visit.
  One biopsy of each participant leaves no participant term: least squares;
* **three or more** (``(C1D15 + C2D1)/2 - screening``): each participant with all of them gives one number,
  the weighted sum of the visits, and these are fitted by least squares on the weighted sum of the design's
  rows. This is exact whatever the covariance of the visits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from pdbiomarker.errors import FormulaError, PlanError, Problems
from pdbiomarker.formula import Contrast, Formula, parse, parse_contrast
from pdbiomarker.plan import Plan, check_event, contrast_fault, formula_levels, random_faults
from pdbiomarker.study import Study

__all__ = ["Model", "Question", "read_model"]

_ZERO: Final = 1e-12
_TWO: Final = 2


@dataclasses.dataclass(frozen=True)
class Question:
    """One contrast of a plan.

    Attributes
    ----------
    name : str
    contrast : Contrast
    visits : tuple of str
        That it touches; of one visit minus another, the subtrahend first, else in the order of the study.
    weights : mapping of visit to float, or None
        Weight of each visit in one participant; None where participants differ in them.
    """

    name: str
    contrast: Contrast
    visits: tuple[str, ...]
    weights: Mapping[str, float] | None

    @property
    def is_change(self) -> bool:
        """Whether a participant by himself answers it: visits compared with weights that sum to zero."""
        return len(self.visits) > 1 and self.weights is not None and abs(sum(self.weights.values())) <= _ZERO

    @property
    def is_difference(self) -> bool:
        """Whether it is one visit minus another."""
        return self.contrast.is_difference and self.contrast.factor == "visit"

    @property
    def several(self) -> bool:
        """Whether it touches three visits or more."""
        return len(self.visits) > _TWO


@dataclasses.dataclass(frozen=True)
class Model:
    """What a plan asks for, parsed once."""

    formula: Formula
    questions: Mapping[str, Question]
    plan: Plan

    @property
    def visits(self) -> dict[str, tuple[str, ...]]:
        """Contrast name to the visits that it touches."""
        return {name: question.visits for name, question in self.questions.items()}


def read_model(study: Study, plan: Plan) -> Model:
    """Parse formula and contrasts and hold them against the study.

    Raises
    ------
    PlanError
        E-PLAN-002 (contrasts), E-PLAN-004 (replicates without a term), E-PLAN-010, 011, 013 (intercurrent
        events), with whatever else is wrong.
    FormulaError
        E-FORMULA-...: the formula cannot be read, or a random term cannot be identified.
    """
    formula = parse(plan.formula)
    problems = Problems()
    if "visit" not in formula.columns:
        problems.add(
            "E-PLAN-002",
            "Contrasts compare visits, and the formula has no term 'visit'.",
            remedy="Write for instance '~ visit + (1|participant)'.",
            file="plan.yaml",
            column="formula",
            value=plan.formula,
        )
    questions = _questions(study, plan, formula, problems)
    for event in plan.events:
        check_event(study, event, problems)
    for fault in random_faults(formula, plan.replicates):
        column = "replicates" if fault.code == "E-PLAN-004" else "formula"
        problems.add(
            fault.code,
            fault.message,
            remedy=fault.remedy,
            file="plan.yaml",
            column=column,
            value=plan.replicates if column == "replicates" else plan.formula,
        )
    codes = {problem.code for problem in problems.errors}
    problems.raise_if_any(FormulaError if codes == {"E-FORMULA-006"} else PlanError)
    return Model(formula, questions, plan)


def _questions(study: Study, plan: Plan, formula: Formula, problems: Problems) -> dict[str, Question]:
    visits = [v.name for v in study.spec.visits]
    columns = formula_levels(formula, study)
    questions = {}
    for name, text in plan.contrasts.items():

        def refuse(message: str, remedy: str, name: str = name, text: str = text) -> None:
            problems.add(
                "E-PLAN-002",
                message,
                remedy=remedy,
                file="plan.yaml",
                column=f"contrasts.{name}",
                value=text,
            )

        try:
            contrast = parse_contrast(text, visits, columns=columns)
        except FormulaError as error:
            for problem in error.problems:
                refuse(f"The contrast {name!r} cannot be read: {problem.message}", problem.remedy)
            continue
        fault = contrast_fault(name, contrast)
        if fault is not None:
            refuse(fault.message, fault.remedy)
        two = contrast.is_difference and contrast.factor == "visit"
        order = (contrast.subtrahend, contrast.minuend) if two else contrast.visits
        questions[name] = Question(name, contrast, order, contrast.visit_weights)
    return questions
