//! The condition keys that JOG knows. A policy with another one is refused: what cannot be checked
//! must not seem to protect anything.

/// A condition key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// `aws:SourceIp`: the client's address.
    SourceIp,
    /// `aws:SecureTransport`: whether the request came by HTTPS.
    SecureTransport,
    /// `aws:CurrentTime`: now, as a date.
    CurrentTime,
    /// `aws:EpochTime`: now, in seconds since 1970.
    EpochTime,
    /// `aws:PrincipalType`: Anonymous, User or Account (root).
    PrincipalType,
    /// `aws:PrincipalArn`: the ARN of the user.
    PrincipalArn,
    /// `aws:username`: the name of the user.
    Username,
    /// `aws:userid`: the canonical ID of the user.
    UserId,
    /// `aws:SourceArn`: for which bucket a service of JOG's own asks.
    SourceArn,
    /// `aws:SourceAccount`: for whose bucket a service of JOG's own asks.
    SourceAccount,
    /// A key that is a header field of the request, by its name in lower case:
    /// `aws:UserAgent`, `aws:Referer`, `s3:x-amz-acl`, `s3:object-lock-mode` and the like.
    Header(&'static str),
    /// `s3:x-amz-copy-source`: `bucket/key`, decoded.
    CopySource,
    /// `s3:prefix`, `s3:delimiter` or `s3:max-keys`: a parameter of a listing.
    Listing(&'static str),
    /// `s3:VersionId`: the version that the request names.
    VersionId,
    /// `s3:ExistingObjectTag/KEY`: a tag of the object as it is.
    ExistingTag(String),
    /// `s3:RequestObjectTag/KEY`: a tag that the request sets.
    RequestTag(String),
    /// `s3:RequestObjectTagKeys`: the keys of the tags that the request sets.
    RequestTagKeys,
    /// `s3:object-lock-remaining-retention-days`: days until the retention that the request sets
    /// ends.
    RetentionDays,
}

/// Keys that are header fields: the key in lower case, and the field.
const HEADERS: [(&str, &str); 23] = [
    ("aws:useragent", "user-agent"),
    ("aws:referer", "referer"),
    ("s3:x-amz-acl", "x-amz-acl"),
    ("s3:x-amz-grant-read", "x-amz-grant-read"),
    ("s3:x-amz-grant-write", "x-amz-grant-write"),
    ("s3:x-amz-grant-read-acp", "x-amz-grant-read-acp"),
    ("s3:x-amz-grant-write-acp", "x-amz-grant-write-acp"),
    ("s3:x-amz-grant-full-control", "x-amz-grant-full-control"),
    ("s3:x-amz-metadata-directive", "x-amz-metadata-directive"),
    ("s3:x-amz-tagging-directive", "x-amz-tagging-directive"),
    ("s3:x-amz-content-sha256", "x-amz-content-sha256"),
    ("s3:x-amz-storage-class", "x-amz-storage-class"),
    ("s3:x-amz-website-redirect-location", "x-amz-website-redirect-location"),
    ("s3:x-amz-object-ownership", "x-amz-object-ownership"),
    ("s3:x-amz-server-side-encryption", "x-amz-server-side-encryption"),
    (
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-aws-kms-key-id",
    ),
    (
        "s3:x-amz-server-side-encryption-customer-algorithm",
        "x-amz-server-side-encryption-customer-algorithm",
    ),
    ("s3:object-lock-mode", "x-amz-object-lock-mode"),
    ("s3:object-lock-retain-until-date", "x-amz-object-lock-retain-until-date"),
    ("s3:object-lock-legal-hold", "x-amz-object-lock-legal-hold"),
    ("s3:if-match", "if-match"),
    ("s3:if-none-match", "if-none-match"),
    ("s3:x-amz-bucket-object-lock-enabled", "x-amz-bucket-object-lock-enabled"),
];

impl Key {
    /// The key of a name, without regard to case, or `None` if JOG does not know it.
    pub fn parse(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        for (prefix, make) in [
            ("s3:existingobjecttag/", Self::ExistingTag as fn(String) -> Self),
            ("s3:requestobjecttag/", Self::RequestTag),
        ] {
            // The key of the tag keeps its case; a prefix of ASCII has the length of its lower case.
            if lower.starts_with(prefix) && lower.len() > prefix.len() {
                return Some(make(name[prefix.len()..].to_owned()));
            }
        }
        Some(match lower.as_str() {
            "aws:sourceip" => Self::SourceIp,
            "aws:securetransport" => Self::SecureTransport,
            "aws:currenttime" => Self::CurrentTime,
            "aws:epochtime" => Self::EpochTime,
            "aws:principaltype" => Self::PrincipalType,
            "aws:principalarn" => Self::PrincipalArn,
            "aws:username" => Self::Username,
            "aws:userid" => Self::UserId,
            "aws:sourcearn" => Self::SourceArn,
            "aws:sourceaccount" => Self::SourceAccount,
            "s3:x-amz-copy-source" => Self::CopySource,
            "s3:prefix" => Self::Listing("prefix"),
            "s3:delimiter" => Self::Listing("delimiter"),
            "s3:max-keys" => Self::Listing("max-keys"),
            "s3:versionid" => Self::VersionId,
            "s3:requestobjecttagkeys" => Self::RequestTagKeys,
            "s3:object-lock-remaining-retention-days" => Self::RetentionDays,
            name => Self::Header(HEADERS.iter().find(|(key, _)| *key == name)?.1),
        })
    }

    /// Whether it has one value at most, so that it can be a variable.
    pub fn is_single(&self) -> bool {
        *self != Self::RequestTagKeys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Key::parse("AWS:SourceIP"), Some(Key::SourceIp));
        assert_eq!(Key::parse("s3:Prefix"), Some(Key::Listing("prefix")));
        assert_eq!(Key::parse("s3:x-amz-acl"), Some(Key::Header("x-amz-acl")));
        assert_eq!(Key::parse("aws:Referer"), Some(Key::Header("referer")));
        let tag = |name: &str| Some(Key::ExistingTag(name.to_owned()));
        assert_eq!(Key::parse("S3:ExistingObjectTag/Ab/c"), tag("Ab/c"));
        for unknown in ["", "aws:", "s3:ExistingObjectTag/", "aws:MultiFactorAuthPresent", "prefix"]
        {
            assert_eq!(Key::parse(unknown), None, "{unknown}");
        }
    }
}
