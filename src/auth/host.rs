//! The host that a request is for, and the bucket that its name may begin with.

use super::AuthConfig;
use crate::http::Request;

/// What a trusted proxy says that the client named as its host: the first entry of
/// X-Forwarded-Host, since each further proxy appends its own.
pub(super) fn forwarded_host(request: &Request, trust_forwarded: bool) -> Option<&str> {
    let hosts = request.headers.get("x-forwarded-host").filter(|_| trust_forwarded)?;
    hosts.split(',').next().map(str::trim)
}

/// The host that a request names, without its port.
pub fn host_of(request: &Request, trust_forwarded: bool) -> Option<&str> {
    let forwarded = forwarded_host(request, trust_forwarded);
    forwarded.or_else(|| request.headers.get("host")).map(without_port)
}

fn without_port(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
    })
}

/// The bucket that a host names in virtual-host style, if it names one.
pub(super) fn bucket_in<'h>(host: &'h str, config: &AuthConfig) -> Option<&'h str> {
    before_domain(without_port(host), &config.domains)
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
