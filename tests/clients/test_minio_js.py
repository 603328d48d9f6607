"""MinIO's client for JavaScript, in minio_js.mjs."""

import json
import shutil

import pytest

from support import HERE, MIB, Command, clean_env, client_program


@pytest.mark.parametrize("transport", ["http", "tls"])
def test_all(home, endpoint, tls_endpoint, terminator, bucket_name, transport):
    directory = client_program("JOG_CLIENTS_NODE_DIR")
    shutil.copy(HERE / "minio_js.mjs", directory)
    where = tls_endpoint if transport == "tls" else endpoint
    trust = {"NODE_EXTRA_CA_CERTS": str(terminator.ca_file)}
    env = clean_env(home, where.aws_env, {"BUCKET": bucket_name}, trust)
    node = Command(client_program("JOG_CLIENTS_NODE"), directory / "minio_js.mjs", env=env)
    assert json.loads(node()) == {"keys": 6, "bytes": 12 * MIB + 11}
