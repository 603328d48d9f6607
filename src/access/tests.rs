//! The gate over a real store: who may what, by which policy, list, owner or block.

use super::acl::{Acl, Canned};
use super::policy::Policy;
use super::settings::Block;
use super::users::{User, Users};
use super::*;
use crate::auth::Identity;
use crate::store::{ConfigKind, Extra, Meta, NewBucket, NewData, NewObject, Store, StoreConfig};
use crate::types::{BucketName, ETag, ObjectKey, Precondition, Tags};
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Users by their names; the key of one is its name with `-key`, its ID its name with `-id`.
struct Known(Vec<Arc<User>>);

impl Users for Known {
    fn by_key(&self, access_key_id: &str) -> Option<Arc<User>> {
        self.by_name(access_key_id.strip_suffix("-key")?)
    }

    fn by_id(&self, canonical_id: &str) -> Option<Arc<User>> {
        self.by_name(canonical_id.strip_suffix("-id")?)
    }

    fn by_name(&self, name: &str) -> Option<Arc<User>> {
        self.0.iter().find(|user| user.name == name).cloned()
    }

    fn by_email(&self, _: &str) -> Option<Arc<User>> {
        None
    }

    fn is_root(&self, access_key_id: &str) -> bool {
        access_key_id == "root-key"
    }
}

struct Fixture {
    gate: Gate<'static>,
    store: Arc<Store>,
    dir: PathBuf,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What a bucket of `owner`, called `b`, is configured with.
#[derive(Clone, Default)]
struct Setup {
    policy: Option<String>,
    acl: Option<Canned>,
    ownership: Option<&'static str>,
    block: Block,
    /// The policy of the user `ann`.
    own: Option<String>,
}

fn statement(effect: &str, principal: &str, action: &str, resource: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": effect, "Principal": {"AWS": principal},
        "Action": action, "Resource": format!("arn:aws:s3:::{resource}")}]})
    .to_string()
}

fn own(effect: &str, action: &str, resource: &str) -> Option<String> {
    let statement = json!({"Effect": effect, "Action": action,
        "Resource": format!("arn:aws:s3:::{resource}")});
    Some(json!({"Version": "2012-10-17", "Statement": [statement]}).to_string())
}

impl Fixture {
    /// The bucket holds `k` of its owner, `anns` of ann, and `open` of its owner that everybody may
    /// read by its list.
    fn new(setup: &Setup) -> Self {
        static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("jog-access-{}-{n}", std::process::id()));
        let store = Arc::new(Store::open(StoreConfig::new(&dir)).unwrap());
        let mut configs = BTreeMap::new();
        let mut set = |kind, value: Option<String>| drop(value.map(|v| configs.insert(kind, v)));
        set(ConfigKind::Policy, setup.policy.clone());
        set(ConfigKind::Acl, setup.acl.map(|c| c.grants("owner-id", "owner-id").to_json()));
        set(ConfigKind::Ownership, setup.ownership.map(str::to_owned));
        set(ConfigKind::PublicAccessBlock, Some(setup.block.to_text()));
        let name = bucket_name();
        let owner = "owner-id".to_owned();
        let new = NewBucket { name, owner, region: String::new(), lock: false, configs };
        store.create_bucket(new).unwrap();
        let bucket = store.bucket(&bucket_name()).unwrap().unwrap();
        for (key, owner, acl) in [
            ("k", "owner-id", None),
            ("anns", "ann-id", None),
            ("open", "owner-id", Some(Canned::PublicRead.grants("owner-id", "owner-id"))),
        ] {
            let tags = vec![("class".to_owned(), key.to_owned())];
            let new = NewObject {
                key: ObjectKey::parse(key).unwrap(),
                size: 0,
                etag: ETag::from_md5(&[0; 16]),
                crc64: 0,
                checksum: None,
                meta: Meta::default(),
                owner: owner.to_owned(),
                data: NewData::Empty,
                extra: Extra {
                    acl: acl.as_ref().map(Acl::to_json),
                    tags: Tags::new(tags, 1).unwrap(),
                    ..Extra::default()
                },
            };
            store.put_object(bucket.id, new, Precondition::default()).unwrap().unwrap();
        }
        let users = ["owner", "ann", "bob"].map(|name| {
            let own = setup.own.iter().filter(|_| name == "ann");
            Arc::new(User {
                name: name.to_owned(),
                canonical_id: format!("{name}-id"),
                display_name: name.to_owned(),
                email: None,
                policies: own.map(|text| Policy::identity(text).unwrap()).collect(),
            })
        });
        let gate = Gate::new(Arc::clone(&store), Known(users.to_vec()));
        Self { gate, store, dir }
    }

    fn requester(&self, who: &str) -> Requester {
        let identity = match who {
            "anonymous" => Identity::Anonymous,
            name => Identity::Key { access_key_id: format!("{name}-key") },
        };
        self.gate.requester(&identity).unwrap()
    }

    fn ask(&self, who: &str, action: &str, key: Option<&str>) -> Verdict {
        self.ask_with(who, action, key, &NoFacts)
    }

    fn ask_with(&self, who: &str, action: &str, key: Option<&str>, facts: &dyn Facts) -> Verdict {
        let key = key.map(|key| ObjectKey::parse(key).unwrap());
        let bucket = bucket_name();
        let ask = Ask { action, bucket: Some(&bucket), key: key.as_ref(), version: None, facts };
        self.gate.verdict(&self.requester(who), &ask).unwrap()
    }
}

fn bucket_name() -> BucketName {
    BucketName::parse("bbb").unwrap()
}

/// A request of an address and with a header.
struct From(IpAddr, &'static str, &'static str);

impl Facts for From {
    fn source_ip(&self) -> IpAddr {
        self.0
    }

    fn secure(&self) -> bool {
        true
    }

    fn header(&self, name: &str) -> Option<&str> {
        (name == self.1).then_some(self.2)
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

const GET: &str = "s3:GetObject";
const PUT: &str = "s3:PutObject";
const LIST: &str = "s3:ListBucket";

#[test]
fn who_may_what() {
    let plain = Setup::default();
    let setup = |change: &dyn Fn(&mut Setup)| {
        let mut setup = Setup::default();
        change(&mut setup);
        setup
    };
    let public = setup(&|s| s.policy = Some(statement("Allow", "*", GET, "bbb/*")));
    let for_bob = setup(&|s| {
        s.policy = Some(statement("Allow", "arn:aws:iam:::user/bob", "s3:*", "bbb*"));
    });
    let nobody = setup(&|s| s.policy = Some(statement("Deny", "*", "s3:*", "*")));
    let reads = setup(&|s| s.own = own("Allow", GET, "bbb/*"));
    let never = setup(&|s| {
        s.own = own("Deny", GET, "bbb/*");
        s.policy = Some(statement("Allow", "*", "s3:*", "bbb*"));
    });
    let torn = setup(&|s| {
        s.own = own("Allow", "s3:*", "*");
        s.policy = Some(statement("Deny", "*", PUT, "bbb/*"));
    });
    let listed = setup(&|s| s.acl = Some(Canned::PublicReadWrite));
    let ignored = setup(&|s| {
        s.acl = Some(Canned::PublicReadWrite);
        s.block.ignore_acls = true;
    });
    let enforced = setup(&|s| {
        s.acl = Some(Canned::PublicReadWrite);
        s.ownership = Some("BucketOwnerEnforced");
    });
    let writer = setup(&|s| {
        s.ownership = Some("ObjectWriter");
        s.policy = Some(statement("Allow", "arn:aws:iam:::user/bob", "s3:*", "bbb*"));
    });
    let known = setup(&|s| s.acl = Some(Canned::AuthenticatedRead));
    let restricted = setup(&|s| {
        s.policy = Some(statement("Allow", "*", GET, "bbb/*"));
        s.block.restrict_buckets = true;
    });
    let restricted_own = setup(&|s| {
        s.own = own("Allow", GET, "bbb/*");
        s.policy = Some(statement("Allow", "*", GET, "bbb/*"));
        s.block.restrict_buckets = true;
    });
    let broken = setup(&|s| {
        s.policy = Some("{}".to_owned());
        s.own = own("Allow", "s3:*", "*");
    });
    let user_policy = || Why::UserPolicy(0, Named { sid: None, index: 0 });
    let bucket_policy = || Why::BucketPolicy(Named { sid: None, index: 0 });
    use Permission::{Read, Write};
    type Row<'a> = (&'a Setup, &'a str, &'a str, Option<&'a str>, bool, Why);
    // setup, who, action, key, whether, why
    let table: Vec<Row<'_>> = vec![
        (&plain, "root", "s3:DeleteBucket", None, true, Why::Root),
        (&nobody, "root", GET, Some("k"), true, Why::Root),
        (&plain, "owner", "s3:DeleteBucket", None, true, Why::BucketOwner),
        (&plain, "owner", GET, Some("k"), true, Why::BucketOwner),
        (&plain, "owner", GET, Some("anns"), true, Why::BucketOwner),
        (&plain, "ann", GET, Some("k"), false, Why::NoAllow),
        (&plain, "ann", GET, Some("anns"), true, Why::ObjectOwner),
        (&plain, "ann", "s3:PutObjectTagging", Some("anns"), true, Why::ObjectOwner),
        (&plain, "ann", "s3:DeleteObject", Some("anns"), false, Why::NoAllow),
        (&plain, "ann", PUT, Some("anns"), false, Why::NoAllow),
        (&plain, "anonymous", GET, Some("k"), false, Why::NoAllow),
        (&plain, "anonymous", GET, Some("open"), true, Why::ObjectAcl(Read)),
        (&plain, "bob", GET, Some("open"), true, Why::ObjectAcl(Read)),
        (&plain, "bob", "s3:GetObjectAcl", Some("open"), false, Why::NoAllow),
        (&plain, "bob", "s3:GetObjectTagging", Some("open"), false, Why::NoAllow),
        (&public, "anonymous", GET, Some("k"), true, bucket_policy()),
        (&public, "anonymous", GET, Some("no-such-key"), true, bucket_policy()),
        (&public, "anonymous", LIST, None, false, Why::NoAllow),
        (&public, "anonymous", PUT, Some("k"), false, Why::NoAllow),
        (&for_bob, "bob", "s3:DeleteBucket", None, true, bucket_policy()),
        (&for_bob, "bob", GET, Some("anns"), true, bucket_policy()),
        (&for_bob, "ann", GET, Some("k"), false, Why::NoAllow),
        (&for_bob, "anonymous", GET, Some("k"), false, Why::NoAllow),
        (&for_bob, "bob", "s3:PutBucketLogging", None, false, Why::NoAllow),
        (&nobody, "owner", GET, Some("k"), false, bucket_policy()),
        (&nobody, "anonymous", GET, Some("open"), false, bucket_policy()),
        (&reads, "ann", GET, Some("k"), true, user_policy()),
        (&reads, "ann", PUT, Some("k"), false, Why::NoAllow),
        (&reads, "bob", GET, Some("k"), false, Why::NoAllow),
        (&never, "ann", GET, Some("k"), false, user_policy()),
        (&never, "ann", GET, Some("anns"), false, user_policy()),
        (&never, "ann", PUT, Some("k"), true, bucket_policy()),
        (&torn, "ann", PUT, Some("k"), false, bucket_policy()),
        (&torn, "ann", GET, Some("k"), true, user_policy()),
        (&torn, "owner", PUT, Some("k"), false, bucket_policy()),
        (&listed, "anonymous", LIST, None, true, Why::BucketAcl(Read)),
        (&listed, "anonymous", PUT, Some("new"), true, Why::BucketAcl(Write)),
        (&listed, "anonymous", GET, Some("k"), false, Why::NoAllow),
        (&listed, "anonymous", "s3:PutBucketAcl", None, false, Why::NoAllow),
        (&listed, "anonymous", "s3:DeleteObjectVersion", Some("k"), false, Why::NoAllow),
        (&ignored, "anonymous", LIST, None, false, Why::NoAllow),
        (&ignored, "anonymous", GET, Some("open"), false, Why::NoAllow),
        (&enforced, "anonymous", LIST, None, false, Why::NoAllow),
        (&enforced, "anonymous", GET, Some("open"), false, Why::NoAllow),
        (&enforced, "ann", GET, Some("anns"), false, Why::NoAllow),
        (&enforced, "owner", GET, Some("anns"), true, Why::BucketOwner),
        (&writer, "owner", GET, Some("anns"), false, Why::NoAllow),
        (&writer, "owner", "s3:DeleteObject", Some("anns"), true, Why::BucketOwner),
        (&writer, "bob", GET, Some("anns"), false, Why::NoAllow),
        (&writer, "bob", GET, Some("k"), true, bucket_policy()),
        (&writer, "bob", GET, Some("no-such-key"), true, bucket_policy()),
        (&writer, "ann", GET, Some("anns"), true, Why::ObjectOwner),
        (&known, "anonymous", LIST, None, false, Why::NoAllow),
        (&known, "ann", LIST, None, true, Why::BucketAcl(Read)),
        (&restricted, "anonymous", GET, Some("k"), false, Why::Restricted),
        (&restricted, "ann", GET, Some("k"), false, Why::Restricted),
        (&restricted, "anonymous", GET, Some("open"), true, Why::ObjectAcl(Read)),
        (&restricted, "owner", GET, Some("k"), true, Why::BucketOwner),
        (&restricted_own, "ann", GET, Some("k"), true, user_policy()),
        (&broken, "ann", GET, Some("k"), false, Why::BrokenPolicy),
        (&broken, "owner", GET, Some("k"), false, Why::BrokenPolicy),
        (&broken, "root", "s3:DeleteBucketPolicy", None, true, Why::Root),
    ];
    for (setup, who, action, key, allowed, why) in table {
        let verdict = Fixture::new(setup).ask(who, action, key);
        assert_eq!(verdict, Verdict { allowed, why }, "{who} {action} {key:?}");
    }
}

#[test]
fn conditions_look_at_the_request_and_at_the_object() {
    let condition = |condition: serde_json::Value| {
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
            "Principal": "*", "Action": "s3:*", "Resource": "*", "Condition": condition}]});
        Fixture::new(&Setup { policy: Some(policy.to_string()), ..Setup::default() })
    };
    let here = From([10, 0, 0, 1].into(), "x-amz-acl", "private");
    let there = From([11, 0, 0, 1].into(), "x-amz-acl", "public-read");
    let by_address = condition(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}));
    assert!(by_address.ask_with("bob", GET, Some("k"), &here).allowed);
    assert!(!by_address.ask_with("bob", GET, Some("k"), &there).allowed);
    let by_header = condition(json!({"StringNotLike": {"s3:x-amz-acl": "public*"}}));
    assert!(by_header.ask_with("bob", PUT, Some("k"), &here).allowed);
    assert!(!by_header.ask_with("bob", PUT, Some("k"), &there).allowed);
    let by_tag = condition(json!({"StringEquals": {"s3:ExistingObjectTag/class": "k"}}));
    assert!(by_tag.ask("anonymous", GET, Some("k")).allowed);
    assert!(!by_tag.ask("anonymous", GET, Some("anns")).allowed);
    assert!(!by_tag.ask("anonymous", GET, Some("no-such-key")).allowed);
    let by_kind = condition(json!({"StringEquals": {"aws:PrincipalType": "User"}}));
    assert!(by_kind.ask("bob", GET, Some("k")).allowed);
    assert!(!by_kind.ask("anonymous", GET, Some("k")).allowed);
    let own_name = condition(json!({"StringEquals": {"aws:username": "bob"}}));
    assert!(own_name.ask("bob", GET, Some("k")).allowed);
    assert!(!own_name.ask("ann", GET, Some("k")).allowed);
}

#[test]
fn what_is_not_there_is_told_to_those_who_may_list() {
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bbb",
        "Condition": {"StringLike": {"s3:prefix": "public/*"}}}]});
    let fixture = Fixture::new(&Setup { policy: Some(policy.to_string()), ..Setup::default() });
    let may_know = |who: &str, key: &str| {
        let (bucket, key) = (bucket_name(), ObjectKey::parse(key).unwrap());
        let (bucket, key) = (Some(&bucket), Some(&key));
        let ask = Ask { action: GET, bucket, key, version: None, facts: &NoFacts };
        fixture.gate.may_know(&fixture.requester(who), &ask).unwrap()
    };
    assert!(may_know("anonymous", "public/x"));
    assert!(!may_know("anonymous", "private/x"));
    assert!(may_know("owner", "private/x"));
    let none = BucketName::parse("none").unwrap();
    let ask = Ask { action: GET, bucket: Some(&none), key: None, version: None, facts: &NoFacts };
    let denied = fixture.gate.authorize(&fixture.requester("bob"), &ask).unwrap_err();
    assert!(matches!(denied, Denied::NoSuchBucket));
}

#[test]
fn a_change_of_a_policy_holds_at_once() {
    let fixture = Fixture::new(&Setup::default());
    let bucket = fixture.store.bucket(&bucket_name()).unwrap().unwrap();
    let set = |policy: Option<String>| {
        fixture.store.set_config(bucket.id, ConfigKind::Policy, policy).unwrap().unwrap();
    };
    for _ in 0..2 {
        assert!(!fixture.ask("bob", GET, Some("k")).allowed);
        set(Some(statement("Allow", "*", GET, "bbb/*")));
        assert!(fixture.ask("bob", GET, Some("k")).allowed);
        set(Some(statement("Allow", "*", GET, "bbb/other")));
        assert!(!fixture.ask("bob", GET, Some("k")).allowed);
        set(None);
    }
}

#[test]
fn whom_writers_write_for() {
    let setup = Setup {
        own: own("Allow", PUT, "bbb/*"),
        policy: Some(statement("Allow", "arn:aws:iam:::user/bob", PUT, "bbb/*")),
        ..Setup::default()
    };
    let fixture = Fixture::new(&setup);
    let (bucket, key) = (bucket_name(), ObjectKey::parse("new").unwrap());
    let (bucket, key) = (Some(&bucket), Some(&key));
    let ask = Ask { action: PUT, bucket, key, version: None, facts: &NoFacts };
    let writer = |who: &str| {
        let authorized = fixture.gate.authorize(&fixture.requester(who), &ask).unwrap();
        authorized.writer().map(str::to_owned)
    };
    assert_eq!(writer("owner").as_deref(), Some("owner-id"));
    assert_eq!(writer("bob").as_deref(), Some("bob-id"));
    assert_eq!(writer("ann"), None);
    assert_eq!(writer("root").as_deref(), Some(ROOT_ID));
}

/// Without policies, lists and ownership nothing at all is allowed, whatever is asked for.
#[test]
fn nothing_passes_without_a_reason() {
    let fixture = Fixture::new(&Setup {
        own: own("Deny", "s3:*", "other/*"),
        policy: Some(statement("Deny", "*", "s3:GetObject", "bbb/nothing")),
        ..Setup::default()
    });
    let actions: Vec<&str> = policy::actions().collect();
    assert!(actions.len() > 80);
    let mut denied = 0;
    for action in actions {
        for who in ["anonymous", "bob"] {
            for key in [None, Some("k"), Some("no-such-key")] {
                let action = format!("s3:{action}");
                let nothing = who == "anonymous" && action == "s3:ListAllMyBuckets";
                let verdict = fixture.ask(who, &action, key);
                if !nothing {
                    assert_eq!(verdict, Verdict { allowed: false, why: Why::NoAllow }, "{action}");
                    denied += 1;
                }
            }
        }
    }
    assert!(denied > 480);
}

#[test]
fn explanations() {
    let named = Named { sid: Some("reads".to_owned()), index: 1 };
    let text = "statement 2 (reads) of policy 1 of the user";
    assert_eq!(Why::UserPolicy(0, named.clone()).to_string(), text);
    let text = "statement 2 (reads) of the bucket's policy";
    assert_eq!(Why::BucketPolicy(named).to_string(), text);
    let text = "READ in the object's access control list";
    assert_eq!(Why::ObjectAcl(Permission::Read).to_string(), text);
}
