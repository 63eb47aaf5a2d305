"""Stain vectors of an assay, estimated once from several slides and locked in the panel.

The method is Macenko's, made robust for haematoxylin and DAB: stained pixels of all slides together, each
slide with the same weight, are divided by their length and put on their best plane; the angle in that plane
tells the mixture. Macenko takes the first and the last percentile of all angles, so that the answer depends
on how much of each stain there is: with a few per cent of DAB its end is a mixture. Here the angles are split
half way between the vectors of Ruifrok, and each stain is the quartile of its own side that lies farther out:
it moves neither with the share of positive cells nor with the noise of single pixels.

Sources: Macenko et al. 2009 (ISBI, 1107-1110) for the plane and the angles; Ruifrok and Johnston 2001 for the
vectors that the result is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.errors import AssayError, ItemError, Problems
from pdbiomarker.ihc.blank import find_blank
from pdbiomarker.ihc.panel import Panel, StainVectors, read_panel
from pdbiomarker.ihc.slide import Slide, open_slide
from pdbiomarker.ihc.stain import optical_density, stain_matrix
from pdbiomarker.ihc.tissue import find_tissue

__all__ = ["estimate_stains", "stain_vectors"]

Float = npt.NDArray[np.float64]

_SAMPLE_UM: Final = 1.0
_SURVEY_UM: Final = 8.0
_BLOCK_UM: Final = 256.0
_BLOCKS: Final = 24
_PIXELS: Final = 40_000  # of one slide
_MIN_OD: Final = 0.3  # length of the density: below, the noise of the camera turns the angle
_DARKEST: Final = 8  # grey levels: darker, a channel is near the end of its scale
_STRANGE: Final = 0.5  # residual as a share of the density: pen, pigment
_QUARTILE: Final = 0.25
_MIN_ARM: Final = (500, 0.01)  # pixels, and share of the stained pixels, of each stain
_FARTHEST: Final = 25.0  # degrees from the vector of Ruifrok; scanners differ by up to 18
_NEAREST: Final = 15.0  # degrees between the two stains: closer, they cannot be told apart


def estimate_stains(
    slides: Sequence[str | Path], panel: str | Path | Panel, *, mpp: float | None = None
) -> Panel:
    """Estimate the stain vectors of an assay or batch, and lock them in a panel.

    Do this once, on several slides of the batch (before and on treatment, strongly and weakly stained),
    write the panel with :meth:`Panel.to_yaml`, and use it for every slide of the batch.

    Parameters
    ----------
    slides : sequence of paths
    panel : str, Path or Panel
        Where everything but the vectors comes from.
    mpp : float, optional
        Micrometres per pixel, where the files do not state it.

    Returns
    -------
    Panel
        With new ``stains`` (unit vectors, four decimals) and where they come from in ``stains.source``; its
        hash is another one.

    Raises
    ------
    AssayError
        With every slide that cannot be read; E-SLIDE-023 when one of the stains is too rare, or a vector is
        implausible.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> locked = pb.ihc.estimate_stains(["a.svs", "b.svs"], "ki67")  # doctest: +SKIP
    >>> locked.to_yaml("ki67_batch2.yaml")  # doctest: +SKIP
    """
    base, problems = read_panel(panel), Problems()
    samples = []
    for path in slides:
        try:
            with open_slide(path, mpp=mpp) as slide:
                samples.append(_sample(slide, base))
        except ItemError as error:
            problems.add(
                error.problem.code,
                error.problem.message,
                remedy=error.problem.remedy,
                file=error.problem.file,
            )
    if not slides:
        problems.add("E-SLIDE-023", "No slide is given.", remedy="Give several slides of the assay or batch.")
    problems.raise_if_any(AssayError)
    hematoxylin, dab, pixels = stain_vectors(samples)
    source = (
        f"Estimated from {len(samples)} slide{'s' if len(samples) != 1 else ''} ({pixels} pixels of 1 um): "
        "Macenko et al. 2009, the outer quartile of each stain's side."
    )
    vectors = StainVectors(hematoxylin=_rounded(hematoxylin), dab=_rounded(dab), source=source)
    return base.model_copy(update={"stains": vectors})


def stain_vectors(samples: Sequence[Float]) -> tuple[Float, Float, int]:
    """Vectors of haematoxylin and DAB from the optical densities of stained pixels.

    Parameters
    ----------
    samples : sequence of arrays, shape (n, 3)
        Decadic optical densities, one array for each slide.

    Returns
    -------
    hematoxylin, dab : arrays, shape (3,)
        Unit vectors.
    pixels : int
        How many pixels were used.

    Raises
    ------
    AssayError
        E-SLIDE-023.
    """
    kept = [_usable(np.asarray(sample, dtype=np.float64)) for sample in samples]
    kept = [sample for sample in kept if len(sample)]
    if not kept:
        raise _refused("No stained pixel is left to estimate from.")
    weights = np.concatenate([np.full(len(sample), 1 / len(sample)) for sample in kept])
    unit = np.concatenate(kept)
    _, axes = np.linalg.eigh((unit * weights[:, None]).T @ unit)
    plane = axes[:, 1:][:, ::-1]  # the first axis is the mean direction, the second the mixture
    plane = plane * np.sign(plane.sum(axis=0))[None]
    default = stain_matrix()
    ends = [np.arctan2(*(vector @ plane)[::-1]) for vector in default[:2]]
    angle = np.arctan2(unit @ plane[:, 1], unit @ plane[:, 0])
    sign = 1.0 if ends[0] > ends[1] else -1.0
    middle = (ends[0] + ends[1]) / 2
    found = []
    for name, side, reference in (("haematoxylin", sign, default[0]), ("DAB", -sign, default[1])):
        own = side * (angle - middle) > 0
        share = float(weights[own].sum() / weights.sum())
        if own.sum() < _MIN_ARM[0] or share < _MIN_ARM[1]:
            raise _refused(
                f"{name} makes up {100 * share:.1f} % of the stained pixels: too little to tell its colour."
            )
        turn = middle + side * _quantile(side * (angle[own] - middle), weights[own], 1 - _QUARTILE)
        vector = np.clip(plane @ np.array([np.cos(turn), np.sin(turn)]), 0, None)
        vector /= np.linalg.norm(vector)
        far = _degrees(vector, reference)
        if far > _FARTHEST:
            raise _refused(
                f"{name} would lie {far:.0f} degrees from its usual colour, more than {_FARTHEST:g}."
            )
        found.append(vector)
    if _degrees(*found) < _NEAREST:
        raise _refused(
            f"The two stains would lie {_degrees(*found):.0f} degrees apart: they cannot be told apart."
        )
    return found[0], found[1], len(unit)


def _usable(density: Float) -> Float:
    """Unit vectors of the pixels that are stained enough, and by these stains."""
    length = np.linalg.norm(density, axis=1)
    density, length = density[length > _MIN_OD], length[length > _MIN_OD]
    residual = density @ np.linalg.inv(stain_matrix())[:, 2]
    usual = np.abs(residual) < _STRANGE * length
    unit: Float = density[usual] / length[usual, None]
    return unit


def _sample(slide: Slide, panel: Panel) -> Float:
    """Optical densities of stained pixels from blocks spread over the tissue, the same ones each time."""
    um = max(slide.mpp, min(_SURVEY_UM, max(_SAMPLE_UM, min(slide.shape) * slide.mpp / 256)))
    thumbnail, nodata = slide.thumbnail_masked(um)
    blank = find_blank(slide, thumbnail, nodata, um=um, declared=panel.white.declared)
    tissue = find_tissue(thumbnail, blank.nodata, um, white=blank.white)
    fine = max(slide.mpp, _SAMPLE_UM)
    height, width = slide.grid(fine)
    side = max(8, int(_BLOCK_UM / fine))
    corners = [
        (y, x)
        for y in range(0, height, side)
        for x in range(0, width, side)
        if tissue.mask[
            int(y * fine / um) : int((y + side) * fine / um) + 1,
            int(x * fine / um) : int((x + side) * fine / um) + 1,
        ].any()
    ]
    chosen = (
        [corners[k] for k in np.unique(np.linspace(0, len(corners) - 1, _BLOCKS).astype(int))]
        if corners
        else []
    )
    parts = [np.zeros((0, 3))]
    for y, x in chosen:
        rgb, missing = slide.resample(y, x, min(side, height - y), min(side, width - x), fine)
        good = (rgb.min(axis=-1) > _DARKEST) & (True if missing is None else ~missing)
        density = optical_density(rgb, blank.white.rgb)[good].astype(np.float64)
        parts.append(density[np.linalg.norm(density, axis=1) > _MIN_OD])
    pixels = np.concatenate(parts)
    return pixels[:: max(1, -(-len(pixels) // _PIXELS))]


def _quantile(values: Float, weights: Float, level: float) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][int(np.searchsorted(total, level * total[-1]))])


def _degrees(a: Float, b: Float) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def _rounded(vector: Float) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 4) for value in vector)
    return red, green, blue


def _refused(message: str) -> AssayError:
    problems = Problems()
    problems.add(
        "E-SLIDE-023", message, remedy="Give more slides, with cells of both colours; or keep the defaults."
    )
    return AssayError(problems)
