"""Unpacks archives. Nothing that an archive states about itself is trusted.

The time that it takes grows with the number of bytes and of members, and memory with the number of members, which is
limited.
"""

import errno
import shutil
from collections import Counter
from pathlib import Path

from lacunet.errors import DataError, LacunetError
from lacunet.intake.read.members import Meter, Target
from lacunet.intake.read.untar import untar
from lacunet.intake.read.unzip import unzip

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

_OF_THE_DISK = (errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.ESTALE)
_WORDS = {  # by the names of the libraries' errors
    "BadZipFile": "damaged zip",
    "BadGzipFile": "damaged compression",
    "LZMAError": "damaged compression",
    "error": "damaged compression",
    "EOFError": "it ends too early",
    "InvalidHeaderError": "a damaged header",
    "ReadError": "a damaged header",
    "NotImplementedError": "an unknown compression",
    "MemoryError": "it wants more memory than there is",
}


def unpack(source: Path, folder: Path) -> Counter[str]:
    """Unpack into an empty folder.

    Returns:
        Reason -> number of members that were passed over.

    Raises:
        DataError: the archive cannot be read, is damaged, encrypted, a bomb, or leads out of its folder.
        OutputError: it cannot be written into the folder.
    """
    try:
        meter = Meter(source.stat().st_size, shutil.disk_usage(folder).free)
        unpack_kind = unzip if source.name.lower().endswith(".zip") else untar
        return unpack_kind(source, Target(folder, meter), meter)
    except LacunetError:
        raise
    except Exception as error:  # the libraries raise whatever a hostile byte leads to
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise DataError(
                f"the archive: cannot be read ({error.strerror}); check its permissions and its disk"
            ) from None
        # Only the kind of the error: its text may repeat a name from inside.
        kind = _WORDS.get(type(error).__name__, type(error).__name__)
        raise DataError(
            f"the archive: cannot be unpacked, it is truncated, damaged or no archive ({kind}); copy it again"
        ) from None
