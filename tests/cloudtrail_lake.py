"""A stand-in for CloudTrail's data service: PutAuditEvents over HTTP, with the documented limits and schema.

Formats: AWS CloudTrail Data Service API Reference, PutAuditEvents; AWS CloudTrail User Guide, "CloudTrail Lake integrations event
schema". What is not documented is not checked.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CHANNEL = "arn:aws:cloudtrail:eu-west-1:111122223333:channel/EXAMPLE8-0558-4f7e-a06a-43969EXAMPLE"
ID = re.compile(r"[-_A-Za-z0-9]{1,128}")
EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}")
SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, .+")
LENGTHS = {
    "version": 256, "userAgent": 1024, "eventSource": 1024, "eventName": 1024, "UID": 1024, "errorCode": 256,
    "errorMessage": 256, "eventTime": 20, "recipientAccountId": 12,
}  # fmt: skip
REQUIRED = {"version", "userIdentity", "eventSource", "eventName", "eventTime", "UID", "recipientAccountId"}
SIZES = {"requestParameters": 100_000, "responseElements": 100_000, "additionalEventData": 28_000}
"""Bytes of each object. What exceeds it is rejected."""

Fault = Callable[[list[dict[str, Any]]], tuple[int, dict[str, Any]] | dict[str, str] | None]
"""What is wrong with a call with these events: a status and a body, or error codes by event id; None if nothing is."""


class Lake:
    """The channel, and what arrived. `faults`: one for each of the next calls."""

    def __init__(self, external_id: str = "") -> None:
        self.external_id = external_id
        self.address = ""
        self.events: list[dict[str, Any]] = []
        self.calls: list[int] = []
        """The number of events in each call."""
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self.violations: list[str] = []
        """What no call may do."""
        self.signed_for: set[tuple[str, str]] = set()
        """Region and service of the signatures."""

    def named(self, name: str) -> list[dict[str, Any]]:
        """The events of this name."""
        return [each for each in self.events if each["eventName"] == name]

    def answer(self, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        """The status and the body of the answer."""
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if match := SIGNED.fullmatch(headers.get("Authorization", "")):
            self.signed_for.add((match["region"], match["service"]))
        else:
            self.violations.append("not signed")
        if parts.path != "/PutAuditEvents":
            return 404, {"__type": "UnknownOperationException"}
        if len(body) > 1024 * 1024:
            self.violations.append(f"{len(body)} bytes")
        if query.get("channelArn") != CHANNEL:
            return 400, {"__type": "ChannelNotFound", "message": "The channel could not be found."}
        if query.get("externalId", "") != self.external_id:
            return 400, {"__type": "AccessDeniedException", "message": "not authorized to perform PutAuditEvents"}
        if self.external_id and not EXTERNAL_ID.fullmatch(self.external_id):
            self.violations.append("external id")
        entries = json.loads(body)["auditEvents"]
        self.calls.append(len(entries))
        return self._taken(entries)

    def _taken(self, entries: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        ids = [each["id"] for each in entries]
        if not 1 <= len(entries) <= 100:
            self.violations.append(f"{len(entries)} events")
        if len(set(ids)) < len(ids):
            return 400, {"__type": "DuplicatedAuditEventId", "message": "Two or more entries have the same event ID."}
        fault = self.always or (self.faults.pop(0) if self.faults else None)
        found = fault(entries) if fault else None
        if isinstance(found, tuple):
            return found
        codes = {each["id"]: code for each in entries if (code := (found or {}).get(each["id"]) or self._wrong(each))}
        good = [each for each in entries if each["id"] not in codes]
        self.events += [json.loads(each["eventData"]) for each in good]
        return 200, {
            "successful": [{"id": each["id"], "eventID": f"event-{each['id']}"} for each in good],
            "failed": [{"id": id_, "errorCode": code, "errorMessage": "why"} for id_, code in codes.items()],
        }

    def _wrong(self, entry: dict[str, Any]) -> str:
        """The error code of one event. Empty if it is right."""
        data = json.loads(entry["eventData"])
        code = ""
        if missing := REQUIRED - data.keys():
            code = f"FieldNotFound {missing}"
        elif unknown := data.keys() - REQUIRED - SIZES.keys() - LENGTHS.keys():
            code = f"InvalidData {unknown}"
        elif too_long := [name for name, most in LENGTHS.items() if len(data.get(name, "")) > most]:
            code = f"FieldTooLong {too_long}"
        elif any(len(json.dumps(data.get(name, {}))) > most for name, most in SIZES.items()):
            code = "FieldTooLong object"
        elif data["recipientAccountId"] != CHANNEL.split(":")[4]:
            code = "InvalidRecipient"
        elif not ID.fullmatch(entry["id"]) or data["UID"] != entry["id"]:
            code = "InvalidData id"
        elif not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?", data["eventTime"]):
            code = "InvalidData eventTime"
        elif not (
            0 < len(data["userIdentity"]["type"]) <= 128 and 0 < len(data["userIdentity"]["principalId"]) <= 1024
        ):
            code = "FieldTooLong userIdentity"
        if code:
            self.violations.append(code)
        return code.partition(" ")[0]


def throttling(_: object) -> tuple[int, dict[str, Any]]:
    """The whole call is throttled."""
    return 429, {"__type": "ThrottlingException", "message": "Rate exceeded"}


@contextmanager
def lake(external_id: str = "") -> Iterator[Lake]:
    """A channel, until the end of the block. At the end, no call may have broken a rule."""
    state = Lake(external_id)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = state.answer(self.path, self.headers, body)
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if "__type" in answer:
                self.send_header("x-amzn-errortype", answer["__type"])
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert not state.violations
