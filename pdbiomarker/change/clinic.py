"""The trial beside the change: exposure, antibodies, response and survival of each participant, in one row.

It stands on the floor of the change, not in ``run``: it takes tables and gives a table, and what models the
links between them, and what draws them, stands above it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.change.result import PDResult
from pdbiomarker.errors import Problems
from pdbiomarker.study import Study
from pdbiomarker.tables import nearest

__all__ = [
    "BEFORE_BIOPSY",
    "JOINED_COLUMNS",
    "change_columns",
    "clinical_join",
    "with_clinical_columns",
]

#: Columns of :func:`clinical_join` beside the changes, and what they mean.
JOINED_COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "participant_id": "as in participants.csv",
        "cohort": "cohort, as in participants.csv",
        "dose_mg": "dose level as assigned, mg",
        "on_biopsy": "the on-treatment biopsy: that of the changes, else the one chosen without a partner",
        "on_biopsy_day": "its study day",
        "n_doses": "doses received before it",
        "cumulative_dose_mg": "received before it, mg",
        "hours_since_last_dose": "from the start of the last dose to it",
        "auc_to_biopsy": "area under the concentration from the first dose to it, concentration x h",
        "concentration_at_biopsy": "concentration at its time, measured or from the curve",
        "last_trough": "last concentration sampled before the last dose before it",
        "ada_at_biopsy": "last conclusive antibody sample up to its day: positive, negative, none",
        "ada_emergent_at_biopsy": "whether a sample after the first dose and up to its day was positive",
        "best_response": "confirmed best overall response, RECIST 1.1",
        "responder": "confirmed CR or PR",
        "best_size_change_pct": "lowest change of the sum of diameters from baseline, %",
        "pfs_days": "days from first dose to progression, death or censoring",
        "pfs_event": "whether pfs_days ends with progression or death",
        "dlt": "a dose-limiting toxicity, of those evaluable",
    }
)

#: Of them, what was settled when the on-treatment biopsy was taken: these may enter its model.
BEFORE_BIOPSY: Final = (
    "n_doses",
    "cumulative_dose_mg",
    "hours_since_last_dose",
    "auc_to_biopsy",
    "concentration_at_biopsy",
    "last_trough",
    "ada_at_biopsy",
    "ada_emergent_at_biopsy",
)
_OF_BIOPSY: Final[Mapping[str, tuple[str, str]]] = {  # column -> (table, its column there)
    "n_doses": ("exposure", "n_doses"),
    "cumulative_dose_mg": ("exposure", "cumulative_dose_mg"),
    "hours_since_last_dose": ("exposure", "hours_since_last_dose"),
    "auc_to_biopsy": ("exposure", "auc_to_biopsy"),
    "concentration_at_biopsy": ("exposure", "concentration"),
    "last_trough": ("exposure", "last_trough"),
    "ada_at_biopsy": ("ada_biopsies", "ada_last"),
    "ada_emergent_at_biopsy": ("ada_biopsies", "ada_emergent"),
}
_OF_PERSON: Final[Mapping[str, tuple[str, str]]] = {
    "best_response": ("response_by_participant", "best_response"),
    "responder": ("response_by_participant", "responder"),
    "best_size_change_pct": ("response_by_participant", "best_size_change_pct"),
    "pfs_days": ("response_by_participant", "pfs_days"),
    "pfs_event": ("response_by_participant", "pfs_event"),
    "dlt": ("dlt_participants", "dlt"),
}
_TYPES: Final[Mapping[str, str]] = {
    "n_doses": "Int64",
    "on_biopsy_day": "Int64",
    "ada_emergent_at_biopsy": "boolean",
    "responder": "boolean",
    "pfs_event": "boolean",
    "dlt": "boolean",
    **dict.fromkeys(("cohort", "on_biopsy", "ada_at_biopsy", "best_response"), "object"),
}


def clinical_join(
    result: PDResult,
    *,
    tables: Mapping[str, pd.DataFrame] | None = None,
    features: Sequence[str] | None = None,
    contrast: str | None = None,
) -> pd.DataFrame:
    """Put exposure, antibodies, response and survival beside each participant's change.

    Parameters
    ----------
    result : PDResult
    tables : mapping of name to DataFrame, optional
        As from :func:`pdbiomarker.clinical_tables`; default: those of the result (``result.clinical``).
    features : sequence of str, optional
        ``assay:feature``; default: the primary family of the plan.
    contrast : str, optional
        Default: the first of the plan. Its changes in the strict set are joined.

    Returns
    -------
    DataFrame
        One row per participant, in the order of participants.csv: :data:`JOINED_COLUMNS`, and ``change_<x>``
        for each feature (model scale: log2 of densities, counts and intensities, logit of proportions). A
        part that was not recorded is missing in every row; a participant without a pair has no change.

    Raises
    ------
    InputError
        E-CLIN-043: a contrast or a feature that the result does not have.

    Notes
    -----
    Only the columns in :data:`BEFORE_BIOPSY` may enter a model of the change: response, progression and
    toxicity came later, and whom one could still observe depends on them. An exposure may rest on a sample
    after the biopsy, where its concentration lies between two samples.

    Examples
    --------
    >>> joined = clinical_join(pb.read_result("results/"))  # doctest: +SKIP
    >>> joined[["dose_mg", "auc_to_biopsy", "change_CD8_density"]]  # doctest: +SKIP
    """
    given = result.clinical if tables is None else tables
    chosen = _contrast(result, contrast)
    wanted = change_columns(result, features, contrast=chosen)
    strict = result.changes[(result.changes["set"] == "strict") & (result.changes["contrast"] == chosen)]
    people = result.study.participants
    rows = pd.DataFrame({"participant_id": people.index.astype(str)}, dtype=object)
    for name in ("cohort", "dose_mg"):
        rows[name] = people[name].to_numpy() if name in people else None
    rows["dose_mg"] = pd.to_numeric(rows["dose_mg"], errors="coerce").astype(float)
    biopsies = _on_biopsies(result, strict, chosen, list(wanted.values()))
    rows["on_biopsy"] = rows["participant_id"].map(biopsies)
    days = result.study.biopsies["study_day"].to_dict() if "study_day" in result.study.biopsies else {}
    rows["on_biopsy_day"] = rows["on_biopsy"].map(days)
    for columns, key, by in ((_OF_BIOPSY, "biopsy_id", "on_biopsy"), (_OF_PERSON, "participant_id", "")):
        for column, (table, source) in columns.items():
            values = _values(given.get(table), key, source)
            rows[column] = rows[by or "participant_id"].map(values)
    out = {name: _typed(rows[name], name) for name in JOINED_COLUMNS}
    for name, (assay, feature) in wanted.items():
        own = strict[(strict["assay"] == assay) & (strict["feature"] == feature)]
        out[name] = rows["participant_id"].map(_values(own, "participant_id", "change")).astype(float)
    return pd.DataFrame(out)


def _typed(values: pd.Series, name: str) -> pd.Series:
    kind = _TYPES.get(name, "object" if name == "participant_id" else "float64")
    if kind == "object":
        return pd.Series([None if pd.isna(v) else str(v) for v in values], dtype=object)
    missing = pd.NA if kind in {"Int64", "boolean"} else np.nan
    return pd.Series([missing if pd.isna(v) else v for v in values], dtype=kind)


def _values(table: pd.DataFrame | None, key: str, column: str) -> dict[str, object]:
    """What a table says of each biopsy or participant; the first row where there are several."""
    if table is None or column not in table or key not in table:
        return {}
    first = table.drop_duplicates(key)
    return dict(zip(first[key].astype(str), first[column].tolist(), strict=True))


def change_columns(
    result: PDResult, features: Sequence[str] | None = None, *, contrast: str | None = None
) -> dict[str, tuple[str, str]]:
    """Name the columns of changes of the joined table.

    Parameters
    ----------
    result : PDResult
    features : sequence of str, optional
        ``assay:feature``; default: the primary family.
    contrast : str, optional
        Default: the first of the plan.

    Returns
    -------
    dict of column to (assay, feature)
        ``change_<feature>``; ``change_<assay>_<feature>`` where two assays have a feature of that name.

    Raises
    ------
    InputError
        E-CLIN-043: an unknown contrast or feature.
    """
    table = result.table[result.table["contrast"] == _contrast(result, contrast)]
    known = list(dict.fromkeys(zip(table["assay"], table["feature"], strict=True)))
    primary = table[table["family"] == "primary"]
    chosen = list(dict.fromkeys(zip(primary["assay"], primary["feature"], strict=True)))
    if features is not None:
        names = {f"{assay}:{feature}": (assay, feature) for assay, feature in known}
        problems = Problems()
        for name in features:
            if name not in names:
                problems.add(
                    "E-CLIN-043",
                    f"The result has no feature {name!r}.",
                    remedy=f"Write assay:feature. {nearest(name, names)}",
                    column="features",
                    value=name,
                )
        problems.raise_if_any()
        chosen = [names[name] for name in features]
    twice = {f for f in (f for _, f in chosen) if sum(f == other for _, other in chosen) > 1}
    return {f"change_{a}_{f}" if f in twice else f"change_{f}": (a, f) for a, f in chosen}


def _contrast(result: PDResult, contrast: str | None) -> str:
    known = list(result.plan.contrasts)
    if contrast is None:
        return known[0]
    if contrast not in known:
        problems = Problems()
        problems.add(
            "E-CLIN-043",
            f"The plan has no contrast {contrast!r}.",
            remedy=nearest(contrast, known),
            column="contrast",
            value=contrast,
        )
        problems.raise_if_any()
    return contrast


def _on_biopsies(
    result: PDResult, strict: pd.DataFrame, contrast: str, features: Sequence[tuple[str, str]]
) -> dict[str, object]:
    """The on-treatment biopsy of each participant: that of a change, else the one chosen without a pair."""
    assays = list(dict.fromkeys(assay for assay, _ in features)) or list(dict.fromkeys(strict["assay"]))
    found: dict[str, object] = {}
    pairs = result.pairs
    pairs = pairs[pairs["contrast"] == contrast] if "contrast" in pairs else pairs
    for table in (strict, pairs):
        for assay in assays:
            own = table[(table["assay"] == assay) & table["on_biopsy"].notna()]
            for person, biopsy in zip(own["participant_id"], own["on_biopsy"], strict=True):
                if str(biopsy):
                    found.setdefault(str(person), biopsy)
    return found


def with_clinical_columns(study: Study, joined: pd.DataFrame, columns: Sequence[str] | None = None) -> Study:
    """Give a study whose participants have exposure and antibodies at the biopsy, for formulas.

    Parameters
    ----------
    study : Study
    joined : DataFrame
        As from :func:`clinical_join`.
    columns : sequence of str, optional
        Of :data:`BEFORE_BIOPSY`; default: all that have a value.

    Returns
    -------
    Study
        Its participants have the columns too; one that is there already is kept as it is.

    Raises
    ------
    InputError
        E-CLIN-042: a column that is not known, or was not settled when the biopsy was taken.

    Examples
    --------
    >>> more = with_clinical_columns(study, joined, ["auc_to_biopsy"])  # doctest: +SKIP
    """
    table = joined.set_index("participant_id")
    problems = Problems()
    for name in columns or ():
        if name not in BEFORE_BIOPSY:
            later = name in JOINED_COLUMNS
            problems.add(
                "E-CLIN-042",
                f"The column {name!r} {'was not settled at' if later else 'is none of those known at'} the "
                "biopsy, and may not enter its model.",
                remedy=f"Use one of: {', '.join(BEFORE_BIOPSY)}.",
                column="columns",
                value=name,
            )
    problems.raise_if_any()
    wanted = BEFORE_BIOPSY if columns is None else columns
    new = [c for c in wanted if c not in study.participants and (columns or table[c].notna().any())]
    added = table[new].reindex(study.participants.index)
    for name in new:
        if _TYPES.get(name) == "Int64":
            added[name] = added[name].astype(float)
        elif _TYPES.get(name) == "boolean":
            words = {True: "yes", False: "no"}
            added[name] = [None if pd.isna(v) else words[bool(v)] for v in added[name]]
    return dataclasses.replace(study, participants=pd.concat([study.participants, added], axis=1))
