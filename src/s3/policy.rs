//! Policies of buckets on the wire. What they mean is in [`crate::access::policy`].

use super::{Call, Code, S3Error, config, document};
use crate::access::policy::{Malformed, Policy};
use crate::access::settings::{Block, bucket_acl};
use crate::http::{Payload, Response};
use crate::store::{Bucket, ConfigKind};
use crate::xml::Writer;

fn malformed(Malformed(text): Malformed) -> S3Error {
    Code::MalformedPolicy.with(text)
}

/// GetBucketPolicy: the document, byte by byte as it was put.
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let response = config::get(call, ConfigKind::Policy, Code::NoSuchBucketPolicy)?;
    let Payload::Bytes(text) = response.payload else { return Err(Code::InternalError.into()) };
    Ok(Response::new(200).header("content-type", "application/json").payload(Payload::Bytes(text)))
}

/// PutBucketPolicy
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let text = call.document()?;
    let bucket = call.bucket()?;
    let text = String::from_utf8(text)
        .map_err(|_| malformed(Malformed("Policies must be valid JSON in UTF-8".to_owned())))?;
    let policy = Policy::bucket(&text, bucket.name.as_str()).map_err(malformed)?;
    // A user of that name who is made later must not find the policy waiting.
    if policy.names().any(|name| call.app.gate.users().by_name(name).is_none()) {
        return Err(malformed(Malformed("Invalid principal in policy".to_owned())));
    }
    if Block::of(&bucket).block_policy && policy.is_public() {
        return Err(Code::AccessDenied
            .with("User is not authorized to put public policies: BlockPublicPolicy is enabled."));
    }
    call.app.store.set_config(bucket.id, ConfigKind::Policy, Some(text))??;
    Ok(Response::new(204))
}

/// DeleteBucketPolicy
pub fn delete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    config::delete(call, ConfigKind::Policy)
}

/// Whether the policy or the access control list of a bucket gives anything to strangers, and no
/// block takes it away.
fn is_public(bucket: &Bucket) -> bool {
    let block = Block::of(bucket);
    let policy = bucket.config(ConfigKind::Policy);
    let policy = policy.and_then(|text| Policy::bucket(text, bucket.name.as_str()).ok());
    let by_policy = policy.is_some_and(|policy| policy.is_public()) && !block.restrict_buckets;
    by_policy || (bucket_acl(bucket).is_public() && !block.ignore_acls)
}

/// GetBucketPolicyStatus
pub fn status(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    let mut xml = Writer::document();
    xml.root("PolicyStatus");
    xml.value("IsPublic", is_public(&bucket));
    xml.close("PolicyStatus");
    Ok(document(200, xml))
}
