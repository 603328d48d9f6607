//! The operations table: routing, action, body limit and label of every operation, one row each.

use super::{Call, S3Error};
use crate::http::{Method, Request, Response};
use crate::s3::uri::Query;

/// What a request is addressed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// `/`
    Service,
    /// `/bucket`
    Bucket,
    /// `/bucket/key`
    Object,
}

/// What a row asks of a request beyond method and target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// The query has this parameter.
    Query(&'static str),
    /// The query has this parameter with this value.
    QueryIs(&'static str, &'static str),
    /// The head has this field.
    Header(&'static str),
}

/// How a row's body is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// There is none; what comes is dropped.
    None,
    /// A document of at most [`crate::limits::MAX_DOCUMENT_BYTES`].
    Document,
    /// Bytes of an object.
    Stream,
}

/// What answers an operation.
pub type Run = fn(&mut Call<'_, '_>) -> Result<Response, S3Error>;

/// One operation.
pub struct Operation {
    /// AWS's name for it.
    pub name: &'static str,
    /// Its method.
    pub method: Method,
    /// What it is addressed to.
    pub target: Target,
    /// Further conditions; of the rows whose conditions all match, the one that names most of the
    /// query wins, then the one with most conditions.
    pub when: &'static [When],
    /// The action that a policy has to allow.
    pub action: &'static str,
    /// How its body is read.
    pub body: Body,
    /// Its handler.
    pub run: Run,
    /// Where the handler is, as the row names it.
    handler: &'static str,
}

impl Operation {
    /// Whether it is more than a row that answers NotImplemented.
    pub fn is_implemented(&self) -> bool {
        self.handler != "absent::not_implemented"
    }

    /// Whether a parameter of the query is one of its conditions.
    fn asks_for(&self, parameter: &str) -> bool {
        self.when.iter().any(|when| when.parameter() == Some(parameter))
    }

    /// How closely it is described, see [`Operation::when`].
    fn rank(&self) -> (usize, usize) {
        let parameters = self.when.iter().filter(|when| when.parameter().is_some());
        (parameters.count(), self.when.len())
    }
}

impl When {
    /// The parameter of the query that it is about.
    fn parameter(&self) -> Option<&'static str> {
        match *self {
            Self::Query(name) | Self::QueryIs(name, _) => Some(name),
            Self::Header(_) => None,
        }
    }
}

/// Whether a parameter of the query says what a request is about, in whatever row.
fn is_resource(parameter: &str) -> bool {
    OPERATIONS.iter().any(|row| row.asks_for(parameter))
}

/// The operation of a request, or `None` (405).
///
/// A request that changes something is never taken for one about something else: each parameter
/// that names a sub-resource must be one that the row asks for, else `DELETE /b/k?retention` would
/// delete the object. A read may have further ones, and then they say nothing.
pub fn route(request: &Request, target: Target, query: &Query) -> Option<&'static Operation> {
    let holds = |when: &When| match *when {
        When::Query(name) => query.has(name),
        When::QueryIs(name, value) => query.get(name) == Some(value),
        When::Header(name) => request.headers.get(name).is_some(),
    };
    let row = OPERATIONS
        .iter()
        .filter(|row| row.method == request.method && row.target == target)
        .filter(|row| row.when.iter().all(holds))
        .max_by_key(|row| row.rank())?;
    let understood = |name: &str| row.asks_for(name) || !is_resource(name);
    let changes = matches!(row.method, Put | Post | Delete);
    (!changes || query.iter().all(|(name, _)| understood(name))).then_some(row)
}

use super::{
    absent, acl, attributes, bucket, bucket_encryption, copy, cors, delete, form, lifecycle, list,
    lock, logging, multipart, notification, object, ownership, policy, public_access_block, rename,
    tagging, versioning, website,
};
use Body::{Document, None as NoBody, Stream};
use Method::{Delete, Get, Head, Options, Post, Put};
use Target::{Bucket, Object, Service};
use When::{Header, Query as Q, QueryIs};

macro_rules! rows {
    ($($name:ident: $method:ident $target:ident $when:expr, $action:literal, $body:ident, $run:path;)*) => {
        &[$(Operation {
            name: stringify!($name),
            method: $method,
            target: $target,
            when: &$when,
            action: $action,
            body: $body,
            run: $run,
            handler: stringify!($run),
        },)*]
    };
}

/// All operations.
pub static OPERATIONS: &[Operation] = rows! {
    ListBuckets: Get Service [], "s3:ListAllMyBuckets", NoBody, bucket::list_buckets;

    CreateBucket: Put Bucket [], "s3:CreateBucket", Document, bucket::create;
    HeadBucket: Head Bucket [], "s3:ListBucket", NoBody, bucket::head;
    DeleteBucket: Delete Bucket [], "s3:DeleteBucket", NoBody, bucket::delete;
    GetBucketLocation: Get Bucket [Q("location")], "s3:GetBucketLocation", NoBody, bucket::location;
    ListObjects: Get Bucket [], "s3:ListBucket", NoBody, list::v1;
    ListObjectsV2: Get Bucket [QueryIs("list-type", "2")], "s3:ListBucket", NoBody, list::v2;
    ListMultipartUploads: Get Bucket [Q("uploads")], "s3:ListBucketMultipartUploads", NoBody, multipart::list_uploads;
    DeleteObjects: Post Bucket [Q("delete")], "s3:DeleteObject", Document, delete::delete_objects;
    PostObject: Post Bucket [], "s3:PutObject", Stream, form::post_object;

    PutObject: Put Object [], "s3:PutObject", Stream, object::put;
    CopyObject: Put Object [Header("x-amz-copy-source")], "s3:PutObject", NoBody, copy::copy_object;
    GetObject: Get Object [], "s3:GetObject", NoBody, object::get;
    HeadObject: Head Object [], "s3:GetObject", NoBody, object::head;
    DeleteObject: Delete Object [], "s3:DeleteObject", NoBody, delete::delete_object;
    GetObjectAttributes: Get Object [Q("attributes")], "s3:GetObjectAttributes", NoBody, attributes::get;
    CreateMultipartUpload: Post Object [Q("uploads")], "s3:PutObject", NoBody, multipart::create;
    UploadPart: Put Object [Q("partNumber"), Q("uploadId")], "s3:PutObject", Stream, multipart::upload_part;
    UploadPartCopy: Put Object [Q("partNumber"), Q("uploadId"), Header("x-amz-copy-source")], "s3:PutObject", NoBody, copy::upload_part_copy;
    CompleteMultipartUpload: Post Object [Q("uploadId")], "s3:PutObject", Document, multipart::complete;
    AbortMultipartUpload: Delete Object [Q("uploadId")], "s3:AbortMultipartUpload", NoBody, multipart::abort;
    ListParts: Get Object [Q("uploadId")], "s3:ListMultipartUploadParts", NoBody, multipart::list_parts;

    // Sub-resources that are known and not kept: PUT /b/k?acl must never become a PutObject.
    GetBucketAcl: Get Bucket [Q("acl")], "s3:GetBucketAcl", NoBody, acl::get_bucket;
    PutBucketAcl: Put Bucket [Q("acl")], "s3:PutBucketAcl", Document, acl::put_bucket;
    GetBucketPolicy: Get Bucket [Q("policy")], "s3:GetBucketPolicy", NoBody, policy::get;
    PutBucketPolicy: Put Bucket [Q("policy")], "s3:PutBucketPolicy", Document, policy::put;
    DeleteBucketPolicy: Delete Bucket [Q("policy")], "s3:DeleteBucketPolicy", NoBody, policy::delete;
    GetBucketPolicyStatus: Get Bucket [Q("policyStatus")], "s3:GetBucketPolicyStatus", NoBody, policy::status;
    GetBucketTagging: Get Bucket [Q("tagging")], "s3:GetBucketTagging", NoBody, tagging::get_bucket;
    PutBucketTagging: Put Bucket [Q("tagging")], "s3:PutBucketTagging", Document, tagging::put_bucket;
    DeleteBucketTagging: Delete Bucket [Q("tagging")], "s3:PutBucketTagging", NoBody, tagging::delete_bucket;
    GetBucketVersioning: Get Bucket [Q("versioning")], "s3:GetBucketVersioning", NoBody, versioning::get;
    PutBucketVersioning: Put Bucket [Q("versioning")], "s3:PutBucketVersioning", Document, versioning::put;
    ListObjectVersions: Get Bucket [Q("versions")], "s3:ListBucketVersions", NoBody, versioning::list;
    GetBucketCors: Get Bucket [Q("cors")], "s3:GetBucketCORS", NoBody, cors::get;
    PutBucketCors: Put Bucket [Q("cors")], "s3:PutBucketCORS", Document, cors::put;
    DeleteBucketCors: Delete Bucket [Q("cors")], "s3:PutBucketCORS", NoBody, cors::delete;
    GetBucketLifecycleConfiguration: Get Bucket [Q("lifecycle")], "s3:GetLifecycleConfiguration", NoBody, lifecycle::get;
    PutBucketLifecycleConfiguration: Put Bucket [Q("lifecycle")], "s3:PutLifecycleConfiguration", Document, lifecycle::put;
    DeleteBucketLifecycleConfiguration: Delete Bucket [Q("lifecycle")], "s3:PutLifecycleConfiguration", NoBody, lifecycle::delete;
    GetBucketWebsite: Get Bucket [Q("website")], "s3:GetBucketWebsite", NoBody, website::get;
    PutBucketWebsite: Put Bucket [Q("website")], "s3:PutBucketWebsite", Document, website::put;
    DeleteBucketWebsite: Delete Bucket [Q("website")], "s3:DeleteBucketWebsite", NoBody, website::delete;
    GetBucketEncryption: Get Bucket [Q("encryption")], "s3:GetEncryptionConfiguration", NoBody, bucket_encryption::get;
    PutBucketEncryption: Put Bucket [Q("encryption")], "s3:PutEncryptionConfiguration", Document, bucket_encryption::put;
    DeleteBucketEncryption: Delete Bucket [Q("encryption")], "s3:PutEncryptionConfiguration", NoBody, bucket_encryption::delete;
    GetObjectLockConfiguration: Get Bucket [Q("object-lock")], "s3:GetBucketObjectLockConfiguration", NoBody, lock::get_configuration;
    PutObjectLockConfiguration: Put Bucket [Q("object-lock")], "s3:PutBucketObjectLockConfiguration", Document, lock::put_configuration;
    GetBucketLogging: Get Bucket [Q("logging")], "s3:GetBucketLogging", NoBody, logging::get;
    PutBucketLogging: Put Bucket [Q("logging")], "s3:PutBucketLogging", Document, logging::put;
    GetBucketNotificationConfiguration: Get Bucket [Q("notification")], "s3:GetBucketNotification", NoBody, notification::get;
    PutBucketNotificationConfiguration: Put Bucket [Q("notification")], "s3:PutBucketNotification", Document, notification::put;
    GetBucketReplication: Get Bucket [Q("replication")], "s3:GetReplicationConfiguration", NoBody, absent::replication;
    PutBucketReplication: Put Bucket [Q("replication")], "s3:PutReplicationConfiguration", NoBody, absent::not_implemented;
    DeleteBucketReplication: Delete Bucket [Q("replication")], "s3:PutReplicationConfiguration", NoBody, absent::not_implemented;
    GetBucketRequestPayment: Get Bucket [Q("requestPayment")], "s3:GetBucketRequestPayment", NoBody, absent::request_payment;
    PutBucketRequestPayment: Put Bucket [Q("requestPayment")], "s3:PutBucketRequestPayment", Document, absent::put_request_payment;
    GetBucketAccelerateConfiguration: Get Bucket [Q("accelerate")], "s3:GetAccelerateConfiguration", NoBody, absent::accelerate;
    PutBucketAccelerateConfiguration: Put Bucket [Q("accelerate")], "s3:PutAccelerateConfiguration", NoBody, absent::not_implemented;
    GetBucketOwnershipControls: Get Bucket [Q("ownershipControls")], "s3:GetBucketOwnershipControls", NoBody, ownership::get;
    PutBucketOwnershipControls: Put Bucket [Q("ownershipControls")], "s3:PutBucketOwnershipControls", Document, ownership::put;
    DeleteBucketOwnershipControls: Delete Bucket [Q("ownershipControls")], "s3:PutBucketOwnershipControls", NoBody, ownership::delete;
    GetPublicAccessBlock: Get Bucket [Q("publicAccessBlock")], "s3:GetBucketPublicAccessBlock", NoBody, public_access_block::get;
    PutPublicAccessBlock: Put Bucket [Q("publicAccessBlock")], "s3:PutBucketPublicAccessBlock", Document, public_access_block::put;
    DeletePublicAccessBlock: Delete Bucket [Q("publicAccessBlock")], "s3:PutBucketPublicAccessBlock", NoBody, public_access_block::delete;
    GetBucketInventoryConfiguration: Get Bucket [Q("inventory")], "s3:GetInventoryConfiguration", NoBody, absent::not_implemented;
    PutBucketInventoryConfiguration: Put Bucket [Q("inventory")], "s3:PutInventoryConfiguration", NoBody, absent::not_implemented;
    DeleteBucketInventoryConfiguration: Delete Bucket [Q("inventory")], "s3:PutInventoryConfiguration", NoBody, absent::not_implemented;
    GetBucketAnalyticsConfiguration: Get Bucket [Q("analytics")], "s3:GetAnalyticsConfiguration", NoBody, absent::not_implemented;
    PutBucketAnalyticsConfiguration: Put Bucket [Q("analytics")], "s3:PutAnalyticsConfiguration", NoBody, absent::not_implemented;
    DeleteBucketAnalyticsConfiguration: Delete Bucket [Q("analytics")], "s3:PutAnalyticsConfiguration", NoBody, absent::not_implemented;
    GetBucketMetricsConfiguration: Get Bucket [Q("metrics")], "s3:GetMetricsConfiguration", NoBody, absent::not_implemented;
    PutBucketMetricsConfiguration: Put Bucket [Q("metrics")], "s3:PutMetricsConfiguration", NoBody, absent::not_implemented;
    DeleteBucketMetricsConfiguration: Delete Bucket [Q("metrics")], "s3:PutMetricsConfiguration", NoBody, absent::not_implemented;
    GetBucketIntelligentTieringConfiguration: Get Bucket [Q("intelligent-tiering")], "s3:GetIntelligentTieringConfiguration", NoBody, absent::not_implemented;
    PutBucketIntelligentTieringConfiguration: Put Bucket [Q("intelligent-tiering")], "s3:PutIntelligentTieringConfiguration", NoBody, absent::not_implemented;
    DeleteBucketIntelligentTieringConfiguration: Delete Bucket [Q("intelligent-tiering")], "s3:PutIntelligentTieringConfiguration", NoBody, absent::not_implemented;
    CreateSession: Get Bucket [Q("session")], "s3:CreateSession", NoBody, absent::not_implemented;
    GetBucketAbac: Get Bucket [Q("abac")], "s3:GetBucketAbac", NoBody, absent::not_implemented;
    PutBucketAbac: Put Bucket [Q("abac")], "s3:PutBucketAbac", NoBody, absent::not_implemented;
    UpdateBucketMetadataInventoryTableConfiguration: Put Bucket [Q("metadataInventoryTable")], "s3:UpdateBucketMetadataInventoryTableConfiguration", NoBody, absent::not_implemented;
    UpdateBucketMetadataJournalTableConfiguration: Put Bucket [Q("metadataJournalTable")], "s3:UpdateBucketMetadataJournalTableConfiguration", NoBody, absent::not_implemented;
    CreateBucketMetadataConfiguration: Post Bucket [Q("metadataConfiguration")], "s3:CreateBucketMetadataTableConfiguration", NoBody, absent::not_implemented;
    GetBucketMetadataConfiguration: Get Bucket [Q("metadataConfiguration")], "s3:GetBucketMetadataTableConfiguration", NoBody, absent::not_implemented;
    DeleteBucketMetadataConfiguration: Delete Bucket [Q("metadataConfiguration")], "s3:DeleteBucketMetadataTableConfiguration", NoBody, absent::not_implemented;
    CreateBucketMetadataTableConfiguration: Post Bucket [Q("metadataTable")], "s3:CreateBucketMetadataTableConfiguration", NoBody, absent::not_implemented;
    GetBucketMetadataTableConfiguration: Get Bucket [Q("metadataTable")], "s3:GetBucketMetadataTableConfiguration", NoBody, absent::not_implemented;
    DeleteBucketMetadataTableConfiguration: Delete Bucket [Q("metadataTable")], "s3:DeleteBucketMetadataTableConfiguration", NoBody, absent::not_implemented;

    GetObjectAcl: Get Object [Q("acl")], "s3:GetObjectAcl", NoBody, acl::get_object;
    PutObjectAcl: Put Object [Q("acl")], "s3:PutObjectAcl", Document, acl::put_object;
    GetObjectTagging: Get Object [Q("tagging")], "s3:GetObjectTagging", NoBody, tagging::get_object;
    PutObjectTagging: Put Object [Q("tagging")], "s3:PutObjectTagging", Document, tagging::put_object;
    DeleteObjectTagging: Delete Object [Q("tagging")], "s3:DeleteObjectTagging", NoBody, tagging::delete_object;
    GetObjectRetention: Get Object [Q("retention")], "s3:GetObjectRetention", NoBody, lock::get_retention;
    PutObjectRetention: Put Object [Q("retention")], "s3:PutObjectRetention", Document, lock::put_retention;
    GetObjectLegalHold: Get Object [Q("legal-hold")], "s3:GetObjectLegalHold", NoBody, lock::get_legal_hold;
    PutObjectLegalHold: Put Object [Q("legal-hold")], "s3:PutObjectLegalHold", Document, lock::put_legal_hold;
    GetObjectTorrent: Get Object [Q("torrent")], "s3:GetObjectTorrent", NoBody, absent::not_implemented;
    SelectObjectContent: Post Object [Q("select")], "s3:GetObject", NoBody, absent::not_implemented;
    RestoreObject: Post Object [Q("restore")], "s3:RestoreObject", NoBody, absent::not_implemented;
    RenameObject: Put Object [Q("renameObject")], "s3:PutObject", NoBody, rename::rename;
    UpdateObjectEncryption: Put Object [Q("encryption")], "s3:PutObject", NoBody, absent::not_implemented;

    PreflightBucket: Options Bucket [], "s3:Preflight", NoBody, cors::options;
    PreflightObject: Options Object [], "s3:Preflight", NoBody, cors::options;
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;
    use std::collections::HashSet;

    /// The plainest request on which all of these hold.
    fn request(method: Method, when: &[When]) -> (Request, Query) {
        let (mut query, mut headers) = (Vec::new(), Vec::new());
        for when in when {
            match *when {
                When::Query(name) => query.push(name.to_owned()),
                When::QueryIs(name, value) => query.push(format!("{name}={value}")),
                When::Header(name) => headers.push((name.to_owned(), "x".to_owned())),
            }
        }
        let query = query.join("&");
        let parsed = Query::parse(&query).unwrap();
        let request = Request {
            method,
            path: "/b/k".to_owned(),
            query,
            headers: Headers::new(headers),
            peer: [127, 0, 0, 1].into(),
            received: std::time::Instant::now(),
            id: String::new(),
        };
        (request, parsed)
    }

    fn routed(method: Method, target: Target, when: &[When]) -> Option<&'static str> {
        let (request, query) = request(method, when);
        route(&request, target, &query).map(|row| row.name)
    }

    #[test]
    fn every_row_is_reached_by_its_own_request() {
        for row in OPERATIONS {
            assert_eq!(routed(row.method, row.target, row.when), Some(row.name));
        }
        let names: HashSet<_> = OPERATIONS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), OPERATIONS.len());
    }

    /// Else a signature of Version 2 for one operation could be used for another.
    #[test]
    fn whatever_selects_a_row_is_covered_by_signatures() {
        for row in OPERATIONS {
            for parameter in row.when.iter().filter_map(|when| when.parameter()) {
                // It chooses between two forms of one answer, and old clients do not sign it.
                let free = parameter == "list-type";
                let covered = crate::auth::is_covered_by_sigv2(parameter);
                assert!(covered || free, "{}: {parameter}: see auth/sigv2.rs", row.name);
            }
        }
    }

    /// Two rows may match one request with equal rank only if that request is refused, or a read.
    #[test]
    fn no_two_rows_tie() {
        for (i, one) in OPERATIONS.iter().enumerate() {
            let same = |row: &&Operation| row.method == one.method && row.target == one.target;
            for other in OPERATIONS[i + 1..].iter().filter(same) {
                let both = [one.when, other.when].concat();
                let found = routed(one.method, one.target, &both);
                let equal = one.rank() == other.rank();
                match one.method {
                    Get | Head => assert!(!equal || one.when != other.when, "{}", one.name),
                    _ => assert!(!equal || found.is_none(), "{} {}", one.name, other.name),
                }
            }
        }
    }

    /// Every sub-resource, on every target, with every method that changes something.
    #[test]
    fn a_change_of_a_sub_resource_never_changes_something_else() {
        let named = OPERATIONS.iter().flat_map(|row| row.when).filter(|w| w.parameter().is_some());
        let resources: HashSet<_> = named.copied().filter_map(|w| w.parameter()).collect();
        for resource in resources {
            for method in [Put, Post, Delete] {
                for target in [Service, Bucket, Object] {
                    for header in [None, Some(Header("x-amz-copy-source"))] {
                        let when: Vec<_> = [Q(resource)].into_iter().chain(header).collect();
                        let (request, query) = request(method, &when);
                        let found = route(&request, target, &query);
                        assert!(
                            found.is_none_or(|row| row.asks_for(resource)),
                            "{method:?} {target:?} {when:?}"
                        );
                    }
                }
            }
        }
        assert_eq!(routed(Delete, Object, &[Q("retention")]), None);
        assert_eq!(routed(Delete, Bucket, &[Q("acl")]), None);
        assert_eq!(routed(Put, Object, &[Q("uploadId")]), None);
        assert_eq!(routed(Put, Object, &[Q("acl")]), Some("PutObjectAcl"));
        assert_eq!(routed(Put, Object, &[QueryIs("x-id", "PutObject")]), Some("PutObject"));
        assert_eq!(routed(Delete, Object, &[Q("versionId")]), Some("DeleteObject"));
        assert_eq!(routed(Get, Object, &[Q("partNumber")]), Some("GetObject"));
    }
}
