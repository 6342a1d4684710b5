"""The queue survives the end of the program at any point: nothing is lost, nothing is done twice."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pydicom", reason="pip install 'lacunet[node]'")

from lacunet.errors import OutputError, UsageError
from lacunet.node import run as running
from lacunet.node import send as sending
from lacunet.node import work as working
from lacunet.node.arrivals import close_complete, note_received, note_released
from lacunet.node.keep import Inbox
from lacunet.node.outbox import due_results, note_sent
from lacunet.node.outcome import Made, Outcome, write_outcome
from lacunet.node.queue import Queue, Result, Study
from lacunet.node.run import _alone
from lacunet.node.send import send_due
from lacunet.node.settings import NodeSettings
from lacunet.node.work import make_results, remove_outdated, results_of, work_once

SETTINGS = {
    "receive": {"senders": [{"title": "PACS", "addresses": ["10.0.0.5"]}]},
    "send": {"store": {"title": "PACS", "address": "10.0.0.5", "port": 104}, "retry_minutes": 0, "tries": 3},
}


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    """With one study of two objects, `1.2`, that waits."""
    one = Queue(tmp_path / "node")
    one.make()
    make_results(one)
    add(one, "1.2")
    return one


def settings_in(queue: Queue, **segment: object) -> NodeSettings:
    return NodeSettings.model_validate({"folder": queue.folder, **SETTINGS, "segment": segment})


def inbox_of(queue: Queue) -> Inbox:
    return Inbox(queue, settings_in(queue).receive)


def add(queue: Queue, uid: str, objects: int = 2) -> None:
    for number in range(objects):
        note_received(queue, uid, f"{uid}.{number}", "0", 10, f"of {uid}", time.time())
    note_released(queue, f"of {uid}")
    close_complete(queue, time.time(), 0.0, 60.0)


def states(queue: Queue) -> dict[str, str]:
    return {study.uid: study.state for study in queue.studies()}


def begun(queue: Queue) -> Study:
    study = queue.next_study(time.time(), 2)
    assert study is not None
    return study


def results(*uids: str) -> list[Result]:
    return [Result(uid, "", "", "mask", f"{uid}.dcm", 0) for uid in uids]


def test_a_study_goes_from_waiting_to_done(queue: Queue) -> None:
    study = begun(queue)
    assert (study.name, study.objects) == ("case-" + study.key[:8], 2)
    assert begun_none(queue)
    assert queue.segmented(study, {"volumes_ml": {"whole tumour": 3.0}}, results("a", "b"), time.time())
    (first, second) = due_results(queue, time.time())
    note_sent(queue, first, time.time())
    assert states(queue) == {"1.2": "sending"}
    note_sent(queue, second, time.time())
    assert states(queue) == {"1.2": "done"}
    assert queue.studies()[0].outcome == {"volumes_ml": {"whole tumour": 3.0}}


def begun_none(queue: Queue) -> bool:
    return queue.next_study(time.time(), 2) is None


def test_what_a_killed_node_was_doing_is_done_again(queue: Queue) -> None:
    for _ in range(5):  # restarts of the node are no tries of the study
        begun(queue)
        queue.begin()
        assert states(queue) == {"1.2": "waiting"}
    note_received(queue, "1.3", "1.3.1", "0", 10, "open", time.time())
    queue.begin()
    close_complete(queue, time.time(), 0.0, 60.0)
    assert states(queue)["1.3"] == "receiving"  # its association counts as broken off
    close_complete(queue, time.time() + 61, 0.0, 60.0)
    assert states(queue)["1.3"] == "half sent"


def test_a_study_that_ends_its_program_fails_and_the_next_is_done(queue: Queue) -> None:
    add(queue, "1.3")
    for _ in range(2):
        queue.put_back(begun(queue), counts=True)
    assert begun(queue).uid == "1.3"
    assert states(queue) == {"1.2": "failed", "1.3": "working"}
    assert "ended 2 times" in next(one.reason for one in queue.studies() if one.uid == "1.2")


def test_new_objects_undo_what_was_made_without_them(queue: Queue) -> None:
    study = begun(queue)
    note_received(queue, "1.2", "1.2.9", "0", 10, "late", time.time())
    assert not queue.segmented(study, {}, results("a"), time.time())
    assert states(queue) == {"1.2": "receiving"}
    note_released(queue, "late")
    close_complete(queue, time.time(), 0.0, 60.0)
    assert queue.segmented(begun(queue), {}, results("a"), time.time())


def test_what_was_sent_is_not_sent_again(queue: Queue) -> None:
    queue.segmented(begun(queue), {}, results("a"), time.time())
    note_sent(queue, due_results(queue, time.time())[0], time.time())
    add(queue, "1.2", 3)  # sent again, with one more object
    queue.segmented(begun(queue), {}, results("a"), time.time())  # the same mask
    assert states(queue) == {"1.2": "done"}
    assert not due_results(queue, time.time())


def test_a_transaction_that_is_killed_leaves_nothing(queue: Queue, tmp_path: Path) -> None:
    """In a program of its own, which is killed with its changes written and not kept."""
    code = (
        "import os, signal, sys; from pathlib import Path; from lacunet.node.queue import Queue\n"
        "with Queue(Path(sys.argv[1])).opened() as database:\n"
        "    database.execute(\"UPDATE study SET state = 'done'\")\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(queue.folder)], check=False, env=os.environ)
    assert done.returncode == -9
    assert states(queue) == {"1.2": "waiting"}


def told(taken: dict[str, int], refuse: Callable[[str], bool] = lambda name: False) -> Callable[..., None]:
    def store(peer: object, title: str, path: Path) -> None:
        if refuse(path.name):
            raise OutputError("the archive does not answer")
        taken[path.name] = taken.get(path.name, 0) + 1

    return store


def test_a_result_that_cannot_be_sent_for_an_unforeseen_reason_does_not_hold_up_the_next_study(
    queue: Queue, monkeypatch
) -> None:
    def store(peer: object, title: str, path: Path) -> None:
        if path.name == "a.dcm":
            raise RuntimeError("Mustermann")
        taken.append(path.name)

    add(queue, "1.3")
    for name in ("a", "b"):
        queue.segmented(begun(queue), {}, results(name), time.time())
    taken, said = [], []
    monkeypatch.setattr(sending, "store", store)
    send_due(settings_in(queue).send, "LACUNET", queue, said.append)
    assert (taken, states(queue)) == (["b.dcm"], {"1.2": "sending", "1.3": "done"})
    assert "mask not sent: an error in lacunet itself (RuntimeError)" in said[0]
    assert "Mustermann" not in said[0]


def test_an_archive_that_does_not_answer_is_asked_again(queue: Queue, monkeypatch) -> None:
    add(queue, "1.3")
    for names in (("a", "b"), ("c",)):
        queue.segmented(begun(queue), {}, results(*names), time.time())
    send, taken, said = settings_in(queue).send, {}, []
    monkeypatch.setattr(sending, "store", told(taken, lambda name: name == "a.dcm"))
    send_due(send, "LACUNET", queue, said.append)
    assert taken == {"c.dcm": 1}  # a study that cannot be sent does not hold up the next
    assert states(queue) == {"1.2": "sending", "1.3": "done"}
    assert len([line for line in said if "not sent" in line]) == 1
    for _ in range(2):
        send_due(send, "LACUNET", queue, said.append)
    assert states(queue)["1.2"] == "failed"
    name = next(one.name for one in queue.studies() if one.uid == "1.2")
    monkeypatch.setattr(sending, "store", told(taken))
    assert queue.retry(name, time.time()) == 1
    send_due(send, "LACUNET", queue, said.append)
    assert (taken, states(queue)["1.2"]) == ({"c.dcm": 1, "a.dcm": 1, "b.dcm": 1}, "done")


def worked(queue: Queue, monkeypatch, program: str, **segment: object) -> Study:
    """The study after a program of these words worked on it; it gets the folders as the node gives them."""

    def start(words: list[str], **options: object) -> object:
        return REAL([sys.executable, "-c", program, *words[5:]], **options)

    monkeypatch.setattr(working.subprocess, "Popen", start)
    work_once(Path("node.toml"), settings_in(queue, **segment), inbox_of(queue), [].append, threading.Event())
    return queue.studies()[0]


REAL = subprocess.Popen
OUTCOME = "import sys; from pathlib import Path; from lacunet.node.outcome import *; folder = Path(sys.argv[3])\n"


def test_a_program_that_ends_without_a_word_is_started_again(queue: Queue, monkeypatch) -> None:
    study = worked(queue, monkeypatch, "import os; os.abort()")
    assert (study.state, study.tries) == ("waiting", 1)
    assert worked(queue, monkeypatch, "import os; os.abort()").state == "waiting"
    assert begun_none(queue)
    assert "ended 2 times" in queue.studies()[0].reason


def test_a_program_that_takes_too_long_is_stopped(queue: Queue, monkeypatch) -> None:
    study = worked(queue, monkeypatch, "import time; time.sleep(60)", most_minutes=0.01)
    assert (study.state, study.reason) == ("failed", "it took longer than 0.01 minutes (segment.most_minutes)")


def test_a_reason_is_kept_and_results_are_named(queue: Queue, monkeypatch) -> None:
    study = worked(queue, monkeypatch, OUTCOME + "write_outcome(folder, Outcome(reason='no head'))")
    assert (study.state, study.reason) == ("failed", "no head")
    queue.retry(study.name, time.time())
    made = "Outcome(made=(Made(uid='1.9', kind='mask', file='a.dcm'),), volumes_ml={'whole tumour': 2.0})"
    study = worked(queue, monkeypatch, OUTCOME + f"(folder / 'a.dcm').write_text('x'); write_outcome(folder, {made})")
    assert (study.state, study.outcome["volumes_ml"]) == ("sending", {"whole tumour": 2.0})
    (result,) = due_results(queue, time.time())
    assert (queue.folder / result.file).read_text() == "x"
    assert not list(results_of(queue).glob(".*"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups of this kind")
def test_ctrl_c_does_not_reach_the_program(queue: Queue, monkeypatch) -> None:
    study = worked(queue, monkeypatch, OUTCOME + "import os; write_outcome(folder, Outcome(reason=str(os.getpgrp())))")
    assert study.reason.isdigit()
    assert study.reason != str(os.getpgrp())


def test_a_program_ends_with_its_node(tmp_path: Path) -> None:
    """Its input closes when the node is killed."""
    code = "from lacunet.cli.node import _end_with_the_node; _end_with_the_node()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=os.environ) as program:
        time.sleep(0.2)
        assert program.poll() is None
        assert program.stdin is not None
        program.stdin.close()
        assert program.wait(30) == 1


def test_scans_are_removed_in_time_and_what_became_of_them_stays(queue: Queue) -> None:
    study = begun(queue)
    for folder in (inbox_of(queue).folder_of(study.key), results_of(queue) / f"{study.key}-2"):
        folder.mkdir(parents=True)
        (folder / "a.dcm").write_text("x")
    queue.failed(study, "no head", time.time() - 2 * 86400)
    remove_outdated(inbox_of(queue), 3.0, [].append)
    assert queue.studies()[0].kept
    remove_outdated(inbox_of(queue), 1.0, [].append)
    (left,) = queue.studies()
    assert (left.kept, left.reason, left.objects) == (False, "no head", 0)
    assert not list(queue.folder.rglob("*.dcm"))
    assert queue.retry(left.name, time.time()) == 0


def test_an_error_of_a_step_is_said_once_and_ends_nothing(queue: Queue, monkeypatch) -> None:
    monkeypatch.setattr(running, "_AFTER_ERROR", 0.0)
    said, stop, steps = [], threading.Event(), []

    def step() -> bool:
        steps.append(1)
        if len(steps) == 5:
            stop.set()
        raise sqlite3.OperationalError("database or disk is full") if len(steps) < 4 else ValueError("Mustermann")

    with running._looping(step, 0.01, queue, said.append, stop):
        stop.wait(10)
    assert len(steps) >= 5
    assert len(said) == 2
    assert "queue.sqlite: cannot be used (database or disk is full); check its permissions and its disk" in said[0]
    assert "(ValueError)" in said[1]
    assert "Mustermann" not in said[1]


def test_two_nodes_do_not_share_a_folder(tmp_path: Path) -> None:
    with _alone(tmp_path), pytest.raises(UsageError, match="another node works there"), _alone(tmp_path):
        pass


@pytest.mark.parametrize("spoil", [Path.mkdir, lambda path: path.write_bytes(b"no database" * 100)])
def test_a_folder_that_cannot_be_locked_is_told_as_what_it_is(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    spoil(tmp_path / "lock")
    with pytest.raises(OutputError, match=r"lock: cannot be used \(.*\); check the permissions"), _alone(tmp_path):
        pass


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    from lacunet.node.outcome import read_outcome

    with pytest.raises(OutputError, match="left no result; do the study again"):
        read_outcome(tmp_path)
    made = Outcome(volumes_ml={"a": 1.0}, notes=("b",), made=(Made(uid="1", kind="report", file="c"),), seconds=2.0)
    write_outcome(tmp_path, made)
    assert read_outcome(tmp_path) == made
