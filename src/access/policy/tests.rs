//! Policies as wholes: which documents are taken, and what they decide.

use super::*;
use serde_json::json;
use std::borrow::Cow;

/// A request's values, by the names of their keys.
#[derive(Clone, Default)]
struct Has(Vec<(&'static str, &'static str)>);

impl Context for Has {
    fn values(&self, key: &Key) -> Option<Vec<Cow<'_, str>>> {
        let found = self.0.iter().find(|(name, _)| Key::parse(name).as_ref() == Some(key));
        found.map(|(_, value)| vec![Cow::Borrowed(*value)])
    }
}

const ANN: Who<'static> = Who::User { name: Some("ann"), id: "a1" };

fn bucket(statements: Value) -> Result<Policy, Malformed> {
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    Policy::bucket(&document, "b")
}

/// `allow`, `deny` or `nothing`.
fn asks(policy: &Policy, who: Who<'_>, action: &str, resource: &str, has: &Has) -> &'static str {
    match decide([policy], &Request { who, action, resource, context: has }) {
        Decision::Allow(_) => "allow",
        Decision::Deny(_) => "deny",
        Decision::Nothing => "nothing",
    }
}

#[test]
fn decisions() {
    let open = json!({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"});
    let for_ann = json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam:::user/ann"}, "Action": ["s3:Get*", "s3:ListBucket"], "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]});
    let own_folder = json!({"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/home/${aws:username}/*"});
    let only_https = json!({"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}});
    let all_but_ann = json!({"Effect": "Deny", "NotPrincipal": {"AWS": "a1"}, "NotAction": "s3:ListBucket", "NotResource": "arn:aws:s3:::b/public/*"});
    let both = json!({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*", "Condition": {"StringEquals": {"aws:Referer": "x"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}});
    let ann = ("aws:username", "ann");
    let plain = ("aws:SecureTransport", "false");
    let tls = ("aws:SecureTransport", "true");
    let (x, ten) = (("aws:Referer", "x"), ("aws:SourceIp", "10.1.1.1"));
    // statements, who, action, resource, what the request has, decision
    let table: Vec<(Value, Who<'_>, &str, &str, Vec<_>, &str)> = vec![
        (open.clone(), Who::Anonymous, "s3:GetObject", "b/k", vec![], "allow"),
        (open.clone(), Who::Service("x"), "s3:GetObject", "b/k", vec![], "nothing"),
        (open.clone(), Who::Anonymous, "s3:GetObject", "b", vec![], "nothing"),
        (open.clone(), Who::Anonymous, "s3:GetObjectVersion", "b/k", vec![], "nothing"),
        (open.clone(), Who::Anonymous, "s3:PutObject", "b/k", vec![], "nothing"),
        (open.clone(), Who::Anonymous, "s3:GetObject", "c/k", vec![], "nothing"),
        (for_ann.clone(), ANN, "s3:GetObjectTagging", "b/k", vec![], "allow"),
        (for_ann.clone(), ANN, "s3:ListBucket", "b", vec![], "allow"),
        (for_ann.clone(), Who::Anonymous, "s3:GetObject", "b/k", vec![], "nothing"),
        (own_folder.clone(), ANN, "s3:PutObject", "b/home/ann/k", vec![ann], "allow"),
        (own_folder.clone(), ANN, "s3:PutObject", "b/home/bob/k", vec![ann], "nothing"),
        (own_folder.clone(), Who::Anonymous, "s3:PutObject", "b/home//k", vec![], "nothing"),
        (json!([for_ann, only_https]), ANN, "s3:GetObject", "b/k", vec![plain], "deny"),
        (json!([only_https, for_ann]), ANN, "s3:GetObject", "b/k", vec![plain], "deny"),
        (json!([for_ann, only_https]), ANN, "s3:GetObject", "b/k", vec![tls], "allow"),
        (all_but_ann.clone(), ANN, "s3:GetObject", "b/k", vec![], "nothing"),
        (all_but_ann.clone(), Who::Anonymous, "s3:GetObject", "b/k", vec![], "deny"),
        (all_but_ann.clone(), Who::Anonymous, "s3:ListBucket", "b", vec![], "nothing"),
        (all_but_ann.clone(), Who::Anonymous, "s3:GetObject", "b/public/k", vec![], "nothing"),
        (both.clone(), ANN, "s3:GetObject", "b/k", vec![x, ten], "allow"),
        (both.clone(), ANN, "s3:GetObject", "b/k", vec![x], "nothing"),
        (both.clone(), ANN, "s3:GetObject", "b/k", vec![ten], "nothing"),
    ];
    for (statements, who, action, resource, has, expected) in table {
        let policy = bucket(statements.clone()).unwrap();
        let found = asks(&policy, who, action, resource, &Has(has.clone()));
        assert_eq!(found, expected, "{statements} {who:?} {action} {resource} {has:?}");
    }
}

#[test]
fn the_deciding_statement_is_named() {
    let policy = bucket(json!([
        {"Sid": "one", "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"},
        {"Sid": "two", "Effect": "Deny", "Principal": "*", "Action": "s3:Put*", "Resource": "*"},
    ]))
    .unwrap();
    let has = Has::default();
    let request = |action| Request { who: ANN, action, resource: "b/k", context: &has };
    let Decision::Allow(one) = decide([&policy], &request("s3:GetObject")) else { panic!() };
    assert_eq!((one.sid.as_deref(), one.index), (Some("one"), 0));
    let Decision::Deny(two) = decide([&policy], &request("s3:PutObject")) else { panic!() };
    assert_eq!((two.sid.as_deref(), two.index), (Some("two"), 1));
}

#[test]
fn version_2008_has_no_variables() {
    let document = json!({"Version": "2008-10-17", "Statement": {"Effect": "Allow", "Principal": "*",
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/${aws:username}"}});
    let policy = Policy::bucket(&document.to_string(), "b").unwrap();
    let has = Has(vec![("aws:username", "ann")]);
    assert_eq!(asks(&policy, ANN, "s3:GetObject", "b/ann", &has), "nothing");
    assert_eq!(asks(&policy, ANN, "s3:GetObject", "b/${aws:username}", &has), "allow");
}

#[test]
fn malformed_policies() {
    let good = json!({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"});
    assert!(bucket(good.clone()).is_ok());
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        match value {
            Value::Null => changed.as_object_mut().unwrap().remove(key),
            value => changed.as_object_mut().unwrap().insert(key.to_owned(), value),
        };
        changed
    };
    for bad in [
        json!([]),
        json!("x"),
        json!([1]),
        with("Effect", json!("allow")),
        with("Effect", Value::Null),
        with("Action", Value::Null),
        with("Action", json!([])),
        with("Action", json!(["s3:GetObject", 1])),
        with("Action", json!("s3:GetObjet")),
        with("NotAction", json!("s3:GetObject")),
        with("Principal", Value::Null),
        with("NotPrincipal", json!("*")),
        with("Resource", json!("arn:aws:s3:::c/*")),
        with("Resource", json!("b/*")),
        with("Resource", json!("arn:aws:s3:::")),
        with("Resource", json!("arn:aws:s3:::b/${aws:nobody}")),
        with("NotResource", json!("*")),
        with("Sid", json!(1)),
        with("Conditions", json!({})),
        with("Condition", json!([])),
        with("Condition", json!({"StringEquals": "x"})),
        with("Condition", json!({"StringEquals": {"aws:Unknown": "x"}})),
        with("Condition", json!({"StringAlmostEquals": {"aws:Referer": "x"}})),
    ] {
        assert!(bucket(bad.clone()).is_err(), "{bad}");
    }
    let mut not = with("Principal", Value::Null);
    not.as_object_mut().unwrap().insert("NotPrincipal".to_owned(), json!("*"));
    assert!(bucket(not).is_err(), "an allow with NotPrincipal");
    for bad in [
        "",
        "[]",
        "{",
        r#"{"Version":"2012-10-17"}"#,
        r#"{"Version":"2013-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}"#,
        r#"{"Statement":{"Effect":"Deny","Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}"#,
        r#"{"Version":"2012-10-17","More":1,"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}"#,
    ] {
        assert!(Policy::bucket(bad, "b").is_err(), "{bad}");
    }
    let deep = "[".repeat(10_000);
    assert!(Policy::bucket(&deep, "b").is_err());
    let large = format!("{{\"Id\":\"{}\"}}", "x".repeat(MAX_POLICY_BYTES));
    assert_eq!(Policy::bucket(&large, "b"), Err(malformed("Policy is too large")));
}

#[test]
fn policies_of_users_have_no_principal_and_need_a_resource() {
    let parse = |statement: Value| Policy::identity(&json!({"Statement": statement}).to_string());
    let policy =
        parse(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::c*"})).unwrap();
    let has = Has::default();
    assert_eq!(asks(&policy, ANN, "s3:GetObject", "c1/k", &has), "allow");
    assert_eq!(asks(&policy, ANN, "s3:GetObject", "d/k", &has), "nothing");
    assert!(!policy.is_public());
    assert!(parse(json!({"Effect": "Allow", "Action": "s3:*"})).is_err());
    assert!(
        parse(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": "*"}))
            .is_err()
    );
}

#[test]
fn what_is_public() {
    let public = |effect: &str, principal: Value, condition: Value| {
        let mut statement = json!({"Effect": effect, "Principal": principal, "Action": "s3:GetObject", "Resource": "*"});
        if !condition.is_null() {
            statement["Condition"] = condition;
        }
        bucket(statement).unwrap().is_public()
    };
    assert!(public("Allow", json!("*"), Value::Null));
    assert!(public("Allow", json!({"AWS": ["a1", "*"]}), Value::Null));
    assert!(!public("Deny", json!("*"), Value::Null));
    assert!(!public("Allow", json!({"AWS": "a1"}), Value::Null));
    let from = |ip: &str| json!({"IpAddress": {"aws:SourceIp": ip}});
    assert!(!public("Allow", json!("*"), from("10.0.0.0/8")));
    assert!(public("Allow", json!("*"), from("0.0.0.0/1")));
    assert!(public("Allow", json!("*"), from("::/0")));
    assert!(public("Allow", json!("*"), json!({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}})));
    assert!(public(
        "Allow",
        json!("*"),
        json!({"IpAddressIfExists": {"aws:SourceIp": "10.0.0.1"}})
    ));
    assert!(public("Allow", json!("*"), json!({"StringLike": {"aws:Referer": "http://a/*"}})));
    assert!(!public("Allow", json!("*"), json!({"StringEquals": {"aws:username": "ann"}})));
    assert!(public("Allow", json!("*"), json!({"StringLike": {"aws:username": "*"}})));
}

/// Xorshift: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// Random policies of few words against a second evaluator that is as plain as can be: nothing is
/// allowed without an allow that matches, and nothing that a deny matches.
#[test]
fn nothing_passes_without_an_allow() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let actions = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"];
    let keys = ["b/x", "b/y", "b"];
    let users = [("ann", "a1"), ("bob", "b2")];
    let (mut allowed, mut denied) = (0, 0);
    for _ in 0..20_000 {
        let mut plain = Vec::new();
        let statements: Vec<Value> = (0..1 + numbers.below(4))
            .map(|_| {
                let effect = numbers.one(&["Allow", "Deny", "Allow"]);
                let action = numbers.one(&actions);
                let resource = numbers.one(&keys);
                let user = numbers.one(&users);
                let referer = numbers.one(&[None, Some("r"), Some("s")]);
                plain.push((effect, action, resource, user, referer));
                let mut statement = json!({"Effect": effect, "Action": action,
                    "Principal": {"AWS": format!("arn:aws:iam:::user/{}", user.0)},
                    "Resource": format!("arn:aws:s3:::{resource}")});
                if let Some(referer) = referer {
                    statement["Condition"] = json!({"StringEquals": {"aws:Referer": referer}});
                }
                statement
            })
            .collect();
        let policy = bucket(json!(statements)).unwrap();
        let (action, resource) = (numbers.one(&actions), numbers.one(&keys));
        let user = numbers.one(&users);
        let referer = numbers.one(&[None, Some("r")]);
        let is_about = |s: &&(&str, &str, &str, (&str, &str), Option<&str>)| {
            s.1 == action && s.2 == resource && s.3 == user && (s.4.is_none() || s.4 == referer)
        };
        let effects: Vec<&str> = plain.iter().filter(is_about).map(|s| s.0).collect();
        let expected = match (effects.contains(&"Deny"), effects.contains(&"Allow")) {
            (true, _) => "deny",
            (false, true) => "allow",
            (false, false) => "nothing",
        };
        let has = Has(referer.map(|value| ("aws:Referer", value)).into_iter().collect());
        let who = Who::User { name: Some(user.0), id: user.1 };
        assert_eq!(asks(&policy, who, action, resource, &has), expected, "{statements:?}");
        allowed += usize::from(expected == "allow");
        denied += usize::from(expected == "deny");
    }
    assert!(allowed > 400 && denied > 400, "{allowed} {denied}");
}

/// Cut and spoilt documents are refused or understood, and never more than that.
#[test]
fn spoilt_documents_do_no_harm() {
    let good =
        json!({"Version": "2012-10-17", "Id": "i", "Statement": [{"Sid": "s", "Effect": "Allow",
        "Principal": {"AWS": ["arn:aws:iam:::user/ann", "*"]}, "Action": ["s3:Get*"],
        "Resource": ["arn:aws:s3:::b/${aws:username, 'x'}/*"],
        "Condition": {"ForAllValues:StringLikeIfExists": {"s3:RequestObjectTagKeys": ["a*", "b"]},
            "IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::1"]}}}]})
        .to_string();
    assert!(Policy::bucket(&good, "b").is_ok());
    let mut numbers = Numbers(7);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..1 + numbers.below(3) {
            let at = numbers.below(bytes.len());
            match numbers.below(3) {
                0 => bytes[at] = numbers.one(b"{}[]\":,*?$ax0\\/\xff"),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, numbers.one(b"{}[]\":,*?$ax0\\/")),
            }
        }
        let Ok(text) = String::from_utf8(bytes) else { continue };
        match Policy::bucket(&text, "b") {
            Ok(policy) => {
                let _ = asks(&policy, ANN, "s3:GetObject", "b/x/k", &Has::default());
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 10_000, "{refused}");
}
