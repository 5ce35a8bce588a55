"""A real S3 server of one's own on the loopback: SeaweedFS, with TLS where a tool insists on it."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_dr_provider.demo.scene import free_port

PROGRAM = Path(sys.executable).parent / "weed"
KEY, SECRET, REGION = "drill", "drill-secret", "us-east-1"
_IDENTITY = {
    "identities": [
        {
            "name": "drill",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}
_OPTIONS = (
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-s3",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.telemetry=false",
    "-master.volumeSizeLimitMB=64",
    "-volume.max=50",
)
# Every port that it listens on; none may be left to its default.
_PORTS = (
    "s3.port", "s3.port.https", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
    "filer.port", "filer.port.grpc",
)  # fmt: skip
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server.

    :param certificate: the file that vouches for it; None without TLS.
    """

    endpoint: str
    certificate: Path | None

    @property
    def environment(self) -> dict[str, str]:
        """What a client of it has in its environment."""
        trusted = {"AWS_CA_BUNDLE": str(self.certificate)} if self.certificate is not None else {}
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            **trusted,
        }

    def client(self) -> Any:
        """A client of boto3."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name=REGION,
            verify=str(self.certificate) if self.certificate is not None else True,
        )


@contextlib.contextmanager
def s3_server(*, tls: bool = False) -> Iterator[S3Server]:
    """Start a server on free ports, its files in a folder that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="dr-s3-"))
    ports = {name: free_port() for name in _PORTS}
    process: subprocess.Popen[bytes] | None = None
    try:
        certificate = _certify(folder) if tls else None
        (folder / "identity.json").write_text(json.dumps(_IDENTITY))
        (folder / "data").mkdir()
        options = [f"-{name}={port}" for name, port in ports.items() if tls or name != "s3.port.https"]
        if tls:
            options += [f"-s3.cert.file={folder}/cert.pem", f"-s3.key.file={folder}/key.pem"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [PROGRAM, "server", f"-dir={folder}/data", f"-s3.config={folder}/identity.json", *_OPTIONS, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
                env={**os.environ, "HOME": str(folder)},
            )
        address = f"https://127.0.0.1:{ports['s3.port.https']}" if tls else f"http://127.0.0.1:{ports['s3.port']}"
        server = S3Server(endpoint=address, certificate=certificate)
        _await(server, process, folder / "log")
        yield server
    finally:
        if process is not None:
            process.kill()
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
        for port in ports.values():
            # Its sockets lie there wherever its files do.
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


def _await(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it keeps an object."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    client = server.client()
    while True:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
        except Exception as error:  # not up yet, in one of many ways
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server did not start: {log.read_text(errors='replace')[-1500:]}") from error
            time.sleep(0.1)
        else:
            return


def _certify(folder: Path) -> Path:
    """Make a key and a certificate that vouches for itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(secret)
    path = folder / "cert.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path
