"""Listens through jmapc's `events`, and prints each StateChange as an event of an event source.

    jmapc_listener.py HOST:PORT USER PASSWORD

jmapc speaks https only: REQUESTS_CA_BUNDLE names the authority of the server's certificate. Under it,
sseclient connects again once after the end of a stream; if that fails, the program has to.
"""
import json
import os
import sys
import time

import jmapc
import requests

host, user, password = sys.argv[1:]

# sseclient prints errors to standard output.
out = os.fdopen(os.dup(1), "w")
sys.stdout = sys.stderr

last_id = None
while True:
    config = jmapc.EventSourceConfig(ping=30)
    client = jmapc.Client.create_with_password(
        host, user, password, last_event_id=last_id, event_source_config=config
    )
    try:
        for event in client.events:
            last_id = event.id or last_id
            changed = {
                account: {kind: state for kind, state in change.to_dict().items() if state}
                for account, change in event.data.changed.items()
            }
            data = json.dumps({"@type": "StateChange", "changed": changed})
            print(f"event: state\ndata: {data}\nid: {last_id}\n", file=out, flush=True)
    except (requests.RequestException, OSError) as error:
        print(error)
        time.sleep(0.1)
