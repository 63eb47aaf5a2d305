"""The inputs of `make_results.R`: 500 small serial-biopsy data sets in one table, `inputs.csv.gz`.

    python make_inputs.py && gunzip -k inputs.csv.gz && Rscript make_results.R && rm inputs.csv

130 complete pairs, 150 unbalanced (pairs and single biopsies; three visits with gaps and a covariate),
140 whose pairs are less alike than strangers (the variance of participants is estimated as 0 in almost all),
80 with precision weights (half of them unbalanced). 4 to 24 participants.
"""

import gzip
import io
from pathlib import Path

import numpy as np

rng = np.random.default_rng(7355)
KINDS = ["pairs"] * 130 + ["unbalanced"] * 150 + ["boundary"] * 140 + ["weights"] * 80


def rows(kind, number):
    """Lines of one data set: participant, visit, covariate, weight, response."""
    people = int(rng.integers(4 if kind in ("pairs", "boundary") else 6, 25))
    visits = 3 if kind in ("unbalanced", "weights") and number % 2 else 2
    icc = 0.0 if kind == "boundary" else rng.uniform(0.15, 0.9)
    scale, level = 10 ** rng.uniform(-1, 2), rng.uniform(-5, 20)
    x = rng.normal(size=people)
    u = rng.normal(size=people) * np.sqrt(icc)
    w = np.exp(rng.normal(0, 0.6, size=(people, visits))) if kind == "weights" else np.ones((people, visits))
    y = u[:, None] + rng.normal(size=(people, visits)) * np.sqrt((1 - icc) / w)
    if kind == "boundary":
        y -= rng.uniform(0.1, 0.9) * y.mean(axis=1, keepdims=True)
    y += rng.normal(0, 0.6) * np.arange(visits) / 2 + 0.3 * x[:, None]
    keep = np.ones((people, visits), dtype=bool)
    if kind == "unbalanced" or (kind == "weights" and number % 4 < 2):
        keep = rng.random((people, visits)) > 0.25
        keep[:4] = True
        keep[~keep.any(axis=1), 0] = True
    return [
        (p, v, f"{x[p]:.4f}", f"{w[p, v]:.5f}", f"{level + scale * y[p, v]:.7g}")
        for p in range(people) for v in range(visits) if keep[p, v]
    ]


text = io.StringIO()
text.write("set,kind,participant,visit,x,w,y\n")
for number, kind in enumerate(KINDS, start=1):
    for row in rows(kind, number):
        text.write(",".join(str(v) for v in (number, kind, *row)) + "\n")
with (Path(__file__).parent / "inputs.csv.gz").open("wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as zipped:
    zipped.write(text.getvalue().encode())
