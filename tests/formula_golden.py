"""The table of tests/golden/formula with the linear model of its numbers, and a small trial in pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pdbiomarker.formula import Design, design_matrix, parse

GOLDEN = Path(__file__).parent / "golden" / "formula"
ORDER = ["screening", "C1D15", "C2D1"]


TABLE = pd.DataFrame(
    {
        "visit": ["pre", "on"] * 6,
        "arm": ["A", "A", "B", "B", "C", "C"] * 2,
        "sex": ["F", "F", "M", "M", "F", "F", "F", "F", "M", "M", "M", "M"],
        "dose": [1.0, 1.0, 2.0, 2.0, 9.0, 9.0, 3.0, 3.0, 5.0, 5.0, 4.0, 4.0],
        "week": [0, 3] * 6,
        "other": [1.0, 2.0, 3.0, 4.0, 5.0, 7.0] * 2,
    }
)
LEVELS = {"visit": ["pre", "on", "late"]}


def golden_table() -> pd.DataFrame:
    text = pd.read_csv(GOLDEN / "table.csv", dtype=str, keep_default_na=False).set_index("row")
    table = text.astype(object).where(text != "", None)
    for name in ("age", "dose_mg", "cycle", "marker", "LDH (U/L)"):
        table[name] = pd.to_numeric(table[name])
    table["treated"] = table["treated"] == "TRUE"
    return table


def golden_design(formula: str) -> tuple[Design, pd.DataFrame]:
    table = golden_table()
    return design_matrix(parse(formula), table, levels={"visit": ORDER}), table


def least_squares(design: Design, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and standard errors in the linear model of y = row number + sin(row number)."""
    X = design.matrix
    n, rank = len(X), np.linalg.matrix_rank(X)
    y = np.arange(1, n + 1) + np.sin(np.arange(1, n + 1))
    coefficients, *_ = np.linalg.lstsq(X, y, rcond=None)
    residual = y - X @ coefficients
    unscaled = np.einsum("ij,jk,ik->i", vectors, np.linalg.pinv(X.T @ X), vectors)
    return vectors @ coefficients, np.sqrt(residual @ residual / (n - rank) * unscaled)
