//! GetObjectAttributes.

use super::{Call, S3Error, document, encryption, object, versioning};
use crate::http::Response;
use crate::limits::{MAX_LIST_KEYS, MAX_PARTS};
use crate::store::{Data, Object, Part};
use crate::types::{Checksum, time};
use crate::xml::Writer;

/// What may be asked for.
const ATTRIBUTES: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

/// GetObjectAttributes
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let wanted: Vec<&str> = call
        .request
        .headers
        .all("x-amz-object-attributes")
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    let bad = |value: &str| {
        S3Error::argument("x-amz-object-attributes", value, "Invalid attribute name specified.")
    };
    if wanted.is_empty() {
        return Err(bad(""));
    }
    if let Some(unknown) = wanted.iter().find(|name| !ATTRIBUTES.contains(name)) {
        return Err(bad(unknown));
    }
    let (bucket, object) = object::find(call)?;
    encryption::of_read(call, object.extra.seal.as_ref())?;
    let mut xml = Writer::document();
    xml.root("GetObjectAttributesResponse");
    if wanted.contains(&"ETag") {
        xml.text("ETag", object.etag.as_str());
    }
    if wanted.contains(&"Checksum") {
        let checksum = object::stored_checksum(&object);
        xml.open("Checksum");
        value(&mut xml, &checksum);
        xml.text("ChecksumType", checksum.kind.name());
        xml.close("Checksum");
    }
    if wanted.contains(&"ObjectParts") {
        parts(call, &object, &mut xml)?;
    }
    if wanted.contains(&"StorageClass") {
        xml.text("StorageClass", "STANDARD");
    }
    if wanted.contains(&"ObjectSize") {
        xml.value("ObjectSize", object.size);
    }
    xml.close("GetObjectAttributesResponse");
    let response = document(200, xml).header("last-modified", time::http(object.modified_ms));
    Ok(versioning::name(response, versioning::shown(&bucket, object.version_id())))
}

fn value(xml: &mut Writer, checksum: &Checksum) {
    xml.text(checksum.algorithm.element(), &checksum.text());
}

/// A number of a header, within bounds.
fn number(call: &Call<'_, '_>, name: &str, default: u32, max: u32) -> Result<u32, S3Error> {
    match call.header(name) {
        None => Ok(default),
        Some(text) => text
            .parse::<u32>()
            .map(|n| n.min(max))
            .map_err(|_| S3Error::argument(name, text, format!("{name} must be an integer."))),
    }
}

/// ObjectParts: the count, and one page of the parts.
fn parts(call: &Call<'_, '_>, object: &Object, xml: &mut Writer) -> Result<(), S3Error> {
    let Data::Parts(manifest) = object.data else { return Ok(()) };
    let max = number(call, "x-amz-max-parts", MAX_LIST_KEYS as u32, MAX_LIST_KEYS as u32)?;
    let marker = number(call, "x-amz-part-number-marker", 0, MAX_PARTS)?;
    let all = call.app.store.parts(manifest, 0, MAX_PARTS as usize)?;
    xml.open("ObjectParts");
    xml.value("PartsCount", all.len());
    let page: Vec<&Part> = all.iter().filter(|p| p.number > marker).take(max as usize).collect();
    let last = page.last().map_or(marker, |p| p.number);
    xml.value("PartNumberMarker", marker);
    xml.value("NextPartNumberMarker", last);
    xml.value("MaxParts", max);
    xml.value("IsTruncated", all.last().is_some_and(|p| p.number > last));
    for part in page {
        xml.open("Part");
        xml.value("PartNumber", part.number);
        xml.value("Size", part.size);
        if let Some(checksum) = &part.checksum {
            value(xml, checksum);
        }
        xml.close("Part");
    }
    xml.close("ObjectParts");
    Ok(())
}
