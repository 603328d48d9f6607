//! Sub-resources that JOG does not keep, asked for their state: the true answer is that there is
//! none, and clients that probe for it go on. Whoever tries to set one gets NotImplemented.

use super::{Call, Code, S3Error, document, object};
use crate::access;
use crate::http::Response;
use crate::xml::{self, Writer};

/// A setter, or a sub-resource without a true answer.
pub fn not_implemented(_: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    Err(Code::NotImplemented.into())
}

/// The error that says a bucket has no such configuration.
fn none(call: &Call<'_, '_>, code: Code) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    Err(S3Error::from(code).element("BucketName", bucket.name.as_str()))
}

/// An empty document.
fn empty(call: &Call<'_, '_>, root: &str) -> Result<Response, S3Error> {
    call.bucket()?;
    let mut xml = Writer::document();
    xml.root(root);
    xml.close(root);
    Ok(document(200, xml))
}

macro_rules! nothing {
    ($($(#[$doc:meta])* $name:ident => $code:ident;)*) => {
        $($(#[$doc])*
        pub fn $name(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
            none(call, Code::$code)
        })*
    };
}

nothing! {
    /// GetBucketPolicy, GetBucketPolicyStatus
    policy => NoSuchBucketPolicy;
    /// GetPublicAccessBlock
    public_access_block => NoSuchPublicAccessBlockConfiguration;
    /// GetBucketOwnershipControls
    ownership => OwnershipControlsNotFoundError;
    /// GetBucketReplication
    replication => ReplicationConfigurationNotFoundError;
}

/// GetBucketAccelerateConfiguration: off.
pub fn accelerate(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    empty(call, "AccelerateConfiguration")
}

/// GetBucketRequestPayment: the owner pays.
pub fn request_payment(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    call.bucket()?;
    let mut xml = Writer::document();
    xml.root("RequestPaymentConfiguration");
    xml.text("Payer", "BucketOwner");
    xml.close("RequestPaymentConfiguration");
    Ok(document(200, xml))
}

/// PutBucketRequestPayment: the owner pays already, and nobody else can.
pub fn put_request_payment(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let document = xml::parse(&call.document()?, "RequestPaymentConfiguration")
        .map_err(|_| S3Error::from(Code::MalformedXML))?;
    call.bucket()?;
    match document.children.as_slice() {
        [payer] if payer.name == "Payer" && payer.text == "BucketOwner" => Ok(Response::new(200)),
        [payer] if payer.name == "Payer" && payer.text == "Requester" => {
            Err(Code::NotImplemented.with("The payer Requester is not implemented."))
        }
        _ => Err(Code::MalformedXML.into()),
    }
}

/// The owner, who may do everything, and nobody else.
fn owner_only(owner_id: &str) -> Response {
    let owner = access::owner(owner_id);
    let user = |xml: &mut Writer| {
        xml.text("ID", &owner.id);
        xml.text("DisplayName", &owner.display_name);
    };
    let mut xml = Writer::document();
    xml.root("AccessControlPolicy");
    xml.open("Owner");
    user(&mut xml);
    xml.close("Owner");
    xml.open("AccessControlList");
    xml.open("Grant");
    xml.raw("<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">");
    user(&mut xml);
    xml.close("Grantee");
    xml.text("Permission", "FULL_CONTROL");
    xml.close("Grant");
    xml.close("AccessControlList");
    xml.close("AccessControlPolicy");
    document(200, xml)
}

/// GetBucketAcl
pub fn bucket_acl(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    Ok(owner_only(&call.bucket()?.owner))
}

/// GetObjectAcl
pub fn object_acl(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    Ok(owner_only(&object::find(call)?.1.owner))
}
