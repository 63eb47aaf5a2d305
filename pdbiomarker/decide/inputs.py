"""What a decision is made of: the values of a feature by participant, and what was declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.change import PDResult
from pdbiomarker.errors import Problems
from pdbiomarker.noise import Noise, Scale, scale_of
from pdbiomarker.study import Declared, Study
from pdbiomarker.tables import nearest

__all__ = ["DecideOptions", "Declared", "Feature", "doses_of", "features_of", "staining_runs"]

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True)
class DecideOptions:
    """What may be chosen in :func:`decide`.

    Attributes
    ----------
    contrast : str or None
        Default: the plan's first.
    by : str or None
        Column of participants.csv that names the dose level; None: no dose levels.
    sd_response : float
        Spread of true changes between participants in the simulated trials, model scale.
    n_sims, seed : int
        Of the operating characteristics; 0 simulations leave them out.
    curves : bool
        Also simulate the cohort's verdicts over a grid of true effects.
    """

    contrast: str | None = None
    by: str | None = "dose_mg"
    sd_response: float = 0.0
    n_sims: int = 4_000
    seed: int = 1
    curves: bool = False


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """One feature at one contrast, model scale; participants in the order of participants.csv."""

    assay: str
    name: str
    contrast: str
    people: NDArray[np.object_]
    baseline: Array
    on: Array
    baselines: Array
    why: NDArray[np.object_]
    shares_run: NDArray[np.object_]
    noise: Noise | None
    scale: Scale
    kind: str = ""
    label: str = ""
    expected_direction: float = 0.0
    facts: Declared = dataclasses.field(default_factory=Declared)


def features_of(
    result: PDResult,
    features: Sequence[str],
    noise: Mapping[str, Noise],
    options: DecideOptions,
    facts: Declared,
) -> list[Feature]:
    """Values of the features asked for; every one that the result does not have is refused (E-RULE-003)."""
    problems = Problems()
    contrasts = list(result.plan.contrasts)
    contrast = options.contrast or contrasts[0]
    if contrast not in contrasts:
        problems.add(
            "E-RULE-003", "The plan has no such contrast.", remedy=nearest(contrast, contrasts),
            column="contrast", value=contrast,
        )  # fmt: skip
    known = [f"{a}:{f}" for a, data in result.study.assays.items() for f in data.var_names]
    for reference in features:
        if reference not in known:
            problems.add(
                "E-RULE-003", "The result has no such feature.", remedy=nearest(reference, known),
                column="features", value=reference,
            )  # fmt: skip
    problems.raise_if_any()
    out = []
    for reference in features:
        assay, _, name = reference.partition(":")
        own = noise.get(reference, noise.get(name))
        kind = str(cast("pd.DataFrame", result.study.assays[assay].var).loc[name, "kind"])
        if own is not None and own.scale != scale_of(kind):
            problems.add(
                "E-RULE-003",
                f"The noise is on the {own.scale} scale, the feature on {scale_of(kind)}.",
                remedy="Estimate or borrow it on the feature's scale.",
                column="noise",
                value=reference,
            )
        out.append(_feature(result, assay, name, contrast=contrast, noise=own, facts=facts))
    problems.raise_if_any()
    return out


def _feature(
    result: PDResult, assay: str, name: str, *, contrast: str, noise: Noise | None, facts: Declared
) -> Feature:
    data = result.study.assays[assay]
    frame = cast("pd.DataFrame", data.obs)
    y = pd.Series(np.asarray(data.layers["y"], dtype=float)[:, data.var_names.get_loc(name)], frame.index)
    rows = result.pairs
    rows = rows[(rows["assay"] == assay) & (rows["contrast"] == contrast)].set_index("participant_id")
    people = result.study.participants.index.to_numpy(dtype=object)
    batch = staining_runs(result.study, assay)
    values = {"baseline": np.full(len(people), np.nan), "on": np.full(len(people), np.nan)}
    why, shares = np.full(len(people), "", dtype=object), np.full(len(people), None, dtype=object)
    for i, person in enumerate(people):
        if person not in rows.index:
            why[i] = "no biopsy in this assay"
            continue
        pair = rows.loc[person]
        if not pair["evaluable"]:
            why[i] = str(pair["reason"])
            continue
        ids = [str(pair["baseline_biopsy"]), str(pair["on_biopsy"])]
        values["baseline"][i], values["on"][i] = (float(y.get(b, np.nan)) for b in ids)
        if not np.isfinite([values["baseline"][i], values["on"][i]]).all():
            why[i] = "no value of this feature in a biopsy of the pair"
        shares[i] = facts.pairs_share_run
        runs = [batch.get(b) for b in ids]
        if shares[i] is None and not any(pd.isna(run) for run in runs):
            shares[i] = str(runs[0]) == str(runs[1])
    told = result.biopsies
    told = told[(told["assay"] == assay) & (told["contrast"] == contrast) & (told["set"] == "strict")]
    first = told.loc[told["biopsy_id"].isin(rows["baseline_biopsy"].dropna()), "visit"]
    used = told[told["used"].astype(bool) & told["visit"].isin(first)]["biopsy_id"]
    baselines = y.reindex(used.to_numpy()).dropna().to_numpy(dtype=float)
    var = cast("pd.DataFrame", data.var)
    kind = str(var.loc[name, "kind"])
    label = str(var.loc[name, "label"]) if "label" in var else name
    way = expected_direction_of(result.study, assay, name)
    return Feature(
        assay, name, contrast, people, values["baseline"], values["on"], baselines, why, shares, noise,
        scale_of(kind), kind, label, way, facts=facts,
    )  # fmt: skip


def expected_direction_of(study: Study, assay: str, name: str) -> float:
    """The way a feature is expected to move: 1 up, -1 down, 0 where nothing is said."""
    var = cast("pd.DataFrame", study.assays[assay].var)
    told: Any = var.loc[name, "expected_direction"] if "expected_direction" in var else 0
    return 0.0 if pd.isna(told) else float(told)


def staining_runs(study: Study, assay: str) -> pd.Series:
    """The staining run of each biopsy of an assay: the assay's own, else the column batch of biopsies.csv.

    The same one that the word ``batch`` of a formula means.
    """
    own = cast("pd.DataFrame", study.assays[assay].obs)
    if "batch" in own:
        return own["batch"]
    sheet = study.biopsies
    empty = pd.Series(None, index=own.index, dtype=object)
    return sheet["batch"].reindex(own.index) if "batch" in sheet else empty


def doses_of(result: PDResult, options: DecideOptions) -> list[tuple[str, NDArray[np.bool_]]]:
    """Dose levels with a flag for each participant; participants without a dose are a level of their own."""
    people = result.study.participants
    if options.by is None or (options.by not in people and options.by == DecideOptions().by):
        return []
    if options.by not in people:
        problems = Problems()
        problems.add(
            "E-RULE-003", "participants.csv has no such column.", remedy=nearest(options.by, people.columns),
            column="by", value=options.by,
        )  # fmt: skip
        problems.raise_if_any()
    column = people[options.by]
    levels = sorted(column.dropna().unique().tolist())
    out = []
    for level in levels:
        shown = f"{level:g}" if isinstance(level, float) else str(level)
        out.append((f"{options.by} = {shown}", (column == level).to_numpy(dtype=bool)))
    if column.isna().any():
        out.append((f"{options.by} not recorded", column.isna().to_numpy(dtype=bool)))
    return out
