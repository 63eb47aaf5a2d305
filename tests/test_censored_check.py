"""`check` tells before any work where censored values will get no estimate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from builders import assay

from pdbiomarker.plan import Plan
from pdbiomarker.run.censored import censored_problems

PLAN = Plan(formula="~ visit + (1|participant)", contrasts={"c": "B - A"}, families={})


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("~ visit + (1|participant)", False),
        ("~ visit + (1|participant) + (1|participant:visit)", True),
        ("~ visit + (1|participant) + (1|batch)", True),
        ("~ visit + (1 + age|participant)", True),
    ],
)
def test_trap_23_tobit_needs_the_participant_as_its_only_random_term(formula, told):
    data = assay({"B1": [0.2, 5.0], "B2": [3.0, 4.0]}, ["il6", "free"], kind="intensity")
    data.var["lloq"] = [1.0, np.nan]
    plan = dataclasses.replace(PLAN, formula=formula)
    found = list(censored_problems(plan, {"serum": data}))
    assert bool(found) == told
    for problem in found:
        assert (problem.code, problem.severity) == ("E-RULE-011", "warning")
        assert "1 features of 'serum'" in problem.message
    data.var["lloq"] = np.nan
    assert not list(censored_problems(plan, {"serum": data}))
    data.layers["censored"] = np.array([[0.0, 0.0], [0.0, -1.0]])
    assert bool(list(censored_problems(plan, {"serum": data}))) == told
