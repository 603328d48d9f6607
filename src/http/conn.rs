//! One connection, served by one thread: reads heads, calls the handler, writes responses, and
//! decides how the connection goes on.

use super::body::{Body, BodyReader};
use super::head::{self, Framing, Head, Refusal, Scan};
use super::pace::Pace;
use super::request::{Method, Request};
use super::response::{Response, Sent};
use super::server::{ServerStats, Shared};
use super::wire::{Wait, Wire};
use super::writer::{self, Persistence};
use crate::limits::{DRAIN_BYTES, MAX_HEAD_BYTES};
use std::io::ErrorKind;
use std::net::{IpAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A connection, open as long as this lives.
pub(super) struct Conn {
    /// The socket and what has arrived on it.
    pub(super) wire: Wire,
    /// It is known to the parker's epoll.
    pub(super) watched: bool,
    peer: IpAddr,
    /// Bytes of the next head that were looked at.
    seen: usize,
    /// When the head that has begun must have ended.
    head_deadline: Option<Instant>,
    /// When the next head must have begun.
    idle_deadline: Instant,
    stats: Arc<ServerStats>,
}

impl Conn {
    /// Counts the connection and makes it ready for its first request.
    pub(super) fn new(stream: TcpStream, peer: IpAddr, shared: &Shared) -> Self {
        let stats = Arc::clone(&shared.stats);
        stats.connections.fetch_add(1, Ordering::Relaxed);
        Self {
            wire: Wire::new(stream, Pace::new(Arc::clone(&shared.crowd))),
            watched: false,
            // An IPv4 client of a dual-stack socket.
            peer: peer.to_canonical(),
            seen: 0,
            head_deadline: None,
            idle_deadline: Instant::now() + shared.bounds.idle_timeout,
            stats,
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.stats.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the wait for a head came to.
enum Step {
    /// A request.
    Head(Box<Head>),
    /// None yet: the connection waits without a thread, for the first or for more bytes.
    Idle(Instant),
    Begun(Instant),
    /// Something else than a request.
    Refuse(Refusal),
    /// The client has gone, or the server is going.
    Close,
}

/// How a connection goes on after a response.
enum After {
    /// With the next request.
    Again,
    /// It is closed, with care that the client gets the response.
    Linger,
    /// It is closed at once.
    Close,
}

/// Serves a connection until it is closed or idle.
pub(super) fn serve(shared: &Arc<Shared>, mut conn: Conn) {
    // Reused by all responses of this turn.
    let mut buffer = Vec::new();
    loop {
        match conn.next_head(shared) {
            Step::Head(head) => match conn.exchange(*head, shared, &mut buffer) {
                After::Again => {}
                After::Linger => return shared.parker.close(conn),
                After::Close => return,
            },
            Step::Idle(deadline) => return shared.parker.idle(conn, deadline),
            Step::Begun(deadline) => {
                if let Some(conn) = shared.parker.head(conn, deadline) {
                    shared.turn_away(conn);
                }
                return;
            }
            Step::Refuse(Refusal { status, reason }) => {
                let response = shared.refusal(status, reason);
                let close = Persistence::Close;
                let written = writer::write(&mut conn.wire, response, close, false, &mut buffer);
                conn.wire.end_exchange();
                if written.is_ok() {
                    shared.parker.close(conn);
                }
                return;
            }
            Step::Close => return,
        }
        // Others wait for a thread: this one is not held for a request that may not come.
        if shared.crowd.is_crowded() && conn.wire.buffered().is_empty() {
            let deadline = conn.idle_deadline;
            return shared.parker.idle(conn, deadline);
        }
    }
}

impl Conn {
    fn next_head(&mut self, shared: &Shared) -> Step {
        loop {
            // RFC 9112, 2.2: an empty line in front of a request is ignored.
            while self.seen == 0 && self.wire.buffered().starts_with(b"\r\n") {
                self.wire.consume(2);
            }
            let buffered = self.wire.buffered();
            if !buffered.is_empty() {
                match head::scan(buffered, self.seen) {
                    Err(refusal) => return Step::Refuse(refusal),
                    Ok(Scan::Complete(length)) if length <= MAX_HEAD_BYTES => {
                        let parsed = head::parse(&buffered[..length]);
                        self.wire.consume(length);
                        self.seen = 0;
                        self.head_deadline = None;
                        return parsed.map_or_else(Step::Refuse, |h| Step::Head(Box::new(h)));
                    }
                    Ok(Scan::Partial(seen)) if buffered.len() < MAX_HEAD_BYTES => self.seen = seen,
                    Ok(_) => {
                        let reason = "request line and headers are too large";
                        return Step::Refuse(Refusal { status: 431, reason });
                    }
                }
            }
            if let Some(step) = self.receive(shared) {
                return step;
            }
        }
    }

    /// Waits for more of a head; `None` if something came.
    fn receive(&mut self, shared: &Shared) -> Option<Step> {
        const LATE: Refusal = Refusal { status: 408, reason: "the request came too slowly" };
        let begun = self.wire.buffered().len();
        let mut deadline = self.idle_deadline;
        if begun > 0 {
            let now = Instant::now();
            let latest = now + shared.bounds.head_timeout;
            deadline = *self.head_deadline.get_or_insert(latest);
            if now >= deadline {
                return Some(Step::Refuse(LATE));
            }
        }
        let wait = if shared.crowd.is_crowded() { Wait::Never } else { Wait::Linger };
        match self.wire.fill(wait) {
            Ok(0) => Some(Step::Close),
            Ok(_) => None,
            Err(error) if error.kind() != ErrorKind::WouldBlock => Some(Step::Close),
            Err(_) if shared.is_stopping() => Some(Step::Close),
            Err(_) if begun == 0 => Some(Step::Idle(deadline)),
            Err(_) => Some(Step::Begun(deadline)),
        }
    }

    /// One request and its response.
    fn exchange(&mut self, head: Head, shared: &Shared, buffer: &mut Vec<u8>) -> After {
        let Head { framing, expects, keep_alive, old, .. } = head;
        let request = Request {
            method: head.method,
            path: head.path,
            query: head.query,
            headers: head.headers,
            peer: self.peer,
            received: Instant::now(),
            id: shared.ids.next(),
        };
        let progress = shared.bounds.progress_timeout;
        let mut reader = BodyReader::new(&mut self.wire, framing, expects, progress);
        let mut response = answer(shared, &request, framing, &mut reader);

        let willing = keep_alive && !response.close && !shared.is_stopping();
        // What has not arrived yet is not waited for while others wait.
        let patience = match shared.crowd.is_crowded() {
            true => Duration::ZERO,
            false => shared.bounds.drain_timeout,
        };
        let keep = willing && reader.drain(DRAIN_BYTES, patience);
        let all_read = reader.is_done();
        let persistence = match keep {
            true if old => Persistence::KeepOld,
            true => Persistence::Keep,
            false => Persistence::Close,
        };
        let bodiless = request.method == Method::Head;
        let (done, length) = (response.done.take(), response.length());
        let wire = &mut self.wire;
        // The content of the response is the handler's code, too.
        let written = catch_unwind(AssertUnwindSafe(|| {
            writer::write(wire, response, persistence, bodiless, buffer)
        }));
        if let Some(done) = done {
            let complete = matches!(written, Ok(Ok(())));
            let body_bytes = if complete && !bodiless { length } else { 0 };
            done(Sent { body_bytes, complete });
        }
        self.wire.end_exchange();
        self.idle_deadline = Instant::now() + shared.bounds.idle_timeout;
        match written {
            Ok(Ok(())) if keep => After::Again,
            // A client that said it is the last request sends nothing that could reset it.
            Ok(Ok(())) if all_read && !keep_alive => After::Close,
            Ok(Ok(())) => After::Linger,
            Ok(Err(error)) => {
                log::debug!("{}: the response is not complete: {error}", request.id);
                After::Close
            }
            Err(_) => {
                log::error!("{}: the content of the response panicked", request.id);
                After::Close
            }
        }
    }
}

/// Calls the handler; a panic in it is a 500.
fn answer(
    shared: &Shared,
    request: &Request,
    framing: Framing,
    reader: &mut BodyReader<'_>,
) -> Response {
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    let handled = catch_unwind(AssertUnwindSafe(|| {
        shared.handler.handle(request, &mut Body::new(length, reader))
    }));
    handled.unwrap_or_else(|_| {
        log::error!("{}: the handler panicked", request.id);
        shared.refusal(500, "internal error")
    })
}
