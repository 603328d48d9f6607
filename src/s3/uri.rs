//! Percent-encoding and query strings.

/// Decodes `%xx`; `None` if an escape is malformed or the result is not UTF-8. `plus`: a `+` is a
/// space (queries), else it stands for itself (paths).
pub fn decode(text: &str, plus: bool) -> Option<String> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|&b| b == b'%' || (plus && b == b'+')) {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'%' => {
                let digit = |b: Option<&u8>| b.and_then(|&b| (b as char).to_digit(16));
                let (high, low) = (digit(bytes.get(i + 1))?, digit(bytes.get(i + 2))?);
                out.push((high * 16 + low) as u8);
                i += 3;
            }
            b'+' if plus => {
                out.push(b' ');
                i += 1;
            }
            b => {
                out.push(b);
                i += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// Encodes all but the unreserved characters (RFC 3986, 2.3); `/` too unless `keep_slash`.
pub fn encode(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    push_encoded(&mut out, text, keep_slash);
    out
}

/// Appends what [`encode`] gives.
pub fn push_encoded(out: &mut String, text: &str, keep_slash: bool) {
    for &b in text.as_bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(b as char);
            }
            b'/' if keep_slash => out.push('/'),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(HEX[usize::from(b >> 4)] as char);
                out.push(HEX[usize::from(b & 15)] as char);
            }
        }
    }
}

/// The parameters of a query string, decoded, in their order.
#[derive(Clone, Default, Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// `None` if an escape is malformed.
    pub fn parse(query: &str) -> Option<Self> {
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name, true)?, decode(value, true)?));
        }
        Some(Self(pairs))
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether the parameter is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every parameter.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_encode_made() {
        let text = "a b+c/ü%日\u{1}";
        assert_eq!(decode(&encode(text, false), false).as_deref(), Some(text));
        assert_eq!(encode("a/b c", true), "a/b%20c");
        assert_eq!(decode("a+b", true).as_deref(), Some("a b"));
        for bad in ["%", "%1", "%zz", "%ff"] {
            assert_eq!(decode(bad, false), None, "{bad}");
        }
    }

    #[test]
    fn query_parameters() {
        let query = Query::parse("uploads&prefix=a%2Fb&x=").unwrap();
        assert!(query.has("uploads"));
        assert_eq!(query.get("prefix"), Some("a/b"));
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("y"), None);
    }
}
