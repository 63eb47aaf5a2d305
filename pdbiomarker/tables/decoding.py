"""Bytes of a file as text: UTF-8, or the place where they are not."""

from __future__ import annotations

from pdbiomarker.errors import Problems

__all__ = ["decode_text", "line_of"]


def decode_text(data: bytes, problems: Problems, *, file: str, remedy: str) -> str | None:
    r"""Decode UTF-8, without a byte-order mark.

    Parameters
    ----------
    data : bytes
    problems : Problems
        E-FILE-003 is added, with the line, where a byte is no UTF-8.
    file : str
        What the problem calls the file.
    remedy : str
        What to do about it.

    Returns
    -------
    str or None
        None where it is no UTF-8.

    Examples
    --------
    >>> problems = Problems()
    >>> decode_text(b"K\xf6ln", problems, file="a.txt", remedy="Save it as UTF-8.") is None
    True
    >>> print(problems.errors[0].message)
    The file is not UTF-8: byte 1 is 0xF6 ('ö' in Windows-1252 or Latin-1).
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = len(data) - len(error.object) + error.start  # the object is what follows a byte-order mark
        byte = data[at : at + 1]
        guess = byte.decode("cp1252", errors="replace")
        problems.add(
            "E-FILE-003",
            f"The file is not UTF-8: byte {at} is 0x{byte.hex().upper()} "
            f"({guess!r} in Windows-1252 or Latin-1).",
            remedy=remedy,
            file=file,
            row=line_of(data, at),
            value=f"\\x{byte.hex()}",
        )
        return None


def line_of(data: bytes, offset: int) -> int:
    """Give the line of a byte, 1-based, whatever ends the lines."""
    before = data[:offset].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return before.count(b"\n") + 1
