//! Event notifications: what happened, who wants to know, and the message that tells it. Pure; the
//! XML of a configuration is in `s3`, its delivery in `jobs`.

use super::time;
use serde_json::{Value, json};

/// What may happen to an object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Event {
    /// PutObject
    CreatedPut,
    /// A browser's form
    CreatedPost,
    /// CopyObject
    CreatedCopy,
    /// CompleteMultipartUpload
    CreatedMultipart,
    /// A version was removed for good
    RemovedDelete,
    /// A delete marker was made
    RemovedMarker,
    /// A lifecycle rule removed a version for good
    ExpiredDelete,
    /// A lifecycle rule made a delete marker
    ExpiredMarker,
}

/// Every event with its name in a configuration, less the `s3:` before it.
const EVENTS: [(Event, &str); 8] = [
    (Event::CreatedPut, "ObjectCreated:Put"),
    (Event::CreatedPost, "ObjectCreated:Post"),
    (Event::CreatedCopy, "ObjectCreated:Copy"),
    (Event::CreatedMultipart, "ObjectCreated:CompleteMultipartUpload"),
    (Event::RemovedDelete, "ObjectRemoved:Delete"),
    (Event::RemovedMarker, "ObjectRemoved:DeleteMarkerCreated"),
    (Event::ExpiredDelete, "LifecycleExpiration:Delete"),
    (Event::ExpiredMarker, "LifecycleExpiration:DeleteMarkerCreated"),
];

/// Event types of AWS that nothing in JOG can cause.
const FOREIGN: [&str; 7] = [
    "ReducedRedundancyLostObject",
    "ObjectRestore:",
    "Replication:",
    "LifecycleTransition",
    "IntelligentTiering",
    "ObjectAcl:",
    "ObjectTagging:",
];

impl Event {
    /// Its name in a message: `ObjectCreated:Put`.
    pub fn name(self) -> &'static str {
        EVENTS.iter().find(|(event, _)| *event == self).map_or("", |(_, name)| name)
    }

    fn is_created(self) -> bool {
        self.name().starts_with("ObjectCreated:")
    }

    fn is_expiration(self) -> bool {
        self.name().starts_with("LifecycleExpiration:")
    }
}

/// An event type as configurations write it: one event, or a group of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventType(String);

/// Why an event type was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoEventType {
    /// There is none of that name.
    Unknown,
    /// AWS has it and JOG never sends it.
    NotImplemented,
}

impl EventType {
    /// `s3:ObjectCreated:*`, `s3:ObjectRemoved:Delete` and so on.
    pub fn parse(text: &str) -> Result<Self, NoEventType> {
        let name = text.strip_prefix("s3:").ok_or(NoEventType::Unknown)?;
        let known = EVENTS.iter().any(|(_, event)| {
            *event == name || event.split_once(':').is_some_and(|(group, _)| is_all_of(name, group))
        });
        match known {
            true => Ok(Self(text.to_owned())),
            false if FOREIGN.iter().any(|f| name.starts_with(f)) => {
                Err(NoEventType::NotImplemented)
            }
            false => Err(NoEventType::Unknown),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn covers(&self, event: Event) -> bool {
        let name = self.0.strip_prefix("s3:").unwrap_or_default();
        let group = event.name().split(':').next().unwrap_or_default();
        name == event.name() || is_all_of(name, group)
    }

    /// Whether one event is of both types.
    fn overlaps(&self, other: &Self) -> bool {
        EVENTS.iter().any(|(event, _)| self.covers(*event) && other.covers(*event))
    }
}

fn is_all_of(name: &str, group: &str) -> bool {
    name.strip_suffix(":*") == Some(group)
}

/// The element that a target was configured with; they all mean the same here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `QueueConfiguration`
    Queue,
    /// `TopicConfiguration`
    Topic,
    /// `CloudFunctionConfiguration`
    Function,
}

/// The name of a target: upper case, as in `JOG_WEBHOOK_<NAME>_URL`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TargetName(String);

impl TargetName {
    /// 1 to 64 letters, digits and underscores; lower case counts as upper case.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        ((1..=64).contains(&text.len()) && text.bytes().all(fits))
            .then(|| Self(text.to_ascii_uppercase()))
    }

    /// The target of `arn:jog:sqs::NAME:webhook`. The partition may be `minio`, the service `sns`
    /// or `lambda`, and a region may be named: MinIO's clients write such ARNs.
    pub fn of_arn(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        match parts[..] {
            ["arn", "jog" | "minio", "sqs" | "sns" | "lambda", _, name, "webhook"] => {
                Self::parse(name)
            }
            _ => None,
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who wants to know of which events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Unique in its bucket.
    pub id: String,
    /// How the target was configured.
    pub kind: Kind,
    /// The target as it was written.
    pub arn: String,
    /// The target.
    pub target: TargetName,
    /// At least one.
    pub events: Vec<EventType>,
    /// Only keys that start with this.
    pub prefix: Option<String>,
    /// Only keys that end with this.
    pub suffix: Option<String>,
}

impl Subscription {
    fn wants(&self, event: Event, key: &str) -> bool {
        self.events.iter().any(|wanted| wanted.covers(event))
            && self.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
            && self.suffix.as_deref().is_none_or(|suffix| key.ends_with(suffix))
    }

    /// Whether an event of one key can be for both, which AWS refuses.
    pub fn overlaps(&self, other: &Self) -> bool {
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        let (one, two) = (of(&self.prefix), of(&other.prefix));
        let prefixes = one.starts_with(&two) || two.starts_with(&one);
        let (one, two) = (of(&self.suffix), of(&other.suffix));
        let suffixes = one.ends_with(&two) || two.ends_with(&one);
        let events = self.events.iter().any(|e| other.events.iter().any(|o| e.overlaps(o)));
        prefixes && suffixes && events
    }
}

/// The notification configuration of a bucket.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Notification {
    /// In the order in which they were given.
    pub subscriptions: Vec<Subscription>,
}

impl Notification {
    /// Those who want to know of an event of a key.
    pub fn matching<'a>(
        &'a self,
        event: Event,
        key: &'a str,
    ) -> impl Iterator<Item = &'a Subscription> {
        self.subscriptions.iter().filter(move |s| s.wants(event, key))
    }

    /// Only the subscriptions of targets that are declared.
    #[must_use]
    pub fn declared(mut self, targets: &[TargetName]) -> Self {
        self.subscriptions.retain(|s| targets.contains(&s.target));
        self
    }

    /// As JSON, for [`Self::from_json`].
    pub fn to_json(&self) -> String {
        let subscription = |s: &Subscription| {
            let kind = match s.kind {
                Kind::Queue => "queue",
                Kind::Topic => "topic",
                Kind::Function => "function",
            };
            let events: Vec<&str> = s.events.iter().map(EventType::as_str).collect();
            json!({
                "id": s.id, "kind": kind, "arn": s.arn, "events": events,
                "prefix": s.prefix, "suffix": s.suffix,
            })
        };
        Value::from(self.subscriptions.iter().map(subscription).collect::<Vec<_>>()).to_string()
    }

    /// What [`Self::to_json`] wrote; `None` for anything else.
    pub fn from_json(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let subscription = |value: &Value| {
            let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
            let event = |value: &Value| EventType::parse(value.as_str()?).ok();
            let arn = text("arn")?;
            Some(Subscription {
                id: text("id")?,
                kind: match value.get("kind")?.as_str()? {
                    "queue" => Kind::Queue,
                    "topic" => Kind::Topic,
                    "function" => Kind::Function,
                    _ => return None,
                },
                target: TargetName::of_arn(&arn)?,
                arn,
                events: value
                    .get("events")?
                    .as_array()?
                    .iter()
                    .map(event)
                    .collect::<Option<_>>()?,
                prefix: text("prefix"),
                suffix: text("suffix"),
            })
        };
        let subscriptions = value.as_array()?.iter().map(subscription).collect::<Option<_>>()?;
        Some(Self { subscriptions })
    }
}

/// Who caused an event, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The region that the bucket is in.
    pub region: String,
    /// Canonical ID of who did it; `s3.amazonaws.com` for a lifecycle rule.
    pub principal: String,
    /// The address that the request came from; `s3.amazonaws.com` for a lifecycle rule.
    pub source_ip: String,
    /// `x-amz-request-id` of the answer.
    pub request_id: String,
    /// `x-amz-id-2` of the answer.
    pub host_id: String,
    /// The bucket's name.
    pub bucket: String,
    /// Canonical ID of the bucket's owner.
    pub bucket_owner: String,
}

impl Origin {
    /// That of a lifecycle rule, see "Configuring S3 Lifecycle event notifications".
    pub fn lifecycle(region: &str, bucket: &str, bucket_owner: &str, run: String) -> Self {
        Self {
            region: region.to_owned(),
            principal: "s3.amazonaws.com".to_owned(),
            source_ip: "s3.amazonaws.com".to_owned(),
            request_id: run,
            host_id: "jog".to_owned(),
            bucket: bucket.to_owned(),
            bucket_owner: bucket_owner.to_owned(),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Happened<'a> {
    /// The event.
    pub event: Event,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// The object's key.
    pub key: &'a str,
    /// Size and entity tag of what was created.
    pub created: Option<(u64, &'a str)>,
    /// Its version, where there are versions.
    pub version_id: Option<&'a str>,
    /// Grows with each event of a key.
    pub sequence: u64,
}

/// The message about an event: "Event message structure", version 2.1, which lifecycle events have
/// in version 2.3.
pub fn message(origin: &Origin, happened: &Happened<'_>, configuration_id: &str) -> String {
    let mut object = json!({
        "key": encode_key(happened.key),
        "sequencer": format!("{:016X}", happened.sequence),
    });
    if let Some((size, etag)) = happened.created.filter(|_| happened.event.is_created()) {
        object["size"] = size.into();
        object["eTag"] = etag.into();
    }
    if let Some(version) = happened.version_id {
        object["versionId"] = version.into();
    }
    let record = json!({
        "eventVersion": if happened.event.is_expiration() { "2.3" } else { "2.1" },
        "eventSource": "aws:s3",
        "awsRegion": origin.region,
        "eventTime": time::iso(happened.at_ms),
        "eventName": happened.event.name(),
        "userIdentity": { "principalId": origin.principal },
        "requestParameters": { "sourceIPAddress": origin.source_ip },
        "responseElements": {
            "x-amz-request-id": origin.request_id,
            "x-amz-id-2": origin.host_id,
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {
                "name": origin.bucket,
                "ownerIdentity": { "principalId": origin.bucket_owner },
                "arn": format!("arn:aws:s3:::{}", origin.bucket),
            },
            "object": object,
        },
    });
    json!({ "Records": [record] }).to_string()
}

/// A key as messages have it: percent-encoded as in a form, a space as `+`, slashes as they are.
fn encode_key(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(events: &[&str], prefix: &str, suffix: &str) -> Subscription {
        let arn = "arn:minio:sqs::one:webhook";
        Subscription {
            id: "id".to_owned(),
            kind: Kind::Queue,
            arn: arn.to_owned(),
            target: TargetName::of_arn(arn).unwrap(),
            events: events.iter().map(|e| EventType::parse(e).unwrap()).collect(),
            prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
            suffix: (!suffix.is_empty()).then(|| suffix.to_owned()),
        }
    }

    #[test]
    fn event_types() {
        for good in [
            "s3:ObjectCreated:*",
            "s3:ObjectCreated:Put",
            "s3:ObjectCreated:CompleteMultipartUpload",
            "s3:ObjectRemoved:DeleteMarkerCreated",
            "s3:LifecycleExpiration:*",
        ] {
            assert_eq!(EventType::parse(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("ObjectCreated:Put", NoEventType::Unknown),
            ("s3:ObjectCreated", NoEventType::Unknown),
            ("s3:ObjectCreated:", NoEventType::Unknown),
            ("s3:ObjectCreated:Nothing", NoEventType::Unknown),
            ("s3:*", NoEventType::Unknown),
            ("s3:ObjectAccessed:*", NoEventType::Unknown),
            ("s3:ObjectTagging:*", NoEventType::NotImplemented),
            ("s3:ReducedRedundancyLostObject", NoEventType::NotImplemented),
        ] {
            assert_eq!(EventType::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn who_wants_to_know() {
        let created = subscription(&["s3:ObjectCreated:*"], "a/", ".jpg");
        let removed = subscription(&["s3:ObjectRemoved:Delete"], "", "");
        let all = Notification { subscriptions: vec![created.clone(), removed.clone()] };
        let count = |event, key| all.matching(event, key).count();
        assert_eq!(count(Event::CreatedCopy, "a/1.jpg"), 1);
        assert_eq!(count(Event::CreatedCopy, "a/1.png"), 0);
        assert_eq!(count(Event::CreatedCopy, "b/1.jpg"), 0);
        assert_eq!(count(Event::RemovedDelete, "b"), 1);
        assert_eq!(count(Event::RemovedMarker, "b"), 0);
        // A lifecycle rule's deletes are events of their own.
        assert_eq!(count(Event::ExpiredDelete, "b"), 0);
        assert_eq!(all.matching(Event::CreatedPut, "a/.jpg").next(), Some(&created));
    }

    #[test]
    fn overlaps() {
        let one = subscription(&["s3:ObjectCreated:*"], "a/", "");
        let overlaps = |events, prefix, suffix| {
            let other = subscription(&[events], prefix, suffix);
            assert_eq!(one.overlaps(&other), other.overlaps(&one));
            one.overlaps(&other)
        };
        assert!(overlaps("s3:ObjectCreated:Put", "a/b/", ".jpg"));
        assert!(overlaps("s3:ObjectCreated:Put", "", ""));
        assert!(!overlaps("s3:ObjectCreated:Put", "b/", ""));
        assert!(!overlaps("s3:ObjectRemoved:*", "a/", ""));
        let jpg = subscription(&["s3:ObjectCreated:*"], "", ".jpg");
        assert!(!jpg.overlaps(&subscription(&["s3:ObjectCreated:*"], "", ".png")));
    }

    #[test]
    fn arns() {
        let name = |arn| TargetName::of_arn(arn).map(|n| n.as_str().to_owned());
        for good in [
            "arn:jog:sqs::ONE:webhook",
            "arn:minio:sqs::one:webhook",
            "arn:minio:sqs:us-east-1:one:webhook",
            "arn:jog:lambda::One:webhook",
        ] {
            assert_eq!(name(good).as_deref(), Some("ONE"), "{good}");
        }
        for bad in [
            "arn:aws:sqs:us-east-1:123:queue",
            "arn:jog:sqs::ONE:amqp",
            "arn:jog:sqs:::webhook",
            "arn:jog:sqs::a-b:webhook",
            "arn:jog:sqs::ONE:webhook:more",
            "ONE",
        ] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }

    #[test]
    fn json_gives_back_what_it_got() {
        let mut topic = subscription(&["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], "é\"", "");
        topic.kind = Kind::Topic;
        let all = Notification {
            subscriptions: vec![topic, subscription(&["s3:LifecycleExpiration:*"], "", ".z")],
        };
        assert_eq!(Notification::from_json(&all.to_json()), Some(all));
        for bad in ["", "{}", "[1]", "[{}]"] {
            assert_eq!(Notification::from_json(bad), None, "{bad}");
        }
    }

    #[test]
    fn messages() {
        let origin = Origin {
            region: "us-east-1".to_owned(),
            principal: "me".to_owned(),
            source_ip: "127.0.0.1".to_owned(),
            request_id: "R".to_owned(),
            host_id: "H".to_owned(),
            bucket: "b".to_owned(),
            bucket_owner: "owner".to_owned(),
        };
        let happened = Happened {
            event: Event::CreatedPut,
            at_ms: 1_795_514_734_123,
            key: "a b/é+.txt",
            created: Some((7, "abc")),
            version_id: None,
            sequence: 0x1F,
        };
        let text = message(&origin, &happened, "conf");
        let value: Value = serde_json::from_str(&text).unwrap();
        let record = &value["Records"][0];
        assert_eq!(value["Records"].as_array().unwrap().len(), 1);
        for (pointer, expected) in [
            ("/eventVersion", "2.1"),
            ("/eventSource", "aws:s3"),
            ("/awsRegion", "us-east-1"),
            ("/eventTime", "2026-11-24T10:05:34.123Z"),
            ("/eventName", "ObjectCreated:Put"),
            ("/userIdentity/principalId", "me"),
            ("/requestParameters/sourceIPAddress", "127.0.0.1"),
            ("/responseElements/x-amz-request-id", "R"),
            ("/responseElements/x-amz-id-2", "H"),
            ("/s3/s3SchemaVersion", "1.0"),
            ("/s3/configurationId", "conf"),
            ("/s3/bucket/name", "b"),
            ("/s3/bucket/arn", "arn:aws:s3:::b"),
            ("/s3/bucket/ownerIdentity/principalId", "owner"),
            ("/s3/object/key", "a+b/%C3%A9%2B.txt"),
            ("/s3/object/eTag", "abc"),
            ("/s3/object/sequencer", "000000000000001F"),
        ] {
            let found = record.pointer(pointer).and_then(Value::as_str);
            assert_eq!(found, Some(expected), "{pointer}");
        }
        assert_eq!(record.pointer("/s3/object/size"), Some(&Value::from(7)));
        assert_eq!(record.pointer("/s3/object/versionId"), None);
        let gone = Happened { event: Event::ExpiredDelete, version_id: Some("v"), ..happened };
        let value: Value = serde_json::from_str(&message(&origin, &gone, "conf")).unwrap();
        let record = &value["Records"][0];
        assert_eq!(record["eventVersion"], "2.3");
        assert_eq!(record["eventName"], "LifecycleExpiration:Delete");
        assert_eq!(record.pointer("/s3/object/versionId"), Some(&Value::from("v")));
        assert_eq!(record.pointer("/s3/object/size"), None);
    }
}
