//! The listener, the accept loop and the pool.

use super::Handler;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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

/// A running server.
pub struct Server {}

impl Server {
    /// Binds and starts to serve. Errors are those of the bind (address in use, not permitted).
    pub fn start(_config: ServerConfig, _handler: Arc<dyn Handler>) -> io::Result<Self> {
        todo!()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }

    /// Its counters.
    pub fn stats(&self) -> Arc<ServerStats> {
        todo!()
    }

    /// Stops accepting, closes idle connections, lets requests in flight end within the bound.
    /// True if all of them did.
    pub fn shutdown(self) -> bool {
        todo!()
    }
}
