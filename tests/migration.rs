//! A data directory of the first layout: with objects, unfinished and remembered uploads and
//! garbage. Today's store opens it, shows what was there, and goes on with it.

#[path = "support/store.rs"]
mod support;

use jog::store::{
    Bucket, BucketChange, Completed, Delete, Entry, Found, ListQuery, Object, Part, Store, Summary,
    Upload, Usage,
};
use jog::types::{Precondition, VersionId, Versioning};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use support::{Folder, audit, collect, content, get, key, name, put_ok, put_parts, rows};

/// The first layout, word by word. It stands here once more, so that nobody changes it in the
/// program without noticing.
const FIRST: &str = "
    CREATE TABLE settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

    CREATE TABLE owners (id INTEGER PRIMARY KEY, canonical TEXT NOT NULL UNIQUE);

    CREATE TABLE buckets (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        created_ms INTEGER NOT NULL,
        owner INTEGER NOT NULL,
        region TEXT NOT NULL
    );

    -- The current objects. key: UTF-8, compared byte by byte. blob and manifest: at most one of
    -- them is set; neither for an object without bytes. meta: JSON, pairs of header and value.
    -- checksum: see store/codec.rs.
    CREATE TABLE objects (
        bucket INTEGER NOT NULL,
        key BLOB NOT NULL,
        version INTEGER NOT NULL,
        size INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL,
        etag TEXT NOT NULL,
        crc64 INTEGER NOT NULL,
        checksum BLOB,
        owner INTEGER NOT NULL,
        blob INTEGER,
        manifest INTEGER,
        meta TEXT NOT NULL,
        PRIMARY KEY (bucket, key)
    ) WITHOUT ROWID;

    -- Uploads; a finished one (done_ms) is remembered for a while with its result.
    CREATE TABLE uploads (
        manifest INTEGER PRIMARY KEY,
        bucket INTEGER NOT NULL,
        key BLOB NOT NULL,
        upload_id TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        owner INTEGER NOT NULL,
        meta TEXT NOT NULL,
        algorithm INTEGER,
        kind INTEGER,
        revision INTEGER NOT NULL DEFAULT 0,
        done_ms INTEGER,
        etag TEXT,
        checksum BLOB
    );
    CREATE UNIQUE INDEX uploads_open ON uploads (bucket, key, upload_id) WHERE done_ms IS NULL;
    CREATE INDEX uploads_done ON uploads (done_ms) WHERE done_ms IS NOT NULL;

    -- Parts of uploads and of multipart objects.
    CREATE TABLE parts (
        manifest INTEGER NOT NULL,
        number INTEGER NOT NULL,
        size INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL,
        md5 BLOB NOT NULL,
        crc64 INTEGER NOT NULL,
        checksum BLOB,
        blob INTEGER,
        PRIMARY KEY (manifest, number)
    ) WITHOUT ROWID;

    -- Files that no object needs any more, in the order of their deletion: one blob, or all
    -- parts of a manifest. bucket: the name of the folder.
    CREATE TABLE garbage (
        id INTEGER PRIMARY KEY,
        deleted_ms INTEGER NOT NULL,
        bucket TEXT NOT NULL,
        blob INTEGER,
        manifest INTEGER,
        size INTEGER NOT NULL
    );
";

/// What each table of the first layout had.
const TABLES: [(&str, &str); 7] = [
    ("settings", "name, value"),
    ("owners", "id, canonical"),
    ("buckets", "id, name, created_ms, owner, region"),
    (
        "objects",
        "bucket, key, version, size, modified_ms, etag, crc64, checksum, owner, blob, manifest,
         meta",
    ),
    (
        "uploads",
        "manifest, bucket, key, upload_id, started_ms, owner, meta, algorithm, kind, revision,
         done_ms, etag, checksum",
    ),
    ("parts", "manifest, number, size, modified_ms, md5, crc64, checksum, blob"),
    ("garbage", "id, deleted_ms, bucket, blob, manifest, size"),
];

/// Makes metadata.db one of the first layout. Of what that had no column for there must be nothing.
fn turn_back(dir: &Path) {
    let (new, old) = (dir.join("metadata.db"), dir.join("old.db"));
    let conn = Connection::open(&old).unwrap();
    conn.execute_batch(FIRST).unwrap();
    conn.execute("ATTACH ?1 AS today", [new.to_str().unwrap()]).unwrap();
    for (table, columns) in TABLES {
        let sql = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM today.{table}");
        assert_ne!(conn.execute(&sql, []).unwrap(), 0, "{table}: nothing to be brought over");
    }
    conn.pragma_update(None, "user_version", 1).unwrap();
    conn.execute_batch("DETACH today").unwrap();
    drop(conn);
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.join(format!("metadata.db{end}")));
    }
    std::fs::rename(&old, &new).unwrap();
}

/// Everything that a store shows of a bucket.
#[derive(PartialEq, Debug)]
struct Shown {
    bucket: Bucket,
    usage: Usage,
    list: Vec<Entry<Summary>>,
    objects: Vec<(Arc<Object>, Vec<u8>)>,
    uploads: Vec<(Upload, Vec<Part>)>,
    remembered: Completed,
}

fn all(bucket: &Bucket) -> ListQuery {
    ListQuery { bucket: bucket.id, prefix: String::new(), delimiter: None, after: None, max: 1000 }
}

fn shown(store: &Store, text: &str, done: &Upload) -> Shown {
    let bucket = store.bucket(&name(text)).unwrap().unwrap().as_ref().clone();
    let list = store.list(&all(&bucket)).unwrap().entries.clone();
    let object = |entry: &Entry<Summary>| {
        let Entry::Item(item) = entry else { panic!("no delimiter, no prefix") };
        let object = store.object(bucket.id, &item.key).unwrap().expect("it is listed");
        (object, get(store, &bucket, item.key.as_str()).unwrap())
    };
    let objects = list.iter().map(object).collect();
    let upload = |entry: Entry<Upload>| {
        let Entry::Item(upload) = entry else { panic!("no delimiter, no prefix") };
        let found = store.upload(bucket.id, &upload.key, &upload.upload_id).unwrap();
        assert_eq!(found.as_ref(), Some(&upload));
        let parts = store.parts(upload.manifest, 0, 100).unwrap();
        (upload, parts)
    };
    let uploads = store.list_uploads(&all(&bucket), None).unwrap().entries;
    let remembered = store.completed(bucket.id, &done.key, &done.upload_id).unwrap();
    Shown {
        usage: store.usage(bucket.id).unwrap(),
        list,
        objects,
        uploads: uploads.into_iter().map(upload).collect(),
        remembered: remembered.expect("it was completed"),
        bucket,
    }
}

/// Fills a bucket; gives the upload that is completed.
fn fill(store: &Store, bucket: &Bucket) -> Upload {
    for (seed, len) in [(1, 0), (2, 1), (3, 70_000)] {
        put_ok(store, bucket, &format!("object {seed}"), b"overwritten");
        put_ok(store, bucket, &format!("object {seed}"), &content(seed, len));
    }
    put_ok(store, bucket, "gone", b"deleted");
    store.delete_object(bucket.id, &key("gone"), Delete::default()).unwrap().unwrap();
    put_parts(store, bucket, "parts", &[&content(4, 5000), &content(5, 0), &content(6, 10)])
        .unwrap();
    put_parts(store, bucket, "parts gone", &[&content(7, 100)]).unwrap();
    store.delete_object(bucket.id, &key("parts gone"), Delete::default()).unwrap().unwrap();
    for (at, lens) in [("begun", [0usize; 2]), ("going on", [900, 0])] {
        let upload = support::start(store, bucket, at).unwrap().unwrap();
        for (number, len) in (1..).zip(lens).filter(|_| at != "begun") {
            let bytes = content(u64::from(number), len);
            support::put_part(store, bucket, &upload, number, b"replaced").unwrap().unwrap();
            support::put_part(store, bucket, &upload, number, &bytes).unwrap().unwrap();
        }
    }
    let upload = support::start(store, bucket, "completed").unwrap().unwrap();
    support::put_part(store, bucket, &upload, 1, b"one").unwrap().unwrap();
    let if_ = Precondition::default();
    support::complete(store, bucket, &upload, &[1], b"one", if_).unwrap().unwrap();
    upload
}

/// Uploads of the old go on, and its objects are null versions once the bucket keeps versions.
fn go_on(store: &Store, bucket: &Bucket) {
    let upload = support::open_upload(store, bucket, "going on");
    support::put_part(store, bucket, &upload, 3, b"new").unwrap().unwrap();
    let bytes = [content(1, 900), content(2, 0), b"new".to_vec()].concat();
    let if_ = Precondition::default();
    support::complete(store, bucket, &upload, &[1, 2, 3], &bytes, if_).unwrap().unwrap();
    assert_eq!(get(store, bucket, "going on").unwrap(), bytes);
    let upload = support::open_upload(store, bucket, "begun");
    store.abort_upload(bucket.id, &upload.key, &upload.upload_id).unwrap().unwrap();

    let change = BucketChange::Versioning(Versioning::Enabled);
    store.change_bucket(bucket.id, change).unwrap().unwrap();
    put_ok(store, bucket, "object 3", b"a newer version");
    let at = key("parts");
    assert!(store.delete_object(bucket.id, &at, Delete::default()).unwrap().unwrap().marker);
    for (at, bytes) in
        [("object 3", content(3, 70_000)), ("parts", [content(4, 5000), content(6, 10)].concat())]
    {
        let found = store.version(bucket.id, &key(at), VersionId::Null).unwrap();
        let Some(Found::Object(object)) = found else { panic!("{at}: {found:?}") };
        let read = support::read(store, bucket, &object, None, 4096).unwrap();
        assert_eq!(read, Some(bytes), "{at}");
    }
    let null = Delete { version: Some(VersionId::Null), ..Delete::default() };
    for at in ["object 3", "parts"] {
        let done = store.delete_object(bucket.id, &key(at), null.clone()).unwrap().unwrap();
        assert!(done.existed && !done.marker);
    }
}

#[test]
fn a_directory_of_the_first_layout_goes_on() {
    let folder = Folder::in_memory("migration");
    let store = Store::open(folder.config()).unwrap();
    let full = support::bucket(&store, "full");
    support::bucket(&store, "empty");
    let done = fill(&store, &full);
    let before = shown(&store, "full", &done);
    assert_eq!((before.objects.len(), before.uploads.len()), (5, 2));
    assert_eq!((before.usage.versions, before.usage.uploading), (5, 900));
    let empty = store.bucket(&name("empty")).unwrap();
    store.close().unwrap();
    drop(store);
    let garbage = rows(folder.path(), "SELECT count(*) FROM garbage");
    turn_back(folder.path());

    let store = Store::open(folder.config()).unwrap();
    assert_eq!(audit(folder.path()), Vec::<String>::new());
    assert_eq!(shown(&store, "full", &done), before);
    assert_eq!(store.bucket(&name("empty")).unwrap(), empty);
    assert_eq!(rows(folder.path(), "SELECT count(*) FROM garbage"), garbage);
    go_on(&store, &full);
    let usage = store.usage(full.id).unwrap();
    assert_eq!((usage.objects, usage.versions, usage.uploading), (5, 6, 0));
    store.delete_bucket(&name("empty")).unwrap().unwrap();
    store.close().unwrap();
    drop(store);

    collect(&folder.config(), "full").unwrap();
    let store = Store::open(folder.config()).unwrap();
    assert_eq!(audit(folder.path()), Vec::<String>::new());
    assert_eq!(rows(folder.path(), "SELECT count(*) FROM garbage"), 0);
    assert_eq!(store.usage(full.id).unwrap(), usage);
    assert_eq!(get(&store, &full, "object 3").unwrap(), b"a newer version");
}
