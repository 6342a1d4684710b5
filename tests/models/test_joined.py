"""Trained networks as one model, each for some regions."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lacunet.data.prepare import Preparation
from lacunet.errors import ModelError, RecipeError
from lacunet.models.description import read_description
from lacunet.models.folder import shipped_models
from lacunet.models.joined import Joined, join
from lacunet.models.model import load_model, save_model
from lacunet.nn.method import Method, get_method, make_method
from lacunet.task import GLIOMA, METS
from lacunet.training.start import start_from

TINY: dict[str, dict[str, Any]] = {
    "early_fusion": {"width": 4, "levels": 2},
    "ccsd": {"width": 4, "levels": 3, "patch": 2},
}
PARTS = [["wt"], ["tc", "et"]]


def network(name: str, seed: int = 0) -> Method[Any]:
    torch.manual_seed(seed)
    return make_method(get_method(name), GLIOMA, TINY[name]).eval()


@pytest.fixture(scope="module")
def both() -> list[Method[Any]]:
    return [network("early_fusion", 1), network("ccsd", 2)]


@pytest.fixture(scope="module")
def joined(both: list[Method[Any]]) -> Joined:
    return join(both, PARTS).eval()


IMAGES = torch.randn(2, 4, 8, 8, 8, generator=torch.Generator().manual_seed(3))
PRESENCE = torch.tensor([[True, True, False, True], [False, True, False, False]])


def test_each_region_is_answered_by_its_network_inside_the_region_around_it(joined, both):
    with torch.inference_mode():
        logits, one, other = joined(IMAGES, PRESENCE), *(method(IMAGES, PRESENCE) for method in both)
    whole = one[:, 0]
    core = torch.minimum(other[:, 1], whole)
    torch.testing.assert_close(logits[:, 0], whole)
    torch.testing.assert_close(logits[:, 1], core)
    torch.testing.assert_close(logits[:, 2], torch.minimum(other[:, 2], core))
    assert (other[:, 1] > whole).any()  # else nothing of this is tested
    assert (other[:, 1] < whole).any()


def test_the_law_holds(joined):
    everything, some = torch.ones(1, 4, dtype=torch.bool), torch.tensor([[False, True, False, True]])
    other = IMAGES.clone()
    other[:, [0, 2]] = float("nan")
    with torch.inference_mode():
        encoded = joined.encode(IMAGES[:1], everything)
        alone = joined.decode(joined.encode(IMAGES[:1], some), some)
        torch.testing.assert_close(joined.decode(encoded, some), alone)
        torch.testing.assert_close(joined.decode(joined.encode(other[:1], some), some), alone)


def test_it_is_padded_for_all_of_its_networks(joined, both):
    assert [joined.divisor % method.divisor for method in both] == [0, 0]


def test_a_folder_gives_it_back_and_says_what_it_is_made_of(joined, tmp_path):
    save_model(tmp_path / "two", joined, Preparation(2.0, 4.0), {}, postprocessing=["doubtful10"])
    model = load_model(str(tmp_path / "two"))
    with torch.inference_mode():
        torch.testing.assert_close(model.method(IMAGES, PRESENCE), joined(IMAGES, PRESENCE))
    assert model.postprocessing == ("doubtful10",)
    description = read_description(tmp_path / "two")
    assert (description.method, description.methods) == ("joined", "early_fusion + ccsd")


def test_a_training_begins_from_its_first_network(joined, both, tmp_path):
    save_model(tmp_path / "two", joined, Preparation(2.0, 4.0), {})
    start = start_from(str(tmp_path / "two"), network("early_fusion", 9), None, partly=False)
    assert set(start.weights) == set(both[0].state_dict())
    assert start.words().endswith(" tensors start from two, the first of its 2 networks")
    assert all(torch.equal(start.weights[name], value) for name, value in both[0].state_dict().items())


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ([["wt"], ["tc"]], "none answers for et; name each region once"),
        ([["wt", "tc"], ["tc", "et"]], r"'tc' is named twice or is no region of 'glioma' \(wt, tc, et\)"),
        ([["wt", "tc"], ["et", "brain"]], "'brain' is named twice or is no region of 'glioma'"),
    ],
)
def test_every_region_has_one_network(both, regions, said):
    with pytest.raises(ModelError, match=said):
        join(both, regions)


def test_networks_of_two_tasks_are_refused(both):
    other = make_method(get_method("ccsd"), METS, TINY["ccsd"])
    with pytest.raises(ModelError, match="networks of the tasks 'glioma' and 'mets' cannot be joined"):
        join([both[0], other], PARTS)


def test_it_is_not_trained(joined):
    with pytest.raises(RecipeError, match="a joined model is not trained; its networks are, each by itself"):
        joined.stages()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([{"method": "ccsd", "regions": ["wt", "tc", "et"]}], "does not fit its method"),
        ([], r"model.json: 'arguments.members'"),
        ([3], r"model.json: 'arguments.members"),
        ([{"method": "os", "arguments": {}, "regions": ["wt", "tc", "et"]}], "no method 'os'"),
        (
            [{"method": "ccsd", "arguments": {}, "regions": []}] * 11,
            r"model.json: 'arguments.members'",
        ),
    ],
)
def test_a_description_that_was_tampered_with_is_refused(joined, tmp_path: Path, members, said):
    save_model(tmp_path / "two", joined, Preparation(2.0, 4.0), {})
    path = tmp_path / "two" / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["description_sha256"]
    path.write_text(json.dumps(content | {"arguments": {"members": members}}), encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        load_model(str(tmp_path / "two"))


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_calibration_is_of_masks_with_the_model_s_own_rules(name):
    model = load_model(name)
    assert model.calibration is None or tuple(model.calibration.postprocessing) == model.postprocessing
