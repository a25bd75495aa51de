"""A worker that does nothing, for tests of its supervisor. It starts in a few milliseconds: it imports nothing of jibe-sqs.

Arguments: a folder, and the text of `Worker`. The file `INDEX.json` in the folder says how the worker behaves; by default it
starts, answers questions, and ends with exit code 0 at SIGTERM or when the supervisor is gone. The file `said` gets a line
`INDEX EVENT` for each thing that happens.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

folder = Path(sys.argv[-2])
index, descriptor = (int(part) for part in sys.argv[-1].split("/")[0:3:2])
file = folder / f"{index}.json"
behaviour = json.loads(file.read_text()) if file.exists() else {}


def say(event):
    with (folder / "said").open("a") as said:
        said.write(f"{index} {event}\n")


def end(reason, code=0):
    say(reason)
    os._exit(code)


def send(kind, **fields):
    channel.sendall(json.dumps({"type": kind, **fields}).encode() + b"\n")


say(f"began {os.getpid()}")
if behaviour.get("once"):
    file.unlink()
if "exit" in behaviour:
    end("refused", behaviour["exit"])
signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour.get("stuck") else lambda *_: end("drained"))
channel = socket.socket(fileno=descriptor)
if not behaviour.get("slow"):
    send("Started")
for message in behaviour.get("says", ()):
    send(**message)
if behaviour.get("orphan") and os.fork() == 0:
    # It outlives its parent, and ends when the file is gone.
    while file.exists():
        time.sleep(0.01)
    end(f"orphan {os.getppid()}")
if "crash" in behaviour:
    end("crashed", behaviour["crash"])
for line in channel.makefile():
    message = json.loads(line)
    if message["type"] == "Question" and not behaviour.get("silent"):
        send("Answer", id=message["id"], value=behaviour.get("health", {}))
    elif message["type"] == "NewSettings":
        say(f"settings {message['texts']['source'][-9:]}")
    elif message["type"] == "Notes":
        say(f"notes {json.dumps(message['notes'])}")
if not behaviour.get("stuck"):
    end("alone")
