"""Limits of the arguments that size a network, checked before anything is allocated."""


def require_between(name: str, value: int, least: int, most: int) -> None:
    """Refuse a value outside a range.

    Raises:
        ValueError: it is below `least` or above `most`; the message names the argument.
    """
    if not least <= value <= most:
        raise ValueError(f"{name} = {value}: from {least} to {most} are possible")
