"""Scripts that train the rows of a sweep without test cases, and say how much each loss term acts."""

import json
import sys
from pathlib import Path

import pytest

import term_shares
import train_rows
from lacunet.case import CaseFiles
from lacunet.training.recipe import write_recipe
from small import tiny_recipe

TOML = """
title = "Two weights"
recipe = "recipe.toml"
[rows."as it is"]
[rows."KL 0.5"]
arguments.kl = 0.5
"""


def write_log(run: Path, lines: list[dict[str, object]]) -> None:
    run.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps({"stage_index": 0, "step": 1, **line}) + "\n" for line in lines)
    (run / "log.jsonl").write_text(text, encoding="utf-8")


def logged(run: Path, dice: float, gradient: float, **arguments: object) -> Path:
    """Four lines with gradients, of which the first is not counted, in the last of two stages; two validations."""
    write_recipe(run / "recipe.toml", tiny_recipe("smsn", arguments=arguments))
    early = {"stage": "critic", "gradient_norm_segmentation": 50.0, "gradient_norm_kl": 1.0}
    first = {"stage": "segment", "gradient_norm_segmentation": 1.0, "gradient_norm_kl": 100.0}
    late = {"stage": "segment", "gradient_norm_segmentation": 2.0, "gradient_norm_kl": gradient, "gradient_norm": 9.0}
    scores = [{"stage": "segment", "validation_mean": score, "validation_wt": score} for score in (dice, dice - 0.1)]
    write_log(run, [early, first, late, late, late, *scores])
    return run


def test_a_share_is_the_mean_gradient_beside_that_of_the_segmentation_after_the_first_quarter(tmp_path: Path) -> None:
    found = term_shares.shares_of(str(logged(tmp_path / "run", 0.5, 0.3, kl=0.5)), "segmentation", ("kl", "warmup"))
    assert found.name == "run"
    assert found.arguments == (0.5, 0.1)  # of the recipe; else the method's own
    assert found.validation == 0.5
    assert found.shares == pytest.approx({"segmentation": 1.0, "kl": 0.15})
    assert term_shares.shares_in(tmp_path / "run", "kl")["segmentation"] == pytest.approx(1 / 0.15)


def test_runs_are_rows_the_best_on_validation_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = logged(tmp_path / "one" / "seed-1", 0.4, 0.02, kl=0.01)
    other = logged(tmp_path / "other", 0.6, 2.0, kl=1.0)
    monkeypatch.setattr(sys, "argv", ["term_shares.py", str(one), f"heavy={other}", "--argument", "kl"])
    term_shares.main()
    assert capsys.readouterr().out.splitlines() == [
        "|  | kl | validation, mean Dice | kl (% of segmentation) |",
        "|---|---|---|---|",
        "| heavy | 1.0 | 0.600 | 100.0 |",
        "| one (seed-1) | 0.01 | 0.400 | 1.0 |",
    ]


def test_a_log_without_gradients_and_an_unknown_argument_are_said(tmp_path: Path) -> None:
    run = logged(tmp_path / "run", 0.5, 0.3)
    with pytest.raises(SystemExit, match="its log has no gradient_norm_task"):
        term_shares.shares_of(str(run), "task", ())
    with pytest.raises(SystemExit, match="--argument beeta: smsn has no such argument"):
        term_shares.shares_of(str(run), "segmentation", ("beeta",))


def test_rows_are_trained_once_and_judged_by_validation_alone(
    phantoms: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe("smsn", arguments={"width": 4, "levels": 3}, train={"steps": 2, "gradients_every": 1})
    write_recipe(tmp_path / "recipe.toml", recipe)
    (tmp_path / "sweep.toml").write_text(TOML, encoding="utf-8")
    names = [case.name for case in phantoms]
    (tmp_path / "split.json").write_text(json.dumps({"train": names[:1], "val": names[1:2]}), encoding="utf-8")
    data = next(iter(phantoms[0].images.values())).path.parents[1]
    words = [tmp_path / "sweep.toml", "--data", data, "--split", tmp_path / "split.json", "-o", tmp_path / "rows"]
    monkeypatch.setattr(sys, "argv", ["train_rows.py", *map(str, words), "--device", "cpu"])
    train_rows.main()
    printed = capsys.readouterr().out
    assert [line.partition(":")[0] for line in printed.splitlines()] == ["as it is", "KL 0.5"]
    weights = tmp_path / "rows" / "KL-0.5" / "model" / "weights.safetensors"
    made = weights.stat().st_mtime_ns
    train_rows.main()
    assert capsys.readouterr().out == printed
    assert weights.stat().st_mtime_ns == made
    runs = sorted(path for path in (tmp_path / "rows").glob("[!.]*"))
    assert [run.name for run in runs] == ["KL-0.5", "as-it-is"]
    shares = [term_shares.shares_in(run, "segmentation")["kl"] for run in runs]
    assert shares[0] == pytest.approx(50 * shares[1], rel=0.5)
    more = TOML.replace('"as it is"', '"the same"').replace("KL 0.5", "KL 0.1").replace("kl = 0.5", "kl = 0.1")
    (tmp_path / "more.toml").write_text(more, encoding="utf-8")
    both = [words[0], tmp_path / "more.toml", *words[1:], "--row", "the same"]
    monkeypatch.setattr(sys, "argv", ["train_rows.py", *map(str, both)])
    train_rows.main()  # the row of the other sweep with the same recipe, which is done
    assert capsys.readouterr().out == printed.splitlines()[0].replace("as it is", "as it is = the same") + "\n"
    assert sorted(path for path in (tmp_path / "rows").glob("[!.]*")) == runs
    monkeypatch.setattr(sys, "argv", ["train_rows.py", *map(str, words), "--set", "seed=5"])
    with pytest.raises(SystemExit, match="was trained by another recipe"):
        train_rows.main()
    monkeypatch.setattr(sys, "argv", ["train_rows.py", *map(str, words), "--row", "KL"])
    with pytest.raises(SystemExit, match=r"--row KL: no such row; rows: as it is, KL 0\.5"):
        train_rows.main()
