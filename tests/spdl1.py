"""The study folder of serial soluble PD-L1 in CheckMate 009 and 038 (two visits), for tests.

The data are third-party and are read where they lie; nothing of them is kept in this repository.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pdbiomarker.tables import write_table

STUDY_YAML = """\
id: sPDL1
visits: {Pre: {}, Post1: {}, Post2: {}}
assays:
  serum: {kind: intensity, file: spdl1.csv, features: features.csv, limits: censored}
"""

PLAN_YAML = """\
formula: "~ visit + (1|participant)"
contrasts: {early: Post1 - Pre, late: Post2 - Pre}
families: {primary: [serum:sPDL1]}
"""


def build_spdl1_study(shared_data: Callable[[str], Path], path: Path) -> Path:
    """Write the study folder; values above the ULOQ are written as ``>`` and the run's limit."""
    path.mkdir(parents=True, exist_ok=True)
    long = pd.read_csv(shared_data("spdl1_longitudinal/spdl1_long.csv"), dtype=str, keep_default_na=False)
    long["biopsy_id"] = long["USUBJID"] + "_" + long["Timepoint"]
    long["cell"] = [
        f">{value}" if flag == "1" else value
        for value, flag in zip(long["sPDL1"], long["ULOQflag"], strict=True)
    ]
    biopsies = long.rename(columns={"USUBJID": "participant_id", "Timepoint": "visit"})
    write_table(
        biopsies[["participant_id", "biopsy_id", "visit"]].reset_index(drop=True), path / "biopsies.csv"
    )
    people = biopsies[["participant_id", "Dataset"]].drop_duplicates().reset_index(drop=True)
    write_table(people.rename(columns={"Dataset": "cohort"}), path / "participants.csv")
    cells = ",".join(long["cell"])
    text = f"feature,{','.join(long['biopsy_id'])}\nsPDL1,{cells}\n"
    (path / "spdl1.csv").write_text(text, encoding="utf-8")
    features = "feature,label,unit\nsPDL1,soluble PD-L1,pg/mL\n"
    (path / "features.csv").write_text(features, encoding="utf-8")
    (path / "study.yaml").write_text(STUDY_YAML, encoding="utf-8")
    (path / "plan.yaml").write_text(PLAN_YAML, encoding="utf-8")
    return path
