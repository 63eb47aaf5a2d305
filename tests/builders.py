"""Small study folders, written as text, for tests."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

STUDY_YAML = """
id: TEST-1
visits:
  screening: [-28, -1]
  C1D15: {day: 15, window: 3}
  C2D1: {day: 29, window: 7}
"""

PLAN_YAML = """
formula: "~ visit + (1|participant)"
contrasts: {on_treatment: C2D1 - screening}
"""


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(content).lstrip("\n"), encoding="utf-8", newline="\n")
    return path


def study_folder(
    path: Path,
    *,
    biopsies: str,
    participants: str = "",
    study: str = STUDY_YAML,
    plan: str = PLAN_YAML,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a study folder; participants default to those that the biopsies name."""
    if not participants:
        rows = [line.split(",")[0] for line in textwrap.dedent(biopsies).strip().splitlines()[1:]]
        participants = "participant_id\n" + "\n".join(dict.fromkeys(rows)) + "\n"
    text(path / "study.yaml", study)
    text(path / "plan.yaml", plan)
    text(path / "participants.csv", participants)
    text(path / "biopsies.csv", biopsies)
    for name, content in (files or {}).items():
        text(path / name, content)
    return path


def assay(
    values: Mapping[str, Sequence[float]],
    features: Sequence[str],
    *,
    kind: str | Sequence[str] = "score",
    numerator: Mapping[str, Sequence[float]] | None = None,
    denominator: Mapping[str, Sequence[float]] | None = None,
) -> ad.AnnData:
    """An assay from biopsy -> values; `kind` is one for all features or one each."""
    kinds = [kind] * len(features) if isinstance(kind, str) else list(kind)
    var = pd.DataFrame(
        {
            "kind": kinds,
            "unit": "",
            "lower": np.nan,
            "upper": np.nan,
            "lloq": np.nan,
            "family": "",
            "label": list(features),
            "expected_direction": 0,
        },
        index=pd.Index(list(features), dtype=object),
    )
    obs = pd.DataFrame(index=pd.Index(list(values), dtype=object))
    adata = ad.AnnData(np.array([list(v) for v in values.values()], dtype=float), obs=obs, var=var)
    for name, table in (("numerator", numerator), ("denominator", denominator)):
        if table is not None:
            adata.layers[name] = np.array([list(table[b]) for b in values], dtype=float)
    return adata
