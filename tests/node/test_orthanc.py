"""A node beside a real archive: studies go in, masks come back."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("pynetdicom", reason="pip install 'lacunet[node]'")
pytest.importorskip("highdicom", reason="pip install 'lacunet[node]'")
pytest.importorskip("dcm2niix", reason="pip install 'lacunet[node]'")

import archive as archives
import nodes
from heads import a_head
from pydicom import dcmread

from dicom_made import SECRETS, Examination, labels_in
from lacunet.node.queue import key_of
from lacunet.node.settings import Web
from lacunet.node.status import status_lines, status_of
from lacunet.node.web import stow
from small import save_tiny

pytestmark = pytest.mark.skipif(
    archives.ORTHANC is None or not archives.PLUGINS.is_file(), reason="apt install orthanc orthanc-dicomweb"
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[archives.Archive]:
    with archives.running(tmp_path_factory.mktemp("archive")) as one:
        yield one


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny")


def no_head(folder: Path) -> Path:
    """A localiser of three slices."""
    Examination(folder).write(np.ones((8, 8, 3), np.uint16), np.diag([20.0, 20, 20, 1]), 1, "localizer Erika")
    return folder


def labels_of(mask: Path) -> np.ndarray:
    return np.asanyarray(nib.load(mask).dataobj).astype(int)


def same_as_the_mask(received: Path, written: Path) -> None:
    """The labels of a DICOM SEG are those of the NIfTI mask, voxel by voxel."""
    found, affine = labels_in(received)
    labels, mask = labels_of(written), nib.load(written)
    assert labels.any()
    for label in (1, 2, 3):
        centres = np.argwhere(labels == label)
        there = nib.affines.apply_affine(np.linalg.inv(affine) @ mask.affine, centres)
        assert (found[tuple(np.rint(there).astype(int).T)] == label).all()
        assert (found == label).sum() == len(centres)


def test_masks_come_back_and_what_is_no_head_holds_up_nobody(archive, tiny: Path, tmp_path: Path) -> None:
    bad = archive.add(no_head(tmp_path / "bad"))
    studies = [archive.add(a_head(tmp_path / f"Mustermann{number}")) for number in (1, 2)]
    wished = {"secondary_capture": True, "most_pictures": 2, "structured_report": True}
    config = nodes.settings_for(archive, tmp_path, tiny, send=wished)
    with nodes.running(config) as node:
        archive.send(bad)
        with ThreadPoolExecutor() as pool:  # both at once
            list(pool.map(archive.send, studies))
        done = node.wait_for("done", 2)
        (failed,) = node.wait_for("failed")
    assert failed.reason == "holds no MR scan that can be used (1 series: is a localiser)"
    for study in studies:
        (instance,) = archive.found(study, "SEG")
        assert (len(archive.found(study, "OT")), len(archive.found(study, "SR"))) == (2, 1)
        header = dcmread(archive.read(instance, tmp_path / "back.dcm"))
        (folder,) = (tmp_path / "node/results").glob(f"{key_of(str(header.StudyInstanceUID))}-*")
        same_as_the_mask(tmp_path / "back.dcm", next(folder.rglob("*-mask-on-t1c.nii.gz")))
    assert all(one.outcome["volumes_ml"]["whole tumour"] > 0 for one in done)
    assert not archive.found(bad, "SEG")
    names = [path.name for path in (tmp_path / "node").rglob("*")]
    said = "\n".join([node.log.read_text(), *names, *status_lines(status_of(node.queue))])
    assert not [secret for secret in SECRETS if not secret.isdigit() and secret in said]


def test_a_killed_node_goes_on_and_sends_nothing_twice(archive, tiny: Path, tmp_path: Path) -> None:
    """By DICOMweb in both directions; the archive's port is wrong at first, so that the mask waits."""
    study = archive.add(a_head(tmp_path / "made"))
    uid = archive.ask(f"/studies/{study}")["MainDicomTags"]["StudyInstanceUID"]
    query = {"StudyInstanceUID": uid}
    fetch = {"archive": {"url": archive.web}, "every_seconds": 0.2, "days": 36500, "query": query}
    sections = {"fetch": fetch, "receive": {"quiet_seconds": 0.5, "senders": []}}
    wrong = {"stow": {"url": f"http://127.0.0.1:{archives.free_port()}"}, "retry_minutes": 0.001}
    config = nodes.settings_for(archive, tmp_path, tiny, **sections, send=wrong, replaced=("send",))
    with nodes.running(config) as node:
        node.wait_for("working")
        node.kill()  # in the middle of the work
    with nodes.running(config) as node:
        (waiting,) = node.wait_for("sending")
        node.kill()  # with a mask that is not sent
    assert waiting.unsent == 1
    right = {"stow": {"url": archive.web}, "retry_minutes": 0.001}
    config = nodes.settings_for(archive, tmp_path, tiny, **sections, send=right, replaced=("send",))
    with nodes.running(config) as node:
        node.wait_for("done")
        (instance,) = archive.wait_for(study, "SEG")
        time.sleep(1.0)  # it looks at the archive again, where the mask is now
        (done,) = node.queue.studies()
    assert (done.state, done.revision) == ("done", waiting.revision)
    assert archive.found(study, "SEG") == [instance]
    same_as_the_mask(archive.read(instance, tmp_path / "back.dcm"), next((tmp_path / "node").rglob("*-on-t1c.nii.gz")))
    again = next((tmp_path / "node").rglob("*-on-t1c.dcm"))
    stow(Web(url=archive.web), again)  # as if the node had ended before it noted that the archive had the mask
    assert archive.found(study, "SEG") == [instance]
