//! Object Lock: what is locked cannot be removed on any way.

use super::versioning::{put, set, versioned};
use crate::support::{Response, Server, md5_base64, shared};

const FAR: &str = "2100-01-01T00:00:00Z";

/// A bucket with Object Lock.
fn locked(server: &Server) -> String {
    let bucket = server.free_name("lock");
    let put = server.put(&format!("/{bucket}"));
    put.header("x-amz-bucket-object-lock-enabled", "true").send().expect(200);
    bucket
}

fn retain(server: &Server, target: &str, mode: &str, until: &str, bypass: bool) -> Response {
    let document = format!(
        "<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
    );
    let separator = if target.contains('?') { '&' } else { '?' };
    let mut put = server.put(&format!("{target}{separator}retention")).body(document);
    if bypass {
        put = put.header("x-amz-bypass-governance-retention", "true");
    }
    put.send()
}

fn hold(server: &Server, target: &str, status: &str) -> Response {
    let document = format!("<LegalHold><Status>{status}</Status></LegalHold>");
    server.put(&format!("{target}?legal-hold")).body(document).send()
}

fn remove(server: &Server, target: &str, id: &str, bypass: bool) -> Response {
    let mut delete = server.delete(&format!("{target}?versionId={id}"));
    if bypass {
        delete = delete.header("x-amz-bypass-governance-retention", "true");
    }
    delete.send()
}

#[test]
fn a_bucket_with_lock_keeps_versions() {
    let server = shared();
    let bucket = locked(server);
    let status = server.get(&format!("/{bucket}?versioning")).send().expect(200).text("Status");
    assert_eq!(status, "Enabled");
    set(server, &bucket, "Suspended").expect_error(409, "InvalidBucketState");
    let configuration = server.get(&format!("/{bucket}?object-lock")).send().expect(200);
    assert_eq!(configuration.text("ObjectLockEnabled"), "Enabled");
    let enable = |bucket: &str| {
        let document = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
                        </ObjectLockConfiguration>";
        server.put(&format!("/{bucket}?object-lock")).body(document).send()
    };
    let plain = server.bucket("lock");
    enable(&plain).expect_error(409, "InvalidBucketState");
    let get = server.get(&format!("/{plain}?object-lock")).send();
    get.expect_error(404, "ObjectLockConfigurationNotFoundError");
    let later = versioned(server, "lock");
    enable(&later).expect(200);
    set(server, &later, "Suspended").expect_error(409, "InvalidBucketState");
    put(server, &format!("/{plain}/k"), "x");
    let of_plain = retain(server, &format!("/{plain}/k"), "GOVERNANCE", FAR, false);
    of_plain.expect_error(400, "InvalidRequest");
    hold(server, &format!("/{plain}/k"), "ON").expect_error(400, "InvalidRequest");
    let header = server.put(&format!("/{plain}/k")).header("x-amz-object-lock-legal-hold", "ON");
    header.send().expect_error(400, "InvalidRequest");
}

#[test]
fn compliance_holds_against_everybody() {
    let server = shared();
    let bucket = locked(server);
    let target = format!("/{bucket}/k");
    let id = put(server, &target, "kept");
    retain(server, &target, "COMPLIANCE", FAR, false).expect(200);
    for bypass in [false, true] {
        remove(server, &target, &id, bypass).expect_error(403, "AccessDenied");
        for (mode, until) in [("COMPLIANCE", "2099-01-01T00:00:00Z"), ("GOVERNANCE", FAR)] {
            let change = retain(server, &target, mode, until, bypass);
            change.expect_error(403, "AccessDenied");
        }
    }
    retain(server, &target, "COMPLIANCE", "2101-01-01T00:00:00Z", false).expect(200);
    let document =
        format!("<Delete><Object><Key>k</Key><VersionId>{id}</VersionId></Object></Delete>");
    let post = server.post(&format!("/{bucket}?delete"));
    let many = post.header("Content-MD5", md5_base64(document.as_bytes())).body(document);
    let many = many.header("x-amz-bypass-governance-retention", "true").send().expect(200);
    assert_eq!(many.all("Code"), ["AccessDenied"]);
    // An overwrite and a delete marker leave it where it is.
    put(server, &target, "newer");
    server.delete(&target).send().expect(204);
    remove(server, &target, &id, true).expect_error(403, "AccessDenied");
    let get = server.get(&format!("{target}?versionId={id}")).send().expect(200);
    assert_eq!(get.body, b"kept");
    assert_eq!(get.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    assert!(get.header("x-amz-object-lock-retain-until-date").unwrap().starts_with("2101-01-01"));
    server.delete(&format!("/{bucket}")).send().expect_error(409, "BucketNotEmpty");
}

#[test]
fn governance_and_its_bypass() {
    let server = shared();
    let bucket = locked(server);
    let target = format!("/{bucket}/k");
    let header = server.put(&target).header("x-amz-object-lock-mode", "GOVERNANCE");
    let header = header.header("x-amz-object-lock-retain-until-date", FAR).body("x").send();
    let id = header.expect(200).header("x-amz-version-id").unwrap().to_owned();
    remove(server, &target, &id, false).expect_error(403, "AccessDenied");
    let shorter = "2099-01-01T00:00:00Z";
    retain(server, &target, "GOVERNANCE", shorter, false).expect_error(403, "AccessDenied");
    retain(server, &target, "GOVERNANCE", shorter, true).expect(200);
    let retention = server.get(&format!("{target}?retention")).send().expect(200);
    assert_eq!(retention.text("Mode"), "GOVERNANCE");
    assert!(retention.text("RetainUntilDate").starts_with("2099-01-01T00:00:00"));
    remove(server, &target, &id, true).expect(204);
    for (mode, until) in [("GOVERNANCE", "2001-01-01T00:00:00Z"), ("GOVERNANCE", "never")] {
        let put = server.put(&target).header("x-amz-object-lock-mode", mode);
        let put = put.header("x-amz-object-lock-retain-until-date", until).send();
        put.expect_error(400, "InvalidArgument");
    }
    let half = server.put(&target).header("x-amz-object-lock-mode", "GOVERNANCE").send();
    half.expect_error(400, "InvalidArgument");
    server.get(&target).send().expect_error(404, "NoSuchKey");
}

#[test]
fn legal_hold() {
    let server = shared();
    let bucket = locked(server);
    let target = format!("/{bucket}/k");
    let id = put(server, &target, "x");
    let status = || server.get(&format!("{target}?legal-hold")).send().expect(200).text("Status");
    assert_eq!(status(), "OFF");
    hold(server, &target, "ON").expect(200);
    assert_eq!(status(), "ON");
    remove(server, &target, &id, true).expect_error(403, "AccessDenied");
    hold(server, &target, "MAYBE").expect_error(400, "MalformedXML");
    hold(server, &target, "OFF").expect(200);
    remove(server, &target, &id, false).expect(204);
}

#[test]
fn default_retention() {
    let server = shared();
    let bucket = locked(server);
    let set = |inside: &str| {
        let document = format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
             <DefaultRetention>{inside}</DefaultRetention></Rule></ObjectLockConfiguration>"
        );
        server.put(&format!("/{bucket}?object-lock")).body(document).send()
    };
    let bad = set("<Mode>GOVERNANCE</Mode><Days>0</Days>");
    bad.expect_error(400, "InvalidRetentionPeriod");
    set("<Mode>GOVERNANCE</Mode><Days>1</Days>").expect(200);
    let target = format!("/{bucket}/k");
    let id = put(server, &target, "x");
    let head = server.head(&target).send().expect(200);
    assert_eq!(head.header("x-amz-object-lock-mode"), Some("GOVERNANCE"));
    remove(server, &target, &id, false).expect_error(403, "AccessDenied");
    // A multipart object gets it as well.
    let parts = format!("/{bucket}/parts");
    let upload = server.upload(&bucket, "parts");
    let etag = server.part(&bucket, "parts", &upload, 1, b"p");
    let done = server.complete(&bucket, "parts", &upload, &[(1, &etag)]).send();
    let part_id = done.expect(200).header("x-amz-version-id").unwrap().to_owned();
    remove(server, &parts, &part_id, false).expect_error(403, "AccessDenied");
    // What the client asks for goes before the default.
    let own = server.put(&target).header("x-amz-object-lock-mode", "COMPLIANCE");
    own.header("x-amz-object-lock-retain-until-date", FAR).send().expect(200);
    let retention = server.get(&format!("{target}?retention")).send().expect(200);
    assert_eq!(retention.text("Mode"), "COMPLIANCE");
    remove(server, &target, &id, true).expect(204);
}
