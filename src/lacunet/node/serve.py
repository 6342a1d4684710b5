"""Serves the status page, and nothing else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lacunet.errors import OutputError
from lacunet.node.queue import Queue
from lacunet.node.settings import NodeSettings
from lacunet.node.status import status_of, status_page

_SECONDS = 10.0
_REFRESH = "30"


@contextmanager
def serving(settings: NodeSettings, queue: Queue) -> Iterator[int]:
    """Serve the page, for as long as the block lasts.

    Yields:
        The port.

    Raises:
        OutputError: the port is in use.
    """

    class Handler(BaseHTTPRequestHandler):
        """Answers `GET /`."""

        timeout = _SECONDS
        server_version, sys_version = "lacunet", ""

        def do_GET(self) -> None:
            """The page."""
            if self.path != "/":
                self.send_error(404)
                return
            body = status_page(status_of(queue), settings).encode()
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

    page = settings.page
    try:
        server = ThreadingHTTPServer((page.address, page.port), Handler)
    except OSError as error:
        raise OutputError(
            f"page.port = {page.port}: the page cannot be served there ({error.strerror or error}); choose another port"
        ) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
