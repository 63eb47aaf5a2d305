"""Everything about response and survival together, and what is joined to a participant's change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from clinical_trial import trial

from pdbiomarker.clinical.efficacy import (
    RESPONSE_COLUMNS,
    efficacy,
    pfs_table,
    response_columns,
    swimmer_data,
)
from pdbiomarker.clinical.efficacy_rules import EfficacyRules, read_efficacy_rules
from pdbiomarker.clinical.response import ResponseRules
from pdbiomarker.clinical.survival import AssessmentSchedule
from pdbiomarker.errors import InputError

TRIAL = trial()


def test_one_row_for_everybody_with_the_documented_columns() -> None:
    found = response_columns(efficacy(TRIAL["participants"], TRIAL))
    assert list(found.columns) == ["participant_id", *RESPONSE_COLUMNS]
    assert found["participant_id"].tolist() == sorted(TRIAL["participants"]["participant_id"])
    assert (found["dor_days"].notna() == found["responder"]).all()
    assert found["dor_event"].isna().to_numpy().tolist() == (~found["responder"]).tolist()
    assert (found["pfs_days"] <= found["os_days"]).all()


def test_the_same_tables_whatever_the_order_of_the_rows() -> None:
    turned = {name: table.iloc[::-1].reset_index(drop=True) for name, table in TRIAL.items()}
    one, other = efficacy(TRIAL["participants"], TRIAL), efficacy(turned["participants"], turned)
    for a, b in (
        (one.timepoints, other.timepoints),
        (one.best.table, other.best.table),
        (one.rates, other.rates),
        (pfs_table(one), pfs_table(other)),
        (one.curves["pfs_by_dose_mg"].table, other.curves["pfs_by_dose_mg"].table),
    ):
        pd.testing.assert_frame_equal(a, b)


def test_responses_alone_give_the_same_best_response_as_their_lesions() -> None:
    whole = efficacy(TRIAL["participants"], TRIAL)
    rows = whole.timepoints[~whole.timepoints["is_baseline"]]
    only = {"responses": rows[["participant_id", "date", "response"]], "outcomes": TRIAL["outcomes"]}
    found = efficacy(TRIAL["participants"], only)
    assert found.best.table["best_response"].tolist() == whole.best.table["best_response"].tolist()
    assert found.pfs.table["days"].tolist() == whole.pfs.table["days"].tolist()
    assert found.waterfall.empty


def test_recorded_and_computed_responses_are_compared() -> None:
    whole = efficacy(TRIAL["participants"], TRIAL)
    rows = whole.timepoints[~whole.timepoints["is_baseline"]][["participant_id", "date", "response"]]
    told = rows.reset_index(drop=True)
    told.loc[0, "response"] = "CR"
    found = efficacy(TRIAL["participants"], {**TRIAL, "responses": told.iloc[:-1]})
    assert found.differences["recorded"].tolist() == ["CR", ""]
    assert found.differences["computed"].tolist() == [rows["response"].iloc[0], rows["response"].iloc[-1]]
    assert sum(p.code == "E-RESP-015" for p in found.problems) == 2


def test_without_lesions_and_responses_nothing_is_derived() -> None:
    with pytest.raises(InputError, match="E-SURV-010"):
        efficacy(TRIAL["participants"], {"outcomes": TRIAL["outcomes"]})


def test_trap_35_a_cutoff_is_the_same_as_never_having_seen_what_came_after() -> None:
    cut = "2024-09-01"
    rules = EfficacyRules(cutoff=pd.Timestamp(cut).date())
    found = efficacy(TRIAL["participants"], TRIAL, rules=rules)
    seen = TRIAL["outcomes"].copy()
    for column in ("death_date", "new_therapy_date", "treatment_end_date"):
        seen[column] = seen[column].where(seen[column] <= cut, "")
    seen["last_contact_date"] = [
        min(t, cut) if t else ("" if d and d <= cut else cut)
        for t, d in zip(TRIAL["outcomes"]["last_contact_date"], TRIAL["outcomes"]["death_date"], strict=True)
    ]
    before = TRIAL["lesions"][TRIAL["lesions"]["date"] <= cut]
    early = efficacy(TRIAL["participants"], {"lesions": before, "outcomes": seen})
    for name in ("best_response", "best_size_change_pct", "pfs_days", "pfs_event", "dor_days"):
        known = response_columns(found)[name], response_columns(early)[name]
        pd.testing.assert_series_equal(*known)


def test_swimmer_bars_and_marks() -> None:
    made = efficacy(TRIAL["participants"], TRIAL)
    bars, marks = swimmer_data(made, TRIAL["participants"], TRIAL["outcomes"])
    assert len(bars) == len(TRIAL["participants"])
    deaths = set(marks.loc[marks["kind"] == "death", "participant_id"])
    assert deaths == set(TRIAL["outcomes"].loc[TRIAL["outcomes"]["death_date"] != "", "participant_id"])
    going = set(bars.loc[bars["ongoing"], "participant_id"])
    assert going.isdisjoint(deaths)
    assert not going & set(
        TRIAL["outcomes"].loc[TRIAL["outcomes"]["treatment_end_date"] != "", "participant_id"]
    )


def test_rules_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "response: {min_sd_days: 56}\nprimary: {new_therapy: ignore}\nsensitivity: {name: strict}\n"
        "schedule: {every_days: 56, window_days: 7, days: [42]}\nreader: INVESTIGATOR\ncutoff: 2024-12-31\n"
    )
    rules = read_efficacy_rules(path)
    assert rules.response == ResponseRules(min_sd_days=56)
    assert (rules.primary.name, rules.primary.new_therapy) == ("primary", "ignore")
    assert (rules.sensitivity.name, rules.sensitivity.new_therapy) == ("strict", "event")
    assert rules.schedule == AssessmentSchedule(56, 7, (42,))
    assert (rules.reader, str(rules.cutoff)) == ("INVESTIGATOR", "2024-12-31")
    path.write_text("primary: {new_therapy: drop}\nresponses: {}\n")
    with pytest.raises(InputError) as told:
        read_efficacy_rules(path)
    assert {p.code for p in told.value.problems} == {"E-SURV-002"}
    assert len(told.value.problems) == 2


def test_curves_by_dose_hold_everybody_once() -> None:
    made = efficacy(TRIAL["participants"], TRIAL)
    by_dose = made.curves["pfs_by_dose_mg"].medians
    assert by_dose["group"].tolist() == ["1", "3", "10"]
    assert by_dose["n"].sum() == made.curves["pfs"].medians["n"].iloc[0] == len(TRIAL["participants"])
    np.testing.assert_array_equal(
        by_dose["n_events"].sum(), made.curves["pfs"].medians["n_events"].to_numpy()[0]
    )
