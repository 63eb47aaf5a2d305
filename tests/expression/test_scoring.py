"""Scores of gene sets: equal to R's GSVA, to brute force, and independent of biopsies that come later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pdbiomarker import expression
from pdbiomarker.errors import AssayError, MissingExtraError, Problems
from pdbiomarker.expression import extras, scoring
from pdbiomarker.expression.genesets import Signature
from pdbiomarker.expression.signatures import METHODS, NEEDS_REFERENCE
from pdbiomarker.study import check_assay

TOLERANCE = 1e-9  # R's numbers are kept to 15 digits


@pytest.fixture(scope="module")
def fixture(golden):
    folder = golden / "signatures"
    counts = pd.read_csv(folder / "counts.csv", index_col=0)
    sets = pd.read_csv(folder / "sets.csv")
    members = {
        str(k): [counts.index.get_loc(g) for g in v] for k, v in sets.groupby("set", sort=False)["gene"]
    }
    scores = pd.read_csv(folder / "gsva_scores.csv").set_index(["case", "set"])
    x = counts.to_numpy(dtype=float)
    logs = np.log2((x + 0.5) / (x.sum(axis=0) + 1) * 1e6)
    return {"logcpm": logs, "tied": np.round(logs), "counts": x}, members, scores


def assay(counts: np.ndarray, genes=None, biopsies=None) -> ad.AnnData:
    """Biopsies x genes from genes x biopsies."""
    genes = genes or [f"g{k:03d}" for k in range(len(counts))]
    biopsies = biopsies or [f"B{k:02d}" for k in range(counts.shape[1])]
    var = pd.DataFrame({"kind": "count", "symbol": ""}, index=pd.Index(genes, dtype=str))
    return ad.AnnData(counts.T.astype(float), obs=pd.DataFrame(index=pd.Index(biopsies, dtype=str)), var=var)


def simulated(n: int = 12, genes: int = 150, seed: int = 4) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.poisson(draw.lognormal(3, 1.4, (genes, 1)) * draw.lognormal(0, 0.4, (genes, n))).astype(float)


def wanted(scores: pd.DataFrame, case: str) -> dict[str, np.ndarray]:
    return {str(k): row.to_numpy(dtype=float) for k, row in scores.loc[case].iterrows()}


@pytest.mark.parametrize("case", ["logcpm", "tied"])
def test_ssgsea_equals_gsva(fixture, case):
    """Oracle: GSVA 1.46, with and without its division by the range; "tied" has whole numbers only."""
    values, sets, scores = fixture
    mine = scoring.ssgsea(values[case], [np.array(v) for v in sets.values()])
    for name, row in zip(sets, mine, strict=True):
        np.testing.assert_allclose(row, wanted(scores, f"{case}/ssgsea")[name], rtol=0, atol=TOLERANCE)
        normed = row / (mine.max() - mine.min())
        np.testing.assert_allclose(
            normed, wanted(scores, f"{case}/ssgsea_norm")[name], rtol=0, atol=TOLERANCE
        )


@pytest.mark.parametrize(
    ("case", "kernel", "golden_case"),
    [
        ("logcpm", "gaussian", "logcpm/gsva"),
        ("tied", "gaussian", "tied/gsva"),
        ("counts", "poisson", "counts/gsva_poisson"),
    ],
)
def test_gsva_equals_gsva(fixture, case, kernel, golden_case):
    """Oracle: GSVA 1.46; genes that do not vary are left out, as it does."""
    values, sets, scores = fixture
    moving = scoring.varying(values[case])
    place = np.cumsum(moving) - 1
    x = values[case][moving]
    rows = [np.array([place[g] for g in v if moving[g]]) for v in sets.values()]
    mine = scoring.gsva(x, rows, x, kernel=kernel)
    for name, row in zip(sets, mine, strict=True):
        np.testing.assert_allclose(row, wanted(scores, golden_case)[name], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("case", ["logcpm", "tied"])
def test_zscore_and_plage_equal_gsva(fixture, case):
    """Oracle: GSVA 1.46; a singular vector's sign is arbitrary there. It has no answer for one gene."""
    values, sets, scores = fixture
    moving = scoring.varying(values[case])
    place = np.cumsum(moving) - 1
    x = values[case][moving]
    z = scoring.standardised(x, x)
    for name, genes in sets.items():
        rows = np.array([place[g] for g in genes if moving[g]])
        combined = wanted(scores, f"{case}/zscore")[name]
        np.testing.assert_allclose(scoring.combined_z(z, rows), combined, rtol=0, atol=TOLERANCE)
        if len(genes) > 1:
            mine, theirs = scoring.plage(z, rows, z), wanted(scores, f"{case}/plage")[name]
            np.testing.assert_allclose(mine, theirs * np.sign(mine @ theirs), rtol=0, atol=TOLERANCE)
            assert mine @ z[rows].mean(axis=0) > 0


@pytest.mark.data
def test_goldens_of_real_counts(shared_golden):
    """Oracle: GSVA 1.46 on 200 genes of 107 melanoma libraries (10 digits), log CPM of edgeR."""
    folder = shared_golden("riaz200")
    x = pd.read_csv(folder / "edger_logcpm_prior2.csv", index_col=0)
    sets = pd.read_csv(folder / "gene_sets.csv").groupby("set", sort=False)["gene"]
    rows = {str(k): np.array([x.index.get_loc(g) for g in v]) for k, v in sets}
    theirs = pd.read_csv(folder / "gsva_scores.csv").set_index(["method", "set"])
    values = x.to_numpy(dtype=float)
    for method, mine in (
        ("ssgsea_nonorm", scoring.ssgsea(values, list(rows.values()))),
        ("gsva", scoring.gsva(values, list(rows.values()), values)),
    ):
        for name, row in zip(rows, mine, strict=True):
            np.testing.assert_allclose(row, theirs.loc[method, name].to_numpy(dtype=float), atol=1e-8)


def test_singscore_by_hand_and_by_brute_force():
    """Oracle: the definition, counting by hand; Foroutan et al. 2018."""
    x = np.array([[5.0], [1.0], [9.0], [7.0], [5.0]])  # ranks with the smallest for ties: 2, 1, 5, 4, 2
    (score,) = scoring.singscore(x, [np.array([2, 4])])[0]
    assert score == pytest.approx(((5 + 2) / 2 - 1.5) / (4.5 - 1.5) - 0.5)
    top = scoring.singscore(x, [np.array([2, 3])])[0, 0]
    bottom = scoring.singscore(np.array([[5.0], [1.0], [9.0], [7.0], [6.0]]), [np.array([0, 1])])[0, 0]
    assert (top, bottom) == (0.5, -0.5)
    draw = np.random.default_rng(2)
    y, genes = draw.integers(0, 9, (40, 3)).astype(float), np.array([3, 8, 30, 31])
    for j in range(3):
        ranks = [1 + int((y[:, j] < y[g, j]).sum()) for g in genes]
        low, high = (4 + 1) / 2, (2 * 40 - 4 + 1) / 2
        by_hand = (np.mean(ranks) - low) / (high - low) - 0.5
        assert scoring.singscore(y, [genes])[0, j] == pytest.approx(by_hand, abs=1e-12)


def test_a_set_of_all_genes_has_no_rank_score():
    x = simulated(3, 10)
    every = [np.arange(10)]
    assert np.isnan(scoring.singscore(x, every)).all()
    assert np.isnan(scoring.ssgsea(x, every)).all()
    assert np.isnan(scoring.gsva(x, every, x)).all()


def test_one_gene_is_its_own_score():
    """Mean: the gene itself; z methods: its z; plage: z over its length."""
    counts = simulated()
    set_ = Signature(name="ONE", label="one", genes=("g003",))
    x = np.log2((counts[3] + 0.5) / (counts.sum(axis=0) + 1) * 1e6)
    z = (x - x.mean()) / x.std(ddof=1)
    for method, truth in (
        ("mean_log2_cpm", x),
        ("mean_z", z),
        ("zscore", z),
        ("plage", z / np.sqrt(np.sum(z**2))),
    ):
        scores = expression.signature_scores(assay(counts), [set_], method=method)
        np.testing.assert_allclose(scores.X[:, 0], truth, atol=1e-12)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"ulm"}))
def test_trap_19_a_new_biopsy_changes_no_old_score(method):
    """With a fixed reference, or where none is needed, scores are the same to the last bit."""
    counts = simulated(12)
    sets = [
        Signature(name="A", label="a", genes=tuple(f"g{k:03d}" for k in range(3, 15))),
        Signature(name="B", label="b", genes=tuple(f"g{k:03d}" for k in range(40, 45))),
    ]
    first, more = assay(counts[:, :9]), assay(counts)
    fixed = expression.fit_reference(first, [f"B{k:02d}" for k in range(6)])
    before = expression.signature_scores(first, sets, method=method, reference=fixed)
    after = expression.signature_scores(more, sets, method=method, reference=fixed)
    np.testing.assert_array_equal(after.X[:9], before.X)
    assert np.isfinite(after.X).all()
    alone = expression.signature_scores(more[["B04"]].copy(), sets, method=method, reference=fixed)
    np.testing.assert_array_equal(alone.X[0], before.X[4])
    if method in NEEDS_REFERENCE:
        assert before.var["reference"].str.startswith("fixed, 6 biopsies").all()
        free = expression.signature_scores(more, sets, method=method).X[:9]
        assert np.abs(free - expression.signature_scores(first, sets, method=method).X).max() > 1e-6
    else:
        assert (before.var["reference"] == "none needed").all()


def test_a_reference_is_read_back_bit_by_bit(tmp_path):
    fixed = expression.fit_reference(assay(simulated()))
    again = expression.read_reference(fixed.write(tmp_path / "reference.parquet"))
    assert again.hash == fixed.hash
    pd.testing.assert_frame_equal(again.log2_cpm, fixed.log2_cpm, check_names=False)
    (tmp_path / "no.parquet").write_text("gene\n")
    with pytest.raises(AssayError, match="E-FILE-005"):
        expression.read_reference(tmp_path / "no.parquet")
    with pytest.raises(AssayError, match="E-FILE-001"):
        expression.read_reference(tmp_path / "absent.parquet")


def test_a_reference_that_does_not_fit_is_refused():
    counts = simulated()
    fixed = expression.fit_reference(assay(counts))
    set_ = Signature(name="A", label="a", genes=("g003", "g004"))
    fewer = assay(counts[:100])
    with pytest.raises(AssayError, match=r"E-ASSAY-001 .*lacks 50 of its genes, such as 'g100'"):
        expression.signature_scores(fewer, [set_], method="mean_z", reference=fixed)
    small = expression.fit_reference(assay(counts[:4]))
    with pytest.raises(AssayError, match="it lacks 1 genes of the signatures, such as 'g004'"):
        expression.signature_scores(assay(counts), [set_], method="gsva", reference=small)
    for biopsies in (["B00"], ["B00", "B99"]):
        with pytest.raises(AssayError, match="E-ASSAY-001"):
            expression.fit_reference(assay(counts), biopsies)


def test_constant_genes_are_left_out_where_a_definition_divides_by_their_spread():
    counts = simulated()
    scaled = assay(np.tile(counts[:, :1], (1, 12)))  # every biopsy alike: nothing varies
    set_ = Signature(name="A", label="a", genes=("g003", "g004", "g005"))
    scores = expression.signature_scores(scaled, [set_], method="mean_z")
    assert np.isnan(scores.X).all()
    (problem,) = expression.problems_of(scores)
    assert (problem.code, problem.value) == ("E-COUNT-018", "g003;g004;g005")
    assert np.isfinite(expression.signature_scores(scaled, [set_]).X).all()


@pytest.mark.parametrize(("floor", "scored"), [(0.5, True), (0.75, False), (0.67, False), (0.66, True)])
def test_coverage_has_a_floor(floor, scored):
    set_ = Signature(name="A", label="a", genes=("g003", "g004", "absent"), min_coverage=floor)
    scores = expression.signature_scores(assay(simulated()), [set_])
    assert np.isfinite(scores.X).all() == scored
    row = scores.var.loc["A"]
    assert (row["n_genes"], row["n_found"], row["missing"]) == (3, 2, "absent")
    assert row["coverage"] == pytest.approx(2 / 3)
    (problem,) = expression.problems_of(scores)
    assert ("not scored" in problem.message) is not scored
    assert not list(check_assay(scores, "rna_signatures"))


def test_trap_19_aliases_are_found_and_never_counted_twice():
    counts = simulated(4, 6)
    names = ["PDL2", "CD274", "X1", "X2", "X3", "X4"]
    set_ = Signature(
        name="A", label="a", genes=("PDCD1LG2", "CD274"), aliases={"PDCD1LG2": ["CD273", "PDL2"]}
    )
    scores = expression.signature_scores(assay(counts, names), [set_])
    plain = Signature(name="A", label="a", genes=("PDL2", "CD274"))
    np.testing.assert_array_equal(scores.X, expression.signature_scores(assay(counts, names), [plain]).X)
    both = Signature(name="A", label="a", genes=("PDL2", "PDCD1LG2"), aliases={"PDCD1LG2": ["PDL2"]})
    assert expression.signature_scores(assay(counts, names), [both]).var.loc["A", "missing"] == "PDCD1LG2"


def test_weights():
    counts = simulated()
    set_ = Signature(name="W", label="w", genes=("g003", "g004"), weights={"g003": 3.0, "g004": 1.0})
    x = np.log2((counts[3:5] + 0.5) / (counts.sum(axis=0) + 1) * 1e6)
    scores = expression.signature_scores(assay(counts), [set_])
    np.testing.assert_allclose(scores.X[:, 0], (3 * x[0] + x[1]) / 4, rtol=1e-13)


def test_what_is_asked_for_wrongly():
    adata = assay(simulated())
    with pytest.raises(AssayError, match=r"E-ASSAY-001 .*no scoring method 'gvsa'.*'gsva'"):
        expression.signature_scores(adata, [Signature(name="A", label="a", genes=("g001",))], method="gvsa")
    with pytest.raises(AssayError, match="asked for twice"):
        expression.signature_scores(adata, ["CYT", "CYT"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"genes": ("A", "A")}, "listed twice"),
        ({"genes": ("A",), "aliases": {"B": ["C"]}}, "not among the genes"),
        ({"genes": ("A", "B"), "weights": {"A": 1.0}}, "for some genes only"),
        ({"genes": ("A",), "weights": {"A": -1.0}}, "positive number"),
        ({"genes": ()}, "at least 1"),
        ({"genes": ("A",), "min_coverage": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_signature_that_makes_no_sense_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        Signature(name="X", label="x", **keys)


def test_a_signature_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: MINE\nlabel: Mine\ngenes: [g001, g002]\nweights: {g001: 2.0, g002: 1.0}\n")
    assert expression.read_signature(file).weights == {"g001": 2.0, "g002": 1.0}
    file.write_text("name: MINE\nlabel: Mine\ngenes: [g001]\nscore: magic\n")
    with pytest.raises(AssayError, match=r"E-PANEL-001 mine.yaml \[score\]"):
        expression.read_signature(file)


def test_gmt_files(tmp_path):
    file = tmp_path / "own.gmt"
    file.write_text("A\thttp://x\tG1\tG2\tG1\t\nB\t\tG3\n\n", encoding="utf-8")
    problems = Problems()
    sets = expression.read_gene_sets(file, problems=problems)
    assert [(s.name, s.genes, s.source) for s in sets] == [
        ("A", ("G1", "G2"), "http://x"),
        ("B", ("G3",), ""),
    ]
    (told,) = problems
    assert (told.code, told.severity, told.row, told.value) == ("E-COUNT-005", "warning", 1, "G1")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"A\tdescription\n", "E-SHEET-003"),
        (b"\tdescription\tG1\n", "E-SHEET-003"),
        (b"A\t\tG1\nA\t\tG2\n", "E-SHEET-005"),
        (b"\n\n", "E-SHEET-011"),
        (b"A\t\xff\tG1\n", "E-FILE-003"),
        (None, "E-FILE-001"),
    ],
)
def test_gmt_files_that_are_refused(tmp_path, content, code):
    file = tmp_path / "own.gmt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(AssayError, match=code):
        expression.read_gene_sets(file)


def test_a_file_that_is_no_gmt_is_told_briefly(tmp_path):
    file = tmp_path / "counts.csv"
    file.write_text("G,1,2\n" * 500, encoding="utf-8")
    with pytest.raises(AssayError) as caught:
        expression.read_gene_sets(file)
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1].message == "480 more lines are no gene sets."


@pytest.mark.data
def test_sets_of_the_collection_are_those_it_lists(shared_data):
    """Genes of every signature that names a set of immuno-compass equal that set."""
    lines = shared_data("genesets/compass_concepts.gmt").read_text(encoding="utf-8").splitlines()
    sets = {line.split("\t")[0]: [g for g in line.split("\t")[2:] if g] for line in lines}
    homes = {
        "CYT": "CytoxAct_Rooney",
        "IFNG6": "Ayers_IFNg6",
        "CD8T": "CD8Tcell_sc",
        "NK": "NK_l_Danaher17",
        "TREG": "RegTcell_sc",
        "EXHAUSTION": "ExhCD8Tcell_sc",
        "PROLIFERATION": "Proliferating_G2M_sc",
        "MYELOID": "Myeloid_sc",
        "IL2_IL15": "CD4Tcell_IL2_I_Kaptein2022",
        "TGFB_STROMA": "TGFb_pan",
    }
    for name, home in homes.items():
        assert sorted(expression.read_signature(name).genes) == sorted(sets[home])
    handling = shared_data("genesets/preanalytical_inducible_15.txt").read_text(encoding="utf-8").split()
    ours = {"CYR61" if g == "CCN1" else g for g in expression.read_signature("HANDLING").genes}
    assert ours == set(handling)


ULM = """
import sys
import matplotlib as mpl
import numpy as np
from tests.expression.test_scoring import assay, simulated
from pdbiomarker import expression
from pdbiomarker.expression.genesets import Signature

before = dict(mpl.rcParams)
set_ = Signature(name="A", label="a", genes=tuple(f"g{k:03d}" for k in range(5)))
np.save(sys.argv[1], expression.signature_scores(assay(simulated(5)), [set_], method="ulm").X)
assert "decoupler" in sys.modules and dict(mpl.rcParams) == before
"""


@pytest.mark.slow  # decoupler takes ten seconds to load
def test_ulm_is_the_t_of_a_linear_model(tmp_path):
    """Oracle: scipy's regression of the expression of all genes on membership; relative 1e-6.

    In a process of its own: decoupler is heavy, and no setting of matplotlib may be left changed by it.
    """
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", ULM, str(tmp_path / "ulm.npy")], check=True, cwd=root)
    scores = np.load(tmp_path / "ulm.npy")
    counts = simulated(5)
    x = np.log2((counts + 0.5) / (counts.sum(axis=0) + 1) * 1e6)
    member = (np.arange(150) < 5).astype(float)
    for j in range(5):
        fit = stats.linregress(member, x[:, j])
        assert scores[j, 0] == pytest.approx(fit.slope / fit.stderr, rel=1e-6)


def test_an_extra_that_is_not_installed_is_named(monkeypatch):
    def absent(name: str):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(extras.importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"pip install 'pdbiomarker\[singlecell\]'"):
        expression.signature_scores(
            assay(simulated()), [Signature(name="A", label="a", genes=("g001",))], method="ulm"
        )
