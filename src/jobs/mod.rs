//! What runs beside the requests. Each job is a loop on the store's public face.

mod logs;
mod webhook;

use crate::store::{Kek, LogSpool, SharedStore};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Starts the upkeep of the store; it ends when the store is closed.
pub fn start(store: &SharedStore) -> io::Result<JoinHandle<()>> {
    let store = Arc::clone(store);
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
