"""Sensitivity rows adjusted for tumour content: is a change more than one of composition.

A transcript or a count in a whole section changes with the share of tumour in it, without any cell changing.
Tumour content on treatment is itself measured after treatment and may be changed by it: adjusted for, a true
effect shrinks (a ratio of 2 becomes 1.5 where the drug acts by way of content). So these rows are never
primary: they show how much of a change goes with composition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.change.blocks import Block
from pdbiomarker.change.families import FEATURE_COUNT_OF_A_PANEL
from pdbiomarker.change.fitting import NUMBERS, join_notes
from pdbiomarker.change.question import Model
from pdbiomarker.change.rows import contrast_rows
from pdbiomarker.formula import parse
from pdbiomarker.pairing import specimen_of
from pdbiomarker.study import Study

__all__ = ["ADJUSTED", "CONTENT", "content_rows"]

#: The analysis set of these rows: the biopsies of the strict set.
ADJUSTED: Final = "strict_tumor_content"
#: The column of biopsies.csv.
CONTENT: Final = "tumor_content_pct"
_NOTE: Final = "adjusted for tumour content (measured after treatment: sensitivity only)"


def content_rows(
    study: Study, block: Block, model: Model, families: Mapping[tuple[str, str], str]
) -> list[pd.DataFrame]:
    """Rows of every change, with tumour content as a covariate of the biopsy.

    Parameters
    ----------
    study : Study
    block : Block
        Of the strict set.
    model : Model
    families : mapping of (assay, feature) to family

    Returns
    -------
    list of DataFrame
        One for each contrast that is a change; of assays with more than 200 features the primary ones only.
        Empty for blood, where no tumour content was recorded, and where the plan's formula has it already.
        Biopsies without it are left out and counted in the note.
    """
    told = block.frame[CONTENT] if CONTENT in block.frame else pd.Series(dtype=float)
    known = pd.to_numeric(told, errors="coerce").notna().to_numpy()
    if not known.any() or CONTENT in model.formula.columns or specimen_of(study, block.assay) == "blood":
        return []
    primary = [families[block.assay, str(f)] == "primary" for f in block.values.var_names]
    keep = np.array(primary) | (len(primary) <= FEATURE_COUNT_OF_A_PANEL)
    if not keep.any():
        return []
    plan = dataclasses.replace(model.plan, formula=f"{model.plan.formula} + {CONTENT}")
    wider = dataclasses.replace(model, formula=parse(plan.formula), plan=plan)
    frame, values = block.frame[known].copy(), block.values[known]
    frame[CONTENT] = pd.to_numeric(frame[CONTENT])
    adjusted = Block(block.assay, ADJUSTED, frame, values, block.note)
    lost = int((~known).sum())
    note = join_notes(_NOTE, f"{lost} biopsies without tumour content left out" if lost else "")
    tables = []
    for question in model.questions.values():
        if not question.is_change:
            continue
        table = contrast_rows(adjusted, question, wider, families).rows[keep]
        if frame[CONTENT].nunique() < 2:
            table[[*NUMBERS, "effect", "effect_low", "effect_high"]] = np.nan
            table["status"] = "not_estimable"
        table["note"] = [join_notes(n, note) for n in table["note"]]
        tables.append(table)
    return tables
