"""JOG behind the reverse proxies of the guide, with the guide's configurations.

nginx and Caddy are those of Debian (apt-get install nginx caddy). Their configurations are the
guide's, word for word but for ports and the places of certificates. Clients know the proxy by its
real name, https://s3.example.com: a small proxy of theirs (CONNECT) takes the place of DNS.
"""

import gzip
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import boto3
import pytest
import trustme
from botocore.config import Config

import support
from conftest import ACCESS_KEY, SECRET_KEY, Jog
from guide import Sandbox, block, elsewhere
from support import BIN, KIB, MIB, Command, clean_env, is_foreign, payload, same_bytes, wait_for

NAME = "s3.example.com"
PROXIES = ["nginx", "caddy", "caddy-by-itself"]

SKIPPED = os.environ.get("JOG_TEST_PROXY") == "skip"
pytestmark = [
    pytest.mark.skipif(SKIPPED, reason="JOG_TEST_PROXY=skip: no reverse proxy was tested"),
    pytest.mark.skipif(is_foreign(), reason="it is about JOG's own settings"),
]


def program(name: str) -> str:
    found = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    assert found, f"{name} is missing: apt-get install {name}; JOG_TEST_PROXY=skip leaves this out"
    return found


class Names:
    """An HTTP proxy that knows one address for every host: clients see the name and port 443."""

    def __init__(self, port: int):
        self.port, self._listener = port, socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket):
        with client, suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1) or b"\r\n\r\n"
            host, _, port = head.split()[1].decode().rpartition(":")
            assert (host == NAME or host.endswith(f".{NAME}")) and port == "443", head
            with socket.create_connection(("127.0.0.1", self.port)) as inside:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_pump, args=(inside, client), daemon=True)
                back.start()
                _pump(client, inside)
                back.join()

    def close(self):
        # Closing alone does not wake who waits in accept.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket):
    with suppress(OSError):
        while data := source.recv(256 * KIB):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Site:
    """JOG with the guide's settings behind one of its proxies."""

    def __init__(self, work: Path, kind: str):
        self.kind, self.work = kind, work
        lines = block("clients:proxy-settings").split()
        settings = dict(line.split("=", 1) for line in lines)
        assert set(settings) == {"JOG_ADDRESS", "JOG_TRUST_PROXY", "JOG_DOMAIN"}
        if kind == "caddy-by-itself":
            del settings["JOG_DOMAIN"]
        self.jog = Jog(work, **settings)
        self.port = support.free_port()
        self.names = Names(self.port)
        upstream = self.jog.endpoint.host
        start = _nginx if kind == "nginx" else _caddy
        with (work / "proxy.log").open("wb") as log:
            self.process = start(work, kind, self.port, upstream, log)
        self.ca_file = work / "ca.pem"
        try:
            wait_for(kind, self._answers, 30)
        except BaseException:
            self.close()
            print((work / "proxy.log").read_text(errors="replace")[-4000:])
            raise
        self.endpoint = support.Endpoint(f"https://{NAME}", ACCESS_KEY, SECRET_KEY)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"{self.kind} ended at once"
        if not self.ca_file.exists():
            return False
        with suppress(OSError), self.connect() as tls:
            tls.sendall(f"GET /_jog/health HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            return tls.recv(12) == b"HTTP/1.1 200"
        return False

    def connect(self) -> ssl.SSLSocket:
        """A connection of a client that speaks HTTP by itself."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        return context.wrap_socket(plain, server_hostname=NAME)

    def s3(self, **config):
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=support.REGION,
            verify=str(self.ca_file),
            config=Config(
                retries={"total_max_attempts": 1},
                proxies={"https": self.names.url},
                signature_version="s3v4",
                **config,
            ),
        )

    def command(self, home: Path, *program: object) -> Command:
        """A program that knows the credentials, the authority, and the names."""
        env = {
            "HTTPS_PROXY": self.names.url,
            "https_proxy": self.names.url,
            "AWS_CA_BUNDLE": str(self.ca_file),
            "CURL_CA_BUNDLE": str(self.ca_file),
        }
        aws = {k: v for k, v in self.endpoint.aws_env.items() if k != "AWS_ENDPOINT_URL"}
        return Command(*program, env=clean_env(home, aws, env))

    def close(self):
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        self.names.close()
        self.jog.stop()


def certificate(work: Path):
    """An authority, and its certificate for the names of the guide's configuration."""
    authority = trustme.CA()
    cert = authority.issue_cert(NAME, f"*.{NAME}")
    cert.private_key_pem.write_to_path(str(work / "site.key"))
    for blob in cert.cert_chain_pems:
        blob.write_to_path(str(work / "site.pem"), append=True)
    authority.cert_pem.write_to_path(str(work / "ca.pem"))


def places(work: Path, port: int, upstream: str) -> dict[str, str]:
    return {
        "127.0.0.1:9000": upstream,
        f"/etc/ssl/{NAME}.pem": str(work / "site.pem"),
        f"/etc/ssl/private/{NAME}.key": str(work / "site.key"),
    }


def _nginx(work: Path, _kind: str, port: int, upstream: str, log) -> subprocess.Popen:
    certificate(work)
    site = block("clients:nginx", **places(work, port, upstream), **{"listen 443": f"listen {port}"})
    temp = work / "temp"
    temp.mkdir()
    # Around it what Debian's nginx.conf has, with places that need no root; of its temporary files
    # none may be of a body.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temps = "".join(f"    {kind}_temp_path {temp}/{kind};\n" for kind in kinds)
    # The temporary files are in a folder of who runs the test.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (work / "nginx.conf").write_text(
        f"{user}daemon off;\nworker_processes 2;\npid {work}/nginx.pid;\nerror_log stderr info;\n"
        f"events {{ worker_connections 768; }}\n"
        f"http {{\n    access_log off;\n    sendfile on;\n    gzip on;\n{temps}{site}}}\n"
    )
    command = [program("nginx"), "-e", "stderr", "-p", str(work), "-c", str(work / "nginx.conf")]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _caddy(work: Path, kind: str, port: int, upstream: str, log) -> subprocess.Popen:
    own = "admin off\n    auto_https disable_redirects\n    skip_install_trust\n"
    site = block("clients:caddy")
    if kind == "caddy":
        certificate(work)
        site = elsewhere(site, places(work, port, upstream))
    else:
        # The guide: without the line `tls` and without the name with the star. The authority that
        # gives the certificate is Caddy's own instead of Let's Encrypt.
        own += "    local_certs\n"
        site = elsewhere(site, {"127.0.0.1:9000": upstream, f", *.{NAME}": ""})
        assert len(re.findall(r"(?m)^ +tls .*\n", site)) == 1
        site = re.sub(r"(?m)^ +tls .*\n", "", site)
        root = work / "home" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        (work / "ca.pem").symlink_to(root)
    http = support.free_port()
    head = f"{{\n    http_port {http}\n    https_port {port}\n    {own}}}\n"
    (work / "Caddyfile").write_text(head + site)
    (work / "home").mkdir()
    env = clean_env(work / "home", {"XDG_DATA_HOME": str(work / "home")})
    env["XDG_CONFIG_HOME"] = env["XDG_DATA_HOME"]
    command = [program("caddy"), "run", "--config", str(work / "Caddyfile")]
    return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@pytest.fixture(scope="module", params=PROXIES)
def site(request, tmp_path_factory):
    # Its folder is short: Unix sockets and the like.
    site = Site(tmp_path_factory.mktemp("proxy"), request.param)
    yield site
    site.close()


@pytest.fixture(scope="module")
def s3(site):
    client = site.s3(s3={"addressing_style": "path"})
    client.create_bucket(Bucket="photos")
    return client


def read(s3, **at) -> bytes:
    return s3.get_object(**at)["Body"].read()


def test_boto3(site, s3):
    kept = {key: payload(20 + index, key) for index, key in enumerate(support.ODD_KEYS)}
    # In trailers and chunks of unknown length, as the SDK does over TLS, in one piece and in parts.
    kept["in one piece"] = payload(40 * MIB, "whole")
    for key, data in kept.items():
        s3.put_object(Bucket="photos", Key=key, Body=data)
    s3.put_object(Bucket="photos", Key="summed", Body=b"x" * 9 * MIB, ChecksumAlgorithm="SHA256")
    with open(site.work / "big", "wb") as file:
        file.write(payload(20 * MIB, "parts"))
    s3.upload_file(str(site.work / "big"), "photos", "in parts")
    assert same_bytes(read(s3, Bucket="photos", Key="in parts"), payload(20 * MIB, "parts"))
    for key, data in kept.items():
        assert same_bytes(read(s3, Bucket="photos", Key=key), data, key)
    part = s3.get_object(Bucket="photos", Key="in one piece", Range="bytes=1000000-1999999")
    assert part["Body"].read() == kept["in one piece"][1_000_000:2_000_000]
    listed = {e["Key"] for e in s3.list_objects_v2(Bucket="photos")["Contents"]}
    assert listed == {*kept, "summed", "in parts"}
    # Names of metadata that proxies drop if they are not told otherwise.
    odd = {"under_score": "1", "do.t": "2", "empty": "", "plain": "3"}
    s3.put_object(Bucket="photos", Key="metadata", Body=b"", Metadata=odd)
    got = s3.head_object(Bucket="photos", Key="metadata")["Metadata"]
    assert {name.lower(): value for name, value in got.items()} == odd
    # Caddy writes names of headers with capitals, as the guide says.
    assert (got == odd) == (site.kind == "nginx")
    s3.copy_object(Bucket="photos", Key="copy", CopySource={"Bucket": "photos", "Key": "metadata"})
    doomed = [{"Key": key} for key in (*kept, "copy")]
    assert not s3.delete_objects(Bucket="photos", Delete={"Objects": doomed}).get("Errors")


def test_buckets_as_hosts(site):
    if site.kind == "caddy-by-itself":
        # Without the name with the star there is no certificate for them.
        return
    s3 = site.s3(s3={"addressing_style": "virtual"})
    urls = []
    s3.meta.events.register("before-send.s3", lambda request, **_: urls.append(request.url))
    s3.create_bucket(Bucket="hosted")
    s3.put_object(Bucket="hosted", Key="日本語/ü ñ+%&.txt", Body=b"host")
    assert read(s3, Bucket="hosted", Key="日本語/ü ñ+%&.txt") == b"host"
    assert all(url.startswith(f"https://hosted.{NAME}/") for url in urls)


def test_aws_and_presigned_urls(site, s3, tmp_path, home):
    data = payload(70 * KIB, "cat")
    sandbox = Sandbox(tmp_path / "sandbox")
    # boto3 and the CLI would sign URLs for others than AWS with version 2, if not told otherwise.
    (home / "config").write_text("[default]\ns3 =\n  signature_version = s3v4\n")
    aws = site.command(home, BIN / "aws")
    aws.env["AWS_CONFIG_FILE"] = str(home / "config")
    (tmp_path / "cat.jpg").write_bytes(data)
    (tmp_path / "cat-big.jpg").write_bytes(payload(20 * MIB, "big"))
    at = ("--endpoint-url", site.endpoint.url, "s3")
    aws(*at, "cp", tmp_path / "cat.jpg", "s3://photos/cat.jpg")
    aws(*at, "cp", tmp_path / "cat-big.jpg", "s3://photos/cat-big.jpg")
    aws(*at, "sync", "s3://photos", tmp_path / "down", "--exclude", "*", "--include", "cat*")
    assert (tmp_path / "down" / "cat.jpg").read_bytes() == data
    assert same_bytes((tmp_path / "down" / "cat-big.jpg").read_bytes(), payload(20 * MIB, "big"))
    # The guide's command, then what it prints in the hands of somebody without a key.
    sandbox.env |= aws.env | {"PATH": sandbox.env["PATH"]}
    url = sandbox.run("clients:presign").split()[-1]
    assert url.startswith(f"https://{NAME}/photos/cat.jpg?")
    curl = site.command(home, "curl", "-sS", "--max-time", 60)
    assert curl.run("-f", url).stdout == data
    assert "SignatureDoesNotMatch" in curl(url.replace("cat.jpg", "cat-big.jpg"))
    put = s3.generate_presigned_url("put_object", Params={"Bucket": "photos", "Key": "put"})
    big = payload(30 * MIB, "put")
    # It asks first, and goes on when it is told to.
    said = curl.run("-v", "-f", "-T", "-", "-H", f"Content-Length: {len(big)}",
                    "-H", "Transfer-Encoding:", "-H", "Expect: 100-continue", put, stdin=big)  # fmt: skip
    assert re.search(rb"< HTTP/[12.]+ 100", said.stderr), said.stderr[-2000:]
    assert same_bytes(read(s3, Bucket="photos", Key="put"), big)


def test_bodies_come_as_they_are(site, s3, home):
    packed = gzip.compress(payload(50 * KIB, 1).hex().encode())
    s3.put_object(Bucket="photos", Key="packed", Body=packed, ContentEncoding="gzip")
    s3.put_object(Bucket="photos", Key="page", Body=b"<p>" * 5000, ContentType="text/html")
    for key, body in (("packed", packed), ("page", b"<p>" * 5000)):
        head = s3.head_object(Bucket="photos", Key=key)
        url = s3.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": key})
        # Of clients that take anything, and of those that do not say.
        for accepts in ("Accept-Encoding: gzip", "Accept-Encoding:"):
            curl = site.command(home, "curl", "-sSf", "--max-time", 30, "-i", "-H", accepts)
            top, _, got = curl.run("--suppress-connect-headers", "--http1.1", url).stdout.partition(b"\r\n\r\n")
            top = top.decode().lower()
            assert same_bytes(got, body, f"{key}, {accepts}")
            assert f"\r\netag: {head['ETag']}" in top and f"\r\ncontent-length: {len(body)}" in top


def refused_while_sending(site) -> bytes:
    """What a client without a signature hears of 100 MiB while it sends them, bit by bit."""
    head = f"PUT /photos/refused HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {100 * MIB}\r\n\r\n"
    answer = b""
    with site.connect() as tls:
        tls.settimeout(0.2)
        tls.sendall(head.encode())
        for _ in range(50):
            # What is sent when they close takes the answer along; then there is none.
            with suppress(ConnectionError, ssl.SSLEOFError):
                tls.sendall(bytes(4 * KIB))
            with suppress(TimeoutError, ConnectionError, ssl.SSLEOFError):
                while some := tls.recv(64 * KIB):
                    answer += some
                return answer
    return answer


def test_a_body_is_not_gathered_first(site, s3):
    """Who is refused hears of it long before all of the body was sent."""
    answers = [refused_while_sending(site)]
    while not answers[-1] and len(answers) < 4:
        answers.append(refused_while_sending(site))
    assert answers[-1].startswith(b"HTTP/1.1 403") and b"AccessDenied" in answers[-1], answers
    if site.kind == "nginx":
        assert not [path for path in (site.work / "temp").rglob("*") if path.is_file()]


def test_jog_knows_the_client(site, s3):
    """What a policy says of TLS and addresses is about the client, who cannot forge it."""
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::photos/open",
        "Condition": {
            "Bool": {"aws:SecureTransport": "true"},
            "IpAddress": {"aws:SourceIp": "127.0.0.1/32"},
        },
    }
    s3.put_object(Bucket="photos", Key="open", Body=b"for all")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket="photos", Policy=policy)

    def get(more: str) -> bytes:
        with site.connect() as tls:
            head = f"GET /photos/open HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n{more}\r\n"
            tls.sendall(head.encode())
            answer = b""
            while some := tls.recv(64 * KIB):
                answer += some
            return answer

    assert get("").endswith(b"for all")
    # Not by TLS, from where it is not allowed: JOG itself.
    assert support.fetch(f"{site.jog.endpoint.url}/photos/open").status == 403
    forged = f"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: other.{NAME}\r\n"
    assert get(forged).endswith(b"for all")
    statement["Condition"]["IpAddress"]["aws:SourceIp"] = "192.0.2.1/32"
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket="photos", Policy=policy)
    assert b" 403 " in get(forged).partition(b"\r\n")[0]
    s3.delete_bucket_policy(Bucket="photos")
