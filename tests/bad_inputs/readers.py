"""What reads the inputs of the corpus: each reader gives its result and everything that it told."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from small_study import draw_slide

from pdbiomarker import expression, ihc
from pdbiomarker.clinical.cdisc import import_cdisc, read_dataset
from pdbiomarker.decide import read_rule
from pdbiomarker.errors import InputError, ItemError, PdBiomarkerError, Problem, Problems
from pdbiomarker.formula import parse
from pdbiomarker.formula.contrast_grammar import parse_contrast
from pdbiomarker.ihc import SlideOptions, quantify_slide, read_mask
from pdbiomarker.noise import borrowed_noises
from pdbiomarker.plan import Plan
from pdbiomarker.run.check import check
from pdbiomarker.run.results import read_parts, read_result
from pdbiomarker.run.survey import survey
from pdbiomarker.study import read_study
from pdbiomarker.study.lock import read_lock
from pdbiomarker.tables import read_table
from pdbiomarker.verification import verify


@dataclasses.dataclass(frozen=True)
class Found:
    """The result (None where refused) and every problem."""

    value: Any
    problems: tuple[Problem, ...] = ()


def _raising(
    read: Callable[[Path], Any], told: Callable[[Any], Any] | None = None
) -> Callable[[Path], Found]:
    def reader(path: Path) -> Found:
        try:
            value = read(path)
        except InputError as error:
            return Found(None, tuple(error.problems))
        except ItemError as error:
            return Found(None, (error.problem,))
        return Found(value, () if told is None else tuple(told(value)))

    return reader


def _telling(read: Callable[[Path, Problems], Any]) -> Callable[[Path], Found]:
    def reader(path: Path) -> Found:
        problems = Problems()
        try:
            value = read(path, problems)
        except InputError as error:
            return Found(None, tuple(error.problems))
        return Found(value, tuple(problems))

    return reader


def _checking(as_: str) -> Callable[[Path], Found]:
    return lambda path: Found(None, tuple(check(path, as_=as_)))


def _formula_of(path: Path) -> Any:
    return parse(path.read_text(encoding="utf-8", errors="replace"))


def _contrast_of(path: Path) -> Any:
    return parse_contrast(
        path.read_text(encoding="utf-8", errors="replace"), ["screening", "C2D1"], columns={"dose_mg": None}
    )


def _plan_of_study(folder: Path) -> Plan:
    return Plan.read(folder / "plan.yaml", read_study(folder))


def _counts_of_study(folder: Path) -> Any:
    study = read_study(folder)
    return expression.read_assay(study, study.spec.assay("rna"))


def _values_of_study(folder: Path) -> Any:
    study = read_study(folder)
    return expression.read_values(folder / "flow.csv", study=study, spec=study.spec.assay("flow"))


def _cells_of(path: Path) -> Any:
    return expression.read_cells(path)


def _measured(path: Path) -> Any:
    return quantify_slide(path, "cd8", options=SlideOptions(overlay=False))


@cache
def warm() -> None:
    """Compile what slides need, so that no case is charged for it."""
    with tempfile.TemporaryDirectory() as folder:
        _measured(draw_slide(Path(folder) / "warm.tif", seed=1, positive=20))


READERS: Final[Mapping[str, Callable[[Path], Found]]] = {
    "table": _telling(lambda path, problems: read_table(path, problems=problems)),
    "study folder": _raising(read_study, lambda study: study.problems),
    "study, before its slides": lambda path: Found(None, tuple(survey(path).problems)),
    "plan of a study": _raising(_plan_of_study),
    "plan": _raising(Plan.read),
    "formula": _raising(_formula_of),
    "contrast": _raising(_contrast_of),
    "lock": _telling(
        lambda path, problems: read_lock(path if path.is_dir() else path.parent, "BAD-1", problems)
    ),
    "counts": _raising(expression.read_counts, expression.problems_of),
    "assay of a study": _raising(_counts_of_study, expression.problems_of),
    "values of a study": _raising(_values_of_study, expression.problems_of),
    "gene sets": _telling(lambda path, problems: expression.read_gene_sets(path, problems=problems)),
    "single cells": _raising(_cells_of, lambda found: found.problems),
    "RCC file": _checking("rcc"),
    "RCC folder": _raising(expression.read_ncounter, expression.problems_of),
    "h5ad assay": _checking("h5ad"),
    "cell export": _raising(lambda path: ihc.read_cells(path, panel="cd8"), lambda found: found.problems),
    "regions": _telling(lambda path, problems: ihc.read_regions(path, shape=(1000, 1000), problems=problems)),
    "mask": _telling(lambda path, problems: read_mask(path, shape=(300, 300), mpp=0.5, problems=problems)),
    "slide": _checking("slide"),
    "slide, measured": _raising(_measured, lambda result: result.problems),
    "panel": _raising(ihc.read_panel),
    "decision rule": _raising(read_rule),
    "borrowed noise": _raising(borrowed_noises),
    "CDISC dataset": _raising(read_dataset),
    "CDISC folder": _raising(import_cdisc, lambda found: getattr(found, "problems", ())),
    "results, verified": _raising(verify, lambda found: found),
    "results, read back": _raising(read_result),
    "results, taken apart": _raising(read_parts),
}

#: What a reader may raise: anything else is a traceback.
OURS: Final = (PdBiomarkerError,)
