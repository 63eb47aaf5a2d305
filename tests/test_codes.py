"""Every code is raised by a test; those that no room's own tests raise are raised here."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pandas as pd
import pytest
from cdisc_files import PEOPLE, write
from rcc_set import write_run

from pdbiomarker import expression
from pdbiomarker.clinical.cdisc import import_cdisc
from pdbiomarker.clinical.outcomes import read_outcomes
from pdbiomarker.clinical.pk import nca_intervals
from pdbiomarker.clinical.response import best_overall_response, response_rates
from pdbiomarker.clinical.survival import cox
from pdbiomarker.errors import CATALOGUE, InputError, Problems
from pdbiomarker.run.exposure import _unplaced

ROOT = Path(__file__).parents[1]


def test_every_code_is_named_by_a_test_and_by_the_code_that_tells_it() -> None:
    """E-FORMULA-002, 004, 005 are put together from their numbers where a formula is read."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("*.py")))
    told = [p for p in sorted((ROOT / "pdbiomarker").rglob("*.py")) if p.name != "error_codes.py"]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in told)
    assert sorted(set(CATALOGUE) - set(re.findall(r"E-[A-Z]+-\d{3}", tests))) == []
    unsaid = set(CATALOGUE) - set(re.findall(r"E-[A-Z]+-\d{3}", sources))
    assert unsaid == {"E-FORMULA-002", "E-FORMULA-004", "E-FORMULA-005"}


def test_a_dosing_interval_of_nothing_and_a_steady_state_that_is_neither() -> None:
    samples = pd.DataFrame({"subject": ["1", "1"], "time_h": [0.0, 1.0], "concentration": [0.0, 1.0]})
    with pytest.raises(InputError) as told:
        nca_intervals(samples, pd.DataFrame(), tau_h=0, steady_state="perhaps")
    assert [p.code for p in told.value.problems][-2:] == ["E-PK-008", "E-PK-008"]


def test_samples_and_doses_without_a_time_are_told() -> None:
    samples = pd.DataFrame(
        {"participant_id": ["P1"], "time_h": [float("nan")], "line": [2], "datetime": ["?"]}
    )
    doses = pd.DataFrame({"participant_id": ["P1"], "start": ["2025"], "note": ["no whole date"]})
    assert [(p.code, p.file) for p in _unplaced(samples, doses)] == [
        ("E-CLIN-030", "concentrations.csv"),
        ("E-CLIN-030", "doses.csv"),
    ]


def test_a_date_of_an_outcome_after_the_cutoff_has_not_happened() -> None:
    problems = Problems()
    rows = pd.DataFrame({"participant_id": ["1"], "death_date": ["2025-07-01"]})
    found = read_outcomes(rows, {"1": dt.date(2025, 1, 1)}, cutoff=dt.date(2025, 6, 30), problems=problems)
    assert [p.code for p in problems] == ["E-SURV-008"]
    assert found["1"].death is None


def test_a_rate_by_a_column_that_is_not_there_and_a_model_of_nothing() -> None:
    people = pd.DataFrame({"participant_id": ["1"], "first_dose_datetime": ["2024-01-01"]})
    scans = pd.DataFrame({"participant_id": ["1"], "date": ["2024-03-01"], "response": ["PR"]})
    with pytest.raises(InputError, match="E-RESP-001"):
        response_rates(best_overall_response(scans, people), people, by="arm")
    with pytest.raises(InputError, match="E-SURV-007"):
        cox(pd.DataFrame({"days": [1.0, 2.0], "event": [1, 0]}), [])


def test_a_lane_whose_controls_are_off_is_read_with_caution(tmp_path: Path) -> None:
    write_run(tmp_path, n_participants=2)
    lane = sorted(tmp_path.glob("*.RCC"))[0]
    text = lane.read_text(encoding="utf-8")
    lane.write_text(re.sub(r"(Positive,.*,)(\d+)", r"\g<1>\g<2>0", text), encoding="utf-8")
    told = [p for p in expression.problems_of(expression.read_ncounter(tmp_path)) if p.code == "E-LANE-007"]
    # Geometric means 10, 1, 1, 1: their mean is 3.25; three factors are 3.25 (limit 3), one .325 (.3).
    assert {p.item for p in told if p.column == "positive_factor"} == {"run1_02", "run1_03", "run1_04"}


def test_a_file_beside_datasets_is_told(tmp_path: Path) -> None:
    write(tmp_path, PEOPLE, "xpt")
    (tmp_path / "notes.docx").write_bytes(b"x")
    assert ("E-CDISC-015", "notes.docx") in {(p.code, p.file) for p in import_cdisc(tmp_path).problems}
