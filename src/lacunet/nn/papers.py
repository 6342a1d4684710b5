"""Which methods there are and what they were published as, read without importing torch."""

import ast
from dataclasses import dataclass
from importlib.resources import files

from lacunet.errors import UsageError, nearest


@dataclass(frozen=True)
class Paper:
    """Where a method comes from.

    Attributes:
        title: Of the paper, or of the idea when it has no paper of its own.
        authors: As cited: "Xie et al.".
        year: Of publication.
        venue: "arXiv 2511.14599", "ICLR", ...
        url: Where it can be read; empty when there is none.
        idea: One sentence for the list of methods.
    """

    title: str
    authors: str
    year: int
    venue: str
    url: str
    idea: str


def method_names() -> list[str]:
    """The files of `lacunet/methods`: the folder is the registry."""
    folder = files("lacunet.methods")
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".py") for name in names if name.endswith(".py") and not name.startswith("_"))


def paper_of(name: str) -> Paper:
    """The `Paper(...)` literal in a method's file.

    Raises:
        UsageError: there is no such method, or its file has no such literal.
    """
    known = method_names()
    if name not in known:
        raise UsageError(f"no method '{name}'{nearest(name, known)}; known: {', '.join(known)}")
    tree = ast.parse(files("lacunet.methods").joinpath(f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Paper":
            return Paper(**{word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg})
    raise UsageError(f"lacunet/methods/{name}.py has no literal Paper(title=..., ...)")
