"""The public face of the package: what is public, how it is called, what an import costs."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import types
from collections.abc import Callable, Iterator

import pytest

import pdbiomarker as pb

HEAVY = {"numpy", "pandas", "scipy", "anndata", "matplotlib", "seaborn", "cv2", "skimage", "statsmodels"}
HEAVY |= {
    "h5py",
    "pyarrow",
    "tifffile",
    "shapely",
    "openpyxl",
    "jinja2",
    "pydantic",
    "yaml",
    "numba",
    "scanpy",
}

MODULES = [name for name in pb.__all__ if isinstance(getattr(pb, name), types.ModuleType)]
FUNCTIONS = [name for name in pb.__all__ if inspect.isfunction(getattr(pb, name))]
CLASSES = [name for name in pb.__all__ if inspect.isclass(getattr(pb, name))]


def _public() -> Iterator[tuple[str, Callable[..., object]]]:
    """Public functions, those of public modules, and public methods of public classes."""
    for name in FUNCTIONS:
        yield name, getattr(pb, name)
    for module in MODULES:
        space = getattr(pb, module)
        for name in space.__all__:
            if inspect.isfunction(getattr(space, name)):
                yield f"{module}.{name}", getattr(space, name)
    for name in CLASSES:
        for method, value in vars(getattr(pb, name)).items():
            if inspect.isfunction(value) and not method.startswith("_"):
                yield f"{name}.{method}", value


PUBLIC = dict(_public())


def test_all_is_what_is_public() -> None:
    assert dir(pb) == sorted(pb.__all__)
    assert list(pb.__all__) == sorted(pb.__all__)
    assert len(set(pb.__all__)) == len(pb.__all__)
    assert {*MODULES, *FUNCTIONS, *CLASSES, "__version__"} == set(pb.__all__)


def test_the_names_of_the_documentation_are_there() -> None:
    promised = {"read_study", "Study", "Plan", "pd_change", "PDResult", "read_result", "report", "run_study"}
    promised |= {"simulate_study", "pairs", "assign_visits", "accountability", "normalize"}
    promised |= {"ihc", "expression", "mixed", "plot", "formula"}
    assert promised <= set(pb.__all__)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'reprot'"):
        _ = pb.reprot  # type: ignore[attr-defined]


def test_report_and_normalize_are_functions_however_their_modules_were_loaded() -> None:
    script = (
        "import pdbiomarker.report, pdbiomarker.normalize\n"
        "import pdbiomarker as pb\n"
        "from pdbiomarker.normalize import voom\n"
        "assert callable(pb.report) and callable(pb.normalize) and callable(voom)\n"
        "assert pb.report.__name__ == 'report' and pb.normalize.__name__ == 'normalize'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", sorted({*MODULES, *CLASSES, *PUBLIC}))
def test_everything_public_has_a_docstring(name: str) -> None:
    value = PUBLIC[name] if name in PUBLIC else getattr(pb, name)
    assert inspect.getdoc(value), name


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_function_has_at_most_seven_parameters_and_three_positions(name: str) -> None:
    parameters = [
        p for p in inspect.signature(PUBLIC[name]).parameters.values() if p.name not in {"self", "cls"}
    ]
    kinds = [p.kind for p in parameters]
    assert len(parameters) <= 7, name
    assert inspect.Parameter.VAR_KEYWORD not in kinds, name
    positional = [
        k for k in kinds if k in {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    ]
    assert len(positional) <= 3, name


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_function_is_typed(name: str) -> None:
    signature = inspect.signature(PUBLIC[name])
    bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
    assert [n for n in bare if n not in {"self", "cls"}] == []
    assert signature.return_annotation is not inspect.Signature.empty


def _loaded(code: str) -> set[str]:
    script = f"{code}\nimport sys, json\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.rpartition("\n[")[2].join(["[", ""]))}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not _loaded("import pdbiomarker") & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["version"], ["verify", "/nowhere"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys\nsys.argv = ['pdbiomarker', *{arguments!r}]\n"
        "from pdbiomarker.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    assert not _loaded(code) & (HEAVY - {"pydantic"})  # typer takes pydantic to read arguments
