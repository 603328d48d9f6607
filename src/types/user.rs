//! Names of users and of their access keys.

use std::fmt;

/// A user's name: 1 to 64 of letters, digits and `+=,.@_-` (AWS, "IAM name requirements"), not
/// `root`. Names are case-sensitive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserName(String);

impl UserName {
    /// `None` for anything that is not a valid name.
    pub fn parse(name: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
        // A name that looks like an option could not be given to a command.
        let valid = (1..=64).contains(&name.len())
            && name.bytes().all(allowed)
            && !name.starts_with('-')
            && !name.eq_ignore_ascii_case("root");
        valid.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ID of an access key: 3 to 128 visible ASCII characters, none of `/ , = :`, which end it
/// where it stands in a signature.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// `None` for anything that is not a valid ID.
    pub fn parse(id: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_graphic() && !b"/,=:".contains(&b);
        let valid =
            (3..=128).contains(&id.len()) && id.bytes().all(allowed) && !id.starts_with('-');
        valid.then(|| Self(id.to_owned()))
    }

    /// The ID.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "x".repeat(64);
        for good in ["a", "Backup.1", "a+b=c,d@e_f-g", long.as_str()] {
            assert_eq!(UserName::parse(good).unwrap().to_string(), good);
        }
        let long = "x".repeat(65);
        for bad in ["", "root", "Root", "a b", "a/b", "-a", "\u{e9}", "a\n", long.as_str()] {
            assert!(UserName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn access_key_ids() {
        let long = "x".repeat(128);
        for good in ["abc", "AKIAIOSFODNN7EXAMPLE", "a.b_c-d", long.as_str()] {
            assert_eq!(AccessKeyId::parse(good).unwrap().to_string(), good);
        }
        let long = "x".repeat(129);
        for bad in ["", "ab", "a/bc", "a,bc", "a=bc", "a:bc", "a bc", "-abc", long.as_str()] {
            assert!(AccessKeyId::parse(bad).is_none(), "{bad}");
        }
    }
}
