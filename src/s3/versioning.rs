//! Versions: PutBucketVersioning, GetBucketVersioning, ListObjectVersions, and what the other
//! operations say and ask of a version.

use super::list::{Names, Users, after_marker, nonempty, page_size, write_prefixes};
use super::{Call, Code, S3Error, document};
use crate::http::Response;
use crate::store::{Bucket, BucketChange, Entry, ListQuery, Page, Version};
use crate::types::{VersionId, Versioning, time};
use crate::xml::{self, Writer};

// ---- what others use ---------------------------------------------------------------------

/// The parameter versionId.
pub fn asked(call: &Call<'_, '_>) -> Result<Option<VersionId>, S3Error> {
    match call.param("versionId") {
        None => Ok(None),
        Some("") => {
            Err(S3Error::argument("versionId", "", "Version id cannot be the empty string"))
        }
        Some(text) => match VersionId::parse(text) {
            Some(id) => Ok(Some(id)),
            None => Err(S3Error::argument("versionId", text, "Invalid version id specified")),
        },
    }
}

/// Refuses a version in what makes a new one.
pub fn refuse(call: &Call<'_, '_>) -> Result<(), S3Error> {
    match call.param("versionId") {
        None => Ok(()),
        Some(_) => Err(S3Error::argument(
            "ResourceType",
            "versionId",
            "This operation does not accept a version-id.",
        )),
    }
}

/// Adds x-amz-version-id.
pub fn name(response: Response, id: Option<VersionId>) -> Response {
    match id {
        Some(id) => response.header("x-amz-version-id", id.to_string()),
        None => response,
    }
}

// ---- the state of a bucket ---------------------------------------------------------------

/// GetBucketVersioning
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    let mut xml = Writer::document();
    xml.root("VersioningConfiguration");
    match bucket.versioning {
        Versioning::Unversioned => {}
        Versioning::Enabled => xml.text("Status", "Enabled"),
        Versioning::Suspended => xml.text("Status", "Suspended"),
    }
    xml.close("VersioningConfiguration");
    Ok(document(200, xml))
}

/// PutBucketVersioning
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    if call.header("x-amz-mfa").is_some() {
        return Err(S3Error::from(Code::NotImplemented).element("Header", "x-amz-mfa"));
    }
    let versioning = parse(&call.document()?)?;
    let bucket = call.bucket()?;
    call.app.store.change_bucket(bucket.id, BucketChange::Versioning(versioning))?.map_err(
        |refused| match S3Error::from(refused) {
            error if error.code == Code::InvalidBucketState => Code::InvalidBucketState.with(
                "An Object Lock configuration is present on this bucket, so the versioning state \
                 cannot be changed.",
            ),
            error => error,
        },
    )?;
    Ok(Response::new(200))
}

fn parse(document: &[u8]) -> Result<Versioning, S3Error> {
    let malformed = || S3Error::from(Code::MalformedXML);
    let configuration = xml::parse(document, "VersioningConfiguration").map_err(|_| malformed())?;
    let mut state = None;
    for element in &configuration.children {
        match (element.name.as_str(), element.text.trim()) {
            ("Status", "Enabled") => state = Some(Versioning::Enabled),
            ("Status", "Suspended") => state = Some(Versioning::Suspended),
            ("MfaDelete", "Disabled") => {}
            ("MfaDelete", "Enabled") => {
                return Err(Code::NotImplemented.with("MFA delete is not implemented."));
            }
            _ => return Err(malformed()),
        }
    }
    state.ok_or_else(|| {
        Code::IllegalVersioningConfigurationException
            .with("The Versioning element must be specified")
    })
}

// ---- ListObjectVersions ------------------------------------------------------------------

/// ListObjectVersions
pub fn list(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let names = Names::asked(call)?;
    let max = page_size(call, "max-keys")?;
    let prefix = call.param("prefix").unwrap_or_default();
    let delimiter = nonempty(call, "delimiter");
    let key_marker = call.param("key-marker").unwrap_or_default();
    let version_marker = call.param("version-id-marker").unwrap_or_default();
    let after_key = after_marker(key_marker, prefix, delimiter);
    let after = match version_marker {
        "" => None,
        _ if key_marker.is_empty() => {
            let message = "A version-id marker cannot be specified without a key marker.";
            return Err(S3Error::argument("version-id-marker", version_marker, message));
        }
        text => Some(VersionId::parse(text).ok_or_else(|| {
            S3Error::argument("version-id-marker", text, "Invalid version id specified")
        })?),
    };
    let bucket = call.bucket()?;
    let query = ListQuery {
        bucket: bucket.id,
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        after: (!after_key.is_empty()).then(|| after_key.to_owned()),
        max,
    };
    // What is below a common prefix has no versions of its own here.
    let after = after.filter(|_| after_key == key_marker);
    let page = call.app.store.list_versions(&query, after)?;
    let mut xml = Writer::with_capacity(1024 + page.entries.len() * 512);
    xml.root("ListVersionsResult");
    xml.text("Name", bucket.name.as_str());
    names.write(&mut xml, "Prefix", prefix);
    names.write(&mut xml, "KeyMarker", key_marker);
    xml.text("VersionIdMarker", version_marker);
    if page.truncated {
        write_next(&mut xml, &page, names);
    }
    xml.value("MaxKeys", max);
    if let Some(delimiter) = delimiter {
        names.write(&mut xml, "Delimiter", delimiter);
    }
    names.write_type(&mut xml);
    xml.value("IsTruncated", page.truncated);
    let mut users = Users::of(&call.app.gate);
    for entry in &page.entries {
        if let Entry::Item(version) = entry {
            write(&mut xml, version, names, &mut users);
        }
    }
    write_prefixes(&mut xml, &page, names);
    xml.close("ListVersionsResult");
    Ok(document(200, xml))
}

fn write_next(xml: &mut Writer, page: &Page<Version>, names: Names) {
    match page.entries.last() {
        Some(Entry::Item(version)) => {
            names.write(xml, "NextKeyMarker", version.summary.key.as_str());
            xml.value("NextVersionIdMarker", version.version_id);
        }
        Some(Entry::Prefix(prefix)) => names.write(xml, "NextKeyMarker", prefix),
        None => {}
    }
}

fn write(xml: &mut Writer, version: &Version, names: Names, users: &mut Users<'_>) {
    let Version { summary, version_id, latest, marker, .. } = version;
    let element = if *marker { "DeleteMarker" } else { "Version" };
    xml.open(element);
    names.write(xml, "Key", summary.key.as_str());
    xml.value("VersionId", version_id);
    xml.value("IsLatest", latest);
    xml.with("LastModified", |out| time::push_iso(out, summary.modified_ms));
    if !marker {
        xml.etag("ETag", summary.etag.as_str());
        if let Some((algorithm, kind)) = summary.checksum {
            xml.text("ChecksumAlgorithm", algorithm.name());
            xml.text("ChecksumType", kind.name());
        }
        xml.value("Size", summary.size);
        xml.text("StorageClass", "STANDARD");
    }
    users.write(xml, "Owner", &summary.owner);
    xml.close(element);
}

/// The id that a version of a bucket has in answers.
pub fn shown(bucket: &Bucket, id: VersionId) -> Option<VersionId> {
    (bucket.versioning != Versioning::Unversioned).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations() {
        let of = |inside: &str| {
            let text = format!("<VersioningConfiguration>{inside}</VersioningConfiguration>");
            parse(text.as_bytes()).map_err(|e| e.code)
        };
        assert_eq!(of("<Status>Enabled</Status>"), Ok(Versioning::Enabled));
        let disabled = "<MfaDelete>Disabled</MfaDelete><Status>Suspended</Status>";
        assert_eq!(of(disabled), Ok(Versioning::Suspended));
        let mfa = "<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>";
        assert_eq!(of(mfa), Err(Code::NotImplemented));
        assert_eq!(of(""), Err(Code::IllegalVersioningConfigurationException));
        assert_eq!(of("<Status>Off</Status>"), Err(Code::MalformedXML));
        assert_eq!(of("<Other/>"), Err(Code::MalformedXML));
    }
}
