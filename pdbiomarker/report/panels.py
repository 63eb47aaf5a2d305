"""The panels that slides were measured with: their parameters, where a hash says that they are those."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import PurePosixPath
from typing import Any

from pdbiomarker.errors import AssayError
from pdbiomarker.ihc.panel import Panel, read_panel
from pdbiomarker.reference import list_reference

__all__ = ["PanelUsed", "panel_sentence", "panels_of"]

_KEY = "panel_"
_WHERE = {"nucleus": "the nucleus", "ring": "a ring round the nucleus",
          "cell": "the nucleus and a ring round it", "membrane": "the outer 1 um of the cell"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class PanelUsed:
    """A panel by the hash that the assay carries; `panel` where one of this package has that hash."""

    assay: str
    marker: str
    hash: str
    panel: Panel | None


def panels_of(study: Any) -> tuple[PanelUsed, ...]:
    """Find the panels of a study's assays, by their hashes.

    A panel of the study's own is known by its hash only: the file lies with the study, not with its results.
    """
    found = []
    for assay, adata in getattr(study, "assays", {}).items():
        facts = dict(getattr(adata, "uns", {}).get("provenance", {}))
        for key in sorted(k for k in facts if str(k).startswith(_KEY)):
            digest = str(facts[key])
            found.append(PanelUsed(str(assay), str(key)[len(_KEY) :], digest, _known().get(digest)))
    return tuple(found)


@functools.cache
def _known() -> dict[str, Panel]:
    """The panels of this package by their hash."""
    panels = {}
    for name in list_reference("panels"):
        if not name.endswith(".yaml"):
            continue
        try:
            panel = read_panel(PurePosixPath(name).stem)
        except AssayError:  # no panel, though it lies beside them
            continue
        panels[panel.hash] = panel
    return panels


def panel_sentence(used: PanelUsed) -> str:
    """Say how cells of a marker were found and called."""
    panel = used.panel
    if panel is None:
        return (
            f"{used.assay}: {used.marker} by a panel of the study's own, SHA-256 {used.hash[:16]}; its "
            "thresholds stand in that file."
        )
    limits = ", ".join(f"{v:g}" for v in panel.thresholds)
    grown = f", {panel.expansion_um:g} um wide," if panel.measure in {"ring", "cell"} else ""
    seen = panel.detection
    return (
        f"{used.assay}: {panel.label} on slides with {panel.chromogen} and haematoxylin, panel "
        f"{panel.marker} "
        f"version {panel.version} (SHA-256 {used.hash[:16]}). Colours were parted with fixed stain vectors; "
        f"nuclei of {seen.min_area_um2:g} to {seen.max_area_um2:g} um² were found "
        f"at {seen.pixel_um:g} um a pixel; a cell is positive where the {panel.statistic} "
        f"optical density of {panel.chromogen} in {_WHERE[panel.measure]}{grown} reaches the first of "
        f"{limits} "
        "(1+, 2+, 3+), the same at every visit."
    )
