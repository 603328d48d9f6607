//! What a request has to be allowed: the actions that its row, its headers and its query ask for,
//! put to the access gate. The gate decides; see [`crate::access`].

use super::table::{Operation, Target};
use super::uri::{self, Query};
use super::{Address, App, Call, Code, S3Error, shortened, tagging};
use crate::access::{Ask, Authorized, Denied, Facts, Permission, Requester, Why};
use crate::auth::{self, AuthConfig, UNSIGNED_PAYLOAD};
use crate::http::{Headers, Method, Request};
use crate::limits::{MAX_OBJECT_TAGS, MAX_SAID_BYTES};
use crate::store::{Bucket, StoreError};
use crate::types::{BucketName, ObjectKey, VersionId};
use crate::xml::{self, Element};
use std::borrow::Cow;
use std::net::IpAddr;

/// The facts of a request, as conditions of policies see them.
pub struct RequestFacts<'a> {
    request: &'a Request,
    query: &'a Query,
    auth: &'a AuthConfig,
    /// What a form's fields or a document say instead of header fields.
    said: Vec<(String, String)>,
    /// The tags of a document or a form.
    tags: Option<Vec<(String, String)>>,
    /// The headers that describe what is written are not those of the request: they are fields of a
    /// form, or what is renamed stays what it is, or it is deleted.
    apart: bool,
    /// `bucket/key` of the source of a copy, where the header leaves open which one is meant.
    source: Option<String>,
}

impl<'a> RequestFacts<'a> {
    /// Those of a request without a body that matters.
    pub fn new(request: &'a Request, query: &'a Query, auth: &'a AuthConfig) -> Self {
        let apart = match request.method {
            Method::Put => query.has("renameObject"),
            Method::Post => query.has("delete"),
            _ => false,
        };
        Self { request, query, auth, said: Vec::new(), tags: None, apart, source: None }
    }

    /// Adds what the document of PutObjectTagging, PutObjectRetention or PutObjectLegalHold says.
    /// One that is not well-formed says nothing and is refused later.
    fn with_document(mut self, row: &Operation, document: &[u8]) -> Self {
        let text = |element: &Element, name: &str| {
            element.child_text(name).unwrap_or_default().trim().to_owned()
        };
        let mut say = |name: &str, value: String| {
            if !value.is_empty() {
                self.said.push((name.to_owned(), value));
            }
        };
        match row.name {
            "PutObjectTagging" => {
                let tags = tagging::parse(document, MAX_OBJECT_TAGS).unwrap_or_default();
                self.tags = Some(tags.pairs().to_vec());
            }
            "PutObjectRetention" => {
                let retention = xml::parse(document, "Retention").unwrap_or_default();
                say("x-amz-object-lock-mode", text(&retention, "Mode"));
                let until = text(&retention, "RetainUntilDate");
                say("x-amz-object-lock-retain-until-date", until);
            }
            _ => {
                let hold = xml::parse(document, "LegalHold").unwrap_or_default();
                say("x-amz-object-lock-legal-hold", text(&hold, "Status"));
            }
        }
        self
    }

    /// Takes the fields of a form, with header names for what they stand for.
    fn with_form(mut self, fields: &Headers, tags: &[(String, String)]) -> Self {
        self.said = fields.iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.tags = Some(tags.to_vec());
        self.apart = true;
        self
    }

    /// Whether it copies an object or a part of one. Elsewhere x-amz-copy-source says nothing.
    fn copies(&self) -> bool {
        self.request.method == Method::Put
            && !self.apart
            && self.request.headers.get("x-amz-copy-source").is_some()
    }

    /// What the signature says of the body. That of a presigned URL is unsigned, unless its query
    /// says otherwise: a header that is not signed cannot.
    fn payload_hash(&self) -> Option<&str> {
        let in_query = |wanted: &str| {
            let mut all = self.query.iter();
            all.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let in_header = self.request.headers.get("x-amz-content-sha256");
        let by_header = self.request.headers.get("authorization").is_some();
        if by_header {
            return in_header.or(Some(UNSIGNED_PAYLOAD));
        }
        match in_query("X-Amz-Signature").or_else(|| in_query("Signature")) {
            None => in_header,
            Some(_) => in_query("X-Amz-Content-Sha256").or(in_header).or(Some(UNSIGNED_PAYLOAD)),
        }
    }
}

/// A value as policies write it, where a request may write it in any case.
fn spelled<'v>(name: &str, value: &'v str) -> &'v str {
    let known: &[&'static str] = match name {
        "x-amz-metadata-directive" | "x-amz-tagging-directive" => &["COPY", "REPLACE"],
        "x-amz-bucket-object-lock-enabled" => &["true", "false"],
        _ => &[],
    };
    known.iter().find(|known| known.eq_ignore_ascii_case(value)).copied().unwrap_or(value)
}

impl Facts for RequestFacts<'_> {
    fn source_ip(&self) -> IpAddr {
        auth::source(self.request, self.auth)
    }

    fn secure(&self) -> bool {
        let proto =
            self.request.headers.get("x-forwarded-proto").filter(|_| self.auth.trust_forwarded);
        proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let said = self.said.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let form = self.apart && !self.said.is_empty();
        let own = !self.apart
            || matches!(name, "user-agent" | "referer")
            || (!form && matches!(name, "if-match" | "if-none-match"));
        let value = said.or_else(|| self.request.headers.get(name).filter(|_| own));
        match name {
            "x-amz-content-sha256" if !form => self.payload_hash(),
            // AWS takes nothing else, so a policy that asks for the header asks for this: with an
            // entity tag that no object has it would be no condition.
            "if-none-match" => value.filter(|value| *value == "*"),
            "user-agent" | "referer" => value.map(|value| shortened(value, MAX_SAID_BYTES)),
            _ => value.map(|value| spelled(name, value)),
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name)
    }

    fn tags(&self) -> Cow<'_, [(String, String)]> {
        if let Some(tags) = &self.tags {
            return Cow::Borrowed(tags);
        }
        let directive = self.header("x-amz-tagging-directive");
        let uploads = self.query.has("uploadId");
        if self.apart || (self.copies() && !uploads && directive != Some("REPLACE")) {
            // The tags come with what is renamed or copied.
            return Cow::Borrowed(&[]);
        }
        let header = self.request.headers.get("x-amz-tagging");
        let tags = header.and_then(|text| tagging::parse_header(text).ok()).unwrap_or_default();
        Cow::Owned(tags.pairs().to_vec())
    }

    fn copy_source(&self) -> Option<String> {
        if self.source.is_some() {
            return self.source.clone();
        }
        let header = self.request.headers.get("x-amz-copy-source").filter(|_| self.copies())?;
        let path = header.split_once("?versionId=").map_or(header, |(path, _)| path);
        let path = uri::decode(path, true)?;
        Some(path.strip_prefix('/').map(str::to_owned).unwrap_or(path))
    }
}

/// The action on a version instead of that on the current object, where there is one.
pub fn of_version(action: &'static str) -> &'static str {
    match action {
        "s3:GetObject" => "s3:GetObjectVersion",
        "s3:GetObjectAcl" => "s3:GetObjectVersionAcl",
        "s3:GetObjectAttributes" => "s3:GetObjectVersionAttributes",
        "s3:GetObjectTagging" => "s3:GetObjectVersionTagging",
        "s3:GetObjectTorrent" => "s3:GetObjectVersionTorrent",
        "s3:PutObjectAcl" => "s3:PutObjectVersionAcl",
        "s3:PutObjectTagging" => "s3:PutObjectVersionTagging",
        "s3:DeleteObject" => "s3:DeleteObjectVersion",
        "s3:DeleteObjectTagging" => "s3:DeleteObjectVersionTagging",
        other => other,
    }
}

/// Rows that the gate decides on elsewhere than before their handlers run.
pub(super) fn decides_itself(row: &Operation) -> bool {
    // Each key of DeleteObjects is an object of its own; a form's signature is among its fields; a
    // browser signs no preflight, and what that answers is no secret.
    matches!(row.name, "DeleteObjects" | "PostObject") || row.method == Method::Options
}

/// Rows whose documents have to be read before they are decided on, because conditions are about
/// what stands there.
pub(super) fn reads_first(row: &Operation) -> bool {
    matches!(row.name, "PutObjectTagging" | "PutObjectRetention" | "PutObjectLegalHold")
}

/// What a write asks for beside the bytes.
const WRITES: [(&str, &str); 4] = [
    ("x-amz-tagging", "s3:PutObjectTagging"),
    ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
    ("x-amz-object-lock-retain-until-date", "s3:PutObjectRetention"),
    ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
];

/// Whether the headers ask for an access control list that gives anything to others.
fn asks_for_list(ask: &Ask<'_>) -> bool {
    let granted = |permission: &Permission| ask.facts.header(permission.header()).is_some();
    ask.facts.header("x-amz-acl").is_some_and(|list| list != "private")
        || Permission::ALL.iter().any(granted)
}

impl App {
    /// The decision on a row; `None` for those that decide themselves. `document`: the body, of
    /// rows for which it [is read first](reads_first).
    pub(super) fn may(
        &self,
        requester: &Requester,
        row: &Operation,
        address: &Address,
        facts: RequestFacts<'_>,
        document: Option<&[u8]>,
    ) -> Result<Option<Authorized>, S3Error> {
        if decides_itself(row) {
            return Ok(None);
        }
        let facts = match document {
            Some(document) => facts.with_document(row, document),
            None => facts,
        };
        let version = facts.parameter("versionId").and_then(VersionId::parse);
        let (bucket, key) = (address.bucket.as_ref(), address.key.as_ref());
        // What is written is no version of before.
        let old = row.target == Target::Object && row.action != "s3:PutObject";
        let version = version.filter(|_| old);
        let action = if version.is_some() { of_version(row.action) } else { row.action };
        let ask = Ask { action, bucket, key, version, facts: &facts };
        let result = match self.gate.authorize(requester, &ask) {
            Ok(authorized) => match row.name {
                "GetObjectAttributes" => {
                    let action = version.map_or("s3:GetObject", |_| "s3:GetObjectVersion");
                    self.gate.authorize(requester, &Ask { action, ..ask }).map(|_| authorized)
                }
                _ if row.action == "s3:PutObject" => self.may_write(authorized, &ask),
                "CreateBucket" => self.may_make(authorized, &ask),
                _ => Ok(authorized),
            },
            denied => denied,
        };
        match result {
            Ok(authorized) => Ok(Some(authorized)),
            Err(denied) => {
                let reads = matches!(row.method, Method::Get | Method::Head);
                if let (Denied::No(_), true, Some(key)) = (&denied, reads, key)
                    && self.is_missing(&ask)?
                    && self.gate.may_know(requester, &ask)?
                {
                    return Err(S3Error::from(Code::NoSuchKey).element("Key", key.as_str()));
                }
                Err(self.refusal(denied, bucket))
            }
        }
    }

    /// Whether an upload may have what its headers ask for beside its bytes.
    ///
    /// Who is allowed to write by a grant may give what it writes a list and tags, and who is
    /// allowed to by the policy of the bucket a list, since what they write is theirs; all others
    /// need the actions for it.
    fn may_write(&self, authorized: Authorized, ask: &Ask<'_>) -> Result<Authorized, Denied> {
        let requester = authorized.requester();
        let lists = asks_for_list(ask);
        let tags = !ask.facts.tags().is_empty();
        let asked = WRITES.iter().filter(|(header, _)| ask.facts.header(header).is_some());
        let mut actions: Vec<&str> = asked.map(|(_, action)| *action).collect();
        actions.extend(lists.then_some("s3:PutObjectAcl"));
        actions.extend(tags.then_some("s3:PutObjectTagging"));
        for action in actions {
            let verdict = self.gate.verdict(requester, &Ask { action, ..*ask })?;
            let implied = match authorized.why() {
                Why::BucketAcl(_) => matches!(action, "s3:PutObjectAcl" | "s3:PutObjectTagging"),
                Why::BucketPolicy(_) => action == "s3:PutObjectAcl",
                _ => false,
            };
            let denied = !verdict.why.is_absence();
            if !verdict.allowed && (denied || !implied) {
                return Err(Denied::No(verdict.why));
            }
        }
        Ok(authorized)
    }

    /// Whether a bucket may be made with what its headers ask for. It will belong to whoever makes
    /// it, who may do all of that then, unless a policy of the user denies it.
    fn may_make(&self, authorized: Authorized, ask: &Ask<'_>) -> Result<Authorized, Denied> {
        let asked = |header: &str| ask.facts.header(header);
        let mut actions = Vec::new();
        actions.extend(asks_for_list(ask).then_some("s3:PutBucketAcl"));
        if asked("x-amz-object-ownership").is_some() {
            actions.push("s3:PutBucketOwnershipControls");
        }
        if asked("x-amz-bucket-object-lock-enabled") == Some("true") {
            actions.extend(["s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"]);
        }
        for action in actions {
            let verdict = self.gate.verdict(authorized.requester(), &Ask { action, ..*ask })?;
            if !verdict.allowed && matches!(verdict.why, Why::UserPolicy(..)) {
                return Err(Denied::No(verdict.why));
            }
        }
        Ok(authorized)
    }

    /// Whether what is asked for is not there.
    fn is_missing(&self, ask: &Ask<'_>) -> Result<bool, StoreError> {
        let (Some(name), Some(key)) = (ask.bucket, ask.key) else { return Ok(false) };
        let Some(bucket) = self.store.bucket(name)? else { return Ok(false) };
        Ok(match ask.version {
            None => self.store.object(bucket.id, key)?.is_none(),
            Some(id) => self.store.version(bucket.id, key, id)?.is_none(),
        })
    }

    /// The error of a refusal.
    fn refusal(&self, denied: Denied, bucket: Option<&BucketName>) -> S3Error {
        match denied {
            Denied::No(why) => {
                log::debug!("denied: {why}");
                Code::AccessDenied.into()
            }
            Denied::NoSuchBucket => {
                let name = bucket.map(ToString::to_string).unwrap_or_default();
                S3Error::from(Code::NoSuchBucket).element("BucketName", name)
            }
            Denied::Failed(error) => error.into(),
        }
    }
}

impl Call<'_, '_> {
    fn facts(&self) -> RequestFacts<'_> {
        RequestFacts::new(self.request, self.query, &self.app.auth)
    }

    /// Decides on a further action, such as reading the source of a copy. With a version, `action`
    /// becomes the one [of versions](of_version).
    pub fn authorize(
        &self,
        action: &'static str,
        bucket: &BucketName,
        key: Option<&ObjectKey>,
        version: Option<VersionId>,
    ) -> Result<Authorized, S3Error> {
        let action = if version.is_some() { of_version(action) } else { action };
        let facts = self.facts();
        self.decide(&Ask { action, bucket: Some(bucket), key, version, facts: &facts })
    }

    fn decide(&self, ask: &Ask<'_>) -> Result<Authorized, S3Error> {
        let authorized = self.app.gate.authorize(&self.requester, ask);
        authorized.map_err(|denied| self.app.refusal(denied, ask.bucket))
    }

    /// Decides again on writing the object of the request, now that it is known what its copy is
    /// made of. `source`: the bucket and the key; `tags`: those that come with it.
    pub fn authorize_copy(
        &self,
        source: (&BucketName, &ObjectKey),
        tags: &[(String, String)],
    ) -> Result<(), S3Error> {
        let facts = RequestFacts {
            source: Some(format!("{}/{}", source.0, source.1)),
            tags: (!tags.is_empty()).then(|| tags.to_vec()),
            ..self.facts()
        };
        let actions = ["s3:PutObject", "s3:PutObjectTagging"];
        for action in &actions[..if tags.is_empty() { 1 } else { 2 }] {
            let (bucket, key) = (Some(self.bucket_name()?), Some(self.key()?));
            self.decide(&Ask { action, bucket, key, version: None, facts: &facts })?;
        }
        Ok(())
    }

    /// For a POST form, whose signature is in its body: sets who sent it, and decides. `fields`:
    /// its fields, with header names for what they stand for.
    pub fn authorize_form(
        &mut self,
        requester: Requester,
        key: &ObjectKey,
        fields: &Headers,
        tags: &[(String, String)],
    ) -> Result<(), S3Error> {
        let bucket = self.bucket_name()?;
        let facts = self.facts().with_form(fields, tags);
        let ask = Ask {
            action: "s3:PutObject",
            bucket: Some(bucket),
            key: Some(key),
            version: None,
            facts: &facts,
        };
        let authorized = self.app.gate.authorize(&requester, &ask);
        let authorized = authorized.and_then(|a| self.app.may_write(a, &ask));
        let authorized = authorized.map_err(|denied| self.app.refusal(denied, Some(bucket)))?;
        self.requester = requester;
        self.authorized = Some(authorized);
        Ok(())
    }

    /// What may be said of an object that an action did not find: who may not list the bucket does
    /// not learn whether there is one. Other errors stay as they are.
    pub fn missing(
        &self,
        error: S3Error,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> S3Error {
        if !matches!(error.code, Code::NoSuchKey | Code::NoSuchVersion) {
            return error;
        }
        let facts = self.facts();
        let ask = Ask { action: "", bucket: Some(bucket), key: Some(key), version, facts: &facts };
        match self.app.gate.may_know(&self.requester, &ask) {
            Ok(true) => error,
            Ok(false) => Code::AccessDenied.into(),
            Err(failed) => failed.into(),
        }
    }

    /// Whether ListBuckets shows a bucket: its owner sees it, and who may list it by a policy of
    /// its own.
    pub fn sees(&self, bucket: &Bucket) -> Result<bool, StoreError> {
        if self.requester.id() == Some(&bucket.owner) {
            return Ok(true);
        }
        let ask = Ask {
            action: "s3:ListBucket",
            bucket: Some(&bucket.name),
            key: None,
            version: None,
            facts: &crate::access::NoFacts,
        };
        let verdict = self.app.gate.verdict(&self.requester, &ask)?;
        Ok(verdict.allowed && matches!(verdict.why, Why::Root | Why::UserPolicy(..)))
    }

    /// The canonical ID of who sent the request, if it owns what it writes.
    pub fn writer(&self) -> Result<Option<&str>, S3Error> {
        let authorized = self.authorized.as_ref().ok_or(Code::AccessDenied)?;
        Ok(authorized.writer())
    }
}
