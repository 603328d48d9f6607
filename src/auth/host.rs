//! The host that a request is for, and the bucket that its name may begin with.

use super::AuthConfig;
use crate::http::Request;

/// The host that a request names, without its port.
pub fn host_of(request: &Request, trust_forwarded: bool) -> Option<&str> {
    let forwarded = trust_forwarded.then(|| request.headers.get("x-forwarded-host"));
    let host = forwarded.flatten().or_else(|| request.headers.get("host"))?;
    Some(host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
    }))
}

/// What stands before one of these domains.
pub fn before_domain<'h>(host: &'h str, domains: &[String]) -> Option<&'h str> {
    domains.iter().find_map(|domain| {
        let bucket = host.len().checked_sub(domain.len() + 1)?;
        let (bucket, rest) = (host.get(..bucket)?, host.get(bucket..)?);
        let ours = rest.starts_with('.') && rest[1..].eq_ignore_ascii_case(domain);
        (ours && !bucket.is_empty()).then_some(bucket)
    })
}

/// The bucket of a virtual-host style request: what stands before one of our domains.
pub fn host_bucket<'r>(request: &'r Request, config: &AuthConfig) -> Option<&'r str> {
    if config.domains.is_empty() {
        return None;
    }
    before_domain(host_of(request, config.trust_forwarded)?, &config.domains)
}
