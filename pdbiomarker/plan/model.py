"""The analysis plan: frozen, read from YAML, hashed; it travels with every result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pdbiomarker.errors import FormulaError, PlanError, Problems
from pdbiomarker.formula import Formula, parse, parse_contrast
from pdbiomarker.plan.columns import assay_names, columns_of, formula_levels
from pdbiomarker.plan.intercurrent import Event, EventKeys, check_event, check_events, whole_events
from pdbiomarker.plan.structure import contrast_fault, random_faults
from pdbiomarker.study import Study
from pdbiomarker.tables import YamlDocument, load_yaml, nearest, to_yaml, validate_yaml

FILE: Final = "plan.yaml"
Replicates = Literal["select", "all"]
DegreesOfFreedom = Literal["kenward-roger", "satterthwaite", "residual", "permutation"]
Adjustment = Literal["holm", "bh", "by", "fixed-sequence", "none"]
Boundary = Literal["bonferroni", "pocock", "obrien-fleming"]
Weights = Literal["equal", "proportional"]

_CONTRAST_NAME = re.compile(r"[^\W_][\w .-]{0,79}")

Normalization = Literal["tmm", "tmmwsp", "rle", "uq", "deseq", "none"]

#: By what one of several biopsies of a visit is chosen, in this order; ties go to the smaller id.
DEFAULT_CHOICE: Final[tuple[str, ...]] = ("adequate", "closest", "latest_earliest")
Choice = Literal["adequate", "closest", "latest_earliest", "latest", "earliest", "most_tumor"]

#: Keys that came after the first version, with what they leave as it was: a plan without them keeps its hash.
_LATER: Final[Mapping[str, Any]] = {
    "normalization": "tmm",
    "quality_weights": False,
    "stable_genes": [],
    "choice": list(DEFAULT_CHOICE),
    "concordance": [],
}

#: The formula where the plan names none.
DEFAULT_FORMULA: Final = "~ visit + (1|participant)"


_MOST_LOOKS: Final = 20


class _Looks(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    look: int = Field(ge=1, le=_MOST_LOOKS)
    of: int = Field(ge=1, le=_MOST_LOOKS)
    boundary: Boundary = "bonferroni"
    information: list[float] | None = None

    @field_validator("information", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [float(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in value]
        return value


def _default_choice() -> list[Choice]:
    return ["adequate", "closest", "latest_earliest"]  # DEFAULT_CHOICE, typed


class _Decisions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    rules: list[str] = Field(default_factory=list)
    features: list[str] = Field(default_factory=list)
    noise: str | None = None

    @field_validator("rules", "features", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


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
    moderation: bool = True
    baseline: str | None = None
    looks: _Looks | None = None
    weights: Weights = "equal"
    normalization: Normalization = "tmm"
    quality_weights: bool = False
    stable_genes: list[str] = Field(default_factory=list)
    intercurrent: dict[str, EventKeys] = Field(default_factory=dict)
    choice: list[Choice] = Field(default_factory=_default_choice)
    decisions: _Decisions | None = None

    @field_validator("decisions", mode="before")
    @classmethod
    def _rules(cls, value: Any) -> Any:
        return {"rules": value} if isinstance(value, str | list) else value

    concordance: list[list[str]] = Field(default_factory=list)

    @field_validator("stable_genes", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

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
    ddf : {"kenward-roger", "satterthwaite", "residual", "permutation"}
        How denominator degrees of freedom are found; ``permutation``: p is that of the sign-flip test of the
        participants' changes.
    seed : int
        For whatever is drawn at random.
    allow_negative_icc : bool
        Let the two visits of a participant be negatively correlated, as the paired t-test does.
    moderation : bool
        Draw the residual variances of genes towards their common prior (empirical Bayes), for contrasts
        within participants.
    adjust : mapping of family to {"holm", "bh", "by", "fixed-sequence", "none"}
        By default ``holm`` for the family ``primary`` and ``bh`` for the others.
    baseline : str
        The reference visit: the first of study.yaml.
    looks : mapping
        Declared looks at accumulating data: ``look`` (this one, from 1), ``of`` (how many were declared),
        ``boundary`` and ``information`` (the share of the information at each look, or None). Empty: one.
    weights : {"equal", "proportional"}
        How factors that a contrast does not name are averaged: each level alike, or by their frequencies in
        the biopsies used.
    normalization : {"tmm", "tmmwsp", "rle", "uq", "deseq", "none"}
        How the library sizes of count assays are scaled; see :mod:`pdbiomarker.normalize.size_factors`.
    quality_weights : bool
        Weigh whole libraries of count assays by their quality, beside voom's weights.
    stable_genes : tuple of str
        Genes that count assays are scaled by in a sensitivity row on composition; ``("auto",)``: chosen by
        the rule of :func:`pdbiomarker.normalize.stable_genes`; empty: no such row.
    intercurrent : mapping of event to mapping
        Intercurrent events: ``column``, ``strategy`` and ``washout_days`` (None: the event always counts);
        see :mod:`pdbiomarker.plan.intercurrent`.
    choice : tuple of str
        By what one of several biopsies of a visit is chosen, in this order: ``adequate`` before inadequate,
        ``closest`` to the target day, ``latest_earliest`` (the latest before treatment, the earliest on
        treatment), ``latest``, ``earliest``, ``most_tumor`` (viable tumour cells). Ties go to the smaller id;
        fresh tissue always comes before archival.
    decisions : mapping
        What is decided, and by which rules: ``rules`` (presets, or YAML files of the study folder),
        ``features``, ``noise`` (a file to borrow from). Empty: the default presets for the family
        ``primary``.
    concordance : tuple of (str, str)
        Pairs ``assay:feature`` that are compared with each other; empty: stained markers with their genes.
    """

    formula: str
    contrasts: Mapping[str, str]
    families: Mapping[str, tuple[str, ...]]
    replicates: str = "select"
    ddf: str = "kenward-roger"
    seed: int = 1
    allow_negative_icc: bool = True
    moderation: bool = True
    adjust: Mapping[str, str] = dataclasses.field(default_factory=dict)
    baseline: str = ""
    looks: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: str = "equal"
    normalization: str = "tmm"
    quality_weights: bool = False
    stable_genes: tuple[str, ...] = ()
    intercurrent: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    choice: tuple[str, ...] = DEFAULT_CHOICE
    decisions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    concordance: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        defaults = {family: "holm" if family == "primary" else "bh" for family in self.families}
        for name, value in (
            ("contrasts", dict(self.contrasts)),
            ("families", {family: tuple(refs) for family, refs in self.families.items()}),
            ("adjust", {**defaults, **self.adjust}),
            ("looks", _whole_looks(self.looks)),
            ("stable_genes", tuple(self.stable_genes)),
            ("intercurrent", whole_events(self.intercurrent)),
            ("choice", tuple(self.choice)),
            ("decisions", {key: value for key, value in self.decisions.items() if value}),
            ("concordance", tuple(tuple(pair) for pair in self.concordance)),
        ):
            object.__setattr__(self, name, value)
        problems = Problems()
        for column, given, allowed in (
            ("replicates", [self.replicates], get_args(Replicates)),
            ("ddf", [self.ddf], get_args(DegreesOfFreedom)),
            ("normalization", [self.normalization], get_args(Normalization)),
            ("adjust", list(self.adjust.values()), get_args(Adjustment)),
            ("weights", [self.weights], get_args(Weights)),
            ("choice", list(self.choice), get_args(Choice)),
        ):
            for text in given:
                if text not in allowed:
                    problems.add(
                        "E-PLAN-001",
                        "The value is not one of those allowed.",
                        remedy=f"Allowed: {', '.join(map(repr, allowed))}.",
                        file=FILE,
                        column=column,
                        value=text,
                    )
        _check_looks(self.looks, problems)
        check_events(self.intercurrent, problems)
        problems.raise_if_any(PlanError)

    @property
    def events(self) -> tuple[Event, ...]:
        """The declared intercurrent events."""
        return tuple(Event(name, **keys) for name, keys in self.intercurrent.items())

    @classmethod
    def read(cls, path: str | Path, study: Study | None = None) -> Plan:
        """Read a plan, and check it against the study it is for.

        Parameters
        ----------
        path : path
            plan.yaml; docs/study_folder.md describes its keys.
        study : Study, optional
            Its visits complete the contrasts and its assays the families where the plan names none. None:
            only the plan itself is checked.

        Returns
        -------
        Plan

        Raises
        ------
        PlanError
            Every fault: unknown keys and values (E-PLAN-001), contrasts that do not name visits
            (E-PLAN-002), families that name no assay (E-PLAN-003), rows below the biopsy without a term
            for them (E-PLAN-004), intercurrent events that the sheets do not record (E-PLAN-010, 011, 013),
            and what is wrong with the formula (E-FORMULA-...).

        Examples
        --------
        >>> Plan.read("trial/plan.yaml").contrasts
        {'on_treatment': 'C2D1 - screening'}
        """
        problems = Problems()
        document = load_yaml(path, problems)
        content = None
        if document is not None:
            content = validate_yaml(_PlanFile, document, code="E-PLAN-001", problems=problems)
        if content is None or document is None:
            raise PlanError(problems)
        try:
            plan = _complete(content, study)
        except PlanError as error:
            # The rest of the plan is checked without them, so that every fault is told at once.
            told = [dataclasses.replace(p, file=document.file) for p in error.problems]
            problems.extend(dataclasses.replace(p, row=_line(document, p.column)) for p in told)
            plan = _complete(content.model_copy(update={"looks": None, "intercurrent": {}}), study)
        _Checks(plan, document, problems).run(study)
        problems.raise_if_any(PlanError)
        return plan

    @classmethod
    def default(cls, study: Study) -> Plan:
        """Give the plan of a study that has no plan.yaml: each later visit against the first.

        Parameters
        ----------
        study : Study

        Returns
        -------
        Plan
            Formula :data:`DEFAULT_FORMULA`; one family for each assay.
        """
        return _complete(_PlanFile(), study)

    @property
    def content(self) -> dict[str, Any]:
        """What is hashed and locked, as JSON: everything but keys of later versions that are not used."""
        whole = self._content()
        return {key: value for key, value in whole.items() if key not in _LATER or value != _LATER[key]}

    @property
    def hash(self) -> str:
        """SHA-256 of the content as canonical JSON; keys of later versions count where they are used."""
        text = json.dumps(self.content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def to_yaml(self) -> str:
        """Write the plan out in full, defaults included, as :meth:`read` reads it back."""
        return to_yaml(self._content())

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "formula": self.formula,
            "contrasts": dict(self.contrasts),
            "families": {family: list(refs) for family, refs in self.families.items()},
            "adjust": dict(self.adjust),
            "replicates": self.replicates,
            "ddf": self.ddf,
            "seed": self.seed,
            "allow_negative_icc": self.allow_negative_icc,
            "moderation": self.moderation,
            "baseline": self.baseline,
            "normalization": self.normalization,
            "quality_weights": self.quality_weights,
            "stable_genes": list(self.stable_genes),
            "choice": list(self.choice),
            "concordance": [list(pair) for pair in self.concordance],
        }
        # What a plan does not use leaves no trace: it keeps the hash that it had before there was such a key.
        used = {"looks": dict(self.looks)} if self.looks else {}
        if self.intercurrent:
            used["intercurrent"] = {name: dict(keys) for name, keys in self.intercurrent.items()}
        used |= {"decisions": dict(self.decisions)} if self.decisions else {}
        return content | used | ({"weights": self.weights} if self.weights != "equal" else {})


def _whole_looks(looks: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what was not said of declared looks."""
    if not looks:
        return {}
    shares = looks.get("information")
    whole = {"boundary": "bonferroni", **looks}
    return {**whole, "information": None if shares is None else [float(share) for share in shares]}


def _check_looks(looks: Mapping[str, Any], problems: Problems) -> None:
    """Refuse looks that do not fit together."""
    if not looks:
        return
    look, of, shares = looks.get("look"), looks.get("of"), looks.get("information")
    faults = []
    if not (isinstance(look, int) and isinstance(of, int) and 1 <= look <= of <= _MOST_LOOKS):
        faults.append(("look", f"{look} of {of}", f"Give 'look' and 'of' from 1 to {_MOST_LOOKS}."))
    elif looks.get("boundary") not in get_args(Boundary):
        known = ", ".join(map(repr, get_args(Boundary)))
        faults.append(("boundary", str(looks.get("boundary")), f"Allowed: {known}."))
    elif shares is not None:
        steps = [b - a for a, b in zip([0.0, *shares], shares, strict=False)]
        if len(shares) != of or min(steps, default=0.0) <= 0 or shares[-1] != 1.0:
            told = ", ".join(f"{share:g}" for share in shares)
            faults.append(("information", told, f"Give {of} shares that increase to 1."))
    for key, value, remedy in faults:
        problems.add(
            "E-PLAN-001",
            "The declared looks do not fit together.",
            remedy=remedy,
            file=FILE,
            column=f"looks.{key}",
            value=value,
        )


def _line(document: YamlDocument, column: str | None) -> int | None:
    """Give the line of a key such as ``looks.look``."""
    return document.line(tuple((column or "").split(".")))


def _complete(content: _PlanFile, study: Study | None) -> Plan:
    visits = () if study is None else study.spec.visit_names
    baseline = content.baseline or (visits[0] if visits else "")
    contrasts = content.contrasts or {v: f"{v} - {baseline}" for v in visits if v != baseline}
    assays = () if study is None else assay_names(study)
    families = content.families or {name: [name] for name in assays}
    return Plan(
        formula=content.formula,
        contrasts=contrasts,
        families={family: tuple(refs) for family, refs in families.items()},
        replicates=content.replicates,
        ddf=content.ddf,
        seed=content.seed,
        allow_negative_icc=content.allow_negative_icc,
        moderation=content.moderation,
        adjust=dict(content.adjust),
        baseline=baseline,
        looks={} if content.looks is None else content.looks.model_dump(),
        weights=content.weights,
        normalization=content.normalization,
        quality_weights=content.quality_weights,
        stable_genes=tuple(content.stable_genes),
        intercurrent={name: keys.model_dump() for name, keys in content.intercurrent.items()},
        choice=tuple(content.choice),
        decisions={} if content.decisions is None else content.decisions.model_dump(),
        concordance=tuple(tuple(pair) for pair in content.concordance),
    )


@dataclasses.dataclass(frozen=True)
class _Checks:
    """What the parts of a plan say together, and of a study."""

    plan: Plan
    document: YamlDocument
    problems: Problems

    def run(self, study: Study | None) -> None:
        formula = self._formula()
        if formula is not None:
            self._random(formula)
        self._contrast_names()
        visits = None if study is None else study.spec.visit_names
        if study is not None and visits is not None:
            self._baseline(visits)
            columns = None if formula is None else formula_levels(formula, study)
            known = [*(columns or {}), *columns_of(study)]
            for name, text in self.plan.contrasts.items():
                self._contrast(name, text, visits, columns=columns, known=known)
        assays = None if study is None else assay_names(study)
        self._families(assays)
        self._pairs_to_compare(assays)
        if study is not None and formula is not None:
            self._columns(formula, study)
        if study is not None:
            found = Problems()
            for event in self.plan.events:
                check_event(study, event, found)
            self.problems.extend(
                dataclasses.replace(p, row=_line(self.document, p.column)) if p.file == FILE else p
                for p in found
            )

    def _refuse(self, code: str, message: str, remedy: str, place: tuple[str, ...], value: object) -> None:
        self.problems.add(
            code,
            message,
            remedy=remedy,
            file=self.document.file,
            row=self.document.line(place),
            column=".".join(place),
            value=value,
        )

    def _formula(self) -> Formula | None:
        try:
            return parse(self.plan.formula)
        except FormulaError as error:
            for problem in error.problems:
                self.problems.extend(
                    [
                        dataclasses.replace(
                            problem,
                            file=self.document.file,
                            row=self.document.line(("formula",)),
                            column=f"formula, {problem.column}",
                        )
                    ]
                )
        return None

    def _random(self, formula: Formula) -> None:
        for fault in random_faults(formula, self.plan.replicates):
            place = ("replicates",) if fault.code == "E-PLAN-004" else ("formula",)
            value = self.plan.replicates if fault.code == "E-PLAN-004" else self.plan.formula
            self._refuse(fault.code, fault.message, fault.remedy, place, value)

    def _contrast_names(self) -> None:
        """Refuse names that a table, a spreadsheet or a file name could take for something else."""
        given = self.document.data.get("contrasts")
        for name in given if isinstance(given, dict) else ():
            if not _CONTRAST_NAME.fullmatch(name):
                self._refuse(
                    "E-PLAN-001",
                    "The name of a contrast must start with a letter or digit and hold letters, digits, "
                    "spaces and _ - . only.",
                    "Rename it, for example 'on_treatment'.",
                    ("contrasts", name),
                    name,
                )

    def _baseline(self, visits: Sequence[str]) -> None:
        if self.plan.baseline not in visits:
            said = "The baseline is not a visit of the study."
            self._refuse(
                "E-PLAN-002", said, nearest(self.plan.baseline, visits), ("baseline",), self.plan.baseline
            )

    def _contrast(
        self,
        name: str,
        text: str,
        visits: Sequence[str],
        *,
        columns: Mapping[str, Sequence[str] | None] | None,
        known: Sequence[str],
    ) -> None:
        """Refuse a contrast that cannot be read, or that pd_change does not estimate.

        Parameters
        ----------
        name, text : str
        visits : sequence of str
        columns : mapping of str to sequence of str or None, or None
            The columns of the fixed part, from :func:`formula_levels`; None: they are not known.
        known : sequence of str
            Every column of the study.
        """
        place = ("contrasts", name)
        try:
            contrast = parse_contrast(text, visits, columns=columns)
        except FormulaError as error:
            for problem in error.problems:
                said = f"The contrast {name!r} cannot be read: {problem.message}"
                self._refuse("E-PLAN-002", said, problem.remedy, place, text)
            return
        foreign = {
            setting.column: None
            for cell in contrast.cells
            for setting in cell.settings
            if columns is not None and setting.column not in {*columns, "visit"}
        }
        for column in foreign:
            said = f"The contrast {name!r} names {column!r}, which is not in the fixed part of the formula."
            remedy = (
                f"Add it to the formula, such as '~ visit * {column} + (1|participant)', or leave it out."
                if column in known
                else f"{nearest(column, known)} The column must also be in the formula."
            )
            self._refuse("E-PLAN-002", said, remedy, place, text)
        fault = None if foreign else contrast_fault(name, contrast)
        if fault is not None:
            self._refuse(fault.code, fault.message, fault.remedy, place, text)

    def _families(self, assays: Sequence[str] | None) -> None:
        named: dict[str, str] = {}
        for family, refs in self.plan.families.items():
            place = ("families", family)
            if not refs:
                self._refuse("E-PLAN-003", "The family is empty.", "Name an assay or features.", place, None)
            for ref in refs:
                assay, colon, feature = ref.partition(":")
                if not assay or (colon and not feature):
                    said = "A family names an assay, or a feature as assay:feature."
                    self._refuse("E-PLAN-003", said, "Write for instance ihc:CD8_density.", place, ref)
                elif assays is not None and assay not in assays:
                    said = f"The study has no assay {assay!r}."
                    self._refuse("E-PLAN-003", said, nearest(assay, assays), place, ref)
                other = named.setdefault(ref, family)
                if other != family:
                    said = f"The families {other!r} and {family!r} both name {ref!r}."
                    self._refuse("E-PLAN-003", said, "Adjust a test in one family only.", place, ref)
        known = [*self.plan.families, *(assays or ())]
        for family in self.plan.adjust:
            if family not in known and (assays is not None or self.plan.families):
                said = f"There is no family {family!r}."
                self._refuse("E-PLAN-003", said, nearest(family, known), ("adjust", family), family)

    def _pairs_to_compare(self, assays: Sequence[str] | None) -> None:
        for k, pair in enumerate(self.plan.concordance):
            place = ("concordance",)
            parts = [ref.partition(":") for ref in pair]
            if len(set(pair)) != 2 or len(pair) != 2 or not all(a and f for a, _, f in parts):
                said = f"Pair {k + 1} of 'concordance' is not two different features."
                self._refuse("E-LINK-004", said, "Write for instance [ihc:CD8_density, rna:CD8A].", place,
                             ", ".join(pair))  # fmt: skip
                continue
            for assay, _, _ in parts:
                if assays is not None and assay not in assays:
                    said = f"The study has no assay {assay!r}."
                    self._refuse("E-LINK-004", said, nearest(assay, assays), place, ", ".join(pair))

    def _columns(self, formula: Formula, study: Study) -> None:
        known = columns_of(study)
        for column in formula.columns:
            if column not in known:
                position = formula.positions.get(column, 0) + 1
                self._refuse(
                    "E-FORMULA-003",
                    f"The study has no column {column!r} (position {position} of the formula).",
                    nearest(column, known),
                    ("formula",),
                    column,
                )
