"""Optical density, unmixing and white, against scikit-image and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import separate_stains

from pdbiomarker.ihc import measure_white, optical_density, stain_matrix, stain_tables, unmix, unmix_rgb


def test_density_by_hand() -> None:
    image = np.array([[[255, 128, 1], [0, 243, 255]]], np.uint8)
    expected = [[[0, np.log10(255 / 128), np.log10(255)], [np.log10(255), np.log10(255 / 243), 0]]]
    np.testing.assert_allclose(optical_density(image), expected, atol=1e-6)


def test_density_is_never_negative() -> None:
    assert optical_density(np.full((2, 2, 3), 250, np.uint8), (240, 240, 240)).max() == 0


def test_unmixing_is_six_times_scikit_image() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(1, 256, (40, 30, 3), dtype=np.uint8)
    theirs = separate_stains(image, np.linalg.inv(stain_matrix()))
    ours = np.stack(unmix(optical_density(image)), axis=-1)
    # skimage divides ln(v) by ln(1e-6) and cuts negative amounts off
    np.testing.assert_allclose(np.maximum(ours, 0), 6 * theirs, atol=2e-6)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1.2), st.floats(0, 1.2))
def test_unmixing_recovers_the_amounts(hematoxylin: float, dab: float) -> None:
    matrix = stain_matrix()
    density = (hematoxylin * matrix[0] + dab * matrix[1]).astype(np.float32).reshape(1, 1, 3)
    found = unmix(density)
    np.testing.assert_allclose(
        [found[0][0, 0], found[1][0, 0], found[2][0, 0]], [hematoxylin, dab, 0], atol=2e-5
    )


def test_tables_give_the_same_amounts() -> None:
    rng = np.random.default_rng(6)
    image = rng.integers(0, 256, (60, 50, 3), dtype=np.uint8)
    image[0, 0] = 0
    white = (226.0, 224.0, 235.0)
    matrix = stain_matrix((0.82, 0.5, 0.28), (0.43, 0.56, 0.71))
    plain = unmix(optical_density(image, white), matrix)
    found = unmix_rgb(image, stain_tables(white, matrix))
    for ours, expected in zip(found, plain, strict=True):
        np.testing.assert_allclose(ours, expected, atol=4e-6)
    (dab,) = unmix_rgb(image, stain_tables(white, matrix, (1,)))
    np.testing.assert_array_equal(dab, found[1])
    assert unmix_rgb(image[:0], stain_tables())[0].shape == (0, 50)


def test_white_is_the_median_of_the_glass() -> None:
    rng = np.random.default_rng(2)
    image = np.clip(rng.normal((231, 233, 228), 0.8, (80, 80, 3)), 0, 255)
    image[20:60, 20:60] = rng.normal((170, 150, 180), 20, (40, 40, 3)).clip(0, 220)
    white = measure_white(np.rint(image).astype(np.uint8))
    assert white.measured
    np.testing.assert_allclose(white.rgb, (231, 233, 228), atol=1)
    assert 0.5 < white.share < 0.8


def test_a_field_full_of_tissue_falls_back() -> None:
    rng = np.random.default_rng(3)
    image = rng.normal((190, 170, 200), 18, (80, 80, 3)).clip(0, 255).astype(np.uint8)
    white = measure_white(image, declared=(250, 250, 250))
    assert not white.measured
    assert white.rgb == (250.0, 250.0, 250.0)


def test_unscanned_parts_are_no_glass() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal((190, 170, 200), 18, (80, 80, 3)).clip(0, 255).astype(np.uint8)
    nodata = np.zeros((80, 80), bool)
    nodata[:40] = True
    image[:40] = 255
    assert not measure_white(image, nodata=nodata).measured


@pytest.mark.parametrize("shape", [(0, 5, 3), (1, 1, 3)])
def test_small_images(shape: tuple[int, int, int]) -> None:
    image = np.full(shape, 240, np.uint8)
    assert optical_density(image).shape == shape
    assert not measure_white(image).measured
