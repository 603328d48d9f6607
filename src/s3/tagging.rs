//! Tags of objects and buckets: Put, Get and Delete, and x-amz-tagging of uploads and copies.

use super::{Call, Code, S3Error, document, object, uri, versioning};
use crate::http::Response;
use crate::limits::{MAX_BUCKET_TAGS, MAX_OBJECT_TAGS};
use crate::store::{Change, ConfigKind};
use crate::types::{TagError, Tags};
use crate::xml::{self, Element, Writer};

/// Elements of a document of tags; far more than of one with as many tags as there may be.
const MAX_ELEMENTS: usize = 1000;

fn refusal(error: TagError, max: usize) -> S3Error {
    match error {
        TagError::TooMany => Code::InvalidTag.with(format!("There cannot be more than {max} tags")),
        TagError::Key => Code::InvalidTag.with("The TagKey you have provided is invalid"),
        TagError::Value => Code::InvalidTag.with("The TagValue you have provided is invalid"),
        TagError::Twice => Code::InvalidTag.with("Cannot provide multiple Tags with the same key"),
    }
}

/// The tags of a Tagging document; at most `max`.
pub fn parse(document: &[u8], max: usize) -> Result<Tags, S3Error> {
    let malformed = || S3Error::from(Code::MalformedXML);
    let tagging = xml::parse_within(document, "Tagging", MAX_ELEMENTS).map_err(|_| malformed())?;
    let [set] = tagging.children.as_slice() else { return Err(malformed()) };
    if set.name != "TagSet" {
        return Err(malformed());
    }
    parse_set(set, max)
}

/// The tags among the children of an element; at most `max`.
fn parse_set(set: &Element, max: usize) -> Result<Tags, S3Error> {
    let malformed = || S3Error::from(Code::MalformedXML);
    let mut pairs = Vec::new();
    for tag in &set.children {
        let only = tag.children.iter().all(|c| matches!(c.name.as_str(), "Key" | "Value"));
        match (tag.name.as_str(), tag.child_text("Key"), tag.child_text("Value")) {
            ("Tag", Some(key), Some(value)) if only && tag.children.len() == 2 => {
                pairs.push((key.to_owned(), value.to_owned()));
            }
            _ => return Err(malformed()),
        }
    }
    Tags::new(pairs, max).map_err(|error| refusal(error, max))
}

/// The tags of x-amz-tagging: `key=value&key=value`, percent-encoded.
pub fn parse_header(text: &str) -> Result<Tags, S3Error> {
    let bad = || {
        let message = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL \
                       query parameters without tag name duplicates.";
        S3Error::argument("x-amz-tagging", text, message)
    };
    let mut pairs = Vec::new();
    let mut doubtful = false;
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        doubtful |= pair.starts_with('=') || pair.matches('=').count() > 1;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |part| uri::decode(part, true).ok_or_else(bad);
        pairs.push((decode(key)?, decode(value)?));
    }
    Tags::new(pairs, MAX_OBJECT_TAGS).map_err(|error| match error {
        TagError::Twice => bad(),
        // More likely the wrong form than the wrong tag.
        TagError::Key | TagError::Value if doubtful => bad(),
        error => refusal(error, MAX_OBJECT_TAGS),
    })
}

/// The document of tags.
fn write(tags: &Tags) -> Writer {
    let mut xml = Writer::document();
    xml.root("Tagging");
    xml.open("TagSet");
    for (key, value) in tags.pairs() {
        xml.open("Tag");
        xml.text("Key", key);
        xml.text("Value", value);
        xml.close("Tag");
    }
    xml.close("TagSet");
    xml.close("Tagging");
    xml
}

// ---- objects -----------------------------------------------------------------------------

/// GetObjectTagging
pub fn get_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let (bucket, object) = object::find(call).map_err(|error| match error.code {
        // Unlike GetObject, AWS says here that it is a delete marker.
        Code::NoSuchKey if error.is_of_marker() => {
            S3Error { code: Code::MethodNotAllowed, ..error }
        }
        _ => error,
    })?;
    let response = document(200, write(&object.extra.tags));
    Ok(versioning::name(response, versioning::shown(&bucket, object.version_id())))
}

/// PutObjectTagging
pub fn put_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let tags = parse(&call.document()?, MAX_OBJECT_TAGS)?;
    change(call, tags, 200)
}

/// DeleteObjectTagging
pub fn delete_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    change(call, Tags::default(), 204)
}

fn change(call: &Call<'_, '_>, tags: Tags, status: u16) -> Result<Response, S3Error> {
    let id = object::change(call, Change::Tags(tags))?;
    Ok(versioning::name(Response::new(status), id))
}

// ---- buckets -----------------------------------------------------------------------------

/// The configuration of a bucket that is made with these tags; `None` if there are none.
pub fn of_new_bucket(tags: &Element) -> Result<Option<String>, S3Error> {
    let tags = parse_set(tags, MAX_BUCKET_TAGS)?;
    Ok((!tags.is_empty()).then(|| write(&tags).into_text()))
}

/// GetBucketTagging
pub fn get_bucket(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    super::config::get(call, ConfigKind::Tagging, Code::NoSuchTagSet)
}

/// PutBucketTagging
pub fn put_bucket(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let tags = parse(&call.document()?, MAX_BUCKET_TAGS)?;
    super::config::put(call, ConfigKind::Tagging, write(&tags))?;
    Ok(Response::new(204))
}

/// DeleteBucketTagging
pub fn delete_bucket(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    super::config::delete(call, ConfigKind::Tagging)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let tags = parse_header("a=1&b%20c=d%2Fe+f&g").unwrap();
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(tags.pairs(), [pair("a", "1"), pair("b c", "d/e f"), pair("g", "")]);
        assert!(parse_header("").unwrap().is_empty());
        let code = |text: &str| parse_header(text).unwrap_err().code;
        assert_eq!(code("a=1&a=2"), Code::InvalidArgument);
        assert_eq!(code("=1"), Code::InvalidArgument);
        assert_eq!(code("a=1,b=2"), Code::InvalidArgument);
        assert_eq!(code("a=1,b"), Code::InvalidTag);
        assert_eq!(parse_header("a=b==").unwrap().get("a"), Some("b=="));
        assert_eq!(code("a=%zz"), Code::InvalidArgument);
        let many: Vec<String> = (0..=MAX_OBJECT_TAGS).map(|n| format!("{n}=")).collect();
        assert_eq!(code(&many.join("&")), Code::InvalidTag);
    }

    #[test]
    fn documents() {
        let parse = |inside: &str| {
            parse(format!("<Tagging>{inside}</Tagging>").as_bytes(), 2).map_err(|e| e.code)
        };
        let tag = |k: &str| format!("<Tag><Key>{k}</Key><Value>v</Value></Tag>");
        let tags = parse(&format!("<TagSet>{}</TagSet>", tag("a"))).unwrap();
        assert_eq!(tags.get("a"), Some("v"));
        let written = write(&tags).finish();
        assert_eq!(super::parse(&written, 2).unwrap(), tags);
        assert!(parse("<TagSet/>").unwrap().is_empty());
        for bad in ["", "<TagSet><Tag><Key>a</Key></Tag></TagSet>", "<TagSet/><TagSet/>", "<X/>"] {
            assert_eq!(parse(bad), Err(Code::MalformedXML), "{bad}");
        }
        let set = |keys: &[&str]| {
            let tags: String = keys.iter().map(|k| tag(k)).collect();
            format!("<TagSet>{tags}</TagSet>")
        };
        assert_eq!(parse(&set(&["a", "a"])), Err(Code::InvalidTag));
        assert_eq!(parse(&set(&["a", "b", "c"])), Err(Code::InvalidTag));
    }
}
