//! Server access logging of buckets: a bucket's configuration, and what of a request goes into its
//! log. The store's spool takes the lines; a job delivers them.

mod line;

use super::{App, Call, Code, Label, S3Error, config, lock};
use crate::http::{Headers, Request, Response, Sent};
use crate::limits::MAX_LOG_PREFIX_BYTES;
use crate::store::{Bucket, ConfigKind, LogKeyFormat, LogTarget};
use crate::types::{BucketName, Lock, ObjectKey, time};
use crate::xml::{self, Element, Writer};
use line::{Record, Signed};
use std::sync::Arc;

/// The root element of the document.
const ROOT: &str = "BucketLoggingStatus";

/// Where the log of a bucket goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logging {
    /// The bucket that gets the log's objects.
    pub target: BucketName,
    /// What their keys start with.
    pub prefix: String,
    /// How the keys go on.
    pub format: LogKeyFormat,
}

/// The text of an element without children.
fn text(element: &Element) -> Result<&str, S3Error> {
    if element.children.is_empty() { Ok(&element.text) } else { Err(Code::MalformedXML.into()) }
}

/// The only child of an element, if it has one.
fn only_child(element: &Element) -> Result<Option<&Element>, S3Error> {
    match element.children.as_slice() {
        [] => Ok(None),
        [child] => Ok(Some(child)),
        _ => Err(Code::MalformedXML.into()),
    }
}

impl Logging {
    /// Understands the document of PutBucketLogging; `None` if it switches logging off.
    pub fn parse(document: &[u8]) -> Result<Option<Self>, S3Error> {
        let root = xml::parse(document, ROOT).map_err(|_| S3Error::from(Code::MalformedXML))?;
        let Some(enabled) = only_child(&root)? else { return Ok(None) };
        if enabled.name != "LoggingEnabled" {
            return Err(Code::MalformedXML.into());
        }
        let (mut target, mut prefix, mut format) = (None, None, None);
        for child in &enabled.children {
            match child.name.as_str() {
                "TargetBucket" if target.is_none() => target = Some(text(child)?),
                "TargetPrefix" if prefix.is_none() => prefix = Some(text(child)?),
                "TargetObjectKeyFormat" if format.is_none() => format = Some(key_format(child)?),
                // An empty list gives nothing to anybody.
                "TargetGrants" if child.children.is_empty() => {}
                "TargetGrants" => {
                    return Err(Code::NotImplemented.with("TargetGrants is not implemented."));
                }
                _ => return Err(Code::MalformedXML.into()),
            }
        }
        let target = target.ok_or(Code::MalformedXML)?;
        let prefix = prefix.ok_or(Code::MalformedXML)?;
        if prefix.len() > MAX_LOG_PREFIX_BYTES {
            let message = "The prefix leaves no room for the rest of a key.";
            return Err(S3Error::argument("TargetPrefix", prefix, message));
        }
        Ok(Some(Self {
            target: BucketName::parse(target).ok_or_else(no_target)?,
            prefix: prefix.to_owned(),
            format: format.unwrap_or(LogKeyFormat::Simple),
        }))
    }

    /// The document, as GetBucketLogging gives it.
    pub fn to_xml(&self) -> String {
        let mut xml = Writer::document();
        xml.root(ROOT);
        xml.open("LoggingEnabled");
        xml.text("TargetBucket", self.target.as_str());
        xml.text("TargetPrefix", &self.prefix);
        xml.open("TargetObjectKeyFormat");
        match self.format {
            LogKeyFormat::Simple => xml.text("SimplePrefix", ""),
            LogKeyFormat::PartitionedByEvent => partitioned(&mut xml, "EventTime"),
            LogKeyFormat::PartitionedByDelivery => partitioned(&mut xml, "DeliveryTime"),
        }
        xml.close("TargetObjectKeyFormat");
        xml.close("LoggingEnabled");
        xml.close(ROOT);
        xml.into_text()
    }
}

/// The target bucket is not there, or another owner's.
pub fn no_target() -> S3Error {
    Code::InvalidTargetBucketForLogging.into()
}

fn partitioned(xml: &mut Writer, source: &str) {
    xml.open("PartitionedPrefix");
    xml.text("PartitionDateSource", source);
    xml.close("PartitionedPrefix");
}

fn key_format(element: &Element) -> Result<LogKeyFormat, S3Error> {
    let malformed = || S3Error::from(Code::MalformedXML);
    let format = only_child(element)?.ok_or_else(malformed)?;
    let inside = only_child(format)?;
    match (format.name.as_str(), inside.map(|source| source.name.as_str())) {
        ("SimplePrefix", None) => Ok(LogKeyFormat::Simple),
        ("PartitionedPrefix", None) => Ok(LogKeyFormat::PartitionedByEvent),
        ("PartitionedPrefix", Some("PartitionDateSource")) => {
            match inside.map(text).transpose()? {
                Some("EventTime") => Ok(LogKeyFormat::PartitionedByEvent),
                Some("DeliveryTime") => Ok(LogKeyFormat::PartitionedByDelivery),
                _ => Err(malformed()),
            }
        }
        _ => Err(malformed()),
    }
}

// ---- operations --------------------------------------------------------------------------

/// GetBucketLogging
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    if let Some(stored) = bucket.config(ConfigKind::Logging) {
        return Ok(config::answer(stored));
    }
    let mut xml = Writer::document();
    xml.root(ROOT);
    xml.close(ROOT);
    Ok(super::document(200, xml))
}

/// PutBucketLogging. The target has to be there and to have the same owner; the owner's grant is
/// the configuration itself. Whoever is not the owner must be allowed to write there as well.
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let logging = Logging::parse(&call.document()?)?;
    let bucket = call.bucket()?;
    let store = &call.app.store;
    if let Some(logging) = &logging {
        let target = store.bucket(&logging.target)?.filter(|t| t.owner == bucket.owner);
        let target = target.ok_or_else(no_target)?;
        if call.requester.id() != Some(&target.owner) {
            let key = ObjectKey::parse(format!("{}{}", logging.prefix, bucket.name));
            let key = key.map_err(|_| S3Error::from(Code::KeyTooLongError))?;
            call.authorize("s3:PutObject", &target.name, Some(&key), None)?;
        }
        if lock::of_new(&Headers::default(), &target)? != Lock::default() {
            return Err(Code::InvalidTargetBucketForLogging
                .with("The target bucket for logging must not have a default retention."));
        }
    }
    let stored = logging.map(|logging| logging.to_xml());
    store.set_config(bucket.id, ConfigKind::Logging, stored)??;
    Ok(Response::new(200))
}

// ---- requests ----------------------------------------------------------------------------

/// One object of a request that names many: it has a line of its own, `BATCH.DELETE.OBJECT`.
pub struct Batched {
    /// Its key.
    pub key: String,
    /// The version that was deleted, or the delete marker that was made.
    pub version: Option<String>,
    /// Why it was not deleted.
    pub error: Option<Code>,
}

/// What a request leaves in the log of its bucket, once its answer has been sent. `None` if the
/// bucket has no log, which costs nothing but this look.
pub(super) fn note(
    app: &App,
    request: &Request,
    label: &mut Label,
    response: &Response,
    error: Option<Code>,
) -> Option<impl FnOnce(Sent) + Send + use<>> {
    let bucket = label.home.clone()?;
    let stored = bucket.config(ConfigKind::Logging)?;
    let logging = Logging::parse(stored.as_bytes()).ok().flatten()?;
    let target = target(app, &bucket, logging);
    let spool = Arc::clone(&app.logs);
    let peer = crate::auth::source(request, &app.auth);
    let (request, host_id) = (request.clone(), app.host_id.clone());
    let (operation, key) = (line::operation(request.method, label.operation), label.key.clone());
    let (status, requester) = (response.status, label.canonical.clone());
    let object_size = object_size(label.operation, &request, response);
    let version = response.headers.iter().find(|(n, _)| n == "x-amz-version-id");
    let version = version.map(|(_, v)| v.clone());
    let batch = std::mem::take(&mut label.batch);
    let turn_around_ms = request.received.elapsed().as_millis();
    Some(move |sent: Sent| {
        let total = request.received.elapsed();
        let query = if request.query.is_empty() { "" } else { "?" };
        let uri = format!("{}{query}{}", request.path, request.query);
        let received_ms = time::now_ms() - i64::try_from(total.as_millis()).unwrap_or(0);
        let record = Record {
            owner: &bucket.owner,
            bucket: bucket.name.as_str(),
            received_ms,
            peer,
            requester: requester.as_deref(),
            request_id: &request.id,
            operation: &operation,
            key: key.as_ref().map(|key| key.as_str()),
            method: request.method,
            target: Some(&uri),
            status,
            error: error.map(Code::name),
            bytes_sent: sent.body_bytes,
            object_size,
            total_ms: total.as_millis(),
            turn_around_ms,
            headers: &request.headers,
            version: version.as_deref(),
            host_id: &host_id,
            signed: Signed::of(&request.headers, &request.query),
        };
        let mut lines = record.line();
        // What the client says of itself stands in the line of the request, once.
        let said = Headers::default();
        for Batched { key, version, error } in &batch {
            let one = Record {
                operation: "BATCH.DELETE.OBJECT",
                key: Some(key),
                target: None,
                status: error.map_or(204, Code::status),
                error: error.map(Code::name),
                bytes_sent: 0,
                headers: &said,
                version: version.as_deref(),
                ..record.clone()
            };
            lines.push_str(&one.line());
        }
        spool.append(&target, received_ms, &lines);
    })
}

fn target(app: &App, bucket: &Bucket, logging: Logging) -> LogTarget {
    let region = if bucket.region.is_empty() { &app.region } else { &bucket.region };
    LogTarget {
        source: bucket.name.clone(),
        owner: bucket.owner.clone(),
        region: region.clone(),
        target: logging.target,
        prefix: logging.prefix,
        format: logging.format,
    }
}

/// The size of the object that a request has read or written.
fn object_size(operation: &str, request: &Request, response: &Response) -> Option<u64> {
    let field = |name| request.headers.get(name)?.parse().ok();
    match (operation, response.status) {
        ("PutObject" | "UploadPart", 200) => {
            field("x-amz-decoded-content-length").or_else(|| field("content-length"))
        }
        ("GetObject" | "HeadObject" | "Website", 206) => {
            let range = response.headers.iter().find(|(n, _)| n == "content-range")?;
            range.1.rsplit('/').next()?.parse().ok()
        }
        ("GetObject" | "HeadObject" | "Website", 200) => Some(response.length()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(inside: &str) -> Result<Option<Logging>, Code> {
        let document = format!("<BucketLoggingStatus>{inside}</BucketLoggingStatus>");
        Logging::parse(document.as_bytes()).map_err(|e| e.code)
    }

    fn enabled(inside: &str) -> Result<Logging, Code> {
        let bucket = "<TargetBucket>logs</TargetBucket><TargetPrefix>a/</TargetPrefix>";
        parse(&format!("<LoggingEnabled>{bucket}{inside}</LoggingEnabled>"))
            .map(|logging| logging.expect("it is enabled"))
    }

    fn format(inside: &str) -> Result<LogKeyFormat, Code> {
        let element = "TargetObjectKeyFormat";
        enabled(&format!("<{element}>{inside}</{element}>")).map(|logging| logging.format)
    }

    #[test]
    fn documents() {
        assert_eq!(parse(""), Ok(None));
        let plain = enabled("").unwrap();
        assert_eq!((plain.target.as_str(), plain.prefix.as_str()), ("logs", "a/"));
        assert_eq!(plain.format, LogKeyFormat::Simple);
        assert_eq!(format("<SimplePrefix/>"), Ok(LogKeyFormat::Simple));
        let by = |source: &str| {
            format(&format!(
                "<PartitionedPrefix><PartitionDateSource>{source}</PartitionDateSource>\
                 </PartitionedPrefix>"
            ))
        };
        assert_eq!(by("EventTime"), Ok(LogKeyFormat::PartitionedByEvent));
        assert_eq!(by("DeliveryTime"), Ok(LogKeyFormat::PartitionedByDelivery));
        assert_eq!(format("<PartitionedPrefix/>"), Ok(LogKeyFormat::PartitionedByEvent));
        for bad in [
            "",
            "<Other/>",
            "<SimplePrefix/><PartitionedPrefix/>",
            "<SimplePrefix><a/>\
            </SimplePrefix>",
            "<PartitionedPrefix><a/></PartitionedPrefix>",
        ] {
            assert_eq!(format(bad), Err(Code::MalformedXML), "{bad}");
        }
        assert_eq!(by("kaboom"), Err(Code::MalformedXML));
        for format in [
            LogKeyFormat::Simple,
            LogKeyFormat::PartitionedByEvent,
            LogKeyFormat::PartitionedByDelivery,
        ] {
            let logging = Logging { format, prefix: "<&".to_owned(), ..plain.clone() };
            assert_eq!(Logging::parse(logging.to_xml().as_bytes()).unwrap(), Some(logging));
        }
    }

    #[test]
    fn documents_that_are_refused() {
        let bucket = |name: &str| format!("<TargetBucket>{name}</TargetBucket>");
        let prefix = |text: &str| format!("<TargetPrefix>{text}</TargetPrefix>");
        let enabled = |inside: &str| parse(&format!("<LoggingEnabled>{inside}</LoggingEnabled>"));
        for bad in [
            String::new(),
            bucket("logs"),
            prefix(""),
            bucket("logs") + &prefix("") + &prefix(""),
            bucket("logs") + &prefix("") + "<LoggingType>Journal</LoggingType>",
        ] {
            assert_eq!(enabled(&bad), Err(Code::MalformedXML), "{bad}");
        }
        assert_eq!(parse("<Other/>"), Err(Code::MalformedXML));
        assert_eq!(parse("<LoggingEnabled/><LoggingEnabled/>"), Err(Code::MalformedXML));
        let invalid = enabled(&(bucket("No_Bucket") + &prefix("")));
        assert_eq!(invalid, Err(Code::InvalidTargetBucketForLogging));
        let long = |n: usize| enabled(&(bucket("logs") + &prefix(&"p".repeat(n))));
        assert!(long(MAX_LOG_PREFIX_BYTES).is_ok());
        assert_eq!(long(MAX_LOG_PREFIX_BYTES + 1), Err(Code::InvalidArgument));
        let grants = bucket("logs") + &prefix("") + "<TargetGrants><Grant/></TargetGrants>";
        assert_eq!(enabled(&grants), Err(Code::NotImplemented));
    }

    #[test]
    fn sizes_of_objects() {
        let request = |fields: &[(&str, &str)]| Request {
            method: crate::http::Method::Put,
            path: String::new(),
            query: String::new(),
            headers: Headers::new(fields.iter().copied()),
            peer: [127, 0, 0, 1].into(),
            received: std::time::Instant::now(),
            id: String::new(),
        };
        let plain = request(&[("content-length", "30"), ("x-amz-decoded-content-length", "20")]);
        assert_eq!(object_size("PutObject", &plain, &Response::new(200)), Some(20));
        assert_eq!(object_size("PutObject", &plain, &Response::new(403)), None);
        assert_eq!(object_size("ListObjects", &plain, &Response::new(200)), None);
        let part = Response::new(206).header("content-range", "bytes 0-4/77");
        assert_eq!(object_size("GetObject", &plain, &part), Some(77));
        let whole = Response::new(200).payload(crate::http::Payload::Length(9));
        assert_eq!(object_size("HeadObject", &plain, &whole), Some(9));
    }
}
