"""SeaweedFS, the other server of the guide's migrations: one process, all its parts."""

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import support
from support import BIN, clean_env, wait_for

ACCESS_KEY, SECRET_KEY = "WEEDKEY0000000000000", "weed-secret-0123456789"


class Weed:
    """A SeaweedFS with its S3 gateway; bytes in `work`."""

    def __init__(self, work: Path):
        home = work / "home"
        home.mkdir(parents=True)
        ports = [support.free_port() for _ in range(8)]
        self.endpoint = support.Endpoint(f"http://127.0.0.1:{ports[0]}", ACCESS_KEY, SECRET_KEY)
        keys = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "root", "credentials": [keys], "actions": actions}
        (work / "s3.json").write_text(json.dumps({"identities": [identity]}))
        options = {
            "dir": work,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.port": ports[1],
            "master.port.grpc": ports[2],
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.port": ports[3],
            "volume.port.grpc": ports[4],
            "volume.max": 40,
            "volume.preStopSeconds": 0,
            "filer": "true",
            "filer.port": ports[5],
            "filer.port.grpc": ports[6],
            # The name of a socket may have no more than 107 bytes.
            "filer.localSocket": f"/tmp/jog-test-{os.getpid()}-{ports[5]}.sock",
            "s3": "true",
            "s3.port": ports[0],
            "s3.port.grpc": ports[7],
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.localSocket": f"/tmp/jog-test-{os.getpid()}-{ports[0]}.sock",
            "s3.config": work / "s3.json",
        }
        self.sockets = [Path(options[name]) for name in ("filer.localSocket", "s3.localSocket")]
        # Further ones, whose places are fixed.
        self.sockets += [
            Path(f"/tmp/seaweedfs-{part}-grpc-{options[f'{part}.port.grpc']}.sock")
            for part in ("master", "volume", "filer", "s3")
        ]
        self.log = work / "weed.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [BIN / "weed", "-logtostderr=true", "server",
                 *(f"-{name}={value}" for name, value in options.items())],
                env=clean_env(home), cwd=work, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_for("SeaweedFS", self._answers, 40, 0.2)
        except BaseException:
            self.stop()
            print(self.log.read_text(errors="replace")[-4000:])
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, "SeaweedFS ended at once"
        with suppress(OSError):
            return support.fetch(f"{self.endpoint.url}/").status in (200, 403)
        return False

    def stop(self):
        """It is of no interest how it ends."""
        self.process.kill()
        self.process.wait()
        for socket in self.sockets:
            socket.unlink(missing_ok=True)
