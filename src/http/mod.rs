//! The connection layer: the only place that knows how bytes arrive. A blocking accept loop hands
//! connections to a fixed pool of threads; a connection that is idle waits without a thread.
//!
//! Everybody else sees [`Request`], [`Body`] and [`Response`], and implements [`Handler`].

mod body;
mod chunked;
mod conn;
mod head;
mod listen;
mod pace;
mod park;
mod request;
mod response;
mod server;
mod wire;
mod writer;

pub use body::Body;
pub use request::{Headers, Method, Request};
pub use response::{Content, Done, Payload, Response, Sent};
pub use server::{Bounds, Server, ServerConfig, ServerStats};

/// What answers requests. Called on one of the pool's threads; a panic inside answers 500 and
/// closes that connection only.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. What it leaves unread of the body is dropped, within bounds, before
    /// the next request; or the connection is closed.
    fn handle(&self, request: &Request, body: &mut Body<'_>) -> Response;

    /// Answers what never became a request: a head that is malformed (400), too large (431), late
    /// (408), or a server that is too busy (503). `reason` is text for the client. Also called on
    /// the thread that accepts connections, so it must not wait for anything, and its body is
    /// [`Payload::Bytes`] or empty.
    fn refuse(&self, status: u16, reason: &str) -> Response;
}
