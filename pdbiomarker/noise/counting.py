"""Error of counting cells, on the model scale."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray

__all__ = ["counting_of", "counting_variance"]

Array = NDArray[np.float64]


def counting_of(data: AnnData, feature: str) -> pd.Series | None:
    """Variance of each biopsy's value (model scale) from counting cells, by biopsy id.

    Parameters
    ----------
    data : AnnData
        An assay; counts are its layers `numerator` and, for proportions, `denominator`.
    feature : str

    Returns
    -------
    Series or None
        NaN where no cells were counted; None for kinds that count no cells.
    """
    kind = str(cast("pd.DataFrame", data.var).loc[feature, "kind"])
    if kind not in {"density", "proportion"} or "numerator" not in data.layers:
        return None
    k = data.var_names.get_loc(feature)
    numerator = np.asarray(data.layers["numerator"], dtype=float)[:, k]
    total = None
    if kind == "proportion":
        total = np.asarray(data.layers["denominator"], dtype=float)[:, k]
    return pd.Series(counting_variance(numerator, total), index=data.obs_names.to_numpy(dtype=object))


def counting_variance(counted: ArrayLike, total: ArrayLike | None = None) -> Array:
    """Variance of log2((n + 1/2) / area), or with `total` of the empirical logit of n of N, from counting.

    By the delta method for a Poisson count, 1 / ((n + 1/2) ln(2)^2), and for a binomial one,
    1 / (n + 1/2) + 1 / (N - n + 1/2).
    """
    n = np.asarray(counted, dtype=float)
    if total is None:
        return np.asarray(1 / ((n + 0.5) * np.log(2) ** 2))
    return np.asarray(1 / (n + 0.5) + 1 / (np.asarray(total, dtype=float) - n + 0.5))
