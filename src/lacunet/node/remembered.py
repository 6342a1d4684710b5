"""What the node remembers of others: associations that it refused, and studies that it saw in an archive."""

from dataclasses import dataclass

from lacunet.node.queue import Queue

MOST_REFUSALS = 200
"""Refused associations that are remembered."""


@dataclass(frozen=True)
class Refusal:
    """An association that was refused.

    Attributes:
        time: Seconds of the epoch.
        address: From where it came.
        reason: Why; nothing that the stranger said.
    """

    time: float
    address: str
    reason: str


def remember_refusal(queue: Queue, address: str, reason: str, now: float) -> None:
    """Remember an association that was refused; the oldest are forgotten."""
    with queue.opened() as database:
        database.execute("INSERT INTO refusal VALUES (?, ?, ?)", (now, address, reason))
        database.execute(
            "DELETE FROM refusal WHERE rowid NOT IN (SELECT rowid FROM refusal ORDER BY rowid DESC LIMIT ?)",
            (MOST_REFUSALS,),
        )


def refusals(queue: Queue) -> list[Refusal]:
    """The refused associations, the last first."""
    with queue.opened() as database:
        rows = database.execute("SELECT time, address, reason FROM refusal ORDER BY rowid DESC").fetchall()
    return [Refusal(*row) for row in rows]


def is_settled(queue: Queue, study: str, images: int, now: float, quiet: float) -> bool:
    """Whether a study of an archive is to be fetched: its number of images is the same as a quiet time before, and
    another than when it was last fetched.

    Args:
        queue: Remembers the number.
        study: StudyInstanceUID.
        images: How many MR images the archive has of it now.
        now: Seconds of the epoch.
        quiet: Seconds.
    """
    with queue.opened() as database:
        database.execute(
            "INSERT INTO seen VALUES (?, ?, ?, 0) ON CONFLICT (study) DO UPDATE SET since = "
            "CASE WHEN images = excluded.images THEN since ELSE excluded.since END, images = excluded.images",
            (study, images, now),
        )
        row = database.execute("SELECT since, fetched FROM seen WHERE study = ?", (study,)).fetchone()
    return bool(row["fetched"] != images and row["since"] <= now - quiet)


def remember_fetched(queue: Queue, study: str, images: int) -> None:
    """A study of an archive was fetched with so many images."""
    with queue.opened() as database:
        database.execute("UPDATE seen SET fetched = ? WHERE study = ?", (images, study))
