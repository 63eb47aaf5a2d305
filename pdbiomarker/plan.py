"""The analysis plan: frozen, read from YAML, hashed; it travels with every result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pdbiomarker.errors import PlanError, Problems
from pdbiomarker.study import Study
from pdbiomarker.tables import load_yaml, to_yaml, validate_yaml

FILE: Final = "plan.yaml"
Replicates = Literal["select", "all"]
DegreesOfFreedom = Literal["kenward-roger", "satterthwaite", "residual"]
Adjustment = Literal["holm", "bh"]

#: The formula where the plan names none.
DEFAULT_FORMULA: Final = "~ visit + (1|participant)"


class _PlanFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    formula: str = DEFAULT_FORMULA
    contrasts: dict[str, str] = Field(default_factory=dict)
    families: dict[str, list[str]] = Field(default_factory=dict)
    adjust: dict[str, Adjustment] = Field(default_factory=dict)
    replicates: Replicates = "select"
    ddf: DegreesOfFreedom = "kenward-roger"
    seed: int = Field(default=1, ge=0, lt=2**63)
    allow_negative_icc: bool = True
    baseline: str | None = None

    @field_validator("families", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: [refs] if isinstance(refs, str) else refs for key, refs in value.items()}
        return value


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is estimated, and how.

    Attributes
    ----------
    formula : str
        Such as ``"~ visit + (1|participant)"``; column names of the sheets, with ``participant``,
        ``biopsy`` and ``visit`` as names of the keys.
    contrasts : mapping of name to str
        Such as ``{"on_treatment": "C2D1 - screening"}``.
    families : mapping of name to tuple of str
        What is adjusted together: assays (``rna``) or features (``ihc:CD8_density``).
    replicates : {"select", "all"}
        Several biopsies of one visit: one by the stated rule, or all.
    ddf : {"kenward-roger", "satterthwaite", "residual"}
        How denominator degrees of freedom are found.
    seed : int
        For whatever is drawn at random.
    allow_negative_icc : bool
        Let the two visits of a participant be negatively correlated, as the paired t-test does.
    adjust : mapping of family to {"holm", "bh"}
        By default ``holm`` for the family ``primary`` and ``bh`` for the others.
    baseline : str
        The reference visit: the first of study.yaml.
    """

    formula: str
    contrasts: Mapping[str, str]
    families: Mapping[str, tuple[str, ...]]
    replicates: str = "select"
    ddf: str = "kenward-roger"
    seed: int = 1
    allow_negative_icc: bool = True
    adjust: Mapping[str, str] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    baseline: str = ""

    def __post_init__(self) -> None:
        adjust = {
            family: self.adjust.get(family, "holm" if family == "primary" else "bh")
            for family in self.families
        }
        for name, value in (
            ("contrasts", dict(self.contrasts)),
            ("families", {family: tuple(refs) for family, refs in self.families.items()}),
            ("adjust", adjust),
        ):
            object.__setattr__(self, name, MappingProxyType(value))

    @classmethod
    def read(cls, path: str | Path, study: Study | None = None) -> Plan:
        """Read plan.yaml."""
        problems = Problems()
        document = load_yaml(path, problems)
        content = (
            None
            if document is None
            else validate_yaml(_PlanFile, document, code="E-PLAN-001", problems=problems)
        )
        problems.raise_if_any(PlanError)
        if content is None:
            raise PlanError(problems)
        return _complete(content, study)

    @classmethod
    def default(cls, study: Study) -> Plan:
        """Give the plan of a study that has no plan.yaml: each later visit against the first."""
        return _complete(_PlanFile(), study)

    @property
    def hash(self) -> str:
        """SHA-256 of the plan's content as canonical JSON."""
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def to_yaml(self) -> str:
        """Write the plan out in full, defaults included, as :meth:`read` reads it back."""
        return to_yaml(self._content())

    def _content(self) -> dict[str, Any]:
        return {
            "formula": self.formula,
            "contrasts": dict(self.contrasts),
            "families": {family: list(refs) for family, refs in self.families.items()},
            "adjust": dict(self.adjust),
            "replicates": self.replicates,
            "ddf": self.ddf,
            "seed": self.seed,
            "allow_negative_icc": self.allow_negative_icc,
            "baseline": self.baseline,
        }


def _complete(content: _PlanFile, study: Study | None) -> Plan:
    visits = () if study is None else study.spec.visit_names
    baseline = content.baseline or (visits[0] if visits else "")
    contrasts = content.contrasts or {v: f"{v} - {baseline}" for v in visits if v != baseline}
    assays = () if study is None else dict.fromkeys([*(a.name for a in study.spec.assays), *study.assays])
    families = content.families or {name: [name] for name in assays}
    return Plan(
        formula=content.formula,
        contrasts=contrasts,
        families={family: tuple(refs) for family, refs in families.items()},
        replicates=content.replicates,
        ddf=content.ddf,
        seed=content.seed,
        allow_negative_icc=content.allow_negative_icc,
        adjust=dict(content.adjust),
        baseline=baseline,
    )
