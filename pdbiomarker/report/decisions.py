"""Sections on what was decided: the rules and their errors, responders, noise, and what could fool us.

Verdicts stand beside the probability of that verdict under stated truths; rates of responders beside the
chance
of such a call by noise alone. Nothing is computed here: a review holds it.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker import plot
from pdbiomarker.clinical.people import dose_label
from pdbiomarker.decide import NOT_BY_DEFAULT, Review
from pdbiomarker.plot.decided import each_row, noise_words
from pdbiomarker.plot.numbers import format_interval, format_number, format_words
from pdbiomarker.plot.select import RATIO_KINDS, Result, as_effect, effect_unit, select
from pdbiomarker.report.blocks import drawn, key_of, table_of
from pdbiomarker.report.content import Block, Column, Fact, Figure, RuleLine, Section, Text
from pdbiomarker.report.honesty import honesty_blocks
from pdbiomarker.report.options import review_options, true_effect
from pdbiomarker.report.reviewed import draw_of, drawn_features, feature_column, in_units, label_of

__all__ = ["decision_facts", "decision_sections", "rule_lines"]

_NOT_FOR: Final = "the rule is for "
#: Scales of noise in words.
_SCALES: Final = {"identity": "as measured"}
_VERDICTS: Final = ("go", "consider", "stop", "not evaluable")
_PERCENT: Final = 100.0


def decision_sections(result: Result, review: Review | None) -> tuple[Section, ...]:
    """Make the sections on decisions, responders, noise and honesty; none without a review."""
    if review is None or not review.features:
        return ()
    return (
        Section("decisions", "Decisions", _decisions(result, review)),
        Section("responders", "Responders", _responders(result, review)),
        Section("noise", "Noise", _noise(result, review)),
        Section("honesty", "What could fool us", honesty_blocks(result, review)),
    )


def decision_facts(result: Result, review: Review | None, reference: str, contrast: str) -> tuple[Fact, ...]:
    """What was decided on a feature, for the front page: responders beyond noise, and the strongest verdict.

    Parameters
    ----------
    result : PDResult
    review : Review or None
    reference : str
        ``assay:feature``.
    contrast : str
        Of the finding; a review decides on one contrast.
    """
    if review is None or not _is_decided(review, reference, contrast):
        return ()
    facts = []
    rates = review.of("responder_rates", reference)
    if len(rates):
        rows = rates[rates["criterion"].str.startswith("beyond noise")]
        n = int(rows["n_evaluable"].iloc[0])
        told = [f"{int(row.n)} {row.direction}" for row in each_row(rows)]
        chance = _share(float(rows["chance_by_noise"].iloc[0])).replace(" ", "\u00a0")
        facts.append(
            Fact(
                "beyond noise", f"{', '.join(told)} of {n}{_beyond_words(result, review, reference, chance)}"
            )
        )
    cohort = review.verdicts(reference)
    cohort = cohort[~cohort["note"].astype(str).str.contains(_NOT_FOR)] if len(cohort) else cohort
    if len(cohort):
        facts.append(Fact("decision", _in_short(result, contrast, cohort)))
    return tuple(facts)


def _beyond_words(result: Result, review: Review, reference: str, chance: str) -> str:
    """The limit beyond which a change counts, the sigma that it rests on, and how far noise alone goes."""
    noise = _noise_row(review, reference)
    if noise is None:
        return ""
    fold = pd.notna(noise["rcv_fold"])
    limit = format_number(float(noise["rcv_fold"] if fold else noise["rcv"]))
    own = str(noise["scale"])
    scale = "in the feature's units" if own == "identity" else f"{own} scale"
    unit = effect_unit(result, select(result, reference, review.contrast).row)
    far = f"×/÷ {limit}" if fold else f"{limit} {unit} either way"
    return (
        f", by more than {far}. That limit is {noise_words(noise)}; the sigma of one biopsy is "
        f"{format_number(float(noise['sigma']))} ({scale}), and at that sigma noise alone "
        f"takes {chance} of participants beyond it each way."
    )


def _is_decided(review: Review, reference: str, contrast: str) -> bool:
    """Whether a review decides on a feature in a contrast."""
    return reference in review.features and contrast == review.contrast


def rule_lines(result: Result, review: Review | None, reference: str, contrast: str) -> tuple[RuleLine, ...]:
    """Every rule that is for a feature, the strongest verdict first, for the front page.

    Parameters
    ----------
    result : PDResult
    review : Review or None
    reference : str
        ``assay:feature``.
    contrast : str
        Of the finding; a review decides on one contrast.
    """
    if review is None or not _is_decided(review, reference, contrast):
        return ()
    cohort = review.verdicts(reference)
    lines = []
    for verdict in _VERDICTS:
        for row in each_row(cohort[cohort["verdict"] == verdict]) if len(cohort) else ():
            if _NOT_FOR in str(row.note):
                continue
            told = verdict != "not evaluable" and pd.notna(row.p_if_inert)
            true = true_effect(result, contrast, row) if told else ""
            lines.append(
                RuleLine(
                    verdict=verdict,
                    rule=str(row.rule),
                    asks=format_words(row.criterion or ""),
                    observed=in_units(result, review, reference, row.observed or ""),
                    if_inert=_share(row.p_if_inert) if told else "–",
                    if_target=f"{_share(row.p_if_target)} ({true})" if told else "–",
                    note=_of_scale(row.note).split("; ")[0] if verdict == "not evaluable" else "",
                    capped=str(row.capped_by or ""),
                )
            )
    return tuple(lines)


def _in_short(result: Result, contrast: str, cohort: pd.DataFrame) -> str:
    """Every rule by its verdict, with the chance of that verdict if the drug is inert, and if it works."""
    told = []
    for verdict in _VERDICTS:
        rows = cohort[cohort["verdict"] == verdict]
        rules = [f"{row.rule}{_chances(result, contrast, row)}" for row in each_row(rows)]
        told += [f"{verdict}: {', '.join(rules)}"] if rules else []
    caps = dict.fromkeys(part for text in cohort["capped_by"] if text for part in str(text).split("; "))
    capped = f". Capped from go: {'; '.join(caps)}" if caps else ""
    return f"{'; '.join(told)}{capped}. In brackets: the chance of that verdict."


def _chances(result: Result, contrast: str, row: Any) -> str:
    if pd.isna(row.p_if_inert) or row.verdict == "not evaluable":
        return ""
    true = true_effect(result, contrast, row)
    return f" ({_share(row.p_if_inert)} if inert, {_share(row.p_if_target)} if the effect is {true})"


def _share(value: float) -> str:
    return "–" if pd.isna(value) else f"{format_number(_PERCENT * float(value), 2)} %"


def _of_scale(note: Any) -> str:
    """A note of the review; the scale of what has no fold changes in words."""
    said = note if isinstance(note, str) else ""
    return said.replace("the identity scale", "a score, which has no fold changes")


# --- decisions -----------------------------------------------------------------------------------------


def _decisions(result: Result, review: Review) -> tuple[Block, ...]:
    blocks: list[Block] = [Text(_preamble(result, review))]
    cohort = _worded(result, review, "cohort")
    idle = cohort["note"].astype(str).str.contains(_NOT_FOR) if len(cohort) else pd.Series(dtype=bool)
    left = f" {int(idle.sum())} rows of rules that are not for a feature are left out." if idle.any() else ""
    caption = (
        "Each rule on the cohort: what it asks, what was seen, its verdict, and how probable that verdict is "
        f"if the drug does nothing and at the true effect that the rule is to find.{left}"
    )
    blocks.append(
        table_of("decisions-cohort", caption, cohort[~idle] if len(cohort) else cohort, _columns(review))
    )
    for reference in drawn_features(review):
        curve = f"Operating characteristics of the rules as used, {label_of(result, review, reference)}: the "
        curve += (
            "probability of go over the true effect. Simulated with this study's pairs, baselines and noise; "
            f"{review_options(result, review, reference)}"
        )
        blocks.append(
            Figure(
                key_of("curves", reference),
                curve,
                drawn(8.4, 4.3, draw_of(plot.operating_characteristics, result, review, reference)),
            )
        )
    blocks += _doses(result, review)
    people = _worded(result, review, "participants")
    caption = (
        "Each participant by each rule that judges participants. All are in "
        "results/decisions_participants.csv."
    )
    own = people
    if len(people):
        own = people[~people["note"].astype(str).str.contains("judges groups|rule is for")]
        judged = set(own.loc[own["verdict"] != "not evaluable", "rule"])
        silent = [str(rule) for rule in dict.fromkeys(own["rule"]) if rule not in judged]
        own = own[own["rule"].isin(judged)]
        if silent:
            caption += f" Left out, because they can judge none of these participants: {', '.join(silent)}."
    if len(own):
        # The criterion is that of the cohort, in the table above; a participant is one.
        left_out = {"criterion", "n_evaluable"}
        heads = [
            ("unit", Column("participant", "id")),
            *(c for c in _columns(review) if c[0] not in left_out),
        ]
        blocks.append(table_of("decisions-participants", caption, own, heads))
    return tuple(blocks)


def _preamble(result: Result, review: Review) -> tuple[str, ...]:
    facts = review.declared
    locked = {True: "declared: yes", False: "declared: no", None: "not declared"}[facts.plan_locked]
    text = dict(result.plan.contrasts).get(review.contrast, "")
    asked = f" ({text})" if text else ""
    used = {rule.name for rule in review.decisions.rules}
    left = [f"{name} ({why})" for name, why in NOT_BY_DEFAULT.items() if name not in used]
    lines = [
        f"Decided on the contrast {review.contrast!r}{asked}. Plan locked before unblinding: {locked}. "
        "A verdict is capped at "
        "consider where that is not declared, where no pair shares a staining run, and where the "
        "drug may mask "
        "the stain; the rule's own verdict stays beside it.",
    ]
    if left:
        lines.append(f"Not applied unless the plan names them: {'; '.join(left)}.")
    return tuple(lines)


def _columns(review: Review) -> list[tuple[str, Column]]:
    return [
        *feature_column(review),
        *[("rule", Column("rule", "id")), ("criterion", Column("criterion"))],
        *[("n_evaluable", Column("n", "number")), ("observed", Column("observed"))],
        *[("verdict", Column("verdict")), ("if_inert", Column("its chance if inert"))],
        *[("if_target", Column("its chance if true")), ("capped_by", Column("capped because"))],
        ("note", Column("note", minor=True)),
    ]


def _worded(result: Result, review: Review, level: str) -> pd.DataFrame:
    rows: pd.DataFrame = getattr(review.decisions, level)
    if not len(rows):
        return rows
    labels = {f: label_of(result, review, f) for f in review.features}
    named = [labels[f"{a}:{f}"] for a, f in zip(rows["assay"], rows["feature"], strict=True)]
    inert = [_share(v) for v in rows["p_if_inert"]]
    target = [
        "" if pd.isna(share) else f"{_share(share)} at {true}"
        for share, true in zip(rows["p_if_target"], _true_effects(result, review, rows), strict=True)
    ]
    verdicts = [
        v if v == own else f"{v} ({own} before caps)"
        for v, own in zip(rows["verdict"], rows["rule_verdict"], strict=True)
    ]
    observed = [
        in_units(result, review, f"{a}:{f}", seen) if isinstance(seen, str) else seen
        for a, f, seen in zip(rows["assay"], rows["feature"], rows["observed"], strict=True)
    ]
    asked = [format_words(text) if isinstance(text, str) else text for text in rows["criterion"]]
    notes = [_of_scale(text) for text in rows["note"]]
    told = {"note": notes, "observed": observed, "if_inert": inert, "if_target": target, "verdict": verdicts}
    return rows.assign(label=named, criterion=asked, **told)


def _true_effects(result: Result, review: Review, rows: pd.DataFrame) -> list[str]:
    """The true effect that each row of decisions is to find, in the units of its feature."""
    keys = list(zip(rows["assay"], rows["feature"], rows["target"], strict=True))
    known = rows.drop_duplicates(["assay", "feature", "target"])
    told = {
        (row.assay, row.feature, row.target): true_effect(result, review.contrast, row)
        for row in each_row(known[known["target"].notna()])
    }
    return [told.get(key, "") for key in keys]


def _doses(result: Result, review: Review) -> list[Block]:
    """Dose levels in their order, with the trend over them; their verdicts folded away."""
    levels = review.dose_response
    if not len(levels) or levels["dose"].nunique() < 2:
        return [Text(("The study has one dose level, or none is recorded: nothing is said of dose.",))]
    rows = []
    for reference in review.features:
        kind = select(result, reference, review.contrast).kind
        own = review.of("dose_response", reference)
        people = (
            review.of("responders", reference).set_index("participant_id") if len(review.responders) else None
        )
        for row in each_row(own):
            values = [as_effect(kind, v) for v in (row.change, row.low, row.high)]
            rows.append(
                {
                    "label": label_of(result, review, reference),
                    "dose": dose_label(row.dose),
                    "n_participants": row.n_participants,
                    "n_evaluable": row.n_evaluable,
                    "change": values[0],
                    "interval": format_interval(values[1], values[2]) if np.isfinite(values[1]) else "–",
                    "beyond": _beyond(result, people, row.dose),
                }
            )
    heads = [
        *[*feature_column(review), ("dose", Column("dose", "name"))],
        *[("n_participants", Column("participants", "number")), ("n_evaluable", Column("pairs", "number"))],
        *[("change", Column("mean change", "number")), ("interval", Column("95 % CI"))],
        ("beyond", Column("beyond noise, up")),
    ]
    caption = (
        "Dose levels in their order: geometric mean ratio (odds ratio; change in units for scores), with t "
        "intervals. A few participants at a dose carry no verdict of their own; read the trend."
    )
    blocks: list[Block] = [table_of("dose-levels", caption, pd.DataFrame(rows), heads)]
    trends = [
        f"{label_of(result, review, f)}: {format_words(review.of('dose_trend', f)['verdict'].iloc[0])}"
        for f in review.features
    ]
    shape = "A trend is no shape: a bell-shaped relation can give a rank correlation near 0."
    blocks.append(Text((*trends, shape)))
    verdicts = _worded(result, review, "dose_levels")
    if len(verdicts):
        keep = verdicts[~verdicts["note"].astype(str).str.contains(_NOT_FOR)]
        keep = keep.assign(unit=[re.sub(r"^dose_mg = (.+)$", r"\1 mg", str(u)) for u in keep["unit"]])
        heads = [("unit", Column("dose level", "name")), *_columns(review)]
        caption = "Rules by dose level, for rules that were made for a few participants at a dose."
        blocks.append(table_of("decisions-doses", caption, keep, heads, collapsed=True))
    return blocks


def _beyond(result: Result, people: pd.DataFrame | None, dose: float) -> str:
    if people is None:
        return "–"
    doses = pd.to_numeric(result.study.participants["dose_mg"], errors="coerce")
    members = doses.index[doses.isna() if np.isnan(dose) else doses == dose]
    own = people.reindex(members)
    told = own[own["change"].notna()]
    up = told["beyond_noise"].astype(bool) & (told["direction"] == "up")
    return f"{int(up.sum())} of {len(told)}"


# --- responders ----------------------------------------------------------------------------------------


def _responders(result: Result, review: Review) -> tuple[Block, ...]:
    if not len(review.responders):
        return (Text(("The noise of no feature is known, so nobody can be called a responder.",)),)
    rates = review.responder_rates
    # A score has no fold changes to be beyond.
    folds = [select(result, str(f), review.contrast).kind in RATIO_KINDS for f in rates["feature"]]
    rates = rates[np.array(folds, dtype=bool) | rates["criterion"].str.startswith("beyond noise")]
    named = rates.assign(
        label=[label_of(result, review, f) for f in rates["feature"]],
        criterion=[format_words(text) for text in rates["criterion"]],
        rate_words=[f"{int(n)} of {int(m)}" for n, m in zip(rates["n"], rates["n_evaluable"], strict=True)],
        interval=[f"{_share(row.rate_low)} to {_share(row.rate_high)}" for row in each_row(rates)],
        chance=[_share(v) for v in rates["chance_by_noise"]],
        range=[
            "–" if pd.isna(low) else f"{_share(low)} to {_share(high)}"
            for low, high in zip(rates["chance_low"], rates["chance_high"], strict=True)
        ],
    )
    heads = [
        *feature_column(review),
        *[("criterion", Column("criterion")), ("direction", Column("way"))],
        *[("rate_words", Column("participants")), ("interval", Column("95 % CI"))],
        *[("chance", Column("one such call by noise alone")), ("range", Column("at the limits of sigma"))],
    ]
    caption = (
        "How many changed, with Clopper-Pearson intervals, beside the chance that noise alone moves one "
        "participant so far, at the estimated sigma. A rate at or below that chance is no evidence of a "
        "response. Prediction limits allow for the uncertainty of sigma: over all it is 2.5 % beyond each."
    )
    blocks: list[Block] = [table_of("responder-rates", caption, named, heads)]
    for reference in review.features:
        rows = review.of("responders", reference)
        if len(rows):
            blocks.append(_responder_table(result, review, reference, rows))
    return tuple(blocks)


def _responder_table(result: Result, review: Review, reference: str, rows: pd.DataFrame) -> Block:
    chosen = select(result, reference, review.contrast)
    ratio = chosen.kind in RATIO_KINDS
    shown = rows.assign(
        effect=rows["ratio"] if ratio else rows["change"],
        counting=_intervals(rows, "counting"),
        whole=_intervals(rows, "ratio"),
        fold=_yes(rows, "beyond_fold") if ratio else "",
        beyond=_yes(rows, "beyond_noise"),
        two=_yes(rows, "both") if ratio else "",
    )
    what = "odds ratio" if chosen.kind == "proportion" else ("fold change" if ratio else "change")
    heads = [
        *[("participant_id", Column("participant", "id")), ("effect", Column(what, "number"))],
        *[("counting", Column("CI, counting cells only")), ("whole", Column("CI, with within-lesion noise"))],
        *[("fold", Column("2-fold")), ("beyond", Column("beyond noise")), ("two", Column("both"))],
        ("note", Column("note")),
    ]
    n = int(rows["change"].notna().sum())
    caption = (
        f"{chosen.label}, every participant: the change with the two parts of its 95 % interval apart "
        "(counting "
        f"error alone; with the noise between biopsies of a lesion). {n} of {len(rows)} evaluable; "
        f"{noise_words(_noise_row(review, reference))}."
    )
    return table_of(key_of("responders", reference), caption, shown, heads)


def _yes(rows: pd.DataFrame, column: str) -> list[str]:
    told = zip(rows[column], rows["direction"], rows["change"], strict=True)
    return ["" if pd.isna(d) else (f"yes, {way}" if flag else "no") for flag, way, d in told]


def _intervals(rows: pd.DataFrame, name: str) -> list[str]:
    limits = zip(rows[f"{name}_low"], rows[f"{name}_high"], strict=True)
    return [format_interval(low, high) if np.isfinite([low, high]).all() else "–" for low, high in limits]


def _noise_row(review: Review, reference: str) -> pd.Series | None:
    rows = review.of("noise", reference)
    return rows.iloc[0] if len(rows) and np.isfinite(float(rows["sigma"].iloc[0])) else None


# --- noise ---------------------------------------------------------------------------------------------


def _noise(result: Result, review: Review) -> tuple[Block, ...]:
    rows = review.noise
    shown = rows.assign(
        label=[label_of(result, review, f) for f in rows["feature"]],
        limits=_sigma_limits(rows),
        basis=[
            f"{basis or 'none'}{', borrowed from another study' if bool(b) else ''}"
            for b, basis in zip(rows["borrowed"], rows["basis"], strict=True)
        ],
        limit=[v if pd.isna(fold) else fold for v, fold in zip(rows["rcv"], rows["rcv_fold"], strict=True)],
        icc_words=[_interval(row, "icc", 2) for row in each_row(rows)],
        trust=[_interval(row, "reliability", 2) for row in each_row(rows)],
        doubling=[_share(v) for v in rows["chance_up_2fold"]],
        scale=[_SCALES.get(str(s), s) for s in rows["scale"]],
    )
    heads = [
        *feature_column(review),
        *[("sigma", Column("sigma", "number")), ("limits", Column("95 % CI")), ("scale", Column("scale"))],
        *[("df", Column("df", "df")), ("basis", Column("from")), ("limit", Column("RCV (MDC)", "number"))],
        *[("doubling", Column("2-fold up by noise")), ("icc_words", Column("ICC(1,1)"))],
        ("trust", Column("reliability")),
    ]
    caption = (
        "Noise of one biopsy's value around its lesion (sigma, on the model scale), what it rests "
        "on, and the "
        "reference change value (RCV, also minimal detectable change, MDC; a ratio, or units for "
        "scores): the "
        "95 % prediction limit of a change by noise alone. ICC(1,1): single biopsies of a "
        "participant's visit, "
        "one-way random. Reliability: share of the variance of baselines that is no noise."
    )
    blocks: list[Block] = [table_of("noise-table", caption, shown, heads)]
    blocks.append(Text(tuple(_origin(row) for _, row in shown.iterrows()), "note"))
    parts = review.noise_components
    if "variance" in parts and len(parts):
        lines = len(parts) + parts["feature"].nunique()
        groups = parts["n_groups"].max() if "n_groups" in parts else float("nan")
        n = (
            f"n = {int(groups)} biopsies or groups at most"
            if pd.notna(groups)
            else f"n = {len(parts)} components"
        )
        picture = (
            "Variance of one biopsy's value taken apart: share of each component, whiskers its 95 % limits; "
            f"{n}. "
            "Options: restricted maximum likelihood on the model scale; replicate biopsies of this study."
        )
        height = min(0.36 * lines + 1.6, 7.0)
        draw = drawn(8.4, height, lambda ax: plot.variance_components(result, review, ax=ax))
        blocks.append(Figure("variance-components", picture, draw))
        named = parts.assign(label=[label_of(result, review, f) for f in parts["feature"]])
        heads = [
            *feature_column(review),
            ("component", Column("component")),
            *[("variance", Column("variance", "number")), ("variance_low", Column("CI low", "number"))],
            *[("variance_high", Column("CI high", "number")), ("sd", Column("SD", "number"))],
            *[("share", Column("share", "number")), ("n_groups", Column("groups", "number"))],
            ("note", Column("note")),
        ]
        blocks.append(table_of("noise-components", "Variance components with 95 % limits.", named, heads))
    return tuple(blocks)


def _sigma_limits(rows: pd.DataFrame) -> list[str]:
    limits = zip(rows["sigma_low"], rows["sigma_high"], strict=True)
    return [format_interval(low, high) if np.isfinite([low, high]).all() else "–" for low, high in limits]


def _origin(row: pd.Series) -> str:
    """Where the noise of a feature comes from, and what to keep in mind of it."""
    source = f" Source: {row['source']}." if row["borrowed"] else ""
    known = "is" if row["basis"] else "is not"
    note = str(row["note"]).rstrip(".")
    of = f" from {row['basis']}" if row["basis"] else ""
    note = note.replace(repr(str(row["feature"]).partition(":")[2]), str(row["label"]))
    return f"{row['label']}: noise {known} known{of}.{source} {note}."


def _interval(row: object, name: str, digits: int) -> str:
    value, low, high = (float(getattr(row, c)) for c in (name, f"{name}_low", f"{name}_high"))
    if np.isnan(value):
        return "–"
    limits = f" ({format_interval(low, high)})" if np.isfinite([low, high]).all() else ""
    return f"{format_number(value, digits)}{limits}"
