//! Entity tags and the lists of them that preconditions carry.

use std::fmt;

/// An object's entity tag without its quotes: the MD5 of its bytes in hex, or for a multipart
/// object the MD5 of its parts' MD5s, a dash and the number of parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ETag(String);

impl ETag {
    /// The tag of bytes with this MD5.
    pub fn from_md5(md5: &[u8; 16]) -> Self {
        Self(hex::encode(md5))
    }

    /// The tag of a multipart object.
    pub fn from_parts(md5_of_md5s: &[u8; 16], parts: usize) -> Self {
        Self(format!("{}-{parts}", hex::encode(md5_of_md5s)))
    }

    /// A tag as the store keeps it or a client sends it, with or without quotes.
    pub fn from_text(text: &str) -> Self {
        let text = text.trim();
        let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
        Self(bare.to_owned())
    }

    /// The tag without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The MD5 of the object's bytes, unless it is a multipart object.
    pub fn md5(&self) -> Option<[u8; 16]> {
        let mut md5 = [0; 16];
        hex::decode_to_slice(&self.0, &mut md5).ok().map(|()| md5)
    }

    /// The tag in quotes, as headers and documents carry it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of If-Match or If-None-Match (RFC 9110, 13.1.1 and 13.1.2). Clients of S3 also send
/// tags without quotes, so those are taken as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ETagList {
    /// `*`
    Any,
    /// One or more tags.
    Tags(Vec<ETag>),
}

impl ETagList {
    /// Parses a header value; never fails, since an unknown tag just matches nothing.
    pub fn parse(value: &str) -> Self {
        let value = value.trim();
        if value == "*" {
            return Self::Any;
        }
        let tags = value.split(',').map(|tag| {
            let tag = tag.trim();
            ETag::from_text(tag.strip_prefix("W/").unwrap_or(tag))
        });
        Self::Tags(tags.collect())
    }

    /// Whether the list names this tag.
    pub fn matches(&self, etag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.contains(etag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ETag, ETagList};

    #[test]
    fn lists_match_with_and_without_quotes() {
        let tag = ETag::from_text("\"abc\"");
        assert!(ETagList::parse("*").matches(&tag));
        assert!(ETagList::parse("abc").matches(&tag));
        assert!(ETagList::parse("\"x\", W/\"abc\"").matches(&tag));
        assert!(!ETagList::parse("\"x\", \"ab\"").matches(&tag));
    }

    #[test]
    fn md5_only_of_plain_tags() {
        assert_eq!(ETag::from_md5(&[7; 16]).md5(), Some([7; 16]));
        assert_eq!(ETag::from_parts(&[7; 16], 2).md5(), None);
    }
}
