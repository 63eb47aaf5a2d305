"""The simulated clinical course: exact kinetics, sheets that agree with their truth, the same bytes."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

from pdbiomarker.simulate.clinical import ClinicalDraw, concentration, draw_clinical
from pdbiomarker.simulate.design import TrialDesign
from pdbiomarker.simulate.trial import DATA_CUTOFF, Trial, draw_trial

KINETICS = {"clearance": 0.02, "volume": 3.2, "flow": 0.03, "second_volume": 2.4}


@pytest.fixture(scope="module")
def drawn() -> tuple[Trial, ClinicalDraw]:
    for_trial, for_clinic = np.random.SeedSequence(7).spawn(2)
    trial = draw_trial(TrialDesign(), 60, for_trial)
    return trial, draw_clinical(trial.participants, for_clinic)


def test_concentration_solves_the_equations_of_two_compartments() -> None:
    # Oracle: numerical integration of the two differential equations. Tolerance 1e-6 of the peak.
    doses, times = [[0.0, 100.0], [336.0, 50.0]], np.array([0.5, 1.0, 5.0, 100.0, 336.5, 337.0, 600.0])

    def slope(t: float, amounts: np.ndarray) -> list[float]:
        rate = sum(amount for start, amount in doses if start <= t < start + 1.0)
        central, outer = amounts[0] / KINETICS["volume"], amounts[1] / KINETICS["second_volume"]
        flow = KINETICS["flow"] * (central - outer)
        return [rate - KINETICS["clearance"] * central - flow, flow]

    solved = solve_ivp(slope, (0, 600), [0.0, 0.0], t_eval=times, rtol=1e-9, atol=1e-12, max_step=0.25)
    np.testing.assert_allclose(
        concentration(times, doses, KINETICS), solved.y[0] / KINETICS["volume"], rtol=2e-4
    )


def test_the_area_of_one_dose_is_dose_over_clearance() -> None:
    hours = np.linspace(0, 20_000, 400_001)
    area = np.trapezoid(concentration(hours, [[0, 100]], KINETICS), hours)
    assert area == pytest.approx(100 / 0.02, rel=1e-5)


def test_sheets_agree_with_the_truth(drawn: tuple[Trial, ClinicalDraw]) -> None:
    trial, clinic = drawn
    truth = clinic.truth.set_index("participant_id")
    assert list(truth.index) == list(trial.participants["participant_id"])
    assert truth["auc_inf_first_dose"].to_numpy() == pytest.approx(
        trial.participants["dose_mg"].to_numpy() / truth["clearance"].to_numpy()
    )
    events = clinic.sheets["adverse_events"]
    limited = set(events.loc[events["dose_limiting"] == "yes", "participant_id"])
    assert limited == set(truth.index[truth["dose_limiting"]])
    ada = clinic.sheets["ada"]
    positive = set(
        ada.loc[(ada["assay_step"] == "confirm") & (ada["result"] == "positive"), "participant_id"]
    )
    assert set(truth.index[truth["induced_ada"]]) <= positive
    lesions = clinic.sheets["lesions"]
    last = lesions.groupby("participant_id")["date"].max()
    starts = trial.participants.set_index("participant_id")["first_dose_datetime"]
    for participant, day in truth["progression_day"].dropna().items():
        first = dt.date.fromisoformat(str(starts[participant])[:10])
        assert last[participant] == (first + dt.timedelta(days=int(day) - 1)).isoformat()


def test_more_cells_slow_the_growth_of_lesions(drawn: tuple[Trial, ClinicalDraw]) -> None:
    trial, clinic = drawn
    r = np.corrcoef(trial.participants["true_change_log2"], clinic.truth["growth_per_day"])[0, 1]
    assert r < -0.3


def test_no_date_lies_after_the_cutoff(drawn: tuple[Trial, ClinicalDraw]) -> None:
    for name, sheet in drawn[1].sheets.items():
        for column in [c for c in sheet if c in {"start", "end", "datetime", "date"} or c.endswith("_date")]:
            dates = [str(d)[:10] for d in sheet[column] if d]
            assert max(dates, default="") <= DATA_CUTOFF.isoformat(), (name, column)


def test_the_same_seed_draws_the_same() -> None:
    trial = draw_trial(TrialDesign(), 5, np.random.SeedSequence(3))
    first, second = (draw_clinical(trial.participants, np.random.SeedSequence(4)) for _ in range(2))
    for name in first.sheets:
        pd.testing.assert_frame_equal(first.sheets[name], second.sheets[name])
    pd.testing.assert_frame_equal(first.truth, second.truth)
