"""What irfuse uses of other packages beyond their public interfaces, and that it is still there.

When the upper bound of a version in `pyproject.toml` is raised, a test that fails here says what
has to be looked at.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from support.environment import PROJECT_ROOT

from cluster.session.head import PORTS
from cluster.session.ray_internals import CHECK_ALIVE, LOOPBACK_ONLY

PACKAGES = ("fusion_core", "cluster", "jobs")
OWN = ("self", "cls")
PUBLIC = {"_replace", "_exit", "_Hash"}
"""Names of the standard library that are documented, or that only annotations use."""


@dataclass(frozen=True)
class Interface:
    """An interface that is not public, what it is used for, and a check that it is there."""

    package: str
    name: str
    place: str
    """The module of irfuse that uses it, and for what."""
    exists: Callable[[], object]
    names: tuple[str, ...] = ()
    """Its names in the source of irfuse, as far as they look private."""

    def __str__(self) -> str:
        return self.name


def attribute(module: str, path: str) -> Callable[[], object]:
    """Return a function that finds an attribute of a module."""

    def find() -> object:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        return found

    return find


def argument_of_init(name: str) -> Callable[[], object]:
    """Return a function that finds a keyword of `ray.init`, which are not part of its signature."""

    def find() -> object:
        import ray

        assert f'"{name}"' in inspect.getsource(inspect.unwrap(ray.init))
        return True

    return find


def argument_of_node(name: str) -> Callable[[], object]:
    """Return a function that finds a parameter of a node of Ray."""

    def find() -> object:
        from ray._private import parameter

        assert name in inspect.signature(parameter.RayParams).parameters
        return True

    return find


def starts_nodes() -> object:
    from ray._private.node import Node

    arguments = inspect.signature(Node).parameters
    assert {"ray_params", "head", "shutdown_at_exit", "spawn_reaper"} <= arguments.keys()
    overridden = Node.start_api_server, Node.start_ray_processes
    return Node.gcs_address, Node.get_gcs_client, Node.kill_all_processes, overridden


def starts_agents() -> object:
    import ray._raylet
    from ray._private import services

    source = " ".join(inspect.getsource(services.start_raylet).split())
    agent = "command_memory_profileable( ray_constants.PROCESS_TYPE_DASHBOARD_AGENT, session_dir )"
    assert f"*_build_python_executable_{agent}" in source
    node, port = "0" * 56, ray._raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME
    assert ray._raylet.get_port_filename(node, port) == f"dashboard_agent_listen_port_{node}"
    return True


def names_loopback_variable() -> object:
    from ray._private import ray_constants

    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR == LOOPBACK_ONLY
    return True


def has_check_alive() -> object:
    from ray.core.generated import gcs_service_pb2

    _, service, method = CHECK_ALIVE.split("/")
    described = gcs_service_pb2.DESCRIPTOR.services_by_name[service.removeprefix("ray.rpc.")]
    return described.methods_by_name[method]


def resolves_addresses() -> object:
    from ray._private import services

    assert services.canonicalize_bootstrap_address("192.0.2.1:6379") == "192.0.2.1:6379"
    return True


def has_drain_command() -> bool:
    from ray.scripts.scripts import drain_node

    used = {
        "--address",
        "--node-id",
        "--reason",
        "--reason-message",
        "--deadline-remaining-seconds",
    }
    return used <= {name for option in drain_node.params for name in option.opts}


def has_node_label() -> object:
    from ray._raylet import RAY_NODE_ID_KEY  # type: ignore[attr-defined]

    assert RAY_NODE_ID_KEY == "ray.io/node-id"
    return True


def has_worker_environment() -> object:
    from ray.train import RunConfig

    return RunConfig(worker_runtime_env={"env_vars": {}})  # type: ignore[call-arg]


def names_the_creation_task() -> object:
    from ray.exceptions import ActorDiedError

    assert "creation task" in inspect.getsource(ActorDiedError)
    return True


def keeps_kernels() -> object:
    from numba import njit

    dispatcher = njit(lambda: None)
    return dispatcher._cache.load_overload, dispatcher._cache.save_overload


def announces_compilation() -> object:
    from numba import njit
    from numba.core import event

    dispatcher = njit(lambda: None)
    with event.install_recorder("numba:compile") as recorder:
        dispatcher()
    assert recorder.buffer[0][1].data["dispatcher"] is dispatcher
    return True


INTERNALS = "cluster/session/ray_internals.py"
INTERFACES = [
    Interface(
        "ray", "ray._private.ray_constants.ENABLE_RAY_CLUSTER",
        f"{INTERNALS}, to keep a local Ray on the loopback address",
        attribute("ray._private.ray_constants", "ENABLE_RAY_CLUSTER"),
        ("ray._private",),
    ),
    Interface(
        "ray", "ray._private.ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR",
        f"{INTERNALS}, to keep a local Ray on the loopback address",
        names_loopback_variable,
    ),
    *(
        Interface(
            "ray", f"ray._private.parameter.RayParams({name}=...)",
            "cluster/session/head.py, to start a local Ray",
            argument_of_node(name),
        )
        for name in (
            "node_ip_address", "temp_dir", "num_cpus", "object_store_memory", "include_dashboard",
            "no_monitor", "include_log_monitor", "_system_config", *PORTS,
        )
    ),
    Interface(
        "ray", "ray._private.node.Node",
        "cluster/session/head.py, to start a local Ray",
        starts_nodes,
        ("ray._private",),
    ),
    Interface(
        "ray", "ray._private.services._build_python_executable_command_memory_profileable",
        "cluster/session/head.py, to start a local Ray without the agent of its node",
        starts_agents,
        ("_build_python_executable_command_memory_profileable",),
    ),
    Interface(
        "ray", "ray._raylet.Config.initialize",
        f"{INTERNALS}, to give a local Ray a token of its own",
        attribute("ray._raylet", "Config.initialize"),
        ("ray._raylet",),
    ),
    Interface(
        "ray", "ray._raylet.AuthenticationTokenLoader.reset_cache",
        f"{INTERNALS}, to give a local Ray a token of its own",
        attribute("ray._raylet", "AuthenticationTokenLoader.reset_cache"),
    ),
    Interface(
        "ray", "ray._private.services.canonicalize_bootstrap_address",
        f"{INTERNALS}, to find the cluster that `auto` stands for",
        resolves_addresses,
    ),
    Interface(
        "ray", CHECK_ALIVE,
        "cluster/session/addresses.py, to tell Ray from other servers",
        has_check_alive,
    ),
    *(
        Interface(
            "ray", f"ray.init({name}=...)",
            "cluster/session/connection.py, to connect to a local Ray",
            argument_of_init(name),
        )
        for name in ("_node_ip_address",)
    ),
    Interface(
        "ray", "ray._private.state.state.get_draining_nodes",
        f"{INTERNALS}, to leave nodes that are to be taken away",
        attribute("ray._private.state", "state.get_draining_nodes"),
    ),
    Interface(
        "ray", "ray._private.ray_constants.RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S",
        "cluster/deploy/kuberay.yaml.jinja, so that evicted pods finish the pairs in work",
        attribute("ray._private.ray_constants", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"),
    ),
    Interface(
        "ray", "the command ray drain-node",
        "cluster/deploy/spot-notice.sh, to leave an instance that is taken away",
        has_drain_command,
    ),
    Interface(
        "ray", "the label ray.io/node-id",
        "cluster/runs/pool.py, to start no worker where memory ran out",
        has_node_label,
    ),
    Interface(
        "ray", "the text of ActorDiedError",
        "cluster/runs/deaths.py, to find the reason in it",
        names_the_creation_task,
    ),
    Interface(
        "ray", "ray.train.RunConfig(worker_runtime_env=...)",
        "cluster/training/supervisor.py, to start training workers with huge pages",
        has_worker_environment,
    ),
    Interface(
        "numba", "numba.core.caching.FunctionCache",
        "fusion_core/compiled/compiling.py, to keep kernels on disk",
        attribute("numba.core.caching", "FunctionCache.flush"),
        ("numba.core",),
    ),
    Interface(
        "numba", "Dispatcher._cache",
        "fusion_core/compiled/compiling.py, to keep kernels on disk",
        keeps_kernels,
        ("_cache",),
    ),
    Interface(
        "numba", "the event numba:compile",
        "fusion_core/compiled/announcing.py, to announce compilation",
        announces_compilation,
        ("numba.core", "_cache"),
    ),
    Interface(
        "numba", "numba.config.CACHE_DIR",
        "fusion_core/compiled/compiling.py, to know where kernels are kept",
        attribute("numba", "config.CACHE_DIR"),
    ),
    Interface(
        "fsspec", "AbstractFileSystem._strip_protocol",
        "cluster/storage/store.py, to find the root of a location",
        attribute("fsspec", "AbstractFileSystem._strip_protocol"),
        ("_strip_protocol",),
    ),
    Interface(
        "fsspec", "AsyncFileSystem._find",
        "cluster/storage/listing.py, to know whether a store lists a tree itself",
        attribute("fsspec.asyn", "AsyncFileSystem._find"),
        ("_find",),
    ),
    Interface(
        "fsspec", "LocalFileSystem._open",
        "cluster/storage/local.py, to open regular files only",
        attribute("fsspec.implementations.local", "LocalFileSystem._open"),
        ("_open",),
    ),
]  # fmt: skip


@pytest.mark.parametrize("interface", INTERFACES, ids=str)
def test_an_interface_that_is_not_public_is_there(interface: Interface) -> None:
    try:
        interface.exists()
    except Exception as error:  # noqa: BLE001 - of whatever kind, it is reported
        pytest.fail(
            f"{interface.package} {version(interface.package)} has no {interface.name} as irfuse "
            f"uses it ({type(error).__name__}: {error}); it is used in {interface.place}. Adapt "
            f"that module, or lower the upper bound of {interface.package} in pyproject.toml",
            pytrace=False,
        )


def private_uses(path: Path) -> Iterator[str]:
    """Yield what a module uses of others that looks private."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            own = isinstance(node.value, ast.Name) and node.value.id in OWN
            if not own and not node.attr.startswith("__"):
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                if not name.startswith(PACKAGES) and "._" in name:
                    yield name[: name.index("._")] + "._" + name.split("._")[1].partition(".")[0]
                elif name.startswith("numba.core"):
                    yield "numba.core"


def test_every_interface_that_is_not_public_is_listed() -> None:
    used = {
        (name, str(path.relative_to(PROJECT_ROOT)))
        for package in PACKAGES
        for path in (PROJECT_ROOT / package).rglob("*.py")
        for name in private_uses(path)
        if name not in PUBLIC
    }
    listed = {
        (name, interface.place.partition(",")[0])
        for interface in INTERFACES
        for name in interface.names
    }
    assert used == listed, "add it to INTERFACES, with a check and a bound in pyproject.toml"


@pytest.mark.parametrize("package", ["numba", "ray"])  # fsspec's are meant for extensions
def test_packages_whose_inner_parts_are_used_have_an_upper_bound(package: str) -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    given = [*project["dependencies"], *(text for extra in extras for text in extra)]
    found = [r for r in map(Requirement, given) if r.name == package]
    assert found
    for requirement in found:
        assert "<" in {specifier.operator for specifier in requirement.specifier}, requirement
        assert requirement.specifier.contains(version(package))
