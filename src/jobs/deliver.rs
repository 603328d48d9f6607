//! Delivers events: a thread for each webhook takes its queue from the front, one event a request,
//! and tries again until it is taken. An event may arrive twice, after a crash; events of a key
//! arrive in their order.

use super::webhook::{self, Failure};
use crate::config::Webhook;
use crate::limits::{EVENT_BATCH, EVENT_LIFETIME, EVENT_REFUSED_LIFETIME};
use crate::store::{QueuedEvent, Store, StoreError};
use crate::types::time;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
            Fate::Dropped => dropped += 1,
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
    /// It waited for longer than [`EVENT_LIFETIME`], or its target refused it for longer than
    /// [`EVENT_REFUSED_LIFETIME`].
    Dropped,
    /// The server ends; it stays.
    Stopped,
}

fn persist(store: &Store, target: &Webhook, event: &QueuedEvent, failures: &mut u32) -> Fate {
    let mut refused = Refusals::default();
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
                refused.note(&failure, time::now_ms());
                if refused.are_enough(time::now_ms()) {
                    log::warn!("webhook {}: dropped an event that it refuses", target.name);
                    return Fate::Dropped;
                }
                if time::now_ms() - event.created_ms > millis(EVENT_LIFETIME) {
                    log::warn!("webhook {}: dropped an event that waited too long", target.name);
                    return Fate::Dropped;
                }
                store.event_bell().sleep(pause);
            }
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Since when a target refuses an event, in milliseconds since 1970.
#[derive(Default)]
struct Refusals(Option<i64>);

impl Refusals {
    /// Notes how a try has failed. Only an answer that is about this very document counts: that the
    /// target is away, busy or wants another token says nothing of the event.
    fn note(&mut self, failure: &Failure, now_ms: i64) {
        if matches!(failure, Failure::Status(400 | 413 | 415 | 422)) {
            self.0.get_or_insert(now_ms);
        } else {
            self.0 = None;
        }
    }

    /// Whether it has gone on for so long that those behind the event must not wait any longer.
    fn are_enough(&self, now_ms: i64) -> bool {
        self.0.is_some_and(|since| now_ms - since > millis(EVENT_REFUSED_LIFETIME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_its_target_refuses_is_given_up_in_the_end() {
        let (hours, mut refusals) = (millis(EVENT_REFUSED_LIFETIME), Refusals::default());
        assert!(!refusals.are_enough(i64::MAX), "nothing was refused");
        refusals.note(&Failure::Status(400), 1000);
        refusals.note(&Failure::Status(422), 2000);
        assert!(!refusals.are_enough(1000 + hours));
        assert!(refusals.are_enough(1001 + hours));
        // What says nothing of the event begins the time anew.
        for other in [Failure::Status(503), Failure::Status(401), Failure::NotHttp] {
            refusals.note(&Failure::Status(413), 1000);
            refusals.note(&other, 3000);
            assert!(!refusals.are_enough(i64::MAX), "{other}");
        }
    }
}
