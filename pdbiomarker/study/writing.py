"""Writing a study back as a folder that a person can read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pdbiomarker.provenance import atomic_path
from pdbiomarker.study.spec import FILE, spec_mapping
from pdbiomarker.tables import to_yaml, write_table

if TYPE_CHECKING:
    from pdbiomarker.study.model import Study

#: Columns that reading adds.
_DERIVED = ("line", "hours_from_first_dose", "source", "assay")


def write_folder(study: Study, target: Path) -> Path:
    """Write a study as a folder; see :meth:`pdbiomarker.study.Study.write`."""
    target.mkdir(parents=True, exist_ok=True)
    with atomic_path(target / FILE) as temporary:
        temporary.write_text(to_yaml(spec_mapping(study.spec)), encoding="utf-8", newline="\n")
    write_table(_sheet(study.participants, "participant_id"), target / "participants.csv")
    biopsies = study.biopsies
    if "first_dose" not in biopsies:
        biopsies = biopsies.copy()
    write_table(_sheet(biopsies, "biopsy_id"), target / "biopsies.csv")
    if "source" in study.libraries and (study.libraries["source"] == "libraries.csv").any():
        write_table(_sheet(study.libraries, "library_id"), target / "libraries.csv")
    return target


def _sheet(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    return frame.drop(columns=[c for c in _DERIVED if c in frame]).rename_axis(index=key)


_ = (os, shutil)
