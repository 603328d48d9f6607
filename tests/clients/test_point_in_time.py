"""One moment of metadata and files, between two backups: Litestream gives metadata.db of that
moment, `jog backup` has the files, `jog restore --metadata` puts both together. All of it while the
server runs and is written to."""

import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import support
from conftest import ACCESS_KEY, SECRET_KEY, Jog, s3_client
from support import BIN, Command, clean_env, client_program, is_foreign, payload, stop, wait_for

KEYS = 20


@pytest.fixture(params=["0.3", "0.5"])
def litestream(request, home):
    """`litestream` of one line."""
    old = request.param == "0.3"
    program = client_program("JOG_CLIENTS_LITESTREAM_03") if old else BIN / "litestream"
    command = Command(program, env=clean_env(home), timeout=30)
    command.old = old
    return command


def configure(litestream: Command, data: Path, replica: Path) -> tuple[str, str]:
    form = "  replicas:\n  - " if litestream.old else "  replica:\n    "
    text = f"{form}type: file\n    path: {replica}\n    sync-interval: 100ms\n"
    config = replica.with_suffix(".yml")
    config.write_text(f"dbs:\n- path: {data}/metadata.db\n{text}")
    return "-config", str(config)


def jog(data: Path, *arguments: str | Path) -> str:
    binary = os.environ.get("JOG_BIN") or support.HERE.parents[1] / "bin" / "jog"
    env = {
        "PATH": "/usr/bin:/bin",
        "JOG_DATA_DIR": str(data),
        "JOG_ACCESS_KEY": ACCESS_KEY,
        "JOG_SECRET_KEY": SECRET_KEY,
    }
    done = subprocess.run([binary, *arguments], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(is_foreign(), reason="it is about JOG's own commands")
def test_a_moment_between_backups(litestream, tmp_path):
    data, replica, backup = tmp_path / "data", tmp_path / "replica", tmp_path / "backup"
    server = Jog(tmp_path)
    s3 = s3_client(server.endpoint)
    s3.create_bucket(Bucket="moment")
    config = configure(litestream, data, replica)

    def write(round_: int):
        for key in range(KEYS):
            if (key + round_) % 5 == 0:
                s3.delete_object(Bucket="moment", Key=f"k{key}")
            else:
                body = payload(1000 + key, f"{round_} {key}")
                s3.put_object(Bucket="moment", Key=f"k{key}", Body=body)

    def state(client) -> dict[str, bytes]:
        page = client.list_objects_v2(Bucket="moment").get("Contents", [])
        get = lambda key: client.get_object(Bucket="moment", Key=key)["Body"].read()
        return {entry["Key"]: get(entry["Key"]) for entry in page}

    with (tmp_path / "litestream.log").open("wb") as log:
        replicate = subprocess.Popen(
            [*litestream.program, "replicate", *config],
            env=litestream.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_for("a replica", lambda: any(replica.rglob("*.lz4")) or any(replica.rglob("*.ltx")), 20)
        write(1)
        jog(data, "backup", backup)
        write(2)
        wanted = state(s3)
        # Litestream goes by the times of what it has synced.
        time.sleep(2.5)
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        time.sleep(2.5)
        for round_ in range(3, 6):
            write(round_)
        jog(data, "backup", backup, "--keep", "1")
    finally:
        stop(replicate)
    metadata, back = tmp_path / "moment.db", tmp_path / "back" / "data"
    litestream(
        "restore", *config, "-timestamp", moment, "-o", metadata, data / "metadata.db"
    )
    # Everything is lost but the backup and the replica.
    server.stop()
    for path in data.rglob("*"):
        if path.is_file():
            path.unlink()
    jog(data, "restore", backup, back, "--metadata", metadata)
    jog(back, "verify", "--deep")
    restored = Jog(back.parent)
    assert state(s3_client(restored.endpoint)) == wanted
    restored.stop()
