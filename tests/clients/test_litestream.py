"""Litestream, both lines of it, with a bucket as the replica of a SQLite database."""

import random
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from support import BIN, KIB, MIB, REGION, Command, clean_env, client_program, stop, wait_for

REPLICA = """
    type: s3
    endpoint: {endpoint.url}
    region: {region}
    bucket: {bucket}
    path: replicas/app ü
    access-key-id: {endpoint.access_key}
    secret-access-key: {endpoint.secret_key}
    force-path-style: true
    sync-interval: 100ms
"""


@pytest.fixture(params=["0.3", "0.5"])
def litestream(request, endpoint, bucket, home, tmp_path):
    """`litestream` of one line, and the arguments that name its configuration."""
    replica = REPLICA.format(endpoint=endpoint, bucket=bucket, region=REGION)
    database = f"dbs:\n- path: {tmp_path}/app.db\n"
    if request.param == "0.3":
        program = client_program("JOG_CLIENTS_LITESTREAM_03")
        text = f"{database}  replicas:\n  - {replica.strip()}\n"
    else:
        program = BIN / "litestream"
        text = f"{database}  replica:{replica}"
    (home / "litestream.yml").write_text(text)
    command = Command(program, env=clean_env(home), timeout=30)
    assert request.param in command("version")
    command.config = ("-config", str(home / "litestream.yml"))
    return command


class Replication:
    """`litestream replicate` in the background, with what it says in a file."""

    def __init__(self, litestream: Command, log: Path):
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [*litestream.program, "replicate", *litestream.config],
                env=litestream.env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self):
        return self

    def __exit__(self, error, *_rest):
        if error:
            self.process.kill()
            self.process.wait()
            print(self.log.read_text()[-4000:])
            return
        stop(self.process)
        text = self.log.read_text()
        bad = [line for line in text.splitlines() if "level=ERROR" in line or " error: " in line]
        assert not bad, text[-4000:]


def add_rows(database: Path, count: int, size: int, seed: str):
    """Rows of bytes that do not compress, each in a transaction of its own."""
    dice = random.Random(seed)
    with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, data BLOB)")
        for _ in range(count):
            connection.execute("INSERT INTO t (data) VALUES (?)", (dice.randbytes(size),))


def rows(database: Path) -> list[tuple[int, bytes]]:
    """All rows of a database that is whole."""
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT id, data FROM t ORDER BY id").fetchall()


def test_replicate_and_restore(litestream, tmp_path):
    database, log = tmp_path / "app.db", tmp_path / "litestream.log"

    def restored(name: str) -> list[tuple[int, bytes]]:
        litestream("restore", *litestream.config, "-o", tmp_path / name, database)
        return rows(tmp_path / name)

    def caught_up() -> bool:
        probe = tmp_path / "probe"
        litestream("restore", *litestream.config, "-if-replica-exists", "-o", probe, database)
        if not probe.exists():
            return False
        found = rows(probe)
        for left in tmp_path.glob("probe*"):
            left.unlink()
        return found == rows(database)

    # Large enough at the start that the first snapshot goes up in parts.
    add_rows(database, 12, MIB, "before")
    with Replication(litestream, log):
        wait_for("a replica of the start", caught_up, 20)
        for burst in range(10):
            add_rows(database, 15, 4 * KIB, f"burst {burst}")
            time.sleep(0.12)  # about one synchronisation each
        wait_for("a replica of all bursts", caught_up, 20)
        assert len(rows(database)) == 162
    assert restored("first") == rows(database)

    # It goes on where it stopped, and what was written meanwhile is not lost.
    add_rows(database, 20, 2 * KIB, "while stopped")
    with Replication(litestream, log):
        add_rows(database, 20, 2 * KIB, "afterwards")
        wait_for("a replica of the second run", caught_up, 20)
    assert restored("second") == rows(database)

    # The database lost, its replica is what is left; a second start leaves it alone.
    wanted = rows(database)
    for name in ("app.db", "app.db-wal", "app.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    for _ in range(2):
        litestream("restore", *litestream.config, "-if-db-not-exists", "-if-replica-exists",
                   database)  # fmt: skip
        assert rows(database) == wanted
