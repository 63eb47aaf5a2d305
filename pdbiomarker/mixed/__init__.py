"""Mixed models on plain arrays: one participant intercept, all features at once.

`fit` is the entry. The model and its REML criterion stand at the head of `pdbiomarker.mixed.reml`; the
Satterthwaite and Kenward-Roger standard errors and degrees of freedom at the head of
`pdbiomarker.mixed.inference`; aliased columns and estimable contrasts at that of `pdbiomarker.mixed.basis`.
"""

from .inference import DdfMethod
from .inputs import RandomSlopes
from .joint import JointTest
from .model import MixedFit, fit

__all__ = ["DdfMethod", "JointTest", "MixedFit", "RandomSlopes", "fit"]
