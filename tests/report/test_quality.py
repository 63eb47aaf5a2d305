"""Tables of quality: their headings are words, and what is usual stands beside the numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdbiomarker.ihc.measure import SHARP, SHARP_FIELDS
from pdbiomarker.report.quality import quality_table


def _expression(flags: list[str]) -> pd.DataFrame:
    n = len(flags)
    named = {
        "biopsy_id": [f"B{i}" for i in range(n)],
        "assay": "rna",
        "visit": "Pre",
        "batch": "",
        "site": "",
    }
    numbers = {
        "library_size": 1e6, "genes_detected": 1800.0, "top_50_share": 0.3, "handling_score": np.nan,
        "immune_stroma": 0.1, "pc1": 1.0, "pc2": 2.0, "pc3": 3.0,
    }  # fmt: skip
    return pd.DataFrame({**named, **numbers, "flags": flags}, index=range(n))


def test_focus_stands_with_what_sharp_slides_have() -> None:
    slides = pd.DataFrame({"slide_id": ["S1"], "biopsy_id": ["B1"], "focus": [8.1], "focus_ratio": [0.643]})
    table = quality_table("slides", slides)
    assert f"sharp fields have {SHARP_FIELDS[0]:g} to {SHARP_FIELDS[1]:g}" in table.caption
    assert f"below {SHARP:g} a slide is reported as out of focus" in table.caption
    at = [c.label for c in table.columns].index("focus")
    assert table.rows[0][at] == 0.643  # the number that is judged, not the strength of its edges
    assert "Focus" not in quality_table("slides", slides.drop(columns="focus_ratio")).caption


def test_what_is_unusual_is_told_in_few_words() -> None:
    far = (
        "share of the 50 most counted genes +7.6 robust SD from the median; first component +12.2 robust SD "
    )
    far += "from the median"
    table = quality_table("rna", _expression([far, "", ""]))
    labels = [c.label for c in table.columns]
    assert labels[-1] == "unusual"
    assert table.rows[0][-1] == "share of the 50 most counted genes +7.6; first component +12.2"
    assert "robust standard deviations from the median" in table.caption
    assert "n = 3 biopsies, 1 unusual" in table.caption
    assert {"assay", "batch", "site"} & set(labels) == set()  # one assay, and nothing recorded
    assert table.rows[0][labels.index("reads")] == 1_000_000


def test_components_say_what_each_share_is_of() -> None:
    parts = {"assay": ["rna"], "component": ["pc1"], "share": [0.26]}
    parts |= {"visit": [0.003], "batch": [np.nan], "site": [0.4]}
    table = quality_table("rna_components", pd.DataFrame(parts))
    assert [c.label for c in table.columns] == [
        *("component", "share of the variance of expression"),
        *("of it explained by visit", "of it explained by batch", "of it explained by site"),
    ]
    assert table.rows == (("1", 0.26, 0.003, None, 0.4),)
    assert "R squared" in table.caption
    assert "_" not in table.caption


def test_other_tables_have_no_underscore_in_their_caption() -> None:
    table = quality_table("plate_checks", pd.DataFrame({"plate": ["P1"], "spots": [3]}))
    assert table.caption == "Quality: plate checks (n = 1)."
