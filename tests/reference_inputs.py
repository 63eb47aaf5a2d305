"""Published and certified data as our functions take them, for the tests of a room and the dossier alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats

#: PKNCA's names of our columns.
PKNCA = {
    "auclast": "auc_last",
    "aucall": "auc_all",
    "cmax": "cmax",
    "tmax": "tmax",
    "lambda.z": "lambda_z",
    "lambda.z.n.points": "lambda_z_n",
    "adj.r.squared": "adj_r2",
    "half.life": "half_life",
    "span.ratio": "span_ratio",
    "aucinf.obs": "auc_inf",
    "aumcinf.obs": "aumc_inf",
    "aucpext.obs": "extrapolated_pct",
    "cl.obs": "cl",
    "vz.obs": "vz",
    "mrt.iv.obs": "mrt",
    "vss.iv.obs": "vss",
}


@dataclasses.dataclass(frozen=True)
class Certified:
    """A one-way layout of NIST StRD: responses, groups, certified mean squares and F."""

    y: np.ndarray
    group: np.ndarray
    between: float
    within: float
    F: float


def nist(name: str) -> Certified:
    """Read a layout as scipy's wheels carry it; FileNotFoundError where a build of scipy leaves it out."""
    path = Path(scipy.stats.__file__).parent / "tests" / "data" / "nist_anova" / f"{name}.dat"
    lines = path.read_text().splitlines()
    between = next(x.split() for x in lines if x.startswith("Between"))
    within = next(x.split() for x in lines if x.startswith("Within"))
    start = max(i for i, x in enumerate(lines) if x.startswith("Data:")) + 1
    rows = np.array([line.split() for line in lines[start:] if line.strip()], dtype=float)
    return Certified(rows[:, 1], rows[:, 0], float(between[-2]), float(within[-1]), float(between[-1]))


def theoph(file: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Samples and doses of the twelve subjects of R's Theoph."""
    frame = pd.read_csv(file, dtype={"Subject": str})
    samples = frame.rename(columns={"Subject": "participant_id", "Time": "time_h", "conc": "concentration"})
    first = frame.drop_duplicates("Subject")
    amount = first["Dose"] * first["Wt"]
    return samples, pd.DataFrame({"participant_id": first["Subject"], "time_h": 0.0, "amount": amount})


def infusions(file: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Samples and doses of eight simulated infusions."""
    frame = pd.read_csv(file)
    samples = frame.rename(columns={"subject": "participant_id", "conc_mg_per_L": "concentration"})
    first = frame.drop_duplicates("subject")
    doses = {"participant_id": first["subject"], "time_h": 0.0, "amount": first["dose_mg"]}
    return samples, pd.DataFrame({**doses, "duration_h": first["infusion_h"]})


def recist_example(responses: Path, people: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Responses, first doses and deaths of pharmaverse's oncology example, from RS and ADSL."""
    rs, adsl = pd.read_parquet(responses), pd.read_parquet(people)
    reader = rs["RSEVALID"].fillna(rs["RSEVAL"])
    said = {"participant_id": rs["USUBJID"], "date": rs["RSDTC"], "response": rs["RSSTRESC"]}
    who = pd.DataFrame({"participant_id": adsl["USUBJID"], "first_dose_datetime": adsl["TRTSDT"]})
    deaths = pd.DataFrame({"participant_id": adsl["USUBJID"], "death_date": adsl["DTHDT"]})
    return pd.DataFrame({**said, "reader": reader}), who, deaths
