"""Time `pdbiomarker.mixed.fit` beside statsmodels MixedLM, in one run.

20,000 simulated genes on the design of the simulated trial (88 biopsies of 40 participants, 7 coefficients, 8
contrasts), with precision weights, without, and with 8 % missing values. statsmodels fits a few of the same
genes, one by one, and is extrapolated; it knows no weights and tests with z.

    OMP_NUM_THREADS=1 python benchmarks/bench_mixed.py [--genes 20000] [--peer-genes 15]
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.regression.mixed_linear_model import MixedLM

from pdbiomarker.mixed import fit

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "sim200"


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def peer(Y: np.ndarray, X: np.ndarray, participant: np.ndarray) -> np.ndarray:
    """Estimates of statsmodels, one row a gene."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array([MixedLM(y, X, groups=participant).fit(reml=True).fe_params for y in Y])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--peer-genes", type=int, default=15)
    arguments = parser.parse_args()

    X = pd.read_csv(GOLDEN / "design.csv", index_col=0).to_numpy()
    contrasts = pd.read_csv(GOLDEN / "contrasts.csv", index_col=0).to_numpy()
    participant = pd.factorize(pd.read_csv(GOLDEN / "samples.csv").participant)[0]
    voom = pd.read_csv(GOLDEN / "voom_weights.csv", index_col=0).to_numpy()
    rng = np.random.default_rng(1)
    genes = arguments.genes
    spread = rng.choice([0.0, 0.3, 1.0], size=(genes, 1))
    Y = 5 + spread * rng.normal(size=(genes, participant.max() + 1))[:, participant]
    Y += 0.5 * rng.normal(size=Y.shape)
    W = voom[rng.integers(0, len(voom), genes)] * rng.lognormal(0, 0.3, size=(genes, 1))
    gaps = np.where(rng.random(Y.shape) < 0.08, np.nan, Y)

    def ours(**options: object) -> float:
        data = {"Y": Y} | options
        return seconds(lambda: fit(data.pop("Y"), X, participant, contrasts=contrasts, **data))

    print(f"{genes} genes x {X.shape[0]} biopsies, {X.shape[1]} coefficients; CPU seconds")
    rows = {
        "Kenward-Roger, weights": ours(weights=W),
        "Kenward-Roger, no weights": ours(),
        "Kenward-Roger, negative icc allowed, weights": ours(weights=W, allow_negative_icc=True),
        "Kenward-Roger, 8 % missing": ours(Y=gaps),
        "Satterthwaite, weights": ours(weights=W, ddf="satterthwaite"),
    }
    for name, spent in rows.items():
        print(f"  pdbiomarker  {name:46s} {spent:9.2f}")
    few = np.linspace(0, genes - 1, arguments.peer_genes).astype(int)
    found: list[np.ndarray] = []
    each = seconds(lambda: found.append(peer(Y[few], X, participant))) / len(few)
    print(f"  statsmodels  no weights, z, from {len(few)} genes{'':24s} {each * genes:9.0f}")
    print(f"  ratio, no weights: {each * genes / rows['Kenward-Roger, no weights']:.0f}")
    same = fit(Y[few], X, participant).estimate
    print(f"  largest difference between the estimates: {np.abs(found[0] - same).max():.1e}")
    print(
        f"  peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
    )


if __name__ == "__main__":
    main()
