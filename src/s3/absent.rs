//! Sub-resources that JOG does not keep, asked for their state: the true answer is that there is
//! none, and clients that probe for it go on. Whoever tries to set one gets NotImplemented.

use super::{Call, Code, S3Error, document};
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
