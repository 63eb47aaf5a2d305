"""Quality of transcripts in the report: suspects with their evidence, and their figures."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pandas as pd

from pdbiomarker.report.build import build
from pdbiomarker.report.content import Figure, Table, Text


def _identity(verdicts: list[str]) -> pd.DataFrame:
    n = len(verdicts)
    return pd.DataFrame(
        {
            "library_id": [f"LIB{k}" for k in range(n)],
            "participant_id": [f"P{k:02d}" for k in range(n)],
            "sex": "F",
            "sex_rna": "M",
            "sex_check": "contradicts",
            "y_log2_cpm": 5.0,
            "xist_log2_cpm": -5.0,
            "own_similarity": 0.1,
            "other_similarity": 0.9,
            "verdict": verdicts,
            "likely_owner": "P99",
            "evidence": "Y transcripts in a participant recorded as female",
        }
    )


def _rna() -> pd.DataFrame:
    n = 8
    return pd.DataFrame(
        {
            "biopsy_id": [f"B{k}" for k in range(n)],
            "assay": "rna",
            "visit": ["pre", "on"] * 4,
            "batch": ["R1", "R1", "R2", "R2"] * 2,
            "site": "liver",
            "pc1": np.arange(float(n)),
            "pc2": 1.0,
            "flags": "",
        }
    )


def test_suspects_stand_in_a_table_with_their_evidence(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    identity = _identity(["consistent", "suspect", "unconfirmed"])
    changed = fake.dataclasses.replace(result, qc={"identity": identity, "rna": _rna()})
    document = build(result.study, changed)
    (section,) = [s for s in document.sections if s.key == "quality"]
    (table,) = [b for b in section.blocks if isinstance(b, Table) and b.key == "identity-suspects"]
    assert [row[0] for row in table.rows] == ["LIB1"]
    assert "P99" in table.rows[0]
    assert "Y transcripts in a participant recorded as female" in table.rows[0]
    assert "1 consistent, 1 suspect, 1 unconfirmed" in table.caption
    figures = [b for b in section.blocks if isinstance(b, Figure)]
    assert [f.key for f in figures] == [
        *("identity-sex", "identity-likeness", "components-rna-visit", "components-rna-batch"),
    ]
    for figure in figures:
        assert figure.draw().axes  # a figure that cannot be drawn raises


def test_without_a_suspect_it_says_so(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    changed = fake.dataclasses.replace(result, qc={"identity": _identity(["consistent", "single"])})
    (section,) = [s for s in build(result.study, changed).sections if s.key == "quality"]
    texts = [p for b in section.blocks if isinstance(b, Text) for p in b.paragraphs]
    assert any("1 consistent, 1 single. No suspect." in t for t in texts)
