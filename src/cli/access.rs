//! `jog access explain`: what the access gate says of a request, and why.

use super::admin::{Arguments, Command, Context, Failure, Out};
use crate::access::policy::is_action;
use crate::access::users::Users;
use crate::access::{Ask, Gate, NoFacts, Requester};
use crate::types::{BucketName, ObjectKey};
use std::sync::Arc;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[Command {
    name: "access explain",
    usage: "USER|root|anonymous ACTION [BUCKET[/KEY]]",
    help: "say whether a request would be allowed, and what decides: a plain one of this host, \
           without headers",
    options: &[],
    run: explain,
}];

/// `bucket`, `bucket/key` or nothing, with or without `arn:aws:s3:::` before it.
fn resource(text: &str) -> Result<(Option<BucketName>, Option<ObjectKey>), Failure> {
    let rest = text.strip_prefix("arn:aws:s3:::").unwrap_or(text);
    if rest.is_empty() || rest == "*" {
        return Ok((None, None));
    }
    let (bucket, key) = match rest.split_once('/') {
        Some((bucket, key)) => (bucket, Some(key)),
        None => (rest, None),
    };
    let invalid = || Failure::failed(format!("{text} names no bucket and no object"));
    let bucket = BucketName::parse(bucket).ok_or_else(invalid)?;
    let key = key.map(ObjectKey::parse).transpose().map_err(|_| invalid())?;
    Ok((Some(bucket), key))
}

fn explain(context: &Context<'_>, args: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let usage = |all: &[String]| {
        Failure::Usage(format!("expected a user, an action and a resource, not {}", all.len()))
    };
    let (who, action, of) = match args.positional.as_slice() {
        [who, action] => (who, action, ""),
        [who, action, of] => (who, action, of.as_str()),
        all => return Err(usage(all)),
    };
    let requester = match who.as_str() {
        "root" => Requester::Root,
        "anonymous" => Requester::Anonymous,
        name => {
            let user: Option<Arc<_>> = context.users.by_name(name);
            let missing = || Failure::failed(format!("there is no user {name}"));
            Requester::User(user.ok_or_else(missing)?)
        }
    };
    let action = if action.contains(':') { action.clone() } else { format!("s3:{action}") };
    if !is_action(&action) {
        return Err(Failure::failed(format!("{action} is not an action of S3")));
    }
    let (bucket, key) = resource(of)?;
    if let Some(name) = &bucket
        && action != "s3:CreateBucket"
        && context.store.bucket(name)?.is_none()
    {
        return Err(Failure::failed(format!("there is no bucket {name}")));
    }
    let gate = Gate::new(Arc::clone(context.store), context.users);
    let (bucket, key) = (bucket.as_ref(), key.as_ref());
    let ask = Ask { action: &action, bucket, key, version: None, facts: &NoFacts };
    let verdict = gate.verdict(&requester, &ask)?;
    out.line(format!("{}: {}", if verdict.allowed { "allowed" } else { "denied" }, verdict.why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources() {
        let of = |text: &str| {
            let (bucket, key) = resource(text).ok()?;
            Some((bucket.map(|b| b.to_string()), key.map(|k| k.as_str().to_owned())))
        };
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(of(""), Some((None, None)));
        assert_eq!(of("arn:aws:s3:::photos"), Some((name("photos"), None)));
        assert_eq!(of("photos/a/b"), Some((name("photos"), name("a/b"))));
        assert_eq!((of("photos/"), of("A/b")), (None, None));
    }
}
