"""The step of a run that computes the trial around the biopsies: numbers, files, faults, privacy."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_study import small_study

import pdbiomarker as pb
from pdbiomarker.clinical import pk
from pdbiomarker.clinical.ada import read_samples, status_at
from pdbiomarker.clinical.efficacy import efficacy, response_columns
from pdbiomarker.clinical.efficacy_rules import EfficacyRules
from pdbiomarker.clinical.schedule import dose_history, doses_before
from pdbiomarker.clinical.survival.rules import AssessmentSchedule
from pdbiomarker.provenance import read_manifest, recorded_steps
from pdbiomarker.run import RunOutcome
from pdbiomarker.run.results import write_clinical
from pdbiomarker.tables import parse_date

#: A date or a month, whatever stands around it.
DATE = re.compile(r"(?<![\d.-])(?:19|20)\d\d-(?:0[1-9]|1[0-2])(?![\d.])")
PRIMARY = "families: {primary: [rna:GZMA], genes: rna}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated study without slides, with one primary feature."""
    path = tmp_path_factory.mktemp("clinic") / "study"
    pb.simulate_study(path, seed=7, n_participants=12, slides=False, genes=150)
    plan = path / "plan.yaml"
    plan.write_text(plan.read_text().replace("families: {genes: rna}", PRIMARY))
    return path


@pytest.fixture(scope="module")
def first(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    """A whole run; not to be changed."""
    return pb.run_study(folder, tmp_path_factory.mktemp("clinic") / "out", progress=False)


def files(out: Path) -> dict[str, bytes]:
    """The clinical files of a results folder."""
    return {p.name: p.read_bytes() for p in sorted((out / "results").glob("clinical*"))}


def changed(folder: Path, target: Path, sheet: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """A copy of a study with one clinical sheet changed."""
    shutil.copytree(folder, target)
    path = target / "clinical" / f"{sheet}.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)
    return target


# --- numbers ---


def test_the_joined_table_is_its_parts(folder: Path, first: RunOutcome) -> None:
    """Every column against the function that computes it, called by itself."""
    study, result = pb.read_study(folder), pb.read_result(first.out)
    joined = result.clinical["joined"].set_index("participant_id")
    assert list(joined.index) == list(study.participants.index)
    own = joined[joined["on_biopsy"].notna()]
    assert len(own) >= 6

    tables = pk.pk_tables(study)
    samples = tables.concentrations.drop(columns="analyte")
    exposure = pk.exposure_at(tables.biopsies, samples, tables.doses).set_index("biopsy_id")
    assert own["auc_to_biopsy"].tolist() == exposure.loc[own["on_biopsy"], "auc_to_biopsy"].tolist()
    dated = study.biopsies.loc[own["on_biopsy"], ["participant_id", "collection_date"]]
    history = dose_history(study.clinical["doses"], study.participants)
    before = doses_before(dated, history, date="collection_date")
    assert own["n_doses"].tolist() == before["n_doses"].tolist()
    assert own["cumulative_dose_mg"].tolist() == before["cumulative_mg"].tolist()
    clear = own["concentration_at_biopsy"].notna().to_numpy()
    assert clear.sum() >= 4
    sure = own[clear]
    for column, source in (
        ("concentration_at_biopsy", "concentration"),
        ("last_trough", "last_trough"),
        ("hours_since_last_dose", "hours_since_last_dose"),
    ):
        np.testing.assert_array_equal(sure[column], exposure.loc[sure["on_biopsy"], source])

    ada = status_at(read_samples(study.clinical["ada"], study.participants), study.biopsies).set_index(
        "biopsy_id"
    )
    assert own["ada_at_biopsy"].tolist() == ada.loc[own["on_biopsy"], "ada_last"].tolist()
    cutoff = parse_date(str(study.spec.data_cutoff))
    rules = EfficacyRules(schedule=AssessmentSchedule(56, 7), cutoff=cutoff)  # those of the simulator
    made = efficacy(study.participants.reset_index(), study.clinical, rules=rules)
    response = response_columns(made).set_index("participant_id").loc[joined.index]
    for column in ("best_response", "best_size_change_pct", "pfs_days", "pfs_event", "responder"):
        pd.testing.assert_series_equal(
            joined[column], response[column], check_dtype=False, check_index_type=False
        )
    changes = result.changes[(result.changes["feature"] == "GZMA") & (result.changes["set"] == "strict")]
    known = joined["change_GZMA"].dropna()
    expected = changes.set_index("participant_id")["change"]
    assert known.to_dict() == expected.to_dict()
    assert len(known) >= 5


def test_clearance_is_that_of_the_simulation(folder: Path, first: RunOutcome) -> None:
    """Truth: truth/clinical.csv, of the simulator's two compartments.

    Nine samples with 8 % error; the slope after the first dose is read from its last three. A third of the
    area is extrapolated from there, which makes single clearances err by up to a third, and their geometric
    mean by less than 15 %.
    """
    truth = pd.read_csv(folder / "truth" / "clinical.csv", dtype={"participant_id": str})
    found = pb.read_result(first.out).clinical["pk_parameters"].set_index("participant_id")["cl"]
    ratio = np.log(found / truth.set_index("participant_id")["clearance"])
    assert len(ratio) == 12
    assert ratio.notna().all()
    assert abs(ratio.mean()) < np.log(1.15)
    assert ratio.abs().max() < np.log(1.35)


def test_a_result_read_back_holds_the_tables(folder: Path, first: RunOutcome) -> None:
    outcome = pb.clinical_tables(pb.read_study(folder))
    read = pb.read_result(first.out)
    assert set(read.clinical) == {*outcome.tables, "joined"}
    for name, table in outcome.tables.items():
        pd.testing.assert_frame_equal(read.clinical[name], table, check_dtype=False, check_column_type=False)
    again = pb.clinical_join(read)
    pd.testing.assert_frame_equal(again, read.clinical["joined"], check_dtype=False)


def test_a_dose_on_the_day_of_the_biopsy_leaves_its_concentration_open(folder: Path, tmp_path: Path) -> None:
    """Neither has a time of day then: before or after the infusion is not known, and is not guessed."""
    study = pb.read_study(folder)
    doses = study.clinical["doses"]
    taken = study.biopsies[study.biopsies["study_day"] > 15].iloc[0]
    own = doses[(doses["participant_id"] == taken["participant_id"]) & (doses["study_day"] > 15)]
    day = str(taken["collection_date"])[:10]

    def moved(sheet: pd.DataFrame) -> pd.DataFrame:
        row = own["line"].iloc[0] - 2
        return sheet.assign(
            start=[f"{day}T09:00" if k == row else v for k, v in enumerate(sheet["start"])],
            end=["" if k == row else v for k, v in enumerate(sheet["end"])],
        )

    tables = pb.clinical_tables(pb.read_study(changed(folder, tmp_path / "study", "doses", moved))).tables
    row = tables["exposure"].set_index("biopsy_id").loc[str(taken.name)]
    assert row["concentration_is"] == "dose on the day of the biopsy"
    assert pd.isna(row["concentration"])
    assert pd.isna(row["hours_since_last_dose"])


# --- files ---


def test_a_second_run_keeps_the_step_and_a_damaged_table_is_made_again(
    folder: Path, first: RunOutcome, tmp_path: Path
) -> None:
    out = shutil.copytree(first.out, tmp_path / "out")
    assert pb.run_study(folder, out, progress=False).steps_made == ()
    (out / "results" / "clinical_joined.csv").write_text("x\n")
    outcome = pb.run_study(folder, out, progress=False)
    assert outcome.steps_made == ("clinical",)
    assert files(out) == files(first.out)


def test_the_order_of_rows_leaves_no_trace(folder: Path, first: RunOutcome, tmp_path: Path) -> None:
    study = shutil.copytree(folder, tmp_path / "study")
    for path in (study / "clinical").glob("*.csv"):
        head, *rows = path.read_text().splitlines()
        order = np.random.default_rng(1).permutation(len(rows))
        path.write_text("\n".join([head, *(rows[k] for k in order)]) + "\n")
    outcome = pb.clinical_tables(pb.read_study(study))
    whole = pb.with_clinical(pb.read_result(first.out), outcome)
    write_clinical(whole.clinical, outcome.problems, tmp_path)
    assert files(tmp_path) == files(first.out)


def test_a_study_without_clinical_sheets_has_nothing_of_this(tmp_path: Path) -> None:
    study = small_study(tmp_path / "study", slides=False)
    out = pb.run_study(study, tmp_path / "out", progress=False).out
    assert files(out) == {}
    assert "clinical" not in recorded_steps(out)
    assert dict(pb.read_result(out).clinical) == {}
    page = (out / "review.html").read_text()
    assert not [k for k in ("efficacy", "exposure", "change-exposure", "safety") if f'id="{k}"' in page]


def test_no_file_of_the_step_holds_a_date(first: RunOutcome) -> None:
    """Trial days only; months of partial dates neither."""
    for name, data in files(first.out).items():
        assert not DATE.findall(data.decode()), name
    stored = json.loads((first.out / "results" / "study.json").read_text())["clinical"]
    assert stored
    for name, frame in stored.items():
        texts = [v for values in frame["columns"].values() for v in values if isinstance(v, str)]
        assert not [t for t in texts if DATE.search(t)], name


# --- faults ---


def test_a_part_that_cannot_be_made_is_told_and_the_others_are_made(
    folder: Path, first: RunOutcome, tmp_path: Path
) -> None:
    """One sample in a molar unit: no exposure, but all else, and exit 4."""

    def molar(sheet: pd.DataFrame) -> pd.DataFrame:
        return sheet.assign(unit=["nmol/L" if k == 3 else u for k, u in enumerate(sheet["unit"])])

    study = changed(folder, tmp_path / "study", "concentrations", molar)
    outcome = pb.run_study(study, tmp_path / "out", progress=False)
    assert outcome.exit_code == 4
    (lost,) = [p for p in outcome.problems if p.severity == "quarantine"]
    assert (lost.code, lost.item) == ("E-CLIN-040", "exposure")
    assert "E-PK-006" in lost.message
    made, whole = files(outcome.out), files(first.out)
    gone = {n for n in whole if n.startswith("clinical_pk_")} | {"clinical_dose_proportionality.csv"}
    assert set(made) == set(whole) - gone
    for name in ("clinical_pfs.csv", "clinical_ada_incidence.csv", "clinical_dlt_by_dose.csv"):
        assert made[name] == whole[name]
    assert "E-CLIN-040" in made["clinical_problems.csv"].decode()
    assert "E-CLIN-040" in (outcome.out / "review.html").read_text()
    quarantined = read_manifest(outcome.out).quarantine
    assert [row["code"] for row in quarantined] == ["E-CLIN-040"]
    joined = pb.read_result(outcome.out).clinical["joined"]
    assert joined["auc_to_biopsy"].isna().all()
    assert joined["n_doses"].notna().any()
    # told again when nothing is made again
    again = pb.run_study(study, outcome.out, progress=False)
    assert (again.exit_code, again.steps_made) == (4, ())


def test_two_analytes_are_told_and_the_first_is_joined(folder: Path, tmp_path: Path) -> None:
    def two(sheet: pd.DataFrame) -> pd.DataFrame:
        other = sheet.assign(analyte="ZZ-metabolite", concentration="<0.05")
        return pd.concat([other, sheet])

    study = pb.read_study(changed(folder, tmp_path / "study", "concentrations", two))
    outcome = pb.clinical_tables(study)
    assert [p.severity for p in outcome.problems if p.code == "E-CLIN-041"] == ["warning"]
    exposure = outcome.tables["exposure"]
    assert set(exposure["analyte"]) == {"IGM-7354", "ZZ-metabolite"}
    assert exposure["n_doses"].notna().any()
    alone = pb.clinical_tables(pb.read_study(folder)).tables["exposure"]
    own = exposure[exposure["analyte"] == "IGM-7354"].drop_duplicates("biopsy_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone)
    assert exposure.drop_duplicates("biopsy_id")["analyte"].eq("IGM-7354").all()


def test_a_study_without_sheets_has_no_tables(tmp_path: Path) -> None:
    outcome = pb.clinical_tables(pb.read_study(small_study(tmp_path / "study", slides=False)))
    assert dict(outcome.tables) == {}
    assert outcome.problems == ()


# --- rules and outcomes of the folder ---


def test_a_simulated_study_has_nothing_avoidable_to_warn_of(first: RunOutcome) -> None:
    told = {p.code for p in first.problems}
    assert not told & {"E-SURV-011", "E-CLIN-044"}
    assert "clinical/rules.yaml" in read_manifest(first.out).inputs


def test_rules_of_the_folder_are_applied_and_part_of_the_key(folder: Path, tmp_path: Path) -> None:
    study = pb.read_study(folder)
    strict = EfficacyRules(schedule=AssessmentSchedule(20, 1), cutoff=parse_date(str(study.spec.data_cutoff)))
    changed = Path(shutil.copytree(folder, tmp_path / "study"))
    (changed / "clinical" / "rules.yaml").write_text("schedule: {every_days: 20, window_days: 1}\n")
    own = pb.clinical_tables(pb.read_study(changed)).tables["response_by_participant"]
    given = pb.clinical_tables(study, rules=strict).tables["response_by_participant"]
    pd.testing.assert_frame_equal(own, given)
    before = pb.clinical_tables(study).tables["response_by_participant"]
    # Scans every 56 days: by a schedule of 20 days some were missed before every progression.
    assert own["pfs_event"].sum() < before["pfs_event"].sum()
    made = pb.write_response(changed, tmp_path / "response")
    rows = pd.read_csv(tmp_path / "response" / "response_by_participant.csv")
    assert rows["pfs_event"].sum() == own["pfs_event"].sum()
    assert "E-SURV-011" not in {p.code for p in made.problems}
    written = pb.read_study(changed).write(tmp_path / "copy")
    assert (written / "clinical" / "rules.yaml").read_text().startswith("schedule")


def test_rules_that_cannot_be_read_refuse_the_study_before_any_work(folder: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(folder, tmp_path / "study"))
    (changed / "clinical" / "rules.yaml").write_text("schedule: {each_days: 56}\n")
    told = [p for p in pb.check(changed) if p.severity == "error"]
    assert {(p.code, p.file, p.row) for p in told} == {("E-SURV-002", "clinical/rules.yaml", 1)}


def test_links_with_response_rest_on_the_clinical_sheets(first: RunOutcome) -> None:
    table = pd.read_csv(first.out / "results" / "link_response.csv", keep_default_na=False)
    assert table["note"].str.endswith("outcomes: computed from clinical/").all()
    people = pd.read_csv(first.out / "results" / "clinical_joined.csv")
    paired = people[people["change_GZMA"].notna()]
    shown = table[(table["analysis"] == "best response") & (table["group"] == "PR")]
    assert int(shown["n"].iloc[0]) == int((paired["best_response"] == "PR").sum())
    record = json.loads((first.out / ".done" / "clinical.json").read_text())
    assert "results/link_response.csv" in record["outputs"]


def test_a_formula_with_a_column_that_a_run_computes_is_refused_with_the_way_in_python(
    folder: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(folder, tmp_path / "study"))
    plan = (changed / "plan.yaml").read_text()
    for column, word in (("auc_to_biopsy", "with_clinical_columns"), ("best_response", "not settled")):
        (changed / "plan.yaml").write_text(plan.replace("~ visit", f"~ {column} + visit", 1))
        told = [p for p in pb.check(changed) if p.code == "E-FORMULA-003"]
        assert [p.value for p in told] == [column]
        assert word in told[0].remedy
