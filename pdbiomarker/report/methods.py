"""The methods text, written from the plan and the provenance of a result."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import pandas as pd

from pdbiomarker.decide import Review
from pdbiomarker.pairing import SETS, rule_text
from pdbiomarker.plan import DEFAULT_CHOICE
from pdbiomarker.plot.numbers import format_words
from pdbiomarker.plot.select import Result, set_label
from pdbiomarker.report.methods_decided import decided_paragraphs
from pdbiomarker.report.methods_trial import link_paragraph, references, trial_paragraphs
from pdbiomarker.report.panels import panel_sentence, panels_of

__all__ = ["limits_text", "methods_text", "versions_of"]

_KINDS: Final[Mapping[str, str]] = {
    "count": "gene counts as log2 counts per million, library sizes scaled by {rule}, with precision "
    "weights from the trend of variance with expression (voom)",
    "density": "cell densities as log2((cells + 1/2) / area), unweighted, because biological variance does "
    "not shrink with the number of cells",
    "proportion": "proportions as the empirical logit, unweighted",
    "score": "scores in points, untransformed",
    "signature": "signature scores in their own units",
    "intensity": "intensities as log2",
}
_RULES: Final[Mapping[str, str]] = {
    "tmm": "trimmed means of M values (TMM)",
    "tmmwsp": "trimmed means of M values with singleton pairing (TMMwsp)",
    "rle": "the median ratio to the geometric mean library (RLE)",
    "uq": "the upper quartile of their counts",
    "deseq": "DESeq2's median-of-ratios size factors",
    "none": "nothing but their total reads",
}
_SHOWN: Final[Mapping[str, str]] = {
    "count": "fold changes",
    "density": "ratios of geometric means",
    "proportion": "odds ratios",
    "score": "points",
    "signature": "units of the score",
    "intensity": "fold changes",
}
_DDF: Final[Mapping[str, str]] = {
    "kenward-roger": "the adjusted covariance and degrees of freedom of Kenward and Roger (1997)",
    "satterthwaite": "Satterthwaite's degrees of freedom",
    "residual": "residual degrees of freedom (observations minus coefficients)",
    "permutation": "the number of changes minus one; p is that of the sign-flip test of the participants' "
    "changes (all sign flips to 20 pairs, 100,000 sampled ones above)",
}
_ADJUST: Final[Mapping[str, str]] = {
    "holm": "Holm's method",
    "bh": "Benjamini and Hochberg's method",
    "by": "Benjamini and Yekutieli's method",
    "fixed-sequence": "a fixed sequence in the order of the plan",
    "none": "no adjustment",
}
#: What each model beside the linear mixed model is, where a row was decided by it.
_MODELS: Final[Mapping[str, str]] = {
    "negative binomial mixed": "Densities with a median count below 10 at a visit were fitted as counts: a "
    "negative binomial mixed model with log(area) as offset.",
    "beta-binomial mixed": "Proportions of few cells (fewer than 5 positive or negative in most biopsies) "
    "were fitted as k of n cells: a beta-binomial mixed model.",
    "linear": "Contrasts at one visit were fitted by least squares on the biopsies of that visit.",
    "linear on weighted sums": "Contrasts over three visits or more rest on one number of "
    "each participant who has all of them, the weighted sum of the visits, fitted by least squares.",
}
_CELLS: Final = ("negative binomial mixed", "beta-binomial mixed")


def versions_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Software versions that a provenance tells, by name, whatever its layout."""
    found: dict[str, str] = {}
    environment = provenance.get("environment")
    for source in (environment, provenance.get("versions"), provenance.get("packages")):
        if not isinstance(source, Mapping):
            continue
        for name, value in source.items():
            if isinstance(value, str):
                found[str(name)] = value
        packages = source.get("packages")
        if isinstance(packages, Mapping):
            found |= {str(name): str(value) for name, value in packages.items()}
    if isinstance(provenance.get("version"), str):
        found.setdefault("pdbiomarker", str(provenance["version"]))
    return found


def methods_text(
    result: Result, review: Review | None = None, *, links: Collection[str] = ()
) -> tuple[str, ...]:
    """Write the methods as paragraphs that could stand in a paper; what was not used is not named.

    Parameters
    ----------
    result : PDResult
    review : Review, optional
        Adds noise, responders, decision rules and checks.
    links : collection of str
        Kinds of links that were looked at: ``exposure, response, concordance, blood``.

    Returns
    -------
    tuple of str
        Visits and pairs, analysis sets, measurement, scales, models, multiplicity, noise, decisions, the
        trial, links, software, references.
    """
    plan, study = result.plan, result.study
    paragraphs = [
        _design(study, plan),
        _sets(result),
        _measured(study),
        _scales(result),
        _model(plan),
        _other_models(result),
        _families(result),
        *decided_paragraphs(result, review),
        *trial_paragraphs(getattr(result, "clinical", {})),
        link_paragraph(links),
    ]
    versions = versions_of(result.provenance)
    named = [
        n
        for n in ("pdbiomarker", "python", "numpy", "scipy", "pandas", "anndata", "matplotlib")
        if n in versions
    ]
    software = ", ".join(f"{n} {versions[n]}" for n in named) or "versions were not recorded"
    paragraphs.append(
        f"Software: {software}. The plan is identified by the SHA-256 of its canonical form, "
        f"{str(getattr(plan, 'hash', ''))[:16] or 'not recorded'}. Random numbers, where used, start from "
        "seed "
        f"{getattr(plan, 'seed', 'not recorded')}. The same input gives the same report, byte for byte."
    )
    told = [p for p in paragraphs if p]
    cited = references(told)
    return (*told, cited) if cited else tuple(told)


_OTHER_SETS: Final[Mapping[str, str]] = {
    "immune_evaluable": "adequate biopsies and those on treatment without tumour whose regression bed a "
    "blinded reader documented, where what is measured in tumour is undefined",
    "same_lesion_pairs": "pairs of one lesion that is no lymph node",
    "node_pairs": "pairs of lymph nodes",
}


def _design(study: Any, plan: Any) -> str:
    windows = []
    for visit in study.spec.visits:
        low, high = getattr(visit, "low", None), getattr(visit, "high", None)
        after = getattr(visit, "after_last_dose", None)
        known = "by label" if low is None else format_words(f"study days {low} to {high}")
        windows.append(f"{visit.name} ({known if after is None else f'{after} days after the last dose'})")
    contrasts = "; ".join(f"{name}: {text}" for name, text in dict(plan.contrasts).items())
    rule = (
        "Where a participant had several usable biopsies at a visit, one was chosen by a fixed rule: "
        f"{_choice(plan)}."
        if getattr(plan, "replicates", "select") == "select"
        else "Where a participant had several usable biopsies at a visit, all were kept, with a random "
        "effect for the biopsy's visit within the participant."
    )
    return (
        f"Biopsies were assigned to visits by study day and label: {', '.join(windows)}. Day 1 is the day "
        "of the "
        f"first dose; there is no day 0. A biopsy whose label and day contradict each other is not used. "
        f"Contrasts: {contrasts}. {rule}"
    )


def _choice(plan: Any) -> str:
    """The rule of choice, before and on treatment."""
    steps = getattr(plan, "choice", DEFAULT_CHOICE)
    before, after = rule_text(steps, before=True), rule_text(steps, before=False)
    return before if before == after else f"before treatment {before}; on treatment {after}"


def _sets(result: Result) -> str:
    study = result.study
    rules = ", ".join(
        f"{name} of {rule.need.removesuffix(' needed')}" for name, rule in dict(study.spec.adequacy).items()
    )
    rule = f"A biopsy is adequate with {rules}. " if rules else "The study sets no rule of adequacy. "
    strict, pairs = set_label("strict", result), set_label("strict_pairs", result)
    everyone = f"; {set_label('all_biopsied', result)}, every biopsy that was measured, adequate or not"
    everyone = everyone if rules else ""
    held = set(result.table["set"])
    others = "".join(
        f"; {set_label(name, result)}, {said}" for name, said in _OTHER_SETS.items() if name in held
    )
    named = ", ".join(name for name in SETS if name in held)
    named = f" In the files of results the sets are named {named}." if named else ""
    return (
        f"{rule}The primary analysis set, {strict}, holds {'adequate' if rules else 'all measured'} "
        "biopsies; a participant with one of the two visits contributes to the model but is not a pair. "
        f"Sensitivity sets stand beside it, with p-values that are not adjusted: {pairs}, participants "
        f"with both visits{others}{everyone}.{named}"
    )


def _measured(study: Any) -> str:
    """How slides, libraries and tables became values, as far as the assays tell."""
    told = []
    for name, adata in getattr(study, "assays", {}).items():
        facts = getattr(adata, "uns", {}).get("provenance", {})
        for key, words in dict(facts).items():
            if str(key).startswith("signature_") and key not in {"signature_method", "signature_reference"}:
                told.append(f"{str(key).removeprefix('signature_')}: {str(words).rstrip('.')}.")
        if str(facts.get("libraries_of_a_biopsy", "")) == "summed" and name not in told:
            told.append(f"{name}: libraries of one biopsy were summed.")
    told += [panel_sentence(panel) for panel in panels_of(study)]
    return f"Measurement: {' '.join(dict.fromkeys(told))}" if told else ""


def _scales(result: Result) -> str:
    kinds = [k for k in _KINDS if k in set(result.table["kind"])]
    if not kinds:
        return ""
    rule = _RULES.get(str(getattr(result.plan, "normalization", "tmm")), "the rule of the plan")
    if getattr(result.plan, "quality_weights", False):
        rule += ", libraries weighed by their quality"
    scales = "; ".join(f"{_KINDS[k].format(rule=rule)}, shown as {_SHOWN[k]}" for k in kinds)
    return f"Scales: {scales}. {_composition(result)}".rstrip()


def _composition(result: Result) -> str:
    """Say what the rows with stable-gene factors are."""
    if "strict_stable_genes" not in set(result.table["set"]):
        return ""
    return (
        "Library scaling assumes that most genes do not change; when immune cells enter a tumour, most "
        "may. Sensitivity rows therefore scale the libraries by genes held to be stable; where they differ "
        "from the primary rows, the difference is one of composition, and counts alone cannot say which "
        "reading is right."
    )


def _model(plan: Any) -> str:
    negative = getattr(plan, "allow_negative_icc", True)
    icc = (
        " Where every participant has both visits, the covariance of a participant's biopsies may be "
        "negative (compound symmetry), so that complete pairs give exactly the paired t-test; beside "
        "unpaired biopsies the participant variance is not allowed below zero."
        if negative
        else " The participant variance is not allowed below zero."
    )
    method = _DDF.get(str(getattr(plan, "ddf", "")), str(getattr(plan, "ddf", "not recorded")))
    several = len(dict(plan.contrasts)) > 1
    each = " Each contrast is fitted on its own visits." if several else ""
    return (
        "Every feature was fitted by restricted maximum likelihood (REML) with the model "
        f"{plan.formula}.{icc}{each} "
        f"Tests and 95 % intervals use the t distribution with {method}. A feature that could not be "
        "fitted keeps its "
        "row with a status and a reason and takes no part in the adjustment for multiplicity."
    )


def _other_models(result: Result) -> str:
    """The models beside the linear one, where a row was decided by them."""
    models = set(result.table["model"].dropna()) if "model" in result.table else set()
    plain = {str(model).removesuffix(", moderated") for model in models}
    told = [text for model, text in _MODELS.items() if model in plain & set(_CELLS)]
    if plain & set(_CELLS):
        told.append(
            "These are fitted by maximum likelihood (Laplace approximation) and tested by t with pairs - 1 "
            "degrees of freedom."
        )
    told += [text for model, text in _MODELS.items() if model in plain - set(_CELLS)]
    if "tobit mixed" in plain:
        told.append(
            "Values below or above a limit of quantification were taken as censored there: a Tobit mixed "
            "model, fitted by maximum likelihood (quadrature) and tested by t with pairs - 1 degrees of "
            "freedom."
        )
    if any(str(model).endswith(", moderated") for model in models):
        told.append(
            "The residual variances of genes were drawn towards their common prior (empirical Bayes), which "
            "adds the prior's degrees of freedom to those of the contrast; the precision weights are voom's."
        )
    if len(getattr(result, "robustness", ())):
        told.append(
            "Beside primary features stand the exact sign-flip test and Wilcoxon's signed-rank test of the "
            "participants' changes (zero changes left out), the range of the estimate when the model is "
            "fitted without each participant, and a percentile bootstrap over participants, which below 20 "
            "participants is too short and a secondary figure."
        )
    return " ".join(told)


def _families(result: Result) -> str:
    table = result.table
    rows = table[table["q"].notna()]
    lines = []
    for family in sorted(dict.fromkeys(rows["family"]), key=lambda name: name != "primary"):
        mine = rows[rows["family"] == family]
        method = str(mine["adjustment"].iloc[0])
        whole = family == "primary" or method == "fixed-sequence"
        scope = "over its features and all contrasts" if whole else "within each contrast"
        tests = len(mine) if whole else _tests(mine)
        count = f"{tests:,} test{'' if tests == 1 else 's'}"
        lines.append(f"{family}, by {_ADJUST.get(method, method)} {scope} ({count})")
    if not lines:
        return "No adjustment for multiplicity was made: no feature could be tested."
    looks = sorted({str(look) for look in rows["look"]} - {""}) if "look" in rows else []
    looked = (
        " Before that, p of families under Holm's method or a fixed sequence were adjusted for the declared "
        f"looks at accumulating data: look {looks[0]}."
        if looks
        else ""
    )
    return (
        f"Families for multiplicity, fixed in the plan: {'; '.join(lines)}. An adjusted p below 0.05 is "
        "called. Adjusted "
        f"p-values under Benjamini and Hochberg's method are written q.{looked}"
    )


def _tests(rows: pd.DataFrame) -> int:
    return int(rows.groupby("contrast", sort=False).size().max())


def limits_text(result: Result) -> tuple[str, ...]:
    """State what the analysis cannot say."""
    out = [
        "Serial biopsies of one arm: a change is a change over time under treatment, not yet an effect "
        "of the drug. "
        "Untreated drift, the wound of the first biopsy, the choice of lesion and regression to the mean "
        "all add to it.",
        "A participant's own change carries the noise of two biopsies; a bar of the waterfall is not a "
        "responder.",
        "An interval that includes no change is no proof of no change: read its ends.",
    ]
    if (result.table["kind"] == "count").any():
        out.append(
            "Gene expression is of the whole piece of tissue: a rise of immune genes can be more cells, "
            "more expression "
            "per cell, or less tumour in the piece. Genes are not independent of each other, and none is "
            "a finding by "
            "itself."
        )
    if result.table["kind"].isin(["density", "proportion", "score"]).any():
        out.append(
            "Cells were found and called by an algorithm with fixed thresholds. Features named 'tissue' "
            "count the whole tissue of a slide, tumour and stroma alike; what is not tissue or was marked as "
            "excluded is in neither cells nor area."
        )
    out.append(
        "This software is for research. It is not a validated system and makes no clinical decision; the "
        "report keeps "
        "participants' ids, which stay personal data."
    )
    return tuple(out)
