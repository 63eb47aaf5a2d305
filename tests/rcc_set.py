"""A small nCounter run with known truth, written as RCC files, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CONCENTRATIONS = {"A": 128.0, "B": 32.0, "C": 8.0, "D": 2.0, "E": 0.5, "F": 0.125}
HOUSEKEEPING = ("HK1", "HK2", "HK3", "HK4", "HKBAD")
N_GENES = 60
#: log2 change on treatment of the first genes; the others stay.
EFFECT = {f"GENE{k:02d}": 1.5 for k in range(6)}


def rcc_text(counts, *, lane=1, cartridge="C1", sample="S", code_set="Panel_v1", fov=(280, 270), density=0.8):
    """One RCC file; `counts` maps (class, name) to a count."""
    rows = "".join(f"{c},{n},NM_{k:06d}.1,{v}\n" for k, ((c, n), v) in enumerate(counts.items()))
    return (
        "<Header>\nFileVersion,1.7\nSoftwareVersion,4.0.0.3\n</Header>\n\n"
        f"<Sample_Attributes>\nID,{sample}\nOwner,\nComments,\nDate,20250101\nGeneRLF,{code_set}\nSystemAPF,x\n"
        f"</Sample_Attributes>\n\n<Lane_Attributes>\nID,{lane}\nFovCount,{fov[0]}\nFovCounted,{fov[1]}\n"
        f"ScannerID,1\nStagePosition,1\nBindingDensity,{density}\nCartridgeID,{cartridge}\nCartridgeBarcode,\n"
        f"</Lane_Attributes>\n\n<Code_Summary>\nCodeClass,Name,Accession,Count\n{rows}</Code_Summary>\r\n\r\n"
        "<Messages>\r\n</Messages>\r\n"
    )


def draw(rng, *, amount=1.0, efficiency=1.0, effect=None, base=None, wild=1.0):
    """Counts of a lane: positive and negative controls, genes and housekeeping genes."""
    counts = {}
    for letter, fm in CONCENTRATIONS.items():
        counts["Positive", f"POS_{letter}({fm:g})"] = int(rng.poisson(200 * fm * efficiency + 8))
    for letter in "ABCDEFGH":
        counts["Negative", f"NEG_{letter}(0)"] = int(rng.poisson(8))
    base = 2.0 ** np.linspace(1, 11, N_GENES) if base is None else base
    for k in range(N_GENES):
        gene = f"GENE{k:02d}"
        change = 2.0 ** (effect or {}).get(gene, 0.0)
        noise = 2.0 ** rng.normal(0, 0.15)
        counts["Endogenous", gene] = int(rng.poisson(base[k] * amount * efficiency * change * noise + 8))
    for k, gene in enumerate(HOUSEKEEPING):
        level = 800 * (k + 1) * amount * efficiency * (wild if gene == "HKBAD" else 1.0)
        counts["Housekeeping", gene] = int(rng.poisson(level * 2.0 ** rng.normal(0, 0.08) + 8))
    return counts


def write_run(folder: Path, *, n_participants=6, seed=3) -> list[tuple[str, str, str]]:
    """Write two lanes for each participant, of unequal RNA; give (file stem, participant, visit)."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    base = 2.0 ** np.random.default_rng(99).permutation(np.linspace(1, 11, N_GENES))
    base[:6] = 300.0
    rows = []
    for k in range(n_participants):
        own = base * 2.0 ** rng.normal(0, 0.4, N_GENES)
        for j, visit in enumerate(("pre", "on")):
            number = 2 * k + j
            counts = draw(
                rng,
                amount=2.0 ** rng.normal(0, 0.7),
                efficiency=rng.uniform(0.7, 1.3),
                effect=EFFECT if visit == "on" else None,
                base=own,
                wild=2.0 ** rng.normal(0, 2.5),
            )
            stem = f"run1_{number + 1:02d}"
            text = rcc_text(counts, lane=number % 12 + 1, cartridge=f"C{k % 2 + 1}", sample=f"S{number}")
            (folder / f"{stem}.RCC").write_text(text, encoding="utf-8", newline="")
            rows.append((stem, f"P{k + 1}", visit))
    return rows
