"""The objects that come in: which are there, who still sends, and when a study is complete."""

from lacunet.node.queue import Queue, key_of, name_of


def known_object(queue: Queue, study: str, uid: str) -> str:
    """The SHA-256 of an object that is there; "" without it."""
    with queue.opened() as database:
        row = database.execute("SELECT sha256 FROM instance WHERE study = ? AND uid = ?", (study, uid)).fetchone()
    return str(row[0]) if row else ""


def is_own(queue: Queue, uid: str) -> bool:
    """Whether an object is a result of this node, which an archive may send back."""
    with queue.opened() as database:
        return database.execute("SELECT 1 FROM result WHERE uid = ?", (uid,)).fetchone() is not None


def size_of(queue: Queue, study: str) -> tuple[int, int]:
    """Objects and bytes of a study."""
    with queue.opened() as database:
        row = database.execute("SELECT count(*), total(bytes) FROM instance WHERE study = ?", (study,)).fetchone()
    return int(row[0]), int(row[1])


def note_received(queue: Queue, study: str, uid: str, sha256: str, size: int, association: str, now: float) -> None:
    """An object was stored. A study that was done, or under way, waits to be complete again.

    Args:
        queue: The queue.
        study: StudyInstanceUID.
        uid: SOPInstanceUID.
        sha256: Of its file.
        size: Of its file, in bytes.
        association: What sends it; the study is not complete before that has ended.
        now: Seconds of the epoch.
    """
    with queue.opened() as database:
        database.execute(
            "INSERT INTO study VALUES (?, ?, ?, 'receiving', 1, ?, ?, 0, '', '{}', 1) ON CONFLICT (uid) DO UPDATE "
            "SET state = 'receiving', revision = revision + 1, changed = excluded.changed, tries = 0, reason = '', "
            "kept = 1",
            (study, key_of(study), name_of(study), now, now),
        )
        database.execute("INSERT OR REPLACE INTO instance VALUES (?, ?, ?, ?)", (study, uid, sha256, size))
        database.execute("INSERT OR REPLACE INTO sending VALUES (?, ?, 0)", (study, association))
        database.execute("DELETE FROM result WHERE study = ? AND sent IS NULL", (study,))


def note_received_again(queue: Queue, study: str, association: str) -> None:
    """An object came that is there already: what sends it may mend what an earlier association left open."""
    with queue.opened() as database:
        database.execute("INSERT OR REPLACE INTO sending VALUES (?, ?, 0)", (study, association))


def note_released(queue: Queue, association: str) -> None:
    """An association ended as it should: what an earlier one left open is mended by it."""
    with queue.opened() as database:
        database.execute(
            "DELETE FROM sending WHERE association = ? OR (cut = 1 AND study IN "
            "(SELECT study FROM sending WHERE association = ?))",
            (association, association),
        )


def note_cut_off(queue: Queue, association: str) -> None:
    """An association broke off."""
    with queue.opened() as database:
        database.execute("UPDATE sending SET cut = 1 WHERE association = ?", (association,))


def close_complete(queue: Queue, now: float, quiet: float, half_sent: float, released: bool = False) -> None:
    """Studies that are complete wait for their turn; those whose sender broke off long ago are called half sent.

    Args:
        queue: The queue.
        now: Seconds of the epoch.
        quiet: Seconds without a new object after which a study is complete, unless its sender broke off.
        half_sent: Seconds that a study waits for the rest after its sender broke off.
        released: The associations that send a study must also have ended.
    """
    with queue.opened() as database:
        database.execute(
            "UPDATE study SET state = 'waiting', changed = ? WHERE state = 'receiving' AND changed <= ? "
            "AND uid NOT IN (SELECT study FROM sending WHERE cut >= ?)",
            (now, now - quiet, 0 if released else 1),
        )
        database.execute(
            "UPDATE study SET state = 'half sent', changed = ?, reason = 'its sender broke off after object ' || "
            "(SELECT count(*) FROM instance WHERE instance.study = study.uid) || '; send the study again, or "
            "take it as it is: lacunet node retry' WHERE state = 'receiving' AND changed <= ? "
            "AND uid NOT IN (SELECT study FROM sending WHERE cut = 0)",
            (now, now - max(quiet, half_sent)),
        )


def note_not_fetched(queue: Queue, study: str, reason: str, now: float) -> None:
    """A study of an archive could not be taken whole; it has failed until it can."""
    with queue.opened() as database:
        database.execute(
            "INSERT INTO study VALUES (?, ?, ?, 'failed', 0, ?, ?, 0, ?, '{}', 0) ON CONFLICT (uid) DO UPDATE SET "
            "state = 'failed', changed = excluded.changed, reason = excluded.reason "
            "WHERE state IN ('receiving', 'failed', 'half sent')",
            (study, key_of(study), name_of(study), now, now, reason),
        )
