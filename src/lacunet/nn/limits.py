"""Limits of the arguments that size a network, checked before anything is allocated."""


def require_between(name: str, value: int, least: int, most: int) -> None:
    """Refuse a value outside a range.

    Raises:
        ValueError: it is below `least` or above `most`; the message names the argument.
    """
    if not least <= value <= most:
        raise ValueError(f"{name} = {value}: from {least} to {most} are possible")


def require_levels(levels: int) -> None:
    """Refuse a U-Net of a single resolution.

    Raises:
        ValueError: there is only one.
    """
    if levels < 2:
        raise ValueError(f"levels = {levels}: at least 2, for a U-Net")


def require_share(name: str, value: float) -> None:
    """Refuse a share that is negative, or leaves nothing.

    Raises:
        ValueError: it is below 0, or 1 and more; the message names the argument.
    """
    if not 0 <= value < 1:
        raise ValueError(f"{name} = {value}: a share from 0 to below 1")
