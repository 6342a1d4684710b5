"""Numbers in headers that are text."""

from math import isfinite

from lacunet.errors import DataError

LONGEST_NUMBER = 40
"""Characters; no header needs longer ones, and very long ones take very long to read."""


def integers(name: str, field: str, text: str, count: int) -> tuple[int, ...]:
    """Exactly so many integers.

    Raises:
        DataError: other text, or another count.
    """
    try:
        numbers = tuple(int(word) for word in text.split() if len(word) <= LONGEST_NUMBER)
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise DataError(f"{name}: '{field}' in its header should be {_counted(count, 'whole number')}; is it damaged?")
    return numbers


def reals(name: str, field: str, text: str, count: int) -> tuple[float, ...]:
    """Exactly so many finite numbers.

    Raises:
        DataError: other text, or another count.
    """
    try:
        numbers = tuple(float(word) for word in text.split() if isfinite(float(word)))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise DataError(f"{name}: '{field}' in its header should be {_counted(count, 'number')}; is it damaged?")
    return numbers


def _counted(count: int, what: str) -> str:
    return f"one {what}" if count == 1 else f"{count} {what}s"
