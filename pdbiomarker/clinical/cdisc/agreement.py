"""Ours against theirs: what was computed from plain tables, held against imported ADaM parameters.

Theirs are the ``parameters`` of an import (ADPP, ADRS, ADTTE, ADAB); ours are the tables of the analyses of
pharmacokinetics, response, survival and antibodies, by the names under which their commands leave them:

================ ============================================ ==========================================
ours             values                                       theirs
================ ============================================ ==========================================
pk_parameters    cmax, tmax, auc_last, auc_all, auc_inf, cl,  ADPP or PP: CMAX, TMAX, AUCLST, AUCALL,
                 lambda_z, lambda_z_n, half_life, vz, vss     AUCIFO, CLO, LAMZ, LAMZNPT, LAMZHL, VZO, VSSO
best_response    best_response, best_response_unconfirmed     ADRS: CBOR, BOR
pfs, dor, os     days, event                                  ADTTE: PFS, RSD or DOR, OS (AVAL, CNSR)
ada_participants baseline, category                           ADAB: BFLAG; INDUCD, ENHANC, TRUNAFF, ADASTAT
================ ============================================ ==========================================

Rows of both sides are kept: who is only in one of them has a row that says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.reconcile import Tolerance, reconcile

__all__ = ["AGREEMENT_COLUMNS", "held_against"]

#: Columns of the table of agreement.
AGREEMENT_COLUMNS: Final = (
    "table",
    "participant_id",
    "specimen",
    "parameter",
    "ours",
    "theirs",
    "difference",
    "relative",
    "verdict",
    "reason",
)
_PK: Final[Mapping[str, str]] = {
    "CMAX": "cmax",
    "TMAX": "tmax",
    "AUCLST": "auc_last",
    "AUCALL": "auc_all",
    "AUCIFO": "auc_inf",
    "CLO": "cl",
    "LAMZ": "lambda_z",
    "LAMZNPT": "lambda_z_n",
    "LAMZHL": "half_life",
    "VZO": "vz",
    "VSSO": "vss",
}
_TIMES: Final[Mapping[str, tuple[str, ...]]] = {"pfs": ("PFS",), "dor": ("RSD", "DOR"), "os": ("OS",)}
#: Categories of participants by their antibodies, as ADAB flags them, the first that holds.
_ADA: Final = (("INDUCD", "Y", "induced"), ("ENHANC", "Y", "boosted"), ("TRUNAFF", "Y", "unaffected"))
_ADA_STATUS: Final = {"NEGATIVE": "negative", "MISSING": "not evaluable"}
_REASONS: Final[Mapping[str, str]] = {
    "days": "Their start, or their rules of censoring, may differ: see EVNTDESC and STARTDT.",
    "best_response": "Their minimum of days to confirm, or for stable disease, may differ.",
    "best_response_unconfirmed": "Their minimum of days for stable disease may differ.",
    "lambda_z": "Their choice of points may differ: see lambda_z_n.",
    "half_life": "Their choice of points may differ: see lambda_z_n.",
}
_SIDE = tuple[pd.DataFrame, pd.DataFrame, list[str]]


def held_against(
    parameters: pd.DataFrame, ours: Mapping[str, pd.DataFrame], *, tolerance: float = 1e-6
) -> pd.DataFrame:
    """Hold what was computed against what was imported.

    Parameters
    ----------
    parameters : DataFrame
        Of an import: participant_id, dataset, parameter, value, text; censored and specimen where there are.
    ours : mapping of table name to DataFrame
        Any of ``pk_parameters, best_response, pfs, dor, os, ada_participants``, each with participant_id.
        Tables of other names are passed over.
    tolerance : float
        Numbers agree within this fraction of theirs.

    Returns
    -------
    DataFrame
        Columns :data:`AGREEMENT_COLUMNS`; `verdict` as in :func:`pdbiomarker.clinical.reconcile.reconcile`.
        Empty where nothing is on both sides.

    Raises
    ------
    InputError
        E-CLIN-020, E-CLIN-021: a table lacks a column, or has a participant twice.
    """
    makers: Mapping[str, Callable[[pd.DataFrame, pd.DataFrame], _SIDE | None]] = {
        "pk_parameters": _pk,
        "best_response": _best,
        **{name: _time_to(codes) for name, codes in _TIMES.items()},
        "ada_participants": _antibodies,
    }
    parts = []
    for name, make in makers.items():
        sides = make(ours[name], parameters) if name in ours else None
        if sides is None:
            continue
        mine, theirs, values = sides
        keys = [key for key in ("participant_id", "specimen") if key in mine and key in theirs]
        held = reconcile(
            mine[[*keys, *values]],
            theirs[[*keys, *values]],
            keys=keys,
            values=values,
            tolerance=Tolerance(relative=tolerance),
            reasons=_REASONS,
        )
        parts.append(held.assign(table=name))
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return found.reindex(columns=list(AGREEMENT_COLUMNS))


def _wide(rows: pd.DataFrame, keys: list[str], value: str, names: Mapping[str, str]) -> pd.DataFrame:
    """One row for each key, a column for each parameter, under our names.

    A parameter that is given several times with several values is left out: which of them counts is not said.
    """
    rows = rows[rows["parameter"].isin(list(names)) & rows[value].notna()]
    rows = rows.drop_duplicates([*keys, "parameter", value])
    rows = rows[~rows.duplicated([*keys, "parameter"], keep=False)]
    wide = rows.pivot_table(index=keys, columns="parameter", values=value, aggfunc="first")
    return wide.rename(columns=dict(names)).reset_index().rename_axis(columns=None)


def _pk(ours: pd.DataFrame, parameters: pd.DataFrame) -> _SIDE | None:
    theirs = parameters[parameters["dataset"].isin(["ADPP", "PP"])]
    keys = ["participant_id"]
    if "specimen" in ours and "specimen" in theirs and theirs["specimen"].notna().all():
        keys.append("specimen")
    wide = _wide(theirs, keys, "value", _PK)
    values = [name for name in _PK.values() if name in ours and name in wide]
    return (ours, wide, values) if values else None


def _best(ours: pd.DataFrame, parameters: pd.DataFrame) -> _SIDE | None:
    theirs = parameters[parameters["dataset"] == "ADRS"]
    names = {"CBOR": "best_response", "BOR": "best_response_unconfirmed"}
    wide = _wide(theirs, ["participant_id"], "text", names)
    values = [name for name in names.values() if name in ours and name in wide]
    return (ours, wide, values) if values else None


def _time_to(codes: tuple[str, ...]) -> Callable[[pd.DataFrame, pd.DataFrame], _SIDE | None]:
    def sides(ours: pd.DataFrame, parameters: pd.DataFrame) -> _SIDE | None:
        theirs = parameters[(parameters["dataset"] == "ADTTE") & parameters["parameter"].isin(codes)]
        if theirs.empty:
            return None
        mine = ours.copy()
        if "rules" in mine:  # the primary rules stand first
            mine = mine.drop_duplicates("participant_id")
        mine["event"] = [_event(value) for value in mine["event"].tolist()]
        wide = theirs[["participant_id"]].reset_index(drop=True)
        wide["days"] = theirs["value"].to_numpy(dtype=float)
        censored = theirs["censored"].to_numpy(dtype=float)
        wide["event"] = [None if np.isnan(c) else ("event" if c == 0 else "censored") for c in censored]
        return mine, wide, ["days", "event"]

    return sides


def _event(value: object) -> str | None:
    """An event as a word: tables of files hold true and false as text."""
    text = str(value).casefold()
    return {"true": "event", "1": "event", "1.0": "event"}.get(
        text, "censored" if text in {"false", "0", "0.0"} else None
    )


def _antibodies(ours: pd.DataFrame, parameters: pd.DataFrame) -> _SIDE | None:
    rows = parameters[(parameters["dataset"] == "ADAB") & parameters["text"].notna()]
    stem = [re.sub(r"[0-9]+$", "", str(code)) for code in rows["parameter"]]
    rows = rows.assign(parameter=stem)
    known = {
        (str(p), str(code)): str(text).upper()
        for p, code, text in zip(rows["participant_id"], rows["parameter"], rows["text"], strict=True)
    }
    if not any(code == "ADASTAT" for _, code in known):
        return None
    people = sorted({person for person, _ in known})
    baseline = {"Y": "positive", "N": "negative"}
    theirs = pd.DataFrame(
        {
            "participant_id": people,
            "baseline": [baseline.get(known.get((p, "BFLAG"), ""), "missing") for p in people],
            "category": [_category(p, known) for p in people],
        }
    )
    values = [name for name in ("baseline", "category") if name in ours]
    return (ours, theirs, values) if values else None


def _category(person: str, known: Mapping[tuple[str, str], str]) -> str | None:
    status = _ADA_STATUS.get(known.get((person, "ADASTAT"), ""))
    if status == "not evaluable":
        return status
    flagged = (word for code, value, word in _ADA if known.get((person, code)) == value)
    return next(flagged, status)
