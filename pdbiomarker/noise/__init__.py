"""Noise: how much a biopsy's value varies by itself, and who changed by more than that.

`variance_components` takes replicates apart level by level; `estimate_noise` and `noise_of_study` give the
noise of one biopsy's value, `borrow_noise` that of another study; `Noise.limit` is the reference change
value; `responders` calls participants; `icc` is the intraclass correlation, with its form named.
"""

from .agreement import Agreement, icc
from .borrowed import borrow_noise, borrowed_noises
from .choose import choose_noise, components_table, noise_table
from .components import LEVELS, VarianceComponents, Variation, variance_components
from .counting import counting_of, counting_variance
from .estimate import (
    Noise,
    Scale,
    estimate_noise,
    noise_of_pairs,
    noise_of_study,
    scale_of,
)
from .responders import Responders, responders

__all__ = [
    "LEVELS",
    "Agreement",
    "Noise",
    "Responders",
    "Scale",
    "VarianceComponents",
    "Variation",
    "borrow_noise",
    "borrowed_noises",
    "choose_noise",
    "components_table",
    "counting_of",
    "counting_variance",
    "estimate_noise",
    "icc",
    "noise_of_pairs",
    "noise_of_study",
    "noise_table",
    "responders",
    "scale_of",
    "variance_components",
]
