"""Values of DICOM elements as plain Python, within limits; what a value cannot be is None or refused."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lacunet.intake.read.dataset import UnreadableFile

if TYPE_CHECKING:  # an extra that may be absent
    from pydicom.dataset import Dataset

MOST_TEXT = 2**16
"""Bytes of a value that is no sequence. pydicom makes an object of each number in it."""

LARGEST_WHOLE = 2**31
"""DICOM's whole numbers are smaller."""

LARGEST_SIDE = 2**16
"""Rows and columns are fewer."""

LARGEST_NUMBER = 1e7
"""No place or distance of a head, in mm, and no direction is as large."""


def value_of(data: "Dataset", name: str | int) -> Any:
    """A value that is no sequence, or None.

    Raises:
        UnreadableFile: it is too long to be made into objects.
    """
    stored = getattr(data.get_item(name), "value", None)
    if isinstance(stored, bytes) and len(stored) > MOST_TEXT:
        raise UnreadableFile(f"a value of its header has more than {MOST_TEXT // 2**10} KiB")
    element = data.get(name)
    return getattr(element, "value", None) if isinstance(name, int) else element


def text_of(data: "Dataset", name: str) -> str:
    """A value as text; "" where it is missing."""
    value = value_of(data, name)
    return "" if value is None else str(value).strip().strip("\x00").strip()


def words_of(data: "Dataset", name: str) -> tuple[str, ...]:
    """The words of a value, in capitals."""
    value = value_of(data, name)
    if value is None:
        return ()
    parts = [value] if isinstance(value, str) else list(value)
    return tuple(str(part).strip().upper() for part in parts if str(part).strip())


def as_number(value: Any) -> float | None:
    """The first number of a value; None where there is none, or none that is finite."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def whole_of(data: "Dataset", name: str) -> int | None:
    """A whole number; None where there is none that DICOM could hold."""
    number = as_number(value_of(data, name))
    return None if number is None or abs(number) >= LARGEST_WHOLE else int(number)


def side_of(data: "Dataset", name: str) -> int:
    """Rows or columns; 0 where there are none.

    Raises:
        UnreadableFile: so many cannot be.
    """
    side = whole_of(data, name) or 0
    if not 0 <= side < LARGEST_SIDE:
        raise UnreadableFile(f"damaged: its {name} cannot be")
    return side


def as_numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Exactly so many numbers, none of them absurdly large; else None."""
    if value is None:
        return None
    try:
        numbers = tuple(float(part) for part in value)
    except (TypeError, ValueError):
        return None
    sound = len(numbers) == count and all(abs(number) < LARGEST_NUMBER for number in numbers)
    return numbers if sound else None


def digits_of(text: str) -> str:
    """The digits in a text."""
    return "".join(letter for letter in text if letter.isdigit())


def element_of(data: "Dataset", name: str) -> Any:
    """A value, or a sequence where it is called one. See `value_of` for the errors."""
    return data.get(name) if name.endswith("Sequence") else value_of(data, name)


def as_triple(value: Any) -> tuple[float, float, float] | None:
    """Three numbers; see `as_numbers`."""
    numbers = as_numbers(value, 3)
    return (numbers[0], numbers[1], numbers[2]) if numbers else None


def as_pair(value: Any) -> tuple[float, float] | None:
    """Two numbers; see `as_numbers`."""
    numbers = as_numbers(value, 2)
    return (numbers[0], numbers[1]) if numbers else None
