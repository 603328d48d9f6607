//! Principals: whom a statement of a bucket's policy is about.

use super::{Malformed, malformed};
use serde_json::Value;

/// Who asks, as policies see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who<'a> {
    /// Nobody has signed.
    Anonymous,
    /// A user; root has its canonical ID and no name that a policy could name.
    User {
        /// Its name; `None` for root.
        name: Option<&'a str>,
        /// Its canonical ID.
        id: &'a str,
    },
    /// A service of JOG's own, such as `logging.s3.amazonaws.com`.
    Service(&'a str),
}

/// Whom a statement names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// `*`: users and those who have not signed.
    Everybody,
    /// `arn:aws:iam::ACCOUNT:user/NAME`, or an ID of a user's own.
    User(String),
    /// A canonical ID: the account that a user is.
    Account(String),
    /// `arn:aws:iam:::root`, and that of an account of twelve digits: root.
    Root,
    /// A service.
    Service(String),
}

impl Principal {
    /// Whether that is who asks.
    pub(super) fn is(&self, who: &Who<'_>) -> bool {
        match (self, who) {
            (Self::Everybody, Who::Anonymous | Who::User { .. }) => true,
            (Self::User(name), Who::User { name: Some(asks), .. }) => name == asks,
            (Self::Account(id), Who::User { id: asks, .. }) => id == asks,
            (Self::Root, Who::User { name: None, .. }) => true,
            (Self::Service(name), Who::Service(asks)) => name == asks,
            _ => false,
        }
    }

    /// The user that it names by its name.
    pub(super) fn user_name(&self) -> Option<&str> {
        match self {
            Self::User(name) => Some(name),
            _ => None,
        }
    }

    /// A value of `AWS`: `*`, an ARN, or the ID of an account.
    fn aws(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everybody);
        }
        let Some(rest) = text.strip_prefix("arn:aws:iam::") else {
            return is_account(text).then(|| Self::account(text));
        };
        let (account, who) = rest.split_once(':')?;
        if !(account.is_empty() || is_account(account)) {
            return None;
        }
        match who.strip_prefix("user/") {
            // Users have one host, so the account says nothing; a path before the name does not
            // exist here.
            Some(name) if is_name(name) => Some(Self::User(name.to_owned())),
            None if who == "root" => Some(Self::account(account)),
            _ => None,
        }
    }

    fn account(id: &str) -> Self {
        match id.bytes().all(|b| b.is_ascii_digit()) && id.len() != 64 {
            true => Self::Root,
            false => Self::Account(id.to_owned()),
        }
    }
}

fn is_account(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['*', '?', '/']) && !text.contains(char::is_control)
}

/// The value of Principal or NotPrincipal.
pub(super) fn parse(json: &Value) -> Result<Vec<Principal>, Malformed> {
    let invalid = || malformed("Invalid principal in policy");
    let kinds = match json {
        Value::String(text) if text == "*" => return Ok(vec![Principal::Everybody]),
        Value::Object(kinds) if !kinds.is_empty() => kinds,
        _ => return Err(invalid()),
    };
    let mut principals = Vec::new();
    for (kind, values) in kinds {
        let values = match values {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let text = value.as_str().ok_or_else(invalid)?;
            principals.push(match kind.as_str() {
                "AWS" => Principal::aws(text).ok_or_else(invalid)?,
                "CanonicalUser" if is_account(text) => Principal::Account(text.to_owned()),
                "Service" if is_name(text) => Principal::Service(text.to_owned()),
                _ => return Err(invalid()),
            });
        }
    }
    if principals.is_empty() { Err(invalid()) } else { Ok(principals) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn principals() {
        let user = Who::User { name: Some("ann"), id: "a1" };
        let root = Who::User { name: None, id: "r00t" };
        let service = Who::Service("logging.s3.amazonaws.com");
        let all = [Who::Anonymous, user, root, service];
        for (json, is) in [
            (json!("*"), [true, true, true, false]),
            (json!({"AWS": "*"}), [true, true, true, false]),
            (json!({"AWS": ["arn:aws:iam:::user/ann"]}), [false, true, false, false]),
            (json!({"AWS": "arn:aws:iam::123456789012:user/ann"}), [false, true, false, false]),
            (json!({"AWS": "arn:aws:iam:::user/bob"}), [false; 4]),
            (json!({"AWS": "arn:aws:iam::a1:root"}), [false, true, false, false]),
            (json!({"AWS": "a1", "Service": "x"}), [false, true, false, false]),
            (json!({"AWS": "arn:aws:iam:::root"}), [false, false, true, false]),
            (json!({"AWS": "123456789012"}), [false, false, true, false]),
            (json!({"CanonicalUser": "r00t"}), [false, false, true, false]),
            (json!({"Service": "logging.s3.amazonaws.com"}), [false, false, false, true]),
        ] {
            let parsed = parse(&json).unwrap();
            let found = all.map(|who| parsed.iter().any(|p| p.is(&who)));
            assert_eq!(found, is, "{json}");
        }
        for bad in [
            json!("ann"),
            json!([]),
            json!({}),
            json!({"AWS": []}),
            json!({"AWS": "arn:aws:iam:::user/*"}),
            json!({"AWS": "arn:aws:iam:::user/"}),
            json!({"AWS": "arn:aws:iam:::user/a/b"}),
            json!({"AWS": "arn:aws:iam:::group/a"}),
            json!({"AWS": "arn:aws:sts:::user/a"}),
            json!({"AWS": 1}),
            json!({"Federated": "x"}),
            json!({"CanonicalUser": "*"}),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}
