//! Users and their access keys: the SQL, and the store's methods for them.

use super::rows::Touched;
use super::{Store, StoreError};
use crate::limits::{MAX_KEYS_PER_USER, MAX_USERS};
use crate::types::{AccessKeyId, UserName, time};
use rusqlite::{Connection, OptionalExtension, params};

/// A user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserRow {
    /// Row number; never used again for another user.
    pub id: i64,
    /// Its name.
    pub name: UserName,
    /// Canonical ID.
    pub canonical: String,
    /// Email address.
    pub email: Option<String>,
    /// Its policy, as it was given.
    pub policy: Option<String>,
    /// Whether its keys work.
    pub enabled: bool,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// An access key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRow {
    /// Its ID.
    pub access_key: AccessKeyId,
    /// The row number of its user.
    pub user: i64,
    /// Its secret, sealed.
    pub sealed: Vec<u8>,
    /// Whether it works.
    pub enabled: bool,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// All users and keys at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identities {
    /// By name.
    pub users: Vec<UserRow>,
    /// By ID.
    pub keys: Vec<KeyRow>,
    /// What the key of the seals is derived from beside the root secret.
    pub salt: Vec<u8>,
}

/// A user to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewUser {
    /// Its name.
    pub name: UserName,
    /// Its canonical ID.
    pub canonical: String,
    /// Email address.
    pub email: Option<String>,
    /// Its policy.
    pub policy: Option<String>,
}

/// A key to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// Its ID.
    pub access_key: AccessKeyId,
    /// Its secret, sealed.
    pub sealed: Vec<u8>,
}

/// What is changed of users and keys; each in one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserChange {
    /// A user is made, mostly with a key.
    AddUser(NewUser, Option<NewKey>),
    /// A user gets another policy, or none.
    Policy(UserName, Option<String>),
    /// A user gets another email address, or none.
    Email(UserName, Option<String>),
    /// The keys of a user work, or do not.
    EnableUser(UserName, bool),
    /// A user goes, and its keys.
    RemoveUser(UserName),
    /// A user gets a further key.
    AddKey(UserName, NewKey),
    /// The user of a key gets a new one; the old one goes unless it is kept.
    RotateKey {
        /// The old one.
        old: AccessKeyId,
        /// The new one.
        new: NewKey,
        /// Both work afterwards.
        keep: bool,
    },
    /// A key works, or does not.
    EnableKey(AccessKeyId, bool),
    /// A key goes.
    RemoveKey(AccessKeyId),
    /// Keys are sealed anew.
    Reseal(Vec<NewKey>),
}

/// Why a change is not made. Nothing changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserRefused {
    /// There is no user of that name.
    NoSuchUser,
    /// There is a user of that name.
    UserExists,
    /// Another user has that email address.
    EmailExists,
    /// There is no key of that ID.
    NoSuchKey,
    /// There is a key of that ID.
    KeyExists,
    /// There are as many users as there may be.
    TooManyUsers,
    /// The user has as many keys as it may have.
    TooManyKeys,
}

type Done<T = ()> = Result<Result<T, UserRefused>, StoreError>;

impl Store {
    /// All users and keys.
    pub fn identities(&self) -> Result<Identities, StoreError> {
        self.readers.snapshot(|conn| {
            let sql = "SELECT salt FROM seal_salt";
            Ok(Identities {
                users: users(conn)?,
                keys: keys(conn)?,
                salt: conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?,
            })
        })
    }

    /// Changes users and keys.
    pub fn change_users(&self, change: UserChange) -> Done {
        // Takes room, if little: what removes or disables must succeed on a full disk, too.
        if let UserChange::AddUser(..) | UserChange::AddKey(..) = change {
            self.check_space()?;
        }
        self.writer.write_freeing(Touched::Nothing, move |conn| apply(conn, &change))
    }
}

fn users(conn: &Connection) -> Result<Vec<UserRow>, StoreError> {
    let sql = "SELECT id, name, canonical, email, policy, enabled, created_ms FROM users
        ORDER BY name";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(name) = UserName::parse(row.get_ref(1)?.as_str().unwrap_or_default()) else {
            continue;
        };
        found.push(UserRow {
            id: row.get(0)?,
            name,
            canonical: row.get(2)?,
            email: row.get(3)?,
            policy: row.get(4)?,
            enabled: row.get(5)?,
            created_ms: row.get(6)?,
        });
    }
    Ok(found)
}

fn keys(conn: &Connection) -> Result<Vec<KeyRow>, StoreError> {
    let sql = "SELECT access_key, user, sealed, enabled, created_ms FROM access_keys
        ORDER BY access_key";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?;
        let Some(access_key) = AccessKeyId::parse(id.as_str().unwrap_or_default()) else {
            continue;
        };
        found.push(KeyRow {
            access_key,
            user: row.get(1)?,
            sealed: row.get(2)?,
            enabled: row.get(3)?,
            created_ms: row.get(4)?,
        });
    }
    Ok(found)
}

/// Checks everything first: a job that is refused is committed, and must have done nothing.
fn apply(conn: &Connection, change: &UserChange) -> Done {
    match change {
        UserChange::AddUser(new, key) => add_user(conn, new, key.as_ref()),
        UserChange::Policy(name, policy) => {
            let sql = "UPDATE users SET policy = ?2 WHERE name = ?1";
            one(conn.execute(sql, params![name.as_str(), policy])?, UserRefused::NoSuchUser)
        }
        UserChange::Email(name, email) => {
            if has_email(conn, email.as_deref(), Some(name))? {
                return Ok(Err(UserRefused::EmailExists));
            }
            let sql = "UPDATE users SET email = ?2 WHERE name = ?1";
            one(conn.execute(sql, params![name.as_str(), email])?, UserRefused::NoSuchUser)
        }
        UserChange::EnableUser(name, enabled) => {
            let sql = "UPDATE users SET enabled = ?2 WHERE name = ?1";
            one(conn.execute(sql, params![name.as_str(), enabled])?, UserRefused::NoSuchUser)
        }
        UserChange::RemoveUser(name) => {
            let sql =
                "DELETE FROM access_keys WHERE user IN (SELECT id FROM users WHERE name = ?1)";
            conn.execute(sql, [name.as_str()])?;
            let removed = conn.execute("DELETE FROM users WHERE name = ?1", [name.as_str()])?;
            one(removed, UserRefused::NoSuchUser)
        }
        UserChange::AddKey(name, new) => match user_id(conn, name)? {
            Some(user) => add_key(conn, user, new, 0),
            None => Ok(Err(UserRefused::NoSuchUser)),
        },
        UserChange::RotateKey { old, new, keep } => rotate(conn, old, new, *keep),
        UserChange::EnableKey(id, enabled) => {
            let sql = "UPDATE access_keys SET enabled = ?2 WHERE access_key = ?1";
            one(conn.execute(sql, params![id.as_str(), enabled])?, UserRefused::NoSuchKey)
        }
        UserChange::RemoveKey(id) => remove_key(conn, id),
        UserChange::Reseal(keys) => {
            let sql = "UPDATE access_keys SET sealed = ?2 WHERE access_key = ?1";
            for key in keys {
                // One that was removed meanwhile needs no seal.
                conn.execute(sql, params![key.access_key.as_str(), key.sealed])?;
            }
            Ok(Ok(()))
        }
    }
}

fn one(changed: usize, otherwise: UserRefused) -> Done {
    Ok(if changed == 0 { Err(otherwise) } else { Ok(()) })
}

fn user_id(conn: &Connection, name: &UserName) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT id FROM users WHERE name = ?1";
    Ok(conn.query_row(sql, [name.as_str()], |row| row.get(0)).optional()?)
}

/// Whether somebody but this user has the email address.
fn has_email(
    conn: &Connection,
    email: Option<&str>,
    but: Option<&UserName>,
) -> Result<bool, StoreError> {
    let Some(email) = email else { return Ok(false) };
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE email = ?1 AND name != ?2)";
    let but = but.map_or("", UserName::as_str);
    Ok(conn.query_row(sql, [email, but], |row| row.get(0))?)
}

fn add_user(conn: &Connection, new: &NewUser, key: Option<&NewKey>) -> Done {
    if user_id(conn, &new.name)?.is_some() {
        return Ok(Err(UserRefused::UserExists));
    }
    if has_email(conn, new.email.as_deref(), None)? {
        return Ok(Err(UserRefused::EmailExists));
    }
    if let Some(key) = key
        && key_user(conn, &key.access_key)?.is_some()
    {
        return Ok(Err(UserRefused::KeyExists));
    }
    let count: i64 = conn.query_row("SELECT count(*) FROM users", [], |row| row.get(0))?;
    if count >= MAX_USERS as i64 {
        return Ok(Err(UserRefused::TooManyUsers));
    }
    conn.execute(
        "INSERT INTO users (name, canonical, email, policy, enabled, created_ms)
         VALUES (?1, ?2, ?3, ?4, 1, ?5)",
        params![new.name.as_str(), new.canonical, new.email, new.policy, time::now_ms()],
    )?;
    match key {
        Some(key) => add_key(conn, conn.last_insert_rowid(), key, 0),
        None => Ok(Ok(())),
    }
}

/// The user of a key.
fn key_user(conn: &Connection, id: &AccessKeyId) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT user FROM access_keys WHERE access_key = ?1";
    Ok(conn.query_row(sql, [id.as_str()], |row| row.get(0)).optional()?)
}

/// Gives a user a key; `leaving`: so many of its keys go in the same transaction.
fn add_key(conn: &Connection, user: i64, new: &NewKey, leaving: i64) -> Done {
    if key_user(conn, &new.access_key)?.is_some() {
        return Ok(Err(UserRefused::KeyExists));
    }
    let sql = "SELECT count(*) FROM access_keys WHERE user = ?1";
    let count: i64 = conn.query_row(sql, [user], |row| row.get(0))?;
    if count - leaving >= MAX_KEYS_PER_USER as i64 {
        return Ok(Err(UserRefused::TooManyKeys));
    }
    conn.execute(
        "INSERT INTO access_keys (access_key, user, sealed, enabled, created_ms)
         VALUES (?1, ?2, ?3, 1, ?4)",
        params![new.access_key.as_str(), user, new.sealed, time::now_ms()],
    )?;
    Ok(Ok(()))
}

fn remove_key(conn: &Connection, id: &AccessKeyId) -> Done {
    let sql = "DELETE FROM access_keys WHERE access_key = ?1";
    one(conn.execute(sql, [id.as_str()])?, UserRefused::NoSuchKey)
}

fn rotate(conn: &Connection, old: &AccessKeyId, new: &NewKey, keep: bool) -> Done {
    let Some(user) = key_user(conn, old)? else { return Ok(Err(UserRefused::NoSuchKey)) };
    match add_key(conn, user, new, i64::from(!keep))? {
        Ok(()) if !keep => remove_key(conn, old),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    fn conn() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        schema::migrate(&mut conn).unwrap();
        conn
    }

    fn name(name: &str) -> UserName {
        UserName::parse(name).unwrap()
    }

    fn id(id: &str) -> AccessKeyId {
        AccessKeyId::parse(id).unwrap()
    }

    fn key(access_key: &str) -> NewKey {
        NewKey { access_key: id(access_key), sealed: access_key.as_bytes().to_vec() }
    }

    fn user(user: &str) -> NewUser {
        let email = Some(format!("{user}@example.com"));
        NewUser { name: name(user), canonical: format!("{user}-id"), email, policy: None }
    }

    fn change(conn: &Connection, change: UserChange) -> Result<(), UserRefused> {
        apply(conn, &change).unwrap()
    }

    fn ids(conn: &Connection) -> Vec<String> {
        keys(conn).unwrap().iter().map(|k| k.access_key.to_string()).collect()
    }

    use UserChange::{
        AddKey, AddUser, Email, EnableKey, EnableUser, Policy, RemoveKey, RemoveUser, Reseal,
        RotateKey,
    };

    #[test]
    fn users_come_and_go_with_their_keys() {
        let conn = conn();
        assert_eq!(change(&conn, AddUser(user("one"), Some(key("key-1")))), Ok(()));
        let again = AddUser(user("one"), Some(key("key-2")));
        assert_eq!(change(&conn, again), Err(UserRefused::UserExists));
        let taken = AddUser(user("two"), Some(key("key-1")));
        assert_eq!(change(&conn, taken), Err(UserRefused::KeyExists));
        let email = NewUser { email: user("one").email, ..user("two") };
        assert_eq!(change(&conn, AddUser(email, None)), Err(UserRefused::EmailExists));
        assert_eq!((users(&conn).unwrap().len(), ids(&conn)), (1, vec!["key-1".to_owned()]));
        change(&conn, AddUser(user("two"), None)).unwrap();
        let taken = Email(name("two"), user("one").email);
        assert_eq!(change(&conn, taken), Err(UserRefused::EmailExists));
        change(&conn, Email(name("two"), user("two").email)).unwrap();
        change(&conn, Policy(name("two"), Some("{}".to_owned()))).unwrap();
        change(&conn, EnableUser(name("two"), false)).unwrap();
        let two = users(&conn).unwrap().remove(1);
        assert_eq!((two.policy.as_deref(), two.enabled), (Some("{}"), false));
        change(&conn, RemoveUser(name("one"))).unwrap();
        assert_eq!((users(&conn).unwrap().len(), ids(&conn).len()), (1, 0));
        let before = two.id;
        change(&conn, RemoveUser(name("two"))).unwrap();
        change(&conn, AddUser(user("two"), None)).unwrap();
        assert!(users(&conn).unwrap()[0].id > before);
        for gone in [
            RemoveUser(name("x")),
            EnableUser(name("x"), true),
            Policy(name("x"), None),
            Email(name("x"), None),
            AddKey(name("x"), key("key-9")),
        ] {
            assert_eq!(change(&conn, gone), Err(UserRefused::NoSuchUser));
        }
    }

    #[test]
    fn keys_are_replaced_and_bounded() {
        let conn = conn();
        change(&conn, AddUser(user("one"), Some(key("key-1")))).unwrap();
        let rotate = |old: &str, new: &str, keep| RotateKey { old: id(old), new: key(new), keep };
        change(&conn, rotate("key-1", "key-2", false)).unwrap();
        assert_eq!(ids(&conn), ["key-2"]);
        assert_eq!(change(&conn, rotate("key-1", "key-3", false)), Err(UserRefused::NoSuchKey));
        assert_eq!(change(&conn, rotate("key-2", "key-2", false)), Err(UserRefused::KeyExists));
        change(&conn, rotate("key-2", "key-3", true)).unwrap();
        assert_eq!(ids(&conn), ["key-2", "key-3"]);
        for n in 2..MAX_KEYS_PER_USER {
            change(&conn, AddKey(name("one"), key(&format!("more-{n}")))).unwrap();
        }
        let full = Err(UserRefused::TooManyKeys);
        assert_eq!(change(&conn, AddKey(name("one"), key("key-4"))), full);
        assert_eq!(change(&conn, rotate("key-2", "key-4", true)), full);
        change(&conn, rotate("key-2", "key-4", false)).unwrap();
        change(&conn, EnableKey(id("key-4"), false)).unwrap();
        let resealed = NewKey { sealed: vec![7], ..key("key-4") };
        change(&conn, Reseal(vec![resealed, key("gone")])).unwrap();
        let four = keys(&conn).unwrap().into_iter().find(|k| k.access_key == id("key-4")).unwrap();
        assert_eq!((four.enabled, four.sealed), (false, vec![7]));
        change(&conn, RemoveKey(id("key-4"))).unwrap();
        assert_eq!(change(&conn, RemoveKey(id("key-4"))), Err(UserRefused::NoSuchKey));
        let gone = EnableKey(id("key-4"), true);
        assert_eq!(change(&conn, gone), Err(UserRefused::NoSuchKey));
    }

    /// Each database has its own salt.
    #[test]
    fn salts_differ() {
        let salt = || -> Vec<u8> {
            conn().query_row("SELECT salt FROM seal_salt", [], |row| row.get(0)).unwrap()
        };
        assert!(salt().len() == 32 && salt() != salt());
    }
}
