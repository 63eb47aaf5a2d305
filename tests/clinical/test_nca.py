"""Single doses: PKNCA's numbers to 1e-8, the infusion profile worked out by hand, and everything refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate

from pdbiomarker.clinical import pk
from pdbiomarker.clinical.pk import BlqRule, nca
from pdbiomarker.clinical.pk.areas import area_between, areas, concentration_at
from pdbiomarker.clinical.pk.single_dose import COLUMNS
from pdbiomarker.errors import InputError
from tests.reference_inputs import PKNCA, infusions, theoph

T = [0, 1, 4, 24, 72, 168, 336]
C = [0, 50, 38, 20, 8, 1.6, 0]


def one(c: list[object] | None = None, t: list[float] | None = None, **more: object) -> pd.DataFrame:
    return pd.DataFrame({"participant_id": "P1", "time_h": t or T, "concentration": c or C, **more})


def dose(amount: float = 100, *, duration: float = 1, **more: object) -> pd.DataFrame:
    return pd.DataFrame(
        {"participant_id": ["P1"], "time_h": [0.0], "amount": [amount], "duration_h": [duration], **more}
    )


def compare(ours: pd.DataFrame, theirs: pd.DataFrame, subject: str) -> int:
    """Compare every parameter both have to 1e-8; the number compared."""
    table, n = ours.set_index("participant_id"), 0
    for row in theirs.itertuples():
        if row.PPTESTCD in PKNCA:
            mine = table.loc[getattr(row, subject), PKNCA[row.PPTESTCD]]
            assert mine == pytest.approx(row.PPORRES, rel=1e-8), (getattr(row, subject), row.PPTESTCD)
            n += 1
    return n


@pytest.mark.data
def test_the_twelve_subjects_of_theoph_as_in_pknca(
    shared_data: Callable[[str], Path], shared_golden: Callable[[str], Path]
) -> None:
    """PKNCA 0.10.0.9000, extravascular, linear-up/log-down."""
    samples, doses = theoph(shared_data("pk_base_r/Theoph.csv"))
    table = nca(samples, doses, route="oral")
    golden = pd.read_csv(shared_golden("nca_theoph_pknca.csv"), dtype={"Subject": str})
    assert compare(table, golden, "Subject") == 12 * 13
    row = table.set_index("participant_id").loc["1"]
    assert row["extrapolated_pct"] == pytest.approx(31.49, abs=0.005)
    assert "31.5 % extrapolated > 20 %" in row["flags"]
    assert "pre-dose 7.0 % of Cmax" in row["flags"]
    assert table["vss"].isna().all()
    assert table["mrt"].isna().all()


@pytest.mark.data
@pytest.mark.parametrize(
    ("method", "name"), [("linear_up_log_down", "lin up/log down"), ("linear", "linear")]
)
def test_eight_infusions_with_values_below_the_limit_as_in_pknca(
    method: str, name: str, shared_golden: Callable[[str], Path]
) -> None:
    samples, doses = infusions(shared_golden("nca_infusion_conc.csv"))
    golden = pd.read_csv(shared_golden("nca_infusion_pknca.csv"))
    golden = golden[golden["method"] == name]
    table = nca(samples, doses, method=method)
    assert compare(table, golden, "subject") == 8 * 16
    # The same with texts, with NaN and the flag, and in any order of rows.
    texts = samples.assign(
        concentration=[
            f"{c}" if not b else "<0.05"
            for c, b in zip(samples["concentration"], samples["blq"], strict=True)
        ]
    )
    absent = samples.assign(concentration=samples["concentration"].mask(samples["blq"]))
    for other in (texts.drop(columns="blq"), absent, absent.drop(columns="blq"), samples.iloc[::-1]):
        pd.testing.assert_frame_equal(nca(other, doses.iloc[::-1], method=method), table)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (
            "linear",
            {
                "auc_last": 1869.8,
                "auc_inf": 1961.600516,
                "cl": 0.05097877942,
                "vz": 2.924923904,
                "mrt": 47.02852076,
                "vss": 2.397456586,
            },
        ),
        (
            "linear_up_log_down",
            {
                "auc_last": 1727.42266,
                "auc_inf": 1819.223176,
                "cl": 0.05496851697,
                "vz": 3.153836382,
                "mrt": 52.97655372,
                "vss": 2.912042593,
            },
        ),
    ],
)
def test_trap_29_the_infusion_of_100_mg(method: str, expected: dict[str, float]) -> None:
    """A 1-h infusion: PKNCA and an independent calculation agree on these ten digits."""
    row = nca(one(), dose(), method=method).iloc[0]
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=2e-9), name
    assert row["auc_all"] - row["auc_last"] == pytest.approx(168 * 1.6 / 2, rel=1e-12)
    bolus_like = nca(one(), dose(duration=0), method=method).iloc[0]
    assert bolus_like["mrt"] == pytest.approx(row["mrt"] + 0.5, rel=1e-12)
    assert "no duration of the infusion" in bolus_like["flags"]


def test_trap_29_a_terminal_slope_leaves_out_tmax_and_the_infusion() -> None:
    k, t = 0.1, np.array([0.0, 1, 2, 4, 8, 12])
    c = 10 * np.exp(-k * t)
    c[0] = 0
    row = nca(one(c.tolist(), t.tolist()), dose(duration=2)).iloc[0]
    assert row["lambda_z"] == pytest.approx(k, rel=1e-12)
    assert row["lambda_z_n"] == 4  # 2, 4, 8, 12 h: 1 h is Tmax
    assert nca(one(c.tolist(), t.tolist()), dose(duration=3)).iloc[0]["lambda_z_n"] == 3


def test_trap_29_fewer_than_three_points_give_no_slope_and_say_so() -> None:
    row = nca(one([0, 5, 4, 2, 0], [0, 1, 2, 8, 24]), dose()).iloc[0]
    assert math.isnan(row["lambda_z"])
    assert math.isnan(row["auc_inf"])
    assert math.isnan(row["cl"])
    assert row["auc_last"] > 0
    assert "no terminal slope: 2 points after Tmax" in row["flags"]
    rising = nca(one([1, 9, 1, 2, 4], [0, 1, 2, 8, 24]), dose()).iloc[0]
    assert "the concentrations do not fall" in rising["flags"]
    flat = nca(one([0, 9, 0.3, 0.3, 0.3], [0, 1, 2, 8, 24]), dose()).iloc[0]
    assert math.isnan(flat["auc_inf"])


def test_trap_29_a_dose_in_ug_per_kg_is_not_one_in_mg() -> None:
    units = {"unit": "ug/mL"}
    plain = nca(one(**units), dose(unit="mg")).iloc[0]
    per_kg = nca(one(**units), dose(100_000 / 80, unit="ug/kg", weight_kg=80.0)).iloc[0]
    assert per_kg["cl"] == pytest.approx(plain["cl"], rel=1e-14)
    assert plain["cl"] == pytest.approx(0.05496851697, rel=1e-9)  # L/h
    in_ng = nca(one([c * 1000 for c in C], unit="ng/mL"), dose(0.1, unit="g")).iloc[0]
    assert in_ng["cl"] == pytest.approx(plain["cl"], rel=1e-12)
    assert in_ng["vss"] == pytest.approx(plain["vss"], rel=1e-12)
    assert in_ng["cmax"] == 50_000
    mixed_units = pd.concat([one(**units).head(6), one([0.0], [336], unit="ng/mL")])
    assert nca(mixed_units, dose(unit="mg")).iloc[0]["auc_inf"] == pytest.approx(plain["auc_inf"], rel=1e-14)


def test_trap_29_a_second_dose_is_not_part_of_a_single_dose() -> None:
    twice = pd.concat([dose(), dose().assign(time_h=200.0)])
    later = one([*C[:6], 50, 30], [*T[:6], 201, 224])
    row = nca(later, twice).iloc[0]
    alone = nca(one(C[:6], T[:6]), dose()).iloc[0]
    assert row["auc_inf"] == alone["auc_inf"]
    assert "several doses: the first of 2 only, 2 later samples left out" in row["flags"]


def test_trap_23_below_the_limit_is_one_thing_however_it_is_spelt() -> None:
    """As SDTM has it: "<BLQ" beside a numeric 0 in one row and NaN in another."""
    expected = nca(one(), dose())
    for first, last in (("<BLQ", "BLQ"), (0, "<0.5"), ("<LLOQ", 0.0)):
        pd.testing.assert_frame_equal(nca(one([first, *C[1:6], last]), dose()), expected)
    flagged = one([np.nan, *C[1:6], 0.0], blq=[True, *[False] * 5, True])
    pd.testing.assert_frame_equal(nca(flagged, dose()), expected)
    # A value below its LLOQ is below the limit, whatever number the laboratory printed.
    pd.testing.assert_frame_equal(nca(one([0, *C[1:6], 0.3], lloq=0.5), dose()), expected)
    missing = nca(one([0, *C[1:6], np.nan], blq=[True, *[False] * 6]), dose()).iloc[0]
    assert "1 samples not measured" in missing["flags"]
    assert missing["auc_all"] == missing["auc_last"]


def test_rules_for_values_below_the_limit_can_be_chosen() -> None:
    c = ["BLQ", 50, "BLQ", 20, 8, 1.6, "BLQ"]
    dropped = nca(one(c, lloq=1.0), dose(), method="linear").iloc[0]
    assert dropped["auc_last"] == pytest.approx(0.5 * 50 + 23 * 35 + 48 * 14 + 96 * 4.8)
    zero = nca(one(c, lloq=1.0), dose(), method="linear", blq=BlqRule(middle="zero")).iloc[0]
    assert zero["auc_last"] == pytest.approx(0.5 * 50 + 3 * 25 + 20 * 10 + 48 * 14 + 96 * 4.8)
    half = nca(
        one(c, lloq=1.0), dose(), method="linear", blq=BlqRule("half_lloq", "half_lloq", "half_lloq")
    ).iloc[0]
    assert half["auc_last"] == pytest.approx(0.5 * 50.5 + 3 * 25.25 + 20 * 10.25 + 48 * 14 + 96 * 4.8)
    assert half["auc_all"] - half["auc_last"] == pytest.approx(168 * (1.6 + 0.5) / 2)
    assert half["lambda_z"] == dropped["lambda_z"]
    with pytest.raises(InputError, match="LLOQ"):
        nca(one(c), dose(), blq=BlqRule(middle="half_lloq"))


def test_a_bolus_starts_at_the_extrapolated_concentration() -> None:
    k, t = 0.1, np.array([0.5, 1, 2, 4, 8, 24])
    row = nca(one((100 / 20 * np.exp(-k * t)).tolist(), t.tolist()), dose(duration=0), route="bolus").iloc[0]
    for name, value in {"auc_inf": 100 / (20 * k), "cl": 20 * k, "vz": 20, "vss": 20, "mrt": 1 / k}.items():
        assert row[name] == pytest.approx(value, rel=1e-12), name
    assert "c(0) extrapolated" in row["flags"]
    assert row["tmax"] == 0.5  # what was sampled, as PKNCA has it; c(0) takes part in the areas alone
    assert row["cmax"] == pytest.approx(5 * math.exp(-0.05), rel=1e-12)


def test_samples_before_the_dose_and_none_at_all() -> None:
    early = nca(one(C, [-0.5, *T[1:]]), dose()).iloc[0]
    assert early["auc_inf"] == pytest.approx(nca(one(), dose()).iloc[0]["auc_inf"], rel=1e-14)
    assert "the pre-dose sample stands for time 0" in early["flags"]
    none = nca(one([0, 0, 0], [0, 1, 2]), dose()).iloc[0]
    assert (none["cmax"], none["auc_last"]) == (0, 0)
    assert none["flags"] == "every sample below the limit"
    nobody = pd.concat([dose(), dose().assign(participant_id="P0")])
    table = nca(one(), nobody)
    assert table["participant_id"].tolist() == ["P0", "P1"]
    assert "no samples after the first dose" in table["flags"][0]
    assert tuple(table.columns) == COLUMNS


def test_a_participant_without_a_dose_has_a_row_that_says_so() -> None:
    unplaced = pd.concat([one(), one(t=[math.nan] * len(T)).assign(participant_id="P0")])
    table = nca(unplaced, dose()).set_index("participant_id")
    assert table["flags"]["P0"] == "no dose"
    assert table.loc["P0"].drop(["flags", "lambda_z_n"]).isna().all()
    assert table["cl"]["P1"] == nca(one(), dose())["cl"][0]
    parts = pk.auc_between(unplaced, dose(), start_h=0, end_h=24).set_index("participant_id")
    assert math.isnan(parts["auc"]["P0"])
    assert parts["flags"]["P0"] == "no dose"
    biopsies = pd.DataFrame({"biopsy_id": ["B"], "participant_id": ["P0"], "time_h": [24.0]})
    at = pk.exposure_at(biopsies, unplaced, dose()).iloc[0]
    assert at["flags"] == "no dose"
    assert math.isnan(at["auc_to_biopsy"])
    assert set(pk.nca_intervals(unplaced, dose())["participant_id"]) == {"P1"}


BAD = {
    "negative concentration": (one([0, 50, -3, 20, 8, 1.6, 0]), dose(), "E-PK-002"),
    "same time twice": (one(t=[0, 1, 1, 24, 72, 168, 336]), dose(), "E-PK-003"),
    "no dose": (one().assign(participant_id="P9"), dose(), "E-PK-004"),
    "dose of 0": (one(), dose(0), "E-PK-005"),
    "negative duration": (one(), dose(duration=-1), "E-PK-005"),
    "dose twice": (one(), pd.concat([dose(), dose()]), "E-PK-005"),
    "dose without unit": (one(unit="ug/mL"), dose(), "E-PK-005"),
    "dose with an empty unit": (one(unit="ug/mL"), dose(unit=None), "E-PK-005"),
    "concentration without unit": (one(), dose(unit="mg"), "E-PK-006"),
    "unknown unit": (one(unit="ug/mL"), dose(unit="puff"), "E-PK-006"),
    "moles against mass": (one(unit="nM"), dose(unit="mg"), "E-PK-006"),
    "no weight": (one(unit="ug/mL"), dose(unit="mg/kg"), "E-PK-007"),
    "text": (one([0, 50, "ND", 20, 8, 1.6, 0]), dose(), "E-PK-001"),
    "no column": (one().drop(columns="time_h"), dose(), "E-PK-001"),
    "no id": (one().assign(participant_id=["P1", None, *["P1"] * 5]), dose(), "E-PK-001"),
    "two analytes": (one(analyte=["A", "B", "A", "A", "A", "A", "A"]), dose(), "E-PK-011"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_is_named(case: str) -> None:
    samples, doses, code = BAD[case]
    with pytest.raises(InputError) as caught:
        nca(samples, doses)
    assert [p.code for p in caught.value.problems] == [code]
    assert caught.value.problems[0].remedy


def test_every_fault_is_told_at_once_and_options_are_checked() -> None:
    with pytest.raises(InputError) as caught:
        nca(one([0, -1, "ND", 20, 8, 1.6, 0], t=[0, 1, 1, 24, 72, 168, 336]), dose(-5))
    assert {p.code for p in caught.value.problems} == {"E-PK-001", "E-PK-002", "E-PK-003", "E-PK-005"}
    with pytest.raises(InputError) as caught:
        nca(one(), dose(), route="iv", method="log")
    assert [p.column for p in caught.value.problems] == ["route", "method"]


def test_partial_areas_add_up_and_agree_with_quadrature() -> None:
    """Brute force: the area is that of the curve that the interpolation draws."""
    t, c = np.array(T[:6], dtype=float), np.array(C[:6], dtype=float)
    for method in ("linear", "linear_up_log_down"):
        cuts = [0.0, 0.3, 1.0, 2.5, 24.0, 100.0, 168.0]
        parts = [area_between(t, c, a, b, method=method) for a, b in itertools.pairwise(cuts)]
        assert sum(parts) == pytest.approx(areas(t, c, method=method)[0], rel=1e-12)
        curve = lambda x, m=method: concentration_at(t, c, x, method=m)  # noqa: E731
        brute = integrate.quad(curve, 0.3, 100.0, points=t[1:5], epsabs=1e-10)[0]
        assert area_between(t, c, 0.3, 100.0, method=method) == pytest.approx(brute, rel=1e-9)
    beyond = area_between(t, c, 100.0, 300.0, method="linear_up_log_down", lambda_z=0.02)
    tail = 1.6 * (1 - math.exp(-0.02 * 132)) / 0.02
    assert beyond - area_between(t, c, 100.0, 168.0, method="linear_up_log_down") == pytest.approx(
        tail, rel=1e-12
    )
    assert math.isnan(area_between(t, c, 100.0, 300.0, method="linear"))


def test_points_on_a_line_have_an_adjusted_r2_of_one_and_no_more() -> None:
    """By Cauchy and Schwarz r2 is at most 1; of some of these, rounding alone says 1 + 2e-16."""
    t = np.array([0.0, 1, 2, 4, 8, 12])
    for k in (0.05, 0.07, 0.1, 0.2, 0.3, 0.5):
        c = 10 * np.exp(-k * t)
        c[0] = 0
        row = nca(one(c.tolist(), t.tolist()), dose()).iloc[0]
        assert 1 - 1e-12 < row["adj_r2"] <= 1
