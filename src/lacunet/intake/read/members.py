"""What comes out of an archive: counted while it comes out, and written under names that are safe on any system.

Only regular files are made. Links and devices are not, so that there is nothing left for `tarfile.data_filter` to do.
"""

import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lacunet.errors import DataError, OutputError

MOST_FILES = 200_000
"""More files than this are refused: no examination has so many."""

MOST_BYTES = 32 * 2**30
"""An archive that grows larger than this is refused."""

MOST_GROWTH = 100
"""Compression makes scans 3 to 10 times smaller. An archive that grows more than this many times, and past
`ALWAYS_ALLOWED`, is a bomb."""

ALWAYS_ALLOWED = 64 * 2**20
"""Bytes that an archive of any size may grow to."""

DEEPEST = 64
"""Folders inside each other, at most."""

SPARE_BYTES = 2**28
"""Bytes of the disk that stay free."""

CHUNK = 2**20
"""Bytes that are unpacked at a time."""

LONGEST_NAME = 200
"""Bytes of the name of a file or folder; a longer one is cut."""

LONGEST_PATH = 1000
"""Letters of all folders of a path and its name; systems take 4096 bytes, with the folder that it lies in."""

LINKS = "links inside the archive"
NAMELESS = "files without a name in the archive"
DEVICE = "the archive: holds a device or a pipe, not only files; it was refused"


@dataclass
class Meter:
    """Counts what an archive really unpacks to, and stops it at the limits."""

    archive_bytes: int
    free_bytes: int
    files: int = 0
    bytes: int = 0

    def count_files(self, number: int = 1) -> None:
        """Count members, and folders that are made for them.

        Raises:
            DataError: there are too many.
        """
        self.files += number
        if self.files > MOST_FILES:
            raise DataError(
                f"the archive: holds more than {MOST_FILES} files and folders; give the archive of one examination"
            )

    def count_bytes(self, size: int) -> None:
        """Count bytes that came out.

        Raises:
            DataError: there are too many, or there is no room for them.
        """
        self.bytes += size
        if self.bytes > MOST_BYTES:
            raise DataError(f"the archive: unpacks to more than {MOST_BYTES // 2**30} GiB; give one examination")
        if self.bytes > max(ALWAYS_ALLOWED, MOST_GROWTH * self.archive_bytes):
            raise DataError(
                f"the archive: unpacks to more than {MOST_GROWTH} times its size; it looks like a "
                "zip bomb and was refused"
            )
        if self.bytes > self.free_bytes - SPARE_BYTES:
            raise DataError(
                "the archive: there is too little free space to unpack it; make room, or unpack it yourself"
            )


@dataclass
class Target:
    """The folder that an archive is unpacked into. Every member gets a path of its own there, in a time that does not
    depend on how many there are."""

    folder: Path
    meter: Meter
    _folders: dict[str, Path] = field(init=False, default_factory=dict)
    _taken: set[str] = field(init=False, default_factory=set)
    _numbers: Counter[str] = field(init=False, default_factory=Counter)

    def write(self, read: Callable[[int], bytes], parts: tuple[str, ...]) -> int:
        """Write a member; a second one of the same name is numbered.

        Args:
            read: Gives the next bytes, at most so many; b"" at the end. It counts them.
            parts: Folders and name, as `parts_of` gives them.

        Returns:
            The number of bytes.

        Raises:
            OutputError: it cannot be written.
        """
        with _writing():
            file = self._free(self._made(parts[:-1]), parts[-1]).open("xb")
        size = 0
        with file:
            while chunk := read(CHUNK):
                size += len(chunk)
                with _writing():
                    file.write(chunk)
            with _writing():
                file.flush()
        return size

    def _made(self, parts: tuple[str, ...]) -> Path:
        folder, key = self.folder, ""
        for part in parts:
            key = f"{key}/{_folded(part)}"
            if key not in self._folders:
                self.meter.count_files()
                self._folders[key] = self._free(folder, part)
                self._folders[key].mkdir()
            folder = self._folders[key]
        return folder

    def _free(self, folder: Path, name: str) -> Path:
        """A path that is not taken yet, not even by a name that differs in capitals. Names that are asked for again go
        on counting where they were."""
        path = folder / name
        first = _folded(str(path))
        while (key := _folded(str(path))) in self._taken:
            self._numbers[first] += 1
            path = folder / f"{self._numbers[first] + 1}-{name}"
        self._taken.add(key)
        return path


def _folded(text: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", text).casefold()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the folder for temporary files: the archive cannot be unpacked there ({error.strerror or error}); make "
            "room, or set TMPDIR to another folder"
        ) from None


def parts_of(name: str) -> tuple[str, ...]:
    """The folders and the name of a member, safe to put below a folder; empty where it has none.

    Raises:
        DataError: the name is absolute, climbs out with "..", or is absurdly deep or long.
    """
    name = name.replace("\\", "/")
    if name.startswith("/") or name[1:3] == ":/":
        raise DataError(
            "the archive: holds an absolute path, which would be written outside its folder; it was refused"
        )
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise DataError("the archive: holds a path with '..', which leads out of its folder; it was refused")
    if len(parts) > DEEPEST:
        raise DataError(f"the archive: holds folders more than {DEEPEST} deep; it was refused")
    plain = tuple(_plain(part) for part in parts)
    if sum(map(len, plain)) > LONGEST_PATH:
        raise DataError(f"the archive: holds a path of more than {LONGEST_PATH} letters; it was refused")
    return plain


def _plain(part: str) -> str:
    """A name that every file system accepts; a long one keeps its end, where the suffix is."""
    cleaned = "".join(letter if letter.isprintable() and letter not in '<>:"|?*' else "_" for letter in part)
    system = sys.getfilesystemencoding()
    encoded = cleaned.encode(system, "xmlcharrefreplace")[-LONGEST_NAME:]
    return encoded.decode(system, "ignore").strip(" ") or "_"


def refuse_link_out(start: tuple[str, ...], target: str) -> None:
    """Links in archives are passed over. One that leads out of the folder looks like an attack and is refused.

    Args:
        start: The folders that the link lies in.
        target: Where it leads to.

    Raises:
        DataError: it leads out.
    """
    target = target.replace("\\", "/")
    depth = len(start)
    out = target.startswith("/") or target[1:3] == ":/"
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        out = out or depth < 0
    if out:
        raise DataError("the archive: holds a link that leads out of its folder; it was refused")
