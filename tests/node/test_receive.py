"""Studies by C-STORE: who may send, what is acknowledged, and what a sender that breaks off leaves."""

import errno
import os
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="pip install 'lacunet[node]'")
pytest.importorskip("pynetdicom", reason="pip install 'lacunet[node]'")

from pydicom import Dataset, dcmread
from pynetdicom import AE

from dicom_made import CLASSIC, NAME, SECRETS, Examination
from lacunet.node import durable, keep
from lacunet.node.arrivals import close_complete
from lacunet.node.keep import Inbox
from lacunet.node.queue import Queue, Result
from lacunet.node.receive import receiving
from lacunet.node.remembered import refusals
from lacunet.node.settings import Receive, Sender

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"  # sockets of the sender, which pynetdicom leaves open
)

LISTED = (Sender(title="PACS", addresses=("127.0.0.0/8",)),)


@pytest.fixture
def objects(tmp_path: Path) -> list[Dataset]:
    """Three slices of one study."""
    made = Examination(tmp_path / "made")
    return [dcmread(path) for path in made.write(np.ones((8, 8, 3), np.uint16), np.eye(4), 3, "T1", "t1c")]


@contextmanager
def node(folder: Path, said: list[str], **limits: Any) -> Iterator[tuple[Queue, int]]:
    """The receiving part of a node, and its port."""
    fields = {"senders": LISTED, "port": 0, "least_free_mib": 0, **limits}
    queue = Queue(folder / "node")
    inbox = Inbox(queue, Receive(**fields))
    queue.make()
    inbox.make()
    with receiving(inbox, said.append) as port:
        yield queue, port


def associated(port: int, title: str = "PACS", called: str = "LACUNET") -> Any:
    entity = AE(title)
    entity.add_requested_context(CLASSIC, ["1.2.840.10008.1.2.1"])
    return entity.associate("127.0.0.1", port, ae_title=called)


def sent(port: int, objects: list[Dataset]) -> list[int | None]:
    """The statuses; None where the node breaks off."""
    association = associated(port)
    assert association.is_established
    statuses = [association.send_c_store(one).get("Status") for one in objects]
    association.release()
    return statuses


def eventually(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def closed(queue: Queue, later: float = 0.0, quiet: float = 0.0, released: bool = True) -> tuple[str, str]:
    close_complete(queue, time.time() + later, quiet, 60.0, released)
    (study,) = queue.studies()
    return study.state, study.reason


def test_what_is_acknowledged_is_on_the_disk_and_in_the_queue(objects, tmp_path: Path, monkeypatch) -> None:
    synchronised: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(durable.os, "fsync", lambda file: (synchronised.append(file), fsync(file)))
    said: list[str] = []
    with node(tmp_path, said) as (queue, port):
        assert sent(port, objects) == [0, 0, 0]
        assert len(synchronised) >= 2 * len(objects)  # the files, and the names of each
        kept = sorted((tmp_path / "node/received").rglob("*.dcm"))
        assert {dcmread(path).SOPInstanceUID for path in kept} == {one.SOPInstanceUID for one in objects}
        eventually(lambda: closed(queue)[0] == "waiting")
        (study,) = queue.studies()
        assert study.objects == 3
        assert sent(port, objects) == [0, 0, 0]  # again: acknowledged, and nothing changes
        assert queue.studies()[0].revision == study.revision
    assert not [path for path in (tmp_path / "node").rglob("*") if any(secret in path.name for secret in SECRETS)]


@pytest.mark.parametrize(
    ("title", "called", "addresses", "why"),
    [
        ("Mustermann", "LACUNET", "127.0.0.0/8", "its AE title may not send from there"),
        ("PACS", "MUSTERMANN", "127.0.0.0/8", "it asked for another AE title, or too many were open"),
        ("PACS", "LACUNET", "10.0.0.0/8", "its address is not listed"),
    ],
)
def test_strangers_are_refused_and_logged_without_what_they_say(tmp_path: Path, title, called, addresses, why) -> None:
    said: list[str] = []
    with node(tmp_path, said, senders=(Sender(title="PACS", addresses=(addresses,)),)) as (queue, port):
        assert not associated(port, title, called).is_established
        eventually(lambda: bool(said))
        assert said == [f"refused an association from 127.0.0.1: {why}"]
        eventually(lambda: [one.reason for one in refusals(queue)] == [why])


def test_a_title_counts_only_from_its_own_addresses(tmp_path: Path) -> None:
    senders = (Sender(title="PACS", addresses=("10.0.0.5",)), Sender(title="OTHER", addresses=("127.0.0.1",)))
    with node(tmp_path, [], senders=senders) as (_, port):
        assert not associated(port, "PACS").is_established
        other = associated(port, "OTHER")
        assert other.is_established
        other.release()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, "database"])
def test_a_full_disk_is_said_and_nothing_is_acknowledged(objects, tmp_path: Path, monkeypatch, code) -> None:
    def full(*_: object) -> None:
        if code == "database":
            raise sqlite3.OperationalError("database or disk is full")
        raise OSError(code, os.strerror(code))

    with node(tmp_path, said := []) as (queue, port):
        with monkeypatch.context() as patch:
            patch.setattr(*((keep, "note_received") if code == "database" else (durable.os, "fsync")), full)
            assert sent(port, objects[:1]) == [0xA700]
        assert said == ["refused an object: the disk is full; make room"]
        assert not queue.studies()
        assert not list((tmp_path / "node/received").glob(".*"))
        assert sent(port, objects) == [0, 0, 0]


@pytest.mark.parametrize(
    ("limits", "statuses", "said"),
    [
        ({"most_objects": 2}, [0, 0, 0xA700], "a study of more than 2 objects"),
        ({"least_free_mib": 2**40}, [0xA700, 0xA700, 0xA700], "(receive.least_free_mib)"),
    ],
)
def test_limits_are_kept(objects, tmp_path: Path, limits, statuses, said) -> None:
    with node(tmp_path, lines := [], **limits) as (_, port):
        assert sent(port, objects) == statuses
    assert said in lines[0]


def test_an_object_that_grows_beyond_the_limit_is_broken_off(objects, tmp_path: Path) -> None:
    large = objects[0]
    large.Rows, large.Columns = 2048, 1024
    large.PixelData = bytes(2 * 2048 * 1024)
    with node(tmp_path, said := [], largest_object_mib=1) as (queue, port):
        assert sent(port, [large]) == [None]
        assert not queue.studies()
    assert "broke off an association from 127.0.0.1: an object beyond the limit" in said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda one: delattr(one, "StudyInstanceUID"), "it has no StudyInstanceUID"),
        (lambda one: setattr(one, "StudyInstanceUID", "1." * 40), "more than 64 letters"),
    ],
)
@pytest.mark.filterwarnings("ignore:The value length")
def test_hostile_objects_are_refused(objects, tmp_path: Path, change, why) -> None:
    change(objects[0])
    with node(tmp_path, said := []) as (queue, port):
        assert sent(port, objects) == [0xC000, 0, 0]
        assert queue.studies()[0].objects == 2
    assert why in said[0]
    assert NAME not in str(said)


@pytest.mark.parametrize("end", ["abort", "lost"])
def test_a_sender_that_breaks_off_leaves_a_half_sent_study(objects, tmp_path: Path, end: str) -> None:
    with node(tmp_path, []) as (queue, port):
        association = associated(port)
        association.send_c_store(objects[0])
        assert closed(queue, 1000)[0] == "receiving"  # the association is still open
        if end == "abort":
            association.abort()
        else:
            association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        eventually(lambda: closed(queue, 30)[0] == "receiving" and closed(queue, 61)[0] == "half sent")
        _, reason = closed(queue)
        assert re.search(r"broke off after object 1; send the study again, .* lacunet node retry", reason)
        assert sent(port, objects) == [0, 0, 0]
        eventually(lambda: closed(queue)[0] == "waiting")


def test_a_study_that_is_sent_again_after_a_break_is_whole(objects, tmp_path: Path) -> None:
    with node(tmp_path, []) as (queue, port):
        association = associated(port)
        for one in objects:
            association.send_c_store(one)
        association.abort()
        assert sent(port, objects) == [0, 0, 0]  # nothing new, and released
        eventually(lambda: closed(queue)[0] == "waiting")


def test_a_quiet_time_counts_while_the_association_is_open(objects, tmp_path: Path) -> None:
    with node(tmp_path, []) as (queue, port):
        association = associated(port)
        association.send_c_store(objects[0])
        assert closed(queue, 61, quiet=60.0, released=True)[0] == "receiving"
        assert closed(queue, 59, quiet=60.0, released=False)[0] == "receiving"
        assert closed(queue, 61, quiet=60.0, released=False)[0] == "waiting"
        association.release()


def test_a_quiet_time_makes_a_study_complete(objects, tmp_path: Path) -> None:
    with node(tmp_path, []) as (queue, port):
        sent(port, objects[:2])
        assert closed(queue, 30, quiet=60.0)[0] == "receiving"
        eventually(lambda: closed(queue, 61, quiet=60.0)[0] == "waiting")  # once the release is noted
        sent(port, objects[2:])  # a late series
        assert queue.studies()[0].state == "receiving"


def test_what_the_node_made_itself_is_acknowledged_and_not_taken(objects, tmp_path: Path) -> None:
    with node(tmp_path, []) as (queue, port):
        sent(port, objects[:2])
        eventually(lambda: closed(queue)[0] == "waiting")
        study = queue.next_study(time.time(), 2)
        assert study is not None
        queue.segmented(study, {}, [Result(str(objects[2].SOPInstanceUID), "", "", "mask", "a", 0)], time.time())
        assert sent(port, objects[2:]) == [0]  # an archive that routes it back
        (after,) = queue.studies()
        assert (after.state, after.objects, after.revision) == ("sending", 2, study.revision)
