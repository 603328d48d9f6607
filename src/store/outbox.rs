//! Events that wait for their delivery: written in the transaction of the change that they tell of,
//! so that there is one exactly if the change was committed. Who delivers them is in `jobs`.

use super::bell::Bell;
use super::objects::Moved;
use super::rows::Touched;
use super::{
    Delete, Deleted, NewObject, Outcome, Refused, Rename, Renamed, Store, StoreError, Stored,
    Upload,
};
use crate::limits::MAX_QUEUED_EVENTS;
use crate::types::notification::{Event, Happened, Notification, Origin, TargetName, message};
use crate::types::{ObjectKey, Precondition, VersionId, time};
use rusqlite::{Connection, params};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is done, as far as events tell it apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// An object is made, which is this event.
    Create(Event),
    /// Somebody deletes.
    Delete,
    /// An object gets another key.
    Rename,
    /// A lifecycle rule deletes.
    Expire,
}

/// Who is to be told of a change, and what there is to say beside it.
#[derive(Clone, Debug)]
pub struct Notice {
    /// What is done.
    pub doing: Doing,
    /// Who does it, and where.
    pub origin: Origin,
    /// Who wants to know; only targets that are declared.
    pub to: Notification,
}

/// The part of the outbox that is in memory.
#[derive(Default, Debug)]
pub struct Outbox {
    /// Rung when events were committed.
    pub bell: Bell,
    dropped: AtomicU64,
    sequence: AtomicU64,
}

impl Outbox {
    /// A number for an event, larger than all before it. Called by the writer alone.
    fn next_sequence(&self, now_ms: i64) -> u64 {
        let now = u64::try_from(now_ms).unwrap_or(0).saturating_mul(1000);
        let next = now.max(self.sequence.load(Ordering::Relaxed) + 1);
        self.sequence.store(next, Ordering::Relaxed);
        next
    }
}

impl Notice {
    fn tell(
        &self,
        conn: &Connection,
        outbox: &Outbox,
        event: Event,
        happened: Happened<'_>,
    ) -> Result<(), StoreError> {
        let sequence = outbox.next_sequence(happened.at_ms);
        let happened = Happened { event, sequence, ..happened };
        for subscription in self.to.matching(event, happened.key) {
            let body = message(&self.origin, &happened, &subscription.id);
            insert(conn, outbox, &subscription.target, happened.at_ms, &body)?;
        }
        Ok(())
    }

    /// Notes what a write did.
    pub(super) fn stored(
        &self,
        conn: &Connection,
        outbox: &Outbox,
        key: &ObjectKey,
        (size, etag): (u64, &str),
        stored: &Stored,
    ) -> Result<(), StoreError> {
        let Doing::Create(event) = self.doing else { return Ok(()) };
        let version_id = stored.version_id.map(|id| id.to_string());
        let happened = Happened {
            event,
            at_ms: stored.modified_ms,
            key: key.as_str(),
            created: Some((size, etag)),
            version_id: version_id.as_deref(),
            sequence: 0,
        };
        self.tell(conn, outbox, event, happened)
    }

    /// Notes a rename: the object is gone from its key, and made at the other.
    pub(super) fn renamed(
        &self,
        conn: &Connection,
        outbox: &Outbox,
        rename: &Rename,
        moved: &Moved,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        let created = Some((moved.size, moved.etag.as_str()));
        for (event, key, created) in
            [(Event::RemovedDelete, &rename.from, None), (Event::CreatedCopy, &rename.to, created)]
        {
            let happened = Happened {
                event,
                at_ms,
                key: key.as_str(),
                created,
                version_id: None,
                sequence: 0,
            };
            self.tell(conn, outbox, event, happened)?;
        }
        Ok(())
    }

    /// Notes what a delete did. `version`: the one that was named.
    pub(super) fn deleted(
        &self,
        conn: &Connection,
        outbox: &Outbox,
        key: &ObjectKey,
        version: Option<VersionId>,
        deleted: &Deleted,
    ) -> Result<(), StoreError> {
        let made_marker = deleted.marker && version.is_none();
        let event = match (self.doing, made_marker) {
            (Doing::Create(_) | Doing::Rename, _) => return Ok(()),
            (_, false) if !deleted.existed => return Ok(()),
            (Doing::Delete, false) => Event::RemovedDelete,
            (Doing::Delete, true) => Event::RemovedMarker,
            (Doing::Expire, false) => Event::ExpiredDelete,
            (Doing::Expire, true) => Event::ExpiredMarker,
        };
        let version_id = deleted.version_id.map(|id| id.to_string());
        let happened = Happened {
            event,
            at_ms: time::now_ms(),
            key: key.as_str(),
            created: None,
            version_id: version_id.as_deref(),
            sequence: 0,
        };
        self.tell(conn, outbox, event, happened)
    }
}

/// Puts an event at the end of a target's queue, unless that is full. Events leave a queue at its
/// front only, so first and last number tell its length.
fn insert(
    conn: &Connection,
    outbox: &Outbox,
    target: &TargetName,
    now_ms: i64,
    body: &str,
) -> Result<(), StoreError> {
    let (first, last) = ends(conn, target.as_str())?;
    if last - first + 1 >= MAX_QUEUED_EVENTS {
        let dropped = outbox.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if dropped.is_power_of_two() {
            log::warn!(
                "{MAX_QUEUED_EVENTS} events wait for webhook {}; {dropped} dropped so far",
                target.as_str()
            );
        }
        return Ok(());
    }
    conn.prepare_cached(
        "INSERT INTO events (target, id, created_ms, body) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![target.as_str(), last + 1, now_ms, body])?;
    Ok(())
}

/// The numbers of the first and the last event that wait for a target; 1 and 0 if there is none.
fn ends(conn: &Connection, target: &str) -> Result<(i64, i64), StoreError> {
    let sql = "SELECT (SELECT id FROM events WHERE target = ?1 ORDER BY id LIMIT 1),
                   (SELECT id FROM events WHERE target = ?1 ORDER BY id DESC LIMIT 1)";
    let (first, last): (Option<i64>, Option<i64>) =
        conn.prepare_cached(sql)?.query_row([target], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((first.unwrap_or(1), last.unwrap_or(0)))
}

/// An event that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueuedEvent {
    /// Its number in the queue of its target.
    pub id: i64,
    /// When it happened, in milliseconds since 1970.
    pub created_ms: i64,
    /// The message.
    pub body: String,
}

impl Store {
    /// The same store, where changes are told to those who want to know.
    pub fn telling(&self, notice: Option<Notice>) -> Telling<'_> {
        Telling { store: self, notice: notice.map(Arc::new) }
    }

    /// What wakes those who deliver events.
    pub fn event_bell(&self) -> &Bell {
        &self.outbox.bell
    }

    /// Events that were dropped since the start: too many waited, or one for too long.
    pub fn dropped_events(&self) -> u64 {
        self.outbox.dropped.load(Ordering::Relaxed)
    }

    /// The targets with events that wait, and how many.
    pub fn queued_events(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.readers.snapshot(|conn| {
            let mut found = Vec::new();
            let mut after = String::new();
            // One step a target, not one an event.
            let sql = "SELECT min(target) FROM events WHERE target > ?1";
            let mut statement = conn.prepare_cached(sql)?;
            while let Some(target) =
                statement.query_row([&after], |row| row.get::<_, Option<String>>(0))?
            {
                let (first, last) = ends(conn, &target)?;
                found.push((target.clone(), u64::try_from(last - first + 1).unwrap_or(0)));
                after = target;
            }
            Ok(found)
        })
    }

    /// The first events that wait for a target; at most `max`.
    pub fn events(&self, target: &str, max: usize) -> Result<Vec<QueuedEvent>, StoreError> {
        self.readers.read(|conn| {
            let sql = "SELECT id, created_ms, body FROM events WHERE target = ?1
                       ORDER BY id LIMIT ?2";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![target, max as i64])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.push(QueuedEvent {
                    id: row.get(0)?,
                    created_ms: row.get(1)?,
                    body: row.get(2)?,
                });
            }
            Ok(events)
        })
    }

    /// Takes the first events of a target off its queue, up to and with this one. `dropped` of them
    /// were not delivered.
    pub fn remove_events(
        &self,
        target: &str,
        through: i64,
        dropped: u64,
    ) -> Result<(), StoreError> {
        let target = target.to_owned();
        self.write_freeing(Touched::Nothing, move |conn| {
            conn.prepare_cached("DELETE FROM events WHERE target = ?1 AND id <= ?2")?
                .execute(params![target, through])?;
            Ok(Ok(()))
        })?
        .unwrap_or(());
        self.outbox.dropped.fetch_add(dropped, Ordering::Relaxed);
        Ok(())
    }
}

/// A store whose changes are told.
pub struct Telling<'a> {
    store: &'a Store,
    notice: Option<Arc<Notice>>,
}

impl Telling<'_> {
    fn ring<T>(&self, done: Outcome<T>) -> Outcome<T> {
        if self.notice.is_some() && matches!(done, Ok(Ok(_))) {
            self.store.outbox.bell.ring();
        }
        done
    }

    /// [`Store::put_object`]
    pub fn put_object(&self, bucket: i64, new: NewObject, if_: Precondition) -> Outcome<Stored> {
        self.ring(self.store.put_and_tell(bucket, new, if_, self.notice.clone()))
    }

    /// [`Store::complete_upload`]
    pub fn complete_upload(
        &self,
        bucket: i64,
        upload: &Upload,
        numbers: Vec<u32>,
        new: NewObject,
        if_: Precondition,
    ) -> Outcome<Stored> {
        let notice = self.notice.clone();
        self.ring(self.store.complete_and_tell(bucket, upload, numbers, new, if_, notice))
    }

    /// [`Store::delete_object`]
    pub fn delete_object(
        &self,
        bucket: i64,
        key: &ObjectKey,
        delete: impl Into<Delete>,
    ) -> Outcome<Deleted> {
        self.ring(self.store.delete_and_tell(bucket, key, delete.into(), self.notice.clone()))
    }

    /// [`Store::delete_objects`]
    pub fn delete_objects(
        &self,
        bucket: i64,
        keys: Vec<(ObjectKey, Delete)>,
    ) -> Outcome<Vec<Result<Deleted, Refused>>> {
        self.ring(self.store.delete_all_and_tell(bucket, keys, self.notice.clone()))
    }

    /// Renames an object of a bucket without versions, whatever its size in the same time.
    pub fn rename_object(&self, bucket: i64, rename: Rename) -> Outcome<Renamed> {
        self.ring(self.store.rename_and_tell(bucket, rename, self.notice.clone()))
    }

    /// [`Store::expire`]
    pub fn expire(
        &self,
        bucket: i64,
        rules: &str,
        due: Vec<super::Expiry>,
    ) -> Outcome<super::Expired> {
        self.ring(self.store.expire_and_tell(bucket, rules, due, self.notice.clone()))
    }
}
