"""What numbers may depend on beside the input: the code, the packages, the machine."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import platform
import re
from pathlib import Path
from typing import Any, Final

from pdbiomarker.hashes import sha256_file, sha256_json

__all__ = ["code_commit", "code_version", "environment", "package_version"]

_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")


def environment() -> dict[str, Any]:
    """Return what the numbers may depend on: package versions, Python, operating system, processor.

    Nothing is imported to find out, and nothing names the user, the host or a path.

    Returns
    -------
    dict
        ``python``, ``implementation``, ``system``, ``machine``, ``cpu``, ``blas`` (the linear algebra that
        numpy was built with) and ``packages`` (name -> version of every installed distribution, sorted).
    """
    packages: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            packages.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _processor(),
        "blas": _blas(),
        "packages": dict(sorted(packages.items())),
    }


def package_version() -> str:
    """Return the installed version of pdbiomarker."""
    return importlib.metadata.version("pdbiomarker")


@functools.cache
def code_version() -> str:
    """Return the version of pdbiomarker with a hash of its code, such as ``0.1.0+code.3fa9c2d1b0aa``.

    Two installations of one release have the same; a checkout that was edited has another, so results made
    before the edit are never taken for those of the code after it.
    """
    package = Path(__file__).resolve().parent
    reference = package / "_reference"
    roots = (package, reference if reference.is_dir() else package.parent / "reference")
    suffixes = (".py", ".yaml", ".csv", ".tsv", ".html", ".css", ".js", ".j2")
    found = {
        f"{root.name.lstrip('_')}/{path.relative_to(root).as_posix()}": path
        for root in roots
        for path in root.rglob("*")
        if path.suffix in suffixes and "_reference" not in path.relative_to(root).parts
    }
    digest = sha256_json({name: sha256_file(path) for name, path in sorted(found.items())})
    return f"{package_version()}+code.{digest[:12]}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor()


def _blas() -> str:
    """Return name and version of numpy's linear algebra, read from its files: importing it takes long."""
    found = importlib.util.find_spec("numpy")
    if found is None or found.origin is None:
        return ""
    try:
        text = (Path(found.origin).parent / "__config__.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    part = re.search(r'"blas":\s*\{(.*?)\}', text, re.DOTALL)
    facts = dict(re.findall(r'"(name|version)":\s*r?"([^"]*)"', part.group(1))) if part else {}
    return " ".join(facts[key] for key in ("name", "version") if key in facts)


@functools.cache
def code_commit() -> str:
    """Return the git commit of the checkout that the code runs from; empty where it is installed.

    Read from the files of git; nothing is started. Whether files were edited since shows in
    :func:`code_version`.
    """
    top = Path(__file__).resolve().parent.parent / ".git"
    try:
        if top.is_file():  # a worktree: the file names its folder
            top = (top.parent / top.read_text(encoding="utf-8").partition("gitdir:")[2].strip()).resolve()
        head = (top / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head if _COMMIT.fullmatch(head) else ""
        common = top / "commondir"
        base = (top / common.read_text(encoding="utf-8").strip()) if common.is_file() else top
        ref = head.removeprefix("ref: ")
        loose = base / ref
        if loose.is_file():
            found = loose.read_text(encoding="utf-8").strip()
            return found if _COMMIT.fullmatch(found) else ""
        packed = (base / "packed-refs").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    line = re.search(rf"^([0-9a-f]{{40,64}}) {re.escape(ref)}$", packed, re.MULTILINE)
    return line.group(1) if line else ""
