"""Tumour response by RECIST 1.1: from lesions to assessments to best response and its rate.

>>> import pdbiomarker as pb
>>> sums = pb.clinical.response.sum_of_diameters(lesions, participants)  # doctest: +SKIP
>>> timepoints = pb.clinical.response.timepoint_response(lesions, participants)  # doctest: +SKIP
>>> best = pb.clinical.response.best_overall_response(timepoints, participants)  # doctest: +SKIP
"""

from pdbiomarker.clinical.response.best import BestResponse, best_overall_response
from pdbiomarker.clinical.response.lesions import sum_of_diameters
from pdbiomarker.clinical.response.rates import (
    populations,
    response_rates,
    spider_data,
    waterfall_data,
)
from pdbiomarker.clinical.response.rules import RESPONSES, ResponseRules
from pdbiomarker.clinical.response.timepoint import timepoint_response

__all__ = [
    "RESPONSES",
    "BestResponse",
    "ResponseRules",
    "best_overall_response",
    "populations",
    "response_rates",
    "spider_data",
    "sum_of_diameters",
    "timepoint_response",
    "waterfall_data",
]
