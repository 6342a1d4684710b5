"""Works on one study after the other, each in a program of its own: whatever a study does to it, the node lives, and
the next study gets its turn."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

from lacunet.errors import OutputError
from lacunet.node.durable import UNFINISHED, kept, make_folder, synchronise_tree
from lacunet.node.keep import Inbox
from lacunet.node.outcome import Outcome, read_outcome
from lacunet.node.queue import Queue, Result, Study
from lacunet.node.receive import Log
from lacunet.node.settings import NodeSettings

_TICK = 0.2


def results_of(queue: Queue) -> Path:
    """Holds a folder for each study."""
    return queue.folder / "results"


def make_results(queue: Queue) -> None:
    """Make the folder, and remove what a killed node was writing into it."""
    make_folder(results_of(queue))
    for path in results_of(queue).glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def work_once(config: Path, settings: NodeSettings, inbox: Inbox, log: Log, stop: Event) -> bool:
    """Segment the study that has waited longest.

    Args:
        config: The file of the settings, which the program that works on the study reads.
        settings: The same.
        inbox: Where the studies are.
        log: Takes lines.
        stop: Ends the work; the study is done again later.

    Returns:
        Whether there was one.
    """
    queue = inbox.queue
    study = queue.next_study(time.time(), settings.segment.tries)
    if study is None:
        return False
    log(f"{study.name}: segmenting {study.objects} objects")
    folder = results_of(queue) / f"{UNFINISHED}{study.key}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        make_folder(folder)
        ended = _run(config, study, inbox.folder_of(study.key), folder, settings.segment.most_minutes * 60, queue, stop)
        if ended:
            queue.failed(study, ended, time.time())
        elif stop.is_set() or not queue.is_current(study):
            queue.put_back(study, counts=False)
        else:
            _take(study, folder, queue, log)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        queue.failed(study, f"its results cannot be written ({reason}); then lacunet node retry", time.time())
    except OutputError as error:
        queue.failed(study, str(error), time.time())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return True


def _run(config: Path, study: Study, source: Path, folder: Path, seconds: float, queue: Queue, stop: Event) -> str:
    """Run the program; it ends with the node, since it reads from a pipe that then closes.

    Returns:
        Why the study failed; "" where it may not have.
    """
    words = [sys.executable, "-m", "lacunet", "node", "work", str(config), str(source), str(folder), study.name]
    end = time.monotonic() + seconds
    with subprocess.Popen(  # in a session of its own: Ctrl-C reaches the node alone, and is no failed try of the study
        words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as program:
        try:
            while program.poll() is None:
                if time.monotonic() > end:
                    return f"it took longer than {seconds / 60:g} minutes (segment.most_minutes)"
                if stop.wait(_TICK) or not queue.is_current(study):
                    return ""
        finally:
            program.kill()
            program.wait()
    if program.returncode != 0:
        queue.put_back(study, counts=True)
    return ""


def _take(study: Study, folder: Path, queue: Queue, log: Log) -> None:
    """Keep the results of a study on the disk, then say so in the queue."""
    outcome = read_outcome(folder)
    if outcome.reason:
        queue.failed(study, outcome.reason, time.time())
        log(f"{study.name}: failed: {outcome.reason}")
        return
    synchronise_tree(folder)
    final = results_of(queue) / f"{study.key}-{study.revision}"
    shutil.rmtree(final, ignore_errors=True)
    kept(folder, final)
    results = [_result(study, one.uid, one.kind, final / one.file, queue) for one in outcome.made]
    if queue.segmented(study, _shown(outcome), results, time.time()):
        volumes = ", ".join(f"{title} {volume:.1f} ml" for title, volume in outcome.volumes_ml.items())
        log(f"{study.name}: {volumes}")


def _result(study: Study, uid: str, kind: str, file: Path, queue: Queue) -> Result:
    return Result(uid, study.key, study.name, kind, str(file.relative_to(queue.folder)), 0)


def _shown(outcome: Outcome) -> dict[str, object]:
    return {"volumes_ml": outcome.volumes_ml, "notes": list(outcome.notes), "seconds": outcome.seconds}


def remove_outdated(inbox: Inbox, days: float, log: Log) -> None:
    """Remove scans and results of studies that were done, or failed, so many days ago."""
    with inbox.lock:
        for study in inbox.queue.outdated(time.time() - days * 86400):
            shutil.rmtree(inbox.folder_of(study.key), ignore_errors=True)
            for folder in results_of(inbox.queue).glob(f"{study.key}-*"):
                shutil.rmtree(folder, ignore_errors=True)
            inbox.queue.removed(study)
            log(f"{study.name}: its scans and results were removed, {days:g} days after it ended")
