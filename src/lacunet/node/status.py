"""What a node has done and what it waits for, in words, for the terminal and for the status page. Nobody is named."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lacunet.errors import UsageError
from lacunet.node.queue import FILE_NAME, Queue, State, Study
from lacunet.node.remembered import Refusal, refusals
from lacunet.node.settings import NodeSettings
from lacunet.report.page import render, resource

STATES: tuple[State, ...] = ("receiving", "waiting", "working", "sending", "done", "failed", "half sent")
"""In the order in which a study goes through them."""

_UNDER_WAY = ("receiving", "waiting", "working", "sending")
_STOPPED = ("failed", "half sent")
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Status:
    """What a node has done.

    Attributes:
        counts: Studies by state; each state is there.
        under_way: Studies that are not done yet, the longest there first.
        stopped: Studies that failed or are half sent, the last first.
        done: The last studies that were done.
        refused: Associations that were refused, the last first.
        time: When this was so, in seconds of the epoch.
    """

    counts: Mapping[str, int]
    under_way: Sequence[Study]
    stopped: Sequence[Study]
    done: Sequence[Study]
    refused: Sequence[Refusal]
    time: float


def status_of(queue: Queue) -> Status:
    """Read the queue.

    Raises:
        OutputError: its file is damaged, or may not be read.
        UsageError: no node has run in the folder yet.
    """
    if not (queue.folder / FILE_NAME).is_file():
        raise UsageError(f"{queue.folder}: no node has run there yet; lacunet node run starts one")
    with queue.sound():
        studies, refused = queue.studies(), refusals(queue)
    counts = Counter(study.state for study in studies)
    return Status(
        counts={state: counts[state] for state in STATES},
        under_way=sorted((one for one in studies if one.state in _UNDER_WAY), key=lambda one: one.began),
        stopped=[one for one in studies if one.state in _STOPPED][:_MOST_SHOWN],
        done=[one for one in studies if one.state == "done"][:_MOST_SHOWN],
        refused=refused[:_MOST_SHOWN],
        time=time.time(),
    )


def status_lines(status: Status) -> list[str]:
    """For the terminal."""
    lines = [", ".join(f"{count} {state}" for state, count in status.counts.items())]
    for title, studies in (("under way", status.under_way), ("stopped", status.stopped), ("done", status.done)):
        lines += [f"{title}:"] if studies else []
        lines += [f"    {one.name}  {one.state}  {when(one.changed)}  {about(one)}" for one in studies]
    lines += ["refused:"] if status.refused else []
    lines += [f"    {when(one.time)}  {one.address}: {one.reason}" for one in status.refused]
    return lines


def status_page(status: Status, settings: NodeSettings) -> str:
    """A page of HTML."""
    view = {"provenance": _facts(settings, status)}
    words = {"when": when, "about": about, "notes": notes_of, "counted": counted}
    return render("node.html", {"view": view, "status": status, **words}, [resource("node.css")])


def about(study: Study) -> str:
    """What came of a study, or why it waits: `whole tumour 84.1 ml, …`."""
    if study.reason:
        return study.reason
    volumes = study.outcome.get("volumes_ml", {})
    if study.state in ("done", "sending") and volumes:
        said = ", ".join(f"{title} {value:.1f} ml" for title, value in volumes.items())
        return f"{said}; {study.unsent} to be sent" if study.unsent else said
    return counted(study.objects, "object")


def counted(count: int, word: str) -> str:
    """`1 object`, `2 objects`."""
    return f"{count} {word}{'s' * (count != 1)}"


def notes_of(study: Study) -> list[str]:
    """Cautions, doubts and warnings about a study that is done."""
    return [str(line) for line in study.outcome.get("notes", [])]


def when(seconds: float) -> str:
    """Local time."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _facts(settings: NodeSettings, status: Status) -> dict[str, str]:
    receive, send = settings.receive, settings.send
    complete = f"{receive.quiet_seconds:g} s after the last object"
    if receive.complete == "association":
        complete = "as soon as the association is released"
    facts = {"as of": when(status.time), "a study is complete": complete, "model": settings.segment.model}
    if receive.port and receive.senders:
        facts["listens"] = f"{receive.title}, port {receive.port}"
        facts["may send"] = ", ".join(one.title for one in receive.senders)
    if settings.fetch is not None:
        facts["fetches by DICOMweb"] = f"every {settings.fetch.every_seconds:g} s"
    facts["sends"] = f"by C-STORE to {send.store.title}" if send.store else "by STOW"
    facts["scans and results are kept"] = f"{settings.keep_days:g} days"
    return facts
