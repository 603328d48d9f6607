//! A bucket's ServerSideEncryptionConfiguration: what its new objects get if their requests do not
//! say, and whether they may have keys of their clients.

use super::encryption::{AES256, Key, kms};
use super::{Call, Code, S3Error};
use crate::http::{Payload, Response};
use crate::store::{Bucket, ConfigKind};
use crate::xml::{self, Element, Writer};

/// PutBucketEncryption
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let document = call.document()?;
    let bucket = call.bucket()?;
    let wanted = BucketEncryption::parse(&document)?;
    if wanted.server {
        // A default that nobody could honour would refuse every write.
        Key::server(call.app.master.as_ref())?;
    }
    set(call, &bucket, Some(wanted.document()))?;
    Ok(Response::new(200))
}

/// GetBucketEncryption
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    let document = bucket.config(ConfigKind::Encryption).ok_or_else(|| {
        S3Error::from(Code::ServerSideEncryptionConfigurationNotFoundError)
            .element("BucketName", bucket.name.as_str())
    })?;
    Ok(Response::new(200)
        .header("content-type", "application/xml")
        .payload(Payload::Bytes(document.as_bytes().to_vec())))
}

/// DeleteBucketEncryption
pub fn delete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    set(call, &bucket, None)?;
    Ok(Response::new(204))
}

fn set(call: &Call<'_, '_>, bucket: &Bucket, document: Option<String>) -> Result<(), S3Error> {
    Ok(call.app.store.set_config(bucket.id, ConfigKind::Encryption, document)??)
}

/// A bucket's ServerSideEncryptionConfiguration.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct BucketEncryption {
    /// SSE-S3 is the default of new objects.
    pub server: bool,
    /// New objects with a customer's key are refused.
    pub blocks_customer: bool,
    /// BucketKeyEnabled, which is without effect unless SSE-KMS is used, also on AWS.
    bucket_key: Option<bool>,
    /// BlockedEncryptionTypes was given.
    blocked_given: bool,
}

impl BucketEncryption {
    /// That of a bucket; one without has no default and blocks nothing.
    pub fn of(bucket: &Bucket) -> Result<Self, S3Error> {
        match bucket.config(ConfigKind::Encryption) {
            None => Ok(Self::default()),
            Some(document) => Self::parse(document.as_bytes()).map_err(|_| S3Error {
                source: Some(format!(
                    "{} has an encryption configuration of another kind",
                    bucket.name
                )),
                ..Code::InternalError.into()
            }),
        }
    }

    /// Reads the document of PutBucketEncryption.
    pub fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let malformed = || S3Error::from(Code::MalformedXML);
        let root =
            xml::parse(document, "ServerSideEncryptionConfiguration").map_err(|_| malformed())?;
        // AWS takes one rule.
        let [rule] = &root.children[..] else { return Err(malformed()) };
        if rule.name != "Rule" || rule.children.is_empty() {
            return Err(malformed());
        }
        let mut found = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for child in &rule.children {
            if seen.contains(&child.name.as_str()) {
                return Err(malformed());
            }
            seen.push(&child.name);
            match child.name.as_str() {
                "ApplyServerSideEncryptionByDefault" => found.server = parse_default(child)?,
                "BucketKeyEnabled" => {
                    let on = child.text.trim().parse().map_err(|_| malformed())?;
                    found.bucket_key = Some(on);
                }
                "BlockedEncryptionTypes" => {
                    found.blocked_given = true;
                    found.blocks_customer = parse_blocked(child)?;
                }
                _ => return Err(malformed()),
            }
        }
        if !found.server && !found.blocked_given {
            return Err(malformed());
        }
        Ok(found)
    }

    /// The document of GetBucketEncryption.
    pub fn document(&self) -> String {
        let mut xml = Writer::document();
        xml.root("ServerSideEncryptionConfiguration");
        xml.open("Rule");
        if self.server {
            xml.open("ApplyServerSideEncryptionByDefault");
            xml.text("SSEAlgorithm", AES256);
            xml.close("ApplyServerSideEncryptionByDefault");
        }
        if let Some(on) = self.bucket_key {
            xml.value("BucketKeyEnabled", on);
        }
        if self.blocked_given {
            xml.open("BlockedEncryptionTypes");
            xml.text("EncryptionType", if self.blocks_customer { "SSE-C" } else { "NONE" });
            xml.close("BlockedEncryptionTypes");
        }
        xml.close("Rule");
        xml.close("ServerSideEncryptionConfiguration");
        String::from_utf8(xml.finish()).expect("it was made of strings")
    }
}

/// ApplyServerSideEncryptionByDefault; always true, since what is not SSE-S3 is refused.
fn parse_default(element: &Element) -> Result<bool, S3Error> {
    let known = |e: &Element| matches!(e.name.as_str(), "SSEAlgorithm" | "KMSMasterKeyID");
    let algorithm = element.child_text("SSEAlgorithm").map(str::trim);
    match algorithm.filter(|_| element.children.iter().all(known)) {
        Some("aws:kms" | "aws:kms:dsse") => Err(kms()),
        Some(AES256) => match element.child_text("KMSMasterKeyID") {
            None => Ok(true),
            Some(id) => Err(S3Error::argument(
                "KMSMasterKeyID",
                id,
                "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms \
                 or aws:kms:dsse",
            )),
        },
        _ => Err(Code::MalformedXML.into()),
    }
}

/// BlockedEncryptionTypes; whether SSE-C is blocked.
fn parse_blocked(element: &Element) -> Result<bool, S3Error> {
    let types: Vec<&str> = element.children("EncryptionType").map(|e| e.text.trim()).collect();
    match types[..] {
        ["NONE"] => Ok(false),
        ["SSE-C"] => Ok(true),
        _ => Err(Code::MalformedXML.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations() {
        let document = |rules: &str| {
            format!(
                "<ServerSideEncryptionConfiguration>{rules}</ServerSideEncryptionConfiguration>"
            )
        };
        let parse =
            |rules: &str| BucketEncryption::parse(document(rules).as_bytes()).map_err(|e| e.code);
        let apply = |inner: &str| {
            format!(
                "<Rule><ApplyServerSideEncryptionByDefault>{inner}\
                 </ApplyServerSideEncryptionByDefault></Rule>"
            )
        };
        let aes = "<SSEAlgorithm>AES256</SSEAlgorithm>";
        assert_eq!(parse(&apply(aes)).map(|c| (c.server, c.blocks_customer)), Ok((true, false)));
        let blocks = "<Rule><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType>\
                      </BlockedEncryptionTypes></Rule>";
        assert_eq!(parse(blocks).map(|c| (c.server, c.blocks_customer)), Ok((false, true)));
        let all = apply(aes).replace(
            "</Rule>",
            "<BucketKeyEnabled>true</BucketKeyEnabled><BlockedEncryptionTypes>\
             <EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes></Rule>",
        );
        for rules in [&apply(aes), blocks, &all] {
            let config = parse(rules).unwrap();
            assert_eq!(BucketEncryption::parse(config.document().as_bytes()).unwrap(), config);
        }
        let kms = "<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID>";
        assert_eq!(parse(&apply(kms)), Err(Code::NotImplemented));
        let mixed = apply(&format!("{aes}<KMSMasterKeyID>k</KMSMasterKeyID>"));
        assert_eq!(parse(&mixed), Err(Code::InvalidArgument));
        for bad in [
            "",
            "<Rule/>",
            "<Other/>",
            &apply(""),
            &apply("<SSEAlgorithm>AES128</SSEAlgorithm>"),
            &apply(&format!("{aes}<More/>")),
            &format!("{}{}", apply(aes), apply(aes)),
            "<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>",
            &all.replace("true", "yes"),
            &all.replace("NONE", "SSE-S3"),
        ] {
            assert_eq!(parse(bad), Err(Code::MalformedXML), "{bad}");
        }
    }
}
