"""nCounter: RCC folders and nSolver exports become assays; lanes are judged, scaled, and never twice."""

from pdbiomarker.expression.ncounter.nsolver import ExportState, read_nsolver, state_of
from pdbiomarker.expression.ncounter.quality import LaneLimits, LaneQuality, lane_quality
from pdbiomarker.expression.ncounter.rcc import Lane, Probe, rcc_files, read_rcc
from pdbiomarker.expression.ncounter.reader import LaneOptions, check_rcc, read_ncounter
from pdbiomarker.expression.ncounter.scaling import (
    gene_stability,
    stable_subset,
    treat_background,
    unwanted_factors,
)

__all__ = [
    "ExportState",
    "Lane",
    "LaneLimits",
    "LaneOptions",
    "LaneQuality",
    "Probe",
    "check_rcc",
    "gene_stability",
    "lane_quality",
    "rcc_files",
    "read_ncounter",
    "read_nsolver",
    "read_rcc",
    "stable_subset",
    "state_of",
    "treat_background",
    "unwanted_factors",
]
