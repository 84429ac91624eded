"""Write docs/cli.md from the commands, or with ``--check`` see whether it is up to date."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REFERENCE = Path(__file__).parent / "cli.md"
HEAD = "<!-- Written by docs/write_cli_reference.py from the commands; do not edit. -->\n\n"


def reference() -> str:
    """Give the reference as Typer writes it."""
    command = [sys.executable, "-m", "typer", "nns.cli.app", "utils", "docs", "--name", "nns"]
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return HEAD + done.stdout.rstrip() + "\n"


def main() -> int:
    """Write or check; 1 if the file is not up to date."""
    text = reference()
    if "--check" in sys.argv[1:]:
        if REFERENCE.read_text(encoding="utf-8") != text:
            print("docs/cli.md is not up to date: run `just fix`", file=sys.stderr)
            return 1
        return 0
    REFERENCE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
