"""Figures of a review: what is drawn equals its tables; what is not known is said."""

from __future__ import annotations

import dataclasses
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from builders import assay, study_folder

import pdbiomarker as pb
from pdbiomarker import plot
from pdbiomarker.decide import DecideOptions, Declared, review_of
from pdbiomarker.decide.rules import preset
from pdbiomarker.errors import InputError
from pdbiomarker.plot.numbers import format_number, format_words

FEATURE = "CD8_density"
LOCKED = Declared(plan_locked=True, pairs_share_run=True)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """10 participants, one without a second biopsy, six with two baselines; a density that rises 2.5-fold."""
    random = np.random.default_rng(3)
    rows, counts = [], {}
    for i in range(10):
        level = 300 * 2 ** random.normal()
        for visit, day, fold, cores in (("screening", -7, 1.0, 2 if i < 6 else 1), ("C2D1", 29, 2.5, 1)):
            for core in range(cores if (visit, i) != ("C2D1", 9) else 0):
                name = f"P{i:02d}{visit[0]}{core}"
                rows.append(f"P{i:02d},{name},{visit},{day}")
                counts[name] = [float(random.poisson(level * fold * 2 ** (0.4 * random.normal())))]
    folder = study_folder(
        tmp_path_factory.mktemp("decided"),
        biopsies="participant_id,biopsy_id,visit,study_day\n" + "\n".join(rows) + "\n",
        participants="participant_id,dose_mg\n"
        + "".join(f"P{i:02d},{10 * (1 + i // 4)}\n" for i in range(10)),
        plan='formula: "~ visit + (1|participant)"\ncontrasts: {on: C2D1 - screening}\n'
        "families: {primary: [ihc:CD8_density]}\n",
    )
    area = {name: [1.0] for name in counts}
    data = assay(counts, [FEATURE], kind="density", numerator=counts, denominator=area)
    study = pb.read_study(folder).with_assay("ihc", data)
    return pb.pd_change(study, pb.Plan.read(folder / "plan.yaml", study))


@pytest.fixture(scope="module")
def review(result):
    return review_of(result, declared=LOCKED, options=DecideOptions(n_sims=300, curves=True))


def _texts(ax):
    figure = ax.get_figure(root=True)
    figure.canvas.draw()
    return "\n".join(t.get_text() for t in figure.findobj(mpl.text.Text)).replace("\u00a0", " ")


def test_the_waterfall_draws_the_limits_of_noise_and_pales_what_they_hold(result, review):
    ax = plot.waterfall(result, FEATURE, review=review)
    limit = float(review.noise["rcv"].iloc[0])
    drawn = {round(float(line.get_ydata()[0]), 9) for line in ax.lines if len(set(line.get_ydata())) == 1}
    assert {round(limit, 9), round(-limit, 9), 1.0, -1.0} <= drawn
    bars = [bar for bar in ax.patches if bar.get_width() < 1]
    pale = sum(bar.get_alpha() is not None for bar in bars)
    people = review.of("responders", "ihc:CD8_density")
    assert len(bars) == people["change"].notna().sum() == 9
    assert len(bars) - pale == people["beyond_noise"].sum()
    text = _texts(ax)
    assert "replicate biopsies (6 df)" in text
    assert "NE" in text
    plain = plot.waterfall(result, FEATURE)
    assert not [bar for bar in plain.patches if bar.get_width() < 1 and bar.get_alpha() is not None]


def test_paired_slopes_have_the_wedge_of_noise(result, review):
    ax = plot.paired(result, FEATURE, review=review)
    (wedge,) = [c for c in ax.collections if len(c.get_paths())]
    ends = wedge.get_paths()[0].vertices
    at_on = ends[ends[:, 0] == 1.0][:, 1]
    values = result.changes[(result.changes["set"] == "strict")]["baseline_value"].dropna()
    pairs = result.changes[(result.changes["set"] == "strict") & result.changes["change"].notna()]
    centre = float(np.exp(np.log(pairs["baseline_value"]).mean()))
    fold = float(review.noise["rcv_fold"].iloc[0])
    assert [at_on.min(), at_on.max()] == pytest.approx([centre / fold, centre * fold], rel=1e-9)
    assert len(values) >= 9


def test_regression_to_the_mean_draws_the_null_of_the_reliability(result, review):
    """Slope of the dashed line: -(1 - reliability), on log2 axes; the band: 1.96 sqrt(V (1 - rho^2))."""
    ax = plot.regression_to_the_mean(result, review, FEATURE)
    dashed = next(line for line in ax.lines if line.is_dashed() and len(line.get_xdata()) > 10)
    x, y = np.log2(dashed.get_xdata()), np.asarray(dashed.get_ydata())
    rho = float(review.noise["reliability"].iloc[0])
    assert (y[-1] - y[0]) / (x[-1] - x[0]) == pytest.approx(-(1 - rho), rel=1e-6)
    points = next(line for line in ax.lines if line.get_marker() == "o")
    assert len(points.get_xdata()) == 9
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    people = review.of("responders", "ihc:CD8_density").dropna(subset=["change"])
    half = 1.959964 * np.sqrt(people["baseline"].var() * (1 - rho**2))
    assert band.max() == pytest.approx(y.max() + half, rel=1e-5)


def test_sensitivity_draws_every_choice_with_its_interval(result, review):
    ax = plot.sensitivity(result, review, FEATURE)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert {"strict (primary)", "complete pairs only", "0.01", "10", "missing: no effect"} <= set(names)
    assert sum(name.startswith("without ") for name in names) == 2
    row = result.table[(result.table["set"] == "strict")].iloc[0]
    spans = [sorted(map(float, line.get_xdata())) for line in ax.lines if len(line.get_xdata()) == 2]
    assert sorted([row["ci_low"], row["ci_high"]]) in [pytest.approx(s) for s in spans]


def test_tipping_point_thresholds_and_curves_show_their_tables(result, review):
    ax = plot.tipping_point(result, review, FEATURE)
    assert {"no effect", "like the others", "tipping point"} <= set(_texts(ax).splitlines())
    told = review.of("missing second biopsy", "ihc:CD8_density")
    tip = told.loc[told["assumption"] == "tipping point", "delta"].iloc[0] + told["change"].iloc[0]
    assert tip in [pytest.approx(float(line.get_xdata()[0])) for line in ax.lines]
    ax = plot.thresholds(result, review, FEATURE)
    rows = review.of("threshold", "ihc:CD8_density")
    points = next(line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_ydata(), 100 * rows["rate"])
    np.testing.assert_allclose([b.get_height() for b in ax.patches], 100 * rows["chance_by_noise"])
    ax = plot.operating_characteristics(result, review, FEATURE)
    curves = [line for line in ax.lines if len(line.get_xdata()) > 5]
    assert len(curves) == review.decisions.curves["rule"].nunique()
    text = _texts(ax)
    for rule, rows in review.decisions.curves.groupby("rule"):
        assert f"{rule}: " in text
        assert any(np.allclose(sorted(c.get_ydata()), sorted(100 * rows["p_go"])) for c in curves)


def test_variance_components_add_up_to_the_whole(result, review):
    ax = plot.variance_components(result, review)
    bars = [b for b in ax.patches if b.get_height() < 1]
    assert sum(b.get_width() for b in bars) == pytest.approx(1.0)
    shares = review.noise_components["variance"] / review.noise_components["variance"].sum()
    np.testing.assert_allclose([b.get_width() for b in bars], shares)


def test_what_is_not_known_is_said(result, review):
    none = review_of(result, noise={}, options=DecideOptions(n_sims=0))
    for draw in (plot.regression_to_the_mean, plot.thresholds):
        assert "noise of the feature is not known" in _texts(draw(result, none, FEATURE)).replace("\n", " ")
    assert "no limit is drawn" in _texts(plot.waterfall(result, FEATURE, review=none)).replace("\n", " ")
    assert "No rule could be judged" in _texts(plot.operating_characteristics(result, none, FEATURE))
    assert "No feature has replicate" in _texts(plot.variance_components(result, none)).replace("\n", " ")
    other = dataclasses.replace(review, features=("ihc:CD3_density",))
    with pytest.raises(InputError, match="E-RESULT-001"):
        plot.sensitivity(result, other, FEATURE)
    assert isinstance(review.noise, pd.DataFrame)
    plt.close("all")


def test_the_report_says_what_was_decided_and_tells_nothing_twice(result, review):
    document = pb.report.__globals__["build"](result.study, result, review)
    keys = [section.key for section in document.sections]
    assert keys.index("decisions") + 3 == keys.index("honesty")
    facts = {fact.name: fact.value for fact in document.findings[0].decided}
    rates = review.responder_rates
    up = rates[rates["criterion"].str.startswith("beyond noise") & (rates["direction"] == "up")].iloc[0]
    assert facts["beyond noise"].startswith(f"{up['n']} up")
    lines = {line.rule: line for line in document.findings[0].rules}
    for row in review.decisions.cohort.itertuples():
        assert row.rule in facts["decision"]
        assert row.verdict in facts["decision"]
        line = lines.pop(row.rule)
        assert (line.verdict, line.asks, line.observed) == (
            row.verdict,
            format_words(row.criterion),
            row.observed,
        )
        assert line.capped == row.capped_by
        if row.verdict != "not evaluable" and pd.notna(row.p_if_inert):
            assert float(line.if_inert.removesuffix(" %")) == pytest.approx(100 * row.p_if_inert, rel=0.06)
            share, truth = line.if_target.removesuffix(")").split(" % (")
            assert float(share) == pytest.approx(100 * row.p_if_target, rel=0.06)
            assert float(truth.removesuffix("-fold")) == row.target
    assert not lines
    order = ["go", "consider", "stop", "not evaluable"]
    ranks = [order.index(line.verdict) for line in document.findings[0].rules]
    assert ranks == sorted(ranks)
    tables = {b.key: b for s in document.sections for b in s.blocks if b.template == "table"}
    assert len(tables["decisions-cohort"].rows) == len(review.decisions.cohort)
    assert len(tables["responders-ihc-cd8-density"].rows) == 10
    assert len(tables["honesty-checks"].rows) == len(review.honesty_checks)
    assert [row[0] for row in tables["dose-levels"].rows] == ["10 mg", "20 mg", "30 mg"]
    without = pb.report.__globals__["build"](result.study, result)
    assert "decisions" not in [section.key for section in without.sections]


def test_a_score_has_points_and_no_folds(tmp_path):
    """Oracle: what was decided; a score's true effect is a difference, so no text about it may say fold."""
    random = np.random.default_rng(5)
    rows, values = [], {}
    for i in range(8):
        level = random.normal(100, 20)
        for visit, day, rise in (("screening", -7, 0.0), ("C2D1", 29, 40.0)):
            rows.append(f"P{i},P{i}{visit[0]},{visit},{day}")
            values[f"P{i}{visit[0]}"] = [level + rise + random.normal(0, 5)]
    folder = study_folder(
        tmp_path,
        biopsies="participant_id,biopsy_id,visit,study_day\n" + "\n".join(rows) + "\n",
        participants="participant_id\n" + "".join(f"P{i}\n" for i in range(8)),
        plan='formula: "~ visit + (1|participant)"\ncontrasts: {on: C2D1 - screening}\n'
        "families: {primary: [ihc:H_score]}\n",
    )
    study = pb.read_study(folder).with_assay("ihc", assay(values, ["H_score"], kind="score"))
    found = pb.pd_change(study, pb.Plan.read(folder / "plan.yaml", study))
    rules = [preset("gmr_margin").model_copy(update={"points": 12.5}), "rcv_fraction"]
    decided = review_of(found, rules, declared=LOCKED, options=DecideOptions(n_sims=200, curves=True))
    document = pb.report.__globals__["build"](study, found, decided)
    lines = {line.rule: line for line in document.findings[0].rules}
    assert lines["gmr_margin"].asks.startswith("mean change (rise) above 12.5 points")
    assert lines["gmr_margin"].observed.startswith("+")
    for row in decided.decisions.cohort.itertuples():
        assert lines[row.rule].if_target.endswith(f" % (a change of {format_number(row.target)} points)")
    tables = {b.key: b for s in document.sections for b in s.blocks if b.template == "table"}
    heads = [column.label for column in tables["decisions-cohort"].columns]
    chances = [row[heads.index("its chance if true")] for row in tables["decisions-cohort"].rows]
    assert all(re.fullmatch(r".+ % at a change of .+ points", text) for text in chances)
    told = [fact.value for fact in document.findings[0].decided]
    words = [p for s in document.sections if s.key == "methods" for b in s.blocks for p in b.paragraphs]
    rules_told = next(p for p in words if p.startswith("Decision rules"))
    assert " % if the effect is a change of 25.0 points" in rules_told
    assert not re.search(r"\d-fold", " ".join([*told, rules_told, *chances]))
    keys = [b.key for s in document.sections for b in s.blocks if b.template == "figure"]
    assert "regression-ihc-h-score" in keys
    assert "thresholds-ihc-h-score" not in keys  # a score has no folds to be drawn
