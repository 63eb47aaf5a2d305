"""Scores: hand-worked tables, brute force over cells, and what must be refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker.errors import AssayError
from pdbiomarker.ihc import (
    assemble,
    check_panel,
    log2_ratio,
    pool_scores,
    read_panel,
    score_cells,
    score_counts,
    threshold_sensitivity,
)
from pdbiomarker.ihc.definitions import allred_intensity, allred_proportion, receptor_class
from pdbiomarker.ihc.panel import FeatureSpec, HotSpot, Panel
from pdbiomarker.ihc.tiles import Tiles


def panel(*scores: str, **changes: object) -> Panel:
    features = {score: FeatureSpec(label=score) for score in scores}
    base = {"marker": "X", "label": "X", "features": features, "min_cells": 10}
    return Panel.model_validate({**base, **changes})


def cells(bins: tuple[int, int, int, int], **columns: object) -> pd.DataFrame:
    grades = np.repeat(np.arange(4, dtype=np.int8), bins)
    frame = pd.DataFrame({"class": grades, "compartment": "tissue", "positive": grades > 0})
    return frame.assign(**columns)


def one(frame: pd.DataFrame, feature: str) -> pd.Series:
    return frame.set_index("feature").loc[feature]


# -- definitions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positive", "n", "score"),
    [
        (0, 1000, 0),
        (1, 1000, 1),
        (9, 1000, 1),
        (10, 1000, 2),  # 1.0 %: the CAP's "1 to 10 %"
        (99, 1000, 2),
        (100, 1000, 2),  # exactly 10.0 %: CAP 2, QuPath 3
        (101, 1000, 3),
        (110, 1000, 3),
        (330, 1000, 3),
        (340, 1000, 4),
        (660, 1000, 4),
        (670, 1000, 5),
        (1000, 1000, 5),
        (1, 3, 3),  # one third
        (2, 3, 4),
        (3, 30, 2),  # 10 % of few cells: no rounding of 3 / 30
    ],
)
def test_allred_proportion_as_the_cap_has_it(positive: int, n: int, score: int) -> None:
    assert allred_proportion(np.float64(positive), np.float64(n)) == score


@pytest.mark.parametrize(
    ("bins", "score"),
    [
        ((5, 0, 0, 0), 0),
        ((0, 7, 0, 0), 1),
        ((0, 1, 2, 0), 1),  # mean 5/3
        ((0, 1, 3, 0), 2),
        ((0, 0, 2, 1), 2),  # mean 7/3
        ((0, 0, 1, 1), 3),
        ((0, 0, 0, 9), 3),
    ],
)
def test_allred_intensity(bins: tuple[int, ...], score: int) -> None:
    assert allred_intensity(np.array(bins)) == score


def test_the_table_of_qupaths_own_tests() -> None:
    """25 cells of each intensity: H-score 150, 75 %, Allred 2 + 5 = 7, as QuPath's unit test has them."""
    scores = score_cells(cells((25, 25, 25, 25)), {"tissue": 1.0}, panel("pct", "hscore", "allred"))
    assert scores["value"].tolist() == [0.75, 150.0, 7.0]


def test_hand_worked_table() -> None:
    chosen = panel("density", "pct", "hscore", "bin0", "bin1", "bin2", "bin3", "allred")
    scores = score_cells(cells((120, 40, 30, 10)), {"tissue": 2.0}, chosen)
    expected = {
        "X_density_tissue": (80, 2.0, 40.0),
        "X_pct_tissue": (80, 200, 0.4),
        "X_hscore_tissue": (100 * (40 + 60 + 30), 200, 65.0),
        "X_bin0_tissue": (120, 200, 0.6),
        "X_bin1_tissue": (40, 200, 0.2),
        "X_bin2_tissue": (30, 200, 0.15),
        "X_bin3_tissue": (10, 200, 0.05),
        "X_allred_tissue": (80, 200, 4 + 1),  # 40 %: 4; mean intensity 130/80 = 1.625: 1
    }
    for feature, (numerator, denominator, value) in expected.items():
        row = one(scores, feature)
        assert (row["numerator"], row["denominator"], row["status"]) == (numerator, denominator, "ok"), (
            feature
        )
        assert row["value"] == pytest.approx(value, rel=1e-12), feature
        assert (row["area_mm2"], row["n_cells"]) == (2.0, 200)


@pytest.mark.parametrize(
    ("positive", "n", "code"), [(0, 500, 0), (4, 500, 0), (5, 500, 1), (50, 500, 1), (51, 500, 2)]
)
def test_receptor_classes(positive: int, n: int, code: int) -> None:
    """Below 1 % negative, 1 to 10 % low positive, above 10 % positive (ASCO/CAP 2020)."""
    assert receptor_class(np.float64(positive), np.float64(n)) == code
    row = score_cells(
        cells((n - positive, positive, 0, 0)), {"tissue": 1.0}, panel("receptor", receptor="ER")
    ).iloc[0]
    assert (row["value"], row["numerator"], row["denominator"]) == (code, positive, n)
    assert row["note"] == ("ER negative", "ER low positive", "ER positive")[code]
    # 1 to 10 % is a class of its own for the oestrogen receptor alone.
    other = score_cells(
        cells((n - positive, positive, 0, 0)), {"tissue": 1.0}, panel("receptor", receptor="PgR")
    ).iloc[0]
    assert other["note"] == ("PgR negative", "PgR positive", "PgR positive")[code]


def test_a_receptor_score_needs_the_receptor() -> None:
    with pytest.raises(ValueError, match="ER or PgR"):
        panel("receptor")


def test_trap_22_log_ratio_of_counts_with_zero_in_either() -> None:
    assert log2_ratio(np.float64(31), np.float64(0)) == pytest.approx(math.log2(31.5 / 0.5))
    assert log2_ratio(np.float64(0), np.float64(0)) == 0
    moved = log2_ratio(np.float64(20), np.float64(20), first_mm2=np.float64(4), second_mm2=np.float64(1))
    assert moved == pytest.approx(-2)  # the same count on four times the area is a quarter
    assert np.isnan(
        log2_ratio(np.float64(2), np.float64(2), first_mm2=np.float64(0), second_mm2=np.float64(1))
    )


# -- PD-L1 ---------------------------------------------------------------------------------------------------


def pdl1_cells(tumour: tuple[int, int], immune: tuple[int, int], plasma: int = 0) -> pd.DataFrame:
    """Negative and positive tumour and immune cells, and positive plasma cells."""
    counts = {("tumour", 0): tumour[0], ("tumour", 1): tumour[1], ("lymphocyte", 0): immune[0]}
    counts |= {("macrophage", 1): immune[1], ("other", 1): plasma}
    rows = [(kind, grade) for (kind, grade), n in counts.items() for _ in range(n)]
    return pd.DataFrame(rows, columns=["cell_type", "class"]).assign(compartment="tissue")


def test_tps_and_cps_by_hand() -> None:
    """80 of 200 tumour cells with the stain, 30 macrophages: TPS 40 %, CPS 55; plasma cells do not count."""
    scores = score_cells(pdl1_cells((120, 80), (50, 30), plasma=25), {"tissue": 1.0}, panel("tps", "cps"))
    tps, cps = one(scores, "X_tps"), one(scores, "X_cps")
    assert (tps["numerator"], tps["denominator"], tps["value"]) == (80, 200, 0.4)
    assert (cps["numerator"], cps["denominator"], cps["value"]) == (100 * (80 + 30), 200, 55.0)
    assert set(scores["note"]) == {""}


def test_cps_is_capped_and_needs_100_viable_tumour_cells() -> None:
    capped = score_cells(pdl1_cells((0, 100), (5, 60)), {"tissue": 1.0}, panel("cps")).iloc[0]
    assert (capped["value"], capped["numerator"], capped["denominator"]) == (100.0, 16_000, 100)
    few = score_cells(pdl1_cells((0, 99), (5, 60)), {"tissue": 1.0}, panel("cps")).iloc[0]
    assert np.isnan(few["value"])
    assert few["note"] == "99 viable tumour cells, fewer than 100: not evaluable"
    # two slides of the biopsy have enough together; the cap holds for the biopsy, not for its slides
    pooled = pool_scores([pd.DataFrame([few]), pd.DataFrame([few])], panel("cps")).iloc[0]
    assert (pooled["value"], pooled["denominator"], pooled["status"]) == (100.0, 198, "ok")


def test_without_tumour_classes_or_regions_tps_and_cps_are_refused() -> None:
    scores = score_cells(cells((100, 100, 0, 0)), {"tissue": 1.0}, panel("tps", "cps", "density"))
    assert [f for f in scores["feature"] if f.endswith("_tissue")] == ["X_density_tissue"]
    for feature in ("X_tps", "X_cps"):
        row = one(scores, feature)
        assert np.isnan(row["value"])
        assert row["status"] == "refused"
        assert "tumour classes or tumour regions" in row["note"]
    tumour_only = score_cells(pdl1_cells((60, 60), (0, 0)), {"tissue": 1.0}, panel("tps", "cps"))
    assert one(tumour_only, "X_tps")["value"] == 0.5
    assert "lymphocytes or macrophages" in one(tumour_only, "X_cps")["note"]


def test_tps_by_regions_says_so() -> None:
    where = np.repeat(["nest", "stroma"], [150, 50])
    frame = cells((100, 100, 0, 0), compartment=where)
    scores = score_cells(frame, {"tissue": 1.0, "nest": 0.6, "stroma": 0.4}, panel("tps", "cps"))
    tps, cps = one(scores, "X_tps"), one(scores, "X_cps")
    assert (tps["numerator"], tps["denominator"]) == (50, 150)
    assert cps["value"] == pytest.approx(100 * (50 + 50) / 150)
    assert "stand for tumour cells" in tps["note"]
    assert "immune" in cps["note"]
    margin = frame.assign(compartment="margin", border_um=np.repeat([-5.0, 5.0], [150, 50]))
    banded = score_cells(margin, {"tissue": 1.0, "margin": 1.0, "nest": 0.1}, panel("tps"))
    assert one(banded, "X_tps")["denominator"] == 150  # a margin cut out of the nest loses no tumour cells


# -- refusals, pooling ---------------------------------------------------------------------------------------


def test_cells_that_are_only_positive_or_negative_have_no_h_score() -> None:
    scores = score_cells(
        cells((60, 40, 0, 0)), {"tissue": 1.0}, panel("pct", "hscore", "bin2", "allred"), graded=False
    )
    assert one(scores, "X_pct_tissue")["value"] == 0.4
    for feature in ("X_hscore_tissue", "X_bin2_tissue", "X_allred_tissue"):
        assert np.isnan(one(scores, feature)["value"])
        assert "not told apart" in one(scores, feature)["note"]


def test_trap_07_an_unknown_area_gives_no_density() -> None:
    row = score_cells(cells((10, 10, 0, 0)), {"tissue": math.nan}, panel("density", "pct"))
    assert row["value"].isna().tolist() == [True, False]
    assert row["note"].tolist() == ["the area is not known", ""]


GRADES = st.lists(st.integers(0, 3), min_size=0, max_size=60)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(GRADES, st.floats(0.1, 5)), min_size=1, max_size=4))
def test_trap_07_pooled_scores_are_those_of_all_cells_together(slides: list[tuple[list[int], float]]) -> None:
    """Brute force: count over all cells, never a mean of scores."""
    chosen = panel("density", "pct", "hscore", "allred", min_cells=1)
    frames = [
        score_cells(
            pd.DataFrame({"class": np.array(g, np.int8), "compartment": "tissue"}), {"tissue": a}, chosen
        )
        for g, a in slides
    ]
    pooled = pool_scores(frames, chosen)
    every = [grade for grades, _ in slides for grade in grades]
    area = sum(a for _, a in slides)
    positive = sum(grade > 0 for grade in every)
    assert one(pooled, "X_density_tissue")["value"] == pytest.approx(positive / area, rel=1e-9)
    if not every:
        assert np.isnan(one(pooled, "X_pct_tissue")["value"])
        return
    assert one(pooled, "X_pct_tissue")["value"] == pytest.approx(positive / len(every), rel=1e-9)
    assert one(pooled, "X_hscore_tissue")["value"] == pytest.approx(100 * sum(every) / len(every), rel=1e-9)
    counts = np.bincount(every, minlength=4)
    expected = allred_proportion(np.float64(positive), np.float64(len(every))) + allred_intensity(counts)
    assert one(pooled, "X_allred_tissue")["value"] == expected


def test_without_cells_the_note_says_what_is_lacking() -> None:
    nothing = score_cells(cells((0, 0, 0, 0)), {"tissue": 1.0}, panel("hscore", "pct"))
    assert nothing["note"].tolist() == ["no cells", "no cells"]


def test_a_refused_slide_does_not_count_and_is_told() -> None:
    chosen = panel("density", "hscore")
    good = score_cells(cells((50, 0, 0, 50)), {"tissue": 1.0}, chosen)
    coarse = score_cells(cells((0, 100, 0, 0)), {"tissue": 1.0}, chosen, graded=False)
    pooled = pool_scores([good, coarse], chosen)
    assert one(pooled, "X_density_tissue")["value"] == 75.0
    assert one(pooled, "X_hscore_tissue")["value"] == 150.0
    why = one(coarse, "X_hscore_tissue")["note"]
    assert why
    assert one(pooled, "X_hscore_tissue")["note"] == f"1 of 2 slides left out: {why}"
    again = pool_scores([coarse, good], chosen)
    pd.testing.assert_frame_equal(
        again.sort_values("feature", ignore_index=True), pooled.sort_values("feature", ignore_index=True)
    )


def test_counts_give_the_scores_of_their_cells() -> None:
    chosen = panel("density", "pct", "hscore", "bin3", "allred", "hotspot")
    bins = (70, 15, 10, 5)
    of_counts = score_counts({"tissue": bins}, {"tissue": 0.5}, chosen).set_index("feature")
    of_cells = score_cells(cells(bins), {"tissue": 0.5}, chosen).set_index("feature")
    hot = "X_hotspot_tissue"
    pd.testing.assert_frame_equal(of_counts.drop(hot), of_cells.drop(hot))
    assert "needs the cells" in of_counts.at[hot, "note"]
    assert of_cells.at[hot, "note"] == "the positions of the cells are not known"


def test_a_ratio_feature_needs_both_markers() -> None:
    cd8, foxp3 = read_panel("cd8"), read_panel("foxp3")
    a = score_cells(cells((100, 62, 0, 0)), {"tissue": 2.0}, cd8)
    b = score_cells(cells((100, 3, 0, 0)), {"tissue": 1.0}, foxp3)
    assay = assemble([("s1", "B", a), ("s2", "B", b)], [cd8, foxp3])
    value = assay["B", "CD8_FOXP3_log2ratio_tissue"].X[0, 0]
    assert value == pytest.approx(math.log2(62.5 / 3.5) - 1)
    assert assay.var.at["CD8_FOXP3_log2ratio_tissue", "kind"] == "signature"
    alone = assemble([("s1", "B", a)], [cd8])
    assert list(alone.var_names) == ["CD8_density_tissue", "CD8_pct_tissue"]


# -- thresholds ----------------------------------------------------------------------------------------------


def test_threshold_sensitivity_by_brute_force() -> None:
    rng = np.random.default_rng(4)
    dab = rng.gamma(2, 0.12, 400)
    chosen = panel("pct", "hscore")
    limits = np.array(chosen.thresholds)
    grade = (dab[:, None] >= limits).sum(axis=1)
    frame = pd.DataFrame({"class": grade.astype(np.int8), "compartment": "tissue", "dab_od_mean": dab})
    table = threshold_sensitivity(frame, {"tissue": 1.0}, chosen).set_index(["feature", "factor"])
    for factor in (0.8, 0.9, 1.0, 1.1, 1.2):
        moved = (dab[:, None] >= limits * factor).sum(axis=1)
        assert table.at[("X_pct_tissue", factor), "value"] == pytest.approx(np.mean(moved > 0), rel=1e-12)
        assert table.at[("X_hscore_tissue", factor), "value"] == pytest.approx(100 * moved.mean(), rel=1e-12)
        assert table.at[("X_pct_tissue", factor), "threshold"] == pytest.approx(0.2 * factor)
    own = score_cells(frame, {"tissue": 1.0}, chosen)
    assert table.at[("X_hscore_tissue", 1.0), "value"] == one(own, "X_hscore_tissue")["value"]
    assert threshold_sensitivity(frame.drop(columns="dab_od_mean"), {"tissue": 1.0}, chosen).empty


def test_moved_thresholds_become_layers() -> None:
    chosen = panel("pct")
    frame = cells((50, 50, 0, 0)).assign(dab_od_mean=np.repeat([0.1, 0.21], 50))
    slides = [("s1", "B", score_cells(frame, {"tissue": 1.0}, chosen))]
    moved = {"s1": threshold_sensitivity(frame, {"tissue": 1.0}, chosen)}
    assay = assemble(slides, chosen, sensitivity=moved)
    assert assay.X[0, 0] == 0.5
    assert [assay.layers[f"threshold_{f}"][0, 0] for f in ("0.8", "0.9", "1.1", "1.2")] == [
        0.5,
        0.5,
        0.0,
        0.0,
    ]


# -- within the section --------------------------------------------------------------------------------------


def section(rng: np.random.Generator, side: int, density: float, share: float) -> tuple[pd.DataFrame, Tiles]:
    """A square section of side x side tiles of 250 um, cells thrown at random."""
    um = side * 250.0
    n = rng.poisson(density * (um / 1000) ** 2)
    frame = pd.DataFrame({"x_um": rng.uniform(0, um, n), "y_um": rng.uniform(0, um, n)})
    frame = frame.assign(**{"class": (rng.random(n) < share).astype(np.int8)}, compartment="tissue")
    return frame, Tiles(250.0, side, {"tissue": np.full(side * side, 0.0625)})


def test_the_bootstrap_recovers_the_error_within_a_section() -> None:
    """Truth: Poisson counts have a standard deviation of sqrt(n); shares sqrt(p (1 - p) / n)."""
    rng = np.random.default_rng(11)
    chosen = panel("density", "pct")
    found = []
    for _ in range(12):
        frame, tiles = section(rng, 12, 1500, 0.2)
        scores = score_cells(frame, {"tissue": 9.0}, chosen, tiles=tiles)
        found.append(scores["within_se"].tolist())
        assert (scores["within_low"] < scores["value"]).all()
        assert (scores["within_high"] > scores["value"]).all()
        assert scores["n_tiles"].tolist() == [144, 144]
    density, share = np.mean(found, axis=0)
    assert density == pytest.approx(math.sqrt(1500 * 0.2 * 9) / 9, rel=0.1)
    assert share == pytest.approx(math.sqrt(0.2 * 0.8 / (1500 * 9)), rel=0.1)


def test_the_error_of_a_score_of_grades_counts_each_cell_in_its_own_grade() -> None:
    """A fifth of the cells, all weak: proportion 3 (10 to 33 %), intensity 1; tiles alike say the same."""
    frame, tiles = section(np.random.default_rng(2), 8, 3000, 0.2)
    (scores,) = score_cells(frame, {"tissue": 4.0}, panel("allred"), tiles=tiles).to_dict("records")
    assert scores["value"] == 4.0
    assert (scores["within_low"], scores["within_high"], scores["within_se"]) == (4.0, 4.0, 0.0)


def test_few_tiles_say_nothing() -> None:
    frame, tiles = section(np.random.default_rng(1), 2, 4000, 0.2)
    scores = score_cells(frame, {"tissue": 0.25}, panel("pct"), tiles=tiles)
    assert scores["within_se"].isna().all()
    assert scores["n_tiles"].tolist() == [4]


def test_errors_of_slides_are_joined_as_independent() -> None:
    rng = np.random.default_rng(3)
    chosen = panel("density")
    parts = []
    for _ in range(2):
        frame, tiles = section(rng, 8, 1500, 0.3)
        parts.append(score_cells(frame, {"tissue": 4.0}, chosen, tiles=tiles))
    pooled = pool_scores(parts, chosen).iloc[0]
    a, b = (part["within_se"].iloc[0] for part in parts)
    assert pooled["within_se"] == pytest.approx(math.sqrt((4 * a) ** 2 + (4 * b) ** 2) / 8, rel=1e-5)
    assert np.isnan(pooled["within_low"])


# -- hot-spots -----------------------------------------------------------------------------------------------


def hot(frame: pd.DataFrame, **rule: object) -> pd.Series:
    chosen = panel("hotspot", hotspot=HotSpot(**rule))
    return score_cells(frame, {"tissue": 1.0}, chosen).iloc[0]


def test_hot_spot_by_brute_force() -> None:
    rng = np.random.default_rng(8)
    frame, _ = section(rng, 8, 3000, 0.1)
    inside = (frame["x_um"] < 400) & (frame["y_um"].between(800, 1200))
    frame.loc[inside, "class"] = (rng.random(int(inside.sum())) < 0.4).astype(np.int8)
    row = hot(frame, candidates=25)
    n = frame.groupby([frame["y_um"] // 400, frame["x_um"] // 400])["class"].agg(["sum", "size"])
    top = n.sort_values("size", ascending=False).head(25)
    best = top.loc[(top["sum"] / top["size"]).idxmax()]
    assert (row["numerator"], row["denominator"]) == (best["sum"], best["size"])
    assert row["value"] == pytest.approx(0.4, abs=0.08)
    assert row["note"] == "1 of 25 fields"


def test_a_larger_section_is_not_hotter() -> None:
    """With a fixed number of candidates the null is the same on 4 and 25 mm2; a plain maximum is not."""
    rng = np.random.default_rng(21)
    small, large, plain = [], [], []
    for _ in range(40):
        frame, _ = section(rng, 8, 800, 0.2)
        small.append(hot(frame, min_cells=60)["value"])
        frame, _ = section(rng, 20, 800, 0.2)
        large.append(hot(frame, min_cells=60)["value"])
        share = frame.groupby([frame["y_um"] // 400, frame["x_um"] // 400])["class"].agg(["mean", "size"])
        plain.append(share.loc[share["size"] >= 60, "mean"].max())
    error = math.sqrt(np.var(small) / 40 + np.var(large) / 40)
    assert abs(np.mean(small) - np.mean(large)) < 3 * error + 0.005
    assert np.mean(plain) > np.mean(large) + 0.02


def test_too_few_fields_give_no_hot_spot() -> None:
    frame, _ = section(np.random.default_rng(2), 3, 3000, 0.2)
    row = hot(frame)
    assert np.isnan(row["value"])
    assert row["status"] == "refused"
    assert row["note"].endswith("fewer than 5")


# -- panels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cd3", "cd8", "foxp3", "gzmb", "ki67", "nkp46", "panck", "pdl1"])
def test_panels_name_their_sources(name: str) -> None:
    chosen = read_panel(name)
    assert "Direction under an IL-15 agonist" in chosen.source
    assert "[check]" not in chosen.source + chosen.note
    if chosen.expected_direction:
        assert "JImmunother" in chosen.source.replace(" ", "") or "2019" in chosen.source
    assert chosen.thresholds == (0.2, 0.4, 0.6)


def test_the_pdl1_panel_warns_of_masking() -> None:
    note = read_panel("pdl1").note
    assert "mask the epitope" in note
    assert set(read_panel("pdl1").features) >= {"tps", "cps"}


def test_what_a_panel_may_say_is_checked(tmp_path) -> None:
    path = tmp_path / "p.yaml"
    text = "marker: X\nlabel: X\nfeatures: {hotspot: {label: h}}\nhotspot: {candidates: 2, fields: 3}\n"
    path.write_text(text, encoding="utf-8")
    assert "must not exceed" in str(check_panel(path).errors[0])
    path.write_text("marker: X\nlabel: X\nfeatures: {tpss: {label: h}}\n", encoding="utf-8")
    with pytest.raises(AssayError):
        read_panel(path)
