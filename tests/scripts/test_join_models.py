"""The release script that makes one model of two runs."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lacunet.data.prepare import Preparation
from lacunet.errors import ModelError
from lacunet.models.model import load_model, save_model
from lacunet.models.origin import cases_seen
from lacunet.nn.method import get_method, make_method
from lacunet.task import GLIOMA
from small import ROOT


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """The script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts" / "release"))
        yield __import__("join_models")
        sys.modules.pop("join_models", None)


def run_at(folder: Path, seed: int, trained_on: list[str] | None, spacing: float = 2.0) -> str:
    torch.manual_seed(seed)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    save_model(folder / "model", method, Preparation(spacing, 4.0), {"data": f"cases of {folder.name}"})
    if trained_on is not None:
        (folder / "split.json").write_text(json.dumps({"train": trained_on, "val": []}), encoding="utf-8")
    return str(folder)


def test_two_runs_become_one_that_knows_the_cases_of_both(script, tmp_path, monkeypatch):
    one, other = run_at(tmp_path / "one", 1, ["a", "b"]), run_at(tmp_path / "other", 2, ["b", "c"])
    out = tmp_path / "joined"
    monkeypatch.setattr(sys, "argv", ["x", f"{one}=wt", f"{other}=tc,et", "-o", str(out)])
    script.main()
    joined = load_model(str(out))
    assert joined.card["data"] == "cases of one; cases of other"
    assert [(member["model"], member["regions"]) for member in joined.card["members"]] == [
        ("one", ["wt"]), ("other", ["tc", "et"]),
    ]  # fmt: skip
    assert cases_seen(out) == ("a", "b", "c")
    images, presence = torch.randn(1, 4, 8, 8, 8), torch.ones(1, 4, dtype=torch.bool)
    with torch.inference_mode():
        whole = load_model(one).method(images, presence)[:, 0]
        torch.testing.assert_close(joined.method(images, presence)[:, 0], whole)
    with pytest.raises(SystemExit):  # it exists
        script.main()


def test_runs_that_do_not_fit_or_do_not_know_their_cases_are_refused(script, tmp_path):
    one, unknown = run_at(tmp_path / "one", 1, ["a"]), run_at(tmp_path / "unknown", 2, None)
    fine = run_at(tmp_path / "fine", 3, ["b"], spacing=1.0)
    with pytest.raises(ModelError, match="unknown: its training cases are not known; name a run that keeps its split"):
        script.write_joined([one, unknown], [["wt"], ["tc", "et"]], tmp_path / "out")
    with pytest.raises(ModelError, match=r"fine: is prepared in another way than .*one; train both on one grid"):
        script.write_joined([one, fine], [["wt"], ["tc", "et"]], tmp_path / "out")
    assert not (tmp_path / "out").exists()
