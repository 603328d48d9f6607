"""boto3: URLs and forms that others use without the secret key."""

import re
import time
from urllib.parse import quote, urlsplit

import pytest
from urllib3.filepost import encode_multipart_formdata

from conftest import s3_client
from support import (
    CHECKSUMS,
    KIB,
    MIB,
    Answer,
    fetch,
    md5_etag,
    payload,
    same_bytes,
    skip_without_signature_version_2,
)
from test_boto3_objects import body_of

KEY = "日本語/ü ñ+%&.txt"


@pytest.fixture(scope="module")
def signer(endpoint):
    """A client that signs URLs with Signature Version 4; left alone, boto3 takes version 2."""
    return s3_client(endpoint, signature_version="s3v4")


def code_of(answer: Answer) -> tuple[int, str]:
    """Status, and the code in the error document."""
    found = re.search(rb"<Code>(\w+)</Code>", answer.body)
    return answer.status, found.group(1).decode() if found else ""


def test_get_and_head(signer, bucket):
    data = payload(3 * MIB, "presigned")
    at = {"Bucket": bucket, "Key": KEY}
    signer.put_object(**at, Body=data, ContentType="text/plain")
    url = signer.generate_presigned_url("get_object", Params=at, ExpiresIn=60)
    answer = fetch(url)
    assert (answer.status, answer.headers["etag"]) == (200, md5_etag(data))
    assert same_bytes(answer.body, data)
    assert fetch(url, headers={"Range": "bytes=-3"}).body == data[-3:]
    assert fetch(url, headers={"If-None-Match": md5_etag(data)}).status == 304

    # A URL is good for its method, its key and its query, and nothing else.
    assert code_of(fetch(url, method="DELETE")) == (403, "SignatureDoesNotMatch")
    assert code_of(fetch(url.replace(".txt", ".txT"))) == (403, "SignatureDoesNotMatch")
    assert code_of(fetch(f"{url}&versionId=1")) == (403, "SignatureDoesNotMatch")
    assert code_of(fetch(url.partition("?")[0])) == (403, "AccessDenied")
    head = fetch(signer.generate_presigned_url("head_object", Params=at), method="HEAD")
    assert (head.status, head.headers["content-length"]) == (200, str(len(data)))
    assert head.body == b""

    disposition = "attachment; filename*=UTF-8''" + quote("日本語 +.txt")
    params = {**at, "ResponseContentDisposition": disposition, "ResponseContentType": "a/b; c=d"}
    answer = fetch(signer.generate_presigned_url("get_object", Params=params))
    assert answer.headers["content-disposition"] == disposition
    assert answer.headers["content-type"] == "a/b; c=d"


def test_an_expired_url(signer, bucket):
    at = {"Bucket": bucket, "Key": "key"}
    signer.put_object(**at, Body=b"data")
    url = signer.generate_presigned_url("get_object", Params=at, ExpiresIn=1)
    assert fetch(url).status == 200
    time.sleep(2.1)  # its seconds are whole ones
    assert code_of(fetch(url)) == (403, "AccessDenied")


def test_put_with_signed_headers(signer, bucket):
    data = payload(5 * MIB + 1, "put")
    at = {"Bucket": bucket, "Key": KEY}
    params = {**at, "ContentType": "text/x-odd", "Metadata": {"colour": "blue"}}
    url = signer.generate_presigned_url("put_object", Params=params, ExpiresIn=60)
    headers = {"Content-Type": "text/x-odd", "x-amz-meta-colour": "blue"}
    answer = fetch(url, method="PUT", data=data, headers=headers)
    assert (answer.status, answer.headers["etag"]) == (200, md5_etag(data))
    got = signer.get_object(**at)
    assert (got["ContentType"], got["Metadata"]) == ("text/x-odd", {"colour": "blue"})
    assert same_bytes(got["Body"].read(), data)

    other = {**headers, "x-amz-meta-colour": "red"}
    assert code_of(fetch(url, method="PUT", data=b"x", headers=other))[0] == 403
    assert same_bytes(body_of(signer, **at), data)


def test_put_with_a_checksum(signer, bucket):
    at = {"Bucket": bucket, "Key": "key"}
    checksum = CHECKSUMS["SHA256"](b"exactly this")
    url = signer.generate_presigned_url("put_object", Params={**at, "ChecksumSHA256": checksum})
    headers = {"x-amz-checksum-sha256": checksum}
    if "x-amz-checksum-sha256" in url.lower().partition("x-amz-signedheaders=")[0]:
        headers = {}  # boto3 put it into the query
    assert fetch(url, method="PUT", data=b"exactly this", headers=headers).status == 200
    refused = fetch(url, method="PUT", data=b"something else", headers=headers)
    assert code_of(refused) == (400, "BadDigest")
    assert body_of(signer, **at) == b"exactly this"


def test_uploads_in_parts_by_urls_alone(signer, bucket):
    at = {"Bucket": bucket, "Key": KEY}
    upload = signer.create_multipart_upload(**at)["UploadId"]
    parts = [payload(5 * MIB, "first"), payload(KIB, "second")]
    etags = []
    for number, part in enumerate(parts, 1):
        params = {**at, "UploadId": upload, "PartNumber": number}
        url = signer.generate_presigned_url("upload_part", Params=params)
        etags.append(fetch(url, method="PUT", data=part).headers["etag"])
    url = signer.generate_presigned_url(
        "complete_multipart_upload", Params={**at, "UploadId": upload}
    )
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    assert fetch(url, method="POST", data=document).status == 200
    assert same_bytes(body_of(signer, **at), b"".join(parts))


def test_signature_version_2(s3, bucket):
    # What boto3 makes of itself for a server that is not one of AWS's.
    data = payload(KIB, "v2")
    at = {"Bucket": bucket, "Key": KEY}
    params = {**at, "ContentType": "text/x-odd", "Metadata": {"colour": "blue"}}
    url = s3.generate_presigned_url("put_object", Params=params)
    assert "AWSAccessKeyId=" in url
    headers = {"Content-Type": "text/x-odd", "x-amz-meta-colour": "blue"}
    answer = fetch(url, method="PUT", data=data, headers=headers)
    skip_without_signature_version_2(answer)
    assert answer.status == 200
    answer = fetch(s3.generate_presigned_url("get_object", Params=at))
    assert (answer.status, answer.headers["content-type"]) == (200, "text/x-odd")
    assert same_bytes(answer.body, data)
    forged = fetch(url, method="PUT", data=b"x", headers={**headers, "Content-Type": "a/b"})
    assert code_of(forged) == (403, "SignatureDoesNotMatch")
    late = s3.generate_presigned_url("get_object", Params=at, ExpiresIn=-5)
    assert code_of(fetch(late)) == (403, "AccessDenied")


# --- forms -----------------------------------------------------------------------------------


def post(form: dict, data: bytes, file_name: str = "file.bin", **changed: str) -> Answer:
    """What a browser does with a form that has a file field."""
    fields = {**form["fields"], **changed, "file": (file_name, data, "application/octet-stream")}
    body, content_type = encode_multipart_formdata(fields)
    return fetch(form["url"], method="POST", data=body, headers={"Content-Type": content_type})


def test_a_form_and_its_conditions(signer, bucket):
    data = payload(600 * KIB, "form")
    form = signer.generate_presigned_post(
        bucket,
        "uploads/${filename}",
        Fields={
            "Content-Type": "text/x-odd",
            "success_action_status": "201",
            "x-amz-meta-colour": "blue",
        },
        Conditions=[
            {"Content-Type": "text/x-odd"},
            {"success_action_status": "201"},
            ["starts-with", "$x-amz-meta-colour", "bl"],
            ["content-length-range", 1, 1 * MIB],
        ],
        ExpiresIn=60,
    )
    assert form["fields"]["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    answer = post(form, data, "ü +%.txt")
    key = "uploads/ü +%.txt"
    assert answer.status == 201, answer.body
    assert answer.headers["etag"] == md5_etag(data)
    assert b"<PostResponse>" in answer.body
    assert f"<Key>{key}</Key>".encode() in answer.body
    got = signer.get_object(Bucket=bucket, Key=key)
    assert (got["ContentType"], got["Metadata"]) == ("text/x-odd", {"colour": "blue"})
    assert same_bytes(got["Body"].read(), data)

    denied = (403, "AccessDenied")
    assert code_of(post(form, payload(MIB + 1))) == (400, "EntityTooLarge")
    assert code_of(post(form, b"")) == (400, "EntityTooSmall")
    assert code_of(post(form, b"x", key="elsewhere/file")) == denied
    assert code_of(post(form, b"x", **{"Content-Type": "text/html"})) == denied
    assert code_of(post(form, b"x", **{"x-amz-meta-colour": "red"})) == denied
    assert code_of(post(form, b"x", **{"x-amz-meta-other": "not in the policy"})) == denied
    signature = form["fields"]["x-amz-signature"]
    forged = {"x-amz-signature": signature[::-1]}
    assert code_of(post(form, b"x", **forged)) == (403, "SignatureDoesNotMatch")
    listed = signer.list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["Key"] for entry in listed] == [key]


def test_how_forms_end(signer, bucket):
    form = signer.generate_presigned_post(bucket, "plain", ExpiresIn=60)
    assert post(form, b"204 is the default").status == 204
    assert body_of(signer, Bucket=bucket, Key="plain") == b"204 is the default"

    target = "http://localhost:9/done?a=b"
    form = signer.generate_presigned_post(
        bucket,
        "redirected",
        Fields={"success_action_redirect": target},
        Conditions=[{"success_action_redirect": target}],
    )
    answer = post(form, b"data")
    assert answer.status == 303
    location = urlsplit(answer.headers["location"])
    assert location.netloc == "localhost:9"
    assert "a=b" in location.query.split("&")
    assert f"bucket={bucket}" in location.query and "key=redirected" in location.query

    form = signer.generate_presigned_post(bucket, "late", ExpiresIn=-5)
    assert code_of(post(form, b"data")) == (403, "AccessDenied")
