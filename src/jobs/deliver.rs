//! Delivers events: a thread for each webhook takes its queue from the front, one event a request,
//! and tries again until it is taken. An event may arrive twice, after a crash; events of a key
//! arrive in their order.

use super::webhook;
use crate::config::Webhook;
use crate::limits::{EVENT_BATCH, EVENT_LIFETIME};
use crate::store::{QueuedEvent, Store, StoreError};
use crate::types::time;
use std::sync::atomic::{AtomicU64, Ordering};

/// Events that were delivered since the start.
pub static DELIVERED: AtomicU64 = AtomicU64::new(0);
/// Tries that failed since the start.
pub static FAILED: AtomicU64 = AtomicU64::new(0);

/// Delivers to one webhook until the server ends. For a thread of its own.
pub fn run(store: &Store, target: &Webhook) {
    let bell = store.event_bell();
    let mut failures = 0;
    loop {
        // Before the look, so that what is written after it ends the wait.
        let heard = bell.heard();
        if heard.stop {
            return;
        }
        match store.events(&target.name, EVENT_BATCH) {
            Ok(events) if events.is_empty() => {
                bell.wait(heard, None);
            }
            Ok(events) => {
                if let Err(error) = deliver(store, target, &events, &mut failures) {
                    log::warn!("events for webhook {}: {error}", target.name);
                    bell.sleep(webhook::pause(1));
                }
            }
            Err(error) => {
                log::warn!("events for webhook {}: {error}", target.name);
                bell.sleep(webhook::pause(u32::MAX));
            }
        }
    }
}

/// Delivers events until the server ends or they are all taken, then takes them off the queue.
fn deliver(
    store: &Store,
    target: &Webhook,
    events: &[QueuedEvent],
    failures: &mut u32,
) -> Result<(), StoreError> {
    let (mut last, mut dropped) = (None, 0);
    for event in events {
        match persist(store, target, event, failures) {
            Fate::Delivered => {}
            Fate::TooOld => dropped += 1,
            Fate::Stopped => break,
        }
        last = Some(event.id);
    }
    match last {
        Some(last) => store.remove_events(&target.name, last, dropped),
        None => Ok(()),
    }
}

/// What became of an event.
enum Fate {
    Delivered,
    /// It waited for longer than [`EVENT_LIFETIME`].
    TooOld,
    /// The server ends; it stays.
    Stopped,
}

fn persist(store: &Store, target: &Webhook, event: &QueuedEvent, failures: &mut u32) -> Fate {
    let lifetime_ms = i64::try_from(EVENT_LIFETIME.as_millis()).unwrap_or(i64::MAX);
    loop {
        if store.event_bell().stopping() {
            return Fate::Stopped;
        }
        match webhook::post(target, &event.body) {
            Ok(()) => {
                DELIVERED.fetch_add(1, Ordering::Relaxed);
                if *failures > 0 {
                    log::info!("webhook {} takes events again", target.name);
                }
                *failures = 0;
                return Fate::Delivered;
            }
            Err(failure) => {
                FAILED.fetch_add(1, Ordering::Relaxed);
                *failures = failures.saturating_add(1);
                let pause = webhook::pause(*failures);
                let text = format!(
                    "webhook {} at {}:{}: {failure}; next try in {} s",
                    target.name,
                    target.host,
                    target.port,
                    pause.as_secs()
                );
                // Said once, not as long as it lasts.
                let level = if *failures == 1 { log::Level::Warn } else { log::Level::Debug };
                log::log!(level, "{text}");
                if time::now_ms() - event.created_ms > lifetime_ms {
                    log::warn!("webhook {}: dropped an event that waited too long", target.name);
                    return Fate::TooOld;
                }
                store.event_bell().sleep(pause);
            }
        }
    }
}
