#!/usr/bin/env python3
"""Runs Ceph's s3-tests against JOG and compares the result with the lists beside this file.

passes.txt names the tests that must pass, fails.txt those that do not, each with its reason. A test
of the first list that fails, and one of the second that passes, fail this check. The suite itself is
not part of JOG: it is cloned, unless S3TESTS_DIR names a work tree.

    JOG_BIN=bin/jog tests/conformance/run.py [-k EXPRESSION]

Needs git, Python 3.10 or newer with venv, and a network the first time. What it makes is under
target/conformance.
"""

import argparse
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "conformance"
SUITE = "https://github.com/ceph/s3-tests"
COMMIT = "8f0ae7b"
PYTEST_TIMEOUT = "pytest-timeout==2.4.0"
TEST_SECONDS = 120
ROOT_KEY, ROOT_SECRET = "rootaccess", "rootsecret0123456789"


def lists():
    """The tests that pass, and those that fail with their reasons."""
    passes = (HERE / "passes.txt").read_text().split()
    fails = {}
    for line in (HERE / "fails.txt").read_text().splitlines():
        name, _, reason = line.partition(": ")
        if not name or not reason:
            sys.exit(f"fails.txt: no reason in {line!r}")
        fails[name] = reason
    twice = [name for name in set(passes) if passes.count(name) > 1 or name in fails]
    if twice:
        sys.exit(f"listed twice: {sorted(twice)}")
    return passes, fails


def suite():
    """The work tree of the suite, and the Python that runs it."""
    tree = pathlib.Path(os.environ.get("S3TESTS_DIR", WORK / "s3-tests"))
    if not tree.is_dir():
        subprocess.run(["git", "clone", "-q", SUITE, tree], check=True)
        subprocess.run(["git", "-C", tree, "checkout", "-q", COMMIT], check=True)
    venv = pathlib.Path(os.environ.get("S3TESTS_VENV", WORK / "venv"))
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [python, "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "-r", tree / "requirements.txt", PYTEST_TIMEOUT], check=True)
    return tree, python


class Server:
    """A fresh JOG with the three users of the suite."""

    def __init__(self, binary, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.binary = binary
        self.env = dict(
            os.environ,
            JOG_ADDRESS="127.0.0.1",
            JOG_PORT=str(self.port),
            JOG_DATA_DIR=str(folder),
            JOG_ACCESS_KEY=ROOT_KEY,
            JOG_SECRET_KEY=ROOT_SECRET,
            JOG_SSE_KEY="6b" * 32,
            JOG_SIGV2="on",
            JOG_AUTH_FAILURES="0",
            JOG_DURABILITY="os",
            JOG_LOG_LEVEL="warn",
        )
        self.process = subprocess.Popen([binary, "server"], env=self.env)
        deadline = time.monotonic() + 20
        while subprocess.run([binary, "healthcheck"], env=self.env, capture_output=True).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit("JOG does not start")
            time.sleep(0.1)
        self.users = {}
        # Not root: policies of buckets do not bind root.
        for name in ("main", "alt", "tenant"):
            key, secret = f"{name}access", f"{name}secret0123456789"
            self.users[name] = (key, secret, self.add(name, key, secret), name)

    def add(self, name, key, secret):
        """Adds a user; its canonical ID."""
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(secret + "\n")
            file.flush()
            added = subprocess.run(
                [self.binary, "user", "add", name, "--allow", "create"]
                + ["--email", f"{name}@example.com"]
                + ["--access-key", key, "--secret-file", file.name],
                env=self.env, capture_output=True, text=True, check=True,
            )
        return next(l.split()[1] for l in added.stdout.splitlines() if l.startswith("id"))

    def settings(self):
        """The suite's configuration file."""
        text = "[DEFAULT]\nhost = 127.0.0.1\n"
        text += f"port = {self.port}\nis_secure = False\nssl_verify = False\n"
        text += "[fixtures]\nbucket prefix = s3t-{random}-\n"
        sections = {"s3 main": "main", "s3 alt": "alt", "s3 tenant": "tenant"}
        sections |= {"iam": "main", "iam root": "main", "iam alt root": "alt"}
        for section, name in sections.items():
            key, secret, canonical, display = self.users[name]
            text += f"[{section}]\naccess_key = {key}\nsecret_key = {secret}\n"
            text += f"user_id = {canonical}\ndisplay_name = {display}\n"
            text += f"email = {name}@example.com\n"
            if section == "s3 main":
                text += "api_name = us-east-1\nlc_debug_interval = 10\n"
            if section == "s3 tenant":
                text += "tenant = tenant\n"
        return text

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def run(tree, python, server, names, folder):
    """Runs tests by name; whether each passed."""
    files = [tree / "s3tests" / "functional" / f"{file}.py" for file in ("test_s3", "test_headers")]
    home = {}
    for file in files:
        for line in file.read_text().splitlines():
            if line.startswith("def test_"):
                home[line[4:].split("(")[0]] = file
    # A test with parameters has them behind its name, in brackets.
    home |= {name: home[name.split("[")[0]] for name in names if name.split("[")[0] in home}
    unknown = [name for name in names if name not in home]
    if unknown:
        sys.exit(f"the suite has no {unknown}")
    settings, report = folder / "s3tests.conf", folder / "report.xml"
    settings.write_text(server.settings())
    settings.chmod(0o600)
    subprocess.run(
        [python, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "--tb=line"]
        + [f"--timeout={TEST_SECONDS}", f"--junitxml={report}"]
        + [f"{home[name]}::{name}" for name in names],
        cwd=tree,
        env=dict(os.environ, S3TEST_CONF=str(settings)),
    )
    passed = {}
    for case in ElementTree.parse(report).iter("testcase"):
        bad = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
        passed[case.get("name")] = not bad
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", metavar="TEXT", default="", help="only tests with this in their name")
    asked = parser.parse_args().k
    passes, fails = lists()
    binary = pathlib.Path(os.environ.get("JOG_BIN", ROOT / "bin" / "jog")).resolve()
    tree, python = suite()
    names = [name for name in [*passes, *fails] if asked in name]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="jog-conformance-"))
    try:
        server = Server(str(binary), folder / "data")
        try:
            passed = run(tree, python, server, names, folder)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
    missing = [name for name in names if name not in passed]
    worse = [name for name in passes if passed.get(name) is False]
    better = [name for name in fails if passed.get(name) is True]
    for what, found in (
        ("did not run", missing), ("must pass and fail", worse), ("pass now: list them", better)
    ):
        if found:
            print(f"{what}: {' '.join(found)}")
    print(f"{sum(passed.values())} of {len(names)} pass")
    sys.exit(1 if missing or worse or better else 0)


if __name__ == "__main__":
    main()
