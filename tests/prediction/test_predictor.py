"""From a case to masks on its own grid."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lacunet.case import Case, CaseFiles
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation
from lacunet.errors import DataError, UsageError
from lacunet.models.model import Model
from lacunet.nn.batch import Batch, Images, Logits, Presence, hide
from lacunet.nn.method import Clock, Method, Stage, get_method, make_method
from lacunet.prediction.choices import Mirror
from lacunet.prediction.predictor import Predictor, group_by_frame
from lacunet.prediction.windows import Windows, gaussian_weight, no_larger_than, pad_to, window_slices
from lacunet.task import GLIOMA, Task, get_task
from small import brain, hand_made_case


class Pointwise(Method[Images]):
    """Looks at one voxel at a time, so that windows cannot matter."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.head = nn.Conv3d(len(task.modalities), len(task.regions), 1)
        self.encoded = self.decoded = 0

    def encode(self, images: Images, presence: Presence) -> Images:
        self.encoded += 1
        return hide(images, presence)

    def decode(self, encoded: Images, presence: Presence) -> Logits:
        self.decoded += 1
        return self.head(hide(encoded, presence))

    def stages(self) -> list[Stage]:
        return [Stage("none", self._loss, [self])]

    def _loss(self, batch: Batch, clock: Clock) -> dict[str, torch.Tensor]:
        raise NotImplementedError


def model_of(method: Method, spacing: float = 1.0) -> Model:
    return Model("made", method.eval(), Preparation(spacing), {}, "")


def pointwise(spacing: float = 1.0) -> Model:
    torch.manual_seed(1)
    return model_of(Pointwise(GLIOMA), spacing)


def unet(spacing: float = 1.0) -> Model:
    torch.manual_seed(1)
    return model_of(make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2}), spacing)


def predictor(model: Model, windows: Windows | None = None) -> Predictor:
    return Predictor(model, "cpu", "float32", windows)


def uneven_case() -> Case:
    """FLAIR reaches further than the others, so that boxes differ between subsets."""
    shape = (18, 20, 16)
    return hand_made_case(
        {
            "t1n": brain(shape, (4, 5, 4), (13, 15, 12), seed=0),
            "t1c": brain(shape, (4, 5, 4), (13, 15, 12), seed=1),
            "t2w": brain(shape, (3, 5, 4), (13, 15, 12), seed=2),
            "t2f": brain(shape, (2, 3, 1), (15, 17, 14), seed=3),
        }
    )


# ---------------------------------------------------------------- subsets


@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_every_subset_equals_a_case_whose_other_files_were_deleted(spacing: float) -> None:
    case, run = uneven_case(), predictor(unet(spacing))
    together = {prediction.subset: prediction for prediction in run.each(case, GLIOMA.subsets)}
    assert set(together) == set(GLIOMA.subsets)
    for subset in GLIOMA.subsets:
        alone = run(case.only(subset))
        assert alone.subset == subset
        assert torch.allclose(together[subset].logits, alone.logits, atol=1e-5), subset
        assert np.array_equal(together[subset].labels(), alone.labels())


def test_encodes_once_for_all_subsets_that_share_a_box() -> None:
    model = pointwise()
    run = predictor(model)
    assert isinstance(model.method, Pointwise)
    model.method.encoded = model.method.decoded = 0
    groups = group_by_frame(uneven_case(), GLIOMA.subsets, [model])
    assert [len(group) for _, group in groups] == [3, 4, 8]  # without T2 and FLAIR, with T2 but not FLAIR, with FLAIR
    list(run.each(uneven_case(), GLIOMA.subsets))
    assert model.method.encoded == 3 + 1  # and once to measure how much memory the network takes
    assert model.method.decoded == 15 + 1


def test_parts_of_a_subset_are_encoded_once_with_it_and_lie_in_its_box() -> None:
    run, case, subset = predictor(pointwise()), uneven_case(), ("t1n", "t2w", "t2f")
    alone = run(case, subset)
    run.networks[0].method.encoded = run.networks[0].method.decoded = 0  # type: ignore[assignment]
    parts = [("t2w", "t2f"), ("t1n", "t2w"), ("t1n",)]
    whole, *others = run.with_parts(case, subset, parts)
    assert (run.networks[0].method.encoded, run.networks[0].method.decoded) == (1, 4)
    assert [one.subset for one in (whole, *others)] == [subset, *parts]
    assert torch.equal(whole.logits, alone.logits)
    assert {one.answers[0].frame.start for one in others} == {whole.answers[0].frame.start}
    assert run(case, ("t1n",)).answers[0].frame.start != whole.answers[0].frame.start
    assert all(one.answers[0].maps.shape == whole.answers[0].maps.shape for one in others)
    assert np.array_equal(whole.masks()["tc"], (whole.answers[0].maps[1] > 0).numpy())
    assert whole.voxel_ml == pytest.approx(0.001)
    inside = case.images["t1n"] != 0
    own = run(case, ("t1n",)).logits[:, inside]
    assert torch.allclose(others[-1].logits[:, inside], own, atol=1e-5)


def test_a_real_layout_of_files_goes_through(phantoms: list[CaseFiles]) -> None:
    case = load_case(phantoms[0])
    prediction = predictor(unet(4.0))(case, ("t1c", "t2f"))
    assert prediction.labels().shape == case.grid.shape
    assert prediction.labels().dtype == np.uint8
    outside = ~np.any([image != 0 for image in case.images.values()], axis=0)
    assert outside[0, 0, 0]
    assert prediction.probabilities()["wt"][0, 0, 0] < 1e-12


def test_a_subset_that_the_case_lacks_is_refused() -> None:
    case = uneven_case().only(("t1n", "t2f"))
    with pytest.raises(DataError, match=r"has no t1c; it has t1n, t2f"):
        predictor(pointwise())(case, ("t1c", "t2f"))


def test_the_caller_does_not_run_in_inference_mode() -> None:
    for _ in predictor(pointwise()).each(uneven_case(), GLIOMA.subsets[:3]):
        assert not torch.is_inference_mode_enabled()


# ---------------------------------------------------------------- the native grid


@pytest.mark.parametrize("spacing", [1.0, 2.0, 1.5])
def test_a_mask_lies_on_the_grid_of_the_case_where_the_signal_is(spacing: float) -> None:
    image = brain((18, 20, 16), (2, 3, 1), (15, 17, 14))
    image[image != 0] = 100 + image[image != 0] * 0.01
    image[6:12, 7:11, 4:10] = 900
    model = pointwise(spacing)
    with torch.no_grad():
        model.method.head.weight.zero_()
        model.method.head.bias.zero_()
        model.method.head.weight[:, 3] = 10.0
        model.method.head.bias[:] = -10.0
    regions = predictor(model)(hand_made_case({"t2f": image})).regions()
    assert list(regions) == ["wt", "tc", "et"]
    bright = np.zeros(image.shape, bool)
    bright[6:12, 7:11, 4:10] = True
    overlap = 2 * (regions["wt"] & bright).sum() / (regions["wt"].sum() + bright.sum())
    assert overlap == 1.0 if spacing == 1.0 else overlap > 0.8


def test_masks_labels_and_probabilities_agree() -> None:
    prediction = predictor(unet())(uneven_case())
    for region, mask in prediction.regions().items():
        assert np.array_equal(mask, prediction.probabilities()[region] > 0.5)
    painted = np.zeros(prediction.labels().shape, np.uint8)
    for region, label in GLIOMA.painting:
        painted[prediction.regions()[region]] = label
    assert np.array_equal(painted, prediction.labels())


def test_predictions_are_deterministic() -> None:
    first, second = (predictor(unet())(uneven_case()).logits for _ in range(2))
    assert torch.equal(first, second)


# ---------------------------------------------------------------- windows


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 17, 30), (8, 10, 31)])
def test_windows_cover_every_voxel_and_stay_inside(shape: tuple[int, int, int], overlap: float) -> None:
    seen = np.zeros(shape, int)
    for window in window_slices(shape, (8, 6, 7), overlap):
        assert [axis.stop - axis.start for axis in window] == [8, 6, 7]
        assert all(axis.start >= 0 and axis.stop <= length for axis, length in zip(window, shape, strict=True))
        seen[window] += 1
    assert seen.min() >= 1


@pytest.mark.parametrize("size", [(8, 8, 8), (7, 9, 5), (32, 32, 32)])
def test_windows_of_a_pointwise_network_equal_the_whole_box(size: tuple[int, int, int]) -> None:
    case = uneven_case()
    whole = predictor(pointwise())(case).logits
    assert torch.allclose(predictor(pointwise(), Windows(size))(case).logits, whole, atol=1e-4)


def test_blended_windows_equal_monais() -> None:
    sliding_window_inference = pytest.importorskip("monai.inferers").sliding_window_inference
    model, size = unet(), (8, 6, 10)
    case = hand_made_case({"t2f": brain((14, 16, 18), (0, 0, 0), (13, 15, 17))})
    found = predictor(model, Windows(size, overlap=0.5))(case).logits
    presence = torch.tensor([GLIOMA.presence(("t2f",))])
    (((frame,), _),) = group_by_frame(case, [("t2f",)], [model])
    assert frame.shape == case.grid.shape
    image = case.images["t2f"]
    images = torch.zeros((1, 4, *image.shape))
    images[0, 3] = torch.from_numpy((image - image.mean()) / image.std()).clamp(-5, 5)
    with torch.no_grad():
        expected = sliding_window_inference(
            images, size, 1, lambda crop: model.method(crop, presence), overlap=0.5, mode="gaussian"
        )
    assert torch.allclose(found, expected[0], atol=1e-3)


@pytest.mark.parametrize(("mirror", "turns"), [("none", 1), ("sides", 2), ("all", 8)])
def test_mirror_images_are_encoded_once_each_and_a_pointwise_network_is_indifferent(mirror: Mirror, turns: int) -> None:
    model, case = pointwise(), uneven_case()
    plain = list(Predictor(model, "cpu", "float32").each(case, GLIOMA.subsets))
    assert isinstance(model.method, Pointwise)
    model.method.encoded = 0
    mirrored = list(Predictor(model, "cpu", "float32", mirror=mirror).each(case, GLIOMA.subsets))
    measured = 1  # a network is asked once for the memory that it needs
    assert model.method.encoded == measured + turns * len(group_by_frame(case, GLIOMA.subsets, [model]))
    for one, other in zip(plain, mirrored, strict=True):
        assert one.subset == other.subset
        torch.testing.assert_close(one.logits, other.logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("mirror", "axes"), [("sides", [(), (0,)]), ("all", [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])]
)
def test_mirrored_logits_are_the_mean_over_turned_images(mirror: Mirror, axes: list[tuple[int, ...]]) -> None:
    box = ((18, 20, 16), (4, 4, 4), (13, 15, 11))  # even along each axis: nothing is padded
    model, case = unet(), hand_made_case({"t1c": brain(*box, seed=1), "t2f": brain(*box, seed=2)})

    def asked(turned: tuple[int, ...]) -> torch.Tensor:
        images = {name: np.flip(image, turned).copy() for name, image in case.images.items()}
        logits = Predictor(model, "cpu", "float32")(replace(case, images=images)).logits
        return logits.flip([axis + 1 for axis in turned])

    expected = torch.stack([asked(turned) for turned in axes]).mean(0)
    found = Predictor(model, "cpu", "float32", mirror=mirror)(case).logits
    assert not torch.allclose(found, asked(()), atol=1e-3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_weight_of_a_window_is_highest_in_the_middle_and_never_zero() -> None:
    weight = gaussian_weight((9, 9, 9))
    assert weight[4, 4, 4] == weight.max() == 1.0
    assert weight.min() == pytest.approx(1e-3)
    assert weight[5, 4, 4].item() == pytest.approx(np.exp(-0.5 * (8 / 9) ** 2))
    assert torch.equal(weight, weight.flip(0, 1, 2))


def test_padding_reaches_the_next_multiple() -> None:
    padded = pad_to(torch.ones((1, 2, 5, 8, 9)), 4)
    assert padded.shape == (1, 2, 8, 8, 12)
    assert padded.sum() == 2 * 5 * 8 * 9
    assert padded[:, :, :5, :, :9].all()


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize("name", ["nonsense", "meta:7x", "cuda:99"])
def test_a_device_that_does_not_work_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--device {name}"):
        Predictor(pointwise(), name)


def test_auto_finds_a_device_that_works() -> None:
    assert predictor(pointwise()).device.type == "cpu"
    assert Predictor(pointwise(), "auto").device.type in {"cpu", "cuda", "mps"}


def test_bf16_is_near_float32() -> None:
    exact = predictor(unet())(uneven_case()).probabilities()["wt"]
    rough = Predictor(unet(), "cpu", "bf16")(uneven_case()).probabilities()["wt"]
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.05


def test_a_window_is_no_larger_than_the_box_needs():
    assert no_larger_than((75, 94, 78), (128, 128, 128), 8) == (80, 96, 80)
    assert no_larger_than((200, 64, 130), (128, 128, 128), 8) == (128, 64, 128)


# ---------------------------------------------------------------- several models


def other(spacing: float = 1.0) -> Model:
    torch.manual_seed(2)
    return replace(model_of(Pointwise(GLIOMA), spacing), name="other", sha256="ab", card={"data": "others"})


@pytest.mark.parametrize("spacings", [(1.0, 1.0), (1.0, 2.0), (1.5, 2.0)], ids=str)
def test_logits_of_several_models_are_averaged_on_the_grid_of_the_case(spacings: tuple[float, float]) -> None:
    case, models = uneven_case(), [pointwise(spacings[0]), other(spacings[1])]
    alone = [{one.subset: one.logits for one in predictor(model).each(case, GLIOMA.subsets)} for model in models]
    together = list(Predictor(models, "cpu", "float32").each(case, GLIOMA.subsets))
    assert {one.subset for one in together} == set(GLIOMA.subsets)
    for one in together:
        expected = (alone[0][one.subset] + alone[1][one.subset]) / 2
        torch.testing.assert_close(one.logits, expected, rtol=1e-5, atol=1e-5)
        assert one.temperature == 1.0


def test_each_of_several_models_encodes_a_case_once_for_all_subsets_that_share_a_box() -> None:
    models = [pointwise(), other(2.0)]
    run, methods = Predictor(models, "cpu", "float32"), [model.method for model in models]
    list(run.each(uneven_case(), [GLIOMA.modalities]))  # measures how much memory each network takes
    for method in methods:
        assert isinstance(method, Pointwise)
        method.encoded = method.decoded = 0
    list(run.each(uneven_case(), GLIOMA.subsets))
    assert [(method.encoded, method.decoded) for method in methods if isinstance(method, Pointwise)] == [(3, 15)] * 2


def test_several_models_are_called_by_their_names_and_hashes() -> None:
    models = [replace(pointwise(), sha256="aa", card={"data": "some"}), other(2.0)]
    run = Predictor(models, "cpu", "float32")
    assert run.model.name == "made + other"
    assert run.model.card["data"] == "some; others"
    assert run.model.card["members"] == [{"model": "made", "sha256": "aa"}, {"model": "other", "sha256": "ab"}]
    assert run.model.sha256 == hashlib.sha256(b"aa\nab").hexdigest()
    assert run.grids == "1 mm, 2 mm"
    assert Predictor([models[0]], "cpu", "float32").model is models[0]


def test_models_of_different_tasks_do_not_answer_together() -> None:
    torch.manual_seed(1)
    alien = model_of(Pointwise(get_task("mets")))
    with pytest.raises(UsageError, match="is of the task 'mets', made of 'glioma'; models that answer together"):
        Predictor([pointwise(), alien], "cpu", "float32")
    with pytest.raises(UsageError, match="without a model"):
        Predictor([], "cpu", "float32")


def test_what_post_processing_decides_by_is_on_the_case_s_grid() -> None:
    case = uneven_case()
    prediction = predictor(pointwise(2.0))(case, ("t1n", "t2w"))
    found = prediction.found(case.grid)
    assert found.labels.shape == found.logits.shape == case.grid.shape
    assert np.array_equal(found.labels, prediction.labels())
    assert np.array_equal(found.logits > 0, prediction.regions()["wt"])
