"""What an analysis leaves: one frozen object, and its tables with fixed columns."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from pdbiomarker.change.adam import to_adam, write_adam
from pdbiomarker.change.robustness import empty_robustness
from pdbiomarker.change.workbook import write_workbook
from pdbiomarker.clinical.cdisc import Dataset
from pdbiomarker.plan import Plan
from pdbiomarker.study import Study

__all__ = ["CHANGE_COLUMNS", "TABLE_COLUMNS", "PDResult"]

#: Columns of :attr:`PDResult.table` and their types, in order.
TABLE_COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "assay": "str",
        "feature": "str",
        "label": "str",
        "kind": "str",
        "family": "str",
        "contrast": "str",
        "set": "str",
        "estimate": "float64",
        "se": "float64",
        "df": "float64",
        "df_method": "str",
        "model": "str",
        "t": "float64",
        "p": "float64",
        "q": "float64",
        "adjustment": "str",
        "n_tests": "Int64",
        "look": "str",
        "ci_low": "float64",
        "ci_high": "float64",
        "effect": "float64",
        "effect_low": "float64",
        "effect_high": "float64",
        "effect_unit": "str",
        "n_participants": "Int64",
        "n_pairs": "Int64",
        "n_biopsies": "Int64",
        "var_participant": "float64",
        "var_residual": "float64",
        "var_other": "str",
        "status": "str",
        "note": "str",
    }
)

#: Columns of :attr:`PDResult.changes`, in order.
CHANGE_COLUMNS: Final[tuple[str, ...]] = (
    "participant_id",
    "assay",
    "feature",
    "contrast",
    "set",
    "baseline_biopsy",
    "on_biopsy",
    "baseline_value",
    "on_value",
    "change",
    "ratio",
)


@dataclasses.dataclass(frozen=True)
class PDResult:
    """The paired change of every feature, and everything needed to read it.

    Attributes
    ----------
    table : DataFrame
        One row per assay, feature, contrast and analysis set; columns :data:`TABLE_COLUMNS`. `estimate`, `se`
        and the confidence limits `ci_low`, `ci_high` (95 %, t with `df`) are on the model scale: log2 for
        counts, densities and intensities, natural logit for proportions, identity for scores and signatures.
        `effect` is the same on the scale of `effect_unit`. `model` names the model that decided, see
        :mod:`pdbiomarker.change.fitting`. `q` is p adjusted within `family` by `adjustment` over `n_tests`
        tests, after that for the declared `look`, if there are several. `n_pairs` counts participants with
        every visit of the contrast (missing for a contrast at one visit). `var_residual` is the residual
        variance at weight 1, `var_participant` the participant variance, below zero where values of one
        participant are less alike than those of two, `var_other` lists those of further random terms.
        `status` is one of ``ok, singular, not_estimable, too_few, constant, not_converged, excluded``.
    changes : DataFrame
        One row per evaluable pair, feature, contrast and set; columns :data:`CHANGE_COLUMNS`. Values are on
        the raw scale (CPM for counts), `change` on the model scale, `ratio` its back-transform.
    accountability : DataFrame
        See :func:`pdbiomarker.pairing.accountability`.
    dispositions : DataFrame
        One row per set, assay, contrast and participant: evaluable, or lost at which step, and why; see
        :func:`pdbiomarker.pairing.account`.
    biopsies : DataFrame
        One row per assay, contrast, set and biopsy: used or not, and why not; by what rule it was chosen,
        which biopsy is the participant's baseline, and the time and doses since treatment began.
    pairs : DataFrame
        One row per participant, assay and contrast (strict set), see :func:`pdbiomarker.pairing.pairs`.
    robustness : DataFrame
        For panels, one row per feature and contrast in the strict set: exact tests, influence of single
        participants, bootstrap; see :mod:`pdbiomarker.change.robustness`.
    qc : mapping of str to DataFrame
        Quality tables by name, such as ``slides`` and ``libraries``.
    listings : mapping of str to DataFrame
        Further tables by the name of their file: ``estimands`` (:mod:`pdbiomarker.change.estimands`),
        ``intercurrent_events`` (:mod:`pdbiomarker.pairing.events`), ``pair_mix``
        (:func:`pdbiomarker.pairing.pair_mix`), ``plan_deviations`` (:func:`pdbiomarker.plan.lock_status`).
    plan : Plan
    study : Study
    provenance : mapping
        Versions, input hashes, problems told on the way; `estimand`: its attributes in words; `lock`: whether
        the plan was locked before unblinding, and why.
    truth : DataFrame or None
        Planted effects, for a simulated study: assay, feature, contrast, effect (model scale).
    images : mapping of slide id to mapping
        ``biopsy_id, participant_id, visit, overview, field`` (paths of PNG files).
    clinical : mapping of str to DataFrame
        Tables of the trial around the biopsies, see :func:`pdbiomarker.clinical_tables`; empty in a study
        without clinical sheets.
    """

    table: pd.DataFrame
    changes: pd.DataFrame
    accountability: pd.DataFrame
    biopsies: pd.DataFrame
    pairs: pd.DataFrame
    plan: Plan
    study: Study
    robustness: pd.DataFrame = dataclasses.field(default_factory=empty_robustness)
    qc: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    listings: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    truth: pd.DataFrame | None = None
    images: Mapping[str, Mapping[str, str | Path]] = dataclasses.field(default_factory=dict)
    dispositions: pd.DataFrame = dataclasses.field(default_factory=lambda: pd.DataFrame(columns=["assay"]))
    clinical: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)

    def __getitem__(self, assay: str) -> PDResult:
        """Restrict the result to one assay.

        Raises
        ------
        KeyError
            No such assay; the message lists those that exist.
        """
        known = sorted(set(self.table["assay"]))
        if assay not in known:
            raise KeyError(f"no assay {assay!r} in this result; it holds {', '.join(known) or 'none'}")
        return dataclasses.replace(
            self,
            table=self.table[self.table["assay"] == assay].reset_index(drop=True),
            changes=self.changes[self.changes["assay"] == assay].reset_index(drop=True),
            accountability=self.accountability[self.accountability["assay"] == assay].reset_index(drop=True),
            dispositions=self.dispositions[self.dispositions["assay"] == assay].reset_index(drop=True),
            biopsies=self.biopsies[self.biopsies["assay"] == assay].reset_index(drop=True),
            pairs=self.pairs[self.pairs["assay"] == assay].reset_index(drop=True),
            robustness=self.robustness[self.robustness["assay"] == assay].reset_index(drop=True),
            listings={
                name: frame[frame["assay"] == assay].reset_index(drop=True) if "assay" in frame else frame
                for name, frame in self.listings.items()
            },
        )

    def to_adam(
        self,
        path: str | Path | None = None,
        *,
        features: Sequence[str] | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> Dataset:
        """Give the result in the shape of ADaM (BDS), and write it.

        Parameters
        ----------
        path : path, optional
            A folder, made when missing: ``adpd.xpt``, ``adpd.json`` (Dataset-JSON) and
            ``adpd_parameters.csv`` (which code is which feature) are written there.
        features : sequence of str, optional
            ``assay:feature``, or ``assay``. Default: every assay of at most 200 features.
        limits : mapping of ``assay:feature`` to float, optional
            Beyond which a change is more than noise: ``Noise.limit(0.95)``; with it there is CRIT2.

        Returns
        -------
        Dataset
            `frame` has one record for each participant, parameter, biopsy and definition of baseline;
            see :mod:`pdbiomarker.change.adam`.

        Raises
        ------
        InputError
            E-RESULT-001: no such feature; E-CDISC-010: what a transport file cannot hold.
        """
        if path is None:
            return to_adam(self, features=features, limits=limits)
        return write_adam(self, path, features=features, limits=limits)

    def to_excel(self, path: str | Path) -> Path:
        """Write every table of the result into one Excel workbook, a sheet each.

        Parameters
        ----------
        path : path
            Written whole or not at all; see :mod:`pdbiomarker.change.workbook`.

        Returns
        -------
        Path
        """
        return write_workbook(self, path)

    def __repr__(self) -> str:
        """Say in a line or two what is inside."""
        by_status = self.table["status"].value_counts().sort_index()
        statuses = ", ".join(f"{n} {s}" for s, n in by_status.items())
        assays = ", ".join(sorted(set(self.table["assay"])))
        return (
            f"PDResult of {self.study.spec.id}: {len(self.table)} rows ({statuses or 'none'})\n"
            f"  assays: {assays or 'none'}; contrasts: {', '.join(self.plan.contrasts)}; "
            f"plan {self.plan.hash[:12]}"
        )

    def _repr_html_(self) -> str:
        columns = ["assay", "feature", "contrast", "effect", "effect_low", "effect_high", "effect_unit"]
        columns += ["n_pairs", "p", "q", "adjustment", "status"]
        strict = self.table[self.table["set"] == "strict"]
        primary = strict[strict["family"] == "primary"]
        shown = (primary if len(primary) else strict.sort_values("p", kind="stable").head(10))[columns]
        return (
            f"<p>{html.escape(repr(self))}</p>{shown.to_html(index=False, float_format=lambda v: f'{v:.3g}')}"
        )
