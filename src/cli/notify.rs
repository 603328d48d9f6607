//! What the service manager is told: `sd_notify(3)`, which is datagrams to a socket, so no library
//! is needed. Without `NOTIFY_SOCKET` all of this does nothing.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The socket of the service manager, if it gave one.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// What this process's environment says.
    pub fn of_environment() -> Self {
        Self::new(|name| std::env::var(name).ok(), std::process::id(), parent())
    }

    /// `process`, `parent`: whom `WATCHDOG_PID` may name. A wrapper such as `litestream replicate
    /// -exec` is what the manager knows; its child is what can say whether the service works.
    fn new(variable: impl Fn(&str) -> Option<String>, process: u32, parent: u32) -> Self {
        let found = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = found.and_then(|name| match open(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                log::warn!("NOTIFY_SOCKET={name}: {error}");
                None
            }
        });
        let ours = variable("WATCHDOG_PID").is_none_or(|text| {
            text.parse::<u32>().is_ok_and(|pid| pid == process || pid == parent)
        });
        let micros = variable("WATCHDOG_USEC").and_then(|text| text.parse::<u64>().ok());
        let watchdog = micros.filter(|micros| ours && *micros > 0).map(Duration::from_micros);
        Self { watchdog: watchdog.filter(|_| socket.is_some()), socket }
    }

    /// Requests are served from now on.
    pub fn ready(&self) {
        self.send("READY=1\n");
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    /// Tells the manager's watchdog, twice in the time that it waits, that `probe` came back. What
    /// it found does not matter: a full disk is no reason to be killed, a lock that is never given
    /// back is. Starts a thread if there is a watchdog; it lives as long as the process.
    pub fn watch(self, probe: impl Fn() + Send + 'static) -> io::Result<()> {
        let Some(time) = self.watchdog else { return Ok(()) };
        let run = move || {
            loop {
                std::thread::sleep(time / 2);
                probe();
                self.send("WATCHDOG=1\n");
            }
        };
        std::thread::Builder::new().name("jog-watchdog".to_owned()).spawn(run).map(|_| ())
    }

    /// Another socket to the same manager.
    pub fn another(&self) -> Self {
        let socket = self.socket.as_ref().and_then(|(socket, address)| {
            socket.try_clone().ok().map(|socket| (socket, address.clone()))
        });
        Self { socket, watchdog: self.watchdog }
    }

    fn send(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            log::warn!("the service manager does not take {}: {error}", state.trim_end());
        }
    }
}

fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

/// A path, or `@` and an abstract name; `vsock:` is for managers outside of a virtual machine.
fn open(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
        None => return Err(io::Error::new(io::ErrorKind::Unsupported, "not a Unix socket")),
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the service.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifier(variables: &[(&str, &str)]) -> Notifier {
        let find = |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        Notifier::new(find, 20, 10)
    }

    fn heard(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn an_abstract_socket_hears_it() {
        let name = format!("jog-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let name = format!("@{name}");
        let notifier = notifier(&[("NOTIFY_SOCKET", &name), ("WATCHDOG_USEC", "2000")]);
        notifier.ready();
        notifier.another().stopping();
        assert_eq!(heard(&manager), "READY=1\n");
        assert_eq!(heard(&manager), "STOPPING=1\n");
        let (probed, probes) = std::sync::mpsc::channel();
        notifier.watch(move || _ = probed.send(())).unwrap();
        assert_eq!(heard(&manager), "WATCHDOG=1\n");
        assert!(probes.try_recv().is_ok(), "it was asked first");
    }

    #[test]
    fn a_probe_that_never_returns_is_not_reported() {
        let name = format!("jog-stuck-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let name = format!("@{name}");
        let notifier = notifier(&[("NOTIFY_SOCKET", &name), ("WATCHDOG_USEC", "2000")]);
        let (asked, ask) = std::sync::mpsc::channel();
        notifier
            .watch(move || {
                let _ = asked.send(());
                std::thread::park_timeout(Duration::from_secs(3600));
            })
            .unwrap();
        ask.recv_timeout(Duration::from_secs(10)).unwrap();
        manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(manager.recv(&mut [0; 64]).is_err());
    }

    #[test]
    fn whose_watchdog_it_is() {
        let time = |pid: Option<&str>, micros: &str| {
            let mut variables = vec![("NOTIFY_SOCKET", "/nowhere"), ("WATCHDOG_USEC", micros)];
            variables.extend(pid.map(|pid| ("WATCHDOG_PID", pid)));
            notifier(&variables).watchdog
        };
        assert_eq!(time(None, "3000000"), Some(Duration::from_secs(3)));
        assert_eq!(time(Some("20"), "3000000"), Some(Duration::from_secs(3)));
        assert_eq!(time(Some("10"), "3000000"), Some(Duration::from_secs(3)));
        assert_eq!(time(Some("1"), "3000000"), None);
        assert_eq!(time(None, "0"), None);
        assert_eq!(time(None, "x"), None);
        assert_eq!(notifier(&[("WATCHDOG_USEC", "3000000")]).watchdog, None);
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        for name in ["", "/nowhere/at/all", "vsock:2:1", "relative"] {
            notifier(&[("NOTIFY_SOCKET", name)]).ready();
        }
        notifier(&[]).stopping();
    }
}
