//! Access control lists and object ownership.

use super::access::User;
use crate::support::{Response, Server, shared};

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";

/// Grantees (an ID or a URI) and permissions of an answer, in their order.
fn grants(answer: &Response) -> Vec<(String, String)> {
    let grant = |text: &String| {
        let one = |name: &str| crate::support::texts(text, name).first().cloned();
        let who = one("ID").or_else(|| one("URI")).expect("a grantee");
        (who, one("Permission").expect("a permission"))
    };
    answer.elements("Grant").iter().map(grant).collect()
}

fn document(owner: &str, grants: &[(&str, &str)]) -> String {
    let grants: String = grants
        .iter()
        .map(|(grantee, permission)| {
            format!(
                "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                 {grantee}</Grantee><Permission>{permission}</Permission></Grant>"
            )
        })
        .collect();
    format!(
        "<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>{grants}\
         </AccessControlList></AccessControlPolicy>"
    )
}

fn user_grantee(id: &str) -> String {
    format!("xsi:type=\"CanonicalUser\"><ID>{id}</ID>")
}

#[test]
fn canned_lists_of_buckets_and_objects() {
    let server = shared();
    let bucket = server.bucket("acl");
    let root = server.get(&format!("/{bucket}?acl")).send().expect(200).text("ID");
    let full = (root.clone(), "FULL_CONTROL".to_owned());
    let everybody = |permission: &str| (ALL_USERS.to_owned(), permission.to_owned());
    for (list, expected) in [
        ("private", vec![full.clone()]),
        ("public-read", vec![everybody("READ"), full.clone()]),
        ("public-read-write", vec![everybody("READ"), everybody("WRITE"), full.clone()]),
    ] {
        let resource = format!("/{bucket}?acl");
        server.put(&resource).header("x-amz-acl", list).send().expect(200);
        assert_eq!(grants(&server.get(&resource).send().expect(200)), expected, "{list}");
        let put = server.put(&format!("/{bucket}/k")).header("x-amz-acl", list).body("x");
        put.send().expect(200);
        let kept = server.get(&format!("/{bucket}/k?acl")).send().expect(200);
        assert_eq!(grants(&kept), expected, "{list}");
        let status = if list == "private" { 403 } else { 200 };
        assert_eq!(server.get(&format!("/{bucket}")).anonymous().send().status, status);
        assert_eq!(server.get(&format!("/{bucket}/k")).anonymous().send().status, status);
        let status = if list == "public-read-write" { 200 } else { 403 };
        let put = server.put(&format!("/{bucket}/new")).anonymous().body("y").send();
        assert_eq!(put.status, status);
    }
    // What was written by nobody belongs to the owner of the bucket.
    let new = server.get(&format!("/{bucket}/new?acl")).send().expect(200);
    assert_eq!(grants(&new), std::slice::from_ref(&full));
    // A new object does not inherit the list of the one before.
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    server.get(&format!("/{bucket}/k")).anonymous().send().expect_error(403, "AccessDenied");
    let bad = server.put(&format!("/{bucket}/k")).header("x-amz-acl", "mine").body("x").send();
    bad.expect_error(400, "InvalidArgument");
}

#[test]
fn lists_follow_copies_and_uploads_in_parts() {
    let server = shared();
    let bucket = server.bucket("acl");
    let public = |key: &str| server.get(&format!("/{bucket}/{key}")).anonymous().send().status;
    let put = server.put(&format!("/{bucket}/from")).header("x-amz-acl", "public-read");
    put.body("x").send().expect(200);
    let copy = |key: &str| {
        let copy = server.put(&format!("/{bucket}/{key}"));
        copy.header("x-amz-copy-source", format!("{bucket}/from"))
    };
    copy("plain").send().expect(200);
    copy("public").header("x-amz-acl", "public-read").send().expect(200);
    assert_eq!((public("from"), public("plain"), public("public")), (200, 403, 200));
    let create = server.post(&format!("/{bucket}/parts?uploads"));
    let id = create.header("x-amz-acl", "public-read").send().expect(200).text("UploadId");
    let etag = server.part(&bucket, "parts", &id, 1, b"x");
    server.complete(&bucket, "parts", &id, &[(1, &etag)]).send().expect(200);
    assert_eq!(public("parts"), 200);
}

#[test]
fn grants_to_users() {
    let server = Server::start();
    let bucket = server.bucket("acl");
    let [ann, bob] = ["ann", "bob"].map(|name| User::new(&server, name));
    let root = server.get(&format!("/{bucket}?acl")).send().expect(200).text("ID");
    let (list, target) = (format!("/{bucket}?acl"), format!("/{bucket}/k"));
    server.put(&target).body("x").send().expect(200);
    let set = |permission: &str| {
        let grants = [(&*user_grantee(&ann.id), permission)];
        server.put(&list).body(document(&root, &grants)).send().expect(200);
    };
    let tries = |user: &User<'_>| {
        [
            user.get(&format!("/{bucket}")).send().status,
            user.put(&format!("/{bucket}/new")).body("y").send().status,
            user.get(&list).send().status,
            user.put(&list).header("x-amz-acl", "private").send().status,
        ]
    };
    for (permission, expected) in [
        ("READ", [200, 403, 403, 403]),
        ("WRITE", [403, 200, 403, 403]),
        ("READ_ACP", [403, 403, 200, 403]),
        ("WRITE_ACP", [403, 403, 403, 200]),
        ("FULL_CONTROL", [200, 200, 200, 200]),
    ] {
        set(permission);
        assert_eq!(tries(&bob), [403; 4], "{permission}");
        assert_eq!(tries(&ann), expected, "{permission}");
        ann.get(&target).send().expect_error(403, "AccessDenied");
    }
    // By the headers of an upload.
    let put = server.put(&target).header("x-amz-grant-read", format!("id=\"{}\"", ann.id));
    put.body("x").send().expect(200);
    ann.get(&target).send().expect(200);
    bob.get(&target).send().expect_error(403, "AccessDenied");
    let shown = server.get(&format!("{target}?acl")).send().expect(200);
    assert_eq!(grants(&shown), [(ann.id.clone(), "READ".to_owned())]);
    assert_eq!(shown.all("DisplayName"), ["root", "ann"]);
}

#[test]
fn lists_that_are_none() {
    let server = shared();
    let bucket = server.bucket("acl");
    let resource = format!("/{bucket}?acl");
    let root = server.get(&resource).send().expect(200).text("ID");
    let put = |body: &str| server.put(&resource).body(body).send();
    server.put(&resource).send().expect_error(400, "MissingSecurityHeader");
    put("<X/>").expect_error(400, "MalformedXML");
    put("<AccessControlPolicy/>").expect_error(400, "MalformedACLError");
    let read = |grantee: &str| document(&root, &[(grantee, "READ")]);
    put(&read(&user_grantee("nobody"))).expect_error(400, "InvalidArgument");
    put(&read("xsi:type=\"Group\"><URI>http://x</URI>")).expect_error(400, "InvalidArgument");
    let email = "xsi:type=\"AmazonCustomerByEmail\"><EmailAddress>a@b.example</EmailAddress>";
    put(&read(email)).expect_error(400, "UnresolvableGrantByEmailAddress");
    let grantee = user_grantee(&root);
    put(&document(&root, &[(&grantee, "EVERYTHING")])).expect_error(400, "MalformedACLError");
    put(&document("another", &[(&grantee, "READ")])).expect_error(403, "AccessDenied");
    put(&document(&root, &vec![(&*grantee, "READ"); 101])).expect_error(400, "MalformedACLError");
    let both = server.put(&resource).header("x-amz-acl", "private");
    let grant = format!("uri={ALL_USERS}");
    both.header("x-amz-grant-read", grant).send().expect_error(400, "InvalidRequest");
    let twice = server.put(&resource).header("x-amz-acl", "private").body(read(&grantee)).send();
    twice.expect_error(400, "UnexpectedContent");
    assert_eq!(grants(&server.get(&resource).send().expect(200)).len(), 1);
}

#[test]
fn buckets_are_made_with_lists() {
    let server = shared();
    let name = server.free_name("acl");
    let create = |headers: &[(&str, &str)]| {
        let create = server.put(&format!("/{name}"));
        headers.iter().fold(create, |request, (name, value)| request.header(name, *value)).send()
    };
    create(&[("x-amz-acl", "mine")]).expect_error(400, "InvalidArgument");
    create(&[("x-amz-object-ownership", "Nobody")]).expect_error(400, "InvalidArgument");
    create(&[("x-amz-acl", "public-read"), ("x-amz-object-ownership", "BucketOwnerEnforced")])
        .expect_error(400, "InvalidBucketAclWithObjectOwnership");
    create(&[("x-amz-acl", "public-read")]).expect(200);
    server.get(&format!("/{name}")).anonymous().send().expect(200);
    create(&[("x-amz-acl", "public-read")]).expect(200);
    create(&[]).expect_error(409, "BucketAlreadyExists");
}

fn controls(ownership: &str) -> String {
    format!(
        "<OwnershipControls><Rule><ObjectOwnership>{ownership}</ObjectOwnership></Rule>\
         </OwnershipControls>"
    )
}

/// Ann writes to the bucket by its policy.
#[test]
fn object_ownership() {
    let server = Server::start();
    let bucket = server.bucket("ownership");
    let resource = format!("/{bucket}?ownershipControls");
    let ann = User::new(&server, "ann");
    let root = server.get(&format!("/{bucket}?acl")).send().expect(200).text("ID");
    let policy = format!(
        "{{\"Statement\": {{\"Effect\": \"Allow\", \"Principal\": {{\"AWS\": \"{}\"}}, \
          \"Action\": \"*\", \"Resource\": \"arn:aws:s3:::{bucket}*\"}}}}",
        ann.id
    );
    server.put(&format!("/{bucket}?policy")).body(policy).send().expect(204);
    server.get(&resource).send().expect_error(404, "OwnershipControlsNotFoundError");
    server.put(&resource).body(controls("Nobody")).send().expect_error(400, "MalformedXML");
    let put = |list: Option<&str>| {
        let put = ann.put(&format!("/{bucket}/k")).body("x");
        match list {
            Some(list) => put.header("x-amz-acl", list).send(),
            None => put.send(),
        }
    };
    let owner = |list: Option<&str>| {
        put(list).expect(200);
        // Whoever it is, root can see it.
        server.get(&format!("/{bucket}/k?acl")).send().expect(200).text("ID")
    };
    let given = Some("bucket-owner-full-control");
    for (ownership, plain, with) in [
        ("", &ann.id, &ann.id),
        ("ObjectWriter", &ann.id, &ann.id),
        ("BucketOwnerPreferred", &ann.id, &root),
        ("BucketOwnerEnforced", &root, &root),
    ] {
        if !ownership.is_empty() {
            server.put(&resource).body(controls(ownership)).send().expect(200);
            assert_eq!(server.get(&resource).send().expect(200).text("ObjectOwnership"), ownership);
        }
        assert_eq!((&owner(None), &owner(given)), (plain, with), "{ownership}");
    }
    // Lists are off now.
    put(Some("private")).expect_error(400, "AccessControlListNotSupported");
    for target in [format!("/{bucket}?acl"), format!("/{bucket}/k?acl")] {
        let put = server.put(&target).header("x-amz-acl", "private").send();
        put.expect_error(400, "AccessControlListNotSupported");
    }
    server.delete(&resource).send().expect(204);
    let public = server.put(&format!("/{bucket}?acl")).header("x-amz-acl", "public-read");
    public.send().expect(200);
    let enforce = server.put(&resource).body(controls("BucketOwnerEnforced")).send();
    enforce.expect_error(400, "InvalidBucketAclWithObjectOwnership");
}
