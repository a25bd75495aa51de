"""The limit: raw sockets, pipelined GETs, isal and msgspec. It signs nothing, retries nothing and checks nothing."""

import signal
import socket
import sys
from typing import Final
from urllib.parse import urlsplit

import msgspec
from isal import isal_zlib

WRITES: Final = frozenset(
    {"PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject", "DeleteObjects", "RestoreObject"}
)


class Parameters(msgspec.Struct, gc=False):
    bucketName: str = ""  # noqa: N815 - the names of the format
    key: str = ""


class Record(msgspec.Struct, gc=False):
    """The fields that a decision needs. The parameters are decoded for changes of objects only."""

    eventSource: str  # noqa: N815
    eventName: str  # noqa: N815
    requestParameters: msgspec.Raw = msgspec.Raw()  # noqa: N815
    eventTime: str = ""  # noqa: N815
    eventID: str = ""  # noqa: N815
    errorCode: str = ""  # noqa: N815
    userIdentity: msgspec.Raw = msgspec.Raw()  # noqa: N815
    sourceIPAddress: str = ""  # noqa: N815


class File(msgspec.Struct, gc=False):
    Records: list[Record]


class Envelope(msgspec.Struct, gc=False):
    Message: str


class Notice(msgspec.Struct, gc=False):
    s3Bucket: str  # noqa: N815
    s3ObjectKey: list[str]  # noqa: N815


class Message(msgspec.Struct, gc=False):
    ReceiptHandle: str
    Body: str


class Received(msgspec.Struct, gc=False):
    Messages: list[Message] = []


_file: Final = msgspec.json.Decoder(File)
_parameters: Final = msgspec.json.Decoder(Parameters)
_envelope: Final = msgspec.json.Decoder(Envelope)
_notice: Final = msgspec.json.Decoder(Notice)
_received: Final = msgspec.json.Decoder(Received)


def object_events(stored: bytes) -> list[tuple[str, str, str]]:
    """Name, bucket and key of each change of an object in a log file of CloudTrail."""
    found = []
    for record in _file.decode(isal_zlib.decompress(stored, 31)).Records:
        if record.eventName in WRITES and record.eventSource == "s3.amazonaws.com" and not record.errorCode:
            parameters = _parameters.decode(record.requestParameters)
            found.append((record.eventName, parameters.bucketName, parameters.key))
    return found


class Connection:
    """A socket on which requests are sent one after the other, before their answers are read."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""

    def close(self) -> None:
        self._socket.close()

    def send(self, requests: bytes) -> None:
        self._socket.sendall(requests)

    def body(self) -> bytes:
        """The body of the next answer."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            self._unread += self._socket.recv(1 << 20)
        at = self._unread.find(b"Content-Length: ") + 16
        whole = end + 4 + int(self._unread[at : self._unread.find(b"\r\n", at)])
        if len(self._unread) < whole:
            parts, have = [self._unread], len(self._unread)
            while have < whole:
                parts.append(self._socket.recv(1 << 20))
                have += len(parts[-1])
            self._unread = b"".join(parts)
        body, self._unread = self._unread[end + 4 : whole], self._unread[whole:]
        return body


def main(endpoint: str, url: str) -> None:
    events = 0

    def stop(_: int, __: object) -> None:
        print(events, flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    at = urlsplit(endpoint)
    host = at.netloc.encode()
    connection = Connection(at.hostname or "", at.port or 80)

    def post(operation: bytes, body: bytes) -> bytes:
        head = b"POST / HTTP/1.1\r\nHost: %s\r\nX-Amz-Target: AmazonSQS.%s\r\nContent-Length: %d\r\n\r\n"
        connection.send(head % (host, operation, len(body)) + body)
        return connection.body()

    queue = b'{"QueueUrl":"%s"' % url.encode()
    while True:
        answer = post(b"ReceiveMessage", queue + b',"MaxNumberOfMessages":10,"WaitTimeSeconds":20}')
        messages = _received.decode(answer).Messages
        if not messages:
            continue
        notices = [_notice.decode(_envelope.decode(message.Body).Message) for message in messages]
        connection.send(
            b"".join(
                b"GET /%s/%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (notice.s3Bucket.encode(), key.encode(), host)
                for notice in notices
                for key in notice.s3ObjectKey
            )
        )
        for notice in notices:
            for _ in notice.s3ObjectKey:
                events += len(object_events(connection.body()))
        entries = [{"Id": str(n), "ReceiptHandle": message.ReceiptHandle} for n, message in enumerate(messages)]
        post(b"DeleteMessageBatch", queue + b',"Entries":%s}' % msgspec.json.encode(entries))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
