"""Reduces slide images for a report, within a budget: a module, and a program of its own for many of them.

As a program it reads what to reduce as JSON from standard input and writes the pictures to standard output:
a line of JSON that says how long each is, then their bytes. It needs numpy, OpenCV and imagecodecs only, so
it starts at once: :mod:`pdbiomarker.report.thumbnails` has it at work while this process draws figures.

A JPEG written here holds pixels only: no EXIF, no comment, no name of a file.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import struct
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt

__all__ = ["BUDGET", "Shrunk", "View", "packed", "processors", "shrink", "unpacked", "view_of"]

#: All images of a report together, in bytes of JPEG: a third more in the page, which has to stay below 15 MB.
BUDGET: Final = 5_000_000
_QUALITY: Final = 82
#: Where there are too many images for the budget: more pixels of a lower quality show more than fewer.
_DENSE_QUALITY: Final = 70
_LONGEST: Final = 520
#: A field may be opened large, so it keeps more pixels than an overview.
_NEARER: Final = 1.75
_LIMIT: Final = 64_000_000
_PIXEL_LIMIT: Final = 1 << 26
_SMALLEST: Final = 60
#: So many images of a kind tell what all of them will need.
_SAMPLE: Final = 32
_SPARE: Final = 0.96
_THREADS: Final = 8
_PNG: Final = b"\x89PNG\r\n\x1a\n"

Image = npt.NDArray[np.uint8]
#: JPEG, and its width as a share of the widest of its kind; None for an image that could not be decoded.
type Shrunk = tuple[bytes, float] | None


@dataclasses.dataclass(frozen=True)
class View:
    """A picture: where it lies, its height and width, how many micrometres a pixel is (NaN: not known).

    It is decoded when it is reduced and forgotten then: three hundred slides would fill a gigabyte.
    """

    file: Path
    shape: tuple[int, int]
    um: float


#: Overview and field of one slide.
type Both = tuple[View | None, View | None]


def view_of(path: str | Path | None, um: float) -> View | None:
    """Find an image and its size; None when there is none that can be decoded."""
    if path is None:
        return None
    file = Path(path)
    if not file.is_file() or file.stat().st_size > _LIMIT:
        return None
    with file.open("rb") as opened:
        head = opened.read(24)
    if head.startswith(_PNG) and len(head) == 24:
        width, height = struct.unpack(">II", head[16:])
        return View(file, (height, width), um) if 0 < width * height <= _PIXEL_LIMIT else None
    decoded = _decode(file)
    return None if decoded is None else View(file, decoded.shape[:2], um)


def _decode(file: Path) -> Image | None:
    """Decode an image, red first."""
    data = file.read_bytes()
    if data.startswith(_PNG):
        try:  # about twice as fast
            image = np.asarray(imagecodecs.png_decode(data))
        except imagecodecs.PngError:
            return None
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            return image
    bytes_ = np.frombuffer(data, dtype=np.uint8)
    decoded = cv2.imdecode(bytes_, cv2.IMREAD_COLOR) if bytes_.size else None
    return None if decoded is None else np.asarray(decoded, dtype=np.uint8)[..., ::-1]


def shrink(slides: Sequence[Both], *, threads: int) -> list[tuple[Shrunk, Shrunk]]:
    """Reduce every image so that all together fit the budget; the bytes do not depend on `threads`."""
    with ThreadPoolExecutor(threads) as pool:
        longest, quality, kept = _fitting(slides, pool)
        while True:
            scales = _scales(slides, longest, quality)
            pictures = list(pool.map(functools.partial(_reduced, scales, kept), slides))
            size = sum(len(one[0]) for both in pictures for one in both if one is not None)
            if size <= BUDGET or longest <= _SMALLEST:
                return pictures
            longest = max(_SMALLEST, int(longest * 0.93))  # the part that was tried told too little


def _fitting(slides: Sequence[Both], pool: ThreadPoolExecutor) -> tuple[int, int, dict[View, Image | None]]:
    """The longest side and the quality at which all images fit the budget, as a part of them tells.

    Also gives the images of that part, as they are decoded already.
    """
    kinds = [[v for v, _ in slides if v], [v for _, v in slides if v]]
    tried = [(kind, view) for kind in (0, 1) for view in _spread(kinds[kind])]
    weights = [len(kinds[kind]) / len(_spread(kinds[kind])) for kind, _ in tried]
    budget = BUDGET if max(weights, default=1.0) == 1.0 else _SPARE * BUDGET
    decoded = list(pool.map(_decode, [view.file for _, view in tried]))
    longest, quality = _LONGEST, _QUALITY
    while True:
        scales = _scales(slides, longest, quality)
        encoders = [functools.partial(scales[kind].encode, view) for kind, view in tried]
        made = pool.map(_call, encoders, decoded)
        size = sum(w * len(p[0]) for p, w in zip(made, weights, strict=True) if p is not None)
        if size <= budget or longest <= _SMALLEST:
            return longest, quality, {view: one for (_, view), one in zip(tried, decoded, strict=True)}
        quality = _DENSE_QUALITY
        longest = max(_SMALLEST, int(longest * max(0.5, min(0.95, (budget / size) ** 0.5))))


def _scales(slides: Sequence[Both], longest: int, quality: int) -> tuple[_Scale, _Scale]:
    """The scale of overviews and that of fields."""
    wide = _Scale.fit([v for v, _ in slides if v], longest, quality)
    return wide, _Scale.fit([v for _, v in slides if v], round(_NEARER * longest), quality)


def _reduced(
    scales: tuple[_Scale, _Scale], kept: dict[View, Image | None], both: Both
) -> tuple[Shrunk, Shrunk]:
    """Both pictures of a slide; an image that is not `kept` decoded is decoded here; each is forgotten."""

    def made(view: View | None, scale: _Scale) -> Shrunk:
        if view is None:
            return None
        known = kept.pop(view, None)
        return scale.encode(view, _decode(view.file) if known is None else known)

    return made(both[0], scales[0]), made(both[1], scales[1])


def _call(encoder: Callable[[Image | None], Shrunk], image: Image | None) -> Shrunk:
    return encoder(image)


def _spread(views: Sequence[View]) -> Sequence[View]:
    """Images from first to last, at even distances."""
    if len(views) <= _SAMPLE:
        return views
    return [views[k] for k in np.linspace(0, len(views) - 1, _SAMPLE).round().astype(int)]


def processors() -> int:
    """So many threads can decode at a time: that runs outside Python."""
    return max(1, min(_THREADS, len(os.sched_getaffinity(0))))


@dataclasses.dataclass(frozen=True)
class _Scale:
    """How images of one kind are reduced, and the width of the widest of them.

    Attributes
    ----------
    um : float
        Micrometres per pixel of every image when reduced; NaN: all are reduced by `factor`.
    quality : int
        Of the JPEG.
    """

    um: float
    factor: float
    widest: float
    quality: int

    @classmethod
    def fit(cls, views: Sequence[View], longest: int, quality: int) -> _Scale:
        """Reduce so that no side is longer than `longest` pixels, and none is enlarged."""
        known = bool(views) and all(np.isfinite(v.um) and v.um > 0 for v in views)
        ums = [v.um if known else 1.0 for v in views]
        sides = [max(v.shape) * um for v, um in zip(views, ums, strict=True)]
        target = max([*ums, max(sides, default=1.0) / longest], default=1.0)
        widths = [v.shape[1] * um / target for v, um in zip(views, ums, strict=True)]
        return cls(target if known else np.nan, 1.0 / target, max(widths, default=1.0), quality)

    def encode(self, view: View, image: Image | None) -> Shrunk:
        """Reduce one image and write it as JPEG; None for one that could not be decoded."""
        if image is None:
            return None
        factor = self.factor if np.isnan(self.um) else view.um / self.um
        share = image.shape[1] * factor / self.widest
        if factor < 1:
            size = tuple(max(1, round(side * factor)) for side in (image.shape[1], image.shape[0]))
            whole = np.ascontiguousarray(image)
            image = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        blue_first = np.ascontiguousarray(image[..., ::-1])  # as the encoder wants it: of few pixels by now
        done, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return (bytes(data.tobytes()), min(1.0, share)) if done else None


def packed(slides: Sequence[Both], threads: int) -> bytes:
    """Write what the program has to do."""

    def told(view: View | None) -> list[Any] | None:
        return None if view is None else [str(view.file), *view.shape, view.um]

    return json.dumps({"threads": threads, "slides": [list(map(told, both)) for both in slides]}).encode()


def unpacked(data: bytes) -> list[tuple[Shrunk, Shrunk]]:
    """Read what the program wrote.

    Raises
    ------
    ValueError
        It is not whole.
    """
    first, _, rest = data.partition(b"\n")
    lengths: list[list[tuple[int, float] | None]] = json.loads(first)
    pictures: list[Shrunk] = []
    at = 0
    for one in (one for both in lengths for one in both):
        pictures.append(None if one is None else (rest[at : at + one[0]], one[1]))
        at += 0 if one is None else one[0]
    if at != len(rest):
        raise ValueError(f"{at} bytes of pictures were told, {len(rest)} came")
    return list(zip(pictures[::2], pictures[1::2], strict=True))


def _main() -> None:
    os.nice(15)  # the figures are what takes longest
    asked = json.loads(sys.stdin.buffer.read())

    def view(told: list[Any] | None) -> View | None:
        return None if told is None else View(Path(told[0]), (told[1], told[2]), told[3])

    slides = [(view(wide), view(near)) for wide, near in asked["slides"]]
    made = shrink(slides, threads=asked["threads"])
    lengths = [[None if one is None else (len(one[0]), one[1]) for one in both] for both in made]
    sys.stdout.buffer.write(json.dumps(lengths).encode() + b"\n")
    for one in (one for both in made for one in both):
        sys.stdout.buffer.write(b"" if one is None else one[0])


if __name__ == "__main__":
    _main()
