"""Values and changes of one feature of a result, by participant, with the reason where there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import cast

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker.change import PDResult
from pdbiomarker.change.families import fitting_features
from pdbiomarker.change.rows import back_transformed
from pdbiomarker.errors import Problems
from pdbiomarker.link.association import Association
from pdbiomarker.tables import nearest

__all__ = ["Measured", "as_read", "change_table", "find_measured", "level_table", "ratio_unit", "unused"]

_LOG2 = frozenset({"count", "density", "intensity"})


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """One feature at one contrast.

    Attributes
    ----------
    assay, name, label, kind, contrast : str
    unit : str
        Of the values, as the assay gives it; may be empty.
    """

    assay: str
    name: str
    label: str
    kind: str
    contrast: str
    unit: str = ""

    @property
    def reference(self) -> str:
        """Give ``assay:feature``."""
        return f"{self.assay}:{self.name}"


def find_measured(result: PDResult, feature: str, contrast: str | None = None) -> Measured:
    """Find a feature and a contrast of a result.

    Parameters
    ----------
    result : PDResult
    feature : str
        ``assay:feature``, or the feature's name where one assay has it; ``CD8_density`` means
        ``CD8_density_tissue``, as in a plan.
    contrast : str, optional
        Default: the plan's first that a participant answers alone.

    Raises
    ------
    InputError
        E-LINK-001: there is no such feature or contrast.
    """
    problems = Problems()
    known = [f"{a}:{f}" for a, data in result.study.assays.items() for f in data.var_names]
    hits = [r for r in known if feature in (r, r.partition(":")[2])] or _meant(result, feature)
    if len(hits) != 1:
        said = f"The name fits {len(hits)} features." if hits else "The result has no such feature."
        remedy = f"Write {' or '.join(hits)}." if hits else nearest(feature, known)
        problems.add("E-LINK-001", said, remedy=remedy, column="feature", value=feature)
    contrasts = list(result.changes["contrast"].unique()) or list(result.plan.contrasts)
    if contrast is not None and contrast not in contrasts:
        problems.add(
            "E-LINK-001",
            "The result has no changes of such a contrast.",
            remedy=nearest(contrast, contrasts),
            column="contrast",
            value=contrast,
        )
    problems.raise_if_any()
    assay, _, name = hits[0].partition(":")
    var = cast("pd.DataFrame", result.study.assays[assay].var)
    label = str(var.loc[name, "label"]) if "label" in var else name
    chosen = contrast or next(iter(contrasts), "")
    unit = str(var.loc[name, "unit"] or "") if "unit" in var else ""
    return Measured(assay, name, label or name, str(var.loc[name, "kind"]), chosen, unit)


def _meant(result: PDResult, feature: str) -> list[str]:
    """Features that a shorter name means, as in the families of a plan."""
    asked, _, short = feature.rpartition(":")
    return [
        f"{assay}:{name}"
        for assay, data in result.study.assays.items()
        if asked in ("", assay)
        for name in fitting_features(short, list(data.var_names), list(_labels(data)))
    ]


def _labels(data: AnnData) -> Iterator[str]:
    var = cast("pd.DataFrame", data.var)
    yield from var.get("label", data.var_names).astype(str)


def change_table(result: PDResult, found: Measured) -> pd.DataFrame:
    """Give every participant's change in the strict set.

    Returns
    -------
    DataFrame, indexed by participant_id in the order of their ids
        ``change`` (model scale, NaN where there is none), ``baseline_biopsy, on_biopsy``, ``used``, ``why``.
    """
    rows = result.changes
    rows = rows[rows["feature"] == found.name]  # first: the few rows of one feature among those of all genes
    inside = (rows["assay"] == found.assay) & (rows["contrast"] == found.contrast) & (rows["set"] == "strict")
    mine = rows[inside].set_index("participant_id")[["change", "baseline_biopsy", "on_biopsy"]]
    people = pd.Index(sorted(result.study.participants.index), dtype=object, name="participant_id")
    table = mine.reindex(people)
    table["change"] = table["change"].astype(float)
    table["used"] = np.isfinite(table["change"].to_numpy())
    told = result.pairs
    if len(told):
        told = told[(told["assay"] == found.assay) & (told["contrast"] == found.contrast)]
        told = told.set_index("participant_id")
    why = []
    for person, ok in zip(people, table["used"], strict=True):
        if ok:
            why.append("")
        elif len(told) and person in told.index and not bool(told.at[person, "evaluable"]):
            why.append(str(told.at[person, "reason"]))
        else:
            why.append("no value of this feature in a biopsy of the pair, or one beyond a limit")
    table["why"] = pd.Series(why, index=people, dtype=object)
    return table


def level_table(result: PDResult, found: Measured) -> pd.DataFrame:
    """Give the values of the biopsies that the contrast uses, model scale; several of a visit are averaged.

    Returns
    -------
    DataFrame
        ``participant_id, visit, value, biopsies`` (ids, joined by semicolons).
    """
    used = result.biopsies
    used = used[(used["assay"] == found.assay) & (used["contrast"] == found.contrast)]
    used = used[(used["set"] == "strict") & used["used"].astype(bool)]
    data = result.study.assays[found.assay]
    y = np.asarray(data.layers["y"], dtype=float)[:, data.var_names.get_loc(found.name)]
    if "censored" in data.layers:
        side = np.asarray(data.layers["censored"], dtype=float)[:, data.var_names.get_loc(found.name)]
        y = np.where(side == 0, y, np.nan)
    value = pd.Series(y, index=pd.Index(data.obs_names, dtype=object))
    table = used[["participant_id", "visit", "biopsy_id"]].assign(
        value=value.reindex(used["biopsy_id"].to_numpy()).to_numpy()
    )
    table = table[table["value"].notna()].sort_values("biopsy_id")
    grouped = table.groupby(["participant_id", "visit"], sort=True)
    out = grouped.agg(value=("value", "mean"), biopsies=("biopsy_id", ";".join))
    return out.reset_index()


def ratio_unit(kind: str) -> str:
    """Name what a difference on the model scale becomes; empty where it stays a difference."""
    return "ratio" if kind in _LOG2 else "odds ratio" if kind == "proportion" else ""


def as_read(found: Association, kind: str) -> tuple[Association, str]:
    """Give a difference on the model scale as people read it, a ratio where it is one, with its unit."""
    if not ratio_unit(kind):
        return found, "units"
    three = np.array([found.value, found.low, found.high])
    value, low, high = back_transformed(three, np.array([kind] * 3, dtype=object)).tolist()
    told = Association(value, low, high, found.p, found.p_method, found.n, found.note)
    return told, ratio_unit(kind)


def unused(points: pd.DataFrame) -> str:
    """Say how many rows are not used, and why, in one sentence."""
    lost = points[~points["used"].astype(bool)]
    if lost.empty:
        return ""
    short = lost["why"].astype(str).str.partition(" (")[0]
    counts = short.value_counts().sort_index()
    told = "; ".join(f"{n} {why}" for why, n in counts.items())
    return f"{len(lost)} left out: {told}."
