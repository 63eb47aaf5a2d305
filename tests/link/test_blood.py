"""Blood beside tumour: samples kept apart, changes related."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from builders import study_folder
from linked import STUDY, changes_of, trial
from scipy import stats

from pdbiomarker import PDResult, link, read_study
from pdbiomarker.errors import StudyError
from pdbiomarker.pairing import adequacy, specimen_of, usable


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> PDResult:
    return trial(tmp_path_factory.mktemp("blood") / "study")


def test_changes_are_related_by_participant_with_the_caution(result: PDResult) -> None:
    found = link.blood_tumor(result, "serum:IL15", "ihc:CD8_density")
    serum, tumor = changes_of(result, "IL15"), changes_of(result, "CD8_density")
    row = found.row("Spearman correlation of changes")
    expected = stats.spearmanr(serum[tumor.index], tumor).statistic
    assert row["estimate"] == pytest.approx(expected, abs=1e-12)
    assert row["n"] == 23
    assert link.NO_SURROGATE in found.note
    lost = found.points[~found.points["used"]]
    assert lost[["participant_id", "why"]].to_numpy().tolist() == [["P01", "no pair in tumour"]]


def test_blood_samples_are_no_biopsies_of_the_tumour(result: PDResult) -> None:
    """P01 has blood on treatment and no second biopsy: he is lost in tumour assays, not in blood."""
    flow = result.accountability
    taken = flow[(flow["step"] == "C2D1 biopsy taken") & (flow["set"] == "strict")].set_index("assay")
    assert taken.loc[["ihc", "rna", "serum"], "n_participants"].tolist() == [23, 23, 24]
    used = result.biopsies
    assert not used.loc[used["assay"] != "serum", "biopsy_id"].str.contains("-B").any()
    assert used.loc[used["assay"] == "serum", "biopsy_id"].str.contains("-B").all()


def test_rules_of_tissue_do_not_apply_to_blood(result: PDResult) -> None:
    """Adequacy asks for 100 viable tumour cells; blood has none recorded."""
    told = adequacy(result.study)
    assert told.loc["P01-BS", "adequate"]
    serum = usable(result.study, "serum", visits=("screening", "C2D1"))
    assert serum["used"].all()
    assert len(serum) == 48
    assert specimen_of(result.study, "serum") == "blood"
    assert specimen_of(result.study, "ihc") == "tumor"


def test_without_the_column_site_every_row_is_taken(tmp_path: Path) -> None:
    text = STUDY + "assays: {serum: {kind: intensity, file: serum.csv, specimen: blood}}\n"
    rows = "participant_id,biopsy_id,visit\nP1,A,screening\nP1,B,C2D1\n"
    folder = study_folder(
        tmp_path / "s", biopsies=rows, study=text.replace("adequacy: {viable_tumor_cells: 100}\n", ""),
        files={"serum.csv": "feature,A,B\nIL15,1,2\n"},
    )  # fmt: skip
    study = read_study(folder)
    assert specimen_of(study, "serum") == "blood"
    written = read_study(study.write(tmp_path / "again"))
    assert specimen_of(written, "serum") == "blood"


def test_an_unknown_specimen_is_refused(tmp_path: Path) -> None:
    text = STUDY + "assays: {serum: {kind: intensity, file: serum.csv, specimen: urine}}\n"
    rows = "participant_id,biopsy_id,visit,viable_tumor_cells\nP1,A,screening,200\n"
    folder = study_folder(
        tmp_path / "s", biopsies=rows, study=text, files={"serum.csv": "feature,A\nIL15,1\n"}
    )
    with pytest.raises(StudyError, match="E-STUDY-001"):
        read_study(folder)


def test_all_links_of_a_study_have_tables(result: PDResult) -> None:
    tables = link.link_study(result).tables()
    assert list(tables) == ["exposure", "response", "concordance", "blood"]
    for table in tables.values():
        assert list(table.columns) == list(link.LINK_COLUMNS)
        silent = table[(table["status"] != "ok") & (table["note"] == "")]
        assert silent.empty
    again = link.link_study(result).tables()
    for kind, table in tables.items():
        pd.testing.assert_frame_equal(table, again[kind], check_exact=True)


def test_a_study_without_dose_and_outcome_has_no_such_links(tmp_path: Path) -> None:
    result = trial(tmp_path / "s", columns=False, blood=False)
    links = link.link_study(result)
    assert [len(x) for x in (links.exposure, links.response, links.concordance, links.blood)] == [1, 0, 1, 0]
