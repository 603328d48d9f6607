"""A disk that gets full: nothing acknowledged is lost, deletes work, and writing works again."""

import os
import subprocess

import pytest
from botocore.exceptions import ClientError

from conftest import Jog, s3_client
from support import MIB, fetch, payload, same_bytes, stop, wait_for

SIZE = 48 * MIB


@pytest.fixture
def small_disk(tmp_path):
    """A small file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root, to mount a tmpfs")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(s3, bucket, prefix, size):
    """Writes until the server refuses; what it acknowledged, and the refusal."""
    kept = {}
    for number in range(10 * SIZE // size):
        key, data = f"{prefix}{number}", payload(size, f"{prefix}{number}")
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=data)
        except ClientError as error:
            return kept, error.response
        kept[key] = data
    raise AssertionError("the disk never got full")


def all_there(s3, bucket, kept):
    listed = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
              for o in page.get("Contents", [])]
    assert sorted(listed) == sorted(kept)
    for key, data in kept.items():
        assert same_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read(), data)


def test_full_and_empty_again(small_disk, tmp_path):
    jog = Jog(tmp_path, JOG_DATA_DIR=str(small_disk / "data"))
    try:
        s3 = s3_client(jog.endpoint)
        s3.create_bucket(Bucket="full")
        kept, refused = fill(s3, "full", "large/", 3 * MIB)
        assert refused["ResponseMetadata"]["HTTPStatusCode"] == 507
        assert len(kept) >= 10
        more, _ = fill(s3, "full", "small/", 20_000)
        kept |= more
        all_there(s3, "full", kept)

        # Somebody else takes what is left, to the last byte.
        hog = small_disk / "hog"
        with hog.open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"x" * 4096)
        with pytest.raises(ClientError) as refusal:
            s3.put_object(Bucket="full", Key="no", Body=b"x" * 100_000)
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        all_there(s3, "full", kept)
        hog.unlink()

        # Deletes work, and give the room back though deleted files are kept for a day otherwise.
        for key in [key for key in kept if key.startswith("large/")][:8]:
            s3.delete_object(Bucket="full", Key=key)
            del kept[key]
        again, _ = fill(s3, "full", "again/", 3 * MIB)
        assert len(again) >= 6
        kept |= again
        all_there(s3, "full", kept)

        # A delete is enough for the server to call itself ready again.
        s3.delete_object(Bucket="full", Key="again/0")
        del kept["again/0"]
        wait_for("the server to be ready", lambda: fetch(
            f"{jog.endpoint.url}/_jog/health").status == 200, 20)

        # And all of it is still there for a server that starts anew.
        jog.process.kill()
        jog.process.wait()
        work = tmp_path / "second"
        work.mkdir()
        second = Jog(work, JOG_DATA_DIR=str(small_disk / "data"))
        try:
            all_there(s3_client(second.endpoint), "full", kept)
        finally:
            stop(second.process)
    finally:
        jog.process.kill()
        jog.process.wait()
