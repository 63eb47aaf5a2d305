"""The command line: one subcommand is one public function, files in, files out.

Results go to files; their path is the only thing on standard output. Progress and problems go to standard
error. Nothing heavy is loaded before a command needs it.
"""

from __future__ import annotations

from typing import Final

import typer

from pdbiomarker.cli import (
    assays,
    begin,
    clinic,
    cluster,
    decisions,
    documents,
    provenance,
    slides,
    study,
)
from pdbiomarker.cli.shell import EXIT_CODES, Command, common, guarded

__all__ = ["app", "main"]

app = typer.Typer(
    name="pdbiomarker",
    help="Pharmacodynamic change in serial tumour biopsies: from slides and counts to a reviewed decision.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.callback()(common)

#: Every command, in the order and under the headings of ``pdbiomarker --help``.
_COMMANDS: Final[dict[str, tuple[Command, ...]]] = {
    "To begin": (begin.init, begin.explain, begin.reference),
    "The whole road": (study.demo, study.check, study.run, study.change, study.simulate),
    "Many machines": (cluster.step, cluster.status),
    "Assays": (assays.quantify, assays.import_, assays.expression),
    "The trial": (
        clinic.exposure,
        clinic.response,
        clinic.ada,
        clinic.safety,
        clinic.escalation,
        clinic.reconcile,
    ),
    "Decisions": (decisions.decide, decisions.power),
    "Results": (documents.report, documents.export, documents.diff, documents.version),
    "Provenance and privacy": (
        provenance.verify,
        provenance.reproduce,
        provenance.audit,
        provenance.sign,
        slides.deidentify,
    ),
}
for _panel, _commands in _COMMANDS.items():
    for _command in _commands:
        # A trailing underscore keeps a keyword of Python (import_) free.
        app.command(_command.__name__.rstrip("_"), epilog=EXIT_CODES, rich_help_panel=_panel)(
            guarded(_command)
        )

_plan = typer.Typer(
    help="Lock the plan of a study, hold it against its lock, or show it in full.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
)
for _command in (decisions.plan_lock, decisions.plan_check, decisions.plan_show):
    _plan.command(_command.__name__.removeprefix("plan_"), epilog=EXIT_CODES)(guarded(_command))
app.add_typer(_plan, name="plan", rich_help_panel="Decisions")


def main() -> None:
    """Run the command line."""
    app()
