"""Stands in for the agent of a node of Ray, which has to run as long as the node does.

Run in place of Ray's script, with its arguments. The node reads from a file at which port its agent
answers HTTP, where -1 is none, and closes the standard input of the agent when it ends.
"""

from __future__ import annotations

import os
import sys

_PORT = "dashboard_agent_listen_port"


def main() -> None:
    """Write the file of the port, and wait for the end of the node."""
    options = dict(argument[2:].split("=", 1) for argument in sys.argv if "=" in argument)
    place = os.path.join(options["session-dir"], f"{_PORT}_{options['node-id']}")
    with open(f"{place}.new", "w", encoding="ascii") as file:
        file.write("-1")
    os.replace(f"{place}.new", place)
    sys.stdin.read()


if __name__ == "__main__":
    main()
