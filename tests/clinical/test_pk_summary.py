"""Tables of concentrations and parameters by dose, against figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.clinical.pk import concentration_summary, nca, parameter_summary, parameter_units
from pdbiomarker.clinical.pk.summary import geometric


def test_geometric_mean_and_cv_are_those_of_the_logs() -> None:
    """exp(mean ln x) and 100 sqrt(exp(var ln x) - 1): for 1 and e^2, e and 100 sqrt(e^2 - 1)."""
    mean, cv = geometric([1.0, math.exp(2)])
    assert mean == pytest.approx(math.e, rel=1e-14)
    assert cv == pytest.approx(100 * math.sqrt(math.exp(2) - 1), rel=1e-12)
    assert all(math.isnan(x) for x in (*geometric([0.0, 1.0]), *geometric([]), geometric([2.0])[1]))


def test_concentrations_by_dose_and_nominal_time() -> None:
    samples = pd.DataFrame(
        [
            ("P1", 1.1, 1.0, 4.0),
            ("P2", 0.9, 1.0, 1.0),
            ("P3", 1.0, 1.0, "BLQ"),
            ("P1", 8.0, 8.0, "BLQ"),
            ("P2", 8.0, 8.0, 0.0),
            ("P3", 8.0, 8.0, 2.0),
            ("P4", 1.0, 1.0, 9.0),
            ("P4", 8.0, 8.0, None),
        ],
        columns=["participant_id", "time_h", "nominal_time_h", "concentration"],
    )
    table = concentration_summary(samples, {"P1": 10.0, "P2": 10.0, "P3": 10.0, "P4": 30.0})
    assert table[["dose", "time_h", "n", "n_blq"]].to_numpy().tolist() == [
        [10, 1, 3, 1],
        [10, 8, 3, 2],
        [30, 1, 1, 0],
    ]
    first, second, third = (row for _, row in table.iterrows())
    assert first["geo_mean"] == pytest.approx(2.0, rel=1e-14)
    assert first["mean"] == pytest.approx(5 / 3)
    assert first["median"] == 1.0
    assert math.isnan(second["geo_mean"])  # two of three below the limit
    assert second["mean"] == pytest.approx(2 / 3)
    assert third["geo_mean"] == pytest.approx(9)
    assert math.isnan(third["geo_cv_pct"])


def test_parameters_by_dose_count_what_is_missing_or_unreliable() -> None:
    time = [0, 1, 4, 24, 72, 168]
    rows = [
        pd.DataFrame({"participant_id": p, "time_h": time, "concentration": np.array(c) * f})
        for p, c, f in (
            ("P1", [0, 50, 38, 20, 8, 1.6], 1.0),
            ("P2", [0, 50, 38, 20, 8, 1.6], 2.0),
            ("P3", [0, 50, 38, 37, 36, 35], 1.0),
            ("P4", [0, 50, 38, 0, 0, 0], 1.0),
        )
    ]
    doses = pd.DataFrame({"participant_id": ["P1", "P2", "P3", "P4"], "time_h": 0.0, "amount": 100.0})
    parameters = nca(pd.concat(rows), doses.assign(duration_h=1.0)).assign(dose=100.0)
    table = parameter_summary(parameters).set_index("parameter")
    assert table.loc["cmax", ["n", "n_missing", "n_unreliable"]].tolist() == [4, 0, 0]
    assert table.loc["auc_inf", ["n", "n_missing", "n_unreliable"]].tolist() == [3, 1, 1]
    assert table.loc["cmax", "geo_mean"] == pytest.approx(50 * 2**0.25, rel=1e-12)
    assert table.loc["cmax", "geo_cv_pct"] == pytest.approx(
        100 * math.sqrt(math.exp(np.var([0, math.log(2), 0, 0], ddof=1)) - 1), rel=1e-12
    )
    assert math.isnan(table.loc["tmax", "geo_mean"])
    assert (table.loc["tmax", "minimum"], table.loc["tmax", "maximum"]) == (1, 1)


def test_units_follow_the_concentrations() -> None:
    units = parameter_units("ng/ml")
    assert (units["cmax"], units["auc_inf"], units["aumc_inf"]) == ("ng/ml", "h*ng/ml", "h^2*ng/ml")
    assert (units["cl"], units["vss"], units["mrt"], units["amount"]) == ("L/h", "L", "h", "ug")
    assert parameter_units(None)["cl"] == ""
