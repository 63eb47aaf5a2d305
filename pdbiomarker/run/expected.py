"""The features that the slides of a study can give, before any is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd
from anndata import AnnData

from pdbiomarker import ihc
from pdbiomarker.run.assays import panel_file
from pdbiomarker.run.slide_files import slide_files
from pdbiomarker.study import (
    AssaySpec,
    Study,
)

__all__ = ["COMPARTMENTS", "compartments_of", "empty_assay", "expected_assay", "why_lacking"]

COMPARTMENTS: Final = ihc.COMPARTMENT_ORDER


def expected_assay(study: Study, spec: AssaySpec) -> AnnData:
    """Return an assay without biopsies that has every feature its slides can give, measured or not."""
    return empty_assay(compartments_of(study, spec))


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


def compartments_of(study: Study, spec: AssaySpec) -> dict[str, tuple[str, ...]]:
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
        if slide.regions is not None and len(own) < len(COMPARTMENTS) - 1:
            own |= set(ihc.compartments_in(study.resolve(slide.regions), panel))
        elif slide.regions is None and panel.tumour is not None:
            own |= {"nest", "stroma"} | ({"margin"} if panel.margin_um > 0 else set())
    return {
        panel: tuple(name for name in COMPARTMENTS if name == "tissue" or name in own)
        for panel, own in found.items()
    }


def why_lacking(spec: AssaySpec, feature: str) -> str:
    """Say why no slide of an assay can give a feature: its compartment was not drawn."""
    compartment = feature.rpartition("_")[2]
    if spec.regions is None:
        why = f"study.yaml names none for {spec.name!r}"
        return f"{compartment} is known only where regions were drawn, and {why}."
    folder = spec.regions.rstrip("/")
    file = f"{folder}/SLIDE_ID.geojson"
    return f"no slide of its panel has a file {file} with a region of the class {compartment}."
