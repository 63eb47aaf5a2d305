"""Rules: presets, and rules of a user's own."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from builders import text
from scipy import stats

from pdbiomarker.decide import Activity, BayesRate, Participant, ResponderCount, preset, presets, read_rule
from pdbiomarker.decide.words import criterion, shown
from pdbiomarker.errors import InputError

COUNT = """
name: mine
title: my rule
criterion: responder_count
source: our protocol, version 3
participant: {fold: 2, beyond_noise: 0.95}
go_at_least: 3
of: 8
"""


def test_every_preset_has_a_source_and_says_what_it_is():
    assert {"rubinstein_2010", "dejardin_2024", "x_of_n", "bayes_go", "rcv_fraction", "gmr_margin"} <= set(
        presets()
    )
    for name in presets():
        rule = preset(name)
        assert rule.name == name
        assert rule.title
        assert len(rule.source) > 10


def test_rubinsteins_multipliers_are_normal_quantiles_times_root_two():
    """1.812 (one-sided .10) and 2.326 (.05)."""
    loose, strict = preset("rubinstein_2010"), preset("rubinstein_2010_strict")
    assert isinstance(loose, ResponderCount)
    assert isinstance(strict, ResponderCount)
    assert loose.participant.sd_multiple == pytest.approx(stats.norm.isf(0.10) * 2**0.5, abs=5e-4)
    assert strict.participant.sd_multiple == pytest.approx(stats.norm.isf(0.05) * 2**0.5, abs=5e-4)
    assert (loose.go_at_least, loose.of, loose.participant.fold) == (2, 3, 2.0)


def test_dejardins_thresholds_are_the_published_ones_and_joined_by_and():
    """.9 and 6.2 on the natural logarithm."""
    rule = preset("dejardin_2024")
    assert isinstance(rule, Activity)
    assert round(math.log(rule.fold), 1) == 0.9
    assert round(math.log(rule.on_treatment), 1) == 6.2
    assert rule.join == "and"


def test_a_rule_of_ones_own_is_read(tmp_path):
    rule = read_rule(text(tmp_path / "rule.yaml", COUNT))
    assert isinstance(rule, ResponderCount)
    assert (rule.go_at_least, rule.of, rule.participant.beyond_noise) == (3, 8, 0.95)
    assert rule.direction == "up"


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("of: 8", "of: 2", None, "above 'of'"),
        ("of: 8", "off: 8", 7, "unknown"),
        ("go_at_least: 3", "go_at_least: 3.5", 6, "whole number"),
        ("criterion: responder_count", "criterion: eval", 3, "names its criterion"),
        ("source: our protocol, version 3\n", "", None, "missing"),
        ("{fold: 2, beyond_noise: 0.95}", "{}", 5, "needs a criterion"),
        ("{fold: 2, beyond_noise: 0.95}", "{fold: 0.5}", 5, "greater than or equal to 1"),
        ("{fold: 2, beyond_noise: 0.95}", "{fold: 2, code: import os}", 5, "unknown"),
        ("name: mine", "name: ../mine", 1, "pattern"),
    ],
)
def test_a_faulty_rule_is_refused_with_its_place(tmp_path, old, new, line, said):
    with pytest.raises(InputError) as caught:
        read_rule(text(tmp_path / "rule.yaml", COUNT.replace(old, new)))
    found = [p for p in caught.value.problems if re.search(said, p.message)]
    assert found, [str(p) for p in caught.value.problems]
    assert {p.code for p in caught.value.problems} == {"E-RULE-001"}
    assert {p.file for p in caught.value.problems} == {"rule.yaml"}
    if line is not None:
        assert found[0].row == line


def test_the_activity_rule_cannot_be_joined_by_or(tmp_path):
    content = """
    name: gate
    title: a gate
    criterion: clinical_activity
    source: someone's idea
    fold: 2.5
    on_treatment: 500
    join: or
    """
    with pytest.raises(InputError) as caught:
        read_rule(text(tmp_path / "rule.yaml", content))
    assert [(p.code, p.column) for p in caught.value.problems] == [("E-RULE-001", "join")]


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(InputError) as caught:
        preset("rubinstein")
    (problem,) = caught.value.problems
    assert problem.code == "E-RULE-002"
    assert "rubinstein_2010" in problem.remedy


def test_the_rule_that_the_documentation_shows_is_read_as_it_stands(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "methods" / "decisions.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    (block,) = (b for b in blocks if b.startswith("name:"))
    rule = read_rule(text(tmp_path / "rule.yaml", block))
    assert isinstance(rule, ResponderCount)
    assert (rule.go_at_least, rule.consider_at_least, rule.min_evaluable) == (3, 2, 5)


def test_rules_and_changes_in_words():
    points = {"name": "r", "title": "r", "source": "our own", "criterion": "bayes_rate", "rate": 0.3}
    rate = BayesRate(**points, participant=Participant(fold=2.0), go_above=0.9, stop_below=0.1)
    assert criterion(rate) == "P(rate of responders > 0.3) > 0.9, stop < 0.1: a 2-fold rise"
    by_points = rate.model_copy(update={"participant": Participant(points=5.0)})
    said = "P(rate of responders > 0.3) > 0.9, stop < 0.1: a rise of 5 points"
    assert [criterion(by_points, scale) for scale in ("identity", "log2")] == [said, said]
    assert criterion(preset("gmr_margin")) == ("geometric mean ratio (rise) above 1.25, one-sided p <= 0.05")
    assert [shown(1.0, "log2"), shown(math.log(3.0), "logit"), shown(-2.5, "identity")] == [
        "ratio 2",
        "odds ratio 3",
        "-2.5 points",
    ]
