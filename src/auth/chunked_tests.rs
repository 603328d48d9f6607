//! Bodies: AWS's published examples, every malformed framing, every flipped byte.

use super::tests::{DATE, ID, OneKey, now, request, signer};
use super::*;
use crate::http::Method;
use sha2::{Digest, Sha256};
use std::io::Read;

const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";

/// A body that arrives in pieces of `step` bytes.
struct Pieces<'a> {
    bytes: &'a [u8],
    step: usize,
    reads: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        let n = self.step.min(buf.len()).min(self.bytes.len());
        buf[..n].copy_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Ok(n)
    }
}

fn receive(
    head: &[(&str, &str)],
    kind: PayloadKind,
    bytes: &[u8],
    length: Option<u64>,
    (step, buffer): (usize, usize),
) -> Result<(Vec<u8>, Trailers), PayloadError> {
    let mut pieces = Pieces { bytes, step, reads: 0 };
    let mut body = Body::new(length, &mut pieces);
    let request = request(Method::Put, "/b/k", head);
    let mut reader = payload(&request, &mut body, kind).unwrap();
    let (mut data, mut buf) = (Vec::new(), vec![0; buffer]);
    loop {
        match reader.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => data.extend_from_slice(&buf[..n]),
            Err(error) => {
                // Once refused, a body stays refused.
                assert!(reader.read(&mut buf).is_err());
                assert!(reader.finish().is_err());
                return Err(error);
            }
        }
    }
    reader.finish().map(|trailers| (data, trailers))
}

const STEPS: [(usize, usize); 6] =
    [(usize::MAX, 262_144), (1, 64), (7, 5000), (4096, 1), (65_536, 9000), (100, 262_144)];

fn signing(seed: &str, trailer: bool) -> PayloadKind {
    PayloadKind::SignedChunks(ChunkSigning {
        key: signer().key,
        date: DATE.to_owned(),
        scope: SCOPE.to_owned(),
        seed: seed.to_owned(),
        trailer,
    })
}

/// A signed body as a client makes it; `end` may add trailers to what follows the last chunk.
fn signed_body(
    seed: &str,
    chunks: &[&[u8]],
    end: impl Fn(&dyn Fn(&str) -> String) -> String,
) -> Vec<u8> {
    let (mut body, mut previous) = (Vec::new(), seed.to_owned());
    let empty = hex::encode(Sha256::digest(b""));
    for chunk in chunks.iter().copied().chain([&b""[..]]) {
        let hash = hex::encode(Sha256::digest(chunk));
        let text =
            format!("AWS4-HMAC-SHA256-PAYLOAD\n{DATE}\n{SCOPE}\n{previous}\n{empty}\n{hash}");
        previous = hex::encode(signer().sign(text.as_bytes()));
        let line = format!("{:x};chunk-signature={previous}\r\n", chunk.len());
        body.extend_from_slice(line.as_bytes());
        body.extend_from_slice(chunk);
        if !chunk.is_empty() {
            body.extend_from_slice(b"\r\n");
        }
    }
    let sign_trailers = |lines: &str| {
        let hash = hex::encode(Sha256::digest(lines));
        let text = format!("AWS4-HMAC-SHA256-TRAILER\n{DATE}\n{SCOPE}\n{previous}\n{hash}");
        hex::encode(signer().sign(text.as_bytes()))
    };
    body.extend_from_slice(end(&sign_trailers).as_bytes());
    body
}

fn plain_end(_: &dyn Fn(&str) -> String) -> String {
    "\r\n".to_owned()
}

fn lengths(decoded: &str) -> [(&str, &str); 1] {
    [("x-amz-decoded-content-length", decoded)]
}

fn whole(bytes: &[u8]) -> Option<u64> {
    Some(bytes.len() as u64)
}

/// The head of AWS's chunked examples, authenticated.
fn example_head(trailer: bool) -> (Request, PayloadKind) {
    let (suffix, signed, signature) = match trailer {
        false => (
            "",
            "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
             x-amz-decoded-content-length;x-amz-storage-class",
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        ),
        true => (
            "-TRAILER",
            "content-encoding;host;x-amz-content-sha256;x-amz-date;\
             x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        ),
    };
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ID}/{SCOPE},SignedHeaders={signed},Signature={signature}"
    );
    let sha256 = format!("STREAMING-AWS4-HMAC-SHA256-PAYLOAD{suffix}");
    let mut fields = vec![
        ("host", "s3.amazonaws.com"),
        ("x-amz-date", DATE),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("authorization", &authorization),
        ("x-amz-content-sha256", &sha256),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        ("content-length", "66824"),
    ];
    if trailer {
        fields.push(("x-amz-trailer", "x-amz-checksum-crc32c"));
    }
    let put = request(Method::Put, "/examplebucket/chunkObject.txt", &fields);
    let got = authenticate(&put, &OneKey, &AuthConfig::default(), now()).unwrap();
    (put, got.payload)
}

fn example_body(signatures: [&str; 3], end: &str) -> Vec<u8> {
    let mut body = format!("10000;chunk-signature={}\r\n", signatures[0]).into_bytes();
    body.extend_from_slice(&[b'a'; 65_536]);
    body.extend_from_slice(format!("\r\n400;chunk-signature={}\r\n", signatures[1]).as_bytes());
    body.extend_from_slice(&[b'a'; 1024]);
    body.extend_from_slice(format!("\r\n0;chunk-signature={}\r\n", signatures[2]).as_bytes());
    body.extend_from_slice(end.as_bytes());
    body
}

#[test]
fn aws_example_of_signed_chunks() {
    let body = example_body(
        [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
        "\r\n",
    );
    assert_eq!(body.len(), 66_824);
    for steps in STEPS {
        let (_, kind) = example_head(false);
        let got = receive(&lengths("66560"), kind, &body, whole(&body), steps).unwrap();
        assert!(got.0 == [b'a'; 66_560] && got.1.is_empty());
    }
    // With a wrong seed the first chunk fails already.
    let kind = signing(&"0".repeat(64), false);
    let got = receive(&lengths("66560"), kind, &body, whole(&body), STEPS[0]);
    assert!(matches!(got, Err(PayloadError::ChunkSignature)));
}

#[test]
fn aws_example_of_a_signed_trailer() {
    let signatures = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ];
    let signature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
    let head =
        [("x-amz-decoded-content-length", "66560"), ("x-amz-trailer", "x-amz-checksum-crc32c")];
    // With the plain line end and with that of AWS's example and minio-go.
    for line_end in ["\r\n", "\n\r\n"] {
        let end = format!(
            "x-amz-checksum-crc32c:sOO8/Q=={line_end}x-amz-trailer-signature:{signature}\r\n\r\n"
        );
        let body = example_body(signatures, &end);
        for steps in STEPS {
            let (_, kind) = example_head(true);
            let (data, trailers) = receive(&head, kind, &body, None, steps).unwrap();
            assert!(data == [b'a'; 66_560]);
            assert_eq!(trailers.get("x-amz-checksum-crc32c").unwrap(), "sOO8/Q==");
        }
        let forged = example_body(signatures, &end.replace("sOO8", "sOO9"));
        let got = receive(&head, example_head(true).1, &forged, None, STEPS[0]);
        assert!(matches!(got, Err(PayloadError::ChunkSignature)));
    }
}

#[test]
fn plain_bodies_have_the_length_and_hash_that_were_announced() {
    let hash = |bytes: &[u8]| PayloadKind::Sha256(Sha256::digest(bytes).into());
    for steps in STEPS {
        for length in [Some(5), None] {
            let got = receive(&[], hash(b"hello"), b"hello", length, steps).unwrap();
            assert_eq!(got.0, b"hello");
            let got = receive(&[], PayloadKind::Unsigned, b"hello", length, steps).unwrap();
            assert_eq!(got.0, b"hello");
            let got = receive(&[], hash(b"hello"), b"hellO", length, steps);
            assert!(matches!(got, Err(PayloadError::Sha256Mismatch)));
        }
        for kind in [hash(b"hell"), PayloadKind::Unsigned] {
            let got = receive(&[], kind, b"hell", Some(5), steps);
            assert!(matches!(got, Err(PayloadError::Malformed(_))));
        }
    }
    assert!(receive(&[], hash(b""), b"", Some(0), STEPS[0]).is_ok());
    let got = receive(&[], hash(b"x"), b"", Some(0), STEPS[0]);
    assert!(matches!(got, Err(PayloadError::Sha256Mismatch)));
}

#[test]
fn finish_wants_everything_taken_and_reads_the_end_itself() {
    let finish = |kind, bytes: &[u8], length, take: usize| {
        let mut pieces = Pieces { bytes, step: usize::MAX, reads: 0 };
        let mut body = Body::new(length, &mut pieces);
        let request = request(Method::Put, "/b/k", &lengths("5"));
        let mut reader = payload(&request, &mut body, kind).unwrap();
        let mut buf = vec![0; take];
        let mut taken = 0;
        while taken < take {
            taken += reader.read(&mut buf[taken..]).unwrap();
        }
        reader.finish()
    };
    let seed = "0".repeat(64);
    let chunked = b"5\r\nhello\r\n0\r\n\r\n";
    let signed = signed_body(&seed, &[b"hello"], plain_end);
    for (take, good) in [(5, true), (4, false), (0, false)] {
        for length in [Some(5), None] {
            let got = finish(PayloadKind::Unsigned, b"hello", length, take);
            assert_eq!(got.is_ok(), good, "{take}");
        }
        assert_eq!(finish(PayloadKind::UnsignedChunks, chunked, None, take).is_ok(), good);
        assert_eq!(finish(signing(&seed, false), &signed, None, take).is_ok(), good);
    }
    // The end is checked even by a caller who has all bytes already.
    let cut = &signed[..signed.len() - 2];
    assert!(finish(signing(&seed, false), cut, None, 5).is_err());
    let mut forged = signed.clone();
    let at = forged.len() - 10;
    forged[at] ^= 1;
    assert!(finish(signing(&seed, false), &forged, None, 5).is_err());
}

#[test]
fn small_bodies_take_two_reads() {
    let bytes = b"5\r\nhello\r\n0\r\n\r\n";
    let mut pieces = Pieces { bytes, step: usize::MAX, reads: 0 };
    let mut body = Body::new(whole(bytes), &mut pieces);
    let request = request(Method::Put, "/b/k", &lengths("5"));
    let mut reader = payload(&request, &mut body, PayloadKind::UnsignedChunks).unwrap();
    assert_eq!(reader.length(), Some(5));
    let mut buf = [0; 100];
    assert_eq!(reader.read(&mut buf).unwrap(), 5);
    reader.finish().unwrap();
    assert_eq!(pieces.reads, 2);
}

#[test]
fn unsigned_chunks_with_trailers() {
    let head = [
        ("x-amz-decoded-content-length", "8"),
        ("x-amz-trailer", "x-amz-checksum-crc32, X-Amz-Checksum-SHA1"),
    ];
    for (size, end) in [
        ("5", "x-amz-checksum-crc32:A==\r\nX-Amz-Checksum-sha1: B=\r\n\r\n"),
        ("5", "x-amz-checksum-sha1:B=\n\r\nx-amz-checksum-crc32:A==\n\r\n\r\n"),
        ("00005", "x-amz-checksum-crc32:A==\r\nx-amz-checksum-sha1:B=\r\n\r\n"),
    ] {
        let body = format!("{size}\r\nhello\r\n3\r\nabc\r\n0\r\n{end}");
        for steps in STEPS {
            let kind = PayloadKind::UnsignedChunks;
            let (data, trailers) = receive(&head, kind, body.as_bytes(), None, steps).unwrap();
            assert_eq!(data, b"helloabc");
            assert_eq!(trailers["x-amz-checksum-crc32"], "A==");
            assert_eq!(trailers["x-amz-checksum-sha1"], "B=");
        }
    }
}

/// What is wrong with the trailers behind `0\r\n`, announced as `x-amz-checksum-crc32`.
#[test]
fn wrong_trailers_are_refused() {
    let head = [("x-amz-decoded-content-length", "1"), ("x-amz-trailer", "x-amz-checksum-crc32")];
    let long = format!("x-amz-checksum-crc32:{}\r\n\r\n", "a".repeat(2000));
    for end in [
        "\r\n",
        "x-amz-checksum-sha1:A==\r\n\r\n",
        "x-amz-checksum-crc32:A==\r\nx-amz-checksum-crc32:A==\r\n\r\n",
        "x-amz-checksum-crc32:A==\r\nx-amz-checksum-sha1:A==\r\n\r\n",
        "x-amz-checksum-crc32\r\n\r\n",
        "x-amz-checksum-crc32:A==\nx-amz-checksum-sha1:A==\r\n\r\n",
        "x-amz-checksum-crc32:A==\n\r\n",
        "x-amz-checksum-crc32:A==\r\n",
        "x-amz-checksum-crc32:A==\r\n\n",
        "x-amz-checksum-crc32:A==",
        "x-amz-checksum-crc32:A==\r\n\r\n\r\n",
        "x-amz-checksum-crc32:A==\r\n\r\nx",
        "x-amz-checksum-crc32:A==\r\nx-amz-trailer-signature:00\r\n\r\n",
        &long,
    ] {
        let body = format!("1\r\na\r\n0\r\n{end}");
        for steps in STEPS {
            let kind = PayloadKind::UnsignedChunks;
            let got = receive(&head, kind, body.as_bytes(), None, steps);
            let refused = matches!(got, Err(PayloadError::Trailer(_) | PayloadError::Malformed(_)));
            assert!(refused, "{end:?}: {got:?}");
        }
    }
}

#[test]
fn signed_trailers_need_their_signature_last() {
    let seed = "1".repeat(64);
    let line = "x-amz-checksum-crc32:A==\n";
    let head = [("x-amz-decoded-content-length", "5"), ("x-amz-trailer", "x-amz-checksum-crc32")];
    let got = |end: &dyn Fn(&str) -> String| {
        let body = signed_body(&seed, &[b"hello"], |sign| end(&sign(line)));
        receive(&head, signing(&seed, true), &body, None, STEPS[0])
    };
    let good = |s: &str| format!("x-amz-checksum-crc32:A==\r\nx-amz-trailer-signature:{s}\r\n\r\n");
    assert!(got(&good).is_ok());
    assert!(got(&|_| "x-amz-checksum-crc32:A==\r\n\r\n".to_owned()).is_err());
    assert!(got(&|_| good(&"0".repeat(64))).is_err());
    assert!(got(&|_| good("")).is_err());
    assert!(got(&|s| format!("x-amz-trailer-signature:{s}\r\n\r\n")).is_err());
    assert!(
        got(&|s| format!("x-amz-trailer-signature:{s}\r\nx-amz-checksum-crc32:A==\r\n\r\n"))
            .is_err()
    );
    let twice = |s: &str| good(s).replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
    assert!(got(&twice).is_err());
}

#[test]
fn malformed_chunks_are_refused() {
    for body in [
        "",
        "5",
        "5\r\n",
        "5\r\nhell",
        "5\r\nhello",
        "5\r\nhello\r",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n0\r\n\r",
        "5\r\nhello\r\n0\r\n\r\n ",
        "5\r\nhello\r\n0\r\n\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;chunk-signature=0\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "4\r\nhell\r\n0\r\n\r\n",
        "6\r\nhello!\r\n0\r\n\r\n",
        "4\r\nhell\r\n2\r\no!\r\n0\r\n\r\n",
        "0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\u{e9}\r\nhello\r\n0\r\n\r\n",
    ] {
        for steps in STEPS {
            for length in [None, whole(body.as_bytes())] {
                let kind = PayloadKind::UnsignedChunks;
                let got = receive(&lengths("5"), kind, body.as_bytes(), length, steps);
                assert!(matches!(got, Err(PayloadError::Malformed(_))), "{body:?}: {got:?}");
            }
        }
    }
    let endless = [b'5'; 100_000];
    let got =
        receive(&lengths("5"), PayloadKind::UnsignedChunks, &endless, None, (usize::MAX, 100));
    assert!(matches!(got, Err(PayloadError::Malformed(_))));
}

#[test]
fn signed_chunks_need_signatures() {
    let seed = "2".repeat(64);
    let good = signed_body(&seed, &[b"hello"], plain_end);
    let text = String::from_utf8(good).unwrap();
    let got =
        |text: &str| receive(&lengths("5"), signing(&seed, false), text.as_bytes(), None, STEPS[0]);
    assert_eq!(got(&text).unwrap().0, b"hello");
    let malformed = [
        text.replace(";chunk-signature", ";signature"),
        text.replace(";chunk-signature=", ";chunk-signature=0"),
        text.replace(";chunk-signature=", ";x=1;chunk-signature="),
        text.replace("5;chunk-signature=", "5"),
        format!("5\r\nhello\r\n{}", &text[text.find("\r\n0").unwrap() + 2..]),
    ];
    for text in malformed {
        assert!(matches!(got(&text), Err(PayloadError::Malformed(_))), "{text}");
    }
    assert!(matches!(got(&text.replace("hello", "hellO")), Err(PayloadError::ChunkSignature)));
    // Chunks cannot change places, be left out or come twice.
    let chunks: [&[u8]; 2] = [b"aaaaa", b"bbbbb"];
    let swapped = signed_body(&seed, &chunks, plain_end);
    let text = String::from_utf8(swapped).unwrap();
    let parts: Vec<&str> = text.split_inclusive("\r\n").collect();
    let order = |order: &[usize]| order.iter().map(|i| parts[*i]).collect::<String>();
    let got = |decoded: &str, text: &str| {
        receive(&lengths(decoded), signing(&seed, false), text.as_bytes(), None, STEPS[0])
    };
    assert!(got("10", &order(&[0, 1, 2, 3, 4, 5])).is_ok());
    for (decoded, text) in [
        ("10", order(&[2, 3, 0, 1, 4, 5])),
        ("5", order(&[0, 1, 4, 5])),
        ("5", order(&[2, 3, 4, 5])),
        ("15", order(&[0, 1, 0, 1, 2, 3, 4, 5])),
    ] {
        assert!(matches!(got(decoded, &text), Err(PayloadError::ChunkSignature)));
    }
}

#[test]
fn every_flipped_byte_of_a_signed_body_is_noticed() {
    let seed = "3".repeat(64);
    let line = "x-amz-checksum-crc32:A==\n";
    let with_trailer = |sign: &dyn Fn(&str) -> String| {
        format!("x-amz-checksum-crc32:A==\r\nx-amz-trailer-signature:{}\r\n\r\n", sign(line))
    };
    let head = [("x-amz-decoded-content-length", "8"), ("x-amz-trailer", "x-amz-checksum-crc32")];
    let good = signed_body(&seed, &[b"hello", b"abc"], with_trailer);
    let receive = |body: &[u8], steps| receive(&head, signing(&seed, true), body, None, steps);
    let want = receive(&good, STEPS[0]).unwrap();
    for index in 0..good.len() {
        for bit in 0..8 {
            let mut body = good.clone();
            body[index] ^= 1 << bit;
            let steps = STEPS[(index + bit) % STEPS.len()];
            // Another case of a hex digit or of a trailer's name is the same message.
            if let Ok(got) = receive(&body, steps) {
                assert!(body.eq_ignore_ascii_case(&good), "byte {index}, bit {bit}");
                assert!(got == want, "byte {index}, bit {bit}");
            }
        }
        assert!(receive(&good[..index], STEPS[index % STEPS.len()]).is_err(), "cut at {index}");
        let mut longer = good.clone();
        longer.insert(index, good[index]);
        // A size may have another leading zero.
        let got = receive(&longer, STEPS[0]);
        assert!(got.is_err() || (good[index] == b'0' && got.unwrap() == want), "doubled {index}");
    }
}

#[test]
fn every_flipped_byte_of_an_unsigned_body_changes_data_only() {
    let head = [("x-amz-decoded-content-length", "8"), ("x-amz-trailer", "x-amz-checksum-crc32")];
    let good = b"5\r\nhello\r\n3\r\nabc\r\n0\r\nx-amz-checksum-crc32:A==\r\n\r\n";
    let value = good.len() - 7..good.len() - 4;
    for index in 0..good.len() {
        for bit in 0..8 {
            let mut body = good.to_vec();
            body[index] ^= 1 << bit;
            let steps = STEPS[(index + bit) % STEPS.len()];
            let got = receive(&head, PayloadKind::UnsignedChunks, &body, None, steps);
            let Ok((data, trailers)) = got else { continue };
            let is_data = (3..8).contains(&index) || (13..16).contains(&index);
            let is_case = body.eq_ignore_ascii_case(good);
            assert!(is_data || value.contains(&index) || is_case, "byte {index}, bit {bit}");
            assert_eq!(data.len(), 8);
            assert!(trailers.contains_key("x-amz-checksum-crc32"));
        }
    }
}

#[test]
fn heads_that_do_not_fit_are_refused() {
    let get = |kind, head: &[(&str, &str)]| {
        let mut nothing = io::empty();
        let mut body = Body::new(Some(0), &mut nothing);
        payload(&request(Method::Put, "/b/k", head), &mut body, kind).map(drop)
    };
    let length = ("x-amz-decoded-content-length", "5");
    let trailer = ("x-amz-trailer", "x-amz-checksum-crc32");
    let seed = "0".repeat(64);
    assert!(get(PayloadKind::UnsignedChunks, &[length]).is_ok());
    assert!(get(PayloadKind::UnsignedChunks, &[length, trailer]).is_ok());
    assert!(get(signing(&seed, true), &[length, trailer]).is_ok());
    let missing = get(PayloadKind::UnsignedChunks, &[]);
    assert!(matches!(missing, Err(AuthError::InvalidRequest(_))));
    for text in ["", "-1", "+1", "1.5", "0x5", "5 ", "99999999999999999999"] {
        let got = get(PayloadKind::UnsignedChunks, &[("x-amz-decoded-content-length", text)]);
        assert!(matches!(got, Err(AuthError::InvalidArgument(_))), "{text}");
    }
    for kind in [PayloadKind::Unsigned, PayloadKind::Sha256([0; 32]), signing(&seed, false)] {
        let got = get(kind, &[length, trailer]);
        assert!(matches!(got, Err(AuthError::InvalidRequest(_))));
    }
    let got = get(signing(&seed, true), &[length, ("x-amz-trailer", "x-amz-trailer-signature")]);
    assert!(matches!(got, Err(AuthError::InvalidRequest(_))));
}

#[test]
fn an_empty_object_may_come_without_any_chunk() {
    let seed = "0".repeat(64);
    let got = receive(&lengths("0"), signing(&seed, false), b"", Some(0), STEPS[0]);
    assert_eq!(got.unwrap().0, b"");
    // But not where something is missing then.
    let head = [("x-amz-decoded-content-length", "0"), ("x-amz-trailer", "x-amz-checksum-crc32")];
    assert!(receive(&head, PayloadKind::UnsignedChunks, b"", Some(0), STEPS[0]).is_err());
    assert!(receive(&lengths("0"), signing(&seed, true), b"", Some(0), STEPS[0]).is_err());
    assert!(receive(&lengths("1"), signing(&seed, false), b"", Some(0), STEPS[0]).is_err());
    assert!(receive(&lengths("0"), signing(&seed, false), b"", None, STEPS[0]).is_err());
    // And with its last chunk as the rest of the world sends it.
    let body = signed_body(&seed, &[], plain_end);
    assert!(receive(&lengths("0"), signing(&seed, false), &body, None, STEPS[0]).is_ok());
}

#[test]
fn failures_of_the_connection_are_told_apart() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
    for kind in [PayloadKind::Unsigned, PayloadKind::UnsignedChunks] {
        let (mut broken, mut buf) = (Broken, [0; 10]);
        let mut body = Body::new(Some(5), &mut broken);
        let request = request(Method::Put, "/b/k", &lengths("5"));
        let mut reader = payload(&request, &mut body, kind).unwrap();
        assert!(matches!(reader.read(&mut buf), Err(PayloadError::Io(_))));
        assert!(reader.finish().is_err());
    }
}
