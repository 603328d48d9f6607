//! Object Lock: the configuration of a bucket, retention and legal hold of a version, and the lock
//! of a version to be. What is locked is refused by the store, on every way.

use super::{Call, Code, S3Error, document, object, versioning};
use crate::http::{Headers, Response};
use crate::store::{Bucket, BucketChange, Change, ConfigKind};
use crate::types::{Lock, ObjectKey, Retention, RetentionMode, time};
use crate::xml::{self, Element, Writer};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Longest default retention, in days and in years (AWS's bound).
const MAX_DAYS: i64 = 36_500;
const MAX_YEARS: i64 = 100;

fn malformed() -> S3Error {
    Code::MalformedXML.into()
}

// ---- the configuration of a bucket -------------------------------------------------------

/// A default retention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Default {
    mode: RetentionMode,
    /// `Days` or `Years`, and how many.
    period: (&'static str, i64),
}

impl Default {
    fn parse(element: &Element) -> Result<Self, S3Error> {
        let mode = element.child_text("Mode").and_then(|t| RetentionMode::parse(t.trim()));
        let number = |name: &'static str, max: i64| -> Result<Option<(_, i64)>, S3Error> {
            let Some(text) = element.child_text(name) else { return Ok(None) };
            let count: i64 = text.trim().parse().map_err(|_| malformed())?;
            if count <= 0 {
                return Err(Code::InvalidRetentionPeriod
                    .with("Default retention period must be a positive integer value."));
            }
            if count > max {
                return Err(Code::InvalidRetentionPeriod
                    .with(format!("Default retention period too large, at most {max} {name}")));
            }
            Ok(Some((name, count)))
        };
        let mode = mode.ok_or_else(malformed)?;
        match (number("Days", MAX_DAYS)?, number("Years", MAX_YEARS)?) {
            (Some(period), None) | (None, Some(period)) if element.children.len() == 2 => {
                Ok(Self { mode, period })
            }
            _ => Err(malformed()),
        }
    }

    /// The retention of a version that is written now.
    fn from(self, now_ms: i64) -> Retention {
        let days = match self.period {
            ("Years", years) => years * 365,
            (_, days) => days,
        };
        Retention { mode: self.mode, until_ms: now_ms + days * DAY_MS }
    }
}

/// The default retention of an ObjectLockConfiguration, if it has one.
fn parse(document: &[u8]) -> Result<Option<Default>, S3Error> {
    let configuration = xml::parse(document, "ObjectLockConfiguration").map_err(|_| malformed())?;
    let mut default = None;
    let mut enabled = false;
    for element in &configuration.children {
        match (element.name.as_str(), element.text.trim()) {
            ("ObjectLockEnabled", "Enabled") => enabled = true,
            ("Rule", _) => {
                let [retention] = element.children.as_slice() else { return Err(malformed()) };
                if retention.name != "DefaultRetention" || default.is_some() {
                    return Err(malformed());
                }
                default = Some(Default::parse(retention)?);
            }
            _ => return Err(malformed()),
        }
    }
    if enabled { Ok(default) } else { Err(malformed()) }
}

fn write(default: Option<Default>) -> Writer {
    let mut xml = Writer::document();
    xml.root("ObjectLockConfiguration");
    xml.text("ObjectLockEnabled", "Enabled");
    if let Some(default) = default {
        xml.open("Rule");
        xml.open("DefaultRetention");
        xml.text("Mode", default.mode.name());
        xml.value(default.period.0, default.period.1);
        xml.close("DefaultRetention");
        xml.close("Rule");
    }
    xml.close("ObjectLockConfiguration");
    xml
}

/// The configuration of a bucket that is made with Object Lock.
pub fn enabled() -> String {
    write(None).into_text()
}

/// GetObjectLockConfiguration
pub fn get_configuration(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    super::config::get(call, ConfigKind::ObjectLock, Code::ObjectLockConfigurationNotFoundError)
}

/// PutObjectLockConfiguration
pub fn put_configuration(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let default = parse(&call.document()?)?;
    let bucket = call.bucket()?;
    let change = BucketChange::Lock(write(default).into_text());
    call.app.store.change_bucket(bucket.id, change)?.map_err(|refused| {
        match S3Error::from(refused) {
            error if error.code == Code::InvalidBucketState => Code::InvalidBucketState.with(
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            ),
            error => error,
        }
    })?;
    Ok(Response::new(200))
}

// ---- the lock of a version to be ---------------------------------------------------------

/// The lock that the headers ask for, or else the bucket's default retention.
pub fn of_new(headers: &Headers, bucket: &Bucket) -> Result<Lock, S3Error> {
    let mode = headers.get("x-amz-object-lock-mode");
    let until = headers.get("x-amz-object-lock-retain-until-date");
    let hold = headers.get("x-amz-object-lock-legal-hold");
    if !bucket.lock {
        return match mode.or(until).or(hold) {
            None => Ok(Lock::default()),
            Some(_) => {
                Err(Code::InvalidRequest.with("Bucket is missing Object Lock Configuration"))
            }
        };
    }
    let now_ms = time::now_ms();
    let retention = match (mode, until) {
        (None, None) => match bucket.config(ConfigKind::ObjectLock) {
            None => None,
            Some(text) => parse(text.as_bytes())?.map(|default| default.from(now_ms)),
        },
        (Some(mode), Some(until)) => {
            let mode = RetentionMode::parse(mode).ok_or_else(|| {
                S3Error::argument("x-amz-object-lock-mode", mode, "Unknown wormMode directive.")
            })?;
            let until_ms = future(until, now_ms).map_err(|message| {
                S3Error::argument("x-amz-object-lock-retain-until-date", until, message)
            })?;
            Some(Retention { mode, until_ms })
        }
        _ => {
            return Err(Code::InvalidArgument.with(
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be \
                 supplied",
            ));
        }
    };
    let legal_hold = match hold {
        None | Some("OFF") => false,
        Some("ON") => true,
        Some(text) => {
            let message = "Legal Hold must be either of 'ON' or 'OFF'";
            return Err(S3Error::argument("x-amz-object-lock-legal-hold", text, message));
        }
    };
    Ok(Lock { retention, legal_hold })
}

/// A time after now, in milliseconds since 1970; or what is wrong with it.
fn future(text: &str, now_ms: i64) -> Result<i64, &'static str> {
    match time::parse_iso(text.trim()) {
        None => Err("The retain until date must be provided in ISO 8601 format"),
        Some(until_ms) if until_ms <= now_ms => Err("The retain until date must be in the future!"),
        Some(until_ms) => Ok(until_ms),
    }
}

/// What GET and HEAD say of a lock.
pub fn describe(mut response: Response, lock: &Lock) -> Response {
    if let Some(retention) = lock.retention {
        response = response
            .header("x-amz-object-lock-mode", retention.mode.name())
            .header("x-amz-object-lock-retain-until-date", time::iso(retention.until_ms));
    }
    if lock.legal_hold {
        response = response.header("x-amz-object-lock-legal-hold", "ON");
    }
    response
}

/// Whether the caller wants to overrule a retention of governance, and may. For who may not, the
/// retention stands.
pub fn bypass(call: &Call<'_, '_>, key: &ObjectKey) -> Result<bool, S3Error> {
    let wants = call
        .header("x-amz-bypass-governance-retention")
        .is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if !wants {
        return Ok(false);
    }
    let action = "s3:BypassGovernanceRetention";
    match call.authorize(action, call.bucket_name()?, Some(key), None) {
        Ok(_) => Ok(true),
        Err(error) if error.code == Code::AccessDenied => Ok(false),
        Err(error) => Err(error),
    }
}

// ---- retention and legal hold of a version -----------------------------------------------

fn need_lock(bucket: &Bucket) -> Result<(), S3Error> {
    match bucket.lock {
        true => Ok(()),
        false => Err(Code::InvalidRequest.with("Bucket is missing Object Lock Configuration")),
    }
}

/// GetObjectRetention
pub fn get_retention(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    need_lock(&*call.bucket()?)?;
    let (_, object) = object::find(call)?;
    let retention = object.extra.lock.retention.ok_or(Code::NoSuchObjectLockConfiguration)?;
    let mut xml = Writer::document();
    xml.root("Retention");
    xml.text("Mode", retention.mode.name());
    xml.text("RetainUntilDate", &time::iso(retention.until_ms));
    xml.close("Retention");
    Ok(document(200, xml))
}

/// The retention of a Retention document; an empty one takes the retention away.
fn parse_retention(document: &[u8], now_ms: i64) -> Result<Option<Retention>, S3Error> {
    let element = xml::parse(document, "Retention").map_err(|_| malformed())?;
    if element.children.is_empty() {
        return Ok(None);
    }
    let mode = element.child_text("Mode").and_then(|t| RetentionMode::parse(t.trim()));
    match (mode, element.child_text("RetainUntilDate")) {
        (Some(mode), Some(until)) if element.children.len() == 2 => {
            time::parse_iso(until.trim()).ok_or_else(malformed)?;
            let until_ms =
                future(until, now_ms).map_err(|message| Code::InvalidArgument.with(message))?;
            Ok(Some(Retention { mode, until_ms }))
        }
        _ => Err(malformed()),
    }
}

/// PutObjectRetention
pub fn put_retention(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let document = call.document()?;
    need_lock(&*call.bucket()?)?;
    let new = parse_retention(&document, time::now_ms())?;
    let change = Change::Retention { new, bypass: bypass(call, call.key()?)? };
    let id = object::change(call, change)?;
    Ok(versioning::name(Response::new(200), id))
}

/// GetObjectLegalHold
pub fn get_legal_hold(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    need_lock(&*call.bucket()?)?;
    let (_, object) = object::find(call)?;
    let mut xml = Writer::document();
    xml.root("LegalHold");
    xml.text("Status", if object.extra.lock.legal_hold { "ON" } else { "OFF" });
    xml.close("LegalHold");
    Ok(document(200, xml))
}

/// PutObjectLegalHold
pub fn put_legal_hold(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let document = call.document()?;
    need_lock(&*call.bucket()?)?;
    let element = xml::parse(&document, "LegalHold").map_err(|_| malformed())?;
    let on = match element.children.as_slice() {
        [status] if status.name == "Status" => match status.text.trim() {
            "ON" => true,
            "OFF" => false,
            _ => return Err(malformed()),
        },
        _ => return Err(malformed()),
    };
    let id = object::change(call, Change::LegalHold(on))?;
    Ok(versioning::name(Response::new(200), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations() {
        let of = |inside: &str| {
            let enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
            let text =
                format!("<ObjectLockConfiguration>{enabled}{inside}</ObjectLockConfiguration>");
            parse(text.as_bytes()).map_err(|e| e.code)
        };
        let rule = |inside: &str| {
            of(&format!("<Rule><DefaultRetention>{inside}</DefaultRetention></Rule>"))
        };
        assert_eq!(of(""), Ok(None));
        let years = rule("<Mode>COMPLIANCE</Mode><Years>2</Years>").unwrap().unwrap();
        let until_ms = 2 * 365 * DAY_MS;
        assert_eq!(years.from(0), Retention { mode: RetentionMode::Compliance, until_ms });
        assert_eq!(parse(write(Some(years)).into_text().as_bytes()).unwrap(), Some(years));
        for (inside, code) in [
            ("<Mode>GOVERNANCE</Mode>", Code::MalformedXML),
            ("<Mode>governance</Mode><Days>1</Days>", Code::MalformedXML),
            ("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>", Code::MalformedXML),
            ("<Mode>GOVERNANCE</Mode><Days>0</Days>", Code::InvalidRetentionPeriod),
            ("<Mode>GOVERNANCE</Mode><Years>-1</Years>", Code::InvalidRetentionPeriod),
            ("<Mode>GOVERNANCE</Mode><Days>36501</Days>", Code::InvalidRetentionPeriod),
        ] {
            assert_eq!(rule(inside), Err(code), "{inside}");
        }
        let off = "<ObjectLockConfiguration><ObjectLockEnabled>Disabled</ObjectLockEnabled>\
                   </ObjectLockConfiguration>";
        assert_eq!(parse(off.as_bytes()).unwrap_err().code, Code::MalformedXML);
    }

    #[test]
    fn retentions() {
        let of = |inside: &str| {
            parse_retention(format!("<Retention>{inside}</Retention>").as_bytes(), 1000)
                .map_err(|e| e.code)
        };
        assert_eq!(of(""), Ok(None));
        let date = "<RetainUntilDate>1970-01-01T00:00:02Z</RetainUntilDate>";
        assert_eq!(
            of(&format!("<Mode>GOVERNANCE</Mode>{date}")),
            Ok(Some(Retention { mode: RetentionMode::Governance, until_ms: 2000 }))
        );
        let past = "<RetainUntilDate>1970-01-01T00:00:01Z</RetainUntilDate>";
        assert_eq!(of(&format!("<Mode>GOVERNANCE</Mode>{past}")), Err(Code::InvalidArgument));
        assert_eq!(of(date), Err(Code::MalformedXML));
        assert_eq!(of(&format!("<Mode>none</Mode>{date}")), Err(Code::MalformedXML));
    }
}
