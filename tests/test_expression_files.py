"""`pdbiomarker expression`: files in, files out."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.errors import InputError
from pdbiomarker.normalize import norm_factors
from tests.rcc_set import write_run

FILES = {
    "expression.h5ad",
    "libraries.csv",
    "features.csv",
    "quarantine.csv",
    "problems.csv",
    "provenance.json",
}


def call(*arguments):
    return CliRunner().invoke(app, ["expression", *map(str, arguments)])


def counts(path, n_genes=80):
    table = np.random.default_rng(1).negative_binomial(3, 0.01, (n_genes, 5))
    table[:, 4] = 0
    frame = pd.DataFrame(table, index=[f"G{k}" for k in range(n_genes)], columns=[f"L{k}" for k in range(5)])
    frame.to_csv(path, index_label="gene")
    return frame


def test_a_count_matrix(tmp_path):
    table = counts(tmp_path / "c.csv")
    answer = call(tmp_path / "c.csv", "-o", tmp_path / "out", "--normalization", "deseq")
    assert answer.exit_code == 4, answer.output  # L4 has no reads
    assert str(tmp_path / "out" / "expression.h5ad") in answer.output
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES
    assay = ad.read_h5ad(tmp_path / "out/expression.h5ad")
    assert assay.X.tolist() == table.iloc[:, :4].T.to_numpy().tolist()
    libraries = pd.read_csv(tmp_path / "out/libraries.csv")
    kept = pd.read_csv(tmp_path / "out/features.csv")["tested"].to_numpy()
    expected = norm_factors(table.iloc[:, :4].to_numpy()[kept], "deseq")
    np.testing.assert_allclose(libraries["norm_factor"], expected, rtol=1e-12)
    assert pd.read_csv(tmp_path / "out/quarantine.csv")["item"].tolist() == ["L4"]
    facts = json.loads((tmp_path / "out/provenance.json").read_text())
    assert facts["normalization"]["method"] == "deseq"
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert call(tmp_path / "c.csv", "-o", tmp_path / "out", "--normalization", "deseq").exit_code == 4
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_a_folder_of_rcc_files(tmp_path):
    write_run(tmp_path / "rcc", n_participants=2)
    answer = call(tmp_path / "rcc", "-o", tmp_path / "out", "--housekeeping", "HK1", "--housekeeping", "HK2")
    assert answer.exit_code == 0, answer.output
    assay = ad.read_h5ad(tmp_path / "out/expression.h5ad")
    np.testing.assert_allclose(assay.layers["y"], np.log2(assay.X))
    facts = json.loads((tmp_path / "out/provenance.json").read_text())
    assert facts["housekeeping"] == "HK1, HK2"
    raw = pb.write_expression(tmp_path / "rcc", tmp_path / "raw", options=pb.ExpressionOptions(kind="count"))
    assert raw.exit_code == 0
    assert set(ad.read_h5ad(tmp_path / "raw/expression.h5ad").var["kind"]) == {"count"}


def test_refused_input_leaves_nothing(tmp_path):
    (tmp_path / "c.csv").write_text("gene,A\nG1,x\n")
    answer = call(tmp_path / "c.csv", "-o", tmp_path / "out")
    assert answer.exit_code == 3
    assert not (tmp_path / "out").exists()
    counts(tmp_path / "good.csv")
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="E-RUN-006"):
        pb.write_expression(tmp_path / "good.csv", other)
