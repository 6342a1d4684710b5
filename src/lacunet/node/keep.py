"""Keeps one object that comes in: checked, on the disk, and in the queue; only then it may be acknowledged."""

import errno
import hashlib
import shutil
import sqlite3
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from lacunet.errors import OutputError
from lacunet.intake.read.dataset import UnreadableFile, read_header_of
from lacunet.intake.read.quiet import silently
from lacunet.node.arrivals import is_own, known_object, note_received, note_received_again, size_of
from lacunet.node.durable import UNFINISHED, kept, make_folder, written
from lacunet.node.queue import Queue, key_of
from lacunet.node.settings import Receive

MOST_UID = 64
"""Letters of a UID."""

_MIB = 2**20


class NoRoom(OutputError):
    """The disk is full, or a limit of the configuration is reached."""


class BadObject(Exception):
    """An object that is damaged, or lacks what every DICOM object has; the message says how, without personal data."""


@dataclass(frozen=True)
class Inbox:
    """Where objects are kept.

    Attributes:
        queue: The queue.
        limits: How much is accepted.
        lock: Held while a study's files and its rows change, so that none is removed that comes in meanwhile.
    """

    queue: Queue
    limits: Receive
    lock: AbstractContextManager[bool] = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Holds a folder for each study."""
        return self.queue.folder / "received"

    def folder_of(self, key: str) -> Path:
        """The folder of a study."""
        return self.folder / key

    def make(self) -> None:
        """Make the folder, and remove what a killed node was writing into it."""
        make_folder(self.folder)
        for path in self.folder.glob(f"{UNFINISHED}*"):
            path.unlink(missing_ok=True)

    def keep(self, content: bytes, uid: str | None, association: str, now: float) -> None:
        """Keep an object. When this returns, it is on the disk, and in the queue.

        Args:
            content: The file, with preamble and meta header.
            uid: The SOPInstanceUID that the sender states; None where it states none.
            association: What sends it.
            now: Seconds of the epoch.

        Raises:
            BadObject: it is damaged, or its UIDs are none.
            NoRoom: the disk is full, or a limit is reached.
            OutputError: it cannot be kept for another reason.
        """
        if len(content) > self.limits.largest_object_mib * _MIB:
            raise NoRoom(f"an object of more than {self.limits.largest_object_mib} MiB (receive.largest_object_mib)")
        try:
            if shutil.disk_usage(self.folder).free < self.limits.least_free_mib * _MIB + len(content):
                raise NoRoom(
                    f"less than {self.limits.least_free_mib} MiB are free on the disk (receive.least_free_mib)"
                )
            with written(self.folder, content) as temporary:
                study, own = _uids_of(temporary)
                if own != (uid or own):
                    raise BadObject("its SOPInstanceUID is another than the sender stated")
                if is_own(self.queue, own):
                    return  # an archive sends back what it got from here
                digest = hashlib.sha256(content).hexdigest()
                target = self.folder_of(key_of(study)) / f"{key_of(own)}.dcm"
                with self.lock:
                    if known_object(self.queue, study, own) == digest and target.is_file():
                        note_received_again(self.queue, study, association)
                        return
                    self._require_room(study, len(content))
                    make_folder(target.parent)
                    kept(temporary, target)
                    note_received(self.queue, study, own, digest, len(content), association, now)
        except (OSError, sqlite3.Error) as error:
            raise _cannot_keep(error) from error

    def _require_room(self, study: str, size: int) -> None:
        objects, total = size_of(self.queue, study)
        if objects >= self.limits.most_objects:
            raise NoRoom(f"a study of more than {self.limits.most_objects} objects (receive.most_objects)")
        if total + size > self.limits.largest_study_mib * _MIB:
            raise NoRoom(f"a study of more than {self.limits.largest_study_mib} MiB (receive.largest_study_mib)")


def _uids_of(path: Path) -> tuple[str, str]:
    """StudyInstanceUID and SOPInstanceUID."""
    try:
        with silently():
            header, _ = read_header_of(path, ["StudyInstanceUID", "SOPInstanceUID"])
            study, own = (str(header.get(name) or "") for name in ("StudyInstanceUID", "SOPInstanceUID"))
    except UnreadableFile as error:
        raise BadObject(str(error)) from None
    except (AttributeError, TypeError, ValueError) as error:
        raise BadObject(f"damaged ({type(error).__name__})") from None
    if not study or not own or len(study) > MOST_UID or len(own) > MOST_UID:
        raise BadObject("it has no StudyInstanceUID or SOPInstanceUID, or one of more than 64 letters")
    return study, own


def _cannot_keep(error: Exception) -> OutputError:
    """Without the path, which says nothing to a sender."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or (isinstance(error, sqlite3.OperationalError) and "full" in str(error)):
        return NoRoom("the disk is full; make room")
    reason = getattr(error, "strerror", None) or type(error).__name__
    return OutputError(f"the node's folder cannot be written ({reason}); check its disk and its permissions")
