"""What the Snakemake workflow of ``workflows/`` asks for each of its jobs: files, arguments, memory, minutes.

The rules hold no logic; they take everything from :class:`Jobs`, made from the workflow's configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pdbiomarker.errors import Problems
from pdbiomarker.run.scatter import Batch, Cost, Scatter, scatter
from pdbiomarker.run.stepwise import SUMMARY

__all__ = ["Jobs"]

#: A job of a scheduler starts Snakemake again and loads the libraries before it works.
_START_MINUTES: Final = 5
_SLACK: Final = 2.0
#: A step goes on when Snakemake alone was killed: that of the workflow which goes on waits for its end.
_WAIT_SECONDS: Final = 600
#: Snakemake reads braces in any path as wildcards; and the SLURM executor puts the inputs of a job, between
#: double quotes, into a shell's command line (--wait-for-files), where the others would be carried out.
_UNSAFE: Final = frozenset('{}$`"\\!\n\r')


class Jobs:
    """The jobs of one study.

    Parameters
    ----------
    config : mapping
        The configuration, as its schema has it, with defaults.
    remote : bool
        In a job itself: the results folder is not looked over again.

    Raises
    ------
    InputError
        E-RUN-044: the path of the results or work folder holds what Snakemake cannot take.
    """

    def __init__(self, config: Mapping[str, Any], *, remote: bool = False) -> None:
        self._config = config
        self.study = str(Path(config["study"]).absolute())
        self.out = str(Path(config["results"]).absolute())
        given = str(config.get("work") or "")
        self.work = str(Path(given).absolute()) if given else f"{self.out}.work"
        plan = str(config.get("plan") or "")
        self._plan = str(Path(plan).absolute()) if plan else None
        _check_names(self.out, self.work)
        slides = config["slides"]
        self.threads = int(slides["threads"])
        self.retries = int(config["retries"])
        cost = Cost(
            minutes_per_slide=float(slides["minutes_per_slide"]),
            minutes_per_gb=float(slides["minutes_per_gb"]),
            minutes_per_job=float(slides["minutes_per_job"]),
            threads=self.threads,
        )
        self._scatter: Scatter = scatter(
            self.study, self.work, plan=self._plan, out=None if remote else self.out, cost=cost
        )

    # --- files ---

    def in_work(self, name: str) -> str:
        """Give a file of the work folder; the name may hold wildcards."""
        return f"{self.work}/{name}"

    def in_results(self, name: str) -> str:
        """Give a file of the results folder."""
        return f"{self.out}/{name}"

    def inputs(self, *_: object) -> list[str]:
        """Give every file of the study but slides, regions and their panels; a function of Snakemake."""
        return _expressible(self._scatter.inputs)

    def files(self, wildcards: Any) -> list[str]:
        """Give the slides, regions and panel files of a batch."""
        return _expressible(self._batch(wildcards).files)

    def slides(self, *_: object) -> list[str]:
        """Give every file that is measured: the check reads headers of slides, and regions."""
        return _expressible(f for batch in self._scatter.batches.values() for f in batch.files)

    def batches(self, *_: object) -> list[str]:
        """Give what each batch leaves in the work folder."""
        return [f"{self.work}/slides/{name}.json" for name in self._scatter.batches]

    def _batch(self, wildcards: Any) -> Batch:
        return self._scatter.batches[wildcards.batch]

    # --- arguments ---

    def arguments(self, *_: object) -> list[str]:
        """Give the arguments that every step has. Paths are absolute: none begins with a dash."""
        plan = [] if self._plan is None else ["--plan", self._plan]
        shared = ["--out", self.out, "--work", self.work, "--wait", str(_WAIT_SECONDS)]
        return [self.study, *shared, *plan]

    def check_arguments(self, *_: object) -> list[str]:
        """Give the arguments of the check."""
        fresh = ["--fresh"] if self._config["when_changed"] == "renew" else []
        return [*self.report_arguments(), *fresh]

    def report_arguments(self, *_: object) -> list[str]:
        """Give the arguments of the report, which the check has to know of."""
        return [*self.arguments(), "--format", ",".join(self._config["formats"])]

    def token(self, wildcards: Any) -> str:
        """Give a text that changes when the slides of a batch must be looked at again."""
        return self._batch(wildcards).token

    def check_token(self, *_: object) -> str:
        """Give a text that changes when any file of the study does, also to one of an older date."""
        return self._scatter.token

    # --- resources ---

    def slides_mem_mb(self, _: object, attempt: int) -> int:
        """Give the memory of a batch, more at each attempt."""
        slides = self._config["slides"]
        return int(slides["mem_mb"] + self.threads * slides["mem_mb_per_thread"]) * attempt

    def slides_runtime(self, wildcards: Any, attempt: int) -> int:
        """Give the minutes of a batch, more at each attempt."""
        return int(_START_MINUTES + _SLACK * self._batch(wildcards).minutes + 1) * attempt

    def tries_left(self, _: object, attempt: int) -> int:
        """Give how often a failed batch will be tried again."""
        return max(0, self.retries + 1 - attempt)

    def mem_mb(self, step: str) -> Callable[[object, int], int]:
        """Give the memory of another step, as a function of Snakemake."""
        return lambda _, attempt: int(self._config["steps"][step]["mem_mb"]) * attempt

    def runtime(self, step: str) -> Callable[[object, int], int]:
        """Give the minutes of another step, as a function of Snakemake."""
        return lambda _, attempt: int(self._config["steps"][step]["minutes"]) * attempt

    # --- the end ---

    def summary(self) -> str:
        """Give the lines that the last step left: how it ended, and what was quarantined."""
        try:
            text = (Path(self.work) / SUMMARY).read_text(encoding="utf-8")
        except OSError:
            return "Nothing to be done."
        return f"{text}The report: {self.out}/review.html"

    def advice(self) -> str:
        """Say where to look when a job failed."""
        return (
            f"A job failed: its words stand in {self.work}/logs. What is complete is kept; the same command "
            "goes on from there. How far it is: pdbiomarker status OUT."
        )


def _expressible(paths: Iterable[str]) -> list[str]:
    """Give the paths that Snakemake can be told of; the tokens tell of the others."""
    return [path for path in dict.fromkeys(paths) if not _UNSAFE & set(path)]


def _check_names(*paths: str) -> None:
    """Refuse folders that Snakemake must be told of and cannot; the study folder may have any name."""
    problems = Problems()
    for path in paths:
        found = sorted(_UNSAFE & set(path))
        if found:
            problems.add(
                "E-RUN-044",
                "Snakemake takes braces for wildcards, and its executors give paths to a shell in which "
                f"{' '.join(map(repr, found))} would be carried out.",
                remedy="Give results, work folder and working directory other names; the study may have any.",
                file=path,
            )
    problems.raise_if_any()
