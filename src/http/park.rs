//! Connections that wait without a thread of their own, watched by one thread with epoll: idle
//! ones, ones whose head has only begun, and ones that are being closed.
//!
//! The thread sleeps until something is readable or the earliest deadline; with nothing parked it
//! sleeps without end. Parking a connection is one `epoll_ctl`.

use super::conn::Conn;
use super::server::Shared;
use super::wire::{Discard, timespec};
use crate::limits::MAX_HELD_HEAD_BYTES;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time that a client gets to take the last response and end the connection.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// What a client may still send in that time, in bytes. A connection that is closed before its
/// bytes are read is reset, and the client may lose the response to it.
pub(super) const CLOSE_BYTES: u64 = 16 * 1024 * 1024;
/// Buffer for what is dropped, in bytes.
const SCRATCH_BYTES: usize = 32 * 1024;
/// A head of at most so many bytes may always wait for its rest: there are no more of them than
/// connections.
const SMALL_HEAD_BYTES: usize = 4 * 1024;
/// Events taken with one call.
const EVENTS: usize = 64;
/// The token of the wake-up call; connections have others.
const WAKE: u64 = 0;

/// Why a connection is parked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// It waits for a request; at the deadline it is closed.
    Idle,
    /// It waits for the rest of a head; at the deadline a thread answers 408.
    Head,
    /// It is being closed: so many bytes more may arrive and are dropped.
    Closing(u64),
}

struct Parked {
    conn: Conn,
    deadline: Instant,
    purpose: Purpose,
}

impl Parked {
    /// What it keeps of a head.
    fn head_bytes(&self) -> usize {
        if self.purpose == Purpose::Head { self.conn.wire.buffered().len() } else { 0 }
    }
}

/// What the parker still takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Open,
    /// Connections that are being closed; no others.
    Ending,
    /// Nothing; its thread ends.
    Ended,
}

struct Lot {
    parked: HashMap<u64, Parked>,
    deadlines: BTreeSet<(Instant, u64)>,
    next_token: u64,
    /// Bytes of the heads that have begun.
    head_bytes: usize,
    /// When the thread wakes by itself; `None`: never.
    wakes_at: Option<Instant>,
    /// Something was parked since the thread last went to sleep.
    active: bool,
    phase: Phase,
}

/// See the module's description.
pub(super) struct Parker {
    epoll: OwnedFd,
    wake: OwnedFd,
    lot: Mutex<Lot>,
    /// How long the thread sleeps once more after the last connection has left, so that one
    /// client that comes and goes doesn't wake it every time.
    quiet: Duration,
}

impl Parker {
    /// An empty parker; [`run`] must be called on a thread. `quiet`: the usual waiting time.
    pub(super) fn new(quiet: Duration) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let lot = Lot {
            parked: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_token: WAKE + 1,
            head_bytes: 0,
            wakes_at: None,
            active: false,
            phase: Phase::Open,
        };
        Ok(Self { epoll, wake, lot: Mutex::new(lot), quiet })
    }

    /// Watches a connection that waits for its next request.
    pub(super) fn idle(&self, conn: Conn, deadline: Instant) {
        self.park(Parked { conn, deadline, purpose: Purpose::Idle });
    }

    /// Watches a connection whose head has begun; gives it back if there is no room for that many
    /// bytes.
    #[must_use]
    pub(super) fn head(&self, conn: Conn, deadline: Instant) -> Option<Conn> {
        let bytes = conn.wire.buffered().len();
        if bytes > SMALL_HEAD_BYTES && self.lot().head_bytes + bytes > MAX_HELD_HEAD_BYTES {
            return Some(conn);
        }
        self.park(Parked { conn, deadline, purpose: Purpose::Head });
        None
    }

    /// Closes the connection that waits for a request with the nearest deadline. True if there was
    /// one.
    pub(super) fn evict(&self) -> bool {
        let mut lot = self.lot();
        let waits = |token: &u64| {
            let purpose = lot.parked.get(token).map(|parked| parked.purpose);
            purpose.is_some_and(|purpose| !matches!(purpose, Purpose::Closing(_)))
        };
        let token = lot.deadlines.iter().map(|(_, token)| *token).find(waits);
        let evicted = token.and_then(|token| lot.take(token));
        drop(lot);
        evicted.is_some()
    }

    /// Closes a connection so that the client receives what was sent: our direction ends, and
    /// what still arrives is dropped for a while.
    pub(super) fn close(&self, conn: Conn) {
        conn.wire.end();
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        self.park(Parked { conn, deadline, purpose: Purpose::Closing(CLOSE_BYTES) });
    }

    /// How many connections are parked.
    pub(super) fn count(&self) -> usize {
        self.lot().parked.len()
    }

    /// Closes the connections that wait, now and from now on.
    pub(super) fn end_waiting(&self) {
        self.enter(Phase::Ending);
    }

    /// Closes everything and ends the thread.
    pub(super) fn end(&self) {
        self.enter(Phase::Ended);
    }

    fn enter(&self, phase: Phase) {
        let mut lot = self.lot();
        lot.phase = lot.phase.max(phase);
        drop(lot);
        self.wake();
    }

    fn park(&self, mut parked: Parked) {
        parked.conn.wire.shrink();
        let mut lot = self.lot();
        if !lot.takes(parked.purpose) {
            return;
        }
        let token = lot.next_token;
        lot.next_token += 1;
        // One event and then silence, until it is parked again: a thread owns it in between.
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT;
        let socket = parked.conn.wire.stream();
        let watched = match parked.conn.watched {
            true => epoll::modify(&self.epoll, socket, EventData::new_u64(token), flags),
            false => epoll::add(&self.epoll, socket, EventData::new_u64(token), flags),
        };
        if let Err(error) = watched {
            drop(lot);
            log::warn!("cannot watch an idle connection, it is closed: {error}");
            return;
        }
        parked.conn.watched = true;
        let early = lot.wakes_at.is_none_or(|at| parked.deadline < at);
        lot.deadlines.insert((parked.deadline, token));
        lot.head_bytes += parked.head_bytes();
        // The thread can't look for the token before the lock is released.
        lot.parked.insert(token, parked);
        lot.active = true;
        drop(lot);
        if early {
            self.wake();
        }
    }

    fn wake(&self) {
        // Fails only if the counter is full, and then the thread is being woken already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn lot(&self) -> MutexGuard<'_, Lot> {
        // Nothing panics while it is held.
        self.lot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides how long to sleep, from `now`; `None`: until something happens.
    fn sleep_time(&self, now: Instant) -> Option<Duration> {
        let mut lot = self.lot();
        lot.wakes_at = match lot.deadlines.first() {
            Some((deadline, _)) => Some(*deadline),
            None if lot.active => Some(now + self.quiet),
            None => None,
        };
        lot.active = false;
        lot.wakes_at.map(|at| at.saturating_duration_since(now))
    }

    fn take(&self, token: u64) -> Option<Parked> {
        self.lot().take(token)
    }

    /// Drops what has arrived on a connection that is being closed.
    fn drain(&self, mut parked: Parked, left: u64, scratch: &mut Vec<u8>) {
        scratch.resize(SCRATCH_BYTES, 0);
        match parked.conn.wire.discard(scratch) {
            Discard::Bytes(count) if count <= left => {
                parked.purpose = Purpose::Closing(left - count);
                self.park(parked);
            }
            Discard::Bytes(_) | Discard::Ended => {}
        }
    }
}

impl Lot {
    fn takes(&self, purpose: Purpose) -> bool {
        match self.phase {
            Phase::Open => true,
            Phase::Ending => matches!(purpose, Purpose::Closing(_)),
            Phase::Ended => false,
        }
    }

    fn take(&mut self, token: u64) -> Option<Parked> {
        let parked = self.parked.remove(&token)?;
        self.deadlines.remove(&(parked.deadline, token));
        self.head_bytes -= parked.head_bytes();
        Some(parked)
    }

    /// Takes out the connections whose deadline has passed, and those that the phase forbids.
    fn take_over(&mut self, now: Instant) -> Vec<Parked> {
        let over: Vec<u64> = match self.phase {
            Phase::Open => {
                let passed = self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now);
                passed.map(|(_, token)| *token).collect()
            }
            _ => {
                let over = |p: &Parked| p.deadline <= now || !self.takes(p.purpose);
                self.parked.iter().filter(|(_, p)| over(p)).map(|(token, _)| *token).collect()
            }
        };
        over.into_iter().filter_map(|token| self.take(token)).collect()
    }
}

/// Serves the parker of `shared` until [`Parker::end`].
pub(super) fn run(shared: &Arc<Shared>) {
    let parker = &shared.parker;
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    let mut scratch = Vec::new();
    loop {
        let timeout = parker.sleep_time(Instant::now()).map(timespec);
        events.clear();
        match epoll::wait(&parker.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                // Can't happen with a valid descriptor and buffer; must not spin if it does.
                log::error!("epoll_wait: {error}");
                std::thread::sleep(shared.bounds.accept_retry);
            }
        }
        for event in &events {
            let token = event.data.u64();
            if token == WAKE {
                let mut counter = [0; 8];
                // An empty counter is as good.
                let _ = rustix::io::read(&parker.wake, &mut counter);
            } else if let Some(parked) = parker.take(token) {
                match parked.purpose {
                    Purpose::Idle | Purpose::Head => shared.dispatch(parked.conn),
                    Purpose::Closing(left) => parker.drain(parked, left, &mut scratch),
                }
            }
        }
        let mut lot = parker.lot();
        let phase = lot.phase;
        let over = lot.take_over(Instant::now());
        drop(lot);
        for parked in over {
            if parked.purpose == Purpose::Head && phase == Phase::Open {
                shared.dispatch(parked.conn);
            }
        }
        if phase == Phase::Ended {
            return;
        }
    }
}
