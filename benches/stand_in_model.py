#!/usr/bin/env python3
"""A model behind an OpenAI-compatible interface that says four words, 60 ms to the first and 15 ms between them.

usage: stand_in_model.py PORT
For measuring what stands in front of a model; see faults.sh."""
import asyncio
import json
import sys

WORDS = ["one ", "two ", "three ", "four"]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(data):
    text = data if isinstance(data, str) else json.dumps(data)
    body = f"data: {text}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(body), body)


def choice(delta, reason=None):
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


async def answer(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.split(b":")[1]))
    writer.write(HEAD)
    await asyncio.sleep(0.045)
    for word in WORDS:
        await asyncio.sleep(0.015)
        writer.write(choice({"content": word}))
        await writer.drain()
    writer.write(choice({}, "stop") + event("[DONE]") + b"0\r\n\r\n")
    await writer.drain()


async def serve(reader, writer):
    try:
        while True:
            await answer(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
