//! What is asked of the gate: an action on a bucket or an object, and the facts of the request that
//! conditions may look at. Facts are looked up when a policy wants them, never before.

use super::policy::{ANONYMOUS, Context, Key, Who};
use super::users::User;
use crate::store::{Bucket, Found, Object, Store, StoreError};
use crate::types::{BucketName, ObjectKey, VersionId, time};
use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Who asks.
#[derive(Clone, Debug)]
pub enum Requester {
    /// Nobody has signed.
    Anonymous,
    /// The holder of the root key.
    Root,
    /// A user.
    User(Arc<User>),
    /// A service of JOG's own, such as `logging.s3.amazonaws.com`.
    Service(&'static str),
}

impl Requester {
    /// As policies see it.
    pub fn who(&self) -> Who<'_> {
        match self {
            Self::Anonymous => Who::Anonymous,
            Self::Root => Who::User { name: None, id: super::ROOT_ID },
            Self::User(user) => Who::User { name: Some(&user.name), id: &user.canonical_id },
            Self::Service(name) => Who::Service(name),
        }
    }

    /// The canonical ID, if it has one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Root => Some(super::ROOT_ID),
            Self::User(user) => Some(&user.canonical_id),
            Self::Anonymous | Self::Service(_) => None,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// As in policies: `s3:GetObject`.
    pub action: &'a str,
    /// The bucket, unless it is about the service.
    pub bucket: Option<&'a BucketName>,
    /// The key, if it is about an object.
    pub key: Option<&'a ObjectKey>,
    /// The version of it, if the request names one.
    pub version: Option<VersionId>,
    /// The request.
    pub facts: &'a dyn Facts,
}

/// What a request is like.
pub trait Facts {
    /// Where it comes from.
    fn source_ip(&self) -> IpAddr;
    /// Whether it came by HTTPS.
    fn secure(&self) -> bool;
    /// A header field, or what stands for it in a form or a document; `name` in lower case.
    fn header(&self, name: &str) -> Option<&str>;
    /// A parameter of its query.
    fn parameter(&self, name: &str) -> Option<&str>;
    /// The tags that it sets.
    fn tags(&self) -> Cow<'_, [(String, String)]>;
    /// `bucket/key` of the source of a copy, decoded.
    fn copy_source(&self) -> Option<String>;
    /// The bucket for which a service asks, and its owner.
    fn on_behalf_of(&self) -> Option<(&BucketName, &str)> {
        None
    }
}

/// A request of which nothing is known but that it comes from this host: for `jog access explain`,
/// and for the server's own questions.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoFacts;

impl Facts for NoFacts {
    fn source_ip(&self) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)
    }

    fn secure(&self) -> bool {
        false
    }

    fn header(&self, _: &str) -> Option<&str> {
        None
    }

    fn parameter(&self, _: &str) -> Option<&str> {
        None
    }

    fn tags(&self) -> Cow<'_, [(String, String)]> {
        Cow::Borrowed(&[])
    }

    fn copy_source(&self) -> Option<String> {
        None
    }
}

/// A request that asks for a listing below a key: whoever may list it may know what is there.
pub(super) struct ListingOf<'a> {
    pub facts: &'a dyn Facts,
    pub prefix: &'a str,
}

impl Facts for ListingOf<'_> {
    fn source_ip(&self) -> IpAddr {
        self.facts.source_ip()
    }

    fn secure(&self) -> bool {
        self.facts.secure()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.facts.header(name)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        (name == "prefix").then_some(self.prefix)
    }

    fn tags(&self) -> Cow<'_, [(String, String)]> {
        Cow::Borrowed(&[])
    }

    fn copy_source(&self) -> Option<String> {
        None
    }
}

/// A question with everything that may be looked up for it.
pub(super) struct Question<'a> {
    pub store: &'a Store,
    pub requester: &'a Requester,
    pub ask: &'a Ask<'a>,
    pub bucket: Option<&'a Bucket>,
    object: OnceCell<Option<Arc<Object>>>,
    failed: RefCell<Option<StoreError>>,
}

impl<'a> Question<'a> {
    pub fn new(
        store: &'a Store,
        requester: &'a Requester,
        ask: &'a Ask<'a>,
        bucket: Option<&'a Bucket>,
    ) -> Self {
        let (object, failed) = (OnceCell::new(), RefCell::new(None));
        Self { store, requester, ask, bucket, object, failed }
    }

    /// The object that is asked about, if it is there. After a failure, which [`Self::failure`]
    /// tells, there is none.
    pub fn object(&self) -> Option<&Object> {
        let find = || {
            let (bucket, key) = (self.bucket?, self.ask.key?);
            let found = match self.ask.version {
                None => self.store.object(bucket.id, key),
                Some(id) => self.store.version(bucket.id, key, id).map(|found| match found {
                    Some(Found::Object(object)) => Some(object),
                    _ => None,
                }),
            };
            found.unwrap_or_else(|error| {
                *self.failed.borrow_mut() = Some(error);
                None
            })
        };
        self.object.get_or_init(find).as_deref()
    }

    /// What went wrong while something was looked up: no decision may stand on it.
    pub fn failure(&self) -> Option<StoreError> {
        self.failed.borrow_mut().take()
    }

    /// What it is about, as policies write it without `arn:aws:s3:::`.
    pub fn resource(&self) -> String {
        match (self.ask.bucket, self.ask.key) {
            (Some(bucket), Some(key)) => format!("{bucket}/{key}"),
            (Some(bucket), None) => bucket.to_string(),
            (None, _) => String::new(),
        }
    }
}

/// Actions whose parameters `prefix`, `delimiter` and `max-keys` mean something.
const LISTINGS: [&str; 3] =
    ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"];

impl Context for Question<'_> {
    fn values(&self, key: &Key) -> Option<Vec<Cow<'_, str>>> {
        let facts = self.ask.facts;
        let tag = |tags: &[(String, String)], name: &str| {
            tags.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        let value: Cow<'_, str> = match key {
            Key::SourceIp => facts.source_ip().to_canonical().to_string().into(),
            Key::SecureTransport => if facts.secure() { "true" } else { "false" }.into(),
            Key::CurrentTime => time::iso(time::now_ms()).into(),
            Key::EpochTime => (time::now_ms() / 1000).to_string().into(),
            Key::PrincipalType => match self.requester {
                Requester::Anonymous => "Anonymous".into(),
                Requester::Root => "Account".into(),
                Requester::User(_) => "User".into(),
                Requester::Service(_) => "Service".into(),
            },
            Key::PrincipalArn => match self.requester {
                Requester::User(user) => format!("arn:aws:iam:::user/{}", user.name).into(),
                Requester::Root => "arn:aws:iam:::root".into(),
                _ => return None,
            },
            Key::Username => match self.requester {
                Requester::User(user) => user.name.as_str().into(),
                _ => return None,
            },
            Key::UserId => self.requester.id().unwrap_or(ANONYMOUS).into(),
            Key::SourceArn => format!("arn:aws:s3:::{}", facts.on_behalf_of()?.0).into(),
            Key::SourceAccount => facts.on_behalf_of()?.1.to_owned().into(),
            Key::Header(name) => facts.header(name)?.into(),
            Key::CopySource => facts.copy_source()?.into(),
            Key::Listing(name) if LISTINGS.contains(&self.ask.action) => {
                // The parameter of ListMultipartUploads that bounds a page has a name of its own.
                match (*name, self.ask.action) {
                    ("max-keys", "s3:ListBucketMultipartUploads") => {
                        facts.parameter("max-uploads")?.into()
                    }
                    (name, _) => facts.parameter(name)?.into(),
                }
            }
            Key::Listing(_) => return None,
            Key::VersionId => self.ask.version?.to_string().into(),
            Key::ExistingTag(name) => tag(self.object()?.extra.tags.pairs(), name)?.into(),
            Key::RequestTag(name) => tag(&facts.tags(), name)?.into(),
            Key::RequestTagKeys => {
                let keys: Vec<_> =
                    facts.tags().iter().map(|(key, _)| Cow::Owned(key.clone())).collect();
                return (!keys.is_empty()).then_some(keys);
            }
            Key::RetentionDays => {
                let until = facts.header("x-amz-object-lock-retain-until-date")?;
                let left = time::parse_iso(until)? - time::now_ms();
                // A part of a day counts as one.
                (left.div_euclid(DAY_MS) + i64::from(left.rem_euclid(DAY_MS) != 0))
                    .to_string()
                    .into()
            }
        };
        Some(vec![value])
    }
}
