//! Tags of objects and buckets.

use crate::limits::{MAX_TAG_KEY_CHARS, MAX_TAG_VALUE_CHARS};

/// Pairs of key and value in the order of their keys; no key twice.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Tags(Vec<(String, String)>);

/// Why tags were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagError {
    /// More than are allowed.
    TooMany,
    /// A key that is empty or too long, has other characters than AWS allows, or is AWS's own.
    Key,
    /// A value that is too long or has other characters than AWS allows.
    Value,
    /// A key that is there already.
    Twice,
}

/// Letters, digits and spaces of any script, and `+ - = . _ : / @`.
fn allowed(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "+-=._:/@".contains(c))
}

impl Tags {
    /// Checks pairs; at most `max` of them.
    pub fn new(mut pairs: Vec<(String, String)>, max: usize) -> Result<Self, TagError> {
        pairs.sort();
        if pairs.len() > max {
            return Err(TagError::TooMany);
        }
        for (at, (key, value)) in pairs.iter().enumerate() {
            let length = key.chars().count();
            if length == 0 || length > MAX_TAG_KEY_CHARS || !allowed(key) || key.starts_with("aws:")
            {
                return Err(TagError::Key);
            }
            if value.chars().count() > MAX_TAG_VALUE_CHARS || !allowed(value) {
                return Err(TagError::Value);
            }
            if pairs[..at].iter().any(|(known, _)| known == key) {
                return Err(TagError::Twice);
            }
        }
        Ok(Self(pairs))
    }

    /// Those of metadata.db, which were checked when they were written.
    pub fn stored(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tags_may_be() {
        let one = |key: &str, value: &str| Tags::new(vec![(key.to_owned(), value.to_owned())], 1);
        assert_eq!(one("a b/ü", "").unwrap().get("a b/ü"), Some(""));
        assert_eq!(one("", "v"), Err(TagError::Key));
        assert_eq!(one("aws:x", "v"), Err(TagError::Key));
        assert_eq!(one("k<", "v"), Err(TagError::Key));
        assert_eq!(one("k", "v\n"), Err(TagError::Value));
        assert!(one(&"ü".repeat(MAX_TAG_KEY_CHARS), &"v".repeat(MAX_TAG_VALUE_CHARS)).is_ok());
        assert_eq!(one(&"k".repeat(MAX_TAG_KEY_CHARS + 1), ""), Err(TagError::Key));
        assert_eq!(one("k", &"v".repeat(MAX_TAG_VALUE_CHARS + 1)), Err(TagError::Value));
        let pair = |k: &str| (k.to_owned(), "v".to_owned());
        assert_eq!(Tags::new(vec![pair("a"), pair("a")], 2), Err(TagError::Twice));
        assert_eq!(Tags::new(vec![pair("a"), pair("b")], 1), Err(TagError::TooMany));
    }
}
