"""The analyses of the clinic find what a simulated trial has planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.clinical.efficacy import efficacy
from pdbiomarker.clinical.pk import nca
from pdbiomarker.clinical.pk.of_study import timed_doses, timed_samples
from pdbiomarker.clinical.schedule import dose_history
from pdbiomarker.simulate.clinical import ClinicalDraw, concentration, draw_clinical
from pdbiomarker.simulate.design import TrialDesign
from pdbiomarker.simulate.trial import draw_trial

KINETICS = {"clearance": 0.02, "volume": 3.2, "flow": 0.03, "second_volume": 2.4}
#: Hours of the samples of the first dose, by the simulated protocol.
SAMPLED = np.array([0.0, 1.0, 4.0, 24.0, 72.0, 168.0, 335.5])


@pytest.fixture(scope="module")
def drawn() -> tuple[pd.DataFrame, ClinicalDraw]:
    for_trial, for_clinic = np.random.SeedSequence(11).spawn(2)
    people = draw_trial(TrialDesign(), 200, for_trial).participants
    return people, draw_clinical(people, for_clinic)


def _clearance(hours: np.ndarray) -> float:
    samples = pd.DataFrame(
        {
            "participant_id": "1",
            "time_h": hours,
            "concentration": concentration(hours, [[0, 100]], KINETICS),
            "unit": "ug/mL",
        }
    )
    doses = pd.DataFrame(
        {"participant_id": ["1"], "time_h": 0.0, "amount": 100.0, "duration_h": 1.0, "unit": "mg"}
    )
    return float(nca(samples, doses)["cl"].iloc[0])


def test_clearance_of_an_exact_curve_is_the_one_planted() -> None:
    # Oracle: AUC(0, inf) = dose / clearance. Dense samples over ten half-lives; trapezoids to 0.5 %.
    hours = np.concatenate([np.linspace(0, 10, 101), np.linspace(12, 2400, 400)])
    assert _clearance(hours) == pytest.approx(KINETICS["clearance"], rel=0.005)


def test_clearance_from_the_first_dose_interval_is_the_planted_one_within_error(
    drawn: tuple[pd.DataFrame, ClinicalDraw],
) -> None:
    """Doses repeat every 336 h, so the first dose is seen for less than two half-lives.

    Its tail is then steeper than the last phase, and clearance too high by the ratio that the same samples of
    the exact typical curve give (1.055). Around it the samples scatter by 8 % each.
    """
    people, clinic = drawn
    history = dose_history(clinic.sheets["doses"], people.set_index("participant_id"))
    doses, _ = timed_doses(history)
    samples, _ = timed_samples(clinic.sheets["concentrations"], history)
    found = nca(samples.drop(columns="analyte"), doses).set_index("participant_id")
    truth = clinic.truth.set_index("participant_id")
    ratio = (found["cl"] / truth["clearance"]).dropna()
    assert len(ratio) >= 190
    too_high = _clearance(SAMPLED) / KINETICS["clearance"]
    assert 1.0 < too_high < 1.15
    assert float(np.exp(np.log(ratio).mean())) == pytest.approx(too_high, rel=0.03)
    assert float(np.log(ratio).std()) < 0.12
    assert found["flags"].str.contains("the first of").all()  # each says that there are more doses


def test_progression_is_found_on_the_scan_where_it_was_planted(
    drawn: tuple[pd.DataFrame, ClinicalDraw],
) -> None:
    """Diameters are measured with 4 % error and rounded, so only courses clear of the limit are asked.

    Clear: 33 % above the nadir or more on the scan planted, 9 % or less on each one before.
    """
    people, clinic = drawn
    made = efficacy(people, {name: clinic.sheets[name] for name in ("lesions", "outcomes")})
    pfs = made.pfs.table.set_index("participant_id")
    best = made.best.table.set_index("participant_id")["best_response"]
    truth = clinic.truth.set_index("participant_id")
    growth, day = truth["growth_per_day"], truth["progression_day"].astype("Float64").astype(float)
    size, before = np.exp(growth * day), np.exp(growth * (day - 56))
    clear = (size >= 1.33) & ((before <= 1.09) | (day == 56))
    assert int(clear.sum()) >= 15
    assert pfs.loc[clear, "event"].all()
    assert pfs.loc[clear, "days"].to_numpy().tolist() == day[clear].tolist()
    assert set(best[clear & (day == 56)]) == {"PD"}

    never = day.isna() & (growth <= -0.0005)
    assert int(never.sum()) >= 15
    seen = pfs.loc[never]
    assert (seen["event_description"] == "progression").mean() <= 0.05
    # A tumour that halves by the planted rate before the last scan has responded.
    scans = pfs.loc[never, "days"] >= 168
    shrunk = never & (np.exp(growth * 168) <= 0.6)
    responded = best[shrunk & scans.reindex(best.index, fill_value=False)]
    assert len(responded) >= 3
    assert set(responded) <= {"PR", "CR"}
