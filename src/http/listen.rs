//! The listening socket and the loop that accepts connections. The loop never serves, never
//! waits for a client, and ends only when it is told to.

use super::server::{Bounds, Shared};
use super::wire::timespec;
use crate::limits::{LISTEN_BACKLOG, PACE_STEP};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Binds and listens. Options are set here once: Linux hands them to the accepted sockets.
pub(super) fn open(address: SocketAddr, bounds: &Bounds) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.ip() == IpAddr::from([0_u16; 8]) {
        // `::` means every address, whatever the system's default for IPv4 on it is.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    // See `wire` for why the receive timeout is the short one.
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(bounds.linger))?;
    let step = bounds.progress_timeout.min(PACE_STEP);
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(step))?;
    bind(&socket, &address)?;
    listen(&socket, LISTEN_BACKLOG)?;
    let listener = TcpListener::from(socket);
    // Only the listening socket: accepted ones block.
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts until `stop` becomes readable.
pub(super) fn run(listener: &TcpListener, stop: &OwnedFd, shared: &Arc<Shared>) {
    let mut failing = false;
    while !shared.is_stopping() {
        match listener.accept() {
            Ok((stream, peer)) => {
                failing = false;
                shared.admit(stream, peer.ip());
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => wait(listener, stop),
                // That client has gone already; the next one may be there.
                ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                // Out of descriptors or memory, most likely: it passes, and the connection stays
                // in the backlog meanwhile.
                _ => {
                    if !failing {
                        log::error!("cannot accept connections, will go on trying: {error}");
                    }
                    failing = true;
                    let pause = timespec(shared.bounds.accept_retry);
                    // Whatever ends the pause, the loop goes on.
                    let _ = poll(&mut [PollFd::new(stop, PollFlags::IN)], Some(&pause));
                }
            },
        }
    }
}

fn wait(listener: &TcpListener, stop: &OwnedFd) {
    let mut both = [PollFd::new(listener, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
    // An interrupted wait is as good as one that found something.
    let _ = poll(&mut both, None);
}
