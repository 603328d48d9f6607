//! Access control lists on the wire: Get and Put of buckets and objects, the headers of uploads
//! that name one, and with it whose an object to be is.

use super::{Call, Code, S3Error, document, object, versioning};
use crate::access::acl::{Acl, Canned, Grant, Grantee, Permission};
use crate::access::settings::{Block, Ownership, bucket_acl};
use crate::access::{Owner, ROOT_ID};
use crate::http::{Headers, Response};
use crate::store::{Bucket, Change, ConfigKind};
use crate::xml::{self, Element, Writer};

// ---- what requests say -------------------------------------------------------------------

/// A list that a request asks for.
enum Asked {
    Canned(Canned),
    Grants(Acl),
}

impl Asked {
    /// That of the headers, if they name one.
    fn from_headers(call: &Call<'_, '_>, headers: &Headers) -> Result<Option<Self>, S3Error> {
        let mut grants = Vec::new();
        for permission in Permission::ALL {
            for value in headers.all(permission.header()) {
                for grantee in value.split(',') {
                    let grantee = header_grantee(call, permission.header(), grantee)?;
                    grants.push(Grant { grantee, permission });
                }
            }
        }
        match headers.get("x-amz-acl") {
            Some(_) if !grants.is_empty() => Err(Code::InvalidRequest
                .with("Specifying both Canned ACLs and Header Grants is not allowed")),
            Some(name) => match Canned::parse(name) {
                Some(canned) => Ok(Some(Self::Canned(canned))),
                None => Err(S3Error::argument("x-amz-acl", name, "Invalid canned ACL")),
            },
            None if grants.is_empty() => Ok(None),
            None => Ok(Some(Self::Grants(Acl::new(grants).ok_or_else(malformed)?))),
        }
    }

    fn grants(self, owner: &str, bucket_owner: &str) -> Acl {
        match self {
            Self::Canned(canned) => canned.grants(owner, bucket_owner),
            Self::Grants(acl) => acl,
        }
    }

    fn canned(&self) -> Option<Canned> {
        match self {
            Self::Canned(canned) => Some(*canned),
            Self::Grants(_) => None,
        }
    }
}

fn malformed() -> S3Error {
    Code::MalformedACLError.into()
}

/// `id="…"`, `uri="…"` or `emailAddress="…"`, with or without quotes.
fn header_grantee(call: &Call<'_, '_>, header: &str, text: &str) -> Result<Grantee, S3Error> {
    let bad = || S3Error::argument(header, text, "Argument format not recognized");
    let (kind, value) = text.split_once('=').ok_or_else(bad)?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    match kind.trim().to_ascii_lowercase().as_str() {
        "id" => user(call, value),
        "uri" => group(value),
        "emailaddress" => by_email(call, value),
        _ => Err(bad()),
    }
}

/// A user that there is.
fn user(call: &Call<'_, '_>, id: &str) -> Result<Grantee, S3Error> {
    match id == ROOT_ID || call.app.gate.users().by_id(id).is_some() {
        true => Ok(Grantee::User(id.to_owned())),
        false => Err(S3Error::argument("CanonicalUser/ID", id, "Invalid id")),
    }
}

fn by_email(call: &Call<'_, '_>, email: &str) -> Result<Grantee, S3Error> {
    match call.app.gate.users().by_email(email) {
        Some(user) => Ok(Grantee::User(user.canonical_id.clone())),
        None => Err(S3Error::from(Code::UnresolvableGrantByEmailAddress)),
    }
}

fn group(uri: &str) -> Result<Grantee, S3Error> {
    Grantee::group(uri).ok_or_else(|| S3Error::argument("Group/URI", uri, "Invalid group uri"))
}

/// The list of an AccessControlPolicy document; AccessDenied if it names another owner.
fn parse(call: &Call<'_, '_>, text: &[u8], owner: &str) -> Result<Acl, S3Error> {
    let policy =
        xml::parse(text, "AccessControlPolicy").map_err(|_| S3Error::from(Code::MalformedXML))?;
    let named = policy.child("Owner").and_then(|owner| owner.child_text("ID"));
    if named.ok_or_else(malformed)?.trim() != owner {
        return Err(Code::AccessDenied.into());
    }
    let list = policy.child("AccessControlList").ok_or_else(malformed)?;
    let mut grants = Vec::new();
    for grant in &list.children {
        let permission = grant.child_text("Permission").and_then(|t| Permission::parse(t.trim()));
        let permission = permission.ok_or_else(malformed)?;
        let grantee = grant.child("Grantee").filter(|_| grant.name == "Grant");
        let grantee = document_grantee(call, grantee.ok_or_else(malformed)?)?;
        grants.push(Grant { grantee, permission });
    }
    Acl::new(grants).ok_or_else(malformed)
}

fn document_grantee(call: &Call<'_, '_>, grantee: &Element) -> Result<Grantee, S3Error> {
    let kind = grantee.attributes.iter().find(|(name, _)| name == "type");
    let text = |name| grantee.child_text(name).map(str::trim).ok_or_else(malformed);
    match kind.map(|(_, kind)| kind.as_str()) {
        Some("CanonicalUser") => user(call, text("ID")?),
        Some("Group") => group(text("URI")?),
        Some("AmazonCustomerByEmail") => by_email(call, text("EmailAddress")?),
        _ => Err(malformed()),
    }
}

fn not_supported() -> S3Error {
    Code::AccessControlListNotSupported.into()
}

/// Refuses a list that the public access block does not let in.
fn check_block(bucket: &Bucket, acl: &Acl) -> Result<(), S3Error> {
    match Block::of(bucket).block_acls && acl.is_public() {
        true => Err(Code::AccessDenied
            .with("User is not authorized to set public ACLs: BlockPublicAcls is enabled.")),
        false => Ok(()),
    }
}

// ---- objects to be -----------------------------------------------------------------------

/// Whose an object to be is, and its list as it is kept. `headers`: those of the upload, or what
/// stands for them in a form.
pub fn of_new(
    call: &Call<'_, '_>,
    bucket: &Bucket,
    headers: &Headers,
) -> Result<(String, Option<String>), S3Error> {
    let asked = Asked::from_headers(call, headers)?;
    let canned = asked.as_ref().and_then(Asked::canned);
    let ownership = Ownership::of(bucket);
    let owner = ownership.owner_of_new(bucket, call.writer()?, canned);
    let Some(asked) = asked else { return Ok((owner.to_owned(), None)) };
    let acl = asked.grants(owner, &bucket.owner);
    if !ownership.has_acls() {
        // What says no more than what is so anyway is taken, as on AWS.
        let same = match canned {
            Some(canned) => canned == Canned::BucketOwnerFullControl,
            None => acl.is_private(&bucket.owner),
        };
        return if same { Ok((owner.to_owned(), None)) } else { Err(not_supported()) };
    }
    check_block(bucket, &acl)?;
    let kept = (acl != Acl::private(owner)).then(|| acl.to_json());
    Ok((owner.to_owned(), kept))
}

/// The configurations of a bucket to be, from the headers of CreateBucket.
pub fn of_new_bucket(
    call: &Call<'_, '_>,
    owner: &str,
) -> Result<Vec<(ConfigKind, String)>, S3Error> {
    let mut configs = Vec::new();
    let ownership = match call.header("x-amz-object-ownership") {
        None => Ownership::Undecided,
        Some(name) => {
            let message = "Invalid x-amz-object-ownership header";
            let ownership = Ownership::parse(name)
                .ok_or_else(|| S3Error::argument("x-amz-object-ownership", name, message))?;
            configs.push((ConfigKind::Ownership, name.to_owned()));
            ownership
        }
    };
    if let Some(asked) = Asked::from_headers(call, call.headers())? {
        let acl = asked.grants(owner, owner);
        let private = acl == Acl::private(owner);
        if !ownership.has_acls() && !private {
            return Err(Code::InvalidBucketAclWithObjectOwnership.into());
        }
        if !private {
            configs.push((ConfigKind::Acl, acl.to_json()));
        }
    }
    Ok(configs)
}

// ---- answers -----------------------------------------------------------------------------

fn write(call: &Call<'_, '_>, owner: &str, acl: &Acl) -> Response {
    let user = |xml: &mut Writer, user: &Owner| {
        xml.text("ID", &user.id);
        xml.text("DisplayName", &user.display_name);
    };
    let mut xml = Writer::document();
    xml.root("AccessControlPolicy");
    xml.open("Owner");
    user(&mut xml, &call.app.gate.owner(owner));
    xml.close("Owner");
    xml.open("AccessControlList");
    // Groups first, as AWS and its clients have it.
    let (groups, users): (Vec<&Grant>, Vec<&Grant>) =
        acl.grants().iter().partition(|grant| grant.grantee.uri().is_some());
    for grant in groups.into_iter().chain(users) {
        xml.open("Grant");
        const SCHEMA: &str = "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";
        xml.raw(SCHEMA);
        match &grant.grantee {
            Grantee::User(id) => {
                xml.raw(" xsi:type=\"CanonicalUser\">");
                user(&mut xml, &call.app.gate.owner(id));
            }
            group => {
                xml.raw(" xsi:type=\"Group\">");
                xml.text("URI", group.uri().unwrap_or_default());
            }
        }
        xml.close("Grantee");
        xml.text("Permission", grant.permission.name());
        xml.close("Grant");
    }
    xml.close("AccessControlList");
    xml.close("AccessControlPolicy");
    document(200, xml)
}

// ---- operations --------------------------------------------------------------------------

/// The list that a Put sends, in its headers or as a document.
fn sent(call: &mut Call<'_, '_>, owner: &str, bucket_owner: &str) -> Result<Acl, S3Error> {
    let text = call.document()?;
    let asked = Asked::from_headers(call, call.headers())?;
    match asked {
        Some(_) if !text.is_empty() => Err(Code::UnexpectedContent.into()),
        Some(asked) => Ok(asked.grants(owner, bucket_owner)),
        None if text.is_empty() => Err(Code::MissingSecurityHeader.into()),
        None => parse(call, &text, owner),
    }
}

/// GetBucketAcl
pub fn get_bucket(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    Ok(write(call, &bucket.owner, &bucket_acl(&bucket)))
}

/// PutBucketAcl
pub fn put_bucket(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    if !Ownership::of(&bucket).has_acls() {
        return Err(not_supported());
    }
    let acl = sent(call, &bucket.owner, &bucket.owner)?;
    check_block(&bucket, &acl)?;
    let kept = (acl != Acl::private(&bucket.owner)).then(|| acl.to_json());
    call.app.store.set_config(bucket.id, ConfigKind::Acl, kept)??;
    Ok(Response::new(200))
}

/// GetObjectAcl
pub fn get_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let (bucket, object) = object::find(call)?;
    let ownership = Ownership::of(&bucket);
    let owner = ownership.owner_of(&bucket, &object.owner);
    let acl = match &object.extra.acl {
        Some(json) if ownership.has_acls() => Acl::from_json(json),
        _ => Acl::private(owner),
    };
    let response = write(call, owner, &acl);
    Ok(versioning::name(response, versioning::shown(&bucket, object.version_id())))
}

/// PutObjectAcl
pub fn put_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    if !Ownership::of(&bucket).has_acls() {
        return Err(not_supported());
    }
    let (_, object) = object::find(call)?;
    let acl = sent(call, &object.owner, &bucket.owner)?;
    check_block(&bucket, &acl)?;
    let kept = (acl != Acl::private(&object.owner)).then(|| acl.to_json());
    let id = object::change(call, Change::Acl(kept))?;
    Ok(versioning::name(Response::new(200), id))
}
