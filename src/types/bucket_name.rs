//! Bucket names.

use std::fmt;

/// A valid bucket name: 3 to 63 of `a-z 0-9 . -`, starting and ending with a letter or digit, no
/// `..`, `.-` or `-.`, not in the form of an IPv4 address (AWS, "General purpose bucket naming rules"). Names
/// being this narrow, one is safe as a folder name as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BucketName(String);

impl BucketName {
    /// `None` for anything that is not a valid bucket name.
    pub fn parse(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (3..=63).contains(&bytes.len())
            && bytes.iter().all(|&b| alphanumeric(b) || b == b'.' || b == b'-')
            && alphanumeric(bytes[0])
            && alphanumeric(bytes[bytes.len() - 1])
            && !["..", ".-", "-."].iter().any(|pair| name.contains(pair))
            && name.parse::<std::net::Ipv4Addr>().is_err()
            && !name.starts_with("xn--")
            && !name.ends_with("-s3alias")
            && !name.ends_with("--ol-s3");
        valid.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::BucketName;

    #[test]
    fn accepts_and_refuses_as_aws_does() {
        for name in ["abc", "a.b", "my-bucket-1", "1234", &"a".repeat(63)] {
            assert!(BucketName::parse(name).is_some(), "{name}");
        }
        for name in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "a..b",
            "a.-b",
            "a-.b",
            "192.168.5.4",
            "xn--abc",
            "abc-s3alias",
            "a/b",
            "a b",
            "aé1",
            &"a".repeat(64),
        ] {
            assert!(BucketName::parse(name).is_none(), "{name}");
        }
    }
}
