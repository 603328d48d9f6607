//! Bodies in chunks, with and without signatures and trailers.

use super::auth::{DATE, SCOPE, hmac, request, signing_key};
use super::{Rng, fuzz};
use jog::auth::{ChunkSigning, PayloadKind, payload};
use jog::http::{Body, Method};
use sha2::{Digest, Sha256};
use std::io::Read;

const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
const TRAILER: &str = "x-amz-checksum-crc32c";
const TRAILER_LINE: &str = "x-amz-checksum-crc32c:sOO8/Q==";

/// Bytes that arrive in pieces.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.1.min(buf.len()).min(self.0.len());
        buf[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Plain,
    Chunks,
    Signed,
    SignedTrailer,
}

fn signed(text: &str) -> String {
    hex::encode(hmac(&signing_key(), text.as_bytes()))
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A body as a client makes it.
fn body(kind: Kind, data: &[u8], chunk: usize) -> Vec<u8> {
    if kind == Kind::Plain {
        return data.to_vec();
    }
    let (mut out, mut previous) = (Vec::new(), SEED.to_owned());
    for chunk in data.chunks(chunk).chain([&b""[..]]) {
        let mut line = format!("{:x}", chunk.len());
        if kind != Kind::Chunks {
            previous = signed(&format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{DATE}\n{SCOPE}\n{previous}\n{}\n{}",
                hash(b""),
                hash(chunk)
            ));
            line += &format!(";chunk-signature={previous}");
        }
        out.extend_from_slice(format!("{line}\r\n").as_bytes());
        out.extend_from_slice(chunk);
        if !chunk.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
    }
    if kind != Kind::Signed {
        out.extend_from_slice(format!("{TRAILER_LINE}\r\n").as_bytes());
    }
    if kind == Kind::SignedTrailer {
        let lines = hash(format!("{TRAILER_LINE}\n").as_bytes());
        let text = format!("AWS4-HMAC-SHA256-TRAILER\n{DATE}\n{SCOPE}\n{previous}\n{lines}");
        out.extend_from_slice(format!("x-amz-trailer-signature:{}\r\n", signed(&text)).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn protection(kind: Kind, data: &[u8]) -> PayloadKind {
    match kind {
        Kind::Plain => PayloadKind::Sha256(Sha256::digest(data).into()),
        Kind::Chunks => PayloadKind::UnsignedChunks,
        Kind::Signed | Kind::SignedTrailer => PayloadKind::SignedChunks(ChunkSigning {
            key: signing_key(),
            date: DATE.to_owned(),
            scope: SCOPE.to_owned(),
            seed: SEED.to_owned(),
            trailer: kind == Kind::SignedTrailer,
        }),
    }
}

/// A body on its way: its bytes, sizes of the pieces in which they come and are asked for.
struct Sent {
    kind: Kind,
    data: Vec<u8>,
    bytes: Vec<u8>,
    known_length: bool,
    sizes: (usize, usize),
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = String::from_utf8_lossy(&self.bytes);
        write!(f, "{:?} {:?} {} {bytes:?}", self.kind, self.sizes, self.known_length)
    }
}

/// The data and the trailer, if all of it is accepted.
fn receive(sent: &Sent) -> Option<(Vec<u8>, Option<String>)> {
    let length = sent.data.len().to_string();
    let mut fields = vec![("x-amz-decoded-content-length", length.as_str())];
    if matches!(sent.kind, Kind::Chunks | Kind::SignedTrailer) {
        fields.push(("x-amz-trailer", TRAILER));
    }
    let request = request(Method::Put, "/bucket/key", "", &fields);
    let mut pieces = Pieces(&sent.bytes, sent.sizes.0);
    let length = sent.known_length.then_some(sent.bytes.len() as u64);
    let mut body = Body::new(length, &mut pieces);
    let mut reader = payload(&request, &mut body, protection(sent.kind, &sent.data)).unwrap();
    let (mut data, mut buf) = (Vec::new(), vec![0; sent.sizes.1]);
    loop {
        match reader.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => data.extend_from_slice(&buf[..n]),
            Err(_) => {
                assert!(reader.read(&mut buf).is_err(), "once refused it stays refused");
                assert!(reader.finish().is_err(), "once refused it stays refused");
                return None;
            }
        }
        assert!(data.len() <= sent.data.len() || sent.kind == Kind::Plain, "more than announced");
    }
    let trailers = reader.finish().ok()?;
    Some((data, trailers.get(TRAILER).cloned()))
}

fn make(rng: &mut Rng) -> Sent {
    let kind = [Kind::Plain, Kind::Chunks, Kind::Signed, Kind::SignedTrailer][rng.below(4)];
    let most = if rng.below(20) == 0 { 20_000 } else { 200 };
    let data = rng.bytes(most);
    let chunk = 1 + rng.below(data.len() + 1);
    let bytes = body(kind, &data, chunk.max(data.len() / 20 + 1));
    let size = |rng: &mut Rng| match rng.below(3) {
        0 => 1 + rng.below(4),
        1 => 1 + rng.below(300),
        _ => 65_536,
    };
    let sizes = (size(rng), size(rng));
    Sent { kind, data, bytes, known_length: rng.below(2) == 0, sizes }
}

#[test]
fn bodies_arrive_as_they_were_sent() {
    fuzz(make, |sent| {
        let (data, trailer) = receive(sent).expect("nothing is wrong with it");
        assert!(data == sent.data);
        let has_one = matches!(sent.kind, Kind::Chunks | Kind::SignedTrailer);
        assert_eq!(trailer.as_deref(), has_one.then_some("sOO8/Q=="));
    });
}

#[test]
fn damaged_bodies_are_refused_or_the_same() {
    let tokens = [
        "\r\n",
        "\n",
        "\r",
        "0",
        "0\r\n\r\n",
        ";chunk-signature=",
        "ffffffffffffffff",
        "-1",
        "+5",
        "0x5",
        "x-amz-trailer-signature:",
        "x-amz-checksum-crc32c:",
        " ",
        "\0",
        "1",
    ];
    let make = |rng: &mut Rng| {
        let mut sent = make(rng);
        rng.damage(&mut sent.bytes, &tokens);
        sent
    };
    fuzz(make, |sent| {
        let Some((data, trailer)) = receive(sent) else { return };
        assert_eq!(data.len(), sent.data.len());
        // Without signatures only the length protects the data.
        if sent.kind != Kind::Chunks {
            assert!(data == sent.data);
        }
        if sent.kind == Kind::SignedTrailer {
            assert_eq!(trailer.as_deref(), Some("sOO8/Q=="));
        }
    });
}
