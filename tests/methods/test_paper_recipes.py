"""The recipe of every paper takes two steps of each of its stages, at the paper's size; only the batch is smaller."""

import json
import math
from pathlib import Path

import pytest

from batches_made import RECIPES
from lacunet.benchmark.budget import stage_names
from lacunet.case import CaseFiles
from lacunet.nn.papers import method_names
from lacunet.training.recipe import read_recipe
from lacunet.training.train import train

CHANGES = ("train.batch=1", "train.workers=0", "train.log_every=1", "train.gradients_every=0")


def test_every_method_has_one():
    assert sorted(path.stem for path in RECIPES.glob("*.toml")) == sorted(method_names())


@pytest.mark.slow
@pytest.mark.parametrize("name", method_names())
def test_takes_two_steps(name: str, phantoms: list[CaseFiles], tmp_path: Path):
    file = RECIPES / f"{name}.toml"
    stages = stage_names(read_recipe(file))
    evenly = [f"stages.{stage}.share=1.0" for stage in stages] if len(stages) > 1 else []
    recipe = read_recipe(file, [*CHANGES, f"train.steps={2 * len(stages)}", *evenly])
    train(recipe, phantoms, [], tmp_path / "run", device="cpu")
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [(stage, step) for stage in stages for step in (1, 2)]
    assert all(math.isfinite(line["loss"]) for line in lines)
