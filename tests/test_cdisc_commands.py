"""The commands at the edge to CDISC: import cdisc, export, reconcile."""

from __future__ import annotations

import openpyxl
import pandas as pd
import pytest
from cdisc_files import PEOPLE, assessments, exposures, folder_of
from small_study import small_study
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.clinical.cdisc import check_adam, read_dataset

RUN = CliRunner()
TWO = [("INVESTIGATOR", None), ("INDEPENDENT ASSESSOR", "RADIOLOGIST 1")]


def test_import_cdisc_writes_the_sheets_and_what_was_not_taken(tmp_path):
    folder = folder_of(tmp_path / "sdtm", PEOPLE, exposures(), assessments(TWO))
    refused = RUN.invoke(app, ["import", "cdisc", str(folder), "-o", str(tmp_path / "S" / "clinical")])
    assert refused.exit_code == 3
    assert "E-CDISC-005" in refused.stderr
    assert not (tmp_path / "S").exists()
    command = ["import", "cdisc", str(folder), "-o", str(tmp_path / "S" / "clinical")]
    done = RUN.invoke(app, [*command, "--reader", "INVESTIGATOR", "--use", "DM=dm.json"])
    assert done.exit_code == 0, done.stderr
    made = [line.rpartition("/")[2] for line in done.stdout.split()]
    assert made == [
        "doses.csv",
        "participants.csv",
        "responses.csv",
        "outcomes.csv",
        "sources.csv",
        "not_taken.csv",
    ]
    assert len(pd.read_csv(tmp_path / "S" / "clinical" / "responses.csv")) == 3


def test_an_import_of_exports_without_a_panel_is_a_wrong_command_line(tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n")
    found = RUN.invoke(app, ["import", str(tmp_path / "x.csv"), "-o", str(tmp_path / "o")])
    assert found.exit_code == 2
    assert "--panel" in found.stderr


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    small_study(folder / "study", slides=False)
    assert (
        RUN.invoke(app, ["change", str(folder / "study"), "-o", str(folder / "out"), "--quiet"]).exit_code
        == 0
    )
    return folder / "out"


def test_export_to_adam_of_a_results_folder(results, tmp_path):
    done = RUN.invoke(app, ["export", str(results), "--to", "adam", "-o", str(tmp_path / "adam")])
    assert done.exit_code == 0, done.stderr
    names = [line.rpartition("/")[2] for line in done.stdout.split()]
    assert names == ["adpd.xpt", "adpd.json", "adpd_parameters.csv"]
    one, two = (read_dataset(tmp_path / "adam" / name) for name in names[:2])
    pd.testing.assert_frame_equal(one.frame, two.frame)
    assert [str(p) for p in check_adam(one)] == []
    result = pb.read_result(results)
    assert one["CHG"].notna().sum() == result.changes["change"].notna().sum() > 0
    assert one["ADT"].isna().all()  # a results folder keeps study days and no dates
    assert one["ADY"].notna().all()


def test_export_of_a_feature_that_is_not_there(results, tmp_path):
    done = RUN.invoke(app, ["export", str(results), "-o", str(tmp_path / "a"), "--feature", "rna:NOGENE"])
    assert done.exit_code == 3
    assert "E-RESULT-001" in done.stderr


def test_export_to_excel(results, tmp_path):
    done = RUN.invoke(app, ["export", str(results), "--to", "excel", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.stderr
    book = openpyxl.load_workbook(done.stdout.strip(), read_only=True)
    assert book.sheetnames[:4] == ["about", "pd_change", "changes", "robustness"]


def test_reconcile_lists_value_by_value(tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "pk_parameters.csv").write_text("participant_id,cmax\n007,10\n")
    (tmp_path / "parameters.csv").write_text(
        "participant_id,dataset,parameter,value,text,unit\n007,ADPP,CMAX,10.5,,ug/mL\n"
    )
    command = ["reconcile", str(tmp_path / "ours"), "--theirs", str(tmp_path / "parameters.csv")]
    done = RUN.invoke(app, [*command, "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    held = pd.read_csv(tmp_path / "out" / "reconciliation.csv", dtype={"participant_id": str})
    assert held.loc[0, ["participant_id", "parameter", "ours", "theirs", "verdict"]].tolist() == [
        "007",
        "cmax",
        10,
        10.5,
        "differ",
    ]
