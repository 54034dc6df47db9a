"""Listens by the package websockets, and prints each StateChange as an event of an event source.

    websockets_listener.py ORIGIN USER PASSWORD

It first calls Core/echo with more than is left uncompressed, and prints how the answer came as an event
named `response`. The package offers permessage-deflate, answers pings, and connects again, all by
itself; that it comes back with the last `pushState` is left to the program.
"""
import asyncio
import base64
import json
import sys
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

origin, user, password = sys.argv[1:]
authorization = {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def tell(event, data, id=""):
    print(f"event: {event}\ndata: {data}\nid: {id}\n", flush=True)


async def converse(socket, push_state):
    text = "a thing said twenty times is smaller than it looks; " * 20
    await socket.send(json.dumps({
        "@type": "Request", "id": "R1", "using": ["urn:ietf:params:jmap:core"],
        "methodCalls": [["Core/echo", {"text": text}, "0"]],
    }))
    answer = json.loads(await socket.recv())
    assert answer["requestId"] == "R1" and answer["methodResponses"][0][1]["text"] == text, answer
    compressed = ", ".join(extension.name for extension in socket.protocol.extensions)
    tell("response", f"{socket.subprotocol} by {compressed}")
    # A `pushState` of null is none.
    await socket.send(json.dumps({"@type": "WebSocketPushEnable", "pushState": push_state[0]}))
    async for message in socket:
        change = json.loads(message)
        push_state[0] = change["pushState"]
        tell("state", json.dumps(change), push_state[0])


async def main():
    session = urllib.request.Request(f"{origin}/.well-known/jmap", headers=authorization)
    session = json.load(urllib.request.urlopen(session))
    url = session["capabilities"]["urn:ietf:params:jmap:websocket"]["url"]
    push_state = [None]
    async for socket in connect(
        url, subprotocols=["jmap"], additional_headers=authorization, proxy=None
    ):
        try:
            await converse(socket, push_state)
        except ConnectionClosed as error:
            print(error, file=sys.stderr)


asyncio.run(main())
