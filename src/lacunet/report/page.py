"""Templates to pages: one HTML text with everything inside; every text from outside is escaped."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, TypeGuard

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@cache
def environment() -> Environment:
    """The templates of this folder, and their filters for numbers and words."""
    found = Environment(
        loader=PackageLoader("lacunet", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters.update(ml=millilitres, dice=dice_words, mm=millimetres, sentence=sentence, words=join_words)
    return found


def render(template: str, values: Mapping[str, Any], styles: Sequence[str] = (), scripts: Sequence[str] = ()) -> str:
    """A whole page. Values are escaped unless they are `Markup`.

    Args:
        template: A file of this folder.
        values: What it shows.
        styles: Style sheets besides `style.css`, as text.
        scripts: Scripts, as text, in their order. The page tells the browser to run no other.
    """
    sheet = "".join([resource("style.css"), *styles])
    return (
        environment()
        .get_template(template)
        .render(
            security=security_policy(scripts),
            style=Markup(sheet),
            scripts=[Markup(script) for script in scripts],
            **values,
        )
    )


@cache
def resource(name: str) -> str:
    """A file of this folder that goes into pages as it is."""
    return files("lacunet.report").joinpath(name).read_text(encoding="utf-8")


def security_policy(scripts: Sequence[str]) -> str:
    """A Content-Security-Policy: the page fetches nothing, sends nothing, and runs these scripts alone (by SHA-256)."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a number at all: not None, not NaN."""
    return value is not None and not math.isnan(value)


def millilitres(value: float | None) -> str:
    """A volume without its unit: 84.1, and more digits only below 0.1."""
    if not known(value):
        return "–"
    return f"{value:.1f}" if value == 0 or value >= 0.1 else f"{value:.2f}" if value >= 0.01 else "< 0.01"


def dice_words(value: float | None) -> str:
    """A Dice score, 0 to 1, with two digits."""
    return f"{value:.2f}" if known(value) else "–"


def millimetres(value: float | None) -> str:
    """A distance without its unit."""
    return f"{value:.1f}" if known(value) else "–"


def sentence(text: str) -> str:
    """The text with a capital first letter; the rest (T1ce, FLAIR) stays."""
    return text[:1].upper() + text[1:]


def join_words(words: Sequence[str]) -> str:
    """`T1, T2 and FLAIR`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
