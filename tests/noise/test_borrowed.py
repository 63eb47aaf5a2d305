"""Noise borrowed from other studies."""

from __future__ import annotations

import numpy as np
import pytest
from builders import assay, study_folder, text

from pdbiomarker.errors import InputError
from pdbiomarker.noise import borrow_noise, borrowed_noises, choose_noise
from pdbiomarker.study import read_study

ENTRY = """
version: "1"
entries:
  - {feature: "CD8_density*", scale: log2, sigma: 0.7, df: 20, basis: replicate biopsies, bound: none,
     population: here, source: a paper}
  - {feature: CD8_density_nest, scale: log2, sigma: 0.9, df: 8, basis: regions, bound: lower,
     population: there, source: another paper, note: small}
"""


def test_every_shipped_entry_has_a_source_and_can_be_borrowed():
    table = borrowed_noises()
    assert len(table) >= 14
    assert table["source"].str.len().min() > 10
    usable = table[table["scale"].isin(["log2", "logit", "identity"])]
    for row in usable.itertuples():
        noise = borrow_noise(row.feature, row.scale)
        assert noise.borrowed
        assert noise.source == row.source
        assert "borrowed" in repr(noise)
        assert noise.low < noise.sigma < noise.high


def test_ki67_of_untreated_pairs_is_the_published_sd_over_root_two():
    """Gandini 2014: change +2.2, SD 9.2 percentage points in 269 pairs."""
    row = borrowed_noises().set_index("feature").loc["Ki67_pct*"]
    assert row["sigma"] == pytest.approx(9.2 / np.sqrt(2), abs=1e-3)
    assert row["df"] == 268
    with pytest.raises(InputError, match="another scale: percentage points"):
        borrow_noise("Ki67_pct", "logit")


def test_a_name_fits_before_a_pattern(tmp_path):
    file = text(tmp_path / "noise.yaml", ENTRY)
    assert borrow_noise("CD8_density_nest", "log2", path=file).sigma == 0.9
    other = borrow_noise("CD8_density_tissue", "log2", path=file)
    assert (other.sigma, other.df, other.source) == (0.7, 20.0, "a paper")


@pytest.mark.parametrize(
    ("kind", "probes", "lent"),
    [("count", False, True), ("intensity", True, True), ("intensity", False, False)],
)
def test_the_noise_of_a_transcript_is_not_lent_to_a_protein_of_its_name(tmp_path, kind, probes, lent):
    rows = "participant_id,biopsy_id,visit\nP1,B1,Pre\nP1,B2,On\n"
    folder = study_folder(tmp_path, biopsies=rows, study="id: T\nvisits: {Pre: {}, On: {}}\n")
    study = read_study(folder)
    measured = assay({"B1": [4.0], "B2": [9.0]}, ["GZMB"], kind=kind)
    if probes:
        measured.var["code_class"] = "endogenous"
    noise, reasons = choose_noise(study.with_assay("x", measured), ["x:GZMB"])
    assert ("x:GZMB" in noise, "x:GZMB" in reasons) == (lent, not lent)
    if lent:
        assert noise["x:GZMB"].borrowed
    else:
        assert "There is one of transcripts, which this feature is not." in reasons["x:GZMB"]


def test_what_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(InputError) as caught:
        borrow_noise("CD8B", "log2")
    (problem,) = caught.value.problems
    assert problem.code == "E-NOISE-003"
    assert "CD8A" in problem.remedy


@pytest.mark.parametrize(
    ("old", "new"),
    [("sigma: 0.7", "sigma: -1"), ("source: a paper", "sorce: x"), ("basis: regions", "basis: x")],
)
def test_a_faulty_file_is_refused_with_its_line(tmp_path, old, new):
    with pytest.raises(InputError) as caught:
        borrowed_noises(text(tmp_path / "noise.yaml", ENTRY.replace(old, new)))
    assert {p.code for p in caught.value.problems} == {"E-NOISE-004"}
    assert all(p.row for p in caught.value.problems)
