#!/usr/bin/env python3
"""Tells jmap-push-proxy of the state changes that Apache James, or TMail, publishes on RabbitMQ.

    notify.py AMQP_URL NOTIFY_URL TOKEN_FILE [PARTITIONS]

James' distributed server (and the one on PostgreSQL with RabbitMQ) publishes each StateChangeEvent on the
exchange `jmapEvent-exchange` with the empty routing key; TMail with `event.bus.partition.count = n` also on
`jmapEvent-1-exchange` and so on, and PARTITIONS is its n. This binds a queue of its own to it, which is
bounded, not durable, and gone with this program: James is never held up, and what is missed the proxy finds
by its probe. NOTIFY_URL is `http://…/notify` of `[notify.http]`.

Needs `pip install pika`. The RabbitMQ user needs configure, write and read on `jmap-push-proxy-.*`, and read
on the exchanges. Tried with RabbitMQ 3.10 and events made up after James' own serialiser; James itself untried.
"""

import hashlib
import json
import os
import socket
import sys
import time
import urllib.request

import pika

QUEUE = f"jmap-push-proxy-{socket.gethostname()}-{os.getpid()}"
EVENT = "org.apache.james.jmap.change.StateChangeEvent"


def message(event):
    """What the proxy is told of a StateChangeEvent; None for the other events on this bus."""
    if event.get("type") != EVENT:
        return None
    states = event.get("typeStates") or {}
    return {
        # An account's id in James is the digest of its owner's name.
        "accountId": hashlib.sha256(event["username"].encode()).hexdigest(),
        # Not `changed`: the states here are those of clients that know of shares, not everybody's.
        "types": [name for name in states if name != "EmailDelivery"],
        "delivery": "EmailDelivery" in states,
    }


def run(amqp_url, partitions, tell):
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    bus = connection.channel()
    bounds = {"x-max-length": 10_000, "x-message-ttl": 60_000}
    bus.queue_declare(QUEUE, durable=False, exclusive=True, auto_delete=True, arguments=bounds)
    for number in range(partitions):
        exchange = f"jmapEvent-{number}-exchange" if number else "jmapEvent-exchange"
        bus.queue_bind(QUEUE, exchange, routing_key="")

    def take(_channel, _method, _properties, body):
        try:
            events = json.loads(body)
            for event in events if isinstance(events, list) else [events]:
                told = message(event)
                if told is not None:
                    tell(told)
        except (ValueError, KeyError, AttributeError) as error:
            print("left out:", error, file=sys.stderr)
        except OSError as error:
            print("not told:", error, file=sys.stderr)

    bus.basic_consume(QUEUE, take, auto_ack=True)
    bus.start_consuming()


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    amqp_url, notify_url, token_file = sys.argv[1:4]
    partitions = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    with open(token_file, encoding="utf-8") as file:
        headers = {"Authorization": f"Bearer {file.read().strip()}", "Content-Type": "application/json"}

    def tell(told):
        request = urllib.request.Request(notify_url, json.dumps(told).encode(), headers)
        urllib.request.urlopen(request, timeout=5).close()

    while True:
        try:
            run(amqp_url, partitions, tell)
        except (pika.exceptions.AMQPError, OSError) as error:
            print("RabbitMQ:", repr(error), file=sys.stderr)
            time.sleep(2)


if __name__ == "__main__":
    main()
