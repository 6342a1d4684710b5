"""Run as a program: the training that test_train.py starts in processes of its own.

python training_run.py CASES RUN noisy|quiet KILL_AT(stage:step, or never) RESUME(0 or 1)
"""

import os
import signal
import sys
from pathlib import Path

import torch

from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.progress import Silent
from lacunet.training.recipe import Recipe
from lacunet.training.train import train
from small import tiny_recipe

TWO_STAGES = Path(__file__).with_name("two_stages.py")


class Killer(Silent):
    """Ends the process in the middle of things, as a cluster does."""

    def __init__(self, at: str) -> None:
        self.at = at

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        if f"{job}:{done}" == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def recipe_for(noise: float) -> Recipe:
    return tiny_recipe(
        "two_stages", arguments={"noise": noise}, train={"steps": 14, "average": 0.9, "optimiser": "adamw", "batch": 2}
    )


def recipe_without_noise() -> Recipe:
    """Sums in another order differ in the last bits, and Adam would make much of that where a gradient is near zero."""
    return tiny_recipe(
        "two_stages",
        arguments={"noise": 0.0},
        train={"steps": 6, "batch": 4, "optimiser": "sgd", "learning_rate": 1e-2, "schedule": "constant"},
    )


if __name__ == "__main__":
    cases, run, which, kill_at, resume = sys.argv[1:]
    torch.set_num_threads(1)
    found = with_conventions(find_cases(Path(cases)))
    recipe = recipe_without_noise() if which == "quiet" else recipe_for(0.1)
    train(
        recipe,
        found[:2],
        found[2:],
        Path(run),
        resume=resume == "1",
        device="cpu",
        method_file=TWO_STAGES,
        progress=Killer(kill_at),
    )
