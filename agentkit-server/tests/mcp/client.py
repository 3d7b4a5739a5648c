"""A client made with the official Python SDK, which uses the service as a stranger would.

client.py MODE stdio PROGRAM ARGUMENTS... | client.py MODE http URL KEY
"""

import sys

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

mode, kind, target, *arguments = sys.argv[1:]


def transport():
    if kind == "stdio":
        return stdio_client(StdioServerParameters(command=target, args=arguments))
    headers = {"authorization": f"Bearer {arguments[0]}"}
    return streamable_http_client(target, http_client=httpx2.AsyncClient(headers=headers))


def value(result):
    assert not result.is_error, result
    return result.structured_content if result.structured_content is not None else result.content[0].text


async def refused(client, name, arguments, why):
    try:
        result = await client.call_tool(name, arguments)
        assert result.is_error, result
        text = result.content[0].text
    except MCPError as error:
        text = str(error)
    assert why in text, text


async def main():
    async with Client(transport(), mode=mode) as client:
        print(client.protocol_version, client.server_info)
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["search", "fetch", "ask"], names

        found = value(await client.call_tool("search", {"query": "how hot is green tea?", "top_k": 1}))
        document = found["results"][0]
        assert document["id"].endswith("tea.md"), found
        read = value(await client.call_tool("fetch", {"id": document["id"]}))
        assert "Green tea is best at 80 degrees." in read["text"], read
        answer = value(await client.call_tool("ask", {"message": "How hot is green tea best?"}))
        assert "80 degrees" in str(answer), answer

        await refused(client, "search", {"query": "tea", "tenant": "other"}, "do not fit its schema")
        await refused(client, "search", {}, "do not fit its schema")
        await refused(client, "fetch", {"id": "nowhere"}, "there is no document")
        await refused(client, "nothing", {}, "no such tool")

        # A call that is given up leaves the connection usable.
        with anyio.move_on_after(0.001):
            await client.call_tool("ask", {"message": "How hot is green tea best?"})
        assert value(await client.call_tool("search", {"query": "tea"}))["results"]
    print("all is well")


anyio.run(main)
