"""The public face of the package: what is public, how it is called, what an import costs."""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import subprocess
import sys
import tokenize
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

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

#: Functions with more than seven parameters. `mixed.fit` has one keyword for each part of a mixed model
#: (weights, known variances, slopes, contrasts, degrees of freedom ...): explicit keyword arguments were
#: asked for, and an object of options would only move them. `run_study` is the one call that does everything:
#: what to run, where to, what to write of it (formats, the earlier cut), and how (workers, fresh, dry run,
#: progress); each is an option of the command, and none belongs into the plan.
MANY_PARAMETERS = {"mixed.fit", "run_study"}


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
    assert (len(parameters) > 7) is (name in MANY_PARAMETERS), name
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


# --- what the README shows (its Jupyter lines: test_readme.py) ---


def test_the_commands_that_the_readme_shows_exist() -> None:
    shown = re.findall(r"^pdbiomarker (\w+) ([^#\n]*)", README, flags=re.MULTILINE)
    assert len(shown) >= 3
    for command, arguments in shown:
        words = arguments.split()
        own = [command, *(word for word in words[:1] if word.isalpha() and word.islower())]  # plan lock
        answer = CliRunner().invoke(app, [*own, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
        assert answer.exit_code == 0, command
        for word in words[len(own) - 1 :]:
            assert all(part in answer.stdout for part in word.split(",")), (command, word)


def test_the_study_and_the_plan_that_the_readme_shows_are_read_as_they_stand(tmp_path: Path) -> None:
    files = {
        "counts.csv.gz": "gene,B1\n",
        "slides.csv": "slide_id,sample_id,path\nS1,B1,s.tif\n",
        "s.tif": "",
    }
    for block in re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL):
        name = "study.yaml" if block.startswith("# study.yaml") else "plan.yaml"
        (tmp_path / name).write_text(block, encoding="utf-8")
    (tmp_path / "regions").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    for name in ("participants.csv", "biopsies.csv"):
        (row,) = re.findall(rf"^\| `{name}` \|[^|]*\| ([^|]*)\|$", README, flags=re.MULTILINE)
        columns = [column.strip() for column in re.split(r",|;|and/or", row)]
        names = {"biopsy_id": "sample_id", "visit": "timepoint"}
        values = {
            **{"participant_id": "P1", "biopsy_id": "B1", "visit": "C2D1", "study_day": "29", "slide": ""},
            **{"first_dose_datetime": "2025-01-10T09:00", "dose_mg": "10", "age": "60"},
        }
        header = ",".join(names.get(column, column) for column in columns)
        cells = ",".join(values.get(column, "") for column in columns)
        (tmp_path / name).write_text(f"{header}\n{cells}\n", encoding="utf-8")
    study = pb.read_study(tmp_path)
    assert study.biopsies.loc["B1", "visit"] == "C2D1"
    assert study.slides.index.tolist() == ["S1"]
    assert pb.Plan.read(tmp_path / "plan.yaml", study).baseline == "screening"


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


# --- bars of the house ---

_NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    tokenize.ENDMARKER,
}


def _code_lines(source: str) -> Iterator[tuple[str, int]]:
    """Names of the functions of a module, and how many lines of code each has: no comments, no docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            said = ast.get_docstring(node, clean=False) is not None
            docstring = set(range(first.lineno, (first.end_lineno or 0) + 1)) if said else set()
            own = set(range(node.lineno, (node.end_lineno or 0) + 1))
            yield node.name, len((own & lines) - docstring)


def test_code_lines_are_counted_without_what_is_only_said() -> None:
    source = 'def f(x):\n    """Say.\n\n    More.\n    """\n    # why\n\n    return (\n        x\n    )\n'
    assert list(_code_lines(source)) == [("f", 4)]


def test_modules_and_functions_stay_short() -> None:
    """Modules of at most 800 lines, functions of at most 80 code lines, nine of ten of at most 40."""
    package = Path(pb.__file__).parent
    sources = {p.relative_to(package).as_posix(): p.read_text("utf-8") for p in package.rglob("*.py")}
    assert {name: n for name, text in sources.items() if (n := len(text.splitlines())) > 800} == {}
    lengths = {(name, f): n for name, text in sources.items() for f, n in _code_lines(text)}
    assert {where: n for where, n in lengths.items() if n > 80} == {}
    assert sorted(lengths.values())[int(0.9 * len(lengths))] <= 40
