"""A stand-in for PDResult with simulated numbers, for the tests of figures and report.

Every effect is a paired t-test on the simulated changes, so that tables and figures have something to
agree on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pdbiomarker.study import AdequacyRule

VISITS = ("screening", "C2D1")
HOSTILE = (
    "<script>alert(1)</script>",
    "$x$",
    "=1+1",
    "quo\"te's",
    "007",
    "NA",
    "P-08",
    "🧬 emoji",
    "../../x",
)
COLUMNS = [
    *(
        "assay",
        "feature",
        "label",
        "kind",
        "family",
        "contrast",
        "set",
        "estimate",
        "se",
        "df",
        "df_method",
        "t",
        "p",
    ),
    *("q", "adjustment", "ci_low", "ci_high", "effect", "effect_low", "effect_high", "effect_unit"),
    *("n_participants", "n_pairs", "n_biopsies", "var_participant", "var_residual", "status", "note"),
]


@dataclasses.dataclass(frozen=True)
class FakeResult:
    table: pd.DataFrame
    changes: pd.DataFrame
    accountability: pd.DataFrame
    biopsies: pd.DataFrame
    pairs: pd.DataFrame
    qc: Mapping[str, pd.DataFrame]
    plan: Any
    study: Any
    provenance: Mapping[str, Any]
    truth: pd.DataFrame | None = None
    images: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class _Feature:
    assay: str
    name: str
    label: str
    kind: str
    family: str
    base: float
    effect: float
    sd: float = 0.5


FEATURES = (
    _Feature("ihc", "CD8_density_tissue", "CD8 density (tissue)", "density", "primary", 120.0, 1.05),
    _Feature("ihc", "CD8_pct_tissue", "CD8+ cells (tissue)", "proportion", "panel", 0.08, 0.6),
    _Feature("ihc", "CD8_hscore_tissue", "CD8 H-score (tissue)", "score", "panel", 40.0, 22.0, 15.0),
    _Feature("ihc", "Ki67_density_tissue", "Ki-67 density (tissue)", "density", "panel", 800.0, -0.3, 0.8),
    _Feature("rna_signatures", "CYT", "Cytolytic score", "signature", "signatures", 2.0, 0.7, 0.6),
)


def _raw(feature: _Feature, model: np.ndarray) -> np.ndarray:
    if feature.kind in {"density", "count", "intensity"}:
        return 2.0**model
    return 1 / (1 + np.exp(-model)) if feature.kind == "proportion" else model


def _start(feature: _Feature) -> float:
    if feature.kind == "proportion":
        return float(np.log(feature.base / (1 - feature.base)))
    return float(np.log2(feature.base)) if feature.kind in {"density", "count", "intensity"} else feature.base


def _row(feature: _Feature, set_: str, changes: np.ndarray, n_biopsies: int) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"assay": feature.assay, "feature": feature.name, "label": feature.label, "kind": feature.kind}
    row |= {"family": feature.family, "contrast": "on_treatment", "set": set_}
    n = len(changes)
    row |= {"n_pairs": n, "n_participants": n, "n_biopsies": n_biopsies, "adjustment": "holm", "note": ""}
    unit = {"density": "ratio", "count": "fold change", "proportion": "odds ratio", "score": "points"}
    row["effect_unit"] = unit.get(feature.kind, "units")
    if n < 3 or changes.std(ddof=1) == 0:
        return row | {"status": "too_few", "note": f"{n} pairs; at least 3 are needed"}
    mean, se = changes.mean(), changes.std(ddof=1) / np.sqrt(n)
    half = stats.t.ppf(0.975, n - 1) * se
    to_effect = {"density": np.exp2, "count": np.exp2, "proportion": np.exp}.get(feature.kind, lambda v: v)
    row |= {"estimate": mean, "se": se, "df": n - 1.0, "df_method": "kenward-roger", "t": mean / se}
    row |= {"p": 2 * stats.t.sf(abs(mean / se), n - 1), "ci_low": mean - half, "ci_high": mean + half}
    row |= {
        "effect": to_effect(mean),
        "effect_low": to_effect(mean - half),
        "effect_high": to_effect(mean + half),
    }
    return row | {"var_participant": 0.3, "var_residual": se**2 * n / 2, "status": "ok"}


def make_result(
    *,
    seed: int = 1,
    n: int = 12,
    genes: int = 300,
    lost: Mapping[int, str] | None = None,
    ids: tuple[str, ...] = (),
    with_truth: bool = False,
    images: Mapping[str, Any] | None = None,
) -> FakeResult:
    """Simulate a result. `lost` maps participants (by number) to what is missing."""
    rng = np.random.default_rng(seed)
    lost = {2: "on", 5: "inadequate", 9: "baseline"} if lost is None else lost
    people = [ids[i] if i < len(ids) else f"P{i + 1:02d}" for i in range(n)]
    doses = np.resize([10.0, 30.0, 100.0], n)
    features = list(FEATURES)
    effects = np.where(rng.random(genes) < 0.15, rng.normal(0, 1.6, genes), 0.0)
    symbols = ["<b>GENE</b>", *(f"GENE{i}" for i in range(1, genes))][:genes]
    features += [
        _Feature("rna", f"{1000 + i}", symbols[i], "count", "genes", 50.0, effects[i], 0.7)
        for i in range(genes)
    ]
    rows, changes = [], []
    for feature in features:
        start = _start(feature) + rng.normal(0, feature.sd, n)
        after = start + feature.effect + rng.normal(0, feature.sd, n)
        for set_ in ("strict", "all_biopsied"):
            gone = {i: why for i, why in lost.items() if set_ == "strict" or why != "inadequate"}
            keep = np.array([i not in gone for i in range(n)])
            flat = feature.kind == "count" and feature.name == "1003"
            delta = np.zeros(n) if flat else after - start
            row = _row(feature, set_, delta[keep], int(2 * keep.sum()))
            if flat:
                row |= {"status": "constant", "note": "no variation between biopsies"}
            rows.append(row)
            if feature.kind == "count" and set_ != "strict":
                continue
            before_raw, after_raw = _raw(feature, start), _raw(feature, after)
            for i in range(n):
                has_b, has_o = gone.get(i) != "baseline", gone.get(i) not in {"on", "inadequate"}
                ratio = np.nan
                if feature.kind in {"density", "count", "proportion"} and keep[i]:
                    ratio = np.exp(delta[i]) if feature.kind == "proportion" else 2.0 ** delta[i]
                changes.append(
                    {
                        **{"participant_id": people[i], "assay": feature.assay, "feature": feature.name},
                        **{"contrast": "on_treatment", "set": set_},
                        "baseline_biopsy": f"{people[i]}-1" if has_b else None,
                        "on_biopsy": f"{people[i]}-2" if has_o else None,
                        "baseline_value": before_raw[i] if has_b else np.nan,
                        "on_value": after_raw[i] if has_o else np.nan,
                        "change": delta[i] if keep[i] else np.nan,
                        "ratio": ratio,
                    }
                )
    table = _adjust(pd.DataFrame(rows, columns=COLUMNS))
    biopsies, pairs, flow = _ledger(people, lost)
    return FakeResult(
        table, pd.DataFrame(changes), flow, biopsies, pairs, _qc(people), _plan(),
        _study(people, doses, biopsies),
        _provenance(), _truth(features) if with_truth else None, images,
    )  # fmt: skip


def _adjust(table: pd.DataFrame) -> pd.DataFrame:
    table["p"] = table["p"].astype(float)
    table["q"] = np.nan
    for (family, set_), group in table.groupby(["family", "set"]):
        ok = group.index[group["p"].notna()]
        if set_ == "strict" and len(ok):
            p = group.loc[ok, "p"].to_numpy(dtype=float)
            if family == "primary":
                table.loc[ok, "q"] = np.minimum(p * len(ok), 1)
            else:
                table.loc[ok, "q"] = stats.false_discovery_control(p)
                table.loc[group.index, "adjustment"] = "bh"
    return table


def _ledger(people: list[str], lost: Mapping[int, str]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    biopsies, pairs, flow = [], [], []
    for assay in ("ihc", "rna", "rna_signatures"):
        for set_ in ("strict", "all_biopsied"):
            for i, person in enumerate(people):
                why = lost.get(i) if set_ == "strict" or lost.get(i) != "inadequate" else None
                for visit, number in zip(VISITS, (1, 2), strict=True):
                    if (why == "baseline" and number == 1) or (why == "on" and number == 2):
                        continue
                    bad = why == "inadequate" and number == 2
                    biopsies.append(
                        {
                            **{"biopsy_id": f"{person}-{number}", "participant_id": person, "visit": visit},
                            **{"assay": assay, "set": set_, "used": not bad},
                            "code": "E-PAIR-005" if bad else "",
                            "reason": "Not adequate: viable_tumor_cells 40, at least 100 needed."
                            if bad
                            else "",
                        }
                    )
                code = {"on": "E-PAIR-007", "baseline": "E-PAIR-007", "inadequate": "E-PAIR-005"}.get(
                    why or "", ""
                )
                pairs.append(
                    {
                        **{"participant_id": person, "assay": assay, "contrast": "on_treatment", "set": set_},
                        **{"baseline_biopsy": f"{person}-1", "on_biopsy": f"{person}-2"},
                        **{
                            "evaluable": why is None,
                            "code": code,
                            "reason": _why(person, why),
                            "days_between": 36,
                        },
                    }
                )
            n, left = len(people), len(people)
            steps = [("enrolled", None), ("screening biopsy taken", "baseline"), ("C2D1 biopsy taken", "on")]
            steps += [("C2D1 biopsy adequate", "inadequate"), ("evaluable pair", None)]
            for step, at in steps:
                gone = [people[i] for i, w in lost.items() if w == at and i < n]
                gone = gone if set_ == "strict" or at != "inadequate" else []
                left -= len(gone)
                reason = "; ".join(f"{p} ({_why(p, at)})" for p in gone)
                flow.append(
                    {
                        **{"set": set_, "assay": assay, "contrast": "on_treatment", "step": step},
                        **{
                            "n_participants": left,
                            "n_lost": len(gone),
                            "n_biopsies": 2 * left,
                            "reason": reason,
                        },
                    }
                )
    return pd.DataFrame(biopsies), pd.DataFrame(pairs), pd.DataFrame(flow)


def _why(person: str, what: str | None) -> str:
    return {
        "on": "no usable biopsy at C2D1",
        "baseline": "no usable biopsy at screening",
        "inadequate": f"no usable biopsy at C2D1 ({person}-2: Not adequate: viable_tumor_cells 40, "
        "at least 100 needed.)",
    }.get(what or "", "")


def _qc(people: list[str]) -> dict[str, pd.DataFrame]:
    slides = pd.DataFrame(
        {
            "slide_id": [f"S{i:02d}" for i in range(2 * len(people))],
            "biopsy_id": [f"{p}-{k}" for p in people for k in (1, 2)],
            "collection_date": "2024-03-01",
            "path": "/secret/place/slide.tif",
            "tissue_mm2": np.linspace(0.8, 3.3, 2 * len(people)),
            "n_cells": np.arange(2 * len(people)) * 371 + 812,
            "status": ["quarantined" if i == 3 else "ok" for i in range(2 * len(people))],
        }
    )
    libraries = pd.DataFrame(
        {"library_id": [f"L{i}" for i in range(6)], "library_size": np.arange(6) * 1_000_000 + 21_334_567}
    )
    return {"slides": slides, "libraries": libraries}


def _plan() -> SimpleNamespace:
    return SimpleNamespace(
        formula="~ visit + (1|participant)",
        contrasts={"on_treatment": "C2D1 - screening"},
        families={
            "primary": ("ihc:CD8_density",),
            "panel": ("ihc",),
            "signatures": ("rna_signatures",),
            "genes": ("rna",),
        },
        replicates="select",
        ddf="kenward-roger",
        seed=1,
        allow_negative_icc=True,
        adjust={"primary": "holm"},
        hash="3f5a9c0b12345678" * 4,
        to_yaml=lambda: 'formula: "~ visit + (1|participant)"\nseed: 1\n',
    )


def _study(people: list[str], doses: np.ndarray, biopsies: pd.DataFrame) -> SimpleNamespace:
    participants = pd.DataFrame(
        {"cohort": "expansion", "dose_mg": doses, "tumor_type": "melanoma"},
        index=pd.Index(people, name="participant_id"),
    )
    names = sorted({str(b) for b in biopsies["biopsy_id"]})
    table = pd.DataFrame(
        {
            "participant_id": [b.rsplit("-", 1)[0] for b in names],
            "visit": [VISITS[int(b[-1]) - 1] for b in names],
            "study_day": pd.array([-7 if b.endswith("1") else 29 for b in names], dtype="Int64"),
            "batch": ["run1" if b.endswith("1") else "run2" for b in names],
            "collection_date": "2024-03-01",
        },
        index=pd.Index(names, name="biopsy_id"),
    )
    rules = {"viable_tumor_cells": AdequacyRule("viable_tumor_cells", min=100.0)}
    spec = SimpleNamespace(id="SIM-101", data_cutoff="2025-06-30", adequacy=rules)
    spec.visits = (SimpleNamespace(name="screening", low=-28, high=-1, target=None),
                   SimpleNamespace(name="C2D1", low=22, high=36, target=29))  # fmt: skip
    spec.assays = (SimpleNamespace(name="ihc", kind="ihc"), SimpleNamespace(name="rna", kind="count"))
    ihc = SimpleNamespace(
        obs=pd.DataFrame(index=pd.Index(names[:2])),
        layers={},
        var=pd.DataFrame({"unit": ["cells/mm2"], "expected_direction": [1]}, index=["CD8_density_tissue"]),
    )
    return SimpleNamespace(
        spec=spec, participants=participants, biopsies=table, slides=pd.DataFrame(), libraries=pd.DataFrame(),
        assays={"ihc": ihc}, clinical={}, problems=(), path=Path("/secret/place"),
    )  # fmt: skip


def _provenance() -> dict[str, Any]:
    return {
        "versions": {"pdbiomarker": "0.1.0", "python": "3.12.11", "numpy": "2.3.4"},
        "inputs": {"study.yaml": "a" * 64, "biopsies.csv": "b" * 64},
        "plan_hash": "3f5a9c0b12345678" * 4,
        "data_cutoff": "2025-06-30",
        "problems": [
            {
                **{
                    "code": "E-SLIDE-002",
                    "severity": "quarantine",
                    "item": "S03",
                    "file": "/secret/place/slides.csv",
                },
                **{"message": "The file ends before its last tile.", "remedy": "Copy it again.", "row": 5},
                **{"column": "path", "value": "/secret/place/S03.tif"},
            }
        ],
    }


def _truth(features: list[_Feature]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"assay": f.assay, "feature": f.name, "contrast": "on_treatment", "true": f.effect}
            for f in features
        ]
    )
