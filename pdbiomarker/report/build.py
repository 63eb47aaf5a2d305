"""From a result to the content of its report, section by section, in the order of a review meeting."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdbiomarker import plot
from pdbiomarker.decide import Review
from pdbiomarker.plot.numbers import format_number, p_name
from pdbiomarker.plot.select import (
    RATIO_KINDS,
    Result,
    contrast_visits,
    effect_units,
    flow_of,
    primary_set,
    set_label,
    unchanging,
)
from pdbiomarker.plot.truth import join_truth
from pdbiomarker.report.agenda import with_agenda
from pdbiomarker.report.blocks import SLIDE
from pdbiomarker.report.blocks import drawn as _drawn
from pdbiomarker.report.blocks import key_of as _key
from pdbiomarker.report.blocks import table_of as _table
from pdbiomarker.report.checklist import checklist_section
from pdbiomarker.report.clinic import clinical_sections
from pdbiomarker.report.content import (
    Block,
    Column,
    Document,
    Fact,
    Figure,
    Section,
    Table,
    Text,
    Thumbnails,
)
from pdbiomarker.report.decisions import decision_sections
from pdbiomarker.report.estimand import estimand_section
from pdbiomarker.report.findings import USABLE, key_findings, notices, primary_rows
from pdbiomarker.report.links import drawn_by_dose, link_sections
from pdbiomarker.report.listings import listings_section
from pdbiomarker.report.lookup import every_row
from pdbiomarker.report.methods import limits_text, methods_text, versions_of
from pdbiomarker.report.options import model_options, pairing_options, span_of_pairs
from pdbiomarker.report.overrides import overrides_table
from pdbiomarker.report.people import people_of
from pdbiomarker.report.pictures import (
    batch_figures,
    heatmap_section,
    likeness_figures,
    signature_figure,
)
from pdbiomarker.report.privacy import relative_name
from pdbiomarker.report.problems import problems_of
from pdbiomarker.report.quality import quality_table
from pdbiomarker.report.robustness import robustness_of
from pdbiomarker.report.thumbnails import begin, same_magnification, thumbnail_rows

__all__ = ["TOP_GENES", "build", "uncollected"]

#: Genes listed in the report; the file of results has all.
TOP_GENES: Final = 50
_MAX_PRIMARY: Final = 8
#: With more participants than this, a figure of each of them takes the full width.
_MANY: Final = 24
_MANY_ON_A_SLIDE: Final = (10.2, 4.0)
#: A forest of signatures with more lines is left to the table.
_MOST_LINES: Final = 30
#: A forest of more lines is too small on a slide: there the primary set stands alone.
_PROJECTED: Final = 8
_COMPLETE: Final = "The complete table is results/pd_change.csv."


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage meanwhile, and for no change: tables and figures are kept as they are."""
    collects = gc.isenabled()
    gc.disable()
    try:
        with unchanging():
            yield
    finally:
        if collects:
            gc.enable()


@uncollected()
def build(study: Any, result: Result, review: Review | None = None, *, ahead: bool = False) -> Document:
    """Make the content of the report of a result.

    Parameters
    ----------
    study : Study
        Gives the id and the data cut-off.
    result : PDResult
    review : Review, optional
        The decisions; without them the report has no sections on decisions, responders, noise and honesty.
    ahead : bool
        Begin at once with the pictures of slides, which take longest: for a document that is written next.

    Returns
    -------
    Document
        Front page and sections 2 to 11; a section without data says so in a sentence. Figures are drawn
        only when a writer asks for them.
    """
    slides = _slides(result, ahead=ahead)
    versions = versions_of(result.provenance)
    cutoff = getattr(study.spec, "data_cutoff", None) or result.provenance.get("data_cutoff")
    facts = (
        Fact("Study", str(study.spec.id)),
        Fact("Data cut-off", str(cutoff) if cutoff else "not stated"),
        Fact("Participants", str(len(study.participants))),
        Fact("Plan", str(getattr(result.plan, "hash", "") or result.provenance.get("plan_hash", ""))[:12]),
        Fact("Data", _hash_of_inputs(result)[:12] or "hashes not recorded"),
        Fact("pdbiomarker", versions.get("pdbiomarker", "version not recorded")),
    )
    hue = _hue(result)
    linked = link_sections(result, hue)
    sections = (
        _front(result),
        estimand_section(result),
        _accountability(result),
        _quality(result),
        _primary(result, hue, review),
        heatmap_section(result, hue, review),
        *decision_sections(result, review),
        _families(result),
        _signatures(result, hue),
        _genes(result),
        *linked,
        *clinical_sections(result, drawn_by_dose(result, linked)),
        _truth(result),
        slides,
        listings_section(result),
        Section("methods", "Methods and limits", _methods(result, review, linked)),
        checklist_section(result),
        _provenance(result, versions),
    )
    found = key_findings(result, review)
    none = (
        ""
        if found
        else "The plan names no primary family, so nothing is answered on this page; see the sections below."
    )
    return Document(
        f"Pharmacodynamic review: {study.spec.id}",
        facts,
        notices(result),
        found,
        none,
        with_agenda([s for s in sections if s is not None], result, review),
        people_of(result, review),
    )


def _hue(result: Result) -> str | None:
    """The dose where participants have more than one, else the cohort, else nothing."""
    participants = result.study.participants
    for column in ("dose_mg", "cohort"):
        if column in participants.columns and participants[column].nunique() > 1:
            return column
    return None


# --- 1 to 3 --------------------------------------------------------------------------------------------


def _front(result: Result) -> Section | None:
    rows = primary_rows(result)
    if rows.empty:
        return None
    table = result.table
    lines = int((table["family"] == "primary").sum())
    draw = _drawn(9.2, 0.31 * (lines + 1.2) + 1.15, lambda ax: plot.forest(result, family="primary", ax=ax))
    blocks: list[Block] = []
    if lines <= 60:
        main = primary_rows(result)
        caption = (
            "Primary family: effect with 95 % interval. In colour the primary analysis set, "
            f"{set_label(primary_set(table), result)}, {span_of_pairs(main)}; in grey the other sets, "
            "whose p-values (in brackets) are not adjusted. A line without an estimate gives the reason. "
            f"{model_options(result, main)}"
        )
        blocks.append(Figure("primary-forest", caption, draw))
    caption = f"The primary family: every row of the result, whatever its status. {_COMPLETE}"
    blocks.append(_effects_table(result, "primary-effects", caption, table[table["family"] == "primary"]))
    return Section("answer", "The primary family at a glance", tuple(blocks))


def _accountability(result: Result) -> Section:
    flow, biopsies = flow_of(result), result.biopsies
    blocks: list[Block] = []
    if flow.empty:
        return Section("accountability", "Participants and biopsies", (Text(("No biopsy was analysed.",)),))
    main = flow[flow["set"] == primary_set(flow)]
    contrasts = list(dict.fromkeys(main["contrast"])) if "contrast" in main.columns else [None]
    flows: dict[tuple[object, ...], list[pd.DataFrame]] = {}
    first = [a for a in dict.fromkeys(primary_rows(result)["assay"]) if (main["assay"] == a).any()]
    for assay in dict.fromkeys([*first, *main["assay"]]):
        for contrast in contrasts:
            mine = main[main["assay"] == assay]
            mine = mine if contrast is None else mine[mine["contrast"] == contrast]
            if len(mine):
                told = mine[["step", "n_participants", "n_biopsies"]].itertuples(index=False, name=None)
                why = [str(reason).replace(repr(str(assay)), "") for reason in mine["reason"]]
                flows.setdefault((contrast, *told, *why), []).append(mine)
    blocks += [_flow(result, same) for same in flows.values()]
    columns = [
        *[("set", Column("analysis set")), ("assay", Column("assay")), ("contrast", Column("contrast"))],
        *[("step", Column("step", "name")), ("n_participants", Column("participants", "number"))],
        *[("n_lost", Column("lost", "number")), ("n_biopsies", Column("biopsies", "number"))],
        *[("reasons", Column("why lost")), ("reason", Column("who was lost", minor=True))],
    ]
    caption = "Every step of every analysis set, with the reasons of each loss."
    blocks.append(_table("flow-table", caption, _worded(result, flow), columns))
    blocks.append(_unused(result, biopsies))
    blocks += overrides_table(result)
    return Section("accountability", "Participants and biopsies", tuple(blocks))


def _flow(result: Result, same: Sequence[pd.DataFrame]) -> Figure:
    """The flow of one assay and contrast, which is also that of the others given."""
    steps = same[0]
    assays = [str(rows["assay"].iloc[0]) for rows in same]
    contrast = str(steps["contrast"].iloc[0]) if "contrast" in steps.columns else None

    def draw(ax: Axes) -> Axes:
        return plot.accountability(result, assays[0], contrast=contrast, ax=ax)

    paired = str(steps["step"].iloc[-1]) != "evaluable"
    what = "an evaluable pair" if paired else "an evaluable biopsy"
    more = f" The flow is the same in {', '.join(assays[1:])}." if len(assays) > 1 else ""
    caption = (
        f"From enrolment to {what} in {assays[0] or 'any assay'}"
        f"{', ' + contrast if contrast else ''}; {set_label(str(steps['set'].iloc[0]), result)}. "
        f"n = {int(steps['n_participants'].iloc[0])} participants, "
        f"{int(steps['n_participants'].iloc[-1])} {'pairs' if paired else 'evaluable'}.{more} "
        f"{pairing_options(result)}"
    )

    def project(ax: Axes) -> Axes:
        return plot.accountability(result, assays[0], contrast=contrast, losses_only=True, ax=ax)

    boxes = 2 + int((steps["n_lost"].iloc[1:-1] > 0).sum()) if "n_lost" in steps else len(steps)
    return Figure(
        _key("flow", assays[0], contrast or "all"),
        caption,
        _drawn(8.6, 0.62 * len(steps) + 0.9, draw),
        projected=_drawn(8.6, 0.62 * boxes + 0.9, project),
    )


def _unused(result: Result, biopsies: pd.DataFrame) -> Block:
    rows = biopsies.reset_index()
    rows = rows[~rows["used"].astype(bool)]
    if "set" in rows.columns and len(rows):
        rows = rows[rows["set"] == primary_set(result.table)]
    if rows.empty:
        return Text(("Every biopsy was used in the primary analysis set.",))
    days = getattr(result.study, "biopsies", pd.DataFrame())
    if "study_day" not in rows.columns and "study_day" in days.columns:
        rows = rows.assign(study_day=rows["biopsy_id"].map(days["study_day"].to_dict()))
    keys = [
        c
        for c in ("biopsy_id", "participant_id", "visit", "study_day", "reason", "code")
        if c in rows.columns
    ]
    grouped = rows.groupby(keys, sort=False, dropna=False)["assay"]
    rows = grouped.agg(lambda names: ", ".join(dict.fromkeys(map(str, names)))).reset_index()
    columns = [
        *[("biopsy_id", Column("biopsy", "id")), ("participant_id", Column("participant", "id"))],
        *[("visit", Column("visit")), ("study_day", Column("study day", "number"))],
        *[("assay", Column("not used in")), ("reason", Column("why")), ("code", Column("code", "id"))],
    ]
    which = set_label(primary_set(result.table), result)
    caption = f"Biopsies not used in the primary analysis set, {which}, each with its reason."
    return _table("unused", caption, rows, columns)


def _quality(result: Result) -> Section:
    blocks: list[Block] = []
    told = problems_of(result)
    columns = [
        *[("severity", Column("")), ("item", Column("item", "id")), ("message", Column("what was found"))],
        *[("place", Column("place")), ("remedy", Column("remedy")), ("code", Column("code", "id"))],
    ]
    for severity, name in (
        ("quarantine", "Quarantined items: left out, the rest went on."),
        ("warning", "Warnings."),
    ):
        rows = [t for t in told if t.severity == severity]
        if rows:
            frame = pd.DataFrame([[t.severity, t.item, t.message, t.place, t.remedy, t.code] for t in rows])
            frame.columns = pd.Index(["severity", "item", "message", "place", "remedy", "code"])
            blocks.append(_table(f"problems-{severity}", name, frame, columns[1:]))
    if not any(t.severity == "quarantine" for t in told):
        blocks.append(Text(("Nothing was quarantined.",)))
    blocks += batch_figures(result)
    blocks += _transcripts(result)
    for name in sorted(result.qc):
        frame = result.qc[name]
        if name == "identity" and len(frame):
            blocks.append(_identity_table(frame))
        elif name != "likeness" and len(frame):  # the matrix of likeness is drawn
            blocks.append(quality_table(name, frame))
    if not result.qc:
        blocks.append(Text(("No quality table came with the assays.",)))
    return Section("quality", "Quality", tuple(blocks))


def _transcripts(result: Result) -> list[Block]:
    """Figures of the quality of count assays: sex, likeness, components."""
    blocks: list[Block] = []
    identity, rna = result.qc.get("identity"), result.qc.get("rna")
    if identity is not None and len(identity):
        n = f"n = {len(identity)} libraries"
        caption = f"Sex by transcripts (Y genes and XIST) against the recorded sex; {n}. Loss of Y alone "
        caption += "contradicts nothing. Options: log2 counts per million, genes of the package's list."
        draw = _drawn(5.9, 4.4, lambda ax: plot.sexes(result, ax=ax))
        blocks.append(Figure("identity-sex", caption, draw, wide=False))
        caption = (
            "Likeness over genes that differ between persons, chosen without labels: of each library to the "
            f"nearest other one of its participant and of any other participant; {n}. Options: Pearson "
            "correlation of standardised log2 counts per million; verdicts as in results/identity.csv."
        )
        draw = _drawn(5.9, 4.4, lambda ax: plot.likeness(result, ax=ax))
        blocks.append(Figure("identity-likeness", caption, draw, wide=False))
        blocks += likeness_figures(result)
    if rna is not None:
        for assay in dict.fromkeys(rna["assay"]):
            for hue in [
                h for h in ("visit", "batch", "site") if rna.loc[rna["assay"] == assay, h].nunique() > 1
            ]:
                draw = _drawn(
                    5.9,
                    4.4,
                    lambda ax, a=str(assay), h=hue: plot.components(result, a, hue=h, ax=ax),  # type: ignore[misc]
                )
                count = int((rna["assay"] == assay).sum())
                caption = (
                    f"Components of log2 CPM of {assay}, coloured by {hue}; n = {count} biopsies. For "
                    "looking at; no analysis uses them. Options: the 500 most variable genes, centred."
                )
                blocks.append(Figure(_key("components", assay, hue), caption, draw, wide=False))
    return blocks


def _identity_table(frame: pd.DataFrame) -> Block:
    """Suspects with their evidence; the file has every library."""
    suspects = frame[frame["verdict"] == "suspect"]
    verdicts = ", ".join(f"{n} {v}" for v, n in frame["verdict"].value_counts().sort_index().items())
    if suspects.empty:
        return Text(
            (f"Identity of {len(frame)} libraries: {verdicts}. No suspect. All are in results/identity.csv.",)
        )
    columns = [
        *[("library_id", Column("library", "id")), ("participant_id", Column("filed under", "id"))],
        *[("sex", Column("sex")), ("sex_rna", Column("sex by RNA"))],
        *[
            ("own_similarity", Column("like its own", "number")),
            ("other_similarity", Column("like other", "number")),
        ],
        *[("likely_owner", Column("most likely owner", "id")), ("evidence", Column("evidence"))],
    ]
    caption = (
        f"Libraries whose owner is in doubt (of {len(frame)}: {verdicts}). All are in results/identity.csv."
    )
    return _table("identity-suspects", caption, suspects, columns)


# --- 4 to 7: results -----------------------------------------------------------------------------------


def _pair_of_figures(
    result: Result, row: pd.Series, hue: str | None, review: Review | None = None
) -> list[Figure]:
    ref, contrast, set_ = f"{row['assay']}:{row['feature']}", str(row["contrast"]), str(row["set"])
    baseline, on = contrast_visits(result, contrast)
    label = row["label"] if isinstance(row["label"], str) and row["label"] else row["feature"]
    n = int(row["n_pairs"]) if pd.notna(row["n_pairs"]) else 0
    colour = f" Colour: {hue.replace('_mg', ' (mg)').replace('_', ' ')}." if hue else ""
    what = f"{label}, {on} against {baseline}; {set_label(set_, result)}; n = {n} pairs.{colour}"
    decided = review is not None and ref in review.features and contrast == review.contrast
    limits = " Pale: within the 95 % prediction limits of noise." if decided else ""
    options: dict[str, Any] = {"contrast": contrast, "set_": set_, "hue": hue, "review": review}
    many = len(result.study.participants) > _MANY
    used = model_options(result, row.to_frame().T)
    own = result.changes["contrast"] == contrast
    # Several visits on one side have no one value to draw a line from or to.
    lines = all(bool((own & result.changes[c].notna()).any()) for c in ("baseline_value", "on_value"))
    slopes, bars = ((7.8, 5.6), (11.0, 4.6)) if many else ((5.9, 4.2), (5.9, 4.2))

    def lined(ax: Axes) -> Axes:
        if many and hue is not None:
            shared = {k: v for k, v in options.items() if k != "hue"}
            return plot.paired_by(result, ref, hue, ax=ax, **shared)
        return plot.paired(result, ref, ax=ax, **options)

    def barred(ax: Axes) -> Axes:
        return plot.waterfall(result, ref, ax=ax, **options)

    slopes = (13.0, 5.0) if many and hue is not None else slopes
    shown = _MANY_ON_A_SLIDE if many else SLIDE
    figures = [
        Figure(
            _key("paired", ref, contrast),
            f"Every participant's value at both visits. {what} Open markers: one visit only. "
            f"{_diamonds(row)}{limits} {used}",
            _drawn(*slopes, lined),
            wide=many,
            projected=_drawn(*shown, lined),
        ),
        Figure(
            _key("waterfall", ref, contrast),
            f"Every participant's own change, largest first. {what} NE: not evaluable, with the reason."
            f"{limits} {used}",
            _drawn(*bars, barred),
            wide=many,
            projected=_drawn(*shown, barred),
        ),
    ]
    return figures if lines or not own.any() else figures[1:]


def _diamonds(row: pd.Series) -> str:
    """Why the two diamonds of a paired figure need not have the ratio of its heading."""
    if str(row["status"]) not in USABLE or pd.isna(row["effect"]):
        return "Diamonds: the middle of the pairs at each visit."
    means = {"proportion": "mean (on the logit scale)"}
    logs = row["kind"] in RATIO_KINDS
    name = means.get(str(row["kind"]), "geometric mean" if logs else "mean")
    uses = ", which also uses participants with one visit" if row["n_participants"] > row["n_pairs"] else ""
    return f"Diamonds: {name} of the pairs; the heading's estimate is the model's{uses}."


def _primary(result: Result, hue: str | None, review: Review | None) -> Section:
    rows = primary_rows(result)
    blocks: list[Block] = []
    paired = set(result.changes["contrast"].unique())
    for _, row in rows.head(_MAX_PRIMARY).iterrows():
        blocks += _pair_of_figures(result, row, hue, review) if row["contrast"] in paired else []
    robust = robustness_of(result)
    if robust is not None:
        blocks.append(_table("robustness", robust.caption, robust.rows, list(robust.columns)))
    if len(rows) > _MAX_PRIMARY:
        blocks.append(
            Text((f"{len(rows) - _MAX_PRIMARY} more primary rows are in the forest and the table.",))
        )
    if rows.empty:
        blocks.append(Text(("The plan names no primary family.",)))
    return Section("primary", "Primary features, participant by participant", tuple(blocks))


def _effects(rows: pd.DataFrame) -> list[tuple[str, Column]]:
    """Columns of a table of effects; the adjusted p is headed by its method."""
    names = {p_name(a) for a in rows.loc[rows["q"].notna(), "adjustment"].unique()}
    adjusted = names.pop() if len(names) == 1 else "adjusted p"
    noted = any(isinstance(n, str) and n for n in rows["note"])
    return [
        *[("effect", Column("effect", "number")), ("effect_low", Column("CI low", "number"))],
        *[("effect_high", Column("CI high", "number")), ("effect_unit", Column("unit", minor=True))],
        *[("n_pairs", Column("pairs", "number")), ("df", Column("df", "df", minor=True))],
        *[("p", Column("p", "p")), ("q", Column(adjusted, "p"))],
        ("status", Column("status", minor=not noted)),
        *([("note", Column("note"))] if noted else []),
    ]


def _worded(result: Result, rows: pd.DataFrame) -> pd.DataFrame:
    """Analysis sets and units in the words of the figures."""
    rows = rows.assign(set=[set_label(str(s), result) for s in rows["set"]])
    if "effect_unit" not in rows.columns:
        return rows
    return rows.assign(effect_unit=effect_units(result, rows))


def _effects_table(result: Result, key: str, caption: str, rows: pd.DataFrame) -> Table:
    names = [("label", Column("feature", "name"))]
    names += [("contrast", Column("contrast"))] if rows["contrast"].nunique() > 1 else []
    methods = ", ".join(sorted({str(m) for m in rows["df_method"] if isinstance(m, str) and m}))
    told = f" 95 % CI; df: {methods}." if methods else ""
    rows = _worded(result, rows)
    return _table(key, f"{caption}{told}", rows, [*names, ("set", Column("analysis set")), *_effects(rows)])


def _is_signature_family(rows: pd.DataFrame) -> bool:
    return bool((rows["kind"] == "signature").all())


def _family_blocks(result: Result, family: str) -> list[Block]:
    rows = result.table[result.table["family"] == family]
    blocks: list[Block] = []
    # Of many signatures the sensitivity rows stand in the table: at a glance is another figure.
    if len(rows) <= (_MOST_LINES if _is_signature_family(rows) else 90):
        kinds = _worded(result, rows)["effect_unit"].where(
            ~rows["kind"].isin(["count", "density", "proportion", "intensity"]), "ratio"
        )
        panels = max(1, int(kinds.nunique()))
        height = 0.31 * (len(rows) + 1.2 * panels) + 0.85 + 0.5 * panels
        main = rows[rows["set"] == primary_set(rows)]
        caption = (
            f"Family {family}: effects with 95 % intervals; {span_of_pairs(rows)}. "
            f"Grey lines: other analysis sets, p not adjusted. {model_options(result, main)}"
        )
        draw = _drawn(9.2, height, lambda ax: plot.forest(result, family=family, ax=ax))
        own = [primary_set(rows)]
        # Lines of a slide stand closer, so that its words are larger.
        each = 0.31 if len(main) <= _PROJECTED else 0.24
        large = each * (len(main) + 1.2 * panels) + 0.85 + 0.5 * panels
        project = _drawn(9.2, large, lambda ax: plot.forest(result, family=family, sets=own, ax=ax))
        few = len(rows) <= _PROJECTED
        blocks.append(Figure(_key("forest", family), caption, draw, projected=None if few else project))
    caption = f"Family {family}: every row of the result, whatever its status. {_COMPLETE}"
    blocks.append(_effects_table(result, _key("effects", family), caption, rows))
    return blocks


def _families(result: Result) -> Section | None:
    blocks: list[Block] = []
    for family, rows in result.table.groupby("family", sort=False):
        if family == "primary" or (rows["kind"] == "count").any() or _is_signature_family(rows):
            continue
        blocks += _family_blocks(result, str(family))
    return Section("families", "Other families", tuple(blocks)) if blocks else None


def _signatures(result: Result, hue: str | None) -> Section | None:
    rows = result.table[result.table["kind"] == "signature"]
    if rows.empty:
        return None
    blocks: list[Block] = []
    rows = rows[rows["family"] != "primary"]
    if rows.empty:
        return None
    told = result.table[result.table["kind"] == "signature"].drop_duplicates(["assay", "contrast"])
    for assay, contrast in zip(told["assay"], told["contrast"], strict=True):
        blocks.append(signature_figure(result, str(assay), str(contrast)))
    for family in dict.fromkeys(rows["family"]):
        if _is_signature_family(result.table[result.table["family"] == family]):
            blocks += _family_blocks(result, str(family))
    shown = rows[(rows["set"] == primary_set(rows)) & rows["status"].isin(USABLE)]
    shown = shown[shown["contrast"].isin(result.changes["contrast"].unique())]
    for _, row in shown.sort_values("p", kind="stable").head(2).iterrows():
        blocks += _pair_of_figures(result, row, hue)
    return Section("signatures", "Signatures", tuple(blocks))


def _genes(result: Result) -> Section | None:
    counts = result.table[result.table["kind"] == "count"]
    if counts.empty:
        return None
    counts = counts[counts["set"] == primary_set(counts)]
    blocks: list[Block] = []
    for (assay, contrast), rows in counts.groupby(["assay", "contrast"], sort=False):
        assay_name, contrast_name, set_ = str(assay), str(contrast), str(rows["set"].iloc[0])
        paint = functools.partial(plot.volcano, result, assay_name, contrast=contrast_name, set_=set_)
        draw = _drawn(8.2, 5.4, lambda ax, p=paint: p(ax=ax))  # type: ignore[misc]
        projected = _drawn(9.2, 4.2, lambda ax, p=paint: p(ax=ax))  # type: ignore[misc]
        n = rows["n_pairs"].dropna()
        caption = (
            f"All genes of {assay_name}, {contrast_name}; {set_label(set_, result)}; n = "
            f"{int(n.max()) if len(n) else 0} pairs. "
            "Coloured: adjusted p below 0.05. Named: the smallest p. Points are drawn as an image. "
            f"{model_options(result, rows)}"
        )
        blocks.append(Figure(_key("volcano", assay, contrast), caption, draw, projected=projected))
        statuses = rows["status"].value_counts().sort_index()
        frame = pd.DataFrame({"status": statuses.index.astype(str), "features": statuses.to_numpy(dtype=int)})
        heads = [("status", Column("status")), ("features", Column("features", "number"))]
        blocks.append(
            _table(_key("status", assay, contrast), "Features by status; none is dropped.", frame, heads)
        )
        top = rows[rows["p"].notna()].sort_values(["p", "feature"], kind="stable").head(TOP_GENES)
        if top.empty:
            continue
        caption = f"The {len(top)} genes with the smallest p. {_COMPLETE}"
        names = [("label", Column("gene", "name")), ("feature", Column("id", "id"))]
        columns = [*names, *((c, h) for c, h in _effects(rows) if c not in {"note", "effect_unit"})]
        table = _table(_key("genes", assay, contrast), caption, top, columns, total=len(rows))
        every = every_row(rows, _effects(rows), _key("volcano", assay, contrast))
        blocks.append(dataclasses.replace(table, every=every))
    return Section("genes", "Genes", tuple(blocks))


# --- 8 to 11 -------------------------------------------------------------------------------------------


def _slides(result: Result, *, ahead: bool) -> Section | None:
    rows = thumbnail_rows(result)
    if not rows:
        return None
    if ahead:
        begin(rows)
    shown = sum(row.slides for row in rows)
    if same_magnification(result):
        scale = (
            "All overviews have one magnification, and all fields another; the scale bar is in each image."
        )
    else:
        scale = "All overviews are reduced by one factor and all fields by another; read each scale bar."
    caption = (
        f"Slides by participant, in the order of visits; n = {len(rows)} participants, {shown} slides. Left: "
        "the overview; right: the field with most cells. Blue line: evaluable tissue; magenta: positive "
        f"cells; green: negative cells. {scale} An empty place says why there is no slide. Click an image to "
        "enlarge it, again to close it. Options: colours as scanned, the same range in all; calls as scored; "
        "labels and macro images are never read."
    )
    return Section("slides", "Slides", (Thumbnails("thumbnails", caption, rows),))


def _truth(result: Result) -> Section | None:
    rows = join_truth(result)
    if rows.empty:
        return None
    blocks: list[Block] = [
        Text(
            (
                "These data are simulated. What was planted is known and is set against what the "
                "analysis found; about 95 "
                "of 100 intervals should hold the planted effect.",
            )
        )
    ]
    for assay in dict.fromkeys(rows["assay"]):
        mine = rows[rows["assay"] == assay]
        few = len(mine) <= 40
        height = 0.36 * (len(mine) + 1.3 * mine["effect_unit"].nunique()) + 1.3 if few else 4.8
        draw = _drawn(
            6.0,
            height,
            lambda ax, a=str(assay): plot.truth(result, a, ax=ax),  # type: ignore[misc]
        )
        mark = "diamonds" if few else "the line"
        caption = (
            f"Planted ({mark}) and estimated effects of {assay}; n = {len(mine):,} planted. "
            f"{model_options(result, mine)}"
        )
        blocks.append(Figure(_key("truth", assay), caption, draw, wide=False))
    covered = rows["covered"].dropna()
    frame = pd.DataFrame(
        {
            "assay": [str(a) for a in dict.fromkeys(rows["assay"])],
            "features": [int((rows["assay"] == a).sum()) for a in dict.fromkeys(rows["assay"])],
            "intervals": [int(covered[rows["assay"] == a].size) for a in dict.fromkeys(rows["assay"])],
            "covered": [int(covered[rows["assay"] == a].sum()) for a in dict.fromkeys(rows["assay"])],
        }
    )
    heads = [
        *[("assay", Column("assay")), ("features", Column("planted features", "number"))],
        *[
            ("intervals", Column("intervals", "number")),
            ("covered", Column("hold the planted effect", "number")),
        ],
    ]
    blocks.append(_planted(result, rows))
    blocks.append(_table("truth-table", "How many 95 % intervals hold the planted effect.", frame, heads))
    return Section("truth", "Planted against estimated", tuple(blocks))


def _planted(result: Result, rows: pd.DataFrame) -> Table:
    """Planted and estimated effect of the primary features and signatures, as people read effects."""
    mine = rows[(rows["family"] == "primary") | (rows["kind"] == "signature")]
    mine = mine if len(mine) else rows[rows["kind"] != "count"]
    effects = [
        np.exp2(v) if k in {"count", "density", "intensity"} else (np.exp(v) if k == "proportion" else v)
        for v, k in zip(mine["true"].astype(float), mine["kind"], strict=True)
    ]
    columns = [
        *[("label", Column("feature", "name")), ("planted", Column("planted", "number"))],
        *[("effect", Column("estimate", "number")), ("effect_low", Column("CI low", "number"))],
        *[("effect_high", Column("CI high", "number")), ("effect_unit", Column("unit"))],
        ("covered", Column("interval holds it")),
    ]
    which = set_label(primary_set(result.table), result)
    caption = f"Planted and estimated effect of the primary features and signatures; {which}; 95 % CI."
    return _table("truth-primary", caption, mine.assign(planted=effects), columns)


def _methods(result: Result, review: Review | None, linked: Sequence[Section]) -> tuple[Block, ...]:
    keys = [str(getattr(b, "key", "")) for section in linked for b in section.blocks]
    kinds = {key.removeprefix("link-") for key in keys if key.startswith("link-")}
    text = methods_text(result, review, links=kinds)
    return (Text(text), Text(("Limits:", *limits_text(result)), "note"))


def _hash_of_inputs(result: Result) -> str:
    """One hash for all input files: of the lines ``hash  file``, by file; empty where none was recorded."""
    inputs = result.provenance.get("inputs") or {}
    lines = sorted((relative_name(str(name)), str(digest)) for name, digest in inputs.items())
    text = "".join(f"{digest}  {name}\n" for name, digest in lines)
    return hashlib.sha256(text.encode("utf-8")).hexdigest() if lines else ""


def _provenance(result: Result, versions: dict[str, str]) -> Section:
    blocks: list[Block] = []
    inputs = result.provenance.get("inputs") or {}
    frame = pd.DataFrame(
        {"file": [relative_name(str(f)) for f in inputs], "sha256": [str(h) for h in inputs.values()]},
        dtype=object,
    ).sort_values("file", kind="stable")
    if len(frame):
        heads = [("file", Column("file", "id")), ("sha256", Column("SHA-256", "code"))]
        caption = (
            f"Input files and their hashes (n = {len(frame)}). All of them together, SHA-256 of the lines "
        )
        caption += f"'hash  file' in the order shown: {_hash_of_inputs(result)}."
        blocks.append(_table("inputs", caption, frame, heads))
    else:
        blocks.append(Text(("The hashes of the input files were not recorded with this result.",)))
    if versions:
        table = pd.DataFrame(sorted(versions.items()), columns=["name", "version"])
        heads = [("name", Column("software")), ("version", Column("version"))]
        blocks.append(_table("versions", "Software.", table, heads))
    digest = str(getattr(result.plan, "hash", "") or "")
    blocks.append(Text((f"Analysis plan, SHA-256 {digest}:" if digest else "Analysis plan:",)))
    to_yaml = getattr(result.plan, "to_yaml", None)
    blocks.append(Text((str(to_yaml()) if callable(to_yaml) else str(result.plan.formula),), "code"))
    rows = len(result.table)
    blocks.append(Text((f"Result: {format_number(rows)} rows in results/pd_change.csv.",), "note"))
    return Section("provenance", "Provenance", tuple(blocks))
