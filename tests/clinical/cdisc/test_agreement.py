"""What was computed, held against imported parameters."""

from __future__ import annotations

import pandas as pd
import pytest
from cdisc_files import domain, folder_of

from pdbiomarker.clinical.cdisc import held_against, import_cdisc
from pdbiomarker.errors import InputError
from pdbiomarker.run.reconciliation import reconcile_tables
from pdbiomarker.tables import write_table


def theirs(tmp_path):
    adpp = domain(
        "ADPP",
        [
            {"USUBJID": "007", "PARAMCD": "CMAX", "AVAL": 10.0, "AVALU": "ug/mL", "PPSPEC": "PLASMA"},
            {"USUBJID": "007", "PARAMCD": "LAMZ", "AVAL": 0.05, "AVALU": "/h", "PPSPEC": "PLASMA"},
            {"USUBJID": "008", "PARAMCD": "CMAX", "AVAL": 20.0, "AVALU": "ug/mL", "PPSPEC": "PLASMA"},
            {"USUBJID": "008", "PARAMCD": "RENALCL", "AVAL": 1.0, "AVALU": "mL/min", "PPSPEC": "URINE"},
        ],
    )
    adrs = domain(
        "ADRS",
        [
            {"USUBJID": "007", "PARAMCD": "CBOR", "AVAL": 2.0, "AVALC": "PR", "ADT": None},
            {"USUBJID": "008", "PARAMCD": "CBOR", "AVAL": 3.0, "AVALC": "SD", "ADT": None},
        ],
    )
    adtte = domain(
        "ADTTE",
        [
            {"USUBJID": "007", "PARAMCD": "PFS", "AVAL": 100.0, "CNSR": 0.0, "EVNTDESC": "PD"},
            {"USUBJID": "008", "PARAMCD": "PFS", "AVAL": 80.0, "CNSR": 1.0, "EVNTDESC": "Alive"},
        ],
    )
    rows = [("007", "BFLAG1", "N"), ("007", "INDUCD1", "Y"), ("007", "ADASTAT1", "POSITIVE")]
    rows += [("008", "BFLAG1", "Y"), ("008", "TRUNAFF1", "Y"), ("008", "ADASTAT1", "MISSING")]
    adab = domain("ADAB", [{"USUBJID": p, "PARAMCD": c, "AVAL": None, "AVALC": v} for p, c, v in rows])
    return import_cdisc(folder_of(tmp_path / "adam", adpp, adrs, adtte, adab)).tables["parameters"]


OURS = {
    "pk_parameters": pd.DataFrame(
        {
            "participant_id": ["007", "008", "009"],
            "specimen": "PLASMA",
            "cmax": [10.0, 20.5, 30.0],
            "lambda_z": [0.05, 0.04, 0.03],
        }
    ),
    "best_response": pd.DataFrame({"participant_id": ["007", "008"], "best_response": ["PR", "PR"]}),
    "pfs": pd.DataFrame({"participant_id": ["007", "008"], "days": [100.0, 81.0], "event": [True, True]}),
    "ada_participants": pd.DataFrame(
        {
            "participant_id": ["007", "008"],
            "baseline": ["negative", "positive"],
            "category": ["induced", "not evaluable"],
        }
    ),
}


def verdicts(held):
    rows = zip(held["participant_id"], held["parameter"], held["verdict"], strict=True)
    return {(person, parameter): verdict for person, parameter, verdict in rows}


def test_values_are_held_against_each_other_one_by_one(tmp_path):
    held = held_against(theirs(tmp_path), OURS)
    assert verdicts(held) == {
        ("007", "cmax"): "agree",
        ("008", "cmax"): "differ",
        ("009", "cmax"): "only ours",
        ("007", "lambda_z"): "agree",
        ("008", "lambda_z"): "only ours",
        ("009", "lambda_z"): "only ours",
        ("007", "best_response"): "agree",
        ("008", "best_response"): "differ",
        ("007", "days"): "agree",
        ("008", "days"): "differ",
        ("007", "event"): "agree",
        ("008", "event"): "differ",
        ("007", "baseline"): "agree",
        ("008", "baseline"): "agree",
        ("007", "category"): "agree",
        ("008", "category"): "agree",
    }
    row = held[(held["participant_id"] == "008") & (held["parameter"] == "cmax")].iloc[0]
    assert (row["ours"], row["theirs"], row["table"]) == (20.5, 20.0, "pk_parameters")
    assert row["relative"] == pytest.approx(0.025, abs=1e-12)
    assert verdicts(held_against(theirs(tmp_path), OURS, tolerance=0.03))[("008", "cmax")] == "agree"


def test_folders_of_tables_give_the_same(tmp_path):
    for name, table in OURS.items():
        (tmp_path / "ours").mkdir(exist_ok=True)
        write_table(table, tmp_path / "ours" / f"{name}.csv")
    (tmp_path / "study" / "cdisc").mkdir(parents=True)
    write_table(theirs(tmp_path), tmp_path / "study" / "cdisc" / "parameters.csv")
    summary, values = reconcile_tables(tmp_path / "ours", tmp_path / "study", tmp_path / "out")
    counted = pd.read_csv(summary).set_index("parameter")
    assert counted.loc["cmax", ["agree", "differ", "only_ours"]].tolist() == [1, 1, 1]
    assert counted.loc["category", "agree"] == 2
    held = held_against(theirs(tmp_path), OURS)
    read = pd.read_csv(values, dtype={"participant_id": str})
    assert verdicts(read) == verdicts(held)


def test_folders_without_tables_are_refused(tmp_path):
    with pytest.raises(InputError) as error:
        reconcile_tables(tmp_path, tmp_path, tmp_path / "out")
    assert [p.code for p in error.value.problems] == ["E-FILE-001", "E-FILE-001"]
    assert not (tmp_path / "out").exists()
