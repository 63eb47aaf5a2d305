"""Claims on the trial around the biopsies: exposure, response, survival, antibodies, escalation, CDISC."""

# ruff: noqa: E501 - tables of claims and prose, one line each
from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pandas as pd

import pdbiomarker as pb
from pdbiomarker.clinical.cdisc import ImportOptions, import_cdisc
from pdbiomarker.clinical.pk import dose_proportionality, nca
from pdbiomarker.clinical.response import ResponseRules, best_overall_response
from pdbiomarker.clinical.survival import cox, kaplan_meier, progression_free_survival
from tests.reference_inputs import PKNCA, infusions, recist_example, theoph
from tests.validation.claim import Claim, Sources, differing, relative


def _worst(table: pd.DataFrame, theirs: pd.DataFrame, subject: str) -> float:
    ours = table.set_index("participant_id")
    rows = theirs[theirs["PPTESTCD"].isin(PKNCA)]
    found = [ours.loc[s, PKNCA[c]] for s, c in zip(rows[subject], rows["PPTESTCD"], strict=True)]
    return relative(found, rows["PPORRES"])


def oral(sources: Sources) -> float:
    samples, doses = theoph(sources.outside("data/pk_base_r/Theoph.csv"))
    golden = pd.read_csv(sources.outside("golden/nca_theoph_pknca.csv"), dtype={"Subject": str})
    return _worst(nca(samples, doses, route="oral"), golden, "Subject")


def eight_infusions(sources: Sources) -> float:
    samples, doses = infusions(sources.outside("golden/nca_infusion_conc.csv"))
    golden = pd.read_csv(sources.outside("golden/nca_infusion_pknca.csv"))
    names = {"linear_up_log_down": "lin up/log down", "linear": "linear"}
    return max(
        _worst(nca(samples, doses, method=ours), golden[golden["method"] == theirs], "subject")  # type: ignore[arg-type]
        for ours, theirs in names.items()
    )


def power_model(_: Sources) -> float:
    dose = np.repeat([1, 3, 10, 30], 3)
    auc = [11.2, 9.1, 13.5, 35.0, 27.9, 41.2, 95.0, 141.0, 120.5, 420.0, 310.3, 505.9]
    frame = pd.DataFrame({"participant_id": [f"P{i:02}" for i in range(12)], "dose": dose, "auc_inf": auc})
    row = dose_proportionality(frame, values=["auc_inf"]).iloc[0]
    expected = [1.0524262288400843, 0.0433439309473082, 0.9738670390882543, 1.1309854185919141]
    return relative([row[c] for c in ("slope", "se", "ci_low", "ci_high")], expected)


def confirmed(sources: Sources) -> float:
    rules = {
        "1": ResponseRules(min_sd_days=28),
        "2": ResponseRules(
            min_sd_days=28, confirmation_days=14, max_ne_between=0, accept_sd_between=True, missing_as_ne=True
        ),
    }
    found, expected = [], []
    path = sources.golden("response/confirmed_best_response.csv")
    for case in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        scans = [tuple(text.split("=")) for text in case["assessments"].split(";") if text]
        frame = pd.DataFrame(scans, columns=["date", "response"]).assign(
            participant_id=case["participant_id"]
        )
        who = pd.DataFrame(
            {"participant_id": [case["participant_id"]], "first_dose_datetime": [case["first_dose"]]}
        )
        row = best_overall_response(frame, who, rules=rules[case["set"]]).table.iloc[0]
        found.append((row["best_response"], row["best_response_date"]))
        expected.append((case["expected_response"], case["expected_date"]))
    return differing(found, expected)


def pfs(sources: Sources) -> float:
    """Days and events of 254 participants."""
    rs, adsl, tte = (
        sources.outside(f"data/cdisc_onco_pk/pharmaverse{name}.parquet")
        for name in ("sdtm__rs_onco_recist", "adam__adsl", "adam__adtte_onco")
    )
    scans, who, outcomes = recist_example(rs, adsl)
    adtte = pd.read_parquet(tte)
    found = progression_free_survival(scans, who, outcomes, reader="INVESTIGATOR").table
    found = found[found["in_analysis"]].set_index("participant_id")
    want = adtte[adtte["PARAMCD"] == "PFS"].set_index("USUBJID").reindex(found.index)
    ours = zip(found["days"], found["event"], strict=True)
    return differing(list(ours), list(zip(want["AVAL"], want["CNSR"] == 0, strict=True)))


def curves(sources: Sources) -> float:
    """Numbers at risk, survival and limits, medians and their limits, two levels."""
    data = pd.read_csv(sources.golden("survival/data.csv"))
    curve, median = (pd.read_csv(sources.golden(f"survival/{name}.csv")) for name in ("curves", "medians"))
    worst = 0.0
    for (name, group, level), want in curve.groupby(["set", "group", "level"]):
        found = kaplan_meier(data[(data["set"] == name) & (data["group"] == group)], level=level)
        middle = median[(median["set"] == name) & (median["group"] == group) & (median["level"] == level)]
        for column in ("n_risk", "n_event", "survival", "ci_low", "ci_high"):
            worst = max(worst, relative(found.table[column], want[column]))
        for column in ("median_days", "ci_low", "ci_high"):
            worst = max(worst, relative(found.medians[column], middle[column]))
    return worst


def cox_models(sources: Sources) -> float:
    data, want = (pd.read_csv(sources.golden(f"survival/{name}.csv")) for name in ("data", "cox"))
    ties = data[data["set"] == "ties"]
    worst = 0.0
    for model, terms in (("x", ["x"]), ("x+group", ["x", "group"])):
        found, own = cox(ties, terms), want[want["model"] == model]
        worst = max(worst, *(relative(found[c], own[c]) for c in ("log_hazard_ratio", "se", "p")))
    return worst


def antibodies(sources: Sources) -> float:
    """Eight counts of the public test data: 254 participants, titres as log10."""
    ada = pb.clinical.ada
    raw = pd.read_parquet(sources.outside("data/cdisc_onco_pk/pharmaversesdtm__is_ada.parquet"))
    raw = raw[raw["ISTESTCD"] == "ADA_BAB"]
    texts = raw["ISSTRESC"]
    titre = texts.str.match(r"[<.0-9]").fillna(False).astype(bool)
    table = pd.DataFrame({"participant_id": raw["USUBJID"], "study_day": raw["ISDY"].astype(int)})
    table["result"] = np.where(texts == "NEGATIVE", "negative", "positive")
    table["titre"], table["titre_scale"] = texts.where(titre, None), "log10"
    table.loc[texts.isna(), "result"] = None
    options = ada.AdaOptions(minimum_titre=10**1.40)
    status = ada.classify(ada.read_samples(table, options=options), options=options)
    found = ada.incidence(status).set_index("measure")["n"]
    expected = {
        "baseline prevalence": 118, "evaluable": 144, "negative": 55, "induced": 27, "boosted": 22, "unaffected": 40,
        "treatment-emergent incidence": 49, "overall prevalence": 89,
    }  # fmt: skip
    return differing([int(found[name]) for name in expected], expected.values())


def _options(text: str) -> dict[str, Any]:
    flags = {"TRUE": True, "FALSE": False}
    parts = (part.split("=") for part in text.split(",") if part.strip())
    return {k.strip(): flags[v.strip()] if v.strip() in flags else float(v) for k, v in parts}


def next_doses(sources: Sources) -> float:
    path = sources.outside("golden/escalation_decisions.csv")
    found, expected = [], []
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        target = {"target": float(row["target"])} if row["target"] else {}
        options, levels = _options(row["parameters"]), int(row["num_doses"])
        found.append(
            pb.clinical.escalation.next_dose(
                row["design"], row["outcomes"], levels, options=options, **target
            )
        )
        dose = None if row["recommended_dose"] == "NA" else int(row["recommended_dose"])
        expected.append((dose, row["continue"] == "true"))
    return differing(found, expected)


def boin_table(_: Sources) -> float:
    """Escalate, de-escalate, eliminate at a target of 30 %, 1 to 9 treated."""
    table = pb.clinical.escalation.boundaries("boin", target=0.30, max_n=9)
    columns = ("escalate_if_at_most", "deescalate_if_at_least", "eliminate_if_at_least")
    found = [n for c in columns for n in table[c].dropna().astype(int)]
    published = [0, 0, 0, 0, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 3, 3, 3, 4, 3, 3, 4, 4, 5, 5, 5]
    return differing(found, published)


def cdisc(sources: Sources) -> float:
    """Records and participants of the public test data, as its provenance and an independent count state them."""
    use = {domain: f"pharmaversesdtm__{domain.lower()}_onco_recist.parquet" for domain in ("RS", "TR", "TU")}
    options = ImportOptions(reader="INVESTIGATOR", use=use, titre_scale="log10")
    tables = import_cdisc(sources.outside("data/cdisc_onco_pk"), options=options).tables
    found = [len(tables["participants"]), len(tables["concentrations"]), tables["doses"]["participant_id"].nunique(),
             tables["adverse_events"]["participant_id"].nunique(), tables["ada"]["participant_id"].nunique()]  # fmt: skip
    return differing(found, [306, 4572, 254, 225, 254])


PK, RESPONSE, ADA, DOSE = "Exposure", "Response and survival", "Antibodies", "Dose escalation"
ADMIRAL = "ADaM of the public test data (pharmaverse)"
SURVIVAL = "R's survival 3.5-3 (`golden/survival`)"

CLAIMS = [
    Claim("nca_oral", PK, "areas, half-life, clearance of 12 oral profiles", "PKNCA 0.10", "relative", 1e-8, oral,
          "clinical/test_nca.py", data=True),
    Claim("nca_infusions", PK, "the same of 8 infusions with values below the limit, two rules", "PKNCA 0.10", "relative",
          1e-8, eight_infusions, "clinical/test_nca.py", data=True),
    Claim("power_model", PK, "dose proportionality: slope, SE, 90 % limits", "R's lm (`golden/pk`)", "relative", 1e-10,
          power_model, "clinical/test_pk_doses.py"),
    Claim("confirmed_response", RESPONSE, "confirmed best response and its date, 18 published cases",
          "tests of admiralonco (`golden/response`)", "cases", 0, confirmed,
          "clinical/test_best_response.py, clinical/test_lesions.py"),
    Claim("pfs", RESPONSE, "days and events of PFS, 254 participants", ADMIRAL, "cases", 0, pfs,
          "clinical/test_endpoints.py", data=True),
    Claim("kaplan_meier", RESPONSE, "curves, medians and their limits", SURVIVAL, "relative", 1e-11, curves,
          "clinical/test_survival_estimate.py"),
    Claim("cox", RESPONSE, "Cox models with ties", SURVIVAL, "relative", 1e-8, cox_models,
          "clinical/test_survival_estimate.py"),
    Claim("ada", ADA, "prevalence, induced, boosted, incidence: eight counts", "an independent count of the public test "
          "data", "cases", 0, antibodies, "clinical/test_ada.py", data=True),
    Claim("next_doses", DOSE, "next dose of 197 published histories: 3+3, mTPI, mTPI-2, BOIN",
          "Korn 1994, Ji 2010, Guo 2017, Yan 2020", "cases", 0, next_doses, "clinical/test_escalation.py", data=True),
    Claim("boin_table", DOSE, "BOIN's table at a target of 30 %", "Liu and Yuan 2015", "cases", 0, boin_table,
          "clinical/test_escalation.py"),
    Claim("cdisc_import", "CDISC", "participants and records taken from SDTM and ADaM", "an independent count of the public "
          "test data", "cases", 0, cdisc, "clinical/cdisc/test_real_data.py, clinical/cdisc/test_importing.py", data=True),
]  # fmt: skip
