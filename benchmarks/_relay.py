"""A line with delay and bandwidth: passes TCP on to a local port, in order, pipelined, without loss.

A process of its own, so that it shares no interpreter with what is measured. Prints its port, and lives until its
standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

PIECE = 8 * 1024
HELD = 512
"""Pieces under way at once in one direction, at most: more than the line itself can hold."""


@contextmanager
def relay(port: int, *, delay_ms: float, mbit: float) -> Iterator[int]:
    """A line to a local port, in a process of its own; gives the port to connect to instead."""
    command = [sys.executable, __file__, "--to", str(port), "--delay-ms", str(delay_ms), "--mbit", str(mbit)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.kill()


async def _pass_on(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float, bytes_per_s: float
) -> None:
    """One direction: a piece arrives when the line was free for it, has taken its bytes, and the delay has passed."""
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD)
    delivering = asyncio.create_task(_deliver(pieces, sink))
    free_at = 0.0
    try:
        with contextlib.suppress(ConnectionError):  # reset by its peer: the other direction ends with the same
            while piece := await source.read(PIECE):
                free_at = max(free_at, time.monotonic()) + len(piece) / bytes_per_s
                await pieces.put((free_at + delay_s, piece))
    finally:
        await pieces.put((free_at + delay_s, b""))
        await delivering


async def _deliver(pieces: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
    try:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - time.monotonic())
            if not piece:
                return
            sink.write(piece)
            await sink.drain()
    except OSError:
        return
    finally:
        sink.close()


async def _serve(to: int, delay_s: float, bytes_per_s: float) -> None:
    async def line(near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far, far_out = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(
            _pass_on(near, far_out, delay_s, bytes_per_s), _pass_on(far, near_out, delay_s, bytes_per_s)
        )

    server = await asyncio.start_server(line, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=int, required=True, metavar="PORT")
    parser.add_argument("--delay-ms", type=float, required=True, help="each way")
    parser.add_argument("--mbit", type=float, required=True, help="Mbit/s, each way")
    args = parser.parse_args()
    asyncio.run(_serve(args.to, args.delay_ms / 1000, args.mbit * 1e6 / 8))


if __name__ == "__main__":
    main()
