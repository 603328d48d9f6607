//! Who may what, from outside: every row of the operations table as a stranger, as a user with
//! exactly its permission, and as one with all but that.

use super::auth::plainest;
use super::commands::{fails, ok};
use super::users::{Key, file};
use crate::support::sign::Signer;
use crate::support::{Request, Response, Server};
use jog::http::Method;
use jog::s3::table::{OPERATIONS, Operation};

/// A user of a server.
pub struct User<'a> {
    server: &'a Server,
    name: String,
    key: Key,
    /// Its canonical ID.
    pub id: String,
}

impl<'a> User<'a> {
    /// A user without any policy.
    pub fn new(server: &'a Server, name: &str) -> Self {
        let dir = server.dir.path();
        let key = Key::printed(&ok(dir, &["user", "add", name]));
        let shown = ok(dir, &["user", "show", name]);
        let is_id = |word: &&str| {
            word.len() == 64 && word.bytes().all(|b| b"0123456789abcdef".contains(&b))
        };
        let id = shown.split_whitespace().find(is_id).expect("its ID").to_owned();
        Self { server, name: name.to_owned(), key, id }
    }

    /// One that may make buckets of its own.
    pub fn with_buckets(server: &'a Server, name: &str) -> Self {
        let user = Self::new(server, name);
        user.may(&statement("Allow", &["s3:CreateBucket", "s3:ListAllMyBuckets"], "*"));
        user
    }

    /// Gives it a policy of these statements instead of the one that it has.
    pub fn may(&self, statements: &str) {
        let policy = format!("{{\"Version\": \"2012-10-17\", \"Statement\": [{statements}]}}");
        let path = file(&self.server.dir, &format!("{}.json", self.name), &policy);
        ok(self.server.dir.path(), &["user", "set", &self.name, "--policy", &path]);
    }

    /// Runs `jog user COMMAND` on it.
    pub fn command(&self, command: &str) {
        ok(self.server.dir.path(), &["user", command, &self.name]);
    }

    pub fn request(&self, method: &str, target: &str) -> Request {
        self.key.signs(self.server.request(method, target))
    }

    /// Makes a signer sign with its key.
    pub fn signs(&self, signer: &mut Signer) {
        signer.access_key.clone_from(&self.key.id);
        signer.secret_key.clone_from(&self.key.secret);
    }

    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    pub fn put(&self, target: &str) -> Request {
        self.request("PUT", target)
    }
}

/// A statement of a user's policy.
pub fn statement(effect: &str, actions: &[&str], resource: &str) -> String {
    let actions = actions.join("\", \"");
    format!(
        "{{\"Effect\": \"{effect}\", \"Action\": [\"{actions}\"], \"Resource\": \"{resource}\"}}"
    )
}

/// What a row needs beside its own action.
fn further(row: &Operation) -> &'static [&'static str] {
    match row.name {
        "GetObjectAttributes" | "CopyObject" | "UploadPartCopy" => &["s3:GetObject"],
        "RenameObject" => &["s3:GetObject", "s3:DeleteObject"],
        _ => &[],
    }
}

/// The plainest request of a row.
fn send(user: &User<'_>, row: &Operation, bucket: &str) -> Response {
    let (target, headers) = plainest(row, bucket);
    let mut request = user.request(row.method.as_str(), &target);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if row.name == "RenameObject" {
        request = request.header("x-amz-rename-source", format!("/{bucket}/k2"));
    }
    if row.name == "DeleteObjects" {
        request = request.body("<Delete><Object><Key>k</Key></Object></Delete>");
    }
    request.send()
}

fn is_denied(row: &Operation, answer: &Response) -> bool {
    match row.method {
        Method::Head => answer.status == 403,
        // Each key is decided on by itself.
        _ if row.name == "DeleteObjects" => answer.all("Code") == ["AccessDenied"],
        _ => answer.status == 403 && answer.text("Code") == "AccessDenied",
    }
}

#[test]
fn every_operation_needs_its_permission_and_no_other() {
    let server = Server::start();
    let bucket = server.bucket("access");
    let [stranger, holder, other] =
        ["stranger", "holder", "other"].map(|name| User::new(&server, name));
    // A form brings its signature in its fields; see form.rs.
    let rows = OPERATIONS.iter().filter(|r| r.method != Method::Options && r.name != "PostObject");
    let mut seen = 0;
    for row in rows {
        server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
        server.put(&format!("/{bucket}/k2")).body("x").send().expect(200);
        let all: Vec<&str> = [row.action].iter().chain(further(row)).copied().collect();
        for missing in &all {
            let rest = statement("Allow", &["s3:*"], "*");
            other.may(&format!("{rest}, {}", statement("Deny", &[*missing], "*")));
            let answer = send(&other, row, &bucket);
            assert!(is_denied(row, &answer), "{} without {missing}: {}", row.name, answer.status);
        }
        let answer = send(&stranger, row, &bucket);
        assert!(is_denied(row, &answer), "{} by a stranger: {}", row.name, answer.status);
        holder.may(&statement("Allow", &all, "*"));
        let answer = send(&holder, row, &bucket);
        assert!(!is_denied(row, &answer), "{} with {all:?}", row.name);
        seen += 1;
    }
    assert!(seen > 95, "{seen}");
    server.get(&format!("/{bucket}")).send().expect(200);
}

#[test]
fn permissions_end_at_their_resource() {
    let server = Server::start();
    let (mine, theirs) = (server.bucket("mine"), server.bucket("theirs"));
    let user = User::new(&server, "ann");
    let arn = |rest: &str| format!("arn:aws:s3:::{rest}");
    let objects = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"];
    let listing = format!(
        "{{\"Effect\": \"Allow\", \"Action\": \"s3:ListBucket\", \"Resource\": \"{}\",
          \"Condition\": {{\"StringLike\": {{\"s3:prefix\": \"nas/*\"}}}}}}",
        arn(&mine)
    );
    user.may(&[statement("Allow", &objects, &arn(&format!("{mine}/nas/*"))), listing].join(","));
    user.put(&format!("/{mine}/nas/k")).body("x").send().expect(200);
    user.get(&format!("/{mine}/nas/k")).send().expect(200);
    user.put(&format!("/{mine}/other")).body("x").send().expect_error(403, "AccessDenied");
    user.put(&format!("/{theirs}/nas/k")).body("x").send().expect_error(403, "AccessDenied");
    user.get(&format!("/{mine}?prefix=nas/")).send().expect(200);
    user.get(&format!("/{mine}?prefix=")).send().expect_error(403, "AccessDenied");
    user.get(&format!("/{mine}")).send().expect_error(403, "AccessDenied");
    // What is not there is told to who may list it, and to nobody else.
    user.get(&format!("/{mine}/nas/none")).send().expect_error(404, "NoSuchKey");
    user.request("HEAD", &format!("/{mine}/nas/none")).send().expect(404);
    user.get(&format!("/{mine}/none")).send().expect_error(403, "AccessDenied");
    user.request("HEAD", &format!("/{mine}/none")).send().expect(403);
    // Each key of DeleteObjects is decided on by itself.
    server.put(&format!("/{mine}/other")).body("x").send().expect(200);
    let keys =
        "<Delete><Object><Key>nas/k</Key></Object><Object><Key>other</Key></Object></Delete>";
    let answer = user.request("POST", &format!("/{mine}?delete")).body(keys).send().expect(200);
    assert_eq!(answer.elements("Deleted").len(), 1);
    assert_eq!(answer.elements("Error").len(), 1);
    assert_eq!(answer.all("Code"), ["AccessDenied"]);
    server.get(&format!("/{mine}/other")).send().expect(200);
    // What it wrote belongs to the owner of the bucket.
    user.put(&format!("/{mine}/nas/k")).body("x").send().expect(200);
    let acl = server.get(&format!("/{mine}/nas/k?acl")).send().expect(200);
    assert!(acl.all("ID").iter().all(|id| *id != user.id), "{}", acl.xml());
    user.get(&format!("/{mine}/nas/k?acl")).send().expect_error(403, "AccessDenied");
}

#[test]
fn the_source_of_a_copy_is_decided_on() {
    let server = Server::start();
    let (from, to) = (server.bucket("from"), server.bucket("to"));
    for key in ["open", "secret"] {
        server.put(&format!("/{from}/{key}")).body("x").send().expect(200);
    }
    let user = User::new(&server, "ann");
    let write = statement("Allow", &["s3:PutObject"], &format!("arn:aws:s3:::{to}/*"));
    let read = statement("Allow", &["s3:GetObject"], &format!("arn:aws:s3:::{from}/open"));
    user.may(&[write.as_str(), &read].join(","));
    let copy =
        |source: &str| user.put(&format!("/{to}/k")).header("x-amz-copy-source", source).send();
    copy(&format!("{from}/open")).expect(200);
    copy(&format!("{from}/secret")).expect_error(403, "AccessDenied");
    copy(&format!("{from}/none")).expect_error(403, "AccessDenied");
    copy("no-such-bucket-here/k").expect_error(404, "NoSuchBucket");
    let list = statement("Allow", &["s3:ListBucket"], &format!("arn:aws:s3:::{from}"));
    user.may(&[write, read, list].join(","));
    copy(&format!("{from}/none")).expect_error(404, "NoSuchKey");
    copy(&format!("{from}/secret")).expect_error(403, "AccessDenied");
    // Tags that are copied are read and written.
    let put = server.put(&format!("/{from}/open")).header("x-amz-tagging", "a=b").body("x");
    put.send().expect(200);
    copy(&format!("{from}/open")).expect_error(403, "AccessDenied");
    let tags = ["s3:PutObject", "s3:GetObject", "s3:GetObjectTagging", "s3:PutObjectTagging"];
    user.may(&statement("Allow", &tags, "*"));
    copy(&format!("{from}/open")).expect(200);
}

#[test]
fn a_presigned_url_is_worth_what_its_signer_may_when_it_is_used() {
    let server = Server::start();
    let bucket = server.bucket("presigned");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    let user = User::new(&server, "ann");
    let target = format!("/{bucket}/k");
    let message = user.get(&target).presigned(600).message();
    message.clone().send().expect_error(403, "AccessDenied");
    user.may(&statement("Allow", &["s3:GetObject"], "*"));
    message.clone().send().expect(200);
    user.may(&statement("Allow", &["s3:PutObject"], "*"));
    message.clone().send().expect_error(403, "AccessDenied");
    user.may(&statement("Allow", &["s3:GetObject"], "*"));
    user.command("disable");
    message.send().expect_error(403, "InvalidAccessKeyId");
}

#[test]
fn versions_have_actions_of_their_own() {
    let server = Server::start();
    let bucket = server.bucket("versions");
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    server.put(&format!("/{bucket}?versioning")).body(enabled).send().expect(200);
    let put = server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    let id = put.header("x-amz-version-id").expect("a version").to_owned();
    let user = User::new(&server, "ann");
    let (now, version) = (format!("/{bucket}/k"), format!("/{bucket}/k?versionId={id}"));
    user.may(&statement("Allow", &["s3:GetObject", "s3:DeleteObject"], "*"));
    user.get(&now).send().expect(200);
    user.get(&version).send().expect_error(403, "AccessDenied");
    user.request("DELETE", &version).send().expect_error(403, "AccessDenied");
    let one = format!("<Delete><Object><Key>k</Key><VersionId>{id}</VersionId></Object></Delete>");
    let answer = user.request("POST", &format!("/{bucket}?delete")).body(one).send().expect(200);
    assert_eq!(answer.all("Code"), ["AccessDenied"]);
    user.may(&statement("Allow", &["s3:GetObjectVersion", "s3:DeleteObjectVersion"], "*"));
    user.get(&version).send().expect(200);
    user.get(&now).send().expect_error(403, "AccessDenied");
    user.request("DELETE", &version).send().expect(204);
}

/// A governed retention can be overruled by who may, and a compliant one by nobody.
#[test]
fn retention_is_overruled_by_who_may() {
    let server = Server::start();
    let bucket = server.free_name("lock");
    let create = server.put(&format!("/{bucket}"));
    create.header("x-amz-bucket-object-lock-enabled", "true").send().expect(200);
    let put = |mode: &str| {
        let put = server.put(&format!("/{bucket}/k")).body("x");
        let put = put.header("x-amz-object-lock-mode", mode);
        let put = put.header("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z");
        let put = put.send().expect(200);
        let id = put.header("x-amz-version-id").expect("a version").to_owned();
        format!("/{bucket}/k?versionId={id}")
    };
    let (governed, compliant) = (put("GOVERNANCE"), put("COMPLIANCE"));
    let user = User::new(&server, "ann");
    let bypass =
        |request: Request| request.header("x-amz-bypass-governance-retention", "true").send();
    user.may(&statement("Allow", &["s3:DeleteObjectVersion"], "*"));
    bypass(user.request("DELETE", &governed)).expect_error(403, "AccessDenied");
    let both = ["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"];
    user.may(&statement("Allow", &both, "*"));
    user.request("DELETE", &governed).send().expect_error(403, "AccessDenied");
    bypass(user.request("DELETE", &compliant)).expect_error(403, "AccessDenied");
    bypass(server.delete(&compliant)).expect_error(403, "AccessDenied");
    bypass(user.request("DELETE", &governed)).expect(204);
}

#[test]
fn what_comes_with_an_upload_needs_its_own_permission() {
    let server = Server::start();
    let bucket = server.bucket("with");
    let user = User::new(&server, "ann");
    let put = |name: &str, value: &str| {
        user.put(&format!("/{bucket}/k")).body("x").header(name, value).send()
    };
    let cases = [
        ("x-amz-acl", "public-read", "s3:PutObjectAcl"),
        (
            "x-amz-grant-read",
            "uri=http://acs.amazonaws.com/groups/global/AllUsers",
            "s3:PutObjectAcl",
        ),
        ("x-amz-tagging", "a=b", "s3:PutObjectTagging"),
    ];
    for (name, value, action) in cases {
        user.may(&statement("Allow", &["s3:PutObject"], "*"));
        put(name, value).expect_error(403, "AccessDenied");
        put("x-amz-acl", "private").expect(200);
        user.may(&statement("Allow", &["s3:PutObject", action], "*"));
        put(name, value).expect(200);
    }
    // Conditions see the tags of a document as well as those of a header.
    let condition = "{\"Effect\": \"Allow\", \"Action\": \"s3:PutObject*\", \"Resource\": \"*\", \
        \"Condition\": {\"StringEquals\": {\"s3:RequestObjectTag/class\": \"open\"}}}";
    user.may(condition);
    put("x-amz-tagging", "class=open").expect(200);
    put("x-amz-tagging", "class=secret").expect_error(403, "AccessDenied");
    let tag = |value: &str| {
        let tag = format!("<Tag><Key>class</Key><Value>{value}</Value></Tag>");
        let document = format!("<Tagging><TagSet>{tag}</TagSet></Tagging>");
        user.put(&format!("/{bucket}/k?tagging")).body(document).send()
    };
    tag("open").expect(200);
    tag("secret").expect_error(403, "AccessDenied");
    let tags = server.get(&format!("/{bucket}/k?tagging")).send().expect(200);
    assert_eq!(tags.all("Value"), ["open"]);
}

#[test]
fn buckets_of_users() {
    let server = Server::start();
    let (ann, bob) = (User::with_buckets(&server, "ann"), User::with_buckets(&server, "bob"));
    let (of_root, of_ann) = (server.bucket("root"), server.free_name("ann"));
    ann.put(&format!("/{of_ann}")).send().expect(200);
    bob.put(&format!("/{of_ann}")).send().expect_error(409, "BucketAlreadyExists");
    ann.put(&format!("/{of_ann}/k")).body("x").send().expect(200);
    bob.get(&format!("/{of_ann}/k")).send().expect_error(403, "AccessDenied");
    server.get(&format!("/{of_ann}/k")).send().expect(200);
    let names = |answer: Response| answer.expect(200).all("Name");
    assert_eq!(names(ann.get("/").send()), std::slice::from_ref(&of_ann));
    assert!(names(bob.get("/").send()).is_empty());
    let mut all = vec![of_root, of_ann.clone()];
    all.sort();
    assert_eq!(names(server.get("/").send()), all);
    let owner = ann.get(&format!("/{of_ann}?list-type=2&fetch-owner=true")).send().expect(200);
    assert_eq!((owner.text("ID"), owner.text("DisplayName")), (ann.id.clone(), "ann".to_owned()));
    // Expecting another owner ends a request, whoever asks.
    let expect = |id: &str| {
        ann.get(&format!("/{of_ann}/k")).header("x-amz-expected-bucket-owner", id).send()
    };
    expect(&ann.id).expect(200);
    expect(&bob.id).expect_error(403, "AccessDenied");
    ann.request("DELETE", &format!("/{of_ann}/k")).send().expect(204);
    bob.request("DELETE", &format!("/{of_ann}")).send().expect_error(403, "AccessDenied");
    ann.request("DELETE", &format!("/{of_ann}")).send().expect(204);
}

/// What a user may not do with its bucket it cannot do by making one either.
#[test]
fn a_bucket_is_made_with_what_is_not_denied() {
    let server = Server::start();
    let user = User::new(&server, "ann");
    let cases = [
        ("x-amz-acl", "public-read", "s3:PutBucketAcl"),
        (
            "x-amz-grant-write",
            "uri=http://acs.amazonaws.com/groups/global/AllUsers",
            "s3:PutBucketAcl",
        ),
        ("x-amz-object-ownership", "BucketOwnerEnforced", "s3:PutBucketOwnershipControls"),
        ("x-amz-bucket-object-lock-enabled", "True", "s3:PutBucketObjectLockConfiguration"),
        ("x-amz-bucket-object-lock-enabled", "true", "s3:PutBucketVersioning"),
    ];
    let create = statement("Allow", &["s3:CreateBucket"], "*");
    for (name, value, action) in cases {
        let bucket = server.free_name("made");
        let make = || user.put(&format!("/{bucket}")).header(name, value).send();
        user.may(&format!("{create}, {}", statement("Deny", &[action], "*")));
        make().expect_error(403, "AccessDenied");
        user.may(&create);
        make().expect(200);
    }
}

#[test]
fn decisions_are_explained() {
    let server = Server::start();
    let bucket = server.bucket("explain");
    let user = User::new(&server, "ann");
    let dir = server.dir.path();
    let explain = |who: &str, action: &str, of: &str| {
        ok(dir, &["access", "explain", who, action, of]).trim().to_owned()
    };
    let key = format!("{bucket}/k");
    let nothing = "denied: no policy and no access control list allows it";
    assert_eq!(explain("ann", "s3:GetObject", &key), nothing);
    assert_eq!(explain("anonymous", "GetObject", &format!("arn:aws:s3:::{key}")), nothing);
    assert_eq!(explain("root", "s3:DeleteBucket", &bucket), "allowed: root may do everything");
    let rules = [statement("Allow", &["s3:Get*"], "*"), statement("Deny", &["s3:GetObject"], "*")];
    user.may(&rules.join(","));
    let text = "denied: statement 2 of policy 1 of the user";
    assert_eq!(explain("ann", "s3:GetObject", &key), text);
    let text = "allowed: statement 1 of policy 1 of the user";
    assert_eq!(explain("ann", "s3:GetObjectAcl", &key), text);
    let open = format!(
        "{{\"Statement\": {{\"Sid\": \"open\", \"Effect\": \"Allow\", \"Principal\": \"*\", \
          \"Action\": \"s3:*\", \"Resource\": \"arn:aws:s3:::{bucket}/*\"}}}}"
    );
    server.put(&format!("/{bucket}?policy")).body(open).send().expect(204);
    let text = "allowed: statement 1 (open) of the bucket's policy";
    assert_eq!(explain("anonymous", "s3:PutObject", &key), text);
    fails(dir, &["access", "explain", "nobody", "s3:GetObject", &key], 1, "nobody");
    fails(dir, &["access", "explain", "ann", "s3:GetObjet", &key], 1, "GetObjet");
    fails(dir, &["access", "explain", "ann", "s3:GetObject", "none-there"], 1, "none-there");
}
