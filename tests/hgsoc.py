"""The study folder of a multi-biopsy ovarian cancer cohort (1 to 4 biopsies before and after), for tests.

The data are third-party and are read where they lie; nothing of them is kept in this repository.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pdbiomarker.tables import write_table

STUDY_YAML = """\
id: EGA-multibiopsy
visits: {Pre: {}, Post: {}}
assays:
  rna: {kind: count, file: counts.csv.gz}
"""

PLAN_YAML = """\
formula: "~ visit + (1|participant) + (1|participant:visit)"
contrasts: {post: Post - Pre}
replicates: all
"""


def build_hgsoc_study(shared_data: Callable[[str], Path], path: Path, *, plan: str = PLAN_YAML) -> Path:
    """Write the study folder: 80 biopsies, 770 genes."""
    path.mkdir(parents=True, exist_ok=True)
    source = shared_data("hgsoc_multibiopsy/ega_multibiopsy_samples.csv")
    samples = pd.read_csv(source, dtype=str, keep_default_na=False)
    biopsies = samples.rename(
        columns={"participant": "participant_id", "sample_id": "biopsy_id", "timepoint": "visit"}
    )
    biopsies["library"] = biopsies["biopsy_id"]
    participants = pd.DataFrame({"participant_id": sorted(set(biopsies["participant_id"]))})
    write_table(participants, path / "participants.csv")
    columns = ["participant_id", "biopsy_id", "visit", "author_tag", "library"]
    write_table(biopsies[columns].reset_index(drop=True), path / "biopsies.csv")
    shutil.copyfile(shared_data("hgsoc_multibiopsy/ega_multibiopsy_counts.csv.gz"), path / "counts.csv.gz")
    (path / "study.yaml").write_text(STUDY_YAML, encoding="utf-8", newline="\n")
    (path / "plan.yaml").write_text(plan, encoding="utf-8", newline="\n")
    return path
