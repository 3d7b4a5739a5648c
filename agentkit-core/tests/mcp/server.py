"""A server made with the official Python SDK, for the tests of the client."""

import sys

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("python")
counts = {"cancelled": 0}


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def fail() -> str:
    """Fails."""
    raise ToolError("no luck today")


@server.tool()
def large() -> str:
    """Gives a lot."""
    return "x" * 1_000_000


@server.tool()
async def wait() -> str:
    """Waits for ever."""
    try:
        await anyio.sleep_forever()
    finally:
        counts["cancelled"] += 1
    return "never"


@server.tool()
def cancelled() -> int:
    """Counts the calls that were cancelled."""
    return counts["cancelled"]


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
