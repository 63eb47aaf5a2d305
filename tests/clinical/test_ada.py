"""Anti-drug antibodies: samples, participants, incidence, and the status at a biopsy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pdbiomarker as pb
from pdbiomarker.errors import InputError

ada = pb.clinical.ada
PEOPLE = pd.DataFrame(
    {
        "participant_id": ["007", "008"],
        "first_dose_datetime": ["2025-01-10T09:00", "2025-01-10"],
        "dose_mg": [3, 10],
    }
)


def rows(*samples: tuple[int, Any], person: str = "007", scale: str = "linear") -> pd.DataFrame:
    """Final results: (study day, titre, or "neg", or "pos" for a positive without a titre)."""
    return pd.DataFrame(
        [
            {
                "participant_id": person,
                "study_day": day,
                "result": "negative" if value == "neg" else "positive",
                "titre": None if isinstance(value, str) else value,
                "titre_scale": None if isinstance(value, str) else scale,
            }
            for day, value in samples
        ]
    )


def one(table: pd.DataFrame, **options: Any) -> pd.Series:
    """The status of the only participant."""
    chosen = ada.AdaOptions(**options)
    status = ada.classify(ada.read_samples(table, options=chosen), options=chosen)
    assert len(status) == 1
    return status.iloc[0]


# --- the reference data set ---


@pytest.fixture(scope="module")
def reference_counts(shared_data: Callable[[str], Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    raw = pd.read_parquet(shared_data("cdisc_onco_pk/pharmaversesdtm__is_ada.parquet"))
    binding = raw[raw["ISTESTCD"] == "ADA_BAB"]
    texts = binding["ISSTRESC"]
    is_titre = texts.str.match(r"[<.0-9]").fillna(False).astype(bool)
    table = pd.DataFrame(
        {
            "participant_id": binding["USUBJID"],
            "study_day": binding["ISDY"].astype(int),
            "result": np.where(texts == "NEGATIVE", "negative", "positive"),
            "titre": texts.where(is_titre, None),
            "titre_scale": "log10",
        }
    )
    table.loc[texts.isna(), "result"] = None
    options = ada.AdaOptions(minimum_titre=10**1.40)  # the minimum required dilution, 1.40 on log10
    samples = ada.read_samples(table, options=options)
    return ada.incidence(ada.classify(samples, options=options)), ada.sample_flow(samples)


@pytest.mark.data
def test_the_reference_counts_of_the_pharmaverse_data(reference_counts: tuple[pd.DataFrame, Any]) -> None:
    # An independent count on the same data (254 participants, titres as log10), by the rules of Shankar 2014.
    table = reference_counts[0].set_index("measure")[["n", "denominator"]]
    got = {name: tuple(map(int, table.loc[name])) for name in table.index}
    assert got["baseline prevalence"] == (118, 252)
    assert got["evaluable"] == (144, 254)
    categories = {k: got[k] for k in ("negative", "induced", "boosted", "unaffected")}
    assert categories == {
        "negative": (55, 144), "induced": (27, 144), "boosted": (22, 144), "unaffected": (40, 144),
    }  # fmt: skip
    assert got["treatment-emergent incidence"] == (49, 144)
    assert got["overall prevalence"] == (89, 144)


@pytest.mark.data
def test_the_sample_flow_of_the_pharmaverse_data_loses_no_sample(
    reference_counts: tuple[Any, pd.DataFrame],
) -> None:
    flow = reference_counts[1].set_index("period")
    parts = flow[["positive", "negative", "inconclusive", "unresolved"]].sum(axis=1)
    assert (parts == flow["samples"]).all()
    assert flow.loc["all", ["samples", "unresolved"]].tolist() == [449, 1]


# --- trap 28: scales, missing baseline, the last sample ---


@pytest.mark.parametrize(
    ("scale", "before", "after", "category"),
    [
        ("linear", 50, 200, "boosted"),  # 4 times
        ("linear", 50, 199, "unaffected"),
        ("linear", 2, 2.6, "unaffected"),  # plus 0.6 on a linear titre is no boost
        ("log10", 1.4, 2.0, "boosted"),  # plus 0.60: log10(4) to two decimals
        ("log10", 1.4, 1.99, "unaffected"),
        ("log10", 1.4, 5.6, "boosted"),
        ("log10", 0.2, 0.79, "unaffected"),  # nearly 4 times as a number, no boost as a logarithm
    ],
)
def test_trap_28_a_boost_is_4_fold_on_linear_titres_and_0_6_on_log10(
    scale: str, before: float, after: float, category: str
) -> None:
    assert one(rows((-5, before), (29, after), scale=scale))["category"] == category


def test_trap_28_a_titre_without_its_scale_is_refused() -> None:
    table = rows((-5, 50), (29, 200)).drop(columns="titre_scale")
    with pytest.raises(InputError) as caught:
        ada.read_samples(table)
    assert [(p.code, p.column, p.value) for p in caught.value.problems] == [
        ("E-ADA-002", "titre", "50"),
        ("E-ADA-002", "titre", "200"),
    ]


def test_trap_28_the_lowest_titre_that_stands_in_is_on_the_scale_of_the_table() -> None:
    lowest = 10**1.4
    assert one(rows((-5, "pos"), (29, 2.0), scale="log10"), minimum_titre=lowest)["category"] == "boosted"
    linear = one(rows((-5, "pos"), (29, 4 * lowest - 0.5)), minimum_titre=lowest)
    assert linear["category"] == "unaffected"


def test_trap_28_scales_that_differ_within_a_participant_are_brought_together() -> None:
    table = pd.concat([rows((-5, 100)), rows((29, 2.60), scale="log10")])  # 398: 3.98-fold
    assert one(table)["category"] == "unaffected"
    table = pd.concat([rows((-5, 100)), rows((29, 2.61), scale="log10")])  # 407
    assert one(table)["category"] == "boosted"


def test_trap_28_a_missing_baseline_counts_as_negative_or_is_excluded() -> None:
    table = rows((29, 100))
    assert one(table)[["baseline", "category"]].tolist() == ["missing", "induced"]
    assert "counted as negative" in one(table)["note"]
    excluded = one(table, missing_baseline="exclude")
    assert excluded[["category", "evaluable"]].tolist() == ["not evaluable", False]


@pytest.mark.parametrize(
    ("samples", "course"),
    [
        ([(29, 50), (57, "neg")], "transient"),
        ([(29, 50), (140, 50), (170, "neg")], "transient"),  # 111 days: 15.9 weeks
        ([(29, 50), (141, 50), (170, "neg")], "persistent"),  # 112 days: 16 weeks
        ([(29, 50), (141, 50)], "persistent"),
        ([(29, "neg"), (57, 50)], "last"),  # positive at the last sample
        ([(29, 50), (57, 50)], "last"),
    ],
)
def test_trap_28_transient_persistent_and_the_last_sample(samples: list[Any], course: str) -> None:
    table = rows((-5, "neg"), *samples)
    for rule in ("persistent", "indeterminate"):
        assert one(table, last_positive=rule)["course"] == (rule if course == "last" else course)


def test_a_course_is_indeterminate_when_what_follows_is_inconclusive() -> None:
    table = rows((-5, "neg"), (29, 50), (57, "neg")).assign(drug_concentration=[0, 1, 80], unit="ug/mL")
    got = one(table, drug_tolerance=50, drug_tolerance_unit="ug/mL")
    assert got[["category", "course"]].tolist() == ["induced", "indeterminate"]


# --- participants ---


def test_onset_duration_and_peak_by_hand() -> None:
    got = one(rows((-5, "neg"), (15, "neg"), (29, 50), (57, 400), (85, 100), (113, "neg")))
    assert (got["onset_day"], got["onset_weeks"], got["duration_weeks"]) == (29, 4.0, 8.0)
    assert got["peak_titre"] == pytest.approx(400)
    assert got["neutralizing"] == "not tested"
    boosted = one(rows((-5, 100), (29, 200), (57, 500), (85, 450)))
    assert (boosted["onset_day"], boosted["duration_weeks"], boosted["course"]) == (57, 4.0, "")
    assert boosted["largest_fold"] == pytest.approx(5)


def test_categories_without_a_boost() -> None:
    assert one(rows((-5, 100), (29, "neg")))["category"] == "unaffected"
    assert one(rows((-5, "neg"), (29, "neg")))["category"] == "negative"
    never = one(rows((-5, 100)))
    assert never[["category", "evaluable", "ever_positive"]].tolist() == ["not evaluable", False, True]
    unsure = one(rows((-5, "pos"), (29, 100)))
    assert unsure["category"] == "unaffected"
    assert "boost cannot be excluded" in unsure["note"]
    assert one(rows((-5, "pos"), (29, 100)), minimum_titre=25)["category"] == "boosted"


def test_the_last_conclusive_sample_before_the_dose_is_the_baseline() -> None:
    samples = ada.read_samples(rows((-28, 100), (-1, "neg"), (29, 50)))
    assert samples.table["is_baseline"].tolist() == [False, True, False]
    assert ada.classify(samples)["category"].tolist() == ["induced"]


def test_a_participant_without_a_sample_has_a_row() -> None:
    status = ada.classify(ada.read_samples(rows((-5, "neg"), (29, 50)), PEOPLE))
    assert status["participant_id"].tolist() == ["007", "008"]
    assert status["note"].tolist()[1].startswith("no sample")


# --- samples ---


def steps(*parts: tuple[str, str], day: int = 29, **more: Any) -> pd.DataFrame:
    table = [
        {"participant_id": "007", "study_day": day, "assay_step": s, "result": r, **more} for s, r in parts
    ]
    return pd.DataFrame(table)


@pytest.mark.parametrize(
    ("parts", "status", "said"),
    [
        ([("screen", "negative")], "negative", ""),
        ([("screen", "positive"), ("confirm", "negative")], "negative", ""),
        ([("screen", "positive"), ("confirm", "positive")], "positive", ""),
        ([("screen", "positive")], "unresolved", "not confirmed"),
        ([("screen", "positive"), ("titre", "positive")], "positive", "no confirmation row"),
        ([("screen", "negative"), ("confirm", "positive")], "unresolved", "negative at screening"),
        ([("screen", "negative"), ("titre", "positive")], "unresolved", "yet a titre"),
        ([("confirm", "positive"), ("confirm", "negative")], "unresolved", "positive and negative"),
    ],
)
def test_a_sample_is_positive_when_it_is_confirmed(parts: list[Any], status: str, said: str) -> None:
    samples = ada.read_samples(steps(*parts))
    (row,) = samples.table.to_dict("records")
    assert row["status"] == status
    assert said in row["note"]
    assert [p.code for p in samples.problems] == (["E-ADA-001"] if status == "unresolved" else [])


def test_the_three_steps_are_one_sample_and_are_counted() -> None:
    table = steps(("screen", "positive"), ("confirm", "positive"))
    titre = steps(("titre", "positive"), titre=200, titre_scale="linear", neutralizing="positive")
    samples = ada.read_samples(pd.concat([table, titre, steps(("screen", "negative"), day=-3)]))
    assert samples.table["titre"].dropna().tolist() == pytest.approx([200])
    flow = ada.sample_flow(samples).set_index("period").loc["all"]
    assert flow.tolist() == [2, 2, 1, 1, 1, 1, 1, 0, 0]
    assert ada.classify(samples)["neutralizing"].tolist() == ["positive"]


@pytest.mark.parametrize(
    ("drug", "status", "said"),
    [(50, "negative", ""), (51, "inconclusive", "above"), (None, "negative", "not measured")],
)
def test_a_negative_sample_with_much_drug_is_inconclusive(drug: float | None, status: str, said: str) -> None:
    table = steps(("screen", "negative"), drug_concentration=drug, unit="ug/mL")
    options = ada.AdaOptions(drug_tolerance=50, drug_tolerance_unit="ug/mL")
    (row,) = ada.read_samples(table, options=options).table.to_dict("records")
    assert row["status"] == status
    assert said in row["note"]


def test_another_unit_than_that_of_the_tolerance_is_refused() -> None:
    options = ada.AdaOptions(drug_tolerance=50, drug_tolerance_unit="ug/mL")
    with pytest.raises(InputError, match=r"E-ADA-003 ada.csv:0 \[unit\].*Found: 'ng/mL'"):
        ada.read_samples(steps(("screen", "negative"), drug_concentration=9, unit="ng/mL"), options=options)
    with pytest.raises(InputError, match="has no unit"):
        ada.read_samples(steps(("screen", "negative")), options=ada.AdaOptions(drug_tolerance=50))


def test_the_day_of_the_first_dose_is_baseline_unless_the_times_say_otherwise() -> None:
    table = pd.DataFrame(
        {
            "participant_id": ["007", "007", "008", "007"],
            "date": ["2025-01-10T08:30", "2025-01-10T16:00", "2025-01-10T16:00", "2025-02"],
            "result": ["negative", "positive", "negative", "positive"],
        }
    )
    samples = ada.read_samples(table, PEOPLE)
    got = samples.table.set_index(["participant_id", "date"])
    assert got.loc[("007", "2025-01-10T08:30"), "period"] == "baseline"
    assert got.loc[("007", "2025-01-10T16:00"), "period"] == "post"
    assert got.loc[("008", "2025-01-10T16:00"), ["period", "note"]].tolist() == [
        "baseline",
        "day of the first dose, taken to be before it",
    ]
    assert got.loc[("007", "2025-02"), "period"] == "unplaced"  # a partial date is not guessed
    assert [(p.code, p.severity, p.value) for p in samples.problems] == [
        ("E-ADA-004", "quarantine", "2025-02")
    ]


def test_trap_35_a_sample_after_the_cut_off_is_not_used() -> None:
    table = pd.DataFrame(
        {"participant_id": "007", "date": ["2025-01-05", "2025-02-07", "2025-03-07"]}
        | {"result": ["negative", "negative", "positive"]}
    )
    options = ada.AdaOptions(cutoff="2025-02-28")
    samples = ada.read_samples(table, PEOPLE, options=options)
    assert samples.table["period"].tolist() == ["baseline", "post", "unplaced"]
    assert ada.classify(samples, options=options)["category"].tolist() == ["negative", "not evaluable"]
    assert [(p.code, p.value) for p in samples.problems] == [("E-ADA-004", "2025-03-07")]


def test_what_cannot_be_read_is_told_all_at_once() -> None:
    table = pd.DataFrame(
        {
            "participant_id": ["007", "099", None],
            "study_day": [1, "one", 3],
            "assay_step": ["sreen", None, None],
            "result": ["positive", "maybe", "negative"],
        },
        index=[2, 3, 4],
    )
    with pytest.raises(InputError) as caught:
        ada.read_samples(table, PEOPLE)
    told = {(p.code, p.row, p.column) for p in caught.value.problems}
    assert told == {
        ("E-ADA-005", 2, "assay_step"), ("E-SHEET-007", 3, "study_day"), ("E-ADA-005", 3, "result"),
        ("E-SHEET-006", 3, "participant_id"), ("E-SHEET-004", 4, "participant_id"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [{"boost_fold": 1}, {"minimum_titre": 0}, {"persistent_weeks": 0}, {"last_positive": "often"}],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="E-ADA-003"):
        ada.AdaOptions(**options)


# --- incidence by dose, and at the biopsy ---


def test_incidence_by_dose_has_its_denominators() -> None:
    table = pd.concat([rows((-5, "neg"), (29, 50)), rows((-5, "neg"), (29, "neg"), person="008")])
    found = ada.incidence(ada.classify(ada.read_samples(table, PEOPLE)), by_dose=True)
    emergent = found[found["measure"] == "treatment-emergent incidence"].set_index("dose")
    assert emergent[["n", "denominator"]].to_numpy().tolist() == [[1, 2], [1, 1], [0, 1]]
    assert emergent.index.tolist() == ["all", "3 mg", "10 mg"]
    # Clopper-Pearson for 1 of 2: 1.26 to 98.74 %.
    limits = emergent.loc["all", ["share_low", "share_high"]].tolist()
    assert limits == pytest.approx([0.0125791, 0.9874209], abs=1e-6)
    empty = found[(found["measure"] == "neutralizing") & (found["dose"] == "10 mg")].iloc[0]
    assert empty["denominator"] == 0
    assert np.isnan(empty["share"])


def test_the_status_at_each_biopsy() -> None:
    samples = ada.read_samples(rows((-5, "neg"), (15, 50), (29, 100), (57, "neg")), PEOPLE)
    biopsies = pd.DataFrame(
        {
            "biopsy_id": ["B0", "B1", "B2", "B3", "B4", "B5"],
            "participant_id": ["007", "007", "007", "007", "007", "008"],
            "study_day": [-10, -1, 28, None, None, 28],
            "collection_date": [None, None, None, "2025-03-21", "2025-03", None],
        }
    ).set_index("biopsy_id")
    got = ada.status_at(samples, biopsies, PEOPLE).set_index("biopsy_id")
    assert got["ada_last"].tolist() == ["none", "negative", "positive", "negative", "none", "none"]
    assert got["ada_last_day"].tolist() == [pd.NA, -5, 15, 57, pd.NA, pd.NA]
    assert got["ada_days_before"].tolist() == [pd.NA, 4, 13, 14, pd.NA, pd.NA]
    assert got["ada_any"].tolist() == [False, False, True, True, False, False]
    assert got.loc["B2", "ada_last_titre"] == pytest.approx(50)
    assert got["ada_note"].tolist() == [
        "no conclusive sample up to the biopsy", "", "", "", "not placed: no study day",
        "no conclusive sample",
    ]  # fmt: skip


def test_there_is_no_day_0_between_a_baseline_sample_and_a_biopsy_under_treatment() -> None:
    samples = ada.read_samples(rows((-1, "neg")), PEOPLE)
    biopsies = pd.DataFrame({"biopsy_id": ["B"], "participant_id": ["007"], "study_day": [1]})
    assert ada.status_at(samples, biopsies)["ada_days_before"].tolist() == [1]


def test_the_order_of_rows_changes_nothing() -> None:
    table = pd.concat([rows((-5, 100), (29, 450), (57, 90)), rows((-5, "neg"), (29, 60), person="008")])
    options = ada.AdaOptions()
    a = ada.classify(ada.read_samples(table, PEOPLE, options=options))
    b = ada.classify(ada.read_samples(table.iloc[::-1], PEOPLE.iloc[::-1], options=options))
    pd.testing.assert_frame_equal(a, b)
