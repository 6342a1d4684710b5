"""An archive's DICOMweb: studies are found (QIDO), taken (WADO) and put back (STOW).

Four requests of HTTP, over the standard library. A client from outside would read an answer whole before its size can
be judged; here objects come one by one, each within the limit.
"""

import base64
import http.client
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

from lacunet.errors import OutputError
from lacunet.node.settings import Web
from lacunet.reading import parse_json

MOST_JSON = 2**24
"""Bytes of an answer in JSON."""

_CHUNK = 2**16
_MOST_HEADERS = 2**14
_UID = re.compile(r"[0-9.]{1,64}")
_JSON = "application/dicom+json"
_STUDY, _SERIES, _IMAGES, _FAILED, _WHY = "0020000D", "0020000E", "00201209", "00081198", "00081197"
_BAD_ANSWER = "the archive's answer is not what DICOMweb says"


@dataclass(frozen=True)
class SeriesFound:
    """A series of MR images in an archive.

    Attributes:
        uid: SeriesInstanceUID.
        images: How many it has; 0 where the archive does not say.
    """

    uid: str
    images: int


def find_studies(web: Web, keys: Mapping[str, str], most: int) -> list[str]:
    """StudyInstanceUIDs of studies with MR images.

    Args:
        web: The archive.
        keys: Of QIDO.
        most: So many at most.

    Raises:
        OutputError: the archive does not answer, or not as DICOMweb says.
    """
    query = urlencode({"ModalitiesInStudy": "MR", "limit": str(most), **keys})
    found = [_text(item, _STUDY) for item in _items(_json(web, f"/studies?{query}"))]
    return [uid for uid in found if _UID.fullmatch(uid)][:most]


def find_series(web: Web, study: str) -> list[SeriesFound]:
    """The MR series of a study; see `find_studies` for the errors."""
    found = _items(_json(web, f"/studies/{quote(study)}/series?Modality=MR&includefield={_IMAGES}"))
    series = [SeriesFound(_text(item, _SERIES), _number(item, _IMAGES)) for item in found]
    return [one for one in series if _UID.fullmatch(one.uid)]


def objects_of(web: Web, study: str, series: str, most: int) -> Iterator[bytes]:
    """The objects of a series as files, one by one.

    Args:
        web: The archive.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        most: Bytes of an object.

    Raises:
        OutputError: as `find_studies`; or an object is too large.
    """
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    with _asked(web, "GET", f"/studies/{quote(study)}/series/{quote(series)}", {"Accept": accept}) as answer:
        boundary = re.search(r'boundary="?([^";,\s]{1,200})"?', answer.headers.get("Content-Type", ""))
        if answer.status != http.client.OK or boundary is None:
            raise _refused(answer.status)
        yield from parts_of(answer, boundary[1].encode("latin-1", "replace"), most)


def parts_of(stream: BufferedIOBase, boundary: bytes, most: int) -> Iterator[bytes]:
    """The parts of a multipart message, one by one.

    Args:
        stream: Its body.
        boundary: What separates the parts, without dashes.
        most: Bytes of a part.

    Raises:
        OutputError: a part is too large, or the message breaks off.
    """
    held = bytearray(b"\r\n")  # the first boundary has none before it
    mark = b"\r\n--" + boundary
    _until(held, stream, mark, _MOST_HEADERS)
    while True:
        while len(held) < 2:
            _more(held, stream)
        if held.startswith(b"--"):
            return
        _until(held, stream, b"\r\n\r\n", _MOST_HEADERS)
        yield _until(held, stream, mark, most)


def stow(web: Web, path: Path) -> None:
    """Put a file into the archive.

    Raises:
        OutputError: the file is gone, or the archive does not answer or refuses it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OutputError(f"the object cannot be read ({error.strerror}); do the study again") from error
    boundary = uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = head + content + f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": _JSON,
    }
    with _asked(web, "POST", "/studies", headers, body) as answer:
        if answer.status not in (http.client.OK, http.client.ACCEPTED):
            raise _refused(answer.status)
        said = _parsed(answer)
        if isinstance(said, dict) and (failed := _value(said, _FAILED)) is not None:
            reason = _number(failed, _WHY)
            raise OutputError(f"the archive refused the object with reason 0x{reason:04X}; see its log")


def _json(web: Web, path: str) -> Any:
    with _asked(web, "GET", path, {"Accept": _JSON}) as answer:
        if answer.status == http.client.NO_CONTENT:
            return []
        if answer.status != http.client.OK:
            raise _refused(answer.status)
        return _parsed(answer)


def _parsed(answer: http.client.HTTPResponse) -> Any:
    content = answer.read(MOST_JSON + 1)
    if len(content) > MOST_JSON:
        raise OutputError(f"the archive's answer has more than {MOST_JSON // 2**20} MiB; narrow fetch.query")
    try:
        return parse_json(content.decode())
    except ValueError as error:
        raise OutputError(f"{_BAD_ANSWER}: it is not JSON; check the url") from error


@contextmanager
def _asked(
    web: Web, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> Iterator[http.client.HTTPResponse]:
    """A request and its answer. Redirections are not followed: they would take the password elsewhere."""
    parts = urlsplit(web.url)
    connection: http.client.HTTPConnection
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=web.authority_file)
            connection = http.client.HTTPSConnection(parts.netloc, timeout=web.timeout_seconds, context=context)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=web.timeout_seconds)
    except (OSError, ValueError, http.client.InvalidURL) as error:
        raise OutputError(f"the archive cannot be asked ({type(error).__name__}); check its url") from error
    try:
        connection.request(method, parts.path + path, body, {**headers, **_password(web)})
        with connection.getresponse() as answer:
            yield answer
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise OutputError(f"the archive does not answer ({reason}); check its url, and whether it runs") from error
    finally:
        connection.close()


def _password(web: Web) -> dict[str, str]:
    if not web.user:
        return {}
    try:
        password = web.password_file.read_text("utf-8").strip() if web.password_file else ""
    except (OSError, ValueError) as error:
        reason = type(error).__name__
        raise OutputError(f"{web.password_file}: cannot be read ({reason}); check its permissions") from error
    pair = base64.b64encode(f"{web.user}:{password}".encode()).decode("ascii")
    return {"Authorization": f"Basic {pair}"}


def _refused(status: int) -> OutputError:
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        return OutputError("the archive asks for another user or password (HTTP 401 or 403); check user, password_file")
    return OutputError(f"the archive answers with HTTP status {status}; check its url, and its log")


def _items(said: Any) -> list[dict[str, Any]]:
    if not isinstance(said, list) or not all(isinstance(item, dict) for item in said):
        raise OutputError(f"{_BAD_ANSWER}: it is no list; check the url")
    return said


def _value(item: dict[str, Any], tag: str) -> Any:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _text(item: dict[str, Any], tag: str) -> str:
    return str(_value(item, tag) or "")


def _number(item: Any, tag: str) -> int:
    try:
        return int(_value(item, tag) or 0)
    except (AttributeError, TypeError, ValueError):
        return 0


def _until(held: bytearray, stream: BufferedIOBase, mark: bytes, most: int) -> bytes:
    """What comes before a mark; it and the mark are gone from what is held."""
    start = 0
    while (at := held.find(mark, start)) < 0:
        if len(held) > most + len(mark):
            raise OutputError(f"the archive sends an object of more than {most // 2**20} MiB; it is left out")
        start = max(0, len(held) - len(mark) + 1)
        _more(held, stream)
    found = bytes(held[:at])
    del held[: at + len(mark)]
    return found


def _more(held: bytearray, stream: BufferedIOBase) -> None:
    chunk = stream.read(_CHUNK)
    if not chunk:
        raise OutputError("the archive broke off in the middle of an answer; it is asked again later")
    held += chunk
