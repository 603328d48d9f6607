//! Preconditions: of reads as RFC 9110, 13.2.2 orders them, of writes as AWS documents them.

use super::Call;
use crate::http::Headers;
use crate::store::Object;
use crate::types::{ETagList, Precondition, time};

/// What the preconditions of a read say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// 304
    NotModified,
    /// 412, and which condition failed.
    Failed(&'static str),
}

/// The four conditions on a representation, wherever they stand.
#[derive(Default, Debug)]
pub struct Conditions<'a> {
    /// If-Match
    pub match_: Option<&'a str>,
    /// If-None-Match
    pub none_match: Option<&'a str>,
    /// If-Modified-Since
    pub modified_since: Option<&'a str>,
    /// If-Unmodified-Since
    pub unmodified_since: Option<&'a str>,
}

impl<'a> Conditions<'a> {
    /// Those of GET and HEAD.
    pub fn of_read(headers: &'a Headers) -> Self {
        Self {
            match_: headers.get("if-match"),
            none_match: headers.get("if-none-match"),
            modified_since: headers.get("if-modified-since"),
            unmodified_since: headers.get("if-unmodified-since"),
        }
    }

    /// Those of a rename on its source.
    pub fn of_rename_source(headers: &'a Headers) -> Self {
        Self {
            match_: headers.get("x-amz-rename-source-if-match"),
            none_match: headers.get("x-amz-rename-source-if-none-match"),
            modified_since: headers.get("x-amz-rename-source-if-modified-since"),
            unmodified_since: headers.get("x-amz-rename-source-if-unmodified-since"),
        }
    }

    /// Those of a copy on its source.
    pub fn of_source(headers: &'a Headers) -> Self {
        Self {
            match_: headers.get("x-amz-copy-source-if-match"),
            none_match: headers.get("x-amz-copy-source-if-none-match"),
            modified_since: headers.get("x-amz-copy-source-if-modified-since"),
            unmodified_since: headers.get("x-amz-copy-source-if-unmodified-since"),
        }
    }

    /// Decides in the order of RFC 9110: If-Match, or else If-Unmodified-Since; then
    /// If-None-Match, or else If-Modified-Since. A date that is none is ignored.
    pub fn check(&self, object: &Object) -> Verdict {
        let modified = object.modified_ms.div_euclid(1000);
        if let Some(list) = self.match_ {
            if !ETagList::parse(list).matches(&object.etag) {
                return Verdict::Failed("If-Match");
            }
        } else if let Some(date) = self.unmodified_since.and_then(time::parse_http)
            && modified > date
        {
            return Verdict::Failed("If-Unmodified-Since");
        }
        if let Some(list) = self.none_match {
            if ETagList::parse(list).matches(&object.etag) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = self.modified_since.and_then(time::parse_http) {
            // A date in the future is invalid (RFC 9110, 13.1.3).
            if modified <= date && date <= time::now_ms() / 1000 {
                return Verdict::NotModified;
            }
        }
        Verdict::Proceed
    }
}

/// The time of a condition, in seconds since 1970. Clients write an HTTP date; the form of documents
/// is taken as well.
pub fn seconds(text: &str) -> Option<i64> {
    time::parse_http(text).or_else(|| Some(time::parse_iso(text)?.div_euclid(1000)))
}

/// The precondition of PutObject, CopyObject and CompleteMultipartUpload on their target. AWS takes
/// only `*` for If-None-Match; a list of entity tags is honoured here as RFC 9110 defines it.
pub fn of_write(call: &Call<'_, '_>) -> Precondition {
    let list = |name| call.header(name).map(ETagList::parse);
    Precondition {
        if_match: list("if-match"),
        if_none_match: list("if-none-match"),
        ..Precondition::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Data, Meta};
    use crate::types::{ETag, ObjectKey};

    const BEFORE: &str = "Tue, 24 Nov 2026 10:05:33 GMT";
    const THEN: &str = "Tue, 24 Nov 2026 10:05:34 GMT";

    fn object() -> Object {
        Object {
            key: ObjectKey::parse("k").unwrap(),
            version: 1,
            size: 1,
            modified_ms: time::parse_http(THEN).unwrap() * 1000 + 500,
            etag: ETag::from_text("abc"),
            crc64: 0,
            checksum: None,
            meta: Meta::default(),
            owner: String::new(),
            data: Data::Empty,
            null_version: true,
            extra: Default::default(),
        }
    }

    #[test]
    fn precedence_of_rfc_9110() {
        let check = |match_, unmodified_since, none_match, modified_since| {
            Conditions { match_, none_match, modified_since, unmodified_since }.check(&object())
        };
        let (yes, no) = (Some("\"abc\""), Some("\"x\""));
        assert_eq!(check(yes, Some(BEFORE), None, None), Verdict::Proceed);
        assert_eq!(check(no, Some(THEN), None, None), Verdict::Failed("If-Match"));
        assert_eq!(check(None, Some(BEFORE), None, None), Verdict::Failed("If-Unmodified-Since"));
        assert_eq!(check(None, Some(THEN), None, None), Verdict::Proceed);
        assert_eq!(check(None, None, yes, Some(BEFORE)), Verdict::NotModified);
        assert_eq!(check(None, None, no, Some(THEN)), Verdict::Proceed);
        assert_eq!(check(None, None, None, Some(BEFORE)), Verdict::Proceed);
        assert_eq!(check(yes, None, yes, None), Verdict::NotModified);
        assert_eq!(check(None, None, None, Some("nonsense")), Verdict::Proceed);
    }
}
