//! The server: its settings, counters and parts, and how it starts and ends.

use super::Handler;
use super::conn::{self, Conn};
use super::pace::Crowd;
use super::park::{self, Parker};
use super::response::Response;
use super::{listen, writer};
use crate::limits;
use rustix::event::{EventfdFlags, eventfd};
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use threadpool::ThreadPool;

/// How a server listens.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Threads of the pool.
    pub threads: usize,
    /// How long requests in flight may take to end on [`Server::shutdown`].
    pub shutdown: Duration,
}

/// The times and counts of the connection layer; the defaults are those of [`limits`]. Tests
/// shorten them, nobody else does.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// See [`limits::HEAD_TIMEOUT`].
    pub head_timeout: Duration,
    /// See [`limits::IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// See [`limits::LINGER`].
    pub linger: Duration,
    /// See [`limits::PROGRESS_TIMEOUT`].
    pub progress_timeout: Duration,
    /// See [`limits::DRAIN_TIMEOUT`].
    pub drain_timeout: Duration,
    /// See [`limits::ACCEPT_RETRY`].
    pub accept_retry: Duration,
    /// See [`limits::QUEUED_CONNECTIONS`].
    pub queued_connections: usize,
    /// See [`limits::MAX_CONNECTIONS`].
    pub max_connections: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            head_timeout: limits::HEAD_TIMEOUT,
            idle_timeout: limits::IDLE_TIMEOUT,
            linger: limits::LINGER,
            progress_timeout: limits::PROGRESS_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
            accept_retry: limits::ACCEPT_RETRY,
            queued_connections: limits::QUEUED_CONNECTIONS,
            max_connections: limits::MAX_CONNECTIONS,
        }
    }
}

/// Counters of the connection layer.
#[derive(Default, Debug)]
pub struct ServerStats {
    /// Connections open now.
    pub connections: std::sync::atomic::AtomicUsize,
    /// Connections that wait for a thread.
    pub queued: std::sync::atomic::AtomicUsize,
    /// Threads at work.
    pub busy: std::sync::atomic::AtomicUsize,
    /// Connections refused because of a limit, since the start.
    pub refused: std::sync::atomic::AtomicU64,
}

/// Refused connections beyond [`Bounds::max_connections`] that are closed with care; more are
/// just closed.
const REFUSED_CONNECTIONS: usize = 256;
/// Threads that the pool starts with: an idle server needs no memory for more.
const FIRST_THREADS: usize = 16;
/// Pause between two looks at the requests in flight during [`Server::shutdown`].
const SHUTDOWN_STEP: Duration = Duration::from_millis(5);

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    patience: Duration,
    stop: Arc<OwnedFd>,
    acceptor: Option<JoinHandle<()>>,
    parking: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds and starts to serve. Errors are those of the bind (address in use, not permitted)
    /// and of starting threads.
    pub fn start(config: ServerConfig, handler: Arc<dyn Handler>) -> io::Result<Self> {
        Self::start_with(config, Bounds::default(), handler)
    }

    /// [`Server::start`] with other bounds than the fixed ones.
    pub fn start_with(
        config: ServerConfig,
        bounds: Bounds,
        handler: Arc<dyn Handler>,
    ) -> io::Result<Self> {
        let listener = listen::open(config.address, &bounds)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stats = Arc::<ServerStats>::default();
        let crowd = Crowd::new(Arc::clone(&stats), config.threads, bounds.progress_timeout);
        let shared = Arc::new(Shared {
            parker: Parker::new(bounds.idle_timeout)?,
            pool: start_pool(config.threads.min(FIRST_THREADS))?,
            started: AtomicUsize::new(config.threads.min(FIRST_THREADS)),
            threads: config.threads,
            handler,
            bounds,
            stats,
            crowd: Arc::new(crowd),
            stopping: AtomicBool::new(false),
            ids: Ids::new()?,
        });
        let mut server = Self {
            shared: Arc::clone(&shared),
            address,
            patience: config.shutdown,
            stop: Arc::clone(&stop),
            acceptor: None,
            parking: None,
        };
        let parking = Arc::clone(&shared);
        server.parking = Some(spawn("jog-park", move || park::run(&parking))?);
        let acceptor = move || listen::run(&listener, &stop, &shared);
        server.acceptor = Some(spawn("jog-accept", acceptor)?);
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its counters.
    pub fn stats(&self) -> Arc<ServerStats> {
        Arc::clone(&self.shared.stats)
    }

    /// Stops accepting, closes idle connections, lets requests in flight end within the bound.
    /// True if all of them did.
    pub fn shutdown(mut self) -> bool {
        let deadline = Instant::now() + self.patience;
        self.stop_accepting();
        let shared = &self.shared;
        while shared.requests() > 0 && Instant::now() < deadline {
            std::thread::sleep(SHUTDOWN_STEP);
        }
        let ended = shared.requests() == 0;
        // The last clients take their responses; this is bounded by the parker, too.
        while shared.parker.count() > 0 && Instant::now() < deadline {
            std::thread::sleep(SHUTDOWN_STEP);
        }
        ended
        // The rest is done by drop.
    }

    fn stop_accepting(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Can't fail: the counter is far from full.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.acceptor.take() {
            // The thread catches what the handler throws; were it gone, it would have stopped.
            let _ = thread.join();
        }
        self.shared.parker.end_waiting();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_accepting();
        self.shared.parker.end();
        if let Some(thread) = self.parking.take() {
            // As above.
            let _ = thread.join();
        }
    }
}

/// What the threads of a server share.
pub(super) struct Shared {
    /// Watches connections that need no thread.
    pub(super) parker: Parker,
    /// Answers requests.
    pub(super) handler: Arc<dyn Handler>,
    /// Times and counts.
    pub(super) bounds: Bounds,
    /// Counters.
    pub(super) stats: Arc<ServerStats>,
    /// Whether clients wait for a thread.
    pub(super) crowd: Arc<Crowd>,
    /// Request ids.
    pub(super) ids: Ids,
    pool: ThreadPool,
    /// Threads that the pool has now; grows up to `threads`.
    started: AtomicUsize,
    threads: usize,
    stopping: AtomicBool,
}

impl Shared {
    /// Takes in a connection that was just accepted.
    pub(super) fn admit(self: &Arc<Self>, stream: TcpStream, peer: IpAddr) {
        let conn = Conn::new(stream, peer, self);
        let open = self.stats.connections.load(Ordering::Relaxed);
        // At the limit, who has waited longest without a request makes room.
        if open <= self.bounds.max_connections || self.parker.evict() {
            self.dispatch(conn);
        } else if open <= self.bounds.max_connections + REFUSED_CONNECTIONS {
            self.turn_away(conn);
        } else {
            self.stats.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives a connection to a thread of the pool, or refuses it if too many wait for one.
    pub(super) fn dispatch(self: &Arc<Self>, conn: Conn) {
        let queued = self.stats.queued.fetch_add(1, Ordering::SeqCst) + 1;
        let busy = self.stats.busy.load(Ordering::SeqCst);
        if queued + busy > self.threads + self.bounds.queued_connections {
            self.stats.queued.fetch_sub(1, Ordering::SeqCst);
            return self.turn_away(conn);
        }
        self.grow(queued + busy);
        let shared = Arc::clone(self);
        self.pool.execute(move || {
            let _busy = Busy::new(&shared.stats);
            conn::serve(&shared, conn);
        });
    }

    /// Starts more threads of the pool if so many connections are more than it has threads. The
    /// pool never shrinks: a load that came once comes again.
    fn grow(&self, wanted: usize) {
        let started = self.started.load(Ordering::Relaxed);
        if wanted <= started || started >= self.threads {
            return;
        }
        let target = (started * 2).max(wanted).min(self.threads);
        let won =
            self.started.compare_exchange(started, target, Ordering::SeqCst, Ordering::Relaxed);
        if won.is_ok() {
            // The crate panics where a thread can't be had; those that run serve on.
            let mut pool = self.pool.clone();
            if catch_unwind(AssertUnwindSafe(|| pool.set_num_threads(target))).is_err() {
                log::error!("cannot start more than {started} threads");
            }
        }
    }

    /// Answers 503 without waiting for the client.
    pub(super) fn turn_away(&self, conn: Conn) {
        self.stats.refused.fetch_add(1, Ordering::Relaxed);
        let response = self.refusal(503, "too many connections");
        conn.wire.send_now(&writer::render(&response));
        self.parker.close(conn);
    }

    /// The handler's response to what is no request.
    pub(super) fn refusal(&self, status: u16, reason: &str) -> Response {
        let handler = AssertUnwindSafe(&self.handler);
        let response = catch_unwind(move || handler.refuse(status, reason));
        let mut response = response.unwrap_or_else(|_| Response::new(status));
        response.close = true;
        response
    }

    /// True when the server is going to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Connections that have a thread or wait for one.
    fn requests(&self) -> usize {
        // In this order: one that goes from the queue to a thread in between is counted twice,
        // not left out.
        self.stats.queued.load(Ordering::SeqCst) + self.stats.busy.load(Ordering::SeqCst)
    }
}

/// Counts a thread as busy as long as this lives.
struct Busy<'a>(&'a ServerStats);

impl<'a> Busy<'a> {
    /// A connection has left the queue.
    fn new(stats: &'a ServerStats) -> Self {
        stats.busy.fetch_add(1, Ordering::SeqCst);
        stats.queued.fetch_sub(1, Ordering::SeqCst);
        Self(stats)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Request ids: a counter from a random start, mixed so that they look random. No id comes twice
/// in one process, and none of two processes meet by accident.
pub(super) struct Ids(AtomicU64);

impl Ids {
    fn new() -> io::Result<Self> {
        let mut start = [0; 8];
        getrandom(&mut start, GetRandomFlags::empty())?;
        Ok(Self(AtomicU64::new(u64::from_ne_bytes(start))))
    }

    /// The next one: 16 upper-case hex digits.
    pub(super) fn next(&self) -> String {
        format!("{:016X}", mix(self.0.fetch_add(1, Ordering::Relaxed)))
    }
}

/// The finalizer of SplitMix64, which maps no two numbers to the same one.
fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Starts the fixed pool. The crate panics where threads can't be had; that is an error here.
fn start_pool(threads: usize) -> io::Result<ThreadPool> {
    let builder = threadpool::Builder::new()
        .num_threads(threads)
        .thread_name("jog-http".to_owned())
        .thread_stack_size(limits::THREAD_STACK_BYTES);
    catch_unwind(|| builder.build())
        .map_err(|_| io::Error::other(format!("cannot start {threads} threads")))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(limits::THREAD_STACK_BYTES)
        .spawn(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_and_well_formed() {
        let ids = Ids::new().expect("the system has random bytes");
        let made: HashSet<String> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 10_000);
        let hex = |id: &String| {
            id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))
        };
        assert!(made.iter().all(hex));
    }
}
