"""The guides' blocks, run in a sandbox: packaging/guide.py reads them, this gives them places."""

import importlib.util
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import support
from support import BIN, Command, clean_env

REPO = support.HERE.parents[1]


def _load():
    spec = importlib.util.spec_from_file_location("jog_guide", REPO / "packaging" / "guide.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["jog_guide"] = module
    spec.loader.exec_module(module)
    return module


guide = _load()


def block(label: str, **places: str) -> str:
    """The block of a name, with other places in it. Every place must be there: a guide that names
    another one is not what the test is about."""
    return elsewhere(guide.english().block(label).text, places)


def elsewhere(text: str, places: dict[str, str]) -> str:
    """A text with other places in it."""
    for old, new in places.items():
        assert old in text, f"not in the block: {old}\n{text}"
        text = text.replace(old, new)
    return text


def inline(command: str) -> str:
    """A command that the guide has within a line of text."""
    assert command in guide.english().spans(), f"not in the guide: {command}"
    return command


def jog_binary() -> str:
    """The program under test."""
    return str(os.environ.get("JOG_BIN") or REPO / "bin" / "jog")


# Whoever runs the test is the user jog.
SUDO = '#!/bin/sh\n[ "$1" != -u ] || shift 2\nexec "$@"\n'


class Sandbox:
    """A folder in which blocks are run, as `bash -e` would by hand: programs of the tests in front,
    `sudo` without any power, and the guide's folders below `root`."""

    FOLDERS = ("/etc/jog", "/var/lib/jog", "/var/backups/jog")

    def __init__(self, root: Path, **programs: object):
        self.root, self.bin = root, root / "bin"
        for folder in (*self.FOLDERS, "/bin", "/home"):
            (root / folder[1:]).mkdir(parents=True)
        sudo = self.bin / "sudo"
        sudo.write_text(SUDO)
        sudo.chmod(0o755)
        programs = {"jog": jog_binary(), "rclone": BIN / "rclone", "aws": BIN / "aws", **programs}
        for name, path in programs.items():
            (self.bin / name).symlink_to(path)
        self.env = clean_env(root / "home")
        self.env["PATH"] = f"{self.bin}:/usr/bin:/bin"
        self.env["RCLONE_CONFIG"] = str(root / "rclone.conf")
        # A failure is a failure: tried again it would be hidden.
        self.env |= {"RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1"}

    def path(self, place: str) -> Path:
        """Where one of the guide's places is."""
        return self.root / place.lstrip("/")

    def text(self, label: str, **places: str) -> str:
        """A block with the sandbox's folders."""
        text = block(label)
        for folder in self.FOLDERS:
            text = text.replace(folder, str(self.path(folder)))
        return elsewhere(text, places)

    def run(self, label: str, ok: bool = True, **places: str) -> str:
        """Runs a block, which must succeed or must not; what it said, errors among it."""
        command = Command("bash", "-euo", "pipefail", "-c", env=self.env, timeout=110)
        done = command.run(self.text(label, **places), ok=ok, cwd=self.root)
        return (done.stdout + done.stderr).decode()

    def run_anyhow(self, label: str, **places: str) -> tuple[int, str]:
        """Runs a block to its end, whatever fails in it; its exit code, and what it said."""
        done = subprocess.run(
            ["bash", "-c", self.text(label, **places)],
            env=self.env, cwd=self.root, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=110, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout.decode(errors="replace")

    @contextmanager
    def running(self, label: str, **places: str):
        """Runs a block that does not end by itself."""
        log = self.root / "block.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", self.text(label, **places)],
                env=self.env, cwd=self.root, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        try:
            yield process
            assert process.poll() is None, f"it ended by itself: {log.read_text()}"
        finally:
            print(log.read_text(errors="replace")[-3000:])
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                    break
