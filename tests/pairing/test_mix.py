"""Of what tumours, sites and lesions the pairs are: counted by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from builders import study_folder

from pdbiomarker.pairing import MIX_COLUMNS, Chooser, pair_mix, pair_table
from pdbiomarker.study import read_study

PEOPLE = """
participant_id,tumor_type
P1,melanoma
P2,melanoma
P3,NSCLC
P4,NSCLC
P5,
"""
BIOPSIES = """
participant_id,biopsy_id,visit,site,lesion_id
P1,P1a,screening,liver,L1
P1,P1b,C2D1,liver,L1
P2,P2a,screening,liver,L1
P2,P2b,C2D1,lymph node,L2
P3,P3a,screening,skin,
P3,P3b,C2D1,skin,L1
P4,P4a,screening,liver,L1
P5,P5b,C2D1,skin,L1
"""


@pytest.fixture
def mix(tmp_path):
    study = read_study(study_folder(tmp_path, biopsies=BIOPSIES, participants=PEOPLE))
    pairs = pair_table(Chooser(study), ("screening", "C2D1")).assign(contrast="on")
    return pair_mix(study, pairs)


def counts(mix, characteristic):
    rows = mix[mix["characteristic"] == characteristic]
    lost = [None if pd.isna(n) else int(n) for n in rows["n_unpaired"]]
    return dict(zip(rows["level"], zip(rows["n_paired"].tolist(), lost, strict=True), strict=True))


def test_paired_and_unpaired_are_counted(mix):
    assert list(mix.columns) == list(MIX_COLUMNS)
    assert counts(mix, "tumour type") == {"melanoma": (2, 0), "NSCLC": (1, 1), "not recorded": (0, 1)}
    assert counts(mix, "site of the baseline biopsy") == {
        "liver": (2, 1), "skin": (1, 0), "no usable biopsy": (0, 1),
    }  # fmt: skip
    assert counts(mix, "site of the biopsy on treatment") == {
        "liver": (1, 0), "lymph node": (1, 0), "skin": (1, 1), "no usable biopsy": (0, 1),
    }  # fmt: skip


def test_same_site_and_lesion_are_of_pairs_alone(mix):
    assert counts(mix, "same site") == {"yes": (2, None), "no": (1, None)}
    assert counts(mix, "same lesion") == {"no": (1, None), "yes": (1, None), "not recorded": (1, None)}
    for _, rows in mix.groupby("characteristic"):
        assert rows["n_paired"].sum() == 3
        assert rows["share_paired"].sum() == pytest.approx(1)


def test_a_study_without_pairs_and_without_columns(tmp_path):
    biopsies = "participant_id,biopsy_id,visit\nP1,A,screening\n"
    study = read_study(study_folder(tmp_path, biopsies=biopsies))
    mix = pair_mix(study, pair_table(Chooser(study), ("screening", "C2D1")).assign(contrast="on"))
    assert set(mix["level"]) == {"not recorded", "no usable biopsy"}
    assert mix.loc[mix["characteristic"] == "tumour type", "n_unpaired"].tolist() == [1]
    assert pair_mix(study, pd.DataFrame()).empty
