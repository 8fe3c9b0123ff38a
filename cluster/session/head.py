"""The processes of a local Ray, which end with the process that has started this one.

Run as `python head.py SETTINGS`, with the arguments of `RayParams` as JSON. It prints one line of
JSON with the address of Ray or an error, and stops Ray when its standard input ends, which is when
the process at the other end closes it, or has ended. As a script, it imports nothing of irfuse.
"""

from __future__ import annotations

import json
import os
import select
import sys

_LOOK_EVERY_S = 1.0


def main() -> int:
    """Start Ray, announce it, and stop it at the end of the standard input."""
    parent = os.getppid()
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    try:
        settings = json.loads(sys.argv[1])
        node = Node(RayParams(**settings), head=True, shutdown_at_exit=False, spawn_reaper=False)
    except Exception as error:  # noqa: BLE001 - Ray raises this class itself
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        print(json.dumps({"error": reason}), flush=True)
        return 1
    print(json.dumps({"address": node.gcs_address}), flush=True)
    # A process that the parent has forked may keep the standard input open for longer.
    while os.getppid() == parent:
        if select.select([sys.stdin], [], [], _LOOK_EVERY_S)[0] and not sys.stdin.read(1):
            break
    node.kill_all_processes(check_alive=False, allow_graceful=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
