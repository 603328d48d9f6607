//! The notification configuration of a bucket: its document, validated as AWS does, and back. What
//! it means is in `types::notification`, what delivers events in `jobs`.

use super::{Call, Code, S3Error, document};
use crate::auth;
use crate::http::Response;
use crate::limits::{MAX_KEY_BYTES, MAX_NOTIFICATION_ID_CHARS, MAX_NOTIFICATIONS};
use crate::store::{Bucket, ConfigKind, Doing, Notice, Telling};
use crate::types::notification::{
    Event, EventType, Kind, NoEventType, Notification, Origin, Subscription, TargetName,
};
use crate::xml::{self, Element, Writer};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// PutBucketNotificationConfiguration; an empty document removes what there is.
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let document = call.document()?;
    let notification = parse(&document, |target| call.app.targets.contains(target))?;
    let bucket = call.bucket()?;
    let kept = (!notification.subscriptions.is_empty()).then(|| notification.to_json());
    call.app.store.set_config(bucket.id, ConfigKind::Notification, kept)??;
    Ok(Response::new(200))
}

/// GetBucketNotificationConfiguration
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    let kept = bucket.config(ConfigKind::Notification).and_then(Notification::from_json);
    Ok(document(200, write(&kept.unwrap_or_default())))
}

impl<'a> Call<'a, '_> {
    /// The store, which tells those who want to know of the objects that are made through it.
    pub fn creating(&self, bucket: &Bucket, event: Event) -> Telling<'a> {
        self.app.store.telling(self.notice(bucket, Doing::Create(event)))
    }

    /// The store, which tells those who want to know of what is deleted through it.
    pub fn deleting(&self, bucket: &Bucket) -> Telling<'a> {
        self.app.store.telling(self.notice(bucket, Doing::Delete))
    }

    /// The store, which tells those who want to know of what is renamed through it.
    pub fn renaming(&self, bucket: &Bucket) -> Telling<'a> {
        self.app.store.telling(self.notice(bucket, Doing::Rename))
    }

    fn notice(&self, bucket: &Bucket, doing: Doing) -> Option<Notice> {
        let kept = bucket.config(ConfigKind::Notification)?;
        let to = Notification::from_json(kept)?.declared(&self.app.targets);
        if to.subscriptions.is_empty() {
            return None;
        }
        let region = match bucket.region.as_str() {
            "" => &self.app.region,
            region => region,
        };
        let origin = Origin {
            region: region.to_owned(),
            principal: self.requester.id().unwrap_or_default().to_owned(),
            source_ip: auth::source(self.request, &self.app.auth).to_canonical().to_string(),
            request_id: self.request.id.clone(),
            host_id: self.app.host_id.clone(),
            bucket: bucket.name.as_str().to_owned(),
            bucket_owner: bucket.owner.clone(),
        };
        Some(Notice { doing, origin, to })
    }
}

fn malformed() -> S3Error {
    Code::MalformedXML.into()
}

/// The element of a subscription, and the one in it that names the target.
fn names(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Queue => ("QueueConfiguration", "Queue"),
        Kind::Topic => ("TopicConfiguration", "Topic"),
        Kind::Function => ("CloudFunctionConfiguration", "CloudFunction"),
    }
}

fn event(text: &str) -> Result<EventType, S3Error> {
    EventType::parse(text).map_err(|why| match why {
        NoEventType::Unknown => {
            S3Error::argument("Event", text, "The event is not supported for notifications")
        }
        NoEventType::NotImplemented => {
            Code::NotImplemented.with(format!("{text} is not implemented."))
        }
    })
}

/// The prefix and the suffix of a Filter.
fn filter(filter: &Element) -> Result<(Option<String>, Option<String>), S3Error> {
    let (mut prefix, mut suffix) = (None, None);
    for key in &filter.children {
        if key.name != "S3Key" {
            return Err(malformed());
        }
        for rule in &key.children {
            let (name, value) = match (rule.name.as_str(), rule.child_text("Name")) {
                ("FilterRule", Some(name)) => {
                    (name.trim(), rule.child_text("Value").unwrap_or_default())
                }
                _ => return Err(malformed()),
            };
            let place = match name.to_ascii_lowercase().as_str() {
                "prefix" => &mut prefix,
                "suffix" => &mut suffix,
                _ => {
                    let message = "filter rule name must be either prefix or suffix";
                    return Err(S3Error::argument("FilterRule.Name", name, message));
                }
            };
            if value.len() > MAX_KEY_BYTES {
                let message = "Size of filter rule value cannot exceed 1024 bytes in UTF-8";
                return Err(S3Error::argument("FilterRule.Value", value, message));
            }
            if place.replace(value.to_owned()).is_some() {
                let message = "Cannot specify more than one rule of a name in a filter.";
                return Err(S3Error::argument("FilterRule.Name", name, message));
            }
        }
    }
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok((some(prefix), some(suffix)))
}

/// A subscription. `number` makes its ID unique if it has none.
fn subscription(
    element: &Element,
    kind: Kind,
    number: usize,
    declared: impl Fn(&TargetName) -> bool,
) -> Result<Subscription, S3Error> {
    let (mut id, mut arn, mut events, mut filters) = (None, None, Vec::new(), None);
    for child in &element.children {
        match child.name.as_str() {
            "Id" if id.is_none() => id = Some(child.text.clone()),
            name if name == names(kind).1 && arn.is_none() => {
                arn = Some(child.text.trim().to_owned());
            }
            "Event" => events.push(event(child.text.trim())?),
            "Filter" if filters.is_none() => filters = Some(filter(child)?),
            _ => return Err(malformed()),
        }
    }
    let (Some(arn), false) = (arn, events.is_empty()) else { return Err(malformed()) };
    let target = TargetName::of_arn(&arn).filter(declared).ok_or_else(|| {
        let message = "Unable to validate the following destination configurations: no such \
                       target. Targets are declared with JOG_WEBHOOK_<NAME>_URL and named \
                       arn:jog:sqs::<NAME>:webhook";
        S3Error::argument(names(kind).1, &arn, message)
    })?;
    let mut id = id.unwrap_or_default();
    if id.chars().count() > MAX_NOTIFICATION_ID_CHARS {
        let message = "Size of a configuration id cannot exceed 255 characters";
        return Err(S3Error::argument("Id", &id, message));
    }
    if id.is_empty() {
        let hash = Sha256::digest(format!("{number} {arn} {events:?}"));
        id = hex::encode(&hash[..16]);
    }
    let (prefix, suffix) = filters.unwrap_or_default();
    Ok(Subscription { id, kind, arn, target, events, prefix, suffix })
}

/// The subscriptions of a NotificationConfiguration; `declared` says which targets there are.
pub fn parse(
    document: &[u8],
    declared: impl Fn(&TargetName) -> bool,
) -> Result<Notification, S3Error> {
    let configuration =
        xml::parse(document, "NotificationConfiguration").map_err(|_| malformed())?;
    let mut found: Vec<Subscription> = Vec::new();
    let mut ids = HashSet::new();
    for (number, element) in configuration.children.iter().enumerate() {
        let kind = match element.name.as_str() {
            "EventBridgeConfiguration" => {
                return Err(Code::NotImplemented.with("EventBridge is not implemented."));
            }
            name => [Kind::Queue, Kind::Topic, Kind::Function]
                .into_iter()
                .find(|kind| names(*kind).0 == name)
                .ok_or_else(malformed)?,
        };
        if number == MAX_NOTIFICATIONS {
            return Err(Code::InvalidArgument.with("At most 100 configurations are possible."));
        }
        let one = subscription(element, kind, number, &declared)?;
        if !ids.insert(one.id.clone()) {
            let message = "Same ID used for multiple configurations. IDs must be unique";
            return Err(S3Error::argument("Id", &one.id, message));
        }
        if found.iter().any(|other| other.overlaps(&one)) {
            return Err(Code::InvalidArgument.with(
                "Configurations overlap. Configurations on the same bucket cannot share a common \
                 event type.",
            ));
        }
        found.push(one);
    }
    Ok(Notification { subscriptions: found })
}

/// The NotificationConfiguration of subscriptions.
pub fn write(notification: &Notification) -> Writer {
    let mut xml = Writer::document();
    xml.root("NotificationConfiguration");
    for one in &notification.subscriptions {
        let (element, target) = names(one.kind);
        xml.open(element);
        xml.text("Id", &one.id);
        xml.text(target, &one.arn);
        for event in &one.events {
            xml.text("Event", event.as_str());
        }
        let rules = [("prefix", &one.prefix), ("suffix", &one.suffix)];
        if rules.iter().any(|(_, value)| value.is_some()) {
            xml.open("Filter");
            xml.open("S3Key");
            for (name, value) in rules {
                if let Some(value) = value {
                    xml.open("FilterRule");
                    xml.text("Name", name);
                    xml.text("Value", value);
                    xml.close("FilterRule");
                }
            }
            xml.close("S3Key");
            xml.close("Filter");
        }
        xml.close(element);
    }
    xml.close("NotificationConfiguration");
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(inside: &str) -> Result<Notification, S3Error> {
        let document = format!("<NotificationConfiguration>{inside}</NotificationConfiguration>");
        parse(document.as_bytes(), |name| matches!(name.as_str(), "ONE" | "TWO"))
    }

    fn code(inside: &str) -> Code {
        of(inside).expect_err(inside).code
    }

    /// A queue of these elements beside a valid target.
    fn queue(inside: &str) -> String {
        format!(
            "<QueueConfiguration>{inside}<Queue>arn:jog:sqs::ONE:webhook</Queue>\
             </QueueConfiguration>"
        )
    }

    const CREATED: &str = "<Event>s3:ObjectCreated:*</Event>";

    #[test]
    fn what_is_read_is_written_back() {
        let inside = "<QueueConfiguration><Id>a</Id><Queue>arn:jog:sqs::ONE:webhook</Queue>\
             <Event>s3:ObjectCreated:Put</Event><Event>s3:ObjectRemoved:*</Event><Filter><S3Key>\
             <FilterRule><Name>prefix</Name><Value>a&amp;/</Value></FilterRule>\
             <FilterRule><Name>suffix</Name><Value>.jpg</Value></FilterRule></S3Key></Filter>\
             </QueueConfiguration><TopicConfiguration><Id>b</Id>\
             <Topic>arn:minio:sqs::two:webhook</Topic><Event>s3:ObjectCreated:Copy</Event>\
             </TopicConfiguration><CloudFunctionConfiguration><Id>c</Id>\
             <CloudFunction>arn:jog:lambda::ONE:webhook</CloudFunction>\
             <Event>s3:LifecycleExpiration:*</Event></CloudFunctionConfiguration>";
        let notification = of(inside).unwrap();
        let written = String::from_utf8(write(&notification).finish()).unwrap();
        assert!(written.contains(inside), "{written}");
        assert_eq!(notification.subscriptions[1].target.as_str(), "TWO");
        let kept = Notification::from_json(&notification.to_json());
        assert_eq!(kept, Some(notification));
        assert_eq!(of("").unwrap(), Notification::default());
    }

    #[test]
    fn what_is_refused() {
        let rule = |name: &str, value: &str| {
            format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>")
        };
        let filter =
            |rules: String| queue(&format!("{CREATED}<Filter><S3Key>{rules}</S3Key></Filter>"));
        assert!(of(&filter(rule("Prefix", "a") + &rule("suffix", "b"))).is_ok());
        let unknown = queue(CREATED).replace("::ONE:", "::THREE:");
        let foreign = queue(CREATED).replace("arn:jog:sqs::ONE:webhook", "arn:aws:sqs:r:1:q");
        for (bad, expected) in [
            (queue(""), Code::MalformedXML),
            ("<QueueConfiguration/>".to_owned(), Code::MalformedXML),
            (queue(&format!("{CREATED}<Nonsense/>")), Code::MalformedXML),
            ("<Nonsense/>".to_owned(), Code::MalformedXML),
            (queue("<Event>s3:Nonsense:*</Event>"), Code::InvalidArgument),
            (queue("<Event>s3:ObjectTagging:*</Event>"), Code::NotImplemented),
            ("<EventBridgeConfiguration/>".to_owned(), Code::NotImplemented),
            (unknown, Code::InvalidArgument),
            (foreign, Code::InvalidArgument),
            (filter(rule("infix", "a")), Code::InvalidArgument),
            (filter(rule("prefix", "a").repeat(2)), Code::InvalidArgument),
            (filter(rule("prefix", &"a".repeat(1025))), Code::InvalidArgument),
            (filter("<Nonsense/>".to_owned()), Code::MalformedXML),
            (queue(CREATED).repeat(2), Code::InvalidArgument),
            (queue(&format!("<Id>{}</Id>{CREATED}", "i".repeat(256))), Code::InvalidArgument),
        ] {
            assert_eq!(code(&bad), expected, "{bad}");
        }
    }

    #[test]
    fn ids_are_unique() {
        let removed = "<Event>s3:ObjectRemoved:*</Event>";
        let two = queue(CREATED) + &queue(removed);
        let ids: Vec<_> = of(&two).unwrap().subscriptions.into_iter().map(|s| s.id).collect();
        assert!(ids[0] != ids[1] && !ids[0].is_empty());
        let same = queue(&format!("<Id>a</Id>{CREATED}"));
        assert_eq!(code(&(same + &queue(&format!("<Id>a</Id>{removed}")))), Code::InvalidArgument);
    }
}
