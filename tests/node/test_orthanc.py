"""A node beside a real archive: studies go in, masks come back."""

from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lacunet.data.phantom.phantom import make_phantom
from lacunet.data.prepare import Preparation
from lacunet.models.model import save_model
from lacunet.nn.method import get_method, make_method
from lacunet.task import GLIOMA

pytest.importorskip("pynetdicom", reason="pip install 'lacunet[node]'")
pytest.importorskip("highdicom", reason="pip install 'lacunet[node]'")
pytest.importorskip("dcm2niix", reason="pip install 'lacunet[node]'")

import archive as archives
import nodes

from dicom_made import Examination, labels_in

pytestmark = pytest.mark.skipif(
    archives.ORTHANC is None or not archives.PLUGINS.is_file(), reason="apt install orthanc orthanc-dicomweb"
)

SPACING = 4.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[archives.Archive]:
    with archives.running(tmp_path_factory.mktemp("archive")) as one:
        yield one


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network, whose masks are wrong and have voxels."""
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_model(folder, method, Preparation(6.0), {"data": "nothing", "licence": "none"})
    return folder


def a_head(folder: Path, seed: int = 5) -> Path:
    """The T1ce of an invented patient without skull: it needs no registration, which is quick."""
    case = make_phantom(seed, spacing=SPACING)
    Examination(folder).write(case.images["t1c"].astype(np.uint16), case.grid.affine, 3, "t1_tse_tra_KM", "t1c")
    return folder


def labels_of(mask: Path) -> np.ndarray:
    return np.asanyarray(nib.load(mask).dataobj).astype(int)


def test_a_study_is_sent_and_its_mask_comes_back(archive: archives.Archive, tiny: Path, tmp_path: Path) -> None:
    study = archive.add(a_head(tmp_path / "Mustermann"))
    with nodes.running(nodes.settings_for(archive, tmp_path, tiny)) as node:
        archive.send(study)
        (instance,) = archive.wait_for(study, "SEG")
        (done,) = node.wait_for("done")
    found, affine = labels_in(archive.read(instance, tmp_path / "back.dcm"))
    (written,) = (tmp_path / "node/results").rglob("*-mask-on-t1c.nii.gz")
    labels, mask = labels_of(written), nib.load(written)
    assert labels.any()
    for label in (1, 2, 3):
        centres = np.argwhere(labels == label)
        there = nib.affines.apply_affine(np.linalg.inv(affine) @ mask.affine, centres)
        assert (found[tuple(np.rint(there).astype(int).T)] == label).all()
        assert (found == label).sum() == len(centres)
    assert done.outcome["volumes_ml"]
