//! What a request has to be allowed: the actions that its row, its headers and its query ask for,
//! put to the access gate. The gate decides; see [`crate::access`].

use super::table::{Operation, Target};
use super::uri::{self, Query};
use super::{Address, App, Call, Code, S3Error, tagging};
use crate::access::{Ask, Authorized, Denied, Facts, Requester, Why};
use crate::auth::{self, AuthConfig};
use crate::http::{Headers, Method, Request};
use crate::limits::MAX_OBJECT_TAGS;
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
    /// The headers that describe what is written are fields of a form.
    form: bool,
}

impl<'a> RequestFacts<'a> {
    /// Those of a request without a body that matters.
    pub fn new(request: &'a Request, query: &'a Query, auth: &'a AuthConfig) -> Self {
        Self { request, query, auth, said: Vec::new(), tags: None, form: false }
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
        self.form = true;
        self
    }
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
        let own = !self.form || matches!(name, "user-agent" | "referer");
        said.or_else(|| self.request.headers.get(name).filter(|_| own))
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name)
    }

    fn tags(&self) -> Cow<'_, [(String, String)]> {
        if let Some(tags) = &self.tags {
            return Cow::Borrowed(tags);
        }
        let header = self.request.headers.get("x-amz-tagging");
        let tags = header.and_then(|text| tagging::parse_header(text).ok()).unwrap_or_default();
        Cow::Owned(tags.pairs().to_vec())
    }

    fn copy_source(&self) -> Option<String> {
        let header = self.request.headers.get("x-amz-copy-source")?;
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
        let version = version.filter(|_| row.target == Target::Object);
        let action = if version.is_some() { of_version(row.action) } else { row.action };
        let ask = Ask { action, bucket, key, version, facts: &facts };
        let result = match self.gate.authorize(requester, &ask) {
            Ok(authorized) => match row.name {
                "GetObjectAttributes" => {
                    let action = version.map_or("s3:GetObject", |_| "s3:GetObjectVersion");
                    self.gate.authorize(requester, &Ask { action, ..ask }).map(|_| authorized)
                }
                _ if row.action == "s3:PutObject" => self.may_write(authorized, &ask),
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
        let lists = ask.facts.header("x-amz-acl").is_some_and(|list| list != "private")
            || crate::access::Permission::ALL
                .iter()
                .any(|permission| ask.facts.header(permission.header()).is_some());
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
        let ask = Ask { action, bucket: Some(bucket), key, version, facts: &facts };
        let authorized = self.app.gate.authorize(&self.requester, &ask);
        authorized.map_err(|denied| self.app.refusal(denied, Some(bucket)))
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
