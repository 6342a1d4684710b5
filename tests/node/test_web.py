"""DICOMweb: answers are read piece by piece, within limits, and what an archive says wrong is said."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lacunet.errors import OutputError
from lacunet.node.settings import Web
from lacunet.node.web import find_series, find_studies, parts_of, stow


class Trickle(io.BytesIO):
    """Gives seven bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(7)


def multipart(*parts: bytes, start: bytes = b"") -> bytes:
    head = b"Content-Type: application/dicom\r\n\r\n"
    return start + b"".join(b"--edge\r\n" + head + part + b"\r\n" for part in parts) + b"--edge--\r\n"


@pytest.mark.parametrize("start", [b"", b"to be ignored\r\n"])
def test_parts_come_one_by_one(start: bytes) -> None:
    parts = (b"DICM" * 100, b"", b"--edg\r\n--edg", bytes(range(256)))
    assert list(parts_of(Trickle(multipart(*parts, start=start)), b"edge", 10_000)) == list(parts)


@pytest.mark.parametrize(
    ("message", "most", "words"),
    [
        (multipart(b"x" * 2**21), 2**20, "an object of more than 1 MiB"),
        (multipart(b"x" * 100)[:-60], 2**20, "broke off in the middle"),
        (b"", 2**20, "broke off in the middle"),
        (b"--edge\r\n" + b"h" * 2**18, 2**20, "the archive sends"),
    ],
)
def test_what_is_too_large_or_breaks_off_is_refused(message: bytes, most: int, words: str) -> None:
    with pytest.raises(OutputError, match=words):
        list(parts_of(io.BytesIO(message), b"edge", most))


@contextmanager
def answering(status: int, body: bytes, seen: list[tuple[str, str]]) -> Iterator[Web]:
    """A server that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization", "")))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Web(url=f"http://127.0.0.1:{server.server_port}/dicom-web/", timeout_seconds=10)
        finally:
            server.shutdown()
            thread.join()


def test_studies_are_found_by_their_uids_alone(tmp_path: Path) -> None:
    said = [{"0020000D": {"Value": [uid]}} for uid in ("1.2.3", "../../etc", "1.2.4")] + [{}]
    (tmp_path / "password").write_text("secret\n")
    with answering(200, json.dumps(said).encode(), seen := []) as web:
        web = web.model_copy(update={"user": "anna", "password_file": tmp_path / "password"})
        assert find_studies(web, {"StudyDate": "20210101-"}, 10) == ["1.2.3", "1.2.4"]
    assert seen == [("/dicom-web/studies?ModalitiesInStudy=MR&limit=10&StudyDate=20210101-", "Basic YW5uYTpzZWNyZXQ=")]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"", "asks for another user or password"),
        (302, b"", "HTTP status 302"),
        (500, b"Mustermann", "^the archive answers with HTTP status 500; check its url, and its log$"),
        (200, b"<html>Mustermann</html>", "^the archive's answer is not what DICOMweb says: it is not JSON"),
        (200, b'{"a": 1}', "it is no list"),
    ],
)
def test_an_archive_that_answers_otherwise_is_told_without_its_words(status, body, words) -> None:
    with answering(status, body, []) as web, pytest.raises(OutputError, match=words) as error:
        find_series(web, "1.2.3")
    assert "Mustermann" not in str(error.value)


def test_an_archive_that_does_not_run_is_told() -> None:
    with pytest.raises(OutputError, match=r"does not answer \(Connection refused\)"):
        find_series(Web(url="http://127.0.0.1:1"), "1.2.3")


def test_an_object_that_is_refused_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"DICM")
    said = {"00081198": {"Value": [{"00081197": {"Value": [0xA700]}}]}}
    with answering(200, json.dumps(said).encode(), []) as web, pytest.raises(OutputError, match="reason 0xA700"):
        stow(web, tmp_path / "a.dcm")
    for body in (b"{}", b"[]", b'{"00081198": []}', b'{"00081198": {"Value": {}}}'):
        with answering(200, body, []) as web:
            stow(web, tmp_path / "a.dcm")
