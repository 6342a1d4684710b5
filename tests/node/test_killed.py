"""A node that is killed while a study comes in: what it acknowledged is there."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

pytest.importorskip("pydicom", reason="pip install 'lacunet[node]'")
pytest.importorskip("pynetdicom", reason="pip install 'lacunet[node]'")

import nodes
from archive import free_port
from pydicom import dcmread
from pynetdicom import AE

from dicom_made import CLASSIC, Examination

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def configured(folder: Path, port: int) -> Path:
    path = folder / "node.toml"
    fields = {
        "folder": "node",
        "receive": {"port": port, "least_free_mib": 1, "senders": [{"title": "PACS", "addresses": ["127.0.0.1"]}]},
        "send": {"store": {"title": "PACS", "address": "127.0.0.1", "port": 1}},
        "page": {"port": 0},
    }
    path.write_text(tomli_w.dumps(fields))
    return path


def sent(port: int, objects: list[Any], acknowledged: list[str], most: int | None = None) -> None:
    """Send until the node is gone."""
    entity = AE("PACS")
    entity.add_requested_context(CLASSIC, ["1.2.840.10008.1.2.1"])
    association = entity.associate("127.0.0.1", port, ae_title="LACUNET")
    assert association.is_established
    for one in objects[:most]:
        if not association.is_established or association.send_c_store(one).get("Status") != 0:
            return
        acknowledged.append(str(one.SOPInstanceUID))
    association.release()


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    made = Examination(tmp_path / "made").write(np.ones((16, 16, 70), np.uint16), np.eye(4), 3, "T1", "t1c")
    objects, acknowledged, again = [dcmread(path) for path in made], [], []
    config = configured(tmp_path, port := free_port())
    with nodes.running(config) as node:
        sender = threading.Thread(target=sent, args=(port, objects, acknowledged))
        sender.start()
        end = time.monotonic() + 60
        while len(acknowledged) < 20:
            assert time.monotonic() < end
            time.sleep(0.001)
        node.kill()
        sender.join()
    assert 20 <= len(acknowledged) < len(objects)
    kept = {str(dcmread(path).SOPInstanceUID) for path in (tmp_path / "node/received").glob("*/*.dcm")}
    assert kept >= set(acknowledged)
    with node.queue.opened() as database:
        known = {row[0] for row in database.execute("SELECT uid FROM instance")}
    assert known >= set(acknowledged)
    with nodes.running(config) as node:  # the sender sends all of it again
        assert not list((tmp_path / "node/received").glob(".*"))
        sent(port, objects, again)
        (study,) = node.queue.studies()
    assert len(again) == study.objects == len(objects)
