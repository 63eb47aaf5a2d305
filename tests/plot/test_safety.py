"""Figures of safety: what they show is what the tables hold."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.axes import Axes

import pdbiomarker as pb
from pdbiomarker.plot.style import render_png

PEOPLE = pd.DataFrame(
    {
        "participant_id": ["001", "002", "003", "004"],
        "first_dose_datetime": ["2025-01-10", "2025-01-20", "2025-02-01", "2025-03-01"],
        "dose_mg": [3, 3, 10, 10],
        "cohort": ["esc", "esc", "esc", "expansion"],
    }
)


@pytest.fixture(scope="module")
def data() -> pb.clinical.safety.SafetyData:
    events = pd.DataFrame(
        {
            "participant_id": ["001", "001", "003"],
            "term": ["Rash", "$x$", "Syncope"],
            "grade": [1, 4, 3],
            "start": ["2025-01-15", "2025-01-16", "2025-02-03"],
            "dose_limiting": ["no", "no", "yes"],
        }
    )
    return pb.clinical.safety.read_events(events, PEOPLE)


def texts(ax: Axes) -> list[str]:
    return [t.get_text() for t in ax.texts]


def test_the_bars_show_each_participant_once_at_the_maximum_grade(
    data: pb.clinical.safety.SafetyData,
) -> None:
    ax = pb.plot.adverse_events(data)
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == ["3 mg  (n = 2)", "10 mg  (n = 2)", "all doses  (n = 4)"]
    widths = [round(p.get_width(), 6) for p in ax.patches]
    # none, grades 1 to 5; in % of the treated.
    assert widths == [50, 0, 0, 0, 50, 0, 50, 0, 0, 50, 0, 0, 50, 0, 0, 25, 25, 0]


def test_dose_limiting_toxicities_stand_beside_the_bars(data: pb.clinical.safety.SafetyData) -> None:
    table = pb.clinical.safety.dlt_table(pb.clinical.safety.dlt_evaluable(data))
    ax = pb.plot.adverse_events(data, dlt=table)
    assert [t for t in texts(ax) if t.startswith("DLT")] == [
        "DLT 0 of 0 evaluable", "DLT 1 of 1 evaluable", "DLT 1 of 1 evaluable",
    ]  # fmt: skip


def test_nobody_treated_gives_the_reason() -> None:
    events = pd.DataFrame({"participant_id": ["001"], "term": ["Rash"]})
    data = pb.clinical.safety.read_events(events, PEOPLE[["participant_id"]])
    assert any("No participant was treated" in t for t in texts(pb.plot.adverse_events(data)))


def test_the_path_marks_every_toxicity() -> None:
    ax = pb.plot.escalation_path("1NNN 2NTT 1NNT", n_doses=3, recommended=(1, False))
    marks = [(line.get_marker(), line.get_ydata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]
    assert [y for m, y in marks if m == "X"] == [2, 2, 1]
    assert sum(m == "o" for m, _ in marks) == 6
    assert any("stop: level 1" in t for t in texts(ax))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["1", "2", "3"]


def test_the_path_of_a_study_shows_who_is_not_evaluable_and_counts_the_expansion(
    data: pb.clinical.safety.SafetyData,
) -> None:
    path = pb.clinical.safety.outcomes_of(pb.clinical.safety.dlt_evaluable(data))
    ax = pb.plot.escalation_path(path)
    said = " ".join(texts(ax))
    assert "1 participants evaluable" in said
    assert "2 not evaluable or pending" in said.replace("\n", " ")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["1: 3 mg", "2: 10 mg"]
    assert "Nobody was treated" in " ".join(texts(pb.plot.escalation_path("", n_doses=2)))


def test_the_decision_table_shows_every_cell_once() -> None:
    table = pb.clinical.escalation.decision_table("boin", max_n=6)
    ax = pb.plot.decision_table(table, title="BOIN, target 30 %", at=(3, 1))
    letters = [t for t in texts(ax) if t in {"E", "S", "D", "DU"}]
    wanted = {"escalate": "E", "stay": "S", "de-escalate": "D", "eliminate": "DU"}
    assert sorted(letters) == sorted(wanted[d] for d in table["decision"])
    # The lines of the subtitle are written from the last to the first.
    said = " ".join(reversed(texts(ax)))
    assert "Framed: the current dose, 1 of 3." in said


def test_titres_are_drawn_where_they_are_and_negatives_below_them() -> None:
    samples = pb.clinical.ada.read_samples(
        pd.DataFrame(
            {
                "participant_id": ["001", "001", "002", "002"],
                "study_day": [-1, 29, -1, 29],
                "result": ["negative", "positive", "negative", "negative"],
                "titre": [None, "1000", None, None],
                "titre_scale": [None, "linear", None, None],
            }
        )
    )
    ax = pb.plot.ada_titres(samples, pb.clinical.ada.classify(samples))
    lines = [x for x in ax.lines if x.get_linestyle() == "-" and len(x.get_xdata()) == 2]
    (line,) = [x for x in lines if x.get_ydata()[1] == pytest.approx(3)]
    assert line.get_xdata()[1] == pytest.approx(4)
    assert line.get_ydata()[0] < 3
    legend = ax.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["induced (1)", "negative (1)"]
    assert "001" in texts(ax)


def test_a_figure_is_the_same_bytes_each_time_it_is_drawn() -> None:
    def drawn() -> bytes:
        figure = pb.plot.escalation_path("1NNN 2NTT", n_doses=3).get_figure(root=True)
        assert figure is not None
        return render_png(figure)

    assert drawn() == drawn()
