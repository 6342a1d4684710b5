"""Invented patients: the same for a seed at any spacing, plausible in shape and signal, and written whole."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from lacunet.case import Case
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.nifti import load_case
from lacunet.data.phantom import anatomy, signal, tumour
from lacunet.data.phantom.phantom import draw_patient, make_phantom, write_phantoms
from lacunet.data.phantom.scanner import mix
from lacunet.errors import OutputError, UsageError
from lacunet.task import GLIOMA

LESION = {"oedema": (1.6, 1.8), "solid": (2.0, 1.8), "necrosis": (3.5, 3.0)}


@pytest.fixture(scope="module")
def enhancing() -> Case:
    seed = next(seed for seed in range(50) if draw_patient(seed).growth.enhancing)
    return make_phantom(seed, spacing=4.0)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), count=2, seed=11, spacing=8.0)


def make_body(seed: int) -> anatomy.Body:
    return anatomy.make_body(draw_patient(seed).shape, np.random.Generator(np.random.PCG64([seed, 3])))


def median_by_tissue(case: Case, modality: str) -> dict[str, float]:
    """Median signal of the voxels that are nearly pure, away from the tumour (which moves what is near)."""
    body = make_body(int(case.person[-5:]))
    fractions = body.tissues(anatomy.grid_places(case.grid).reshape(3, -1)).reshape(3, *case.grid.shape)
    healthy = ~ndimage.binary_dilation(case.reference > 0, iterations=5) & (case.images["t1n"] > 0)
    return {
        name: float(np.median(case.images[modality][healthy & (fraction > 0.9)]))
        for name, fraction in zip(("white", "grey", "fluid"), fractions, strict=True)
    }


def test_the_same_seed_gives_the_same_bytes_on_disk(written: list[Path], tmp_path: Path) -> None:
    (again,) = write_phantoms(tmp_path, count=1, seed=12, spacing=8.0)
    names = sorted(file.name for file in again.iterdir())
    assert len(names) == 5
    assert all((again / name).read_bytes() == (written[1] / name).read_bytes() for name in names)


def test_another_seed_gives_another_patient(written: list[Path]) -> None:
    for kind in (*GLIOMA.modalities, "seg"):
        one, other = (nibabel.load(case / f"{case.name}-{kind}.nii.gz").get_fdata() for case in written)
        assert not np.array_equal(one, other)


def test_files_are_named_and_labelled_as_in_brats_2023(written: list[Path]) -> None:
    assert [case.name for case in written] == ["phantom-00011-000", "phantom-00012-000"]
    suffixes = {file.name.removeprefix("phantom-00011-000-") for file in written[0].iterdir()}
    assert suffixes == {f"{kind}.nii.gz" for kind in ("t1n", "t1c", "t2w", "t2f", "seg")}


def test_files_hold_what_was_made(written: list[Path]) -> None:
    case = make_phantom(11, spacing=8.0)
    for name, expected in {**case.images, "seg": case.reference}.items():
        image = nibabel.load(written[0] / f"{case.name}-{name}.nii.gz")
        assert np.array_equal(np.asarray(image.dataobj), expected)
        assert np.array_equal(image.affine, case.grid.affine)
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
        assert image.get_data_dtype() == (np.uint8 if name == "seg" else np.int16)


def test_the_package_reads_back_what_it_wrote(written: list[Path]) -> None:
    found = with_conventions(find_cases(written[0].parent), GLIOMA)
    assert [files.name for files in found] == [folder.name for folder in written]
    assert {(files.family, files.convention) for files in found} == {("brats2023", "brats2023")}
    case, made = load_case(found[0]), make_phantom(11, spacing=8.0)
    assert (case.name, case.person) == (made.name, made.person)
    assert np.array_equal(case.reference, made.reference)
    assert all(np.array_equal(case.images[name], made.images[name]) for name in GLIOMA.modalities)


def test_healthy_phantoms_are_read_back_with_empty_references(tmp_path: Path) -> None:
    (folder,) = write_phantoms(tmp_path, count=1, seed=11, spacing=8.0, tumour=False)
    (files,) = with_conventions(find_cases(tmp_path), GLIOMA)
    case, made = load_case(files), make_phantom(11, spacing=8.0, tumour=False)
    assert (case.name, case.person) == (made.name, made.person) == ("phantom-00011-healthy", "phantom-00011-healthy")
    assert case.reference is not None
    assert not case.reference.any()
    assert all(np.array_equal(case.images[name], made.images[name]) for name in GLIOMA.modalities)
    with pytest.raises(OutputError, match="exists already"):
        write_phantoms(tmp_path, count=1, seed=11, spacing=8.0, tumour=False)
    assert folder.name == "phantom-00011-healthy"


def test_a_case_lies_on_one_grid_with_background_exactly_zero(enhancing: Case) -> None:
    assert enhancing.acquired(GLIOMA) == GLIOMA.modalities
    assert enhancing.grid.spacing == (4.0, 4.0, 4.0)
    brain = enhancing.images["t1n"] > 0
    assert 1000 < brain.sum() * enhancing.grid.voxel_ml < 2600
    for image in [*enhancing.images.values(), enhancing.reference]:
        assert image is not None
        assert image.shape == enhancing.grid.shape == (44, 52, 44)
        assert not image[~brain].any()
    assert all(np.array_equal(image > 0, brain) for image in enhancing.images.values())


def test_a_patient_is_the_same_person_at_any_spacing(enhancing: Case) -> None:
    finer = make_phantom(int(enhancing.person[-5:]), spacing=2.0)
    coarse_ml, fine_ml = (np.count_nonzero(case.reference) * case.grid.voxel_ml for case in (enhancing, finer))
    assert fine_ml == pytest.approx(coarse_ml, rel=0.1)


def test_labels_are_those_inside_lacunet_and_the_tumour_has_its_volume() -> None:
    for seed in (next(seed for seed in range(50) if not draw_patient(seed).growth.enhancing), 1):
        case, growth = make_phantom(seed, spacing=4.0), draw_patient(seed).growth
        assert case.reference is not None
        assert case.reference.dtype == np.uint8
        expected = {0, 1, 2, 3} if growth.enhancing else {0, 1, 2}
        assert set(np.unique(case.reference).tolist()) == expected
        volume = np.count_nonzero(case.reference) * case.grid.voxel_ml
        assert 0.5 * growth.volume < volume < 1.6 * growth.volume


def test_the_core_lies_within_the_oedema_and_the_necrosis_within_the_rim() -> None:
    inside = np.array([4.0, 3.0, 2.0, 1.0, 0.0], np.float32)
    density = (1 / (1 + np.exp(-inside))).astype(np.float32)
    assert np.allclose(tumour.log_odds(density), inside, atol=1e-5)
    growth = replace(draw_patient(0).growth, volume=0.1, core=0.4, necrosis=0.5)  # 0.1 ml: 12.5 voxels of 2 mm
    odds = np.linspace(5, -5, 100, dtype=np.float32).reshape(10, 10, 1)
    limits = tumour.find_limits(odds, np.ones_like(odds), np.ones(odds.shape, bool), growth)
    assert limits.oedema < limits.core < limits.necrosis
    counts = [int((odds > limit).sum()) for limit in (limits.oedema, limits.core, limits.necrosis)]
    assert counts == [12, 5, 2]


def test_cells_are_never_in_fluid_or_outside_the_brain() -> None:
    body, growth = make_body(3), draw_patient(3).growth
    white, grey, fluid = body.working_tissues()
    allowed = (body.brain > 0.5) & (fluid < 0.5)
    seeds = tumour.choose_seeds(white, body.depth, allowed, growth, np.random.Generator(np.random.PCG64(0)))
    density = tumour.grow(white, grey, allowed, seeds, growth)
    assert density[allowed].max() > 0.8
    assert np.count_nonzero(density > 0.1) * 0.008 == pytest.approx(growth.volume, rel=0.15)
    assert not density[~allowed].any()
    assert 0 <= density.min() <= density.max() <= 1


def test_what_a_voxel_holds_adds_up_and_fluid_is_never_labelled() -> None:
    tissue = np.array([[1, 1, 1, 1, 0.3, 0.0], [0, 0, 0, 0, 0.0, 0.0], [0, 0, 0, 0, 0.7, 1.0]], np.float32)
    spread = np.array([-9, 0.5, 2.5, 9, 9, 9], np.float32)  # healthy, oedema, rim, necrosis; then mostly and only fluid
    limits = tumour.Limits(oedema=0.0, core=2.0, necrosis=4.0)
    nothing = np.zeros(6, np.float32)
    growth = replace(draw_patient(0).growth, enhancing=True, leak=1.0)
    leaky = mix(tissue, spread, np.arange(6, dtype=np.float32)[::-1].copy(), nothing, limits, growth)
    assert leaky.labels.tolist() == [0, 2, 3, 1, 0, 0]
    assert np.allclose(sum(leaky.fractions.values()), 1.0, atol=1e-6)
    assert leaky.fractions["necrosis"][3] == pytest.approx(1.0, abs=1e-3)
    assert leaky.fractions["fluid"][5] == 1.0
    tight = mix(tissue, spread, nothing, nothing, limits, replace(growth, enhancing=False))
    assert tight.labels.tolist() == [0, 2, 1, 1, 0, 0]
    assert not tight.leak.any()


def test_diffusion_keeps_every_cell_and_crosses_no_wall() -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    diffusion = generator.uniform(0.1, 1.0, (9, 8, 7))
    diffusion[4] = 0.0  # a wall of fluid
    density = np.zeros((9, 8, 7))
    density[:4] = generator.random((4, 8, 7))
    before = density.copy()
    faces = tumour.face_diffusion(diffusion, 2.0)
    for _ in range(50):
        density = density + 0.5 * tumour.divergence(density, faces)
    assert density.sum() == pytest.approx(before.sum(), rel=1e-12)
    assert not density[4:].any()
    assert density[:4].std() < 0.5 * before[:4].std()


def test_one_step_of_diffusion_by_hand() -> None:
    faces = tumour.face_diffusion(np.array([1.0, 1.0, 3.0]).reshape(3, 1, 1), 2.0)
    assert faces[0].ravel().tolist() == [0.25, 0.375]  # 1 / 4, and the harmonic mean 1.5 / 4
    change = tumour.divergence(np.array([8.0, 0.0, 0.0]).reshape(3, 1, 1), faces)
    assert change.ravel().tolist() == [-2.0, 2.0, 0.0]


def test_cells_spread_farther_along_white_matter() -> None:
    white = np.zeros((40, 40, 9), np.float32)
    white[:, 18:22] = 1.0
    seeds = np.zeros_like(white)
    seeds[20, 20, 4] = 1.0
    growth = replace(draw_patient(0).growth, diffusion=0.4, ratio=10.0, proliferation=0.04, volume=15.0)
    density = tumour.grow(white, 1.0 - white, np.ones(white.shape, bool), seeds, growth)
    assert np.count_nonzero(density[:, 20, 4] > 0.1) > 1.5 * np.count_nonzero(density[20, :, 4] > 0.1)


def test_spin_echo_by_hand() -> None:
    sequence = signal.Sequence("spin_echo", repetition=np.log(2.0), echo=np.log(4.0))
    assert signal.magnetisation(sequence, signal.Tissue(t1=1.0, t2=1.0, density=0.8)) == pytest.approx(0.8 * 0.5 * 0.25)


@pytest.mark.parametrize("field", [1.5, 3.0])
def test_flair_nulls_fluid_and_only_fluid(field: float) -> None:
    tissues = signal.tissues_at(field, LESION)
    inversion = signal.null_time(tissues["fluid"].t1, 9.0)
    flair = signal.Sequence("inversion_recovery", 9.0, 0.1, inversion)
    assert signal.magnetisation(flair, tissues["fluid"]) == pytest.approx(0.0, abs=1e-12)
    assert signal.magnetisation(flair, tissues["oedema"]) > 1.3 * signal.magnetisation(flair, tissues["grey"]) > 0


def test_gadolinium_shortens_t1() -> None:
    assert signal.shorten_t1(1.0, np.array([0.0, 0.2, 1.0]), 5.0).tolist() == [1.0, 0.5, pytest.approx(1 / 6)]


def test_noise_without_signal_is_rayleigh_distributed() -> None:
    noise = signal.rician(np.zeros(200_000, np.float32), 2.0, np.random.Generator(np.random.PCG64(2)))
    assert noise.min() >= 0
    assert noise.mean() == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.01)


def test_contrasts_have_the_order_that_radiologists_know(enhancing: Case) -> None:
    t1, t2, flair = (median_by_tissue(enhancing, modality) for modality in ("t1n", "t2w", "t2f"))
    assert t1["white"] > t1["grey"] > t1["fluid"]
    assert t2["fluid"] > t2["grey"] > t2["white"]
    oedema = float(np.median(enhancing.images["t2f"][enhancing.reference == 2]))
    assert oedema > 1.15 * flair["grey"] > 1.15 * flair["white"] > 2 * flair["fluid"]


def test_the_rim_is_brightest_after_contrast_agent(enhancing: Case) -> None:
    def median(modality: str, label: int) -> float:
        return float(np.median(enhancing.images[modality][enhancing.reference == label]))

    healthy = float(np.median(enhancing.images["t1c"][(enhancing.reference == 0) & (enhancing.images["t1c"] > 0)]))
    assert median("t1c", 3) > 1.1 * healthy
    assert median("t1c", 3) > 1.1 * max(median("t1c", 1), median("t1c", 2))
    assert median("t1n", 3) < float(np.median(enhancing.images["t1n"][enhancing.images["t1n"] > 0]))


def test_one_patient_in_five_does_not_enhance_and_one_in_five_has_several_foci() -> None:
    drawn = [draw_patient(seed).growth for seed in range(400)]
    assert 0.14 < np.mean([not growth.enhancing for growth in drawn]) < 0.26
    assert 0.14 < np.mean([growth.foci > 1 for growth in drawn]) < 0.26
    assert {growth.foci for growth in drawn} == {1, 2, 3}


def test_the_stored_anatomy_is_a_brain() -> None:
    atlas = anatomy.load_atlas()
    assert np.array_equal(atlas.white, atlas.white[::-1])
    assert atlas.origin[0] == -(atlas.white.shape[0] - 1) / 2 * atlas.spacing
    assert 1.5e6 < atlas.brain.sum() * atlas.spacing**3 < 2.1e6
    assert 0 <= atlas.white.min() <= (atlas.white + atlas.grey).max() <= 1.02
    assert (Path(anatomy.__file__).parent / "anatomy.npz").stat().st_size < 600_000


def test_existing_output_is_refused_before_anything_is_written(written: list[Path]) -> None:
    with pytest.raises(OutputError, match="phantom-00012-000: exists already"):
        write_phantoms(written[0].parent, count=3, seed=12, spacing=8.0)
    assert not (written[0].parent / "phantom-00013-000").exists()


def test_existing_output_is_replaced_when_asked(written: list[Path]) -> None:
    file = written[1] / f"{written[1].name}-seg.nii.gz"
    before = file.read_bytes()
    file.write_bytes(b"")
    write_phantoms(written[1].parent, count=1, seed=12, spacing=8.0, overwrite=True)
    assert file.read_bytes() == before


def test_what_no_phantom_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 phantoms asked for"):
        write_phantoms(tmp_path, count=0)
    with pytest.raises(UsageError, match="seeds run from 0"):
        make_phantom(-1)
    with pytest.raises(UsageError, match="choose a spacing within"):
        make_phantom(0, spacing=0.0)
    with pytest.raises(UsageError, match="phantoms have no adc"):
        make_phantom(0, replace(GLIOMA, modalities=("t1n", "adc")))
    with pytest.raises(UsageError, match="phantoms are labelled"):
        make_phantom(0, replace(GLIOMA, labels={"tumour": 1}))
    assert not any(tmp_path.iterdir())


def test_a_task_with_fewer_modalities_gets_those() -> None:
    assert list(make_phantom(0, replace(GLIOMA, modalities=("t2f", "t1c")), spacing=8.0).images) == ["t2f", "t1c"]
