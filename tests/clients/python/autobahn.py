"""Runs cases of Autobahn's WebSocket test suite against a server, and prints a line for each:
`6.4.1 OK OK`, which is the case, what became of it, and how the connection was closed.

    autobahn.py ADDRESS CASES...        CASES: 6.4.1, or 6.*
"""

import asyncio
import sys

import kosoku
from kosoku._caseindex import initialize_shims


def take_plain_answers() -> None:
    """Lets the cases of compression see the bytes of a message that was sent back uncompressed, as
    RFC 7692 §6 allows. kosoku hands these as `str`, as Python 2 did, and hashlib refuses that."""
    initialize_shims()
    import case12_x_x

    for case in case12_x_x.Case12_X_X + case12_x_x.Case13_X_X:
        def on_message(self, message, binary, seen=case.onMessage):
            if isinstance(message, str):
                message = message.encode("latin-1" if binary else "utf-8")
            seen(self, message, binary)

        case.onMessage = on_message


async def main(address: str, *cases: str) -> None:
    take_plain_answers()
    try:
        results = await kosoku.run_fuzzingclient(address, list(cases), None, concurrency=2)
    except kosoku.FailureError as failure:
        print(failure, file=sys.stderr)
        results = failure.results
    for result in results:
        print(result.case_id, result.behavior.value, result.behavior_close.value)


asyncio.run(main(*sys.argv[1:]))
