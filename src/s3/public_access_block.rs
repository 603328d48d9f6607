//! The block of public access on the wire. What it does is in [`crate::access::settings::Block`].

use super::{Call, Code, S3Error, config, document};
use crate::access::settings::Block;
use crate::http::Response;
use crate::store::ConfigKind;
use crate::xml::{self, Writer};

/// GetPublicAccessBlock
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    if bucket.config(ConfigKind::PublicAccessBlock).is_none() {
        return Err(S3Error::from(Code::NoSuchPublicAccessBlockConfiguration)
            .element("BucketName", bucket.name.as_str()));
    }
    let block = Block::of(&bucket);
    let mut xml = Writer::document();
    xml.root("PublicAccessBlockConfiguration");
    xml.value("BlockPublicAcls", block.block_acls);
    xml.value("IgnorePublicAcls", block.ignore_acls);
    xml.value("BlockPublicPolicy", block.block_policy);
    xml.value("RestrictPublicBuckets", block.restrict_buckets);
    xml.close("PublicAccessBlockConfiguration");
    Ok(document(200, xml))
}

/// A switch that is not named is off.
fn parse(text: &[u8]) -> Option<Block> {
    let configuration = xml::parse(text, "PublicAccessBlockConfiguration").ok()?;
    let mut block = Block::default();
    for element in &configuration.children {
        let on = match element.text.trim() {
            on if on.eq_ignore_ascii_case("true") => true,
            off if off.eq_ignore_ascii_case("false") => false,
            _ => return None,
        };
        match element.name.as_str() {
            "BlockPublicAcls" => block.block_acls = on,
            "IgnorePublicAcls" => block.ignore_acls = on,
            "BlockPublicPolicy" => block.block_policy = on,
            "RestrictPublicBuckets" => block.restrict_buckets = on,
            _ => return None,
        }
    }
    Some(block)
}

/// PutPublicAccessBlock
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let block = parse(&call.document()?).ok_or(Code::MalformedXML)?;
    let bucket = call.bucket()?;
    let text = Some(block.to_text());
    call.app.store.set_config(bucket.id, ConfigKind::PublicAccessBlock, text)??;
    Ok(Response::new(200))
}

/// DeletePublicAccessBlock
pub fn delete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    config::delete(call, ConfigKind::PublicAccessBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches() {
        let of = |inside: &str| {
            let root = "PublicAccessBlockConfiguration";
            parse(format!("<{root}>{inside}</{root}>").as_bytes())
        };
        assert_eq!(of(""), Some(Block::default()));
        let some = "<BlockPublicPolicy>TRUE</BlockPublicPolicy>\
                    <IgnorePublicAcls>false</IgnorePublicAcls>";
        assert_eq!(of(some), Some(Block { block_policy: true, ..Block::default() }));
        for bad in ["<BlockPublicPolicy>1</BlockPublicPolicy>", "<Block>true</Block>"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
