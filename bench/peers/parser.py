"""The bare parser: decompress and decode log files that are in memory. `python -m bench.peers.parser KIND FILES`.

Prints the CPU seconds and the number of events.
"""

import sys
import time

from bench.peers.limit import object_events
from bench.stub.log_files import KINDS


def main(kind: str, files: int) -> None:
    bodies = [KINDS[kind].body(number).stored for number in range(min(files, 500))]
    began = time.process_time()
    events = sum(len(object_events(bodies[number % len(bodies)])) for number in range(files))
    print(time.process_time() - began, events)


main(sys.argv[1], int(sys.argv[2]))
