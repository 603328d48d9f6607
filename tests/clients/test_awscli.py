"""The AWS command line, version 1."""

import json

import pytest

from support import (
    BIN,
    CHECKSUMS,
    KIB,
    MIB,
    MULTIPART_SIZE,
    Command,
    clean_env,
    fetch,
    md5_etag,
    multipart_etag,
    odd_files,
    payload,
    read_tree,
    same_bytes,
    same_files,
    skip_without_signature_version_2,
    split,
    write_tree,
)


@pytest.fixture
def aws(endpoint, home):
    """`aws`, whose tables are JSON."""
    config = home / "config"
    # Without this, this version signs URLs for servers other than AWS's with Signature Version 2.
    config.write_text("[default]\noutput = json\ns3 =\n  signature_version = s3v4\n")
    env = clean_env(home, endpoint.aws_env, {"AWS_CONFIG_FILE": str(config)})
    return Command(BIN / "aws", "--cli-read-timeout", 30, env=env)


@pytest.fixture
def api(aws):
    """`aws s3api`, parsed."""

    def call(*args):
        printed = aws("s3api", *args)
        return json.loads(printed) if printed.strip() else None

    return call


def listed(printed: str) -> list[str]:
    """The keys that `aws s3 ls --recursive` prints."""
    return sorted(line[31:] for line in printed.splitlines())


def test_a_bucket_from_mb_to_rb(aws, bucket_name, tmp_path):
    url = f"s3://{bucket_name}"
    aws("s3", "mb", url)
    assert bucket_name in aws("s3", "ls")

    # An odd key up, beside itself, down, through pipes, and away.
    data = payload(70 * KIB, "aws")
    source = tmp_path / "source"
    source.write_bytes(data)
    key = "日本語/ü ñ+%&.txt"
    aws("s3", "cp", source, f"{url}/{key}")
    aws("s3", "cp", f"{url}/{key}", f"{url}/copy of/{key}")
    aws("s3", "mv", f"{url}/copy of/{key}", f"{url}/moved+{key}")
    aws("s3", "cp", "-", f"{url}/from a pipe", stdin=data)
    assert listed(aws("s3", "ls", "--recursive", url)) == ["from a pipe", f"moved+{key}", key]
    assert "PRE 日本語/" in aws("s3", "ls", f"{url}/")
    for name in ("from a pipe", f"moved+{key}", key):
        fetched = aws.run("s3", "cp", f"{url}/{name}", "-").stdout
        assert same_bytes(fetched, data)
    target = tmp_path / "target"
    aws("s3", "mv", f"{url}/{key}", target)
    assert same_bytes(target.read_bytes(), data)

    assert "BucketNotEmpty" in aws.fails("s3", "rb", url)
    aws("s3", "rm", "--recursive", url)
    assert aws("s3", "ls", "--recursive", url) == ""
    aws("s3", "rb", url)
    assert bucket_name not in aws("s3", "ls")
    assert "NoSuchBucket" in aws.fails("s3", "ls", url)


def test_multipart_up_copy_and_down(aws, api, bucket, tmp_path):
    data = payload(MULTIPART_SIZE, "aws")
    source = tmp_path / "big"
    source.write_bytes(data)
    url = f"s3://{bucket}"
    aws("s3", "cp", source, f"{url}/big")
    head = api("head-object", "--bucket", bucket, "--key", "big")
    assert head["ContentLength"] == len(data)
    assert head["ETag"] == multipart_etag(split(data, 8 * MIB))

    # Larger than the threshold: copied part by part, and fetched in ranges at once.
    aws("s3", "cp", f"{url}/big", f"{url}/copy")
    aws("s3", "cp", f"{url}/copy", tmp_path / "down")
    assert same_bytes((tmp_path / "down").read_bytes(), data)
    assert not (api("list-multipart-uploads", "--bucket", bucket) or {}).get("Uploads")


def test_sync_both_ways(aws, bucket, tmp_path):
    # Some files are empty. After an answer without "100 Continue" this client mixes up the next
    # one on the same connection and waits for ever: an empty body needs its 100 too.
    url = f"s3://{bucket}/tree"
    files = odd_files()
    here = write_tree(tmp_path / "here", files)
    aws("s3", "sync", here, url)
    assert aws("s3", "sync", here, url) == ""  # nothing left to do: sizes and times agree
    there = tmp_path / "there"
    aws("s3", "sync", url, there)
    assert same_files(read_tree(there), files)

    # A file less, one more, one changed: on the server, and then in the other tree.
    (here / "plain.txt").unlink()
    files.pop("plain.txt")
    files.update({"new file.txt": b"new", "with space.txt": b"not what it was"})
    write_tree(here, files)
    aws("s3", "sync", "--delete", here, url)
    aws("s3", "sync", "--delete", url, there)
    assert same_files(read_tree(there), files)


def test_presigned_urls_work_without_the_client(aws, bucket, tmp_path):
    data = payload(MIB, "presign")
    source = tmp_path / "source"
    source.write_bytes(data)
    url = f"s3://{bucket}/ünï cödé+.bin"
    aws("s3", "cp", source, url, "--content-type", "text/x-odd")
    signed = aws("s3", "presign", url, "--expires-in", 60).strip()
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in signed
    answer = fetch(signed)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/x-odd"
    assert same_bytes(answer.body, data)
    assert fetch(signed, headers={"Range": "bytes=5-9"}).body == data[5:10]
    forged = fetch(signed[:-4] + "0000")
    assert forged.status == 403
    assert b"SignatureDoesNotMatch" in forged.body


def test_presigned_urls_of_signature_version_2(aws, endpoint, bucket, home, tmp_path):
    # What this client makes by itself when nobody tells it to use version 4.
    data = payload(KIB, "presign v2")
    (tmp_path / "source").write_bytes(data)
    url = f"s3://{bucket}/ünï cödé+.bin"
    aws("s3", "cp", tmp_path / "source", url)
    plain = Command(BIN / "aws", env=clean_env(home, endpoint.aws_env))
    signed = plain("s3", "presign", url, "--expires-in", 60).strip()
    assert "AWSAccessKeyId=" in signed
    answer = fetch(signed)
    skip_without_signature_version_2(answer)
    assert answer.status == 200
    assert same_bytes(answer.body, data)
    assert fetch(signed.replace("Signature=", "Signature=A")).status == 403


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_checksums(api, bucket, tmp_path, algorithm):
    data = payload(100_001, algorithm)
    source = tmp_path / "source"
    source.write_bytes(data)
    field = f"Checksum{algorithm}"
    expected = CHECKSUMS[algorithm](data)
    which = ("--bucket", bucket, "--key", "sum med.bin")
    put = api("put-object", *which, "--body", source, "--checksum-algorithm", algorithm)
    assert put[field] == expected
    assert put["ETag"] == md5_etag(data)

    head = api("head-object", *which, "--checksum-mode", "ENABLED")
    assert head[field] == expected
    assert field not in api("head-object", *which)
    attributes = api(
        "get-object-attributes", *which, "--object-attributes", "Checksum", "ObjectSize", "ETag"
    )
    assert attributes["Checksum"][field] == expected
    assert attributes["ObjectSize"] == len(data)
    assert attributes["ETag"] == md5_etag(data).strip('"')

    # The client verifies what it fetches; so do we.
    target = tmp_path / "target"
    got = api("get-object", *which, "--checksum-mode", "ENABLED", target)
    assert got[field] == expected
    assert same_bytes(target.read_bytes(), data)


def test_a_wrong_checksum_stores_nothing(aws, bucket, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"what was meant")
    wrong = CHECKSUMS["CRC32"](b"what was not meant")
    which = ("--bucket", bucket, "--key", "key")
    said = aws.fails("s3api", "put-object", *which, "--body", source, "--checksum-crc32", wrong)
    assert "BadDigest" in said
    assert "404" in aws.fails("s3api", "head-object", *which)


def test_list_objects_v2_in_pages(api, bucket, tmp_path, aws):
    names = sorted(f"dir {index % 3}/file {index:02}" for index in range(25))
    tree = write_tree(tmp_path / "tree", {name: name.encode() for name in names})
    aws("s3", "cp", "--recursive", tree, f"s3://{bucket}")
    which = ("list-objects-v2", "--bucket", bucket)

    whole = api(*which, "--page-size", 7)
    assert [entry["Key"] for entry in whole["Contents"]] == names

    # By the client's own token, which it makes from the server's.
    found, token = [], []
    while True:
        page = api(*which, "--page-size", 4, "--max-items", 10, *token)
        found += [entry["Key"] for entry in page["Contents"]]
        if "NextToken" not in page:
            break
        token = ["--starting-token", page["NextToken"]]
    assert found == names

    page = api(*which, "--no-paginate", "--max-keys", 6, "--start-after", names[3])
    assert [entry["Key"] for entry in page["Contents"]] == names[4:10]
    assert page["IsTruncated"] and page["KeyCount"] == 6
    rest = api(*which, "--no-paginate", "--continuation-token", page["NextContinuationToken"])
    assert [entry["Key"] for entry in rest["Contents"]] == names[10:]
    assert not rest["IsTruncated"]

    folders = api(*which, "--delimiter", "/", "--page-size", 2)
    assert [entry["Prefix"] for entry in folders["CommonPrefixes"]] == [
        "dir 0/",
        "dir 1/",
        "dir 2/",
    ]
    assert not folders.get("Contents")


def test_copy_object_and_delete_objects(api, bucket, tmp_path):
    data = payload(10 * KIB, "copy")
    source = tmp_path / "source"
    source.write_bytes(data)
    at = ("--bucket", bucket, "--key")
    api("put-object", *at, "from here", "--body", source, "--metadata", "colour=blue,size=small")
    kept = ("--copy-source", f"{bucket}/from here")
    copied = api("copy-object", *at, "kept", *kept)
    assert copied["CopyObjectResult"]["ETag"] == md5_etag(data)
    api("copy-object", *at, "replaced", *kept, "--metadata-directive", "REPLACE",
        "--metadata", "colour=red", "--content-type", "text/x-red")  # fmt: skip

    head = api("head-object", *at, "kept")
    assert head["Metadata"] == {"colour": "blue", "size": "small"}
    head = api("head-object", *at, "replaced")
    assert head["Metadata"] == {"colour": "red"}
    assert head["ContentType"] == "text/x-red"
    api("get-object", *at, "replaced", tmp_path / "target")
    assert same_bytes((tmp_path / "target").read_bytes(), data)

    doomed = {"Objects": [{"Key": key} for key in ("from here", "kept", "never was")]}
    done = api("delete-objects", "--bucket", bucket, "--delete", json.dumps(doomed))
    assert sorted(entry["Key"] for entry in done["Deleted"]) == ["from here", "kept", "never was"]
    left = api("list-objects-v2", "--bucket", bucket)
    assert [entry["Key"] for entry in left["Contents"]] == ["replaced"]
