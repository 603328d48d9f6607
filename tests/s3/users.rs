//! Users and their keys: made, changed and removed by commands while the server runs, and what is
//! left of them on disk.

use super::commands::{fails, line, ok, on, text};
use crate::support::server::jog;
use crate::support::sign::{ACCESS_KEY, SECRET_KEY, Signer};
use crate::support::{Dir, Request, Response, Server};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A key as the commands print it.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub secret: String,
}

impl Key {
    pub fn printed(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
        };
        Self { id: field("access key"), secret: field("secret key") }
    }

    fn of(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned() }
    }

    pub fn signs(&self, request: Request) -> Request {
        let own = self.clone();
        request.signer(move |signer: &mut Signer| {
            signer.access_key = own.id;
            signer.secret_key = own.secret;
        })
    }

    /// Lists the buckets with it.
    fn try_on(&self, server: &Server) -> Response {
        self.signs(server.get("/")).send()
    }

    #[track_caller]
    fn works(&self, server: &Server) {
        self.try_on(server).expect(200);
    }

    #[track_caller]
    fn is_refused(&self, server: &Server) {
        self.try_on(server).expect_error(403, "InvalidAccessKeyId");
    }
}

/// A file beside the data directories.
pub fn file(dir: &Dir, name: &str, content: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, content).expect("a directory of ours");
    path.to_str().expect("a path of ours is UTF-8").to_owned()
}

/// The arguments that let a user list buckets and make some.
const ALLOW: [&str; 2] = ["--allow", "create"];

fn add(dir: &Path, name: &str) -> Key {
    Key::printed(&ok(dir, &["user", "add", name, ALLOW[0], ALLOW[1]]))
}

#[test]
fn a_user_lives_and_goes_while_the_server_runs() {
    let server = Server::start();
    let dir = server.dir.path();
    let first = add(dir, "alice");
    first.works(&server);
    let wrong = Key::of(&first.id, "wrong-secret");
    wrong.try_on(&server).expect_error(403, "SignatureDoesNotMatch");
    fails(dir, &["user", "add", "alice"], 1, "alice");
    first.works(&server);

    let listed = ok(dir, &["user", "list"]);
    let user = line(&listed, "alice");
    assert_eq!(user[1..4], ["active", "1", "yes"]);
    let id = user[5].to_owned();
    assert!(id.len() == 64 && id.bytes().all(|b| b"0123456789abcdef".contains(&b)), "{id}");
    let shown = ok(dir, &["user", "show", "alice"]);
    assert!(shown.contains(&id) && shown.contains(&first.id) && shown.contains("CreateBucket"));
    assert!(!shown.contains(&first.secret));

    ok(dir, &["user", "disable", "alice"]);
    first.is_refused(&server);
    assert_eq!(line(&ok(dir, &["user", "list"]), "alice")[1], "disabled");
    assert_eq!(line(&ok(dir, &["key", "list"]), &first.id)[2], "disabled");
    ok(dir, &["user", "enable", "alice"]);
    first.works(&server);

    let second = Key::printed(&ok(dir, &["key", "add", "alice"]));
    second.works(&server);
    ok(dir, &["key", "disable", &first.id]);
    first.is_refused(&server);
    second.works(&server);
    assert_eq!(line(&ok(dir, &["key", "list", "alice"]), &first.id)[1..3], ["alice", "disabled"]);
    ok(dir, &["key", "enable", &first.id]);
    first.works(&server);
    let third = Key::printed(&ok(dir, &["key", "rotate", &first.id]));
    first.is_refused(&server);
    third.works(&server);
    let fourth = Key::printed(&ok(dir, &["key", "rotate", &third.id, "--keep"]));
    third.works(&server);
    fourth.works(&server);
    ok(dir, &["key", "remove", &third.id]);
    third.is_refused(&server);
    fails(dir, &["key", "remove", &third.id], 1, &third.id);
    fails(dir, &["key", "rotate", &third.id], 1, &third.id);
    fails(dir, &["key", "disable", &third.id], 1, &third.id);
    assert_eq!(ok(dir, &["key", "list", "alice"]).lines().count(), 3);

    // What it owns stays, and another user of its name is another user.
    second.signs(server.put("/alice-owns-this")).send().expect(200);
    let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal":
        {"AWS": "arn:aws:iam:::user/alice"}, "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::alice-owns-this/*"}]}"#;
    server.put("/alice-owns-this?policy").body(policy).send().expect(204);
    let removed = on(dir, &["user", "remove", "alice"]);
    assert!(removed.status.success());
    let said = String::from_utf8(removed.stderr).unwrap();
    assert!(said.contains("the policies of 1 bucket name alice"), "{said}");
    for key in [&second, &fourth] {
        key.is_refused(&server);
    }
    fails(dir, &["user", "remove", "alice"], 1, "alice");
    fails(dir, &["user", "show", "alice"], 1, "alice");
    fails(dir, &["key", "add", "alice"], 1, "alice");
    add(dir, "alice");
    assert_ne!(line(&ok(dir, &["user", "list"]), "alice")[5], id);
    server.get("/alice-owns-this").send().expect(200);
    assert!(!server.log().contains(&fourth.secret));
}

#[test]
fn keys_and_policies_are_brought_along() {
    let server = Server::start();
    let (dir, files) = (server.dir.path(), Dir::new());
    let secret = file(&files, "secret", "imported/secret+123=\n");
    let imported = Key::of("imported.key", "imported/secret+123=");
    let import = ["--access-key", "imported.key", "--secret-file", &secret];
    let args = [&["user", "add", "bob", ALLOW[0], ALLOW[1]], &import[..]].concat();
    let printed = ok(dir, &args);
    assert!(printed.contains("imported.key") && !printed.contains("imported/secret"));
    imported.works(&server);
    // An ID has one key.
    let args = [&["user", "add", "carol"], &import[..]].concat();
    fails(dir, &args, 1, "imported.key");
    assert_eq!(ok(dir, &["user", "list"]).lines().count(), 2, "nothing is left of carol");
    let args = [&["key", "add", "bob"], &import[..]].concat();
    fails(dir, &args, 1, "imported.key");
    let roots = ["key", "add", "bob", "--access-key", ACCESS_KEY, "--secret-file", &secret];
    fails(dir, &roots, 1, "root");
    let half = ["key", "add", "bob", "--access-key", "other"];
    fails(dir, &half, 2, "together");
    let short = file(&files, "short", "1234567");
    let args = ["key", "add", "bob", "--access-key", "other", "--secret-file", &short];
    fails(dir, &args, 2, "8 to 128");
    let args = ["key", "add", "bob", "--access-key", "o/ther", "--secret-file", &secret];
    fails(dir, &args, 2, "o/ther");
    fails(dir, &["key", "add", "bob", "--secret-file", "/nowhere"], 2, "/nowhere");

    for name in ["root", "a/b", "", "a b"] {
        fails(dir, &["user", "add", name], 2, "expected a name");
    }
    fails(dir, &["user", "add"], 2, "Usage: jog user add");
    let policy = file(
        &files,
        "policy",
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets",
            "Resource": "*", "Sid": "OfBob"}]}"#,
    );
    ok(dir, &["user", "set", "bob", "--policy", &policy, "--email", "bob@example.com"]);
    let shown = ok(dir, &["user", "show", "bob"]);
    assert!(shown.contains("OfBob") && shown.contains("bob@example.com"), "{shown}");
    imported.works(&server);
    let unknown =
        r#"{"Statement": [{"Effect": "Allow", "Action": "s3:NoSuchThing", "Resource": "*"}]}"#;
    for bad in ["", "{}", "nonsense", unknown] {
        let bad = file(&files, "bad", bad);
        fails(dir, &["user", "set", "bob", "--policy", &bad], 1, "not understood");
    }
    imported.works(&server);
    fails(dir, &["user", "set", "bob"], 2, "nothing");
    fails(dir, &["user", "set", "bob", "--email", "bob"], 2, "email");
    fails(dir, &["user", "set", "nobody", "--no-policy"], 1, "nobody");
    fails(dir, &["user", "add", "dora", "--email", "bob@example.com"], 1, "email");
    ok(dir, &["user", "set", "bob", "--no-policy"]);
    assert!(ok(dir, &["user", "show", "bob"]).contains("policy      none"));

    // One line for the common case.
    let args = "user add backup --bucket photos --prefix nas1/ --allow read,write --no-key";
    ok(dir, &args.split(' ').collect::<Vec<_>>());
    let shown = ok(dir, &["user", "show", "backup"]);
    assert!(shown.contains("arn:aws:s3:::photos/nas1/*") && !shown.contains("access key"));
}

/// What one line of `user add` allows, and nothing beside it.
#[test]
fn a_user_reaches_what_it_was_given() {
    let server = Server::start();
    let (photos, other) = (server.bucket("photos"), server.bucket("other"));
    let dir = server.dir.path();
    server.put(&format!("/{photos}/nas1/old")).body("old").send().expect(200);
    server.put(&format!("/{photos}/nas2/old")).body("old").send().expect(200);
    let line = ["user", "add", "backup", "--bucket", &photos, "--prefix", "nas1/", "--allow"];
    let key = Key::printed(&ok(dir, &[&line[..], &["read,write"]].concat()));
    let ask = |method: &str, bucket: &str, rest: &str| {
        let body = if rest.starts_with('/') { "new" } else { "" };
        key.signs(server.request(method, &format!("/{bucket}{rest}")).body(body)).send()
    };
    let allowed = |method, rest: &str, status| ask(method, &photos, rest).expect(status);
    allowed("PUT", "/nas1/new", 200);
    assert_eq!(allowed("GET", "/nas1/old", 200).body, b"old");
    let listed = allowed("GET", "?list-type=2&prefix=nas1/", 200);
    assert_eq!(listed.all("Key"), ["nas1/new", "nas1/old"]);
    allowed("GET", "?list-type=2&prefix=nas1/o", 200);
    allowed("GET", "?location", 200);
    allowed("POST", "/nas1/big?uploads", 200);
    allowed("GET", "?uploads&prefix=nas1/", 200);
    allowed("DELETE", "/nas1/new", 204);
    allowed("GET", "/nas1/new", 404);
    let denied = |method: &str, bucket: &str, rest: &str| {
        ask(method, bucket, rest).expect_error(403, "AccessDenied");
    };
    for (method, rest) in [
        ("PUT", "/nas2/new"),
        ("GET", "/nas2/old"),
        ("DELETE", "/nas2/old"),
        ("GET", "/nas1"),
        ("GET", ""),
        ("GET", "?list-type=2&prefix=nas"),
        ("GET", "?list-type=2&prefix=nas2/"),
        ("GET", "?uploads"),
        ("GET", "?policy"),
        ("GET", "?acl"),
        ("PUT", "?versioning"),
        ("DELETE", ""),
        ("DELETE", "/nas1/old?versionId=null"),
    ] {
        denied(method, &photos, rest);
    }
    denied("PUT", &other, "/nas1/new");
    denied("GET", &other, "?list-type=2&prefix=nas1/");
    denied("PUT", "backup-makes-none", "");
    // A URL that it has signed lasts as long as its right does.
    let url = || key.signs(server.get(&format!("/{photos}/nas1/old"))).presigned(600).send();
    url().expect(200);
    ok(dir, &["user", "set", "backup", "--bucket", &photos, "--prefix", "nas2/", "--allow", "put"]);
    url().expect_error(403, "AccessDenied");
    allowed("PUT", "/nas2/new", 200);
    denied("GET", &photos, "/nas2/new");
    denied("DELETE", &photos, "/nas2/new");
    ok(dir, &["user", "set", "backup", "--no-policy"]);
    denied("PUT", &photos, "/nas2/new");
    ok(
        dir,
        &["user", "set", "backup", "--bucket", &photos, "--prefix", "nas1/", "--allow", "read"],
    );
    url().expect(200);
    ok(dir, &["user", "disable", "backup"]);
    url().expect_error(403, "InvalidAccessKeyId");
}

/// One that may make buckets owns what it makes, and sees nobody else's.
#[test]
fn a_user_with_buckets_of_its_own() {
    let server = Server::start();
    let roots = server.bucket("of-root");
    let (alice, bob) = (add(server.dir.path(), "alice"), add(server.dir.path(), "bob"));
    let as_ = |key: &Key, method: &str, target: &str| {
        let body = if target.ends_with('k') { "x" } else { "" };
        key.signs(server.request(method, target).body(body)).send()
    };
    as_(&alice, "PUT", "/of-alice").expect(200);
    as_(&alice, "PUT", "/of-alice/k").expect(200);
    let listed = as_(&alice, "GET", "/").expect(200);
    assert_eq!(listed.all("Name"), ["of-alice"]);
    let id = line(&ok(server.dir.path(), &["user", "list"]), "alice")[5].to_owned();
    assert_eq!(listed.text("ID"), id);
    assert_eq!(listed.text("DisplayName"), "alice");
    for target in ["/of-alice", "/of-alice/k", &format!("/{roots}"), &format!("/{roots}/k")] {
        as_(&bob, "GET", target).expect_error(403, "AccessDenied");
        as_(&bob, "DELETE", target).expect_error(403, "AccessDenied");
    }
    as_(&bob, "PUT", "/of-alice/k").expect_error(403, "AccessDenied");
    server.get("/of-alice/k").send().expect(200);
    assert_eq!(line(&ok(server.dir.path(), &["bucket", "list"]), "of-alice")[6], id);
}

/// Whether the bytes of a text are in a file of metadata.db.
fn is_stored(dir: &Path, needle: &str) -> bool {
    ["metadata.db", "metadata.db-wal"].iter().any(|name| {
        let bytes = std::fs::read(dir.join(name)).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
    })
}

#[test]
fn secrets_are_sealed_with_the_root_secret() {
    let mut server = Server::start();
    let key = add(server.dir.path(), "alice");
    assert!(is_stored(server.dir.path(), &key.id) && !is_stored(server.dir.path(), &key.secret));
    server.crash();
    key.works(&server);
    let dir = server.stop();
    assert!(is_stored(dir.path(), &key.id) && !is_stored(dir.path(), &key.secret));
    // Without a server the same commands work.
    let offline = add(dir.path(), "bob");

    let files = Dir::new();
    let new = "another/root+secret";
    let server = Server::on(Arc::clone(&dir), &[("JOG_SECRET_KEY", new)]);
    let path = dir.path();
    server.log_line("the warning", |line| line.contains(&key.id) && line.contains("alice"));
    for key in [&key, &offline] {
        key.is_refused(&server);
    }
    assert_eq!(line(&ok(path, &["key", "list"]), &key.id)[2], "broken:");
    assert!(ok(path, &["user", "show", "alice"]).contains("another root secret"));
    fails(path, &["key", "add", "alice"], 1, "reseal");
    let wrong = file(&files, "wrong", "no-such-secret\n");
    fails(path, &["key", "reseal", "--old-secret-file", &wrong], 1, &key.id);
    key.is_refused(&server);
    let old = file(&files, "old", &format!("{SECRET_KEY}\n"));
    let done = ok(path, &["key", "reseal", "--old-secret-file", &old]);
    assert!(done.contains("2 keys"), "{done}");
    for key in [&key, &offline] {
        key.works(&server);
    }
    assert!(ok(path, &["key", "reseal", "--old-secret-file", &old]).contains("0 keys"));
    fails(path, &["key", "reseal"], 2, "--old-secret-file");
    Key::printed(&ok(path, &["key", "add", "alice"])).works(&server);
    drop(server);
    let server = Server::on(Arc::clone(&dir), &[("JOG_SECRET_KEY", new)]);
    key.works(&server);

    // Root takes over the ID of a user's key: it is root's then.
    let vars = [("JOG_SECRET_KEY", new), ("JOG_ACCESS_KEY", key.id.as_str())];
    drop(server);
    let server = Server::on(Arc::clone(&dir), &vars);
    key.try_on(&server).expect_error(403, "SignatureDoesNotMatch");
    Key::of(&key.id, new).works(&server);
    offline.works(&server);
}

/// Every user that was acknowledged is there, and no user is there by half.
fn check_users(server: &Server, acknowledged: &[(String, Key)]) {
    let listed = ok(server.dir.path(), &["user", "list"]);
    for (name, key) in acknowledged {
        assert_eq!(line(&listed, name)[1..4], ["active", "1", "yes"], "{listed}");
        key.works(server);
    }
    for user in listed.lines().skip(1) {
        assert_eq!(user.split_whitespace().nth(2), Some("1"), "{user}");
    }
}

#[test]
fn kill_9_leaves_whole_users() {
    let mut server = Server::with(&[("JOG_DURABILITY", "full")]);
    let mut acknowledged = Vec::new();
    for round in 0..6u64 {
        let dir = server.dir.path().to_owned();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let adds = std::thread::spawn(move || {
            let mut added = Vec::new();
            for number in 0..1000 {
                let name = format!("user-{round}-{number}");
                let output = on(&dir, &["user", "add", &name, ALLOW[0], ALLOW[1]]);
                match output.status.success() {
                    true => {
                        added.push((name, Key::printed(&text(&output.stdout))));
                        let _ = tell.send(());
                    }
                    // Killed: by itself the next command would open the store.
                    false => break,
                }
                if stopped.try_recv().is_ok() {
                    break;
                }
            }
            added
        });
        if round > 0 {
            told.recv_timeout(Duration::from_secs(20)).expect("a user is made");
        }
        std::thread::sleep(Duration::from_millis(17 * round));
        server.kill();
        let _ = stop.send(());
        acknowledged.extend(adds.join().expect("it does not panic"));
        server.crash();
        check_users(&server, &acknowledged);
    }
    assert!(acknowledged.len() >= 5, "only {} users were made", acknowledged.len());

    // The same for a command that works by itself.
    let dir = server.stop();
    let path = dir.path().to_str().expect("a path of ours is UTF-8").to_owned();
    let vars = [
        ("JOG_DATA_DIR", path.as_str()),
        ("JOG_ACCESS_KEY", ACCESS_KEY),
        ("JOG_SECRET_KEY", SECRET_KEY),
    ];
    for round in 0..10 {
        let name = format!("alone-{round}");
        let args = ["user", "add", &name, ALLOW[0], ALLOW[1]];
        let mut child = jog(&args, &vars).spawn().expect("jog can be started");
        std::thread::sleep(Duration::from_millis(5 + 60 * round));
        let _ = child.kill();
        let output = child.wait_with_output().expect("it has ended");
        if output.status.success() {
            acknowledged.push((name, Key::printed(&text(&output.stdout))));
        }
    }
    check_users(&Server::on(dir, &[("JOG_DURABILITY", "full")]), &acknowledged);
}
