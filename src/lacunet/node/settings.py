"""What a node does, in one TOML file, checked before anything starts."""

import re
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lacunet.errors import UsageError, nearest
from lacunet.intake.align.choices import Stripper
from lacunet.reading import parse_toml, read_text
from lacunet.schema import first_problem

LARGEST_FILE = 2**20
"""Bytes of the configuration."""

_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
_URL = re.compile(r"https?://[!-~]+")


def _title(text: str) -> str:
    if not _TITLE.fullmatch(text):
        raise ValueError("an AE title has 1 to 16 letters of ASCII, without a backslash or a blank at its ends")
    return text


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError("expected an IP address or a network, such as 10.0.0.5 or 10.0.0.0/24") from error
    return text


def _url(text: str) -> str:
    with suppress(ValueError):  # of brackets that do not match, and of a port that is none
        parts = urlsplit(text)
        if _URL.fullmatch(text) and parts.hostname and parts.port != 0:
            return text.rstrip("/")
    raise ValueError("expected an address that begins with http:// or https://, such as https://archive:8443/dicom-web")


Title = Annotated[str, AfterValidator(_title)]
Network = Annotated[str, AfterValidator(_network)]
Url = Annotated[str, AfterValidator(_url)]
Port = Annotated[int, Field(ge=0, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sender(_Section):
    """Who may send studies: an AE title, from these addresses only.

    Attributes:
        title: Its AE title.
        addresses: IP addresses or networks.
    """

    title: Title
    addresses: tuple[Network, ...] = Field(min_length=1)


class Receive(_Section):
    """Studies that are sent by C-STORE.

    Attributes:
        title: The node's own AE title.
        address: Where it listens.
        port: TCP port; 0 listens nowhere.
        complete: When a study is complete: after `quiet_seconds` without a new object, if its sender did not break off
            (`quiet`), or as soon as the association that sent it is released (`association`).
        quiet_seconds: See `complete`.
        half_sent_minutes: A study whose association broke off is kept for so long; then it is called half sent.
        largest_object_mib: Of one DICOM object.
        largest_study_mib: Of all objects of a study.
        most_objects: Of a study.
        least_free_mib: Nothing is accepted when the disk has less room than this.
        most_associations: At a time.
        senders: Written `[[receive.senders]]`; see `Sender`.
    """

    title: Title = "LACUNET"
    address: str = "127.0.0.1"
    port: Port = 11112
    complete: Literal["quiet", "association"] = "quiet"
    quiet_seconds: float = Field(60.0, ge=0, le=86400)
    half_sent_minutes: float = Field(30.0, ge=0, le=10080)
    largest_object_mib: int = Field(512, ge=1, le=1024)
    largest_study_mib: int = Field(4096, ge=1)
    most_objects: int = Field(20000, ge=1)
    least_free_mib: int = Field(2048, ge=0)
    most_associations: int = Field(4, ge=1, le=100)
    senders: tuple[Sender, ...] = ()

    def networks_of(self, title: str) -> list[IPv4Network | IPv6Network]:
        """From where an AE title may send; nothing for an unknown one."""
        return [ip_network(one) for sender in self.senders if sender.title == title for one in sender.addresses]

    def knows_address(self, address: str) -> bool:
        """Whether any sender may send from this address."""
        return any(_is_in(address, ip_network(one)) for sender in self.senders for one in sender.addresses)

    def knows(self, title: str, address: str) -> bool:
        """Whether this AE title may send from this address."""
        return any(_is_in(address, network) for network in self.networks_of(title))


class Web(_Section):
    """An archive's DICOMweb.

    Attributes:
        url: Its root: `https://archive/dicom-web`.
        user: For HTTP's basic authentication.
        password_file: A file that holds the password alone.
        authority_file: Certificates to trust, as PEM; else the system's.
        timeout_seconds: Of a request.
    """

    url: Url
    user: str = ""
    password_file: Path | None = None
    authority_file: Path | None = None
    timeout_seconds: float = Field(60.0, gt=0, le=3600)


class Fetch(_Section):
    """Studies that the node takes from an archive by DICOMweb.

    Attributes:
        archive: Written `[fetch.archive]`; see `Web`.
        every_seconds: Between two looks at the archive. A study is complete when its number of MR images is the same as
            `receive.quiet_seconds` before.
        days: Only studies of the last so many days, by StudyDate.
        most_studies: At a look.
        query: Further keys of QIDO: `{ InstitutionName = "..." }`.
    """

    archive: Web
    every_seconds: float = Field(60.0, gt=0, le=86400)
    days: int = Field(1, ge=0, le=36500)
    most_studies: int = Field(1000, ge=1, le=10000)
    query: dict[str, str] = {}


class Peer(_Section):
    """A DICOM node that takes objects by C-STORE.

    Attributes:
        title: Its AE title.
        address: Its host.
        port: Its port.
        timeout_seconds: Of a network operation.
    """

    title: Title
    address: str
    port: int = Field(ge=1, le=65535)
    timeout_seconds: float = Field(60.0, gt=0, le=3600)


class Send(_Section):
    """What goes back, and where to.

    Attributes:
        store: Written `[send.store]`: by C-STORE; see `Peer`.
        stow: Written `[send.stow]`: by DICOMweb; see `Web`. One of the two.
        secondary_capture: Also pictures with outlines and volumes burned in, for archives that show no DICOM SEG.
        most_pictures: Of these, for each mask.
        structured_report: Also a report with volumes (TID 1500).
        retry_minutes: From one try to the next.
        tries: After so many, the study counts as failed.
    """

    store: Peer | None = None
    stow: Web | None = None
    secondary_capture: bool = False
    most_pictures: int = Field(40, ge=1, le=500)
    structured_report: bool = False
    retry_minutes: float = Field(5.0, ge=0, le=1440)
    tries: int = Field(288, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> "Send":
        if (self.store is None) == (self.stow is None):
            raise ValueError("needs either [send.store] or [send.stow]")
        return self


class Segment(_Section):
    """How studies are segmented, as by `lacunet segment`.

    Attributes:
        model: A shipped model, or a model folder.
        device: `auto`, `cpu`, `cuda` ...
        stripper: What removes the skull.
        most_minutes: A study that takes longer is stopped, and counts as failed.
        tries: A study that ends the program that works on it is tried so often.
    """

    model: str = "default"
    device: str = "auto"
    stripper: Stripper = "auto"
    most_minutes: float = Field(60.0, gt=0, le=1440)
    tries: int = Field(2, ge=1, le=10)


class Page(_Section):
    """The status page.

    Attributes:
        address: Where it is served. There is no password: keep it on this machine, or behind a proxy that asks for one.
        port: 0: no page.
    """

    address: str = "127.0.0.1"
    port: Port = 8091


class NodeSettings(_Section):
    """A node, complete.

    Attributes:
        folder: The queue, the scans and the results; only the node's user may read it.
        keep_days: Scans and results are removed so long after a study was done, or failed; what became of it is kept.
        receive: See `Receive`.
        fetch: See `Fetch`; without it nothing is fetched.
        segment: See `Segment`.
        send: See `Send`.
        page: See `Page`.
    """

    folder: Path
    keep_days: float = Field(14.0, ge=0, le=36500)
    receive: Receive = Receive()
    fetch: Fetch | None = None
    segment: Segment = Segment()
    send: Send
    page: Page = Page()

    @model_validator(mode="after")
    def _has_a_source(self) -> "NodeSettings":
        if self.fetch is None and not (self.receive.port and self.receive.senders):
            raise ValueError("nobody may send: name who may, under [[receive.senders]], or add [fetch.archive]")
        return self


EXAMPLE = """\
# A node of lacunet. Keep this file, and the folder below, readable for the node's user alone.
folder = "/var/lib/lacunet"      # the queue, the scans and the results: they belong to patients
keep_days = 14                   # scans and results are removed so long after a study was done, or failed

[receive]                        # studies that are sent by C-STORE
title = "LACUNET"
address = "0.0.0.0"
port = 11112
complete = "quiet"               # after a quiet time; or "association": as soon as the association is released
quiet_seconds = 60
half_sent_minutes = 30           # a study whose sender broke off waits so long for the rest
largest_object_mib = 512
largest_study_mib = 4096
least_free_mib = 2048            # with less room on the disk nothing is accepted (status 0xA700)

[[receive.senders]]              # only these may send; repeat the section for each
title = "PACS"
addresses = ["10.0.0.5"]

[segment]
model = "default"
device = "auto"
most_minutes = 60

[send]
secondary_capture = false        # pictures with outlines and volumes burned in, for archives that show no DICOM SEG
structured_report = false        # volumes as a TID 1500 report

[send.store]                     # masks go back by C-STORE; or [send.stow] with url = "https://archive/dicom-web"
title = "PACS"
address = "10.0.0.5"
port = 104

# [fetch]                        # studies that the node takes from an archive by DICOMweb
# every_seconds = 60
# days = 1
# query = { StudyDescription = "*brain*" }
# [fetch.archive]
# url = "https://archive/dicom-web"
# user = "lacunet"
# password_file = "/etc/lacunet/password"

[page]
address = "127.0.0.1"            # http://127.0.0.1:8091 shows what lacunet node status prints
port = 8091
"""
"""What `lacunet node example` prints."""


def read_settings(path: Path) -> NodeSettings:
    """The settings from a file; relative paths in it start at its folder.

    Raises:
        UsageError: it cannot be read, is not TOML, or has an unknown key (the nearest is named) or a value that means
            nothing.
    """
    text = read_text(path, UsageError, "lacunet node example prints one to start with", largest=LARGEST_FILE)
    try:
        fields = parse_toml(text)
    except ValueError as error:
        raise UsageError(f"{path}: not TOML ({error})") from error
    try:
        settings = NodeSettings.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"{path}: {_problem(error)}") from error
    return settings.model_copy(update={"folder": path.absolute().parent / settings.folder})


def _problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    if problem["type"] != "extra_forbidden":
        return first_problem(error).removeprefix("'': ")
    known = _known_keys(problem["loc"][:-1])
    where = ".".join(map(str, problem["loc"]))
    return f"unknown key '{where}'{nearest(str(problem['loc'][-1]), known)}; it has: {', '.join(known)}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the section at a place."""
    model: Any = NodeSettings
    for part in location:
        if isinstance(part, str):
            model = _section(model.model_fields[part].annotation)
    return list(model.model_fields)


def _section(annotation: Any) -> Any:
    """The section inside `Section`, `Section | None` or `tuple[Section, ...]`."""
    parts = [one for one in get_args(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
    return parts[0] if parts else annotation


def _is_in(address: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        one = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(one, "ipv4_mapped", None)  # a socket of both kinds names IPv4 peers as ::ffff:10.0.0.5
    return (mapped or one) in network
