"""What was asked and fixed beforehand: estimand, events, declared facts, lock, looks, mix of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from pdbiomarker.pairing.mix import NO_BIOPSY, UNKNOWN
from pdbiomarker.plan import ATTRIBUTES, declared_of
from pdbiomarker.plot.select import Result
from pdbiomarker.report.content import Block, Cell, Column, Section, Table, Text
from pdbiomarker.study import FACTS_IN_WORDS, Declared

__all__ = ["estimand_section"]

_OPEN_ROWS: Final = 16
#: What a fact does to a verdict where the answer is no, or nobody gave one.
_EFFECTS: Final[Mapping[str, tuple[str, str]]] = {
    "plan_locked": ("at most consider", "at most consider"),
    "pairs_share_run": ("at most consider", "taken from the assay's batches"),
    "blinded_reading": ("at most consider", "not known"),
    "visit_randomised": ("told with each verdict", "not known"),
    "lots_bridged": ("at most consider where pairs are not known to share a run", "not known"),
    "assay_cv_pct": ("", "not compared with the noise used"),
    "drug_binds": ("", "not known"),
    "unblinded": ("", "not compared with the lock"),
}


def estimand_section(result: Result) -> Section | None:
    """Make the section; None for a result without an estimand (made by an older version)."""
    words = result.provenance.get("estimand")
    if not words:
        return None
    listings: Mapping[str, pd.DataFrame] = getattr(result, "listings", {})
    blocks: list[Block] = [_attributes(words)]
    blocks += _events(listings)
    blocks += _lock(result, listings)
    blocks += _mix(listings)
    return Section("estimand", "Question, plan and pairs", tuple(blocks))


def _table(key: str, caption: str, columns: tuple[Column, ...], rows: list[tuple[Cell, ...]]) -> Table:
    return Table(key, caption, columns, tuple(rows), len(rows) > _OPEN_ROWS)


def _attributes(words: Mapping[str, str]) -> Table:
    caption = "The estimand: what the primary rows estimate (attributes of ICH E9(R1), A.3.3)."
    rows: list[tuple[Cell, ...]] = [(label, words.get(key, "")) for key, label in ATTRIBUTES.items()]
    return _table("estimand", caption, (Column("attribute", "name"), Column("in this study", "name")), rows)


# --- intercurrent events -------------------------------------------------------------------------------


def _events(listings: Mapping[str, pd.DataFrame]) -> list[Block]:
    affected, rows = listings.get("intercurrent_events"), listings.get("estimands")
    blocks: list[Block] = []
    if affected is None or rows is None or rows.empty:
        return blocks
    told = affected[affected["affected"].astype(bool)]
    if len(told):
        columns = (
            *(Column("event", "name"), Column("participant", "id"), Column("biopsy", "id"), Column("visit")),
            *(Column("study day", "number"), Column("event on day", "number"), Column("what follows")),
        )
        lines: list[tuple[Cell, ...]] = [
            (_words(r["event"]), r["participant_id"], r["biopsy_id"], r["visit"], _day(r["study_day"]),
             _day(r["event_day"]), r["reason"])
            for _, r in told.iterrows()
        ]  # fmt: skip
        caption = (
            f"Biopsies on treatment with an intercurrent event since baseline (n = {len(lines)}). Events "
            "that affect no biopsy are in results/intercurrent_events.csv."
        )
        blocks.append(_table("intercurrent-events", caption, columns, lines))
    else:
        blocks.append(Text(("No biopsy on treatment is affected by a declared intercurrent event.",)))
    blocks.append(_strategies(rows))
    return blocks


def _day(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _strategies(rows: pd.DataFrame) -> Table:
    caption = (
        "The same change under each strategy for each intercurrent event; the other events as declared. "
        "The declared strategy is the primary analysis; p of the others is not adjusted, and none is chosen "
        "after the data. All columns: results/estimands.csv."
    )
    several = rows["contrast"].nunique() > 1
    clean = rows["status"].isin(["ok", "singular"]).all()
    columns = (
        *(Column("feature", "name"), Column("event and strategy", "name")),
        *([Column("contrast")] if several else []),
        *(Column("affected", "number"), Column("pairs", "number"), Column("effect", "number")),
        *(
            Column("CI low", "number"),
            Column("CI high", "number"),
            Column("unit", minor=True),
            Column("p", "p"),
        ),
        *([] if clean else [Column("status", minor=True)]),
    )
    lines: list[tuple[Cell, ...]] = []
    # One feature under all strategies stands together.
    for _, r in rows.sort_values(["event", "label", "contrast"], kind="stable").iterrows():
        strategy = _words(r["strategy"]) + (" (declared)" if r["declared"] else "")
        numbers = [_number(r[name]) for name in ("effect", "effect_low", "effect_high")]
        lines.append(
            (
                *(str(r["label"]), f"{_words(r['event'])}: {strategy}"),
                *([str(r["contrast"])] if several else []),
                *(int(r["n_affected"]), _day(r["n_pairs"]), *numbers, str(r["effect_unit"]), _number(r["p"])),
                *([] if clean else [str(r["status"])]),
            )
        )
    return _table("strategies", caption, columns, lines)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


# --- facts, lock and looks -----------------------------------------------------------------------------


def _lock(result: Result, listings: Mapping[str, pd.DataFrame]) -> list[Block]:
    told: Mapping[str, Any] = result.provenance.get("lock") or {}
    blocks: list[Block] = [_facts(declared_of(result.study, result.plan))]
    blocks.append(Text((f"Lock of the plan. {told.get('said', 'Not known.')}",)))
    rows = listings.get("plan_deviations")
    if rows is None or rows.empty:
        return blocks
    looks = rows[rows["kind"] == "look"]
    deviating = rows[rows["kind"].isin(["deviation", "undeclared look"])]
    heads = (Column("kind"), Column("key", "id"), Column("locked", "name"), Column("now", "name"),
             Column("caps verdicts"), Column("what", "name"))  # fmt: skip
    if len(deviating):
        caption = (
            f"Deviations from the locked plan (n = {len(deviating)}), key by key. Where one caps verdicts, "
            "none goes above consider. Also in results/plan_deviations.csv."
        )
        lines: list[tuple[Cell, ...]] = [
            (r["kind"], r["key"], r["locked"], r["now"], bool(r["caps_verdict"]), r["told"])
            for _, r in deviating.iterrows()
        ]
        blocks.append(_table("plan-deviations", caption, heads, lines))
    elif len(looks):
        blocks.append(Text(("Nothing deviates from the locked plan.",)))
    if len(looks):
        caption = "Declared looks at the data, when each was locked, and the level it is tested at."
        columns = (
            Column("look", "name"),
            Column("locked", "name"),
            Column("use", "name"),
            Column("boundary"),
        )
        lines = [(r["key"], r["locked"] or "no", r["now"], r["told"]) for _, r in looks.iterrows()]
        blocks.append(_table("looks", caption, columns, lines))
    return blocks


def _facts(facts: Declared) -> Table:
    rows: list[tuple[Cell, ...]] = []
    given = facts.facts()
    for name, label in FACTS_IN_WORDS.items():
        against, missing = _EFFECTS[name]
        if name not in given:
            rows.append((label, "not declared", missing))
        elif isinstance(given[name], bool):
            rows.append((label, "yes" if given[name] else "no", "" if given[name] else against))
        else:
            rows.append((label, _shown(given[name]), against))
    caption = "Declared facts that the data cannot show, and what each does to a verdict."
    columns = (Column("fact", "name"), Column("answer", "name"), Column("effect on verdicts"))
    return _table("declared", caption, columns, rows)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {number:g} %" for key, number in value.items())
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


# --- pairs ---------------------------------------------------------------------------------------------


def _mix(listings: Mapping[str, pd.DataFrame]) -> list[Block]:
    """The mix of each assay and contrast; assays with the same pairs share a table."""
    mix = listings.get("pair_mix")
    if mix is None or mix.empty:
        return []
    groups: dict[tuple[Any, ...], list[str]] = {}
    frames: dict[tuple[Any, ...], pd.DataFrame] = {}
    for (assay, contrast), rows in mix.groupby(["assay", "contrast"], sort=False):
        facts = rows[["characteristic", "level", "n_paired", "n_unpaired"]].astype(object)
        key = (contrast, *facts.where(facts.notna(), None).itertuples(index=False, name=None))
        groups.setdefault(key, []).append(str(assay))
        frames.setdefault(key, rows)
    blocks: list[Block] = []
    columns = (
        *(Column("characteristic", "name"), Column("level", "name"), Column("paired", "number")),
        *(Column("% of pairs", "number"), Column("unpaired", "number"), Column("% of unpaired", "number")),
    )
    for number, (key, assays) in enumerate(groups.items(), start=1):
        rows = frames[key]
        unknown = rows.groupby("characteristic", sort=False)["level"].agg(
            lambda v: set(v) <= {UNKNOWN, NO_BIOPSY}
        )
        lacking = [str(name) for name in unknown.index[unknown.to_numpy(dtype=bool)]]
        lines: list[tuple[Cell, ...]] = [
            (r["characteristic"], r["level"], int(r["n_paired"]), _percent(r["share_paired"]),
             _day(r["n_unpaired"]), _percent(r["share_unpaired"]))
            for _, r in rows.iterrows() if r["characteristic"] not in lacking
        ]  # fmt: skip
        first = rows[rows["characteristic"] == rows["characteristic"].iloc[0]]
        caption = (
            f"Of what tumours, sites and lesions the pairs are: "
            f"{', '.join(a or 'any assay' for a in assays)}, {key[0]}; n = {int(first['n_paired'].sum())} "
            f"participants with a pair, {int(first['n_unpaired'].sum())} without one (by the baseline biopsy "
            f"that they have).{f' Not recorded: {", ".join(lacking)}.' if lacking else ''}"
        )
        blocks.append(
            Text((caption,)) if not lines else _table(f"pair-mix-{number}", caption, columns, lines)
        )
    return blocks


def _percent(share: Any) -> float | None:
    return None if pd.isna(share) else round(100 * float(share), 1)
