"""The report among the steps of a run: one step for each format, so that each is made, kept and hashed alone.

Importing this loads nothing heavy: the process that leads a run reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pdbiomarker.provenance import sha256_json

__all__ = ["STEPS", "document_of", "report_facts", "report_key", "results_in"]

#: The step that leaves each format of the report, as its record is named.
STEPS: Final[Mapping[str, str]] = MappingProxyType(
    {"html": "report", "pdf": "report-pdf", "pptx": "report-pptx", "xlsx": "report-xlsx"}
)


def document_of(format_: str) -> str:
    """Name the file of a format, relative to the results folder."""
    return f"review.{format_}"


def report_key(made_from: str, against: str | None) -> str:
    """Give the key of the report's steps: what the results were made from, and the earlier cut."""
    return made_from if against is None else sha256_json([made_from, {"against": against}])


def results_in(outputs: Mapping[str, str]) -> dict[str, str]:
    """Give those outputs of a run that the report is made of."""
    return {name: sha for name, sha in outputs.items() if name.startswith(("results/", "assays/"))}


def report_facts(made: Mapping[str, object], against: str | None) -> dict[str, Any]:
    """Say for the manifest which formats there are, and the hash of the results they are compared with."""
    formats = [name for name, step in STEPS.items() if step in made]
    return {"formats": formats, **({} if against is None else {"against": against})}
