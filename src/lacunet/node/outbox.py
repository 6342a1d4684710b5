"""The results that are to be sent: which are due, which the archive has, which it did not take."""

from lacunet.node.queue import Queue, Result, close_sent


def due_results(queue: Queue, now: float) -> list[Result]:
    """Results whose time has come, study by study."""
    with queue.opened() as database:
        rows = database.execute(
            "SELECT result.uid, study.key, study.name, kind, file, result.tries FROM result "
            "JOIN study ON study.uid = result.study WHERE sent IS NULL AND due <= ? AND state = 'sending' "
            "ORDER BY study.changed, study.uid, result.rowid",
            (now,),
        ).fetchall()
    return [Result(*row) for row in rows]


def note_sent(queue: Queue, result: Result, now: float) -> None:
    """The archive has taken a result; a study is done with its last."""
    with queue.opened() as database:
        database.execute("UPDATE result SET sent = ?, reason = '' WHERE uid = ?", (now, result.uid))
        row = database.execute("SELECT study FROM result WHERE uid = ?", (result.uid,)).fetchone()
        if row:
            close_sent(database, str(row[0]), now)


def note_not_sent(queue: Queue, result: Result, reason: str, due: float, last: bool, now: float) -> None:
    """A try failed.

    Args:
        queue: The queue.
        result: What was not taken.
        reason: Why.
        due: When it is tried again.
        last: It is not: the study has failed.
        now: Seconds of the epoch.
    """
    with queue.opened() as database:
        database.execute(
            "UPDATE result SET tries = tries + 1, due = ?, reason = ? WHERE uid = ?", (due, reason, result.uid)
        )
        database.execute(
            "UPDATE study SET state = ?, changed = ?, reason = ? WHERE state = 'sending' AND key = ?",
            ("failed" if last else "sending", now, reason, result.study),
        )
