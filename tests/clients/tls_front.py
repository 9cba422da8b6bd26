"""A TLS-terminating proxy before the gateway, as a reverse proxy would be in front of it.

PagerDuty's own Python client refuses addresses that are not `https://`.
"""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from urllib.parse import urlsplit

import trustme


class TlsFront:
    def __init__(self, upstream_url: str, directory: Path):
        upstream = urlsplit(upstream_url)
        self._upstream = (upstream.hostname, upstream.port)
        authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def client_context(self) -> ssl.SSLContext:
        """What a client needs to trust this front."""
        return ssl.create_default_context(cafile=self.ca_file)

    def close(self) -> None:
        # Wakes the thread that waits in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as client, socket.create_connection(self._upstream) as gateway:
                back = threading.Thread(target=copy, args=(gateway, client), daemon=True)
                back.start()
                copy(client, gateway)
                back.join()
        except OSError:
            return  # A client that went away, or did not trust us, is the client's business.


def copy(source: socket.socket, target: socket.socket) -> None:
    """Copies until the end of `source`, then ends `target` too."""
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
