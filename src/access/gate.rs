//! The gate: the one evaluator through which every request passes. Deny is the default; an explicit
//! deny of a policy wins over every allow; root passes.

use super::ask::{ListingOf, Question};
use super::policy::{self, Decision, Policy, Statement};
use super::settings::{Block, Ownership, bucket_acl};
use super::users::Users;
use super::{Ask, Authorized, Denied, Owner, Permission, ROOT_ID, Requester, acl::Acl};
use crate::auth::Identity;
use crate::limits::CACHED_BUCKETS;
use crate::store::{Bucket, ConfigKind, SharedStore, StoreError};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Decides over requests.
pub struct Gate<'u> {
    store: SharedStore,
    users: Box<dyn Users + 'u>,
    /// Policies of buckets that were parsed, with their texts, by the numbers of the buckets.
    parsed: Mutex<HashMap<i64, Arc<Policy>>>,
}

/// A decision and what decided it.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Whether the request may pass.
    pub allowed: bool,
    /// Why.
    pub why: Why,
}

/// What decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// Root may do everything.
    Root,
    /// A statement of one of the user's policies, which are counted from 0.
    UserPolicy(usize, Named),
    /// A statement of the bucket's policy.
    BucketPolicy(Named),
    /// It owns the bucket.
    BucketOwner,
    /// It owns the object.
    ObjectOwner,
    /// It started the upload.
    Initiator,
    /// The bucket's access control list.
    BucketAcl(Permission),
    /// The object's access control list.
    ObjectAcl(Permission),
    /// Who has not signed has no buckets; that list is no secret.
    NoBuckets,
    /// A policy of the bucket that JOG does not understand denies everything.
    BrokenPolicy,
    /// The bucket's policy would allow it, but it is public, and the public access block restricts
    /// public buckets.
    Restricted,
    /// Nothing allows it.
    NoAllow,
}

/// A statement, as an explanation names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// Its Sid, if it has one.
    pub sid: Option<String>,
    /// Its place in the policy, from 0.
    pub index: usize,
}

impl From<&Statement> for Named {
    fn from(statement: &Statement) -> Self {
        Self { sid: statement.sid.clone(), index: statement.index }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {}", self.index + 1)?;
        match &self.sid {
            Some(sid) => write!(f, " ({sid})"),
            None => Ok(()),
        }
    }
}

impl Why {
    /// Whether nothing speaks for it and nothing against it.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NoAllow)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root may do everything"),
            Self::UserPolicy(policy, named) => {
                write!(f, "{named} of policy {} of the user", policy + 1)
            }
            Self::BucketPolicy(named) => write!(f, "{named} of the bucket's policy"),
            Self::BucketOwner => f.write_str("the user owns the bucket"),
            Self::ObjectOwner => f.write_str("the user owns the object"),
            Self::Initiator => f.write_str("the user started the upload"),
            Self::BucketAcl(permission) => {
                write!(f, "{} in the bucket's access control list", permission.name())
            }
            Self::ObjectAcl(permission) => {
                write!(f, "{} in the object's access control list", permission.name())
            }
            Self::NoBuckets => f.write_str("who has not signed has no buckets to list"),
            Self::BrokenPolicy => f.write_str("the bucket's policy cannot be understood"),
            Self::Restricted => f.write_str(
                "the bucket's policy is public, and its public access block restricts it",
            ),
            Self::NoAllow => f.write_str("no policy and no access control list allows it"),
        }
    }
}

/// What an access control list has to permit for an action.
enum Listed {
    Bucket(Permission),
    Object(Permission),
}

fn listed(action: &str) -> Option<Listed> {
    use Permission::{Read, ReadAcp, Write, WriteAcp};
    Some(match action.strip_prefix("s3:")? {
        "ListBucket" | "ListBucketVersions" | "ListBucketMultipartUploads" => Listed::Bucket(Read),
        "PutObject" | "DeleteObject" => Listed::Bucket(Write),
        "GetBucketAcl" => Listed::Bucket(ReadAcp),
        "PutBucketAcl" => Listed::Bucket(WriteAcp),
        "GetObject" | "GetObjectVersion" => Listed::Object(Read),
        "GetObjectAcl" | "GetObjectVersionAcl" => Listed::Object(ReadAcp),
        "PutObjectAcl" | "PutObjectVersionAcl" => Listed::Object(WriteAcp),
        _ => return None,
    })
}

/// What is done with an object itself, and not with its place in the bucket: whom it belongs to
/// may, and if that is not the owner of the bucket, he may not unless it gives him leave.
fn is_of_object(action: &str) -> bool {
    const OF_OBJECT: [&str; 15] = [
        "GetObject",
        "GetObjectVersion",
        "GetObjectAcl",
        "GetObjectVersionAcl",
        "PutObjectAcl",
        "PutObjectVersionAcl",
        "GetObjectAttributes",
        "GetObjectVersionAttributes",
        "GetObjectTagging",
        "GetObjectVersionTagging",
        "PutObjectTagging",
        "PutObjectVersionTagging",
        "DeleteObjectTagging",
        "DeleteObjectVersionTagging",
        "GetObjectTorrent",
    ];
    action.strip_prefix("s3:").is_some_and(|action| OF_OBJECT.contains(&action))
}

impl<'u> Gate<'u> {
    /// A gate over a store and its users.
    pub fn new(store: SharedStore, users: impl Users + 'u) -> Self {
        Self { store, users: Box::new(users), parsed: Mutex::default() }
    }

    /// The users.
    pub fn users(&self) -> &dyn Users {
        &*self.users
    }

    /// Who has proven to be this; `None` if the key is no longer one.
    pub fn requester(&self, identity: &Identity) -> Option<Requester> {
        match identity {
            Identity::Anonymous => Some(Requester::Anonymous),
            Identity::Key { access_key_id } if self.users.is_root(access_key_id) => {
                Some(Requester::Root)
            }
            Identity::Key { access_key_id } => {
                self.users.by_key(access_key_id).map(Requester::User)
            }
        }
    }

    /// The user of a canonical ID, as answers show it.
    pub fn owner(&self, id: &str) -> Owner {
        if id == ROOT_ID {
            return Owner { id: id.to_owned(), display_name: "root".to_owned() };
        }
        match self.users.by_id(id) {
            Some(user) => user.owner(),
            None => Owner { id: id.to_owned(), display_name: id.to_owned() },
        }
    }

    /// Decides, and says of what is not there no more than the requester may know.
    pub fn authorize(&self, requester: &Requester, ask: &Ask<'_>) -> Result<Authorized, Denied> {
        let verdict = self.verdict(requester, ask)?;
        let Verdict { allowed: true, why } = verdict else {
            let missing_bucket = match ask.bucket {
                // One that is to be made is missing by its nature.
                Some(name) if ask.action != "s3:CreateBucket" => self.store.bucket(name)?.is_none(),
                _ => false,
            };
            return Err(match missing_bucket {
                true => Denied::NoSuchBucket,
                false => Denied::No(verdict.why),
            });
        };
        Ok(Authorized { requester: requester.clone(), why, _only_made_here: () })
    }

    /// Whether a requester may know whether a key is there: who may list it may.
    pub fn may_know(&self, requester: &Requester, ask: &Ask<'_>) -> Result<bool, StoreError> {
        let prefix = ask.key.map_or("", |key| key.as_str());
        let facts = ListingOf { facts: ask.facts, prefix };
        let action = match ask.version {
            Some(_) => "s3:ListBucketVersions",
            None => "s3:ListBucket",
        };
        let list = Ask { action, key: None, version: None, facts: &facts, ..*ask };
        Ok(self.verdict(requester, &list)?.allowed)
    }

    /// Decides, and says why. Everything else stands on this.
    pub fn verdict(&self, requester: &Requester, ask: &Ask<'_>) -> Result<Verdict, StoreError> {
        if matches!(requester, Requester::Root) {
            return Ok(Verdict { allowed: true, why: Why::Root });
        }
        let bucket = match ask.bucket {
            // Who makes a bucket has nothing to do with one that is there.
            Some(name) if ask.action != "s3:CreateBucket" => self.store.bucket(name)?,
            _ => None,
        };
        let question = Question::new(&self.store, requester, ask, bucket.as_deref());
        let verdict = self.judge(&question);
        match question.failure() {
            Some(error) => Err(error),
            None => Ok(verdict),
        }
    }

    fn judge(&self, question: &Question<'_>) -> Verdict {
        let allow = |why| Verdict { allowed: true, why };
        let deny = |why| Verdict { allowed: false, why };
        let own = user_policies(question);
        if let Some((false, why)) = own {
            return deny(why);
        }
        let Some(bucket) = question.bucket else {
            let nothing = matches!(question.requester, Requester::Anonymous)
                && question.ask.action == "s3:ListAllMyBuckets";
            return match own {
                Some((_, why)) => allow(why),
                None if nothing => allow(Why::NoBuckets),
                None => deny(Why::NoAllow),
            };
        };
        let policy = match self.policy(bucket) {
            Ok(policy) => policy,
            Err(policy::Malformed(_)) => return deny(Why::BrokenPolicy),
        };
        let by_policy = policy.as_deref().and_then(|policy| statement_of(policy, question));
        match (&by_policy, own) {
            (Some((false, named)), _) => return deny(Why::BucketPolicy(named.clone())),
            (_, Some((_, why))) => return allow(why),
            _ => {}
        }
        if let Some(why) = self.owner_allows(question, bucket) {
            return allow(why);
        }
        let restricted =
            policy.is_some_and(|policy| policy.is_public()) && Block::of(bucket).restrict_buckets;
        if let Some((true, named)) = by_policy
            && policy_reaches(question, bucket)
        {
            if !restricted {
                return allow(Why::BucketPolicy(named));
            }
            return acl_allows(question, bucket).map_or(deny(Why::Restricted), allow);
        }
        acl_allows(question, bucket).map_or(deny(Why::NoAllow), allow)
    }

    /// The policy of a bucket, parsed.
    fn policy(&self, bucket: &Bucket) -> Result<Option<Arc<Policy>>, policy::Malformed> {
        let Some(text) = bucket.config(ConfigKind::Policy) else { return Ok(None) };
        let lock = || self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = lock().get(&bucket.id).filter(|policy| policy.text() == text) {
            return Ok(Some(Arc::clone(policy)));
        }
        let policy = Arc::new(Policy::bucket(text, bucket.name.as_str())?);
        let mut parsed = lock();
        if parsed.len() >= CACHED_BUCKETS {
            parsed.clear();
        }
        parsed.insert(bucket.id, Arc::clone(&policy));
        Ok(Some(policy))
    }

    /// What belongs to the requester.
    fn owner_allows(&self, question: &Question<'_>, bucket: &Bucket) -> Option<Why> {
        let id = question.requester.id()?;
        let (ask, ownership) = (question.ask, Ownership::of(bucket));
        if bucket.owner == id && policy_reaches(question, bucket) {
            return Some(Why::BucketOwner);
        }
        let own_object = ownership.has_acls()
            && is_of_object(ask.action)
            && question.object().is_some_and(|object| object.owner == id);
        if own_object {
            return Some(Why::ObjectOwner);
        }
        let of_upload =
            matches!(ask.action, "s3:AbortMultipartUpload" | "s3:ListMultipartUploadParts");
        let upload_id = ask.facts.parameter("uploadId").filter(|_| of_upload)?;
        // What cannot be found is not the requester's.
        let upload = question.store.upload(bucket.id, ask.key?, upload_id).ok()??;
        (upload.owner == id).then_some(Why::Initiator)
    }
}

/// What the policies of the user say: whether they allow it, and why.
fn user_policies(question: &Question<'_>) -> Option<(bool, Why)> {
    let Requester::User(user) = question.requester else { return None };
    let resource = question.resource();
    let request = policy::Request {
        who: question.requester.who(),
        action: question.ask.action,
        resource: &resource,
        context: question,
    };
    let mut allowed = None;
    for (at, policy) in user.policies.iter().enumerate() {
        match policy::decide([policy], &request) {
            Decision::Deny(statement) => {
                return Some((false, Why::UserPolicy(at, statement.into())));
            }
            Decision::Allow(statement) if allowed.is_none() => {
                allowed = Some((true, Why::UserPolicy(at, statement.into())));
            }
            _ => {}
        }
    }
    allowed
}

/// What the policy of the bucket says: whether it allows it, and by which statement.
fn statement_of(policy: &Policy, question: &Question<'_>) -> Option<(bool, Named)> {
    let resource = question.resource();
    let request = policy::Request {
        who: question.requester.who(),
        action: question.ask.action,
        resource: &resource,
        context: question,
    };
    match policy::decide([policy], &request) {
        Decision::Deny(statement) => Some((false, statement.into())),
        // AWS: "to set the logging status of a bucket, you must be the bucket owner".
        Decision::Allow(_) if question.ask.action == "s3:PutBucketLogging" => None,
        Decision::Allow(statement) => Some((true, statement.into())),
        Decision::Nothing => None,
    }
}

/// Whether the owner of the bucket, and with it the bucket's policy, has a say in what is asked:
/// not in what is done with an object of somebody else, where objects belong to who uploads them.
fn policy_reaches(question: &Question<'_>, bucket: &Bucket) -> bool {
    !is_of_object(question.ask.action)
        || Ownership::of(bucket).bucket_owner_reaches_all()
        || question.object().is_none_or(|object| object.owner == bucket.owner)
}

/// What the access control list of the bucket or of the object permits.
fn acl_allows(question: &Question<'_>, bucket: &Bucket) -> Option<Why> {
    if !Ownership::of(bucket).has_acls() || matches!(question.requester, Requester::Service(_)) {
        return None;
    }
    let (id, no_public) = (question.requester.id(), Block::of(bucket).ignore_acls);
    match listed(question.ask.action)? {
        Listed::Bucket(permission) => bucket_acl(bucket)
            .permits(id, permission, no_public)
            .map(|grant| Why::BucketAcl(grant.permission)),
        Listed::Object(permission) => {
            let object = question.object()?;
            let acl = match &object.extra.acl {
                Some(json) => Acl::from_json(json),
                None => Acl::private(&object.owner),
            };
            acl.permits(id, permission, no_public).map(|grant| Why::ObjectAcl(grant.permission))
        }
    }
}
