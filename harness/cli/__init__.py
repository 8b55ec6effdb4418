"""The command ``realmcheck``: one module per subcommand, one place for exit codes.

0 good, 1 bad, 2 inconclusive, 3 misuse or bad input (the option parser's own errors included).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from harness.cli import bench, compare, fip, images, mutants, probe, report, repro, rim, rmm, rules, run, token
from harness.errors import MisuseError, TargetError
from images import ImageError

GOOD, BAD, INCONCLUSIVE, MISUSE = 0, 1, 2, 3


class _Parser(argparse.ArgumentParser):
    """An option parser whose errors have the exit code of misuse."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(MISUSE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = _Parser(prog="realmcheck", description="Conformance suite for Arm's Confidential Compute Architecture.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for module in (images, run, report, compare, rules, mutants, bench, probe, repro, rmm, token, rim, fip):
        module.register(subparsers)
    parsed = parser.parse_args(arguments)
    try:
        status = int(parsed.run(parsed))
        sys.stdout.flush()
        return status
    except (MisuseError, ImageError) as error:
        print(f"realmcheck: {error}", file=sys.stderr)
        return MISUSE
    except TargetError as error:
        print(f"realmcheck: {error}", file=sys.stderr)
        return INCONCLUSIVE
    except BrokenPipeError:
        # Whoever read our output has gone; that is no failure of ours.
        sys.stderr.close()
        return GOOD
    except OSError as error:
        # A traceback would end with the status that means "bad", which is a verdict about a target.
        where = f"{error.filename}: " if error.filename else ""
        print(f"realmcheck: {where}{error.strerror or error}; free space or check the path", file=sys.stderr)
        # Python flushes standard output once more when it ends; what cannot be written must not change the status.
        with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return MISUSE
    except KeyboardInterrupt:
        return INCONCLUSIVE
