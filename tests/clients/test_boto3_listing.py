"""boto3: listings in pages, by both versions, and deletes by the thousand."""

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from conftest import new_bucket_name, remove_bucket
from support import ODD_KEYS
from test_boto3_objects import error_of

TREE = sorted(
    (
        *ODD_KEYS,
        *(f"dir {folder}/sub/{number:03}.txt" for folder in range(3) for number in range(7)),
        *(f"dir+{folder}/%{number}" for folder in range(2) for number in range(3)),
        "dir 0",
        "dir 0!",
        "dir 00",
        "zz/",
        "zz/\U0010ffff",
        "zz/\uffee",
    ),
    key=str.encode,
)


@pytest.fixture(scope="module")
def tree(s3):
    """A bucket with all kinds of keys, for reading only."""
    bucket = new_bucket_name()
    s3.create_bucket(Bucket=bucket)
    put_all(s3, bucket, TREE)
    yield bucket
    remove_bucket(s3, bucket)


def put_all(s3, bucket: str, keys):
    """Puts every key with its own name in it, several at once."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), keys))


def expected(keys, prefix: str, delimiter: str) -> tuple[list[str], list[str]]:
    """What S3's rules say is listed: keys, and common prefixes."""
    contents, prefixes = [], []
    for key in keys:
        if not key.startswith(prefix):
            continue
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if found:
            common = prefix + head + delimiter
            if common not in prefixes:
                prefixes.append(common)
        else:
            contents.append(key)
    return contents, prefixes


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize(
    ("prefix", "delimiter"),
    [("", ""), ("", "/"), ("dir 0", "/"), ("dir 0/sub/", "/"), ("dir", " "), ("a", "/b"),
     ("日本", "+"), ("zz/", "/"), ("no such", "/")],
)  # fmt: skip
def test_pages_add_up(s3, tree, operation, prefix, delimiter):
    wanted = expected(TREE, prefix, delimiter)
    for page_size in (1, 2, 5, 1000):
        pages = s3.get_paginator(operation).paginate(
            Bucket=tree,
            Prefix=prefix,
            Delimiter=delimiter,
            PaginationConfig={"PageSize": page_size},
        )
        contents, prefixes = [], []
        for page in islice(pages, len(TREE) + 1):  # a listing may go round in circles
            here = [entry["Key"] for entry in page.get("Contents", [])]
            common = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            assert len(here) + len(common) <= page_size
            contents += here
            prefixes += common
        assert (contents, prefixes) == wanted, f"in pages of {page_size}"


def test_starting_somewhere(s3, tree):
    for start in ("", TREE[4], TREE[4] + "\x01", TREE[-1], "dir 1/"):
        after = [key for key in TREE if key.encode() > start.encode()]
        found = s3.list_objects_v2(Bucket=tree, StartAfter=start).get("Contents", [])
        assert [entry["Key"] for entry in found] == after
        found = s3.list_objects(Bucket=tree, Marker=start).get("Contents", [])
        assert [entry["Key"] for entry in found] == after
    owned = s3.list_objects_v2(Bucket=tree, FetchOwner=True, MaxKeys=1)["Contents"][0]
    assert owned["Owner"]["ID"]
    empty = s3.list_objects_v2(Bucket=tree, MaxKeys=0)
    assert (empty["KeyCount"], empty["IsTruncated"]) == (0, False)
    assert error_of(s3.list_objects_v2, Bucket=tree, MaxKeys=-1) == (400, "InvalidArgument")


def test_buckets_are_listed(s3):
    names = sorted(new_bucket_name() for _ in range(3))
    for name in names:
        s3.create_bucket(Bucket=name)
        s3.get_waiter("bucket_exists").wait(Bucket=name)
    listed = s3.list_buckets()["Buckets"]
    assert [each["Name"] for each in listed if each["Name"] in names] == names
    assert s3.get_bucket_location(Bucket=names[0])["LocationConstraint"] is None
    for name in names:
        s3.delete_bucket(Bucket=name)
    assert not {each["Name"] for each in s3.list_buckets()["Buckets"]} & set(names)


def test_a_thousand_deletes_at_once(s3, bucket):
    keys = [f"key {number:04} ü+&<>" for number in range(1002)]
    put_all(s3, bucket, keys)
    first = s3.list_objects_v2(Bucket=bucket)
    assert (first["KeyCount"], first["IsTruncated"]) == (1000, True)
    assert [entry["Key"] for entry in first["Contents"]] == keys[:1000]

    doomed = [{"Key": key} for key in keys]
    too_many = error_of(s3.delete_objects, Bucket=bucket, Delete={"Objects": doomed[:1001]})
    assert too_many == (400, "MalformedXML")
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed[:1000]})
    assert sorted(entry["Key"] for entry in gone["Deleted"]) == keys[:1000]
    left = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["Key"] for entry in left] == keys[1000:]

    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed[1000:], "Quiet": True})
    assert not quiet.get("Deleted") and not quiet.get("Errors")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
