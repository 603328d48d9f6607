//! An object's system and user metadata: from request headers to what is stored, and back.

use super::{Code, S3Error, website};
use crate::http::{Headers, Response};
use crate::limits::MAX_METADATA_BYTES;
use crate::store::{Meta, Object};
use crate::types::time;

/// What an object is if its client does not say.
const DEFAULT_TYPE: &str = "binary/octet-stream";
/// Where an object of a website redirects to.
const REDIRECT: &str = "x-amz-website-redirect-location";
/// System metadata that is stored as it came.
const SYSTEM: [&str; 6] = [
    "cache-control",
    "content-disposition",
    "content-language",
    "expires",
    "content-type",
    REDIRECT,
];
/// Headers that ask for what JOG does not have; each is refused rather than ignored. One that ends
/// in `-` stands for all that start with it.
const UNSUPPORTED: [&str; 3] = ["x-amz-write-offset-bytes", "x-amz-mfa", "x-amz-rename-source"];
/// Storage classes that AWS has; JOG has the first.
const CLASSES: [&str; 11] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "SNOW",
    "EXPRESS_ONEZONE",
];

/// Takes the metadata from the headers of PutObject, CopyObject or CreateMultipartUpload.
pub fn from_headers(headers: &Headers) -> Result<Meta, S3Error> {
    collect(headers.iter())
}

/// Takes the metadata from named values, names in lower case.
pub fn collect<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Meta, S3Error> {
    let mut meta: Vec<(String, String)> = Vec::new();
    let mut user_bytes = 0;
    for (name, value) in fields {
        let value = match name {
            "content-encoding" => match without_aws_chunked(value) {
                Some(rest) => rest,
                None => continue,
            },
            REDIRECT => redirect(value)?,
            _ if SYSTEM.contains(&name) => value.to_owned(),
            _ => {
                let Some(user) = name.strip_prefix("x-amz-meta-") else { continue };
                user_bytes += user.len() + value.len();
                value.to_owned()
            }
        };
        match meta.iter_mut().find(|(n, _)| n == name) {
            Some((_, known)) if name.starts_with("x-amz-meta-") => {
                known.push(',');
                known.push_str(&value);
            }
            Some(_) => {}
            None => meta.push((name.to_owned(), value)),
        }
    }
    if user_bytes > MAX_METADATA_BYTES {
        return Err(S3Error::from(Code::MetadataTooLarge)
            .element("Size", user_bytes.to_string())
            .element("MaxSizeAllowed", MAX_METADATA_BYTES.to_string()));
    }
    if !meta.iter().any(|(name, value)| name == "content-type" && !value.is_empty()) {
        meta.retain(|(name, _)| name != "content-type");
        meta.push(("content-type".to_owned(), DEFAULT_TYPE.to_owned()));
    }
    Ok(Meta(meta))
}

/// Whether a field is system metadata that is stored.
pub fn is_system(name: &str) -> bool {
    name == "content-encoding" || SYSTEM.contains(&name)
}

fn redirect(to: &str) -> Result<String, S3Error> {
    let fits = website::is_redirect_location(to);
    if fits { Ok(to.to_owned()) } else { Err(Code::InvalidRedirectLocation.into()) }
}

/// A copy that keeps its source's metadata redirects where its own request says, or nowhere (AWS,
/// CopyObject).
pub fn replace_redirect(meta: &mut Meta, headers: &Headers) -> Result<(), S3Error> {
    meta.0.retain(|(name, _)| name != REDIRECT);
    if let Some(to) = headers.get(REDIRECT) {
        meta.0.push((REDIRECT.to_owned(), redirect(to)?));
    }
    Ok(())
}

/// `aws-chunked` is how a body travels, not what an object is.
fn without_aws_chunked(value: &str) -> Option<String> {
    if !value.to_ascii_lowercase().contains("aws-chunked") {
        return Some(value.to_owned());
    }
    let rest: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!rest.is_empty()).then(|| rest.join(", "))
}

/// Refuses headers that would have to be honoured and are not.
pub fn refuse_unsupported(headers: &Headers) -> Result<(), S3Error> {
    for (name, value) in headers.iter() {
        let asks = |u: &&str| name == *u || (u.ends_with('-') && name.starts_with(*u));
        if UNSUPPORTED.iter().any(asks) {
            return Err(Code::NotImplemented.with(format!("{name} is not implemented.")));
        }
        match name {
            "x-amz-storage-class" if !CLASSES.contains(&value) => {
                return Err(Code::InvalidStorageClass.into());
            }
            "x-amz-storage-class" if value != "STANDARD" => {
                return Err(
                    Code::NotImplemented.with("Only the storage class STANDARD is implemented.")
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// Adds what GET, HEAD and 304 say of an object: ETag, Last-Modified, metadata.
pub fn describe(mut response: Response, object: &Object) -> Response {
    response.headers.reserve(object.meta.0.len() + 6);
    response = response
        .header("last-modified", time::http(object.modified_ms))
        .header("etag", object.etag.quoted())
        .header("accept-ranges", "bytes");
    for (name, value) in &object.meta.0 {
        response.headers.push((name.clone().into(), value.clone()));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        Headers::new(fields.iter().copied())
    }

    #[test]
    fn stores_what_is_metadata_and_nothing_else() {
        let meta = from_headers(&headers(&[
            ("host", "h"),
            ("content-encoding", "aws-chunked, gzip"),
            ("x-amz-meta-a", "1"),
            ("x-amz-meta-a", "ü"),
        ]))
        .unwrap();
        assert_eq!(meta.get("content-encoding"), Some("gzip"));
        assert_eq!(meta.get("x-amz-meta-a"), Some("1,ü"));
        assert_eq!(meta.get("content-type"), Some(DEFAULT_TYPE));
        assert_eq!(meta.get("host"), None);
    }

    #[test]
    fn redirects_lead_somewhere() {
        let location = |to: &str| from_headers(&headers(&[(REDIRECT, to)])).map_err(|e| e.code);
        assert!(location("/a").is_ok() && location("https://a").is_ok());
        assert_eq!(location("a").err(), Some(Code::InvalidRedirectLocation));
        let mut copied = location("/a").unwrap();
        replace_redirect(&mut copied, &headers(&[])).unwrap();
        assert_eq!(copied.get(REDIRECT), None);
        replace_redirect(&mut copied, &headers(&[(REDIRECT, "/b")])).unwrap();
        assert_eq!(copied.get(REDIRECT), Some("/b"));
        assert!(replace_redirect(&mut copied, &headers(&[(REDIRECT, "b")])).is_err());
    }

    #[test]
    fn refuses_what_it_would_not_honour() {
        for (name, value) in [("x-amz-storage-class", "GLACIER"), ("x-amz-mfa", "1")] {
            let error = refuse_unsupported(&headers(&[(name, value)])).unwrap_err();
            assert_eq!(error.code, Code::NotImplemented, "{name}");
        }
    }
}
