"""Prepared cases on disk, and the crops of a step."""

import os
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lacunet.case import CaseFiles
from lacunet.data.prepare import Preparation
from lacunet.errors import OutputError
from lacunet.nn.batch import Batch
from lacunet.task import GLIOMA
from lacunet.training.augmentation.settings import NO_AUGMENTATION, Augmentation
from lacunet.training.crops import Crops, crops_from, draw_subset
from lacunet.training.prepared import PreparedCase, prepare_cases
from lacunet.training.recipe import SubsetRule, TrainSettings
from lacunet.training.transplant.settings import Transplant
from lacunet.training.transplant.transplant import Donors

CPU = torch.device("cpu")

ALL = (True, True, True, True)


@pytest.fixture(scope="module")
def prepared(phantoms: list[CaseFiles], tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """Three cases; the second never had T1ce, the third has FLAIR alone."""
    first, second, third = phantoms
    without = replace(second, images={name: file for name, file in second.images.items() if name != "t1c"})
    alone = replace(third, images={"t2f": third.images["t2f"]})
    folder = tmp_path_factory.mktemp("prepared")
    return list(prepare_cases([first, without, alone], GLIOMA, Preparation(4.0), folder))


def crops(cases: list[PreparedCase], **changed: object) -> Crops:
    loop: dict[str, object] = {"crop": (12, 10, 8), "batch": 4}
    rest: dict[str, object] = {"steps": 6, "augmentation": Augmentation(), "seed": 1, "stage": 0}
    rest |= {"brains": (), "rank": 0, "ranks": 1, "donors": None, "spacing": 4.0}
    for name, value in changed.items():
        (rest if name in rest else loop)[name] = value
    return Crops(cases, GLIOMA, TrainSettings(**loop), **rest)  # type: ignore[arg-type]


def same(one: Batch, other: Batch) -> bool:
    tensors = ("images", "acquired", "presence", "regions")
    return one.names == other.names and all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)


# ---------------------------------------------------------------- crops


def test_a_batch_is_a_function_of_seed_stage_and_step(prepared: list[PreparedCase]) -> None:
    batch = crops(prepared)[3]
    np.random.default_rng(0)
    torch.manual_seed(99)
    assert same(crops(prepared)[3], batch)
    for other in (crops(prepared)[4], crops(prepared, seed=2)[3], crops(prepared, stage=1)[3]):
        assert not same(other, batch)


def test_slots_of_a_step_differ(prepared: list[PreparedCase]) -> None:
    batch = crops(prepared[:1])[0]
    assert not torch.equal(batch.images[0], batch.images[1])


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_share_the_global_batch_without_overlap(prepared: list[PreparedCase], ranks: int) -> None:
    whole = crops(prepared)[2]
    for rank in range(ranks):
        share = crops(prepared, rank=rank, ranks=ranks)[2]
        mine = list(range(rank, 4, ranks))
        assert share.names == tuple(whole.names[slot] for slot in mine)
        assert torch.equal(share.images, whole.images[mine])
        assert torch.equal(share.presence, whole.presence[mine])


def test_each_case_comes_once_before_any_comes_again(prepared: list[PreparedCase]) -> None:
    names = [name for step in range(6) for name in crops(prepared, batch=2)[step].names]
    rounds = [names[start : start + 3] for start in range(0, 12, 3)]
    assert all(len(set(turn)) == 3 for turn in rounds)
    assert len({tuple(turn) for turn in rounds}) > 1


def test_shows_nothing_that_was_not_acquired_and_always_something(prepared: list[PreparedCase]) -> None:
    for step in range(6):
        batch = crops(prepared)[step]
        assert not (batch.presence & ~batch.acquired).any()
        assert batch.presence.any(dim=1).all()
        assert torch.isfinite(batch.images).all()
        assert not batch.images[~batch.acquired].any()
        assert set(batch.regions.unique().tolist()) <= {0.0, 1.0}


def test_acquired_is_what_the_case_has_files_of(prepared: list[PreparedCase]) -> None:
    assert [case.acquired for case in prepared] == [ALL, (True, False, True, True), (False, False, False, True)]


def test_without_augmentation_a_crop_holds_the_voxels_of_the_case(prepared: list[PreparedCase]) -> None:
    case, size = prepared[0], (12, 10, 8)
    crop = crops(prepared[:1], crop=size, augmentation=NO_AUGMENTATION, tumour_share=1.0)[0].images[0].numpy()
    middle = crop[:, 4:8, 3:7, 2:6]
    assert middle.any()
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(case.images, np.float32), middle.shape[1:], (1, 2, 3))
    gaps = np.abs(windows - middle[:, None, None, None]).max(axis=(0, 4, 5, 6))
    assert gaps.min() < 1e-3


def test_tumour_share_decides_how_many_crops_hold_tumour(prepared: list[PreparedCase]) -> None:
    def with_tumour(share: float) -> int:
        made = crops(prepared[:1], crop=(4, 4, 4), tumour_share=share, steps=8, augmentation=NO_AUGMENTATION)
        return sum(int(made[step].regions[:, 0].flatten(1).any(dim=1).sum()) for step in range(8))

    assert with_tumour(1.0) >= 28 > with_tumour(0.0)


def test_worker_processes_make_the_same_crops(prepared: list[PreparedCase]) -> None:
    alone = list(crops_from(crops(prepared, steps=3), 1, 0, CPU))
    ahead = list(crops_from(crops(prepared, steps=3), 1, 1, CPU))
    assert len(alone) == len(ahead) == 2
    assert all(same(one, other) for one, other in zip(alone, ahead, strict=True))
    assert same(alone[0], crops(prepared, steps=3)[1])


def test_workers_that_could_not_talk_are_not_started(
    prepared: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * 100)
    assert len(list(crops_from(crops(prepared, steps=3), 1, 0, CPU))) == 2
    with pytest.raises(OutputError, match="set TMPDIR to another folder"):
        next(iter(crops_from(crops(prepared, steps=3), 1, 1, CPU)))


def test_the_device_that_trains_can_change_the_crops(prepared: list[PreparedCase]) -> None:
    by_workers = list(crops_from(crops(prepared, steps=3), 0, 1, CPU))
    by_device = list(crops_from(crops(prepared, steps=3, change_on="device"), 0, 1, CPU))
    assert all(same(one, other) for one, other in zip(by_workers, by_device, strict=True))
    raw = crops(prepared, steps=3).raw(0).crops[0]
    assert not torch.equal(raw.images, by_device[0].images[0])


def test_crops_near_tumour_are_kept_inside_if_asked(prepared: list[PreparedCase]) -> None:
    size = tuple(length - 6 for length in prepared[0].shape)

    def outside(inside: bool) -> int:
        """Crops whose centre is not that of an unchanged crop inside the case."""
        made = crops(prepared[:1], crop=size, tumour_share=1.0, inside=inside)
        centres = [made._centre(prepared[0], np.random.default_rng(seed)) for seed in range(40)]
        first = np.array(centres) - (np.array(size) - 1) / 2
        assert np.array_equal(first, np.round(first))
        return int(((first < 0) | (first > 6)).any(axis=1).sum())

    assert outside(inside=True) == 0
    assert outside(inside=False) > 20


def test_a_case_smaller_than_a_crop_is_in_its_middle(prepared: list[PreparedCase]) -> None:
    size = tuple(length + 4 for length in prepared[0].shape)
    made = crops(prepared[:1], crop=size, tumour_share=1.0, inside=True)
    centre = made._centre(prepared[0], np.random.default_rng(0))
    assert np.array_equal(centre, (np.array(prepared[0].shape) - 1) / 2)


def test_brains_without_a_tumour_are_shown_as_often_as_asked(prepared: list[PreparedCase]) -> None:
    patients, brains = prepared[:2], prepared[2:]
    made = crops(patients, brains=brains, healthy=0.3, steps=50)
    shown = [made.case_at(step, slot) for step in range(50) for slot in range(4)]
    assert sum(case in brains for case in shown) == 60
    of_patients = [case.name for case in shown if case in patients]
    assert all(one != other for one, other in zip(of_patients[::2], of_patients[1::2], strict=True))


def test_without_brains_without_a_tumour_the_crops_are_those_of_patients(prepared: list[PreparedCase]) -> None:
    assert same(crops(prepared, brains=prepared[:1])[2], crops(prepared)[2])


# ---------------------------------------------------------------- lesions of other cases


def giving(cases: list[PreparedCase], chance: float) -> Donors:
    return Donors(Transplant(chance=chance, beside=chance, smallest=0.3, largest=0.5), cases, Preparation(4.0))


def test_a_crop_with_the_lesion_of_another_case_says_so(prepared: list[PreparedCase]) -> None:
    plain, given = (crops(prepared, crop=(24, 24, 24), donors=donors) for donors in (None, giving(prepared, 1.0)))
    names = [name for step in range(6) for name in given[step].names]
    expected = {f"{case.name} + lesion of {prepared[0].name}" for case in prepared}
    assert expected & set(names)
    for step in range(6):
        without, with_lesions = plain[step], given[step]
        for slot, name in enumerate(with_lesions.names):
            alike = torch.equal(without.regions[slot], with_lesions.regions[slot])
            assert alike == ("lesion of" not in name)
            assert name.startswith(without.names[slot])
        assert torch.equal(without.presence, with_lesions.presence)


def test_a_chance_of_zero_changes_no_bit(prepared: list[PreparedCase]) -> None:
    assert all(same(crops(prepared)[step], crops(prepared, donors=giving(prepared, 0.0))[step]) for step in range(6))


def test_worker_processes_transplant_the_same_lesions(prepared: list[PreparedCase]) -> None:
    made = crops(prepared, steps=3, crop=(24, 24, 24), donors=giving(prepared, 1.0))
    assert all(
        same(one, other) for one, other in zip(crops_from(made, 0, 0, CPU), crops_from(made, 0, 1, CPU), strict=True)
    )


def test_t1ce_is_never_moved_against_the_reference(prepared: list[PreparedCase]) -> None:
    moving = Augmentation.model_validate(
        {**NO_AUGMENTATION.model_dump(), "misregistration": {"chance": 1.0, "shift": 8.0}}
    )
    moved, still = crops(prepared[:1], augmentation=moving), crops(prepared[:1], augmentation=NO_AUGMENTATION)
    for step in range(6):
        assert torch.allclose(moved[step].images[:, 1], still[step].images[:, 1], atol=1e-5)
        assert torch.equal(moved[step].regions, still[step].regions)
        assert not torch.allclose(moved[step].images[:, 3], still[step].images[:, 3], atol=0.1)


# ---------------------------------------------------------------- subsets


def drawn(rule: SubsetRule, acquired: tuple[bool, ...] = ALL, keep: float = 0.5) -> Counter[tuple[bool, ...]]:
    generator = np.random.default_rng(0)
    return Counter(draw_subset(acquired, rule, generator, keep) for _ in range(3000))


def test_every_subset_is_equally_likely() -> None:
    counts = drawn("subset")
    assert len(counts) == 15
    assert all(140 < count < 260 for count in counts.values())  # 200 expected


def test_every_size_is_equally_likely() -> None:
    counts = drawn("size")
    sizes = Counter()  # type: ignore[var-annotated]
    for subset, count in counts.items():
        sizes[sum(subset)] += count
    assert all(650 < sizes[size] < 850 for size in (1, 2, 3, 4))  # 750 expected
    assert all(140 < count < 240 for subset, count in counts.items() if sum(subset) == 1)  # 187 expected


def test_each_modality_is_kept_with_its_chance() -> None:
    counts = drawn("modality", keep=0.8)
    for index in range(4):
        share = sum(count for subset, count in counts.items() if subset[index]) / 3000
        assert share == pytest.approx(0.8 / (1 - 0.2**4), abs=0.03)


def test_all_shows_whatever_there_is() -> None:
    assert set(drawn("all")) == {ALL}
    assert set(drawn("all", (True, False, False, True))) == {(True, False, False, True)}


@pytest.mark.parametrize("rule", ["subset", "size", "modality", "all"])
def test_a_subset_is_never_empty_and_never_more_than_acquired(rule: SubsetRule) -> None:
    for subset in drawn(rule, (False, True, False, True), keep=0.1):
        assert subset in {(False, True, False, True), (False, True, False, False), (False, False, False, True)}


# ---------------------------------------------------------------- on disk


def test_a_prepared_case_is_reused_and_made_again_when_its_files_change(phantoms: list[CaseFiles], tmp_path: Path):
    def prepare(clip: float = 5.0) -> PreparedCase:
        return next(iter(prepare_cases([phantoms[0]], GLIOMA, Preparation(4.0, clip), tmp_path)))

    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("images.npy")}

    first, made = prepare(), stamps()
    assert len(made) == 1
    assert np.array_equal(prepare().images, first.images)
    assert stamps() == made
    prepare(clip=2.0)
    assert len(stamps()) == 2
    scan = phantoms[0].images["t1c"].path
    before = scan.stat()
    os.utime(scan, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    prepare()
    assert len(stamps()) == 3
    os.utime(scan, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_preparing_that_was_interrupted_is_done_again(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    list(prepare_cases(phantoms[:1], GLIOMA, Preparation(4.0), tmp_path))
    (folder,) = tmp_path.iterdir()
    (folder / "done").unlink()
    (folder / "images.npy").write_bytes(b"half")
    (case,) = prepare_cases(phantoms[:1], GLIOMA, Preparation(4.0), tmp_path)
    assert case.images.shape[0] == 4


def test_listed_voxels_lie_in_their_regions(prepared: list[PreparedCase]) -> None:
    for voxels, members in zip(prepared[0].voxels, GLIOMA.regions.values(), strict=True):
        assert len(voxels) == np.isin(prepared[0].labels, members).sum() > 0
        assert np.isin(prepared[0].labels[tuple(voxels.T)], members).all()
