"""Peers' definitions by name, where they differ from ours.

``lmerTest`` (lmerTest 3.1, pbkrtest 0.5)
    Variances are not negative. *Satterthwaite*: ours is the same; on the boundary, where a variance is 0, its
    parameter counts as known (df = n - p with one intercept). *Kenward-Roger*: pbkrtest builds V as
    s2 (I + sum theta G), without the prior weights, takes the covariance of b from the weighted fit, and
    puts both in one formula. The df then depend on the scale of the weights, which is taken as given, as lmer
    does. Without weights it is ours.
``dream`` (variancePartition 1.39)
    Weights are divided by their mean over each feature's observations: sigma2, theta and everything moderated
    from them change, estimates, SE and df do not. `rdf` = tr((I - H)^2) is what dream moderates with.
    Kenward-Roger as lmerTest's, at those weights. dream chooses Kenward-Roger below 20 samples and
    Satterthwaite from there on; here `ddf` says which.
``limma`` (3.54, gls.series and contrasts.fit)
    One correlation rho within groups for all features, the consensus of `dupcor`; it acts on errors divided
    by the roots of the weights, Cov(y) = sigma2 W^-1/2 ((1 - rho) I + rho Z Z') W^-1/2, and may be negative.
    theta = rho / (1 - rho), the same for all. df = n - p; `ddf` must be ``residual``, because limma has no
    other. The standard error of a contrast comes from those of the coefficients and *one* correlation matrix
    of the coefficients, that of unit weights, as contrasts.fit does: exact for single coefficients and
    without weights, an approximation else. Not moderated: eBayes is in `moderate`. Joint tests are refused:
    limma's F is moderated and rests on the same approximation. `variance`, `loglik` and `rdf` = df follow
    from rho and sigma2; no likelihood is maximised, so loglik is NaN.

Sources: the packages' documentation and their results (`tests/golden`); Halekoh and Hojsgaard 2014,
doi:10.18637/jss.v059.i09; Smyth, Michaud and Scott 2005, doi:10.1093/bioinformatics/bti270.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .blocks import BlockedData, Point, evaluate
from .dupcor import CorrelatedFit, duplicate_correlation, fit_correlated
from .inference import Uncertainty, uncertainty
from .inputs import Inputs

__all__ = ["limma_fit", "unweighted_uncertainty"]

Array = NDArray[np.float64]


def unweighted_uncertainty(
    data: BlockedData, point: Point, known: Uncertainty, components: Array, norm: Array
) -> Uncertainty:
    """Pbkrtest's Kenward-Roger pieces: V without the weights, the covariance of b with them.

    Parameters
    ----------
    data, point, known :
        The weighted fit of G features and its inference.
    components : (G, K) array
        At weights of mean 1.
    norm : (1 or G,) array
        Mean of the weights as they were given; pbkrtest's theta and s2 belong to those.
    """
    seen = data.roots > 0
    plain = np.where(seen, data.roots, 1.0)
    bare = dataclasses.replace(data, rows=data.rows / plain[:, None], roots=seen.astype(float))
    own = components / norm[:, None]
    root = bare.effects.root(own)
    inverse = evaluate(bare, own, root=root).inverse_root
    p = inverse.shape[1] - 1
    rotate = np.zeros_like(inverse)
    # inverse_root L takes the place of the identity, with L of the unweighted cross-products.
    triangle = np.linalg.inv(np.where(np.isfinite(inverse), inverse, np.eye(p + 1)))
    weighted = point.inverse_root[:, :p, :p] / np.sqrt(norm)[:, None, None]
    rotate[:, :p, :p] = np.matmul(weighted, triangle[:, :p, :p])
    rotate[:, p, p] = 1.0
    mixed = evaluate(bare, own, root=root, second=True, rotate=rotate)
    total = np.matmul(rotate[:, :p, :p], rotate[:, :p, :p].transpose(0, 2, 1))
    total *= data.kept[:, :, None] & data.kept[:, None, :]
    pieces = uncertainty(bare, mixed, None, "kenward-roger", scale_first=total)
    return dataclasses.replace(pieces, coefficients=known.coefficients, root=known.root, scale=known.scale)


def limma_fit(inputs: Inputs) -> tuple[CorrelatedFit, CorrelatedFit, float]:
    """Contrasts and coefficients at the consensus correlation, and that correlation.

    Raises
    ------
    AssayError
        No feature tells the correlation within groups.
    """
    groups = {inputs.terms[0].name: inputs.terms[0].codes}
    rho = duplicate_correlation(inputs.Y, inputs.X, groups, weights=inputs.weights).consensus
    weights = inputs.weights
    contrasts = fit_correlated(
        inputs.Y, inputs.X, groups, rho=rho, weights=weights, contrasts=inputs.contrasts,
        standard_errors="limma",
    )  # fmt: skip
    coefficients = fit_correlated(inputs.Y, inputs.X, groups, rho=rho, weights=weights)
    return contrasts, coefficients, rho
