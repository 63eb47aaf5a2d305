"""The section on what could fool us: every check in words, and its figures."""

from __future__ import annotations

from pdbiomarker import plot
from pdbiomarker.decide import Review
from pdbiomarker.plot.decided import each_row
from pdbiomarker.plot.numbers import format_number, p_equals
from pdbiomarker.plot.select import RATIO_KINDS, Result, as_effect, effect_unit, select, set_label
from pdbiomarker.report.blocks import drawn, key_of, table_of
from pdbiomarker.report.content import Block, Column, Figure, Text
from pdbiomarker.report.options import review_options
from pdbiomarker.report.reviewed import MOST, draw_of, drawn_features, feature_column, in_units, label_of

__all__ = ["honesty_blocks"]


def honesty_blocks(result: Result, review: Review) -> tuple[Block, ...]:
    """Make the table of the checks, and the figures of what else could have made the result."""
    checks = review.honesty_checks
    order = {"caution": 0, "not told": 1, "clear": 2}
    rows = checks.assign(
        label=[label_of(result, review, f) for f in checks["feature"]],
        verdict=[
            _of_sets(result, review, f, said)
            if check == "analysis sets"
            else in_units(result, review, f, said)
            for check, f, said in zip(checks["check"], checks["feature"], checks["verdict"], strict=True)
        ],
        place=[order.get(str(f), 1) for f in checks["finding"]],
    )
    rows = rows.sort_values(["place"], kind="stable").reset_index(drop=True)
    heads = [
        *feature_column(review),
        ("question", Column("question")),
        *[("finding", Column("finding")), ("verdict", Column("in words"))],
    ]
    counted = ", ".join(f"{int((checks['finding'] == f).sum())} {f}" for f in order)
    caption = (
        f"What else could have made the result ({counted}). clear: nothing against it; caution: it may be "
        "due to this; not told: the data do not tell. Their tables are results/honesty_*.csv."
    )
    blocks: list[Block] = [table_of("honesty-checks", caption, rows, heads)]
    for reference in drawn_features(review):
        label = label_of(result, review, reference)
        lines = sum(len(review.of(name, reference)) for name in ("analysis sets", "offset")) + 8
        used = review_options(result, review, reference)
        blocks += [
            Figure(
                key_of("sensitivity", reference),
                f"{label}: the effect in other analysis sets, without the participants who move it most, "
                f"with other offsets, and where participants without a second biopsy had not changed; {used}",
                drawn(7.6, 0.27 * lines + 1.9, draw_of(plot.sensitivity, result, review, reference)),
            ),
            Figure(
                key_of("regression", reference),
                f"{label}: change against baseline, with what measurement error alone makes of that "
                f"relation; {used}",
                drawn(5.9, 4.4, draw_of(plot.regression_to_the_mean, result, review, reference)),
                wide=False,
            ),
            Figure(
                key_of("tipping", reference),
                f"{label}: the effect in all participants with a baseline, by how those without a "
                f"second biopsy may have changed (pattern mixture); {used}",
                drawn(5.9, 4.4, draw_of(plot.tipping_point, result, review, reference)),
                wide=False,
            ),
        ]
        # A score has no fold changes; that the check tells nothing stands in the table above.
        if len(review.of("threshold", reference)):
            blocks.append(
                Figure(
                    key_of("thresholds", reference),
                    f"{label}: responders at several fold changes against noise alone; {used}",
                    drawn(7.6, 3.6, draw_of(plot.thresholds, result, review, reference)),
                )
            )
    if len(review.features) > MOST:
        rest = len(review.features) - MOST
        blocks.append(
            Text((f"Figures of {rest} more features are not drawn here; their rows are above.",), "note")
        )
    return tuple(blocks)


def _of_sets(result: Result, review: Review, reference: str, said: str) -> str:
    """What the analysis sets say, with their names and effects as the figures write them."""
    rows = review.of("analysis sets", reference)
    rows = rows[rows["p"].notna()] if len(rows) else rows
    if len(rows) < 2:
        return in_units(result, review, reference, said)
    chosen = select(result, reference, review.contrast)
    ratio = chosen.kind in RATIO_KINDS
    told = [
        f"{set_label(str(row.set))}: "
        f"{'× ' if ratio else ''}{format_number(as_effect(chosen.kind, float(row.estimate)))}, "
        f"{p_equals('p', float(row.p))}"
        for row in each_row(rows)
    ]
    unit = "" if ratio else f", in {effect_unit(result, chosen.row)}"
    return f"{said.partition(' (')[0]} ({'; '.join(told)}{unit})."
