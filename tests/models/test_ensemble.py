"""Which models a word on the command line names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lacunet.models.ensemble import as_one, members_of
from lacunet.models.model import load_model


def model_at(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({}), encoding="utf-8")


def test_a_source_names_one_model_several_or_the_folds_of_a_benchmark(tmp_path: Path) -> None:
    model_at(tmp_path / "one")
    model_at(tmp_path / "run" / "model")
    model_at(tmp_path / "a,b")
    for fold in (1, 2, 10):
        model_at(tmp_path / "seed-1" / f"fold-{fold}" / "model")
    one, run, comma, folds = (str(tmp_path / name) for name in ("one", "run", "a,b", "seed-1"))
    for source, members in {
        "default": ["default"],
        one: [one],
        run: [run],
        comma: [comma],
        f"{one},default, {run}": [one, "default", run],
        folds: [f"{folds}/fold-{fold}" for fold in (1, 2, 10)],
        f"{folds},{one}": [*(f"{folds}/fold-{fold}" for fold in (1, 2, 10)), one],
        "nothing": ["nothing"],
    }.items():
        assert members_of(source) == members, source


def test_a_name_that_no_file_can_have_is_no_folder() -> None:
    assert members_of("x" * 300) == ["x" * 300]


@pytest.mark.parametrize("source", ["", ",", "a,,b"])
def test_an_empty_name_stays_one(source: str) -> None:
    assert members_of(source) == source.split(",")


def test_several_models_have_rules_only_where_all_have_the_same() -> None:
    strict = replace(load_model("early_fusion"), postprocessing=("doubtful10",))
    plain = replace(strict, postprocessing=())
    assert as_one([strict, strict]).postprocessing == ("doubtful10",)
    assert as_one([strict, plain]).postprocessing == as_one([plain, strict]).postprocessing == ()
