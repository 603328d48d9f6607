//! ListObjects in both versions, and what all listings of keys have in common.
//!
//! A page has up to a thousand entries, so what is done for each of them allocates nothing.

use super::{Call, S3Error, document, uri};
use crate::access::{Gate, Owner};
use crate::http::Response;
use crate::limits::MAX_LIST_KEYS;
use crate::store::{Bucket, Entry, ListQuery, Page, Summary, common_prefix};
use crate::types::time;
use crate::xml::Writer;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::sync::Arc;

/// About the size of an entry of an answer besides its key, in bytes.
const ENTRY_BYTES: usize = 420;

// ---- parameters --------------------------------------------------------------------------

/// How the names in an answer are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// As they are.
    Plain,
    /// Percent-encoded, so that any key fits into XML.
    Url,
}

impl Names {
    /// By the parameter `encoding-type`.
    pub fn asked(call: &Call<'_, '_>) -> Result<Self, S3Error> {
        match call.param("encoding-type") {
            None | Some("") => Ok(Self::Plain),
            Some(kind) if kind.eq_ignore_ascii_case("url") => Ok(Self::Url),
            Some(kind) => Err(S3Error::argument(
                "encoding-type",
                kind,
                "Invalid Encoding Method specified in Request",
            )),
        }
    }

    /// An element with a key, or a piece of one.
    pub fn write(self, xml: &mut Writer, element: &str, name: &str) {
        match self {
            Self::Plain => xml.text(element, name),
            Self::Url => xml.with(element, |out| uri::push_encoded(out, name, true)),
        }
    }

    /// How to write the Prefix of ListObjects: botocore decodes every name in that answer but this
    /// one. So it is encoded only where decoding would change it, or XML cannot carry it.
    fn of_prefix(self, prefix: &str) -> Self {
        let special = |c| {
            matches!(c, '%' | '+' | '\u{FFFE}' | '\u{FFFF}')
                || (c < ' ' && !matches!(c, '\t' | '\n' | '\r'))
        };
        if prefix.contains(special) { self } else { Self::Plain }
    }

    /// The element EncodingType.
    pub fn write_type(self, xml: &mut Writer) {
        if self == Self::Url {
            xml.text("EncodingType", "url");
        }
    }
}

/// How many entries a page may have, by the parameter `name`: what is asked for, at most
/// [`MAX_LIST_KEYS`].
pub fn page_size(call: &Call<'_, '_>, name: &'static str) -> Result<usize, S3Error> {
    let text = call.param(name).unwrap_or_default();
    parse_page_size(text).ok_or_else(|| {
        let message = format!("Argument {name} must be an integer between 0 and {}", i32::MAX);
        S3Error::argument(name, text, message)
    })
}

fn parse_page_size(text: &str) -> Option<usize> {
    if text.is_empty() {
        return Some(MAX_LIST_KEYS);
    }
    let asked = text.parse::<i32>().ok()?;
    usize::try_from(asked).ok().map(|n| n.min(MAX_LIST_KEYS))
}

/// A parameter that an empty value leaves out.
pub fn nonempty<'a>(call: &'a Call<'_, '_>, name: &str) -> Option<&'a str> {
    call.param(name).filter(|value| !value.is_empty())
}

/// Where a listing goes on after a marker. Below a common prefix a marker stands for all of it, as
/// on AWS: the prefix sorts before the marker and is not shown again.
pub fn after_marker<'a>(marker: &'a str, prefix: &str, delimiter: Option<&str>) -> &'a str {
    common_prefix(marker, prefix, delimiter).unwrap_or(marker)
}

/// What both versions of ListObjects are asked.
struct Asked<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    max: usize,
    names: Names,
}

impl<'a> Asked<'a> {
    fn parse(call: &'a Call<'_, '_>) -> Result<Self, S3Error> {
        Ok(Self {
            prefix: call.param("prefix").unwrap_or_default(),
            delimiter: nonempty(call, "delimiter"),
            max: page_size(call, "max-keys")?,
            names: Names::asked(call)?,
        })
    }

    fn page(
        &self,
        call: &Call<'_, '_>,
        bucket: &Bucket,
        after: Option<&str>,
    ) -> Result<Arc<Page<Summary>>, S3Error> {
        let query = ListQuery {
            bucket: bucket.id,
            prefix: self.prefix.to_owned(),
            delimiter: self.delimiter.map(str::to_owned),
            after: after.map(str::to_owned),
            max: self.max,
        };
        Ok(call.app.store.list(&query)?)
    }
}

// ---- answers -----------------------------------------------------------------------------

/// Users in answers; neighbours mostly have the same owner.
pub struct Users<'a> {
    find: Box<dyn Fn(&str) -> Owner + 'a>,
    last: Option<Owner>,
}

impl<'a> Users<'a> {
    /// Those that the gate knows.
    pub fn of(gate: &'a Gate<'_>) -> Self {
        Self { find: Box::new(|id| gate.owner(id)), last: None }
    }

    /// An element with the ID and the display name of a user.
    pub fn write(&mut self, xml: &mut Writer, element: &str, id: &str) {
        let known = self.last.take().filter(|user| user.id == id);
        let user = self.last.insert(known.unwrap_or_else(|| (self.find)(id)));
        xml.open(element);
        xml.text("ID", &user.id);
        xml.text("DisplayName", &user.display_name);
        xml.close(element);
    }
}

/// The common prefixes of a page.
pub fn write_prefixes<T>(xml: &mut Writer, page: &Page<T>, names: Names) {
    for entry in &page.entries {
        if let Entry::Prefix(prefix) = entry {
            xml.open("CommonPrefixes");
            names.write(xml, "Prefix", prefix);
            xml.close("CommonPrefixes");
        }
    }
}

/// Starts an answer with the elements that both versions begin with.
fn start(asked: &Asked<'_>, bucket: &Bucket, page: &Page<Summary>, names: Names) -> Writer {
    let mut xml = Writer::with_capacity(1024 + page.entries.len() * ENTRY_BYTES);
    xml.root("ListBucketResult");
    xml.text("Name", bucket.name.as_str());
    names.write(&mut xml, "Prefix", asked.prefix);
    xml
}

/// Ends an answer with the elements that both versions end with.
fn end(
    mut xml: Writer,
    asked: &Asked<'_>,
    page: &Page<Summary>,
    users: Option<Users<'_>>,
) -> Response {
    xml.value("MaxKeys", asked.max);
    if let Some(delimiter) = asked.delimiter {
        asked.names.write(&mut xml, "Delimiter", delimiter);
    }
    asked.names.write_type(&mut xml);
    xml.value("IsTruncated", page.truncated);
    let mut users = users;
    for entry in &page.entries {
        if let Entry::Item(object) = entry {
            write_object(&mut xml, object, asked.names, users.as_mut());
        }
    }
    write_prefixes(&mut xml, page, asked.names);
    xml.close("ListBucketResult");
    document(200, xml)
}

fn write_object(xml: &mut Writer, object: &Summary, names: Names, users: Option<&mut Users<'_>>) {
    xml.open("Contents");
    names.write(xml, "Key", object.key.as_str());
    xml.with("LastModified", |out| time::push_iso(out, object.modified_ms));
    xml.etag("ETag", object.etag.as_str());
    if let Some((algorithm, kind)) = object.checksum {
        xml.text("ChecksumAlgorithm", algorithm.name());
        xml.text("ChecksumType", kind.name());
    }
    xml.value("Size", object.size);
    if let Some(users) = users {
        users.write(xml, "Owner", &object.owner);
    }
    xml.text("StorageClass", "STANDARD");
    xml.close("Contents");
}

/// The name that the next page goes on after.
fn last(page: &Page<Summary>) -> Option<&Entry<Summary>> {
    page.entries.last().filter(|_| page.truncated)
}

/// ListObjects
pub fn v1(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let asked = Asked::parse(call)?;
    let marker = call.param("marker").unwrap_or_default();
    let bucket = call.bucket()?;
    let after = after_marker(marker, asked.prefix, asked.delimiter);
    let page = asked.page(call, &bucket, Some(after))?;
    let mut xml = start(&asked, &bucket, &page, asked.names.of_prefix(asked.prefix));
    asked.names.write(&mut xml, "Marker", marker);
    // Without a delimiter the last key is the marker, and clients know that.
    if let (Some(last), Some(_)) = (last(&page), asked.delimiter) {
        asked.names.write(&mut xml, "NextMarker", name(last));
    }
    Ok(end(xml, &asked, &page, Some(Users::of(&call.app.gate))))
}

/// ListObjectsV2
pub fn v2(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let asked = Asked::parse(call)?;
    let token = call.param("continuation-token");
    let continued = match token.filter(|t| !t.is_empty()) {
        None => None,
        Some(token) => Some(decode_token(token).ok_or_else(|| {
            let message = "The continuation token provided is incorrect";
            S3Error::argument("continuation-token", token, message)
        })?),
    };
    let start_after = nonempty(call, "start-after");
    let with_owner = call.param("fetch-owner").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let bucket = call.bucket()?;
    let page = asked.page(call, &bucket, continued.as_deref().or(start_after))?;
    let mut xml = start(&asked, &bucket, &page, asked.names);
    if let Some(start_after) = start_after {
        asked.names.write(&mut xml, "StartAfter", start_after);
    }
    if let Some(token) = token {
        xml.text("ContinuationToken", token);
    }
    if let Some(last) = last(&page) {
        xml.text("NextContinuationToken", &encode_token(last));
    }
    xml.value("KeyCount", page.entries.len());
    Ok(end(xml, &asked, &page, with_owner.then(|| Users::of(&call.app.gate))))
}

// ---- tokens ------------------------------------------------------------------------------

/// The key or the common prefix of an entry.
fn name(entry: &Entry<Summary>) -> &str {
    match entry {
        Entry::Item(object) => object.key.as_str(),
        Entry::Prefix(prefix) => prefix,
    }
}

/// A token that continues after an entry: in base64 a letter for its kind, then its name. Clients
/// must not look inside; the letter leaves room for other kinds.
fn encode_token(entry: &Entry<Summary>) -> String {
    let kind = match entry {
        Entry::Item(_) => 'k',
        Entry::Prefix(_) => 'p',
    };
    BASE64_URL_SAFE_NO_PAD.encode(format!("{kind}{}", name(entry)))
}

/// The name in a token; `None` if it is not one of ours.
fn decode_token(token: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let name = text.strip_prefix(['k', 'p'])?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BucketName, ChecksumAlgorithm, ChecksumType, ETag, ObjectKey};
    use crate::xml::parse;

    fn summary(key: &str) -> Summary {
        Summary {
            key: ObjectKey::parse(key).unwrap(),
            size: 7,
            modified_ms: 1_795_514_734_123,
            etag: ETag::from_text("abc-2"),
            owner: "someone".into(),
            checksum: Some((ChecksumAlgorithm::Crc32, ChecksumType::FullObject)),
        }
    }

    #[test]
    fn page_sizes() {
        assert_eq!(parse_page_size(""), Some(1000));
        assert_eq!(parse_page_size("0"), Some(0));
        assert_eq!(parse_page_size("7"), Some(7));
        assert_eq!(parse_page_size("2147483647"), Some(1000));
        for bad in ["-1", "blah", "2147483648", "1.5", " 1"] {
            assert_eq!(parse_page_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn markers_below_a_common_prefix() {
        let after = |marker, prefix| after_marker(marker, prefix, Some("::"));
        assert_eq!(after("a::b::c", ""), "a::");
        assert_eq!(after("a::b::c", "a::"), "a::b::");
        assert_eq!(after("a::b", "a::"), "a::b");
        assert_eq!(after("b::c", "a"), "b::c");
        assert_eq!(after("", ""), "");
        assert_eq!(after_marker("a::b", "", None), "a::b");
    }

    #[test]
    fn tokens() {
        for entry in [Entry::Item(summary("a/ü\n")), Entry::Prefix("a/".to_owned())] {
            let token = encode_token(&entry);
            assert_eq!(decode_token(&token).as_deref(), Some(name(&entry)));
        }
        for bad in ["?", "", "YQ==", "_w", &BASE64_URL_SAFE_NO_PAD.encode("xname")] {
            assert_eq!(decode_token(bad), None, "{bad}");
        }
    }

    #[test]
    fn prefixes_of_version_1() {
        for (prefix, encoded) in [("a b/\n", false), ("ü", false), ("100%", true), ("\u{1}", true)]
        {
            assert_eq!(Names::Url.of_prefix(prefix) == Names::Url, encoded, "{prefix}");
            assert_eq!(Names::Plain.of_prefix(prefix), Names::Plain);
        }
    }

    fn answer(names: Names) -> crate::xml::Element {
        let asked = Asked { prefix: "", delimiter: Some("/"), max: 3, names };
        let entries = vec![
            Entry::Item(summary("a b\u{1}")),
            Entry::Prefix("b+/".to_owned()),
            Entry::Item(summary("c<&")),
        ];
        let page = Page { entries, truncated: true };
        let bucket = Bucket {
            id: 1,
            name: BucketName::parse("bucket").unwrap(),
            created_ms: 0,
            owner: String::new(),
            region: String::new(),
            versioning: Default::default(),
            lock: false,
            quota: None,
            configs: Default::default(),
            parsed: Default::default(),
        };
        let named = |id: &str| Owner { id: id.to_owned(), display_name: id.to_owned() };
        let users = Users { find: Box::new(named), last: None };
        let response = end(start(&asked, &bucket, &page, names), &asked, &page, Some(users));
        let crate::http::Payload::Bytes(bytes) = response.payload else { panic!("no document") };
        parse(&bytes, "ListBucketResult").expect("it is well formed")
    }

    #[test]
    fn an_answer() {
        let document = answer(Names::Plain);
        assert_eq!(document.child_text("IsTruncated"), Some("true"));
        assert_eq!(document.child_text("MaxKeys"), Some("3"));
        assert_eq!(document.child_text("EncodingType"), None);
        let objects: Vec<_> = document.children("Contents").collect();
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0].child_text("Key"), Some("a b\u{FFFD}"));
        assert_eq!(objects[1].child_text("Key"), Some("c<&"));
        assert_eq!(objects[1].child_text("ETag"), Some("\"abc-2\""));
        assert_eq!(objects[1].child_text("Size"), Some("7"));
        assert_eq!(objects[1].child_text("LastModified"), Some("2026-11-24T10:05:34.123Z"));
        assert_eq!(objects[1].child_text("ChecksumType"), Some("FULL_OBJECT"));
        let owner = objects[1].child("Owner").unwrap();
        assert_eq!(owner.child_text("ID"), Some("someone"));
        let prefixes: Vec<_> = document.children("CommonPrefixes").collect();
        assert_eq!(prefixes.len(), 1);
        assert_eq!(prefixes[0].child_text("Prefix"), Some("b+/"));
    }

    #[test]
    fn an_encoded_answer() {
        let document = answer(Names::Url);
        assert_eq!(document.child_text("EncodingType"), Some("url"));
        assert_eq!(document.child_text("Delimiter"), Some("/"));
        let keys: Vec<_> =
            document.children("Contents").filter_map(|o| o.child_text("Key")).collect();
        assert_eq!(keys, ["a%20b%01", "c%3C%26"]);
        let prefix = document.child("CommonPrefixes").unwrap();
        assert_eq!(prefix.child_text("Prefix"), Some("b%2B/"));
    }
}
