"""What a node says of itself, in the terminal and on its page."""

import http.client
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
import tomli_w

pytest.importorskip("pydicom", reason="pip install 'lacunet[node]'")

from lacunet.errors import OutputError, UsageError
from lacunet.node import serve
from lacunet.node.arrivals import close_complete, note_not_fetched, note_received, note_released
from lacunet.node.queue import Queue
from lacunet.node.remembered import is_settled, refusals, remember_fetched, remember_refusal
from lacunet.node.serve import serving
from lacunet.node.settings import NodeSettings
from lacunet.node.status import status_lines, status_of


def a_queue(folder: Path) -> Queue:
    """A study in each state, but for the last."""
    queue = Queue(folder / "node")
    queue.make()
    now = time.time()
    for uid in ("1.1", "1.2", "1.3"):
        note_received(queue, uid, f"{uid}.1", "0", 10, uid, now)
        note_released(queue, uid)
        close_complete(queue, now, 0.0, 0.0)
        now += 1e-3
    done, failed = queue.next_study(now, 2), queue.next_study(now, 2)
    assert done is not None
    assert failed is not None
    queue.segmented(done, {"volumes_ml": {"whole tumour": 84.13}, "notes": ["<b>a note</b>"]}, [], now)
    queue.failed(failed, "holds no MR scan that can be used", now)
    remember_refusal(queue, "10.0.0.9", "its address is not listed", now)
    return queue


FIELDS = {
    "folder": "node",
    "receive": {"senders": [{"title": "PACS", "addresses": ["10.0.0.5"]}]},
    "send": {"store": {"title": "PACS", "address": "10.0.0.5", "port": 104}},
}


def test_the_terminal_says_what_was_done_and_what_failed(tmp_path: Path, lacunet) -> None:
    queue = a_queue(tmp_path)
    (tmp_path / "node.toml").write_text(tomli_w.dumps(FIELDS))
    status, out, _ = lacunet("node", "status", tmp_path / "node.toml")
    assert (status, out.splitlines()) == (0, status_lines(status_of(queue)))
    assert out.startswith("0 receiving, 1 waiting, 0 working, 0 sending, 1 done, 1 failed, 0 half sent\n")
    assert "whole tumour 84.1 ml" in out
    assert "holds no MR scan that can be used" in out
    assert "10.0.0.9: its address is not listed" in out
    name = next(one.name for one in queue.studies() if one.state == "failed")
    status, out, _ = lacunet("node", "retry", tmp_path / "node.toml", name)
    assert (status, out) == (0, f"{name}: is done again\n")
    assert lacunet("node", "retry", tmp_path / "node.toml", name)[0] == 2
    assert status_of(queue).counts["waiting"] == 2


def test_a_folder_without_a_node_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no node has run there yet"):
        status_of(Queue(tmp_path))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no database" * 100, r"cannot be used \(file is not a database\)"), (b"", "cannot be used")],
)
def test_a_damaged_queue_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "queue.sqlite").write_bytes(content)
    with pytest.raises(OutputError, match=words):
        status_of(Queue(tmp_path))
    if content:
        with pytest.raises(OutputError, match=words):
            Queue(tmp_path).make()


def test_a_queue_of_another_version_is_left_alone(tmp_path: Path) -> None:
    queue = a_queue(tmp_path)
    with closing(sqlite3.connect(queue.folder / "queue.sqlite")) as database:
        database.execute("PRAGMA user_version = 7")
    with pytest.raises(OutputError, match="another version of lacunet"):
        queue.make()


def test_a_study_that_cannot_be_fetched_is_shown_until_it_can(tmp_path: Path) -> None:
    queue = a_queue(tmp_path)
    note_not_fetched(queue, "1.9", "not fetched: the archive broke off", 1.0)
    note_not_fetched(queue, "1.3", "not fetched", 1.0)
    shown = {one.uid: one.state for one in queue.studies()}
    assert (shown["1.9"], shown["1.3"]) == ("failed", "waiting")  # what is whole already is not undone
    note_received(queue, "1.9", "1.9.1", "0", 10, "web", 2.0)
    assert {one.uid: one.state for one in queue.studies()}["1.9"] == "receiving"


def test_the_page_is_served_and_nothing_else(tmp_path: Path) -> None:
    queue = a_queue(tmp_path)
    settings, said = NodeSettings.model_validate({**FIELDS, "page": {"port": 0}}), list[str]()
    with serving(settings, queue, said.append) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            page, refresh = answer.read().decode(), answer.headers["Refresh"]
        for path in ("/queue.sqlite", "/../node.toml"):
            with pytest.raises(urllib.error.HTTPError, match="404") as error:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
            error.value.close()
    assert (refresh, said) == ("30", [])
    assert "Whole tumour 84.1 ml" in page
    assert "Holds no MR scan that can be used" in page
    assert "&lt;b&gt;a note" in page
    assert "its address is not listed".capitalize() in page
    assert "1.1" not in page.split("</style>")[1]


def test_a_page_that_cannot_be_made_says_why_and_prints_no_traceback(tmp_path: Path, monkeypatch, capfd) -> None:
    settings, said = NodeSettings.model_validate({**FIELDS, "page": {"port": 0}}), list[str]()
    with serving(settings, Queue(tmp_path), said.append) as port:
        with pytest.raises(urllib.error.HTTPError, match="503") as error:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
        assert "no node has run there yet" in error.value.read().decode()
        error.value.close()
        monkeypatch.setattr(serve, "status_of", lambda queue: 1 / 0)
        with pytest.raises(http.client.RemoteDisconnected):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
    assert len(said) == 1
    assert said[0].startswith("the status page: an error in lacunet itself (ZeroDivisionError)")
    assert capfd.readouterr().err == ""


def test_a_study_of_an_archive_is_fetched_when_it_has_stopped_growing(tmp_path: Path) -> None:
    queue = a_queue(tmp_path)
    assert not is_settled(queue, "1.9", 10, 100.0, quiet=60.0)
    assert not is_settled(queue, "1.9", 20, 170.0, quiet=60.0)
    assert not is_settled(queue, "1.9", 20, 220.0, quiet=60.0)
    assert is_settled(queue, "1.9", 20, 231.0, quiet=60.0)
    remember_fetched(queue, "1.9", 20)
    assert not is_settled(queue, "1.9", 20, 999.0, quiet=60.0)
    assert not is_settled(queue, "1.9", 21, 1000.0, quiet=60.0)
    assert is_settled(queue, "1.9", 21, 1060.0, quiet=60.0)


def test_only_the_last_refusals_are_kept(tmp_path: Path) -> None:
    queue = a_queue(tmp_path)
    with queue.opened() as database:
        for number in range(250):
            database.execute("INSERT INTO refusal VALUES (?, ?, ?)", (number, "10.0.0.9", str(number)))
    remember_refusal(queue, "10.0.0.9", "last", 0.0)
    assert [one.reason for one in refusals(queue)][:2] == ["last", "249"]
    assert len(refusals(queue)) == 200
