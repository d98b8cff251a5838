"""Fuzz the HTTP service from its OpenAPI description: python tests/benchmarks/fuzz_server.py [EXAMPLES] [OPTION ...]

Needs `pip install schemathesis`. Starts `asr serve --greedy` on a free port of this machine and runs schemathesis on
each operation with EXAMPLES (100) requests a phase, and with its further options. One check is left out: that requests
which fit the description are accepted, since it cannot say what a sound file is. The exit code is schemathesis'.
"""

import re
import subprocess
import sys
import tempfile

ASR = [sys.executable, "-m", "asr"]


def main() -> None:
    """Print what schemathesis prints."""
    examples, options = sys.argv[1] if len(sys.argv) > 1 else "100", sys.argv[2:]
    server = subprocess.Popen([*ASR, "serve", "--port", "0", "--greedy"], stderr=subprocess.PIPE, text=True)
    address = ""
    while not address:
        line = server.stderr.readline() if server.stderr else ""
        address = "".join(re.findall(r"http://\S+", line)).rstrip("/")
    checks = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
    command = ["schemathesis.cli", "run", f"{address}/openapi.json", "--max-examples", examples, *checks]
    try:
        with tempfile.TemporaryDirectory() as folder:  # schemathesis writes its cache to the current folder
            done = subprocess.run([sys.executable, "-m", *command, *options], cwd=folder, check=False)
        print(f"the server runs: {server.poll() is None}")
    finally:
        server.terminate()
        server.wait()
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
