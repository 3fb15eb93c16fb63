"""`python -m codi_int`, and where `codi-int` begins: Ctrl-C while the command line is being loaded is no bug."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Load the command line and run it."""
    try:
        from codi_int.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("codi-int: Stopped before anything began.\n")
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
