//! Buckets: ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation.

use super::{Call, Code, S3Error, acl, document, lock, tagging};
use crate::http::{Headers, Response};
use crate::limits::MAX_LIST_BUCKETS;
use crate::store::{self, ConfigKind, Created, NewBucket};
use crate::types::{Versioning, time};
use crate::xml::{self, Writer};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::collections::BTreeMap;

/// The region that buckets without a LocationConstraint are in.
const DEFAULT_REGION: &str = "us-east-1";
/// Longest LocationConstraint, in bytes.
const MAX_REGION_BYTES: usize = 64;

// ---- ListBuckets -------------------------------------------------------------------------

/// What of the buckets is asked for.
struct Asked<'a> {
    prefix: &'a str,
    region: Option<&'a str>,
    after: String,
    max: usize,
}

impl<'a> Asked<'a> {
    fn parse(call: &'a Call<'_, '_>) -> Result<Self, S3Error> {
        let token = call.param("continuation-token").unwrap_or_default();
        let after = decode_token(token).ok_or_else(|| {
            let message = "The continuation token provided is incorrect";
            S3Error::argument("continuation-token", token, message)
        })?;
        let max = match call.param("max-buckets") {
            None => MAX_LIST_BUCKETS,
            Some(text) => {
                text.parse().ok().filter(|n| (1..=MAX_LIST_BUCKETS).contains(n)).ok_or_else(
                    || {
                        let message = "Argument max-buckets must be an integer between 1 and 10000";
                        S3Error::argument("max-buckets", text, message)
                    },
                )?
            }
        };
        let prefix = call.param("prefix").unwrap_or_default();
        Ok(Self { prefix, region: call.param("bucket-region"), after, max })
    }

    /// The buckets that the caller sees, and whether there are more.
    fn page(&self, call: &Call<'_, '_>) -> Result<(Vec<store::Bucket>, bool), S3Error> {
        let mut found: Vec<store::Bucket> = Vec::new();
        let mut after = self.after.clone();
        while found.len() <= self.max {
            let want = self.max + 1 - found.len();
            let page = call.app.store.buckets(self.prefix, &after, want)?;
            let Some(last) = page.last() else { break };
            after = last.name.as_str().to_owned();
            for bucket in page {
                let here = self.region.is_none_or(|asked| asked == region(call, &bucket));
                if here && call.sees(&bucket)? {
                    found.push(bucket);
                }
            }
        }
        let more = found.len() > self.max;
        found.truncate(self.max);
        Ok((found, more))
    }
}

fn encode_token(name: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(name)
}

/// The name that a page ended with; empty for an empty token.
fn decode_token(token: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    String::from_utf8(bytes).ok()
}

/// ListBuckets
pub fn list_buckets(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let owner = call.user();
    let asked = Asked::parse(call)?;
    let (buckets, more) = asked.page(call)?;
    // AWS gives the region only to those who use one of the newer parameters.
    let parameters = ["prefix", "max-buckets", "continuation-token", "bucket-region"];
    let with_region = parameters.iter().any(|p| call.query.has(p));
    let mut xml = Writer::with_capacity(512 + buckets.len() * 160);
    xml.root("ListAllMyBucketsResult");
    xml.open("Owner");
    xml.text("ID", &owner.id);
    xml.text("DisplayName", &owner.display_name);
    xml.close("Owner");
    xml.open("Buckets");
    for bucket in &buckets {
        xml.open("Bucket");
        xml.text("Name", bucket.name.as_str());
        xml.with("CreationDate", |out| time::push_iso(out, bucket.created_ms));
        if with_region {
            xml.text("BucketRegion", region(call, bucket));
        }
        xml.close("Bucket");
    }
    xml.close("Buckets");
    if let (true, Some(last)) = (more, buckets.last()) {
        xml.text("ContinuationToken", &encode_token(last.name.as_str()));
    }
    if let Some(prefix) = call.param("prefix") {
        xml.text("Prefix", prefix);
    }
    xml.close("ListAllMyBucketsResult");
    Ok(document(200, xml))
}

// ---- CreateBucket ------------------------------------------------------------------------

/// CreateBucket. Who has the bucket already may create it again if it is in us-east-1, as at AWS;
/// clients rely on it to make sure that there is one.
pub fn create(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    refuse_unsupported(call.headers())?;
    let document = call.document()?;
    let Configuration { constraint, tags } = Configuration::parse(&document)?;
    if let Some(here) = &call.app.auth.region
        && !constraint.is_empty()
        && *here != constraint
    {
        return Err(Code::IllegalLocationConstraintException.with(format!(
            "The {constraint} location constraint is incompatible for the region specific \
             endpoint this request was sent to."
        )));
    }
    let owner = call.user();
    let name = call.bucket_name()?;
    let lock = with_lock(call.headers())?;
    let mut configs: BTreeMap<_, _> = acl::of_new_bucket(call, &owner.id)?.into_iter().collect();
    let list = configs.get(&ConfigKind::Acl).cloned();
    if lock {
        configs.insert(ConfigKind::ObjectLock, lock::enabled());
    }
    let tagged = tags.is_some();
    if let Some(tags) = tags {
        // As on AWS, who may create a bucket may not therefore give it tags.
        call.authorize("s3:PutBucketTagging", name, None, None)?;
        configs.insert(ConfigKind::Tagging, tags);
    }
    let new = NewBucket {
        name: name.clone(),
        owner: owner.id.clone(),
        region: constraint,
        lock,
        configs,
    };
    match call.app.store.create_bucket(new)? {
        // Its owner may make it again, but not with another list: it would not get it.
        Created::Exists(bucket)
            if bucket.owner != owner.id || bucket.config(ConfigKind::Acl) != list.as_deref() =>
        {
            Err(S3Error::from(Code::BucketAlreadyExists).element("BucketName", name.as_str()))
        }
        // Nor with tags, be they the same.
        Created::Exists(bucket) if tagged || region(call, &bucket) != DEFAULT_REGION => {
            Err(S3Error::from(Code::BucketAlreadyOwnedByYou).element("BucketName", name.as_str()))
        }
        Created::Exists(_) | Created::New(_) => {
            Ok(Response::new(200).header("location", format!("/{name}")))
        }
    }
}

/// Refuses headers that ask for a bucket that JOG cannot make.
fn refuse_unsupported(headers: &Headers) -> Result<(), S3Error> {
    let not_implemented = |what: String| Err(Code::NotImplemented.with(what));
    for (name, value) in headers.iter() {
        match name {
            "x-amz-bucket-namespace" if !value.eq_ignore_ascii_case("global") => {
                return not_implemented("Bucket namespaces are not implemented.".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// x-amz-bucket-object-lock-enabled
fn with_lock(headers: &Headers) -> Result<bool, S3Error> {
    match headers.get("x-amz-bucket-object-lock-enabled") {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) => Err(S3Error::argument(
            "x-amz-bucket-object-lock-enabled",
            text,
            "It must be true or false.",
        )),
    }
}

/// What a CreateBucketConfiguration says.
#[derive(Default, PartialEq, Debug)]
struct Configuration {
    /// The LocationConstraint; empty if there is none.
    constraint: String,
    /// The configuration of tags, if there are any.
    tags: Option<String>,
}

impl Configuration {
    /// Understands a document, which may be empty.
    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let mut parsed = Self::default();
        if document.is_empty() {
            return Ok(parsed);
        }
        let configuration = xml::parse(document, "CreateBucketConfiguration")
            .map_err(|_| S3Error::from(Code::MalformedXML))?;
        for element in &configuration.children {
            match element.name.as_str() {
                "LocationConstraint" if element.children.is_empty() => {
                    parsed.constraint = element.text.trim().to_owned();
                }
                "Tags" => parsed.tags = tagging::of_new_bucket(element)?,
                "Location" | "Bucket" => {
                    return Err(Code::InvalidRequest.with("Directory buckets are not supported."));
                }
                _ => return Err(Code::MalformedXML.into()),
            }
        }
        let constraint = &parsed.constraint;
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if constraint.len() > MAX_REGION_BYTES || !constraint.bytes().all(fits) {
            return Err(S3Error::from(Code::InvalidLocationConstraint)
                .element("LocationConstraint", constraint));
        }
        Ok(parsed)
    }
}

// ---- HeadBucket, DeleteBucket, GetBucketLocation -----------------------------------------

/// The region that a bucket is in.
fn region<'a>(call: &'a Call<'_, '_>, bucket: &'a store::Bucket) -> &'a str {
    if bucket.region.is_empty() { &call.app.region } else { &bucket.region }
}

/// HeadBucket
pub fn head(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    Ok(Response::new(200)
        .header("content-type", "application/xml")
        .header("x-amz-bucket-region", region(call, &bucket))
        .header("x-amz-access-point-alias", "false"))
}

/// DeleteBucket
pub fn delete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    call.app.store.delete_bucket(&bucket.name)?.map_err(|refused| {
        let error = match S3Error::from(refused) {
            error
                if error.code == Code::BucketNotEmpty
                    && bucket.versioning != Versioning::Unversioned =>
            {
                Code::BucketNotEmpty.with(
                    "The bucket you tried to delete is not empty. You must delete all versions \
                     in the bucket.",
                )
            }
            error => error,
        };
        error.element("BucketName", bucket.name.as_str())
    })?;
    Ok(Response::new(204))
}

/// GetBucketLocation. A constraint that was given is given back, whatever it is; a bucket in
/// us-east-1 by default has none.
pub fn location(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    let constraint = match region(call, &bucket) {
        DEFAULT_REGION => bucket.region.as_str(),
        other => other,
    };
    let mut xml = Writer::document();
    xml.root("LocationConstraint");
    xml.content(constraint);
    xml.close("LocationConstraint");
    Ok(document(200, xml))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraint(inside: &str) -> Result<String, Code> {
        let document = format!("<CreateBucketConfiguration>{inside}</CreateBucketConfiguration>");
        let parsed = Configuration::parse(document.as_bytes()).map_err(|e| e.code)?;
        Ok(parsed.constraint)
    }

    #[test]
    fn configurations() {
        assert_eq!(Configuration::parse(b"").unwrap(), Configuration::default());
        assert_eq!(constraint(""), Ok(String::new()));
        let location = |name: &str| format!("<LocationConstraint>{name}</LocationConstraint>");
        assert_eq!(constraint(&location("eu-west-1")), Ok("eu-west-1".to_owned()));
        assert_eq!(constraint(&location("EU")), Ok("EU".to_owned()));
        assert_eq!(constraint(&location("")), Ok(String::new()));
        assert_eq!(constraint(&location("a/b")), Err(Code::InvalidLocationConstraint));
        assert_eq!(constraint(&location("<a/>")), Err(Code::MalformedXML));
        assert_eq!(constraint("<Tags/>"), Ok(String::new()));
        let tags = |key: &str| format!("<Tags><Tag><Key>{key}</Key><Value/></Tag></Tags>");
        assert_eq!(constraint(&tags("a")), Ok(String::new()));
        assert_eq!(constraint(&tags("aws:a")), Err(Code::InvalidTag));
        assert_eq!(constraint("<Tags><Tag/></Tags>"), Err(Code::MalformedXML));
        assert_eq!(
            constraint("<Bucket><Type>Directory</Type></Bucket>"),
            Err(Code::InvalidRequest)
        );
        assert_eq!(constraint("<Unknown/>"), Err(Code::MalformedXML));
        assert_eq!(Configuration::parse(b"<X/>").unwrap_err().code, Code::MalformedXML);
        assert_eq!(Configuration::parse(b" ").unwrap_err().code, Code::MalformedXML);
    }

    #[test]
    fn headers_that_would_have_to_be_honoured() {
        let refused = |name: &str, value: &str| {
            refuse_unsupported(&Headers::new([(name, value)])).err().map(|e| e.code)
        };
        let name = "x-amz-bucket-namespace";
        assert_eq!(refused(name, "account-regional"), Some(Code::NotImplemented));
        assert_eq!(refused(name, "global"), None);
    }

    #[test]
    fn tokens() {
        assert_eq!(decode_token(&encode_token("a.b-c")).as_deref(), Some("a.b-c"));
        assert_eq!(decode_token("").as_deref(), Some(""));
        for bad in ["?", "a", "_w"] {
            assert_eq!(decode_token(bad), None, "{bad}");
        }
    }
}
