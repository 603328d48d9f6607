"""JOG itself under Litestream, with the configurations that packaging/litestream ships.

A JOG is replicated while it is written to, both programs are killed, the replica is restored, and a
JOG serves it. The replica is a bucket of another JOG, a folder, or both.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

import support
from conftest import ACCESS_KEY, SECRET_KEY, Jog, s3_client
from support import BIN, Command, clean_env, client_program, wait_for

PACKAGING = support.HERE.parents[1] / "packaging"
BUCKET = "photos"
WRITERS = 4


def shipped(line: str, folder_alone: bool, **places: str) -> str:
    """A shipped configuration with other places in it."""
    text = (PACKAGING / "litestream" / f"litestream-{line}.yml").read_text()
    head, alone = text.split("# --- a folder ---\n")
    if folder_alone:
        text = "".join(line.removeprefix("#") for line in alone.splitlines(True))
    else:
        text = head
    names = {
        "data": "/var/lib/jog/",
        "endpoint": "https://s3.example.com",
        "bucket": "jog-backup",
        "folder": "/var/backups/jog/metadata",
    }
    for name, place in places.items():
        text = text.replace(names[name], place)
    return text


class Site:
    """A JOG with Litestream, around it or beside it."""

    def __init__(self, tmp: Path, line: str, wrapped: bool, config: str, env: dict[str, str]):
        self.data, self.log, self.line = tmp / "data", tmp / "site.log", line
        self.wrapped = wrapped
        self.data.mkdir()
        port = support.free_port()
        self.endpoint = support.Endpoint(f"http://127.0.0.1:{port}", ACCESS_KEY, SECRET_KEY)
        self.binary = os.environ.get("JOG_BIN") or support.HERE.parents[1] / "bin" / "jog"
        settings = {
            "JOG_ADDRESS": "127.0.0.1",
            "JOG_PORT": str(port),
            "JOG_DATA_DIR": str(self.data),
            "JOG_ACCESS_KEY": ACCESS_KEY,
            "JOG_SECRET_KEY": SECRET_KEY,
        }
        (tmp / "litestream.yml").write_text(config)
        self.config = ("-config", str(tmp / "litestream.yml"))
        program = client_program("JOG_CLIENTS_LITESTREAM_03") if line == "0.3" else BIN / "litestream"
        self.litestream = Command(program, env={**env, **settings}, timeout=60)
        replicate = [program, "replicate", *self.config]
        if wrapped:
            commands = [[*replicate, "-exec", f"{self.binary} server"]]
        else:
            commands = [[self.binary, "server"], replicate]
        self.processes = []
        with self.log.open("wb") as log:
            for command in commands:
                self.processes.append(
                    subprocess.Popen(
                        command,
                        env=self.litestream.env,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        try:
            wait_for("the server", self.serves, 20)
        except BaseException:
            self.kill()
            print(self.log.read_text(errors="replace")[-4000:])
            raise

    def serves(self) -> bool:
        with suppress(OSError):
            return support.fetch(f"{self.endpoint.url}/_jog/health").status == 200
        return False

    def kill(self):
        """SIGKILL for both at once."""
        pids = [process.pid for process in self.processes]
        for pid in list(pids):
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                pids += [int(child) for child in children.read_text().split()]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()

    def restore(self, target: Path, *options: str):
        self.litestream(
            "restore", *self.config, *options, "-o", target, self.data / "metadata.db"
        )


class Writers(threading.Thread):
    """Puts and deletes without a pause, and remembers what was acknowledged."""

    def __init__(self, endpoint: support.Endpoint, name: str):
        super().__init__()
        self.s3 = s3_client(endpoint)
        self.name, self.halt = name, threading.Event()
        self.there: dict[str, bytes] = {}
        self.order: list[str] = []
        self.gone: list[str] = []
        self.start()

    def run(self):
        # What is on its way when the server is killed fails, and was not acknowledged.
        with suppress(Exception):
            n = 0
            while not self.halt.is_set():
                key = f"{self.name}/{n:06}"
                body = support.payload(200 + n % 50, key)
                self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
                self.there[key] = body
                self.order.append(key)
                if n % 10 == 9:
                    old = f"{self.name}/{n - 5:06}"
                    self.s3.delete_object(Bucket=BUCKET, Key=old)
                    del self.there[old]
                    self.gone.append(old)
                n += 1

    def stop(self):
        self.halt.set()
        self.join()


def fetched(s3, key: str) -> bytes | None:
    """An object, or none if there is none."""
    try:
        return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchKey"
        return None


CASES = [
    pytest.param("0.3", True, False, id="0.3-around-both"),
    pytest.param("0.3", False, False, id="0.3-beside-both"),
    pytest.param("0.5", True, False, id="0.5-around-s3"),
    pytest.param("0.5", False, False, id="0.5-beside-s3"),
    pytest.param("0.5", True, True, id="0.5-around-folder"),
]


@pytest.mark.parametrize(("line", "wrapped", "folder_alone"), CASES)
def test_killed_and_restored(line, wrapped, folder_alone, endpoint, bucket, home, tmp_path):
    folder = tmp_path / "replica"
    config = shipped(
        line,
        folder_alone,
        data=f"{tmp_path}/data/",
        endpoint=endpoint.url,
        bucket=bucket,
        folder=str(folder),
    )
    env = clean_env(
        home,
        {"AWS_ACCESS_KEY_ID": endpoint.access_key, "AWS_SECRET_ACCESS_KEY": endpoint.secret_key},
    )
    site = Site(tmp_path, line, wrapped, config, env)
    try:
        s3 = s3_client(site.endpoint)
        s3.create_bucket(Bucket=BUCKET)
        load = [Writers(site.endpoint, f"load{n}") for n in range(WRITERS)]
        wait_for("some load", lambda: sum(len(w.order) for w in load) > 2000, 60)
        for writer in load:
            writer.stop()
        s3.put_object(Bucket=BUCKET, Key="marker", Body=b"last")
        wait_for("the last write in the replica", lambda: has_marker(site, tmp_path), 40, 0.5)
        tail = Writers(site.endpoint, "tail")
        wait_for("more", lambda: len(tail.order) > 50, 30)
    finally:
        site.kill()
        print(site.log.read_text(errors="replace")[-3000:])
    tail.stop()

    if line == "0.3":
        # A checkpoint of anybody else's would have begun a second one.
        listed = site.litestream("generations", *site.config, site.data / "metadata.db")
        names = {tuple(row.split()[:2]) for row in listed.splitlines()[1:]}
        assert len(names) == 2, listed
    else:
        assert "snapshot" not in complaints(site), site.log.read_text()[-4000:]

    for replica in ("s3", "file") if line == "0.3" else (None,):
        new = tmp_path / f"new-{replica}"
        new.mkdir()
        site.restore(new / "metadata.db", *(("-replica", replica) if replica else ()))
        shutil.copytree(site.data / "buckets", new / "buckets")
        check_restored(tmp_path, new, load, tail)


def complaints(site: Site) -> str:
    lines = site.log.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if "level=WARN" in line or "level=ERROR" in line)


def has_marker(site: Site, tmp: Path) -> bool:
    """Whether the replica, restored now, has the last write in it."""
    probe = tmp / "probe.db"
    with suppress(AssertionError):
        site.restore(probe)
    found = probe.exists() and has_key(probe, "marker")
    for left in tmp.glob("probe.db*"):
        left.unlink()
    return found


def has_key(database: Path, key: str) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        sql = "SELECT count(*) FROM objects WHERE key = CAST(?1 AS BLOB)"
        return connection.execute(sql, (key,)).fetchone()[0] > 0


def check_restored(tmp: Path, data: Path, load: list[Writers], tail: Writers):
    """All that was replicated is there, what came later is there up to a moment, and it serves."""
    work = tmp / f"serve-{data.name}"
    work.mkdir()
    jog = Jog(work, JOG_DATA_DIR=str(data))
    try:
        s3 = s3_client(jog.endpoint)
        assert fetched(s3, "marker") == b"last"
        keys = set()
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            keys |= {entry["Key"] for entry in page.get("Contents", [])}
        for writer in load:
            mine = {key for key in keys if key.startswith(f"{writer.name}/")}
            assert mine == set(writer.there)
            for key in list(mine)[::20]:
                assert support.same_bytes(fetched(s3, key), writer.there[key], key)
        known = [key in keys for key in tail.order if key not in tail.gone]
        assert known == sorted(known, reverse=True), "a gap in what was written last"
        for key in tail.order:
            if key in keys and key in tail.there:
                assert support.same_bytes(fetched(s3, key), tail.there[key], key)
        s3.put_object(Bucket=BUCKET, Key="again", Body=b"works")
        assert fetched(s3, "again") == b"works"
    finally:
        jog.stop()
