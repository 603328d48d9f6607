"""A TLS terminator in front of a server, as a reverse proxy would be.

AWS's SDKs send other requests over TLS: the payload is not signed and the checksum follows the
data as a trailer, in the aws-chunked encoding. Over plain HTTP they never do that.
"""

import asyncio
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import trustme


class TlsTerminator:
    """Listens with a certificate of its own authority and relays the plain bytes."""

    def __init__(self, host: str, port: int, work: Path):
        self._target = (host, port)
        authority = trustme.CA()
        self.ca_file = work / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self._context)

        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._in_loop(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        )
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def _in_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def close(self):
        """Stops, and drops the connections that clients still keep."""

        async def end():
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._in_loop(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    async def _serve(self, reader, writer):
        with suppress(OSError, asyncio.CancelledError):
            inside_reader, inside_writer = await asyncio.open_connection(*self._target)
            try:
                # Either side's end is the end of both: HTTP clients do not half-close.
                up = asyncio.ensure_future(_relay(reader, inside_writer))
                down = asyncio.ensure_future(_relay(inside_reader, writer))
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
            finally:
                inside_writer.close()
        writer.close()


async def _relay(reader, writer):
    with suppress(OSError):
        while data := await reader.read(256 << 10):
            writer.write(data)
            await writer.drain()
