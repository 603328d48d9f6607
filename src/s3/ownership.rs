//! Object ownership controls: whether access control lists of a bucket count, and whose its objects
//! are. What they mean is in [`crate::access::settings::Ownership`].

use super::{Call, Code, S3Error, config, document};
use crate::access::settings::{Ownership, bucket_acl};
use crate::http::Response;
use crate::store::ConfigKind;
use crate::xml::{self, Writer};

/// GetBucketOwnershipControls
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    let ownership = Ownership::of(&bucket);
    if ownership == Ownership::Undecided {
        return Err(S3Error::from(Code::OwnershipControlsNotFoundError)
            .element("BucketName", bucket.name.as_str()));
    }
    let mut xml = Writer::document();
    xml.root("OwnershipControls");
    xml.open("Rule");
    xml.text("ObjectOwnership", ownership.name());
    xml.close("Rule");
    xml.close("OwnershipControls");
    Ok(document(200, xml))
}

fn parse(text: &[u8]) -> Option<Ownership> {
    let controls = xml::parse(text, "OwnershipControls").ok()?;
    let [rule] = controls.children.as_slice() else { return None };
    let [ownership] = rule.children.as_slice() else { return None };
    let named = rule.name == "Rule" && ownership.name == "ObjectOwnership";
    Ownership::parse(ownership.text.trim()).filter(|_| named)
}

/// PutBucketOwnershipControls
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let ownership = parse(&call.document()?).ok_or(Code::MalformedXML)?;
    let bucket = call.bucket()?;
    // A list that gives something to others would silently count no more.
    if !ownership.has_acls() && !bucket_acl(&bucket).is_private(&bucket.owner) {
        return Err(Code::InvalidBucketAclWithObjectOwnership.into());
    }
    let name = Some(ownership.name().to_owned());
    call.app.store.set_config(bucket.id, ConfigKind::Ownership, name)??;
    Ok(Response::new(200))
}

/// DeleteBucketOwnershipControls
pub fn delete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    config::delete(call, ConfigKind::Ownership)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls() {
        let of = |inside: &str| {
            parse(format!("<OwnershipControls>{inside}</OwnershipControls>").as_bytes())
        };
        let rule = |name: &str| format!("<Rule><ObjectOwnership>{name}</ObjectOwnership></Rule>");
        assert_eq!(of(&rule("ObjectWriter")), Some(Ownership::ObjectWriter));
        for bad in ["", "<Rule/>", "<Rule><X>ObjectWriter</X></Rule>", &rule("Nobody")] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(of(&rule("ObjectWriter").repeat(2)), None);
    }
}
