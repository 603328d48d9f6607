//! Signature Version 4 from AWS's documents, written without a look at the server's: a mistake
//! that both shared would go unseen.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// The signature's name in headers, queries and forms.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The access key of the servers under test.
pub const ACCESS_KEY: &str = "TESTACCESSKEY";
/// Its secret.
pub const SECRET_KEY: &str = "test/secret+key=0123456789";

/// SHA-256 in hex.
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Percent-encodes all but the unreserved characters.
pub fn encode(text: &str, keep_slash: bool) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                (b as char).to_string()
            }
            b'/' if keep_slash => "/".to_owned(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// Seconds since 1970, now.
pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is after 1970").as_secs() as i64
}

/// `20130524T000000Z`. Counts days year by year: slow, and easily seen to be right.
pub fn amz_date(seconds: i64) -> String {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let mut year = 1970;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let february = 28 + i64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{:02}T{hour:02}{minute:02}{second:02}Z", days + 1)
}

/// Who signs, for where and when.
#[derive(Clone, Debug)]
pub struct Signer {
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
    pub service: String,
    /// Seconds since 1970.
    pub time: i64,
}

impl Default for Signer {
    fn default() -> Self {
        Self {
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            region: "us-east-1".to_owned(),
            service: "s3".to_owned(),
            time: now(),
        }
    }
}

/// What a signature covers.
pub struct Covered<'a> {
    pub method: &'a str,
    /// Percent-encoded.
    pub path: &'a str,
    /// Decoded.
    pub query: &'a [(String, String)],
    /// All of them are signed; names in any case.
    pub headers: &'a [(String, String)],
    pub payload: &'a str,
}

impl Signer {
    pub fn date(&self) -> String {
        amz_date(self.time)
    }

    pub fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.date()[..8], self.region, self.service)
    }

    pub fn credential(&self) -> String {
        format!("{}/{}", self.access_key, self.scope())
    }

    /// The HMAC of a text with the derived key, in hex.
    pub fn sign(&self, text: &str) -> String {
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for step in [&self.date()[..8], &self.region, &self.service, "aws4_request"] {
            key = hmac(&key, step);
        }
        hex::encode(hmac(&key, text))
    }

    /// The names that are signed, and the signature.
    pub fn signature(&self, covered: &Covered<'_>) -> (String, String) {
        let mut headers: Vec<(String, String)> = covered
            .headers
            .iter()
            .map(|(n, v)| (n.to_lowercase(), v.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect();
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        let mut merged: Vec<(String, String)> = Vec::new();
        for (name, value) in headers {
            match merged.last_mut() {
                Some((last, values)) if *last == name => *values = format!("{values},{value}"),
                _ => merged.push((name, value)),
            }
        }
        let names: Vec<&str> = merged.iter().map(|(n, _)| n.as_str()).collect();
        let names = names.join(";");
        let lines: String = merged.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let mut query: Vec<String> = covered
            .query
            .iter()
            .map(|(n, v)| format!("{}={}", encode(n, false), encode(v, false)))
            .collect();
        query.sort();
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{}",
            covered.method,
            covered.path,
            query.join("&"),
            covered.payload
        );
        let text = self.text("", &sha256_hex(canonical));
        (names, self.sign(&text))
    }

    fn text(&self, kind: &str, rest: &str) -> String {
        format!("{ALGORITHM}{kind}\n{}\n{}\n{rest}", self.date(), self.scope())
    }

    /// The value of the Authorization header, and the signature in it.
    pub fn authorization(&self, covered: &Covered<'_>) -> (String, String) {
        let (names, signature) = self.signature(covered);
        let credential = self.credential();
        let value = format!(
            "{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        );
        (value, signature)
    }
}

/// How a body travels as aws-chunked.
#[derive(Clone, Debug)]
pub struct Chunks {
    /// Every chunk and the trailers carry a signature.
    pub signed: bool,
    /// Bytes in a chunk.
    pub size: usize,
    /// Trailers after the last chunk.
    pub trailers: Vec<(String, String)>,
}

impl Chunks {
    /// Signed chunks of so many bytes.
    pub fn signed(size: usize) -> Self {
        Self { signed: true, size, trailers: Vec::new() }
    }

    /// Chunks without signatures.
    pub fn unsigned(size: usize) -> Self {
        Self { signed: false, size, trailers: Vec::new() }
    }

    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of x-amz-content-sha256.
    pub fn payload(&self) -> &'static str {
        match (self.signed, self.trailers.is_empty()) {
            (false, _) => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            (true, true) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            (true, false) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        }
    }

    /// The body as it goes over the wire; `seed` is the signature of the head.
    pub fn encode(&self, body: &[u8], signer: &Signer, seed: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + body.len() / self.size * 90 + 1024);
        let mut last = seed.to_owned();
        let pieces = body.chunks(self.size).chain([&body[..0]]);
        for piece in pieces {
            out.extend_from_slice(format!("{:x}", piece.len()).as_bytes());
            if self.signed {
                let rest = format!("{last}\n{}\n{}", sha256_hex(""), sha256_hex(piece));
                last = signer.sign(&signer.text("-PAYLOAD", &rest));
                out.extend_from_slice(format!(";chunk-signature={last}").as_bytes());
            }
            out.extend_from_slice(b"\r\n");
            if !piece.is_empty() {
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
        }
        let mut lines = String::new();
        for (name, value) in &self.trailers {
            out.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            lines.push_str(&format!("{name}:{value}\n"));
        }
        if self.signed && !self.trailers.is_empty() {
            let rest = format!("{last}\n{}", sha256_hex(lines));
            let signature = signer.sign(&signer.text("-TRAILER", &rest));
            out.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// AWS's published examples ("Authenticating Requests: Using the Authorization Header", and
/// "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
/// Chunks"), so that this signer is known to be right by itself.
mod examples {
    use super::*;

    fn signer() -> Signer {
        Signer {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            time: 1_369_353_600,
            ..Signer::default()
        }
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    #[test]
    fn get_object() {
        let empty = sha256_hex("");
        let (names, signature) = signer().signature(&Covered {
            method: "GET",
            path: "/test.txt",
            query: &[],
            headers: &pairs(&[
                ("Host", "examplebucket.s3.amazonaws.com"),
                ("Range", "bytes=0-9"),
                ("x-amz-content-sha256", &empty),
                ("x-amz-date", "20130524T000000Z"),
            ]),
            payload: &empty,
        });
        assert_eq!(names, "host;range;x-amz-content-sha256;x-amz-date");
        assert_eq!(signature, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    }

    #[test]
    fn chunks() {
        let chunks = Chunks::signed(65_536);
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let body = chunks.encode(&[b'a'; 66_560], &signer(), seed);
        let text = String::from_utf8_lossy(&body);
        for signature in [
            "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ] {
            assert!(text.contains(signature), "{signature}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(amz_date(0), "19700101T000000Z");
        assert_eq!(amz_date(951_782_400), "20000229T000000Z");
        assert_eq!(amz_date(1_795_514_734), "20261124T100534Z");
    }
}
