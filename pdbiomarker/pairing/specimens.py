"""Blood or tumour: which samples of a study belong to which assay.

A row of biopsies.csv is a blood sample where its ``site`` says so (:data:`BLOOD`); an assay is of blood where
study.yaml says ``specimen: blood``. Blood samples take part in assays of blood only, and are never counted as
biopsies of the tumour; rules of adequacy are about tumour tissue and do not apply to them.
"""

from __future__ import annotations

from typing import Final, Literal

import pandas as pd

from pdbiomarker.study import Study

__all__ = ["BLOOD", "is_blood", "own_samples", "specimen_of"]

#: Words in the column ``site`` that stand for blood, in lower case.
BLOOD: Final = frozenset({"blood", "whole blood", "peripheral blood", "serum", "plasma", "pbmc"})


def specimen_of(study: Study, assay: str) -> Literal["tumor", "blood"]:
    """Say what an assay measures; the signatures of a blood assay are of blood, too."""
    for spec in study.spec.assays:
        if spec.specimen == "blood" and assay in (spec.name, f"{spec.name}_signatures"):
            return "blood"
    return "tumor"


def is_blood(biopsies: pd.DataFrame) -> pd.Series:
    """Flag the rows of biopsies.csv that are blood samples."""
    if "site" not in biopsies:
        return pd.Series(False, index=biopsies.index)
    return biopsies["site"].astype("str").str.strip().str.lower().isin(BLOOD).astype(bool)


def own_samples(study: Study, assay: str | None) -> pd.Series:
    """Flag the rows of biopsies.csv that an assay is about; of None, those of the tumour.

    Where no site says blood, an assay of blood is about every row, as any other assay is.
    """
    blood = is_blood(study.biopsies)
    if assay is not None and specimen_of(study, assay) == "blood":
        return blood if blood.any() else ~blood
    return ~blood
