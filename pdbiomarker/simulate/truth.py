"""The truth of a simulated trial as tables: what was planted, and what a perfect measurement would find.

``truth/features.csv`` has three values per feature, on the model scale (log2; logit for proportions):

- ``true``: the population effect in the model that the trial was drawn from;
- ``true_participants``: the mean of the true effects of the participants who were drawn;
- ``planted``: the mean over evaluable pairs of what was planted (a perfect measurement of these
  biopsies: it holds their sampling noise, too).

Genes have the fold change of their transcripts against the unchanged genes (what TMM scales to); the
cytolytic score CYT has that of counts per million of all reads, which is a little less, because the affected
genes take a larger part of the library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.simulate.design import BASELINE, ON_TREATMENT, TrialDesign
from pdbiomarker.simulate.trial import NEST_RATIO, Trial

__all__ = ["biopsy_truth", "cell_summary", "feature_truth", "participant_truth"]


def cell_summary(trial: Trial) -> pd.DataFrame:
    """What is planned for every biopsy: the columns of :func:`biopsy_truth` that cells and areas give.

    A slide that was drawn replaces its row by what was really planted.
    """
    rows = trial.biopsies
    n_positive = rows["n_cd8_stroma"] + rows["n_cd8_nest"]
    return pd.DataFrame(
        {
            "biopsy_id": rows["biopsy_id"],
            "area_mm2": rows["area_target"],
            "nest_area_mm2": rows["area_target"] * rows["nest_fraction"],
            "n_cells": rows["n_cells"],
            "n_tumor": rows["n_tumor"],
            "n_positive": n_positive,
            "n_positive_nest": rows["n_cd8_nest"],
            "hscore": 100 * n_positive * (0.15 + 2 * 0.35 + 3 * 0.5) / rows["n_cells"],
        }
    ).set_index("biopsy_id")


def biopsy_truth(trial: Trial, summary: pd.DataFrame) -> pd.DataFrame:
    """One row per planned biopsy: its fate, the density it was drawn from, and what was planted.

    Areas are in mm2, densities in cells per mm2, `pct` in 0-1, `hscore` in 0-300. A biopsy that was not
    collected has no values, and `missing_reason` says why.
    """
    rows = trial.biopsies
    facts = summary.loc[rows["biopsy_id"]].reset_index(drop=True)
    stroma_area = facts["area_mm2"] - facts["nest_area_mm2"]
    ratio = rows["nest_fraction"] * NEST_RATIO + 1 - rows["nest_fraction"]
    stroma = rows["density_expected"] / ratio
    truth = pd.DataFrame(
        {
            "biopsy_id": rows["biopsy_id"],
            "participant_id": rows["participant_id"],
            "visit": rows["visit"],
            "collected": rows["collected"],
            "missing_reason": rows["missing_reason"],
            "adequate": rows["adequate"],
            "in_window": rows["in_window"],
            "slide_id": rows["slide_id"].where(rows["collected"], ""),
            "n_libraries": rows["n_libraries"].where(rows["collected"], 0),
            "expected_density": rows["density_expected"],
            "expected_density_nest": stroma * NEST_RATIO,
            "expected_density_stroma": stroma,
            **{name: facts[name] for name in facts},
            "density": facts["n_positive"] / facts["area_mm2"],
            "density_nest": facts["n_positive_nest"] / facts["nest_area_mm2"],
            "density_stroma": (facts["n_positive"] - facts["n_positive_nest"]) / stroma_area,
            "pct": facts["n_positive"] / facts["n_cells"],
            "tumor_fraction": facts["n_tumor"] / facts["n_cells"],
        }
    )
    values = list(truth.columns[9:])
    for name in values:
        truth[name] = truth[name].astype(float).where(truth["collected"])
    for name in ("n_cells", "n_tumor", "n_positive", "n_positive_nest"):
        truth[name] = truth[name].astype("Int64")
    return truth


def participant_truth(trial: Trial) -> pd.DataFrame:
    """One row per participant: random effects (log2), the true fold change, and whether it is two or more."""
    people = trial.participants
    return pd.DataFrame(
        {
            "participant_id": people["participant_id"],
            "dose_mg": people["dose_mg"],
            "baseline_log2_density": people["baseline_log2"],
            "baseline_effect_log2": people["baseline_log2"] - people["baseline_log2"].mean(),
            "true_change_log2": people["true_change_log2"],
            "true_ratio": 2.0 ** people["true_change_log2"],
            "responder": people["true_change_log2"] >= 1.0,
        }
    )


def _pair_differences(truth: pd.DataFrame, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """On treatment minus screening, one value per evaluable pair (collected, adequate, in the window)."""
    good = truth["collected"] & truth["adequate"] & truth["in_window"]
    part = truth.assign(value=values)[good].drop_duplicates(["participant_id", "visit"])
    wide = part.pivot_table(index="participant_id", columns="visit", values="value", aggfunc="first")
    if BASELINE not in wide or ON_TREATMENT not in wide:
        return np.empty(0)
    return (wide[ON_TREATMENT] - wide[BASELINE]).dropna().to_numpy()


def _composition(genes: pd.DataFrame, effect: float) -> float:
    """How much log2 of the whole library rises: what a share per million loses where other genes gain."""
    alpha = genes["alpha"].to_numpy(dtype=np.float64)
    change = (genes["lfc"] + genes["beta"] * effect).to_numpy(dtype=np.float64)
    return float(np.log2((2.0 ** (alpha + change)).sum() / (2.0**alpha).sum()))


def feature_truth(
    trial: Trial, design: TrialDesign, genes: pd.DataFrame, biopsies: pd.DataFrame
) -> pd.DataFrame:
    """One row per feature with the effect that an analysis should find; see the module's text.

    Parameters
    ----------
    trial : Trial
        The trial.
    design : TrialDesign
        Its effects.
    genes : DataFrame
        From :func:`draw_genes`.
    biopsies : DataFrame
        From :func:`biopsy_truth`.

    Returns
    -------
    DataFrame
        ``assay, feature, kind, contrast, true, true_participants, planted,
        true_ratio`` (GMR, fold change or odds ratio) and ``affected``.
    """
    effect, mean = np.log2(design.gmr), float(trial.participants["true_change_log2"].mean())

    def number(name: str) -> npt.NDArray[np.float64]:
        return biopsies[name].to_numpy(dtype=np.float64, na_value=np.nan)

    def density(count: npt.NDArray[np.float64], area: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.log2((count + 0.5) / area)

    def ihc(feature: str, kind: str, values: npt.NDArray[np.float64], scale: float) -> dict[str, object]:
        found = _pair_differences(biopsies, values)
        return {
            "assay": "ihc",
            "feature": feature,
            "kind": kind,
            "true": scale * effect,
            "true_participants": scale * mean,
            "planted": float(found.mean()) if found.size else np.nan,
        }

    positive, nest = number("n_positive"), number("n_positive_nest")
    area, nest_area = number("area_mm2"), number("nest_area_mm2")
    odds = np.log((positive + 0.5) / (number("n_cells") - positive + 0.5))
    rows = [
        ihc("CD8_density_tissue", "density", density(positive, area), 1.0),
        ihc("CD8_density_nest", "density", density(nest, nest_area), 1.0),
        ihc("CD8_density_stroma", "density", density(positive - nest, area - nest_area), 1.0),
        ihc("CD8_pct_tissue", "proportion", odds, float(np.log(2.0))),
        ihc("CD8_hscore_tissue", "score", number("hscore"), np.nan),
    ]
    cyt = genes[genes["feature"].isin(["GZMA", "PRF1"])]
    counts = pd.DataFrame(
        {
            "assay": "rna",
            "feature": genes["feature"],
            "kind": "count",
            "true": genes["true_estimate"],
            "true_participants": genes["lfc"] + genes["beta"] * mean,
        }
    )
    signature = {
        "assay": "rna_signatures",
        "feature": "CYT",
        "kind": "signature",
        "true": float(cyt["true_estimate"].mean()) - _composition(genes, effect),
        "true_participants": float(cyt["beta"].mean()) * mean - _composition(genes, mean),
    }
    table = pd.concat([pd.DataFrame([*rows, signature]), counts], ignore_index=True)
    table.insert(3, "contrast", "on_treatment")
    base = table["kind"].map({"density": 2.0, "count": 2.0, "proportion": np.e}).astype(float)
    table["true_ratio"] = base ** table["true"]
    table["affected"] = table["true"].ne(0)
    return table
