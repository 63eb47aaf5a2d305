"""Figures of pharmacokinetics: every participant, their counts, and the fit that the table has."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.clinical import pk
from pdbiomarker.plot.pk import concentration_time, dose_proportionality
from pdbiomarker.plot.style import render_png

T = [0.0, 1, 4, 24, 72, 168, 336]


def samples() -> tuple[pd.DataFrame, dict[str, float]]:
    rng = np.random.default_rng(7354)
    rows, dose = [], {}
    for i in range(9):
        level = [1.0, 3.0, 10.0][i % 3]
        dose[f"P{i}"] = level
        for t in T:
            c = level * math.exp(-0.012 * t + rng.normal(0, 0.2)) if t else 0.0
            rows.append((f"P{i}", t, c if c > 0.05 else "BLQ", "ug/mL", 0.05))
    return pd.DataFrame(rows, columns=["participant_id", "time_h", "concentration", "unit", "lloq"]), dose


def test_concentrations_over_time_show_every_participant_and_the_means_of_the_table() -> None:
    frame, dose = samples()
    fig = concentration_time(frame, dose)
    linear, log = fig.axes
    assert (linear.get_yscale(), log.get_yscale()) == ("linear", "log")
    thin = [line for line in log.lines if line.get_linewidth() < 1]
    thick = [line for line in log.lines if line.get_linewidth() > 2]
    assert len(thin) == 9 + sum(line.get_marker() == "o" and line.get_linestyle() == "None" for line in thin)
    means = pk.concentration_summary(frame, dose)
    for level, line in zip((1.0, 3.0, 10.0), thick, strict=True):
        own = means[(means["dose"] == level) & (means["n"] - means["n_blq"] >= 2)].dropna(subset=["geo_mean"])
        drawn = np.asarray(line.get_ydata(), dtype=float)
        assert drawn[~np.isnan(drawn)] == pytest.approx(own["geo_mean"].to_numpy())
    words = " ".join(t.get_text() for ax in fig.axes for t in ax.texts)
    assert "n = 9 participants, 63 samples" in words.replace("\u00a0", " ")
    assert "LLOQ 0.05" in words
    assert "10 mg (n = 3)" in words
    assert linear.get_xlabel() == "Days from the first dose"
    assert linear.get_ylabel() == "Concentration (µg/mL)"
    assert render_png(fig, dpi=60) == render_png(concentration_time(frame, dose), dpi=60)


def test_no_line_leads_over_a_dose_that_nobody_sampled() -> None:
    frame, dose = samples()
    after = frame[frame["time_h"] == 24.0].assign(time_h=504.0)
    frame = pd.concat([frame, after], ignore_index=True)
    given = {person: [0.0, 336.5] for person in dose}
    whole, broken = (concentration_time(frame, dose, dose_times=t) for t in (None, given))
    for with_gap, fig in ((False, whole), (True, broken)):
        for ax in fig.axes:
            thick = [line for line in ax.lines if line.get_linewidth() > 2]
            for line in thick:
                x = np.asarray(line.get_xdata(), dtype=float)
                assert np.isnan(x).any() == with_gap
                if with_gap:  # between the last sample before the dose and the first one after it
                    (at,) = np.flatnonzero(np.isnan(x))
                    assert (x[at - 1], x[at + 1]) == (336.0 / 24, 504.0 / 24)
    # A dose that was sampled within a day keeps its line.
    fig = concentration_time(frame, dose, dose_times={person: [490.0] for person in dose})
    assert not any(np.isnan(np.asarray(line.get_xdata(), float)).any() for line in fig.axes[0].lines)


def test_nothing_above_the_limit_says_so() -> None:
    frame, dose = samples()
    fig = concentration_time(frame.assign(concentration="BLQ"), dose)
    assert "No sample lies above" in " ".join(t.get_text() for t in fig.axes[0].texts).replace("\n", " ")


def test_dose_proportionality_prints_the_fit_of_the_table() -> None:
    rng = np.random.default_rng(1)
    dose = np.repeat([1.0, 3.0, 10.0], 4)
    frame = pd.DataFrame({"participant_id": [f"P{i}" for i in range(12)], "dose": dose})
    frame["auc_inf"] = 20 * dose * np.exp(rng.normal(0, 0.05, 12))
    fit = pk.dose_proportionality(frame, values=["auc_inf"]).iloc[0]
    ax = dose_proportionality(frame, unit="h*ug/mL")
    words = " ".join(t.get_text() for t in ax.texts).replace("\u00a0", " ")
    assert f"slope {fit['slope']:.3g}" in words
    assert "n = 12 values of 12 participants, 3 doses" in words
    assert str(fit["verdict"]) in ax.get_title(loc="left")
    assert ax.get_ylabel() == "AUCinf (h·µg/mL)"
    one = dose_proportionality(frame[frame["dose"] == 1.0])
    assert "Not estimable: one dose only" in " ".join(t.get_text() for t in one.texts).replace("\u00a0", " ")
