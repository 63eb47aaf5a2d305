"""Slides: what is read, and what is refused before a pixel is decoded."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from pictures import paint, write_tiff

from pdbiomarker.errors import ItemError
from pdbiomarker.ihc import check_slide, open_slide, quantify_slide, write_slide

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (300, 420, 3), dtype=np.uint8)
SMOOTH = np.clip(
    np.add.outer(np.arange(300) / 3, np.arange(420) / 4)[..., None] + [20, 40, 60], 0, 255
).astype(np.uint8)


def refused(path: Path, mpp: float | None = None) -> str:
    return told(path, mpp)[0]


def told(path: Path, mpp: float | None = None) -> tuple[str, str]:
    with pytest.raises(ItemError) as caught:  # noqa: SIM117 - the reading is what may fail
        with open_slide(path, mpp=mpp) as slide:
            slide.read(0, 0, *slide.shape)
    problem = caught.value.problem
    assert problem.message
    assert problem.remedy
    assert problem.file == path.name
    return problem.code, problem.message


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": None},
        {"tile": None, "rowsperstrip": 7},
        {"tile": None, "compression": None},
        {"tile": None, "compression": None, "rowsperstrip": 300},
        {"compression": None},
        {"compression": "zstd"},
        {"compression": "lzw"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"predictor": True},
    ],
)
def test_every_layout_reads_the_same_pixels(tmp_path: Path, options: dict[str, object]) -> None:
    path = write_tiff(tmp_path / "a.tif", IMAGE, **options)
    with open_slide(path) as slide:
        assert slide.shape == (300, 420)
        assert slide.mpp == pytest.approx(0.5, rel=1e-6)
        np.testing.assert_array_equal(slide.read(0, 0, 300, 420), IMAGE)
        np.testing.assert_array_equal(slide.read(251, 3, 49, 411), IMAGE[251:300, 3:414])


@pytest.mark.parametrize("region", [(0, 0, 0, 5), (-1, 0, 5, 5), (0, 0, 301, 5), (299, 419, 1, 2)])
def test_a_region_off_the_slide(tmp_path: Path, region: tuple[int, int, int, int]) -> None:
    with (
        open_slide(write_tiff(tmp_path / "a.tif", IMAGE)) as slide,
        pytest.raises(ValueError, match="region"),
    ):
        slide.read(*region)


def test_png_and_jpeg(tmp_path: Path) -> None:
    png, jpg = tmp_path / "a.png", tmp_path / "a.jpg"
    png.write_bytes(imagecodecs.png_encode(IMAGE))
    jpg.write_bytes(imagecodecs.jpeg8_encode(SMOOTH, level=95))
    with open_slide(png, mpp=0.25) as slide:
        np.testing.assert_array_equal(slide.read(5, 6, 7, 8), IMAGE[5:12, 6:14])
        assert slide.levels == ((300, 420),)
    with open_slide(jpg, mpp=0.25) as slide:
        assert np.abs(slide.read(0, 0, 300, 420).astype(int) - SMOOTH).mean() < 3


def write_pages(path: Path, pages: list[tuple[np.ndarray, dict[str, object]]]) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for image, options in pages:
            defaults: dict[str, object] = {"photometric": "rgb", "compression": "zlib", "metadata": None}
            tiff.write(
                image, **(defaults | {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"} | options)
            )
    return path


def half(image: np.ndarray) -> np.ndarray:
    h, w = image.shape[:2]
    return image.reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3)).astype(np.uint8)


MAGENTA = np.full((150, 210, 3), (255, 0, 255), np.uint8)  # of the same proportions as IMAGE
APERIO = "Aperio Image Library\n{}|AppMag = 20|MPP = 0.5|Patient = DOE|MRN = 4711|Barcode = 4711"


def label_slide(path: Path, image: np.ndarray, label: np.ndarray) -> Path:
    """An SVS with thumbnail, level, label and macro; the label could be mistaken for a level by its shape."""
    main = APERIO.format(
        f"{image.shape[1]}x{image.shape[0]} [0,0 {image.shape[1]}x{image.shape[0]}] (256x256)"
    )
    return write_pages(
        path,
        [
            (image, {"tile": (256, 256), "description": main}),
            (half(half(image)), {"description": main}),
            (half(image), {"tile": (256, 256), "description": main}),
            (label, {"subfiletype": 1, "description": "Aperio Image Library\nlabel 99x99", "tile": (64, 64)}),
            (label, {"subfiletype": 1, "description": "Aperio Image Library\n"}),
            (label, {"subfiletype": 9, "description": "Aperio Image Library\nmacro 99x99"}),
        ],
    )


def test_a_label_in_the_shape_of_a_level_is_none(tmp_path: Path) -> None:
    with open_slide(label_slide(tmp_path / "a.svs", IMAGE, MAGENTA[:148, :208])) as slide:
        assert slide.levels == ((300, 420), (150, 210))
        assert slide.facts.format == "svs"
        np.testing.assert_array_equal(slide.read(0, 0, 150, 210, level=1), half(IMAGE))
        assert slide.thumbnail(4.0).min(axis=(0, 1))[1] > 60  # no magenta in it


def test_trap_33_nothing_of_label_or_metadata_reaches_the_outputs(tmp_path: Path) -> None:
    image = paint(side=600, seed=3).image
    label = np.full((300, 300, 3), (255, 0, 255), np.uint8)
    result = quantify_slide(label_slide(tmp_path / "a.svs", image, label), "ki67")
    for path in write_slide(result, "S1", tmp_path / "out"):
        data = path.read_bytes()
        assert b"DOE" not in data
        assert b"4711" not in data
        if path.suffix == ".png":
            shown = imagecodecs.png_decode(data).astype(int)
            assert not ((shown[..., 0] > 200) & (shown[..., 1] < 60) & (shown[..., 2] > 200)).any()
    assert result.qc["format"] == "svs"


def test_a_colour_profile_is_noted(tmp_path: Path) -> None:
    for name, options in (("a.tif", {}), ("b.tif", {"iccprofile": b"\x00" * 128})):
        with open_slide(write_tiff(tmp_path / name, IMAGE, **options)) as slide:
            assert slide.facts.icc_profile is bool(options)
            np.testing.assert_array_equal(slide.read(0, 0, 300, 420), IMAGE)


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_a_turned_image_is_refused(tmp_path: Path, orientation: int) -> None:
    tags = [(274, "H", 1, orientation, True)]
    path = write_tiff(tmp_path / "a.tif", IMAGE, extratags=tags)
    code, message = told(path)
    assert code == "E-SLIDE-005"
    assert f"orientation {orientation}" in message
    exif = b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHIHH", 274, 3, 1, orientation, 0) + bytes(4)
    data = imagecodecs.jpeg8_encode(SMOOTH, level=95)
    block = b"Exif\x00\x00" + exif
    (tmp_path / "a.jpg").write_bytes(
        data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    )
    assert f"orientation {orientation}" in told(tmp_path / "a.jpg", 0.5)[1]
    data = imagecodecs.png_encode(IMAGE)
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    assert f"orientation {orientation}" in told(tmp_path / "a.png", 0.5)[1]


@pytest.mark.parametrize("second", [IMAGE, np.vstack([IMAGE, IMAGE])], ids=["twice", "larger"])
def test_two_main_images(tmp_path: Path, second: np.ndarray) -> None:
    path = write_pages(tmp_path / "a.tif", [(IMAGE, {"tile": (256, 256)}), (second, {"tile": (256, 256)})])
    code, message = told(path)
    assert code == "E-SLIDE-006"
    assert "several images of full size" in message


def test_nothing_is_invented_between_pixels(tmp_path: Path) -> None:
    with open_slide(write_tiff(tmp_path / "a.tif", IMAGE, mpp=0.5)) as slide:
        with pytest.raises(ValueError, match="finer than the slide"):
            slide.resample(0, 0, 10, 10, 0.25)
        assert slide.thumbnail(0.1).shape == IMAGE.shape  # the slide's own where that is coarser


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    alpha = np.dstack([IMAGE, np.full(IMAGE.shape[:2], 255, np.uint8)])
    path = write_tiff(tmp_path / "a.tif", alpha, extrasamples=["unassalpha"])
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 300, 420), IMAGE)
    alpha[10, 10, 3] = 0
    assert refused(write_tiff(tmp_path / "b.tif", alpha, extrasamples=["unassalpha"])) == "E-SLIDE-005"
    png = tmp_path / "b.png"
    png.write_bytes(imagecodecs.png_encode(alpha))
    assert refused(png, 0.5) == "E-SLIDE-005"


# -- pyramids ------------------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("name", ["os2_ki67.svs", "os2_ki67.ome.tif"])
def test_pyramids_have_three_levels(shared_data: Callable[[str], Path], name: str) -> None:
    path = shared_data(f"ihc/wsi/{name}")
    with open_slide(path) as slide:
        assert slide.levels == ((3072, 8192), (768, 2048), (192, 512))
        assert slide.mpp == pytest.approx(0.2271, rel=1e-4)
        assert slide.level_mpp(2) == pytest.approx(16 * slide.mpp)
        region = slide.read(1000, 2000, 300, 300)
        coarse = slide.read(250, 500, 75, 75, level=1)
    # tifffile reads the whole level: an independent road to the same pixels
    np.testing.assert_array_equal(region, tifffile.imread(path)[1000:1300, 2000:2300])
    assert np.abs(coarse.mean((0, 1)) - region.mean((0, 1))).max() < 3


@pytest.mark.data
def test_label_and_macro_are_no_levels(shared_data: Callable[[str], Path]) -> None:
    with open_slide(shared_data("ihc/wsi/cmu_small_region.svs")) as slide:
        assert slide.levels == ((2967, 2220),)
        assert slide.mpp == 0.499


@pytest.mark.data
def test_a_region_costs_no_more_than_its_tiles(shared_data: Callable[[str], Path]) -> None:
    with open_slide(shared_data("ihc/wsi/os2_ki67.svs")) as slide:
        tracemalloc.start()
        slide.read(1000, 1000, 200, 200)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2 * 2**20  # the whole level takes 75 MB; four tiles 0.8 MB


def test_resampling_is_the_area_mean(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", IMAGE, mpp=0.25)
    with open_slide(path) as slide:
        assert slide.grid(0.5) == (150, 210)
        found, missing = slide.resample(0, 0, 150, 210, 0.5)
        part, _ = slide.resample(31, 17, 40, 90, 0.5)
    mean = IMAGE.reshape(150, 2, 210, 2, 3).mean((1, 3))
    assert missing is None
    assert np.abs(found - mean).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(part, found[31:71, 17:107])


def test_threads_read_the_same_pixels(tmp_path: Path) -> None:
    image = np.random.default_rng(8).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    path = write_tiff(tmp_path / "a.tif", image, tile=(64, 64))
    places = [(y, x) for y in range(0, 640, 37) for x in range(0, 840, 53)]
    with open_slide(path) as slide, ThreadPoolExecutor(4) as pool:
        for (y, x), part in zip(places, pool.map(lambda p: slide.read(*p, 60, 60), places), strict=True):
            np.testing.assert_array_equal(part, image[y : y + 60, x : x + 60])


def test_resampling_at_an_odd_ratio_keeps_a_gradient(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 420)[None, :, None], 300, 0).repeat(3, 2)
    path = write_tiff(tmp_path / "a.tif", np.rint(ramp).astype(np.uint8), mpp=0.2271)
    with open_slide(path) as slide:
        found, _ = slide.resample(0, 0, *slide.grid(0.5), 0.5)
    step = 0.5 / 0.2271
    centres = (np.arange(found.shape[1]) + 0.5) * step - 0.5
    np.testing.assert_allclose(found[10, :, 0], centres * 255 / 419, atol=1.0)


# -- pixel size ----------------------------------------------------------------------------------------------


def test_pixel_size_from_file_or_sheet(tmp_path: Path) -> None:
    bare = write_tiff(tmp_path / "bare.tif", IMAGE, mpp=None)
    known = write_tiff(tmp_path / "known.tif", IMAGE, mpp=0.25)
    assert refused(bare) == "E-SLIDE-003"
    with open_slide(bare, mpp=0.5) as slide:
        assert slide.mpp == 0.5
    with open_slide(known, mpp=0.2549) as slide:  # 1.96 %
        assert slide.mpp == pytest.approx(0.25, rel=1e-5)
    assert refused(known, 0.2551) == "E-SLIDE-004"
    assert refused(bare, 50.0) == "E-SLIDE-010"
    assert refused(bare, float("nan")) == "E-SLIDE-010"
    assert refused(bare, 0.0) == "E-SLIDE-010"


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_dots_per_inch_of_a_printer_are_no_pixel_size(tmp_path: Path, dpi: int) -> None:
    path = write_tiff(tmp_path / "a.tif", IMAGE, mpp=None, resolution=(dpi, dpi), resolutionunit="INCH")
    assert refused(path) == "E-SLIDE-003"


def test_unit_inch(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", IMAGE, mpp=None, resolution=(50800, 50800), resolutionunit="INCH")
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.5)


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = write_tiff(
        tmp_path / "a.tif", IMAGE, mpp=None, resolution=(20000, 25000), resolutionunit="CENTIMETER"
    )
    assert refused(path) == "E-SLIDE-010"


def ome(**changes: str) -> str:
    keys = {"SizeX": "420", "SizeY": "300", "SizeZ": "1", "SizeC": "3", "SizeT": "1"} | changes
    pixels = " ".join(f'{key}="{value}"' for key, value in keys.items())
    space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return f'<OME xmlns="{space}"><Image ID="Image:0"><Pixels {pixels}/></Image></OME>'


def ome_file(path: Path, xml: str) -> Path:
    return write_tiff(path, IMAGE, mpp=None, description=xml, metadata=None)


@pytest.mark.parametrize(("size", "unit"), [("0.25", "µm"), ("250", "nm"), ("0.00025", "mm"), ("0.25", None)])
def test_ome_units(tmp_path: Path, size: str, unit: str | None) -> None:
    keys = {"PhysicalSizeX": size, "PhysicalSizeY": size}
    if unit:
        keys |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    path = tmp_path / "a.ome.tif"
    write_tiff(path, IMAGE, mpp=None, description=ome(**keys).encode(), metadata=None)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SizeZ": "1000000000"}, "E-SLIDE-006"),
        ({"SizeX": "99999"}, "E-SLIDE-006"),
        ({"SizeT": "7"}, "E-SLIDE-006"),
        ({"SizeZ": "many"}, "E-SLIDE-006"),
        ({"PhysicalSizeX": "25", "PhysicalSizeY": "25"}, "E-SLIDE-010"),
        ({"PhysicalSizeX": "0.25", "PhysicalSizeXUnit": "pixel"}, "E-SLIDE-003"),
        ({"PhysicalSizeX": "0", "PhysicalSizeY": "0"}, "E-SLIDE-010"),
    ],
)
def test_ome_claims(tmp_path: Path, changes: dict[str, str], code: str) -> None:
    assert refused(ome_file(tmp_path / "a.ome.tif", ome(**changes))) == code


def test_entities_in_ome_xml_are_not_expanded(tmp_path: Path) -> None:
    bomb = (
        '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><OME>&b;</OME>'
    )
    assert refused(ome_file(tmp_path / "a.ome.tif", bomb)) == "E-SLIDE-001"


# -- what is refused -----------------------------------------------------------------------------------------


def test_no_slide_at_all(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.svs") == "E-FILE-001"
    assert refused(tmp_path) == "E-FILE-002"
    (tmp_path / "empty.tif").write_bytes(b"")
    assert refused(tmp_path / "empty.tif") == "E-FILE-004"
    (tmp_path / "text.png").write_text("not an image", encoding="utf-8")
    assert refused(tmp_path / "text.png", 0.5) == "E-SLIDE-001"
    (tmp_path / "head.tif").write_bytes(b"II*\x00")
    assert refused(tmp_path / "head.tif", 0.5) in {"E-SLIDE-001", "E-SLIDE-002"}
    for address in ("https://example.org/a.svs", "s3://bucket/a.svs"):
        code, message = told(Path(address))
        assert code == "E-FILE-002"
        assert "an address, not a file" in message
    assert refused(Path("/dev/null")) == "E-FILE-002"
    assert refused(Path("/dev/zero")) == "E-FILE-002"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    assert refused(tmp_path / "pipe.tif") == "E-FILE-002"


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("compression", ["zlib", "jpeg", None])
def test_a_truncated_tiff_is_named(tmp_path: Path, share: float, compression: str | None) -> None:
    path = write_tiff(tmp_path / "a.tif", SMOOTH, compression=compression)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert refused(path) == "E-SLIDE-002"


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.05, 0.6, 0.999])
def test_a_truncated_field_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    data = imagecodecs.png_encode(SMOOTH) if suffix == "png" else imagecodecs.jpeg8_encode(SMOOTH)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    assert refused(path, 0.5) == "E-SLIDE-002"


def test_a_flipped_bit_in_a_png(tmp_path: Path) -> None:
    data = bytearray(imagecodecs.png_encode(IMAGE))
    data[len(data) // 2] ^= 1
    path = tmp_path / "a.png"
    path.write_bytes(bytes(data))
    assert refused(path, 0.5) == "E-SLIDE-002"


def test_a_jpeg_tile_that_ends_early(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", SMOOTH, compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[2], tiff.pages[0].databytecounts[2]
    data = bytearray(path.read_bytes())
    data[offset + count // 2 : offset + count] = bytes(count - count // 2)
    path.write_bytes(bytes(data))
    with open_slide(path) as slide:
        slide.read(0, 0, 100, 100)  # the other tiles are whole
    assert refused(path) == "E-SLIDE-002"


def test_missing_tiles_have_no_data(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", IMAGE, compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages[0].tags
        places = [(tags[name].valueoffset, tags[name].dtype) for name in ("TileOffsets", "TileByteCounts")]
    data = bytearray(path.read_bytes())
    for offset, kind in places:
        size = {3: 2, 4: 4, 16: 8}[int(kind)]
        data[offset : offset + size] = bytes(size)
    path.write_bytes(bytes(data))
    with open_slide(path) as slide:
        pixels, missing = slide.read_masked(0, 0, 300, 420)
        assert missing is not None
        assert missing[:256, :256].all()
        assert missing.sum() == 256 * 256
        assert (pixels[missing] == 255).all()
        np.testing.assert_array_equal(pixels[~missing], IMAGE[~missing])
        _, low = slide.thumbnail_masked(8.0)
        assert low[:16, :16].all()
        assert not low[:, 17:].any()


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (IMAGE[..., 0], {"photometric": "minisblack"}),
        (IMAGE.astype(np.uint16), {}),
        (IMAGE.astype(np.float32), {}),
        (np.dstack([IMAGE, IMAGE[..., :1]]), {"photometric": "separated"}),
        (IMAGE[..., 0], {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}),
        (np.moveaxis(IMAGE, 2, 0), {"planarconfig": "separate"}),
        (IMAGE.astype(np.uint16) << 4, {}),
        (np.concatenate([IMAGE, IMAGE[..., :2]], axis=2), {"extrasamples": ["unspecified"] * 2}),
        (IMAGE[..., :2].copy(), {"photometric": "minisblack", "extrasamples": ["unspecified"]}),
        (IMAGE.astype(np.int8), {}),
    ],
    ids=[
        "grey",
        "16-bit",
        "float",
        "cmyk",
        "palette",
        "planar",
        "12-in-16",
        "5-channel",
        "2-channel",
        "signed",
    ],
)
def test_other_pixels_than_8_bit_rgb(tmp_path: Path, image: np.ndarray, options: dict[str, object]) -> None:
    code, message = told(write_tiff(tmp_path / "a.tif", image, **options))
    assert code == "E-SLIDE-005"
    assert "not 8-bit RGB" in message


@pytest.mark.parametrize("image", [IMAGE[..., 0], IMAGE.astype(np.uint16) * 257], ids=["grey", "16-bit"])
def test_other_png_than_8_bit_rgb(tmp_path: Path, image: np.ndarray) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(image)))
    assert refused(path, 0.5) == "E-SLIDE-005"


def patch_tag(path: Path, name: str, value: int) -> Path:
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags[name].overwrite(value)
    return path


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("ImageWidth", 0, "E-SLIDE-006"),
        ("ImageLength", 0, "E-SLIDE-006"),
        ("ImageWidth", 4_000_000_000, "E-SLIDE-006"),
        ("ImageLength", 60_000, "E-SLIDE-006"),
        ("TileWidth", 60_000, "E-SLIDE-006"),
    ],
)
def test_claims_that_the_file_cannot_hold(tmp_path: Path, name: str, value: int, code: str) -> None:
    path = patch_tag(write_tiff(tmp_path / "a.tif", IMAGE), name, value)
    tracemalloc.start()
    assert refused(path, 0.5) == code
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_a_png_that_claims_too_much(tmp_path: Path) -> None:
    data = bytearray(imagecodecs.png_encode(IMAGE))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path = tmp_path / "a.png"
    path.write_bytes(bytes(data))
    assert refused(path, 0.5) == "E-SLIDE-006"


def test_a_bomb_of_constant_tiles(tmp_path: Path) -> None:
    path = write_tiff(
        tmp_path / "a.tif", np.full((4096, 4096, 3), 240, np.uint8), compression="zstd", tile=(2048, 2048)
    )
    assert refused(path) == "E-SLIDE-006"


def move_tile(path: Path, offset: int) -> Path:
    """Let the second tile of a file begin `offset` bytes after the first."""
    with tifffile.TiffFile(path) as tiff:
        tag, places = tiff.pages[0].tags["TileOffsets"], tiff.pages[0].dataoffsets
        size, order = {4: ("I", 4), 16: ("Q", 8)}[int(tag.dtype)][::-1], tiff.byteorder
    data = bytearray(path.read_bytes())
    struct.pack_into(order + size[1], data, tag.valueoffset + size[0], places[0] + offset)
    path.write_bytes(bytes(data))
    return path


def test_tiles_that_lie_over_one_another(tmp_path: Path) -> None:
    code, message = told(move_tile(write_tiff(tmp_path / "a.tif", IMAGE), 100))
    assert code == "E-SLIDE-002"
    assert "over one another" in message


def flip(data: bytes, at: float) -> bytes:
    changed = bytearray(data)
    changed[int(at * len(data))] ^= 0x10
    return bytes(changed)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_a_flipped_bit_in_a_deflated_tile(tmp_path: Path, at: float) -> None:
    path = write_tiff(tmp_path / "a.tif", IMAGE)
    path.write_bytes(flip(path.read_bytes(), at))
    assert refused(path) in {"E-SLIDE-001", "E-SLIDE-002"}


STRIPES = np.repeat(np.random.default_rng(3).integers(60, 240, (64, 64, 3), dtype=np.uint8), 8, 0).repeat(
    8, 1
)


def _all_missing(path: Path) -> Path:
    write_tiff(path, STRIPES)
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags["TileByteCounts"]
        size = {3: 2, 4: 4, 16: 8}[int(tag.dtype)] * tag.count
    data = bytearray(path.read_bytes())
    data[tag.valueoffset : tag.valueoffset + size] = bytes(size)
    path.write_bytes(bytes(data))
    return path


UNFIT: dict[str, Callable[[Path], Path]] = {
    "one pixel": lambda p: write_tiff(p, IMAGE[:1, :1].copy(), tile=None),
    "white": lambda p: write_tiff(p, np.full((512, 512, 3), 255, np.uint8), compression=None),
    "black": lambda p: write_tiff(p, np.zeros((512, 512, 3), np.uint8), compression=None),
    "grey": lambda p: write_tiff(p, IMAGE[..., 0], photometric="minisblack"),
    "16 bits": lambda p: write_tiff(p, STRIPES.astype(np.uint16) * 257),
    "12 bits in 16": lambda p: write_tiff(p, STRIPES.astype(np.uint16) << 4),
    "float": lambda p: write_tiff(p, STRIPES.astype(np.float32) / 255),
    "CMYK": lambda p: write_tiff(p, np.dstack([255 - STRIPES, STRIPES[..., :1]]), photometric="separated"),
    "transparent": lambda p: write_tiff(
        p, np.dstack([STRIPES, np.zeros((512, 512), np.uint8)]), extrasamples=["unassalpha"]
    ),
    "inverted": lambda p: write_tiff(p, 255 - paint(side=500).image),
    "no tile": _all_missing,
    "noise": lambda p: write_tiff(p, np.random.default_rng(2).integers(0, 256, (512, 512, 3), np.uint8)),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_no_unfit_image_gives_a_number(tmp_path: Path, kind: str) -> None:
    path = UNFIT[kind](tmp_path / "a.tif")
    with pytest.raises(ItemError) as caught:
        quantify_slide(path, "ki67")
    problem = caught.value.problem
    assert problem.severity == "quarantine"
    assert problem.code.startswith("E-SLIDE-")
    assert problem.message
    assert problem.remedy


@pytest.mark.parametrize(
    ("colour", "code"), [(255, "E-SLIDE-007"), (0, "E-SLIDE-008")], ids=["white", "black"]
)
def test_a_slide_without_tissue(tmp_path: Path, colour: int, code: str) -> None:
    flat = np.full((512, 512, 3), colour, np.uint8)
    problems = check_slide(write_tiff(tmp_path / "a.tif", flat, compression=None))
    assert [p.code for p in problems.errors] == [code]


def test_a_pixel(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(IMAGE[:1, :1].copy()))
    with open_slide(path, mpp=0.5) as slide:
        assert slide.shape == (1, 1)
