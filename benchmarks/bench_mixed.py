"""Time `pdbiomarker.mixed.fit` beside statsmodels MixedLM and R's lmerTest, in one run.

20,000 simulated genes on the design of the simulated trial (88 biopsies of 40 participants, 7 coefficients, 8
contrasts), with precision weights, without, and with 8 % missing values. statsmodels fits a few of the same
genes, one by one, and is extrapolated; it knows no weights and tests with z. lmerTest, where Rscript and the
package are there, fits and tests 60 of the genes with weights and is extrapolated; its Kenward-Roger leaves
the weights out. Models of more terms follow: lesions within participants, participants crossed with batches,
random slopes, known variances.

    OMP_NUM_THREADS=1 python benchmarks/bench_mixed.py [--genes 20000] [--peer-genes 15] [--r-genes 60]
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.regression.mixed_linear_model import MixedLM

from pdbiomarker.mixed import RandomSlopes, fit

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


LMERTEST = """
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest)})
read <- function(name) as.matrix(read.csv(name, header = FALSE))
Y <- read("Y.csv"); W <- read("W.csv"); X <- read("X.csv"); L <- read("L.csv"); g <- read("groups.csv")
colnames(X) <- paste0("x", seq_len(ncol(X)))
d <- data.frame(X, participant = factor(g[, 1]), lesion = factor(g[, 2]))
fixed <- paste("y ~ 0 +", paste(colnames(X), collapse = " + "))
forms <- c(one = "(1 | participant)", nested = "(1 | participant / lesion)")
for (case in names(forms)) for (ddf in c("Satterthwaite", "Kenward-Roger")) {
  start <- proc.time()
  for (i in seq_len(nrow(Y))) {
    d$y <- Y[i, ]; d$w <- W[i, ] / mean(W[i, ])
    form <- as.formula(paste(fixed, "+", forms[case]))
    m <- suppressWarnings(suppressMessages(lmerTest::lmer(form, d, weights = w)))
    for (k in seq_len(nrow(L))) suppressWarnings(suppressMessages(contest1D(m, L[k, ], ddf = ddf)))
  }
  spent <- (proc.time() - start)
  cat(case, ddf, (spent[["user.self"]] + spent[["sys.self"]]) / nrow(Y), "\\n")
}
"""


def lmertest(arrays: dict[str, np.ndarray]) -> dict[tuple[str, str], float]:
    """CPU seconds a gene of lmerTest, by model and df; empty where R or the package is missing."""
    if shutil.which("Rscript") is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        for name, values in arrays.items():
            np.savetxt(Path(folder) / f"{name}.csv", values, delimiter=",")
        done = subprocess.run(
            ["Rscript", "-e", LMERTEST], cwd=folder, capture_output=True, text=True, check=False
        )
    found = [line.split() for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return {(case, ddf): float(spent) for case, ddf, spent in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--peer-genes", type=int, default=15)
    parser.add_argument("--r-genes", type=int, default=60)
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

    lesion = rng.integers(0, 2, len(participant))
    batch = rng.integers(0, 5, len(participant))
    week = rng.integers(0, 12, len(participant)).astype(float)[:, None]
    nested = {"participant": participant, "participant/lesion": lesion}

    def ours(**options: object) -> float:
        data = {"Y": Y, "groups": participant} | options
        return seconds(
            lambda: fit(data.pop("Y"), X, data.pop("groups"), contrasts=contrasts, **data)  # type: ignore[arg-type]
        )

    print(f"{genes} genes x {X.shape[0]} biopsies, {X.shape[1]} coefficients; CPU seconds")
    rows = {
        "Kenward-Roger, weights": ours(weights=W),
        "Kenward-Roger, no weights": ours(),
        "Kenward-Roger, negative icc allowed, weights": ours(weights=W, allow_negative_icc=True),
        "Kenward-Roger, 8 % missing": ours(Y=gaps),
        "Satterthwaite, weights": ours(weights=W, ddf="satterthwaite"),
        "nested lesions, Kenward-Roger, weights": ours(groups=nested, weights=W),
        "nested lesions, Satterthwaite, weights": ours(groups=nested, weights=W, ddf="satterthwaite"),
        "crossed batches (5), Kenward-Roger, weights": ours(
            groups={"participant": participant, "batch": batch}, weights=W
        ),
        "correlated slope, Kenward-Roger, weights": ours(
            groups={"participant": participant}, slopes={"participant": RandomSlopes(week)}, weights=W
        ),
        "known variances, Kenward-Roger": ours(known_variance=0.1 / W),
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
    several = np.linspace(0, genes - 1, arguments.r_genes).astype(int)
    arrays = {"Y": Y[several], "W": W[several], "X": X, "L": contrasts}
    spent = lmertest(arrays | {"groups": np.column_stack([participant, lesion])})
    ours_by_name = {
        ("one", "Satterthwaite"): "Satterthwaite, weights",
        ("one", "Kenward-Roger"): "Kenward-Roger, weights",
        ("nested", "Satterthwaite"): "nested lesions, Satterthwaite, weights",
        ("nested", "Kenward-Roger"): "nested lesions, Kenward-Roger, weights",
    }
    for key, name in ours_by_name.items():
        if key in spent:
            total = spent[key] * genes
            label = f"{', '.join(key)}, extrapolated from {len(several)} genes"
            print(f"  lmerTest     {label:46s} {total:9.0f}   ratio {total / rows[name]:.0f}")
    if not spent:
        print("  lmerTest     not timed: no Rscript, or the package is not installed")
    print(
        f"  peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
    )


if __name__ == "__main__":
    main()
