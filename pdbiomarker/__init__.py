"""Pharmacodynamic change in serial tumour biopsies."""

__version__ = "0.1.0"
