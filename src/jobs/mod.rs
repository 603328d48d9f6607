//! What runs beside the requests. Each job is a loop on the store's public face.

use crate::store::SharedStore;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Starts the upkeep of the store; it ends when the store is closed.
pub fn start(store: &SharedStore) -> io::Result<JoinHandle<()>> {
    let store = Arc::clone(store);
    Builder::new().name("jog-upkeep".to_owned()).spawn(move || store.upkeep())
}
