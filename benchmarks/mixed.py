"""Time `pdbiomarker.mixed.fit` beside statsmodels MixedLM and R's lmerTest, in one run.

20,000 simulated genes on the design of the simulated trial (88 biopsies of 40 participants, 7 coefficients, 8
contrasts), with precision weights, without, and with 8 % missing values. statsmodels fits a few of the same
genes, one by one, and is extrapolated; it knows no weights and tests with z. lmerTest, where Rscript and the
package are there, fits and tests 60 of the genes with weights and is extrapolated; its Kenward-Roger leaves
the weights out. Models of more terms follow: lesions within participants, participants crossed with batches,
random slopes, known variances. Five times the genes come first, with the peak memory of the process after
them. CPU seconds of one thread; what is compared with lmerTest is the median of three runs, one of them after
lmerTest's.

    OMP_NUM_THREADS=1 python benchmarks/mixed.py [--genes 20000] [--peer-genes 15] [--r-genes 60]
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import shutil
import statistics
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
from pdbiomarker.mixed.moderate import moderated_t, squeeze_variances

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


@dataclasses.dataclass(frozen=True)
class Data:
    """Simulated genes on the design of the simulated trial."""

    Y: np.ndarray
    W: np.ndarray
    X: np.ndarray
    contrasts: np.ndarray
    participant: np.ndarray
    lesion: np.ndarray
    batch: np.ndarray
    week: np.ndarray


def simulate(genes: int) -> Data:
    X = pd.read_csv(GOLDEN / "design.csv", index_col=0).to_numpy()
    contrasts = pd.read_csv(GOLDEN / "contrasts.csv", index_col=0).to_numpy()
    participant = pd.factorize(pd.read_csv(GOLDEN / "samples.csv").participant)[0]
    voom = pd.read_csv(GOLDEN / "voom_weights.csv", index_col=0).to_numpy()
    rng = np.random.default_rng(1)
    n = len(participant)
    spread = rng.choice([0.0, 0.3, 1.0], size=(genes, 1))
    Y = 5 + spread * rng.normal(size=(genes, participant.max() + 1))[:, participant]
    Y += 0.5 * rng.normal(size=Y.shape)
    W = voom[rng.integers(0, len(voom), genes)] * rng.lognormal(0, 0.3, size=(genes, 1))
    lesion, batch = rng.integers(0, 2, n), rng.integers(0, 5, n)
    week = rng.integers(0, 12, n).astype(float)[:, None]
    return Data(Y, W, X, contrasts, participant, lesion, batch, week)


class Ours:
    """Our models of the data, by name; each call fits and tests once more."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.spent: dict[str, list[float]] = {}
        people, weights = {"participant": data.participant}, {"weights": data.W}
        nested = {"groups": people | {"participant/lesion": data.lesion}} | weights
        self.models: dict[str, dict[str, object]] = {
            "Satterthwaite, weights": weights | {"ddf": "satterthwaite"},
            "Kenward-Roger, weights": weights,
            "Kenward-Roger + moderation, weights": weights,
            "nested lesions, Satterthwaite, weights": nested | {"ddf": "satterthwaite"},
            "nested lesions, Kenward-Roger, weights": nested,
            "Kenward-Roger, no weights": {},
            "Kenward-Roger, negative icc allowed, weights": weights | {"allow_negative_icc": True},
            "Kenward-Roger, 8 % missing": {"missing": 0.08},
            "crossed batches (5), Kenward-Roger, weights": weights
            | {"groups": people | {"batch": data.batch}},
            "correlated slope, Kenward-Roger, weights": weights
            | {"groups": people, "slopes": {"participant": RandomSlopes(data.week)}},
            "known variances, Kenward-Roger": {"known_over_weights": 0.1},
        }

    def run(self, name: str) -> None:
        data, options = self.data, dict(self.models[name])
        Y, groups = data.Y, options.pop("groups", data.participant)
        # Made here, not at the start: what is not timed must not count in the peak memory.
        if share := options.pop("missing", None):
            Y = np.where(np.random.default_rng(2).random(Y.shape) < share, np.nan, Y)
        if known := options.pop("known_over_weights", None):
            options["known_variance"] = known / data.W

        def work() -> None:
            found = fit(Y, data.X, groups, contrasts=data.contrasts, **options)  # type: ignore[arg-type]
            if "moderation" in name:
                prior = squeeze_variances(found.sigma2, found.rdf, definition="limma-3.62")
                unscaled = found.se / np.sqrt(found.sigma2)[:, None]
                moderated_t(found.estimate, unscaled, found.df, moderation=prior, cap=False)

        self.spent.setdefault(name, []).append(seconds(work))

    def median(self, name: str) -> float:
        return statistics.median(self.spent[name])


COMPARED = {
    ("one", "Satterthwaite"): "Satterthwaite, weights",
    ("one", "Kenward-Roger"): "Kenward-Roger, weights",
    ("nested", "Satterthwaite"): "nested lesions, Satterthwaite, weights",
    ("nested", "Kenward-Roger"): "nested lesions, Kenward-Roger, weights",
}


def many(genes: int) -> None:
    """Five times the genes: time, and the peak memory so far."""
    large = Ours(simulate(5 * genes))
    for name in ("Satterthwaite, weights", "Kenward-Roger + moderation, weights"):
        large.run(name)
        print(f"  pdbiomarker  {5 * genes} genes: {name:33s} {large.median(name):9.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    arrays = large.data.Y.nbytes + large.data.W.nbytes
    print(f"  peak memory so far, {arrays / 2**20:.0f} MiB of it responses and weights: {peak:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--peer-genes", type=int, default=15)
    parser.add_argument("--r-genes", type=int, default=60)
    arguments = parser.parse_args()
    genes = arguments.genes
    print(f"{genes} genes x 88 biopsies of 40 participants, 7 coefficients, 8 contrasts; CPU seconds")
    many(genes)

    data = simulate(genes)
    ours = Ours(data)
    for name in ours.models:
        for _ in range(2 if name in COMPARED.values() else 3 if name == "Kenward-Roger, no weights" else 1):
            ours.run(name)
    several = np.linspace(0, genes - 1, arguments.r_genes).astype(int)
    arrays = {"Y": data.Y[several], "W": data.W[several], "X": data.X, "L": data.contrasts}
    theirs = lmertest(arrays | {"groups": np.column_stack([data.participant, data.lesion])})
    for name in COMPARED.values():
        ours.run(name)
    for name in ours.models:
        print(f"  pdbiomarker  {name:46s} {ours.median(name):9.2f}")
    for key, name in COMPARED.items():
        if key in theirs:
            total = theirs[key] * genes
            label = f"{', '.join(key)}, extrapolated from {len(several)} genes"
            print(f"  lmerTest     {label:46s} {total:9.0f}   ratio {total / ours.median(name):.0f}")
    if not theirs:
        print("  lmerTest     not timed: no Rscript, or the package is not installed")
    few = np.linspace(0, genes - 1, arguments.peer_genes).astype(int)
    found: list[np.ndarray] = []
    total = seconds(lambda: found.append(peer(data.Y[few], data.X, data.participant))) / len(few) * genes
    label = f"no weights, z, extrapolated from {len(few)} genes"
    ratio = total / ours.median("Kenward-Roger, no weights")
    print(f"  statsmodels  {label:46s} {total:9.0f}   ratio {ratio:.0f}")
    same = fit(data.Y[few], data.X, data.participant).estimate
    print(f"  largest difference between the estimates: {np.abs(found[0] - same).max():.1e}")


if __name__ == "__main__":
    main()
