"""Sensitivity rows of counts whose libraries are scaled by stable genes alone.

Where most genes change together, as with an influx of immune cells, factors that assume the contrary move
with them. These rows say how the changes read when chosen genes are held still instead: a question of
composition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.change.blocks import Block, normalised
from pdbiomarker.change.fitting import NUMBERS, join_notes
from pdbiomarker.change.question import Model
from pdbiomarker.change.rows import contrast_rows
from pdbiomarker.errors import AssayError

__all__ = ["COMPOSITION", "composition_rows"]

#: The analysis set of these rows: the biopsies of the strict set.
COMPOSITION: Final = "strict_stable_genes"


def composition_rows(
    block: Block, model: Model, families: Mapping[tuple[str, str], str]
) -> list[pd.DataFrame]:
    """Rows of every contrast for the counts of a block; empty where the plan names no stable genes.

    Parameters
    ----------
    block : Block
        Of the strict set.
    model : Model
    families : mapping of (assay, feature) to family

    Returns
    -------
    list of DataFrame
        One for each contrast; where the genes cannot serve, its rows are not estimable and say why.
    """
    counts = (block.values.var["kind"].astype(str) == "count").to_numpy()
    if not model.plan.stable_genes or not counts.any():
        return []
    plain = block.values[:, counts].copy()
    try:
        values, note = normalised(plain, block.frame, model, stable=model.plan.stable_genes)
        rule, failed = str(values.uns["normalization"]["rule"]), ""
    except AssayError as error:
        values, note = plain, ""
        rule, failed = "stable genes (composition)", error.problems[0].message
    scaled = Block(block.assay, COMPOSITION, block.frame, values, note)
    tables = []
    for question in model.questions.values():
        table = contrast_rows(scaled, question, model, families).rows
        tested = (table["status"] != "excluded").to_numpy()
        if failed:
            table.loc[tested, [*NUMBERS, "effect", "effect_low", "effect_high"]] = np.nan
            table.loc[tested, "status"] = "not_estimable"
        told = failed or f"composition: libraries scaled by {rule}"
        table.loc[tested, "note"] = [join_notes(n, told) for n in table.loc[tested, "note"]]
        tables.append(table)
    return tables
