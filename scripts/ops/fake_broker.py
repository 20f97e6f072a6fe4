"""The fallback of `broker.py`: fakeredis behind a TCP port, in memory."""

from __future__ import annotations

import sys

from fakeredis import TcpFakeServer


def main() -> None:
    # With Nagle's algorithm each message would wait 40 ms for the one before.
    server = TcpFakeServer(("127.0.0.1", int(sys.argv[1])))
    setattr(server.RequestHandlerClass, "disable_nagle_algorithm", True)  # noqa: B010
    server.serve_forever()


if __name__ == "__main__":
    main()
