"""Bad and odd slides and masks."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from bad_inputs.case import At, Case, Expect, handled, left_out, refused, told
from bad_inputs.seeds import one
from pictures import write_tiff
from scipy.ndimage import gaussian_filter
from small_study import draw_slide

SIDE, TILE = 512, 128


@cache
def field() -> np.ndarray:
    """Tissue with blue and brown nuclei between glass: what a sound slide shows."""
    with tempfile.TemporaryDirectory() as name:
        drawn = tifffile.imread(draw_slide(Path(name) / "a.tif", seed=1, positive=36))
    return np.pad(drawn, ((0, SIDE - 300), (0, SIDE - 300), (0, 0)), mode="reflect")


def _tiff(image: Callable[[], np.ndarray] = field, harm: Callable[[Path], None] | None = None, name: str = "a.tif", **options: Any) -> Callable[[Path], Path]:  # fmt: skip
    def make(folder: Path) -> Path:
        path = write_tiff(folder / name, image(), **{"tile": (TILE, TILE), **options})
        if harm is not None:
            harm(path)
        return path

    return make


def _tag(name: str, value: int) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        with tifffile.TiffFile(path, mode="r+b") as tiff:
            tiff.pages[0].tags[name].overwrite(value)

    return harm


def _cut(share: float) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])

    return harm


def _flip(share: float) -> Callable[[Path], None]:
    """One bit of the pixels' part of the file."""

    def harm(path: Path) -> None:
        with tifffile.TiffFile(path) as tiff:
            first, last = tiff.pages[0].dataoffsets[0], tiff.pages[0].dataoffsets[-1]
        data = bytearray(path.read_bytes())
        data[int(first + share * (last - first))] ^= 0x10
        path.write_bytes(bytes(data))

    return harm


def _in_tags(names: tuple[str, ...], index: int, value: int) -> Callable[[Path], None]:
    """Write a value into one element of tags that are arrays."""

    def harm(path: Path) -> None:
        with tifffile.TiffFile(path) as tiff:
            order = tiff.byteorder
            places = [(tiff.pages[0].tags[n].valueoffset, int(tiff.pages[0].tags[n].dtype)) for n in names]
        data = bytearray(path.read_bytes())
        for offset, kind in places:
            code, size = {3: ("H", 2), 4: ("I", 4), 16: ("Q", 8)}[kind]
            struct.pack_into(order + code, data, offset + index * size, value)
        path.write_bytes(bytes(data))

    return harm


def _jpeg_zeroed(path: Path) -> None:
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[5], tiff.pages[0].databytecounts[5]
    data = bytearray(path.read_bytes())
    data[offset + count // 2 : offset + count] = bytes(count - count // 2)
    path.write_bytes(bytes(data))


def _jpeg_middle(path: Path) -> None:
    """The middle half of one tile's bytes is 0: its end marker stays."""
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[5], tiff.pages[0].databytecounts[5]
    data = bytearray(path.read_bytes())
    data[offset + count // 4 : offset + 3 * count // 4] = bytes(3 * count // 4 - count // 4)
    path.write_bytes(bytes(data))


def _jpeg_swapped(path: Path) -> None:
    """Two chunks of one tile's scan change places."""
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[5], tiff.pages[0].databytecounts[5]
    data = bytearray(path.read_bytes())
    a, b, size = offset + count // 2, offset + 3 * count // 4, count // 16
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    path.write_bytes(bytes(data))


def _ome(**changes: str) -> bytes:
    keys = {"SizeX": str(SIDE), "SizeY": str(SIDE), "SizeZ": "1", "SizeC": "3", "SizeT": "1"}
    keys |= {"PhysicalSizeX": "0.5", "PhysicalSizeY": "0.5"} | changes
    pixels = " ".join(f'{key}="{value}"' for key, value in keys.items())
    space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return f'<OME xmlns="{space}"><Image ID="Image:0"><Pixels {pixels}/></Image></OME>'.encode()


def _ome_tiff(xml: bytes) -> Callable[[Path], Path]:
    return _tiff(name="a.ome.tif", mpp=None, description=xml, metadata=None)


def _two_images(folder: Path) -> Path:
    path = folder / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        for image in (field(), field()[::-1].copy()):
            tiff.write(image, photometric="rgb", tile=(TILE, TILE), compression="zlib", resolution=(20000, 20000), resolutionunit="CENTIMETER", metadata=None)  # fmt: skip
    return path


def _two_claims(folder: Path) -> Path:
    """A directory that points to itself."""
    path = _tiff()(folder)
    data = bytearray(path.read_bytes())
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    struct.pack_into(order + "I", data, at + 2 + 12 * count, at)
    path.write_bytes(bytes(data))
    return path


def _png(image: np.ndarray | None = None, harm: Callable[[bytearray], None] | None = None) -> Callable[[Path], Path]:  # fmt: skip
    def make(folder: Path) -> Path:
        data = bytearray(imagecodecs.png_encode(field() if image is None else image))
        if harm is not None:
            harm(data)
        (folder / "a.png").write_bytes(bytes(data))
        return folder / "a.png"

    return make


def _png_claims(data: bytearray) -> None:
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))


def _png_bit(data: bytearray) -> None:
    data[len(data) // 2] ^= 0x10


def _header_of_37_gb(folder: Path) -> Path:
    """A TIFF of a few hundred bytes that claims 110,000 x 110,000 px in one strip."""
    tags = [(256, 4, 1, 110_000), (257, 4, 1, 110_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, 1, 8), (277, 3, 1, 3), (278, 4, 1, 110_000), (279, 4, 1, 400)]  # fmt: skip
    data = b"II*\x00" + struct.pack("<I", 408) + bytes(400) + struct.pack("<H", len(tags))
    data += b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    (folder / "a.tif").write_bytes(data)
    return folder / "a.tif"


def _many_pages(folder: Path) -> Path:
    path = folder / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        for _ in range(600):
            tiff.write(np.zeros((4, 4, 3), np.uint8), photometric="rgb", metadata=None)
    return path


def _tag_of_2_gb(folder: Path) -> Path:
    """TileOffsets claims 500 million entries."""
    path = _tiff()(folder)
    data = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for k in range(count):
        if struct.unpack_from("<H", data, at + 2 + 12 * k)[0] == 324:
            struct.pack_into("<I", data, at + 2 + 12 * k + 4, 500_000_000)
    path.write_bytes(bytes(data))
    return path


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.tif")
    return folder / "a.tif"


def _nodata(result: Any) -> float:
    return float(result.qc["nodata_share"])


def _blurred() -> np.ndarray:
    return np.rint(gaussian_filter(field().astype(float), (6, 6, 0))).astype(np.uint8)


def _alpha(value: int) -> Callable[[], np.ndarray]:
    return lambda: np.dstack([field(), np.full((SIDE, SIDE), value, np.uint8)])


def _slides() -> list[Case]:
    def case(what: str, trust: str, how: str, make: Any, expect: Expect, reader: str = "slide", waits: str = "") -> Case:  # fmt: skip
        return Case(f"slide/{what}", reader, how, make, expect, trust, waits)

    def no(code: str, value: str = "") -> Expect:
        return refused(At(code, "", value))

    jpeg = {"compression": "jpeg", "compressionargs": {"level": 90}}
    colours = [
        ("16 bit", "uint16", _tiff(lambda: field().astype(np.uint16) * 257)),
        ("12 in 16 bit", "12 bits in 16", _tiff(lambda: field().astype(np.uint16) << 4)),
        ("float", "float32 from 0 to 1", _tiff(lambda: field().astype(np.float32) / 255)),
        ("CMYK", "four inks", _tiff(lambda: np.dstack([255 - field(), field()[..., :1]]), photometric="separated")),
        ("grey", "one channel", _tiff(lambda: field()[..., 0], photometric="minisblack")),
        ("palette", "colours by table", _tiff(lambda: field()[..., 0], photometric="palette", colormap=np.zeros((3, 256), np.uint16))),
        ("alpha 0", "wholly transparent", _tiff(_alpha(0), extrasamples=["unassalpha"])),
        ("5 channels", "five channels", _tiff(lambda: np.concatenate([field(), field()[..., :2]], axis=2), extrasamples=["unspecified"] * 2)),
        ("planes apart", "red, green and blue one after the other", _tiff(lambda: np.moveaxis(field(), 2, 0).copy(), planarconfig="separate")),
        ("turned", "orientation 6", _tiff(extratags=[(274, "H", 1, 6, True)])),
        ("PNG of 16 bit", "uint16 in PNG", _png(np.ascontiguousarray(field().astype(np.uint16) * 257))),
        ("PNG of grey", "one channel in PNG", _png(np.ascontiguousarray(field()[..., 0]))),
    ]  # fmt: skip
    cases = [case(what, "35", how, make, no("E-SLIDE-005")) for what, how, make in colours]
    cases += [
        case("sound", "", "a field with tissue", _tiff(), handled(lambda v: v, None, "no problem is told")),
        case("alpha 255", "35", "an opaque fourth channel", _tiff(_alpha(255), extrasamples=["unassalpha"]), handled(lambda v: v, None, "no problem is told")),
        case("big endian BigTIFF", "", "the other byte order, 64-bit offsets", _tiff(bigtiff=True, byteorder=">"), handled(lambda v: v, None, "no problem is told")),
        case("inverted", "35", "white is black", _tiff(lambda: 255 - field()), no("E-SLIDE-008")),
        case("BGR", "35", "red and blue exchanged", _tiff(lambda: np.ascontiguousarray(field()[..., ::-1])), no("E-SLIDE-013")),
        case("missing tile", "31", "one of 16 tiles has no bytes", _tiff(harm=_in_tags(("TileOffsets", "TileByteCounts"), 5, 0)), told(At("E-SLIDE-012"))),
        case("missing tile, measured", "31", "one of 16 tiles has no bytes", _tiff(harm=_in_tags(("TileOffsets", "TileByteCounts"), 5, 0)), told(At("E-SLIDE-012"), get=lambda r: round(_nodata(r), 2), want=0.06, oracle="1 / 16 of the slide"), "slide, measured"),
        case("black tile, measured", "31", "one of 16 tiles is black, as a reader fills it", _tiff(_black_tile), told(At("E-SLIDE-012"), get=lambda r: 0.06 <= _nodata(r) <= 0.08, want=True, oracle="1 / 16 of the slide, and its rim"), "slide, measured"),
        case("JPEG tile zeroed to its end", "32", "the second half of one tile is 0", _tiff(harm=_jpeg_zeroed, **jpeg), no("E-SLIDE-002")),
        case("JPEG tile zeroed inside", "32", "the middle of one tile is 0, its end is there", _tiff(harm=_jpeg_middle, **jpeg), no("E-SLIDE-002")),
        case("JPEG tile with parts exchanged", "32", "two chunks of one tile change places", _tiff(harm=_jpeg_swapped, **jpeg), no("E-SLIDE-002")),
        *(case(f"cut at {share:.0%}", "33", f"the first {share:.0%} of the file", _tiff(harm=_cut(share)), no("E-SLIDE-002")) for share in (0.3, 0.6, 0.95)),
        case("cut at 4 bytes", "33", "nothing but the magic", _tiff(harm=lambda p: p.write_bytes(b"II*\x00")), no("E-SLIDE-001")),
        *(case(f"bit at {share:.0%}", "33", "one bit of a deflated tile", _tiff(harm=_flip(share)), no("E-SLIDE-002")) for share in (0.2, 0.5, 0.8)),
        case("tile beyond the end", "33", "an offset beyond the file", _tiff(harm=_in_tags(("TileOffsets",), 3, 1 << 30)), no("E-SLIDE-002")),
        case("tiles over one another", "33", "a tile begins inside another", _overlapping, no("E-SLIDE-002")),
        case("0 px wide", "33", "ImageWidth 0", _tiff(harm=_tag("ImageWidth", 0)), no("E-SLIDE-006")),
        case("0 px high", "33", "ImageLength 0", _tiff(harm=_tag("ImageLength", 0)), no("E-SLIDE-006")),
        case("4 billion px wide", "34", "ImageWidth 4e9", _tiff(harm=_tag("ImageWidth", 4_000_000_000)), no("E-SLIDE-006")),
        case("tiles of 60,000 px", "34", "TileWidth 60,000", _tiff(harm=_tag("TileWidth", 60_000)), no("E-SLIDE-006")),
        case("37 GB in 500 bytes", "34", "110,000 x 110,000 px in one strip of 400 bytes", _header_of_37_gb, refused(At("E-SLIDE-002"))),
        case("500 million tiles", "34", "TileOffsets claims 500 million entries", _tag_of_2_gb, no("E-SLIDE-006")),
        case("600 pages", "34", "600 directories", _many_pages, no("E-SLIDE-006")),
        case("bomb of constant tiles", "34", "4096 x 4096 px of one colour in few bytes", _tiff(lambda: np.full((4096, 4096, 3), 240, np.uint8), compression="zstd", tile=(2048, 2048)), no("E-SLIDE-006")),
        case("a directory that is its own next", "34", "a loop of directories", _two_claims, no("E-SLIDE-006")),
        case("PNG that claims 60,000 px", "34", "a header of 60,000 x 60,000", _png(harm=_png_claims), no("E-SLIDE-006")),
        case("PNG with a flipped bit", "33", "one bit", _png(harm=_png_bit), no("E-SLIDE-002")),
        case("no size of a pixel", "36", "no resolution", _tiff(mpp=None), no("E-SLIDE-003")),
        case("PNG without size of a pixel", "36", "no resolution, and no way to state one", _png(), no("E-SLIDE-003")),
        case("72 dpi", "36", "a printer's resolution", _tiff(mpp=None, resolution=(72, 72), resolutionunit="INCH"), no("E-SLIDE-003")),
        case("pixel of 0", "36", "PhysicalSizeX 0", _ome_tiff(_ome(PhysicalSizeX="0", PhysicalSizeY="0")), no("E-SLIDE-010")),
        case("pixel of NaN", "36", "PhysicalSizeX nan", _ome_tiff(_ome(PhysicalSizeX="nan", PhysicalSizeY="nan")), no("E-SLIDE-003")),
        case("pixel of 25 um", "36", "PhysicalSizeX 25", _ome_tiff(_ome(PhysicalSizeX="25", PhysicalSizeY="25")), no("E-SLIDE-010")),
        case("pixel in pixels", "36", "unit: pixel", _ome_tiff(_ome(PhysicalSizeXUnit="pixel")), no("E-SLIDE-003")),
        case("not square", "36", "0.5 x 0.6 um", _tiff(mpp=None, resolution=(1e4 / 0.5, 1e4 / 0.6), resolutionunit="CENTIMETER"), no("E-SLIDE-010")),
        case("a billion planes", "34", "SizeZ 10^9 in OME-XML", _ome_tiff(_ome(SizeZ="1000000000")), no("E-SLIDE-006")),
        case("planes of text", "34", "SizeZ many", _ome_tiff(_ome(SizeZ="many")), no("E-SLIDE-006")),
        case("another width in OME", "34", "SizeX 99999", _ome_tiff(_ome(SizeX="99999")), no("E-SLIDE-006")),
        case("entities in OME", "12", "a document type with entities", _ome_tiff(b'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><OME>&b;</OME>'), no("E-SLIDE-001")),
        case("external entity in OME", "12", "an entity of /etc/hostname", _ome_tiff(b'<!DOCTYPE OME [<!ENTITY a SYSTEM "file:///etc/hostname">]><OME>&a;</OME>'), no("E-SLIDE-001")),
        case("white", "37", "glass alone", _tiff(lambda: np.full((SIDE, SIDE, 3), 255, np.uint8), compression=None), no("E-SLIDE-007")),
        case("black", "37", "black alone", _tiff(lambda: np.zeros((SIDE, SIDE, 3), np.uint8), compression=None), no("E-SLIDE-008")),
        case("noise", "37", "no tissue but noise", _tiff(lambda: np.random.default_rng(2).integers(0, 256, (SIDE, SIDE, 3), np.uint8)), refused(At("E-SLIDE-007"), beside=("E-SLIDE-008",))),
        case("1 px", "37", "a single pixel", _tiff(lambda: field()[:1, :1].copy(), tile=None), refused(At("E-SLIDE-007"), beside=("E-SLIDE-008",))),
        case("blurred", "37", "out of focus by 3 um", _tiff(_blurred), left_out(At("E-SLIDE-014", "", "100 %")), "slide, measured"),
        case("two main images", "37", "two images of one size", _two_images, no("E-SLIDE-006")),
        case("a device", "39", "/dev/zero", lambda _f: Path("/dev/zero"), no("E-FILE-002")),
        case("a pipe", "39", "a named pipe", _pipe, no("E-FILE-002")),
        case("an empty folder", "39", "a folder without DICOM", lambda folder: folder, no("E-FILE-002")),
        case("an address", "39", "https://...", lambda _f: Path("https://example.org/a.svs"), no("E-FILE-002")),
        case("missing", "", "no such file", lambda folder: folder / "a.svs", no("E-FILE-001")),
        case("empty", "23", "no byte", one("a.svs", b""), no("E-FILE-004")),
        case("text as SVS", "22", "a text under the name", one("a.svs", "not a slide"), no("E-SLIDE-001")),
        case("pickle as TIFF", "5", "a pickle under the name", one("a.tif", b"\x80\x04cposix\nsystem\n."), no("E-SLIDE-001")),
        case("DICOM's magic alone", "33", "128 zeros and DICM", one("a.dcm", bytes(128) + b"DICM"), no("E-SLIDE-001")),
        case("BMP", "22", "a format that is not read", one("a.bmp", b"BM" + bytes(60)), no("E-SLIDE-001")),
        case("JPEG cut short", "33", "half of a JPEG", _jpeg_file, no("E-SLIDE-002")),
    ]  # fmt: skip
    return cases


def _black_tile() -> np.ndarray:
    image = field().copy()
    image[TILE : 2 * TILE, TILE : 2 * TILE] = 0
    return image


def _overlapping(folder: Path) -> Path:
    path = _tiff()(folder)
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0].dataoffsets[0]
    _in_tags(("TileOffsets",), 1, first + 40)(path)
    return path


def _jpeg_file(folder: Path) -> Path:
    data = imagecodecs.jpeg8_encode(field(), level=90)
    (folder / "a.jpg").write_bytes(data[: len(data) // 2])
    return folder / "a.jpg"


def _masks() -> list[Case]:
    def case(what: str, trust: str, how: str, data: Any, expect: Expect, name: str = "s.mask.png") -> Case:
        return Case(f"mask/{what}", "mask", how, one(name, data), expect, trust)

    half = np.zeros((300, 300), np.uint8)
    half[:, :150] = 1
    no = left_out(At("E-REGION-006", "s.mask.png", "", "s.mask"))
    sound = bytes(imagecodecs.png_encode(half))
    return [
        case("sound", "29", "half of the slide is tumour", sound, handled(lambda m: round(m.areas_mm2(0.5)["nest"], 9) if "nest" in m.areas_mm2(0.5) else float(m.tumour.mean()), 0.5, "half of the pixels")),
        case("another shape", "29", "300 x 200 for a slide of 300 x 300", bytes(imagecodecs.png_encode(half[:200])), no),
        case("values 0, 7, 9", "29", "codes that mean nothing", bytes(imagecodecs.png_encode((half * 7 + (np.arange(300) % 2 * 2).astype(np.uint8)).astype(np.uint8))), no),
        case("colour", "35", "three channels", bytes(imagecodecs.png_encode(np.dstack([half] * 3))), no),
        case("16 bit", "35", "uint16", bytes(imagecodecs.png_encode(half.astype(np.uint16))), no),
        case("cut short", "33", "half of the file", sound[: len(sound) // 2], no),
        case("a flipped bit", "33", "one bit of the pixels", sound[:60] + bytes([sound[60] ^ 16]) + sound[61:], no),
        case("claims 60,000 px", "34", "a header of 60,000 x 60,000", _claiming(sound), no),
        case("no PNG", "22", "a text under the name", b"text", no),
        case("empty", "23", "no byte", b"", no),
        case("TIFF cut short", "33", "a TIFF's magic alone", b"II*\x00\x08\x00\x00\x00", left_out(At("E-REGION-006", "s.mask.tif", "", "s.mask")), "s.mask.tif"),
    ]  # fmt: skip


def _claiming(data: bytes) -> bytes:
    changed = bytearray(data)
    _png_claims(changed)
    return bytes(changed)


CASES = [*_slides(), *_masks()]
