"""Runs commands in forks of one process, which has paid for the imports: ``python nursery.py``.

Reads arguments of ``demitasse``, a JSON list a line; answers each with the pid of the fork that runs them, then
with its wait status.
"""

from __future__ import annotations

import json
import os
import sys

from demitasse.cli import main


def run(arguments: list[str]) -> int:
    """Runs the command in a fork; prints its pid and returns its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            main(arguments)
        except SystemExit as end:
            os._exit(int(end.code or 0))
        os._exit(0)
    print(pid, flush=True)
    return os.waitpid(pid, 0)[1]


if __name__ == "__main__":
    try:
        main(json.loads(sys.stdin.readline()))  # a first run, in this process, for the imports
    except SystemExit:
        print("ready", flush=True)
    for line in sys.stdin:
        print(run(json.loads(line)), flush=True)
