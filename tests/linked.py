"""A small analysed trial with dose, response, survival, two tumour assays and blood, for tests of links."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from builders import assay, study_folder

from pdbiomarker import PDResult, Plan, pd_change, read_study

STUDY = """
id: LINK-1
visits:
  screening: [-28, -1]
  C2D1: {day: 29, window: 7}
adequacy: {viable_tumor_cells: 100}
"""
PLAN = """
formula: "~ visit + (1|participant)"
contrasts: {on_treatment: C2D1 - screening}
families: {primary: [ihc:CD8_density], other: [rna, serum]}
"""
DOSES = (1, 3, 10, 30)


def trial(
    path: Path,
    *,
    n: int = 24,
    seed: int = 7,
    plan: str = PLAN,
    blood: bool = True,
    swap: bool = False,
    columns: bool = True,
) -> PDResult:
    """CD8 density rises with log10 dose; CD8A follows it; serum IL-15 does not; P01 has no second biopsy."""
    draw = np.random.default_rng(seed)
    people = [f"P{k + 1:02d}" for k in range(n)]
    dose = np.array([DOSES[k % len(DOSES)] for k in range(n)], dtype=float)
    start, rise = draw.normal(7, 1, n), 0.2 + 1.2 * np.log10(dose) + draw.normal(0, 0.5, n)
    level = {"S": start, "T": start + rise}
    reply = np.array(["PD", "SD", "PR", "CR", "NE"])[
        np.clip((rise + draw.normal(0, 0.7, n)).round().astype(int), 0, 3)
    ]
    reply[1] = "NE"
    pfs = np.ceil(draw.exponential(150, n)) + 1
    sheet = "participant_id,dose_mg"
    sheet += ",best_response,best_size_change_pct,pfs_days,pfs_event\n" if columns else "\n"
    for k, person in enumerate(people):
        sheet += f"{person},{dose[k]:g}"
        size = 40 - 40 * rise[k] + draw.normal(0, 15)
        sheet += f",{reply[k]},{size:.1f},{pfs[k]:.0f},{'yes' if k % 4 else 'no'}\n" if columns else "\n"
    rows, values, genes, serum = (
        "participant_id,biopsy_id,visit,study_day,site,viable_tumor_cells\n",
        {},
        {},
        {},
    )
    for k, person in enumerate(people):
        for letter, visit, day in (("S", "screening", -7), ("T", "C2D1", 29)):
            if blood:
                rows += f"{person},{person}-B{letter},{visit},{day},blood,\n"
                serum[f"{person}-B{letter}"] = [2.0 ** (3 + draw.normal() + (letter == "T"))]
            if person == "P01" and letter == "T":
                continue
            rows += f"{person},{person}-{letter},{visit},{day + k % 3},liver,500\n"
            values[f"{person}-{letter}"] = [2.0 ** level[letter][k]]
            genes[f"{person}-{letter}"] = [2.0 ** (0.8 * level[letter][k] - 2 + draw.normal(0, 0.3))]
    if swap:
        genes["P05-T"] = [genes["P05-T"][0] * 64]
    extra = "assays:\n  serum: {kind: intensity, file: serum.csv, specimen: blood}\n" if blood else ""
    ids = ",".join(serum)
    files = (
        {"serum.csv": f"feature,{ids}\nIL15,{','.join(str(v[0]) for v in serum.values())}\n"} if blood else {}
    )
    kept = plan if blood else plan.replace(", serum", "")
    folder = study_folder(
        path, biopsies=rows, participants=sheet, study=STUDY + extra, plan=kept, files=files
    )
    study = read_study(folder)
    # Areas of one mm2 and counts of the density: the half cell of the logarithm has no weight.
    density = assay(
        values, ["CD8_density"], kind="density", numerator=values, denominator={b: [1.0] for b in values}
    )
    study = study.with_assay("ihc", density)
    study = study.with_assay("rna", assay(genes, ["CD8A"], kind="intensity"))
    if blood:
        study = study.with_assay("serum", assay(serum, ["IL15"], kind="intensity"))
    return pd_change(study, Plan.read(folder / "plan.yaml", study))


def changes_of(result: PDResult, feature: str) -> pd.Series:
    rows = result.changes[(result.changes["feature"] == feature) & (result.changes["set"] == "strict")]
    return rows.set_index("participant_id")["change"].sort_index()
