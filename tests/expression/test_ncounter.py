"""The nCounter reader: lanes, scaling, limits of detection, exports.

Oracles: truth of a simulated run, figures of the real one by another program (lanes_and_samples.csv), values
by hand.
"""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from pdbiomarker import expression
from pdbiomarker.change import pd_change
from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.expression.ncounter import (
    LaneOptions,
    gene_stability,
    lane_quality,
    rcc_files,
    read_rcc,
    stable_subset,
    state_of,
    treat_background,
    unwanted_factors,
)
from pdbiomarker.plan import Plan
from pdbiomarker.run import run_study
from pdbiomarker.run.assays import count_assays
from pdbiomarker.run.results import read_result
from pdbiomarker.study import read_study
from tests.builders import study_folder
from tests.rcc_set import EFFECT, draw, rcc_text, write_run

STUDY = """
id: N
visits: {pre: {}, on: {}}
assays: {ncounter: {kind: intensity, rcc: rcc/}}
"""
PLAN = "contrasts: {on_treatment: on - pre}\n"


def nanostring_study(path, *, kind="intensity", spoil=None, extra=""):
    rows = write_run(path / "rcc")
    if spoil is not None:
        spoil(path / "rcc")
    biopsies = "participant_id,biopsy_id,visit\n" + "".join(f"{p},{p}_{v},{v}\n" for _, p, v in rows)
    libraries = "library_id,biopsy_id\n" + "".join(f"{stem},{p}_{v}\n" for stem, p, v in rows)
    study = STUDY.replace("intensity", kind).replace("rcc/}", f"rcc/{extra}}}")
    return study_folder(path, biopsies=biopsies, study=study, plan=PLAN, files={"libraries.csv": libraries})


def told(problems):
    return {(p.code, p.severity, p.item) for p in problems}


# --- scaling ------------------------------------------------------------------------------------------


def test_the_change_of_the_simulated_run_is_found(tmp_path):
    """Truth: six genes rise by 1.5 on log2, the rest stays; RNA and efficiency differ between lanes.

    Without scaling the changes are off by the amounts of RNA; with it within .2 of the truth.
    """
    study = read_study(nanostring_study(tmp_path / "s"))
    (spec,) = study.spec.assays
    adata = expression.read_assay(study, spec)
    assert adata.shape == (12, 65)
    assert set(adata.var["kind"]) == {"intensity"}
    genes = adata.var.index.str.startswith("GENE")
    seen = genes & (adata.layers["censored"] == 0).all(axis=0)
    visit = study.biopsies.loc[adata.obs_names, "visit"].to_numpy()
    y = np.log2(adata.X)
    change = pd.Series((y[visit == "on"] - y[visit == "pre"]).mean(axis=0), index=adata.var_names)[seen]
    truth = np.array([EFFECT.get(g, 0.0) for g in change.index])
    assert set(EFFECT) <= set(change.index)
    assert np.abs(change - truth).max() < 0.35
    assert np.abs(change - truth).mean() < 0.12
    chosen = adata.uns["provenance"]["housekeeping"]
    assert chosen == "HK1, HK2, HK3, HK4"  # the unstable one is not
    assert sorted(set(adata.obs["batch"])) == ["C1", "C2"]


def test_scaling_by_hand(tmp_path):
    """Two lanes; the second has half the efficiency and a quarter of the RNA: its values are multiplied by 2
    and by 4, up to the arithmetic mean of the geometric means."""
    base = {
        ("Positive", f"POS_{c}({v})"): int(v * 1000)
        for c, v in zip("ABCDE", (128, 32, 8, 2, 0.5), strict=True)
    }
    low = {k: v // 2 for k, v in base.items()}
    quiet = {("Negative", f"NEG_{c}(0)"): n for c, n in zip("ABC", (4, 8, 12), strict=True)}
    one = base | quiet | {("Endogenous", "A"): 800, ("Endogenous", "B"): 10, ("Housekeeping", "H"): 1600}
    two = low | quiet | {("Endogenous", "A"): 100, ("Endogenous", "B"): 90, ("Housekeeping", "H"): 200}
    for name, counts in (("a", one), ("b", two)):
        (tmp_path / f"{name}.RCC").write_text(rcc_text(counts, lane=ord(name)))
    options = LaneOptions(housekeeping=("H",))
    adata = expression.read_ncounter(tmp_path, options=options)
    named = expression.read_ncounter(tmp_path, options=options, name="run 7")
    positive = np.array([0.75, 1.5])  # means 2p and p: their mean 1.5 p
    housekeeping = (1600 * 0.75 + 200 * 1.5) / 2 / np.array([1600 * 0.75, 200 * 1.5])
    scale = positive * housekeeping
    np.testing.assert_allclose(adata[:, "A"].X[:, 0], [800, 100] * scale, rtol=1e-3)
    limit = 8 + 2 * 4  # mean + 2 SD
    np.testing.assert_allclose(adata[:, "B"].X[:, 0], np.array([limit, 90]) * scale, rtol=1e-3)
    assert adata[:, "B"].layers["censored"][:, 0].tolist() == [-1, 0]
    np.testing.assert_allclose(adata.layers["lloq"][:, 0], limit * scale, rtol=1e-3)
    raw = expression.read_ncounter(tmp_path, kind="count", options=options)
    assert raw[:, "B"].X[:, 0].tolist() == [10, 90]
    assert adata.var["family"].tolist() == [""] * adata.n_vars
    assert [a.uns["provenance"]["file"] for a in (adata, named)] == [tmp_path.name, "run 7"]
    assert "censored" not in raw.layers


def test_trap_23_background():
    counts = np.array([[5.0, 0.0, 50.0]])
    lod, mean = np.array([10.0, 10.0, np.nan]), np.array([6.0, 6.0, np.nan])
    assert treat_background(counts, lod, mean).values.tolist() == [[10, 10, 50]]
    assert treat_background(counts, lod, mean).censored.tolist() == [[-1, -1, 0]]
    assert treat_background(counts, lod, mean, "subtract").values.tolist() == [[4, 4, 50]]
    none = treat_background(counts, lod, mean, "none")
    assert (none.values.tolist(), none.censored.tolist()) == ([[5, 1, 50]], [[0, -1, 0]])
    with pytest.raises(ValueError, match="threshold"):
        treat_background(counts, lod, mean, "half")


def test_stability_is_genorms():
    """M by its definition, pair by pair; the noisy gene goes first."""
    rng = np.random.default_rng(4)
    logs = rng.normal(8, 1, 12) + rng.normal(0, [[0.1], [0.2], [0.15], [2.0], [0.1]], (5, 12))
    plain = [np.mean([np.std(logs[i] - logs[j], ddof=1) for j in range(5) if j != i]) for i in range(5)]
    np.testing.assert_allclose(gene_stability(2**logs), plain, rtol=1e-10)
    assert stable_subset(2**logs) == [0, 1, 2, 4]
    assert np.isnan(gene_stability([[1.0, 2.0]])).all()


def test_unwanted_factors_find_what_controls_share():
    """Truth: one factor moves all control genes; the first singular vector is it (correlation above .98)."""
    rng = np.random.default_rng(6)
    factor = rng.normal(size=20)
    y = rng.normal(8, 2, (40, 1)) + np.outer(rng.uniform(0.5, 1.5, 40), factor) + rng.normal(0, 0.2, (40, 20))
    found = unwanted_factors(y, np.arange(15), 1)
    assert abs(np.corrcoef(found[:, 0], factor)[0, 1]) > 0.98
    np.testing.assert_allclose((found**2).sum(), 1)


def test_lanes_of_one_biopsy_are_pooled(tmp_path):
    rows = write_run(tmp_path / "s/rcc")
    biopsies = "participant_id,biopsy_id,visit\nP1,B1,pre\nP1,B2,on\n"
    owner = ["B1", "B1", *["B2"] * 10]
    libraries = "library_id,biopsy_id,batch\n" + "".join(
        f"{stem},{b},R1\n" for (stem, _, _), b in zip(rows, owner, strict=True)
    )
    root = study_folder(
        tmp_path / "s", biopsies=biopsies, study=STUDY, plan=PLAN, files={"libraries.csv": libraries}
    )
    study = read_study(root)
    lanes = expression.read_ncounter(root / "rcc")
    pooled = expression.read_assay(study, study.spec.assays[0])
    assert pooled.obs["n_libraries"].tolist() == [2, 10]
    assert pooled.obs["batch"].tolist() == ["R1", "R1"]
    np.testing.assert_allclose(pooled.X[0], np.sqrt(lanes.X[0] * lanes.X[1]), rtol=1e-12)
    both = (lanes.layers["censored"][:2] < 0).all(axis=0)
    assert (pooled.layers["censored"][0] == np.where(both, -1, 0)).all()
    counts = expression.read_ncounter(root / "rcc", study=study, kind="count")
    raw = expression.read_ncounter(root / "rcc", kind="count")
    assert counts.X[0].tolist() == (raw.X[0] + raw.X[1]).tolist()


# --- lanes that are not fit ---------------------------------------------------------------------------


def spoil(folder):
    """Lane 1 cut short, 2 of another code set, 3 no positives, 4 few fields, 5 crowded, 6 copied as 13."""

    def edit(number, change):
        path = folder / f"run1_{number:02d}.RCC"
        path.write_text(change(path.read_text()))

    edit(1, lambda t: t[: len(t) // 2])
    edit(2, lambda t: t.replace("Panel_v1", "Other_v2"))
    edit(3, lambda t: re.sub(r"Positive,.*\n", "", t))
    edit(4, lambda t: t.replace("FovCounted,270", "FovCounted,100"))
    edit(5, lambda t: t.replace("BindingDensity,0.8", "BindingDensity,2.6"))
    (folder / "run1_13.RCC").write_text((folder / "run1_06.RCC").read_text())


def test_bad_lanes_are_quarantined_each_with_its_reason(tmp_path):
    study = read_study(nanostring_study(tmp_path / "s", spoil=spoil))
    adata = expression.read_assay(study, study.spec.assays[0])
    assert adata.n_obs == 7
    found = told(p for p in expression.problems_of(adata) if p.severity == "quarantine")
    assert found == {
        ("E-LANE-001", "quarantine", "run1_01"),
        # without its positive controls a lane has other probes than most
        ("E-LANE-002", "quarantine", "run1_02"),
        ("E-LANE-002", "quarantine", "run1_03"),
        ("E-LANE-003", "quarantine", "run1_04"),
        ("E-LANE-004", "quarantine", "run1_05"),
        ("E-LANE-010", "quarantine", "run1_13"),
    }


@pytest.mark.parametrize(
    ("change", "code", "severity"),
    [
        (lambda t: re.sub(r"Positive,.*\n", "", t), "E-LANE-005", "quarantine"),
        (lambda t: re.sub(r"(Positive,POS_A.*),\d+", r"\1,3", t), "E-LANE-005", "quarantine"),
        (lambda t: re.sub(r"(NEG_[AB].*),\d+", r"\1,400", t), "E-LANE-006", "warning"),
        (lambda t: t.replace("BindingDensity,0.8", "BindingDensity,0.05"), "E-LANE-004", "warning"),
        (lambda t: t.replace("FovCounted,270", "FovCounted,"), "E-LANE-001", "error"),
        (lambda t: "<!DOCTYPE x>\n" + t, "E-LANE-001", "error"),
        (lambda t: t.replace("</Code_Summary>", ""), "E-FILE-005", "error"),
        (lambda t: t.replace("CodeClass,Name", "Class,Name"), "E-SHEET-001", "error"),
        (lambda t: re.sub(r"(GENE03.*),\d+", r"\1,-4", t), "E-COUNT-002", "error"),
        (lambda t: re.sub(r"(GENE03.*),\d+", r"\1,4.5", t), "E-COUNT-003", "error"),
        (lambda t: t.replace("GENE04", "GENE03"), "E-COUNT-005", "error"),
    ],
)
def test_check_as_rcc_reads_the_lane(tmp_path, change, code, severity):
    text = rcc_text(draw(np.random.default_rng(1)))
    path = tmp_path / "lane.RCC"
    path.write_text(text)
    assert not list(expression.check_rcc(path))
    path.write_text(change(text))
    assert (code, severity) in {(p.code, p.severity) for p in expression.check_rcc(path)}


def test_what_an_rcc_file_lacks_or_has_twice_has_its_place(tmp_path):
    text = rcc_text(draw(np.random.default_rng(1)))
    path = tmp_path / "lane.RCC"
    path.write_text(text.replace("BindingDensity,0.8\n", ""))
    missing = [p for p in expression.check_rcc(path) if p.code == "E-LANE-001"]
    assert [(p.column, p.value) for p in missing] == [("BindingDensity", "")]
    twice = text.replace("GENE04", "GENE03")
    path.write_text(twice)
    lines = [k for k, line in enumerate(twice.splitlines(), start=1) if ",GENE03," in line]
    (problem,) = [p for p in expression.check_rcc(path) if p.code == "E-COUNT-005"]
    assert (problem.row, problem.column, problem.value) == (lines[1], "Name", "GENE03")
    assert f"in lines {lines[0]} and {lines[1]}" in problem.message
    # A section that is closed once more is closed.
    path.write_text(text.replace("</Header>", "</Header>\n</Header>"))
    assert not list(expression.check_rcc(path))


def test_weak_lanes_are_told_and_kept(tmp_path):
    """A lane whose housekeeping genes are at the level of the negative controls, and one of much more RNA."""
    genes = {("Endogenous", f"G{k}"): 500 for k in range(10)}
    positive = {
        ("Positive", f"POS_{c}({v})"): int(v * 200)
        for c, v in zip("ABCDE", (128, 32, 8, 2, 0.5), strict=True)
    }
    negative = {("Negative", f"NEG_{c}(0)"): n for c, n in zip("ABCD", (4, 8, 12, 8), strict=True)}
    for name, level in (("a", 2000), ("b", 2000), ("c", 2000), ("d", 5)):
        housekeeping = {("Housekeeping", f"H{k}"): level + k for k in range(3)}
        (tmp_path / f"{name}.RCC").write_text(
            rcc_text(positive | negative | genes | housekeeping, lane=ord(name), sample=name)
        )
    adata = expression.read_ncounter(tmp_path, options=LaneOptions(housekeeping=("H0", "H1", "H2")))
    assert adata.n_obs == 4
    found = list(expression.problems_of(adata))
    assert ("E-LANE-008", "warning", "d") in told(found)
    assert ("E-LANE-007", "warning", "d") in told(found)
    assert {p.severity for p in found} == {"warning"}
    weak = next(p for p in found if p.code == "E-LANE-008")
    assert "geometric mean of 5.94 counts, below the limit of detection" in weak.message
    assert weak.file == "d.RCC"


def test_nothing_usable(tmp_path):
    with pytest.raises(AssayError, match="no RCC file"):
        expression.read_ncounter(tmp_path)
    (tmp_path / "a.RCC").write_text("nothing")
    with pytest.raises(AssayError, match="None of the 1 lanes"):
        expression.read_ncounter(tmp_path)
    write_run(tmp_path / "r", n_participants=2)
    with pytest.raises(AssayError, match=r"E-LANE-008 .*no gene 'HK9'"):
        expression.read_ncounter(tmp_path / "r", options=LaneOptions(housekeeping=("HK9",)))


def test_unclaimed_lanes_and_absent_ones(tmp_path):
    root = nanostring_study(tmp_path / "s")
    (root / "rcc/run1_01.RCC").rename(root / "rcc/stranger.RCC")
    text = (root / "rcc/run1_02.RCC").read_text()
    (root / "rcc/ctrl_07.RCC").write_text(text.replace("ID,2\n", "ID,7\n"))
    study = read_study(root)
    adata = expression.read_assay(study, study.spec.assays[0])
    found = told(expression.problems_of(adata))
    assert ("E-COUNT-007", "quarantine", "stranger") in found
    assert ("E-COUNT-007", "warning", "ctrl_07") in found
    assert ("E-COUNT-008", "quarantine", "run1_01") in found
    table = pd.read_csv(root / "libraries.csv")
    table["library_id"] = [f"other {k}" for k in range(len(table))]
    table.to_csv(root / "libraries.csv", index=False)
    other = read_study(root)
    with pytest.raises(AssayError, match="No lane is claimed by a biopsy") as caught:
        expression.read_assay(other, other.spec.assays[0])
    errors = [(p.code, p.file) for p in caught.value.problems if p.severity == "error"]
    assert errors == [("E-COUNT-007", "rcc/")]


def test_lanes_may_be_named_by_sample_id(tmp_path):
    root = nanostring_study(tmp_path / "s")
    table = pd.read_csv(root / "libraries.csv")
    table["library_id"] = [f"S{k}" for k in range(len(table))]
    table.to_csv(root / "libraries.csv", index=False)
    study = read_study(root)
    assert expression.read_assay(study, study.spec.assays[0]).n_obs == 12


# --- the road -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["intensity", "count"])
def test_a_run_on_a_study_of_rcc_files(tmp_path, kind):
    """Every planted gene is called (q < .05) with its direction; the exit status tells of the bad lane."""

    def crowd(folder):
        path = folder / "run1_12.RCC"
        path.write_text(path.read_text().replace("BindingDensity,0.8", "BindingDensity,2.6"))

    root = nanostring_study(tmp_path / "s", kind=kind, spoil=crowd)
    outcome = run_study(root, tmp_path / "out", workers=1, progress=False)
    assert outcome.exit_code == 4
    assert {p.item for p in outcome.problems if p.severity == "quarantine"} == {"run1_12"}
    table = read_result(tmp_path / "out").table
    strict = table[(table["set"] == "strict") & (table["assay"] == "ncounter")].set_index("feature")
    planted = strict.loc[list(EFFECT)]
    assert (planted["q"] < 0.05).all()
    assert planted["estimate"].between(1.0, 2.0).all()
    assert "results/pd_change.csv" in {
        str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.csv")
    }


def test_two_expression_assays_share_one_sheet(tmp_path):
    """Libraries of the other assay are not absent; with a column `assay` each takes its own."""
    root = nanostring_study(tmp_path / "s")
    libraries = pd.read_csv(root / "libraries.csv")
    counts = pd.DataFrame(
        np.random.default_rng(1).poisson(60, (90, 12)), columns=[f"R{k}" for k in range(12)]
    )
    counts.index = [f"G{k}" for k in range(90)]
    counts.to_csv(root / "counts.csv", index_label="gene")
    own = libraries.assign(library_id=counts.columns, assay="rna")
    both = pd.concat([libraries.assign(assay="ncounter"), own])
    yaml = root / "study.yaml"
    yaml.write_text(yaml.read_text().replace("assays: {", "assays: {rna: {kind: count, file: counts.csv}, "))
    for sheet in (both, both.drop(columns="assay")):
        sheet.to_csv(root / "libraries.csv", index=False)
        study = read_study(root)
        assert not study.problems
        assert ("assay" in read_study(study.write(tmp_path / f"{len(sheet.columns)}")).libraries) == (
            "assay" in sheet
        )
        told_of = []
        assays = count_assays(study, told_of)
        assert [assays[name].n_obs for name in ("rna", "ncounter")] == [12, 12]
        assert not [p for p in told_of if p.severity == "quarantine"]


# --- real data ----------------------------------------------------------------------------------------


@pytest.mark.data
def test_real_lanes_have_the_figures_that_another_program_found(shared_data):
    """34 lanes: FOV, R2, mean + 2 SD and housekeeping means, 1e-7; one lane has a density of 2.48."""
    expected = pd.read_csv(shared_data("ncounter_rcc/lanes_and_samples.csv")).set_index("file")
    counts = pd.read_csv(shared_data("ncounter_rcc/raw_counts.csv.gz"))
    files = rcc_files(shared_data("ncounter_rcc/rcc"))
    assert len(files) == 34
    problems = Problems()
    for file in files:
        lane = read_rcc(file, problems)
        q, row = lane_quality(lane), expected.loc[file.name]
        figures = [q.fov_ratio, q.positive_r2, q.lod, q.housekeeping_geomean]
        np.testing.assert_allclose(
            figures, row[["fov_ratio", "pos_R2", "neg_mean_2sd", "hk_geomean"]].tolist()
        )
        column = next(c for c in counts.columns if c.startswith(file.stem))
        assert sorted(lane.counts) == sorted(counts[column])
    assert not list(problems)
    adata = expression.read_ncounter(shared_data("ncounter_rcc/rcc"))
    assert adata.n_obs == 33
    lost = [p.item for p in expression.problems_of(adata) if p.severity == "quarantine"]
    assert lost == ["20190916_1093692589_10937581_04"]
    assert sorted(set(adata.obs["cartridge"])) == ["10936924", "1093692589", "10936926"]


@pytest.mark.data
def test_real_lanes_go_the_road(shared_data, tmp_path):
    """Day 0 against the first later day of 8 participants, by their names (a column of the sheet is wrong).

    The lane at density 2.48 and the controls are left out; cartridges are the batches; every probe that is
    analysed has a row.
    """
    sheet = pd.read_csv(shared_data("ncounter_rcc/lanes_and_samples.csv")).dropna(
        subset=["participant_from_name"]
    )
    sheet = sheet.sort_values(["participant_from_name", "day"])
    sheet = sheet.groupby("participant_from_name").head(2).copy()
    sheet["visit"] = np.where(sheet["day"] == 0, "day0", "later")
    sheet["biopsy_id"] = sheet["participant_from_name"] + "_" + sheet["visit"]
    rows = sheet[["participant_from_name", "biopsy_id", "visit"]]
    biopsies = rows.rename(columns={"participant_from_name": "participant_id"}).to_csv(index=False)
    libraries = (
        sheet[["filename", "biopsy_id"]].rename(columns={"filename": "library_id"}).to_csv(index=False)
    )
    yaml = STUDY.replace("pre: {}, on: {}", "day0: {}, later: {}")
    root = study_folder(
        tmp_path / "s",
        biopsies=biopsies,
        study=yaml,
        plan="contrasts: {change: later - day0}\n",
        files={"libraries.csv": libraries},
    )
    shutil.copytree(shared_data("ncounter_rcc/rcc"), root / "rcc")
    study = read_study(root)
    adata = expression.read_assay(study, study.spec.assays[0])
    assert adata.n_obs >= 14
    assert set(adata.obs["batch"]) <= {"10936924", "1093692589", "10936926"}
    assert adata.n_vars == 780
    # Little RNA: most probes are censored in most lanes, for models that take time; a tenth of them is here.
    # Probes seen in every lane must all have an answer.
    seen = (adata.layers["censored"] == 0).all(axis=0)
    assert seen.any()
    few = adata[:, seen | (np.arange(adata.n_vars) % 10 == 0)].copy()
    result = pd_change(study.with_assay("ncounter", few), Plan.read(root / "plan.yaml", study))
    strict = result.table[result.table["set"] == "strict"].set_index("feature")
    assert sorted(strict.index) == sorted(few.var_names)
    assert strict.loc[adata.var_names[seen], "status"].isin(["ok", "singular"]).all()


@pytest.mark.data
def test_real_export_is_recognised_as_normalised(shared_data):
    """Bitler: geometric mean 671.26 in 69 of 70 samples, 109.96 in P35_Post; values are not touched."""
    path, classes = (
        shared_data(f"hgsoc_io360_bitler/{n}") for n in ("bitler_norm_counts.csv.gz", "probe_class.csv")
    )
    adata = expression.read_nsolver(path, classes=classes)
    assert adata.n_obs == 69
    assert told(expression.problems_of(adata)) == {
        ("E-COUNT-037", "warning", None),
        ("E-LANE-009", "quarantine", "P35_Post"),
    }
    messages = " ".join(p.message for p in expression.problems_of(adata))
    assert "671.26 in 69 of 70" in messages
    assert "109.96" in messages
    original = pd.read_csv(path, index_col=0).loc[adata.var_names, adata.obs["libraries"]].T
    np.testing.assert_array_equal(adata.X, original)
    floor = adata.obs["floor"].to_numpy()[:, None]
    assert ((adata.layers["censored"] < 0) == (floor >= adata.X)).all()
    assert (adata.layers["censored"] < 0).mean() == pytest.approx(0.0303, abs=1e-4)


# --- exports ------------------------------------------------------------------------------------------


def export(rng, *, scaled, n=8):
    """Endogenous, housekeeping and control probes x samples."""
    amount = rng.lognormal(0, 0.6, n)
    values = rng.poisson(np.outer(rng.gamma(1, 300, 40), amount) + 5).astype(float)
    housekeeping = rng.poisson(np.outer([500, 900, 1500], amount) + 5).astype(float)
    if scaled:
        means = np.exp(np.log(housekeeping).mean(axis=0))
        values, housekeeping = (np.round(x * 700 / means, 6) for x in (values, housekeeping))
    positive = rng.poisson(np.outer([25600, 6400, 1600, 400, 100], rng.uniform(0.8, 1.2, n))).astype(float)
    negative = rng.poisson(6, (8, n)).astype(float)
    names = [f"G{k}" for k in range(40)] + ["H1", "H2", "H3"]
    names += [f"POS_{c}" for c in "ABCDE"] + [f"NEG_{c}" for c in "ABCDEFGH"]
    classes = ["Endogenous"] * 40 + ["Housekeeping"] * 3 + ["Positive"] * 5 + ["Negative"] * 8
    table = pd.DataFrame(
        np.vstack([values, housekeeping, positive, negative]), columns=[f"S{k}" for k in range(n)]
    )
    table.insert(0, "Probe Name", names)
    table.insert(1, "Code Class", classes)
    return table, amount


def test_raw_export_is_scaled_once(tmp_path):
    table, amount = export(np.random.default_rng(2), scaled=False)
    table.astype(dict.fromkeys(table.columns[2:], int)).to_csv(tmp_path / "raw.csv", index=False)
    adata = expression.read_nsolver(tmp_path / "raw.csv")
    assert adata.uns["provenance"]["found"] == "raw counts"
    # By hand: at most the mean of the negative controls and two SD.
    negative = table[table["Code Class"] == "Negative"].iloc[:, 2:].to_numpy(float)
    limit = negative.mean(axis=0) + 2 * negative.std(axis=0, ddof=1)
    below = table.iloc[:40, 2:].to_numpy(float) <= limit
    assert 0 < below.sum() < (table.iloc[:40, 2:].to_numpy(float) <= limit + 4).sum()
    assert ((adata.layers["censored"][:, :40] < 0) == below.T).all()
    strong = np.log2(adata.X[:, adata.X.mean(axis=0) > 200])
    raw = np.log2(table.iloc[:40, 2:].to_numpy(float).T + 1)
    assert np.corrcoef(raw.mean(axis=1), np.log2(amount))[0, 1] > 0.9
    assert strong.mean(axis=1).std() < 0.1


def test_scaled_export_is_not_scaled_again_and_the_exception_is_left_out(tmp_path):
    table, _ = export(np.random.default_rng(3), scaled=True)
    table.loc[:42, "S5"] *= 0.2
    table.to_csv(tmp_path / "n.csv", index=False)
    adata = expression.read_nsolver(tmp_path / "n.csv")
    assert adata.obs["libraries"].tolist() == ["S0", "S1", "S2", "S3", "S4", "S6", "S7"]
    np.testing.assert_allclose(adata.X[0], table["S0"][:43], rtol=1e-12)
    found = "housekeeping-scaled; {} of 7 samples thresholded at background"
    assert adata.uns["provenance"]["found"] == found.format(0)
    # Two samples of the export were thresholded before they were scaled.
    for sample, floor in (("S1", 80.0), ("S2", 90.0), ("S5", 70.0)):  # S5 is left out, and not counted
        table[sample] = table[sample].astype(float).clip(lower=floor)
    table.to_csv(tmp_path / "f.csv", index=False)
    floored = expression.read_nsolver(tmp_path / "f.csv")
    assert floored.uns["provenance"]["found"] == found.format(2)
    at = table.iloc[:43][["S1", "S2"]].to_numpy(float).T <= [[80.0], [90.0]]
    assert at.any(axis=1).all()
    assert ((floored.layers["censored"][1:3] < 0) == at).all()
    assert told(expression.problems_of(adata)) == {
        ("E-COUNT-037", "warning", None),
        ("E-LANE-009", "quarantine", "S5"),
    }


def test_a_sample_that_is_left_out_has_no_part_in_the_scale_of_the_others(tmp_path):
    """The export with a strange sample that no biopsy claims, and the export without it, are one assay."""
    table, _ = export(np.random.default_rng(8), scaled=False)
    rows = "".join(
        f"P{k // 2},{s},{'screening' if k % 2 else 'C2D1'}\n" for k, s in enumerate(table.columns[2:9])
    )
    study = study_folder(
        tmp_path / "study",
        biopsies="participant_id,biopsy_id,visit\n" + rows,
        study="id: T\nvisits: {screening: {}, C2D1: {}}\n",
    )
    table["S7"] = (table["S7"] * np.linspace(1, 9, len(table))).round()
    read = []
    for name, chosen in (("all.csv", table), ("known.csv", table.drop(columns="S7"))):
        chosen.to_csv(tmp_path / name, index=False)
        read.append(expression.read_nsolver(tmp_path / name, study=read_study(study)))
    np.testing.assert_array_equal(read[0].X, read[1].X)
    assert read[0].uns["provenance"]["matrix"].endswith("8 samples, 7 used")


def test_export_that_cannot_be_judged_is_refused(tmp_path):
    table, _ = export(np.random.default_rng(4), scaled=True)
    table.drop(columns="Code Class").to_csv(tmp_path / "n.csv", index=False)
    with pytest.raises(AssayError, match="Nothing says which probes are housekeeping"):
        expression.read_nsolver(tmp_path / "n.csv")
    named = expression.read_nsolver(tmp_path / "n.csv", options=LaneOptions(housekeeping=("H1", "H2", "H3")))
    assert named.n_obs == 8
    odd = table.copy()
    odd.iloc[:, 2:] = odd.iloc[:, 2:].astype(float) * np.linspace(1, 3, 8)
    odd.to_csv(tmp_path / "odd.csv", index=False)
    with pytest.raises(AssayError, match="what was done to them cannot be told"):
        expression.read_nsolver(tmp_path / "odd.csv")
    table.iloc[3, 4] = np.nan
    table.to_csv(tmp_path / "gap.csv", index=False)
    with pytest.raises(AssayError, match="no numbers of 0 or more"):
        expression.read_nsolver(tmp_path / "gap.csv")


def test_probes_that_a_table_of_classes_leaves_out_are_endogenous_or_told_by_their_name(tmp_path):
    table, _ = export(np.random.default_rng(6), scaled=False)
    table.drop(columns="Code Class").to_csv(tmp_path / "raw.csv", index=False)
    side = table.loc[[0, 1, 40, 41, 42], ["Probe Name", "Code Class"]]
    found = expression.read_nsolver(tmp_path / "raw.csv", classes=side)
    table.to_csv(tmp_path / "whole.csv", index=False)
    whole = expression.read_nsolver(tmp_path / "whole.csv")
    pd.testing.assert_series_equal(found.var["code_class"], whole.var["code_class"])
    np.testing.assert_array_equal(found.X, whole.X)


def test_state_of_an_export():
    table, _ = export(np.random.default_rng(5), scaled=True)
    classes = np.array([c.lower() for c in table["Code Class"]])
    state = state_of(table.iloc[:, 2:].to_numpy(float), classes)
    assert state.scaled
    assert state.target == pytest.approx(700, rel=1e-3)
    assert state.exceptions == []
