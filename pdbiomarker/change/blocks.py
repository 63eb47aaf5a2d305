"""One assay in one analysis set: which biopsies each contrast uses, and their values on the model scale."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from pdbiomarker.change.question import Model
from pdbiomarker.errors import FormulaError
from pdbiomarker.formula import design_matrix
from pdbiomarker.normalize import NormalizeOptions, normalize
from pdbiomarker.normalize.size_factors import Normalization
from pdbiomarker.pairing import Chooser, in_tumour
from pdbiomarker.study import Study

__all__ = ["Block", "choose_block", "chooser_of", "normalised"]

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Block:
    """One assay in one analysis set.

    Attributes
    ----------
    assay, set_ : str
    frame : DataFrame
        What the formula sees of each biopsy; ``_in_<contrast>`` says whether a contrast uses it.
    values : AnnData
        The same biopsies, on the model scale.
    note : str
        What every row of the block must say.
    """

    assay: str
    set_: str
    frame: pd.DataFrame
    values: AnnData
    note: str = ""

    def of(self, contrast: str) -> tuple[pd.DataFrame, AnnData]:
        """Frame and values of the biopsies that a contrast uses."""
        inside = self.frame[f"_in_{contrast}"].to_numpy(dtype=bool)
        return self.frame[inside], self.values[inside]


def chooser_of(study: Study, model: Model) -> Chooser:
    """The chooser of a model: the rules of its plan, and the columns without which it uses no biopsy."""
    plan = model.plan
    columns = model.formula.columns
    return Chooser(study, replicates=plan.replicates, choice=plan.choice, columns=columns)


def choose_block(chooser: Chooser, assay: str, set_: str, model: Model) -> tuple[Block, pd.DataFrame]:
    """Take the biopsies of every contrast, tell why others are not used, and normalise those that are.

    The chooser is that of the model: see :func:`chooser_of`.

    Returns
    -------
    Block
    DataFrame
        One row per contrast and biopsy of the study: used or not, and why not.
    """
    study = chooser.study
    told: list[pd.DataFrame] = []
    chosen: dict[str, pd.DataFrame] = {}
    for contrast, visits in model.visits.items():
        rows = chooser.usable(assay, visits=visits, set_=set_)
        chosen[contrast] = rows[rows["used"]]
        told.append(rows.reset_index(names="biopsy_id").assign(assay=assay, contrast=contrast, set=set_))
    union = pd.concat(chosen.values())
    union = union[~union.index.duplicated()]
    union = union.sort_index()  # the order of a sheet's rows is no part of the result
    frame = _frame(study, assay, union)
    for contrast, rows in chosen.items():
        frame[f"_in_{contrast}"] = frame.index.isin(rows.index)
    data, beds = _without_nests(study.assays[assay][union.index.to_numpy()].copy(), union)
    values, note = normalised(data, frame, model)
    note = "; ".join(part for part in (note, beds) if part)
    return Block(assay, set_, frame, values, note), pd.concat(told, ignore_index=True)


def _without_nests(adata: AnnData, rows: pd.DataFrame) -> tuple[AnnData, str]:
    """Take out what is measured in tumour where a regression bed is all that is left, and say so."""
    beds = (rows["code"] == "E-PAIR-013").to_numpy()
    tumour = in_tumour([str(f) for f in adata.var_names])
    if not beds.any():
        return adata, ""
    if tumour.any():
        cells = np.ix_(beds, tumour)
        adata.X = np.asarray(adata.X, dtype=float).copy()
        adata.X[cells] = np.nan
        for name in ("numerator", "denominator"):
            if name in adata.layers:
                layer = np.asarray(adata.layers[name], dtype=float).copy()
                layer[cells] = np.nan
                adata.layers[name] = layer
    n = int(beds.sum())
    return adata, f"with {n} regression bed{'s' if n > 1 else ''}: undefined in nests and over tumour cells"


def _frame(study: Study, assay: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The table that the formula sees: one row per used biopsy, keys, sheet columns, technical columns."""
    biopsies = study.biopsies.loc[rows.index]
    people = study.participants.loc[rows["participant_id"].to_numpy()]
    technical = cast("pd.DataFrame", study.assays[assay].obs).loc[rows.index]
    columns: dict[str, Any] = {str(c): biopsies[c].to_numpy() for c in biopsies.columns}
    columns |= {str(c): people[c].to_numpy() for c in people.columns}
    # A sheet's own column is never hidden by one that a reader made; the batch is the assay's.
    columns |= {
        str(c): technical[c].to_numpy() for c in technical.columns if c == "batch" or c not in columns
    }
    columns["participant"] = rows["participant_id"].to_numpy(dtype=object)
    columns["biopsy"] = rows.index.to_numpy(dtype=object)
    columns["visit"] = rows["visit"].to_numpy(dtype=object)
    return pd.DataFrame(columns, index=rows.index)


def normalised(
    adata: AnnData, frame: pd.DataFrame, model: Model, *, stable: tuple[str, ...] = ()
) -> tuple[AnnData, str]:
    """Bring the values of the used biopsies to the model scale; say where the plan's design had no part."""
    design: Floats | None = None
    note = ""
    if frame["visit"].nunique() > 1:
        order = dict.fromkeys(v for visits in model.visits.values() for v in visits)
        levels = [v for v in order if (frame["visit"] == v).any()]
        try:
            design = design_matrix(model.formula, frame, levels={"visit": levels}).matrix
        except FormulaError as error:
            if (adata.var["kind"] == "count").any():
                why = error.problems[0].message.partition("\n")[0].rstrip(".")
                note = f"voom weights from one mean, not the plan's design ({why})"
    options = NormalizeOptions(
        normalization=cast("Normalization", model.plan.normalization),
        quality_weights=model.plan.quality_weights,
        stable=stable,
    )
    return normalize(adata, design, visits=[str(v) for v in frame["visit"]], options=options), note
