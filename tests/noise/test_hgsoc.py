"""Noise of a cohort with 1 to 4 biopsies at a time point: what is planted comes back; the real figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hgsoc import build_hgsoc_study

import pdbiomarker as pb
from pdbiomarker.noise import borrow_noise, estimate_noise, noise_of_study

SIGMA = 0.7


@pytest.mark.data
def test_planted_noise_is_recovered_within_its_limits(shared_data):
    """120 features drawn on that cohort's participants, visits and biopsies; 95 % limits, 3 MC errors."""
    samples = pd.read_csv(shared_data("hgsoc_multibiopsy/ega_multibiopsy_samples.csv"), dtype=str)
    levels = {
        "participant": samples["participant"].to_numpy(),
        "visit": samples["timepoint"].to_numpy(),
        "biopsy": samples["sample_id"].to_numpy(),
    }
    random = np.random.default_rng(11)
    person = pd.factorize(levels["participant"])[0]
    group = pd.factorize(samples["participant"] + samples["timepoint"])[0]
    covered, sigmas = 0, []
    for _ in range(120):
        y = 1.2 * random.normal(size=25)[person] + 0.5 * random.normal(size=48)[group]
        y = y + 0.8 * (levels["visit"] == "Post") + SIGMA * random.standard_normal(len(samples))
        found = estimate_noise(y, levels, feature="planted", scale="log2", fixed=levels["visit"])
        assert found.df == pytest.approx(32.0)
        covered += found.low <= SIGMA <= found.high
        sigmas.append(found.sigma**2)
    assert covered / 120 == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 120))
    assert np.mean(sigmas) == pytest.approx(SIGMA**2, abs=3 * SIGMA**2 * np.sqrt(2 / 32 / 120))


@pytest.mark.data
def test_the_real_figure_is_what_the_documentation_says(shared_data, tmp_path):
    """CD8A through a study folder: sigma 1.25 with 32 df (1.29 where all 770 genes scale the libraries)."""
    study = pb.read_study(build_hgsoc_study(shared_data, tmp_path / "study"))
    study = study.with_assay("rna", pb.expression.read_counts(study.resolve("counts.csv.gz"), study=study))
    found = noise_of_study(study, "rna", features=["CD8A"])["CD8A"]
    assert not isinstance(found, str)
    assert found.df == pytest.approx(32.0)
    borrowed = borrow_noise("CD8A", "log2")
    assert round(found.sigma, 2) == 1.25
    assert round(borrowed.sigma, 2) == 1.29
    assert found.low < borrowed.sigma < found.high
    assert [round(one.chance_beyond(1.0), 2) for one in (found, borrowed)] == [0.29, 0.29]
    assert [round(one.fold_limit()) for one in (found, borrowed)] == [12, 13]
