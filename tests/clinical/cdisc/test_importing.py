"""From CDISC datasets to plain tables, and what is not taken."""

from __future__ import annotations

import datetime as dt
import math

import pandas as pd
import pytest
from builders import study_folder
from cdisc_files import FORMATS, PEOPLE, assessments, domain, exposures, folder_of, pk, write

from pdbiomarker.clinical.cdisc import ImportOptions, import_cdisc
from pdbiomarker.errors import InputError, Problems, StudyError
from pdbiomarker.study import read_study
from pdbiomarker.tables import read_table

THREE = [
    ("INVESTIGATOR", None),
    ("INDEPENDENT ASSESSOR", "RADIOLOGIST 1"),
    ("INDEPENDENT ASSESSOR", "RADIOLOGIST 2"),
]


def errors(error):
    return [p for p in error.value.problems if p.severity == "error"]


def missing(value):
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_tables(tmp_path, form):
    sets = (
        PEOPLE,
        exposures(),
        pk([("007", "<BLQ", 0.0, "2025-01-10T08:30"), ("007", "3.5", 3.5, "2025-01-10T12:00")]),
    )
    found = import_cdisc(folder_of(tmp_path, *sets, form=form))
    people = found.tables["participants"]
    assert people["participant_id"].tolist() == ["007", "1E5"]
    assert people["site_id"].tolist() == ["NA", "01"]
    assert people["dose_mg"].tolist() == [10.0, 10.0]
    assert people["first_dose_datetime"].tolist() == ["2025-01-10T09:00", "2025-01"]
    assert [None if missing(f) else f for f in people["first_dose_datetime_flag"]] == [None, "D"]
    doses = found.tables["doses"]
    assert doses["amount"].tolist() == [10.0] * 4
    assert doses["cycle"].tolist() == [1, 2, 1, 2]
    assert [None if missing(s) else s for s in doses["status"]] == [None, "interrupted"] * 2
    values = found.tables["concentrations"]
    assert values["concentration"].tolist() == ["<0.5", "3.5"]
    assert values["nominal_time_h"].tolist() == [-0.5, 2.5]


def test_trap_23_a_result_below_the_limit_is_one_however_it_is_spelt(tmp_path):
    rows = [
        ("1", "<BLQ", 0.0, "2025-01-01T08:00"),
        ("1", "<BLQ", None, "2025-01-01T09:00"),
        ("1", "BLOQ", None, "2025-01-01T10:00"),
        ("1", "<0.25", None, "2025-01-01T11:00"),
        ("1", "0", 0.0, "2025-01-01T12:00"),
        ("1", None, None, "2025-01-01T13:00"),
    ]
    found = import_cdisc(folder_of(tmp_path, pk(rows)))
    assert found.tables["concentrations"]["concentration"].tolist() == [
        "<0.5",
        "<0.5",
        "<0.5",
        "<0.25",
        "0.0",
    ]
    lost = found.not_taken[found.not_taken["record"] == 6]
    assert lost["reason"].tolist() == ["No result."]
    without = import_cdisc(folder_of(tmp_path / "b", pk(rows[:1], lloq=None)))
    assert without.tables["concentrations"]["concentration"].tolist() == ["BLQ"]


def test_a_negative_concentration_is_refused(tmp_path):
    with pytest.raises(InputError, match="not negative") as error:
        import_cdisc(folder_of(tmp_path, pk([("1", "-1", -1.0, "2025-01-01T08:00")])))
    (problem,) = errors(error)
    assert (problem.code, problem.file, problem.row, problem.column) == (
        "E-CDISC-007",
        "pc.json",
        1,
        "PCSTRESN",
    )


def test_trap_24_several_readers_are_refused_with_their_list(tmp_path):
    with pytest.raises(InputError, match="RADIOLOGIST 2") as error:
        import_cdisc(folder_of(tmp_path, assessments(THREE)))
    (problem,) = errors(error)
    assert problem.code == "E-CDISC-005"
    assert "INVESTIGATOR" in problem.remedy
    with pytest.raises(InputError, match="No record has the reader 'RADIOLOGIST 3'"):
        import_cdisc(tmp_path, options=ImportOptions(reader="RADIOLOGIST 3"))


def test_trap_24_one_reader_is_taken_and_the_others_are_listed(tmp_path):
    folder = folder_of(tmp_path, assessments(THREE))
    found = import_cdisc(folder, options=ImportOptions(reader="investigator"))
    responses = found.tables["responses"]
    assert responses["date"].tolist() == ["2025-02", "2025-04-01", "2025-06-01"]
    assert responses["response"].tolist() == ["PR", "PR", "PD"]
    others = found.not_taken[found.not_taken["reason"].str.startswith("Another reader")]
    assert len(others) == 6
    alone = import_cdisc(folder_of(tmp_path / "one", assessments(THREE[:1])))
    assert alone.tables["responses"]["reader"].tolist() == ["investigator"] * 3


def test_trap_11_partial_dates_keep_a_flag_and_imputed_ones_are_cut_back(tmp_path):
    adae = domain(
        "ADAE",
        [
            {"USUBJID": "1", "AEDECOD": "RASH", "AETOXGR": "2", "ASTDT": dt.date(2025, 2, 1), "ASTDTF": "D"},
            {
                "USUBJID": "1",
                "AEDECOD": "FEVER",
                "AETOXGR": "3",
                "ASTDT": dt.date(2025, 3, 4),
                "ASTDTF": None,
            },
        ],
    )
    events = import_cdisc(folder_of(tmp_path, adae)).tables["adverse_events"]
    assert events["start"].tolist() == ["2025-02", "2025-03-04"]
    assert [None if missing(f) else f for f in events["start_flag"]] == ["D", None]
    assert events["grade"].tolist() == [2, 3]


def test_severity_is_no_grade_unless_that_is_said(tmp_path):
    rows = [
        {"USUBJID": "1", "AETERM": "RASH", "AESEV": s, "AESTDTC": "2025-02-01"} for s in ("MILD", "SEVERE")
    ]
    folder = folder_of(tmp_path, domain("AE", rows))
    plain = import_cdisc(folder)
    assert plain.tables["adverse_events"]["grade"].isna().all()
    assert any(p.column == "AETOXGR" for p in plain.problems)
    said = import_cdisc(folder, options=ImportOptions(severity_as_grade=True))
    assert said.tables["adverse_events"]["grade"].tolist() == [1, 3]


def test_records_of_one_event_are_merged_to_the_gravest(tmp_path):
    same = {"USUBJID": "1", "AEDECOD": "RASH", "AETOXGR": "2", "AESTDTC": "2025-02-01"}
    rows = [
        {**same, "AESER": "N", "AEREL": "RELATED", "AEENDTC": "2025-02-03"},
        {**same, "AESER": "Y", "AEREL": "NOT RELATED", "AEENDTC": "2025-02-09"},
        {**same, "AETOXGR": "3", "AESER": "N", "AEREL": "NONE", "AEENDTC": None},
    ]
    found = import_cdisc(folder_of(tmp_path, domain("AE", rows)))
    events = found.tables["adverse_events"].set_index("grade")
    assert events.loc[2, ["serious", "related", "end"]].tolist() == ["yes", "yes", "2025-02-09"]
    assert events.loc[3, ["serious", "related"]].tolist() == ["no", "no"]
    assert (
        found.not_taken["reason"]
        .tolist()
        .count("Merged with record 1: same participant, term, start and grade.")
        == 1
    )


def test_every_problem_is_told_at_once(tmp_path):
    """A variable that is missing, a date that is none, a record twice, several readers."""
    doses = exposures()
    frame = doses.frame.drop(columns="EXDOSU")
    bad = domain("EX", frame.drop(columns=["STUDYID", "DOMAIN"]).to_dict("records"))
    rows = [("1", "3", 3.0, "2025-01-01T08:00"), ("1", "4", 4.0, "2025-01-01T08:00")]
    samples = pk([*rows, ("1", "5", 5.0, "01/02/2025")])
    with pytest.raises(InputError) as error:
        import_cdisc(folder_of(tmp_path, bad, samples, assessments(THREE)))
    told = {(p.code, p.file, p.column) for p in errors(error)}
    assert ("E-CDISC-004", "ex.json", "EXDOSU") in told
    assert ("E-CDISC-009", "pc.json", "PCDTC") in told
    assert ("E-CDISC-005", "rs.json", "RSEVAL") in told
    assert {code for code, file, _ in told if file == "pc.json"} == {"E-CDISC-009", "E-CDISC-006"}


def test_a_record_that_repeats_another_is_listed(tmp_path):
    rows = [("1", "3", 3.0, "2025-01-01T08:00")] * 2
    data = pk(rows)
    data.frame["PCELTM"] = "PT1H"
    found = import_cdisc(folder_of(tmp_path, data))
    assert len(found.tables["concentrations"]) == 1
    assert "The record repeats record 1." in found.not_taken["reason"].tolist()


def test_unused_variables_are_listed_with_their_label(tmp_path):
    found = import_cdisc(folder_of(tmp_path, domain("DM", [{"USUBJID": "1", "RACE": "X"}])))
    row = found.not_taken[found.not_taken["variable"] == "RACE"].iloc[0]
    assert (row["dataset"], row["file"]) == ("DM", "dm.json")
    assert "Label of RACE" in row["reason"]


def test_outcomes_death_without_date_and_withdrawal(tmp_path):
    people = domain(
        "DM",
        [
            {"USUBJID": "1", "RFXENDTC": "2025-05-02", "DTHDTC": "2025-06", "DTHFL": "Y"},
            {"USUBJID": "2", "RFXENDTC": "2025-05-03T10:00", "DTHDTC": None, "DTHFL": "Y"},
        ],
    )
    ds = domain(
        "DS",
        [
            {"USUBJID": "2", "DSDECOD": "WITHDRAWAL BY SUBJECT", "DSSTDTC": "2025-05-04"},
            {"USUBJID": "9", "DSDECOD": "COMPLETED", "DSSTDTC": "2025-05-05"},
        ],
    )
    found = import_cdisc(folder_of(tmp_path, people, ds))
    table = found.tables["outcomes"].set_index("participant_id")
    assert (table.loc["1", "death_date"], table.loc["1", "death_date_flag"]) == ("2025-06", "D")
    assert table.loc["2", "treatment_end_date"] == "2025-05-03"
    assert table.loc["2", "withdrawal_date"] == "2025-05-04"
    assert table.loc["2", "last_contact_date"] == "2025-05-04"
    assert any("date of death is missing" in p.message for p in found.problems)
    assert "The participant is not in DM or ADSL." in found.not_taken["reason"].tolist()


def lesion_sets():
    tu = domain(
        "TU",
        [
            {"USUBJID": "1", "TULNKID": lesion, "TUTESTCD": "TUMIDENT", "TUSTRESC": role, "TULOC": place}
            for lesion, role, place in (
                ("T01", "TARGET", "LIVER"),
                ("T02", "TARGET", "LYMPH NODE"),
                ("NT01", "NON-TARGET", "BONE"),
                ("NEW01", "NEW", "LUNG"),
                ("NEW02", "NEW", "LUNG"),
            )
        ],
    )
    rows = []
    for lesion, test, text, number, unit, status in (
        ("T01", "LDIAM", "2.1", 2.1, "cm", None),
        ("T01", "LPERP", "11", 11.0, "mm", None),
        ("T02", "LDIAM", "30", 30.0, "mm", None),
        ("T02", "LPERP", "16", 16.0, "mm", None),
        ("NT01", "TUMSTATE", "UNEQUIVOCAL", None, None, None),
        ("NEW01", "TUMSTATE", "UNEQUIVOCAL", None, None, None),
        ("NEW02", "TUMSTATE", "EQUIVOCAL", None, None, None),
        ("T03", "LDIAM", "10", 10.0, "mm", None),
    ):
        rows.append(
            {
                "USUBJID": "1",
                "TRSEQ": len(rows) + 1.0,
                "TRLNKID": lesion,
                "TRTESTCD": test,
                "TRSTRESC": text,
                "TRSTRESN": number,
                "TRSTRESU": unit,
                "TRSTAT": status,
                "TRDTC": "2025-03-01",
            }
        )
    rows.append(
        {
            **rows[0],
            "TRSEQ": 99.0,
            "TRDTC": "2025-04-01",
            "TRSTRESN": None,
            "TRSTRESC": None,
            "TRSTAT": "NOT DONE",
        }
    )
    rows.append({**rows[0], "TRSEQ": 98.0, "TRLNKID": None, "TRTESTCD": "SUMDIAM"})
    return tu, domain("TR", rows)


def test_lesions_take_the_short_axis_of_nodes_and_leave_out_what_is_not_measured(tmp_path):
    found = import_cdisc(folder_of(tmp_path, *lesion_sets()))
    table = found.tables["lesions"].set_index(["lesion_id", "date"])
    assert table.loc[("T01", "2025-03-01"), "diameter_mm"] == 21.0
    assert table.loc[("T02", "2025-03-01"), "diameter_mm"] == 16.0
    assert table.loc[("T02", "2025-03-01"), "node"] == "yes"
    assert table.loc[("NT01", "2025-03-01"), "state"] == "progression"
    assert table.loc[("NEW01", "2025-03-01"), "role"] == "new"
    assert table.loc[("T01", "2025-04-01"), "state"] == "not evaluable"
    assert not {"NEW02", "T03"} & set(table.index.get_level_values(0))
    reasons = " ".join(found.not_taken["reason"])
    for word in ("equivocal new lesion", "SUMDIAM is not", "Neither TU nor TRGRPID", "Another diameter"):
        assert word in reasons


def specimens(rows):
    columns = ("USUBJID", "REFID", "PARENT", "LEVEL", "SPEC")
    return domain("RELSPEC", [dict(zip(columns, row, strict=True)) for row in rows])


def collections(*ids, person="1"):
    return domain(
        "BE",
        [
            {
                "USUBJID": person if isinstance(i, str) else i[1],
                "BEREFID": i if isinstance(i, str) else i[0],
                "BETERM": "Specimen Collection",
                "BECAT": "COLLECTION",
                "BELOC": "LIVER",
                "BESTDTC": "2025-01-01T10:00",
            }
            for i in ids
        ],
    )


GOOD = [
    ("1", "S1", None, 1.0, "TISSUE"),
    ("1", "S1.B", "S1", 2.0, "BLOCK"),
    ("1", "S1.B.1", "S1.B", 3.0, "SECTION"),
]


def test_a_finding_goes_to_the_biopsy_that_its_section_came_from(tmp_path):
    row = {"USUBJID": "1", "MIREFID": "S1.B.1", "MITESTCD": "CD8", "MITSTDTL": "H SCORE TOTAL SCORE"}
    mi = domain("MI", [{**row, "MISTRESC": "180", "MISTRESN": 180.0, "MISTRESU": None}])
    found = import_cdisc(folder_of(tmp_path, specimens(GOOD), collections("S1"), mi))
    assert found.tables["biopsies"]["biopsy_id"].tolist() == ["S1"]
    finding = found.tables["specimen_findings"].iloc[0]
    assert (finding["biopsy_id"], finding["specimen_id"], finding["number"]) == ("S1", "S1.B.1", 180.0)


@pytest.mark.parametrize(
    ("rows", "column", "word"),
    [
        ([*GOOD, ("1", "S9", "S8", 2.0, "BLOCK")], "PARENT", "'S8' is not a specimen"),
        ([*GOOD, ("1", "S1.B", "S1", 2.0, "BLOCK")], "REFID", "already record 2"),
        ([*GOOD, ("2", "S1.B", None, 1.0, "BLOCK")], "REFID", "of participant '1'"),
        ([*GOOD, ("2", "S2.B", "S1", 2.0, "BLOCK")], "PARENT", "a specimen of participant '1'"),
        ([*GOOD, ("1", "A", "B", 2.0, "X"), ("1", "B", "A", 2.0, "X")], "PARENT", "descends from itself"),
        ([*GOOD, ("1", "S7", None, 2.0, "X")], "LEVEL", "has no parent"),
    ],
)
def test_trap_34_a_genealogy_that_does_not_hold_is_refused(tmp_path, rows, column, word):
    with pytest.raises(InputError) as error:
        import_cdisc(folder_of(tmp_path, specimens(rows), collections("S1")))
    told = errors(error)
    assert {p.code for p in told} == {"E-CDISC-008"}
    assert any(p.column == column and word in p.message and p.row is not None for p in told)


def test_trap_34_a_specimen_collected_twice_or_from_two_participants_is_refused(tmp_path):
    with pytest.raises(InputError, match="already collected, record 1"):
        import_cdisc(folder_of(tmp_path / "a", collections("S1", "S1")))
    with pytest.raises(InputError, match="also one of participant '1'"):
        import_cdisc(folder_of(tmp_path / "b", collections("S1", ("S1", "2"))))


def test_trap_34_one_slide_file_of_two_participants_is_refused(tmp_path):
    study = "id: T\nvisits: {screening: [-28, -1]}\nassays: {ihc: {slides: slides.csv, panel: cd8}}\n"
    biopsies = "participant_id,biopsy_id,visit\nP1,B1,screening\nP2,B2,screening\n"
    slides = "slide_id,biopsy_id,path\nS1,B1,one.svs\nS2,B2,one.svs\n"
    folder = study_folder(tmp_path, biopsies=biopsies, study=study, files={"slides.csv": slides})
    (folder / "one.svs").write_bytes(b"x")
    with pytest.raises(StudyError, match="named in lines 2 and 3") as error:
        read_study(folder)
    assert [(p.code, p.file, p.row) for p in errors(error)] == [("E-SHEET-005", "slides.csv", 3)]


def test_antibodies_titres_and_the_neutralizing_result_beside_them(tmp_path):
    rows = [
        ("1", "ADA_BAB", "NEGATIVE", None, "2025-01-01"),
        ("1", "ADA_BAB", "1.75", 1.75, "2025-02-01"),
        ("1", "ADA_NAB", "POSITIVE", None, "2025-02-01"),
        ("1", "ADA_BAB", "<1.40", None, "2025-03-01"),
        ("1", "ADA_NAB", "NEGATIVE", None, "2025-04-01"),
        ("1", "ADA_BAB", None, None, "2025-05-01"),
    ]
    data = domain(
        "IS",
        [
            {"USUBJID": p, "ISSEQ": k, "ISTESTCD": t, "ISSTRESC": c, "ISSTRESN": n, "ISDTC": d}
            for k, (p, t, c, n, d) in enumerate(rows)
        ],
    )
    found = import_cdisc(folder_of(tmp_path, data), options=ImportOptions(titre_scale="log10"))
    table = found.tables["ada"]
    assert table["result"].tolist() == ["negative", "positive", "positive"]
    assert table["assay_step"].tolist() == ["screen", "titre", "titre"]
    assert table["titre"].tolist()[1:] == [1.75, 1.40]
    assert [None if missing(x) else x for x in table["titre_limit"]] == [None, None, "<"]
    assert [None if missing(x) else x for x in table["neutralizing"]] == [None, "positive", None]
    assert len(found.not_taken[found.not_taken["record"].isin([5, 6])]) == 2
    plain = import_cdisc(tmp_path)
    assert any("scale of the titres" in p.message for p in plain.problems)


def test_what_is_written_reads_back_as_plain_sheets(tmp_path):
    folder = folder_of(tmp_path / "in", PEOPLE, exposures(), collections("S1", person="007"))
    written = import_cdisc(folder).write(tmp_path / "clinical")
    names = [p.relative_to(tmp_path).as_posix() for p in written]
    assert names == [
        "clinical/doses.csv",
        "cdisc/participants.csv",
        "cdisc/biopsies.csv",
        "clinical/outcomes.csv",
        "cdisc/sources.csv",
        "cdisc/not_taken.csv",
    ]
    problems = Problems()
    people = read_table(tmp_path / "cdisc" / "participants.csv", problems=problems)
    assert people is not None
    assert people["participant_id"].tolist() == ["007", "1E5"]
    assert not len(problems)


def test_the_order_of_files_and_records_leaves_no_trace(tmp_path):
    sets = [PEOPLE, exposures(), assessments(THREE[:1])]
    one = import_cdisc(folder_of(tmp_path / "a", *sets))
    for data in sets:
        turned = domain(
            data.name, data.frame.iloc[::-1].drop(columns=["STUDYID", "DOMAIN"]).to_dict("records")
        )
        write(tmp_path / "b", turned)
    two = import_cdisc(tmp_path / "b")
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, two.tables[name])
