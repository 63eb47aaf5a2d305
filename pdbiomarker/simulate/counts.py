r"""Counts of sequencing reads with known fold changes.

For gene g and biopsy b of participant i::

    log2 mean share = alpha_g + u_gi + [b on treatment] lfc_g + beta_g (log2 CD8 density of b - mean)
                      + purity_g (tumour fraction of b - mean) + batch_g [b in run B]
    count ~ negative binomial(mean, dispersion_g),   dispersion_g = (0.03 + 1.5 / mean_g) * noise

The genes of T and NK cells follow the CD8 density of their own biopsy (beta > 0); their true fold change is
``lfc_g + beta_g log2(gmr)``. The other affected genes have an lfc of their own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.simulate.design import ON_TREATMENT, TrialDesign
from pdbiomarker.simulate.trial import Trial

__all__ = ["CD8_GENES", "HOUSEKEEPING_GENES", "SEX_GENES", "draw_counts", "draw_genes"]

#: Symbol -> how much log2 expression rises per doubling of CD8 density.
CD8_GENES: Final = {
    "CD8A": 1.0, "CD8B": 0.95, "GZMA": 0.85, "PRF1": 0.8, "GZMB": 0.85, "GZMK": 0.7, "NKG7": 0.8,
    "KLRD1": 0.7, "KLRK1": 0.65, "GNLY": 0.75, "CCL5": 0.7, "CCL4": 0.5, "CD2": 0.65, "CD3D": 0.75,
    "CD3E": 0.75, "CD3G": 0.7, "CD27": 0.5, "CST7": 0.7, "IL2RB": 0.6, "EOMES": 0.6, "TBX21": 0.6,
    "LCK": 0.55, "CD7": 0.5, "IFNG": 0.7, "CXCL9": 0.7, "CXCL10": 0.65, "CXCL11": 0.6, "CXCR3": 0.5,
    "CXCR6": 0.55, "IDO1": 0.5, "CD274": 0.4, "LAG3": 0.55, "PDCD1": 0.5, "TIGIT": 0.5, "STAT1": 0.35,
    "MKI67": 0.25, "PSMB10": 0.3, "HLA-DRA": 0.3, "HLA-E": 0.2, "TRAC": 0.7,
}  # fmt: skip
HOUSEKEEPING_GENES: Final = (
    "ACTB", "B2M", "GAPDH", "GUSB", "HPRT1", "PGK1", "PPIA", "RPLP0", "RPL13A", "SDHA", "TBP", "TFRC",
    "UBC", "YWHAZ", "EEF1A1", "POLR2A",
)  # fmt: skip
#: Symbol -> sex in which it is expressed.
SEX_GENES: Final = {"XIST": "F", "TSIX": "F", "RPS4Y1": "M", "DDX3Y": "M", "KDM5D": "M", "UTY": "M"}
_TUMOR_GENES: Final = ("EPCAM", "KRT8", "KRT18", "KRT19", "MYC", "CCND1", "VEGFA", "CDH1")

#: Reads of a library, if it had 20,000 genes.
_READS: Final = (20e6, 30e6)


def draw_genes(design: TrialDesign, n_genes: int, seed: np.random.SeedSequence) -> pd.DataFrame:
    """Draw what is true of each gene.

    Parameters
    ----------
    design : TrialDesign
        `affected_genes` and `gmr` are used.
    n_genes : int
        At least 100; the named genes come first.

    Returns
    -------
    DataFrame
        One row per gene: ``feature, alpha`` (log2), ``beta, lfc, purity, batch, dispersion,
        participant_sd, sex`` and ``true_estimate``, its log2 fold change.
    """
    rng = np.random.default_rng(seed)
    named = [*CD8_GENES, *HOUSEKEEPING_GENES, *SEX_GENES, *_TUMOR_GENES]
    names = [*named, *(f"SIM{k:05d}" for k in range(1, n_genes - len(named) + 1))][:n_genes]
    n, first_free = len(names), len(named)
    alpha = rng.normal(4.0, 2.1, n).clip(-1.5, 12.0)
    alpha[: len(CD8_GENES)] = rng.normal(5.0, 0.8, len(CD8_GENES))
    house = slice(len(CD8_GENES), len(CD8_GENES) + len(HOUSEKEEPING_GENES))
    alpha[house] = rng.normal(9.0, 0.8, len(HOUSEKEEPING_GENES))
    sexed = slice(house.stop, house.stop + len(SEX_GENES))
    alpha[sexed] = 5.5
    beta = np.zeros(n)
    beta[: len(CD8_GENES)] = list(CD8_GENES.values())
    lfc = np.zeros(n)
    own = max(0, round(design.affected_genes * n) - len(CD8_GENES))
    chosen = first_free + rng.permutation(max(n - first_free, 0))[:own]
    lfc[chosen] = rng.choice([-1.0, 1.0], len(chosen)) * rng.uniform(0.5, 2.0, len(chosen))
    purity = rng.normal(0.0, 0.5, n) * (rng.random(n) < 0.4)
    purity[: len(CD8_GENES)] = -0.4
    purity[sexed.stop : first_free] = 1.5
    spread = rng.uniform(0.25, 0.7, n)
    spread[house] = 0.12
    sex = [SEX_GENES.get(name, "") for name in names]
    return pd.DataFrame(
        {
            "feature": names,
            "alpha": alpha,
            "beta": beta,
            "lfc": lfc,
            "purity": purity,
            "batch": rng.normal(0.0, 0.12, n),
            "dispersion": (0.03 + 1.5 / (25.0 * 2.0**alpha)) * rng.gamma(10.0, 0.1, n),
            "participant_sd": spread,
            "sex": sex,
            "true_estimate": lfc + beta * np.log2(design.gmr),
        }
    )


def draw_counts(trial: Trial, genes: pd.DataFrame, seed: np.random.SeedSequence) -> pd.DataFrame:
    """Draw the counts of every library of the collected biopsies.

    Parameters
    ----------
    trial : Trial
        Who was biopsied, and the densities and libraries of the biopsies.
    genes : DataFrame
        From :func:`draw_genes`.
    seed : SeedSequence
        Source of chance.

    Returns
    -------
    DataFrame of int64
        Genes (index ``gene``) x libraries.
    """
    rng = np.random.default_rng(seed)
    biopsies = trial.biopsies[trial.biopsies["collected"]]
    people = trial.participants.set_index("participant_id")
    shares = _log2_shares(biopsies, people, genes, rng)
    proportion = 2.0**shares
    proportion /= proportion.sum(axis=0, keepdims=True)
    columns: dict[str, npt.NDArray[np.int64]] = {}
    size = 1.0 / genes["dispersion"].to_numpy()
    for index, libraries in enumerate(biopsies["library_ids"]):
        for library in libraries:
            reads = rng.uniform(*_READS) * len(genes) / 20_000 / max(len(libraries), 1)
            mean = reads * proportion[:, index]
            rate = rng.gamma(size, mean / size)
            columns[str(library)] = rng.poisson(rate).astype(np.int64)
    return pd.DataFrame(columns, index=pd.Index(genes["feature"].to_numpy(), name="gene"))


def _log2_shares(
    biopsies: pd.DataFrame, people: pd.DataFrame, genes: pd.DataFrame, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Expected log2 expression, genes x biopsies, before scaling to a library."""

    def column(name: str) -> npt.NDArray[np.float64]:
        return genes[name].to_numpy(dtype=np.float64)[:, None]

    rank = {person: k for k, person in enumerate(people.index)}
    of = np.array([rank[person] for person in biopsies["participant_id"]])
    own = column("participant_sd") * rng.standard_normal((len(genes), len(people)))
    density = np.log2(biopsies["density_expected"].to_numpy())
    center = float(people["baseline_log2"].mean())
    fraction = biopsies["n_tumor"].to_numpy() / biopsies["n_cells"].to_numpy()
    share = column("alpha") + own[:, of]
    share = share + column("lfc") * (biopsies["visit"] == ON_TREATMENT).to_numpy()
    share = share + column("beta") * (density - center)
    share = share + column("purity") * (fraction - fraction.mean())
    share = share + column("batch") * (biopsies["batch"] == "B").to_numpy()
    sex = people["sex"].to_numpy()[of]
    wrong = (genes["sex"].to_numpy()[:, None] != "") & (genes["sex"].to_numpy()[:, None] != sex[None, :])
    return np.asarray(np.where(wrong, share - 8.0, share), dtype=np.float64)
