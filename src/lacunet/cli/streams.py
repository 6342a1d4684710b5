"""Standard output and standard error that never end the work: a closed pipe, a full disk, letters that they lack."""

import errno
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any


class _Lasting(io.RawIOBase):
    """Bytes go to the stream below; where that fails, they are lost, and the reason is remembered.

    Attributes:
        failed: The first reason.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self.failed: Exception | None = None
        self._stream = stream  # it would close what is below it if it were gone
        self._below: Any = getattr(stream.buffer, "raw", stream.buffer)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        with suppress(ValueError):  # closed, at the end of the program
            return bool(self._below.isatty())
        return False

    def fileno(self) -> int:
        return int(self._below.fileno())

    def write(self, content: Any) -> int:
        try:
            while (written := self._below.write(content)) is None:  # a terminal that takes no more at the moment
                time.sleep(0.01)
            self._below.flush()
        except (OSError, ValueError) as error:  # a stream that was closed is a ValueError
            self.failed = self.failed or error
            return len(content)
        return int(written)


@contextmanager
def lasting_streams() -> Iterator[_Lasting | None]:
    """Within the block neither standard stream raises an error; letters that its encoding lacks become `\\u0141`.

    Yields:
        What is below standard output, which knows whether something was lost.
    """
    before = sys.stdout, sys.stderr
    with ExitStack() as opened:
        out, sys.stdout = _lasting(sys.stdout, opened)
        _, sys.stderr = _lasting(sys.stderr, opened)
        try:
            yield out
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            sys.stdout, sys.stderr = before


def what_was_lost(stream: _Lasting | None) -> str:
    """Why a stream did not take all that was printed; "" where it did, or where its reader had read enough."""
    error = stream.failed if stream is not None else None
    if error is None or (isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.ESHUTDOWN)):
        return ""
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _lasting(stream: Any, opened: ExitStack) -> tuple[_Lasting | None, Any]:
    """A stream that writes to this one; this one itself where it is of another kind, as in a notebook.

    A program that was started without the stream gets one that writes nowhere: the system would give its number to the
    next file that is opened, and a library that prints would print into that.
    """
    if stream is None:
        stream = opened.enter_context(Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    if not isinstance(stream, io.TextIOWrapper):
        return None, stream
    stream.flush()
    raw = _Lasting(stream)
    text = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
    )
    return raw, text
