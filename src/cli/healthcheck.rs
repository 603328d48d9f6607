//! `jog healthcheck`: asks the running server.

use crate::config::Config;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// `Err` with the reason if the server is not ready.
pub fn run(config: &Config) -> Result<(), String> {
    let ip = match config.address {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Some(ip) => ip,
    };
    let address = SocketAddr::new(ip, config.port);
    let answer = ask(address).map_err(|e| format!("no answer from {address}: {e}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("-");
    let health = serde_json::from_str::<Value>(body).unwrap_or_default();
    match (health["ready"].as_bool(), health["reason"].as_str()) {
        (Some(_), _) if status == "200" => Ok(()),
        (_, Some(reason)) => Err(format!("not ready: {reason}")),
        _ => Err(format!(
            "{address} answers with status {status} and not with its health: jog is too busy, or \
             what is there is not jog (JOG_PORT)"
        )),
    }
}

fn ask(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let request =
        format!("GET /_jog/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}
