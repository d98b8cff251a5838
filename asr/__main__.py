"""`python -m asr` and the `asr` command."""

import os
import signal
import sys
import threading

from asr.cli import main

# As asr.parallel.threads names them, which a command may not have imported.
_ABANDONED = "asr-abandoned"


def run() -> None:
    """Run the command line of this process and exit with its code."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        # As Ctrl-C, so that no temporary file is left.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main(sys.argv[1:])
    except Exception:  # a defect
        sys.excepthook(*sys.exc_info())
        code = 1
    # The interpreter does not end well beneath threads that compute.
    if any(thread.name.startswith(_ABANDONED) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
