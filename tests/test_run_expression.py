"""From a study folder to results: identity told, signatures as asked for, single cells as assays."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pdbiomarker as pb
from pdbiomarker.run.assays import count_assays, expression_tables
from pdbiomarker.run.survey import survey
from tests.builders import study_folder, text
from tests.expression.test_identity import libraries, swap
from tests.expression.test_singlecell import cells

STUDY = """
id: S-1
visits: {screening: {}, C2D1: {}}
assays:
"""


def bulk_study(folder: Path, adata, assay: str = "rna: {kind: count, file: counts.csv}") -> Path:
    obs = adata.obs
    rows = [
        f"{p},{b},{'screening' if v == 'S' else 'C2D1'}"
        for p, b, v in zip(obs["participant_id"], obs["biopsy_id"], obs["visit"], strict=True)
    ]
    people = obs.drop_duplicates("participant_id")
    counts = pd.DataFrame(adata.X.T.astype(int), index=adata.var_names, columns=obs["biopsy_id"].tolist())
    return study_folder(
        folder,
        biopsies="participant_id,biopsy_id,visit\n" + "\n".join(rows) + "\n",
        participants="participant_id,sex\n"
        + "".join(f"{p},{s}\n" for p, s in zip(people["participant_id"], people["sex"], strict=True)),
        study=STUDY + f"  {assay}\n",
        files={"counts.csv": counts.rename_axis("gene").to_csv()},
    )


def test_a_swap_is_told_before_any_work(tmp_path: Path) -> None:
    folder = bulk_study(tmp_path / "s", swap(libraries(8), "P01-T", "P04-T"))
    told = [p for p in pb.check(folder) if p.code == "E-COUNT-040"]
    assert {p.item for p in told} == {"P01-S", "P01-T", "P04-S", "P04-T"}
    assert {p.severity for p in told} == {"warning"}
    (one,) = [p for p in told if p.item == "P01-T"]
    assert "Its most likely owner is P04." in one.message
    assert "XIST and no Y transcripts in a participant recorded as male" in one.message
    clean = bulk_study(tmp_path / "clean", libraries(8))
    assert [p for p in pb.check(clean) if p.code == "E-COUNT-040"] == []


def test_a_swap_is_told_among_the_files_of_a_counting_tool(tmp_path: Path) -> None:
    adata = swap(libraries(8), "P01-T", "P04-T")
    folder = bulk_study(tmp_path / "star", adata, "rna: {kind: count, files: star/, strand: reverse}")
    (folder / "star").mkdir()
    tops = "".join(
        f"{row}\t9\t9\t9\n" for row in ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
    )
    for biopsy, reads in zip(adata.obs["biopsy_id"], adata.X.astype(int), strict=True):
        rows = zip(adata.var_names, reads, strict=True)  # half on either strand: only `strand` tells
        text(
            folder / "star" / f"{biopsy}_ReadsPerGene.out.tab",
            tops + "".join(f"{gene}\t{2 * n}\t{n // 2}\t{n}\n" for gene, n in rows),
        )
    told = [p for p in pb.check(folder) if p.code == "E-COUNT-040"]
    assert {p.item for p in told} == {"P01-S", "P01-T", "P04-S", "P04-T"}
    found = survey(folder)
    assert found.study is not None
    tables = expression_tables(found.study, found.assays)
    assert len(tables["identity"]) == 16
    assert len(tables["likeness"]) == 16 * 15 // 2
    alike = tables["likeness"].set_index(["library_a", "library_b"])["similarity"]
    # Who was swapped looks like the other participant's library, not like the own one.
    assert alike["P01-S", "P04-T"] > 0.5 > alike["P01-S", "P01-T"]


def test_signatures_as_study_yaml_asks(tmp_path: Path) -> None:
    adata = libraries(6)
    names = list(adata.var_names[6:14])
    assay = (
        "rna: {kind: count, file: counts.csv, gene_sets: own.gmt, signatures: [MINE, own.yaml], "
        "signature_method: mean_z, signature_reference: fixed.parquet}"
    )
    folder = bulk_study(tmp_path / "s", adata, assay)
    text(folder / "own.gmt", "MINE\t\t" + "\t".join(names[:4]) + "\nOTHER\t\tG0009\n")
    text(folder / "own.yaml", f"name: OWN\nlabel: Own\ngenes: [{names[5]}, {names[6]}]\n")
    counts = adata.copy()
    counts.obs_names = adata.obs["biopsy_id"].tolist()
    fixed = pb.expression.fit_reference(counts, [b for b in counts.obs_names if b.endswith("S")])
    fixed.write(folder / "fixed.parquet")
    study = pb.read_study(folder)
    scores = count_assays(study, [])["rna_signatures"]
    assert scores.var_names.tolist() == ["MINE", "OWN"]
    assert scores.var["method"].tolist() == ["mean_z"] * 2
    assert scores.var["reference"].str.startswith("fixed, 6 biopsies").all()
    base = np.array([b.endswith("S") for b in scores.obs_names])
    np.testing.assert_allclose(scores.X[base].mean(axis=0), 0, atol=1e-12)
    assert pb.read_study(study.write(tmp_path / "copy")).spec == study.spec
    for old, new, message in (
        ("MINE, ", "MIEN, ", "no signature 'MIEN'"),
        ("mean_z", "mean_zz", "no scoring method 'mean_zz'"),
        ("own.yaml", "absent.yaml", "absent.yaml"),
    ):
        broken = Path(shutil.copytree(folder, tmp_path / new.strip(", ").replace(".", "")))
        text(broken / "study.yaml", (folder / "study.yaml").read_text().replace(old, new))
        assert any(message in str(p) for p in pb.check(broken).errors)


def sc_study(folder: Path) -> Path:
    biopsies = [f"P{k}-{v}" for k in range(6) for v in "ST"]
    rows = "".join(f"{b[:2]},{b},{'screening' if b[-1] == 'S' else 'C2D1'}\n" for b in biopsies)
    study_folder(
        folder,
        biopsies="participant_id,biopsy_id,visit\n" + rows,
        study=STUDY + "  sc: {kind: count, h5ad: cells.h5ad, signatures: [CYT], "
        "single_cell: {min_genes: 5, max_mito: 0.9}}\n",
        plan='formula: "~ visit + (1|participant)"\ncontrasts: {on_treatment: C2D1 - screening}\n'
        "families: {primary: [sc_composition:CD8_T]}\n",
        files={"cells.h5ad": "x"},
    )
    cells(biopsies, per=120, on=[b for b in biopsies if b[-1] == "T"]).write_h5ad(folder / "cells.h5ad")
    return folder


def test_a_refused_matrix_is_told_without_what_follows_from_it(tmp_path: Path) -> None:
    folder = bulk_study(tmp_path / "s", libraries(6))
    text(folder / "counts.csv", "gene,P00-S,P00-T\nGZMA,1,2\nPRF1,-3,4\n")
    plan = (
        'formula: "~ visit + (1|participant)"\ncontrasts: {on: C2D1 - screening}\n'
        "families: {primary: [rna_signatures:CYT]}\n"
    )
    text(folder / "plan.yaml", plan)
    assert [p.code for p in pb.check(folder)] == ["E-COUNT-002"]
    text(folder / "plan.yaml", plan.replace("rna_signatures", "ihc"))
    assert [p.code for p in pb.check(folder)] == ["E-COUNT-002", "E-PLAN-003"]


def test_single_cells_need_no_plan(tmp_path: Path) -> None:
    folder = sc_study(tmp_path / "s")
    plan = (folder / "plan.yaml").read_text(encoding="utf-8")
    text(folder / "plan.yaml", plan.replace("sc_composition:CD8_T", "sc"))
    (problem,) = pb.check(folder)
    assert (problem.code, problem.value) == ("E-PLAN-003", "sc")
    (folder / "plan.yaml").unlink()
    found = survey(folder)
    study, the_plan = found.settled()
    for name, adata in found.assays.items():
        study = study.with_assay(name, adata)
    table = pb.pd_change(study, the_plan).table
    assert set(table["assay"]) == set(found.assays)


def test_cell_types_never_take_the_place_of_another_assay(tmp_path: Path) -> None:
    folder = sc_study(tmp_path / "s")
    biopsies = ",".join(f"P{k}-{v}" for k in range(6) for v in "ST")
    text(folder / "scores.csv", f"feature,{biopsies}\nA{',5' * 12}\n")
    spec = (folder / "study.yaml").read_text(encoding="utf-8")
    for name in ("sc_Tumour", "sc_composition"):
        text(folder / "study.yaml", spec + f"  {name}: {{kind: score, file: scores.csv}}\n")
        (problem,) = [p for p in pb.check(folder).errors if p.code == "E-STUDY-001"]
        assert (problem.column, problem.value) == ("assays.sc", name)


def test_single_cells_become_assays_of_the_study(tmp_path: Path) -> None:
    found = survey(sc_study(tmp_path / "s"))
    assert found.problems.errors == []
    assert list(found.assays) == [
        *("sc_CD8_T", "sc_CD8_T_signatures", "sc_Myeloid", "sc_Myeloid_signatures"),
        *("sc_Tumour", "sc_Tumour_signatures", "sc_composition"),
    ]
    assert found.study is not None
    tables = expression_tables(found.study, found.assays)
    assert set(tables) == {"rna", "rna_components", "cells"}
    assert tables["cells"]["cells"].tolist() == [120] * 12
    study, plan = found.settled()
    for name, adata in found.assays.items():
        study = study.with_assay(name, adata)
    table = pb.pd_change(study, plan).table
    row = table[(table["feature"] == "CD8_T") & (table["set"] == "strict")].iloc[0]
    assert row["family"] == "primary"
    assert row["n_pairs"] == 6
    assert row["effect_low"] < (0.4 / 0.6) / (0.2 / 0.8) < row["effect_high"]  # planted odds ratio 2.67
    assert row["p"] < 0.01


@pytest.mark.slow
def test_run_on_single_cells(tmp_path: Path) -> None:
    """The whole road in its processes; what is written is read back."""
    outcome = pb.run_study(sc_study(tmp_path / "s"), tmp_path / "out", progress=False)
    assert outcome.exit_code == 0
    result = pb.read_result(outcome.out)
    assert "sc_composition" in result.study.assays
    assert result.study.spec.assay("sc").single_cell is not None
    assert (outcome.out / "results/qc_cells.csv").is_file()
    page = (outcome.out / "review.html").read_text(encoding="utf-8")
    assert "CD8 T, share of cells" in page
