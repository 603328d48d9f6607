//! Policies of buckets and the public access block.

use super::access::{User, statement};
use crate::support::{Message, Response, Server, shared};

fn policy(statements: &str) -> String {
    format!("{{\"Version\": \"2012-10-17\", \"Statement\": [{statements}]}}")
}

fn allow(who: &str, action: &str, resource: &str) -> String {
    format!(
        "{{\"Effect\": \"Allow\", \"Principal\": {who}, \"Action\": \"{action}\", \
          \"Resource\": \"arn:aws:s3:::{resource}\"}}"
    )
}

fn put(server: &Server, bucket: &str, document: &str) -> Response {
    server.put(&format!("/{bucket}?policy")).body(document).send()
}

const EVERYBODY: &str = "\"*\"";

#[test]
fn a_policy_is_kept_as_it_was_put() {
    let server = shared();
    let bucket = server.bucket("policy");
    let resource = format!("/{bucket}?policy");
    server.get(&resource).send().expect_error(404, "NoSuchBucketPolicy");
    let document =
        format!(" {} ", policy(&allow(EVERYBODY, "s3:GetObject", &format!("{bucket}/*"))));
    put(server, &bucket, &document).expect(204);
    let kept = server.get(&resource).send().expect(200);
    assert_eq!(kept.body, document.as_bytes());
    assert_eq!(kept.header("content-type"), Some("application/json"));
    server.delete(&resource).send().expect(204);
    server.delete(&resource).send().expect(204);
    server.get(&resource).send().expect_error(404, "NoSuchBucketPolicy");
}

#[test]
fn what_is_not_understood_is_refused() {
    let server = shared();
    let bucket = server.bucket("policy");
    let good = allow(EVERYBODY, "s3:GetObject", &format!("{bucket}/*"));
    let with = |condition: &str| {
        policy(&good.replace("\"Effect\"", &format!("\"Condition\": {condition}, \"Effect\"")))
    };
    for bad in [
        String::new(),
        "nonsense".to_owned(),
        policy(""),
        policy(&good.replace("Allow", "Maybe")),
        policy(&good.replace("GetObject", "GetObjet")),
        policy(&good.replace(&format!("{bucket}/*"), "another-bucket/*")),
        policy(&good.replace("\"Principal\"", "\"NotPrincipal\"")),
        policy(&good.replace(EVERYBODY, "{\"AWS\": \"arn:aws:iam:::user/nobody-of-that-name\"}")),
        with("{\"StringEquals\": {\"aws:MultiFactorAuthPresent\": \"true\"}}"),
        with("{\"StringAlmostEquals\": {\"aws:Referer\": \"x\"}}"),
        format!("{}{}", policy(&good), " ".repeat(20 * 1024)),
    ] {
        put(server, &bucket, &bad).expect_error(400, "MalformedPolicy");
    }
    server.get(&format!("/{bucket}?policy")).send().expect_error(404, "NoSuchBucketPolicy");
    put(server, &bucket, &with("{\"StringLike\": {\"aws:Referer\": \"http://a/*\"}}")).expect(204);
}

#[test]
fn anonymous_reads_by_policy() {
    let server = shared();
    let bucket = server.bucket("policy");
    let target = format!("/{bucket}/open/k");
    server.put(&target).body("x").send().expect(200);
    let get = |target: &str| server.get(target).anonymous().send();
    get(&target).expect_error(403, "AccessDenied");
    let open = allow(EVERYBODY, "s3:GetObject", &format!("{bucket}/open/*"));
    put(server, &bucket, &policy(&open)).expect(204);
    assert_eq!(get(&target).expect(200).body, b"x");
    server.head(&target).anonymous().send().expect(200);
    get(&format!("/{bucket}/k")).expect_error(403, "AccessDenied");
    get(&format!("/{bucket}/open/none")).expect_error(403, "AccessDenied");
    get(&format!("/{bucket}")).expect_error(403, "AccessDenied");
    server.put(&target).anonymous().body("y").send().expect_error(403, "AccessDenied");
    let list = allow(EVERYBODY, "s3:ListBucket", &bucket);
    put(server, &bucket, &policy(&format!("{open}, {list}"))).expect(204);
    get(&format!("/{bucket}/open/none")).expect_error(404, "NoSuchKey");
    get(&format!("/{bucket}")).expect(200);
    // With a deny it is over, whatever allows; but not for root.
    let deny = open.replace("Allow", "Deny").replace("}", ", \"Sid\": \"no\"}");
    put(server, &bucket, &policy(&format!("{open}, {deny}"))).expect(204);
    get(&target).expect_error(403, "AccessDenied");
    server.get(&target).send().expect(200);
}

#[test]
fn a_user_is_named() {
    let server = Server::start();
    let bucket = server.bucket("policy");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    let [ann, bob] = ["ann", "bob"].map(|name| User::new(&server, name));
    let get = |user: &User<'_>| user.get(&format!("/{bucket}/k")).send().status;
    let principals = [
        "{\"AWS\": \"arn:aws:iam:::user/ann\"}".to_owned(),
        "{\"AWS\": [\"arn:aws:iam::123456789012:user/ann\"]}".to_owned(),
        format!("{{\"CanonicalUser\": \"{}\"}}", ann.id),
        format!("{{\"AWS\": \"arn:aws:iam::{}:root\"}}", ann.id),
    ];
    for principal in principals {
        let document = policy(&allow(&principal, "s3:GetObject", &format!("{bucket}/*")));
        put(&server, &bucket, &document).expect(204);
        assert_eq!((get(&ann), get(&bob)), (200, 403), "{principal}");
        server.delete(&format!("/{bucket}?policy")).send().expect(204);
        assert_eq!(get(&ann), 403);
    }
    // What a user writes by the policy of a bucket is its own, and the bucket's owner reaches it.
    let write =
        allow("{\"AWS\": \"arn:aws:iam:::user/ann\"}", "s3:PutObject", &format!("{bucket}/*"));
    put(&server, &bucket, &policy(&write)).expect(204);
    ann.put(&format!("/{bucket}/own")).body("x").send().expect(200);
    let acl = ann.get(&format!("/{bucket}/own?acl")).send().expect(200);
    assert_eq!(acl.all("ID"), [ann.id.clone(), ann.id.clone()]);
    ann.get(&format!("/{bucket}/own")).send().expect(200);
    bob.get(&format!("/{bucket}/own")).send().expect_error(403, "AccessDenied");
}

fn block(switches: [bool; 4]) -> String {
    let names =
        ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
    let switch = |(name, on): (&str, bool)| format!("<{name}>{on}</{name}>");
    let inside: String = names.into_iter().zip(switches).map(switch).collect();
    format!("<PublicAccessBlockConfiguration>{inside}</PublicAccessBlockConfiguration>")
}

#[test]
fn the_public_access_block() {
    let server = shared();
    let bucket = server.bucket("block");
    let resource = format!("/{bucket}?publicAccessBlock");
    let none = "NoSuchPublicAccessBlockConfiguration";
    server.get(&resource).send().expect_error(404, none);
    server.put(&resource).body("<X/>").send().expect_error(400, "MalformedXML");
    let set = |switches| drop(server.put(&resource).body(block(switches)).send().expect(200));
    let target = format!("/{bucket}/k");
    let acl = |list: &str| server.put(&format!("/{bucket}?acl")).header("x-amz-acl", list).send();
    let get = || server.get(&target).anonymous().send().status;
    let list = || server.get(&format!("/{bucket}")).anonymous().send().status;
    let public = policy(&allow(EVERYBODY, "s3:GetObject", &format!("{bucket}/*")));
    server.put(&target).body("x").send().expect(200);

    acl("public-read").expect(200);
    put(server, &bucket, &public).expect(204);
    assert_eq!((get(), list()), (200, 200));
    let status =
        || server.get(&format!("/{bucket}?policyStatus")).send().expect(200).text("IsPublic");
    assert_eq!(status(), "true");
    set([false, true, false, false]);
    assert_eq!((get(), list(), status()), (200, 403, "true".to_owned()));
    set([false, false, false, true]);
    assert_eq!((get(), list(), status()), (403, 200, "true".to_owned()));
    set([false, true, false, true]);
    assert_eq!((get(), list(), status()), (403, 403, "false".to_owned()));
    // Blocks are about what is written from now on.
    set([true, false, true, false]);
    assert_eq!((get(), list()), (200, 200));
    acl("public-read").expect_error(403, "AccessDenied");
    acl("authenticated-read").expect_error(403, "AccessDenied");
    acl("private").expect(200);
    put(server, &bucket, &public).expect_error(403, "AccessDenied");
    let upload = server.put(&target).header("x-amz-acl", "public-read").body("y").send();
    upload.expect_error(403, "AccessDenied");
    let narrow = public.replace(
        "\"Effect\"",
        "\"Condition\": {\"IpAddress\": {\"aws:SourceIp\": \"127.0.0.0/8\"}}, \"Effect\"",
    );
    put(server, &bucket, &narrow).expect(204);
    assert_eq!((get(), status()), (200, "false".to_owned()));
    let got = server.get(&resource).send().expect(200);
    assert_eq!(got.text("BlockPublicAcls"), "true");
    assert_eq!(got.text("IgnorePublicAcls"), "false");
    server.delete(&resource).send().expect(204);
    server.get(&resource).send().expect_error(404, none);
    assert_eq!(server.get(&target).send().expect(200).body, b"x");
}

#[test]
fn addresses_and_schemes_that_a_proxy_tells_of() {
    let server = Server::with(&[("JOG_TRUST_PROXY", "on")]);
    let bucket = server.bucket("proxy");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    let get = |from: &str, proto: &str| {
        let get = server.get(&format!("/{bucket}/k")).anonymous();
        get.header("X-Forwarded-For", from).header("X-Forwarded-Proto", proto).send().status
    };
    let open = allow(EVERYBODY, "s3:GetObject", &format!("{bucket}/*"));
    let from = open.replace(
        "\"Effect\"",
        "\"Condition\": {\"IpAddress\": {\"aws:SourceIp\": \"192.0.2.0/24\"}, \
          \"Bool\": {\"aws:SecureTransport\": \"true\"}}, \"Effect\"",
    );
    put(&server, &bucket, &policy(&from)).expect(204);
    assert_eq!(get("192.0.2.7", "https"), 200);
    assert_eq!(get("198.51.100.1, 192.0.2.7", "https"), 200);
    assert_eq!(get("192.0.2.7, 198.51.100.1", "https"), 403);
    assert_eq!(get("192.0.2.7", "http"), 403);
    // Nobody is believed who was not asked.
    let server = shared();
    let bucket = server.bucket("proxy");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    let from = from.replace("192.0.2.0/24", "127.0.0.0/8");
    let resource = format!("arn:aws:s3:::{bucket}/*");
    let start = from.find("arn:aws:s3:::").expect("it is there");
    let from = format!("{}{resource}\"}}", &from[..start]);
    put(server, &bucket, &policy(&from)).expect(204);
    let get = server.get(&format!("/{bucket}/k")).anonymous();
    get.header("X-Forwarded-Proto", "https").send().expect_error(403, "AccessDenied");
}

// ---- what conditions see -----------------------------------------------------------------

/// A user that may do everything but `actions` under a condition, and a bucket with objects `k` and
/// `tagged`, which has the tag `class=secret`.
fn restricted<'a>(server: &'a Server, actions: &[&str], condition: &str) -> (User<'a>, String) {
    let bucket = server.bucket("condition");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    let tagged = server.put(&format!("/{bucket}/tagged")).header("x-amz-tagging", "class=secret");
    tagged.body("x").send().expect(200);
    let user = User::new(server, "ann");
    let deny = statement("Deny", actions, "*").replace(
        "\"Effect\"",
        &format!("\"Condition\": {{{}}}, \"Effect\"", condition.replace("BUCKET", &bucket)),
    );
    user.may(&format!("{}, {deny}", statement("Allow", &["s3:*"], "*")));
    (user, bucket)
}

#[test]
fn the_hash_of_a_presigned_body_cannot_be_made_up() {
    let server = Server::start();
    let unsigned = "\"StringEquals\": {\"s3:x-amz-content-sha256\": \"UNSIGNED-PAYLOAD\"}";
    let (user, bucket) = restricted(&server, &["s3:PutObject"], unsigned);
    let put = || user.put(&format!("/{bucket}/k")).body("y");
    put().send().expect(200);
    put().payload_hash("UNSIGNED-PAYLOAD").send().expect_error(403, "AccessDenied");
    put().presigned(60).send().expect_error(403, "AccessDenied");
    let url = put().query("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD").presigned(60).message();
    let hash = crate::support::sign::sha256_hex("y");
    url.header("x-amz-content-sha256", &hash).send().expect_error(403, "AccessDenied");
}

#[test]
fn values_in_any_case_are_seen() {
    let server = Server::start();
    let replace = "\"StringEquals\": {\"s3:x-amz-metadata-directive\": \"REPLACE\"}";
    let (user, bucket) = restricted(&server, &["s3:PutObject"], replace);
    let copy = |directive: &str| {
        let copy = user.put(&format!("/{bucket}/copy"));
        let copy = copy.header("x-amz-copy-source", format!("/{bucket}/k"));
        copy.header("x-amz-metadata-directive", directive).send()
    };
    copy("copy").expect(200);
    copy("REPLACE").expect_error(403, "AccessDenied");
    copy("replace").expect_error(403, "AccessDenied");
}

/// AWS's own example of a bucket in which nothing is overwritten.
#[test]
fn a_condition_that_holds_for_every_object_is_none() {
    let server = Server::start();
    let missing = "\"Null\": {\"s3:if-none-match\": \"true\"}";
    let (user, bucket) = restricted(&server, &["s3:PutObject"], missing);
    let put = |key: &str, value: &str| {
        user.put(&format!("/{bucket}/{key}")).header("If-None-Match", value).body("y").send()
    };
    put("new", "*").expect(200);
    put("k", "*").expect_error(412, "PreconditionFailed");
    put("k", "\"no-such-tag\"").expect_error(403, "AccessDenied");
    let answer = user.put(&format!("/{bucket}/k")).body("y").send();
    answer.expect_error(403, "AccessDenied");
    assert_eq!(server.get(&format!("/{bucket}/k")).send().expect(200).body, b"x");
}

#[test]
fn tags_that_come_with_a_copy_are_seen() {
    let server = Server::start();
    let secret = "\"StringEquals\": {\"s3:RequestObjectTag/class\": \"secret\"}";
    for action in ["s3:PutObject", "s3:PutObjectTagging"] {
        let (user, bucket) = restricted(&server, &[action], secret);
        let copy = |from: &str| {
            let copy = user.put(&format!("/{bucket}/copy"));
            copy.header("x-amz-copy-source", format!("/{bucket}/{from}"))
        };
        copy("tagged").send().expect_error(403, "AccessDenied");
        copy("k").send().expect(200);
        let replace = copy("tagged").header("x-amz-tagging-directive", "replace");
        replace.send().expect(200);
        user.command("remove");
    }
    // And a header that does nothing fulfils nothing.
    let needed = "\"StringNotEquals\": {\"s3:RequestObjectTag/class\": \"open\"}";
    let (user, bucket) = restricted(&server, &["s3:PutObject"], needed);
    let copy = || {
        let copy = user.put(&format!("/{bucket}/copy")).header("x-amz-tagging", "class=open");
        copy.header("x-amz-copy-source", format!("/{bucket}/k"))
    };
    copy().send().expect_error(403, "AccessDenied");
    copy().header("x-amz-tagging-directive", "REPLACE").send().expect(200);
}

#[test]
fn the_source_of_a_copy_is_seen_where_there_is_one() {
    let server = Server::start();
    let elsewhere = "\"StringNotLike\": {\"s3:x-amz-copy-source\": \"BUCKET/open/*\"}";
    let (user, bucket) = restricted(&server, &["s3:PutObject"], elsewhere);
    let open = format!("/{bucket}/open/k");
    server.put(&open).body("x").send().expect(200);
    let to = |query: &str| {
        let put = user.put(&format!("/{bucket}/to{query}"));
        put.header("x-amz-copy-source", &*open)
    };
    to("").send().expect(200);
    let rename = to("?renameObject").header("x-amz-rename-source", format!("/{bucket}/k"));
    rename.send().expect_error(403, "AccessDenied");
    let upload = user.request("POST", &format!("/{bucket}/to?uploads"));
    upload.header("x-amz-copy-source", &*open).send().expect_error(403, "AccessDenied");
    user.command("remove");
    // Where a `+` is not a space, the condition knows it, too.
    let plus = "\"StringEquals\": {\"s3:x-amz-copy-source\": \"BUCKET/a+b\"}";
    let (user, bucket) = restricted(&server, &["s3:PutObject"], plus);
    server.object("PUT", &bucket, "a+b").body("x").send().expect(200);
    for source in ["a+b", "a%2Bb"] {
        let copy = user.put(&format!("/{bucket}/copy"));
        let copy = copy.header("x-amz-copy-source", format!("/{bucket}/{source}"));
        copy.send().expect_error(403, "AccessDenied");
    }
}

/// The tags of a version of before say nothing of what is overwritten now.
#[test]
fn a_write_is_about_the_present_object() {
    let server = Server::start();
    let locked = "\"StringEquals\": {\"s3:ExistingObjectTag/locked\": \"yes\"}";
    let (user, bucket) = restricted(&server, &["s3:PutObject"], locked);
    let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    server.put(&format!("/{bucket}?versioning")).body(on).send().expect(200);
    let put = server.put(&format!("/{bucket}/k")).header("x-amz-tagging", "locked=yes");
    put.body("y").send().expect(200);
    for version in ["", "&versionId=null"] {
        let upload = user.request("POST", &format!("/{bucket}/k?uploads{version}"));
        upload.send().expect_error(403, "AccessDenied");
    }
}

/// A document that arrives slowly is for the bucket that was there when it began to.
#[test]
fn a_decision_is_for_the_bucket_that_was_there() {
    let server = Server::start();
    let (ann, bob) = (User::with_buckets(&server, "ann"), User::with_buckets(&server, "bob"));
    for (by_root, answer) in [(false, (403, "AccessDenied")), (true, (404, "NoSuchBucket"))] {
        let bucket = server.free_name("race");
        ann.put(&format!("/{bucket}")).send().expect(200);
        let open = policy(&allow(EVERYBODY, "s3:*", &format!("{bucket}/*")));
        let resource = format!("/{bucket}?policy");
        let late = if by_root { server.put(&resource) } else { ann.put(&resource) };
        let late = late.body(&open).message();
        let (begun, rest) = late.body.split_at(open.len() - 1);
        let mut connection = server.connect();
        connection.write(late.head());
        connection.write(begun);
        // Until it has been decided on and waits for its document.
        std::thread::sleep(std::time::Duration::from_millis(500));
        ann.request("DELETE", &format!("/{bucket}")).send().expect(204);
        bob.put(&format!("/{bucket}")).send().expect(200);
        connection.write(rest);
        connection.response("PUT").expect("an answer").expect_error(answer.0, answer.1);
        server.get(&resource).send().expect_error(404, "NoSuchBucketPolicy");
    }
}

/// Whoever was shut out while its document was on the way does not get it through.
#[test]
fn a_decision_is_made_when_the_document_is_there() {
    let server = Server::start();
    let bucket = server.bucket("late");
    let ann = User::new(&server, "ann");
    ann.may(&statement("Allow", &["s3:PutBucketPolicy", "s3:DeleteObject"], "*"));
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    let open = policy(&allow(EVERYBODY, "s3:GetObject", &format!("{bucket}/*")));
    let delete = "<Delete><Object><Key>k</Key></Object></Delete>";
    let late = [
        ann.put(&format!("/{bucket}?policy")).body(&open).message(),
        ann.request("POST", &format!("/{bucket}?delete")).body(delete).message(),
    ];
    let begin = |message: &Message| {
        let mut connection = server.connect();
        connection.write(message.head());
        connection.write(&message.body[..message.body.len() - 1]);
        connection
    };
    let begun = late.each_ref().map(begin);
    std::thread::sleep(std::time::Duration::from_millis(500));
    ann.command("disable");
    for (message, mut connection) in late.iter().zip(begun) {
        connection.write(&message.body[message.body.len() - 1..]);
        let answer = connection.response(&message.method).expect("an answer");
        answer.expect_error(403, "AccessDenied");
    }
    server.get(&format!("/{bucket}/k")).send().expect(200);
    server.get(&format!("/{bucket}?policy")).send().expect_error(404, "NoSuchBucketPolicy");
}

/// A list that arrives slowly is for the object that was there when it had arrived.
#[test]
fn a_decision_on_a_list_is_for_the_object_that_is_there() {
    let server = Server::start();
    let bucket = server.bucket("race");
    let (ann, bob) = (User::new(&server, "ann"), User::new(&server, "bob"));
    let who = "{\"AWS\": [\"arn:aws:iam:::user/ann\", \"arn:aws:iam:::user/bob\"]}";
    put(&server, &bucket, &policy(&allow(who, "s3:PutObject", &format!("{bucket}/*")))).expect(204);
    let target = format!("/{bucket}/k");
    ann.put(&target).body("ann's").send().expect(200);
    let list = format!(
        "<AccessControlPolicy><Owner><ID>{}</ID></Owner><AccessControlList><Grant><Grantee \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>\
         http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ\
         </Permission></Grant></AccessControlList></AccessControlPolicy>",
        ann.id
    );
    let late = ann.put(&format!("{target}?acl")).body(&list).message();
    let (begun, rest) = late.body.split_at(list.len() - 1);
    let mut connection = server.connect();
    connection.write(late.head());
    connection.write(begun);
    std::thread::sleep(std::time::Duration::from_millis(500));
    bob.put(&target).body("bob's").send().expect(200);
    connection.write(rest);
    connection.response("PUT").expect("an answer").expect_error(403, "AccessDenied");
    server.get(&target).anonymous().send().expect_error(403, "AccessDenied");
}

/// Whoever has not signed has a user ID, too; to name it does not make a policy private.
#[test]
fn a_policy_for_the_anonymous_is_public() {
    let server = shared();
    let bucket = server.bucket("block");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    let open = allow(EVERYBODY, "s3:GetObject", &format!("{bucket}/*"));
    let with = |operator: &str, id: &str| {
        let condition = format!("\"Condition\": {{\"{operator}\": {{\"aws:userid\": {id}}}}}");
        policy(&open.replace("\"Effect\"", &format!("{condition}, \"Effect\"")))
    };
    let named = with("StringEquals", "\"anonymous\"");
    put(server, &bucket, &named).expect(204);
    server.get(&format!("/{bucket}/k")).anonymous().send().expect(200);
    let status = server.get(&format!("/{bucket}?policyStatus")).send().expect(200);
    assert_eq!(status.text("IsPublic"), "true");
    let resource = format!("/{bucket}?publicAccessBlock");
    server.put(&resource).body(block([false, false, true, true])).send().expect(200);
    server.get(&format!("/{bucket}/k")).anonymous().send().expect_error(403, "AccessDenied");
    put(server, &bucket, &named).expect_error(403, "AccessDenied");
    let among = with("StringEqualsIgnoreCase", "[\"someone\", \"ANONYMOUS\"]");
    put(server, &bucket, &among).expect_error(403, "AccessDenied");
    put(server, &bucket, &with("StringEquals", "\"someone\"")).expect(204);
}

/// Each key of DeleteObjects is decided on by itself.
#[test]
fn a_long_header_makes_no_decision_slow() {
    let server = shared();
    let bucket = server.bucket("policy");
    let patterns: Vec<String> = (0..1000).map(|n| format!("\"*a*{n}\"")).collect();
    let condition = format!(
        "\"Condition\": {{\"StringLike\": {{\"aws:UserAgent\": [{}]}}}}, \"Effect\"",
        patterns.join(",")
    );
    let delete = allow(EVERYBODY, "s3:DeleteObject", &format!("{bucket}/*"));
    put(server, &bucket, &policy(&delete.replace("\"Effect\"", &condition))).expect(204);
    let keys = "<Object><Key>k</Key></Object>".repeat(500);
    let delete = server.post(&format!("/{bucket}?delete")).anonymous();
    let delete = delete.body(format!("<Delete>{keys}</Delete>"));
    let began = std::time::Instant::now();
    let answer = delete.header("User-Agent", "b".repeat(60_000)).send().expect(200);
    assert_eq!(answer.all("Code").len(), 500);
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
}
