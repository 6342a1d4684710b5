"""Serves the status page, and nothing else."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lacunet.errors import LacunetError, OutputError, unforeseen
from lacunet.node.queue import Queue
from lacunet.node.receive import Log
from lacunet.node.settings import NodeSettings
from lacunet.node.status import status_of, status_page

_SECONDS = 10.0
_REFRESH = "30"


@contextmanager
def serving(settings: NodeSettings, queue: Queue, log: Log) -> Iterator[int]:
    """Serve the page, for as long as the block lasts.

    Args:
        settings: Where, and what the page says of the node.
        queue: What the page shows.
        log: Takes lines; may be called from any thread.

    Yields:
        The port.

    Raises:
        OutputError: the port is in use.
    """

    class Server(ThreadingHTTPServer):
        """Logs an error of an answer in one line; a reader that went away is none."""

        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            error = sys.exception()
            if isinstance(error, Exception) and not isinstance(error, ConnectionError | TimeoutError):
                log(f"the status page: {unforeseen(error)}")

    page = settings.page
    try:
        server = Server((page.address, page.port), _answers(settings, queue))
    except OSError as error:
        raise OutputError(
            f"page.port = {page.port}: the page cannot be served there ({error.strerror or error}); choose another port"
        ) from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def _answers(settings: NodeSettings, queue: Queue) -> type[BaseHTTPRequestHandler]:
    """What a server does with each request."""

    class Handler(BaseHTTPRequestHandler):
        """Answers `GET /`."""

        timeout = _SECONDS
        server_version, sys_version = "lacunet", ""

        def do_GET(self) -> None:
            """The page."""
            if self.path != "/":
                self.send_error(404)
                return
            try:
                body = status_page(status_of(queue), settings).encode()
            except LacunetError as error:
                self.send_error(503, explain=str(error))
                return
            self.send_response(200)
            for name, value in (
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("Refresh", _REFRESH),
                ("X-Content-Type-Options", "nosniff"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    return Handler
