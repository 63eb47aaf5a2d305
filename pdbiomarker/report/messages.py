"""What each figure and table says, in one sentence with its number: the titles of the slides.

A sentence takes its numbers from the same rows as the block it stands over, and is written by the same
functions; it claims no more than the test of its row. A block without a sentence here keeps its caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.survival import DAYS_PER_MONTH
from pdbiomarker.decide import Review
from pdbiomarker.plot.numbers import format_interval, format_number, format_words, p_name
from pdbiomarker.plot.select import RATIO_KINDS, Result, changes_of, effect_units, flow_of, primary_set
from pdbiomarker.report.blocks import key_of
from pdbiomarker.report.findings import LEVEL, USABLE, primary_rows

__all__ = ["effect_in_words", "largest_changes", "messages"]

Tables = Mapping[str, pd.DataFrame]
_PARTIAL_RESPONSE: Final = -30.0
#: Blocks of one count assay and contrast.
_OF_GENES: Final = ("volcano", "genes")


def messages(result: Result, review: Review | None = None) -> dict[str, str]:
    """Write the sentence of every block that has one: key of the block to sentence.

    Parameters
    ----------
    result : PDResult
    review : Review, optional
        Adds what was decided.
    """
    told: dict[str, str] = {}
    told |= _flows(result)
    told |= _features(result, review)
    told |= _families(result)
    told |= _genes(result)
    if review is not None and review.features:
        told |= _decided(result, review)
    tables: Tables = getattr(result, "clinical", {})
    if tables:
        told |= _efficacy(tables)
        told |= _exposure(tables)
        told |= _safety(tables)
    return {key: text for key, text in told.items() if text}


def _label(row: Any) -> str:
    return row["label"] if isinstance(row["label"], str) and row["label"] else str(row["feature"])


def _s(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def effect_in_words(row: pd.Series) -> str:
    """Write the effect of a row of the result as a sentence without its point.

    A direction is claimed only where the adjusted p (or p, where nothing was adjusted) is below .05.
    """
    label = _label(row)
    if str(row["status"]) not in USABLE or pd.isna(row["effect"]):
        note = row["note"] if isinstance(row["note"], str) and row["note"] else str(row["status"])
        return f"{label} cannot be judged: {note}"
    effect = float(row["effect"])
    ratio = row["kind"] in RATIO_KINDS
    p = row["q"] if pd.notna(row["q"]) else row["p"]
    called = pd.notna(p) and float(p) < LEVEL
    unit = "" if ratio else f" {row['effect_unit']}"
    size = f"× {format_number(effect)}" if ratio else f"{'+' if effect > 0 else ''}{format_number(effect)}"
    limits = f" (95 % CI {format_interval(row['effect_low'], row['effect_high'])})"
    limits = limits if pd.notna(row["effect_low"]) else ""
    n = row["n_pairs"]
    basis = _s(int(n), "pair") if pd.notna(n) else _s(int(row["n_participants"]), "participant")
    subject = f"the odds of {label}" if row["kind"] == "proportion" else label
    if called:
        up = effect >= 1 if ratio else effect >= 0
        told = f"{subject} {'rose' if up else 'fell'}, {size}{unit}{limits}, in {basis}"
    else:
        told = f"no change of {subject} is shown: {size}{unit}{limits} in {basis}"
    return told if told.startswith(label) else told[:1].upper() + told[1:]


# --- the result ----------------------------------------------------------------------------------------


def _flows(result: Result) -> dict[str, str]:
    flow = flow_of(result)
    told: dict[str, str] = {}
    if flow.empty:
        return told
    main = flow[flow["set"] == primary_set(flow)]
    contrast = main["contrast"] if "contrast" in main.columns else pd.Series("all", main.index)
    for (assay, of), steps in main.groupby(["assay", contrast.rename("of")], sort=False):
        first, last = (int(steps["n_participants"].iloc[i]) for i in (0, -1))
        pair = "an evaluable biopsy" if str(steps["step"].iloc[-1]) == "evaluable" else "an evaluable pair"
        verb = "gives" if last == 1 else "give"
        lost = steps[steps["n_lost"].fillna(0) > 0]
        why = [str(r) for r in lost["reasons"] if isinstance(r, str) and r] if "reasons" in lost else []
        more = f"; lost: {'; '.join(why)}" if why else ""
        told[key_of("flow", assay, of)] = (
            f"{last} of {first} participants {verb} {pair} in {assay or 'any assay'}{more}"
        )
    return told


def _features(result: Result, review: Review | None) -> dict[str, str]:
    """Figures of each primary feature and signature, participant by participant, and the whole family."""
    told: dict[str, str] = {}
    table = result.table
    own = table[(table["set"] == primary_set(table)) & (table["kind"] != "count")]
    own = own.assign(effect_unit=effect_units(result, own)) if "effect_unit" in own else own
    for _, row in own.iterrows():
        reference, contrast = f"{row['assay']}:{row['feature']}", str(row["contrast"])
        told[key_of("paired", reference, contrast)] = effect_in_words(row)
        told[key_of("waterfall", reference, contrast)] = _each(result, row, review)
    rows = own[own["family"] == "primary"]
    if len(rows) == 1:
        told["primary-forest"] = told["primary-effects"] = _over_sets(result, rows.iloc[0])
    elif len(rows):
        told["primary-forest"] = told["primary-effects"] = _called(rows, "the primary family")
    return told


def largest_changes(result: Result) -> pd.DataFrame:
    """Changes of the first primary feature in the primary set, largest first: ``participant_id, change``."""
    rows = primary_rows(result)
    if rows.empty or result.changes.empty:
        return result.changes.iloc[:0]
    changes = changes_of(result, rows.iloc[0])
    changes = changes[changes["change"].notna()]
    return changes.sort_values(["change", "participant_id"], ascending=[False, True], kind="stable")


def _each(result: Result, row: pd.Series, review: Review | None) -> str:
    """How many participants moved: beyond noise where that was judged, else up and down."""
    reference = f"{row['assay']}:{row['feature']}"
    if review is not None and reference in review.features and row["contrast"] == review.contrast:
        rates = review.of("responder_rates", reference)
        if len(rates):
            rates = rates[rates["criterion"].str.startswith("beyond noise")]
            n = {str(d): int(k) for d, k in zip(rates["direction"], rates["n"], strict=True)}
            total = int(rates["n_evaluable"].iloc[0])
            up, down = (n.get(way, 0) for way in ("up", "down"))
            moved = f"{up or 'none'} of {_s(total, 'pair')} rose beyond noise, {down or 'none'} fell"
            return f"{_label(row)}: {moved}"
    values = changes_of(result, row)["change"].dropna().to_numpy(dtype=float)
    if not values.size:
        return ""
    up, down = int((values > 0).sum()), int((values < 0).sum())
    return (
        f"{_label(row)} rose in {up} of {_s(values.size, 'pair')}, fell in {down}; noise is not judged here"
    )


def _over_sets(result: Result, row: pd.Series) -> str:
    table = result.table
    for column in ("assay", "feature", "contrast"):
        table = table[table[column] == row[column]]
    rows = table[table["status"].isin(USABLE) & table["effect"].notna()]
    if len(rows) < 2:
        return effect_in_words(row)
    low, high = (format_number(float(v)) for v in (rows["effect"].min(), rows["effect"].max()))
    sign, unit = ("× ", "") if row["kind"] in RATIO_KINDS else ("", f" {row['effect_unit']}")
    return f"{_label(row)}: {sign}{low} to {sign}{high}{unit} over {len(rows)} analysis sets"


def _called(rows: pd.DataFrame, what: str) -> str:
    tested = rows[rows["p"].notna()]
    if tested.empty:
        return f"No feature of {what} can be judged"
    adjusted = tested["q"].where(tested["q"].notna(), tested["p"]).astype(float)
    called = tested[(adjusted < LEVEL).to_numpy(dtype=bool)]
    names = {p_name(a) for a, q in zip(tested["adjustment"], tested["q"], strict=True) if pd.notna(q)}
    name = names.pop() if len(names) == 1 else ("adjusted p" if names else "p, not adjusted,")
    verb = "changes" if len(called) == 1 else "change"
    of = f"{len(called)} of {_s(len(tested), 'tested row')} of {what} {verb} ({name} < 0.05)"
    first = called.sort_values("p", kind="stable").head(1)
    return f"{of}: {_label(first.iloc[0])}" if len(called) == 1 else of


def _families(result: Result) -> dict[str, str]:
    table = result.table
    own = table[table["set"] == primary_set(table)]
    told: dict[str, str] = {}
    for family, rows in own.groupby("family", sort=False):
        if family != "primary":
            sentence = _called(rows, f"the family {family}")
            told |= {key_of("forest", family): sentence, key_of("effects", family): sentence}
    return told


def _genes(result: Result) -> dict[str, str]:
    table = result.table
    own = table[(table["kind"] == "count") & (table["set"] == primary_set(table))]
    told: dict[str, str] = {}
    for (assay, contrast), rows in own.groupby(["assay", "contrast"], sort=False):
        tested = rows[rows["q"].notna()]
        called = tested[tested["q"].astype(float) < LEVEL]
        up, down = int((called["estimate"] > 0).sum()), int((called["estimate"] < 0).sum())
        name = p_name(tested["adjustment"].iloc[0]) if len(tested) else ""
        sentence = f"{up:,} of {len(tested):,} tested genes rise and {down:,} fall ({name} < 0.05)"
        if tested.empty:
            told |= {
                key_of(kind, assay, contrast): f"No gene of {assay} could be tested" for kind in _OF_GENES
            }
            continue
        if not up + down:
            sentence = f"None of {len(tested):,} tested genes changes ({name} < 0.05)"
        n = rows["n_pairs"].dropna()
        sentence += f" in {_s(int(n.max()), 'pair')}" if len(n) else ""
        told |= {key_of(kind, assay, contrast): sentence for kind in _OF_GENES}
    return told


# --- decisions -----------------------------------------------------------------------------------------


def _decided(result: Result, review: Review) -> dict[str, str]:
    told: dict[str, str] = {}
    cohort = pd.concat([review.verdicts(f) for f in review.features], ignore_index=True)
    cohort = cohort[~cohort["note"].astype(str).str.contains("the rule is for ")] if len(cohort) else cohort
    if len(cohort):
        counts = cohort["verdict"].value_counts()
        named = [f"{v} {counts[v]}" for v in ("go", "consider", "stop", "not evaluable") if v in counts]
        told["decisions-cohort"] = f"Verdicts of {_s(len(cohort), 'rule')} on the cohort: {', '.join(named)}"
    labels = {f"{r['assay']}:{r['feature']}": _label(r) for _, r in primary_rows(result).iterrows()}
    if len(review.dose_trend):
        several = len(review.features) > 1
        trends = [
            (labels.get(f, f), format_words(rows["verdict"].iloc[0]).split(";")[0].rstrip("."))
            for f in review.features
            if len(rows := review.of("dose_trend", f))
        ]
        # Of several features the numbers stand in the text beside the table: a title has no room for them.
        short = [f"{label}: {said.partition(' (')[0]}" for label, said in trends]
        told["dose-levels"] = "; ".join(short if several else [said for _, said in trends])
    checks = review.honesty_checks
    if len(checks):
        caution = checks[checks["finding"] == "caution"]
        more = ": " + ", ".join(dict.fromkeys(map(str, caution["check"]))) if len(caution) else ""
        verb = "asks" if len(caution) == 1 else "ask"
        told["honesty-checks"] = f"{len(caution)} of {_s(len(checks), 'check')} {verb} for caution{more}"
    told |= _noise(review, labels)
    for reference in review.features:
        rows = primary_rows(result)
        rows = rows.assign(effect_unit=effect_units(result, rows)) if "effect_unit" in rows else rows
        mine = rows[(rows["assay"] + ":" + rows["feature"]) == reference]
        if len(mine):
            told[key_of("sensitivity", reference)] = _over_sets(result, mine.iloc[0])
            told[key_of("responders", reference)] = _each(result, mine.iloc[0], review)
    return told


def _noise(review: Review, labels: Mapping[str, str]) -> dict[str, str]:
    told: list[str] = []
    for _, row in review.noise.iterrows():
        label = labels.get(str(row["feature"]), str(row["feature"]))
        if not np.isfinite(float(row["sigma"])):
            told.append(f"{label}: noise is not known")
            continue
        limit = row["rcv_fold"] if pd.notna(row["rcv_fold"]) else row["rcv"]
        size = (
            f"× {format_number(float(limit))}" if pd.notna(row["rcv_fold"]) else format_number(float(limit))
        )
        borrowed = ", borrowed from another study" if bool(row["borrowed"]) else ""
        told.append(f"{label}: noise alone reaches {size} (noise from {row['basis']}{borrowed})")
    return {"noise-table": "; ".join(told)} if told else {}


# --- the trial -----------------------------------------------------------------------------------------


def _efficacy(tables: Tables) -> dict[str, str]:
    told: dict[str, str] = {}
    orr = tables.get("orr")
    if orr is not None and len(orr):
        first = orr.iloc[0]
        told["efficacy-rates"] = (
            f"{first['endpoint']}: {int(first['n_with'])} of {_s(int(first['n']), 'participant')}, "
            f"{_share(first['rate'])} (95 % CI {_share(first['ci_low'])} to {_share(first['ci_high'])})"
        )
    medians = tables.get("km_medians")
    own = medians[(medians["curve"] == "pfs") & (medians["group"] == "all")] if medians is not None else None
    if own is not None and len(own):
        row = own.iloc[0]
        days = row["median_days"]
        median = f"{days / DAYS_PER_MONTH:.1f} months" if pd.notna(days) else "not reached"
        counts = f"{_s(int(row['n_events']), 'event')} in {_s(int(row['n']), 'participant')}"
        told["km-pfs"] = f"Median progression-free survival: {median}; {counts}"
    sizes = tables.get("waterfall")
    if sizes is not None and len(sizes):
        best = sizes["best_size_change_pct"].dropna()
        fell = int((best <= _PARTIAL_RESPONSE).sum())
        told["size-waterfall"] = (
            f"Tumour size fell by 30 % or more at best in {fell} of {_s(len(best), 'participant')}"
        )
    bars = tables.get("swimmer")
    if bars is not None and len(bars):
        ongoing = int(bars["ongoing"].fillna(value=False).astype(bool).sum())
        told["swimmer"] = f"{ongoing} of {_s(len(bars), 'participant')} are on study at the cut-off"
    return told


def _share(value: Any) -> str:
    return "–" if pd.isna(value) else f"{100 * float(value):.0f} %"


def _exposure(tables: Tables) -> dict[str, str]:
    """How exposure grew with dose, by the power model, where it was fitted."""
    shape = tables.get("dose_proportionality")
    if shape is None or not len(shape):
        return {}
    rows = shape[shape["slope"].notna()]
    known = [p for p in ("auc_inf", "auc_last", "cmax") if (rows["parameter"] == p).any()]
    if not known or rows["analyte"].nunique() > 1:
        return {}
    row = rows[rows["parameter"] == known[0]].iloc[0]
    name = {"auc_inf": "AUCinf", "auc_last": "AUClast", "cmax": "Cmax"}[known[0]]
    limits = format_interval(row["ci_low"], row["ci_high"])
    sentence = (
        f"{name} goes with dose to the power {format_number(float(row['slope']))} "
        f"({100 * float(row['confidence']):.0f} % CI {limits}), "
        f"{_s(int(row['n_participants']), 'participant')}"
    )
    return {"concentration": sentence, "pk-parameters": sentence}


def _safety(tables: Tables) -> dict[str, str]:
    told: dict[str, str] = {}
    limiting = tables.get("dlt_by_dose")
    if limiting is not None and len(limiting):
        rows = limiting[limiting["dose"] == "all"]
        rows = rows if len(rows) else limiting
        n, of = int(rows["n_dlt"].sum()), int(rows["n_evaluable"].sum())
        at = limiting[(limiting["dose"] != "all") & (limiting["n_dlt"] > 0)]
        where = ", ".join(f"{int(k)} of {int(m)} at {d}" for d, k, m in zip(
            at["dose"], at["n_dlt"], at["n_evaluable"], strict=True))  # fmt: skip
        where = f": {where}" if where else ""
        told["dlt"] = f"Dose-limiting toxicity in {n} of {_s(of, 'evaluable participant')}{where}"
    incidence = tables.get("ada_incidence")
    if incidence is not None and len(incidence):
        own = incidence[
            (incidence["dose"] == "all") & (incidence["measure"] == "treatment-emergent incidence")
        ]
        for _, row in own.iterrows():
            sentence = f"Treatment-emergent antibodies in {int(row['n'])} of {int(row['denominator'])}"
            told |= {"ada": sentence, "ada-titres": sentence}
    return told
