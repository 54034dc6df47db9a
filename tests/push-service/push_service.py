"""A push service (RFC 8030) and the one device behind it, which reads what it is sent by http_ece (RFC
8291) and judges who sent it by py_vapid (RFC 8292).

    push_service.py ADDRESS FOLDER

Serves TLS at ADDRESS (host:port) with the cert.pem and key.pem of FOLDER, and ends with its standard
input. Prints a line of JSON when it listens, with the device's keys `p256dh` and `auth`, and one for each
message:

    path, status     what was asked for, and how it was answered
    headers          those of RFC 8030 and what the body is said to be
    key, claims      of the VAPID token, whose signature was verified
    message          the body as JSON, decrypted where it was encrypted
    body             the body as it came, in base64url, where it is not for this device to decrypt
    fault            what is wrong with it, if anything is

The path's first segment says how messages are answered: `201`, or a list such as `503,429,201`, of which
each message takes one and all later ones the last. A second segment `sealed` leaves a body unread. Two
answers are no statuses, and last until the client closes:

    drip             the head, an octet at a time
    endless          201, and a body without an end

A line then says of the path, with `/closed` behind it, how many `octets` were sent.
"""
import base64
import collections
import http.server
import json
import os
import ssl
import sys
import threading
import time

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

HEADERS = ["TTL", "Urgency", "Topic", "Content-Encoding", "Content-Type"]
A_DAY = 24 * 3600

address, folder = sys.argv[1:3]
origin = f"https://{address}"
private_key = ec.generate_private_key(ec.SECP256R1())
secret = os.urandom(16)
# How many messages came to a path.
came = collections.Counter()
# Guards the counter and the output.
one_at_a_time = threading.Lock()


def encode(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def say(line):
    print(json.dumps(line), flush=True)


class Fault(Exception):
    """A message is not as the RFCs have it."""


def sender(authorization):
    """The key and the claims of a token that is good here and now (RFC 8292 §2, §3)."""
    scheme, _, rest = (authorization or "").partition(" ")
    if scheme.lower() != "vapid":
        raise Fault(f"Authorization is of the scheme {scheme!r}")
    words = dict(word.strip().split("=", 1) for word in rest.split(","))
    signed, _, signature = words["t"].rpartition(".")
    key = Vapid02.from_raw_public(words["k"].encode())
    if not key.verify_token(signed.encode(), signature):
        raise Fault("the token's signature is not by its key")
    kind, claims = (json.loads(decode(part)) for part in signed.split("."))
    if kind != {"typ": "JWT", "alg": "ES256"}:
        raise Fault(f"the token is a {kind}")
    if claims["aud"] != origin:
        raise Fault(f"the token is for {claims['aud']}")
    if not 0 < claims["exp"] - time.time() <= A_DAY:
        raise Fault("the token has run out, or is good for more than a day")
    return words["k"], claims


def read(body, headers):
    """The body as JSON; encrypted, it is decrypted (RFC 8291 §4)."""
    if headers["Content-Encoding"] == "aes128gcm":
        body = http_ece.decrypt(body, private_key=private_key, auth_secret=secret)
    elif headers["Content-Encoding"]:
        raise Fault(f"Content-Encoding {headers['Content-Encoding']!r}")
    return json.loads(body)


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = {"path": self.path, "headers": {name.lower(): self.headers[name] for name in HEADERS}}
        answers, kind = (self.path.split("/") + [""])[1:3]
        answers = [int(it) if it.isdigit() else it for it in answers.split(",")]
        try:
            # RFC 8030 §5.2: no message without.
            if not (self.headers["TTL"] or "").isdigit():
                raise Fault("no TTL")
            told["key"], told["claims"] = sender(self.headers["Authorization"])
            if kind == "sealed":
                told["body"] = encode(body)
            else:
                told["message"] = read(body, self.headers)
        # Whatever a library says of a message that it cannot read.
        except Exception as error:  # noqa: BLE001
            told["fault"] = f"{type(error).__name__}: {error}"
        with one_at_a_time:
            told["status"] = answers[min(came[self.path], len(answers) - 1)]
            came[self.path] += 1
            say(told)
        if told["status"] in ("drip", "endless"):
            self.last(told["status"])
        else:
            self.answer(told["status"])

    def do_GET(self):
        # Where a redirect leads to.
        with one_at_a_time:
            say({"path": self.path, "status": 405, "fault": "a GET"})
        self.answer(405)

    def answer(self, status):
        self.send_response(status)
        if status == 201:
            self.send_header("Location", f"{origin}/message")
        elif status in (301, 302, 307, 308):
            self.send_header("Location", f"{origin}/201/redirected")
        elif status == 429:
            self.send_header("Retry-After", "3")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def last(self, kind):
        """Answers for as long as the client listens."""
        self.close_connection = True
        octets = 0
        try:
            if kind == "endless":
                self.wfile.write(b"HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n")
            while True:
                part = b"x" * 4096
                if kind == "drip":
                    time.sleep(0.1)
                    part = b"HTTP/1.1 201 Created\r\nX: "[octets : octets + 1] or b"x"
                self.wfile.write(part)
                octets += len(part)
        # It has closed.
        except OSError:
            with one_at_a_time:
                say({"path": self.path + "/closed", "octets": octets})

    def log_message(self, *_):
        pass


host, port = address.rsplit(":", 1)
server = http.server.ThreadingHTTPServer((host, int(port)), Service)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
# The handshake is the connection's own thread's, which reads first.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=server.serve_forever, daemon=True).start()
point = private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
say({"p256dh": encode(point), "auth": encode(secret)})
sys.stdin.read()
