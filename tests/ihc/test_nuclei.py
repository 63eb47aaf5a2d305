"""The segmenter: painted nuclei with known places, real tiles with ground truth, QuPath's counts."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from pictures import GLASS, paint
from scipy import ndimage as ndi
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from skimage import color, feature, filters, measure, morphology, segmentation

from pdbiomarker.ihc import SegmentOptions, optical_density, segment, unmix

TILES = ("22_2", "34_3", "6_2", "799_2")
Labels = NDArray[np.int32]


def at_half_um(image: NDArray[np.uint8], mpp: float) -> NDArray[np.uint8]:
    size = (int(image.shape[1] * mpp / 0.5), int(image.shape[0] * mpp / 0.5))
    return np.asarray(
        cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def dab_means(density: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    return np.asarray(ndi.mean(unmix(density, None, (1,))[0], labels, np.arange(1, labels.max() + 1)))


def otsu_watershed(image: NDArray[np.uint8]) -> Labels:
    """What a tutorial does: Otsu on either stain, then a watershed of the distance map."""
    hed = color.rgb2hed(image)
    mask = np.zeros(image.shape[:2], bool)
    for stain in (0, 2):
        mask |= hed[..., stain] > filters.threshold_otsu(hed[..., stain])
    mask = ndi.binary_fill_holes(morphology.opening(mask, morphology.disk(1)))
    distance = ndi.distance_transform_edt(mask)
    peaks = feature.peak_local_max(
        ndi.gaussian_filter(distance, 1), min_distance=5, labels=measure.label(mask)
    )
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = segmentation.watershed(-distance, seeds, mask=mask)
    area = np.bincount(labels.ravel()) * 0.25
    labels[((area < 10) | (area > 400))[labels]] = 0
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


@dataclasses.dataclass
class Match:
    """Counts pooled over tiles."""

    truth: int = 0
    found: int = 0
    overlapping: int = 0
    near: int = 0
    same_class: int = 0
    percent_errors: list[float] = dataclasses.field(default_factory=list)
    annotated_errors: list[float] = dataclasses.field(default_factory=list)

    def add(
        self, truth: Labels, classes: NDArray[np.bool_], found: Labels, positive: NDArray[np.bool_]
    ) -> None:
        n, m = int(truth.max()), int(found.max())
        both = np.zeros((n + 1, m + 1))
        np.add.at(both, (truth.ravel(), found.ravel()), 1)
        union = both.sum(1)[1:, None] + both.sum(0)[None, 1:] - both[1:, 1:]
        overlap = both[1:, 1:] / union
        rows, columns = linear_sum_assignment(-np.where(overlap >= 0.5, overlap, 0))
        self.overlapping += int((overlap[rows, columns] >= 0.5).sum())
        a = np.array(ndi.center_of_mass(truth > 0, truth, np.arange(1, n + 1)))
        b = np.array(ndi.center_of_mass(found > 0, found, np.arange(1, m + 1)))
        distance = cdist(a, b) * 0.25
        rows, columns = linear_sum_assignment(np.where(distance <= 6, distance, 1e6))
        close = distance[rows, columns] <= 6
        self.near += int(close.sum())
        self.same_class += int((classes[rows[close]] == positive[columns[close]]).sum())
        self.truth += n
        self.found += m
        self.percent_errors.append(100 * abs(classes.mean() - positive.mean()))
        both_ways = classes[rows[close]].mean(), positive[columns[close]].mean()
        self.annotated_errors.append(100 * abs(both_ways[0] - both_ways[1]))

    def f1(self, hits: int) -> float:
        return 2 * hits / (self.truth + self.found)


def matched(
    shared_data: Callable[[str], Path], segmenter: Callable[[NDArray[np.uint8], NDArray[np.float32]], Labels]
) -> Match:
    root = shared_data("ihc/bcdata_ki67")
    with (root / "labels/nuclei.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    result = Match()
    for tile in TILES:
        image = cv2.imread(str(root / f"ihc/{tile}.png"))[..., ::-1]
        truth = cv2.imread(str(root / f"labels/{tile}.png"), cv2.IMREAD_UNCHANGED).astype(np.int32)
        classes = np.array([row["positive"] == "1" for row in rows if row["tile"] == tile])
        small = at_half_um(image, 0.25)
        white = np.percentile(image.reshape(-1, 3), 98, axis=0)  # these fields show hardly any glass
        density = optical_density(small, tuple(white))
        labels = segmenter(small, density)
        positive = dab_means(density, labels) >= 0.2
        full = cv2.resize(labels, truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
        result.add(truth, classes, np.asarray(full, dtype=np.int32), positive)
    return result


def test_painted_nuclei_are_found_where_they_are() -> None:
    painting = paint(side=800, seed=3)
    density = optical_density(painting.image, GLASS)
    labels = segment(density, 0.5)
    centres = (np.array(ndi.center_of_mass(labels > 0, labels, np.arange(1, labels.max() + 1))) + 0.5) * 0.5
    distance = cdist(painting.centres_um, centres)
    assert abs(len(centres) / len(painting.centres_um) - 1) < 0.03
    assert (distance.min(axis=1) < 1.5).mean() > 0.97
    share = (dab_means(density, labels) >= 0.2).mean()
    assert abs(share - painting.positive.mean()) < 0.02


def test_the_same_image_gives_the_same_labels() -> None:
    density = optical_density(paint(side=300).image, GLASS)
    np.testing.assert_array_equal(segment(density, 0.5), segment(density.copy(), 0.5))


def test_labels_are_numbered_in_reading_order_and_connected() -> None:
    labels = segment(optical_density(paint(side=400).image, GLASS), 0.5)
    present, first = np.unique(labels, return_index=True)
    np.testing.assert_array_equal(present, np.arange(labels.max() + 1))
    assert (np.diff(first[1:]) > 0).all()
    parts = [measure.label(labels == k, connectivity=2).max() for k in range(1, 40)]
    assert max(parts) == 1


def test_a_cut_out_does_not_change_what_is_far_from_the_cut() -> None:
    density = optical_density(paint(side=700, seed=5).image, GLASS)
    whole = segment(density, 0.5)
    part = segment(np.ascontiguousarray(density[133:, 91:]), 0.5)
    view = (slice(120, -10), slice(120, -10))  # 60 um from the cut
    np.testing.assert_array_equal(whole[133:, 91:][view] > 0, part[view] > 0)


def test_turned_and_mirrored_images_give_nearly_the_same() -> None:
    # plateaus and ties are decided in reading order, so single pixels may change hands
    painting = paint(side=500, seed=7)
    density = optical_density(painting.image, GLASS)
    scores = []
    for turn in (lambda a: a, np.fliplr, np.flipud, np.rot90):
        labels = segment(np.ascontiguousarray(turn(density)), 0.5)
        means = dab_means(np.ascontiguousarray(turn(density)), labels)
        scores.append(100 * np.digitize(means, (0.2, 0.4, 0.6)).mean())
    assert np.ptp(scores) < 1.0  # points of 300


@pytest.mark.parametrize("shape", [(0, 0, 3), (1, 1, 3), (2, 50, 3), (3, 3, 3), (64, 64, 3)])
def test_empty_images(shape: tuple[int, int, int]) -> None:
    labels = segment(np.zeros(shape, np.float32), 0.5)
    assert labels.shape == shape[:2]
    assert labels.dtype == np.int32
    assert not labels.any()


@pytest.mark.parametrize("value", [0.3, 2.4])
def test_a_uniform_field_has_no_nuclei(value: float) -> None:
    assert not segment(np.full((100, 100, 3), value, np.float32), 0.5).any()


@pytest.mark.data
def test_real_tiles_against_ground_truth(shared_data: Callable[[str], Path]) -> None:
    # Ground truth holds tumour nuclei only, so precision is capped. The floors are what a deep model's
    # published output, and a slower search over many thresholds, reach on these four tiles.
    ours = matched(shared_data, lambda _, density: segment(density, 0.5))
    theirs = matched(shared_data, lambda image, _: otsu_watershed(image))
    assert ours.overlapping / ours.truth > 0.77
    assert ours.near / ours.truth > 0.88
    assert ours.f1(ours.overlapping) >= 0.66
    assert ours.f1(ours.near) >= 0.76
    assert ours.same_class / ours.near >= 0.987
    assert np.mean(ours.percent_errors) <= 7.8
    assert ours.f1(ours.overlapping) > theirs.f1(theirs.overlapping) + 0.1
    assert ours.f1(ours.near) > theirs.f1(theirs.near) + 0.08


@pytest.mark.data
def test_a_half_positive_tile_is_read_right_where_it_was_annotated(
    shared_data: Callable[[str], Path],
) -> None:
    # Tile 6_2 reads 48 % positive by its ground truth and 28 % by ours. It is not misread: of about a
    # hundred nuclei 46 were annotated, and most of the others are blue. Over the nuclei that were, both
    # say the same.
    ours = matched(shared_data, lambda _, density: segment(density, 0.5))
    half_positive = TILES.index("6_2")
    assert ours.percent_errors[half_positive] > 15
    assert ours.annotated_errors[half_positive] < 1.5
    assert np.mean(ours.annotated_errors) < 1.0


@pytest.mark.data
@pytest.mark.parametrize(
    ("scanner", "mpp", "count", "percent"),
    [("ndpi", 0.2270998, 1323, 16.55), ("vsi", 0.3460546, 1353, 13.53)],
)
def test_two_scanners_against_qupath(
    shared_data: Callable[[str], Path], scanner: str, mpp: float, count: int, percent: float
) -> None:
    # QuPath 0.3.2 at threshold 0.2: a reference, not the truth
    image = tifffile.imread(shared_data(f"ihc/os2_two_scanners/OS-2-{scanner}.ome.tif"))
    density = optical_density(at_half_um(image, mpp))
    labels = segment(density, 0.5)
    assert abs(labels.max() / count - 1) < 0.15
    assert abs(100 * (dab_means(density, labels) >= 0.2).mean() - percent) < 3.5


@pytest.mark.data
def test_cytoplasm_is_not_swallowed(shared_data: Callable[[str], Path]) -> None:
    image = cv2.imread(str(shared_data("ihc/lymphoid_cytoplasmic/ROI_127.png")))[..., ::-1]
    density = optical_density(at_half_um(image, 0.25), (240, 240, 238))
    labels = segment(density, 0.5, SegmentOptions(channel="hematoxylin", min_score=0.15, typical_area_um2=60))
    area = np.bincount(labels.ravel())[1:] * 0.25
    hematoxylin, dab = unmix(density, None, (0, 1))
    brown = (dab > 0.3) & (hematoxylin < 0.1)
    assert 500 < labels.max() < 1200
    assert np.median(area) < 65  # lymphocytes: 25-50 um2
    assert np.percentile(area, 99) < 200
    assert (labels[brown] == 0).mean() > 0.4
