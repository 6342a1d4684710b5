"""Output files: each is written whole or not at all."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from lacunet.errors import OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; on success it is renamed to `path`, on failure deleted.

    The temporary name keeps the suffixes (`.nii.gz`), since writers choose their format by them.

    Raises:
        OutputError: `path` cannot be written: no permission, no space, a file where a folder should be.
    """
    temporary = path.with_name(f".{uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        with suppress(OSError):  # the folder itself may not exist
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` to fill; on success it replaces `path`, on failure it is deleted.

    Raises:
        OutputError: `path` cannot be written: no permission, no space, a file where a folder should be.
    """
    token = uuid4().hex[:8]
    temporary, old = path.with_name(f".{token}-{path.name}"), path.with_name(f".{token}-old-{path.name}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.replace(old)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def rounded(value: Any, digits: int) -> Any:
    """JSON with every fraction in it rounded."""
    if isinstance(value, dict):
        return {key: rounded(one, digits) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one, digits) for one in value]
    return round(value, digits) if isinstance(value, float) else value


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole, indented. NaN is refused: a caller that allows it writes None instead."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
