"""boto3: objects, their bytes, checksums, metadata, conditions, and what goes wrong."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from urllib.parse import quote, unquote

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from conftest import new_bucket_name, remove_bucket, s3_client
from support import (
    CHECKSUMS,
    KIB,
    MIB,
    ODD_KEYS,
    SMALL_SIZES,
    Endpoint,
    is_foreign,
    md5_etag,
    payload,
    same_bytes,
)


def error_of(call, **arguments) -> tuple[int, str]:
    """Status and code of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


@contextmanager
def skipped_if_not_implemented():
    """Skips the test if another server says 501: it does not claim to have this."""
    try:
        yield
    except ClientError as error:
        if is_foreign() and error.response["ResponseMetadata"]["HTTPStatusCode"] == 501:
            pytest.skip(error.response["Error"].get("Message", "not implemented"))
        raise


def body_of(s3, **arguments) -> bytes:
    """What GetObject gives."""
    return s3.get_object(**arguments)["Body"].read()


def test_odd_keys_of_all_sizes(s3, bucket):
    keys = {
        key: payload(SMALL_SIZES[index % len(SMALL_SIZES)], key)
        for index, key in enumerate((*ODD_KEYS, "tab\tand\nnew line", "x" * 1024))
    }
    for key, data in keys.items():
        assert s3.put_object(Bucket=bucket, Key=key, Body=data)["ETag"] == md5_etag(data)
    for key, data in keys.items():
        got = s3.get_object(Bucket=bucket, Key=key)
        assert same_bytes(got["Body"].read(), data)
        assert (got["ETag"], got["ContentLength"]) == (md5_etag(data), len(data))
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["Key"] for entry in listed] == sorted(keys, key=str.encode)
    assert {entry["Key"]: entry["Size"] for entry in listed} == {
        key: len(data) for key, data in keys.items()
    }
    # A key goes without those under it.
    s3.delete_object(Bucket=bucket, Key="a")
    assert error_of(s3.get_object, Bucket=bucket, Key="a") == (404, "NoSuchKey")
    assert same_bytes(body_of(s3, Bucket=bucket, Key="a/b"), keys["a/b"])


@pytest.mark.parametrize("transport", ["http", "tls"])
@pytest.mark.parametrize("algorithm", [None, *CHECKSUMS])
def test_checksums_in_headers_and_trailers(request, bucket, transport, algorithm):
    client = request.getfixturevalue("s3" if transport == "http" else "s3_tls")
    sent = {}
    note = _note_headers(sent)
    client.meta.events.register_first("before-send.s3.PutObject", note)
    asked = {} if algorithm is None else {"ChecksumAlgorithm": algorithm}
    field = f"Checksum{algorithm or 'CRC32'}"
    try:
        for size in (*SMALL_SIZES, 70 * KIB):
            data = payload(size, field)
            put = client.put_object(Bucket=bucket, Key="key", Body=data, **asked)
            assert put[field] == CHECKSUMS[field.removeprefix("Checksum")](data)
            # boto3 checks the sum itself; it must have had one to check.
            got = client.get_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
            assert got[field] == put[field]
            assert got["ChecksumType"] == "FULL_OBJECT"
            assert same_bytes(got["Body"].read(), data)
            assert "aws-chunked" not in got.get("ContentEncoding", "")
    finally:
        client.meta.events.unregister("before-send.s3.PutObject", note)
    if transport == "tls":
        assert sent["x-amz-trailer"] == f"x-amz-checksum-{field[8:].lower()}"
        assert sent["x-amz-content-sha256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    else:
        assert f"x-amz-checksum-{field[8:].lower()}" in sent


def _note_headers(sent: dict):
    def note(request, **_rest):
        sent.clear()
        for name, value in request.headers.items():
            text = value.decode() if isinstance(value, bytes) else str(value)
            sent[name.lower()] = text

    return note


@pytest.mark.parametrize("signed", [True, False])
def test_signed_and_unsigned_payloads(tls_endpoint, terminator, bucket, signed):
    client = s3_client(
        tls_endpoint,
        terminator.ca_file,
        signature_version="s3v4",
        s3={"payload_signing_enabled": signed},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    for size in SMALL_SIZES:
        data = payload(size, signed)
        client.put_object(Bucket=bucket, Key="key", Body=data)
        assert same_bytes(body_of(client, Bucket=bucket, Key="key"), data)


def test_metadata_and_headers_come_back(s3, bucket):
    expires = datetime(2031, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    headers = {
        "ContentType": "text/plain; charset=utf-8",
        "ContentDisposition": "attachment; filename=\"x y.txt\"; filename*=UTF-8''%E6%97%A5.txt",
        "ContentEncoding": "gzip",
        "ContentLanguage": "ja",
        "CacheControl": "max-age=60, no-transform",
        "Expires": expires,
    }
    # Outside ASCII, metadata travels encoded, and is not the server's to decode.
    text = "日本語 ü"
    metadata = {
        "plain": "some text,  with  inner   spaces",
        "mixed-case_name.x": "kept",
        "quoted": quote(text),
        "rfc2047": f"=?UTF-8?B?{base64.b64encode(text.encode()).decode()}?=",
        "empty": "",
    }
    at = {"Bucket": bucket, "Key": "key"}
    s3.put_object(**at, Body=b"data", Metadata=metadata, **headers)
    got = s3.get_object(**at)
    head = s3.head_object(**at)
    for answer in (got, head):
        assert answer["Metadata"] == metadata
        assert {name: answer[name] for name in headers if name != "Expires"} == {
            name: value for name, value in headers.items() if name != "Expires"
        }
        assert answer["ExpiresString"] == "Mon, 03 Feb 2031 04:05:06 GMT"
        assert answer["LastModified"] <= datetime.now(timezone.utc) + timedelta(seconds=1)
        assert answer["AcceptRanges"] == "bytes"
    assert unquote(got["Metadata"]["quoted"]) == text
    with pytest.raises(ParamValidationError):
        s3.put_object(**at, Body=b"", Metadata={"raw": text})

    # GET can ask for other headers than the stored ones.
    got = s3.get_object(**at, ResponseContentType="image/x-odd", ResponseCacheControl="no-store")
    assert (got["ContentType"], got["CacheControl"]) == ("image/x-odd", "no-store")

    # A copy onto itself replaces the metadata and leaves the bytes.
    s3.copy_object(
        **at, CopySource=at, MetadataDirective="REPLACE", Metadata={"new": "1"}, ContentType="a/b"
    )
    got = s3.get_object(**at)
    assert (got["Metadata"], got["ContentType"]) == ({"new": "1"}, "a/b")
    assert got["Body"].read() == b"data"


def test_ranges(s3, bucket):
    data = payload(MIB + 3, "ranges")
    at = {"Bucket": bucket, "Key": "key"}
    s3.put_object(**at, Body=data)
    size = len(data)
    for text, first, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=1-99", 1, 100),
        (f"bytes={size - 1}-", size - 1, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=-{size * 2}", 0, size),
        (f"bytes=1000-{size * 2}", 1000, size),
    ):
        got = s3.get_object(**at, Range=text)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"] == f"bytes {first}-{end - 1}/{size}"
        assert got["ContentLength"] == end - first
        assert same_bytes(got["Body"].read(), data[first:end])
    assert error_of(s3.get_object, **at, Range=f"bytes={size}-") == (416, "InvalidRange")
    s3.put_object(**at, Body=b"")
    assert error_of(s3.get_object, **at, Range="bytes=0-0") == (416, "InvalidRange")


def test_conditional_reads(s3, bucket):
    at = {"Bucket": bucket, "Key": "key"}
    etag = s3.put_object(**at, Body=b"data")["ETag"]
    modified = s3.head_object(**at)["LastModified"]
    before, later = modified - timedelta(hours=1), modified + timedelta(seconds=1)
    for call in (s3.get_object, s3.head_object):
        for condition in (
            {"IfMatch": etag},
            {"IfMatch": "*"},
            {"IfNoneMatch": '"other"'},
            {"IfModifiedSince": before},
            {"IfUnmodifiedSince": later},
            {"IfMatch": etag, "IfUnmodifiedSince": before},
        ):
            assert call(**at, **condition)["ETag"] == etag
        for condition in (
            {"IfNoneMatch": etag},
            {"IfNoneMatch": f'"other", {etag}'},
            {"IfModifiedSince": modified},
            {"IfNoneMatch": etag, "IfModifiedSince": before},
        ):
            assert error_of(call, **at, **condition)[0] == 304
        for condition in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": before}):
            assert error_of(call, **at, **condition)[0] == 412


def test_conditional_writes(s3, bucket):
    at = {"Bucket": bucket, "Key": "lock file"}
    absent = (404, "NoSuchKey")
    refused = (412, "PreconditionFailed")
    assert error_of(s3.put_object, **at, Body=b"0", IfMatch=md5_etag(b"?")) == absent
    s3.put_object(**at, Body=b"first", IfNoneMatch="*")
    assert error_of(s3.put_object, **at, Body=b"second", IfNoneMatch="*") == refused
    assert error_of(s3.put_object, **at, Body=b"2", IfMatch=md5_etag(b"?")) == refused
    assert body_of(s3, **at) == b"first"
    s3.put_object(**at, Body=b"second", IfMatch=md5_etag(b"first"))
    assert body_of(s3, **at) == b"second"

    # Of many at once, one makes it.
    def attempt(number: int) -> int | None:
        try:
            s3.put_object(Bucket=bucket, Key="race", Body=str(number), IfNoneMatch="*")
            return number
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(attempt, range(24)) if number is not None]
    assert len(winners) == 1
    assert body_of(s3, Bucket=bucket, Key="race") == str(winners[0]).encode()


def test_copies(s3, bucket):
    data = payload(300 * KIB, "copy")
    source = {"Bucket": bucket, "Key": "日本語/ü ñ+%&.txt"}
    put = s3.put_object(**source, Body=data, Metadata={"a": "b"}, ContentType="x/y")
    target = {"Bucket": bucket, "Key": "to+here %20"}
    copied = s3.copy_object(**target, CopySource=source, CopySourceIfMatch=put["ETag"])
    assert copied["CopyObjectResult"]["ETag"] == md5_etag(data)
    got = s3.get_object(**target)
    assert (got["Metadata"], got["ContentType"]) == ({"a": "b"}, "x/y")
    assert same_bytes(got["Body"].read(), data)

    # The copy is independent of what becomes of the source.
    s3.delete_object(**source)
    assert same_bytes(body_of(s3, **target), data)
    assert error_of(s3.copy_object, **target, CopySource=source) == (404, "NoSuchKey")
    assert error_of(
        s3.copy_object, Bucket=bucket, Key="x", CopySource=target, CopySourceIfNoneMatch=put["ETag"]
    ) == (412, "PreconditionFailed")
    assert error_of(s3.copy_object, **target, CopySource=target) == (400, "InvalidRequest")

    other = new_bucket_name()
    s3.create_bucket(Bucket=other)
    try:
        s3.copy({"Bucket": bucket, "Key": target["Key"]}, other, "deep/copy")
        assert same_bytes(body_of(s3, Bucket=other, Key="deep/copy"), data)
    finally:
        remove_bucket(s3, other)


def test_errors_by_their_codes(s3, bucket, endpoint):
    at = {"Bucket": bucket, "Key": "key"}
    nowhere = {"Bucket": new_bucket_name(), "Key": "key"}
    assert error_of(s3.get_object, **at) == (404, "NoSuchKey")
    assert error_of(s3.head_object, **at) == (404, "404")
    assert error_of(s3.get_object, **nowhere) == (404, "NoSuchBucket")
    assert error_of(s3.put_object, **nowhere, Body=b"") == (404, "NoSuchBucket")
    assert error_of(s3.list_objects_v2, Bucket=nowhere["Bucket"]) == (404, "NoSuchBucket")
    assert error_of(s3.head_bucket, Bucket=nowhere["Bucket"]) == (404, "404")
    assert error_of(s3.delete_bucket, Bucket=nowhere["Bucket"]) == (404, "NoSuchBucket")
    assert error_of(s3.create_bucket, Bucket="Upper.Case") == (400, "InvalidBucketName")
    too_long = {"Bucket": bucket, "Key": "x" * 1025}
    assert error_of(s3.put_object, **too_long, Body=b"") == (400, "KeyTooLongError")

    other_md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert error_of(s3.put_object, **at, Body=b"data", ContentMD5=other_md5) == (400, "BadDigest")
    assert error_of(s3.put_object, **at, Body=b"data", ContentMD5="no!") == (400, "InvalidDigest")
    wrong = CHECKSUMS["SHA256"](b"other")
    assert error_of(s3.put_object, **at, Body=b"data", ChecksumSHA256=wrong) == (400, "BadDigest")
    assert error_of(s3.get_object, **at) == (404, "NoSuchKey")

    s3.put_object(**at, Body=b"data")
    assert error_of(s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")
    s3.delete_object(**at)
    s3.delete_object(**at)  # deleting nothing is fine

    stranger = s3_client(Endpoint(endpoint.url, "NOBODYNOBODYNOBODY00", endpoint.secret_key))
    assert error_of(stranger.list_buckets) == (403, "InvalidAccessKeyId")
    forger = s3_client(Endpoint(endpoint.url, endpoint.access_key, "wrong" * 8))
    assert error_of(forger.list_buckets) == (403, "SignatureDoesNotMatch")


def test_versions(s3, bucket):
    at = {"Bucket": bucket, "Key": "日本 +.txt"}
    s3.put_object(**at, Body=b"before")
    with skipped_if_not_implemented():
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(**at, Body=b"first")["VersionId"]
    second = s3.put_object(**at, Body=b"second")["VersionId"]
    marker = s3.delete_object(**at)
    assert marker["DeleteMarker"] is True
    assert error_of(s3.get_object, **at) == (404, "NoSuchKey")
    for version, data in (("null", b"before"), (first, b"first"), (second, b"second")):
        assert body_of(s3, **at, VersionId=version) == data

    # The old one comes back as the newest.
    s3.copy_object(**at, CopySource={**at, "VersionId": first})
    assert body_of(s3, **at) == b"first"

    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 2}
    )
    versions, markers = [], []
    for page in pages:
        versions += page.get("Versions", [])
        markers += page.get("DeleteMarkers", [])
    assert [entry["VersionId"] for entry in versions][1:] == [second, first, "null"]
    assert [entry["IsLatest"] for entry in versions] == [True, False, False, False]
    assert [entry["VersionId"] for entry in markers] == [marker["VersionId"]]

    doomed = [{"Key": at["Key"], "VersionId": entry["VersionId"]} for entry in versions + markers]
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
    assert len(gone["Deleted"]) == len(doomed) and not gone.get("Errors")
    assert "Versions" not in s3.list_object_versions(Bucket=bucket)


def test_tags_travel_with_the_object(s3, bucket):
    at = {"Bucket": bucket, "Key": "key"}
    with skipped_if_not_implemented():
        s3.put_object(**at, Body=b"data", Tagging="colour=blue&with%20space=a%2Bb")
    tags = [{"Key": "colour", "Value": "blue"}, {"Key": "with space", "Value": "a+b"}]
    assert s3.get_object_tagging(**at)["TagSet"] == tags
    assert s3.get_object(**at)["TagCount"] == 2
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=at)
    assert s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == tags
    s3.put_object_tagging(**at, Tagging={"TagSet": [{"Key": "日本", "Value": "語"}]})
    assert s3.get_object_tagging(**at)["TagSet"] == [{"Key": "日本", "Value": "語"}]
    s3.delete_object_tagging(**at)
    assert s3.get_object_tagging(**at)["TagSet"] == []
    assert s3.get_object(**at)["Body"].read() == b"data"
