"""Pharmacodynamic change in serial tumour biopsies: from slides and counts to a reviewed decision.

>>> import pdbiomarker as pb
>>> study = pb.read_study("expansion/")  # doctest: +SKIP
>>> result = pb.pd_change(study, pb.Plan.read("expansion/plan.yaml"))  # doctest: +SKIP
>>> pb.report(study, result, "review.html")  # doctest: +SKIP

``__all__`` is what is public. Importing the package does no work: a name loads its module, and what that
needs, on first use.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from importlib.metadata import version as _version

    from pdbiomarker import clinical, decide, errors, expression, formula, ihc, link, mixed, noise, plot
    from pdbiomarker.catalogue import explain
    from pdbiomarker.change import PDResult, clinical_join, pd_change, to_adam, with_clinical_columns
    from pdbiomarker.normalize import normalize
    from pdbiomarker.pairing import accountability, assign_visits, pairs
    from pdbiomarker.plan import Plan
    from pdbiomarker.report import report
    from pdbiomarker.run import RunOutcome, change_study, quantify_slides, run_study
    from pdbiomarker.run.check import check
    from pdbiomarker.run.decisions import decide_results, read_review
    from pdbiomarker.run.demo import run_demo
    from pdbiomarker.run.exports import export_result
    from pdbiomarker.run.exposure import write_exposure
    from pdbiomarker.run.expression import ExpressionOptions, write_expression
    from pdbiomarker.run.imports import import_exports
    from pdbiomarker.run.lock import check_plan, lock_plan, show_plan
    from pdbiomarker.run.power import PowerRequest, plan_power
    from pdbiomarker.run.reconciliation import reconcile_tables
    from pdbiomarker.run.reports import diff_results, report_results
    from pdbiomarker.run.reproduction import Reproduction, reproduce
    from pdbiomarker.run.response import write_response
    from pdbiomarker.run.results import read_result
    from pdbiomarker.run.safety import escalate, write_ada, write_safety
    from pdbiomarker.run.signing import sign_results
    from pdbiomarker.run.status import Status, folder_status
    from pdbiomarker.run.stepwise import StepOptions, run_step
    from pdbiomarker.run.trial import clinical_tables, with_clinical
    from pdbiomarker.simulate import simulate_study
    from pdbiomarker.study import Study, init_study, read_study
    from pdbiomarker.verification import verify

    __version__ = _version("pdbiomarker")

__all__ = [
    "ExpressionOptions",
    "PDResult",
    "Plan",
    "PowerRequest",
    "Reproduction",
    "RunOutcome",
    "Status",
    "StepOptions",
    "Study",
    "__version__",
    "accountability",
    "assign_visits",
    "change_study",
    "check",
    "check_plan",
    "clinical",
    "clinical_join",
    "clinical_tables",
    "decide",
    "decide_results",
    "diff_results",
    "errors",
    "escalate",
    "explain",
    "export_result",
    "expression",
    "folder_status",
    "formula",
    "ihc",
    "import_exports",
    "init_study",
    "link",
    "lock_plan",
    "mixed",
    "noise",
    "normalize",
    "pairs",
    "pd_change",
    "plan_power",
    "plot",
    "quantify_slides",
    "read_result",
    "read_review",
    "read_study",
    "reconcile_tables",
    "report",
    "report_results",
    "reproduce",
    "run_demo",
    "run_step",
    "run_study",
    "show_plan",
    "sign_results",
    "simulate_study",
    "to_adam",
    "verify",
    "with_clinical",
    "with_clinical_columns",
    "write_ada",
    "write_exposure",
    "write_expression",
    "write_response",
    "write_safety",
]

#: Public name -> the module that defines it.
_HOMES: Final = {
    "ExpressionOptions": "run.expression",
    "PDResult": "change",
    "Plan": "plan",
    "PowerRequest": "run.power",
    "Reproduction": "run.reproduction",
    "RunOutcome": "run",
    "Status": "run.status",
    "StepOptions": "run.stepwise",
    "Study": "study",
    "accountability": "pairing",
    "assign_visits": "pairing",
    "change_study": "run",
    "check": "run.check",
    "clinical_join": "change",
    "clinical_tables": "run.trial",
    "check_plan": "run.lock",
    "lock_plan": "run.lock",
    "show_plan": "run.lock",
    "import_exports": "run.imports",
    "init_study": "study",
    "decide_results": "run.decisions",
    "escalate": "run.safety",
    "explain": "catalogue",
    "export_result": "run.exports",
    "normalize": "normalize",
    "pairs": "pairing",
    "pd_change": "change",
    "plan_power": "run.power",
    "quantify_slides": "run",
    "read_result": "run.results",
    "read_review": "run.decisions",
    "read_study": "study",
    "reconcile_tables": "run.reconciliation",
    "report": "report",
    "report_results": "run.reports",
    "reproduce": "run.reproduction",
    "diff_results": "run.reports",
    "folder_status": "run.status",
    "run_demo": "run.demo",
    "run_step": "run.stepwise",
    "run_study": "run",
    "sign_results": "run.signing",
    "simulate_study": "simulate",
    "to_adam": "change",
    "verify": "verification",
    "with_clinical": "run.trial",
    "with_clinical_columns": "change",
    "write_ada": "run.safety",
    "write_exposure": "run.exposure",
    "write_expression": "run.expression",
    "write_safety": "run.safety",
    "write_response": "run.response",
}
_SUBMODULES: Final = frozenset(
    {"clinical", "decide", "errors", "expression", "formula", "ihc", "link", "mixed", "noise", "plot"}
)


class _Package(types.ModuleType):
    """Keeps ``pb.report`` and ``pb.normalize`` the functions, though their modules have the same names.

    Python binds a submodule to its package when it is loaded, wherever that happens; here the function of
    that name is bound instead. The modules stay importable: ``from pdbiomarker.normalize import voom``.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, types.ModuleType) and _HOMES.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version(__name__)
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
