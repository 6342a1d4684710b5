"""Losses and gradients of the steps since they were last looked at. Reading a number waits for the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan

import torch
from torch import Tensor

from lacunet.errors import RecipeError


@dataclass(frozen=True)
class Taken:
    """A step that was taken.

    Attributes:
        step: Its number in the stage, from 0.
        cases: Whose crops it saw.
        loss: The sum of the terms.
        gradient: The norm of the gradient, before clipping.
        terms: Of the loss, by name.
    """

    step: int
    cases: tuple[str, ...]
    loss: Tensor
    gradient: Tensor
    terms: Mapping[str, Tensor]


class Watch:
    """Keeps the numbers of steps where they were computed, and reads those of many steps at once.

    Attributes:
        loss: Of the last step that was read.
    """

    def __init__(self, stage: str) -> None:
        self.stage, self.loss = stage, nan
        self._unread: list[Taken] = []

    def add(self, taken: Taken) -> None:
        """Keep a step's numbers; none of them may carry gradients."""
        self._unread.append(taken)

    def words(self) -> str:
        """For a progress bar: the stage, with the last loss that was read."""
        return f"{self.stage}: loss {self.loss:.3f}" if isfinite(self.loss) else self.stage

    def read(self) -> None:
        """Look at all steps since the last call. To be called before anything of them is written or saved.

        Raises:
            RecipeError: the loss or the gradient of a step is not a number; it is about the first such step.
        """
        if not self._unread:
            return
        unread, self._unread = self._unread, []
        values = torch.stack([torch.stack([taken.loss, taken.gradient.float()]) for taken in unread]).tolist()
        for taken, (loss, gradient) in zip(unread, values, strict=True):
            if not (isfinite(loss) and isfinite(gradient)):
                raise RecipeError(self._problem(taken, "gradient" if isfinite(loss) else "loss"))
        self.loss = values[-1][0]

    def _problem(self, taken: Taken, what: str) -> str:
        terms = ", ".join(f"{name} {float(term):g}" for name, term in taken.terms.items())
        return (
            f"stage {self.stage}, step {taken.step}: the {what} is not a number ({terms}; "
            f"cases {', '.join(taken.cases)}); lower train.learning_rate or set train.clip_gradient"
        )
