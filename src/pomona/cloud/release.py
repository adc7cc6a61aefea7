"""What instances start from: environment and scripts in the bucket, and the secret."""

from __future__ import annotations

import hashlib
import json
import secrets
import tarfile
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from pomona.cloud.account import asking, code_of
from pomona.errors import CloudError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pomona.cloud.account import Cloud
    from pomona.cloud.plan import Machine

FOLDER = "cluster/"
_SETTINGS = f"{FOLDER}release.env"
_MANIFEST = "pomona-env/pomona-env.json"
_LOOKED_AT = 20_000
"""Members of an archive that are looked at for its manifest."""
_MACHINES: dict[str, Machine] = {
    "x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64",
}  # fmt: skip


@dataclass(frozen=True)
class Archive:
    """An environment that `pomona cluster pack` made.

    Attributes:
        path: of the file.
        sha256: of the file.
        machine: that it was packed for.
        glibc: that it needs.
        version: of Pomona in it.
    """

    path: Path
    sha256: str
    machine: Machine
    glibc: tuple[int, int]
    version: str

    @property
    def key(self) -> str:
        """Where in the bucket it lies: a name for each content."""
        return f"{FOLDER}pomona-{self.sha256[:16]}.tar.gz"


def read_archive(path: Path) -> Archive:
    """What an archive is for.

    Raises:
        UsageError: it is absent, or nothing that `pomona cluster pack` made.
    """
    fix = "Make it anew: pomona cluster pack FILE.tar.gz"
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        facts = _manifest(path)
        digits = str(facts["glibc"]).split(".")
        machine = _MACHINES[str(facts["machine"])]
        glibc = int(digits[0]), int(digits[1])
        return Archive(path, sha256, machine, glibc, str(facts["pomona"]))
    except (OSError, tarfile.TarError, ValueError, KeyError, IndexError, EOFError) as error:
        raise UsageError(
            f"{path} is no environment: {type(error).__name__}: {error}.", fix
        ) from error


def _manifest(path: Path) -> dict[str, object]:
    with tarfile.open(path, "r:*") as tar:
        for number, member in enumerate(tar):
            if member.name.removeprefix("./") == _MANIFEST:
                stream = tar.extractfile(member)
                found = json.load(stream) if stream is not None else None
                if not isinstance(found, dict):
                    raise ValueError(f"{_MANIFEST} is no object")
                return found
            if number > _LOOKED_AT:
                break
    raise ValueError(f"it has no {_MANIFEST}")


def lay_down(cloud: Cloud, bucket: str, archive: Archive, tell: Callable[[str], None]) -> None:
    """Put into the bucket what instances fetch when they start; what is there already stays."""
    from boto3.s3.transfer import TransferConfig

    client = cloud.client("s3")
    with asking():
        if not _exists(cloud, bucket, archive.key):
            size = archive.path.stat().st_size
            tell(f"sending the environment ({size / 1e6:,.0f} MB) to s3://{bucket}/{archive.key}")
            client.upload_file(
                str(archive.path),
                bucket,
                archive.key,
                Config=TransferConfig(multipart_chunksize=32 << 20),
            )
        texts = {
            f"{FOLDER}start.sh": _script("pomona.cloud", "start.sh"),
            f"{FOLDER}bootstrap.sh": _script("pomona.cluster", "bootstrap.sh"),
            _SETTINGS: (
                f"POMONA_ARCHIVE=s3://{bucket}/{archive.key}\n"
                f"POMONA_ARCHIVE_SHA256={archive.sha256}\n"
            ).encode(),
        }
        for key, text in texts.items():
            client.put_object(Bucket=bucket, Key=key, Body=text)


def is_laid_down(cloud: Cloud, bucket: str) -> bool:
    """Whether instances find in the bucket what they start from."""
    with asking():
        if not _exists(cloud, bucket, _SETTINGS):
            return False
        body = cloud.client("s3").get_object(Bucket=bucket, Key=_SETTINGS)["Body"].read().decode()
        key = body.split("\n", 1)[0].rpartition(f"s3://{bucket}/")[2]
        return _exists(cloud, bucket, key)


def make_secret(cloud: Cloud) -> None:
    """Make the secret of Spark's RPC, unless there is one; it is never printed."""
    client = cloud.client("ssm")
    with asking():
        try:
            client.put_parameter(
                Name=cloud.parameter("secret"),
                Type="SecureString",
                Value=secrets.token_urlsafe(48),
                Tags=[{"Key": "pomona:cluster", "Value": cloud.name}],
            )
        except Exception as error:
            if code_of(error) != "ParameterAlreadyExists":
                raise


def forget_master(cloud: Cloud) -> None:
    """Forget the address of a master that is gone: workers then wait for the next one."""
    _delete_parameters(cloud, ["master"])


def forget_all(cloud: Cloud) -> None:
    """Delete secret and address."""
    _delete_parameters(cloud, ["master", "secret"])


def _delete_parameters(cloud: Cloud, names: list[str]) -> None:
    with asking():
        cloud.client("ssm").delete_parameters(Names=[cloud.parameter(name) for name in names])


def bucket_exists(cloud: Cloud, bucket: str) -> bool:
    """Whether the bucket is there and ours.

    Raises:
        CloudError: somebody else has it.
    """
    try:
        with asking():
            cloud.client("s3").head_bucket(Bucket=bucket)
    except CloudError as error:
        code = code_of(error.__cause__) if isinstance(error.__cause__, Exception) else ""
        if code in ("404", "NoSuchBucket"):
            return False
        if code == "403":
            raise CloudError(
                f"The bucket {bucket} exists and refuses us.",
                "Give the cluster another --name, or yourself the rights that `pomona cloud "
                "rights` prints.",
            ) from error
        raise
    return True


def delete_bucket(cloud: Cloud, bucket: str, tell: Callable[[str], None]) -> None:
    """Delete the bucket with everything in it."""
    if not bucket_exists(cloud, bucket):
        return
    client, gone = cloud.client("s3"), 0
    with asking():
        pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket)
        for page in pages:
            found = page.get("Versions", []) + page.get("DeleteMarkers", [])
            if not found:
                continue
            answer = client.delete_objects(
                Bucket=bucket,
                Delete={
                    "Quiet": True,
                    "Objects": [{"Key": o["Key"], "VersionId": o["VersionId"]} for o in found],
                },
            )
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise CloudError(
                    f"s3://{bucket}/{first['Key']} cannot be deleted: {first.get('Message', '')}",
                    "Repeat the command with the rights to delete it.",
                )
            gone += len(found)
        client.delete_bucket(Bucket=bucket)
    tell(f"deleted {gone:,} objects and the bucket {bucket}")


def holds_nothing_else(cloud: Cloud, bucket: str) -> bool:
    """Whether all that lies in the bucket is what instances start from."""
    with asking():
        answer = cloud.client("s3").list_objects_v2(Bucket=bucket, MaxKeys=100)
    return not answer.get("IsTruncated") and all(
        o["Key"].startswith(FOLDER) for o in answer.get("Contents", [])
    )


def _exists(cloud: Cloud, bucket: str, key: str) -> bool:
    try:
        cloud.client("s3").head_object(Bucket=bucket, Key=key)
    except Exception as error:
        if code_of(error) in ("404", "NoSuchKey", "NotFound"):
            return False
        raise
    return True


def _script(package: str, name: str) -> bytes:
    try:
        return (files(package) / name).read_bytes()
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise CloudError(f"{name} is missing here.", "Install Pomona anew.") from error
