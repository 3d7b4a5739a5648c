"""Opens WebSockets on /chat/ws and lets them idle: whether all stay open, and what memory each takes.

Usage: python3 sockets.py 127.0.0.1 8080 COUNT PID [SECONDS]; the server runs with --insecure-dev.
"""

import asyncio
import sys

HELLO = (
    "GET /chat/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0]) / 1024


async def connect(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(HELLO.format(host=host, port=port).encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in answer.split(b"\r\n")[0], answer
    frame = await reader.readexactly(2)
    said = await reader.readexactly(frame[1])
    assert b"ready" in said, said
    return reader, writer


async def main(host, port, count, pid, seconds):
    before = resident(pid)
    lines = []
    while len(lines) < count:
        some = min(100, count - len(lines))
        lines += await asyncio.gather(*(connect(host, port) for _ in range(some)))
    opened = resident(pid)
    await asyncio.sleep(seconds)
    closed = sum(reader.at_eof() for reader, _ in lines)
    idle = resident(pid)
    each = (idle - before) * 1024 / count
    print(f"{count} sockets: {before:.0f} MB before, {opened:.0f} MB opened, {idle:.0f} MB after {seconds:.0f} s, {each:.1f} KiB each, {closed} closed")
    for _, writer in lines:
        writer.close()


if __name__ == "__main__":
    host, port, count, pid, *seconds = sys.argv[1:]
    asyncio.run(main(host, int(port), int(count), pid, float(seconds[0]) if seconds else 40.0))
