//! The way of `jog` commands into the running server: a Unix socket in the data directory.
//!
//! One process owns a data directory and alone writes metadata.db, so a command runs inside the
//! server. Whoever may open the socket (mode 0600: the user that runs the server, and root) may do
//! everything, as with metadata.db itself.
//!
//! The client sends one line, a [`Request`] in JSON. The answer is a stream of lines, of which the
//! first character says what they are: `>` output, `!` complaint, `~` progress, `=` exit status,
//! which is the last one. One thread serves one command after the other.
//!
//! With the line may come an open folder (SCM_RIGHTS): that of the user, wherever the server's own
//! view of the file system ends. Such a command takes long and has a thread of its own.

use crate::limits::{ACCEPT_RETRY, ADMIN_TIMEOUT, MAX_ADMIN_REQUEST_BYTES, MAX_IMPORTS};
use rustix::fs::{Mode, OFlags, fchmod};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, bind,
    connect, listen, recvmsg, sendmsg, shutdown, socket_with,
};
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// The socket's name in the data directory.
const NAME: &str = "jog.sock";
/// Commands that wait for the one that runs.
const BACKLOG: i32 = 16;

/// What a line of an answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// For stdout.
    Output,
    /// For stderr.
    Complaint,
    /// How far it has come, for who looks.
    Progress,
}

/// A command as it goes over the socket: its words, its arguments, its options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Such as `user add`.
    pub command: String,
    /// What is no option, in order.
    pub arguments: Vec<String>,
    /// Option (`--policy`) and value, in order; of a file its content.
    pub options: Vec<(String, String)>,
}

impl Request {
    fn to_line(&self) -> String {
        let mut line = serde_json::json!([self.command, self.arguments, self.options]).to_string();
        line.push('\n');
        line
    }

    fn parse(line: &str) -> Option<Self> {
        let (command, arguments, options) = parse_json(line)?;
        Some(Self { command, arguments, options })
    }
}

type Parts = (String, Vec<String>, Vec<(String, String)>);

fn parse_json(line: &str) -> Option<Parts> {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let [command, arguments, options] = value.as_array()?.as_slice() else { return None };
    let arguments = arguments.as_array()?.iter().map(text).collect::<Option<_>>()?;
    let pair = |value: &serde_json::Value| match value.as_array()?.as_slice() {
        [name, value] => Some((text(name)?, text(value)?)),
        _ => None,
    };
    let options = options.as_array()?.iter().map(pair).collect::<Option<_>>()?;
    Some((text(command)?, arguments, options))
}

/// Takes a line of an answer.
pub type Sink<'a> = dyn FnMut(Kind, &str) -> io::Result<()> + 'a;

/// A path that fits into the address of a socket, which has 108 bytes: that of the directory, or
/// its open file's in /proc. The file is to be kept until the path has been used.
fn address(dir: &Path) -> io::Result<(SocketAddrUnix, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::open(dir, flags, Mode::empty())?;
    let address = SocketAddrUnix::new(dir.join(NAME))
        .or_else(|_| SocketAddrUnix::new(format!("/proc/self/fd/{}/{NAME}", open.as_raw_fd())))?;
    Ok((address, open))
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

// ---- the server's side -------------------------------------------------------------------

/// The listening end, in the process that has locked the data directory.
pub struct Channel {
    path: PathBuf,
    listener: Arc<UnixListener>,
    stopping: Arc<AtomicBool>,
    ended: Receiver<()>,
}

impl Channel {
    /// Makes the socket, in place of that of a server that was killed, and starts the thread.
    /// `serve` runs a command, with the folder that came with it, and gives its exit status.
    pub fn start(
        dir: &Path,
        serve: impl Fn(&Request, Option<OwnedFd>, &mut Sink<'_>) -> u8 + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let path = dir.join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => (),
        }
        let socket = new_socket()?;
        // Linux makes the file with the mode of the socket, so it is never open to others.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        let (address, _open) = address(dir)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        let listener = Arc::new(UnixListener::from(socket));
        let stopping = Arc::new(AtomicBool::new(false));
        let (end, ended) = sync_channel(1);
        let (incoming, stop) = (Arc::clone(&listener), Arc::clone(&stopping));
        let run = move || {
            accept_all(&incoming, &stop, &serve);
            // Nobody may wait for it any more.
            let _ = end.try_send(());
        };
        std::thread::Builder::new().name("jog-admin".to_owned()).spawn(run)?;
        Ok(Self { path, listener, stopping, ended })
    }

    /// Takes no more commands, removes the socket, and waits so long for the one that runs, whose
    /// output fails from now on. True if it has ended.
    pub fn stop(self, patience: Duration) -> bool {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread; if that failed, it ends with the process.
        let _ = shutdown(&*self.listener, Shutdown::Both);
        let _ = std::fs::remove_file(&self.path);
        self.ended.recv_timeout(patience).is_ok()
    }
}

type Serve<'s> = dyn Fn(&Request, Option<OwnedFd>, &mut Sink<'_>) -> u8 + Sync + 's;

/// Returns when all commands have ended.
fn accept_all(listener: &UnixListener, stopping: &AtomicBool, serve: &Serve<'_>) {
    let long = AtomicUsize::new(0);
    let long = &long;
    let log = |done: io::Result<()>| {
        if let Err(error) = done {
            log::info!("a command was cut off: {error}");
        }
    };
    std::thread::scope(|scope| {
        while !stopping.load(Ordering::SeqCst) {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(_) if stopping.load(Ordering::SeqCst) => return,
                Err(error) => {
                    log::warn!("cannot accept a command: {error}");
                    std::thread::sleep(ACCEPT_RETRY);
                    continue;
                }
            };
            match receive(&stream) {
                Err(error) => log(Err(error)),
                Ok((line, None)) => log(answer(&stream, &line, None, stopping, serve)),
                Ok((_, Some(_))) if long.load(Ordering::SeqCst) >= MAX_IMPORTS => {
                    let busy = format!("!jog: {MAX_IMPORTS} imports are running\n=1\n");
                    log((&stream).write_all(busy.as_bytes()));
                }
                Ok((line, folder)) => {
                    long.fetch_add(1, Ordering::SeqCst);
                    scope.spawn(move || {
                        log(answer(&stream, &line, folder, stopping, serve));
                        long.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        }
    });
}

fn receive(stream: &UnixStream) -> io::Result<(String, Option<OwnedFd>)> {
    stream.set_write_timeout(Some(ADMIN_TIMEOUT))?;
    read_request(stream)
}

fn answer(
    stream: &UnixStream,
    line: &str,
    folder: Option<OwnedFd>,
    stopping: &AtomicBool,
    serve: &Serve<'_>,
) -> io::Result<()> {
    let send = |mark: char, text: &str| -> io::Result<()> {
        if stopping.load(Ordering::SeqCst) {
            return Err(io::Error::other("the server stops"));
        }
        let mut out = String::with_capacity(text.len() + 2);
        for line in text.split('\n') {
            out.push(mark);
            out.push_str(line);
            out.push('\n');
        }
        let mut stream = stream;
        stream.write_all(out.as_bytes())
    };
    let Some(request) = Request::parse(line) else {
        send('!', "jog: the server does not understand the request")?;
        return send('=', "2");
    };
    let status = serve(&request, folder, &mut |kind, text| match kind {
        Kind::Output => send('>', text),
        Kind::Complaint => send('!', text),
        Kind::Progress => send('~', text),
    });
    send('=', &status.to_string())
}

/// One line, within a time and a length, and the folder that comes with it, if there is one.
fn read_request(stream: &UnixStream) -> io::Result<(String, Option<OwnedFd>)> {
    let deadline = Instant::now() + ADMIN_TIMEOUT;
    let (mut line, mut folder) = (Vec::new(), None);
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut chunk)];
        let n = match recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?.bytes,
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                folder = fds.last().or(folder);
            }
        }
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&chunk[..n]);
        if line.len() as u64 > MAX_ADMIN_REQUEST_BYTES {
            return Err(io::Error::other("the request is too long"));
        }
        if line.ends_with(b"\n") {
            return String::from_utf8(line).map(|l| (l, folder)).map_err(io::Error::other);
        }
    }
}

// ---- the command's side ------------------------------------------------------------------

/// Reaches the server of a data directory; `None` if none runs there.
pub fn reach(dir: &Path) -> io::Result<Option<UnixStream>> {
    let (address, _open) = address(dir)?;
    let socket = new_socket()?;
    match connect(&socket, &address) {
        Ok(()) => Ok(Some(UnixStream::from(socket))),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Lets the server run a command; gives its exit status. A command may be silent for as long as
/// it takes; a server that ends closes the connection.
/// `folder` goes along.
pub fn ask(
    stream: &UnixStream,
    request: &Request,
    folder: Option<BorrowedFd<'_>>,
    sink: &mut Sink<'_>,
) -> io::Result<u8> {
    let line = request.to_line();
    if line.len() as u64 > MAX_ADMIN_REQUEST_BYTES {
        return Err(io::Error::other("the command is too long"));
    }
    stream.set_write_timeout(Some(ADMIN_TIMEOUT))?;
    let mut out = stream;
    let sent = match folder {
        None => 0,
        Some(folder) => {
            let folders = [folder];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&folders));
            let text = [IoSlice::new(line.as_bytes())];
            sendmsg(stream, &text, &mut control, SendFlags::NOSIGNAL)?
        }
    };
    out.write_all(&line.as_bytes()[sent..])?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let text = line.get(1..).unwrap_or("");
        match line.chars().next() {
            Some('>') => sink(Kind::Output, text)?,
            Some('!') => sink(Kind::Complaint, text)?,
            Some('~') => sink(Kind::Progress, text)?,
            Some('=') => return text.parse().map_err(io::Error::other),
            _ => return Err(io::Error::other("the server's answer makes no sense")),
        }
    }
    Err(io::Error::new(ErrorKind::UnexpectedEof, "the server ended before the command did"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    /// A directory whose path is too long for the address of a socket.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("jog-channel-{}-{name}-{}", std::process::id(), "x".repeat(120));
            let dir = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn request() -> Request {
        Request {
            command: "user add".to_owned(),
            arguments: vec!["a\nb".to_owned()],
            options: vec![("--policy".to_owned(), "{\"x\": \"\u{3042}\"}\n".to_owned())],
        }
    }

    #[test]
    fn a_request_is_one_line_and_comes_back() {
        let line = request().to_line();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(Request::parse(&line), Some(request()));
        for bad in ["", "[]", "[\"a\",[1],[]]", "[\"a\",[],[[\"b\"]]]", "[\"a\",[],[],[]]"] {
            assert_eq!(Request::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn commands_are_answered_line_by_line_until_it_stops() {
        let dir = Dir::new("answers");
        assert!(reach(&dir.0).unwrap().is_none());
        std::fs::write(dir.0.join(NAME), "left by a dead server").unwrap();
        let channel = Channel::start(&dir.0, |request, _, sink| {
            assert_eq!(*request, self::request());
            sink(Kind::Output, "one\ntwo").unwrap();
            sink(Kind::Complaint, "three").unwrap();
            7
        })
        .unwrap();
        let meta = std::fs::symlink_metadata(dir.0.join(NAME)).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        // One that says nothing, and one that talks nonsense, do no harm.
        drop(reach(&dir.0).unwrap().unwrap());
        let mut stream = reach(&dir.0).unwrap().unwrap();
        stream.write_all(b"nonsense\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("=2\n"), "{answer}");
        let stream = reach(&dir.0).unwrap().unwrap();
        let mut lines = Vec::new();
        let status = ask(&stream, &request(), None, &mut |kind, text| {
            lines.push((kind, text.to_owned()));
            Ok(())
        });
        assert_eq!(status.unwrap(), 7);
        let line = |kind, text: &str| (kind, text.to_owned());
        let expected =
            [line(Kind::Output, "one"), line(Kind::Output, "two"), line(Kind::Complaint, "three")];
        assert_eq!(lines, expected);
        assert!(channel.stop(Duration::from_secs(5)));
        assert!(!dir.0.join(NAME).exists());
        assert!(reach(&dir.0).unwrap().is_none());
    }

    #[test]
    fn a_command_that_runs_learns_that_the_server_stops() {
        let dir = Dir::new("stop");
        let (started, wait) = sync_channel(1);
        let channel = Channel::start(&dir.0, move |_, _, sink| {
            started.send(()).unwrap();
            while sink(Kind::Output, "still here").is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            0
        })
        .unwrap();
        let stream = reach(&dir.0).unwrap().unwrap();
        let asked =
            std::thread::spawn(move || ask(&stream, &request(), None, &mut |_, _| Ok(())).is_err());
        wait.recv().unwrap();
        assert!(channel.stop(Duration::from_secs(5)));
        assert!(asked.join().unwrap());
    }
    #[test]
    fn a_folder_goes_along_and_holds_up_nobody() {
        let dir = Dir::new("folder");
        std::fs::write(dir.0.join("file"), "inside").unwrap();
        let (enter, entered) = sync_channel(1);
        let channel = Channel::start(&dir.0, move |_, folder, sink| {
            let Some(folder) = folder else { return 1 };
            let path = format!("/proc/self/fd/{}/file", folder.as_raw_fd());
            sink(Kind::Output, &std::fs::read_to_string(path).unwrap()).unwrap();
            // Behind the output, which fails from the moment on at which the server is told to stop.
            enter.send(()).unwrap();
            while sink(Kind::Progress, "x").is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            0
        })
        .unwrap();
        let long = |n: usize| {
            let stream = reach(&dir.0).unwrap().unwrap();
            let folder = std::fs::File::open(&dir.0).unwrap();
            std::thread::spawn(move || {
                let mut said = Vec::new();
                let status = ask(&stream, &request(), Some(folder.as_fd()), &mut |kind, text| {
                    said.extend((kind == Kind::Output).then(|| text.to_owned()));
                    Ok(())
                });
                (n, status.ok(), said)
            })
        };
        let running: Vec<_> = (0..MAX_IMPORTS).map(long).collect();
        (0..MAX_IMPORTS).for_each(|_| entered.recv().unwrap());
        assert_eq!(long(9).join().unwrap().1, Some(1), "one more is refused");
        let stream = reach(&dir.0).unwrap().unwrap();
        assert_eq!(ask(&stream, &request(), None, &mut |_, _| Ok(())).unwrap(), 1);
        assert!(channel.stop(Duration::from_secs(5)));
        for running in running {
            let (_, status, said) = running.join().unwrap();
            assert_eq!((status, said), (None, vec!["inside".to_owned()]));
        }
    }
}
