"""What the flows share: data, files, clean processes, plain HTTP, and a wait that has an end."""

import base64
import hashlib
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from awscrt import checksums as crc

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent  # where the virtual environment keeps the clients
REGION = "us-east-1"

KIB = 1 << 10
MIB = 1 << 20

# The sizes at which clients and servers change their ways: nothing, one byte, and just over the
# smallest part; more than one part, the last one short.
SMALL_SIZES = (0, 1, 5 * MIB + 1)
MULTIPART_SIZE = 20 * MIB + 11

# Keys that are file names too: what clients must escape, and what they must not.
ODD_NAMES = (
    "plain.txt",
    "with space.txt",
    "plus+sign & ampersand.txt",
    "日本語/ü ñ+%&.txt",
    "per%20cent%2Fnot-a-slash.txt",
    "semi;colon=equals,comma@at:colon.txt",
    "quote'single(paren)!bang~tilde$dollar.txt",
    "hash#question?.txt",
    "deep/er/and/deeper/..dots...txt",
    "emoji-🦀.bin",
)

# Keys that are no file names: a key beside keys under it, empty segments, a folder marker.
ODD_KEYS = (
    *ODD_NAMES,
    "a",
    "a/b",
    "a/b/c",
    "a//b",
    "folder/",
    "trailing space ",
    'double"quote\\backslash<angle>|pipe^caret`tick{brace}',
)


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens, and a key pair it knows."""

    url: str
    access_key: str
    secret_key: str

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    @property
    def aws_env(self) -> dict[str, str]:
        """The environment that every AWS SDK reads. One attempt: retries would hide a 5xx."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_RETRY_MODE": "standard",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


# --- data ------------------------------------------------------------------------------------


def payload(size: int, seed: object = 0) -> bytes:
    """`size` bytes that look random and are the same in every run."""
    return random.Random(f"{seed}/{size}").randbytes(size)


def odd_files(sizes: tuple[int, ...] = SMALL_SIZES) -> dict[str, bytes]:
    """Every odd name, with the sizes dealt out in turn."""
    return {name: payload(sizes[index % len(sizes)], name) for index, name in enumerate(ODD_NAMES)}


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    """Lays files out under `root`."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def read_tree(root: Path) -> dict[str, bytes]:
    """All files under `root`, by their names relative to it."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def same_bytes(got: bytes, wanted: bytes, what: str = "") -> bool:
    """True, or an error that says where they part: `assert a == b` would print megabytes."""
    if got == wanted:
        return True
    pairs = enumerate(zip(got, wanted, strict=False))
    place = next((n for n, (a, b) in pairs if a != b), min(len(got), len(wanted)))
    raise AssertionError(
        f"{what}: {len(got)} bytes where {len(wanted)} were expected, different from {place}: "
        f"{got[place : place + 20]!r} instead of {wanted[place : place + 20]!r}"
    )


def same_files(got: dict[str, bytes], wanted: dict[str, bytes]) -> bool:
    """True, or an error that says which of the files differ."""
    assert sorted(got) == sorted(wanted)
    return all(same_bytes(got[name], wanted[name], name) for name in wanted)


def md5_etag(data: bytes) -> str:
    """The ETag of an object put in one piece."""
    return f'"{hashlib.md5(data).hexdigest()}"'


def multipart_etag(parts: list[bytes]) -> str:
    """The ETag of an object made of parts."""
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'


def split(data: bytes, size: int) -> list[bytes]:
    """Parts of `size` bytes, the last one what is left."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


CHECKSUMS = {
    "CRC32": lambda data: _base64(crc.crc32(data).to_bytes(4, "big")),
    "CRC32C": lambda data: _base64(crc.crc32c(data).to_bytes(4, "big")),
    "CRC64NVME": lambda data: _base64(crc.crc64nvme(data).to_bytes(8, "big")),
    "SHA1": lambda data: _base64(hashlib.sha1(data).digest()),
    "SHA256": lambda data: _base64(hashlib.sha256(data).digest()),
}
"""S3's checksums as it writes them, computed here and not by the client under test."""


def composite_checksum(algorithm: str, parts: list[bytes]) -> str:
    """The checksum of the parts' checksums, as S3 gives it for a multipart object."""
    checksum = CHECKSUMS[algorithm]
    digests = b"".join(base64.b64decode(checksum(part)) for part in parts)
    return f"{checksum(digests)}-{len(parts)}"


# --- processes -------------------------------------------------------------------------------


def clean_env(home: Path, *more: dict[str, str]) -> dict[str, str]:
    """An environment with nothing in it but this: no credentials, proxies or settings leak in."""
    env = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONWARNINGS": "ignore",
    }
    for extra in more:
        env.update(extra)
    return env


class Command:
    """A client's command line, with the arguments and environment that every call shares."""

    def __init__(self, *program: object, env: dict[str, str], timeout: float = 100):
        self.program = [str(word) for word in program]
        self.env = env
        self.timeout = timeout

    def run(
        self, *args: object, ok: bool = True, stdin: bytes | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs to the end. With `ok` the exit code must be 0, without it must not."""
        words = self.program + [str(arg) for arg in args]
        done = subprocess.run(
            words,
            env=self.env,
            cwd=cwd,
            input=b"" if stdin is None else stdin,
            capture_output=True,
            timeout=self.timeout,
            check=False,
        )
        if (done.returncode == 0) != ok:
            said = (done.stdout + done.stderr).decode(errors="replace")
            # Of a line that a progress meter wrote over and over, the last state.
            said = "\n".join(line.rpartition("\r")[2] for line in said.split("\n"))
            raise AssertionError(f"exit code {done.returncode}: {words}\n{said[-6000:]}")
        return done

    def __call__(self, *args: object, **how) -> str:
        """What it printed."""
        return self.run(*args, **how).stdout.decode()

    def fails(self, *args: object, **how) -> str:
        """Runs what must fail; gives all that it said."""
        done = self.run(*args, ok=False, **how)
        return done.stdout.decode() + done.stderr.decode()


def stop(process: subprocess.Popen, seconds: float = 20) -> int:
    """SIGTERM and the exit code; SIGKILL if that took too long."""
    process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"still there {seconds} s after SIGTERM: {process.args}") from None


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: str, ready, seconds: float, pause: float = 0.05):
    """Calls `ready` until it gives something true, and gives that."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)
    return found


# --- plain HTTP ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """A response to a request that no SDK made."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args):
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def fetch(
    url: str, method: str = "GET", data: bytes | None = None, headers: dict | None = None
) -> Answer:
    """What urllib gets, errors and redirects included."""
    headers = dict(headers or {})
    if data is not None:
        # urllib would name a type of its own choice.
        headers.setdefault("Content-Type", "application/octet-stream")
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with _OPENER.open(request, timeout=60) as response:
            return _answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.headers, error.read())


def _answer(status: int, headers, body: bytes) -> Answer:
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)


def is_foreign() -> bool:
    """Whether the tests run against another server, which need not have all that JOG has."""
    return bool(os.environ.get("JOG_CLIENTS_ENDPOINT"))


def skip_without_signature_version_2(answer: Answer):
    """Skips the test if another server says, as AWS's newer regions do, that it takes version 4
    alone."""
    if is_foreign() and answer.status == 400 and b"<Code>InvalidRequest</Code>" in answer.body:
        pytest.skip("the server takes no Signature Version 2")


def client_program(variable: str) -> Path:
    """A path that run.sh tells."""
    path = os.environ.get(variable)
    assert path, f"{variable} is not set: start the tests with tests/clients/run.sh"
    return Path(path)
