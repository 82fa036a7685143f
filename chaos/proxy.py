"""A TCP proxy that can refuse connections, or accept them and stay silent, for a while."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Literal

Mode = Literal["open", "refusing", "silent"]

_BLOCK_BYTES = 65536


class Proxy:
    """Forwards connections on a free local port to a server. Runs in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        """Listen on a free port and forward connections to `host` and `port`."""
        self._target = (host, port)
        self._mode: Mode = "open"
        self._writers = set[asyncio.StreamWriter]()
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._opened = asyncio.Event()
        self._opened.set()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close all connections and stop the thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(timeout=10)

    @contextlib.contextmanager
    def interrupted(self, mode: Mode) -> Iterator[None]:
        """Interrupt the network during a `with` block.

        `refusing` closes all connections and refuses new ones. `silent` forwards nothing, so that clients wait.
        """
        self._loop.call_soon_threadsafe(self._switch, mode)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._switch, "open")

    def _switch(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "silent":
            self._opened.clear()
        else:
            self._opened.set()
        if mode == "refusing":
            self._drop_connections()

    def _drop_connections(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._forward, sock=self._listener)
        async with server:
            await self._stopped.wait()
            self._opened.set()
            self._drop_connections()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._mode == "refusing":
                return
            to_server, from_server = await asyncio.open_connection(*self._target)
            self._writers.add(from_server)
            try:
                await asyncio.gather(self._copy(reader, from_server), self._copy(to_server, writer))
            finally:
                self._writers.discard(from_server)
                from_server.close()
        except OSError:
            pass  # either side may close its connection at any time
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_BLOCK_BYTES):
            await self._opened.wait()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
