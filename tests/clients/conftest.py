"""The server under test, and a bucket for each test."""

import itertools
import os
import re
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

# Before any client is imported: the clients in this process get a clean environment too.
for _name in list(os.environ):
    if _name.upper().startswith("AWS_") or (
        _name.upper().endswith("_PROXY") and not _name.startswith("JOG_")
    ):
        del os.environ[_name]
for _name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
    os.environ.pop(_name, None)
_home = tempfile.TemporaryDirectory(prefix="jog-clients-home-")
os.environ["HOME"] = _home.name
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

import boto3
import pytest
from botocore.config import Config

import support
from tls import TlsTerminator

ACCESS_KEY = "JOGCLIENTSACCESSKEY0"
SECRET_KEY = "jog/clients+secret=key0123456789abcdefgh"

# Errors, panics, and requests answered with a 5xx other than NotImplemented: in the access log the
# status follows method, operation, bucket and key.
COMPLAINT = re.compile(
    r"^.*(?:panicked at|\[ERROR\]|\[INFO\] [A-Z]+ \S+ \S+ \S+ 5(?!01)\d\d ).*$", re.MULTILINE
)

_names = itertools.count(1)


class Jog:
    """A JOG server with a data directory of its own."""

    def __init__(self, work: Path, **settings: str):
        port = support.free_port()
        self.endpoint = support.Endpoint(f"http://127.0.0.1:{port}", ACCESS_KEY, SECRET_KEY)
        self.log = work / "server.log"
        self.stopped = False
        binary = os.environ.get("JOG_BIN") or support.HERE.parents[1] / "bin" / "jog"
        env = {
            "PATH": "/usr/bin:/bin",
            "JOG_ADDRESS": "127.0.0.1",
            "JOG_PORT": str(port),
            "JOG_DATA_DIR": str(work / "data"),
            "JOG_ACCESS_KEY": ACCESS_KEY,
            "JOG_SECRET_KEY": SECRET_KEY,
            "JOG_SIGV2": "on",
            "JOG_LOG_LEVEL": "info",
            **settings,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary, "server"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            support.wait_for("GET /_jog/health", self._healthy, 20)
        except BaseException:
            self.process.kill()
            print(self.log.read_text(errors="replace"))
            raise

    def _healthy(self) -> bool:
        code = self.process.poll()
        assert code is None, f"the server ended at once with exit code {code}"
        try:
            return support.fetch(f"{self.endpoint.url}/_jog/health").status == 200
        except OSError:
            return False

    def died(self) -> bool:
        """Whether it ended before it was told to."""
        return not self.stopped and self.process.poll() is not None

    def stop(self):
        """It must have lived until now and end well, and its log must be that of a good run.

        A client that tries again on its own hides an error of the server's: the log does not.
        """
        if self.stopped:
            return
        assert not self.died(), f"the server died: exit code {self.process.returncode}"
        self.stopped = True
        assert support.stop(self.process) == 0
        log = self.log.read_text(errors="replace")
        assert not COMPLAINT.findall(log)


def _external(variable: str) -> support.Endpoint | None:
    """A server that runs already, if the environment names one."""
    if url := os.environ.get(variable):
        keys = (os.environ[f"JOG_CLIENTS_{name}"] for name in ("ACCESS_KEY", "SECRET_KEY"))
        return support.Endpoint(url.rstrip("/"), *keys)
    return None


@pytest.fixture(scope="session")
def endpoint(request, tmp_path_factory):
    """The server that the tests share."""
    if external := _external("JOG_CLIENTS_ENDPOINT"):
        yield external
        return
    jog = Jog(tmp_path_factory.mktemp("jog"))
    request.config.stash[_SERVERS].append(jog)
    yield jog.endpoint
    jog.stop()


@pytest.fixture(scope="session")
def vhost_endpoint(request, tmp_path_factory):
    """A server that knows its buckets as hosts: BUCKET.localhost."""
    if external := _external("JOG_CLIENTS_VHOST_ENDPOINT"):
        yield external
        return
    if os.environ.get("JOG_CLIENTS_ENDPOINT"):
        pytest.skip("JOG_CLIENTS_VHOST_ENDPOINT is not set")
    jog = Jog(tmp_path_factory.mktemp("jog-vhost"), JOG_DOMAIN="localhost")
    request.config.stash[_SERVERS].append(jog)
    port = urlsplit(jog.endpoint.url).port
    yield support.Endpoint(f"http://localhost:{port}", ACCESS_KEY, SECRET_KEY)
    jog.stop()


@pytest.fixture(scope="session")
def terminator(endpoint, tmp_path_factory):
    """A TLS terminator in front of the shared server."""
    parts = urlsplit(endpoint.url)
    terminator = TlsTerminator(parts.hostname, parts.port, tmp_path_factory.mktemp("tls"))
    yield terminator
    terminator.close()


@pytest.fixture(scope="session")
def tls_endpoint(endpoint, terminator):
    """The shared server as TLS clients see it."""
    return support.Endpoint(terminator.url, endpoint.access_key, endpoint.secret_key)


def s3_client(endpoint: support.Endpoint, ca_file: Path | None = None, **config):
    """A boto3 client that fails at the first error."""
    settings = {
        "retries": {"total_max_attempts": 1},
        "connect_timeout": 10,
        "read_timeout": 60,
        "max_pool_connections": 16,
        **config,
    }
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name=support.REGION,
        verify=str(ca_file) if ca_file else None,
        config=Config(**settings),
    )


@pytest.fixture(scope="session")
def s3(endpoint):
    """boto3 as it comes."""
    return s3_client(endpoint)


@pytest.fixture(scope="session")
def s3_tls(tls_endpoint, terminator):
    """boto3 over TLS: unsigned payloads, checksums in trailers."""
    return s3_client(tls_endpoint, terminator.ca_file)


def new_bucket_name() -> str:
    """A name that no other test of any run has."""
    return f"clients-{os.getpid()}-{next(_names)}"


@pytest.fixture
def bucket_name(s3):
    """A name for a bucket that the test makes; what is left of it goes away afterwards."""
    name = new_bucket_name()
    yield name
    remove_bucket(s3, name)


@pytest.fixture
def bucket(s3, bucket_name):
    """An empty bucket."""
    s3.create_bucket(Bucket=bucket_name)
    return bucket_name


def remove_bucket(s3, name: str):
    """Empties and deletes a bucket that may be gone already."""
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
            for entry in page.get("Contents", []):
                s3.delete_object(Bucket=name, Key=entry["Key"])
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
            for upload in page.get("Uploads", []):
                s3.abort_multipart_upload(
                    Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"]
                )
        s3.delete_bucket(Bucket=name)
    except s3.exceptions.NoSuchBucket:
        pass


@pytest.fixture
def home(tmp_path):
    """A home directory for a client's processes."""
    path = tmp_path / "home"
    path.mkdir()
    return path


# --- the servers' logs beside a failure ----------------------------------------------------------

_SERVERS = pytest.StashKey[list[Jog]]()
_STARTS = pytest.StashKey[dict[Path, int]]()


def pytest_configure(config):
    config.stash[_SERVERS] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    servers = item.config.stash[_SERVERS]
    item.stash[_STARTS] = {jog.log: jog.log.stat().st_size for jog in servers}
    result = yield
    for jog in servers:
        if jog.died():
            # Nothing that follows could pass.
            item.session.shouldfail = f"the server died: exit code {jog.process.returncode}"
            jog.stopped = True
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        for log in [jog.log for jog in item.config.stash[_SERVERS]]:
            with log.open("rb") as file:
                file.seek(item.stash[_STARTS].get(log, 0))
                text = file.read().decode(errors="replace")
            if text:
                report.sections.append((f"{log.parent.name}/{log.name}", text[-8000:]))
    return report
