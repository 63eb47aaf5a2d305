"""Which biopsies an analysis uses, and why not the others.

Every biopsy leaves a row at each link of the chain: :mod:`.visits` gives it its visit, :mod:`.quality`
judges it, and :func:`usable` chooses among several of a participant at a visit, by a rule that the plan
states (`choice`) and that is written into the rows. Fresh tissue always comes before archival tissue, and
never are both the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.pairing.quality import adequacy, lesion_table, regression_bed
from pdbiomarker.pairing.sets import PAIRED_SETS, SETS
from pdbiomarker.pairing.visits import assign_visits, is_baseline, overrides_of
from pdbiomarker.plan import DEFAULT_CHOICE
from pdbiomarker.study import Study, override_reason

__all__ = ["rule_text", "usable"]

_COLUMNS: Final = (
    *(
        "participant_id",
        "visit",
        "visit_source",
        "study_day",
        "lag",
        "nominal_day",
        "archival",
        "lesion",
        "node",
    ),
    *(
        "adequate",
        "quality",
        "measured",
        "used",
        "code",
        "reason",
        "rule",
        "baseline_biopsy",
        "baseline_rule",
    ),
)
_STEPS: Final[Mapping[str, tuple[str, str]]] = {
    "adequate": ("adequate", "adequate"),
    "closest": ("closest to the target day", "closest to the target day"),
    "latest_earliest": ("latest", "earliest"),
    "latest": ("latest", "latest"),
    "earliest": ("earliest", "earliest"),
    "most_tumor": ("most viable tumour cells", "most viable tumour cells"),
}


def usable(
    study: Study,
    assay: str | None,
    *,
    visits: Sequence[str],
    set_: str = "strict",
    replicates: str = "select",
    choice: Sequence[str] = DEFAULT_CHOICE,
) -> pd.DataFrame:
    """Say of every biopsy of the study whether it is used in an assay at the given visits, and if not, why.

    Parameters
    ----------
    study : Study
    assay : str or None
        None: whatever assay; only visit, adequacy and the choice of one per visit are judged.
    visits : sequence of str
        The visits that the analysis looks at, the reference first.
    set_ : str
        See :data:`SETS`.
    replicates : {"select", "all"}
        Keep one biopsy per participant and visit, or all of them.
    choice : sequence of str
        By what one of several is chosen, in order; see :attr:`pdbiomarker.plan.Plan.choice`.

    Returns
    -------
    DataFrame, indexed by biopsy_id, one row per biopsy of the study
        ``participant_id, visit, visit_source, study_day, lag, nominal_day, archival, lesion, node, adequate,
        quality, measured, used, code, reason, rule, baseline_biopsy, baseline_rule``. `rule` says by what a
        used biopsy was chosen; `baseline_biopsy` is the participant's biopsy at the first of `visits`, in
        every row, and `baseline_rule` how it was chosen.
    """
    if set_ not in SETS:
        raise ValueError(f"set_ must be one of {', '.join(SETS)}; got {set_!r}")
    frame = _judged(study, assay, set_, visits)
    order = None if replicates == "all" else choice
    _drop_archival(frame)
    frame["rule"] = ""
    _select(frame, study, order)
    if set_ in PAIRED_SETS:
        _drop_unpaired(frame, visits, set_)
    _name_baselines(frame, visits[0])
    return frame[list(_COLUMNS)]


def _judged(study: Study, assay: str | None, set_: str, visits: Sequence[str]) -> pd.DataFrame:
    """Every biopsy with its visit and adequacy; `used` is what the choice among several starts from."""
    frame = assign_visits(study)
    found = adequacy(study, assay)
    decided = overrides_of(study)
    measured, told = _measured(study, assay)
    items = _items_of(study, assay)
    beds = regression_bed(study)
    frame = frame.join(lesion_table(study)).join(found[["adequate", "quality"]])
    frame["measured"] = [b in measured for b in frame.index]
    frame["used"] = False
    early = {v.name for v in study.spec.visits if is_baseline(v, study.spec.visits)}
    for biopsy in frame.index:
        why = str(found.at[biopsy, "reason"])
        notes = [told[i] for i in dict.fromkeys([biopsy, *items.get(biopsy, [])]) if i in told]
        overridden = _override(frame, biopsy, decided.get(biopsy, ()))
        why = overridden or why
        if frame.at[biopsy, "status"] != "ok":
            continue
        visit = frame.at[biopsy, "visit"]
        if visit not in visits:
            _leave(frame, biopsy, "E-PAIR-002", f"Visit {visit!r} is not part of this analysis.")
        elif biopsy not in measured:
            because = f": {'; '.join(notes).rstrip('.')}" if notes else ""
            _leave(frame, biopsy, "E-PAIR-008", f"Not measured in {assay!r}{because}.")
        elif set_ == "all_biopsied" or frame.at[biopsy, "adequate"]:
            frame.at[biopsy, "used"] = True
            if frame.at[biopsy, "quality"] == "Pass at Risk" and not overridden:
                _add(frame, biopsy, "E-PAIR-005", f"Pass at Risk: {why}.")
            if overridden and not frame.at[biopsy, "adequate"]:
                _add(frame, biopsy, "E-OVERRIDE-011", overridden)
            for note in (n for n in notes if n.startswith("override")):
                _add(frame, biopsy, "E-OVERRIDE-010", note)
        else:
            lost = bool(found.at[biopsy, "tumour_lost"]) and not overridden
            bed = str(beds[biopsy]) if lost and set_ == "immune_evaluable" else ""
            frame.at[biopsy, "used"] = bed == "blinded" and visit not in early
            code, reason = _inadequate(why, overridden, bed, early=visit in early)
            (_add if frame.at[biopsy, "used"] else _leave)(frame, biopsy, code, reason)
    return frame


def _override(frame: pd.DataFrame, biopsy: str, decisions: Sequence[Mapping[str, str]]) -> str:
    """Let a reviewer's judgement stand in place of the rules; the sentence that says so, or nothing."""
    for row in decisions:
        if row["action"] in {"include", "adequate", "inadequate"}:
            good = row["action"] != "inadequate"
            frame.at[biopsy, "adequate"] = good
            frame.at[biopsy, "quality"] = "Pass" if good else "Fail"
            if good or frame.at[biopsy, "status"] != "ok":
                _add(frame, biopsy, "E-OVERRIDE-011", override_reason(row))
            return override_reason(row)
    return ""


def _inadequate(why: str, overridden: str, bed: str, *, early: bool) -> tuple[str, str]:
    """Code and reason of a biopsy that is not adequate."""
    if overridden:
        return "E-OVERRIDE-011", overridden
    said = f"Not adequate: {why}."
    if bed == "blinded" and not early:
        reason = "No tumour is left and a blinded reader documented a regression bed: evaluable."
        return "E-PAIR-013", f"{reason} ({why})"
    if bed == "blinded":
        return "E-PAIR-005", f"{said} A regression bed before treatment is none of this treatment."
    if bed == "not blinded":
        return (
            "E-PAIR-005",
            f"{said} The reader of the regression bed was not blinded, or it is not recorded.",
        )
    return "E-PAIR-005", said + (" No regression bed is documented." if bed else "")


def _measured(study: Study, assay: str | None) -> tuple[set[str], dict[str, str]]:
    """Biopsies with at least one value in the assay, and what was told of its slides or libraries."""
    if assay is None:
        return set(study.biopsies.index), {}
    adata = study.assays[assay]
    x = np.asarray(adata.X, dtype=float)
    has_value = np.isfinite(x).any(axis=1) if x.size else np.zeros(adata.n_obs, dtype=bool)
    ihc = _is_ihc(study, assay)
    areas = ("E-SLIDE", "E-REGION", "E-FILE") if ihc else ("E-COUNT",)
    reasons = {
        str(p.item): f"{p.code} {p.message}"
        for p in study.problems
        if p.severity == "quarantine" and p.item and p.code.startswith(areas)
    }
    kind = "slide" if ihc else "library"
    for row in study.overrides.to_dict("records"):
        if row["kind"] == kind and row["action"] == "exclude":
            reasons[str(row["item"])] = override_reason({str(k): v for k, v in row.items()})
    return {str(b) for b, ok in zip(adata.obs_names, has_value, strict=True) if ok}, reasons


def _is_ihc(study: Study, assay: str) -> bool:
    return any(spec.name == assay and spec.kind == "ihc" for spec in study.spec.assays)


def _items_of(study: Study, assay: str | None) -> dict[str, list[str]]:
    """Biopsy id to the ids of its libraries or slides, those included that reviewers left out."""
    items: dict[str, list[str]] = {}
    if assay is None:
        return items
    kind, table = ("slide", study.slides) if _is_ihc(study, assay) else ("library", study.libraries)
    for frame in (table, study.aside.get(kind)):
        if frame is None or not len(frame):
            continue
        for item, biopsy in zip(frame.index, frame["biopsy_id"], strict=True):
            items.setdefault(str(biopsy), []).append(str(item))
    return items


def _leave(frame: pd.DataFrame, biopsy: str, code: str, reason: str) -> None:
    """Do not use a biopsy; what was said of it before stays if it was a reviewer's word."""
    before = str(frame.at[biopsy, "reason"])
    said = f"{reason} ({before})" if before.startswith("override") and before != reason else reason
    frame.at[biopsy, "used"] = False
    frame.at[biopsy, "code"] = code
    frame.at[biopsy, "reason"] = said


def _add(frame: pd.DataFrame, biopsy: str, code: str, reason: str) -> None:
    """Say something more of a biopsy that is used."""
    before = str(frame.at[biopsy, "reason"])
    frame.at[biopsy, "code"] = frame.at[biopsy, "code"] or code
    frame.at[biopsy, "reason"] = f"{before} {reason}".strip()


def _drop_archival(frame: pd.DataFrame) -> None:
    """Never are archival and fresh tissue both the baseline of a participant."""
    used = frame[frame["used"]]
    for _, group in used.groupby(["participant_id", "visit"], sort=True):
        fresh = group.index[~group["archival"]]
        if len(fresh):
            for biopsy in group.index[group["archival"]]:
                _leave(
                    frame,
                    str(biopsy),
                    "E-PAIR-010",
                    f"Archival; the fresh biopsy {fresh[0]!r} comes before it.",
                )


def rule_text(choice: Sequence[str], *, before: bool) -> str:
    """Give the rule of choice in words, before or on treatment."""
    steps = [_STEPS[step][0 if before else 1] for step in choice]
    return ", then ".join([*steps, "id"])


def _select(frame: pd.DataFrame, study: Study, choice: Sequence[str] | None) -> None:
    """Keep one used biopsy per participant and visit (all where there is no rule); write the rule down."""
    by_name = {v.name: v for v in study.spec.visits}
    cells = study.biopsies.get("viable_tumor_cells", pd.Series(math.nan, index=study.biopsies.index))
    ranks = frame.assign(_cells=pd.to_numeric(cells, errors="coerce"))
    used = frame.index[frame["used"]]
    for (_, visit), group in frame.loc[used].groupby(["participant_id", "visit"], sort=True):
        n, before = len(group), is_baseline(by_name[str(visit)], study.spec.visits)
        if n < 2:
            frame.loc[group.index, "rule"] = "the only usable biopsy of the visit"
            continue
        if choice is None:
            frame.loc[group.index, "rule"] = f"all {n} usable biopsies of the visit are kept"
            continue
        rows = {str(b): row for b, row in ranks.loc[group.index].iterrows()}
        ranked = sorted(rows, key=lambda b: (*(_rank(rows[b], step, before=before) for step in choice), b))
        rule = rule_text(choice, before=before)
        frame.at[ranked[0], "rule"] = f"chosen of {n}: {rule}"
        for biopsy in ranked[1:]:
            reason = f"Biopsy {ranked[0]!r} was chosen for {visit!r} (rule: {rule})."
            _leave(frame, biopsy, "E-PAIR-006", reason)


def _rank(row: pd.Series, step: str, *, before: bool) -> float:
    """Place of a biopsy in one step of the choice; the smallest is chosen."""
    day = math.nan if pd.isna(row["study_day"]) else float(row["study_day"])
    if step == "adequate":
        return float(not bool(row["adequate"]))
    if step == "closest":
        return math.inf if pd.isna(row["lag"]) else abs(float(row["lag"]))
    if step == "most_tumor":
        return math.inf if pd.isna(row["_cells"]) else -float(row["_cells"])
    late = step == "latest" or (step == "latest_earliest" and before)
    return math.inf if math.isnan(day) else -day if late else day


def _drop_unpaired(frame: pd.DataFrame, visits: Sequence[str], set_: str) -> None:
    used = frame[frame["used"]]
    for _, mine in used.groupby("participant_id", sort=True):
        seen = set(mine["visit"])
        missing = [v for v in visits if v not in seen]
        nodes, lesions = set(mine["node"]), set(mine["lesion"])
        if missing:
            code, said = "E-PAIR-007", f"The participant has no usable biopsy at {missing[0]!r}."
        elif set_ == "same_lesion_pairs" and "yes" in nodes:
            code, said = "E-PAIR-015", "A biopsy of the pair is of a lymph node."
        elif set_ == "same_lesion_pairs" and (len(lesions) > 1 or None in lesions):
            told = ", ".join(sorted(str(one) for one in lesions if one is not None))
            code, said = "E-PAIR-015", f"The pair is not of one known lesion ({told or 'none recorded'})."
        elif set_ == "node_pairs" and nodes != {"yes"}:
            code, said = "E-PAIR-015", "Not every biopsy of the pair is of a lymph node."
        else:
            continue
        for biopsy in mine.index:
            _leave(frame, str(biopsy), code, said)
            frame.at[str(biopsy), "rule"] = ""


def _name_baselines(frame: pd.DataFrame, baseline: str) -> None:
    """Write into every row which biopsy is the participant's baseline, and by what rule."""
    chosen = frame[frame["used"] & (frame["visit"] == baseline)]
    ids: dict[str, list[str]] = {}
    rules: dict[str, str] = {}
    for biopsy, row in chosen.iterrows():
        ids.setdefault(str(row["participant_id"]), []).append(str(biopsy))
        rules[str(row["participant_id"])] = str(row["rule"]) + (" (archival)" if row["archival"] else "")
    people = frame["participant_id"].astype(str)
    frame["baseline_biopsy"] = [";".join(ids.get(person, [])) for person in people]
    frame["baseline_rule"] = [rules.get(person, f"no usable biopsy at {baseline}") for person in people]
