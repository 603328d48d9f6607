//! Actions of S3, as policies name them. A pattern that no action matches is refused: it is a slip
//! of the pen, and a deny that denies nothing is dangerous.

use super::pattern::{Pattern, Reading};
use super::{Malformed, Of};

/// What AWS calls the actions of S3 on buckets and objects, without `s3:`. JOG asks only for those
/// of its table of operations; the others are here so that policies which name them stay valid.
const ACTIONS: &[&str] = &[
    "AbortMultipartUpload",
    "BypassGovernanceRetention",
    "CreateBucket",
    "CreateBucketMetadataTableConfiguration",
    "CreateSession",
    "DeleteBucket",
    "DeleteBucketMetadataTableConfiguration",
    "DeleteBucketPolicy",
    "DeleteBucketWebsite",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjectVersion",
    "DeleteObjectVersionTagging",
    "GetAccelerateConfiguration",
    "GetAnalyticsConfiguration",
    "GetBucketAbac",
    "GetBucketAcl",
    "GetBucketCORS",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketMetadataTableConfiguration",
    "GetBucketNotification",
    "GetBucketObjectLockConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketPublicAccessBlock",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetEncryptionConfiguration",
    "GetIntelligentTieringConfiguration",
    "GetInventoryConfiguration",
    "GetLifecycleConfiguration",
    "GetMetricsConfiguration",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetObjectTorrent",
    "GetObjectVersion",
    "GetObjectVersionAcl",
    "GetObjectVersionAttributes",
    "GetObjectVersionForReplication",
    "GetObjectVersionTagging",
    "GetObjectVersionTorrent",
    "GetReplicationConfiguration",
    "InitiateReplication",
    "ListAllMyBuckets",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "ListMultipartUploadParts",
    "ObjectOwnerOverrideToBucketOwner",
    "PutAccelerateConfiguration",
    "PutAnalyticsConfiguration",
    "PutBucketAbac",
    "PutBucketAcl",
    "PutBucketCORS",
    "PutBucketLogging",
    "PutBucketNotification",
    "PutBucketObjectLockConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketPublicAccessBlock",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutBucketWebsite",
    "PutEncryptionConfiguration",
    "PutIntelligentTieringConfiguration",
    "PutInventoryConfiguration",
    "PutLifecycleConfiguration",
    "PutMetricsConfiguration",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
    "PutReplicationConfiguration",
    "ReplicateDelete",
    "ReplicateObject",
    "ReplicateTags",
    "RestoreObject",
    "UpdateBucketMetadataInventoryTableConfiguration",
    "UpdateBucketMetadataJournalTableConfiguration",
];

/// Whether this is an action of S3, with `s3:` before it.
pub fn is_action(name: &str) -> bool {
    name.strip_prefix("s3:").is_some_and(|name| ACTIONS.contains(&name))
}

/// All actions of S3, without `s3:`.
#[cfg(test)]
pub(in crate::access) fn actions() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().copied()
}

/// `s3:` and a pattern, or `*`. A user's policy may also name actions of AWS's other services, which
/// nobody ever asks for here.
pub(super) fn parse(text: &str, of: Of<'_>) -> Result<Pattern, Malformed> {
    let invalid = || Malformed(format!("Policy has invalid action: {text}"));
    // Actions have wildcards and no variables.
    let reading = Reading { wildcards: true, variables: false };
    let pattern = Pattern::parse(text, reading).map_err(|_| invalid())?;
    let matches = |name: &str| pattern.matches(&format!("s3:{name}"), true, &|_| None);
    let foreign = || {
        let (service, action) = text.split_once(':')?;
        let word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-*?".contains(&b))
        };
        (!service.eq_ignore_ascii_case("s3") && word(service) && word(action)).then_some(())
    };
    match ACTIONS.iter().any(|name| matches(name)) || (of == Of::User && foreign().is_some()) {
        true => Ok(pattern),
        false => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for good in ["*", "s3:*", "S3:getobject", "s3:Get*", "s3:?etObject", "*:GetObject"] {
            assert!(parse(good, Of::Bucket("b")).is_ok(), "{good}");
        }
        for bad in ["", "s3:", "GetObject", "s3:GetObjet", "s3:Getobject?", "iam:*", "s3GetObject"]
        {
            assert!(parse(bad, Of::Bucket("b")).is_err(), "{bad}");
        }
        assert!(parse("kms:Decrypt", Of::User).is_ok());
        assert!(parse("s3:Decrypt", Of::User).is_err());
    }
}
