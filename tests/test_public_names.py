"""What `from lacunet import ...` gives: every public name, from its home, with its type."""

import ast
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

import lacunet
from small import ROOT

INIT = Path(lacunet.__file__)


def branches() -> tuple[list[ast.stmt], list[ast.stmt]]:
    """What type checkers see of `lacunet/__init__.py`, and what Python runs."""
    (choice,) = [node for node in ast.parse(INIT.read_text(encoding="utf-8")).body if isinstance(node, ast.If)]
    assert ast.unparse(choice.test) == "TYPE_CHECKING"
    return choice.body, choice.orelse


def homes_seen_by_type_checkers() -> list[tuple[str, str]]:
    """(module, name) of each import; a name that is exported is imported as itself."""
    found = []
    for node in branches()[0]:
        assert isinstance(node, ast.ImportFrom)
        (alias,) = node.names
        assert alias.name == alias.asname
        found.append((str(node.module), alias.name))
    return found


def homes_at_run_time() -> list[tuple[str, str]]:
    """(module, name) of each entry of the table `_HOMES`."""
    (table,) = [
        node.value
        for node in branches()[1]
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    ]
    return [(f"lacunet.{module}", name) for module, names in ast.literal_eval(table).items() for name in names]


def test_type_checkers_and_python_find_the_same_names_in_the_same_homes():
    assert sorted(homes_seen_by_type_checkers()) == sorted(homes_at_run_time())
    names = [name for _, name in homes_at_run_time()]
    assert len(set(names)) == len(names)
    assert sorted(["__version__", *names]) == lacunet.__all__ == dir(lacunet)


@pytest.mark.parametrize(("home", "name"), homes_at_run_time(), ids=lambda word: word)
def test_a_public_name_is_that_of_its_home(home, name):
    assert getattr(lacunet, name) is getattr(import_module(home), name)


def test_a_name_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(AttributeError, match=r"lacunet has no 'Predicter'; it has: .*Predictor"):
        lacunet.Predicter  # noqa: B018


def test_the_version_is_that_of_the_installed_package():
    assert lacunet.__version__ == version("lacunet")


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_a_type_checker_sees_wrong_arguments(tmp_path):
    from mypy import api

    program = tmp_path / "program.py"
    program.write_text('from lacunet import Predictor, load_model\n\nPredictor(42, devise="cpu")\n')
    said, _, status = api.run(
        ["--strict", f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={ROOT / '.mypy_cache'}", str(program)]
    )
    errors = [line.partition("program.py:")[2] for line in said.splitlines() if ": error: " in line]
    assert status == 1
    assert len(errors) == 2, said
    assert all(line.startswith("3: ") for line in errors)
    assert 'Argument 1 to "Predictor" has incompatible type "int"; expected "Model | Sequence[Model]"' in said
    assert 'Unexpected keyword argument "devise" for "Predictor"' in said
