"""The node: its parts, each in a thread, until it is stopped."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from lacunet.errors import LacunetError, OutputError, UsageError, unforeseen
from lacunet.files import cannot_write
from lacunet.node.arrivals import close_complete
from lacunet.node.durable import make_folder
from lacunet.node.fetch import fetch_once
from lacunet.node.keep import Inbox
from lacunet.node.queue import Queue
from lacunet.node.receive import Log, receiving
from lacunet.node.send import send_due
from lacunet.node.serve import serving
from lacunet.node.settings import Fetch, NodeSettings, Receive, Send
from lacunet.node.work import make_results, remove_outdated, work_once

_TICK = 0.5
_HOUR = 3600.0
_AFTER_ERROR = 10.0


def run_node(config: Path, settings: NodeSettings, log: Log, stop: threading.Event) -> None:
    """Run until `stop` is set, or an exception ends the main thread. What is under way then is done at the next start.

    Args:
        config: The file of the settings.
        settings: The same.
        log: Takes lines; may be called from any thread.
        stop: Ends the node.

    Raises:
        OutputError: the folder cannot be written, or a port is in use.
        UsageError: another node works in the folder, or `lacunet[node]` is not installed.
    """
    queue = Queue(settings.folder)
    inbox = Inbox(queue, settings.receive)
    receive = settings.receive
    with ExitStack() as stack:
        stack.enter_context(_alone(settings.folder))
        queue.make()
        stack.enter_context(queue.held())
        queue.begin()
        inbox.make()
        make_results(queue)
        loops: list[tuple[Callable[[], bool], float]] = [
            (lambda: _close(queue, receive), _TICK),
            (lambda: work_once(config, settings, inbox, log, stop), _TICK),
            (lambda: _send(settings.send, receive.title, queue, log), _TICK),
            (lambda: _remove(inbox, settings.keep_days, log), _HOUR),
        ]
        if fetch := settings.fetch:
            loops.append((lambda: _fetch(fetch, inbox, log), fetch.every_seconds))
        for step, seconds in loops:
            stack.enter_context(_looping(step, seconds, queue, log, stop))
        if receive.port and receive.senders:
            port = stack.enter_context(receiving(inbox, log))
            log(f"{receive.title} listens on {receive.address}, port {port}")
        if settings.page.port:
            stack.enter_context(serving(settings, queue, log))
            log(f"the status page is at http://{settings.page.address}:{settings.page.port}")
        log("the node runs")
        stop.wait()


def _close(queue: Queue, receive: Receive) -> bool:
    at_release = receive.complete == "association"
    quiet = 0.0 if at_release else receive.quiet_seconds
    close_complete(queue, time.time(), quiet, receive.half_sent_minutes * 60, at_release)
    return False


def _send(send: Send, title: str, queue: Queue, log: Log) -> bool:
    send_due(send, title, queue, log)
    return False


def _fetch(fetch: Fetch, inbox: Inbox, log: Log) -> bool:
    fetch_once(fetch, inbox, log)
    return False


def _remove(inbox: Inbox, days: float, log: Log) -> bool:
    remove_outdated(inbox, days, log)
    return False


@contextmanager
def _looping(step: Callable[[], bool], seconds: float, queue: Queue, log: Log, stop: threading.Event) -> Iterator[None]:
    """Do a step again and again in a thread: at once where there was something to do, else after so many seconds.
    An error of one step ends neither the node nor the next step; the same one is logged once."""

    def loop() -> None:
        said = ""
        while not stop.is_set():
            again, wrong = _done(step, queue)
            if wrong and wrong != said:
                log(wrong)
            said = wrong
            if not again:
                stop.wait(max(seconds, _AFTER_ERROR if wrong else 0.0))

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _done(step: Callable[[], bool], queue: Queue) -> tuple[bool, str]:
    """Whether the step had something to do, and what went wrong."""
    try:
        with queue.sound():
            return step(), ""
    except LacunetError as error:
        return False, str(error)
    except Exception as error:
        return False, unforeseen(error)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two nodes in one folder would send everything twice."""
    try:
        make_folder(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    with ExitStack() as stack:
        try:
            lock = sqlite3.connect(folder / "lock", timeout=0.0, isolation_level=None)
            stack.enter_context(closing(lock))
            lock.execute("BEGIN EXCLUSIVE")  # every system has this lock, and it ends with the program
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise UsageError(f"{folder}: another node works there; end it, or name another folder") from None
            raise OutputError(
                f"{folder / 'lock'}: cannot be used ({error}); check the permissions of the folder and its disk, and "
                "run the node as the user whose folder it is"
            ) from error
        yield
