//! The real server as a process of its own, on a free port and in a directory that goes with it.

use super::client::{Connection, Request};
use super::sign::{ACCESS_KEY, SECRET_KEY};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long a server may take to start, to stop, or to log something.
const PATIENCE: Duration = Duration::from_secs(20);

static COUNTER: AtomicU32 = AtomicU32::new(0);

fn next() -> u32 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// A directory that is removed when it is dropped.
#[derive(Debug)]
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Arc<Self> {
        let name = format!("jog-{}-{}", std::process::id(), next());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("the build directory can be written");
        Arc::new(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `jog` with these arguments and these variables of the environment, and no others.
pub fn jog(args: &[&str], vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jog"));
    command.args(args).env_clear().envs(vars.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `jog` to its end, which must come soon.
pub fn run(args: &[&str], vars: &[(&str, &str)]) -> Output {
    let mut child = jog(args, vars).spawn().expect("jog can be started");
    wait(&mut child);
    child.wait_with_output().expect("it has ended")
}

/// Waits for a process with patience.
fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("jog does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The lines on a server's stderr.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    /// Follows a pipe until it is closed.
    fn follow(self: &Arc<Self>, pipe: impl std::io::Read + Send + 'static) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                log.lines.lock().expect("nobody panics with it").push(line);
                log.more.notify_all();
            }
        });
    }

    /// The first line that fits, once it is there.
    fn wait(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        let mut lines = self.lines.lock().expect("nobody panics with it");
        loop {
            if let Some(line) = lines.iter().find(|line| fits(line)) {
                return line.clone();
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            assert!(!left.is_zero(), "no log line: {what}\n{}", lines.join("\n"));
            lines = self.more.wait_timeout(lines, left).expect("nobody panics with it").0;
        }
    }
}

/// A running server.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its data directory.
    pub dir: Arc<Dir>,
    vars: Vec<(String, String)>,
    log: Arc<Log>,
}

impl Server {
    /// A server with settings as most tests want them.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server with further settings.
    pub fn with(vars: &[(&str, &str)]) -> Self {
        Self::on(Dir::new(), vars)
    }

    /// A server on a directory.
    pub fn on(dir: Arc<Dir>, vars: &[(&str, &str)]) -> Self {
        let vars = vars.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Self::launch(dir, vars)
    }

    fn launch(dir: Arc<Dir>, vars: Vec<(String, String)>) -> Self {
        let path = dir.path().to_str().expect("a path of ours is UTF-8").to_owned();
        let mut child = jog(&["server"], &[])
            .env("JOG_PORT", "0")
            .env("JOG_ADDRESS", "127.0.0.1")
            .env("JOG_ACCESS_KEY", ACCESS_KEY)
            .env("JOG_SECRET_KEY", SECRET_KEY)
            .env("JOG_DATA_DIR", path)
            .env("JOG_DURABILITY", "os")
            // The tests of refusals must not get in each other's way.
            .env("JOG_AUTH_FAILURES", "0")
            .envs(vars.iter().map(|(n, v)| (n, v)))
            .spawn()
            .expect("jog can be started");
        let log = Arc::new(Log::default());
        log.follow(child.stderr.take().expect("it is piped"));
        let line = log.wait("serves", |line| line.contains(" serves "));
        // In JSON its string and its object end behind it.
        let address = line.rsplit(' ').next().map(|a| a.trim_end_matches("\"}"));
        let address = address.and_then(|a| a.parse().ok());
        Self { address: address.expect("an address"), child, dir, vars, log }
    }

    /// Kills it as a crash would, and starts it again on the same directory.
    pub fn crash(&mut self) {
        self.kill();
        *self = Self::launch(Arc::clone(&self.dir), self.vars.clone());
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it has been killed");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is our child");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Stops it in order.
    pub fn stop(mut self) -> Arc<Dir> {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        Arc::clone(&self.dir)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first line of its log that fits, once it is there.
    pub fn log_line(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        self.log.wait(what, fits)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().expect("nobody panics with it").join("\n")
    }

    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.address, method, target)
    }

    /// A request to an object whose key may contain anything.
    pub fn object(&self, method: &str, bucket: &str, key: &str) -> Request {
        let path = super::sign::encode(&format!("/{bucket}/{key}"), true);
        self.request(method, "/").raw_path(&path)
    }

    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    pub fn head(&self, target: &str) -> Request {
        self.request("HEAD", target)
    }

    pub fn put(&self, target: &str) -> Request {
        self.request("PUT", target)
    }

    pub fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    pub fn delete(&self, target: &str) -> Request {
        self.request("DELETE", target)
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// A name for a bucket that no other test uses, and that begins like this.
    pub fn free_name(&self, name: &str) -> String {
        format!("{name}-{}", next())
    }

    /// A new bucket whose name begins like this.
    pub fn bucket(&self, name: &str) -> String {
        let bucket = self.free_name(name);
        self.put(&format!("/{bucket}")).send().expect(200);
        bucket
    }

    /// The files below a bucket's `objects/`, when those are gone again that were made ahead of
    /// need: an empty file is never an object's.
    pub fn blobs(&self, bucket: &str) -> Vec<PathBuf> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let mut found = Vec::new();
            walk(&self.dir.path().join("buckets").join(bucket).join("objects"), &mut found);
            let empty = |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.len() == 0);
            if !found.iter().any(empty) {
                found.sort();
                return found;
            }
            assert!(Instant::now() < end, "empty files stay: {found:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a multipart upload and gives its ID.
    pub fn upload(&self, bucket: &str, key: &str) -> String {
        let create = self.object("POST", bucket, key).query("uploads", "");
        create.send().expect(200).text("UploadId")
    }

    /// Uploads a part and gives its ETag.
    pub fn part(&self, bucket: &str, key: &str, id: &str, number: u32, body: &[u8]) -> String {
        let target = format!("/{bucket}/{key}?partNumber={number}&uploadId={id}");
        self.put(&target).body(body).send().expect(200).etag().to_owned()
    }

    /// The request that completes an upload of these parts.
    pub fn complete(&self, bucket: &str, key: &str, id: &str, parts: &[(u32, &str)]) -> Request {
        let parts: String = parts
            .iter()
            .map(|(number, etag)| {
                format!(
                    "<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>"
                )
            })
            .collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        self.post(&format!("/{bucket}/{key}?uploadId={id}")).body(body)
    }
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.map_while(Result::ok) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), found),
            _ => found.push(entry.path()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server that most tests share, each in buckets of its own.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<(Server, Child)> = OnceLock::new();
    &SHARED.get_or_init(|| for_a_static(Server::start())).0
}

/// A server to be kept in a static, which is never dropped, so a process that outlives this one
/// cleans up: it waits for the end of a pipe that closes with the tests, however they end.
pub fn for_a_static(server: Server) -> (Server, Child) {
    let script = "read _; kill -9 \"$0\"; sleep 0.1; rm -rf \"$1\"";
    let warden = Command::new("sh")
        .args(["-c", script, &server.pid().to_string()])
        .arg(server.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh is there");
    (server, warden)
}
