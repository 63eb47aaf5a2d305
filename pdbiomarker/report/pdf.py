"""The PDF writer: the page of the HTML report, printed by a browser that reaches no network."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from pdbiomarker.errors import ResourceError
from pdbiomarker.report.privacy import clean

__all__ = ["browser", "render_pdf"]

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SECONDS: Final = 300
_FLAGS: Final = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    # The browser's own header would hold the clock and the path of the file; the pages have ours.
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
    # No name is ever resolved, whatever the page holds.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
#: The browser writes when it printed: replaced by a fixed date of the same length.
_DATES: Final = re.compile(rb"/(CreationDate|ModDate) \(D:\d{14}([^)]*)\)")
_NODES: Final = re.compile(rb"node\d{8}")
#: Of what a browser says on its way out: so many bytes, lines and characters are told.
_MOST_SAID: Final = 20_000
_LAST_LINES: Final = 3
_LONGEST_WORDS: Final = 400
_LOG_HEAD: Final = re.compile(r"^\[[\d:/.]*:?[A-Z]+\d*:[^\]]*\]\s*")
#: Colours of a terminal, and other signs that are not text.
_CONTROLS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def browser() -> str | None:
    """Find Chromium or Chrome on the PATH."""
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def render_pdf(html: str, *, running: str = "", mark: str = "") -> bytes:
    """Print a page of the HTML report to PDF (A4).

    Parameters
    ----------
    html : str
        As from :func:`pdbiomarker.report.html.render_html`.
    running : str
        What stands at the head of every page: the study and its data cut-off.
    mark : str
        What stands at the foot of every page beside its number, such as that the data are simulated.

    Returns
    -------
    bytes
        The same for the same page and browser: the file carries no clock time. Headings are bookmarks, pages
        are numbered, the heads of tables are repeated; what a click would open is open.

    Raises
    ------
    ResourceError
        No Chromium on the PATH, or it did not print.
    """
    program = browser()
    if program is None:
        raise _failed("No Chromium or Chrome was found, which prints the PDF.")
    with tempfile.TemporaryDirectory(prefix="pdbiomarker-pdf-") as folder:
        page, printed = Path(folder) / "review.html", Path(folder) / "review.pdf"
        page.write_text(_for_paper(html, running, mark), encoding="utf-8", newline="\n")
        flags = [*_FLAGS, f"--user-data-dir={folder}/profile", f"--print-to-pdf={printed}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            flags.append("--no-sandbox")  # it refuses to start for root otherwise
        try:
            with _any_address_space():
                done = subprocess.run(
                    [program, *flags, page.as_uri()], capture_output=True, timeout=_SECONDS, check=False
                )
        except subprocess.TimeoutExpired:
            raise _failed(f"The browser did not print within {_SECONDS} s.") from None
        if done.returncode != 0 or not printed.is_file():
            said = _last_words(done.stderr)
            raise _failed(f"The browser did not print (exit {done.returncode}){said}.")
        return _settled(printed.read_bytes())


def _last_words(stderr: bytes) -> str:
    """What the browser said last, in one line: without the heads of its log, folders and repetition.

    Lines of its log begin ``[pid:thread:date/time:LEVEL:source.cc:line]``.
    """
    text = _CONTROLS.sub("", stderr[-_MOST_SAID:].decode("utf-8", "replace"))
    lines = dict.fromkeys(" ".join(clean(_LOG_HEAD.sub("", one)).split()) for one in text.splitlines())
    told = " | ".join([one.rstrip(".") for one in lines if one][-_LAST_LINES:])
    return f"; its last words: {told[-_LONGEST_WORDS:]}" if told else ", and said nothing"


@contextlib.contextmanager
def _any_address_space() -> Iterator[None]:
    """Lift a limit of address space while the browser starts: it reserves far more than it ever uses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _for_paper(html: str, running: str, mark: str) -> str:
    """Add the style of pages to a page."""
    style = (resources.files("pdbiomarker.report") / "templates" / "print.css").read_text(encoding="utf-8")
    style = style.replace("%RUNNING%", _css_text(running)).replace("%MARK%", _css_text(mark))
    text = f"@media print {{\n{style}}}"
    allowed = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    page = html.replace("style-src ", f"style-src 'sha256-{allowed}' ", 1)
    return page.replace("</head>", f"<style>{text}</style>\n</head>", 1)


def _css_text(text: str) -> str:
    """Write a text as a string of a style sheet: every sign but letters, digits and spaces as its number."""
    told = "".join(c if c.isascii() and (c.isalnum() or c == " ") else f"\\{ord(c):06x} " for c in text)
    return f'"{told}"'


def _settled(data: bytes) -> bytes:
    """Take out what differs between two prints of a page: the clock, and where a counter stood."""
    nodes = sorted(set(_NODES.findall(data)))
    rank = {node: b"node%08d" % place for place, node in enumerate(nodes)}
    return _DATES.sub(rb"/\1 (D:20000101000000\2)", _NODES.sub(lambda found: rank[found.group()], data))


def _failed(message: str) -> ResourceError:
    return ResourceError(
        f"E-RUN-007 {message} Remedy: install Chromium (Debian: apt-get install chromium), or ask for the "
        "other formats; review.html printed from any browser gives the same pages."
    )
