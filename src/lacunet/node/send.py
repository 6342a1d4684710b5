"""Sends results back, by C-STORE or STOW. An object has the same UID each time, so that sending it twice changes
nothing."""

import time
from pathlib import Path
from typing import Any

from lacunet.errors import OutputError, problem_of
from lacunet.intake.read.quiet import silently
from lacunet.node.outbox import due_results, note_not_sent, note_sent
from lacunet.node.queue import Queue
from lacunet.node.receive import Log
from lacunet.node.settings import Peer, Send
from lacunet.node.web import stow

_WARNINGS = range(0xB000, 0xC000)
"""Statuses of an object that was stored, with a remark."""


def send_due(settings: Send, title: str, queue: Queue, log: Log) -> None:
    """Send the results whose time has come; one that is not taken does not hold up those of other studies.

    Args:
        settings: Where to.
        title: The node's own AE title.
        queue: Knows the results.
        log: Takes lines.
    """
    stuck: dict[str, str] = {}
    for one in due_results(queue, time.time()):
        try:
            if one.study in stuck:
                raise OutputError(stuck[one.study])
            _send(settings, title, queue.folder / one.file)
        except Exception as error:  # also what nobody foresaw holds up one study only
            reason, now = problem_of(one.name, error).message, time.time()
            last = one.tries + 1 >= settings.tries
            note_not_sent(queue, one, f"not sent: {reason}", now + settings.retry_minutes * 60, last, now)
            if one.study not in stuck:
                log(f"{one.name}: {one.kind} not sent: {reason}")
            stuck[one.study] = reason
        else:
            note_sent(queue, one, time.time())
            log(f"{one.name}: {one.kind} sent")


def _send(settings: Send, title: str, path: Path) -> None:
    if settings.store is not None:
        store(settings.store, title, path)
    if settings.stow is not None:
        stow(settings.stow, path)


def store(peer: Peer, title: str, path: Path) -> None:
    """Send a file by C-STORE.

    Raises:
        OutputError: the file is gone, or the peer does not answer, does not take such objects, or refuses this one.
    """
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
    from pynetdicom import AE

    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = peer.timeout_seconds
    entity.connection_timeout = min(peer.timeout_seconds, 30.0)
    with silently():
        try:
            data: Any = dcmread(path)
        except OSError as error:
            raise OutputError(f"the object cannot be read ({error.strerror}); do the study again") from error
        entity.add_requested_context(data.SOPClassUID, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        association = entity.associate(peer.address, peer.port, ae_title=peer.title)
        if not association.is_established:
            raise OutputError(_why_not(association))
        try:
            status = association.send_c_store(data)
        except ValueError as error:
            raise OutputError("the archive takes no such objects; see its list of SOP classes") from error
        finally:
            association.release()
    if "Status" not in status:
        raise OutputError("the archive broke off while the object was sent")
    if status.Status and status.Status not in _WARNINGS:
        raise OutputError(f"the archive refused the object with status 0x{status.Status:04X}; see its log")


def _why_not(association: Any) -> str:
    if association.is_rejected:
        return "the archive refuses the association; it must know the node's AE title and address"
    return "the archive does not answer; check send.store, and whether it runs"
