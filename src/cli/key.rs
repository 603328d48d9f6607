//! `jog key`: access keys of users.

use super::admin::{Arguments, Command, Context, Failure, Opt, Out};
use super::user::{find, name_of, refused, shown, state};
use crate::access::registry::NOT_UNSEALED;
use crate::access::seal;
use crate::access::users::Users;
use crate::store::{NewKey, UserChange, UserRow};
use crate::types::{AccessKeyId, time};
use std::collections::HashMap;

const IMPORT: [Opt; 2] = [Opt::Value("--access-key"), Opt::File("--secret-file")];

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "key add",
        usage: "USER [--access-key ID --secret-file FILE]",
        help: "give a user a further key, a new one or one that it has elsewhere",
        options: &IMPORT,
        run: add,
    },
    Command {
        name: "key list",
        usage: "[USER]",
        help: "access keys, their users, and whether they work",
        options: &[],
        run: list,
    },
    Command {
        name: "key rotate",
        usage: "ID [--keep] [--access-key ID --secret-file FILE]",
        help: "replace a key by a new one of the same user; --keep: the old one works on",
        options: &[Opt::Switch("--keep"), IMPORT[0], IMPORT[1]],
        run: rotate,
    },
    Command {
        name: "key disable",
        usage: "ID",
        help: "refuse requests with a key",
        options: &[],
        run: |context, arguments, _| enable(context, arguments, false),
    },
    Command {
        name: "key enable",
        usage: "ID",
        help: "take requests with a key again",
        options: &[],
        run: |context, arguments, _| enable(context, arguments, true),
    },
    Command { name: "key remove", usage: "ID", help: "remove a key", options: &[], run: remove },
    Command {
        name: "key reseal",
        usage: "--old-secret-file FILE",
        help: "after a change of JOG_SECRET_KEY: make the keys of users work again",
        options: &[Opt::File("--old-secret-file")],
        run: reseal,
    },
];

/// The ID of a key in arguments.
fn id_of(text: &str) -> Result<AccessKeyId, Failure> {
    AccessKeyId::parse(text).ok_or_else(|| {
        Failure::Usage(format!(
            "{text}: expected an access key of 3 to 128 letters and digits, none of / , = :"
        ))
    })
}

/// A key that is to be stored, and what the user is to be told of it.
pub struct Made {
    /// For the store.
    pub key: NewKey,
    /// The secret, unless the user has given it.
    secret: Option<String>,
}

impl Made {
    /// Prints the key: for the only time, if its secret is new.
    pub fn print(&self, out: &mut Out<'_>) -> Result<(), Failure> {
        out.line(format!("access key  {}", self.key.access_key))?;
        match &self.secret {
            Some(secret) => {
                out.line(format!("secret key  {secret}"))?;
                out.complain("The secret key is not shown again.")
            }
            None => Ok(()),
        }
    }
}

/// A new key, or the one that the options give.
pub fn make(context: &Context<'_>, arguments: &Arguments, user_id: &str) -> Result<Made, Failure> {
    let given = (arguments.get("--access-key"), arguments.get("--secret-file"));
    let no_random = |error: std::io::Error| Failure::Failed(format!("no random bytes: {error}"));
    let (id, secret, is_new) = match given {
        (Some(id), Some(secret)) => (id.to_owned(), valid_secret(secret)?, false),
        (None, None) => {
            let id = seal::new_access_key().map_err(no_random)?;
            (id, seal::new_secret().map_err(no_random)?, true)
        }
        _ => {
            let text = "--access-key and --secret-file are given together or not at all";
            return Err(Failure::Usage(text.to_owned()));
        }
    };
    let access_key = id_of(&id)?;
    if context.users.is_root(&id) {
        return Err(Failure::Failed(format!("{id} is the access key of root")));
    }
    if let Some(broken) = context.users.broken().iter().find(|key| key.reason == NOT_UNSEALED) {
        let text = format!(
            "the key {} does not work: {NOT_UNSEALED}; run `jog key reseal` with that secret, or \
             remove the key",
            broken.access_key
        );
        return Err(Failure::Failed(text));
    }
    let key = context.users.seal(access_key, &secret, user_id)?.map_err(no_random)?;
    Ok(Made { key, secret: is_new.then_some(secret) })
}

/// What stands in a file with a secret.
fn valid_secret(text: &str) -> Result<String, Failure> {
    let secret = text.trim();
    let length = secret.chars().count();
    if !(8..=128).contains(&length) || secret.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let text = "--secret-file: expected 8 to 128 characters without white space";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(secret.to_owned())
}

fn add(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let [name] = arguments.exactly()?;
    let user = find(context, &name_of(name)?)?;
    let made = make(context, arguments, &user.canonical)?;
    let added = context.users.change(UserChange::AddKey(user.name, made.key.clone()))?;
    added.map_err(|why| refused(why, name, Some(made.key.access_key.as_str())))?;
    made.print(out)
}

fn list(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let only = match arguments.positional.as_slice() {
        [] => None,
        [name] => Some(find(context, &name_of(name)?)?.id),
        _ => return Err(Failure::Usage("expected at most one user".to_owned())),
    };
    let identities = context.users.identities()?;
    let users: HashMap<i64, &UserRow> = identities.users.iter().map(|u| (u.id, u)).collect();
    let broken = context.users.broken();
    let mut rows = vec![["KEY", "USER", "STATE", "CREATED"].map(str::to_owned).to_vec()];
    for key in identities.keys.iter().filter(|key| only.is_none_or(|user| user == key.user)) {
        let Some(user) = users.get(&key.user) else { continue };
        let why = broken.iter().find(|broken| broken.access_key == key.access_key);
        let state = match why {
            Some(broken) => format!("broken: {}", broken.reason),
            None if !user.enabled => "disabled with its user".to_owned(),
            None => state(key.enabled).to_owned(),
        };
        let created = time::iso(key.created_ms);
        rows.push(vec![key.access_key.to_string(), user.name.to_string(), state, created]);
    }
    out.table(&rows)
}

fn rotate(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let [id] = arguments.exactly()?;
    let old = id_of(id)?;
    let identities = context.users.identities()?;
    let key = identities.keys.iter().find(|key| key.access_key == old);
    let user = key.and_then(|key| identities.users.iter().find(|user| user.id == key.user));
    let user = user.ok_or_else(|| Failure::Failed(format!("{id}: no such key")))?;
    let made = make(context, arguments, &user.canonical)?;
    let keep = arguments.get("--keep").is_some();
    let change = UserChange::RotateKey { old, new: made.key.clone(), keep };
    let key = made.key.access_key.as_str();
    context.users.change(change)?.map_err(|why| refused(why, user.name.as_str(), Some(key)))?;
    made.print(out)
}

fn enable(context: &Context<'_>, arguments: &Arguments, enabled: bool) -> Result<(), Failure> {
    let [id] = arguments.exactly()?;
    let change = UserChange::EnableKey(id_of(id)?, enabled);
    context.users.change(change)?.map_err(|why| refused(why, "", Some(id)))
}

fn remove(context: &Context<'_>, arguments: &Arguments, _: &mut Out<'_>) -> Result<(), Failure> {
    let [id] = arguments.exactly()?;
    let change = UserChange::RemoveKey(id_of(id)?);
    context.users.change(change)?.map_err(|why| refused(why, "", Some(id)))
}

fn reseal(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let [] = arguments.exactly()?;
    let old = arguments.get("--old-secret-file");
    let old = old.ok_or_else(|| Failure::Usage("--old-secret-file is missing".to_owned()))?;
    let done = context.users.reseal(old.trim())?;
    let done = done.map_err(|error| Failure::Failed(format!("no random bytes: {error}")))?;
    out.line(format!("{} work again", shown(done.count, "key")))?;
    if done.lost.is_empty() {
        return Ok(());
    }
    let lost: Vec<String> = done.lost.iter().map(ToString::to_string).collect();
    Err(Failure::Failed(format!("neither secret opens: {}", lost.join(", "))))
}
