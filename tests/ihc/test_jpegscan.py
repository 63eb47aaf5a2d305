"""JPEGs that are damaged inside are told; sound ones, by whichever encoder, are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from pictures import paint, write_tiff
from PIL import Image

from pdbiomarker.errors import ItemError
from pdbiomarker.ihc import open_slide
from pdbiomarker.ihc.jpegscan import is_whole

SIDE = 200


def pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "tissue": paint(side=SIDE, seed=3).image,
        "white": np.full((64, 64, 3), 255, np.uint8),
        "black": np.zeros((64, 64, 3), np.uint8),
        "noise": rng.integers(0, 256, (61, 83, 3), dtype=np.uint8),
        "extremes": (rng.integers(0, 2, (61, 83, 3)) * 255).astype(np.uint8),
        "stripes": np.tile(
            np.where(np.arange(64) // 4 % 2, 255, 0).astype(np.uint8)[:, None, None], (1, 64, 3)
        ),
        "pixel": np.full((1, 1, 3), 77, np.uint8),
    }


def pillow(image: np.ndarray, **options: object) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "JPEG", **options)
        return file.getvalue()


@pytest.mark.parametrize("quality", [1, 30, 75, 90, 100])
@pytest.mark.parametrize("name", sorted(pictures()))
def test_sound_jpegs_are_whole(name: str, quality: int) -> None:
    image = pictures()[name]
    made = {
        f"{layout} {colour}": imagecodecs.jpeg8_encode(
            image, level=quality, subsampling=layout, outcolorspace=colour
        )
        for layout, colour in (
            ("444", "ycbcr"),
            ("422", "ycbcr"),
            ("420", "ycbcr"),
            ("411", "ycbcr"),
            ("444", "rgb"),
        )
    }
    made["optimised"] = pillow(image, quality=quality, optimize=True)
    every = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, 3]
    made["restarts"] = cv2.imencode(".jpg", image, every)[1].tobytes()
    made["grey"] = pillow(image[..., 0], quality=quality)
    made["progressive"] = pillow(image, quality=quality, progressive=True)
    for kind, data in made.items():
        assert is_whole(data), kind
        assert is_whole(data + b"\x00\x17" * 9), f"{kind}, padded behind its end"
        assert is_whole(data[:-2] + b"\xff\xff" + data[-2:]), f"{kind}, filled before its end"


def start_of_scan(data: bytes) -> int:
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4])


@pytest.mark.parametrize("layout", ["444", "420"])
@pytest.mark.parametrize("restarts", [0, 5])
def test_damage_inside_is_told(layout: str, restarts: int) -> None:
    image = paint(side=SIDE, seed=3).image
    sampling = {"444": 0x111111, "420": 0x221111}[layout]
    options = [cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    data = cv2.imencode(".jpg", image, [*options, cv2.IMWRITE_JPEG_RST_INTERVAL, restarts])[1].tobytes()
    start, stop = start_of_scan(data), len(data) - 2
    rng = np.random.default_rng(2)
    for length in ((stop - start) // 4, (stop - start) // 2):
        for at in rng.integers(start, stop - length, 40):
            harmed = data[:at] + bytes(length) + data[at + length :]
            assert not is_whole(harmed), (at, length)
            assert not is_whole(data[:at] + data[at + length :]), (at, length)
    told = 0
    for _ in range(100):  # what is exchanged may by chance fit again
        size = (stop - start) // 16
        a, b = sorted(rng.choice(np.arange(start, stop - size, size), 2, replace=False))
        told += not is_whole(
            data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]
        )
    assert told >= 90


def test_tables_that_tiles_share(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(paint(side=SIDE, seed=3).image).save(path, compression="jpeg", quality=85)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        tables, offset, count = page.jpegtables, page.dataoffsets[0], page.databytecounts[0]
    assert tables is not None
    data = path.read_bytes()[offset : offset + count]
    assert is_whole(data, tables)
    harmed = data[: count // 2] + bytes(count // 4) + data[count // 2 + count // 4 :]
    assert not is_whole(harmed, tables)
    assert is_whole(harmed)  # without its tables it cannot be walked


def test_whatever_is_no_jpeg_is_left_to_the_decoder() -> None:
    data = imagecodecs.jpeg8_encode(paint(side=64, seed=1).image, level=90)
    rng = np.random.default_rng(3)
    for _ in range(2000):  # never an error, never an endless walk
        harmed = np.frombuffer(data, np.uint8).copy()
        harmed[rng.integers(0, start_of_scan(data), 3)] = rng.integers(0, 256, 3)
        assert is_whole(harmed.tobytes()) in {True, False}
        is_whole(data[: rng.integers(0, len(data))])
    assert is_whole(b"")
    assert is_whole(b"\xff\xd8\xff\xd9", b"\xff")


@pytest.mark.parametrize("size", [1, 3])
def test_a_reader_names_the_damaged_tile(tmp_path: Path, size: int) -> None:
    image = paint(side=512, seed=4).image
    jpeg = {"compression": "jpeg", "compressionargs": {"level": 80}}
    path = write_tiff(tmp_path / "a.tif", image, tile=(128, 128), **jpeg)
    with open_slide(path) as slide:
        assert slide.read(0, 0, 512, 512).shape == image.shape
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[6], tiff.pages[0].databytecounts[6]
    data = bytearray(path.read_bytes())
    middle, length = offset + count // 2, size * count // 8
    data[middle : middle + length] = bytes(length)
    path.write_bytes(data)
    with open_slide(path) as slide:
        slide.read(0, 0, 128, 512)
        with pytest.raises(ItemError, match="Tile 6 is damaged") as caught:
            slide.read(0, 0, 512, 512)
    assert caught.value.problem.code == "E-SLIDE-002"


def test_a_plain_jpeg_damaged_inside_is_refused(tmp_path: Path) -> None:
    data = bytearray(imagecodecs.jpeg8_encode(paint(side=300, seed=4).image, level=90))
    data[len(data) // 2 : 3 * len(data) // 4] = bytes(3 * len(data) // 4 - len(data) // 2)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ItemError) as caught, open_slide(tmp_path / "a.jpg", mpp=0.5) as slide:
        slide.read(0, 0, 10, 10)
    assert caught.value.problem.code == "E-SLIDE-002"


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "wsi/cmu_small_region.svs",
        "wsi/os2_ki67.svs",
        "wsi/os2_ki67.ome.tif",
        "os2_two_scanners/OS-2-ndpi.ome.tif",
        "os2_two_scanners/OS-2-vsi.ome.tif",
    ],
)
def test_tiles_of_real_slides_are_whole(shared_data: Callable[[str], Path], name: str) -> None:
    path = shared_data(f"ihc/{name}")
    with tifffile.TiffFile(path) as tiff, path.open("rb") as file:
        pages = [page for page in tiff.pages if page.compression == 7]
        assert pages
        for page in pages:
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                file.seek(offset)
                assert is_whole(file.read(count), page.jpegtables), (page.index, offset)
