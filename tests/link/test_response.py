"""Change against outcome, on a small trial."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from linked import changes_of, trial
from scipy import stats

from pdbiomarker import PDResult, link
from pdbiomarker.errors import InputError


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> PDResult:
    return trial(tmp_path_factory.mktemp("response") / "study")


def test_groups_order_and_area_are_those_of_the_changes(result: PDResult) -> None:
    found = link.response_pd(result, "ihc:CD8_density")
    y, people = changes_of(result, "CD8_density"), result.study.participants
    reply = people.loc[y.index, "best_response"]
    sd = y[reply == "SD"]
    row = found.row("mean change", "SD")
    t = stats.t.ppf(0.975, len(sd) - 1) * sd.std() / np.sqrt(len(sd))
    assert [row["estimate"], row["low"], row["high"]] == pytest.approx(
        [2 ** sd.mean(), 2 ** (sd.mean() - t), 2 ** (sd.mean() + t)], rel=1e-10
    )
    known = reply != "NE"
    better = reply[known].isin(["CR", "PR"])
    u = stats.mannwhitneyu(y[known][better], y[known][~better]).statistic
    area = found.row("area under the curve, responders (CR, PR)")
    assert area["estimate"] == pytest.approx(u / (better.sum() * (~better).sum()), abs=1e-12)
    assert area["n"] == known.sum() == 22
    assert "1 with a pair and no evaluable response" in area["note"]
    order = found.row("order across groups")
    assert order["estimate"] > 0.75
    assert order["p"] < 0.01


def test_change_of_size_has_correlation_and_slope(result: PDResult) -> None:
    found = link.response_pd(result, "ihc:CD8_density")
    y = changes_of(result, "CD8_density")
    size = result.study.participants.loc[y.index, "best_size_change_pct"].astype(float)
    line = stats.linregress(y, size)
    row = found.row("change of size per doubling of the feature")
    assert row["estimate"] == pytest.approx(line.slope, rel=1e-10)
    assert row["low"] < -40 < row["high"]  # planted
    rho = found.table[found.table["analysis"] == "change of size"].iloc[0]
    assert rho["estimate"] == pytest.approx(stats.spearmanr(y, size).statistic, abs=1e-12)


def test_trap_27_survival_counts_from_the_end_of_the_window(result: PDResult) -> None:
    """Day 36 by the window; who progressed or was censored by then is left out and counted."""
    found = link.response_pd(result, "ihc:CD8_density")
    y, people = changes_of(result, "CD8_density"), result.study.participants.copy()
    days = people.loc[y.index, "pfs_days"].astype(float)
    event = people.loc[y.index, "pfs_event"] == "yes"
    kept = days > 36
    expected = link.hazard_ratio(days[kept] - 36, event[kept], y[kept])
    row = found.row("hazard ratio per doubling")
    assert [row["estimate"], row["low"], row["high"]] == pytest.approx(
        [expected.value, expected.low, expected.high], rel=1e-8
    )
    assert row["n"] == kept.sum()
    early, cut = (~kept & event).sum(), (~kept & ~event).sum()
    assert f"{early} with an event and {cut} censored by day 36" in row["note"]
    assert found.facts["landmark_day"] == 36
    assert found.points["landmark_time"].notna().sum() == kept.sum()


@pytest.mark.parametrize("day", [1, 15, 35])
def test_trap_27_the_naive_analysis_is_refused(result: PDResult, day: int) -> None:
    with pytest.raises(InputError, match=r"E-LINK-003.*Immortal time"):
        link.response_pd(result, "ihc:CD8_density", landmark_day=day)


def test_a_later_landmark_is_taken(result: PDResult) -> None:
    found = link.response_pd(result, "ihc:CD8_density", landmark_day=60)
    assert found.facts["landmark_day"] == 60
    assert found.row("hazard ratio per doubling")["n"] < 23


def test_trap_27_without_a_window_a_landmark_day_must_be_given(tmp_path: Path) -> None:
    result = trial(tmp_path / "study", blood=False)
    spec = result.study.spec
    visits = tuple(dataclasses.replace(v, low=None, high=None, target=None) for v in spec.visits)
    open_ = dataclasses.replace(
        result, study=dataclasses.replace(result.study, spec=dataclasses.replace(spec, visits=visits))
    )
    row = link.response_pd(open_, "ihc:CD8_density").row("hazard ratio per doubling")
    assert row["status"] == "not_asked"
    assert "give landmark_day" in row["note"]
    assert "Immortal time" in row["note"]
    assert link.response_pd(open_, "ihc:CD8_density", landmark_day=40).facts["landmark_day"] == 40
    # The biopsies' own days are known and lie up to day 31.
    with pytest.raises(InputError, match="day 31"):
        link.response_pd(open_, "ihc:CD8_density", landmark_day=30)


def test_outcomes_may_come_as_a_table(result: PDResult) -> None:
    people = result.study.participants
    table = pd.DataFrame({"best_response": people["best_response"].str.lower()}).sample(
        frac=1, random_state=1
    )
    own, given = link.response_pd(result, "CD8_density"), link.response_pd(result, "CD8_density", table)
    pd.testing.assert_frame_equal(
        own.table[own.table["analysis"] == "best response"].drop(columns="note"),
        given.table[given.table["analysis"] == "best response"].drop(columns="note"),
    )
    assert own.table["note"].str.endswith("outcomes: columns of participants.csv").all()
    assert given.table["note"].str.endswith("outcomes: the table given").all()
    told = given.table[given.table["status"] == "not_asked"]
    assert told["analysis"].tolist() == ["change of size", "progression-free survival"]
    assert (told["note"] != "").all()


def test_every_fault_of_the_outcomes_is_told(result: PDResult) -> None:
    table = pd.DataFrame(
        {
            "best_response": ["CR", "great", "PD"],
            "pfs_days": ["12", "x", "-3"],
            "pfs_event": ["yes", "perhaps", "no"],
        },
        index=["P02", "P03", "P04"],
    )
    with pytest.raises(InputError) as told:
        link.response_pd(result, "CD8_density", table)
    assert {(p.code, p.column) for p in told.value.problems} == {
        ("E-LINK-002", "best_response"),
        ("E-LINK-002", "pfs_days"),
        ("E-LINK-002", "pfs_event"),
    }
    assert len(told.value.problems) == 4
    with pytest.raises(InputError, match="not in the study"):
        link.response_pd(result, "CD8_density", table.rename(index={"P02": "P99"}))


def test_one_group_and_no_responder_say_so(result: PDResult) -> None:
    table = pd.DataFrame({"best_response": "PD"}, index=result.study.participants.index)
    found = link.response_pd(result, "CD8_density", table)
    assert "one group" in found.row("order across groups")["note"]
    assert found.row("area under the curve, responders (CR, PR)")["status"] == "too_few"


def test_what_was_computed_from_the_clinical_sheets_stands_above_the_columns(result: PDResult) -> None:
    people = result.study.participants
    turned = people["best_response"].map({"PR": "PD", "PD": "PR"}).fillna(people["best_response"])
    table = pd.DataFrame({"participant_id": people.index, "best_response": turned.to_numpy()})
    more = dataclasses.replace(result, clinical={"response_by_participant": table})
    found = link.response_pd(more, "CD8_density").table
    expected = link.response_pd(result, "CD8_density", table.set_index("participant_id")).table
    pd.testing.assert_frame_equal(found.drop(columns="note"), expected.drop(columns="note"))
    assert found["note"].str.endswith("outcomes: computed from clinical/").all()
    own = link.response_pd(result, "CD8_density").table
    assert not found["estimate"].equals(own["estimate"])
    assert {x.table["note"].iloc[0] for x in link.link_study(more).response} != {
        x.table["note"].iloc[0] for x in link.link_study(result).response
    }
