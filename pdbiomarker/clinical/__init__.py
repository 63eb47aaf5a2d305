"""The trial around the biopsies: schedule, pharmacokinetics, response, survival, antibodies, safety, dose.

Every module takes plain tables and gives plain tables. The sheets of a study's folder ``clinical/`` are read
by :func:`pdbiomarker.read_study` into ``Study.clinical``.
"""

from pdbiomarker.clinical import ada, cdisc, efficacy, escalation, pk, response, safety, schedule, survival

__all__ = ["ada", "cdisc", "efficacy", "escalation", "pk", "response", "safety", "schedule", "survival"]
