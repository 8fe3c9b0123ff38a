"""The processes of a Ray cluster on this machine, for tests that kill or stop them."""

import signal
import time
from contextlib import suppress

import psutil

from support.processes import is_alive, wait_until


def raylets(address: str) -> list[psutil.Process]:
    """Return the process of each node of a cluster, the head's first."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "raylet" and f"--gcs-address={address}" in process.cmdline():
                found.append(process)
    return sorted(filter(is_alive, found), key=psutil.Process.create_time)


def job_workers(address: str, driver_pid: int, title: str) -> list[psutil.Process]:
    """Return the living workers of a driver's job with this in their title, oldest first."""
    job = _job_id(address, driver_pid)
    found = []
    for raylet in raylets(address) if job else []:
        for process in raylet.children():
            with suppress(psutil.Error):
                ours = process.environ().get("RAY_JOB_ID") == job
                if ours and title in "".join(process.cmdline()[:1]) and is_alive(process):
                    found.append(process)
    return sorted(found, key=psutil.Process.create_time)


def kill(process: psutil.Process) -> None:
    """End a process as the kernel does when memory runs out, and wait until it is gone."""
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(process), timeout=30, what=f"the end of {process.pid}")


def kill_node(raylet: psutil.Process) -> None:
    """Kill all processes of a node at once, as in a loss of power."""
    processes = [raylet, *raylet.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, processes)), timeout=30, what="the end of a node")


def drain(address: str, raylet: psutil.Process, seconds: float = 120.0) -> None:
    """Tell Ray that a node will be taken away, as the handler of a spot instance does."""
    from ray._raylet import GcsClient
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    option = next(part for part in raylet.cmdline() if part.startswith("--node_id="))
    deadline_ms = int((time.time() + seconds) * 1000)
    preempted = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    client = GcsClient(address=address)
    accepted, why = client.drain_node(option.partition("=")[2], preempted, "spot", deadline_ms)
    assert accepted, why


def _job_id(address: str, driver_pid: int) -> str | None:
    from ray._raylet import GcsClient

    jobs = GcsClient(address=address).get_all_job_info()
    ids = {job.driver_pid: key.hex() for key, job in jobs.items() if not job.is_dead}
    return ids.get(driver_pid)
