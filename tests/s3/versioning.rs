//! Versions, delete markers, ListObjectVersions.

use crate::support::{Response, Server, md5_base64, shared};

/// A bucket that keeps versions.
pub fn versioned(server: &Server, name: &str) -> String {
    let bucket = server.bucket(name);
    set(server, &bucket, "Enabled").expect(200);
    bucket
}

pub fn set(server: &Server, bucket: &str, status: &str) -> Response {
    let document =
        format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    server.put(&format!("/{bucket}?versioning")).body(document).send()
}

/// Puts an object; the id of its version.
pub fn put(server: &Server, target: &str, body: &str) -> String {
    let put = server.put(target).body(body).send().expect(200);
    put.header("x-amz-version-id").unwrap_or("null").to_owned()
}

fn list(server: &Server, bucket: &str, query: &[(&str, &str)]) -> Response {
    let mut get = server.get(&format!("/{bucket}?versions"));
    for (name, value) in query {
        get = get.query(name, value);
    }
    get.send().expect(200)
}

#[test]
fn states() {
    let server = shared();
    let bucket = server.bucket("versions");
    let get = || server.get(&format!("/{bucket}?versioning")).send().expect(200).get("Status");
    assert_eq!(get(), None);
    set(server, &bucket, "Enabled").expect(200);
    assert_eq!(get().as_deref(), Some("Enabled"));
    set(server, &bucket, "Suspended").expect(200);
    assert_eq!(get().as_deref(), Some("Suspended"));
    set(server, &bucket, "Off").expect_error(400, "MalformedXML");
    let mfa = "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>\
               </VersioningConfiguration>";
    let put = server.put(&format!("/{bucket}?versioning")).body(mfa).send();
    put.expect_error(501, "NotImplemented");
    assert_eq!(get().as_deref(), Some("Suspended"));
}

#[test]
fn every_version_stays() {
    let server = shared();
    let bucket = server.bucket("versions");
    let target = format!("/{bucket}/k");
    assert_eq!(put(server, &target, "before"), "null");
    set(server, &bucket, "Enabled").expect(200);
    let (one, two) = (put(server, &target, "one"), put(server, &target, "two"));
    assert_ne!(one, two);
    let get = |id: &str| server.get(&format!("{target}?versionId={id}")).send().expect(200);
    for (id, body) in [("null", "before"), (one.as_str(), "one"), (two.as_str(), "two")] {
        let answer = get(id);
        assert_eq!(answer.body, body.as_bytes());
        assert_eq!(answer.header("x-amz-version-id"), Some(id));
    }
    let current = server.get(&target).send().expect(200);
    assert_eq!(
        (current.body.as_slice(), current.header("x-amz-version-id")),
        (&b"two"[..], Some(two.as_str()))
    );

    let deleted = server.delete(&target).send().expect(204);
    assert_eq!(deleted.header("x-amz-delete-marker"), Some("true"));
    let marker = deleted.header("x-amz-version-id").unwrap().to_owned();
    let gone = server.get(&target).send();
    assert_eq!(gone.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(gone.header("x-amz-version-id"), Some(marker.as_str()));
    gone.expect_error(404, "NoSuchKey");
    let of_marker = server.get(&format!("{target}?versionId={marker}")).send();
    assert_eq!(of_marker.header("x-amz-delete-marker"), Some("true"));
    of_marker.expect_error(405, "MethodNotAllowed");
    assert_eq!(get(&one).body, b"one");
    let keys = server.get(&format!("/{bucket}?list-type=2")).send().expect(200).all("Key");
    assert!(keys.is_empty(), "{keys:?}");
    let all = list(server, &bucket, &[]);
    assert_eq!(all.all("VersionId"), [marker.clone(), two.clone(), one.clone(), "null".into()]);
    assert_eq!(all.all("IsLatest"), ["true", "false", "false", "false"]);
    assert_eq!(all.elements("DeleteMarker").len(), 1);
    server.delete(&format!("/{bucket}")).send().expect_error(409, "BucketNotEmpty");

    // Without its marker the object is back; without its newest version it is the one before.
    let undone = server.delete(&format!("{target}?versionId={marker}")).send().expect(204);
    assert_eq!(undone.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(server.get(&target).send().expect(200).body, b"two");
    let removed = server.delete(&format!("{target}?versionId={two}")).send().expect(204);
    assert_eq!(removed.header("x-amz-delete-marker"), None);
    assert_eq!(removed.header("x-amz-version-id"), Some(two.as_str()));
    assert_eq!(server.get(&target).send().expect(200).body, b"one");
    server.get(&format!("{target}?versionId={two}")).send().expect_error(404, "NoSuchVersion");
    // Twice is no error.
    server.delete(&format!("{target}?versionId={two}")).send().expect(204);
    server.delete(&format!("{target}?versionId=null")).send().expect(204);
    server.delete(&format!("{target}?versionId={one}")).send().expect(204);
    assert!(list(server, &bucket, &[]).all("VersionId").is_empty());
    server.delete(&format!("/{bucket}")).send().expect(204);
}

#[test]
fn suspended() {
    let server = shared();
    let bucket = versioned(server, "versions");
    let target = format!("/{bucket}/k");
    let one = put(server, &target, "one");
    set(server, &bucket, "Suspended").expect(200);
    // The null version is overwritten, the others stay.
    for body in ["a", "b"] {
        assert_eq!(put(server, &target, body), "null");
    }
    assert_eq!(list(server, &bucket, &[]).all("VersionId"), ["null", one.as_str()]);
    // A copy is told so, unlike its source and unlike what is put.
    let copy = server.put(&format!("{target}/copy")).header("x-amz-copy-source", &target);
    let copy = copy.send().expect(200);
    assert_eq!(copy.header("x-amz-version-id"), Some("null"));
    assert_eq!(copy.header("x-amz-copy-source-version-id"), None);
    server.delete(&format!("{target}/copy?versionId=null")).send().expect(204);
    // A delete makes a null marker in its place.
    let deleted = server.delete(&target).send().expect(204);
    assert_eq!(deleted.header("x-amz-version-id"), Some("null"));
    assert_eq!(deleted.header("x-amz-delete-marker"), Some("true"));
    let all = list(server, &bucket, &[]);
    assert_eq!(all.all("VersionId"), ["null", one.as_str()]);
    assert_eq!(all.elements("DeleteMarker").len(), 1);
    server.delete(&target).send().expect(204);
    assert_eq!(list(server, &bucket, &[]).all("VersionId").len(), 2, "one null marker");
    put(server, &target, "c");
    let all = list(server, &bucket, &[]);
    assert_eq!(all.all("VersionId"), ["null", one.as_str()]);
    assert!(all.elements("DeleteMarker").is_empty());
    assert_eq!(server.get(&target).send().expect(200).body, b"c");
}

#[test]
fn pages() {
    let server = shared();
    let bucket = versioned(server, "versions");
    let mut expected = Vec::new();
    for key in ["a", "b/1", "b/2", "c"] {
        let ids: Vec<String> =
            (0..3).map(|n| put(server, &format!("/{bucket}/{key}"), &n.to_string())).collect();
        let marker = (key == "b/2").then(|| {
            let deleted = server.delete(&format!("/{bucket}/{key}")).send().expect(204);
            deleted.header("x-amz-version-id").unwrap().to_owned()
        });
        let newest_first = marker.into_iter().chain(ids.into_iter().rev());
        expected.extend(newest_first.map(|id| (key.to_owned(), id)));
    }
    for max in 1..=13 {
        let (mut found, mut at) = (Vec::new(), (String::new(), String::new()));
        loop {
            let max = max.to_string();
            let mut query = vec![("max-keys", max.as_str())];
            if !at.0.is_empty() {
                query.extend([("key-marker", at.0.as_str()), ("version-id-marker", &at.1)]);
            }
            let page = list(server, &bucket, &query);
            // Versions and delete markers stand in one order, in elements of two names.
            let mut entries: Vec<(String, String, String)> = Vec::new();
            for element in ["Version", "DeleteMarker"] {
                for text in page.elements(element) {
                    let of = |name| crate::support::texts(&text, name).remove(0);
                    entries.push((of("Key"), of("VersionId"), of("IsLatest")));
                }
            }
            assert!(entries.len() <= max.parse().unwrap());
            entries.sort_by_key(|(key, id, _)| {
                expected.iter().position(|(k, i)| k == key && i == id).unwrap()
            });
            found.extend(entries);
            if page.text("IsTruncated") == "false" {
                break;
            }
            at = (page.text("NextKeyMarker"), page.text("NextVersionIdMarker"));
        }
        let ids: Vec<_> = found.iter().map(|(k, i, _)| (k.clone(), i.clone())).collect();
        assert_eq!(ids, expected, "max-keys {max}");
        let latest: Vec<&str> =
            found.iter().filter(|(_, _, l)| l == "true").map(|(k, _, _)| k.as_str()).collect();
        assert_eq!(latest, ["a", "b/1", "b/2", "c"], "max-keys {max}");
    }
    let folded = list(server, &bucket, &[("delimiter", "/")]);
    assert_eq!(folded.all("Prefix"), ["", "b/"]);
    assert_eq!(folded.elements("Version").len(), 6);
    let below = list(server, &bucket, &[("prefix", "b/"), ("key-marker", "b/1")]);
    assert_eq!(below.elements("Version").len(), 3);
    let bad = server.get(&format!("/{bucket}?versions&version-id-marker=null")).send();
    bad.expect_error(400, "InvalidArgument");
}

#[test]
fn many_at_once() {
    let server = shared();
    let bucket = versioned(server, "versions");
    let (a, b) =
        (put(server, &format!("/{bucket}/a"), "a"), put(server, &format!("/{bucket}/b"), "b"));
    let delete = |inside: &str| {
        let document = format!("<Delete>{inside}</Delete>");
        let post = server.post(&format!("/{bucket}?delete"));
        post.header("Content-MD5", md5_base64(document.as_bytes())).body(document).send()
    };
    let answer = delete(&format!(
        "<Object><Key>a</Key></Object><Object><Key>b</Key><VersionId>{b}</VersionId></Object>\
         <Object><Key>b</Key><VersionId>nonsense</VersionId></Object>"
    ))
    .expect(200);
    assert_eq!(answer.all("DeleteMarker"), ["true"]);
    assert_eq!(answer.all("VersionId"), [b.as_str(), "nonsense"]);
    assert_eq!(answer.all("Code"), ["NoSuchVersion"]);
    let marker = answer.text("DeleteMarkerVersionId");
    assert_eq!(list(server, &bucket, &[]).all("VersionId"), [marker.as_str(), a.as_str()]);
    let undone = delete(&format!("<Object><Key>a</Key><VersionId>{marker}</VersionId></Object>"))
        .expect(200);
    assert_eq!(undone.text("DeleteMarkerVersionId"), marker);
    assert_eq!(server.get(&format!("/{bucket}/a")).send().expect(200).body, b"a");
}

#[test]
fn copies_of_versions() {
    let server = shared();
    let bucket = versioned(server, "versions");
    let target = format!("/{bucket}/k");
    let (one, two) = (put(server, &target, "one"), put(server, &target, "two"));
    let copy = |source: &str| server.put(&target).header("x-amz-copy-source", source).send();
    let back = copy(&format!("{target}?versionId={one}")).expect(200);
    assert_eq!(back.header("x-amz-copy-source-version-id"), Some(one.as_str()));
    let three = back.header("x-amz-version-id").unwrap().to_owned();
    assert!(three != one && three != two);
    assert_eq!(server.get(&target).send().expect(200).body, b"one");
    copy(&format!("{target}?versionId=0000000000000001")).expect_error(404, "NoSuchVersion");
    copy(&format!("{target}?versionId=x")).expect_error(400, "InvalidArgument");
    let deleted = server.delete(&target).send().expect(204);
    let marker = deleted.header("x-amz-version-id").unwrap();
    copy(&format!("{target}?versionId={marker}")).expect_error(400, "InvalidRequest");
    let elsewhere = server.put(&format!("/{bucket}/other"));
    elsewhere.header("x-amz-copy-source", &target).send().expect_error(404, "NoSuchKey");
}

#[test]
fn multipart_and_conditions() {
    let server = shared();
    let bucket = versioned(server, "versions");
    let target = format!("/{bucket}/k");
    let one = put(server, &target, "one");
    let upload = server.upload(&bucket, "k");
    let etag = server.part(&bucket, "k", &upload, 1, b"parts");
    let complete = || server.complete(&bucket, "k", &upload, &[(1, &etag)]).send().expect(200);
    let two = complete().header("x-amz-version-id").unwrap().to_owned();
    assert_eq!(complete().header("x-amz-version-id"), Some(two.as_str()), "a repeated Complete");
    assert_eq!(server.get(&target).send().expect(200).body, b"parts");
    let old = server.get(&format!("{target}?versionId={one}")).send().expect(200);
    assert_eq!(old.body, b"one");

    let only_new = || server.put(&target).header("If-None-Match", "*").body("new").send();
    only_new().expect_error(412, "PreconditionFailed");
    server.delete(&target).send().expect(204);
    only_new().expect(200);
    let attributes = server.get(&format!("{target}?attributes&versionId={one}"));
    let attributes = attributes.header("x-amz-object-attributes", "ObjectSize").send().expect(200);
    assert_eq!(attributes.text("ObjectSize"), "3");
    assert_eq!(attributes.header("x-amz-version-id"), Some(one.as_str()));
}

#[test]
fn versions_survive_a_restart() {
    let server = Server::start();
    let bucket = versioned(&server, "versions");
    let target = format!("/{bucket}/k");
    let ids: Vec<String> = ["one", "two"].map(|body| put(&server, &target, body)).to_vec();
    server.delete(&target).send().expect(204);
    let server = Server::on(server.stop(), &[]);
    for (id, body) in ids.iter().zip(["one", "two"]) {
        let get = server.get(&format!("{target}?versionId={id}")).send().expect(200);
        assert_eq!(get.body, body.as_bytes());
    }
    server.get(&target).send().expect_error(404, "NoSuchKey");
}
