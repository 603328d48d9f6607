"""MinIO's client for Python."""

import io
from datetime import timedelta

import pytest
import urllib3
from minio import Minio
from minio.commonconfig import REPLACE, ComposeSource, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from support import (
    KIB,
    MIB,
    MULTIPART_SIZE,
    ODD_KEYS,
    REGION,
    SMALL_SIZES,
    fetch,
    md5_etag,
    multipart_etag,
    payload,
    same_bytes,
    split,
)


def client(endpoint, **more) -> Minio:
    """A client that does not try again."""
    pool = urllib3.PoolManager(retries=False, timeout=60, maxsize=8, **more)
    return Minio(
        endpoint.host,
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key,
        secure=endpoint.url.startswith("https:"),
        region=REGION,
        http_client=pool,
    )


@pytest.fixture(scope="module")
def minio(endpoint):
    """MinIO's client over plain HTTP."""
    return client(endpoint)


def content(minio, bucket: str, key: str, **how) -> bytes:
    """What GetObject gives."""
    response = minio.get_object(bucket, key, **how)
    try:
        return response.read()
    finally:
        response.close()
        response.release_conn()


def test_a_bucket_and_its_objects(minio, bucket_name):
    assert not minio.bucket_exists(bucket_name)
    minio.make_bucket(bucket_name)
    assert minio.bucket_exists(bucket_name)
    assert bucket_name in [each.name for each in minio.list_buckets()]

    kept = {key: payload(SMALL_SIZES[n % 3], key) for n, key in enumerate(ODD_KEYS)}
    for key, data in kept.items():
        put = minio.put_object(
            bucket_name, key, io.BytesIO(data), len(data), "text/x-odd", metadata={"colour": "blue"}
        )
        if len(data) <= 5 * MIB:
            assert put.etag == md5_etag(data).strip('"')
    for key, data in kept.items():
        assert same_bytes(content(minio, bucket_name, key), data)
        stat = minio.stat_object(bucket_name, key)
        assert (stat.size, stat.content_type) == (len(data), "text/x-odd")
        assert stat.metadata["x-amz-meta-colour"] == "blue"
    odd = "plus+sign & ampersand.txt"
    assert content(minio, bucket_name, odd, offset=3, length=4) == kept[odd][3:7]

    everything = minio.list_objects(bucket_name, recursive=True)
    assert [each.object_name for each in everything] == sorted(kept, key=str.encode)
    top = minio.list_objects(bucket_name, use_api_v1=True)
    assert {each.object_name for each in top if each.is_dir} == {
        "a/", "deep/", "folder/", "日本語/"
    }  # fmt: skip
    under = minio.list_objects(bucket_name, prefix="a/", start_after="a/b")
    assert [each.object_name for each in under] == ["a/b/"]

    with pytest.raises(S3Error) as caught:
        minio.remove_bucket(bucket_name)
    assert caught.value.code == "BucketNotEmpty"
    # Lazy: the deletes happen while the errors are read.
    assert not list(minio.remove_objects(bucket_name, [DeleteObject(key) for key in kept]))
    minio.remove_bucket(bucket_name)
    assert not minio.bucket_exists(bucket_name)


def test_multipart_of_unknown_length(minio, bucket):
    data = payload(MULTIPART_SIZE, "minio")
    put = minio.put_object(
        bucket, "ü +", io.BytesIO(data), length=-1, part_size=5 * MIB, num_parallel_uploads=4
    )
    assert put.etag == multipart_etag(split(data, 5 * MIB)).strip('"')
    assert same_bytes(content(minio, bucket, "ü +"), data)
    seam = 5 * MIB - 2
    assert content(minio, bucket, "ü +", offset=seam, length=5) == data[seam : seam + 5]


def test_over_tls(tls_endpoint, terminator, bucket):
    # Payloads are not signed there.
    minio = client(tls_endpoint, ca_certs=str(terminator.ca_file))
    for size in (*SMALL_SIZES, MULTIPART_SIZE):
        data = payload(size, "tls")
        minio.put_object(bucket, "key", io.BytesIO(data), size, part_size=5 * MIB)
        assert same_bytes(content(minio, bucket, "key"), data)


def test_copy_and_compose(minio, bucket):
    pieces = [payload(5 * MIB + n, n) for n in range(3)]
    for number, piece in enumerate(pieces):
        minio.put_object(bucket, f"piece +{number} ü", io.BytesIO(piece), len(piece))
    minio.copy_object(
        bucket,
        "copy",
        CopySource(bucket, "piece +0 ü"),
        metadata={"colour": "red"},
        metadata_directive=REPLACE,
    )
    assert minio.stat_object(bucket, "copy").metadata["x-amz-meta-colour"] == "red"
    assert same_bytes(content(minio, bucket, "copy"), pieces[0])

    sources = [ComposeSource(bucket, f"piece +{number} ü") for number in range(3)]
    sources.append(ComposeSource(bucket, "copy", offset=10, length=100 * KIB))
    minio.compose_object(bucket, "composed", sources)
    whole = b"".join(pieces) + pieces[0][10 : 10 + 100 * KIB]
    assert same_bytes(content(minio, bucket, "composed"), whole)


def test_presigned_urls(minio, bucket):
    key, data = "日本語/ü ñ+%&.txt", payload(KIB, "presigned")
    url = minio.presigned_put_object(bucket, key, expires=timedelta(minutes=1))
    assert fetch(url, method="PUT", data=data).status == 200
    url = minio.presigned_get_object(bucket, key, response_headers={"response-content-type": "a/b"})
    answer = fetch(url)
    assert answer.headers["content-type"] == "a/b"
    assert same_bytes(answer.body, data)
