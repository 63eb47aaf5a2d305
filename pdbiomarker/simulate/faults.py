"""Faults planted in a written study folder, to show how each one is told. See :data:`FAULTS`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import tifffile

from pdbiomarker.simulate.design import ON_TREATMENT, TrialDesign
from pdbiomarker.simulate.slides import write_ome_tiff
from pdbiomarker.simulate.trial import study_date

__all__ = ["spoil_biopsies", "spoil_counts", "spoil_files"]


def spoil_biopsies(sheet: pd.DataFrame, participants: pd.DataFrame, design: TrialDesign) -> pd.DataFrame:
    """The biopsy sheet with the faults asked for."""
    sheet = sheet.copy()
    if "on_treatment_before_dose" in design.faults:
        row = sheet.index[sheet["visit"] == ON_TREATMENT][0]
        first_dose = participants.set_index("participant_id").loc[
            sheet.loc[row, "participant_id"], "first_dose_datetime"
        ]
        date = study_date(dt.datetime.fromisoformat(str(first_dose)).date(), -5)
        sheet.loc[row, "study_day"] = -5
        sheet.loc[row, "collection_date"] = date.isoformat()
    if "duplicate_biopsy" in design.faults and len(sheet) > 1:
        sheet.loc[sheet.index[1], "biopsy_id"] = sheet["biopsy_id"].iloc[0]
    if "missing_column" in design.faults:
        sheet = sheet.drop(columns="participant_id")
    return sheet


def spoil_counts(counts: pd.DataFrame, design: TrialDesign) -> pd.DataFrame:
    """The count matrix as text, with the faults asked for, each in a row and column of its own."""
    text = counts.astype(str)
    for position, (fault, value) in enumerate(
        (("text_count", "many"), ("negative_count", "-3"), ("fractional_count", "10.5"))
    ):
        if fault in design.faults:
            text.iloc[3 + 2 * position, position % text.shape[1]] = value
    if "unclaimed_library" in design.faults:
        text["99999"] = text.iloc[::-1, 0].to_numpy()
    return text


def spoil_files(folder: Path, slides: pd.DataFrame, design: TrialDesign) -> None:
    """Damage files of a written folder."""
    if "missing_file" in design.faults:
        (folder / "counts.csv.gz").unlink()
    paths = [folder / path for path in slides["path"]]
    if "truncated_slide" in design.faults and paths:
        data = paths[0].read_bytes()
        paths[0].write_bytes(data[: int(0.6 * len(data))])
    if "slide_without_mpp" in design.faults and len(paths) > 1:
        write_ome_tiff(paths[1], tifffile.imread(paths[1]), mpp=None)
