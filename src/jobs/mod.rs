//! What runs beside the requests. Each job is a loop on the store's public face.

mod deliver;
pub mod lifecycle;
mod logs;
mod scrub;
mod webhook;

pub use deliver::{DELIVERED, FAILED};
pub use scrub::SCRUBBED_BYTES;

use crate::config::{Schedule, Webhook};
use crate::store::{Kek, LogSpool, SharedStore};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Starts the upkeep of the store, and what makes files ahead of need; both end when the store is
/// closed.
pub fn start(store: &SharedStore) -> io::Result<JoinHandle<()>> {
    let (store, maker) = (Arc::clone(store), Arc::clone(store));
    Builder::new().name("jog-files".to_owned()).spawn(move || maker.make_files())?;
    Builder::new().name("jog-upkeep".to_owned()).spawn(move || store.upkeep())
}

/// Starts the delivery of access logs; it ends when the spool is stopped.
pub fn start_logs(
    store: &SharedStore,
    spool: &Arc<LogSpool>,
    master: Option<Kek>,
) -> io::Result<JoinHandle<()>> {
    let (store, spool) = (Arc::clone(store), Arc::clone(spool));
    let run = move || logs::run(&store, &spool, master.as_ref());
    Builder::new().name("jog-logs".to_owned()).spawn(run)
}

/// Starts the thread that applies lifecycle rules; it ends soon after
/// [`crate::store::Store::stop_jobs`].
pub fn start_lifecycle(
    store: &SharedStore,
    settings: lifecycle::Settings,
) -> io::Result<JoinHandle<()>> {
    let store = Arc::clone(store);
    let run = move || lifecycle::run(&store, &settings);
    Builder::new().name("jog-lifecycle".to_owned()).spawn(run)
}

/// Starts a thread for each webhook. They end after [`crate::store::Store::stop_jobs`], within the
/// time that a webhook may take; nobody needs to wait for them, since an event that is cut off
/// stays in its queue.
pub fn start_delivery(store: &SharedStore, webhooks: &[Webhook]) -> io::Result<()> {
    match store.queued_events() {
        Ok(queued) => {
            let known = |name: &str| webhooks.iter().any(|webhook| webhook.name == name);
            for (name, count) in queued.iter().filter(|(name, _)| !known(name)) {
                log::warn!("{count} events wait for webhook {name}, which is not declared");
            }
        }
        Err(error) => log::warn!("events: {error}"),
    }
    for webhook in webhooks {
        let (store, webhook) = (Arc::clone(store), webhook.clone());
        let run = move || deliver::run(&store, &webhook);
        Builder::new().name("jog-events".to_owned()).spawn(run)?;
    }
    Ok(())
}

/// Starts the thread that scrubs; it ends soon after [`crate::store::Store::stop_jobs`].
pub fn start_scrub(
    store: &SharedStore,
    schedule: Schedule,
    rate: u64,
) -> io::Result<JoinHandle<()>> {
    let store = Arc::clone(store);
    let run = move || scrub::run(&store, &schedule, rate);
    Builder::new().name("jog-scrub".to_owned()).spawn(run)
}
