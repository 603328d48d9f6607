//! What `/_jog/metrics` tells of the layers that the S3 layer does not know: connections, jobs.

use crate::http::ServerStats;
use crate::jobs;
use crate::s3::Page;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Writes it. `threads`: how many there may be.
pub fn write(page: &mut Page, server: &Arc<ServerStats>, threads: usize) {
    let load = |n: &std::sync::atomic::AtomicUsize| n.load(Ordering::Relaxed);
    let gauges = [
        ("jog_connections", "Open connections.", load(&server.connections)),
        ("jog_connections_queued", "Connections that wait for a thread.", load(&server.queued)),
        ("jog_threads_busy", "Threads at work.", load(&server.busy)),
        ("jog_threads", "Threads that there may be.", threads),
    ];
    for (name, help, value) in gauges {
        page.one(name, "gauge", help, value);
    }
    let load = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    let counters = [
        ("jog_connections_refused_total", "Connections over a limit.", load(&server.refused)),
        ("jog_webhook_delivered_total", "Events that a webhook took.", load(&jobs::DELIVERED)),
        ("jog_webhook_failed_total", "Deliveries that failed.", load(&jobs::FAILED)),
        ("jog_scrubbed_bytes_total", "Bytes that scrubs passed.", load(&jobs::SCRUBBED_BYTES)),
    ];
    for (name, help, value) in counters {
        page.one(name, "counter", help, value);
    }
}
