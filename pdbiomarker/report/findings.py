"""The front page: what changed, on what basis, and the strongest reason to doubt it.

A verdict never says more than its test. ``Change shown`` needs an adjusted p below .05; where batch and visit
cannot be told apart the verdict goes no higher than ``Consider`` (a shift between two staining runs looks the
same as an effect). Doubts are computed from the result, not chosen by a writer, and are ordered by how much
they could change the reading.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import stats

from pdbiomarker.decide import Review
from pdbiomarker.plot.numbers import (
    format_interval,
    format_number,
    format_p,
    p_equals,
    p_name,
    smallest_exact_p,
)
from pdbiomarker.plot.select import (
    CENSORED,
    RATIO_KINDS,
    Result,
    Selection,
    compares_two_visits,
    not_evaluable,
    primary_set,
    select,
    set_label,
)
from pdbiomarker.report.content import KeyFinding, Notice, Tone
from pdbiomarker.report.decisions import decision_facts, rule_lines
from pdbiomarker.report.privacy import clean
from pdbiomarker.report.problems import Told, problems_of
from pdbiomarker.report.reconcile import USABLE, both_true, two_estimates

__all__ = ["LEVEL", "SIMULATED", "USABLE", "find_doubts", "key_findings", "notices", "primary_rows"]

#: The level at which an adjusted p is called.
LEVEL: Final = 0.05
#: What the front page of a simulated study says first.
SIMULATED: Final = "SIMULATED DATA: no patient stands behind these numbers."
_FEW_PAIRS: Final = 6
_LOW_COUNT: Final = 10.0
_SKEW: Final = 1.5
#: What stands behind a finding, by whether it has pairs.
_COUNTED: Final = {True: "evaluable pairs", False: "participants"}
#: Notes that say what a row rests on; they are no reason to doubt it.
_FACTS: Final = ("fitted on ", "all biopsies of each visit")


def primary_rows(result: Result) -> pd.DataFrame:
    """Rows of the primary family in the primary analysis set; empty when the plan names none."""
    table = result.table
    rows = table[(table["family"] == "primary") & (table["set"] == primary_set(table))]
    return rows.reset_index(drop=True)


def key_findings(result: Result, review: Review | None = None) -> tuple[KeyFinding, ...]:
    """One finding per primary feature and contrast, in the order of the result's table.

    Parameters
    ----------
    result : PDResult
    review : Review, optional
        Adds what was decided.
    """
    findings = []
    for _, row in primary_rows(result).iterrows():
        chosen = select(result, f"{row['assay']}:{row['feature']}", row["contrast"], row["set"])
        found = _finding(result, chosen)
        of = (result, review, f"{row['assay']}:{row['feature']}", str(row["contrast"]))
        decided, rules = decision_facts(*of), rule_lines(*of)
        decided = (*decided, *both_true(found.verdict, rules), *two_estimates(chosen)) if rules else decided
        key = tuple(str(row[name]) for name in ("assay", "feature", "contrast", "set"))
        findings.append(dataclasses.replace(found, decided=decided, rules=rules, row=key))
    return tuple(findings)


def _finding(result: Result, chosen: Selection) -> KeyFinding:
    row = chosen.row
    plain = compares_two_visits(result, str(row["contrast"]))
    text = str(dict(result.plan.contrasts).get(row["contrast"], row["contrast"]))
    comparison = f"{chosen.on} against {chosen.baseline}" if plain else text
    n, pairs = _counted_pairs(row)
    if str(row["status"]) not in USABLE or pd.isna(row["effect"]) or pd.isna(row["p"]):
        note = (
            clean(str(row["note"]))
            if isinstance(row["note"], str) and row["note"]
            else "no reason was recorded"
        )
        way = f"from {chosen.baseline} to {chosen.on}" if plain else f"in the contrast {text}"
        sentence = f"{chosen.label} {way} cannot be judged: {note} ({pairs})."
        doubts = _missing_pairs(result, chosen, estimated=False) if pd.notna(row["n_pairs"]) else []
        return KeyFinding(
            chosen.label,
            comparison,
            "Not evaluable",
            "missing",
            "–",
            "–",
            str(n),
            "–",
            sentence,
            tuple(doubts),
            counted=_COUNTED[pd.notna(row["n_pairs"])],
        )
    adjusted = float(row["q"]) if pd.notna(row["q"]) else float(row["p"])
    name = p_name(row["adjustment"]) if pd.notna(row["q"]) else "p"
    inseparable = "not separable" in str(row["note"])
    verdict, tone = _verdict(adjusted < LEVEL, inseparable)
    basis = f"95 % CI {format_interval(row['effect_low'], row['effect_high'])}"
    what = (
        _in_words(chosen, adjusted < LEVEL) if plain else _contrast_in_words(chosen, text, adjusted < LEVEL)
    )
    told = p_equals(name, adjusted).replace(" ", "\u00a0")
    sentence = f"{what} ({basis}), {pairs}, {told}."
    if verdict == "Consider":
        sentence += " Batch and visit cannot be told apart, so this is no more than a reason to look further."
    return KeyFinding(
        label=chosen.label,
        comparison=comparison,
        verdict=verdict,
        tone=tone,
        headline=_headline(chosen),
        interval=format_interval(row["effect_low"], row["effect_high"]),
        n_pairs=str(n),
        p=p_equals(name, adjusted),
        sentence=sentence,
        doubts=tuple(find_doubts(result, chosen)),
        counted=_COUNTED[pd.notna(row["n_pairs"])],
    )


def _counted_pairs(row: pd.Series) -> tuple[int, str]:
    """How many participants stand behind a row, and what they are."""
    if pd.isna(row["n_pairs"]):
        n = int(row["n_participants"])
        return n, f"{n} participant{'' if n == 1 else 's'}"
    n = int(row["n_pairs"])
    return n, f"{n} evaluable pair{'' if n == 1 else 's'}"


def _contrast_in_words(chosen: Selection, text: str, called: bool) -> str:
    """A contrast that is no change from one visit to another, in words."""
    effect = float(chosen.row["effect"])
    unit = str(chosen.row["effect_unit"])
    size = (
        f"a ratio of {format_number(effect)}"
        if chosen.kind in RATIO_KINDS
        else f"{format_number(effect)} {unit}"
    )
    subject = f"the odds of {chosen.label}" if chosen.kind == "proportion" else chosen.label
    told = f"the contrast {text} of {subject} is estimated at {size}"
    if called:
        return f"An effect is shown: {told}"
    return f"No effect is shown: {told}, and the data agree with anything inside the interval"


def _verdict(called: bool, inseparable: bool) -> tuple[str, Tone]:
    if not called:
        return "No change shown", "neutral"
    return ("Consider", "caution") if inseparable else ("Change shown", "good")


def _headline(chosen: Selection) -> str:
    effect = float(chosen.row["effect"])
    if chosen.kind == "proportion":
        return f"odds × {format_number(effect)}"
    if chosen.kind in RATIO_KINDS:
        return f"× {format_number(effect)}"
    sign = "+" if effect > 0 else ""
    unit = str(chosen.row["effect_unit"])
    fold = f" (× {format_number(2.0**effect, 2)})" if unit.startswith("log2") else ""
    return f"{sign}{format_number(effect)} {unit}{fold}"


def _in_words(chosen: Selection, called: bool) -> str:
    """The change in words: a direction only where the test supports one."""
    row, effect = chosen.row, float(chosen.row["effect"])
    way = f"from {chosen.baseline} to {chosen.on}"
    if chosen.kind in RATIO_KINDS:
        size = (
            f"{format_number(effect)}-fold"
            if effect >= 1
            else f"to {format_number(effect)} times its baseline"
        )
        subject = f"The odds of {chosen.label}" if chosen.kind == "proportion" else chosen.label
        verb = "rose" if effect >= 1 else "fell"
        if called:
            return f"{subject} {verb} {size} {way}"
        which = "the odds are estimated at" if chosen.kind == "proportion" else "the estimate is"
        return (
            f"No change of {chosen.label} is shown {way}: {which} {format_number(effect)} times the "
            "baseline, and the data agree with anything inside the interval"
        )
    size = f"{format_number(abs(effect))} {row['effect_unit']}"
    if called:
        return f"{chosen.label} {'rose' if effect >= 0 else 'fell'} by {size} {way}"
    told = f"{format_number(effect)} {row['effect_unit']}"
    return (
        f"No change of {chosen.label} is shown {way}: the estimate is {told}, and the data agree with "
        "anything inside the interval"
    )


def find_doubts(result: Result, chosen: Selection) -> list[str]:
    """List the reasons to doubt a finding, the strongest first; there is always one."""
    row = chosen.row
    doubts: list[str] = []
    note = clean(str(row["note"])) if isinstance(row["note"], str) else ""
    if "not separable" in note:
        doubts.append(
            f"Batch and visit are not separable: no batch holds biopsies of both {chosen.baseline} and "
            f"{chosen.on}, "
            "so a shift between runs would look exactly like this effect."
        )
    n = _counted_pairs(row)[0]
    if n < _FEW_PAIRS and pd.notna(row["n_pairs"]):
        doubts.append(
            f"Only {n} pairs: an exact sign-flip test could not give a two-sided p below "
            f"{format_p(smallest_exact_p(n))}, whatever the data; the p shown rests on the normal model."
        )
    doubts += _one_participant(chosen)
    doubts += _skewed(chosen)
    doubts += _other_sets(result, chosen)
    doubts += _wrong_way(result, chosen)
    doubts += _low_counts(result, chosen)
    doubts += _missing_pairs(result, chosen) if pd.notna(row["n_pairs"]) else []
    doubts += [f"Noted by the analysis: {part}." for part in _other_notes(note)]
    doubts.append(
        "Single arm: without an untreated control, the biopsy itself, time, and regression to the mean "
        "cannot be "
        "told from the drug."
    )
    return doubts


def _other_notes(note: str) -> list[str]:
    parts = [part.strip().rstrip(".") for part in note.split(";")]
    told = [p for p in parts if p and "not separable" not in p and "sign-flip" not in p]
    return [p for p in told if not p.startswith(_FACTS)]


def _one_participant(chosen: Selection) -> list[str]:
    """Whether leaving one participant out takes a paired t-test across .05."""
    change = chosen.pairs["change"].to_numpy(dtype=float)
    if change.size < 4 or np.ptp(change) == 0:
        return []
    full = float(stats.ttest_1samp(change, 0.0).pvalue)
    without = [float(stats.ttest_1samp(np.delete(change, i), 0.0).pvalue) for i in range(change.size)]
    worst = int(np.argmax(without))
    if full < LEVEL <= without[worst]:
        who = str(chosen.pairs["participant_id"].iloc[worst])
        return [
            f"It rests on one participant: a paired t-test without {who} gives p = "
            f"{format_p(without[worst])}."
        ]
    return []


def _skewed(chosen: Selection) -> list[str]:
    """Whether mean and median of the participants' changes tell different stories.

    For normal changes the distance of the two exceeds 1.5 standard errors of the mean in one study of twenty
    (the standard deviation of that distance is sqrt(pi/2 - 1), about .76 standard errors, in large samples).
    """
    change = chosen.pairs["change"].to_numpy(dtype=float)
    if change.size < _FEW_PAIRS:
        return []
    mean, median = float(change.mean()), float(np.median(change))
    if abs(mean - median) <= _SKEW * float(change.std(ddof=1)) / np.sqrt(change.size):
        return []
    log2 = chosen.kind in {"count", "density", "intensity"}
    told = [f"{2.0**v:.3g}-fold" if log2 else format_number(v) for v in (median, mean)]
    scale = " on the logit scale" if chosen.kind == "proportion" else ""
    return [
        f"The changes are skewed: half of the pairs changed by less than {told[0]}{scale}, and the mean is "
        f"{told[1]}; a few participants carry the estimate."
    ]


def _other_sets(result: Result, chosen: Selection) -> list[str]:
    """Whether a sensitivity set reads differently."""
    row, table = chosen.row, result.table
    mask = table["set"] != row["set"]
    for column in ("assay", "feature", "contrast"):
        mask &= table[column] == row[column]
    out = []
    for _, other in table[mask & table["status"].isin(USABLE)].iterrows():
        name, n = set_label(str(other["set"]), result), _counted_pairs(other)[0]
        told = f"{name}, {n} pairs: {format_number(other['effect'])}, p = {format_p(other['p'])}"
        if np.sign(other["estimate"]) != np.sign(row["estimate"]):
            out.append(f"The direction turns in another analysis set ({told}).")
        elif (other["p"] < LEVEL) != (row["p"] < LEVEL):
            out.append(f"Another analysis set reads differently ({told}).")
    return out


def _assay_fact(result: Result, chosen: Selection, column: str) -> Any:
    adata = getattr(result.study, "assays", {}).get(chosen.row["assay"])
    if adata is None or column not in adata.var.columns or chosen.row["feature"] not in adata.var.index:
        return None
    return adata.var.at[chosen.row["feature"], column]


def _wrong_way(result: Result, chosen: Selection) -> list[str]:
    expected = _assay_fact(result, chosen, "expected_direction")
    if expected is None or pd.isna(expected) or int(expected) == 0:
        return []
    if np.sign(float(chosen.row["estimate"])) == np.sign(int(expected)):
        return []
    return [f"The direction is opposite to the one expected ({'up' if int(expected) > 0 else 'down'})."]


def _low_counts(result: Result, chosen: Selection) -> list[str]:
    """Whether a density or proportion rests on counts too small for its transform."""
    if chosen.kind not in {"density", "proportion"}:
        return []
    adata = getattr(result.study, "assays", {}).get(chosen.row["assay"])
    feature = str(chosen.row["feature"])
    if adata is None or "numerator" not in adata.layers or feature not in adata.var_names:
        return []
    cells = pd.Series(
        np.asarray(adata.layers["numerator"], dtype=float)[:, int(adata.var_names.get_loc(feature))],
        index=[str(b) for b in adata.obs_names],
    )
    used = result.biopsies.reset_index()
    used = used[used["used"].astype(bool) & (used["assay"] == chosen.row["assay"])]
    if "set" in used.columns:
        used = used[used["set"] == chosen.row["set"]]
    for visit in (chosen.baseline, chosen.on):
        mine = cells.reindex(used.loc[used["visit"] == visit, "biopsy_id"].astype(str).unique()).dropna()
        if len(mine) and float(mine.median()) < _LOW_COUNT:
            return [
                f"Few cells: the median count at {visit} is {format_number(float(mine.median()))}. Below 10 "
                "the logarithm of a density leans on its offset; the row's model is: "
                f"{chosen.row.get('model', 'not recorded')}."
            ]
    return []


def _missing_pairs(result: Result, chosen: Selection, *, estimated: bool = True) -> list[str]:
    lost = [one for one in not_evaluable(result, chosen) if one[1] != CENSORED]
    if not lost:
        return []
    total = len(result.study.participants)
    words: dict[str, int] = {}
    for _, word, _ in lost:
        words[word] = words.get(word, 0) + 1
    why = ", ".join(f"{k} {w}" for w, k in sorted(words.items(), key=lambda item: (-item[1], item[0])))
    verb = "gives" if len(lost) == 1 else "give"
    bias = "; if the reason has to do with response, the estimate is biased" if estimated else ""
    return [f"{len(lost)} of {total} participants {verb} no evaluable pair ({why}){bias}."]


def notices(result: Result) -> tuple[Notice, ...]:
    """Say first whether the data are simulated, then how complete they are.

    Complete means a pair of every participant in every assay, and a value in each for every feature of the
    primary family (of all families but genes, where there is no primary one). Features that lack values
    their assay's pairs have are named with their pairs.
    """
    out = []
    if getattr(result, "truth", None) is not None:
        out.append(Notice(SIMULATED, "simulated"))
    quarantined = [t for t in problems_of(result) if t.severity == "quarantine"]
    lines = _pair_lines(result)
    short, others = _short_features(result)
    incomplete = any(have < total for _, have, total in lines) or bool(short)
    if lines:
        told = "; ".join(
            f"{have} of {total} participants give an evaluable pair in {_and(names)}"
            for (have, total), names in _by_count(lines).items()
        )
        if short or others:
            named = [*short, *others]
            more = f"; and {len(named) - 4} more features lack values" if len(named) > 4 else ""
            told += f"; {'; '.join(named[:4])}{more}"
        if quarantined:
            told += f"; {_and(_counted(quarantined))} quarantined"
        tone: Tone = "caution" if incomplete or quarantined else "good"
        whole = "The primary family is complete, other features are not: " if others else ""
        head = "The data are incomplete: " if tone == "caution" else whole or "The data are complete: "
        details = [f"{t.item or t.place or 'item'}: {t.message} ({t.code})" for t in quarantined]
        shown = details[:6] + (
            [f"and {len(details) - 6} more, in the section on quality"] if len(details) > 6 else []
        )
        out.append(Notice(f"{head}{told}.", tone, tuple(shown)))
    elif quarantined:
        details = [f"{t.item or t.place or 'item'}: {t.message} ({t.code})" for t in quarantined[:6]]
        out.append(Notice(f"{len(quarantined)} items quarantined.", "caution", tuple(details)))
    return tuple(out)


def _short_features(result: Result) -> tuple[list[str], list[str]]:
    """Features with fewer pairs than participants where their assay has more: of the primary family, others.

    Genes are not looked at: a gene without a value does not exist. Without a primary family every feature
    counts as one of it.
    """
    table = result.table
    rows = table[(table["set"] == primary_set(table)) & (table["kind"] != "count")]
    several = table["contrast"].nunique() > 1
    total = len(result.study.participants)
    named: dict[bool, list[str]] = {True: [], False: []}
    primary = bool((rows["family"] == "primary").any())
    for _, row in rows[rows["n_pairs"].notna()].iterrows():
        have = int(row["n_pairs"])
        if have >= _assay_pairs(result, row, total):
            continue
        label = row["label"] if isinstance(row["label"], str) and row["label"] else str(row["feature"])
        label += f" ({row['contrast']})" if several else ""
        named[not primary or row["family"] == "primary"].append(f"{label}: {have} of {total} pairs")
    return named[True], named[False]


def _assay_pairs(result: Result, row: pd.Series, total: int) -> int:
    """Pairs of the assay of a row, by its flow; `total` where the flow is not told."""
    flow = result.accountability
    for column in ("set", "assay", "contrast"):
        if column in flow.columns:
            flow = flow[flow[column] == row[column]]
    return int(flow["n_participants"].iloc[-1]) if len(flow) else total


def _by_count(lines: Sequence[tuple[str, int, int]]) -> dict[tuple[int, int], list[str]]:
    """Group assays that have the same numbers."""
    groups: dict[tuple[int, int], list[str]] = {}
    for name, have, total in lines:
        groups.setdefault((have, total), []).append(name)
    return groups


def _and(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _counted(quarantined: Sequence[Told]) -> list[str]:
    """Quarantined items by what they are: ``2 slides``, ``1 library``."""
    plurals = {"slide": "slides", "library": "libraries", "region": "regions", "biopsy": "biopsies"}
    areas = {"SLIDE": "slide", "COUNT": "library", "REGION": "region", "PAIR": "biopsy"}
    counts: dict[str, int] = {}
    for told in quarantined:
        parts = told.code.split("-")
        kind = areas.get(parts[1], "item") if len(parts) > 1 else "item"
        counts[kind] = counts.get(kind, 0) + 1
    return [f"{n} {kind if n == 1 else plurals.get(kind, 'items')}" for kind, n in counts.items()]


def _pair_lines(result: Result) -> list[tuple[str, int, int]]:
    """Assay (and contrast, where there are several), pairs, participants."""
    flow = result.accountability
    if flow.empty:
        return []
    flow = flow[flow["set"] == primary_set(flow)]
    contrasts: Sequence[str] = list(dict.fromkeys(flow["contrast"])) if "contrast" in flow.columns else [""]
    lines = []
    for assay in dict.fromkeys(flow["assay"]):
        for contrast in contrasts:
            rows = flow[flow["assay"] == assay]
            rows = rows[rows["contrast"] == contrast] if contrast else rows
            if rows.empty:
                continue
            name = str(assay) or "the biopsies"
            name += f" ({contrast})" if len(contrasts) > 1 else ""
            lines.append((name, int(rows["n_participants"].iloc[-1]), int(rows["n_participants"].iloc[0])))
    return lines
