"""The command line: train, warm, runs, doctor and bench, without the page."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from explorer.config.settings import SettingError, Settings
from explorer.store.sqlite import DamagedStore, StoreError

COMMANDS = ("train", "warm", "runs", "doctor", "bench")


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0, 1 where the work failed, 2 where the command was not understood.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m explorer", description="See neural networks overfit and be regularized, without the page.")
    commands = parser.add_subparsers(dest="command", required=True)
    # Each by itself: `doctor` is to find what the others cannot be imported without.
    for name in [name for name in COMMANDS if name in arguments[:1]] or COMMANDS:
        import_module(f"explorer.cli.{name}").add_to(commands)
    given = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment()
        if given.command != "doctor":  # which says so among the rest
            for remark in settings.remarks():
                print(remark, file=sys.stderr)
        return given.run(given, settings)
    except SettingError as error:
        print(error, file=sys.stderr)
        return 2
    except DamagedStore as error:
        print(error, file=sys.stderr)
        return 1
    except StoreError as error:
        print(f"EXPLORER_STORE: {error.why}. What was written is kept.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
