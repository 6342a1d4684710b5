"""Reading DICOM without the words of the libraries that do it: they repeat values of headers, also names."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import pydicom
    from pydicom import config
    from pydicom.errors import InvalidDicomError
except ImportError:  # an extra that may be absent
    pass


@contextmanager
def silently() -> Iterator[None]:
    """Silence the warnings and the logs of pydicom and highdicom, since they may repeat values, also names."""
    logs = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def pixels_of(path: Path) -> bytes:
    """The pixels of a file as they are stored, perhaps compressed; empty where they cannot be read."""
    try:
        with silently(), config.disable_value_validation():
            return bytes(pydicom.dcmread(path, force=True).get("PixelData") or b"")
    except (
        InvalidDicomError,
        AttributeError,
        ValueError,
        LookupError,
        TypeError,
        OSError,
        EOFError,
        NotImplementedError,
    ):
        return b""
