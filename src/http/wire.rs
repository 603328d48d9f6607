//! A connected socket and the bytes that have arrived on it but are not consumed yet.
//!
//! Waiting costs nothing while the peer is quick: the socket's SO_RCVTIMEO is the linger time
//! (inherited from the listening socket), so the usual wait is one `recv`. Only after it has
//! passed without a byte does a longer wait go on, in `poll`, with a deadline.

use super::pace::Pace;
use crate::limits::PACE_STEP;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// First size of the receive buffer, in bytes: nearly every head fits.
const FIRST_BUFFER_BYTES: usize = 8 * 1024;
/// A buffer that has grown larger is not kept for the next request, in bytes.
const KEPT_BUFFER_BYTES: usize = 32 * 1024;
/// Reads below this many bytes go through the buffer, so that they don't cost a call each.
const SMALL_READ_BYTES: usize = 512;
/// Reads of [`Wire::discard`] before others get their turn.
const DISCARD_READS: usize = 16;

/// How long to wait for bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// Not at all.
    Never,
    /// The socket's SO_RCVTIMEO.
    Linger,
    /// So long; `TimedOut` after it.
    UpTo(Duration),
}

/// What [`Wire::discard`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Discard {
    /// So many bytes were dropped; more may come.
    Bytes(u64),
    /// The peer has ended the connection, in one way or the other.
    Ended,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where in `buffer` the bytes begin that are not consumed yet.
    start: usize,
    /// How fast the peer is.
    pace: Pace,
}

impl Wire {
    /// Takes over a connected, blocking socket.
    pub(super) fn new(stream: TcpStream, pace: Pace) -> Self {
        Self { stream, buffer: Vec::new(), start: 0, pace }
    }

    /// A request has been answered; the next one is measured anew.
    pub(super) fn end_exchange(&mut self) {
        self.pace.end();
    }

    /// The socket.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The bytes that have arrived and are not consumed.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Drops the first `count` of the buffered bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.buffer.len());
        if self.start == self.buffer.len() {
            self.start = 0;
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BUFFER_BYTES);
        }
    }

    /// Gives back memory that is not needed while the connection is idle.
    pub(super) fn shrink(&mut self) {
        if self.buffered().is_empty() {
            self.buffer = Vec::new();
            self.start = 0;
        } else {
            self.compact();
            self.buffer.shrink_to_fit();
        }
    }

    /// Receives more bytes into the buffer; 0 at the end of the stream. `WouldBlock` if none came
    /// within [`Wait::Never`] or [`Wait::Linger`].
    pub(super) fn fill(&mut self, wait: Wait) -> io::Result<usize> {
        if self.buffer.len() == self.buffer.capacity() {
            self.compact();
        }
        if self.buffer.len() == self.buffer.capacity() {
            // Doubles: it grows with what has arrived, never with what was announced.
            self.buffer.reserve(self.buffer.len().max(FIRST_BUFFER_BYTES));
        }
        let Self { stream, buffer, pace, .. } = self;
        receive(stream, wait, pace, |flags| Ok(recv(&*stream, spare_capacity(buffer), flags)?.0))
    }

    /// Reads up to `buf.len()` bytes: buffered ones first, else from the socket. 0 at the end of
    /// the stream.
    pub(super) fn read(&mut self, buf: &mut [u8], patience: Duration) -> io::Result<usize> {
        let wait = Wait::UpTo(patience);
        if self.buffered().is_empty() {
            if buf.len() >= SMALL_READ_BYTES {
                let Self { stream, pace, .. } = self;
                return receive(
                    stream,
                    wait,
                    pace,
                    |flags| Ok(recv(&*stream, &mut *buf, flags)?.0),
                );
            }
            if self.fill(wait)? == 0 {
                return Ok(0);
            }
        }
        let count = buf.len().min(self.buffered().len());
        buf[..count].copy_from_slice(&self.buffered()[..count]);
        self.consume(count);
        Ok(count)
    }

    /// Drops what has arrived, without waiting.
    pub(super) fn discard(&mut self, scratch: &mut [u8]) -> Discard {
        let mut total = 0;
        for _ in 0..DISCARD_READS {
            match recv(&self.stream, &mut *scratch, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Discard::Ended,
                Ok((count, _)) => total += count as u64,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return Discard::Ended,
            }
        }
        Discard::Bytes(total)
    }

    /// Sends `first` and then `second`, all of both, with one call if the socket takes them.
    pub(super) fn send(&mut self, first: &[u8], second: &[u8]) -> io::Result<()> {
        let mut slices = [IoSlice::new(first), IoSlice::new(second)];
        let count = if second.is_empty() { 1 } else { 2 };
        let mut slices = &mut slices[..count];
        // Takes out what is empty.
        IoSlice::advance_slices(&mut slices, 0);
        // When the peer last took something.
        let mut last = None;
        while let Some(next) = slices.first() {
            let begun = Instant::now();
            let sent = match slices.len() {
                1 => send(&self.stream, next, SendFlags::NOSIGNAL).map_err(io::Error::from),
                _ => (&self.stream).write_vectored(slices),
            };
            let sent = match sent {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.send_late(next)?,
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                other => other?,
            };
            IoSlice::advance_slices(&mut slices, sent);
            if slices.is_empty() {
                return Ok(());
            }
            let waited = begun.elapsed();
            let silent = last.get_or_insert(begun);
            if sent > 0 {
                *silent = begun + waited;
            }
            if self.pace.note(waited, sent) || silent.elapsed() >= self.pace.patience() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// After SO_SNDTIMEO has passed: did the peer really take nothing? The kernel wakes a sender
    /// only when a third of a large socket buffer is free, which a slow client may need longer
    /// for; a call that doesn't wait finds smaller room.
    fn send_late(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => Ok(sent),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what the socket takes at once and gives up the rest.
    pub(super) fn send_now(&self, bytes: &[u8]) {
        // There is nothing to be done for a client that can't be told.
        let _ = send(&self.stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    /// Ends our direction of the connection; the peer sees the end after all that was sent.
    pub(super) fn end(&self) {
        // Fails only if the peer has gone already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn compact(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
    }
}

/// Calls `attempt` until it gives bytes, the end or an error, or the wait is over.
fn receive(
    stream: &TcpStream,
    wait: Wait,
    pace: &mut Pace,
    mut attempt: impl FnMut(RecvFlags) -> Result<usize, Errno>,
) -> io::Result<usize> {
    let mut flags = match wait {
        Wait::Never => RecvFlags::DONTWAIT,
        Wait::Linger | Wait::UpTo(_) => RecvFlags::empty(),
    };
    let begun = Instant::now();
    // Up to when the pace knows.
    let mut noted = begun;
    loop {
        let result = attempt(flags);
        match (result, wait) {
            (Err(Errno::INTR), _) => continue,
            (Err(Errno::AGAIN), Wait::UpTo(patience)) => {
                wait_readable(stream, begun + patience, PACE_STEP)?;
                flags = RecvFlags::DONTWAIT;
            }
            (Err(Errno::AGAIN), _) => return Err(io::ErrorKind::WouldBlock.into()),
            (Err(error), _) => return Err(error.into()),
            (Ok(_), Wait::Never | Wait::Linger) => return Ok(result?),
            (Ok(_), Wait::UpTo(_)) => {}
        }
        let now = Instant::now();
        if pace.note(now - noted, result.unwrap_or(0)) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        noted = now;
        if let Ok(count) = result {
            return Ok(count);
        }
    }
}

/// Returns when there is something to read or the step is over, or with `TimedOut` at the deadline.
fn wait_readable(stream: &TcpStream, deadline: Instant, step: Duration) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&timespec(left.min(step)))) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A duration as the kernel takes it.
pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
