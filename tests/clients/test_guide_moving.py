"""The guide's ways to JOG from another S3 server, and from JOG to one that is distributed, with
rclone, while clients read and write. SeaweedFS is the other server both times: MinIO's binaries are
no longer to be had, and its remote differs from others in the name of the provider alone."""

import io
import re
import threading

import pytest
from botocore.exceptions import ClientError

import weed
from conftest import Jog, s3_client
from guide import Sandbox
from support import MIB, Command, Endpoint, is_foreign, payload, same_bytes, wait_for
from test_guide import said_by

pytestmark = pytest.mark.skipif(is_foreign(), reason="it is about JOG's own commands")

# What an object may have that comes along.
HEADERS = {
    "ContentType": "text/x-odd",
    "CacheControl": "max-age=5",
    "ContentLanguage": "ja",
    "ContentDisposition": "attachment",
    "ContentEncoding": "gzip",
}
# More than rclone sends in one piece; its own bound would be 200 MiB.
BIG = 20 * MIB
IN_PARTS = {"RCLONE_S3_UPLOAD_CUTOFF": "8M", "RCLONE_S3_CHUNK_SIZE": "5M"}
NAMES = ("a", "deep/er/b", "with space +&%.txt", "日本語/ü.txt")


@pytest.fixture
def seaweed(tmp_path):
    other = weed.Weed(tmp_path / "weed")
    yield other
    other.stop()


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path / "sandbox")
    sandbox.env |= IN_PARTS
    return sandbox


@pytest.fixture
def jog(tmp_path, sandbox):
    server = Jog(tmp_path, JOG_DATA_DIR=str(sandbox.path("/var/lib/jog")))
    yield server
    server.stop()


def retrying(endpoint: Endpoint):
    return s3_client(endpoint, retries={"total_max_attempts": 5})


def fill(s3, bucket: str) -> dict[str, bytes]:
    """A bucket with versions, tags, metadata, odd keys and one object in parts."""
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    kept = {name: payload(2000 + index, name) for index, name in enumerate(NAMES)}
    for name, data in kept.items():
        s3.put_object(Bucket=bucket, Key=name, Body=b"older")
        s3.put_object(Bucket=bucket, Key=name, Body=data, Metadata={"name": "value"}, **HEADERS)
        s3.put_object_tagging(
            Bucket=bucket, Key=name, Tagging={"TagSet": [{"Key": "tag", "Value": "v"}]}
        )
    s3.put_object(Bucket=bucket, Key="gone", Body=b"deleted")
    s3.delete_object(Bucket=bucket, Key="gone")
    return kept


def contents(s3, bucket: str) -> dict[str, bytes]:
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            key = entry["Key"]
            found[key] = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return found


def check_what_comes_along(s3, bucket: str):
    """What the guide says of it, and of what does not."""
    for name in NAMES:
        head = s3.head_object(Bucket=bucket, Key=name)
        for header, value in HEADERS.items():
            assert head[header] == value, (name, header)
        assert head["Metadata"].pop("mtime") and head["Metadata"].pop("btime")
        assert head["Metadata"] == {"name": "value"}
        assert s3.get_object_tagging(Bucket=bucket, Key=name)["TagSet"] == []
    assert s3.get_bucket_versioning(Bucket=bucket).get("Status") is None
    versions = s3.list_object_versions(Bucket=bucket)
    assert not versions.get("DeleteMarkers")
    keys = [version["Key"] for version in versions["Versions"]]
    assert sorted(set(keys)) == sorted(keys)


class Writer(threading.Thread):
    """A client that writes, overwrites and deletes until it is stopped or refused."""

    def __init__(self, s3, bucket: str):
        super().__init__()
        self.s3, self.bucket = s3, bucket
        self.there: dict[str, bytes] = {}
        self.rounds, self.halt, self.refused = 0, threading.Event(), None
        self.start()

    def run(self):
        while not self.halt.is_set():
            n = self.rounds
            key, body = f"live/{n % 40:03}", payload(500, n)  # the same size each time
            try:
                self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
                self.there[key] = body
                if n % 7 == 3:
                    self.s3.delete_object(Bucket=self.bucket, Key=key)
                    del self.there[key]
            except ClientError as error:
                self.refused = error.response["Error"]["Code"]
                return
            self.rounds += 1

    def stop(self):
        self.halt.set()
        self.join()


def only_gone(status: int, said: str):
    """A copy beside clients that delete may say that something was gone, and nothing else."""
    errors = [line for line in said.splitlines() if "ERROR" in line]
    for line in errors:
        known = ("object not found", "not deleting files", "not deleting directories", "Attempt")
        assert any(text in line for text in known), line
    assert bool(status) == bool(errors), said


def remotes(label: str, sandbox: Sandbox, **endpoints: Endpoint):
    """Defines the remotes of a block, each with the endpoint and keys that stand there for it."""
    places = {}
    for name, endpoint in endpoints.items():
        prefix = {"old": "OLD", "jog": "JOG", "new": "NEW"}[name]
        host = {"old": "minio", "jog": "s3", "new": "seaweedfs"}[name]
        places |= {
            f"https://{host}.example.com": endpoint.url,
            f"{prefix}_ACCESS_KEY": endpoint.access_key,
            f"{prefix}_SECRET_KEY": endpoint.secret_key,
        }
    sandbox.run(label, **places)


def test_from_another_server(seaweed, jog, sandbox):
    old, new = retrying(seaweed.endpoint), s3_client(jog.endpoint)
    kept = fill(old, "photos")
    old.create_bucket(Bucket="films")
    old.put_object(Bucket="films", Key="one", Body=b"film")
    old.put_object(Bucket="films", Key="folder/", Body=b"")
    big = payload(BIG, "big")
    old.upload_fileobj(io.BytesIO(big), "films", "big")
    remotes("clients:minio-remotes", sandbox, old=seaweed.endpoint, jog=jog.endpoint)

    writer = Writer(old, "photos")
    try:
        wait_for("some writes", lambda: writer.rounds > 60, 30)
        only_gone(*sandbox.run_anyhow("clients:minio-copy"))
        rounds = writer.rounds
        wait_for("more of them", lambda: writer.rounds > rounds + 50, 30)
    finally:
        writer.stop()
    # The copy is behind: the comparison finds it.
    assert contents(new, "photos") != kept | writer.there
    assert "differences found" in sandbox.run("clients:minio-check", ok=False)

    copied = {name: new.head_object(Bucket="photos", Key=name)["LastModified"] for name in NAMES}
    sandbox.run("clients:minio-last")
    sandbox.run("clients:minio-check")
    assert contents(new, "photos") == kept | writer.there
    films = contents(new, "films")
    # Markers of folders stay behind, as the guide says.
    assert sorted(films) == ["big", "one"]
    assert same_bytes(films["big"], big)
    check_what_comes_along(new, "photos")
    # What had not changed was not copied anew.
    for name, moment in copied.items():
        assert new.head_object(Bucket="photos", Key=name)["LastModified"] == moment


def test_to_a_distributed_one(seaweed, jog, sandbox):
    root, new = s3_client(jog.endpoint), retrying(seaweed.endpoint)
    data = sandbox.path("/var/lib/jog")
    kept = fill(root, "photos")
    big = payload(BIG, "grown")
    root.upload_fileobj(io.BytesIO(big), "photos", "big")
    remotes("clients:grow-remotes", sandbox, jog=jog.endpoint, new=seaweed.endpoint)

    said = said_by(
        "user", "add", "camera", "--allow", "list,read,write", "--bucket", "photos",
        "--data-dir", str(data),
    )  # fmt: skip
    keys = (re.search(rf"^{name} key +(.*)$", said, re.MULTILINE) for name in ("access", "secret"))
    camera = s3_client(Endpoint(jog.endpoint.url, *(key.group(1) for key in keys)))
    writer = Writer(camera, "photos")
    try:
        wait_for("some writes", lambda: writer.rounds > 60, 30)
        only_gone(*sandbox.run_anyhow("clients:grow-copy"))
        rounds = writer.rounds
        wait_for("more of them", lambda: writer.rounds > rounds + 50, 30)
        assert contents(new, "photos") != kept | writer.there | {"big": big}
        # The writer is still at it.
        sandbox.run("clients:grow-switch")
        writer.join(20)
    finally:
        writer.stop()
    assert writer.refused == "AccessDenied"
    moved = contents(new, "photos")
    assert moved.keys() == (kept | writer.there).keys() | {"big"}
    assert same_bytes(moved.pop("big"), big)
    assert moved == kept | writer.there
    check_what_comes_along(new, "photos")
    # Reading goes on.
    assert camera.get_object(Bucket="photos", Key="a")["Body"].read() == kept["a"]


def test_what_the_check_tells(seaweed, jog, sandbox):
    """Keys that do not come along, as the guide says."""
    root, new = s3_client(jog.endpoint), retrying(seaweed.endpoint)
    rclone = Command(sandbox.bin / "rclone", env=sandbox.env)
    remotes("clients:grow-remotes", sandbox, jog=jog.endpoint, new=seaweed.endpoint)
    root.create_bucket(Bucket="odd")
    for key in ("/first", "b//c", "last/", "plain"):
        root.put_object(Bucket="odd", Key=key, Body=b"")
    rclone("sync", "jog:odd", "new:odd", "--metadata", "--fast-list")
    assert sorted(contents(new, "odd")) == ["b/c", "plain"]
    told = rclone.fails("check", "jog:odd", "new:odd", "--download")
    assert "/first: file not in" in told and "b//c: file not in" in told and "last/" not in told
    # To a JOG those with // do come along.
    rclone("sync", "jog:odd", "jog:odd-too", "--metadata", "--fast-list")
    assert sorted(contents(root, "odd-too")) == ["b//c", "plain"]
    # Markers of folders do so without a word.
    root.delete_object(Bucket="odd", Key="/first")
    assert "last" not in rclone.run("check", "jog:odd", "jog:odd-too", "--download").stderr.decode()
