"""The release script that puts a run into the package."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from calibrations_made import calibration_made, tiny_model
from evaluations_made import rows_made, steady, write_evaluation
from lacunet.files import write_json
from lacunet.models.calibration import CALIBRATION
from lacunet.models.model import load_model, save_model
from lacunet.prediction.postprocess import get_rule
from small import ROOT


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """The script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts" / "release"))
        yield __import__("ship_model")
        sys.modules.pop("ship_model", None)


@pytest.fixture
def run(tmp_path):
    """A run whose model has a rule of its own."""
    model = load_model(str(tiny_model(tmp_path / "made")))
    save_model(tmp_path / "run" / "model", model.method, model.preparation, model.card, postprocessing=["largest"])
    return tmp_path / "run"


def test_a_model_ships_with_the_run_s_rules_or_with_those_that_are_asked_for(script, run, tmp_path):
    for rules, own in ((None, ("largest",)), ((), ()), ((get_rule("et500"),), ("et500",))):
        folder = script.ship(run, tmp_path / "shipped", "three cases", None, None, rules)
        assert load_model(str(folder)).postprocessing == own
    assert load_model(str(folder)).card["data"] == "three cases"


def test_a_table_of_other_weights_or_other_rules_does_not_ship(script, run, tmp_path):
    folder = script.ship(run, tmp_path / "shipped", "three cases", None, None)
    sha256 = load_model(str(folder)).sha256
    for identity in ({"weights": "0", "postprocessing": ["largest"]}, {"weights": sha256, "postprocessing": []}):
        evaluation = write_evaluation(
            tmp_path / f"e{len(identity['postprocessing'])}", rows_made(steady(0.5)), identity=identity
        )
        with pytest.raises(
            SystemExit, match="of other weights or other post-processing; evaluate the shipped model again"
        ):
            script.ship(run, tmp_path / "shipped", "three cases", evaluation, None)
    fits = write_evaluation(
        tmp_path / "fits", rows_made(steady(0.5)), identity={"weights": sha256, "postprocessing": ["largest"]}
    )
    folder = script.ship(run, tmp_path / "shipped", "three cases", fits, None)
    assert load_model(str(folder)).card["results"]["mean"]["wt"]["dice"] == 0.5


def test_a_calibration_of_masks_with_other_rules_does_not_ship(script, run, tmp_path):
    made = calibration_made()
    for name, rules in (("other", []), ("own", ["largest"])):
        write_json(tmp_path / name / CALIBRATION, replace_rules(made, rules))
    with pytest.raises(
        SystemExit, match="other: of masks with other post-processing; give `lacunet calibrate` --postprocess"
    ):
        script.ship(run, tmp_path / "shipped", "three cases", None, tmp_path / "other")
    folder = script.ship(run, tmp_path / "shipped", "three cases", None, tmp_path / "own")
    assert load_model(str(folder)).calibration.postprocessing == ["largest"]


def replace_rules(made, rules):
    return made.model_copy(update={"postprocessing": rules}).model_dump(mode="json")
