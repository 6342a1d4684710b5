"""The same answer on any number of threads, and in any process."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lacunet.case import Case
from lacunet.data.prepare import Preparation
from lacunet.models.model import Model, save_model
from lacunet.nn.conv import GroupNorm, PointConv
from lacunet.nn.linear import Linear
from lacunet.nn.method import get_method, make_method
from lacunet.nn.papers import method_names
from lacunet.prediction.choices import Precision
from lacunet.prediction.predictor import Predictor
from lacunet.task import GLIOMA
from phantoms_made import write_phantoms
from small import hand_made_case

THREADS = (1, 2)
LAYERS = [GroupNorm(8, 16), PointConv(16, 3), PointConv(80, 3)]
TINY = {"width": 8, "levels": 4}


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


SMALL, LARGE = (16, 24, 16), (28, 32, 24)
"""PyTorch shares the steps of a network at its finest level among threads; at its two finest."""


def case_of(shape: tuple[int, int, int]) -> Case:
    draw = np.random.default_rng(3)
    images = {name: gaussian_filter(draw.normal(size=shape), 2) * 20 + 3 for name in GLIOMA.modalities}
    return hand_made_case(images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "layer", [GroupNorm(8, 16), PointConv(16, 3), PointConv(80, 3)], ids=lambda layer: str(layer)[:9]
)
@torch.inference_mode()
def test_a_layer_gives_the_same_bytes_on_any_number_of_threads(layer: torch.nn.Module, dtype: torch.dtype) -> None:
    channels = 16 if isinstance(layer, GroupNorm) else layer.in_channels
    features = torch.randn((1, channels, 48, 32, 48), generator=torch.Generator().manual_seed(1)) * 3 + 1
    features = features.to(dtype).contiguous(memory_format=torch.channels_last_3d)
    found = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            found.append(layer(features))
    for other in found[1:]:
        assert torch.equal(found[0], other)
        assert found[0].stride() == other.stride()  # the next step's sums may depend on it


@pytest.mark.parametrize("rows", range(1, 24))
@torch.inference_mode()
def test_a_few_rows_give_the_same_bytes_on_any_number_of_threads(rows: int) -> None:
    torch.manual_seed(rows)
    layer, tokens = Linear(256, 768), torch.randn(1, rows, 256)
    found = []
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        found.append(layer(tokens))
    assert all(torch.equal(found[0], other) for other in found[1:])
    torch.testing.assert_close(found[0], torch.nn.functional.linear(tokens, layer.weight, layer.bias))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((name, SMALL) for name in method_names()),
        *(pytest.param(name, LARGE, marks=pytest.mark.slow) for name in method_names()),
    ],
    ids=str,
)
def test_a_method_gives_the_same_bytes_on_any_number_of_threads(
    name: str, shape: tuple[int, int, int], precision: Precision
) -> None:
    torch.manual_seed(2)
    known = inspect.signature(get_method(name)).parameters
    method = make_method(get_method(name), GLIOMA, {key: value for key, value in TINY.items() if key in known})
    model = Model(name, method.eval(), Preparation(1.0), {}, "")
    found = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        predictor = Predictor(model, "cpu", precision)
        found.append([one.logits for one in predictor.each(case_of(shape), [("t1n", "t1c", "t2f")])])
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            assert torch.equal(first, second)


def test_two_processes_write_the_same_mask_and_the_record_says_on_how_many_threads(tmp_path: Path) -> None:
    torch.manual_seed(4)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 8, "levels": 3})
    save_model(tmp_path / "model", method, Preparation(4.0), {})
    write_phantoms(tmp_path / "patients", 1, seed=5, spacing=4.0)
    masks = []
    for number, threads in enumerate(("1", "2")):
        folder = tmp_path / str(number)
        command = [
            sys.executable,
            "-m",
            "lacunet",
            "segment",
            tmp_path / "patients",
            "-m",
            tmp_path / "model",
            "-o",
            folder,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        subprocess.run([*map(str, command), "--device", "cpu"], env=environment, check=True, capture_output=True)
        (record,) = folder.rglob("case.json")
        facts = json.loads(record.read_text(encoding="utf-8"))["provenance"]
        assert facts["threads"] == f"{threads}, PyTorch {torch.__version__}"
        assert facts["predicted"] == "the whole brain at once"
        (mask,) = record.parent.glob("*.nii.gz")
        masks.append(mask.read_bytes())
    assert masks[0] == masks[1]
