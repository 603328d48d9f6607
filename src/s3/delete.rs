//! DeleteObject and DeleteObjects.

use super::logging::Batched;
use super::{Call, Code, S3Error, conditions, document, lock, versioning};
use crate::http::Response;
use crate::limits::MAX_DELETE_KEYS;
use crate::store::{ConfigKind, Delete as Removal, Deleted, Refused};
use crate::types::{ETagList, KeyError, ObjectKey, Precondition, VersionId, Violation};
use crate::xml::{self, Element, Writer};

/// Refuses what a delete cannot honour.
fn refuse_unsupported(call: &Call<'_, '_>) -> Result<(), S3Error> {
    for name in ["x-amz-mfa", "if-none-match"] {
        if call.header(name).is_some() {
            return Err(S3Error::from(Code::NotImplemented).element("Header", name));
        }
    }
    Ok(())
}

/// Whether an object is gone after a delete, by what the store says. One that was not there is
/// gone, whatever the conditions (AWS, DeleteObject: "if the object doesn't exist, the operation
/// will return a 204").
fn gone(result: Result<Deleted, Refused>) -> Result<Deleted, Refused> {
    match result {
        Ok(deleted) => Ok(deleted),
        Err(Refused::Precondition(Violation::Missing)) => Ok(Deleted::default()),
        Err(refused) => Err(refused),
    }
}

// ---- DeleteObject ------------------------------------------------------------------------

/// DeleteObject
pub fn delete_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    refuse_unsupported(call)?;
    let version = versioning::asked(call)?;
    let if_ = condition(
        call.header("if-match"),
        call.header("x-amz-if-match-last-modified-time"),
        call.header("x-amz-if-match-size"),
    )
    .map_err(|(what, value)| {
        let header = match what {
            Wrong::Time => "x-amz-if-match-last-modified-time",
            Wrong::Size => "x-amz-if-match-size",
        };
        S3Error::argument(header, value, format!("Value for {header} header is invalid."))
    })?;
    let removal = Removal { version, if_, bypass: lock::bypass(call, call.key()?)? };
    let bucket = call.bucket()?;
    let deleted = gone(call.deleting(&bucket).delete_object(bucket.id, call.key()?, removal)?)?;
    let response = versioning::name(Response::new(204), deleted.version_id);
    Ok(if deleted.marker { response.header("x-amz-delete-marker", "true") } else { response })
}

/// Which condition is malformed.
enum Wrong {
    Time,
    Size,
}

/// The condition of a delete; or what is malformed, and its value.
fn condition<'a>(
    etag: Option<&str>,
    modified: Option<&'a str>,
    size: Option<&'a str>,
) -> Result<Precondition, (Wrong, &'a str)> {
    Ok(Precondition {
        if_match: etag.map(ETagList::parse),
        if_none_match: None,
        if_modified_time: match modified {
            None => None,
            Some(text) => Some(conditions::seconds(text).ok_or((Wrong::Time, text))?),
        },
        if_size: match size {
            None => None,
            Some(text) => Some(text.trim().parse().map_err(|_| (Wrong::Size, text))?),
        },
    })
}

// ---- DeleteObjects -----------------------------------------------------------------------

/// A Delete document.
struct Delete {
    objects: Vec<Target>,
    quiet: bool,
}

/// One object of a Delete document.
struct Target {
    key: String,
    /// The version, as it was named.
    version: Option<String>,
    /// What the store is asked to do, or why it is not asked.
    job: Result<(ObjectKey, Removal), S3Error>,
}

/// Elements of a document with as many objects as there may be, each with all that it can have; and
/// with some more, so that one object too many is what is wrong with it.
const MAX_ELEMENTS: usize = 8 * MAX_DELETE_KEYS;

impl Delete {
    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let malformed = || S3Error::from(Code::MalformedXML);
        let delete =
            xml::parse_within(document, "Delete", MAX_ELEMENTS).map_err(|_| malformed())?;
        let (mut objects, mut quiet) = (Vec::new(), false);
        for element in delete.children {
            match element.name.as_str() {
                "Object" if objects.len() == MAX_DELETE_KEYS => return Err(malformed()),
                "Object" => objects.push(Target::parse(element)?),
                "Quiet" => match element.text.trim() {
                    "true" | "1" => quiet = true,
                    "false" | "0" | "" => quiet = false,
                    _ => return Err(malformed()),
                },
                _ => return Err(malformed()),
            }
        }
        if objects.is_empty() {
            return Err(malformed());
        }
        Ok(Self { objects, quiet })
    }
}

impl Target {
    fn parse(object: Element) -> Result<Self, S3Error> {
        let malformed = || S3Error::from(Code::MalformedXML);
        let (mut key, mut version) = (None, None);
        let (mut etag, mut modified, mut size) = (None, None, None);
        for element in object.children {
            let field = match element.name.as_str() {
                "Key" => &mut key,
                "VersionId" => &mut version,
                "ETag" => &mut etag,
                "LastModifiedTime" => &mut modified,
                "Size" => &mut size,
                _ => return Err(malformed()),
            };
            *field = Some(element.text);
        }
        let key = key.filter(|k| !k.is_empty()).ok_or_else(malformed)?;
        let version = version.filter(|v| !v.is_empty());
        let if_ = condition(etag.as_deref(), modified.as_deref(), size.as_deref())
            .map_err(|_| malformed())?;
        let id = version.as_deref().map(VersionId::parse);
        let job = match (ObjectKey::parse(key.as_str()), id) {
            (Err(KeyError::TooLong), _) => Err(Code::KeyTooLongError.into()),
            (Err(KeyError::Empty), _) => return Err(malformed()),
            (Ok(key), None) => Ok((key, Removal { version: None, if_, bypass: false })),
            (Ok(key), Some(Some(id))) => {
                Ok((key, Removal { version: Some(id), if_, bypass: false }))
            }
            (Ok(_), Some(None)) => Err(Code::NoSuchVersion.into()),
        };
        Ok(Self { key, version, job })
    }
}

/// DeleteObjects
pub fn delete_objects(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    refuse_unsupported(call)?;
    let Delete { objects, quiet } = Delete::parse(&call.document()?)?;
    let bucket = call.bucket()?;
    let mut jobs = Vec::with_capacity(objects.len());
    let mut targets = Vec::with_capacity(objects.len());
    for Target { key, version, job } in objects {
        let permitted = job.and_then(|(key, job)| {
            let proof = call.authorize("s3:DeleteObject", &bucket.name, Some(&key), job.version);
            proof?;
            let bypass = lock::bypass(call, &key)?;
            Ok((key, Removal { bypass, ..job }))
        });
        let refused = permitted.map(|job| jobs.push(job)).err();
        targets.push((key, version, refused));
    }
    let mut outcomes = match jobs.is_empty() {
        true => Vec::new(),
        false => call.deleting(&bucket).delete_objects(bucket.id, jobs)??,
    }
    .into_iter();
    let mut xml = Writer::with_capacity(256 + targets.len() * 96);
    xml.root("DeleteResult");
    for (key, version, refused) in targets {
        let outcome = match refused {
            Some(error) => Err(error),
            // One outcome a job, in their order.
            None => gone(outcomes.next().unwrap_or(Ok(Deleted::default()))).map_err(S3Error::from),
        };
        if bucket.config(ConfigKind::Logging).is_some() {
            call.batch.push(batched(&key, version.as_deref(), &outcome));
        }
        if outcome.is_err() || !quiet {
            write(&mut xml, &key, version.as_deref(), outcome);
        }
    }
    xml.close("DeleteResult");
    Ok(document(200, xml))
}

/// The same for the bucket's access log.
fn batched(key: &str, version: Option<&str>, outcome: &Result<Deleted, S3Error>) -> Batched {
    let made = outcome.as_ref().ok().and_then(|deleted| deleted.version_id);
    Batched {
        key: key.to_owned(),
        version: version.map(str::to_owned).or_else(|| made.map(|id| id.to_string())),
        error: outcome.as_ref().err().map(|error| error.code),
    }
}

/// What became of one object.
fn write(xml: &mut Writer, key: &str, version: Option<&str>, outcome: Result<Deleted, S3Error>) {
    let element = if outcome.is_ok() { "Deleted" } else { "Error" };
    xml.open(element);
    xml.text("Key", key);
    if let Some(version) = version {
        xml.text("VersionId", version);
    }
    match outcome {
        Ok(deleted) => {
            if let (true, Some(id)) = (deleted.marker, deleted.version_id) {
                xml.value("DeleteMarker", true);
                xml.value("DeleteMarkerVersionId", id);
            }
        }
        Err(error) => {
            xml.text("Code", error.code.name());
            xml.text("Message", error.message.as_deref().unwrap_or(error.code.message()));
        }
    }
    xml.close(element);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Condition;
    use crate::types::ETag;

    fn parse(inside: &str) -> Result<Delete, Code> {
        Delete::parse(format!("<Delete>{inside}</Delete>").as_bytes()).map_err(|e| e.code)
    }

    #[test]
    fn documents() {
        let delete = parse(
            "<Object><Key> a&#10;</Key></Object><Quiet>true</Quiet>\
             <Object><Key>b</Key><VersionId>null</VersionId></Object>\
             <Object><Key>b</Key><VersionId>1</VersionId></Object>",
        )
        .unwrap();
        assert!(delete.quiet);
        let keys: Vec<&str> = delete.objects.iter().map(|o| o.key.as_str()).collect();
        assert_eq!(keys, [" a\n", "b", "b"]);
        assert!(delete.objects[1].job.is_ok());
        let refused = delete.objects[2].job.as_ref().unwrap_err();
        assert_eq!(refused.code, Code::NoSuchVersion);
        let long = parse(&format!("<Object><Key>{}</Key></Object>", "k".repeat(1025))).unwrap();
        assert_eq!(long.objects[0].job.as_ref().unwrap_err().code, Code::KeyTooLongError);
    }

    #[test]
    fn malformed_documents() {
        for bad in [
            "",
            "<Quiet>true</Quiet>",
            "<Object/>",
            "<Object><Key/></Object>",
            "<Object><Key>a</Key><Nonsense/></Object>",
            "<Object><Key>a</Key><Size>x</Size></Object>",
            "<Object><Key>a</Key><LastModifiedTime>now</LastModifiedTime></Object>",
            "<Object><Key>a</Key></Object><Quiet>maybe</Quiet>",
            "<Nonsense/>",
        ] {
            assert_eq!(parse(bad).err(), Some(Code::MalformedXML), "{bad}");
        }
        let keys = |n: usize| parse(&"<Object><Key>a</Key></Object>".repeat(n)).map(|d| d.objects);
        assert_eq!(keys(MAX_DELETE_KEYS).unwrap().len(), MAX_DELETE_KEYS);
        assert_eq!(keys(MAX_DELETE_KEYS + 1).err(), Some(Code::MalformedXML));
    }

    #[test]
    fn conditions() {
        let delete = parse(
            "<Object><Key>a</Key><ETag>\"abc\"</ETag><Size>7</Size>\
             <LastModifiedTime>Tue, 24 Nov 2026 10:05:34 GMT</LastModifiedTime></Object>\
             <Object><Key>a</Key><LastModifiedTime>2026-11-24T10:05:34.900Z\
             </LastModifiedTime></Object>",
        )
        .unwrap();
        let condition = |n: usize| delete.objects[n].job.as_ref().unwrap().1.if_.clone();
        assert_eq!(
            condition(0),
            Precondition {
                if_match: Some(ETagList::Tags(vec![ETag::from_text("abc")])),
                if_none_match: None,
                if_modified_time: Some(1_795_514_734),
                if_size: Some(7),
            }
        );
        assert_eq!(condition(1).if_modified_time, Some(1_795_514_734));
    }

    #[test]
    fn what_was_not_there_is_gone() {
        let done = Deleted { existed: true, ..Deleted::default() };
        assert_eq!(gone(Ok(done)), Ok(done));
        let missing = Err(Refused::Precondition(Violation::Missing));
        assert_eq!(gone(missing), Ok(Deleted::default()));
        let failed = Refused::Precondition(Violation::Failed(Condition::Match));
        assert_eq!(gone(Err(failed)), Err(failed));
    }
}
