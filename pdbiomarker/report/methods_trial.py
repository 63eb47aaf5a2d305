"""Methods of the trial around the biopsies and of links, and the references that a text cites."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from pdbiomarker.clinical.response import ResponseRules
from pdbiomarker.clinical.safety import SafetyOptions

__all__ = ["link_paragraph", "references", "trial_paragraphs"]

#: What a text must hold for a work to be cited, and the work.
_WORKS: Final[Mapping[str, str]] = {
    "Kenward and Roger": "Kenward MG, Roger JH. Biometrics 1997;53:983-997",
    "Satterthwaite": "Satterthwaite FE. Biometrics Bull 1946;2:110-114",
    "TMM": "Robinson MD, Oshlack A. Genome Biol 2010;11:R25",
    "voom": "Law CW et al. Genome Biol 2014;15:R29",
    "empirical Bayes": "Smyth GK. Stat Appl Genet Mol Biol 2004;3:3",
    "Holm": "Holm S. Scand J Stat 1979;6:65-70",
    "Benjamini and Hochberg": "Benjamini Y, Hochberg Y. J R Stat Soc B 1995;57:289-300",
    "Benjamini and Yekutieli": "Benjamini Y, Yekutieli D. Ann Stat 2001;29:1165-1188",
    "Wilcoxon": "Wilcoxon F. Biometrics Bull 1945;1:80-83",
    "Weerahandi 1993": "Weerahandi S. J Am Stat Assoc 1993;88:899-905",
    "reference change value": "Fraser CG, Harris EK. Crit Rev Clin Lab Sci 1989;27:409-437",
    "Clopper-Pearson": "Clopper CJ, Pearson ES. Biometrika 1934;26:404-413",
    "RECIST 1.1": "Eisenhauer EA et al. Eur J Cancer 2009;45:228-247",
    "Kaplan and Meier": "Kaplan EL, Meier P. J Am Stat Assoc 1958;53:457-481",
    "Brookmeyer and Crowley": "Brookmeyer R, Crowley J. Biometrics 1982;38:29-41",
    "Bonett and Wright": "Bonett DG, Wright TA. Psychometrika 2000;65:23-28",
    "Jonckheere": "Jonckheere AR. Biometrika 1954;41:133-145",
    "DeLong": "DeLong ER et al. Biometrics 1988;44:837-845",
    "Bland and Altman": "Bland JM, Altman DG. Lancet 1986;327:307-310",
    "Smith and others": "Smith BP et al. Pharm Res 2000;17:1278-1283",
}
_LINKS: Final[Mapping[str, str]] = {
    "exposure": "change and exposure by Spearman's correlation (limits by Bonett and Wright, p by "
    "permutation), a slope per tenfold exposure by least squares, and one permutation test of five shapes; "
    "curves only from 12 pairs over a tenfold range on",
    "response": "change and outcome by the order across best responses (Jonckheere-Terpstra), the area under "
    "the curve of responders with the variance of DeLong and others, and survival from a fixed landmark day "
    "at or after the end of the visit's window",
    "concordance": "agreement of assays by Spearman's correlation at each visit and of the changes, the "
    "correlation within participants centred by visit, and the limits of agreement of Bland and Altman on "
    "standardised values",
    "blood": "blood and tumour by Spearman's correlation of the changes of participants who have both",
}


def trial_paragraphs(tables: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """Write the paragraphs on the parts of the trial that were analysed.

    Parameters
    ----------
    tables : mapping of name to DataFrame
        As in ``PDResult.clinical``.
    """
    parts = [_response(tables), _survival(tables), _exposure(tables), _antibodies(tables), _safety(tables)]
    return tuple(p for p in parts if p)


def link_paragraph(kinds: Collection[str]) -> str:
    """Write the paragraph on links; empty without any of ``exposure, response, concordance, blood``."""
    told = [text for kind, text in _LINKS.items() if kind in kinds]
    if not told:
        return ""
    return f"Links, exploratory and with p that are not adjusted: {'; '.join(told)}."


def references(paragraphs: Sequence[str]) -> str:
    """List the works that the paragraphs rest on; empty when they name none."""
    text = " ".join(paragraphs)
    works = [work for mark, work in _WORKS.items() if mark in text]
    return f"References: {'. '.join(works)}." if works else ""


def _response(tables: Mapping[str, pd.DataFrame]) -> str:
    if not len(tables.get("best_response", ())):
        return ""
    rules = _rules_used(tables)
    between = "assessment" if rules["max_ne_between"] == "1" else "assessments"
    text = (
        "Response: best response by RECIST 1.1; a response is confirmed by another at least "
        f"{rules['confirmation_days']} days later, with at most {rules['max_ne_between']} {between} between "
        f"them that cannot be evaluated; stable disease from day {rules['min_sd_days']} on. Assessments "
        "after progression, a new anticancer therapy or the data cut-off do not count."
    )
    rates = tables.get("orr")
    if rates is not None and len(rates):
        bases = "; ".join(dict.fromkeys(map(str, rates["denominator"])))
        text += f" Rates with {rates['method'].iloc[0]} limits; denominators: {bases}."
    return text


def _rules_used(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Rules of response as the study used them; those of RECIST 1.1 where an older result has none."""
    used = ResponseRules().table()
    told = tables.get("response_rules")
    if told is not None and (own := told[told["rules"] == "response"]).size:
        used = own
    return dict(zip(used["option"].astype(str), used["value"].astype(str), strict=True))


def _survival(tables: Mapping[str, pd.DataFrame]) -> str:
    curves = tables.get("km_medians")
    if curves is None or not len(curves):
        return ""
    names = {"pfs": "progression-free survival from the first dose",
             "os": "overall survival from the first dose",
             "dor": "duration of response from the first response of confirmed responders"}  # fmt: skip
    told = [text for name, text in names.items() if (curves["curve"] == name).any()]
    text = (
        f"Times to event: {'; '.join(told)}; estimates of Kaplan and Meier with log-log limits, medians with "
        "limits after Brookmeyer and Crowley."
    )
    rules = tables.get("response_rules")
    if rules is not None and len(rules):
        own = rules[rules["rules"] == "primary"]
        lines = [f"{r['situation']}: {r['outcome']}" for _, r in own.iterrows()]
        text += f" Primary rules of progression-free survival: {'; '.join(lines)}."
    return text


def _exposure(tables: Mapping[str, pd.DataFrame]) -> str:
    parameters = tables.get("pk_parameters")
    if parameters is None or not len(parameters):
        return ""
    text = (
        "Pharmacokinetics: noncompartmental analysis of the first dose, with samples up to the second; areas "
        "by the linear rule, logarithmic where concentrations fall; the terminal slope over the last "
        "three or "
        "more samples above the limit after Tmax with the best adjusted r2; clearance, volumes and "
        "AUCinf are "
        "flagged, not withheld, where adjusted r2 is below 0.9, the span below 2 half-lives or more "
        "than 20 % "
        "of the area is extrapolated. Values below the limit are 0 before the first and after the last value "
        "above it and are dropped between."
    )
    if len(tables.get("exposure", ())):
        text += " Exposure at a biopsy is the area from the first dose to the biopsy, across doses."
    shape = tables.get("dose_proportionality")
    if shape is not None and len(shape):
        text += (
            " Dose proportionality by the power model, judged by the 90 % interval of its exponent "
            "(Smith and "
            "others 2000)."
        )
    return text


def _antibodies(tables: Mapping[str, pd.DataFrame]) -> str:
    people = tables.get("ada_participants")
    if people is None or not len(people):
        return ""
    return (
        "Anti-drug antibodies: a sample is positive when it is confirmed. Induced: positive after the first "
        "dose, negative or missing before; boosted: a titre of at least four times the baseline's; both are "
        "treatment-emergent, of participants with a conclusive sample after the first dose. Persistent: 16 "
        "weeks or more between the first and the last positive sample, or positive to the end."
    )


def _safety(tables: Mapping[str, pd.DataFrame]) -> str:
    events = tables.get("ae_by_kind")
    if events is None or not len(events):
        return ""
    options = SafetyOptions()  # a run has no others
    text = (
        f"Adverse events are treatment-emergent from the first dose to {options.days_after_last} days after "
        "the last; a participant counts once a row, at the maximum CTCAE grade."
    )
    people = tables.get("dlt_participants")
    if people is not None and len(people):
        ends: Any = people["window_end_day"].dropna()
        window = f"{int(ends.max())} days" if len(ends) else "the window"
        text += (
            f" Dose-limiting toxicity: evaluable with an event within {window} of the first dose, or "
            f"followed to their end with at least {options.least_dose_pct:g} % of the planned dose."
        )
    return text
