"""Records of an ADaM export: one assay, analysis set and baseline visit at a time.

See :mod:`pdbiomarker.change.adam` for what the variables are.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from pdbiomarker.tables import parse_date

if TYPE_CHECKING:
    from pdbiomarker.change.result import PDResult

__all__ = ["Block", "block_records"]

Floats = NDArray[np.float64]
#: The records of one biopsy: a value for all parameters, or one for each.
Cells = dict[str, Any]

_UP, _DOWN = ">=2-fold", "<=1/2-fold"
_ROUNDING: Final = 1e-12


@dataclasses.dataclass(frozen=True)
class Block:
    """One assay, analysis set and baseline visit."""

    result: PDResult
    assay: str
    set_: str
    baseline: str
    contrasts: tuple[tuple[str, str], ...]
    parameters: pd.DataFrame

    @property
    def adata(self) -> AnnData:
        """The assay, biopsies x features."""
        return self.result.study.assays[self.assay]

    @property
    def features(self) -> list[str]:
        """Features exported, in the order of the parameters."""
        return self.parameters["feature"].tolist()

    @property
    def visits(self) -> list[str]:
        """The baseline, then the visits that are compared with it."""
        return [self.baseline, *dict.fromkeys(on for _, on in self.contrasts)]

    @functools.cached_property
    def values(self) -> dict[str, pd.DataFrame]:
        """Biopsies x features of X and of the layers that records need, by name."""
        data = self.adata[:, self.features].copy()
        rows = [str(b) for b in data.obs_names]
        found = {"X": pd.DataFrame(np.asarray(data.X, dtype=float), index=rows, columns=self.features)}
        for layer in ("y", "numerator", "denominator", "censored"):
            if layer in data.layers:
                matrix = np.asarray(data.layers[layer], dtype=float)
                found[layer] = pd.DataFrame(matrix, index=rows, columns=self.features)
        return found

    def of_biopsy(self, layer: str, ids: Sequence[str]) -> Floats | None:
        """A layer's values of one biopsy; None of several, or where there are none."""
        table = self.values.get(layer)
        known = table is not None and len(ids) == 1 and ids[0] in table.index
        return table.loc[ids[0]].to_numpy(dtype=float) if table is not None and known else None


def _biopsy_rows(block: Block) -> pd.DataFrame:
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


def _natural(block: Block) -> pd.DataFrame:
    """Values of every biopsy on the natural scale; of counts, of the biopsies that were normalised."""
    values = block.values["X"].copy()
    counts = (block.parameters["kind"] == "count").to_numpy()
    if counts.any():
        scaled = block.values.get("y", values * np.nan)
        values.loc[:, counts] = np.exp2(scaled.loc[:, counts])
    return values


def _change_rows(block: Block) -> dict[tuple[str, str], pd.DataFrame]:
    """Changes of each participant and visit, indexed by feature.

    Sets of pairs within the strict set list no changes of their own: theirs are those of the strict set.
    """
    table = block.result.changes
    mine = table["assay"] == block.assay
    listed = bool((table["set"][mine] == block.set_).any())
    touched = dict(block.contrasts)
    inside = mine & (table["set"] == (block.set_ if listed else "strict"))
    rows = table[inside & table["contrast"].isin(list(touched))]
    if not listed:
        known = block.result.biopsies
        known = known[
            (known["assay"] == block.assay) & (known["set"] == block.set_) & known["used"].astype(bool)
        ]
        pairs = pd.MultiIndex.from_frame(known[["participant_id", "contrast"]].astype(str))
        rows = rows[pd.MultiIndex.from_frame(rows[["participant_id", "contrast"]].astype(str)).isin(pairs)]
    return {
        (str(person), touched[str(contrast)]): part.set_index("feature").reindex(block.features)
        for (person, contrast), part in rows.groupby(["participant_id", "contrast"], sort=True)
    }


def block_records(block: Block, limits: Mapping[str, float]) -> pd.DataFrame:
    """Every record of one assay, set and baseline visit."""
    biopsies, natural, changes = _biopsy_rows(block), _natural(block), _change_rows(block)
    records: list[Cells] = []
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
    rows = range(len(block.parameters))
    frame = pd.concat([pd.DataFrame(cells, index=rows) for cells in records], ignore_index=True)
    _criteria(block, frame, limits)
    return frame


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    names = list(map(str, table.columns))
    return [dict(zip(names, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _flags(marked: NDArray[np.bool_]) -> list[str | None]:
    return ["Y" if mark else None for mark in marked.tolist()]


def _analysed(block: Block, mine: pd.DataFrame) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
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


def _mean(block: Block, natural: pd.DataFrame, ids: Sequence[str]) -> Floats:
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


def _record(block: Block, row: Mapping[str, Any], value: Floats) -> Cells:
    """Records of one biopsy, or of an average, for every parameter; no change yet."""
    ids = str(row["biopsy_id"]).split(";")
    study, parameters = block.result.study, block.parameters
    spec = [v.name for v in study.spec.visits]
    visit, day = _text(row["visit"]), row["study_day"]
    out: Cells = {"USUBJID": str(row["participant_id"]), "PARCAT1": block.assay.upper()}
    for name in ("paramcd", "param", "link"):
        out[name.upper()] = parameters[name].to_numpy(dtype=object)
    out["AVALU"] = [unit or None for unit in parameters["unit"]]
    out["AVISIT"], out["AVISITN"] = visit, float(spec.index(visit)) if visit in spec else np.nan
    out["ADT"] = _collected(block, ids)
    out["ADY"] = np.nan if pd.isna(day) else float(day)
    out["LNKID"] = _lesion(block, ids)
    out["BASETYPE"] = f"{block.set_.upper()}: {block.baseline}"
    out["AVAL"], out["DTYPE"], out["SRCID"] = value, row.get("dtype"), str(row["biopsy_id"])
    reason: str | None = None if row["used"] else (str(row["reason"] or "") or "Not used.")
    if row["used"] and not row.get("dtype") and visit not in block.visits:
        reason = "Not a visit of this analysis."
    out["ANLRSN"] = reason
    for name, layer in (("NUM", "numerator"), ("DENOM", "denominator")):
        known = block.of_biopsy(layer, ids)
        out[name] = np.nan if known is None else known
    _censored(block, out, ids)
    return out


def _censored(block: Block, out: Cells, ids: Sequence[str]) -> None:
    """Mark values beyond a limit, and write them as ``<limit`` or ``>limit``."""
    out["CENSFL"], out["AVALC"] = None, None
    side = block.of_biopsy("censored", ids)
    if side is None:
        return
    out["CENSFL"] = _flags(side != 0)
    value = out["AVAL"]
    # Where no limit is declared, the reader of the values put the bound in their place.
    below, above = (block.parameters[c].to_numpy(dtype=float) for c in ("lloq", "uloq"))
    texts: list[str | None] = []
    for s, v, low, high in zip(side.tolist(), value.tolist(), below, above, strict=True):
        bound = float(np.fmax(v, low) if s < 0 else np.fmin(v, high))
        texts.append(None if s == 0 or np.isnan(bound) else f"{'<' if s < 0 else '>'}{bound!r}")
    out["AVALC"] = texts


def _collected(block: Block, ids: Sequence[str]) -> dt.date | None:
    biopsies = block.result.study.biopsies
    if "collection_date" not in biopsies or ids[0] not in biopsies.index:
        return None
    text = biopsies.at[ids[0], "collection_date"]
    date = parse_date(text) if isinstance(text, str) else None
    return date.date() if isinstance(date, dt.datetime) else date


def _lesion(block: Block, ids: Sequence[str]) -> str | None:
    biopsies = block.result.study.biopsies
    column = next((c for c in ("lesion_id", "lesion") if c in biopsies), None)
    if column is None:
        return None
    found = {biopsies.at[i, column] for i in ids if i in biopsies.index}
    return _text(next(iter(found))) if len(found) == 1 else None


def _compare(
    block: Block,
    here: Cells,
    base: Floats,
    change: pd.DataFrame | None,
    *,
    decided: bool,
    base_ids: Sequence[str],
) -> None:
    """Add baseline, change and flags to the records of one biopsy."""
    is_base = decided and here["AVISIT"] == block.baseline
    lesion, own = _lesion(block, base_ids) if base_ids else None, here["LNKID"]
    same = None if is_base or lesion is None or own is None else ("Y" if lesion == own else "N")
    here["SAMELESF"], here["BASE"] = same, base
    empty = np.full(len(base), np.nan)
    here["CHG"] = here["PCHG"] = here["R2BASE"] = here["OR2BASE"] = empty
    here["PCHGRSN"] = None
    if is_base:
        here["AVAL"] = base
    links = here["LINK"]
    if change is not None:
        value = change["on_value"].to_numpy(dtype=float)
        here["AVAL"] = np.where(np.isnan(value), here["AVAL"], value)
        here["CHG"] = change["change"].to_numpy(dtype=float)
        ratio = change["ratio"].to_numpy(dtype=float)
        here["R2BASE"] = np.where(links == "LOG2", ratio, np.nan)
        here["OR2BASE"] = np.where(links == "LOGIT", ratio, np.nan)
        _percent(block, here, base)
    measured = np.isfinite(here["AVAL"])
    here["ABLFL"] = _flags(measured & is_base)
    here["ANL01FL"] = _flags(measured & decided)
    here["ANLRSN"] = _reasons(block, here, measured, decided=decided, is_base=is_base)


def _percent(block: Block, here: Cells, base: Floats) -> None:
    """Change in percent of the natural scale, where that has a zero and the baseline is not there."""
    aval = here["AVAL"]
    paired = np.isfinite(here["CHG"])
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
    block: Block, here: Cells, measured: NDArray[np.bool_], *, decided: bool, is_base: bool
) -> list[str | None]:
    """Say of each record why it is not in the analysis, or why it has no change."""
    told: str | None = here["ANLRSN"]
    changed = np.isfinite(here["CHG"])
    base = np.isfinite(here["BASE"])
    out: list[str | None] = []
    for has_value, has_change, has_base in zip(measured, changed, base, strict=True):
        reason = told
        if told is None and not decided:
            reason = "Averaged with the other biopsies of the visit."
        elif told is None and not has_value:
            reason = "The parameter has no value in this biopsy."
        elif told is None and not is_base and not has_change:
            why = "beyond a limit" if has_base else f"no usable baseline at {block.baseline!r}"
            reason = f"In the model, without a change of its own: {why}."
        out.append(reason)
    return out


def _criteria(block: Block, frame: pd.DataFrame, limits: Mapping[str, float]) -> None:
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
