"""Amounts of stain and the signal, against the plain arithmetic and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi
from skimage.color import separate_stains

from pdbiomarker.ihc import SegmentOptions, optical_density, stain_matrix, unmix
from pdbiomarker.ihc.amounts import AMOUNT_UNITS, amounts, amounts_of_density, find_signal

RNG = np.random.default_rng(5)
IMAGE = RNG.integers(0, 256, (61, 47, 3), dtype=np.uint8)
WHITE = (241.0, 240.0, 236.0)


@pytest.mark.parametrize("white", [(255.0, 255.0, 255.0), WHITE])
def test_amounts_are_those_of_the_matrix(white: tuple[float, float, float]) -> None:
    expected = unmix(optical_density(IMAGE, white), None, (0, 1))
    for found, plain in zip(amounts(IMAGE, white), expected, strict=True):
        # three roundings of 2**-23 each, and single precision in the plain sums
        np.testing.assert_allclose(found / AMOUNT_UNITS, plain, atol=2e-6)


def test_amounts_are_those_of_scikit_image() -> None:
    # It divides by ln(1e-6), so its density is a sixth of the decadic one; it knows neither white nor zero,
    # and cuts negative amounts off.
    lit = np.maximum(IMAGE, 1)
    theirs = separate_stains(lit, np.linalg.inv(stain_matrix())) * 6
    for channel, found in enumerate(amounts(lit)):
        np.testing.assert_allclose(np.maximum(found, 0) / AMOUNT_UNITS, theirs[..., channel], atol=1e-5)


def test_density_and_pixels_give_the_same_amounts() -> None:
    for matrix in (None, stain_matrix((0.6, 0.7, 0.4), (0.3, 0.5, 0.8))):
        pairs = zip(
            amounts(IMAGE, WHITE, matrix),
            amounts_of_density(optical_density(IMAGE, WHITE), matrix),
            strict=True,
        )
        for pixels, density in pairs:
            np.testing.assert_array_equal(pixels, density)


def test_empty_images_have_no_stain() -> None:
    assert amounts(np.zeros((0, 4, 3), np.uint8))[0].shape == (0, 4)


def test_the_signal_is_smoothed_stain_and_its_centre_surround() -> None:
    opt = SegmentOptions(cap=0.45)
    hematoxylin, dab = amounts(ndi.gaussian_filter(IMAGE, (2, 2, 0)), WHITE)
    z, level, edge = find_signal(hematoxylin, dab, 0.5, opt)
    stain = np.maximum(np.maximum(hematoxylin, dab), 0) / AMOUNT_UNITS
    capped = opt.cap * np.tanh(stain / opt.cap)
    scale = opt.radius_um / np.sqrt(2) / 0.5

    def blur(sigma: float) -> np.ndarray:
        return ndi.gaussian_filter(capped, sigma, mode="mirror", truncate=4)

    smooth = blur(opt.smoothing_um / 0.5)
    expected = smooth + 0.84 * (blur(scale / np.sqrt(1.5)) - blur(scale * np.sqrt(1.5)))
    # the cap is looked up in steps of 2**-12, the kernels are cut off a little differently
    np.testing.assert_allclose(z / 6553600, expected, atol=1.5e-3)
    thresholds = np.geomspace(opt.lowest, opt.highest, opt.levels) * 6553600
    np.testing.assert_array_equal(level, np.searchsorted(thresholds, (z >> 8) * 256.0, side="right"))
    gy, gx = (np.abs(ndi.correlate1d(smooth, [-1, 0, 1], axis, mode="nearest")) for axis in (0, 1))
    slope = np.hypot(gx, gy)
    np.testing.assert_allclose(edge, 1000 * slope / (slope + opt.edge_half), atol=12)


def test_haematoxylin_alone_may_be_the_signal() -> None:
    dab = np.full((40, 40), AMOUNT_UNITS, np.int32)
    none = np.zeros_like(dab)
    assert find_signal(none, dab, 0.5, SegmentOptions())[0].min() > 0
    blue = SegmentOptions(channel="hematoxylin")
    assert not find_signal(none, dab, 0.5, blue)[0].any()
    # a share of the DAB is taken off (26 of 256)
    expected = find_signal(dab - dab * 26 // 256, none, 0.5, blue)[0]
    np.testing.assert_array_equal(find_signal(dab, dab, 0.5, blue)[0], expected)
