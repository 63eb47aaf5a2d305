"""Label images, against scipy and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage import measure, segmentation

from pdbiomarker.ihc.labels import expand, fill_holes, relabel, settle_rims

Labels = NDArray[np.int32]


def objects(seed: int, shape: tuple[int, int] = (70, 83), share: float = 0.62) -> Labels:
    """Ragged blobs with holes, numbered in reading order."""
    rng = np.random.default_rng(seed)
    noise = ndi.gaussian_filter(rng.normal(size=shape), 1.1)
    return measure.label(noise > np.quantile(noise, share), connectivity=2).astype(np.int32)


@pytest.mark.parametrize("largest", [1, 6, 25])
def test_holes_are_those_that_scipy_labels(largest: int) -> None:
    labels = objects(1, share=0.4)
    holes, count = ndi.label(labels == 0)
    rim = np.unique(np.r_[holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    expected = labels.copy()
    for hole in range(1, count + 1):
        mask = holes == hole
        if hole in rim or mask.sum() > largest:
            continue
        while (expected[mask] == 0).any():  # from the rim inwards, the larger number first
            spread = ndi.maximum_filter(expected, footprint=ndi.generate_binary_structure(2, 1))
            empty = mask & (expected == 0)
            expected[empty] = spread[empty]
    assert (expected != labels).any()
    np.testing.assert_array_equal(fill_holes(labels.copy(), largest), expected)


def test_one_object_is_filled_as_by_scipy() -> None:
    mask = objects(2)
    mask = (mask == np.bincount(mask.ravel())[1:].argmax() + 1).astype(np.int32)
    filled = ndi.binary_fill_holes(mask)
    inner = filled[1:-1, 1:-1]  # scipy's filling is the same where no hole touches the rim
    np.testing.assert_array_equal(fill_holes(mask.copy(), mask.size)[1:-1, 1:-1] > 0, inner)


def test_rims_settle_by_the_rule() -> None:
    labels = objects(3)
    expected = labels.copy()
    for y in range(1, labels.shape[0] - 1):
        for x in range(1, labels.shape[1] - 1):
            around = np.delete(labels[y - 1 : y + 2, x - 1 : x + 2].ravel(), 4)
            own = labels[y, x]
            if own and (around == own).sum() < 4:
                expected[y, x] = 0
            for label in np.unique(around[around > 0]):
                if own == 0 and (around == label).sum() >= 6:
                    expected[y, x] = label
    assert (expected != labels).sum() > 50
    np.testing.assert_array_equal(settle_rims(labels), expected)


def test_numbers_follow_the_reading_order() -> None:
    labels = objects(4)
    shuffled = np.r_[0, np.random.default_rng(1).permutation(labels.max()) * 3 + 1].astype(np.int32)[labels]
    np.testing.assert_array_equal(relabel(shuffled), labels)
    assert relabel(np.zeros((0, 3), np.int32)).shape == (0, 3)


@pytest.mark.parametrize("pixels", [1, 2, 3.5, 10])
def test_growth_is_that_of_scikit_image(pixels: float) -> None:
    labels = objects(5, share=0.93)
    grown, theirs = expand(labels, pixels), segmentation.expand_labels(labels, pixels)
    np.testing.assert_array_equal(grown > 0, theirs > 0)
    np.testing.assert_array_equal(grown[labels > 0], labels[labels > 0])
    nearest = ndi.distance_transform_edt(labels == 0)
    own = np.stack([ndi.distance_transform_edt(labels != k) for k in range(1, labels.max() + 1)])
    # of equally near labels theirs is the one that scipy finds first, ours the smallest
    smallest = np.argmax(np.isclose(own, nearest, atol=1e-9), axis=0) + 1
    within = nearest <= pixels
    np.testing.assert_array_equal(grown[within], smallest[within])
    assert (grown != theirs).mean() < 0.05


def test_nothing_grows_by_less_than_a_pixel() -> None:
    labels = objects(6)
    np.testing.assert_array_equal(expand(labels, 0.5), labels)
    assert not expand(np.zeros((5, 5), np.int32), 3).any()
    assert expand(np.zeros((0, 5), np.int32), 3).shape == (0, 5)


def test_growth_by_hand() -> None:
    labels = np.zeros((9, 9), np.int32)
    labels[4, 4] = 3
    assert [(expand(labels, r) > 0).sum() for r in (0, 1, 1.5, 2, 3)] == [1, 5, 9, 13, 29]  # Gauss's circle
    np.testing.assert_array_equal(expand(np.array([[1, 0, 0, 2]], np.int32), 1), [[1, 1, 2, 2]])
    np.testing.assert_array_equal(expand(np.array([[2, 0, 1]], np.int32), 1), [[2, 1, 1]])
