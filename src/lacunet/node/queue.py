"""The queue on disk: its tables, which studies are there, and how far each is. It survives the end of the program at
any point. What comes in is in `arrivals.py`, what is sent in `outbox.py`.

SQLite in WAL mode with `synchronous = FULL`: what a method has written when it returns is on the disk. Files are
written and synchronised before the row that names them (`durable.py`).
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lacunet.errors import OutputError

State = Literal["receiving", "waiting", "working", "sending", "done", "failed", "half sent"]

FILE_NAME = "queue.sqlite"
VERSION = 1
"""Of the tables; grows when they change."""
_SECONDS = 30.0
"""How long to wait for another thread's transaction."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS study (
  uid TEXT PRIMARY KEY, key TEXT UNIQUE NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, revision INTEGER NOT NULL,
  began REAL NOT NULL, changed REAL NOT NULL, tries INTEGER NOT NULL, reason TEXT NOT NULL, outcome TEXT NOT NULL,
  kept INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS instance (
  study TEXT NOT NULL, uid TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (study, uid)
);
CREATE TABLE IF NOT EXISTS sending (
  study TEXT NOT NULL, association TEXT NOT NULL, cut INTEGER NOT NULL, PRIMARY KEY (study, association)
);
CREATE TABLE IF NOT EXISTS result (
  uid TEXT PRIMARY KEY, study TEXT NOT NULL, kind TEXT NOT NULL, file TEXT NOT NULL, sent REAL, tries INTEGER NOT NULL,
  due REAL NOT NULL, reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS refusal (time REAL NOT NULL, address TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS seen (
  study TEXT PRIMARY KEY, images INTEGER NOT NULL, since REAL NOT NULL, fetched INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class Study:
    """A study in the queue.

    Attributes:
        uid: StudyInstanceUID. Never shown.
        key: Names its folders: 24 hexadecimal digits of a hash of the UID.
        name: For people: `case-` and 8 digits of a hash of the UID, as `lacunet import` names it.
        state: How far it is.
        revision: Grows with each new object.
        began: When its first object came, in seconds of the epoch.
        changed: When its state or its objects last changed.
        tries: How often it was begun to be segmented.
        reason: Why it failed, or waits.
        outcome: What came of it: `volumes_ml`, `warnings` ...
        kept: Whether its scans and results are still there.
        objects: How many objects it has.
        unsent: How many of its results are still to be sent.
    """

    uid: str
    key: str
    name: str
    state: State
    revision: int
    began: float
    changed: float
    tries: int
    reason: str
    outcome: Mapping[str, Any]
    kept: bool
    objects: int
    unsent: int


@dataclass(frozen=True)
class Result:
    """An object that is to be sent.

    Attributes:
        uid: Its SOPInstanceUID.
        study: The key of its study.
        name: The name of its study.
        kind: `mask`, `picture` or `report`.
        file: Where it lies, below the node's folder.
        tries: How often it was tried to be sent.
    """

    uid: str
    study: str
    name: str
    kind: str
    file: str
    tries: int


def key_of(uid: str) -> str:
    """Names the files and folders of a UID, whatever it holds."""
    return hashlib.sha256(uid.encode("utf-8", "replace")).hexdigest()[:24]


def name_of(uid: str) -> str:
    """A study's name for people, by which somebody who has the scans can find it."""
    return f"case-{key_of(uid)[:8]}"


@dataclass(frozen=True)
class Queue:
    """The queue in a folder.

    Attributes:
        folder: The node's folder.
    """

    folder: Path

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """One transaction; kept when the block ends, undone by an error.

        Raises:
            sqlite3.Error: the disk is full, or the file is damaged.
        """
        path = self.folder / FILE_NAME
        with closing(sqlite3.connect(path, timeout=_SECONDS, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def make(self) -> None:
        """Make the file, where there is none.

        Raises:
            OutputError: it is damaged, or of another version of lacunet.
        """
        path = self.folder / FILE_NAME
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path, timeout=_SECONDS, isolation_level=None)) as connection, self.sound():
            connection.execute("PRAGMA journal_mode = WAL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise OutputError(f"{path}: is of another version of lacunet; name another folder")
            connection.executescript(f"{_SCHEMA} PRAGMA user_version = {VERSION};")

    @contextmanager
    def sound(self) -> Iterator[None]:
        """Errors of SQLite become one that says what to do.

        Raises:
            OutputError: the file is damaged, or may not be read or written.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(
                f"{self.folder / FILE_NAME}: cannot be used ({error}); check its permissions and its disk, run the "
                "command as the node's user; if it is damaged, move it away: scans stay in received/"
            ) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps the file open, so that SQLite need not tidy up after each transaction."""
        with closing(sqlite3.connect(self.folder / FILE_NAME, timeout=_SECONDS)) as connection:
            connection.execute("SELECT count(*) FROM study").fetchone()
            yield

    def begin(self) -> None:
        """What a killed node left: associations count as broken off, studies under way are done again."""
        with self.opened() as database:
            database.execute("UPDATE sending SET cut = 1")
            database.execute("UPDATE study SET state = 'waiting', tries = tries - 1 WHERE state = 'working'")

    # studies that are segmented

    def next_study(self, now: float, tries: int) -> Study | None:
        """The study that has waited longest, from now on under way; one that was begun too often has failed."""
        with self.opened() as database:
            database.execute(
                "UPDATE study SET state = 'failed', changed = ?, reason = 'the program that worked on it ended ' || "
                "tries || ' times, perhaps for lack of memory or of room on the disk' "
                "WHERE state = 'waiting' AND tries >= ?",
                (now, tries),
            )
            row = database.execute("SELECT uid FROM study WHERE state = 'waiting' ORDER BY changed, began").fetchone()
            if row is None:
                return None
            uid = str(row[0])
            database.execute("UPDATE study SET state = 'working', tries = tries + 1 WHERE uid = ?", (uid,))
            return _studies(database, "WHERE study.uid = ?", (uid,))[0]

    def is_current(self, study: Study) -> bool:
        """Whether a study under way is still what it was when it began."""
        with self.opened() as database:
            return _is_current(database, study)

    def segmented(self, study: Study, outcome: Mapping[str, Any], results: Sequence[Result], now: float) -> bool:
        """A study is segmented; its results wait to be sent, but for those that were sent before.

        Returns:
            False where new objects came meanwhile; then nothing is kept.
        """
        with self.opened() as database:
            if not _is_current(database, study):
                return False
            for one in results:
                database.execute(
                    "INSERT INTO result VALUES (?, ?, ?, ?, NULL, 0, ?, '') ON CONFLICT (uid) DO NOTHING",
                    (one.uid, study.uid, one.kind, one.file, now),
                )
            database.execute(
                "UPDATE study SET state = 'sending', changed = ?, tries = 0, reason = '', outcome = ? WHERE uid = ?",
                (now, json.dumps(outcome), study.uid),
            )
            close_sent(database, study.uid, now)
        return True

    def failed(self, study: Study, reason: str, now: float) -> None:
        """A study failed, and says why."""
        with self.opened() as database:
            if _is_current(database, study):
                database.execute(
                    "UPDATE study SET state = 'failed', changed = ?, reason = ? WHERE uid = ?", (now, reason, study.uid)
                )

    def put_back(self, study: Study, counts: bool) -> None:
        """A study waits again.

        Args:
            study: It was under way.
            counts: Whether this was a try, of which there are only so many: its program ended by itself.
        """
        with self.opened() as database:
            if _is_current(database, study):
                database.execute(
                    "UPDATE study SET state = 'waiting', tries = tries - ? WHERE uid = ?", (int(not counts), study.uid)
                )

    # what people see and ask for

    def studies(self, most: int = 1000) -> list[Study]:
        """The studies, the last changed first."""
        with self.opened() as database:
            return _studies(database, "ORDER BY changed DESC LIMIT ?", (most,))

    def retry(self, name: str, now: float) -> int:
        """Do studies of this name again that failed or are half sent; those with results are only sent again.

        Returns:
            How many there are.
        """
        with self.opened() as database:
            stopped = "name = ? AND kept = 1 AND state IN ('failed', 'half sent')"
            unsent = "EXISTS (SELECT 1 FROM result WHERE result.study = study.uid AND sent IS NULL)"
            database.execute(
                "UPDATE result SET tries = 0, due = ? WHERE sent IS NULL AND study IN "
                f"(SELECT uid FROM study WHERE {stopped})",
                (now, name),
            )
            database.execute(f"DELETE FROM sending WHERE study IN (SELECT uid FROM study WHERE {stopped})", (name,))
            done = database.execute(
                f"UPDATE study SET tries = 0, reason = '', changed = ?, "
                f"state = CASE WHEN {unsent} THEN 'sending' ELSE 'waiting' END WHERE {stopped}",
                (now, name),
            )
            return done.rowcount

    def outdated(self, before: float) -> list[Study]:
        """Studies whose files are no longer wanted: done, failed or half sent, and not changed since."""
        with self.opened() as database:
            where = "WHERE kept = 1 AND state IN ('done', 'failed', 'half sent') AND changed < ?"
            return _studies(database, where, (before,))

    def removed(self, study: Study) -> None:
        """The files of a study are gone; what became of it stays."""
        with self.opened() as database:
            database.execute("UPDATE study SET kept = 0 WHERE uid = ? AND revision = ?", (study.uid, study.revision))
            database.execute("DELETE FROM instance WHERE study = ?", (study.uid,))
            database.execute("DELETE FROM sending WHERE study = ?", (study.uid,))
            database.execute("DELETE FROM result WHERE study = ? AND sent IS NULL", (study.uid,))


def _studies(database: sqlite3.Connection, rest: str, values: tuple[object, ...]) -> list[Study]:
    rows = database.execute(
        "SELECT study.*, (SELECT count(*) FROM instance WHERE instance.study = study.uid) AS objects, "
        "(SELECT count(*) FROM result WHERE result.study = study.uid AND sent IS NULL) AS unsent "
        f"FROM study {rest}",
        values,
    ).fetchall()
    return [
        Study(
            **{**dict(row), "outcome": json.loads(row["outcome"]), "kept": bool(row["kept"])}
        )  # columns are its fields
        for row in rows
    ]


def _is_current(database: sqlite3.Connection, study: Study) -> bool:
    row = database.execute("SELECT state, revision FROM study WHERE uid = ?", (study.uid,)).fetchone()
    return row is not None and row["state"] == "working" and row["revision"] == study.revision


def close_sent(database: sqlite3.Connection, uid: str, now: float) -> None:
    """A study is done when each of its results is sent."""
    database.execute(
        "UPDATE study SET state = 'done', changed = ?, reason = '' WHERE uid = ? AND state = 'sending' "
        "AND NOT EXISTS (SELECT 1 FROM result WHERE study = ? AND sent IS NULL)",
        (now, uid, uid),
    )
