"""boto3 with the bucket in the host name, against a server that knows its domain."""

import socket

import pytest

from conftest import new_bucket_name, remove_bucket, s3_client
from support import MIB, ODD_KEYS, fetch, payload, same_bytes
from test_boto3_objects import body_of


@pytest.fixture
def loopback_names(monkeypatch):
    """Any name under localhost is this machine, whatever its resolver thinks."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        if host == "localhost" or str(host).endswith(".localhost"):
            host = "127.0.0.1"
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_buckets_as_hosts(vhost_endpoint, loopback_names):
    host = s3_client(vhost_endpoint, s3={"addressing_style": "virtual"}, signature_version="s3v4")
    path = s3_client(vhost_endpoint, s3={"addressing_style": "path"}, signature_version="s3v4")
    urls = []
    host.meta.events.register("before-send.s3", lambda request, **_: urls.append(request.url))
    bucket = new_bucket_name()
    host.create_bucket(Bucket=bucket)
    try:
        kept = {key: payload(20 + index, key) for index, key in enumerate(ODD_KEYS)}
        # A key that looks like the bucket's own path is just a key.
        kept[f"{bucket}/key"] = b"not in another bucket"
        kept["big"] = payload(6 * MIB, "vhost")
        for key, data in kept.items():
            host.put_object(Bucket=bucket, Key=key, Body=data)
        assert all(f"//{bucket}.localhost:" in url for url in urls)

        # Both styles see the same bucket.
        for client in (host, path):
            listed = client.list_objects_v2(Bucket=bucket)["Contents"]
            assert [entry["Key"] for entry in listed] == sorted(kept, key=str.encode)
            for key, data in kept.items():
                assert same_bytes(body_of(client, Bucket=bucket, Key=key), data)

        host.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "big"})
        url = host.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "copy"})
        assert f"//{bucket}.localhost:" in url
        assert same_bytes(fetch(url).body, kept["big"])
        doomed = [{"Key": key} for key in (*kept, "copy")]
        assert not host.delete_objects(Bucket=bucket, Delete={"Objects": doomed}).get("Errors")
        host.delete_bucket(Bucket=bucket)
        assert bucket not in [each["Name"] for each in host.list_buckets()["Buckets"]]
    finally:
        remove_bucket(path, bucket)
