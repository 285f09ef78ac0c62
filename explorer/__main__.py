"""The command line: train, warm, runs, doctor and bench, without the page."""

from __future__ import annotations

import argparse
import sys

from explorer.database import StoreError
from explorer.settings import SettingError, Settings


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0, 1 where the work failed, 2 where the command was not understood.
    """
    from explorer.commands import bench, doctor, runs, train, warm

    parser = argparse.ArgumentParser(
        prog="python -m explorer", description="See neural networks overfit and be regularized, without the page.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (train, warm, runs, doctor, bench):
        command.add_to(commands)
    given = parser.parse_args(arguments)
    try:
        return given.run(given, Settings.from_environment())
    except SettingError as error:
        print(error, file=sys.stderr)
        return 2
    except StoreError as error:
        print(f"EXPLORER_STORE: {error.why}. What was written is kept.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
