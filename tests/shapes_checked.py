"""Checks the shapes in signatures while the tests run, by beartype: in every module of lacunet that states a shape.

Import this before any module of lacunet. Modules without shapes are left as they are: mypy checks those, and checking a
call takes some ten microseconds, which a table of ten thousand cases would spend millions of times.
"""

from importlib.util import find_spec
from pathlib import Path

from jaxtyping import install_import_hook


def modules_with_shapes() -> list[str]:
    """Every module of the package whose source imports jaxtyping."""
    found = find_spec("lacunet")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    files = [path for path in package.rglob("*.py") if "from jaxtyping import" in path.read_text(encoding="utf-8")]
    return sorted(".".join(("lacunet", *path.relative_to(package).with_suffix("").parts)) for path in files)


install_import_hook(modules_with_shapes(), "beartype.beartype")
