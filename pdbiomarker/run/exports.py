"""A results folder in the shapes that others read: ADaM (XPT, Dataset-JSON), an Excel workbook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pdbiomarker.change import PDResult
from pdbiomarker.change.adam_parameters import adam_parameters
from pdbiomarker.errors import Problems
from pdbiomarker.noise import choose_noise
from pdbiomarker.run.results import read_result

__all__ = ["EXPORTS", "export_result"]

#: What a results folder can be exported to.
EXPORTS = ("adam", "excel")


def export_result(
    results: str | Path,
    out: str | Path,
    *,
    to: str = "adam",
    features: Sequence[str] = (),
    noise: str | Path | None = None,
) -> list[Path]:
    """Export a results folder.

    Parameters
    ----------
    results : path
        What ``pdbiomarker run`` or ``change`` left.
    out : path
        A folder; made when missing.
    to : {"adam", "excel"}
        ``adam``: adpd.xpt, adpd.json (Dataset-JSON) and adpd_parameters.csv; ``excel``: results.xlsx.
    features : sequence of str
        ``assay:feature`` or ``assay``, for ``adam``; default: every assay of at most 200 features.
    noise : path, optional
        A file to borrow noise from, for CRIT2 (beyond noise); default ``reference/noise.yaml``.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        E-RESULT-001: `to`, an assay or a feature that does not exist; E-CDISC-010: a text that a transport
        file cannot hold.
    """
    if to not in EXPORTS:
        problems = Problems()
        problems.add(
            "E-RESULT-001",
            f"There is no export {to!r}.",
            remedy=f"There are {', '.join(EXPORTS)}.",
            column="to",
        )
        problems.raise_if_any()
    result = read_result(results)
    folder = Path(out)
    if to == "excel":
        folder.mkdir(parents=True, exist_ok=True)
        return [result.to_excel(folder / "results.xlsx")]
    chosen = list(features) or None
    result.to_adam(folder, features=chosen, limits=_limits(result, chosen, noise))
    return [folder / name for name in ("adpd.xpt", "adpd.json", "adpd_parameters.csv")]


def _limits(result: PDResult, features: Sequence[str] | None, noise: str | Path | None) -> dict[str, float]:
    """Limits of a change by noise alone (95 %), of the features whose noise is known."""
    parameters = adam_parameters(result, features=features)
    asked = [f"{a}:{f}" for a, f in zip(parameters["assay"], parameters["feature"], strict=True)]
    estimates, _ = choose_noise(result.study, asked, path=noise)
    return {feature: float(one.limit(0.95)) for feature, one in estimates.items()}
