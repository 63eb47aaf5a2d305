"""The same change under other strategies for each intercurrent event, side by side.

The rows of a result follow the strategies that the plan declares. Here stands, for each declared event, what
the features of the primary family (of all panels where there is none) would read under each of the other
strategies, the other events kept as declared. These rows are for reading the result, not for choosing a
strategy after it: p is not adjusted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from pdbiomarker.change.blocks import Block, choose_block, chooser_of
from pdbiomarker.change.fitting import join_notes
from pdbiomarker.change.question import Model
from pdbiomarker.change.rows import contrast_rows
from pdbiomarker.pairing import affected_biopsies, assign_visits, is_baseline, with_events
from pdbiomarker.plan import STRATEGIES, Event, Plan
from pdbiomarker.study import Study

__all__ = ["ESTIMAND_COLUMNS", "empty_estimands", "estimand_rows", "events_of", "under_events"]

#: Columns of the rows, and their types, in order.
ESTIMAND_COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{"event": "str", "strategy": "str", "declared": "bool", "n_affected": "Int64"},
        **dict.fromkeys(("assay", "feature", "label", "kind", "family", "contrast"), "str"),
        **dict.fromkeys(("estimate", "se", "df", "p", "ci_low", "ci_high"), "float64"),
        **dict.fromkeys(("effect", "effect_low", "effect_high"), "float64"),
        **{"effect_unit": "str", "n_participants": "Int64", "n_pairs": "Int64", "n_biopsies": "Int64"},
        **{"model": "str", "status": "str", "note": "str"},
    }
)
_NOT_AFFECTED: Final = "no biopsy of this contrast is affected: every strategy reads the same"


def empty_estimands() -> pd.DataFrame:
    """The frame without rows."""
    return _typed(pd.DataFrame(columns=list(ESTIMAND_COLUMNS)))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    out = frame.reindex(columns=list(ESTIMAND_COLUMNS))
    return out.astype({c: (object if t == "str" else t) for c, t in ESTIMAND_COLUMNS.items()})


def events_of(study: Study, plan: Plan) -> pd.DataFrame:
    """Which biopsies the declared events affect; see :func:`pdbiomarker.pairing.affected_biopsies`."""
    before = [visit.name for visit in study.spec.visits if is_baseline(visit, study.spec.visits)]
    return affected_biopsies(study, plan.events, assign_visits(study), before)


def under_events(study: Study, plan: Plan) -> Study:
    """Give the study with what the plan's strategies leave out marked."""
    return with_events(study, events_of(study, plan)) if plan.events else study


def _with_strategy(plan: Plan, event: Event, strategy: str) -> Plan:
    keys = {**plan.intercurrent[event.name], "strategy": strategy}
    return dataclasses.replace(plan, intercurrent={**plan.intercurrent, event.name: keys})


def estimand_rows(
    study: Study,
    declared: Block,
    model: Model,
    families: Mapping[tuple[str, str], str],
    affected: pd.DataFrame,
) -> list[pd.DataFrame]:
    """Rows of a block's features under every strategy for every declared event.

    Parameters
    ----------
    study : Study
        Without marks of events.
    declared : Block
        The strict set under the declared strategies.
    model : Model
    families : mapping of (assay, feature) to family
    affected : DataFrame
        From :func:`events_of`.

    Returns
    -------
    list of DataFrame
        Columns :data:`ESTIMAND_COLUMNS`; for each event the declared strategy first. Empty without events,
        and for blocks without a feature that counts.
    """
    names = [str(feature) for feature in declared.values.var_names]
    chosen = [families[declared.assay, name] == "primary" for name in names]
    if "primary" not in model.plan.families:
        chosen = [True] * len(names)
    if not model.plan.events or not any(chosen):
        return []
    out: list[pd.DataFrame] = []
    for event in model.plan.events:
        mine = affected[(affected["event"] == event.name) & affected["affected"]]
        for strategy in [event.strategy, *(s for s in STRATEGIES if s != event.strategy)]:
            is_declared = strategy == event.strategy
            block, asked = declared, model
            if not is_declared and len(mine):
                asked = dataclasses.replace(model, plan=_with_strategy(model.plan, event, strategy))
                marked = under_events(study, asked.plan)
                block, _ = choose_block(chooser_of(marked, asked), declared.assay, "strict", asked)
            block = dataclasses.replace(block, values=block.values[:, chosen].copy())
            for question in model.questions.values():
                n = int(mine["visit"].isin(question.visits).sum())
                rows = contrast_rows(block, question, asked, families).rows
                keys: dict[str, Any] = {"event": event.name, "strategy": strategy, "declared": is_declared}
                note = "" if n else _NOT_AFFECTED
                told = [join_notes(text, note) for text in rows["note"]]
                out.append(_typed(rows.assign(**keys, n_affected=n, note=told)))
    return out
