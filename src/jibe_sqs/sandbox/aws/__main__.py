"""`python -m jibe_sqs.sandbox.aws` runs the server in `server.py`."""

import argparse
from pathlib import Path

from jibe_sqs.sandbox.aws.server import exit_with_parent, serve


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m jibe_sqs.sandbox.aws", description="AWS, embedded: moto as a server."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one; printed on stdout")
    parser.add_argument(
        "--certificates",
        type=Path,
        help="a folder for ca.pem; the server is then also an HTTPS proxy to AWS's real host names",
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the starting process is gone")
    options = parser.parse_args()
    if options.exit_with_parent:
        exit_with_parent()
    serve(options.host, options.port, options.certificates)


if __name__ == "__main__":
    main()
