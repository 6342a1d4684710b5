"""An archive for tests: Orthanc, with its DICOMweb plugin, in a folder of its own."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
PLUGINS = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TITLE = "ARCHIVE"


def free_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True)
class Archive:
    """A running Orthanc.

    Attributes:
        port: Of DICOM.
        http: Of its own interface, and of DICOMweb.
        node: The port at which it expects the node `LACUNET`.
    """

    port: int
    http: int
    node: int

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def ask(self, path: str, content: Any = None, raw: bytes | None = None) -> Any:
        body = raw if raw is not None else None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=body)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def add(self, folder: Path) -> str:
        """Put a folder of DICOM files into the archive; its name for the study."""
        names = {self.ask("/instances", raw=path.read_bytes())["ParentStudy"] for path in sorted(folder.glob("*.dcm"))}
        (name,) = names
        return str(name)

    def send(self, study: str) -> None:
        """Let the archive send a study to the node."""
        self.ask("/modalities/node/store", {"Resources": [study], "Synchronous": True})

    def found(self, study: str, modality: str) -> list[str]:
        """The archive's names for the instances of a modality in a study."""
        series = self.ask(f"/studies/{study}/series")
        wanted = [one for one in series if one["MainDicomTags"].get("Modality") == modality]
        return [instance for one in wanted for instance in one["Instances"]]

    def read(self, instance: str, path: Path) -> Path:
        """An instance as a file."""
        url = f"http://127.0.0.1:{self.http}/instances/{instance}/file"
        with urllib.request.urlopen(url, timeout=60) as answer:
            path.write_bytes(answer.read())
        return path

    def wait_for(self, study: str, modality: str, count: int = 1, seconds: float = 240) -> list[str]:
        """The instances of a modality, once there are so many."""
        end = time.monotonic() + seconds
        while len(found := self.found(study, modality)) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} {modality} after {seconds} s"
            time.sleep(0.2)
        return found


@contextmanager
def running(folder: Path) -> Iterator[Archive]:
    """An archive for as long as the block lasts."""
    archive = Archive(free_port(), free_port(), free_port())
    settings = {
        "Name": "archive",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGINS)],
        "DicomAet": TITLE,
        "DicomPort": archive.port,
        "HttpPort": archive.http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": {
            "node": {"AET": "LACUNET", "Host": "127.0.0.1", "Port": archive.node, "AllowStore": True, "AllowEcho": True}
        },
        "OverwriteInstances": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings))
    log = (folder / "orthanc.log").open("wb")
    assert ORTHANC is not None
    with subprocess.Popen([ORTHANC, str(path)], stdout=log, stderr=log, env={**os.environ, "LC_ALL": "C"}) as program:
        try:
            _wait_until_it_answers(archive)
            yield archive
        finally:
            program.terminate()
            program.wait(20)
            log.close()


def _wait_until_it_answers(archive: Archive) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            archive.ask("/system")
            return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < end, "Orthanc does not answer"
            time.sleep(0.1)
