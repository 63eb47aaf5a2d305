"""From enrolment to an evaluable pair: who is left at each step, and where and why the others were lost.

Every participant ends in exactly one place, the disposition: evaluable, or lost at one step for one
reason. The counts of :func:`accountability` are made from these rows, so they add up.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from pdbiomarker.pairing.choice import UNKNOWN_CODE, Chooser
from pdbiomarker.pairing.events import CODE as EVENT_CODE
from pdbiomarker.pairing.reasons import NOT_RECORDED, group_of_code, missing_reason
from pdbiomarker.pairing.sets import PAIRED_SETS
from pdbiomarker.plan import DEFAULT_CHOICE
from pdbiomarker.study import Study, override_reason

__all__ = ["DISPOSITION_COLUMNS", "account", "accountability"]

_TOLD_LIMIT: Final = 8
#: Columns of the dispositions of :func:`account`, in order.
DISPOSITION_COLUMNS: Final = (
    *("set", "assay", "contrast", "participant_id", "outcome", "step", "group", "code", "reason"),
    *("baseline_biopsy", "on_biopsy"),
)
#: Codes of biopsies that were good enough before they were left out for another reason.
_WAS_GOOD: Final = ("E-PAIR-013", EVENT_CODE, UNKNOWN_CODE)
_ENROLLED: Final = "enrolled"


@dataclasses.dataclass(frozen=True)
class _Step:
    """A step of the flow: who comes through, by which biopsies, and at which visit (empty: none)."""

    name: str
    people: frozenset[str]
    biopsies: pd.DataFrame
    visit: str = ""


def accountability(
    study: Study,
    contrasts: Mapping[str, Sequence[str]],
    *,
    sets: Sequence[str] = ("strict", "all_biopsied"),
    replicates: str = "select",
    choice: Sequence[str] = DEFAULT_CHOICE,
) -> pd.DataFrame:
    """Count participants from enrolment to an evaluable pair, with the reason of every loss.

    Parameters
    ----------
    study : Study
    contrasts : mapping of contrast name to its visits
        Such as the baseline and an on-treatment visit.
    sets : sequence of str
        Analysis sets.
    replicates : {"select", "all"}
        See :func:`pdbiomarker.pairing.usable`.
    choice : sequence of str
        See :func:`pdbiomarker.pairing.usable`.

    Returns
    -------
    DataFrame, one row per set, assay, contrast and step
        ``set, assay, contrast, step, n_participants, n_lost, n_biopsies, reasons, reason``. A participant is
        counted at a step only if counted at every step before it; `n_lost` were lost at this step, `reasons`
        counts why, `reason` names participants and biopsies; `n_biopsies` are the biopsies behind the step.
        The step "consented" is there where participants.csv has the column `biopsy_consent`, the step "not
        left out by a reviewer" where overrides.csv leaves a participant out.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> study = pb.read_study("trial")
    >>> counts = pb.expression.read_counts("trial/counts.csv.gz", study=study)
    >>> steps = pb.accountability(study.with_assay("rna", counts), {"on_treatment": ("screening", "C2D1")})
    >>> strict = steps[steps["set"] == "strict"]
    >>> int(strict["n_participants"].iloc[0]), int(strict["n_participants"].iloc[-1])
    (6, 5)
    """
    return account(Chooser(study, replicates=replicates, choice=choice), contrasts, sets=sets)[0]


def account(
    chooser: Chooser, contrasts: Mapping[str, Sequence[str]], *, sets: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Count participants from enrolment to an evaluable pair, and say of each where they ended.

    Returns
    -------
    counts : DataFrame
        Of :func:`accountability`.
    dispositions : DataFrame, one row per set, assay, contrast and participant, in the order of the sheet
        ``set, assay, contrast, participant_id, outcome`` (``evaluable`` or ``lost``), ``step`` (of the loss),
        ``group`` (the reason as it is counted), ``code, reason, baseline_biopsy, on_biopsy``.
    """
    counts: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    study = chooser.study
    for key, biopsies, steps in _flows(chooser, contrasts, sets):
        lost = _lost(study, biopsies, steps)
        counts += [{**key, **row} for row in _counts(steps, lost)]
        visits = contrasts[key["contrast"]]
        people += [{**key, **row} for row in _people(study, biopsies, visits, lost)]
    columns = ["set", "assay", "contrast", "step", "n_participants", "n_lost", "n_biopsies"]
    table = pd.DataFrame(counts, columns=[*columns, "reasons", "reason"])
    return table, pd.DataFrame(people, columns=list(DISPOSITION_COLUMNS))


def _counts(steps: Sequence[_Step], lost: Sequence[Mapping[str, str]]) -> Iterable[dict[str, Any]]:
    for step in steps:
        here = [row for row in lost if row["step"] == step.name]
        yield {
            "step": step.name,
            "n_participants": len(step.people),
            "n_lost": len(here),
            "n_biopsies": int(step.biopsies["participant_id"].isin(step.people).sum()),
            "reasons": _counted(here),
            "reason": _told(here),
        }


def _people(
    study: Study, biopsies: pd.DataFrame, visits: Sequence[str], lost: Sequence[Mapping[str, str]]
) -> Iterable[dict[str, Any]]:
    gone = {row["participant_id"]: row for row in lost}
    used = biopsies[biopsies["used"]]
    chosen: dict[tuple[str, str], list[str]] = {}
    for biopsy, person, visit in zip(used.index, used["participant_id"], used["visit"], strict=True):
        chosen.setdefault((str(person), str(visit)), []).append(str(biopsy))
    for person in map(str, study.participants.index):
        found: dict[str, str] = {"outcome": "evaluable", "step": "", "group": "", "code": "", "reason": ""}
        if person in gone:
            found = {**gone[person], "outcome": "lost"}
        yield {
            **found,
            "participant_id": person,
            "baseline_biopsy": ";".join(chosen.get((person, visits[0]), [])),
            "on_biopsy": ";".join(chosen.get((person, visits[-1]), [])) if len(visits) > 1 else "",
        }


def _flows(
    chooser: Chooser, contrasts: Mapping[str, Sequence[str]], sets: Sequence[str]
) -> Iterable[tuple[dict[str, str], pd.DataFrame, list[_Step]]]:
    """The flow of every set, assay and contrast."""
    study = chooser.study
    names: list[str | None] = [*study.assays] or [None]
    for set_ in sets:
        for assay in names:
            for contrast, visits in contrasts.items():
                biopsies = chooser.usable(assay, visits=visits, set_=set_)
                key = {"set": set_, "assay": assay or "", "contrast": contrast}
                yield key, biopsies, _steps(study, biopsies, visits, set_)


def _steps(study: Study, biopsies: pd.DataFrame, visits: Sequence[str], set_: str) -> list[_Step]:
    """Steps with those who are left at each; who is lost at one is not counted later."""
    people = frozenset(map(str, study.participants.index))
    steps = [_Step(_ENROLLED, people, biopsies)]

    def then(name: str, stay: Iterable[object], rows: pd.DataFrame, visit: str = "") -> None:
        left = steps[-1].people & {str(p) for p in stay}
        steps.append(_Step(name, left, rows, visit))

    if "biopsy_consent" in study.participants:
        agreed = study.participants.index[study.participants["biopsy_consent"] != "no"]
        then("consented", agreed, biopsies)
    gone = study.left_out["participant"]
    if gone:
        then("not left out by a reviewer", people - gone, biopsies)
    for visit in visits:
        at_visit = biopsies[biopsies["visit"] == visit]
        then(f"{visit} biopsy taken", at_visit["participant_id"], at_visit, visit)
        if set_ != "all_biopsied":
            # A regression bed stands for tumour in the set that says so, whatever else is said of it.
            good = at_visit[at_visit["adequate"] | at_visit["used"] | at_visit["code"].isin(_WAS_GOOD)]
            then(f"{visit} biopsy adequate", good["participant_id"], good, visit)
        if (biopsies["code"] == EVENT_CODE).any():
            kept = at_visit[at_visit["code"] != EVENT_CODE]
            then(f"{visit} biopsy kept despite events", kept["participant_id"], kept, visit)
        # Whoever is lost for a column of the model, another lesion or another visit has been measured here.
        later = [UNKNOWN_CODE, "E-PAIR-015", *(["E-PAIR-007"] if set_ in PAIRED_SETS else [])]
        measured = at_visit[at_visit["used"] | at_visit["code"].isin(later)]
        then(f"{visit} biopsy measured", measured["participant_id"], measured, visit)
        if (biopsies["code"] == UNKNOWN_CODE).any():
            known = measured[measured["code"] != UNKNOWN_CODE]
            then(f"{visit} columns of the model known", known["participant_id"], known, visit)
    used = biopsies[biopsies["used"]]
    name = "evaluable pair" if len(visits) > 1 else "evaluable"
    if set_ in PAIRED_SETS:
        then(f"{name} of this set", used["participant_id"], used)
    else:
        steps.append(_Step(name, steps[-1].people, used))
    return steps


def _lost(study: Study, biopsies: pd.DataFrame, steps: Sequence[_Step]) -> list[dict[str, str]]:
    """One row for everybody who was lost: the step, and why."""
    rows = []
    for before, step in itertools.pairwise(steps):
        for person in map(str, study.participants.index):
            if person in before.people and person not in step.people:
                code, group, reason = _why(study, biopsies, person, step)
                rows.append(
                    {
                        "participant_id": person,
                        "step": step.name,
                        "group": group,
                        "code": code,
                        "reason": reason,
                    }
                )
    return rows


def _why(study: Study, biopsies: pd.DataFrame, person: str, step: _Step) -> tuple[str, str, str]:
    """Code, group and words of one participant's loss."""
    if step.name == "consented":
        return "E-PAIR-016", "no consent", "no consent to biopsies"
    if step.name == "not left out by a reviewer":
        row = study.overrides[
            (study.overrides["kind"] == "participant") & (study.overrides["item"] == person)
        ]
        return "E-OVERRIDE-010", "override", override_reason(row.iloc[0])
    mine = biopsies[biopsies["participant_id"] == person]
    if not step.visit:
        tried = mine[~mine["used"] & (mine["reason"] != "")]
    else:
        tried = mine[((mine["visit"] == step.visit) | mine["visit"].isna()) & ~mine["used"]]
    told = [f"{b}: {r}" for b, r in zip(tried.index, tried["reason"], strict=True) if r]
    group, words = missing_reason(_row_of(study, person), step.visit)
    if not told:
        return "E-PAIR-007", group, words or f"no {step.visit} biopsy"
    codes = [code for code in tried["code"] if code]
    if step.name.endswith(" taken") and group != NOT_RECORDED:
        # The site's word on why there is none outweighs a biopsy that belongs elsewhere.
        return codes[0] if codes else "E-PAIR-007", group, " ".join([words, *told])
    return codes[0] if codes else "", group_of_code(codes[0] if codes else ""), " ".join(told)


def _row_of(study: Study, person: str) -> pd.Series:
    row = study.participants.loc[person]
    return row if isinstance(row, pd.Series) else row.iloc[0]


def _counted(lost: Sequence[Mapping[str, str]]) -> str:
    """Count losses by reason: ``2 not adequate, 1 no consent``, the most frequent first."""
    counts: dict[str, int] = {}
    for row in lost:
        counts[row["group"]] = counts.get(row["group"], 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {group}" for group, n in ranked)


def _told(lost: Sequence[Mapping[str, str]]) -> str:
    """Name everybody who was lost at a step, with the reasons of their biopsies."""
    told = sorted(f"{row['participant_id']} ({row['reason']})" for row in lost)
    shown = told[:_TOLD_LIMIT]
    more = len(told) - len(shown)
    return "; ".join(shown) + (
        f"; and {more} more, all in dispositions.csv of the results" if more > 0 else ""
    )
