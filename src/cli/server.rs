//! `jog server`: opens the store, serves until a signal, closes the store.

use super::admin::{self, Context};
use super::channel::Channel;
use super::notify::Notifier;
use super::{gauges, logger};
use crate::access::Gate;
use crate::access::registry::Registry;
use crate::auth::{AuthConfig, Throttle};
use crate::config::{Config, Durability};
use crate::http::{Handler, Server, ServerConfig};
use crate::jobs;
use crate::limits::SQLITE_CLOSE_MS;
use crate::s3::{App, Metrics, MetricsAccess, Rooms, Websites};
use crate::store::{Kek, LogSpool, MasterKey, OpenError, SharedStore, Store, StoreConfig};
use crate::types::notification::TargetName;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A second signal within this time is the first one, come by another way.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT. `Err`: one line that says why it cannot start or did not end
/// well.
pub fn run(config: &Config) -> Result<(), String> {
    logger::start(config.log_level, config.log_format);
    // Before anything else runs: a signal from now on ends the server in order.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|e| format!("signals: {e}"))?;
    raise_open_files();
    let dir = config.data_dir.display();
    let store = open_store(config).map_err(|e| format!("cannot open JOG_DATA_DIR={dir}: {e}"))?;
    let store = Arc::new(store);
    warn_of_owner(&config.data_dir);
    let master = config.sse_key.as_deref().map(|key| Kek::new(*key));
    check_master(&store, master.as_ref())?;
    let upkeep = jobs::start(&store).map_err(|e| format!("cannot start a thread: {e}"))?;
    let users = Registry::load(&store, &config.access_key, &config.secret_key)
        .map_err(|e| format!("reading the users: {e}"))?;
    let users = Arc::new(users);
    let logs = Arc::new(open_logs(config)?);
    let deliverer = jobs::start_logs(&store, &logs, master.clone())
        .map_err(|e| format!("cannot start a thread: {e}"))?;
    let day_ms = i64::try_from(config.lifecycle_day.as_millis()).unwrap_or(i64::MAX);
    let targets: Vec<TargetName> =
        config.webhooks.iter().filter_map(|webhook| TargetName::parse(&webhook.name)).collect();
    let region = config.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
    let settings =
        jobs::lifecycle::Settings { day_ms, region: region.clone(), targets: targets.clone() };
    let lifecycle = jobs::start_lifecycle(&store, settings)
        .and_then(|thread| jobs::start_delivery(&store, &config.webhooks).map(|()| thread))
        .map_err(|e| format!("cannot start a thread: {e}"))?;
    let app = App {
        store: Arc::clone(&store),
        gate: Gate::new(Arc::clone(&store), Arc::clone(&users)),
        keys: Box::new(Arc::clone(&users)),
        auth: AuthConfig {
            region: config.region.clone(),
            trust_forwarded: config.trust_proxy,
            sigv2: config.sigv2,
            domains: config.domains.clone(),
        },
        throttle: Throttle::new(config.auth_failures),
        master,
        region,
        website_domains: config.website_domains.clone(),
        metrics: Metrics::new(MetricsAccess {
            public: config.metrics_public,
            token: config.metrics_token.clone(),
        }),
        logs: Arc::clone(&logs),
        host_id: "jog".to_owned(),
        lifecycle_day_ms: day_ms,
        targets,
        rooms: Rooms::new(config.threads),
    };
    let app = Arc::new(app);
    let websites = match config.website_port {
        Some(port) => {
            let websites = Arc::new(Websites(Arc::clone(&app)));
            Some(listen(config, port, "JOG_WEBSITE_PORT", websites)?)
        }
        None => None,
    };
    let server = listen(config, config.port, "JOG_PORT", Arc::clone(&app) as Arc<dyn Handler>)?;
    let (connections, threads) = (server.stats(), config.threads);
    app.metrics.also(move |page| gauges::write(page, &connections, threads));
    let scrub = config
        .scrub
        .map(|schedule| jobs::start_scrub(&store, schedule, config.scrub_rate))
        .transpose()
        .map_err(|e| format!("cannot start a thread: {e}"))?;
    if let Some(websites) = &websites {
        log::info!("websites are on {}", websites.address());
    }
    let channel = serve_commands(config, &store, users)?;
    log::info!(
        "jog {} serves {} on {}",
        env!("CARGO_PKG_VERSION"),
        config.data_dir.display(),
        server.address()
    );
    if config.default_credentials {
        log::warn!(
            "no credentials are set: access key and secret key are minioadmin, and only this \
             host is served; set JOG_ACCESS_KEY and JOG_SECRET_KEY to serve others"
        );
    } else if config.secret_key == "minioadmin" {
        log::warn!("JOG_SECRET_KEY is the well-known minioadmin: anybody can guess it");
    }
    if config.sigv2 {
        log::warn!(
            "JOG_SIGV2=on: Signature Version 2 protects neither the body nor the host of a \
             request; use it where nobody can change what clients send"
        );
    }
    if config.durability == Durability::Os {
        log::warn!("JOG_DURABILITY=os: a crash of the machine may lose acknowledged objects");
    }
    let manager = Notifier::of_environment();
    manager.ready();
    watch(&manager, &store).map_err(|e| format!("cannot start a thread: {e}"))?;
    signals.forever().next();
    manager.stopping();
    log::info!("stopping: requests in flight may take {} s", config.shutdown.as_secs());
    let told = Instant::now();
    std::thread::spawn(move || {
        // Ctrl-C in a terminal reaches a wrapper, too, which passes it on: that is the same one.
        if signals.forever().any(|_| told.elapsed() > SAME_SIGNAL) {
            log::warn!("stopping at once");
            std::process::exit(1);
        }
    });
    let websites = std::thread::spawn(|| websites.is_none_or(Server::shutdown));
    let finished = server.shutdown() & websites.join().unwrap_or(false);
    store.stop_jobs();
    if lifecycle.join().is_err() {
        log::warn!("the lifecycle thread has panicked");
    }
    if !channel.stop(config.shutdown) {
        log::warn!("a command did not end in time");
    }
    logs.stop();
    if deliverer.join().is_err() {
        log::warn!("the thread that delivers access logs has panicked");
    }
    store.close().map_err(|e| format!("closing {}: {e}", config.data_dir.display()))?;
    if upkeep.join().is_err() {
        log::warn!("the upkeep thread has panicked");
    }
    if let Some(scrub) = scrub {
        // As long as it reads metadata.db, the WAL cannot go away. A disk may keep it waiting.
        let end = Instant::now() + Duration::from_millis(SQLITE_CLOSE_MS);
        while !scrub.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    // Not left to the last who drops the store: some threads have it until the process ends.
    store.disconnect().map_err(|e| format!("closing {}: {e}", config.data_dir.display()))?;
    if !finished {
        log::warn!("some requests did not end in time and were cut off");
    }
    log::info!("stopped");
    Ok(())
}

/// Commands, backups and the service run as the owner of the data directory, who could not read
/// what another user writes there.
fn warn_of_owner(dir: &Path) {
    let me = rustix::process::geteuid().as_raw();
    match std::fs::metadata(dir).map(|meta| meta.uid()) {
        Ok(owner) if owner != me => log::warn!(
            "JOG_DATA_DIR={} belongs to the user with ID {owner}, who cannot read what is written \
             now: jog runs as the user with ID {me}",
            dir.display()
        ),
        _ => (),
    }
}

/// Lets the manager's watchdog know that metadata is read and written. Requests over HTTP would be
/// the wrong probe: a server that is busy with slow clients is not stuck.
fn watch(manager: &Notifier, store: &SharedStore) -> io::Result<()> {
    let store = Arc::clone(store);
    // A full disk is for health checks to report, and a restart does not mend it.
    manager.another().watch(move || _ = store.ready())
}

/// Takes `jog` commands from the socket in the data directory.
fn serve_commands(
    config: &Config,
    store: &SharedStore,
    users: Arc<Registry>,
) -> Result<Channel, String> {
    let (store, settings) = (Arc::clone(store), config.clone());
    Channel::start(&config.data_dir, move |request, folder, sink| {
        let context = Context { store: &store, users: &users, config: &settings, folder };
        admin::serve(&context, request, sink)
    })
    .map_err(|e| format!("cannot make jog.sock in {}: {e}", config.data_dir.display()))
}

/// Takes as many file descriptors as the system grants: a connection needs one, and the usual soft
/// limit of 1024 is less than [`crate::limits::MAX_CONNECTIONS`].
pub(super) fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Opens the store of the settings.
pub(super) fn open_store(config: &Config) -> Result<Store, OpenError> {
    let retention = i64::try_from(config.trash_retention.as_millis()).unwrap_or(i64::MAX / 2);
    Store::open(StoreConfig {
        durable: config.durability == Durability::Full,
        trash_retention_ms: retention,
        trash_floor: config.trash_floor,
        min_free: config.min_free,
        ..StoreConfig::new(&config.data_dir)
    })
}

/// Refuses a master key that does not open what is there: reads would fail, and what is written now
/// could not be read with the right one.
fn check_master(store: &Store, master: Option<&Kek>) -> Result<(), String> {
    match store.check_master(master).map_err(|e| format!("cannot check JOG_SSE_KEY: {e}"))? {
        MasterKey::Fits => Ok(()),
        MasterKey::Missing => {
            log::warn!(
                "JOG_SSE_KEY is not set, but was: objects that are encrypted with it cannot be read"
            );
            Ok(())
        }
        MasterKey::Other => Err("JOG_SSE_KEY is not the key that the objects in JOG_DATA_DIR are \
                                 encrypted with; set that one"
            .to_owned()),
    }
}

fn open_logs(config: &Config) -> Result<LogSpool, String> {
    let durable = config.durability == Durability::Full;
    LogSpool::open(&config.data_dir, config.access_log_interval, durable)
        .map_err(|e| format!("cannot open JOG_DATA_DIR={}: {e}", config.data_dir.display()))
}

/// `setting`: what the port comes from.
fn listen(
    config: &Config,
    port: u16,
    setting: &str,
    handler: Arc<dyn Handler>,
) -> Result<Server, String> {
    let start = |ip: IpAddr| {
        let address = SocketAddr::new(ip, port);
        let server = ServerConfig { address, threads: config.threads, shutdown: config.shutdown };
        Server::start(server, handler.clone()).map_err(|e| (address, e))
    };
    let result = match config.address {
        Some(ip) => start(ip),
        None => start(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).or_else(|(address, error)| {
            // A host without IPv6 still has all its IPv4 addresses.
            match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err((address, error)),
                _ => start(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            }
        }),
    };
    result.map_err(|(address, error)| match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {address}: another program uses the port; stop it, or set {setting}"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {address}: ports below 1024 need a privilege; set {setting}")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("cannot listen on {address}: this host has no such address; set JOG_ADDRESS")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}
