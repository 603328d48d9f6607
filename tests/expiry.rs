//! Lifecycle rules and the outbox on a store with versions, tags and locks, without HTTP: what the
//! job takes away, what it leaves, and which events are written with it.

#[path = "support/store.rs"]
mod support;

use jog::jobs::lifecycle::{self, Settings};
use jog::store::{
    Age, Bucket, BucketChange, Change, ConfigKind, Delete, Doing, Entry, Expired, Expiry,
    ListQuery, NewData, Notice, Store, Version,
};
use jog::types::lifecycle::{Expiration, Filter, Form, Lifecycle, Noncurrent, Rule, round_up};
use jog::types::notification::{
    Event, EventType, Kind, Notification, Origin, Subscription, TargetName,
};
use jog::types::{Precondition, Tags, Versioning, time};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use support::{Folder, eventually, key, new_object, put_ok};

/// A day of these tests, in milliseconds.
const DAY_MS: i64 = 400;

fn rule(id: &str, prefix: &str) -> Rule {
    Rule {
        id: id.to_owned(),
        enabled: true,
        filter: Filter { prefix: Some(prefix.to_owned()), ..Filter::all() },
        expiration: None,
        noncurrent: None,
        abort_days: None,
    }
}

fn tag(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn set_rules(store: &Store, bucket: &Bucket, rules: Vec<Rule>) -> String {
    let rules = Lifecycle { rules }.to_json();
    let kept = Some(rules.clone());
    store.set_config(bucket.id, ConfigKind::Lifecycle, kept).unwrap().unwrap();
    rules
}

fn keep_versions(store: &Store, bucket: &Bucket, versioning: Versioning) {
    store.change_bucket(bucket.id, BucketChange::Versioning(versioning)).unwrap().unwrap();
}

fn put_with(store: &Store, bucket: &Bucket, at: &str, tags: &[(String, String)]) -> i64 {
    let mut new = new_object(at, b"", NewData::Empty);
    new.extra.tags = Tags::new(tags.to_vec(), 10).unwrap();
    store.put_object(bucket.id, new, Precondition::default()).unwrap().unwrap().version
}

fn versions(store: &Store, bucket: &Bucket) -> Vec<Version> {
    let query = ListQuery {
        bucket: bucket.id,
        prefix: String::new(),
        delimiter: None,
        after: None,
        max: 1000,
    };
    let item = |entry| match entry {
        Entry::Item(version) => version,
        Entry::Prefix(_) => unreachable!("there is no delimiter"),
    };
    store.list_versions(&query, None).unwrap().entries.into_iter().map(item).collect()
}

/// What there is: a letter for each version, `m` for a delete marker.
fn shape(store: &Store, bucket: &Bucket) -> Vec<String> {
    let text = |v: &Version| {
        let kind = if v.marker { "m" } else { "v" };
        format!("{kind} {}", v.summary.key)
    };
    versions(store, bucket).iter().map(text).collect()
}

fn settings(targets: &[&str]) -> Settings {
    Settings {
        day_ms: DAY_MS,
        region: "us-east-1".to_owned(),
        targets: targets.iter().filter_map(|name| TargetName::parse(name)).collect(),
    }
}

/// The job in a thread; ends with [`Store::stop_jobs`].
fn start(store: &Arc<Store>, settings: Settings) -> JoinHandle<()> {
    let store = Arc::clone(store);
    std::thread::spawn(move || lifecycle::run(&store, &settings))
}

fn stop(store: &Store, job: JoinHandle<()>) {
    store.stop_jobs();
    job.join().unwrap();
}

/// Longer than until the midnight after the next one, which anything of one day waits for.
fn two_days() {
    std::thread::sleep(Duration::from_millis(DAY_MS as u64 * 3));
}

/// Sleeps until a moment in milliseconds since 1970.
fn until(ms: i64) {
    let left = u64::try_from(ms - time::now_ms()).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(left));
}

#[test]
fn filters_choose_what_goes() {
    let folder = Folder::in_memory("expiry-filters");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let bucket = support::bucket(&store, "bucket");
    let tagged = Filter {
        form: Form::And,
        prefix: Some("t/".to_owned()),
        tags: vec![tag("a", "1"), tag("b", "2")],
        ..Filter::all()
    };
    let large = Filter { larger_than: Some(10), smaller_than: Some(20), ..Filter::all() };
    let day = Some(Expiration::Days(1));
    let past = Some(Expiration::Date(0));
    let future = Some(Expiration::Date(i64::MAX / 2));
    set_rules(
        &store,
        &bucket,
        vec![
            Rule { expiration: day, ..rule("prefix", "p/") },
            Rule { expiration: Some(Expiration::Days(1_000_000)), ..rule("late", "") },
            Rule { filter: tagged, expiration: day, ..rule("tags", "") },
            Rule { filter: large, expiration: day, ..rule("size", "") },
            Rule { expiration: past, ..rule("past", "past/") },
            Rule { expiration: future, ..rule("future", "future/") },
            Rule { enabled: false, expiration: day, ..rule("off", "off/") },
        ],
    );
    for (at, size) in [("p/1", 0), ("q/1", 10), ("q/2", 11), ("q/3", 19), ("q/4", 20)] {
        put_ok(&store, &bucket, at, &vec![b'x'; size]);
    }
    for at in ["past/1", "future/1", "off/1"] {
        put_ok(&store, &bucket, at, b"");
    }
    put_with(&store, &bucket, "t/1", &[tag("b", "2"), tag("c", "3"), tag("a", "1")]);
    put_with(&store, &bucket, "t/2", &[tag("a", "1")]);
    put_with(&store, &bucket, "u/1", &[tag("b", "2"), tag("a", "1")]);
    // More than a page and several batches.
    for n in 0..1100 {
        put_with(&store, &bucket, &format!("p/many/{n}"), &[]);
    }
    let job = start(&store, settings(&[]));
    let left = ["v future/1", "v off/1", "v q/1", "v q/4", "v t/2", "v u/1"].map(str::to_owned);
    eventually("what is due goes", || versions(&store, &bucket).len() == left.len());
    assert_eq!(shape(&store, &bucket), left);
    two_days();
    assert_eq!(shape(&store, &bucket), left);
    assert_eq!(store.usage(bucket.id).unwrap().objects, 6);
    stop(&store, job);
}

#[test]
fn versions_become_noncurrent_and_go() {
    let folder = Folder::in_memory("expiry-versions");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let bucket = support::bucket(&store, "bucket");
    keep_versions(&store, &bucket, Versioning::Enabled);
    let noncurrent = |days, keep| Some(Noncurrent { days, keep });
    let day = Some(Expiration::Days(1));
    let marker = Some(Expiration::Marker(true));
    set_rules(
        &store,
        &bucket,
        vec![
            // All of it: a delete marker, then the version under it, then the marker alone.
            Rule { expiration: day, noncurrent: noncurrent(1, None), ..rule("all", "all/") },
            Rule { noncurrent: noncurrent(1, Some(2)), ..rule("keep", "keep/") },
            Rule { expiration: day, ..rule("cover", "cover/") },
            Rule { expiration: marker, ..rule("marker", "marker/") },
        ],
    );
    for at in ["all/1", "keep/1", "keep/1", "keep/1", "keep/1", "keep/1", "cover/1"] {
        put_with(&store, &bucket, at, &[]);
    }
    let delete = |at: &str| {
        store.delete_object(bucket.id, &key(at), Delete::default()).unwrap().unwrap();
    };
    delete("marker/alone");
    put_with(&store, &bucket, "marker/covering", &[]);
    delete("marker/covering");
    delete("other/alone");
    let job = start(&store, settings(&[]));
    let left = [
        "m cover/1",
        "v cover/1",
        "v keep/1",
        "v keep/1",
        "v keep/1",
        "m marker/covering",
        "v marker/covering",
        "m other/alone",
    ]
    .map(str::to_owned);
    eventually("what is due goes", || shape(&store, &bucket) == left);
    two_days();
    assert_eq!(shape(&store, &bucket), left);
    stop(&store, job);
}

/// Those that go do not count for those that go with them.
#[test]
fn one_look_takes_all_but_the_newest() {
    let folder = Folder::in_memory("expiry-newest");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    keep_versions(&store, &bucket, Versioning::Enabled);
    for _ in 0..10 {
        put_with(&store, &bucket, "a", &[]);
    }
    store.delete_object(bucket.id, &key("a"), Delete::default()).unwrap().unwrap();
    let noncurrent = Some(Noncurrent { days: 1, keep: Some(5) });
    let rules = set_rules(&store, &bucket, vec![Rule { noncurrent, ..rule("keep", "") }]);
    let now = time::now_ms() + 3 * 86_400_000;
    let lines = lifecycle::preview(&store, &bucket.name, 86_400_000, now).unwrap().unwrap();
    assert_eq!(lines.len(), 5, "{lines:?}");
    // A delete marker covers ten versions, of which the newest five stay.
    let due = store.aging(bucket.id, "", None, 100).unwrap().into_iter().skip(6);
    let age = Age::Noncurrent { above: 6 };
    let due: Vec<Expiry> = due.map(|what| Expiry { what, age }).collect();
    let done = store.expire(bucket.id, &rules, due).unwrap().unwrap();
    assert_eq!(done, Expired { taken: 5, ..Expired::default() });
    assert_eq!(versions(&store, &bucket).len(), 6);
}

/// The job needs one look for them, too.
#[test]
fn one_midnight_takes_all_but_the_newest() {
    let day_ms = 2000;
    let folder = Folder::in_memory("expiry-midnight");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let bucket = support::bucket(&store, "bucket");
    keep_versions(&store, &bucket, Versioning::Enabled);
    let noncurrent = Some(Noncurrent { days: 1, keep: Some(5) });
    set_rules(&store, &bucket, vec![Rule { noncurrent, ..rule("keep", "") }]);
    let midnight = round_up(time::now_ms(), day_ms);
    // After it: what becomes noncurrent at midnight itself needs no rounding.
    until(midnight + 50);
    for _ in 0..10 {
        put_with(&store, &bucket, "a", &[]);
    }
    let job = start(&store, Settings { day_ms, ..settings(&[]) });
    until(midnight + 2 * day_ms - 200);
    assert_eq!(versions(&store, &bucket).len(), 10);
    until(midnight + 2 * day_ms + 1000);
    assert_eq!(versions(&store, &bucket).len(), 6);
    stop(&store, job);
}

/// Who sets a rule has time to look at what it will do.
#[test]
fn rules_that_were_changed_hold_after_some_time() {
    let day_ms = 2000;
    let folder = Folder::in_memory("expiry-time");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let bucket = support::bucket(&store, "bucket");
    put_with(&store, &bucket, "a", &[]);
    let job = start(&store, Settings { day_ms, ..settings(&[]) });
    let midnight = round_up(time::now_ms() + 200, day_ms);
    until(midnight - 100);
    set_rules(
        &store,
        &bucket,
        vec![Rule { expiration: Some(Expiration::Date(0)), ..rule("r", "") }],
    );
    until(midnight + day_ms - 200);
    assert_eq!(versions(&store, &bucket).len(), 1);
    until(midnight + day_ms + 1000);
    assert_eq!(versions(&store, &bucket).len(), 0);
    // At a start there was time already.
    stop(&store, job);
    drop(store);
    let store = Arc::new(Store::open(folder.config()).unwrap());
    put_with(&store, &bucket, "a", &[]);
    let job = start(&store, Settings { day_ms: 86_400_000, ..settings(&[]) });
    eventually("what is due goes", || versions(&store, &bucket).is_empty());
    stop(&store, job);
}

#[test]
fn the_null_version_of_a_suspended_bucket_goes() {
    let folder = Folder::in_memory("expiry-suspended");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let bucket = support::bucket(&store, "bucket");
    put_with(&store, &bucket, "a", &[]);
    keep_versions(&store, &bucket, Versioning::Enabled);
    put_with(&store, &bucket, "b", &[]);
    keep_versions(&store, &bucket, Versioning::Suspended);
    set_rules(
        &store,
        &bucket,
        vec![Rule { expiration: Some(Expiration::Days(1)), ..rule("r", "") }],
    );
    let job = start(&store, settings(&[]));
    // a: its null version is replaced by a null delete marker, which then is alone and goes too.
    let left = ["m b", "v b"].map(str::to_owned);
    eventually("what is due goes", || shape(&store, &bucket) == left);
    stop(&store, job);
}

#[test]
fn what_is_locked_stays_and_is_counted() {
    let folder = Folder::in_memory("expiry-locked");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let bucket = support::bucket(&store, "bucket");
    keep_versions(&store, &bucket, Versioning::Enabled);
    let lock = BucketChange::Lock(String::new());
    store.change_bucket(bucket.id, lock).unwrap().unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        put_with(&store, &bucket, "a", &[]);
        ids.push(versions(&store, &bucket)[0].version_id);
    }
    let hold = |on| {
        let change = Change::LegalHold(on);
        store.change_version(bucket.id, &key("a"), Some(ids[0]), change).unwrap().unwrap();
    };
    hold(true);
    let noncurrent = Some(Noncurrent { days: 1, keep: None });
    set_rules(&store, &bucket, vec![Rule { noncurrent, ..rule("n", "") }]);
    let before = lifecycle::PROTECTED.load(std::sync::atomic::Ordering::SeqCst);
    let job = start(&store, settings(&[]));
    eventually("the other one goes", || versions(&store, &bucket).len() == 2);
    two_days();
    let left = versions(&store, &bucket);
    assert_eq!(left.iter().map(|v| v.version_id).collect::<Vec<_>>(), [ids[2], ids[0]]);
    assert!(lifecycle::PROTECTED.load(std::sync::atomic::Ordering::SeqCst) > before);
    hold(false);
    eventually("it goes when it is free", || versions(&store, &bucket).len() == 1);
    stop(&store, job);
}

/// What is taken away is compared with what was looked at.
#[test]
fn what_changed_meanwhile_stays() {
    let folder = Folder::in_memory("expiry-changed");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    let rules = set_rules(&store, &bucket, vec![]);
    let look = || store.aging(bucket.id, "", None, 10).unwrap();
    let expire = |rules: &str, age, what: &jog::store::Aging| {
        let due = vec![Expiry { what: what.clone(), age }];
        store.expire(bucket.id, rules, due).unwrap().unwrap()
    };
    let changed = Expired { changed: 1, ..Expired::default() };
    let taken = Expired { taken: 1, ..Expired::default() };

    put_with(&store, &bucket, "a", &[]);
    let seen = look().remove(0);
    put_with(&store, &bucket, "a", &[]);
    assert_eq!(expire(&rules, Age::Current, &seen), changed, "it was written");
    let seen = look().remove(0);
    let tags = Change::Tags(Tags::new(vec![tag("keep", "")], 10).unwrap());
    store.change_version(bucket.id, &key("a"), None, tags).unwrap().unwrap();
    assert_eq!(expire(&rules, Age::Current, &seen), changed, "it was tagged");
    let seen = look().remove(0);
    assert_eq!(expire("other rules", Age::Current, &seen), changed, "the rules changed");
    assert_eq!(look().len(), 1);
    assert_eq!(expire(&rules, Age::Current, &seen), taken);
    assert_eq!(expire(&rules, Age::Current, &seen), changed, "it is gone");

    keep_versions(&store, &bucket, Versioning::Enabled);
    for _ in 0..3 {
        put_with(&store, &bucket, "b", &[]);
    }
    let seen = look();
    let newest = Delete { version: Some(seen[0].version_id()), ..Delete::default() };
    store.delete_object(bucket.id, &key("b"), newest).unwrap().unwrap();
    let second = &seen[1];
    let above = |above| Age::Noncurrent { above };
    assert_eq!(expire(&rules, above(0), second), changed, "it is current again");
    assert_eq!(expire(&rules, above(1), &seen[2]), changed, "fewer are newer");
    assert_eq!(expire(&rules, above(0), &seen[2]), taken);

    store.delete_object(bucket.id, &key("c"), Delete::default()).unwrap().unwrap();
    let marker = look().into_iter().find(|a| a.marker).unwrap();
    put_with(&store, &bucket, "c", &[]);
    assert_eq!(expire(&rules, Age::LoneMarker, &marker), changed, "it is not alone");
}

#[test]
fn a_preview_says_what_will_go() {
    let folder = Folder::in_memory("expiry-preview");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    let preview =
        |now_ms| lifecycle::preview(&store, &bucket.name, 86_400_000, now_ms).unwrap().unwrap();
    let now = time::now_ms();
    assert_eq!(preview(now), ["bucket bucket has no lifecycle rules"]);
    assert_eq!(lifecycle::preview(&store, &support::name("none"), 1, now).unwrap(), None);
    let noncurrent = Some(Noncurrent { days: 1, keep: None });
    let expiration = Some(Expiration::Date(1_795_478_400_000));
    let all = Rule { expiration, noncurrent, abort_days: Some(1), ..rule("all", "") };
    set_rules(&store, &bucket, vec![all]);
    assert_eq!(preview(now), ["nothing in bucket bucket falls under its rules"]);
    put_with(&store, &bucket, "a\nb", &[]);
    assert_eq!(preview(0), ["2026-11-24T00:00:00.000Z: delete \"a\\nb\" (rule \"all\")"]);
    keep_versions(&store, &bucket, Versioning::Enabled);
    put_with(&store, &bucket, "a\nb", &[]);
    let upload = support::start(&store, &bucket, "u").unwrap().unwrap();
    let lines = preview(now + 3 * 86_400_000);
    let abort = format!("next run: abort upload {} of \"u\" (rule \"all\")", upload.upload_id);
    assert_eq!(
        lines,
        [
            "next run: mark deleted \"a\\nb\" (rule \"all\")",
            "next run: remove version null of \"a\\nb\" (rule \"all\")",
            &abort,
        ]
    );
    assert_eq!(versions(&store, &bucket).len(), 2);
}

#[test]
fn unfinished_uploads_are_aborted() {
    let folder = Folder::in_memory("expiry-uploads");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let bucket = support::bucket(&store, "bucket");
    set_rules(&store, &bucket, vec![Rule { abort_days: Some(1), ..rule("u", "u/") }]);
    let upload = |at| support::start(&store, &bucket, at).unwrap().unwrap();
    let (one, other) = (upload("u/1"), upload("v/1"));
    support::put_part(&store, &bucket, &one, 1, b"part").unwrap().unwrap();
    let job = start(&store, settings(&[]));
    let there = |of: &jog::store::Upload| {
        store.upload(bucket.id, &of.key, &of.upload_id).unwrap().is_some()
    };
    eventually("it is aborted", || !there(&one));
    two_days();
    assert!(there(&other));
    assert_eq!(store.usage(bucket.id).unwrap().uploading, 0);
    stop(&store, job);
}

/// Nor those that a run has found to be due already.
#[test]
fn rules_that_are_gone_abort_no_more_uploads() {
    let folder = Folder::in_memory("expiry-gone");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let bucket = support::bucket(&store, "bucket");
    set_rules(&store, &bucket, vec![Rule { abort_days: Some(1), ..rule("u", "u/") }]);
    for n in 0..5000 {
        support::start(&store, &bucket, &format!("u/{n}")).unwrap().unwrap();
    }
    let left = || support::rows(folder.path(), "SELECT count(*) FROM uploads");
    let job = start(&store, settings(&[]));
    eventually("some are aborted", || left() < 5000);
    store.set_config(bucket.id, ConfigKind::Lifecycle, None).unwrap().unwrap();
    let then = left();
    two_days();
    // One may have been on its way.
    assert!(then > 1 && left() >= then - 1, "{then} were left, now {}", left());
    stop(&store, job);
}

// ---- events ------------------------------------------------------------------------------

fn subscribe(events: &str) -> Notification {
    let arn = "arn:jog:sqs::ONE:webhook";
    Notification {
        subscriptions: vec![Subscription {
            id: "id".to_owned(),
            kind: Kind::Queue,
            arn: arn.to_owned(),
            target: TargetName::of_arn(arn).unwrap(),
            events: vec![EventType::parse(events).unwrap()],
            prefix: None,
            suffix: None,
        }],
    }
}

fn notice(doing: Doing, events: &str) -> Option<Notice> {
    let origin = Origin::lifecycle("us-east-1", "bucket", "owner", "run".to_owned());
    Some(Notice { doing, origin, to: subscribe(events) })
}

/// Names and version ids of the events that wait.
fn waiting(store: &Store) -> Vec<String> {
    let part = |body: &str, before: &str| {
        let rest = body.split_once(before)?.1;
        Some(rest.split('"').next()?.to_owned())
    };
    let events = store.events("ONE", 1000).unwrap();
    events
        .iter()
        .map(|event| {
            let name = part(&event.body, "\"eventName\":\"").unwrap();
            let version = part(&event.body, "\"versionId\":\"").unwrap_or_default();
            format!("{name} {version}").trim_end().to_owned()
        })
        .collect()
}

#[test]
fn an_event_is_written_exactly_with_its_change() {
    let folder = Folder::in_memory("expiry-events");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    let create = || notice(Doing::Create(Event::CreatedPut), "s3:ObjectCreated:*");
    let put = |if_| {
        let new = new_object("a", b"", NewData::Empty);
        store.telling(create()).put_object(bucket.id, new, if_).unwrap()
    };
    let delete = |delete: Delete| {
        let telling = store.telling(notice(Doing::Delete, "s3:ObjectRemoved:*"));
        telling.delete_object(bucket.id, &key("a"), delete).unwrap().unwrap()
    };
    delete(Delete::default());
    assert_eq!(waiting(&store), [""; 0], "nothing was there to delete");
    put(Precondition::default()).unwrap();
    let never =
        Precondition { if_none_match: Some(jog::types::ETagList::Any), ..Precondition::default() };
    put(never).unwrap_err();
    delete(Delete::default());
    assert_eq!(waiting(&store), ["ObjectCreated:Put", "ObjectRemoved:Delete"]);
    keep_versions(&store, &bucket, Versioning::Enabled);
    let stored = put(Precondition::default()).unwrap().version_id.unwrap();
    let marker = delete(Delete::default()).version_id.unwrap();
    let gone = delete(Delete { version: Some(marker), ..Delete::default() });
    assert!(gone.marker);
    assert_eq!(
        waiting(&store)[2..],
        [
            format!("ObjectCreated:Put {stored}"),
            format!("ObjectRemoved:DeleteMarkerCreated {marker}"),
            format!("ObjectRemoved:Delete {marker}"),
        ]
    );
    assert_eq!(store.queued_events().unwrap(), [("ONE".to_owned(), 5)]);
    let events = store.events("ONE", 3).unwrap();
    store.remove_events("ONE", events[2].id, 0).unwrap();
    assert_eq!(store.queued_events().unwrap(), [("ONE".to_owned(), 2)]);
    assert_eq!(waiting(&store).len(), 2);
    assert_eq!(store.dropped_events(), 0);
}

#[test]
fn a_rule_tells_what_it_takes_away() {
    let folder = Folder::in_memory("expiry-rule-events");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let bucket = support::bucket(&store, "bucket");
    keep_versions(&store, &bucket, Versioning::Enabled);
    let kept = Some(subscribe("s3:LifecycleExpiration:*").to_json());
    store.set_config(bucket.id, ConfigKind::Notification, kept).unwrap().unwrap();
    let noncurrent = Some(Noncurrent { days: 1, keep: None });
    let expiration = Some(Expiration::Days(1));
    set_rules(&store, &bucket, vec![Rule { expiration, noncurrent, ..rule("all", "") }]);
    put_with(&store, &bucket, "a", &[]);
    let version = versions(&store, &bucket)[0].version_id;
    let job = start(&store, settings(&["one"]));
    eventually("all of it goes", || versions(&store, &bucket).is_empty());
    stop(&store, job);
    let told = waiting(&store);
    assert!(told[0].starts_with("LifecycleExpiration:DeleteMarkerCreated "), "{told:?}");
    let marker = told[0].split_once(' ').unwrap().1;
    assert_eq!(
        told[1..],
        [
            format!("LifecycleExpiration:Delete {version}"),
            format!("LifecycleExpiration:Delete {marker}"),
        ]
    );
}
