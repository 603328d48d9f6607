"""restic: a repository that must survive its own checks."""

import json
import shutil
from pathlib import Path

import pytest

from support import MIB, Command, clean_env, odd_files, payload, read_tree, same_files, write_tree


@pytest.fixture
def restic(endpoint, home, bucket_name):
    """`restic` on a repository in a bucket that it makes itself."""
    program = shutil.which("restic", path="/usr/local/bin:/usr/bin")
    assert program, "restic is not installed: start the tests with tests/clients/run.sh"
    settings = {
        "RESTIC_REPOSITORY": f"s3:{endpoint.url}/{bucket_name}/backups/of it",
        "RESTIC_PASSWORD": "not a secret",
        "RESTIC_CACHE_DIR": str(home / "cache"),
        "RESTIC_PROGRESS_FPS": "0.1",
    }
    return Command(program, env=clean_env(home, endpoint.aws_env, settings))


def snapshots(restic) -> list[str]:
    """Their ids, oldest first."""
    found = sorted(json.loads(restic("snapshots", "--json")), key=lambda each: each["time"])
    return [each["short_id"] for each in found]


def restored(restic, snapshot: str, source: Path, target: Path) -> dict[str, bytes]:
    """The files of a snapshot."""
    restic("restore", snapshot, "--target", target)
    return read_tree(target / source.relative_to("/"))


def test_backups_from_init_to_prune(restic, tmp_path):
    restic("init")
    source = tmp_path / "source"
    first = {**odd_files(), "big": payload(40 * MIB, "restic")}
    write_tree(source, first)
    restic("backup", source)

    big = first["big"]
    changes = {
        "new.bin": payload(6 * MIB, "new"),
        "big": big[: 10 * MIB] + b"something between" + big[10 * MIB :],
    }
    write_tree(source, changes)
    (source / "plain.txt").unlink()
    second = {**first, **changes}
    second.pop("plain.txt")
    added = [json.loads(line) for line in restic("backup", "--json", source).splitlines()][-1]
    assert (added["files_new"], added["files_changed"]) == (1, 1)
    # The new file, and the pieces around the change, of up to 8 MiB each and cut by chance.
    assert added["data_added"] < 30 * MIB

    restic("check", "--read-data")
    old, new = snapshots(restic)
    assert same_files(restored(restic, old, source, tmp_path / "old"), first)
    assert same_files(restored(restic, new, source, tmp_path / "new"), second)
    lines = [line.split(None, 1) for line in restic("diff", old, new).splitlines()]
    changes = {words[1]: words[0] for words in lines if words and words[0] in "+-M"}
    wanted = {"new.bin": "+", "plain.txt": "-", "big": "M"}
    assert changes == {f"{source}/{name}": sign for name, sign in wanted.items()}

    restic("forget", "--keep-last", 1, "--prune", "--max-unused", 0)
    assert snapshots(restic) == [new]
    restic("check", "--read-data", "--no-cache")
    assert same_files(restored(restic, new, source, tmp_path / "pruned"), second)
    assert restic("list", "locks") == ""
