"""`python -m jibe_sqs.sandbox.aws`: the server, see `server.py`."""

import argparse

from jibe_sqs.sandbox.aws.server import exit_with_parent, serve


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m jibe_sqs.sandbox.aws", description="AWS, embedded: moto as a server."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one; stdout tells which")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the starting process is gone")
    options = parser.parse_args()
    if options.exit_with_parent:
        exit_with_parent()
    serve(options.host, options.port)


if __name__ == "__main__":
    main()
