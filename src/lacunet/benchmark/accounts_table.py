"""What each entrant spent, as a markdown table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lacunet.benchmark.account import Account
from lacunet.benchmark.rates import Chosen
from lacunet.comparison.markdown import NOTHING, escaped, markdown_table


@dataclass(frozen=True)
class Spent:
    """What the trainings of an entrant spent.

    Attributes:
        account: Of one training; None where it could not be measured.
        seconds: Of one training by its own clock, the mean of those that are done; None where none is.
        chosen: Its learning rate, where it was chosen.
        rate: Its learning rate.
    """

    account: Account | None
    seconds: float | None
    chosen: Chosen | None
    rate: float

    def to_json(self) -> dict[str, Any]:
        """All of it, flat."""
        tried = {} if self.chosen is None else {"learning_rates": self.chosen.dice}
        counted = {} if self.account is None else self.account.model_dump()
        return {"learning_rate": self.rate, **tried, "seconds": self.seconds, **counted}


def accounts_markdown(spent: Mapping[str, Spent]) -> str:
    """A row per entrant; numbers are of one training."""
    head = [
        "one training", "learning rate", "steps", "crops", "supervised predictions", "seconds", "parameters, millions",
        "with all that is trained", "TFLOPs", "GFLOPs of a prediction", "peak, MiB",
    ]  # fmt: skip
    rows = [[escaped(name), *_cells(one)] for name, one in spent.items()]
    words = (
        "Supervised predictions: of a crop from a subset, compared with the reference, all stages; counted on crops of "
        "noise, a mean where the number is drawn at each step. FLOPs: two for each multiplication with its addition; "
        "the training's forward and backward, and one prediction from all sequences in a box as large as a crop. Peak: "
        "of a step, beyond what was held before the method was made. Seconds depend on what else the machine did."
    )
    return f"{markdown_table(head, rows)}\n\n{words}"


def _cells(one: Spent) -> list[str]:
    rate = f"{one.rate:g}"
    if one.chosen is not None:
        scores = {rate: NOTHING if dice is None else f"{dice:.3f}" for rate, dice in one.chosen.dice.items()}
        rate += f" ({', '.join(f'{rate}: {score}' for rate, score in scores.items())})"
    seconds = NOTHING if one.seconds is None else f"{one.seconds:,.0f}"
    account = one.account
    if account is None:
        return [rate, NOTHING, NOTHING, NOTHING, seconds, *[NOTHING] * 5]
    return [
        rate,
        f"{account.steps:,}",
        f"{account.crops:,}",
        f"{account.predictions:,.0f}",
        seconds,
        f"{account.parameters / 1e6:.2f}",
        f"{account.trained / 1e6:.2f}",
        f"{account.flops / 1e12:,.1f}",
        f"{account.prediction_flops / 1e9:,.1f}",
        f"{account.peak_mib:,.0f}",
    ]
