"""Which biopsies an analysis uses, and why not the others.

Every biopsy leaves a row at each link of the chain: :mod:`.visits` gives it its visit, :mod:`.quality`
judges it, and :func:`usable` chooses among several of a participant at a visit, by a rule that the plan
states (`choice`) and that is written into the rows. Fresh tissue always comes before archival tissue, and
never are both the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.pairing.events import CODE, LEFT_OUT, leave_out_people
from pdbiomarker.pairing.quality import adequacy, lesion_table, regression_bed
from pdbiomarker.pairing.sets import PAIRED_SETS, SETS
from pdbiomarker.pairing.specimens import own_samples, specimen_of
from pdbiomarker.pairing.visits import assign_visits, is_baseline, overrides_of
from pdbiomarker.plan import DEFAULT_CHOICE
from pdbiomarker.study import Study, override_reason

__all__ = ["UNKNOWN_CODE", "Chooser", "rule_text", "usable"]

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
_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("study_day", "lag", "nominal_day"), "Int64"),
    **dict.fromkeys(("archival", "adequate", "measured", "used"), "bool"),
}
_OVERRIDE: Final = "override: "
#: Columns of a model that every biopsy has.
_KEYS: Final = frozenset({"participant", "biopsy", "visit"})
#: The code of a biopsy for which a column of the model has no value.
UNKNOWN_CODE: Final = "E-SHEET-017"
#: Biopsy id to what is known and said of it.
_Rows = dict[str, dict[str, Any]]
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
        every row, and `baseline_rule` how it was chosen. Blood samples have a row in assays of blood only,
        see :mod:`pdbiomarker.pairing.specimens`.
    """
    return Chooser(study, replicates=replicates, choice=choice).usable(assay, visits=visits, set_=set_)


class Chooser:
    """Chooses the biopsies of a study by one rule; what was worked out once is not worked out again.

    The model of an analysis set, the flow of the participants and the pairs ask the same question: one
    chooser for the three gives them one answer.

    Parameters
    ----------
    study : Study
    replicates, choice
        As of :func:`usable`.
    columns : sequence of str
        Columns of the model: a biopsy for which one of them has no value is not used, here as in the model.
    """

    def __init__(
        self,
        study: Study,
        *,
        replicates: str = "select",
        choice: Sequence[str] = DEFAULT_CHOICE,
        columns: Sequence[str] = (),
    ) -> None:
        self.study = study
        self._columns = tuple(column for column in columns if column not in _KEYS)
        self._choice = None if replicates == "all" else tuple(choice)
        self._placed: pd.DataFrame | None = None
        self._found: dict[tuple[str | None, tuple[str, ...], str], pd.DataFrame] = {}

    def usable(self, assay: str | None, *, visits: Sequence[str], set_: str = "strict") -> pd.DataFrame:
        """Say of every biopsy whether it is used, and if not, why: see :func:`usable`.

        Returns
        -------
        DataFrame
            A copy: the caller may change it.
        """
        if set_ not in SETS:
            raise ValueError(f"set_ must be one of {', '.join(SETS)}; got {set_!r}")
        key = (assay, tuple(visits), set_)
        if key not in self._found:
            self._found[key] = self._chosen(assay, visits, set_)
        return self._found[key].copy()

    def _chosen(self, assay: str | None, visits: Sequence[str], set_: str) -> pd.DataFrame:
        study = self.study
        if self._placed is None:
            self._placed = assign_visits(study)
        rows = _judged(study, self._placed, assay, set_, visits)
        _leave_out_events(rows, study, visits)
        _leave_out_unknown(rows, study, assay, self._columns)
        _drop_archival(rows)
        _select(rows, study, self._choice)
        if set_ in PAIRED_SETS:
            _drop_unpaired(rows, visits, set_)
        _name_baselines(rows, visits[0])
        frame = pd.DataFrame(list(rows.values()), columns=list(_COLUMNS), dtype=object)
        frame.index = pd.Index(list(rows), dtype=object, name="biopsy_id")
        return frame.astype(_TYPES)


def _judged(study: Study, placed: pd.DataFrame, assay: str | None, set_: str, visits: Sequence[str]) -> _Rows:
    """Every biopsy with its visit and adequacy; `used` is what the choice among several starts from."""
    found = adequacy(study, assay)
    frame = placed.join(lesion_table(study)).join(found.drop(columns="reason"))
    known = "viable_tumor_cells" in study.biopsies
    cells = pd.to_numeric(study.biopsies["viable_tumor_cells"], errors="coerce") if known else math.nan
    frame = frame.assign(_why=found["reason"], _cells=cells)
    frame["_bed"] = regression_bed(study)
    frame = frame[own_samples(study, assay).to_numpy()]
    tissue = assay is None or specimen_of(study, assay) == "tumor"
    decided = overrides_of(study)
    measured, told = _measured(study, assay)
    items = _items_of(study, assay)
    early = frozenset(v.name for v in study.spec.visits if is_baseline(v, study.spec.visits))
    rows: _Rows = {str(b): row for b, row in zip(frame.index, _records(frame), strict=True)}
    for biopsy, row in rows.items():
        row |= {"measured": biopsy in measured, "used": False, "rule": ""}
        notes = [told[i] for i in dict.fromkeys([biopsy, *items.get(biopsy, [])]) if i in told]
        overridden = _override(row, decided.get(biopsy, ()))
        if row["status"] != "ok":
            continue
        if row["visit"] not in visits:
            _leave(row, "E-PAIR-002", f"Visit {row['visit']!r} is not part of this analysis.")
        elif not row["measured"]:
            because = f": {'; '.join(notes).rstrip('.')}" if notes else ""
            _leave(row, "E-PAIR-008", f"Not measured in {assay!r}{because}.")
        elif set_ == "all_biopsied" or row["adequate"] or not tissue:
            row["used"] = True
            _remark(row, overridden, notes)
        else:
            _judge_inadequate(row, overridden, set_, early)
    return rows


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as mappings; what is missing is None."""
    columns = [[None if missing else value for value, missing in zip(frame[c], frame[c].isna(), strict=True)]
               for c in frame.columns]  # fmt: skip
    names = [str(c) for c in frame.columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _override(row: dict[str, Any], decisions: Sequence[Mapping[str, str]]) -> str:
    """Let a reviewer's judgement stand in place of the rules; the sentence that says so, or nothing."""
    for decision in decisions:
        if decision["action"] in {"include", "adequate", "inadequate"}:
            good = decision["action"] != "inadequate"
            row["adequate"], row["quality"] = good, "Pass" if good else "Fail"
            _add(row, "E-OVERRIDE-011", override_reason(decision))
            return override_reason(decision)
    return ""


def _remark(row: dict[str, Any], overridden: str, notes: Sequence[str]) -> None:
    """What is to be said of a biopsy that is used."""
    if row["quality"] == "Pass at Risk" and not overridden:
        _add(row, "E-PAIR-005", f"Pass at Risk: {row['_why']}.")
    for note in (n for n in notes if n.startswith(_OVERRIDE)):
        _add(row, "E-OVERRIDE-010", note)


def _judge_inadequate(row: dict[str, Any], overridden: str, set_: str, early: Collection[str]) -> None:
    """Leave a biopsy out that is not adequate, or take it for its regression bed."""
    lost = row["tumour_lost"] and not overridden and set_ == "immune_evaluable"
    bed = row["_bed"] if lost else ""
    before = row["visit"] in early
    row["used"] = bed == "blinded" and not before
    code, reason = _inadequate(row["_why"], overridden, bed, early=before)
    if row["used"]:
        _add(row, code, reason)
    else:
        _leave(row, code, reason)


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
    """Biopsies with at least one value in the assay, and what was told of it, its slides or libraries."""
    if assay is None:
        return set(study.biopsies.index), {}
    adata = study.assays[assay]
    x = np.asarray(adata.X, dtype=float)
    has_value = np.isfinite(x).any(axis=1) if x.size else np.zeros(adata.n_obs, dtype=bool)
    has_row = {str(b) for b in adata.obs_names}
    ihc = _is_ihc(study, assay)
    areas = ("E-SLIDE", "E-REGION", "E-FILE") if ihc else ("E-COUNT", "E-LANE")
    file = next((spec.file for spec in study.spec.assays if spec.name == assay), None)
    reasons = {
        str(p.item): f"{p.code} {p.message}"
        for p in study.problems
        if p.severity == "quarantine"
        and p.item
        # Of a file of values the item is the biopsy itself, and only that file's word is meant.
        and (p.code.startswith(areas) or (file is not None and p.file == file and p.item in has_row))
    }
    kind = "slide" if ihc else "library"
    for row in study.overrides.to_dict("records"):
        if row["kind"] == kind and row["action"] == "exclude":
            reasons[str(row["item"])] = override_reason({str(k): v for k, v in row.items()})
    return {str(b) for b, ok in zip(adata.obs_names, has_value, strict=True) if ok}, reasons


def _is_ihc(study: Study, assay: str) -> bool:
    return any(spec.name == assay and spec.kind == "ihc" for spec in study.spec.assays)


def _items_of(study: Study, assay: str | None) -> dict[str, list[str]]:
    """Biopsy id to the ids of its libraries or slides, those left out or missing included."""
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


def _leave(row: dict[str, Any], code: str, reason: str) -> None:
    """Do not use a biopsy; what was said of it before stays if it was a reviewer's word."""
    before = str(row["reason"])
    said = f"{reason} ({before})" if _OVERRIDE in before else reason
    if reason in before:  # the reviewer's word is the reason
        said = before
    row |= {"used": False, "rule": "", "code": code, "reason": said}


def _add(row: dict[str, Any], code: str, reason: str) -> None:
    """Say something more of a biopsy that is used."""
    row["code"] = row["code"] or code
    row["reason"] = f"{row['reason']} {reason}".strip()


def _used(rows: _Rows, *keys: str) -> dict[tuple[Any, ...], list[str]]:
    """Used biopsies by what they share, in the order of the keys."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for biopsy, row in rows.items():
        if row["used"]:
            groups.setdefault(tuple(row[key] for key in keys), []).append(biopsy)
    return {key: groups[key] for key in sorted(groups)}


def _leave_out_events(rows: _Rows, study: Study, visits: Sequence[str]) -> None:
    """Leave out what the plan's strategies for intercurrent events leave out, before one is chosen."""
    if LEFT_OUT not in study.biopsies:
        return
    for biopsy, reason in study.biopsies[LEFT_OUT].items():
        row = rows.get(str(biopsy))
        if row is not None and isinstance(reason, str) and row["used"]:
            _leave(row, CODE, f"Intercurrent event, {reason}.")
    for other, reason in list(leave_out_people(rows, study, visits)):
        _leave(rows[other], CODE, reason)


def _leave_out_unknown(rows: _Rows, study: Study, assay: str | None, columns: Sequence[str]) -> None:
    """Leave out what the model cannot use, before one is chosen: a column of its formula has no value."""
    for column in columns:
        values = _values_of(study, assay, column)
        unknown = set() if values is None else {str(biopsy) for biopsy in values.index[values.isna()]}
        for biopsy, row in rows.items():
            if row["used"] and biopsy in unknown:
                _leave(row, UNKNOWN_CODE, f"The model's column {column!r} has no value here.")


def _values_of(study: Study, assay: str | None, column: str) -> pd.Series | None:
    """A column as the formula sees it, by biopsy: the assay's batch, else of people, biopsies, the assay."""
    biopsies, people = study.biopsies, study.participants
    if assay is not None and column in study.assays[assay].obs.columns:
        technical: pd.Series = study.assays[assay].obs[column]
        if column == "batch" or (column not in people and column not in biopsies):
            return technical.reindex(biopsies.index)
    if column in people:
        return people[column].reindex(biopsies["participant_id"]).set_axis(biopsies.index)
    return biopsies.get(column)


def _drop_archival(rows: _Rows) -> None:
    """Never are archival and fresh tissue both the baseline of a participant."""
    for group in _used(rows, "participant_id", "visit").values():
        fresh = sorted(b for b in group if not rows[b]["archival"])
        for biopsy in (b for b in group if fresh and rows[b]["archival"]):
            said = f"Archival; the fresh biopsy {fresh[0]!r} comes before it."
            _leave(rows[biopsy], "E-PAIR-010", said)


def rule_text(choice: Sequence[str], *, before: bool) -> str:
    """Give the rule of choice in words, before or on treatment."""
    steps = [_STEPS[step][0 if before else 1] for step in choice]
    return ", then ".join([*steps, "id"])


def _select(rows: _Rows, study: Study, choice: Sequence[str] | None) -> None:
    """Keep one used biopsy per participant and visit (all where there is no rule); write the rule down."""
    by_name = {v.name: v for v in study.spec.visits}
    for (_, visit), group in _used(rows, "participant_id", "visit").items():
        n, before = len(group), is_baseline(by_name[visit], study.spec.visits)
        if n == 1 or choice is None:
            kept = (
                "the only usable biopsy of the visit" if n == 1 else f"all {n} usable biopsies of the visit"
            )
            for biopsy in group:
                rows[biopsy]["rule"] = kept
            continue
        ranks = {b: tuple(_rank(rows[b], step, before=before) for step in choice) for b in group}
        ranked = sorted(group, key=lambda b: (ranks[b], b))
        rule = rule_text(choice, before=before)
        rows[ranked[0]]["rule"] = f"chosen of {n}: {rule}"
        for biopsy in ranked[1:]:
            reason = f"Biopsy {ranked[0]!r} was chosen for {visit!r} (rule: {rule})."
            _leave(rows[biopsy], "E-PAIR-006", reason)


def _rank(row: Mapping[str, Any], step: str, *, before: bool) -> float:
    """Place of a biopsy in one step of the choice; the smallest is chosen."""
    if step == "adequate":
        return float(not row["adequate"])
    if step == "closest":
        return math.inf if row["lag"] is None else abs(float(row["lag"]))
    if step == "most_tumor":
        return math.inf if row["_cells"] is None else -float(row["_cells"])
    late = step == "latest" or (step == "latest_earliest" and before)
    day = row["study_day"]
    return math.inf if day is None else -float(day) if late else float(day)


def _drop_unpaired(rows: _Rows, visits: Sequence[str], set_: str) -> None:
    for group in _used(rows, "participant_id").values():
        mine = [rows[b] for b in group]
        seen, nodes, lesions = ({row[key] for row in mine} for key in ("visit", "node", "lesion"))
        missing = [v for v in visits if v not in seen]
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
        for row in mine:
            _leave(row, code, said)


def _name_baselines(rows: _Rows, baseline: str) -> None:
    """Write into every row which biopsy is the participant's baseline, and by what rule."""
    chosen = {
        p: ids for (p, visit), ids in _used(rows, "participant_id", "visit").items() if visit == baseline
    }
    for row in rows.values():
        ids = chosen.get(row["participant_id"], [])
        row["baseline_biopsy"] = ";".join(ids)
        row["baseline_rule"] = f"no usable biopsy at {baseline}"
        if ids:
            first = rows[ids[-1]]
            row["baseline_rule"] = first["rule"] + (" (archival)" if first["archival"] else "")
