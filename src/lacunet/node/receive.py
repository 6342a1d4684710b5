"""Receives studies by C-STORE, from those who are listed, and acknowledges an object only when it is on the disk."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from socketserver import BaseServer
from typing import TYPE_CHECKING, Any

from lacunet.errors import LacunetError, OutputError, UsageError, unforeseen
from lacunet.node.arrivals import note_cut_off, note_released
from lacunet.node.keep import BadObject, Inbox, NoRoom
from lacunet.node.queue import Queue
from lacunet.node.remembered import remember_refusal

if TYPE_CHECKING:
    from pynetdicom import AE
    from pynetdicom.events import Event
    from pynetdicom.transport import ThreadedAssociationServer

Log = Callable[[str], None]
"""Takes one line, in which no person is named."""

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
NOT_UNDERSTOOD = 0xC000
CANNOT_BE_PROCESSED = 0x0110

_REJECTED = 0x01
_BY_THE_USER = 0x01
_TITLE_NOT_RECOGNISED = 0x03
_IDLE_SECONDS = 60.0
_GREETING_SECONDS = 10.0
_MIB = 2**20


@dataclass(frozen=True)
class Reception:
    """What is known of the associations that are open.

    Attributes:
        inbox: Where objects are kept.
        log: Takes lines.
        run: Told from other runs of the node, so that associations have names of their own.
        numbers: Counts associations.
        names: By association: what it is called in the queue.
        coming: By association: bytes of the object that is on its way.
    """

    inbox: Inbox
    log: Log
    run: str
    numbers: "count[int]" = field(default_factory=count)
    names: dict[int, str] = field(default_factory=dict)
    coming: dict[int, int] = field(default_factory=dict)


@contextmanager
def receiving(inbox: Inbox, log: Log) -> Iterator[int]:
    """Listen, for as long as the block lasts.

    Yields:
        The port.

    Raises:
        OutputError: the port is in use.
        UsageError: `lacunet[node]` is not installed.
    """
    entity, server = _listening(Reception(inbox, log, f"{time.time_ns():x}"))
    threading.Thread(target=server.serve_forever, daemon=True, name="receive").start()
    try:
        yield int(server.server_address[1])
    finally:
        BaseServer.shutdown(server)  # pynetdicom's own fails for a server of another class than its own
        server.server_close()
        for association in entity.active_associations:
            association.abort()


def _listening(reception: Reception) -> "tuple[AE, ThreadedAssociationServer]":
    """What knows the associations that are open, and a server that has its port and answers nobody yet."""
    try:
        from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
        from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
        from pynetdicom.transport import ThreadedAssociationServer
    except ImportError as error:
        raise UsageError("a DICOM node needs more packages: pip install 'lacunet[node]'") from error
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # it may repeat what a header says
    settings = reception.inbox.limits

    class ListedOnly(ThreadedAssociationServer):
        """Closes connections from other addresses before anything is read from them."""

        def verify_request(self, request: Any, client_address: Any) -> bool:
            address = str(client_address[0])
            if settings.knows_address(address):
                return True
            _refused(reception, address, "its address is not listed")
            return False

    entity = AE(settings.title)
    entity.require_called_aet = True
    entity.maximum_associations = settings.most_associations
    entity.network_timeout = settings.quiet_seconds + _IDLE_SECONDS  # an idle sender has not broken off by then
    entity.acse_timeout = _GREETING_SECONDS
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        if context.abstract_syntax is not None:
            entity.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    handlers: list[Any] = [
        (evt.EVT_REQUESTED, _requested, [reception]),
        (evt.EVT_REJECTED, _rejected, [reception]),
        (evt.EVT_PDU_RECV, _counted, [reception]),
        (evt.EVT_C_STORE, _stored, [reception]),
        (evt.EVT_RELEASED, _released, [reception]),
        (evt.EVT_ABORTED, _broken_off, [reception]),
        (evt.EVT_CONN_CLOSE, _broken_off, [reception]),
    ]
    place = (settings.address, settings.port)
    try:
        return entity, entity.make_server(place, evt_handlers=handlers, server_class=ListedOnly)
    except OSError as error:
        raise OutputError(
            f"receive.port = {settings.port}: the node cannot listen there ({error.strerror or error}); "
            "end what uses it, or choose another port"
        ) from error


def _requested(event: "Event", reception: Reception) -> None:
    """Refuse an AE title that may not send from this address."""
    title, address = _title(event), str(event.assoc.requestor.address)
    if not reception.inbox.limits.knows(title, address):
        event.assoc.acse.send_reject(_REJECTED, _BY_THE_USER, _TITLE_NOT_RECOGNISED)
        _refused(reception, address, "its AE title may not send from there")
        event.assoc.kill()


def _title(event: "Event") -> str:
    primitive = event.assoc.requestor.primitive
    return str(primitive.calling_ae_title).strip() if primitive is not None else ""


def _rejected(event: "Event", reception: Reception) -> None:
    _refused(reception, str(event.assoc.requestor.address), "it asked for another AE title, or too many were open")


def _refused(reception: Reception, address: str, reason: str) -> None:
    """What a stranger calls itself may be anything, and is neither logged nor kept."""
    reception.log(f"refused an association from {address}: {reason}")
    try:
        remember_refusal(reception.inbox.queue, address, reason, time.time())
    except Exception as error:
        reception.log(unforeseen(error))


def _counted(event: "Event", reception: Reception) -> None:
    """Break off an association whose object grows beyond what is accepted: it is in memory until it is whole."""
    from pynetdicom.pdu import P_DATA_TF

    if not isinstance(event.pdu, P_DATA_TF):
        return
    size = reception.coming.get(id(event.assoc), 0) + event.pdu.pdu_length
    reception.coming[id(event.assoc)] = size
    if size > (reception.inbox.limits.largest_object_mib + 1) * _MIB:
        reception.log(f"broke off an association from {event.assoc.requestor.address}: an object beyond the limit")
        event.assoc.abort()


def _stored(event: "Event", reception: Reception) -> int:
    reception.coming[id(event.assoc)] = 0
    name = _name_of(event, reception)
    try:
        uid = str(getattr(event.request, "AffectedSOPInstanceUID", None) or "")
        reception.inbox.keep(event.encoded_dataset(), uid, name, time.time())
    except NoRoom as error:
        reception.log(f"refused an object: {error}")
        return OUT_OF_RESOURCES
    except BadObject as error:
        reception.log(f"refused an object: {error}")
        return NOT_UNDERSTOOD
    except LacunetError as error:
        reception.log(f"refused an object: {error}")
        return CANNOT_BE_PROCESSED
    except Exception as error:
        reception.log(f"refused an object: {unforeseen(error)}")
        return CANNOT_BE_PROCESSED
    return SUCCESS


def _name_of(event: "Event", reception: Reception) -> str:
    key = id(event.assoc)
    if key not in reception.names:
        reception.names[key] = f"{reception.run}-{next(reception.numbers)}"
    return reception.names[key]


def _released(event: "Event", reception: Reception) -> None:
    _ended(event, reception, note_released)


def _broken_off(event: "Event", reception: Reception) -> None:
    _ended(event, reception, note_cut_off)


def _ended(event: "Event", reception: Reception, tell: Callable[[Queue, str], None]) -> None:
    """The first event that ends an association counts: its connection is closed after it is released, too."""
    reception.coming.pop(id(event.assoc), None)
    name = reception.names.pop(id(event.assoc), None)
    if name is None:
        return
    try:
        tell(reception.inbox.queue, name)
    except Exception as error:
        reception.log(unforeseen(error))
