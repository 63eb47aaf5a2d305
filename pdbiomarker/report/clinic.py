"""Sections of the report on the trial around the biopsies: response, exposure, change beside both, safety.

They are made of ``PDResult.clinical`` alone; a part that was not recorded has no block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdbiomarker import plot
from pdbiomarker.change import change_columns
from pdbiomarker.clinical.ada import AdaSamples
from pdbiomarker.clinical.people import dose_label
from pdbiomarker.clinical.survival import DAYS_PER_MONTH, KaplanMeier
from pdbiomarker.plot import pk as pk_figures
from pdbiomarker.plot.clinic import shown_change
from pdbiomarker.plot.numbers import format_number, format_unit
from pdbiomarker.plot.select import LOG_KINDS, Result, rows_of
from pdbiomarker.report.blocks import drawn, drawn_once, key_of, table_of
from pdbiomarker.report.content import Block, Column, Figure, Section, Table, Text

__all__ = ["clinical_sections"]

Tables = Mapping[str, pd.DataFrame]

_MOST_FEATURES: Final = 4
#: A swimmer figure of more participants has two columns.
_ONE_COLUMN: Final = 40
_PK_SHOWN: Final = {"cmax": "Cmax", "auc_last": "AUClast", "auc_inf": "AUCinf", "half_life": "half-life",
                    "cl": "CL", "vss": "Vss"}  # fmt: skip
_EXPOSURES: Final = {
    "auc_to_biopsy": "area under the concentration to the biopsy",
    "concentration_at_biopsy": "concentration at the biopsy",
}
_ADA_SHOWN: Final = (
    *("baseline prevalence", "evaluable", "treatment-emergent incidence", "induced", "boosted"),
    *("unaffected", "persistent", "transient", "neutralizing"),
)
_SHADES: Final = {
    **dict.fromkeys(LOG_KINDS, "log2 fold on treatment"),
    "proportion": "log2 odds ratio on treatment",
}
_CURVES: Final = {"pfs": "progression-free survival", "dor": "duration of response", "os": "overall survival"}
#: Endpoints that are drawn: title, what the axis shows, and where the time starts.
_DRAWN: Final = {
    "pfs": ("Progression-free survival", "alive without progression", "the first dose"),
    "os": ("Overall survival", "alive", "the first dose"),
    "dor": ("Duration of response", "still responding", "the first response of confirmed responders"),
}
#: A curve of fewer participants says no more than its row in the table.
_FEWEST: Final = 3
_LIMIT: Final = "Columns measured after the biopsy stand beside the change and explain nothing of it."


def clinical_sections(result: Result, by_dose: frozenset[str] = frozenset()) -> tuple[Section, ...]:
    """Make the sections of the trial around the biopsies; none of a study without clinical sheets.

    Parameters
    ----------
    result : PDResult
        With ``clinical``, as a run leaves it.
    by_dose : frozenset of str
        Features (``assay:feature``) whose change by dose another section has drawn.

    Returns
    -------
    tuple of Section
        ``efficacy``, ``exposure``, ``change-exposure`` and ``safety``, those that have something to say.
    """
    tables: Tables = getattr(result, "clinical", {})
    if not tables:
        return ()
    features = _features(result, tables)
    drawn_before = _columns_of(result, by_dose)
    found = (
        Section("efficacy", "Response and survival", tuple(_efficacy(tables, features))),
        Section("exposure", "Exposure", tuple(_exposure(tables))),
        Section(
            "change-exposure",
            "Change beside dose, exposure and response",
            tuple(_beside(tables, features, drawn_before)),
        ),
        Section("safety", "Antibodies and safety", (*_antibodies(tables), *_safety(tables))),
    )
    return tuple(section for section in found if section.blocks)


def _columns_of(result: Any, features: frozenset[str]) -> set[str]:
    """Columns of the joined table that hold the changes of these features (``assay:feature``)."""
    if not features:
        return set()
    return {column for column, (a, f) in change_columns(result).items() if f"{a}:{f}" in features}


def _features(result: Any, tables: Tables) -> list[tuple[str, str, str]]:
    """Column of the change, label and kind of each primary feature, those with a value."""
    joined = tables.get("joined")
    if joined is None:
        return []
    found = []
    for column, (assay, feature) in change_columns(result).items():
        rows = rows_of(result.table, assay, feature)
        label = rows["label"].iloc[0]
        if column in joined and joined[column].notna().any():
            found.append(
                (column, label if isinstance(label, str) and label else feature, rows["kind"].iloc[0])
            )
    return found


def _dose(dose: Any) -> str:
    return "" if pd.isna(dose) else dose_label(float(dose))


def _count(table: pd.DataFrame) -> int:
    return int(table["participant_id"].nunique())


# --- response and survival -----------------------------------------------------------------------------


def _efficacy(tables: Tables, features: list[tuple[str, str, str]]) -> list[Block]:
    blocks: list[Block] = []
    if "orr" in tables:
        blocks.append(_rates(tables["orr"]))
    if "km_medians" in tables:
        blocks.append(_medians(tables["km_medians"]))
    if len(tables.get("swimmer", ())):
        blocks.append(_swimmer(tables))
    blocks += _sizes(tables, features)
    blocks += _curves(tables)
    return blocks


def _curves(tables: Tables) -> list[Block]:
    """Kaplan-Meier curves of every endpoint that has enough participants for one."""
    blocks: list[Block] = []
    for name, (title, ylabel, start) in _DRAWN.items():
        if not len(tables.get(f"km_{name}", ())):
            continue
        curve = _curve(tables, name)
        n, events = (int(curve.medians[c].sum()) for c in ("n", "n_events"))
        if n < _FEWEST:
            continue  # its median stands in the table
        caption = (
            f"{title} from {start}; n = {n}, {_events(events)}. Dots: events; ticks: censored. Options: "
        )
        caption += "Kaplan-Meier, log-log limits; primary rules of results/clinical_response_rules.csv."
        size = (7.4, 4.1) if name == "pfs" else (6.2, 4.1)
        draw = drawn(*size, _curve_drawer(curve, title, ylabel, tables.get(name)))
        blocks.append(Figure(f"km-{name}", caption, draw, wide=name == "pfs"))
    return blocks


def _curve_drawer(
    curve: KaplanMeier, title: str, ylabel: str, people: pd.DataFrame | None
) -> Callable[[Axes], Axes]:
    return lambda ax: plot.survival_curve(curve, title=title, ylabel=ylabel, people=people, ax=ax)


def _events(n: int) -> str:
    return f"{n} event{'' if n == 1 else 's'}"


def _percent(rate: float, low: float, high: float) -> str:
    return f"{100 * rate:.0f}\u00a0% ({100 * low:.0f} to {100 * high:.0f})" if pd.notna(rate) else "–"


def _rates(orr: pd.DataFrame) -> Table:
    own = orr[orr["population"] == orr["population"].iloc[0]] if len(orr) else orr
    rows = own.assign(
        group=["all" if g == "all" else f"{float(g):g} mg" if b == "dose_mg" else str(g)
               for g, b in zip(own["group"], own["by"], strict=True)],
        of=[f"{w} of {n}" for w, n in zip(own["n_with"], own["n"], strict=True)],
        rate=[_percent(*v) for v in zip(own["rate"], own["ci_low"], own["ci_high"], strict=True)],
    )  # fmt: skip
    denominator = str(own["denominator"].iloc[0]) if len(own) else "nobody"
    columns = [
        *[("endpoint", Column("endpoint", "name")), ("group", Column("dose"))],
        *[("of", Column("participants")), ("rate", Column("rate (95 % CI)"))],
    ]
    caption = (
        f"Response by RECIST 1.1; denominator: {denominator}. Limits: Clopper-Pearson. ORR: CR or PR; DCR: "
        "CR, PR, SD or non-CR/non-PD. Other denominators are in results/clinical_orr.csv."
    )
    return table_of("efficacy-rates", caption, rows, columns)


def _medians(medians: pd.DataFrame) -> Table:
    own = medians[medians["curve"].isin([*_CURVES, "pfs_by_dose_mg"])]

    def months(days: float) -> str:
        return "not reached" if pd.isna(days) else f"{days / DAYS_PER_MONTH:.1f}"

    rows = own.assign(
        endpoint=[_CURVES[str(c).partition("_by_")[0]] for c in own["curve"]],
        group=["all" if g == "all" else dose_label(float(g)) for g in own["group"].astype(str)],
        median=[months(d) for d in own["median_days"]],
        limits=[f"{months(a)} to {months(b)}" for a, b in zip(own["ci_low"], own["ci_high"], strict=True)],
    )
    columns = [
        *[("endpoint", Column("endpoint", "name")), ("group", Column("dose")), ("n", Column("n", "number"))],
        *[("n_events", Column("events", "number")), ("median", Column("median, months"))],
        ("limits", Column("95 % CI")),
    ]
    caption = "Kaplan-Meier medians in months of 30.4 days; limits: log-log. Duration of response: confirmed "
    caption += "responders only."
    return table_of("efficacy-times", caption, rows, columns)


def _curve(tables: Tables, name: str) -> KaplanMeier:
    medians = tables["km_medians"]
    own = medians[medians["curve"] == name].drop(columns="curve").reset_index(drop=True)
    nobody = pd.DataFrame(columns=["participant_id", "why_not"])
    return KaplanMeier(tables[f"km_{name}"], own, 0.95, nobody)


def _swimmer(tables: Tables) -> Figure:
    bars, days = tables["swimmer"], tables["timeline"]
    kinds = days["kind"].astype(str)
    taken = days[kinds.str.startswith("biopsy")]
    known = {"biopsy, adequate": "yes", "biopsy, inadequate": "no"}
    biopsies = taken.assign(adequate=[known.get(kind, "") for kind in taken["kind"]])
    marks, doses = days[~kinds.str.startswith("biopsy") & (kinds != "dose")], days[kinds == "dose"]
    hue = "dose_mg" if bars["dose_mg"].nunique() > 1 else None
    caption = (
        f"Time on study, one bar a participant, in study days; n = {len(bars)}. Triangles: biopsies, open "
        "when inadequate; ticks: doses received; first CR, PR and progression that count. Options: a bar "
        "ends at the end of treatment or when last seen; response by RECIST 1.1, rules in "
        "results/clinical_response_rules.csv."
    )
    lines = len(bars) if len(bars) <= _ONE_COLUMN else (len(bars) + 1) // 2
    size = (9.2 if lines == len(bars) else 13.0, max(3.0, 1.5 + 0.21 * lines))
    draw = drawn(*size, lambda ax: plot.swimmer(
        bars, marks, biopsies, doses=doses if len(doses) else None, hue=hue, ax=ax))  # fmt: skip
    return Figure("swimmer", caption, draw)


def _sizes(tables: Tables, features: list[tuple[str, str, str]]) -> list[Block]:
    """Waterfall and spider of tumour size, coloured by the change of the first primary feature."""
    if not len(tables.get("waterfall", ())):
        return []
    hue, note, by = "best_response", "", ""
    sizes, lines = tables["waterfall"], tables["spider"]
    if features:
        column, label, kind = features[0]
        hue = _SHADES.get(kind, "change on treatment")
        joined = tables["joined"]
        shown = shown_change(joined[column], kind)
        change = dict(zip(joined["participant_id"], shown, strict=True))
        sizes, lines = (t.assign(**{hue: t["participant_id"].map(change)}) for t in (sizes, lines))
        by = f", by change of {label}"
        note = f" Colour: change of {label} on treatment; grey: no evaluable pair."
    note += " Options: sum of target diameters, RECIST 1.1, until progression or a new therapy."
    n = int(sizes["best_size_change_pct"].notna().sum())
    return [
        Figure(
            "size-waterfall",
            f"Best change of tumour size; n = {n} of {len(sizes)}.{note}",
            drawn(
                8.6,
                4.2,
                lambda ax: plot.size_waterfall(
                    sizes, hue=hue, title=f"Best change of tumour size{by}", ax=ax
                ),
            ),
        ),
        Figure(
            "spider",
            f"Change of tumour size by study day; n = {_count(lines)}.{note}",
            drawn(
                8.6, 4.6, lambda ax: plot.spider(lines, hue=hue, title=f"Change of tumour size{by}", ax=ax)
            ),
        ),
    ]


# --- exposure ------------------------------------------------------------------------------------------


def _exposure(tables: Tables) -> list[Block]:
    blocks: list[Block] = []
    if len(tables.get("pk_samples", ())):
        samples = tables["pk_samples"]
        labels = [c for c in ("analyte", "specimen") if c in samples]
        keys = samples[labels].fillna("").agg(", ".join, axis=1) if labels else pd.Series("", samples.index)
        for key in sorted(set(keys)):
            blocks.append(_concentrations(tables, samples[keys == key].drop(columns=labels), key))
        blocks.append(_parameters(tables))
    elif len(tables.get("schedule_summary", ())):
        blocks.append(
            Text(("No concentration was measured, or none could be analysed: only doses are known.",))
        )
    return blocks


def _concentrations(tables: Tables, samples: pd.DataFrame, name: str) -> Figure:
    doses = tables["pk_parameters"].drop_duplicates("participant_id")
    dose = {str(p): float(d) for p, d in zip(doses["participant_id"], doses["dose"], strict=True)}
    caption = (
        f"Concentration of {name or 'the drug'} over time; n = {_count(samples)} participants, "
        f"{len(samples)} samples. Thin: participants; thick: geometric means by dose; gap: an unsampled "
        "dose. Options: nominal times for means; below the LLOQ 0 in the linear panel, "
        "left out of the log panel."
    )
    return Figure(
        key_of("concentration", name),
        caption,
        drawn_once(lambda: pk_figures.concentration_time(samples, dose, dose_times=_dose_times(tables))),
    )


def _dose_times(tables: Tables) -> dict[str, list[float]]:
    """Nominal hours of the doses each participant received, from the first one."""
    days = tables.get("timeline")
    if days is None:
        return {}
    given = days[(days["kind"] == "dose") & days["study_day"].notna()]
    return {
        str(person): [24.0 * (float(day) - 1.0) for day in own]
        for person, own in given.groupby("participant_id")["study_day"]
    }


def _parameters(tables: Tables) -> Table:
    """One row for each dose: geometric mean and geometric CV of the main parameters."""
    summary = tables["pk_parameter_summary"]
    labels = [c for c in ("analyte", "specimen") if c in summary and summary[c].nunique() > 1]
    units = tables["pk_units"].drop_duplicates("parameter").set_index("parameter")["unit"].to_dict()
    shown = [p for p in _PK_SHOWN if summary.loc[summary["parameter"] == p, "geo_mean"].notna().any()]
    rows = []
    for key, own in summary.groupby([*labels, "dose"], sort=True):
        by = own.set_index("parameter")
        row: dict[str, object] = dict(zip([*labels, "dose"], key, strict=True))
        row["dose"] = _dose(row["dose"])
        row["n"] = int(own["n"].max())
        row["n_unreliable"] = int(str(by.at["auc_inf", "n_unreliable"])) if "auc_inf" in by.index else None
        for name in shown:
            mean, cv = (float(str(by.at[name, c])) for c in ("geo_mean", "geo_cv_pct"))
            spread = f" ({cv:.0f}\u00a0%)" if np.isfinite(cv) else ""
            row[name] = f"{format_number(mean)}{spread}" if np.isfinite(mean) else "–"
        rows.append(row)
    in_unit = {p: f" ({format_unit(units[p])})" if units.get(p) else "" for p in shown}
    heads = [(p, Column(f"{_PK_SHOWN[p]}{in_unit[p]}")) for p in shown]
    columns = [
        *[(c, Column(c)) for c in labels],
        *[("dose", Column("dose", "name")), ("n", Column("n", "number")), *heads],
        ("n_unreliable", Column("flagged", "number")),
    ]
    caption = (
        "Exposure after the first dose: geometric mean (geometric CV) by dose; no compartments. Flagged: "
        "AUCinf and what hangs on it rest on too short or too far an extrapolation; each flag is in "
        "results/clinical_pk_parameters.csv."
    )
    return table_of("pk-parameters", caption, pd.DataFrame(rows), columns)


# --- change beside the trial ---------------------------------------------------------------------------


def _beside(tables: Tables, features: list[tuple[str, str, str]], linked: set[str]) -> list[Block]:
    joined = tables.get("joined")
    if joined is None:
        return []
    if not features:
        return [
            Text(("No primary feature has a change to set beside dose and exposure.",)),
            _joined(tables, []),
        ]
    units = _units(tables)
    blocks: list[Block] = []
    for column, label, kind in features[:_MOST_FEATURES]:
        shown = joined[joined[column].notna()]
        n = f"n = {len(shown)} participants with a change. Options: strict analysis set; exploratory, no fit."
        if joined["dose_mg"].nunique() > 1 and column not in linked:
            draw = drawn(5.9, 4.2, lambda ax, c=column, k=kind, t=label: plot.change_by_dose(  # type: ignore[misc]
                joined, c, kind=k, label=t, ax=ax))  # fmt: skip
            blocks.append(Figure(key_of("dose", column), f"{label} by dose level; {n}", draw, wide=False))
        for exposure, words in _EXPOSURES.items():
            if not shown[exposure].notna().any():
                continue
            unit = units.get(exposure, "")
            draw = drawn(5.9, 4.2, lambda ax, c=column, e=exposure, k=kind, t=label, x=f"{words}{unit}": (  # type: ignore[misc]
                plot.change_by_exposure(joined, c, e, kind=k, label=t, exposure_label=x, ax=ax)))  # fmt: skip
            caption = f"{label} against the {words}; {n}"
            blocks.append(Figure(key_of(exposure, column), caption, draw, wide=False))
    return [*blocks, _joined(tables, features)]


def _units(tables: Tables) -> dict[str, str]:
    if "pk_units" not in tables:
        return {}
    table = tables["pk_units"].drop_duplicates("parameter").set_index("parameter")["unit"].to_dict()
    sources = {
        "auc_to_biopsy": "auc_to_biopsy",
        "concentration_at_biopsy": "concentration",
        "last_trough": "last_trough",
    }
    return {name: f" ({format_unit(table[source])})" for name, source in sources.items() if table.get(source)}


def _joined(tables: Tables, features: list[tuple[str, str, str]]) -> Table:
    joined, units = tables["joined"], _units(tables)
    shown = joined.assign(dose=[_dose(d) for d in joined["dose_mg"]])
    heads: list[tuple[str, Column]] = []
    for column, label, kind in features[:_MOST_FEATURES]:
        change = shown_change(joined[column], kind)
        shown[column] = np.exp2(change) if kind in LOG_KINDS or kind == "proportion" else change
        what = "fold" if kind in LOG_KINDS else "odds ratio" if kind == "proportion" else "change"
        named = what if len(features) == 1 else f"{label} ({what})"
        heads.append((column, Column(named, "number")))
    shown["pfs"] = [
        None if pd.isna(days) else f"{days:.0f}{'' if event else '+'}"
        for days, event in zip(joined["pfs_days"], joined["pfs_event"].fillna(value=False), strict=True)
    ]
    columns: list[tuple[str, Column]] = [
        *[("participant_id", Column("participant", "id")), ("dose", Column("dose", "name")), *heads],
        ("auc_to_biopsy", Column(f"AUC{units.get('auc_to_biopsy', '')}", "number")),
        *[("ada_at_biopsy", Column("ADA at biopsy")), ("best_response", Column("response"))],
        *[("best_size_change_pct", Column("size (%)", "number")), ("pfs", Column("PFS (days)", "id"))],
    ]
    of = f" of {features[0][1]}" if len(features) == 1 else ""
    columns = [(name, c) for name, c in columns if shown[name].notna().any()]
    caption = (
        f"The trial beside the change{of}, one row a participant (n = {len(joined)}). AUC: from first dose "
        f"to the biopsy; size: best change; +: censored. {_LIMIT} Concentration, trough, toxicity and every "
        "other column: results/clinical_joined.csv."
    )
    return table_of("joined", caption, shown, columns)


# --- antibodies and safety -----------------------------------------------------------------------------


def _antibodies(tables: Tables) -> list[Block]:
    if "ada_incidence" not in tables:
        return []
    incidence = tables["ada_incidence"]
    own = incidence[(incidence["dose"] == "all") & incidence["measure"].isin(_ADA_SHOWN)]
    rows = own.assign(
        of=[f"{n} of {d}" for n, d in zip(own["n"], own["denominator"], strict=True)],
        share=[_percent(*v) for v in zip(own["share"], own["share_low"], own["share_high"], strict=True)],
    )
    columns = [
        *[("measure", Column("antibodies", "name")), ("of", Column("participants"))],
        *[("share", Column("share (95 % CI)")), ("denominator_is", Column("of", minor=True))],
    ]
    caption = "Anti-drug antibodies, all doses; limits: Clopper-Pearson. By dose: "
    caption += "results/clinical_ada_incidence.csv."
    blocks: list[Block] = [table_of("ada", caption, rows, columns)]
    samples, status = tables["ada_samples"], tables["ada_participants"]
    if len(samples):
        told = AdaSamples(samples, {}, ())
        draw = drawn(8.4, 4.4, lambda ax: plot.ada_titres(told, status, ax=ax))
        n = f"n = {len(status)} participants, {len(samples)} samples"
        caption = f"Antibodies in time, one line a participant; {n}. Options: rules of the antibody table."
        blocks.append(Figure("ada-titres", caption, draw))
    return blocks


def _safety(tables: Tables) -> list[Block]:
    if "ae_by_term" not in tables:
        return []
    return [
        _limiting(tables["dlt_by_dose"], tables["dlt_participants"]),
        _kinds(tables["ae_by_kind"]),
        _terms(tables["ae_by_term"]),
    ]


def _limiting(by_dose: pd.DataFrame, people: pd.DataFrame) -> Table:
    hit = people[people["dlt"].fillna(value=False).astype(bool)]
    named = {"all": Counter(t for terms in hit["dlt_terms"] for t in str(terms).split("; "))}
    for dose, own in hit.groupby("dose_mg"):
        named[dose_label(float(str(dose)))] = Counter(
            t for ts in own["dlt_terms"] for t in str(ts).split("; ")
        )
    idle = [c for c in ("n_pending", "n_not_evaluable") if not by_dose[c].any()]
    rows = by_dose.assign(
        which=[
            ", ".join(f"{t} ({n})" for t, n in sorted(named.get(str(d), Counter()).items()))
            for d in by_dose["dose"]
        ],
        of=[f"{n} of {d}" for n, d in zip(by_dose["n_dlt"], by_dose["n_evaluable"], strict=True)],
        limits=[
            _percent(*(v / 100 for v in values))
            for values in zip(by_dose["pct"], by_dose["pct_low"], by_dose["pct_high"], strict=True)
        ],
    )
    columns = [
        *[("dose", Column("dose", "name")), ("n_treated", Column("treated", "number"))],
        *[("of", Column("DLT of evaluable")), ("limits", Column("rate (95 % CI)"))],
        *[("n_pending", Column("pending", "number")), ("n_not_evaluable", Column("not evaluable", "number"))],
        ("which", Column("which (participants)")),
    ]
    columns = [(name, column) for name, column in columns if name not in idle]
    return table_of("dlt", "Dose-limiting toxicities by dose; limits: Clopper-Pearson.", rows, columns)


def _kinds(by_kind: pd.DataFrame) -> Table:
    """Kinds of events down, doses across."""
    return _across(
        by_kind.assign(row=by_kind["kind"]),
        "ae-kinds",
        "Participants with treatment-emergent adverse events by kind and dose, CTCAE grades: n (%).",
        "adverse events",
    )


def _terms(by_term: pd.DataFrame) -> Table:
    """Terms down, doses across; the most frequent first."""
    own = by_term[(by_term["term"] != "") & (by_term["n_treated"] > 0)]
    total = own[own["dose"] == "all"].sort_values(["n", "term"], ascending=[False, True], kind="stable")
    order = {term: place for place, term in enumerate(total["term"])}
    own = own.assign(row=own["term"], place=own["term"].map(order)).sort_values("place", kind="stable")
    severe = {str(t): int(n) for t, n in zip(total["term"], total["n_severe"], strict=True)}
    return _across(
        own,
        "ae-terms",
        "Participants by term, most frequent first: n (%). Grade 3 or higher: last column, all doses.",
        "term",
        more=("grade 3 or higher", severe),
    )


def _across(
    rows: pd.DataFrame,
    key: str,
    caption: str,
    heading: str,
    *,
    more: tuple[str, Mapping[str, int]] | None = None,
) -> Table:
    doses = list(dict.fromkeys(rows["dose"]))
    treated = rows.drop_duplicates("dose").set_index("dose")["n_treated"].to_dict()
    cells: dict[str, dict[str, object]] = {}
    for name, dose, n, pct in zip(rows["row"], rows["dose"], rows["n"], rows["pct"], strict=True):
        text = f"{n} ({pct:.0f}\u00a0%)" if n else "0"
        cells.setdefault(str(name), {"row": name})[str(dose)] = text
    frame = pd.DataFrame(list(cells.values()), columns=["row", *map(str, doses)])
    heads = [(str(d), Column(f"{'all' if d == 'all' else d} (n = {int(treated[d])})")) for d in doses]
    columns = [("row", Column(heading, "name")), *heads]
    if more is not None:
        frame["more"] = [int(more[1].get(str(name), 0)) for name in frame["row"]]
        columns.append(("more", Column(more[0], "number")))
    return table_of(key, caption, frame, columns)
