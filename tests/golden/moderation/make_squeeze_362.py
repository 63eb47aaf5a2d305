"""squeeze_var(legacy=False) of pylimma 0.2.0, a port of limma >= 3.62; writes squeeze_362_cases.csv.

Run in an environment of its own: only its numbers are used here. Its optimiser stops at about 1e-4 of d0.
"""

import numpy as np
import pandas as pd
from pylimma import squeeze_var

parts = []


def add(case, s2, df, covariate=None, robust=False):
    found = squeeze_var(s2, df, covariate=covariate, robust=robust, legacy=False)
    frame = {"case": case, "robust": robust, "s2": s2, "df": df}
    frame |= {"covariate": np.nan if covariate is None else covariate, "d0": found["df_prior"]}
    parts.append(pd.DataFrame(frame | {"s0": found["var_prior"], "post": found["var_post"]}))


for seed in range(3):
    rng = np.random.default_rng(50 + seed)
    n = 120
    df, covariate = rng.uniform(4, 40, n), rng.normal(size=n)
    clean = rng.f(df, 6.0)
    x = clean.copy()
    x[:6] *= np.array([100, 40, 15, 8, 1e-2, 1e-3])
    for robust in (False, True):
        tag = "_robust" if robust else ""
        add(f"outliers{seed}{tag}", x, df, robust=robust)
        add(f"outliers_trend{seed}{tag}", x, df, covariate, robust)
    add(f"clean{seed}", clean, df)
rng = np.random.default_rng(7)
df, x, covariate = rng.uniform(1, 30, 600), rng.f(rng.uniform(1, 30, 600), 5.0), rng.normal(5, 2, 600)
add("many", x, df)
add("many_trend", x * np.exp(np.sin(covariate) / 2), df, covariate)
small = df[:60].copy()
small[:3] = [0.0, 0.009, 0.5]
add("little_df", x[:60], small)
zero = x[:60].copy()
zero[5] = 0.0
add("zero", zero, df[:60])
many_zeros = x[:60].copy()
many_zeros[:20] = 0.0
add("least_prior", many_zeros, df[:60])
pd.concat(parts).to_csv("squeeze_362_cases.csv", index=False, float_format="%.13g", lineterminator="\n")
