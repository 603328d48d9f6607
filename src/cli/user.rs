//! `jog user`: users beside root.

use super::admin::{Arguments, Command, Context, Failure, Opt, Out};
use super::grant;
use super::key::make;
use crate::access::policy::Policy;
use crate::access::seal;
use crate::store::{Bucket, ConfigKind, NewUser, UserChange, UserRefused, UserRow};
use crate::types::{UserName, time};

const NEW: [Opt; 8] = [
    grant::OPTIONS[0],
    grant::OPTIONS[1],
    grant::OPTIONS[2],
    grant::OPTIONS[3],
    Opt::Value("--email"),
    Opt::Value("--access-key"),
    Opt::File("--secret-file"),
    Opt::Switch("--no-key"),
];

const CHANGED: [Opt; 6] = [
    grant::OPTIONS[0],
    grant::OPTIONS[1],
    grant::OPTIONS[2],
    grant::OPTIONS[3],
    Opt::Value("--email"),
    Opt::Switch("--no-policy"),
];

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "user add",
        usage: "NAME [--policy FILE | --allow WORD,... [--bucket NAME]... [--prefix PREFIX]]\n      \
                [--email ADDRESS] [--access-key ID --secret-file FILE | --no-key]",
        help: "make a user and its first key; words: list, read, put, write (put and delete), \
               delete-versions, create (buckets of its own)",
        options: &NEW,
        run: add,
    },
    Command {
        name: "user list",
        usage: "",
        help: "users, their keys, and whether they may do anything",
        options: &[],
        run: list,
    },
    Command {
        name: "user show",
        usage: "NAME",
        help: "a user, its keys and its policy",
        options: &[],
        run: show,
    },
    Command {
        name: "user set",
        usage: "NAME [--no-policy | --policy FILE | --allow ... as of user add] [--email ADDRESS]",
        help: "replace the policy or the email address of a user",
        options: &CHANGED,
        run: set,
    },
    Command {
        name: "user disable",
        usage: "NAME",
        help: "refuse requests with any key of a user",
        options: &[],
        run: |context, arguments, _| enable(context, arguments, false),
    },
    Command {
        name: "user enable",
        usage: "NAME",
        help: "take requests of a user again",
        options: &[],
        run: |context, arguments, _| enable(context, arguments, true),
    },
    Command {
        name: "user remove",
        usage: "NAME",
        help: "remove a user and its keys; what it owns stays",
        options: &[],
        run: remove,
    },
];

/// The name of a user in arguments.
pub fn name_of(text: &str) -> Result<UserName, Failure> {
    UserName::parse(text).ok_or_else(|| {
        let text = text.escape_default();
        Failure::Usage(format!(
            "{text}: expected a name of 1 to 64 letters, digits and + = , . @ _ -, not root"
        ))
    })
}

/// Whether something works, in a word.
pub fn state(enabled: bool) -> &'static str {
    if enabled { "active" } else { "disabled" }
}

/// A number of things.
pub fn shown(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Why a change was refused.
pub fn refused(why: UserRefused, user: &str, key: Option<&str>) -> Failure {
    let key = key.unwrap_or("the key");
    Failure::Failed(match why {
        UserRefused::NoSuchUser => format!("{user}: no such user"),
        UserRefused::UserExists => format!("{user}: there is a user of that name"),
        UserRefused::EmailExists => "another user has that email address".to_owned(),
        UserRefused::NoSuchKey => format!("{key}: no such key"),
        UserRefused::KeyExists => format!("{key}: there is a key of that ID"),
        UserRefused::TooManyUsers => "there are as many users as there may be".to_owned(),
        UserRefused::TooManyKeys => format!("{user} has as many keys as a user may have"),
    })
}

fn email(arguments: &Arguments) -> Result<Option<String>, Failure> {
    let Some(email) = arguments.get("--email") else { return Ok(None) };
    let valid = (3..=254).contains(&email.len())
        && email.bytes().all(|b| b.is_ascii_graphic())
        && email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    match valid {
        true => Ok(Some(email.to_owned())),
        false => Err(Failure::Usage(format!("--email {email}: expected an email address"))),
    }
}

fn add(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let [name] = arguments.exactly()?;
    let (name, policy, email) = (name_of(name)?, grant::policy(arguments)?, email(arguments)?);
    let canonical = seal::new_canonical_id();
    let canonical = canonical.map_err(|e| Failure::Failed(format!("no random bytes: {e}")))?;
    let made = match arguments.get("--no-key") {
        Some(_) if arguments.get("--access-key").is_some() => {
            return Err(Failure::Usage("--no-key and --access-key exclude each other".to_owned()));
        }
        Some(_) => None,
        None => Some(make(context, arguments, &canonical)?),
    };
    let new = NewUser { name: name.clone(), canonical: canonical.clone(), email, policy };
    let key = made.as_ref().map(|made| made.key.clone());
    let change = UserChange::AddUser(new, key.clone());
    let id = key.as_ref().map(|key| key.access_key.as_str());
    context.users.change(change)?.map_err(|why| refused(why, name.as_str(), id))?;
    out.line(format!("user        {name}"))?;
    out.line(format!("id          {canonical}"))?;
    made.map_or(Ok(()), |made| made.print(out))
}

fn list(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let [] = arguments.exactly()?;
    let identities = context.users.identities()?;
    let headings = ["USER", "STATE", "KEYS", "POLICY", "CREATED", "ID"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    for user in &identities.users {
        let keys = identities.keys.iter().filter(|key| key.user == user.id).count();
        rows.push(vec![
            user.name.to_string(),
            state(user.enabled).to_owned(),
            keys.to_string(),
            if user.policy.is_some() { "yes" } else { "none" }.to_owned(),
            time::iso(user.created_ms),
            user.canonical.clone(),
        ]);
    }
    out.table(&rows)
}

/// The user of a name.
pub fn find(context: &Context<'_>, name: &UserName) -> Result<UserRow, Failure> {
    let found = context.users.identities()?.users.into_iter().find(|user| user.name == *name);
    found.ok_or_else(|| refused(UserRefused::NoSuchUser, name.as_str(), None))
}

fn show(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let [name] = arguments.exactly()?;
    let user = find(context, &name_of(name)?)?;
    out.line(format!("user        {}", user.name))?;
    out.line(format!("id          {}", user.canonical))?;
    if let Some(email) = &user.email {
        out.line(format!("email       {email}"))?;
    }
    out.line(format!("state       {}", state(user.enabled)))?;
    out.line(format!("created     {}", time::iso(user.created_ms)))?;
    let broken = context.users.broken();
    for key in context.users.identities()?.keys.iter().filter(|key| key.user == user.id) {
        let why = broken.iter().find(|broken| broken.access_key == key.access_key);
        let state = match why {
            Some(broken) => format!("broken: {}", broken.reason),
            None => state(key.enabled).to_owned(),
        };
        out.line(format!("access key  {} {state}", key.access_key))?;
    }
    match &user.policy {
        Some(policy) => out.line(format!("policy\n{}", policy.trim_end())),
        None => out.line("policy      none"),
    }
}

fn set(context: &Context<'_>, arguments: &Arguments, _: &mut Out<'_>) -> Result<(), Failure> {
    let [name] = arguments.exactly()?;
    let (name, email) = (name_of(name)?, email(arguments)?);
    let policy = match (arguments.get("--no-policy"), grant::policy(arguments)?) {
        (Some(_), Some(_)) => {
            let text = "--no-policy excludes --policy and --allow";
            return Err(Failure::Usage(text.to_owned()));
        }
        (Some(_), None) => Some(None),
        (None, Some(policy)) => Some(Some(policy)),
        (None, None) => None,
    };
    if policy.is_none() && email.is_none() {
        return Err(Failure::Usage("nothing to change".to_owned()));
    }
    let change =
        |change| context.users.change(change)?.map_err(|why| refused(why, name.as_str(), None));
    if let Some(policy) = policy {
        change(UserChange::Policy(name.clone(), policy))?;
    }
    email.map_or(Ok(()), |email| change(UserChange::Email(name.clone(), Some(email))))
}

fn enable(context: &Context<'_>, arguments: &Arguments, enabled: bool) -> Result<(), Failure> {
    let [name] = arguments.exactly()?;
    let change = UserChange::EnableUser(name_of(name)?, enabled);
    context.users.change(change)?.map_err(|why| refused(why, name, None))
}

/// Buckets that are read at once.
const PAGE: usize = 1000;

fn remove(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let [name] = arguments.exactly()?;
    let user = find(context, &name_of(name)?)?;
    let change = UserChange::RemoveUser(user.name.clone());
    context.users.change(change)?.map_err(|why| refused(why, name, None))?;
    let (mut owned, mut naming, mut after) = (0, 0, String::new());
    loop {
        let page = context.store.buckets("", &after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.name.to_string();
        owned += page.iter().filter(|bucket| bucket.owner == user.canonical).count();
        naming += page.iter().filter(|bucket| names(bucket, user.name.as_str())).count();
    }
    if owned > 0 {
        let owned = shown(owned, "bucket");
        out.complain(format!("{owned} that {name} owned stay, with its ID"))?;
    }
    match naming {
        0 => Ok(()),
        n => out.complain(format!(
            "the policies of {} name {name}: a new user of this name will have what they allow",
            shown(n, "bucket")
        )),
    }
}

/// Whether the policy of a bucket names a user.
fn names(bucket: &Bucket, user: &str) -> bool {
    let policy = bucket.config(ConfigKind::Policy);
    let policy = policy.and_then(|text| Policy::bucket(text, bucket.name.as_str()).ok());
    policy.is_some_and(|policy| policy.names().any(|named| named == user))
}
