"""s3cmd."""

import pytest

from support import (
    BIN,
    KIB,
    MIB,
    MULTIPART_SIZE,
    REGION,
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
def s3cmd(endpoint, home):
    """`s3cmd` with a configuration file as `s3cmd --configure` would write it."""
    config = home / "s3cfg"
    # Without %(bucket)s in host_bucket the bucket goes into the path.
    config.write_text(
        f"""[default]
access_key = {endpoint.access_key}
secret_key = {endpoint.secret_key}
host_base = {endpoint.host}
host_bucket = {endpoint.host}
bucket_location = {REGION}
use_https = False
signature_v2 = False
check_ssl_certificate = False
progress_meter = False
stats = False
max_retries = 1
multipart_chunk_size_mb = 5
"""
    )
    return Command(BIN / "s3cmd", "--config", config, env=clean_env(home))


def listed(printed: str) -> dict[str, int]:
    """Sizes by URL, from what `s3cmd ls` prints."""
    found = {}
    for line in printed.splitlines():
        before, _, url = line.partition("s3://")
        found[f"s3://{url}"] = int(before.split()[2])
    return found


def test_a_bucket_and_its_objects(s3cmd, bucket_name, tmp_path):
    bucket = f"s3://{bucket_name}"
    s3cmd("mb", bucket)
    assert bucket in s3cmd("ls")
    data = payload(100 * KIB, "s3cmd")
    source = tmp_path / "source"
    source.write_bytes(data)
    url = f"{bucket}/日本語/ü ñ+%&.txt"
    s3cmd(
        "put", source, url, "--mime-type", "text/x-odd", "--add-header", "x-amz-meta-colour: blue"
    )
    s3cmd("cp", url, f"{bucket}/copy +1")
    s3cmd("mv", f"{bucket}/copy +1", f"{bucket}/moved +1")
    assert listed(s3cmd("ls", "--recursive", bucket)) == {
        url: len(data),
        f"{bucket}/moved +1": len(data),
    }
    info = s3cmd("info", url)
    assert "text/x-odd" in info
    assert md5_etag(data).strip('"') in info
    assert "x-amz-meta-colour" in info and "blue" in info
    assert "Location" in s3cmd("info", bucket)
    assert s3cmd("du", bucket).split()[:2] == [str(2 * len(data)), "2"]

    for name in ("日本語/ü ñ+%&.txt", "moved +1"):
        s3cmd("get", "--force", f"{bucket}/{name}", tmp_path / "target")
        assert same_bytes((tmp_path / "target").read_bytes(), data)
    assert "BucketNotEmpty" in s3cmd.fails("rb", bucket)
    s3cmd("del", "--recursive", "--force", bucket)
    assert s3cmd("ls", "--recursive", bucket) == ""
    s3cmd("rb", bucket)
    assert bucket not in s3cmd("ls")


def test_multipart_put(s3cmd, s3, bucket, tmp_path):
    data = payload(MULTIPART_SIZE, "s3cmd")
    source = tmp_path / "big"
    source.write_bytes(data)
    url = f"s3://{bucket}/big +.bin"
    s3cmd("put", source, url)
    head = s3.head_object(Bucket=bucket, Key="big +.bin")
    assert head["ETag"] == multipart_etag(split(data, 5 * MIB))
    s3cmd("get", url, tmp_path / "target")
    assert same_bytes((tmp_path / "target").read_bytes(), data)
    # And one whose length is not known beforehand.
    s3cmd("put", "-", f"s3://{bucket}/piped", stdin=data)
    s3cmd("get", "--force", f"s3://{bucket}/piped", tmp_path / "target")
    assert same_bytes((tmp_path / "target").read_bytes(), data)
    assert s3cmd("multipart", f"s3://{bucket}").count("s3://") == 1  # its own head line only


def test_sync_both_ways(s3cmd, bucket, tmp_path):
    files = odd_files()
    here = write_tree(tmp_path / "here", files)
    url = f"s3://{bucket}/tree/"
    s3cmd("sync", f"{here}/", url)
    there = tmp_path / "there"
    there.mkdir()
    s3cmd("sync", url, f"{there}/")
    assert same_files(read_tree(there), files)

    (here / "plain.txt").unlink()
    files.pop("plain.txt")
    files.update({"new file.txt": b"new", "with space.txt": b"not what it was"})
    write_tree(here, files)
    s3cmd("sync", "--delete-removed", f"{here}/", url)
    s3cmd("sync", "--delete-removed", url, f"{there}/")
    assert same_files(read_tree(there), files)


def test_signed_url(s3cmd, bucket, tmp_path):
    # Signature Version 2: this client knows no other for URLs.
    data = payload(KIB, "signurl")
    (tmp_path / "source").write_bytes(data)
    url = f"s3://{bucket}/ü ñ.txt"
    s3cmd("put", tmp_path / "source", url)
    answer = fetch(s3cmd("signurl", url, "+60").strip())
    skip_without_signature_version_2(answer)
    assert answer.status == 200
    assert same_bytes(answer.body, data)
