"""s5cmd."""

import json

import pytest

from support import (
    BIN,
    KIB,
    MIB,
    MULTIPART_SIZE,
    Command,
    clean_env,
    fetch,
    multipart_etag,
    odd_files,
    payload,
    read_tree,
    same_bytes,
    same_files,
    split,
    write_tree,
)


@pytest.fixture
def s5cmd(endpoint, home):
    """`s5cmd` that does not try again."""
    options = ("--endpoint-url", endpoint.url, "--retry-count", "0")
    return Command(BIN / "s5cmd", *options, env=clean_env(home, endpoint.aws_env))


def listed(s5cmd, url: str) -> dict[str, int]:
    """Sizes by URL."""
    entries = [json.loads(line) for line in s5cmd("--json", "ls", url).splitlines()]
    return {entry["key"]: entry["size"] for entry in entries}


def test_a_bucket_and_its_objects(s5cmd, bucket_name, tmp_path):
    bucket = f"s3://{bucket_name}"
    s5cmd("mb", bucket)
    assert bucket in s5cmd("ls")
    data = payload(100 * KIB, "s5cmd")
    source = tmp_path / "source"
    source.write_bytes(data)
    key = "日本語/ü ñ+%&.txt"
    s5cmd("cp", source, f"{bucket}/{key}")
    s5cmd("pipe", f"{bucket}/piped ü", stdin=data)
    # This client writes the source of a copy as a form would: plus for space, %2B for plus.
    s5cmd("cp", f"{bucket}/{key}", f"{bucket}/copy +1")
    s5cmd("mv", f"{bucket}/copy +1", f"{bucket}/moved +1")
    assert listed(s5cmd, f"{bucket}/*") == {
        f"{bucket}/{name}": len(data) for name in (key, "moved +1", "piped ü")
    }
    for name in (key, "moved +1", "piped ü"):
        assert same_bytes(s5cmd.run("cat", f"{bucket}/{name}").stdout, data)
    assert json.loads(s5cmd("--json", "head", f"{bucket}/{key}"))["size"] == len(data)
    assert s5cmd("du", f"{bucket}/*").split()[0] == str(3 * len(data))
    signed = s5cmd("presign", "--expire", "60s", f"{bucket}/{key}").strip()
    assert same_bytes(fetch(signed).body, data)

    assert "BucketNotEmpty" in s5cmd.fails("rb", bucket)
    s5cmd("rm", f"{bucket}/moved*")
    assert set(listed(s5cmd, f"{bucket}/*")) == {f"{bucket}/{key}", f"{bucket}/piped ü"}
    s5cmd("rm", f"{bucket}/*")
    assert "no object found" in s5cmd.fails("ls", f"{bucket}/*")
    s5cmd("rb", bucket)
    assert bucket not in s5cmd("ls")


def test_multipart(s5cmd, s3, bucket, tmp_path):
    data = payload(MULTIPART_SIZE, "s5cmd")
    source = tmp_path / "big"
    source.write_bytes(data)
    url = f"s3://{bucket}/big +.bin"
    s5cmd("cp", "--part-size", 5, "--concurrency", 4, source, url)
    head = s3.head_object(Bucket=bucket, Key="big +.bin")
    assert head["ETag"] == multipart_etag(split(data, 5 * MIB))
    s5cmd("cp", "--part-size", 5, "--concurrency", 4, url, tmp_path / "target")
    assert same_bytes((tmp_path / "target").read_bytes(), data)


def test_sync_both_ways(s5cmd, bucket, tmp_path):
    files = odd_files()
    here = write_tree(tmp_path / "here", files)
    url = f"s3://{bucket}/tree/"
    s5cmd("sync", f"{here}/", url)
    there = tmp_path / "there"
    s5cmd("sync", f"{url}*", f"{there}/")
    assert same_files(read_tree(there), files)

    (here / "plain.txt").unlink()
    files.pop("plain.txt")
    files.update({"new file.txt": b"new", "with space.txt": b"not what it was"})
    write_tree(here, files)
    s5cmd("sync", "--delete", f"{here}/", url)
    s5cmd("sync", "--delete", f"{url}*", f"{there}/")
    assert same_files(read_tree(there), files)


def test_wildcards_and_a_batch(s5cmd, bucket, tmp_path):
    files = {f"dir {n % 3}/file {n:02}.{'log' if n % 2 else 'txt'}": b"%d" % n for n in range(30)}
    here = write_tree(tmp_path / "here", files)
    url = f"s3://{bucket}"
    lines = [f'cp "{here / name}" "{url}/{name}"' for name in files]
    s5cmd("run", stdin="\n".join(lines).encode())
    assert len(listed(s5cmd, f"{url}/*")) == len(files)
    assert len(listed(s5cmd, f"{url}/*.log")) == 15
    s5cmd("cp", f"{url}/dir 1/*.txt", f"{tmp_path}/down/")
    assert same_files(
        read_tree(tmp_path / "down"),
        {
            name.removeprefix("dir 1/"): data
            for name, data in files.items()
            if name.startswith("dir 1/") and name.endswith(".txt")
        },
    )
    s5cmd("rm", f"{url}/*.log")
    left = {f"{url}/{name}" for name in files if name.endswith(".txt")}
    assert set(listed(s5cmd, f"{url}/*")) == left
