"""`python -m stack up` runs the platform on this machine; `python -m stack api-key` prints an administrator's key."""

from __future__ import annotations

import argparse
import sys

from stack import runner
from stack.layout import Unusable, read_layout


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    parser.add_argument("command", choices=("up", "api-key"))
    wanted = parser.parse_args()
    try:
        layout = read_layout()
        return runner.up(layout) if wanted.command == "up" else runner.api_key(layout)
    except Unusable as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
