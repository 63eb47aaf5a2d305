"""What must not change an answer, with Hypothesis: the properties that no other room's tests state.

`invariants.PROPERTIES` lists all of them; the tests of this file are those that belong to no single room.
With `--slow` every property runs at least 1,000 examples.
"""

from __future__ import annotations

import ast
import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker.change import pd_change
from pdbiomarker.clinical.pk import nca
from pdbiomarker.clinical.survival import kaplan_meier
from pdbiomarker.expression.library_size import tmm_factors
from pdbiomarker.ihc import score_cells
from pdbiomarker.ihc.panel import FeatureSpec, Panel
from pdbiomarker.mixed import fit
from pdbiomarker.mixed.adjust import adjust
from pdbiomarker.pairing import Chooser, assign_visits, pair_table
from pdbiomarker.plan import Plan
from pdbiomarker.study import Study, read_study
from tests.builders import assay, study_folder
from tests.validation.invariants import PROPERTIES

TESTS = Path(__file__).resolve().parents[1]
few = settings(max_examples=25, deadline=None, derandomize=True)
fewer = settings(max_examples=3, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def with_gaps(seed: int, *, n: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values of 3 features, design, participants and weights of nine pairs, some with a visit missing."""
    rng = np.random.default_rng(seed)
    visit, people = np.repeat([0.0, 1.0], n), np.tile(np.arange(n), 2)
    Y = rng.normal(size=(3, n))[:, people] + rng.normal(size=(3, 2 * n))
    Y[rng.random(Y.shape) < 0.1] = np.nan
    X = np.column_stack([np.ones(2 * n), visit, rng.normal(size=n)[people]])
    return Y, X, people, rng.lognormal(0, 0.5, Y.shape)


@given(seed=seeds)
@few
def test_swapped_visits_turn_the_sign_and_keep_the_p(seed: int) -> None:
    Y, X, people, W = with_gaps(seed)
    swapped = X.copy()
    swapped[:, 1] = 1 - X[:, 1]
    one, other = (fit(Y, x, people, weights=W, contrasts=[[0, 1, 0]]) for x in (X, swapped))
    np.testing.assert_allclose(other.estimate, -one.estimate, rtol=1e-7, atol=1e-10)
    for name, tolerance in (("se", 1e-7), ("df", 1e-6), ("p", 1e-5)):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=tolerance, err_msg=name)


@given(seed=seeds, exponent=st.integers(-6, 6))
@few
def test_the_unit_of_a_covariate_rescales_its_own_coefficient_only(seed: int, exponent: int) -> None:
    Y, X, people, W = with_gaps(seed)
    unit = 10.0**exponent
    one, other = (fit(Y, x, people, weights=W) for x in (X, X * [1, 1, unit]))
    np.testing.assert_allclose(other.estimate * [1, 1, unit], one.estimate, rtol=1e-6, atol=1e-9)
    for name, tolerance in (("df", 1e-6), ("p", 1e-5)):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=tolerance, err_msg=name)


@given(seed=seeds, value=st.floats(-100, 100))
@few
def test_a_constant_feature_is_no_test_and_moves_no_other(seed: int, value: float) -> None:
    Y, X, people, _ = with_gaps(seed)
    one = fit(Y, X, people)
    other = fit(np.vstack([Y, np.full(Y.shape[1], value)]), X, people)
    for name in ("estimate", "se", "df", "p"):
        np.testing.assert_allclose(getattr(other, name)[:3], getattr(one, name), rtol=1e-11, atol=1e-13)
    assert other.status[3] == "constant"
    alone, beside = adjust(one.p[:, 1], "bh"), adjust(other.p[:, 1], "bh")
    assert (alone.n_tests, beside.n_tests) == (3, 3)
    np.testing.assert_allclose(beside.p[:3], alone.p, rtol=1e-10)


@given(seed=seeds, n=st.integers(3, 12))
@few
def test_the_cohort_twice_has_the_same_change_and_a_smaller_error(seed: int, n: int) -> None:
    """Complete pairs: the variance of n changes over 2 n, so SE falls by sqrt((n - 1) / (2 n - 1))."""
    rng = np.random.default_rng(seed)
    y, visit = rng.normal(size=(2, 2 * n)), np.repeat([0.0, 1.0], n)
    X, people = np.column_stack([np.ones(2 * n), visit]), np.tile(np.arange(n), 2)
    options = {"contrasts": [[0.0, 1.0]], "allow_negative_icc": True}
    one = fit(y, X, people, **options)
    twice = fit(np.hstack([y, y]), np.vstack([X, X]), np.concatenate([people, people + n]), **options)
    np.testing.assert_allclose(twice.estimate, one.estimate, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(twice.se, one.se * np.sqrt((n - 1) / (2 * n - 1)), rtol=1e-8)


@given(seed=seeds, times=st.integers(2, 9))
@few
def test_deeper_sequencing_of_all_libraries_leaves_their_factors(seed: int, times: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(2, 0.02, (80, 6)).astype(float)
    np.testing.assert_allclose(tmm_factors(counts * times), tmm_factors(counts), rtol=1e-10)


# --- a study ----------------------------------------------------------------------------------------------


def trial(
    folder: Path, seed: int, *, people: int = 6, lone: int = 0, extra: str = "", shift: int = 0
) -> Study:
    """Pairs (and participants with a baseline only) of two scores; all dates moved by `shift` days."""
    rng = np.random.default_rng(seed)
    first = dt.date(2024, 3, 1) + dt.timedelta(days=shift)
    lines = [f"participant_id,biopsy_id,collection_date{',site_mood' if extra else ''}"]
    values: dict[str, list[float]] = {}
    for k in range(people + lone):
        level = rng.normal()
        for visit, day in (("a", -int(rng.integers(1, 25))), ("b", int(rng.integers(22, 36)))):
            drawn = [level + rng.normal(), rng.normal()]
            if k >= people and visit == "b":
                continue
            name = f"P{k:02d}{visit}"
            lines.append(f"P{k:02d},{name},{first + dt.timedelta(days=day)}{extra and f',{extra}{k % 3}'}")
            values[name] = drawn
    who = "".join(f"P{k:02d},{first}\n" for k in range(people + lone))
    study = study_folder(
        folder, biopsies="\n".join(lines) + "\n", participants=f"participant_id,first_dose_datetime\n{who}"
    )
    return read_study(study).with_assay("x", assay(values, ["f", "g"]))


def table(study: Study, folder: Path, set_: str = "strict") -> pd.DataFrame:
    found = pd_change(study, Plan.read(folder / "plan.yaml", study)).table
    chosen = found[found["set"] == set_].reset_index(drop=True)
    assert chosen["feature"].tolist() == ["f", "g"]
    return chosen


@given(seed=seeds, shift=st.integers(-800, 800))
@fewer
def test_all_dates_moved_together_change_no_visit_and_no_pair(
    seed: int, shift: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = [tmp_path_factory.mktemp("study") for _ in range(2)]
    one, other = trial(folders[0], seed, lone=2), trial(folders[1], seed, lone=2, shift=shift)
    columns = ["visit", "study_day", "code"]
    pd.testing.assert_frame_equal(assign_visits(one)[columns], assign_visits(other)[columns])
    pairs = [
        pair_table(Chooser(s), ("screening", "C2D1"))[["participant_id", "evaluable"]] for s in (one, other)
    ]
    pd.testing.assert_frame_equal(*pairs)


@given(seed=seeds, lone=st.integers(1, 5))
@fewer
def test_unpaired_participants_never_change_the_paired_analysis(
    seed: int, lone: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = [tmp_path_factory.mktemp("study") for _ in range(2)]
    one = table(trial(folders[0], seed), folders[0], "strict_pairs")
    other = table(trial(folders[1], seed, lone=lone), folders[1], "strict_pairs")
    columns = ["estimate", "se", "df", "p", "n_pairs"]
    np.testing.assert_allclose(*(t[columns].to_numpy(dtype=float) for t in (one, other)), rtol=1e-9)


@given(seed=seeds)
@fewer
def test_a_covariate_outside_the_formula_does_nothing(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = [tmp_path_factory.mktemp("study") for _ in range(2)]
    one = table(trial(folders[0], seed), folders[0])
    other = table(trial(folders[1], seed, extra="calm"), folders[1])
    pd.testing.assert_frame_equal(one, other)


@given(seed=seeds)
@fewer
def test_no_number_without_its_basis(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pairs, df, method, model and status beside every estimate; p in (0, 1]; none missing in a family."""
    folder = tmp_path_factory.mktemp("study")
    study = trial(folder, seed, lone=2)
    values = study.assays["x"].copy()
    values.X[: seed % 5, 0] = np.nan
    values.X[:, 1] = 3.0 if seed % 2 else values.X[:, 1]
    found = table(study.with_assay("x", values), folder)
    told = found[found["estimate"].notna()]
    for column in ("n_pairs", "n_biopsies", "df_method", "model", "status"):
        assert told[column].notna().all()
    p = found["p"].dropna()
    assert ((p > 0) & (p <= 1)).all()
    assert found.loc[found["p"].notna(), ["se", "df"]].notna().all(axis=None)
    assert (found["n_tests"] == len(p)).all()
    assert found["q"].notna().equals(found["p"].notna())


# --- scores and the clinic --------------------------------------------------------------------------------


SCORES = ("hscore", "pct", "bin0", "bin1", "bin2", "bin3", "density")
PANEL = Panel.model_validate(
    {"marker": "X", "label": "X", "min_cells": 10, "features": {n: FeatureSpec(label=n) for n in SCORES}}
)


def scores(grades: np.ndarray, area: float = 2.0) -> pd.Series:
    frame = pd.DataFrame({"class": grades.astype(np.int8), "compartment": "tissue", "positive": grades > 0})
    found = score_cells(frame, {"tissue": area}, PANEL).set_index("feature")["value"]
    return found.rename(lambda name: name.split("_")[1])


@given(seed=seeds, n=st.integers(20, 300))
@few
def test_scores_are_bounded_add_up_and_rise_with_the_stain(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    grades = rng.integers(0, 4, n)
    found = scores(grades)
    assert 0 <= found["hscore"] <= 300
    assert 0 <= found["pct"] <= 1
    assert found[["bin0", "bin1", "bin2", "bin3"]].sum() == pytest.approx(1, abs=1e-12)
    darker = scores(np.minimum(grades + (rng.random(n) < 0.3), 3))
    assert (darker[["hscore", "pct", "density"]] >= found[["hscore", "pct", "density"]] - 1e-12).all()


@given(seed=seeds, n=st.integers(20, 300), factor=st.sampled_from([0.25, 2.0, 100.0]))
@few
def test_the_order_of_cells_is_no_matter_and_area_only_one_of_density(
    seed: int, n: int, factor: float
) -> None:
    rng = np.random.default_rng(seed)
    grades = rng.integers(0, 4, n)
    one, other = scores(grades), scores(rng.permutation(grades), 2.0 * factor)
    pd.testing.assert_series_equal(one.drop("density"), other.drop("density"), check_exact=True)
    assert other["density"] * factor == pytest.approx(one["density"], rel=1e-12)


@given(seed=seeds, unit=st.sampled_from([1e-3, 0.5, 60.0, 1e6]))
@few
def test_units_of_concentration_and_time_rescale_exposure(seed: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    t = np.array([0, 0.5, 1, 2, 4, 8, 12, 24.0])
    c = np.where(t > 0, 50 * np.exp(-rng.uniform(0.05, 0.3) * t) * rng.lognormal(0, 0.02, 8), 0)
    columns = ["auc_last", "cmax", "half_life", "tmax"]

    def exposed(scale: float, clock: float) -> np.ndarray:
        rows = pd.DataFrame({"participant_id": "P", "time_h": t * clock, "concentration": c * scale})
        dose = pd.DataFrame({"participant_id": ["P"], "time_h": [0.0], "amount": [100.0]})
        return nca(rows, dose, route="oral")[columns].iloc[0].to_numpy(dtype=float)

    plain = exposed(1, 1)
    np.testing.assert_allclose(exposed(unit, 1), plain * [unit, unit, 1, 1], rtol=1e-9)
    np.testing.assert_allclose(exposed(1, 2.0), plain * [2, 1, 2, 2], rtol=1e-9)


@given(seed=seeds, unit=st.sampled_from([0.5, 7.0, 30.4375]))
@few
def test_survival_does_not_depend_on_order_or_unit_of_time(seed: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    times = pd.DataFrame({"days": rng.integers(1, 40, 25).astype(float), "event": rng.random(25) < 0.6})
    other = times.sample(frac=1, random_state=seed).assign(days=lambda x: x["days"] * unit)
    one, two = (kaplan_meier(x).table for x in (times, other))
    np.testing.assert_allclose(two["days"], one["days"] * unit, rtol=1e-12)
    for column in ("n_risk", "survival", "ci_low", "ci_high"):
        np.testing.assert_array_equal(two[column], one[column], err_msg=column)


# --- the list ---------------------------------------------------------------------------------------------


def test_every_property_of_the_list_has_its_tests() -> None:
    known: dict[str, set[str]] = {}
    for _, tests in PROPERTIES:
        for test in tests:
            file, _, name = test.partition("::")
            if file not in known:
                tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
                known[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert name in known[file], test
    assert len(PROPERTIES) >= 25
    own = {name for name in known["validation/test_invariants.py"] if name.startswith("test_")}
    listed = {t.partition("::")[2] for _, tests in PROPERTIES for t in tests}
    assert own - listed == {"test_every_property_of_the_list_has_its_tests"}
