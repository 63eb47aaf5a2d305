"""Cox's model and Kaplan-Meier against R; immortal time by simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.link import hazard_ratio, kaplan_meier


@pytest.fixture(scope="module")
def r(golden: Path) -> pd.Series:
    table = pd.read_csv(golden / "link" / "link_results.csv")
    return table.set_index(["case", "quantity"])["value"]


@pytest.fixture(scope="module")
def data(golden: Path) -> pd.DataFrame:
    return pd.read_csv(golden / "link" / "survival.csv")


def test_hazard_ratio_is_that_of_survival(data: pd.DataFrame, r: pd.Series) -> None:
    """coxph, ties by Efron; p by the likelihood ratio, limits by the profile likelihood."""
    found = hazard_ratio(data["time"], data["event"], data["change"])
    told = [found.value, found.low, found.high, found.p]
    assert told == pytest.approx([r["cox", q] for q in ("hr", "low", "high", "p")], rel=1e-6)
    assert found.note == f"{data['event'].sum()} events"


def test_kaplan_meier_is_that_of_survival(data: pd.DataFrame, r: pd.Series) -> None:
    times, survival = kaplan_meier(data["time"], data["event"])
    told = [survival[np.searchsorted(times, day, side="right") - 1] for day in (50, 100, 150)]
    assert told == pytest.approx([r["km", f"day{day}"] for day in (50, 100, 150)], abs=1e-10)
    assert (times[0], survival[0]) == (0.0, 1.0)
    assert times[-1] == data["time"].max()


def test_few_events_and_separation_are_told() -> None:
    assert "4 events" in hazard_ratio([1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 0, 0], [1, 2, 3, 4, 5, 6]).note
    assert "not vary" in hazard_ratio([1, 2, 3, 4, 5], [1] * 5, [2] * 5).note
    split = hazard_ratio([1, 2, 3, 4, 5, 6, 7, 8], [1] * 8, [8, 7, 6, 5, 4, 3, 2, 1])
    assert split.low > 1
    assert split.high == np.inf
    assert "separated" in split.note


def test_trap_27_immortal_time_makes_the_naive_hazard_ratio_wrong_and_the_landmark_right() -> None:
    """No relation planted. Naive: from the first dose, those without a biopsy count as "no change".

    Progression is exponential with mean 70 days, the biopsy on days 22 to 36, the change N(1, 1) in those
    who reach it. The naive analysis finds a protective change nearly always; from day 36 the test keeps its
    level and the hazard ratio is 1.
    """
    draw = np.random.default_rng(27)
    naive, landmark = [], []
    for _ in range(60):
        pfs, biopsy = draw.exponential(70, 60), draw.integers(22, 37, 60)
        change = np.where(pfs > biopsy, draw.normal(1, 1, 60), 0.0)
        naive.append(hazard_ratio(pfs, np.ones(60), change))
        kept = pfs > 36
        landmark.append(hazard_ratio(pfs[kept] - 36, np.ones(kept.sum()), change[kept]))
    found = {
        name: (np.exp(np.mean([np.log(a.value) for a in all_])), np.mean([a.p <= 0.05 for a in all_]))
        for name, all_ in (("naive", naive), ("landmark", landmark))
    }
    assert found["naive"][0] < 0.8
    assert found["naive"][1] > 0.5
    assert found["landmark"][0] == pytest.approx(1.0, abs=0.09)  # SE of the mean log ratio .024
    assert found["landmark"][1] <= 0.14  # .05 + 3 binomial SD
