"""The AWS SDK for JavaScript, in sdk_js.mjs."""

import json
import shutil

import pytest

from support import HERE, MIB, Command, clean_env, client_program


@pytest.fixture
def flow(home):
    """Runs a flow of the script beside its modules, and gives what it printed."""
    directory = client_program("JOG_CLIENTS_NODE_DIR")
    shutil.copy(HERE / "sdk_js.mjs", directory)

    def run(endpoint, bucket: str, name: str, **more: str):
        env = clean_env(home, endpoint.aws_env, {"BUCKET": bucket}, more)
        node = Command(client_program("JOG_CLIENTS_NODE"), directory / "sdk_js.mjs", env=env)
        return json.loads(node(name))

    return run


def test_objects(flow, endpoint, bucket_name):
    assert flow(endpoint, bucket_name, "objects") == {"keys": 9}


@pytest.mark.parametrize("transport", ["http", "tls"])
@pytest.mark.parametrize("name", ["uploads", "checksums"])
def test_streams_and_checksums(flow, endpoint, tls_endpoint, terminator, bucket, name, transport):
    if transport == "tls":
        more = {"NODE_EXTRA_CA_CERTS": str(terminator.ca_file)}
        done = flow(tls_endpoint, bucket, name, **more)
    else:
        done = flow(endpoint, bucket, name)
    if name == "uploads":
        assert done == {"bytes": 20 * MIB + 11}
    else:
        names = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")
        assert done == {"trailers": [f"x-amz-checksum-{each}" for each in names]}


def test_presigned(flow, endpoint, bucket):
    assert flow(endpoint, bucket, "presigned") == {"bytes": 100_000}
