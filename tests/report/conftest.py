"""Results that tests of the report share: a stand-in, a simulated trial, and a published cohort."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from riaz import build_riaz_study

import pdbiomarker as pb
from pdbiomarker.decide import DecideOptions, Review, review_of
from pdbiomarker.tables import write_table

#: Few simulations: what a rule's probabilities are is told elsewhere.
QUICK = DecideOptions(n_sims=100, curves=True)


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    name = "pdbiomarker_tests_fake"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "fake.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory) -> pb.PDResult:
    """The trial of the demo without its slides: transcripts, signature and clinical tables."""
    folder = tmp_path_factory.mktemp("trial") / "study"
    pb.simulate_study(folder, seed=5, n_participants=12, slides=False, genes=150)
    study = pb.read_study(folder)
    counts = pb.expression.read_counts(folder / "counts.csv.gz", study=study)
    measured = study.with_assay("rna", counts)
    measured = measured.with_assay("rna_signatures", pb.expression.signature_scores(counts))
    plan = pb.Plan(
        formula="~ visit + (1|participant)",
        contrasts={"on_treatment": "C2D1 - screening"},
        families={"primary": ("rna_signatures:CYT",), "genes": ("rna",)},
        baseline="screening",
    )
    return pb.with_clinical(pb.pd_change(measured, plan), pb.clinical_tables(study))


@pytest.fixture(scope="session")
def riaz(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> pb.PDResult:
    """65 participants of a published cohort; the first 400 genes and those of the signature."""
    folder = build_riaz_study(shared_data, tmp_path_factory.mktemp("riaz") / "study")
    study = pb.read_study(folder)
    counts = pd.read_csv(folder / "counts.csv.gz", dtype=str)
    genes = pd.read_csv(folder / "genes.csv", dtype=str).set_index("entrez")["gene_name"]
    named = genes.reindex(counts["entrez"]).isin(["GZMA", "PRF1"]).to_numpy()
    write_table(counts[named | (np.arange(len(counts)) < 400)].reset_index(drop=True), folder / "few.csv")
    rna = pb.expression.read_counts(folder / "few.csv", study=study, genes=folder / "genes.csv")
    study = study.with_assay("rna", rna)
    study = study.with_assay("rna_signatures", pb.expression.signature_scores(rna, ["CYT"]))
    return pb.pd_change(study, pb.Plan.read(folder / "plan.yaml", study))


@pytest.fixture(scope="session")
def trial_review(trial: pb.PDResult) -> Review:
    return review_of(trial, options=QUICK)


@pytest.fixture(scope="session")
def riaz_review(riaz: pb.PDResult) -> Review:
    return review_of(riaz, options=QUICK)
