//! ListParts and ListMultipartUploads.

use super::{find_upload, write_algorithm};
use crate::http::Response;
use crate::limits::MAX_PARTS;
use crate::s3::list::{Names, Users, after_marker, nonempty, page_size, write_prefixes};
use crate::s3::{Call, S3Error, document};
use crate::store::{Entry, ListQuery, Page, Part, Upload};
use crate::types::{ETag, time};
use crate::xml::Writer;

// ---- ListParts ---------------------------------------------------------------------------

/// ListParts
pub fn list_parts(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let max = page_size(call, "max-parts")?;
    let marker = part_marker(call)?;
    let bucket = call.bucket()?;
    let upload = find_upload(call, &bucket)?;
    let mut parts = call.app.store.parts(upload.manifest, marker, max + 1)?;
    let more = max > 0 && parts.len() > max;
    parts.truncate(max);
    let mut users = Users::of(&call.app.gate);
    let mut xml = Writer::with_capacity(1024 + parts.len() * 256);
    xml.root("ListPartsResult");
    xml.text("Bucket", bucket.name.as_str());
    xml.text("Key", upload.key.as_str());
    xml.text("UploadId", &upload.upload_id);
    users.write(&mut xml, "Initiator", &upload.owner);
    users.write(&mut xml, "Owner", &upload.owner);
    xml.text("StorageClass", "STANDARD");
    xml.value("PartNumberMarker", marker);
    xml.value("NextPartNumberMarker", parts.last().map_or(marker, |part| part.number));
    xml.value("MaxParts", max);
    xml.value("IsTruncated", more);
    write_algorithm(&mut xml, upload.checksum);
    for part in &parts {
        write_part(&mut xml, part);
    }
    xml.close("ListPartsResult");
    Ok(document(200, xml))
}

/// The part that a page goes on after. Beyond the last part there is nothing, however far.
fn part_marker(call: &Call<'_, '_>) -> Result<u32, S3Error> {
    let Some(text) = nonempty(call, "part-number-marker") else { return Ok(0) };
    let marker = text.parse::<i32>().ok().and_then(|n| u32::try_from(n).ok());
    marker.map(|n| n.min(MAX_PARTS)).ok_or_else(|| {
        let message = "Argument part-number-marker must be an integer between 0 and 2147483647";
        S3Error::argument("part-number-marker", text, message)
    })
}

fn write_part(xml: &mut Writer, part: &Part) {
    xml.open("Part");
    xml.value("PartNumber", part.number);
    xml.with("LastModified", |out| time::push_iso(out, part.modified_ms));
    xml.etag("ETag", ETag::from_md5(&part.md5).as_str());
    xml.value("Size", part.size);
    if let Some(checksum) = &part.checksum {
        xml.text(checksum.algorithm.element(), &checksum.text());
    }
    xml.close("Part");
}

// ---- ListMultipartUploads ----------------------------------------------------------------

/// ListMultipartUploads
pub fn list_uploads(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let max = page_size(call, "max-uploads")?;
    let names = Names::asked(call)?;
    let prefix = call.param("prefix").unwrap_or_default();
    let delimiter = nonempty(call, "delimiter");
    let key_marker = nonempty(call, "key-marker");
    // Without a key there is nothing that the upload could be one of.
    let id_marker = nonempty(call, "upload-id-marker").filter(|_| key_marker.is_some());
    let after = key_marker.map(|marker| after_marker(marker, prefix, delimiter));
    let bucket = call.bucket()?;
    let query = ListQuery {
        bucket: bucket.id,
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        after: after.map(str::to_owned),
        max,
    };
    let page = call.app.store.list_uploads(&query, id_marker.filter(|_| after == key_marker))?;
    let mut xml = Writer::with_capacity(1024 + page.entries.len() * 640);
    xml.root("ListMultipartUploadsResult");
    xml.text("Bucket", bucket.name.as_str());
    names.write(&mut xml, "KeyMarker", key_marker.unwrap_or_default());
    xml.text("UploadIdMarker", id_marker.unwrap_or_default());
    write_next(&mut xml, &page, names);
    names.write(&mut xml, "Prefix", prefix);
    if let Some(delimiter) = delimiter {
        names.write(&mut xml, "Delimiter", delimiter);
    }
    xml.value("MaxUploads", max);
    names.write_type(&mut xml);
    xml.value("IsTruncated", page.truncated);
    let mut users = Users::of(&call.app.gate);
    for entry in &page.entries {
        if let Entry::Item(upload) = entry {
            write_upload(&mut xml, upload, names, &mut users);
        }
    }
    write_prefixes(&mut xml, &page, names);
    xml.close("ListMultipartUploadsResult");
    Ok(document(200, xml))
}

/// Where the next page goes on.
fn write_next(xml: &mut Writer, page: &Page<Upload>, names: Names) {
    let (key, upload_id) = match page.entries.last().filter(|_| page.truncated) {
        None => return,
        Some(Entry::Item(upload)) => (upload.key.as_str(), upload.upload_id.as_str()),
        Some(Entry::Prefix(prefix)) => (prefix.as_str(), ""),
    };
    names.write(xml, "NextKeyMarker", key);
    xml.text("NextUploadIdMarker", upload_id);
}

fn write_upload(xml: &mut Writer, upload: &Upload, names: Names, users: &mut Users<'_>) {
    xml.open("Upload");
    names.write(xml, "Key", upload.key.as_str());
    xml.text("UploadId", &upload.upload_id);
    users.write(xml, "Initiator", &upload.owner);
    users.write(xml, "Owner", &upload.owner);
    xml.text("StorageClass", "STANDARD");
    xml.with("Initiated", |out| time::push_iso(out, upload.started_ms));
    write_algorithm(xml, upload.checksum);
    xml.close("Upload");
}
