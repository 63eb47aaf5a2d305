"""Listings L1 to L4: every participant, every biopsy, every missing pair, every deviation, with its reason.

Days are study days; no listing holds a calendar date. They are closed on the page and whole in the workbook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from pdbiomarker.plot.select import Result, primary_set
from pdbiomarker.report.blocks import cell_of, table_of
from pdbiomarker.report.content import Block, Column, Section, Table
from pdbiomarker.report.problems import problems_of

__all__ = ["listings_section"]

#: Why a biopsy does not count that is a departure from the protocol's schedule, not a choice among biopsies.
_DEPARTURES: Final[Mapping[str, str]] = {
    "E-PAIR-001": "biopsy before the first dose",
    "E-PAIR-002": "biopsy outside its window",
    "E-PAIR-003": "time of the biopsy not known",
    "E-PAIR-004": "visit and day contradict each other",
    "E-PAIR-009": "visit not known",
    "E-PAIR-010": "archival tissue",
    "E-PAIR-011": "archival tissue",
    "E-PAIR-012": "date of the biopsy partial",
    "E-PAIR-014": "biopsy after the cut-off",
    "E-PAIR-015": "lesion of the pair",
    "E-PAIR-016": "no consent to biopsies",
}


def listings_section(result: Result) -> Section | None:
    """Make the section of listings; None where nothing was analysed.

    Parameters
    ----------
    result : PDResult
    """
    tables = [_participants(result), _biopsies(result), _exclusions(result), _deviations(result)]
    blocks: list[Block] = [t for t in tables if t is not None]
    return Section("listings", "Listings", tuple(blocks)) if blocks else None


def _dose(value: Any) -> str:
    return "" if pd.isna(value) else f"{float(value):g}"


def _first(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the primary analysis set."""
    return table[table["set"] == primary_set(table)] if "set" in table.columns and len(table) else table


# --- L1 ------------------------------------------------------------------------------------------------


def _participants(result: Result) -> Table | None:
    people = result.study.participants
    if people.empty:
        return None
    frame = people.reset_index().rename(columns={people.index.name or "index": "participant_id"})
    frame["participant_id"] = frame["participant_id"].astype(str)
    if "dose_mg" in frame.columns:
        frame["dose"] = [_dose(v) for v in pd.to_numeric(frame["dose_mg"], errors="coerce")]
    biopsies = getattr(result.study, "biopsies", pd.DataFrame())
    if "participant_id" in biopsies.columns:
        counts = biopsies["participant_id"].astype(str).value_counts()
        frame["n_biopsies"] = [int(counts.get(p, 0)) for p in frame["participant_id"]]
    pairs, names = _pair_columns(result)
    for name in names:
        frame[name] = [pairs.get((p, name), "") for p in frame["participant_id"]]
    frame, trial = _with_trial(frame, getattr(result, "clinical", {}))
    columns = [
        *[("participant_id", Column("participant", "id")), ("cohort", Column("cohort", "name"))],
        *[
            ("dose", Column("dose (mg)", "id")),
            ("sex", Column("sex")),
            ("age", Column("age (years)", "number")),
        ],
        *[("tumor_type", Column("tumour type", "name")), ("n_biopsies", Column("biopsies", "number"))],
        *[(name, Column(f"pair: {name}")) for name in names],
        *trial,
    ]
    caption = (
        f"L1. Participants (n = {len(frame)}): what is known of each, and whether each gives an "
        "evaluable pair "
        "in the primary analysis set; the reasons are in L3."
    )
    return table_of("listing-participants", caption, frame, columns, collapsed=True)


def _pair_columns(result: Result) -> tuple[dict[tuple[str, str], str], list[str]]:
    """Whether each participant has a pair, by assay and contrast."""
    pairs = getattr(result, "pairs", pd.DataFrame())
    if pairs.empty or "evaluable" not in pairs.columns:
        return {}, []
    several = "contrast" in pairs.columns and pairs["contrast"].nunique() > 1
    assays = pairs["assay"].astype(str)
    named = assays + (", " + pairs["contrast"].astype(str) if several else "")
    told = {
        (str(p), str(n)): "yes" if bool(e) else "no"
        for p, n, e in zip(pairs["participant_id"], named, pairs["evaluable"], strict=True)
    }
    return told, list(dict.fromkeys(named))


def _with_trial(
    frame: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, list[tuple[str, Column]]]:
    """Add doses received, best response and the end of treatment, where they are known."""
    wanted = (
        ("schedule_summary", "n_doses", Column("doses", "number")),
        ("schedule_summary", "last_dose_day", Column("last dose (study day)", "number")),
        ("best_response", "best_response", Column("best response")),
        ("swimmer", "basis", Column("end of follow-up")),
    )
    columns = []
    for name, column, head in wanted:
        table = tables.get(name)
        if table is None or column not in table or column in frame.columns:
            continue
        values = table.drop_duplicates("participant_id").set_index("participant_id")[column].to_dict()
        frame[column] = [values.get(p) for p in frame["participant_id"]]
        columns.append((column, head))
    return frame, columns


# --- L2 ------------------------------------------------------------------------------------------------


def _biopsies(result: Result) -> Table | None:
    sheet = getattr(result.study, "biopsies", pd.DataFrame())
    if sheet.empty:
        return None
    frame = sheet.reset_index().rename(columns={sheet.index.name or "index": "biopsy_id"})
    rows = _first(result.biopsies.reset_index())
    used: dict[str, dict[str, None]] = {}
    unused: dict[str, dict[str, None]] = {}
    adequate: dict[str, str] = {}
    for row in rows.to_dict("records"):
        biopsy = str(row["biopsy_id"])
        if bool(row["used"]):
            used.setdefault(biopsy, {}).setdefault(str(row["assay"]))
        elif isinstance(row.get("reason"), str) and row["reason"]:
            unused.setdefault(biopsy, {}).setdefault(f"{row['assay']}: {row['reason']}")
        known = row.get("adequate")
        if known is not None and not pd.isna(known):
            adequate[biopsy] = "yes" if bool(known) else "no"
    ids = frame["biopsy_id"].astype(str)
    frame["used"] = [", ".join(used.get(b, ())) for b in ids]
    frame["not_used"] = [_once(unused.get(b, ())) for b in ids]
    frame["is_adequate"] = [adequate.get(b, "") for b in ids]
    columns = [
        *[("biopsy_id", Column("biopsy", "id")), ("participant_id", Column("participant", "id"))],
        *[("visit", Column("visit")), ("study_day", Column("study day", "number"))],
        *[
            ("site", Column("site", "name")),
            ("lesion_id", Column("lesion", "id")),
            ("core", Column("core", "id")),
        ],
        *[("tumor_content_pct", Column("tumour content (%)", "number"))],
        *[("viable_tumor_cells", Column("viable tumour cells", "number"))],
        *[("is_adequate", Column("adequate")), ("used", Column("used in"))],
        ("not_used", Column("not used, and why")),
    ]
    caption = (
        f"L2. Biopsies (n = {len(frame)}): where and when each was taken (study days), whether it is "
        "adequate, "
        "where the primary analysis set uses it, and why it does not."
    )
    own = {name: column for name, column in columns if name in frame.columns}
    frame = frame.assign(**{name: [_plain(v) for v in frame[name]] for name in ("core",) if name in frame})
    keep = [(n, c) for n, c in own.items() if c.format != "number" or frame[n].notna().any()]
    return table_of("listing-biopsies", caption, frame, keep, collapsed=True)


def _plain(value: Any) -> str:
    if value is None or pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _once(told: Sequence[str] | Mapping[str, None]) -> str:
    """Join reasons; assays with the same reason are named together."""
    by: dict[str, list[str]] = {}
    for text in told:
        assay, _, reason = text.partition(": ")
        by.setdefault(reason.replace(repr(assay), "this assay"), []).append(assay)
    return "; ".join(f"{', '.join(assays)}: {reason}" for reason, assays in by.items())


# --- L3 ------------------------------------------------------------------------------------------------


def _exclusions(result: Result) -> Table | None:
    """Every participant without a pair, by assay and contrast; assays with the same story share a row."""
    pairs = getattr(result, "pairs", pd.DataFrame())
    if pairs.empty or "evaluable" not in pairs.columns:
        return None
    rows = pairs[~pairs["evaluable"].astype(bool)]
    step = _steps(result)
    merged: dict[tuple[str, ...], list[str]] = {}
    for row in rows.to_dict("records"):
        person, assay = str(row["participant_id"]), str(row["assay"])
        contrast = str(row.get("contrast", ""))
        parts = [str(cell_of(row.get(k)) or "") for k in ("baseline_biopsy", "on_biopsy", "reason", "code")]
        parts[2] = parts[2].replace(repr(assay), "this assay")
        group, recorded = step.get((person, assay, contrast), ("", ""))
        if recorded and recorded not in parts[2]:
            parts[2] = f"{parts[2]}; {recorded}"
        merged.setdefault((person, contrast, *parts, group), []).append(assay)
    lines = [(*key[:2], ", ".join(dict.fromkeys(assays)), *key[2:]) for key, assays in merged.items()]
    names = ["participant_id", "contrast", "assay", "baseline", "on", "reason", "code", "group"]
    frame = pd.DataFrame(lines, columns=names, dtype=object)
    columns = [
        *[("participant_id", Column("participant", "id")), ("contrast", Column("contrast"))],
        *[("assay", Column("no pair in")), ("baseline", Column("baseline biopsy", "id"))],
        *[("on", Column("on-treatment biopsy", "id")), ("group", Column("kind of reason"))],
        *[("reason", Column("why")), ("code", Column("code", "id"))],
    ]
    caption = (
        f"L3. Missing pairs ({len(frame)} rows): every participant without an evaluable pair in the primary "
        "analysis set, and why."
    )
    return table_of("listing-exclusions", caption, frame, columns, collapsed=True)


def _steps(result: Result) -> dict[tuple[str, str, str], tuple[str, str]]:
    """At which step each participant was lost, in words, and the reason that the sheets record."""
    rows = _first(getattr(result, "dispositions", pd.DataFrame()))
    if rows.empty:
        return {}
    return {
        (str(r["participant_id"]), str(r["assay"]), str(r["contrast"])): (
            str(cell_of(r["group"]) or ""),
            str(cell_of(r["reason"]) or ""),
        )
        for r in rows[rows["outcome"] == "lost"].to_dict("records")
    }


# --- L4 ------------------------------------------------------------------------------------------------


def _deviations(result: Result) -> Table | None:
    """Departures from the schedule and the plan, reviewers' decisions, and what was quarantined."""
    lines = [*_of_biopsies(result), *_of_events(result), *_of_plan(result), *_of_items(result)]
    names = ["kind", "participant_id", "item", "study_day", "what", "code"]
    frame = pd.DataFrame(lines, columns=names).drop_duplicates(ignore_index=True)
    if frame.empty:
        return None
    frame["study_day"] = pd.array(frame["study_day"].tolist(), dtype="Int64")
    columns = [
        *[("kind", Column("kind", "name")), ("participant_id", Column("participant", "id"))],
        *[("item", Column("item", "id")), ("study_day", Column("study day", "number"))],
        *[("what", Column("what and why")), ("code", Column("code", "id"))],
    ]
    caption = (
        f"L4. Deviations ({len(frame)} rows): biopsies off the schedule, intercurrent events, "
        "departures from "
        "the locked plan, reviewers' decisions, items left out. The protocol's own deviation log is not read."
    )
    return table_of("listing-deviations", caption, frame, columns, collapsed=True)


def _of_biopsies(result: Result) -> list[tuple[object, ...]]:
    days = getattr(result.study, "biopsies", pd.DataFrame())
    known = days["study_day"].to_dict() if "study_day" in days.columns else {}
    lines: dict[tuple[object, ...], None] = {}
    rows = result.biopsies.reset_index()
    for row in rows[rows["code"].astype(str).isin(_DEPARTURES)].to_dict("records") if "code" in rows else []:
        day = known.get(row["biopsy_id"])
        reason = str(row["reason"]).replace(repr(str(row["assay"])), "the assay")
        kind = _DEPARTURES[str(row["code"])]
        lines[(kind, row["participant_id"], row["biopsy_id"], _day(day), reason, row["code"])] = None
    return list(lines)


def _day(value: Any) -> int | None:
    return None if value is None or pd.isna(value) else int(value)


def _of_events(result: Result) -> list[tuple[object, ...]]:
    events = getattr(result, "listings", {}).get("intercurrent_events", pd.DataFrame())
    if not len(events):
        return []
    return [
        ("intercurrent event", r["participant_id"], r["biopsy_id"], _day(r["event_day"]),
         f"{str(r['event']).replace('_', ' ')}: {r['reason']}", "E-PLAN-014")
        for r in events[events["affected"].astype(bool)].to_dict("records")
    ]  # fmt: skip


def _of_plan(result: Result) -> list[tuple[object, ...]]:
    rows = getattr(result, "listings", {}).get("plan_deviations", pd.DataFrame())
    if not len(rows):
        return []
    rows = rows[rows["kind"] != "look"]
    return [("plan", "", str(r["key"]), None, str(r["told"]), "E-LOCK-006") for r in rows.to_dict("records")]


def _of_items(result: Result) -> list[tuple[object, ...]]:
    """Reviewers' decisions and quarantined items."""
    lines: list[tuple[object, ...]] = []
    overrides = getattr(result.study, "overrides", pd.DataFrame())
    for row in overrides.to_dict("records") if len(overrides) else []:
        what = f"{row['action']}: {row['reason']} ({row['who']})"
        lines.append(("reviewer's decision", "", str(row["item"]), None, what, ""))
    for told in problems_of(result):
        if told.severity == "quarantine":
            lines.append(("left out", "", told.item or told.place, None, told.message, told.code))
    return lines
