//! Sub-resources that JOG does not keep, asked for their state: the true answer is that there is
//! none, and clients that probe for it go on. Whoever tries to set one gets NotImplemented.

use super::{Call, Code, S3Error, document, object};
use crate::access;
use crate::http::Response;
use crate::xml::Writer;

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
    /// GetBucketCors
    cors => NoSuchCORSConfiguration;
    /// GetBucketLifecycleConfiguration
    lifecycle => NoSuchLifecycleConfiguration;
    /// GetBucketWebsite
    website => NoSuchWebsiteConfiguration;
    /// GetPublicAccessBlock
    public_access_block => NoSuchPublicAccessBlockConfiguration;
    /// GetBucketOwnershipControls
    ownership => OwnershipControlsNotFoundError;
    /// GetBucketReplication
    replication => ReplicationConfigurationNotFoundError;
}

/// GetBucketLogging: off.
pub fn logging(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    empty(call, "BucketLoggingStatus")
}

/// GetBucketNotificationConfiguration: none.
pub fn notification(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    empty(call, "NotificationConfiguration")
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

/// CORS preflight: no bucket has a configuration.
pub fn preflight(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    if call.header("origin").is_none() {
        return Err(
            Code::BadRequest.with("Insufficient information. Origin request header needed.")
        );
    }
    Err(Code::AccessForbidden.with("CORSResponse: CORS is not enabled for this bucket."))
}
