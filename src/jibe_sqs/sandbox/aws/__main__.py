"""`python -m jibe_sqs.sandbox.aws` runs the server in `server.py`."""

import argparse
from pathlib import Path

from jibe_sqs.sandbox.aws.server import serve
from jibe_sqs.sandbox.parent_watch import exit_with_parent


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m jibe_sqs.sandbox.aws", description="The sandbox's AWS: moto as a server."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (the default): a free port, which is printed on stdout")
    parser.add_argument(
        "--certificates",
        type=Path,
        help="a folder for ca.pem; with it, the server is also an HTTPS proxy for AWS's real host names",
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the parent process ends")
    options = parser.parse_args()
    if options.exit_with_parent:
        exit_with_parent()
    serve(options.host, options.port, options.certificates)


if __name__ == "__main__":
    main()
