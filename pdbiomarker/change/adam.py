"""A result in the shape of ADaM: a record for each participant, parameter, biopsy and definition of baseline.

CDISC names live at this edge only. A parameter is one feature of one assay; AVAL is its value on the natural
scale (cells/mm2, percent, CPM ...), CHG its change on the scale of the model, which LINK names:

========== ============================= ======================== ===================
kind       AVAL                          CHG (LINK)               ratio
========== ============================= ======================== ===================
count      CPM                           log2 (LOG2)              R2BASE
density    cells/mm2                     log2 (LOG2)              R2BASE, half a cell
intensity  as measured                   log2 (LOG2)              R2BASE
proportion 0 to 1                        logit (LOGIT)            OR2BASE, odds ratio
score      points                        points (IDENTITY)        none
signature  units                         units (IDENTITY)         none
========== ============================= ======================== ===================

BASETYPE is the analysis set and the baseline visit. AVAL, BASE, CHG and the ratio of a pair are those of
``PDResult.changes``, bit for bit. Of several biopsies of a visit that are all used, a record of DTYPE
AVERAGE is the one in the analysis. Biopsies that are not used, or have no partner, keep their records with
the reason.
"""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.change.adam_parameters import adam_parameters
from pdbiomarker.change.adam_records import Block, block_records
from pdbiomarker.change.question import read_model
from pdbiomarker.clinical.cdisc import MAX_TEXT, Dataset, Variable, write_dataset_json, write_xpt
from pdbiomarker.tables import parse_date, write_table

if TYPE_CHECKING:
    from pdbiomarker.change.result import PDResult

__all__ = ["to_adam", "write_adam"]

_NAME: Final = "ADPD"
_LABEL: Final = "Change in Serial Tumour Biopsies"
_NO_CUTOFF: Final = dt.date(1970, 1, 1)
#: Name, label and kind of every variable, in order.
_VARIABLES: Final[tuple[tuple[str, str, Any], ...]] = (
    ("STUDYID", "Study Identifier", "text"),
    ("USUBJID", "Unique Subject Identifier", "text"),
    ("ASEQ", "Analysis Sequence Number", "number"),
    ("PARCAT1", "Parameter Category 1", "text"),
    ("PARAMCD", "Parameter Code", "text"),
    ("PARAM", "Parameter", "text"),
    ("AVISIT", "Analysis Visit", "text"),
    ("AVISITN", "Analysis Visit (N)", "number"),
    ("ADT", "Analysis Date", "date"),
    ("ADY", "Analysis Relative Day", "number"),
    ("LNKID", "Lesion Identifier", "text"),
    ("SAMELESF", "Same Lesion as Baseline Flag", "text"),
    ("BASETYPE", "Baseline Type", "text"),
    ("AVAL", "Analysis Value", "number"),
    ("AVALC", "Analysis Value (C)", "text"),
    ("AVALU", "Analysis Value Unit", "text"),
    ("NUM", "Numerator (Cells)", "number"),
    ("DENOM", "Denominator (Area or Cells)", "number"),
    ("CENSFL", "Value Beyond a Limit Flag", "text"),
    ("BASE", "Baseline Value", "number"),
    ("CHG", "Change from Baseline on Scale LINK", "number"),
    ("LINK", "Scale of CHG", "text"),
    ("PCHG", "Percent Change from Baseline", "number"),
    ("PCHGRSN", "Reason PCHG Is Missing", "text"),
    ("R2BASE", "Ratio to Baseline", "number"),
    ("OR2BASE", "Odds Ratio to Baseline", "number"),
    ("ABLFL", "Baseline Record Flag", "text"),
    ("DTYPE", "Derivation Type", "text"),
    ("ANL01FL", "Analysis Flag 01", "text"),
    ("ANLRSN", "Reason Not in Analysis or No Change", "text"),
    ("CRIT1", "Analysis Criterion 1", "text"),
    ("CRIT1FL", "Criterion 1 Evaluation Result Flag", "text"),
    ("CRIT2", "Analysis Criterion 2", "text"),
    ("CRIT2FL", "Criterion 2 Evaluation Result Flag", "text"),
    ("SRCID", "Source Biopsies", "text"),
)


def to_adam(
    result: PDResult,
    *,
    features: Sequence[str] | None = None,
    limits: Mapping[str, float] | None = None,
) -> Dataset:
    """Give a result as an analysis dataset of the basic data structure (BDS).

    Parameters
    ----------
    result : PDResult
    features : sequence of str, optional
        As for :func:`adam_parameters`.
    limits : mapping of ``assay:feature`` to float, optional
        Beyond which a change (on the scale of the model) is more than noise: ``Noise.limit(0.95)``. With it
        CRIT2 is "CHG beyond noise".

    Returns
    -------
    Dataset
        Named ADPD. Visit dates (ADT) are there where the study has them: a results folder keeps study days
        only.
    """
    parameters = adam_parameters(result, features=features)
    model = read_model(result.study, result.plan)
    pairs: dict[str, list[tuple[str, str]]] = {}
    for name, question in model.questions.items():
        if question.is_change and question.is_difference and len(question.visits) == 2:
            pairs.setdefault(question.visits[0], []).append((name, question.visits[1]))
    parts = []
    for assay, rows in parameters.groupby("assay", sort=True):
        known = result.biopsies
        mine = known[known["assay"] == assay] if "assay" in known else known
        sets = [s for s in dict.fromkeys(mine["set"]) if s != "strict_pairs"] if len(mine) else []
        for set_ in sets:
            for baseline, contrasts in pairs.items():
                block = Block(result, str(assay), set_, baseline, tuple(contrasts), rows)
                parts.append(block_records(block, dict(limits or {})))
    names = [name for name, _, _ in _VARIABLES]
    found = [part for part in parts if len(part)]
    frame = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=names)
    return _dataset(frame, result.study.spec.id)


def _dataset(frame: pd.DataFrame, study: str) -> Dataset:
    """Order records and variables, number them, and split reasons that a transport file cannot hold."""
    frame = frame.assign(STUDYID=study, ASEQ=np.nan)
    order = ["USUBJID", "PARAMCD", "BASETYPE", "AVISITN", "ADY", "SRCID"]
    frame = frame.sort_values(order, kind="stable", na_position="last", ignore_index=True)
    frame["ASEQ"] = frame.groupby("USUBJID").cumcount().astype(float) + 1
    variables = list(_VARIABLES)
    pieces = [textwrap.wrap(t, MAX_TEXT) if isinstance(t, str) else [] for t in frame["ANLRSN"].tolist()]
    place = [name for name, _, _ in variables].index("ANLRSN")
    for k in range(max([len(p) for p in pieces], default=0) or 1):
        name = f"ANLRSN{k or ''}"
        frame[name] = pd.Series(
            [p[k] if k < len(p) else None for p in pieces], index=frame.index, dtype=object
        )
        if k:
            variables.insert(place + k, (name, f"Reason Not in Analysis, Continued {k}", "text"))
    index = pd.RangeIndex(1, len(frame) + 1)
    columns = {}
    for name, _, kind in variables:
        values = frame[name].tolist()
        if kind == "number":
            columns[name] = pd.Series(frame[name].to_numpy(dtype=float), index=index)
        else:
            cells = [None if v is None or (not isinstance(v, dt.date) and pd.isna(v)) else v for v in values]
            columns[name] = pd.Series(cells, index=index, dtype=object)
    table = pd.DataFrame(columns, index=index, columns=list(columns))
    formats = {"date": "DATE9."}
    described = tuple(
        Variable(
            name,
            label,
            kind,
            max((len(v) for v in table[name].tolist() if isinstance(v, str)), default=1)
            if kind == "text"
            else None,
            formats.get(kind, ""),
        )
        for name, label, kind in variables
    )
    return Dataset(_NAME, _LABEL, table, described)


def write_adam(
    result: PDResult,
    folder: str | Path,
    *,
    features: Sequence[str] | None = None,
    limits: Mapping[str, float] | None = None,
) -> Dataset:
    """Write a result as analysis dataset: SAS transport file, Dataset-JSON, and its parameters.

    Parameters
    ----------
    result, features, limits
        As for :func:`to_adam`.
    folder : path
        Made when missing: ``adpd.xpt``, ``adpd.json`` and ``adpd_parameters.csv`` are written there. They
        carry the data cut-off (1970-01-01 without one), not the clock.

    Returns
    -------
    Dataset
        What was written.

    Raises
    ------
    InputError
        E-CDISC-010: an id or another text that a transport file cannot hold; nothing is written then.
    """
    root, spec = Path(folder), result.study.spec
    data = to_adam(result, features=features, limits=limits)
    cutoff = parse_date(spec.data_cutoff) if spec.data_cutoff else None
    created = cutoff or _NO_CUTOFF
    root.mkdir(parents=True, exist_ok=True)
    write_xpt(
        data, root / "adpd.xpt", created=created, ids=("STUDYID", "USUBJID", "LNKID", "SRCID", "PARAMCD")
    )
    write_dataset_json(data, root / "adpd.json", created=created, study=spec.id, keys=("USUBJID", "ASEQ"))
    write_table(adam_parameters(result, features=features), root / "adpd_parameters.csv")
    return data
