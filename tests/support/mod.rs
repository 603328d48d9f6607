//! What the integration tests share: the real server as a process, a client that is told every
//! byte and signs by itself, and checksums of its own making.

pub mod client;
pub mod server;
pub mod sign;

pub use client::{Connection, Message, Request, Response};
pub use server::{Dir, Server, shared};

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// The names of the checksum algorithms as they stand in header names.
pub const ALGORITHMS: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

/// Bytes that never repeat within themselves for long, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// MD5 in hex: the ETag of an object, without quotes.
pub fn md5_hex(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

/// MD5 in base64: Content-MD5.
pub fn md5_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(Md5::digest(bytes))
}

/// The ETag of a multipart object, without quotes.
pub fn multipart_etag(parts: &[&[u8]]) -> String {
    let sums: Vec<u8> = parts.iter().flat_map(Md5::digest).collect();
    format!("{}-{}", md5_hex(&sums), parts.len())
}

/// A reflected CRC, a bit at a time by its definition, tabulated for bytes.
fn crc(polynomial: u64, width: u32, bytes: &[u8]) -> u64 {
    let ones = u64::MAX >> (64 - width);
    let table: Vec<u64> = (0..256u64)
        .map(|byte| (0..8).fold(byte, |r, _| (r >> 1) ^ (polynomial * (r & 1))))
        .collect();
    let step = |r: u64, &b: &u8| (r >> 8) ^ table[usize::from(r as u8 ^ b)];
    bytes.iter().fold(ones, step) ^ ones
}

/// The bytes of a checksum.
pub fn sum_bytes(algorithm: &str, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        "crc32" => (crc(0xedb8_8320, 32, bytes) as u32).to_be_bytes().to_vec(),
        "crc32c" => (crc(0x82f6_3b78, 32, bytes) as u32).to_be_bytes().to_vec(),
        "crc64nvme" => crc(0x9a6c_9329_ac4b_c9b5, 64, bytes).to_be_bytes().to_vec(),
        "sha1" => Sha1::digest(bytes).to_vec(),
        "sha256" => Sha256::digest(bytes).to_vec(),
        _ => panic!("{algorithm} is none of ALGORITHMS"),
    }
}

/// A checksum as headers and documents carry it.
pub fn sum(algorithm: &str, bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(sum_bytes(algorithm, bytes))
}

/// The composite checksum of an object made of these parts, without `-N`.
pub fn composite(algorithm: &str, parts: &[&[u8]]) -> String {
    let sums: Vec<u8> = parts.iter().flat_map(|part| sum_bytes(algorithm, part)).collect();
    sum(algorithm, &sums)
}

/// `x-amz-checksum-…`
pub fn sum_header(algorithm: &str) -> String {
    format!("x-amz-checksum-{algorithm}")
}

/// What stands in every element of this name, as it is written.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find(&open) {
        rest = &rest[at + open.len()..];
        let Some(end) = rest.find('>') else { break };
        let attributes = &rest[..end];
        rest = match attributes.chars().next() {
            None | Some(' ') => &rest[end + 1..],
            Some('/') => {
                found.push(String::new());
                continue;
            }
            // Another element whose name begins like this one.
            Some(_) => continue,
        };
        let Some(end) = rest.find(&close) else { break };
        found.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    found
}

/// The text of every element of this name.
pub fn texts(xml: &str, name: &str) -> Vec<String> {
    elements(xml, name).iter().map(|t| unescape(t)).collect()
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find(';').expect("an entity ends") + at;
        match &rest[at + 1..end] {
            "lt" => out.push('<'),
            "gt" => out.push('>'),
            "amp" => out.push('&'),
            "quot" => out.push('"'),
            "apos" => out.push('\''),
            number => {
                let number = number.strip_prefix('#').expect("a known entity");
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                out.push(char::from_u32(code.expect("a number")).expect("a character"));
            }
        }
        rest = &rest[end + 1..];
    }
    out + rest
}

/// Undoes percent-encoding.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        if bytes[i] == b'%' {
            out.push(u8::from_str_radix(&text[i + 1..i + 3], 16).expect("two hex digits"));
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8(out).expect("a key is UTF-8")
}

/// Waits until a condition holds.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a function on so many threads at once and gives what they gave, in order.
pub fn at_once<T: Send>(threads: usize, run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(threads);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|number| {
                let (barrier, run) = (&barrier, &run);
                scope.spawn(move || {
                    barrier.wait();
                    run(number)
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().expect("it did not panic")).collect()
    })
}

/// The catalogue's check values for "123456789".
#[test]
fn checksums_are_right() {
    assert_eq!(sum_bytes("crc32", b"123456789"), 0xcbf4_3926u32.to_be_bytes());
    assert_eq!(sum_bytes("crc32c", b"123456789"), 0xe306_9283u32.to_be_bytes());
    assert_eq!(sum_bytes("crc64nvme", b"123456789"), 0xae8b_1486_0a79_9888u64.to_be_bytes());
}

#[test]
fn elements_are_found() {
    let xml = "<A x=\"1\"><Key>a&amp;&#x1;</Key><KeyCount>2</KeyCount><Key/></A>";
    assert_eq!(texts(xml, "Key"), ["a&\u{1}", ""]);
    assert_eq!(texts(xml, "KeyCount"), ["2"]);
    assert_eq!(elements(xml, "A").len(), 1);
}
