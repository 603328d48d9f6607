"""boto3: uploads in parts, by the transfer managers and by hand."""

import io
import random

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from support import (
    CHECKSUMS,
    MIB,
    MULTIPART_SIZE,
    composite_checksum,
    multipart_etag,
    payload,
    same_bytes,
    split,
)
from test_boto3_objects import body_of, error_of

PART = 5 * MIB  # the smallest that S3 takes


@pytest.mark.parametrize("transport", ["s3", "s3_tls"])
def test_transfer_manager_both_ways(request, bucket, transport):
    s3 = request.getfixturevalue(transport)
    data = payload(MULTIPART_SIZE, transport)
    config = TransferConfig(
        multipart_threshold=8 * MIB, multipart_chunksize=PART, max_concurrency=8
    )
    seen = []
    s3.upload_fileobj(
        io.BytesIO(data),
        bucket,
        "日本語/big +.bin",
        ExtraArgs={"Metadata": {"kind": "big"}, "ContentType": "x/y"},
        Config=config,
        Callback=seen.append,
    )
    assert sum(seen) == len(data)
    head = s3.head_object(Bucket=bucket, Key="日本語/big +.bin")
    assert head["ETag"] == multipart_etag(split(data, PART))
    assert (head["Metadata"], head["ContentType"]) == ({"kind": "big"}, "x/y")
    target = io.BytesIO()
    s3.download_fileobj(bucket, "日本語/big +.bin", target, Config=config)
    assert same_bytes(target.getvalue(), data)

    # The managed copy asks for ranges of the source as parts.
    s3.copy({"Bucket": bucket, "Key": "日本語/big +.bin"}, bucket, "copy", Config=config)
    assert same_bytes(body_of(s3, Bucket=bucket, Key="copy"), data)


def test_an_upload_by_hand(s3, bucket):
    at = {"Bucket": bucket, "Key": "by hand"}
    parts = split(payload(2 * PART + 100, "hand"), PART)
    upload = s3.create_multipart_upload(**at, Metadata={"a": "b"}, ContentType="x/y")["UploadId"]
    this = {**at, "UploadId": upload}

    # Out of order, and the second one twice: the last one counts.
    etags = {}
    s3.upload_part(**this, PartNumber=2, Body=b"an earlier attempt")
    for number in (3, 1, 2):
        etags[number] = s3.upload_part(**this, PartNumber=number, Body=parts[number - 1])["ETag"]
    pages = s3.get_paginator("list_parts").paginate(**this, PaginationConfig={"PageSize": 2})
    listed = [part for page in pages for part in page.get("Parts", [])]
    assert [part["PartNumber"] for part in listed] == [1, 2, 3]
    assert [part["Size"] for part in listed] == [len(part) for part in parts]
    assert {part["PartNumber"]: part["ETag"] for part in listed} == etags

    assert error_of(s3.head_object, **at)[0] == 404  # not there before it is complete
    chosen = [{"PartNumber": number, "ETag": etags[number]} for number in (1, 2, 3)]
    done = s3.complete_multipart_upload(**this, MultipartUpload={"Parts": chosen})
    assert done["ETag"] == multipart_etag(parts)
    got = s3.get_object(**at)
    assert (got["Metadata"], got["ContentType"]) == ({"a": "b"}, "x/y")
    assert same_bytes(got["Body"].read(), b"".join(parts))

    for number, part in enumerate(parts, 1):
        got = s3.get_object(**at, PartNumber=number)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["PartsCount"] == 3
        assert same_bytes(got["Body"].read(), part)
        assert s3.head_object(**at, PartNumber=number)["ContentLength"] == len(part)
    # AWS's own answer is the first; s3-tests wants the second.
    assert error_of(s3.get_object, **at, PartNumber=4) in (
        (400, "InvalidPart"),
        (400, "InvalidPart"),
    )


def test_uploads_that_must_not_complete(s3, bucket):
    at = {"Bucket": bucket, "Key": "never"}
    upload = s3.create_multipart_upload(**at)["UploadId"]
    this = {**at, "UploadId": upload}
    first = s3.upload_part(**this, PartNumber=1, Body=b"too small")["ETag"]
    second = s3.upload_part(**this, PartNumber=2, Body=b"the last one may be")["ETag"]
    third = s3.upload_part(**this, PartNumber=3, Body=bytes(PART))["ETag"]
    fourth = s3.upload_part(**this, PartNumber=4, Body=bytes(PART))["ETag"]

    def complete(*parts, **more):
        listed = [{"PartNumber": number, "ETag": etag} for number, etag in parts]
        return error_of(
            s3.complete_multipart_upload, **this, MultipartUpload={"Parts": listed}, **more
        )

    assert complete((1, first), (2, second)) == (400, "EntityTooSmall")
    assert complete((4, fourth), (3, third)) == (400, "InvalidPartOrder")
    assert complete((1, second)) == (400, "InvalidPart")
    assert complete((5, first)) == (400, "InvalidPart")
    s3.put_object(**at, Body=b"was here first")
    assert complete((1, first), IfNoneMatch="*") == (412, "PreconditionFailed")

    s3.abort_multipart_upload(**this)
    gone = (404, "NoSuchUpload")
    assert complete((1, first)) == gone
    assert error_of(s3.upload_part, **this, PartNumber=1, Body=b"late") == gone
    assert error_of(s3.list_parts, **this) == gone
    assert body_of(s3, **at) == b"was here first"


def test_uploads_are_listed_in_pages(s3, bucket):
    keys = [f"dir {number}/{name}" for number in range(3) for name in ("a", "b +")] + ["top", "ü"]
    uploads = {
        (key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])
        for key in (*keys, "top")  # the same key twice
    }
    paginate = s3.get_paginator("list_multipart_uploads").paginate

    def listed(**how):
        pages = list(paginate(Bucket=bucket, PaginationConfig={"PageSize": 2}, **how))
        found = [upload for page in pages for upload in page.get("Uploads", [])]
        prefixes = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
        return [(each["Key"], each["UploadId"]) for each in found], prefixes

    found, prefixes = listed()
    assert set(found) == uploads and len(found) == len(uploads) and not prefixes
    assert [key for key, _ in found] == sorted((*keys, "top"), key=str.encode)
    found, prefixes = listed(Delimiter="/")
    assert [key for key, _ in found] == ["top", "top", "ü"]
    assert prefixes == ["dir 0/", "dir 1/", "dir 2/"]
    found, prefixes = listed(Prefix="dir 1/")
    assert [key for key, _ in found] == ["dir 1/a", "dir 1/b +"]

    for key, upload in uploads:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    assert listed() == ([], [])


def test_parts_copied_from_other_objects(s3, bucket):
    source = payload(PART + 1000, "source")
    s3.put_object(Bucket=bucket, Key="ソース +", Body=source)
    at = {"Bucket": bucket, "Key": "stitched"}
    this = {**at, "UploadId": s3.create_multipart_upload(**at)["UploadId"]}
    copy_source = {"Bucket": bucket, "Key": "ソース +"}
    etags = [
        s3.upload_part_copy(**this, PartNumber=1, CopySource=copy_source),
        s3.upload_part_copy(
            **this, PartNumber=2, CopySource=copy_source, CopySourceRange=f"bytes=7-{PART + 6}"
        ),
    ]
    etags = [answer["CopyPartResult"]["ETag"] for answer in etags]
    etags.append(s3.upload_part(**this, PartNumber=3, Body=b"and an end")["ETag"])
    beyond = f"bytes=0-{len(source)}"
    assert error_of(
        s3.upload_part_copy, **this, PartNumber=4, CopySource=copy_source, CopySourceRange=beyond
    ) in ((400, "InvalidArgument"), (400, "InvalidRange"), (416, "InvalidRange"))
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    done = s3.complete_multipart_upload(**this, MultipartUpload={"Parts": parts})
    pieces = [source, source[7 : PART + 7], b"and an end"]
    assert done["ETag"] == multipart_etag(pieces)
    assert same_bytes(body_of(s3, **at), b"".join(pieces))


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("CRC32", "FULL_OBJECT"),
        ("CRC32", "COMPOSITE"),
        ("CRC32C", "FULL_OBJECT"),
        ("CRC32C", "COMPOSITE"),
        ("CRC64NVME", "FULL_OBJECT"),
        ("SHA1", "COMPOSITE"),
        ("SHA256", "COMPOSITE"),
    ],
)
def test_checksums_over_parts(s3_tls, bucket, algorithm, kind):
    s3 = s3_tls
    at = {"Bucket": bucket, "Key": "summed"}
    data = payload(2 * PART + 77, algorithm)
    parts = split(data, PART)
    field = f"Checksum{algorithm}"
    upload = s3.create_multipart_upload(**at, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    assert (upload["ChecksumAlgorithm"], upload["ChecksumType"]) == (algorithm, kind)
    this = {**at, "UploadId": upload["UploadId"]}
    chosen = []
    for number, part in enumerate(parts, 1):
        sent = s3.upload_part(**this, PartNumber=number, Body=part, ChecksumAlgorithm=algorithm)
        assert sent[field] == CHECKSUMS[algorithm](part)
        chosen.append({"PartNumber": number, "ETag": sent["ETag"], field: sent[field]})
    assert [part[field] for part in s3.list_parts(**this)["Parts"]] == [
        part[field] for part in chosen
    ]

    swapped = [dict(chosen[0]), *chosen[1:]]
    swapped[0][field] = chosen[1][field]
    refused = error_of(s3.complete_multipart_upload, **this, MultipartUpload={"Parts": swapped})
    assert refused in ((400, "InvalidPart"), (400, "BadDigest"))
    done = s3.complete_multipart_upload(
        **this, MultipartUpload={"Parts": chosen}, ChecksumType=kind
    )
    if kind == "COMPOSITE":
        expected = composite_checksum(algorithm, parts)
    else:
        expected = CHECKSUMS[algorithm](data)
    assert (done[field], done["ChecksumType"]) == (expected, kind)

    head = s3.head_object(**at, ChecksumMode="ENABLED")
    assert (head[field], head["ChecksumType"]) == (expected, kind)
    got = s3.get_object(**at, ChecksumMode="ENABLED")
    assert got[field] == expected
    assert same_bytes(got["Body"].read(), data)

    attributes = s3.get_object_attributes(
        **at, ObjectAttributes=["Checksum", "ObjectParts", "ObjectSize", "StorageClass"]
    )
    assert attributes["ObjectSize"] == len(data)
    assert attributes["Checksum"][field].partition("-")[0] == expected.partition("-")[0]
    assert attributes["ObjectParts"]["TotalPartsCount"] == len(parts)
    if kind == "COMPOSITE":  # S3 lists the parts of no others
        listed = attributes["ObjectParts"]["Parts"]
        assert [part["Size"] for part in listed] == [len(part) for part in parts]
        assert [part[field] for part in listed] == [part[field] for part in chosen]


def test_many_parts_at_random_places(s3, bucket):
    # Ranges over the seams of 5 parts, against the same slices of what was sent.
    data = payload(4 * PART + 12345, "seams")
    s3.upload_fileobj(
        io.BytesIO(data), bucket, "seams", Config=TransferConfig(multipart_chunksize=PART)
    )
    dice = random.Random("seams")
    for _ in range(30):
        seam = PART * dice.randint(1, 4)
        first = seam - dice.randint(0, 9)
        last = min(seam + dice.randint(0, 9) + PART * dice.randint(0, 1), len(data) - 1)
        got = body_of(s3, Bucket=bucket, Key="seams", Range=f"bytes={first}-{last}")
        assert same_bytes(got, data[first : last + 1])


def test_completing_twice_answers_the_same(s3, bucket):
    # A client whose connection broke before the answer came asks again.
    at = {"Bucket": bucket, "Key": "again"}
    this = {**at, "UploadId": s3.create_multipart_upload(**at)["UploadId"]}
    etag = s3.upload_part(**this, PartNumber=1, Body=b"all of it")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    first = s3.complete_multipart_upload(**this, MultipartUpload=parts)
    try:
        again = s3.complete_multipart_upload(**this, MultipartUpload=parts)
    except ClientError as error:
        # S3 forgets after a while, and a server may at once.
        assert error.response["Error"]["Code"] == "NoSuchUpload"
    else:
        assert again["ETag"] == first["ETag"]
    assert body_of(s3, **at) == b"all of it"
