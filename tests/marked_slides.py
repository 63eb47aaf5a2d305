"""Slides with the name of a person wherever a file can hold one: tags, label, macro, EXIF, XMP, ICC."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

MARK = "Jane Doe MRN 12345"
_TEXT_TAGS = (
    269,
    271,
    272,
    285,
    305,
    315,
    316,
    33432,
    65000,
)
_BYTE_TAGS = (700, 33723, 34377, 37724, 50341)  # XMP, IPTC, Photoshop, layers


def profile() -> bytes:
    """A colour profile whose description, maker and copyright name the person."""
    text = b"text" + bytes(4) + MARK.encode() + b"\0"
    desc = b"desc" + bytes(4) + struct.pack(">I", len(MARK) + 1) + MARK.encode() + b"\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    parts = [(b"cprt", text), (b"desc", desc), (b"dmnd", desc), (b"wtpt", white), (b"zzzz", text)]
    at, table, body = 132 + 12 * len(parts), b"", b""
    for name, data in parts:
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = bytearray(128)
    head[0:4] = struct.pack(">I", at + len(body))
    head[12:24] = b"mntrRGB XYZ "
    head[36:40] = b"acsp"
    head[80:84] = b"Jane"
    return bytes(head) + struct.pack(">I", len(parts)) + table + body


def marked_jpeg(tile: NDArray[np.uint8]) -> bytes:
    """A JPEG tile with EXIF, XMP, a comment, and a text after its end."""
    plain = imagecodecs.jpeg8_encode(np.ascontiguousarray(tile), level=95)
    mark = MARK.encode()
    extra = b"".join(
        b"\xff" + bytes([code]) + struct.pack(">H", len(data) + 2) + data
        for code, data in (
            (0xE1, b"Exif\0\0" + mark),
            (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + mark),
            (0xFE, mark),
        )
    )
    return bytes(plain[:2] + extra + plain[2:] + mark[:8])  # a reader allows for a few bytes


def _tags() -> list[tuple[Any, ...]]:
    mark = MARK.encode()
    return [(code, "s", 0, MARK, True) for code in _TEXT_TAGS] + [
        (code, "B", len(mark), mark, True) for code in _BYTE_TAGS
    ]


def _picture() -> NDArray[np.uint8]:
    """Pixels whose bytes are the name: what a label would show."""
    row = np.frombuffer((MARK * 20).encode()[:300], np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row.reshape(1, 100, 3), (80, 100, 3)))


def write_svs(path: Path, image: NDArray[np.uint8], *, mpp: float = 0.5, jpeg: bool = False) -> Path:
    """A slide as Aperio writes it: thumbnail, a level, label, macro; with `jpeg` its tiles hold comments."""
    words = f"Patient = {MARK}|MRN = {MARK}|Filename = {MARK}|Barcode = {MARK}|Date = 03/04/1985"
    description = f"Aperio Image Library v12.0.15\r\n{MARK}|AppMag = 20|MPP = {mpp}|{words}"
    small = np.ascontiguousarray(image[::4, ::4])
    with tifffile.TiffWriter(path) as tiff:

        def level(pixels: NDArray[np.uint8], **options: Any) -> None:
            data: Any = pixels
            if jpeg:
                height, width = pixels.shape[:2]
                wide = np.pad(pixels, ((0, -height % 128), (0, -width % 128), (0, 0)), mode="edge")
                data = (
                    marked_jpeg(wide[y : y + 128, x : x + 128])
                    for y in range(0, height, 128)
                    for x in range(0, width, 128)
                )
            tiff.write(
                data,
                shape=pixels.shape,
                dtype=np.uint8,
                tile=(128, 128),
                photometric="ycbcr" if jpeg else "rgb",
                compression="jpeg" if jpeg else "deflate",
                description=description,
                software=MARK,
                datetime="1985:04:03 01:02:03",
                extratags=_tags(),
                iccprofile=profile(),
                metadata=None,
                **options,
            )

        level(image)
        tiff.write(small, photometric="rgb", description=description, metadata=None)
        level(small)
        for kind, flag in (("label", 1), ("macro", 9)):
            said = f"Aperio Image Library\r\n{kind} 100x80 {MARK}"
            tiff.write(_picture(), photometric="rgb", description=said, subfiletype=flag, metadata=None)
    with path.open("ab") as stream:
        stream.write(MARK.encode())  # after the last directory
    return path


def write_ome(path: Path, image: NDArray[np.uint8], *, mpp: float = 0.5) -> Path:
    """An OME-TIFF whose XML names the person, with a level in a sub-directory and a label behind it."""
    height, width = image.shape[:2]
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:00000000-0000-0000-0000-000000000001" Creator="{MARK}">'
        f'<Experimenter ID="Experimenter:0" FirstName="{MARK}" LastName="{MARK}" Email="{MARK}"/>'
        '<Instrument ID="Instrument:0"><Objective ID="Objective:0" NominalMagnification="20.0" '
        f'SerialNumber="{MARK}"/></Instrument><Image ID="Image:0" Name="{MARK}">'
        f"<AcquisitionDate>1985-04-03T01:02:03</AcquisitionDate><Description>{MARK}</Description>"
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="{width}" SizeY="{height}" '
        f'SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="{mpp}" PhysicalSizeXUnit="um" '
        f'PhysicalSizeY="{mpp}" PhysicalSizeYUnit="um"><Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
        '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image>'
        f"<StructuredAnnotations><CommentAnnotation ID='A:0'><Value>{MARK}</Value></CommentAnnotation>"
        "</StructuredAnnotations></OME>"
    )
    options: dict[str, Any] = {"photometric": "rgb", "tile": (128, 128), "compression": "deflate"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(
            image,
            subifds=1,
            description=xml.encode(),
            metadata=None,
            software=MARK,
            extratags=_tags(),
            iccprofile=profile(),
            **options,
        )
        tiff.write(np.ascontiguousarray(image[::2, ::2]), subfiletype=1, metadata=None, **options)
        tiff.write(_picture(), photometric="rgb", description=MARK, metadata=None)
    return path


def write_plain(path: Path, image: NDArray[np.uint8], *, mpp: float = 0.5) -> Path:
    """A tiled TIFF whose size stands in its resolution tags."""
    tifffile.imwrite(
        path,
        image,
        photometric="rgb",
        tile=(128, 128),
        compression="lzw",
        predictor=True,
        resolution=(1e4 / mpp, 1e4 / mpp),
        resolutionunit="CENTIMETER",
        description=MARK,
        software=MARK,
        extratags=_tags(),
        metadata=None,
    )
    return path
