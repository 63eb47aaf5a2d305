"""Speed and memory of IHC quantification, beside what one would write with scikit-image and openslide.

Usage: python benchmarks/ihc.py [chain] [decode] [slide]

chain    The whole chain at 0.5 um/px from decoded pixels (scikit-image's own IHC field, 4 x 4 times: 2048 x
         2048 px, tissue everywhere): unmixing, nuclei, cells grown by 5 um, measures of nucleus, cytoplasm
         and cell. CPU seconds of one core, the best of the rounds, both chains in the same run; and what the
         first call costs while the kernels are compiled, with an empty cache folder and with a full one.
decode   JPEG tiles of a slide, through tifffile and imagecodecs and through openslide, one core.
slide    A made-up pyramidal slide of 40,000 x 40,000 px at 0.25 um, a fifth of it tissue, from the file to
         scores on two cores: time, peak memory, and the cost of decoding and outlining alone.

Without a word: chain and decode.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage import data, feature, measure, morphology, segmentation
from skimage.color import separate_stains

from pdbiomarker.ihc import open_slide, optical_density, stain_matrix

Pixels = NDArray[np.uint8]
CELL_UM = 5.0
TILE = 256
BLOCK = 16 * TILE  # what a tile of the coarsest level shows, in pixels of the finest

FIRST_CALL = """
import time, numpy as np
start = time.perf_counter()
from pdbiomarker.ihc import amounts, labels, nuclei, objects
loaded = time.perf_counter() - start
image = np.random.default_rng(1).integers(0, 255, (200, 200, 3)).astype(np.uint8)
start = time.perf_counter()
stains = amounts.amounts(image)
found = nuclei.outline(*stains, 0.5)
objects.measure_cells(found, labels.expand(found, 4), stains, width=2)
print(f"{loaded:.2f} {time.perf_counter() - start:.2f}")
"""

WHOLE_SLIDE = """
import json, resource, sys, time
import cv2
cv2.setNumThreads(1)
from pdbiomarker.ihc import SlideOptions, quantify_slide
warm, path, threads = sys.argv[1:]
quantify_slide(warm, "ki67", mpp=0.25, options=SlideOptions(overlay=False))
cpu, start = time.process_time(), time.perf_counter()
result = quantify_slide(path, "ki67", options=SlideOptions(overlay=False, threads=int(threads)))
print(json.dumps({
    "wall": time.perf_counter() - start, "cpu": time.process_time() - cpu, "cells": len(result.cells),
    "tissue_mm2": result.qc["tissue_mm2"],
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def ours(image: Pixels) -> int:
    """The default segmenter, cells, and their measures."""
    from pdbiomarker.ihc.amounts import amounts
    from pdbiomarker.ihc.labels import expand
    from pdbiomarker.ihc.nuclei import outline
    from pdbiomarker.ihc.objects import measure_cells

    stains = amounts(image)
    nuclei = outline(*stains, 0.5)
    found = measure_cells(nuclei, expand(nuclei, CELL_UM / 0.5), stains, width=2)
    return len(found.area)


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
    nuclei = segmentation.watershed(-blobs, seeds, mask=blobs > 0)
    table = measure.regionprops_table(nuclei, signal, properties=("label", "area", "mean_intensity"))
    kept = (table["area"] >= 40) & (table["area"] <= 1600) & (table["mean_intensity"] >= 0.1)
    number = np.zeros(nuclei.max() + 1, np.int32)
    number[table["label"][kept]] = np.arange(1, kept.sum() + 1)
    nuclei = number[nuclei]
    cells = segmentation.expand_labels(nuclei, CELL_UM / 0.5)
    for labels in (nuclei, cells, np.where(nuclei > 0, 0, cells)):
        measure.regionprops_table(
            labels, stains[..., :2], properties=("label", "area", "centroid", "mean_intensity")
        )
    return int(kept.sum())


def seconds(work: Callable[[Pixels], int], image: Pixels, rounds: int) -> tuple[float, int]:
    """CPU seconds of the best round, and the number of cells."""
    best, cells = float("inf"), 0
    for _ in range(rounds):
        start = time.process_time()
        cells = work(image)
        best = min(best, time.process_time() - start)
    return best, cells


def chain(rounds: int) -> float:
    """Print the table of the chains; CPU seconds of ours per megapixel."""
    with tempfile.TemporaryDirectory() as cache:
        for state in ("empty", "full"):
            done = subprocess.run(
                [sys.executable, "-c", FIRST_CALL],
                env=os.environ | {"NUMBA_CACHE_DIR": cache},
                capture_output=True,
                text=True,
                check=True,
            )
            loaded, first = done.stdout.split()
            print(f"first call, {state:5s} cache folder: {first} s, after {loaded} s of loading")
    image = np.ascontiguousarray(np.tile(data.immunohistochemistry(), (4, 4, 1)))
    pixels = image.shape[0] * image.shape[1] / 1e6
    ours(image[:256, :256].copy())
    fast, cells = seconds(ours, image, rounds)
    slow, others = seconds(plain, image, 1)
    print(f"ours          {pixels / fast:6.2f} Mpx/s  {cells / fast:8.0f} cells/s  {cells} cells")
    print(f"scikit-image  {pixels / slow:6.2f} Mpx/s  {others / slow:8.0f} cells/s  {others} cells")
    print(f"ratio         {slow / fast:6.1f}")
    return fast / pixels


def field() -> Pixels:
    """Tissue of 2048 x 2048 px at 0.25 um, its grain that of a camera."""
    small = np.tile(data.immunohistochemistry(), (2, 2, 1))
    large = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    large += np.random.default_rng(1).normal(0, 1.5, large.shape)
    return np.clip(np.rint(large), 0, 255).astype(np.uint8)


def tiles(side: int, scale: int, tissue: Callable[[int, int], bool]) -> Iterator[bytes]:
    """The encoded tiles of one level, in reading order."""
    image = field()
    if scale > 1:
        size = image.shape[0] // scale
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    glass = np.clip(np.random.default_rng(2).normal(243, 1.2, (TILE, TILE, 3)), 0, 255).astype(np.uint8)
    empty = imagecodecs.jpeg8_encode(glass, level=85)
    known: dict[tuple[int, int], bytes] = {}
    for y in range(0, side, TILE):
        for x in range(0, side, TILE):
            if not tissue(y * scale, x * scale):
                yield empty
                continue
            place = (y % max(image.shape[0], TILE), x % max(image.shape[1], TILE))
            if place not in known:
                part = np.tile(image, (3, 3, 1))[place[0] : place[0] + TILE, place[1] : place[1] + TILE]
                known[place] = imagecodecs.jpeg8_encode(np.ascontiguousarray(part), level=85)
            yield known[place]


def write_slide(path: Path, side: int, *, everywhere: bool) -> float:
    """A pyramidal, tiled TIFF, a block of tissue on it; return how many megapixels of it are tissue.

    The block is cut along the tiles of the coarsest level, so that all levels show the same.
    """
    blocks = side // BLOCK
    rows, columns = (0, blocks), (0, blocks)
    if not everywhere:
        rows, columns = (blocks // 3, blocks // 3 + blocks * 2 // 5), (blocks // 4, blocks // 4 + blocks // 2)
    resolution = (1e4 / 0.25, 1e4 / 0.25)

    def tissue(y: int, x: int) -> bool:
        return rows[0] <= y // BLOCK < rows[1] and columns[0] <= x // BLOCK < columns[1]

    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level, scale in enumerate((1, 4, 16)):
            file.write(
                tiles(side // scale, scale, tissue),
                shape=(side // scale, side // scale, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                resolution=tuple(r / scale for r in resolution),
                resolutionunit="CENTIMETER",
                subfiletype=0 if level == 0 else 1,
                metadata=None,
            )
    return (rows[1] - rows[0]) * (columns[1] - columns[0]) * BLOCK**2 / 1e6


def decode(path: Path, side: int, rounds: int) -> float:
    """Print the speed of both readers on the middle of a slide; CPU seconds per megapixel of ours."""
    import openslide

    part, step = 4096, 1024
    start_at = side // BLOCK // 3 * BLOCK
    corners = [
        (y, x) for y in range(start_at, start_at + part, step) for x in range(start_at, start_at + part, step)
    ]

    def with_ours() -> None:
        with open_slide(path) as slide:
            for y, x in corners:
                slide.read(y, x, step, step)

    def with_openslide() -> None:
        slide = openslide.OpenSlide(str(path))
        slide.set_cache(openslide.OpenSlideCache(0))
        for y, x in corners:
            np.asarray(slide.read_region((x, y), 0, (step, step)).convert("RGB"))
        slide.close()

    rates = {}
    for name, work in (("tifffile + imagecodecs", with_ours), ("openslide", with_openslide)):
        best = float("inf")
        for _ in range(rounds):
            start = time.process_time()
            work()
            best = min(best, time.process_time() - start)
        rates[name] = part * part / 1e6 / best
        print(f"{name:24s}{rates[name]:7.1f} Mpx/s")
    print(f"{'ratio':24s}{rates['tifffile + imagecodecs'] / rates['openslide']:7.1f}")
    return 1 / rates["tifffile + imagecodecs"]


def slide(path: Path, side: int, tissue: float, costs: tuple[float, float]) -> None:
    """Print time and memory of a whole slide with so many Mpx of tissue, in a process of its own."""
    warm = path.parent / "warm.png"
    warm.write_bytes(imagecodecs.png_encode(field()[:1024, :1024]))
    done = subprocess.run(
        [sys.executable, "-c", WHOLE_SLIDE, str(warm), str(path), "2"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    alone = tissue * costs[0] + tissue / 4 * costs[1]
    print(
        f"slide of {side} x {side} px, {tissue:.0f} Mpx of tissue at 0.25 um ({found['tissue_mm2']:.1f} mm2),"
        f" {found['cells']} cells, 2 threads: {found['wall']:.1f} s wall, {found['cpu']:.1f} s CPU, "
        f"peak {found['peak_mb']:.0f} MB"
    )
    print(
        f"decoding and outlining that tissue alone: {alone:.1f} s CPU, {alone / 2:.1f} s on two cores; "
        f"ratio {found['wall'] / (alone / 2):.1f} (wall), {found['cpu'] / alone:.1f} (CPU)"
    )


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="chain, decode, slide")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=40_000)
    chosen = parser.parse_args()
    what = set(chosen.what or ("chain", "decode"))
    cv2.setNumThreads(1)
    chain_cost = chain(chosen.rounds) if what & {"chain", "slide"} else 0.0
    if not what & {"decode", "slide"}:
        return
    with tempfile.TemporaryDirectory() as folder:
        side = -(-chosen.side // BLOCK) * BLOCK if "slide" in what else 2 * BLOCK
        path = Path(folder) / "slide.tif"
        tissue = write_slide(path, side, everywhere="slide" not in what)
        print(f"slide file: {path.stat().st_size / 1e6:.0f} MB")
        decode_cost = decode(path, side, chosen.rounds)
        if "slide" in what:
            slide(path, side, tissue, (decode_cost, chain_cost))


if __name__ == "__main__":
    main()
