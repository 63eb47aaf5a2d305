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

import dataclasses
import datetime as dt
import functools
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from pdbiomarker.change.adam_parameters import adam_parameters
from pdbiomarker.change.question import read_model
from pdbiomarker.clinical.cdisc import MAX_TEXT, Dataset, Variable, write_dataset_json, write_xpt
from pdbiomarker.tables import parse_date, write_table

if TYPE_CHECKING:
    from pdbiomarker.change.result import PDResult

__all__ = ["to_adam", "write_adam"]

Floats = NDArray[np.float64]

_NAME: Final = "ADPD"
_LABEL: Final = "Change in Serial Tumour Biopsies"
_NO_CUTOFF: Final = dt.date(1970, 1, 1)
_UP, _DOWN = ">=2-fold", "<=1/2-fold"
_ROUNDING: Final = 1e-12

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
                block = _Block(result, str(assay), set_, baseline, tuple(contrasts), rows)
                parts.append(_block_records(block, dict(limits or {})))
    names = [name for name, _, _ in _VARIABLES]
    found = [part for part in parts if len(part)]
    frame = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=names)
    return _dataset(frame, result.study.spec.id)


@dataclasses.dataclass(frozen=True)
class _Block:
    """One assay, analysis set and baseline visit."""

    result: PDResult
    assay: str
    set_: str
    baseline: str
    contrasts: tuple[tuple[str, str], ...]
    parameters: pd.DataFrame

    @property
    def adata(self) -> AnnData:
        return self.result.study.assays[self.assay]

    @property
    def features(self) -> list[str]:
        return self.parameters["feature"].tolist()

    @property
    def visits(self) -> list[str]:
        return [self.baseline, *dict.fromkeys(on for _, on in self.contrasts)]

    @functools.cached_property
    def values(self) -> dict[str, pd.DataFrame]:
        """Biopsies x features of X and of every layer, by name."""
        data = self.adata[:, self.features].copy()
        rows = [str(b) for b in data.obs_names]
        matrices = {"X": data.X, **{str(n): data.layers[n] for n in data.layers.keys() if n is not None}}  # noqa: SIM118 -- None stands for X
        return {
            name: pd.DataFrame(np.asarray(matrix, dtype=float), index=rows, columns=self.features)
            for name, matrix in matrices.items()
        }

    def of_biopsy(self, layer: str, ids: Sequence[str]) -> Floats | None:
        """A layer's values of one biopsy; None of several, or where there are none."""
        table = self.values.get(layer)
        known = table is not None and len(ids) == 1 and ids[0] in table.index
        return table.loc[ids[0]].to_numpy(dtype=float) if table is not None and known else None


def _biopsy_rows(block: _Block) -> pd.DataFrame:
    """One row a biopsy of the study: used in any contrast of this baseline, and if not, why not."""
    table = block.result.biopsies
    names = [name for name, _ in block.contrasts]
    inside = (table["assay"] == block.assay) & (table["set"] == block.set_) & table["contrast"].isin(names)
    rows = table[inside].copy()
    touched = dict(block.contrasts)
    rows["_off"] = [
        v not in (block.baseline, touched[c]) for v, c in zip(rows["visit"], rows["contrast"], strict=True)
    ]
    rows["_unused"] = ~rows["used"].astype(bool)
    rows = rows.sort_values(["biopsy_id", "_unused", "_off"], kind="stable")
    return rows.drop_duplicates("biopsy_id").reset_index(drop=True)


def _natural(block: _Block) -> pd.DataFrame:
    """Values of every biopsy on the natural scale; of counts, of the biopsies that were normalised."""
    values = block.values["X"].copy()
    counts = (block.parameters["kind"] == "count").to_numpy()
    if counts.any():
        scaled = block.values.get("y", values * np.nan)
        values.loc[:, counts] = np.exp2(scaled.loc[:, counts])
    return values


def _change_rows(block: _Block) -> dict[tuple[str, str], pd.DataFrame]:
    """Changes of each participant and visit, indexed by feature."""
    table = block.result.changes
    inside = (table["assay"] == block.assay) & (table["set"] == block.set_)
    touched = dict(block.contrasts)
    rows = table[inside & table["contrast"].isin(list(touched))]
    return {
        (str(person), touched[str(contrast)]): part.set_index("feature").reindex(block.features)
        for (person, contrast), part in rows.groupby(["participant_id", "contrast"], sort=True)
    }


def _block_records(block: _Block, limits: Mapping[str, float]) -> pd.DataFrame:
    """Every record of one assay, set and baseline visit."""
    biopsies, natural, changes = _biopsy_rows(block), _natural(block), _change_rows(block)
    records: list[pd.DataFrame] = []
    for person, mine in biopsies.groupby("participant_id", sort=True):
        analysed, extra = _analysed(block, mine)
        base_ids = analysed.get(block.baseline, [])
        base = _mean(block, natural, base_ids)
        for visit in block.visits:
            pair = changes.get((str(person), visit))
            if pair is not None:
                told = pair["baseline_value"].to_numpy(dtype=float)
                base = np.where(np.isnan(told), base, told)
        for row in [*_rows(mine), *extra]:
            ids = str(row["biopsy_id"]).split(";")
            visit = _text(row["visit"]) or ""
            decided = bool(row["used"]) and analysed.get(visit) == ids
            here = _record(block, row, _mean(block, natural, ids))
            change = changes.get((str(person), visit)) if decided else None
            _compare(block, here, base, change, decided=decided, base_ids=base_ids)
            records.append(here)
    if not records:
        return pd.DataFrame()
    frame = pd.concat(records, ignore_index=True)
    _criteria(block, frame, limits)
    return frame


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    names = list(map(str, table.columns))
    return [dict(zip(names, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _flags(marked: NDArray[np.bool_]) -> list[str | None]:
    return ["Y" if mark else None for mark in marked.tolist()]


def _analysed(block: _Block, mine: pd.DataFrame) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """Biopsies used at each visit, and a record of their average where there are several."""
    used = mine[mine["used"].astype(bool) & mine["visit"].isin(block.visits)]
    analysed: dict[str, list[str]] = {}
    extra = []
    for visit, rows in used.groupby("visit", sort=False):
        ids = sorted(rows["biopsy_id"].astype(str))
        analysed[str(visit)] = ids
        if len(ids) > 1:
            extra.append({**_rows(rows)[0], "biopsy_id": ";".join(ids), "dtype": "AVERAGE"})
    return analysed, extra


def _mean(block: _Block, natural: pd.DataFrame, ids: Sequence[str]) -> Floats:
    """Value of several biopsies: the mean, of counts on the log scale."""
    rows = natural.reindex([i for i in ids if i in natural.index]).to_numpy(dtype=float)
    if len(rows) == 1:
        return np.asarray(rows[0])
    known = np.isfinite(rows)
    number = known.sum(axis=0)
    counts = (block.parameters["kind"] == "count").to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = np.where(known, rows, 0.0).sum(axis=0) / number
        logs = np.exp2(np.where(known, np.log2(rows), 0.0).sum(axis=0) / number)
    return np.where(number > 0, np.where(counts, logs, plain), np.nan)


def _record(block: _Block, row: Mapping[str, Any], value: Floats) -> pd.DataFrame:
    """Records of one biopsy, or of an average, for every parameter; no change yet."""
    ids = str(row["biopsy_id"]).split(";")
    study, parameters = block.result.study, block.parameters
    spec = [v.name for v in study.spec.visits]
    visit, day = _text(row["visit"]), row["study_day"]
    out = pd.DataFrame({"USUBJID": str(row["participant_id"])}, index=range(len(parameters)))
    out["PARCAT1"] = block.assay.upper()
    for name in ("paramcd", "param", "link"):
        out[name.upper()] = parameters[name].to_numpy(dtype=object)
    out["AVALU"] = [unit or None for unit in parameters["unit"]]
    out["AVISIT"], out["AVISITN"] = visit, float(spec.index(visit)) if visit in spec else np.nan
    out["ADT"] = _collected(block, ids)
    out["ADY"] = np.nan if pd.isna(day) else float(day)
    out["LNKID"] = _lesion(block, ids)
    out["BASETYPE"] = f"{block.set_.upper()}: {block.baseline}"
    out["AVAL"], out["DTYPE"], out["SRCID"] = value, row.get("dtype"), str(row["biopsy_id"])
    reason = None if row["used"] else (str(row["reason"] or "") or "Not used.")
    if row["used"] and not row.get("dtype") and visit not in block.visits:
        reason = "Not a visit of this analysis."
    out["ANLRSN"] = reason
    for name, layer in (("NUM", "numerator"), ("DENOM", "denominator")):
        known = block.of_biopsy(layer, ids)
        out[name] = np.nan if known is None else known
    _censored(block, out, ids)
    return out


def _censored(block: _Block, out: pd.DataFrame, ids: Sequence[str]) -> None:
    """Mark values beyond a limit, and write them as ``<limit``."""
    out["CENSFL"], out["AVALC"] = None, None
    side = block.of_biopsy("censored", ids)
    if side is None:
        return
    out["CENSFL"] = pd.Series(["Y" if s else None for s in side], dtype=object)
    signs = {-1.0: "<", 1.0: ">"}
    texts = [
        f"{signs[s]}{v!r}" if s in signs and np.isfinite(v) else None
        for s, v in zip(side, out["AVAL"].tolist(), strict=True)
    ]
    out["AVALC"] = pd.Series(texts, dtype=object)


def _collected(block: _Block, ids: Sequence[str]) -> dt.date | None:
    biopsies = block.result.study.biopsies
    if "collection_date" not in biopsies or ids[0] not in biopsies.index:
        return None
    text = biopsies.at[ids[0], "collection_date"]
    date = parse_date(text) if isinstance(text, str) else None
    return date.date() if isinstance(date, dt.datetime) else date


def _lesion(block: _Block, ids: Sequence[str]) -> str | None:
    biopsies = block.result.study.biopsies
    column = next((c for c in ("lesion_id", "lesion") if c in biopsies), None)
    if column is None:
        return None
    found = {biopsies.at[i, column] for i in ids if i in biopsies.index}
    return _text(next(iter(found))) if len(found) == 1 else None


def _compare(
    block: _Block,
    here: pd.DataFrame,
    base: Floats,
    change: pd.DataFrame | None,
    *,
    decided: bool,
    base_ids: Sequence[str],
) -> None:
    """Add baseline, change and flags to the records of one biopsy."""
    is_base = decided and here["AVISIT"].iloc[0] == block.baseline
    lesion, own = _lesion(block, base_ids) if base_ids else None, here["LNKID"].iloc[0]
    same = None if is_base or lesion is None or own is None else ("Y" if lesion == own else "N")
    here["SAMELESF"], here["BASE"] = same, base
    empty = np.full(len(here), np.nan)
    here["CHG"] = here["PCHG"] = here["R2BASE"] = here["OR2BASE"] = empty
    here["PCHGRSN"] = None
    if is_base:
        here["AVAL"] = base
    links = here["LINK"].to_numpy(dtype=object)
    if change is not None:
        value = change["on_value"].to_numpy(dtype=float)
        here["AVAL"] = np.where(np.isnan(value), here["AVAL"].to_numpy(dtype=float), value)
        here["CHG"] = change["change"].to_numpy(dtype=float)
        ratio = change["ratio"].to_numpy(dtype=float)
        here["R2BASE"] = np.where(links == "LOG2", ratio, np.nan)
        here["OR2BASE"] = np.where(links == "LOGIT", ratio, np.nan)
        _percent(block, here, base)
    measured = np.isfinite(here["AVAL"].to_numpy(dtype=float))
    here["ABLFL"] = _flags(measured & is_base)
    here["ANL01FL"] = _flags(measured & decided)
    here["ANLRSN"] = _reasons(block, here, measured, decided=decided, is_base=is_base)


def _percent(block: _Block, here: pd.DataFrame, base: Floats) -> None:
    """Change in percent of the natural scale, where that has a zero and the baseline is not there."""
    aval = here["AVAL"].to_numpy(dtype=float)
    paired = np.isfinite(here["CHG"].to_numpy(dtype=float))
    no_zero = (block.parameters["kind"] == "signature").to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        percent = 100 * (aval - base) / base
    good = paired & (base > 0) & ~no_zero
    here["PCHG"] = np.where(good, percent, np.nan)
    reasons = np.select(
        [~paired, no_zero, base == 0, base < 0],
        ["", "The scale has no zero.", "The baseline is 0.", "The baseline is negative."],
        "",
    )
    here["PCHGRSN"] = [text or None for text in reasons.tolist()]


def _reasons(
    block: _Block, here: pd.DataFrame, measured: NDArray[np.bool_], *, decided: bool, is_base: bool
) -> list[str | None]:
    """Say of each record why it is not in the analysis, or why it has no change."""
    told = here["ANLRSN"].tolist()
    changed = np.isfinite(here["CHG"].to_numpy(dtype=float))
    base = np.isfinite(here["BASE"].to_numpy(dtype=float))
    out: list[str | None] = []
    for i, reason in enumerate(told):
        if reason is None and not decided:
            reason = "Averaged with the other biopsies of the visit."  # noqa: PLW2901 -- told where none is
        elif reason is None and not measured[i]:
            reason = "The parameter has no value in this biopsy."  # noqa: PLW2901
        elif reason is None and not is_base and not changed[i]:
            why = "beyond a limit" if base[i] else f"no usable baseline at {block.baseline!r}"
            reason = f"In the model, without a change of its own: {why}."  # noqa: PLW2901
        out.append(reason)
    return out


def _criteria(block: _Block, frame: pd.DataFrame, limits: Mapping[str, float]) -> None:
    """CRIT1: a twofold change in the direction expected. CRIT2: beyond noise, where the limit is given."""
    by_code = block.parameters.set_index("paramcd")
    directions = dict(zip(by_code.index, by_code["expected_direction"].tolist(), strict=True))
    features = dict(zip(by_code.index, by_code["feature"].tolist(), strict=True))
    codes = frame["PARAMCD"].tolist()
    down = np.array([directions[code] < 0 for code in codes], dtype=bool)
    ratio = (frame["LINK"] == "LOG2").to_numpy(dtype=bool)
    chg = frame["CHG"].to_numpy(dtype=float)
    known = np.isfinite(chg)
    frame["CRIT1"] = [None if not r else (_DOWN if d else _UP) for r, d in zip(ratio, down, strict=True)]
    with np.errstate(invalid="ignore"):
        # A doubling counted exactly is a doubling, whatever the last bit of its logarithm says.
        met = np.where(down, chg <= -1 + _ROUNDING, chg >= 1 - _ROUNDING)
    frame["CRIT1FL"] = _verdicts(met, ratio & known)
    limit = np.array(
        [limits.get(f"{block.assay}:{features[code]}", np.nan) for code in codes], dtype=np.float64
    )
    told = [f"|CHG| > {v:.6g}, the limit of noise" if np.isfinite(v) else None for v in limit.tolist()]
    frame["CRIT2"] = told
    with np.errstate(invalid="ignore"):
        beyond = np.abs(chg) > limit
    frame["CRIT2FL"] = _verdicts(beyond, np.isfinite(limit) & known)


def _verdicts(met: NDArray[np.bool_], judged: NDArray[np.bool_]) -> list[str | None]:
    return [("Y" if m else "N") if j else None for m, j in zip(met.tolist(), judged.tolist(), strict=True)]


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
    """Write a result as analysis dataset: SAS transport file, Dataset-JSON, and the table of its parameters.

    Parameters
    ----------
    result, features, limits
        As for :func:`to_adam`.
    folder : path
        Made when missing: ``adpd.xpt``, ``adpd.json`` and ``adpd_parameters.csv`` are written there. They carry
        the data cut-off (1970-01-01 without one), not the clock.

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
