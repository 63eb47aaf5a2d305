"""The study folder of Riaz et al. 2017 (melanoma, nivolumab, before and on treatment), for tests.

The data are third-party and are read where they lie; nothing of them is kept in this repository.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pdbiomarker.tables import write_table

STUDY_YAML = """\
id: CA209-038
data_cutoff: 2017-10-12
visits: {Pre: {}, On: {}}      # only labels are known
assays:
  rna: {kind: count, file: counts.csv.gz, genes: genes.csv, signatures: [CYT]}
"""

PLAN_YAML = """\
formula: "~ visit + (1|participant)"
contrasts: {on_treatment: On - Pre}
families: {primary: [rna_signatures:CYT], genes: rna}
ddf: kenward-roger
seed: 1
"""


def build_riaz_study(shared_data: Callable[[str], Path], path: Path, *, plan: str = PLAN_YAML) -> Path:
    """Write the study folder: 65 participants, 108 biopsies, 109 libraries (Pt109_On has two)."""
    path.mkdir(parents=True, exist_ok=True)
    samples = pd.read_csv(shared_data("riaz2017/samples.csv"), dtype=str, keep_default_na=False)
    people = pd.read_csv(shared_data("riaz2017/participants.csv"), dtype=str, keep_default_na=False)
    participants = people.rename(columns={"participant": "participant_id", "clin_cohort": "cohort"})
    samples["biopsy_id"] = samples["participant"] + "_" + samples["timepoint"]
    libraries = samples.rename(columns={"sample_id": "library_id"})[["library_id", "biopsy_id", "flag"]]
    biopsies = samples.rename(columns={"participant": "participant_id", "timepoint": "visit"})
    biopsies = biopsies[["participant_id", "biopsy_id", "visit", "response3"]].drop_duplicates("biopsy_id")
    for name, frame in (("participants", participants), ("biopsies", biopsies), ("libraries", libraries)):
        write_table(frame.reset_index(drop=True), path / f"{name}.csv")
    for name in ("counts.csv.gz", "genes.csv"):
        shutil.copyfile(shared_data(f"riaz2017/{name}"), path / name)
    (path / "study.yaml").write_text(STUDY_YAML, encoding="utf-8", newline="\n")
    (path / "plan.yaml").write_text(plan, encoding="utf-8", newline="\n")
    return path
