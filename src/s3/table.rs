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
    /// Content-Type starts with this.
    ContentType(&'static str),
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
    /// Further conditions; the row with the most that all match wins.
    pub when: &'static [When],
    /// The action that a policy has to allow.
    pub action: &'static str,
    /// How its body is read.
    pub body: Body,
    /// Its handler.
    pub run: Run,
}

/// The operation of a request, or `None` (405).
pub fn route(request: &Request, target: Target, query: &Query) -> Option<&'static Operation> {
    let holds = |when: &When| match *when {
        When::Query(name) => query.has(name),
        When::QueryIs(name, value) => query.get(name) == Some(value),
        When::Header(name) => request.headers.get(name).is_some(),
        When::ContentType(start) => request
            .headers
            .get("content-type")
            .is_some_and(|t| t.to_ascii_lowercase().starts_with(start)),
    };
    OPERATIONS
        .iter()
        .filter(|row| row.method == request.method && row.target == target)
        .filter(|row| row.when.iter().all(holds))
        .max_by_key(|row| row.when.len())
}

use super::{bucket, copy, delete, form, list, multipart, object};
use Body::{Document, None as NoBody, Stream};
use Method::{Delete, Get, Head, Post, Put};
use Target::{Bucket, Object, Service};
use When::{ContentType, Header, Query as Q, QueryIs};

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
        },)*]
    };
}

/// A sub-resource that JOG does not have.
fn not_implemented(_: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    Err(super::Code::NotImplemented.into())
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
    PostObject: Post Bucket [ContentType("multipart/form-data")], "s3:PutObject", Stream, form::post_object;

    PutObject: Put Object [], "s3:PutObject", Stream, object::put;
    CopyObject: Put Object [Header("x-amz-copy-source")], "s3:PutObject", NoBody, copy::copy_object;
    GetObject: Get Object [], "s3:GetObject", NoBody, object::get;
    HeadObject: Head Object [], "s3:GetObject", NoBody, object::head;
    DeleteObject: Delete Object [], "s3:DeleteObject", NoBody, delete::delete_object;
    GetObjectAttributes: Get Object [Q("attributes")], "s3:GetObjectAttributes", NoBody, object::attributes;
    CreateMultipartUpload: Post Object [Q("uploads")], "s3:PutObject", NoBody, multipart::create;
    UploadPart: Put Object [Q("partNumber"), Q("uploadId")], "s3:PutObject", Stream, multipart::upload_part;
    UploadPartCopy: Put Object [Q("partNumber"), Q("uploadId"), Header("x-amz-copy-source")], "s3:PutObject", NoBody, copy::upload_part_copy;
    CompleteMultipartUpload: Post Object [Q("uploadId")], "s3:PutObject", Document, multipart::complete;
    AbortMultipartUpload: Delete Object [Q("uploadId")], "s3:AbortMultipartUpload", NoBody, multipart::abort;
    ListParts: Get Object [Q("uploadId")], "s3:ListMultipartUploadParts", NoBody, multipart::list_parts;

    // Sub-resources that are known and not there yet: PUT /b/k?acl must never become a PutObject.
    GetBucketAcl: Get Bucket [Q("acl")], "s3:GetBucketAcl", NoBody, not_implemented;
};
