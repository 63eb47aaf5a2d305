"""Where results come from: hashes, versions, whole files, completeness records, the manifest.

Everything here works without a heavy import, so that the command line can check, lock and verify a
folder in a fraction of a second.

A results folder is made of *steps*. A step has a key, the hash of everything its outputs depend on; when
its outputs are whole on the disk, a record ``.done/<step>.json`` with the key and the sha256 of each
output is written beside them. A step is complete when its record has the same key and every output still
has its hash: a file that was deleted, cut short or edited is made again.

``manifest.json`` lists what a run read and made. Only its ``run`` part (times, command) differs between
two runs on the same input.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import fcntl
import json
import os
import re
import signal
import socket
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pdbiomarker.audit import AUDIT, HEAD
from pdbiomarker.audit import append as append_event
from pdbiomarker.audit import read as read_log
from pdbiomarker.errors import FolderInUseError, Problems, ResourceError, StudyError
from pdbiomarker.hashes import canonical_json, now_utc, sha256_file, sha256_json, sha256_text
from pdbiomarker.versions import code_commit, code_version, environment, package_version
from pdbiomarker.whole_files import PARTIAL_PREFIX, atomic_path, remove_partial_files, write_text

__all__ = [
    "PARTIAL_PREFIX",
    "FolderLock",
    "Manifest",
    "StepRecord",
    "atomic_path",
    "canonical_json",
    "code_commit",
    "code_version",
    "completed",
    "environment",
    "is_complete",
    "mark_done",
    "now_utc",
    "package_version",
    "read_manifest",
    "relative_name",
    "remove_partial_files",
    "sha256_file",
    "sha256_json",
    "sha256_text",
    "slug",
    "write_manifest",
    "write_text",
]

DONE: Final = ".done"
LOCK: Final = ".lock"
#: What steps that work side by side tell of themselves, while they work.
JOBS: Final = ".jobs"
MANIFEST: Final = "manifest.json"
MANIFEST_FORMAT: Final = "pdbiomarker-manifest-1"
_SWEEP_SECONDS: Final = 0.3
_SLUG_LENGTH: Final = 60
_STEP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

#: Names that Windows and network drives keep for devices.
_RESERVED: Final = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10))]
)


# --- names ---------------------------------------------------------------------------------------------


def slug(name: str, taken: Iterable[str] = ()) -> str:
    """Return a safe name for a folder or file, made from an id.

    The result holds only ``a-z A-Z 0-9 . _ -``, starts with a letter or digit, is at most 60 characters
    long, is no device name of Windows, and differs from those in `taken` also on a disk that ignores
    case. An id that is safe and free stays as it is; any other gets the first eight digits of its sha256,
    so that two ids never share a name.

    Parameters
    ----------
    name : str
        The id, any text.
    taken : iterable of str
        Names already given in the same folder.

    Examples
    --------
    >>> slug("P01-C2D1")
    'P01-C2D1'
    >>> slug("../../x").startswith("x-")
    True
    """
    used = {other.casefold() for other in taken}
    ascii_text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", ascii_text).lstrip("._-").rstrip(".")[:_SLUG_LENGTH]
    reserved = safe.split(".")[0].casefold() in _RESERVED
    if safe and safe == name and not reserved and safe.casefold() not in used:
        return safe
    stem = (f"x{safe}" if reserved else safe or "x")[: _SLUG_LENGTH - 9]
    digest = sha256_text(name)
    for length in range(8, len(digest) + 1):
        candidate = f"{stem}-{digest[:length]}"
        if candidate.casefold() not in used:
            return candidate
    raise ValueError(f"the id {name!r} was given a folder before")


# --- one run per folder --------------------------------------------------------------------------------


class FolderLock:
    """Hold a results folder for one run.

    The lock is the kernel's lock on ``<folder>/.lock``; the file tells who holds it (host, process id,
    start of the process, since when). The kernel lets go when the process ends, however it ends, so the lock
    of a run that was killed on this host is taken over and no file has to be removed by hand. The kernel
    knows nothing of other hosts where a network drive does not tell it: the lock of another host stands
    until it is removed. Steps of a run that work side by side share the lock: any number of them holds it at
    a time, on any hosts, and none beside a holder that does not share.

    Parameters
    ----------
    folder : str or Path
        An existing folder.
    shared : bool
        Hold it beside others that share it.
    wait : float
        Seconds to wait for another process to let go of it.

    Raises
    ------
    FolderInUseError
        On entering: E-RUN-002, another process holds the folder, or the lock file belongs to another user;
        E-RUN-050, a run on another host left its lock, or goes on there.
    """

    def __init__(self, folder: str | Path, *, shared: bool = False, wait: float = 0.0) -> None:
        self._path = Path(folder) / LOCK
        self._wait = max(wait, _SWEEP_SECONDS)  # it may be held for the moment in which its file is removed
        self._how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        end = time.monotonic() + self._wait
        try:
            while self._descriptor is None:
                with _signals_held():  # one between making and keeping would leave the file
                    holder = self._acquire()
                if self._descriptor is None:
                    self._wait_or_refuse(end, holder)
        except BaseException:
            self._release()
            raise
        return self

    def _wait_or_refuse(self, end: float, holder: str) -> None:
        if time.monotonic() > end:
            raise FolderInUseError(
                f"E-RUN-002 {self._path.parent}: another run is using the folder ({_holder(holder)}). "
                "Remedy: wait until it has ended, or give another folder to -o."
            )
        time.sleep(_SWEEP_SECONDS / 10)

    def _acquire(self) -> str:
        """Take the lock if nobody holds it; else give what the lock says of who does."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, self._how | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 4096).decode("utf-8", "replace")
            os.close(descriptor)
            return holder
        except OSError as error:
            os.close(descriptor)
            raise ResourceError(
                f"E-RUN-043 {self._path.parent}: the file system cannot lock files ({error.strerror}). "
                "Remedy: give a folder on another disk to -o, or have it mounted with flock."
            ) from error
        self._check_host(descriptor)
        if not _same_file(self._path, descriptor):  # the run before removed its lock between our two calls
            os.close(descriptor)
            return ""
        self._descriptor = descriptor
        owner: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "start": process_start(os.getpid()),
            "since": now_utc(),
        }
        if self._how == fcntl.LOCK_SH:
            owner = {"shared": "steps of a run", "since": now_utc()}  # of no host: .jobs names each holder
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, canonical_json(owner).encode("utf-8"))
        return ""

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except PermissionError:
            owner = f"user {self._path.stat().st_uid}" if self._path.exists() else "another user"
            raise FolderInUseError(
                f"E-RUN-002 {self._path}: the lock belongs to {owner} and cannot be opened. "
                "Remedy: ask them whether their run has ended, or give another folder to -o."
            ) from None

    def _check_host(self, descriptor: int) -> None:
        """Refuse the lock of another host: whether its run goes on cannot be seen from here."""
        text = os.pread(descriptor, 4096, 0).decode("utf-8", "replace")
        try:
            host = str(json.loads(text)["host"])
        except (ValueError, KeyError, TypeError):
            return  # ours, before its owner was written
        if host != socket.gethostname():
            os.close(descriptor)
            raise FolderInUseError(
                f"E-RUN-050 {self._path.parent}: a run on another host has not let go of the folder "
                f"({_holder(text)}). Remedy: when it has ended there, remove the file {self._path} and give "
                "the same command again: it goes on from there. Until then, wait, or use another folder."
            )

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        if self._descriptor is None:
            return
        if self._how == fcntl.LOCK_EX:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None
        if self._how == fcntl.LOCK_SH:
            self._sweep()

    def _sweep(self) -> None:
        """Remove the file of a shared lock that nobody holds any more."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return
        with contextlib.suppress(OSError):  # others hold it: the last of them removes the file
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(self._path, descriptor):
                self._path.unlink(missing_ok=True)
        os.close(descriptor)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while the block runs, and act on them after it (main thread only).

    The handlers are exchanged, not the thread's signal mask: another thread could take the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for sent in came:
            signal.raise_signal(sent)


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(text: str) -> str:
    try:
        owner = json.loads(text)
        if "shared" in owner:
            return "steps of a run that share it"
        since = f", since {owner['since']}{_age(owner['since'])}" if "since" in owner else ""
        return f"process {int(owner['pid'])} on {owner['host']}{since}"
    except (ValueError, KeyError, TypeError):
        return "owner unknown"


def _age(since: str) -> str:
    """How long ago a time was; empty where the clock says that it is yet to come."""
    seconds = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(since)).total_seconds()
    if seconds < 0:
        return ""
    return f", {seconds / 3600:.1f} hours ago" if seconds >= 5400 else f", {seconds / 60:.0f} minutes ago"


def process_start(pid: int) -> str:
    """Return the kernel's start time of a process, in ticks since boot; empty where there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


# --- completeness --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class StepRecord:
    """A completed step.

    Attributes
    ----------
    step : str
        Its name, a safe file name.
    key : str
        The hash of everything the outputs depend on: inputs, parameters, package version.
    outputs : mapping of str to str
        Path relative to the folder -> sha256.
    facts : mapping
        What later steps need to know (JSON), such as the problems found.
    """

    step: str
    key: str
    outputs: Mapping[str, str]
    facts: Mapping[str, Any]


def mark_done(
    folder: str | Path,
    step: str,
    key: str,
    *,
    outputs: Iterable[str | Path],
    facts: Mapping[str, Any] | None = None,
) -> StepRecord:
    """Record that a step is complete; call it when its outputs are whole on the disk.

    Parameters
    ----------
    folder : str or Path
        The results folder.
    step, key : str
        See :class:`StepRecord`.
    outputs : iterable of str or Path
        Files below `folder`, absolute or relative to it.
    facts : mapping, optional
        JSON for later steps.

    Raises
    ------
    OSError
        When an output does not exist.
    ValueError
        When an output lies outside the folder.
    """
    root = Path(folder)
    relative = sorted(relative_name(root, output) for output in outputs)
    hashes = {name: sha256_file(root / name) for name in relative}
    content: dict[str, Any] = {"step": step, "key": key, "outputs": hashes, "facts": dict(facts or {})}
    content["sha256"] = _seal(content)
    write_text(
        _record_path(root, step), json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    )
    return StepRecord(step, key, hashes, dict(facts or {}))


def _seal(content: Mapping[str, Any]) -> str:
    """Hash of a record by its text as JSON: an edited record is none."""
    plain = json.loads(json.dumps(content))  # as it will be read back
    return sha256_text(json.dumps(plain, sort_keys=True, ensure_ascii=False))


def completed(folder: str | Path, step: str, key: str) -> StepRecord | None:
    """Return the record of a step if it is complete for this key, else None.

    Every output is hashed again: one that is missing, cut short or edited makes the step incomplete, and
    so does a record that cannot be read.
    """
    record = read_record(folder, step)
    if record is None or record.key != key:
        return None
    root = Path(folder)
    for name, expected in record.outputs.items():
        try:
            relative_name(root, name)
            if sha256_file(root / name) != expected:
                return None
        except (OSError, ValueError):
            return None
    return record


def is_complete(folder: str | Path, step: str, key: str) -> bool:
    """Tell whether a step is complete for this key; see :func:`completed`."""
    return completed(folder, step, key) is not None


def read_record(folder: str | Path, step: str) -> StepRecord | None:
    """Return the record of a step, its outputs unchecked; None when there is none, or it was edited."""
    path = _record_path(Path(folder), step)
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("sha256") != _seal(content):
            return None
        outputs = {str(name): str(digest) for name, digest in content["outputs"].items()}
        return StepRecord(str(content["step"]), str(content["key"]), outputs, dict(content["facts"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def recorded_steps(folder: str | Path) -> list[str]:
    """Return the names of the steps that have a record, sorted."""
    return sorted(path.stem for path in (Path(folder) / DONE).glob("*.json"))


def forget(folder: str | Path, step: str, *, keep: Iterable[str] = ()) -> None:
    """Remove the record of a step, and the outputs that it names but for those to keep; other files stay."""
    root = Path(folder)
    record = read_record(root, step)
    for name in sorted(set(record.outputs) - set(keep)) if record else ():
        with contextlib.suppress(ValueError):  # an edited record may name files outside
            remove_output(root, name)
    _record_path(root, step).unlink(missing_ok=True)


def remove_output(folder: str | Path, name: str) -> None:
    """Remove one file of ours below `folder`, and the folders that become empty; never anything outside."""
    root = Path(folder)
    target = root / relative_name(root, name)
    target.unlink(missing_ok=True)
    for parent in target.parents:
        if parent == root:
            break
        try:
            parent.rmdir()
        except OSError:
            break


def _record_path(folder: Path, step: str) -> Path:
    if not _STEP.fullmatch(step):
        raise ValueError(f"{step!r} is not a safe name for a step")
    return folder / DONE / f"{step}.json"


def relative_name(folder: Path, path: str | Path) -> str:
    """Return `path` relative to `folder`, with `/`; refuse what lies outside, links included."""
    root = folder.resolve()
    candidate = Path(path)
    full = candidate if candidate.is_absolute() else folder / candidate
    resolved = full.parent.resolve() / full.name
    return resolved.relative_to(root).as_posix()


# --- the manifest --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """What a run read and made.

    Attributes
    ----------
    inputs, outputs : mapping of str to str
        Path relative to the study or results folder -> sha256.
    parameters : mapping
        Study id, plan hash, plan, seeds: everything that was chosen.
    quarantine, warnings : sequence of mapping
        Problems as dicts: code, message, remedy, file, row, column, value, severity, item.
    environment : mapping
        See :func:`environment`.
    version : str
        Of pdbiomarker.
    run : mapping
        Times and command: the only part that differs between two runs on the same input.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    parameters: Mapping[str, Any]
    quarantine: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[Mapping[str, Any], ...] = ()
    environment: Mapping[str, Any] = dataclasses.field(default_factory=environment)
    version: str = dataclasses.field(default_factory=code_version)
    run: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of ``manifest.json``, with its seals."""
        content: dict[str, Any] = {
            "format": MANIFEST_FORMAT,
            "version": self.version,
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "parameters": dict(self.parameters),
            "quarantine": [dict(row) for row in self.quarantine],
            "warnings": [dict(row) for row in self.warnings],
            "environment": dict(self.environment),
        }
        content["sha256"] = sha256_json(content)
        run = {name: value for name, value in self.run.items() if name != "sha256"}
        content["run"] = {**run, "sha256": sha256_json(run)}
        return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_manifest(folder: str | Path, manifest: Manifest) -> Path:
    """Write ``manifest.json``, with a sha256 of its own content, tie it to the audit log, return its path.

    The `run` part names the last line of the log; a further line of the log then names the manifest.
    """
    path = Path(folder) / MANIFEST
    lines = read_log(folder)
    head = {"line": len(lines), "sha256": lines[-1].sha256 if lines else "", "kept": HEAD}
    tied = dataclasses.replace(manifest, run={**manifest.run, AUDIT: head})
    write_text(path, tied.to_json())
    append_event(
        folder,
        str(manifest.run.get("function", "manifest")),
        detail={
            "version": manifest.version,
            "plan_sha256": manifest.parameters.get("plan_sha256"),
            "inputs_sha256": sha256_json(dict(manifest.inputs)),
            "outputs_sha256": sha256_json(dict(manifest.outputs)),
            "quarantined": len(manifest.quarantine),
        },
        manifest=sha256_file(path),
    )
    return path


def read_manifest(folder: str | Path) -> Manifest:
    """Read ``manifest.json``.

    Raises
    ------
    StudyError
        E-FILE-001 when there is none, E-RUN-003 when it cannot be read or is not one of ours.
    """
    path = Path(folder) / MANIFEST
    problems = Problems()
    if not path.is_file():
        problems.add(
            "E-FILE-001",
            "There is no manifest: this is not a complete results folder.",
            remedy="Give the folder that `pdbiomarker run STUDY -o OUT` made, or run it to its end.",
            file=MANIFEST,
        )
        raise StudyError(problems)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Manifest(
            inputs=dict(content["inputs"]),
            outputs=dict(content["outputs"]),
            parameters=dict(content["parameters"]),
            quarantine=tuple(content["quarantine"]),
            warnings=tuple(content["warnings"]),
            environment=dict(content["environment"]),
            version=str(content["version"]),
            run=dict(content["run"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problems.add(
            "E-RUN-003",
            f"The manifest cannot be read ({type(error).__name__}: {error}).",
            remedy="Run the study again into the same folder.",
            file=MANIFEST,
        )
        raise StudyError(problems) from error
