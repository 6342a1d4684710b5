"""Crop, normalise, resample, and back again."""

import numpy as np
import pytest
import torch

from lacunet.data.prepare import (
    Frame,
    Preparation,
    frame_of,
    labels_of,
    normalise,
    prepare_images,
    prepare_reference,
    regions_of,
    resample,
)
from lacunet.task import GLIOMA
from small import brain, hand_made_case

SHAPE = (20, 24, 16)
EVERYWHERE = ((0, 0, 0), (19, 23, 15))


def ramp(frame: Frame) -> torch.Tensor:
    """Millimetres along a slanted direction, at the voxels of the prepared array."""
    return positions(frame.shape, frame.affine) @ torch.tensor([1.0, 0.5, -0.25], dtype=torch.float64)


def positions(shape: tuple[int, ...], affine: np.ndarray) -> torch.Tensor:
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return torch.from_numpy(indices @ affine[:3, :3].T + affine[:3, 3])


# ---------------------------------------------------------------- the box


def test_the_box_is_the_smallest_with_every_non_zero_voxel() -> None:
    image = np.zeros((6, 7, 8), np.float32)
    image[2, 3, 4] = image[4, 3, 5] = -1.0
    frame = frame_of(hand_made_case({"t1n": image}), ("t1n",), Preparation())
    assert (frame.start, frame.size) == ((2, 3, 4), (3, 1, 2))


def test_the_box_of_several_images_holds_each_of_them() -> None:
    one, other = np.zeros((6, 6, 6), np.float32), np.zeros((6, 6, 6), np.float32)
    one[1, 1, 1] = other[4, 2, 1] = 1.0
    frame = frame_of(hand_made_case({"t1n": one, "t2f": other}), ("t1n", "t2f"), Preparation())
    assert (frame.start, frame.size) == ((1, 1, 1), (4, 2, 1))


def test_the_box_comes_from_present_modalities_only() -> None:
    small, large = brain(SHAPE, (5, 6, 7), (10, 12, 11)), brain(SHAPE, (2, 3, 4), (15, 20, 12))
    case = hand_made_case({"t1c": small, "t2f": large})
    assert frame_of(case, ("t1c",), Preparation()).start == (5, 6, 7)
    assert frame_of(case, ("t1c", "t2f"), Preparation()).start == (2, 3, 4)
    assert frame_of(case, ("t1c",), Preparation()) == frame_of(case.only(("t1c",)), ("t1c",), Preparation())


# ---------------------------------------------------------------- the frame


def test_same_spacing_is_an_exact_cut_and_undo() -> None:
    image = brain(SHAPE, (5, 6, 7), (10, 12, 11))
    frame = frame_of(hand_made_case({"t1c": image}), ("t1c",), Preparation(1.0))
    prepared = frame.apply(torch.from_numpy(image)[None])
    assert prepared.shape == (1, 6, 7, 5)
    assert np.array_equal(prepared[0].numpy(), image[5:11, 6:13, 7:12])
    assert np.array_equal(frame.undo(prepared)[0].numpy(), image)


def test_undo_fills_what_lies_outside_the_box() -> None:
    image = brain(SHAPE, (5, 6, 7), (10, 12, 11))
    frame = frame_of(hand_made_case({"t1c": image}), ("t1c",), Preparation(2.0))
    whole = frame.undo(torch.ones((1, *frame.shape)), fill=-30.0)[0].numpy()
    assert np.allclose(whole[image != 0], 1.0)
    assert (whole == -30.0).sum() >= (image == 0).sum() - np.prod(frame.size)
    assert whole[0, 0, 0] == -30.0


def test_the_affine_of_a_prepared_array_by_hand() -> None:
    image = brain(SHAPE, (4, 6, 8), (11, 13, 15))  # 8 x 8 x 8 voxels
    frame = frame_of(hand_made_case({"t1c": image}), ("t1c",), Preparation(2.0))
    assert (frame.start, frame.size, frame.shape) == ((4, 6, 8), (8, 8, 8), (4, 4, 4))
    by_hand = np.diag([2.0, 2.0, 2.0, 1.0])
    by_hand[:3, 3] = 10 + 4.5, -20 + 6.5, 30 + 8.5  # between the first two voxels of the box
    assert np.allclose(frame.affine, by_hand)


def test_a_box_grows_to_whole_prepared_voxels() -> None:
    image = brain(SHAPE, (0, 6, 8), (8, 13, 14))  # 9 x 8 x 7 voxels
    frame = frame_of(hand_made_case({"t1c": image}), ("t1c",), Preparation(2.0))
    assert (frame.size, frame.shape) == ((10, 8, 8), (5, 4, 4))
    assert np.allclose(np.diag(frame.affine)[:3], 2.0)


def test_a_box_may_grow_past_the_border_of_the_grid() -> None:
    image = brain((7, 8, 9), (0, 0, 0), (6, 7, 8))
    frame = frame_of(hand_made_case({"t1c": image}), ("t1c",), Preparation(4.0))
    assert frame.size == (8, 8, 12)
    assert frame.start == (0, 0, -1)
    prepared = frame.apply(torch.from_numpy(image)[None])
    total = prepared.sum().item() * 4**3
    assert total == pytest.approx(image.sum(), rel=1e-5)  # beyond the border lies zero
    assert frame.undo(prepared).shape == (1, 7, 8, 9)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.9375, 0.9375, 1.2), (1, 1, 5), (0.5, 1, 3)])
@pytest.mark.parametrize("wanted", [1.0, 1.5, 2.0, 4.0])
def test_ramps_lie_where_the_affine_says_at_any_spacing(spacing: tuple[float, float, float], wanted: float) -> None:
    case = hand_made_case({"t1c": brain(SHAPE, *EVERYWHERE)}, spacing)
    frame = frame_of(case, ("t1c",), Preparation(wanted))
    length = np.asarray(frame.size) * spacing
    assert np.all(np.abs(length - np.asarray(frame.shape) * wanted) <= wanted / 2 + 1e-6)

    source = positions(SHAPE, case.grid.affine) @ torch.tensor([1.0, 0.5, -0.25], dtype=torch.float64)
    # a prepared voxel averages whole voxels, so it may lie an eighth of a voxel beside its centre where they do not fit
    loose = [
        s / 8 if size > new and size % new else 0.0
        for s, size, new in zip(spacing, frame.size, frame.shape, strict=True)
    ]
    tolerance = 1e-4 + float(np.abs([1.0, 0.5, -0.25]) @ loose)
    edges = [int(np.ceil(0.5 * s / wanted)) for s in spacing]  # an outermost voxel has a neighbour on one side only
    inner = tuple(slice(edge, -edge) for edge in edges)
    prepared = frame.apply(source[None].float())[0].double()
    assert prepared[inner].numel()
    assert torch.allclose(prepared[inner], ramp(frame)[inner], rtol=0, atol=tolerance)

    loose = [
        wanted / 8 if new > size and new % size else 0.0 for size, new in zip(frame.size, frame.shape, strict=True)
    ]
    tolerance = 1e-4 + float(np.abs([1.0, 0.5, -0.25]) @ loose)
    back = frame.undo(ramp(frame)[None].float())[0].double()
    edges = [int(np.ceil(1.5 * wanted / s)) + 1 for s in spacing]
    inner = tuple(slice(edge, -edge) for edge in edges)
    assert torch.allclose(back[inner], source[inner], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("old", "new"), [(6, 3), (7, 5), (5, 7), (3, 9), (4, 4), (1, 5), (5, 1)])
def test_resampling_keeps_a_constant_and_shrinking_keeps_the_mean(old: int, new: int) -> None:
    row = torch.rand((1, old, 1, 1), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(resample(torch.ones_like(row), (new, 1, 1)), torch.ones(1))
    if new <= old:
        assert resample(row, (new, 1, 1)).mean().item() == pytest.approx(row.mean().item(), rel=1e-5)


def test_resampling_by_hand() -> None:
    row = torch.tensor([0.0, 3.0, 6.0])[None, :, None, None]
    assert resample(row, (2, 1, 1)).flatten().tolist() == pytest.approx([(0 + 3 / 2) / 1.5, (3 / 2 + 6) / 1.5])
    assert resample(row, (6, 1, 1)).flatten().tolist() == pytest.approx([0, 0.75, 2.25, 3.75, 5.25, 6])


# ---------------------------------------------------------------- intensities


def test_normalising_by_hand() -> None:
    image = np.array([[[0.0, 2.0, 4.0, 0.0]]])
    assert normalise(image, clip=5.0).flatten().tolist() == [0, -1, 1, 0]


def test_normalised_brain_has_mean_zero_and_deviation_one() -> None:
    voxels = normalise(brain(SHAPE, (3, 3, 3), (16, 20, 12)) * 1000, clip=5.0)
    assert voxels[voxels != 0].mean() == pytest.approx(0, abs=1e-5)
    assert voxels[voxels != 0].std() == pytest.approx(1, abs=1e-5)


def test_outliers_are_clipped() -> None:
    image = brain(SHAPE, (3, 3, 3), (16, 20, 12))
    image[10, 10, 10] = 1e6
    assert normalise(image, clip=5.0).max() == 5.0


def test_a_constant_brain_becomes_zero_not_nan() -> None:
    assert np.array_equal(normalise(np.full((3, 3, 3), 7.0), clip=5.0), np.zeros((3, 3, 3)))


@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_background_is_exactly_zero_and_absent_modalities_too(spacing: float) -> None:
    image = brain(SHAPE, (4, 4, 4), (15, 19, 11))
    image[8:12, 8:12, 6:10] = 0  # a hole
    case = hand_made_case({"t1c": image})
    frame = frame_of(case, ("t1c",), Preparation(spacing))
    prepared = prepare_images(case, GLIOMA, Preparation(spacing), frame).numpy()
    assert not prepared[[0, 2, 3]].any()
    hole = tuple(slice(int((a - 4) / spacing), int((b - 4) / spacing)) for a, b in ((8, 12), (8, 12), (6, 10)))
    assert not prepared[1][hole].any()
    assert (prepared[1] == 0).sum() == prepared[1][hole].size


def test_statistics_of_a_modality_do_not_depend_on_the_others() -> None:
    one, other = brain(SHAPE, (4, 4, 4), (15, 19, 11)), brain(SHAPE, (4, 4, 4), (15, 19, 11), seed=1) * 9
    both, alone = hand_made_case({"t1c": one, "t2f": other}), hand_made_case({"t1c": one})
    frame = frame_of(both, ("t1c", "t2f"), Preparation())
    prepared = [prepare_images(case, GLIOMA, Preparation(), frame)[1] for case in (both, alone)]
    assert torch.equal(prepared[0], prepared[1])


# ---------------------------------------------------------------- labels


def test_regions_are_unions_of_labels() -> None:
    labels = torch.tensor([0, 1, 2, 3], dtype=torch.uint8)[:, None, None]
    assert regions_of(labels, GLIOMA).flatten(1).tolist() == [[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]


def test_labels_are_painted_from_the_whole_to_the_enhancing_tumour() -> None:
    wt, tc, et = [0, 1, 1, 1, 0, 0, 1], [0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 1, 0, 1, 1]
    masks = torch.tensor([wt, tc, et], dtype=torch.bool)[:, :, None, None]
    assert labels_of(masks, GLIOMA).flatten().tolist() == [0, 2, 1, 3, 1, 3, 3]


def test_painting_inverts_regions() -> None:
    labels = torch.randint(0, 4, (5, 6, 7), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert torch.equal(labels_of(regions_of(labels, GLIOMA) > 0.5, GLIOMA), labels)


def test_a_region_fills_a_prepared_voxel_where_it_covers_half_of_it() -> None:
    image, reference = brain((4, 2, 2), (0, 0, 0), (3, 1, 1)), np.zeros((4, 2, 2), np.uint8)
    reference[0] = 2  # half of the first prepared voxel
    reference[2, 0, 0] = reference[2, 1, 1] = reference[3, 0, 0] = 3  # three eighths of the second
    case = hand_made_case({"t1c": image}, reference=reference)
    labels = prepare_reference(case, GLIOMA, frame_of(case, ("t1c",), Preparation(2.0)))
    assert labels.flatten().tolist() == [2, 0]


def test_a_case_without_a_reference_has_none_to_prepare() -> None:
    case = hand_made_case({"t1c": brain(SHAPE, *EVERYWHERE)})
    with pytest.raises(ValueError, match="no reference"):
        prepare_reference(case, GLIOMA, frame_of(case, ("t1c",), Preparation()))
