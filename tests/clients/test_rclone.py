"""rclone."""

import hashlib
import json
from datetime import datetime

import pytest

from support import (
    BIN,
    MIB,
    MULTIPART_SIZE,
    REGION,
    Command,
    clean_env,
    multipart_etag,
    odd_files,
    payload,
    read_tree,
    same_bytes,
    same_files,
    split,
    write_tree,
)


def remote(endpoint, home, **more: str) -> Command:
    """`rclone` with a remote called `jog:`, which gives up at the first error."""
    settings = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": endpoint.url,
        "ACCESS_KEY_ID": endpoint.access_key,
        "SECRET_ACCESS_KEY": endpoint.secret_key,
        "REGION": REGION,
    }
    env = {f"RCLONE_CONFIG_JOG_{name}": value for name, value in settings.items()}
    env |= {"RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1", "RCLONE_CONFIG": "/dev/null"}
    return Command(BIN / "rclone", env=clean_env(home, env, more))


@pytest.fixture
def rclone(endpoint, home):
    """rclone over plain HTTP."""
    return remote(endpoint, home)


# How rclone prints control characters, whatever they are called on either side.
PICTURES = {**{code: 0x2400 + code for code in range(0x20)}, 0x7F: 0x2421}
MULTIPART = ("--s3-chunk-size", "5M", "--s3-upload-cutoff", "5M", "--s3-copy-cutoff", "8M")


def test_sync_and_check(rclone, bucket, tmp_path):
    files = odd_files()
    # What rclone's own `test info` tries: the edges of what a file name may be.
    files |= {
        f"strange/{name}": payload(9, name)
        for name in (" leading", "trailing ", "trailing.", ".hidden", "~tilde", "back\\slash",
                     'quo"te', "co:lon", "pi|pe", "<angle>", "st*ar", "tab\there", "new\nline",
                     "cr\rhere", "del\x7f", "fullwidth％2F", "e\u0301 nfd", "\u00e9 nfc")
    }  # fmt: skip
    here = write_tree(tmp_path / "here", files)
    at = f"jog:{bucket}/tree"
    rclone("sync", here, at)
    rclone("check", "--download", here, at)
    there = tmp_path / "there"
    rclone("sync", at, there)
    assert same_files(read_tree(there), files)

    entries = json.loads(rclone("lsjson", "--recursive", "--files-only", "--hash", at))
    listed = {entry["Path"]: entry for entry in entries}
    assert sorted(listed) == sorted(name.translate(PICTURES) for name in files)
    for name, data in files.items():
        entry = listed[name.translate(PICTURES)]
        assert entry["Size"] == len(data)
        assert entry["Hashes"]["md5"] == hashlib.md5(data).hexdigest()
        age = abs((here / name).stat().st_mtime - mtime(entry["ModTime"]))
        assert age < 0.001  # kept as metadata

    (here / "plain.txt").unlink()
    files.pop("plain.txt")
    files.update({"new file.txt": b"new", "with space.txt": b"not what it was"})
    write_tree(here, files)
    rclone("sync", here, at)
    rclone("check", "--download", here, at)
    rclone("sync", at, there)
    assert same_files(read_tree(there), files)


def mtime(text: str) -> float:
    """Seconds since 1970 from RFC 3339 with nanoseconds in UTC."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def test_multipart_streams_and_copies(rclone, s3, bucket, tmp_path):
    data = payload(MULTIPART_SIZE, "rclone")
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "big +.bin").write_bytes(data)
    at = f"jog:{bucket}"
    rclone("copy", *MULTIPART, tmp_path / "up", f"{at}/big")
    head = s3.head_object(Bucket=bucket, Key="big/big +.bin")
    assert head["ETag"] == multipart_etag(split(data, 5 * MIB))

    # Length unknown, both above and below the size at which it takes to parts.
    rclone("rcat", *MULTIPART, f"{at}/ü piped", stdin=data)
    rclone("rcat", f"{at}/small piped", stdin=b"small")
    # Server side, in ranges and in one piece.
    rclone("copyto", *MULTIPART, f"{at}/big/big +.bin", f"{at}/copied in parts")
    rclone("copyto", f"{at}/ü piped", f"{at}/copied whole")
    rclone("moveto", f"{at}/copied whole", f"{at}/moved/there")
    for name in ("big/big +.bin", "ü piped", "copied in parts", "moved/there"):
        assert same_bytes(rclone.run("cat", f"{at}/{name}").stdout, data)
    assert rclone("cat", f"{at}/small piped") == "small"
    tail = rclone.run("cat", "--offset", 5 * MIB - 3, "--count", 7, f"{at}/ü piped").stdout
    assert tail == data[5 * MIB - 3 : 5 * MIB + 4]
    names = rclone("lsf", "--recursive", "--files-only", at).splitlines()
    assert sorted(names) == sorted(
        ["big/big +.bin", "ü piped", "copied in parts", "moved/there", "small piped"]
    )
    assert rclone("backend", "list-multipart-uploads", at).count("UploadId") == 0


def test_buckets_move_and_purge(rclone, bucket_name, tmp_path):
    rclone("mkdir", f"jog:{bucket_name}")
    assert bucket_name in rclone("lsd", "jog:")
    files = {f"dir/{number % 4}/file {number}": payload(number, number) for number in range(40)}
    here = write_tree(tmp_path / "here", files)
    rclone("move", here, f"jog:{bucket_name}/first")
    assert read_tree(here) == {}
    rclone("move", f"jog:{bucket_name}/first", f"jog:{bucket_name}/second")
    size = json.loads(rclone("size", "--json", f"jog:{bucket_name}"))
    assert (size["count"], size["bytes"]) == (40, sum(range(40)))
    rclone("copy", f"jog:{bucket_name}/second", tmp_path / "back")
    assert same_files(read_tree(tmp_path / "back"), files)
    rclone("delete", "--include", "dir/1/**", f"jog:{bucket_name}/second")
    assert len(rclone("lsf", "-R", "--files-only", f"jog:{bucket_name}").splitlines()) == 30
    rclone("purge", f"jog:{bucket_name}")
    assert bucket_name not in rclone("lsd", "jog:")


def test_over_tls(tls_endpoint, terminator, home, bucket, tmp_path):
    # Here the checksums follow the data.
    rclone = remote(tls_endpoint, home, RCLONE_CA_CERT=str(terminator.ca_file))
    files = {**odd_files(), "big": payload(MULTIPART_SIZE, "tls")}
    here = write_tree(tmp_path / "here", files)
    rclone("copy", *MULTIPART, here, f"jog:{bucket}")
    rclone("check", "--download", here, f"jog:{bucket}")
    rclone("copy", f"jog:{bucket}", tmp_path / "there")
    assert same_files(read_tree(tmp_path / "there"), files)
