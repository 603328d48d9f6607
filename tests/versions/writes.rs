//! What is done to objects and their versions.

use super::*;
use jog::store::{NewData, NewObject, Stored};

impl Run {
    /// An id of a version: mostly one that is there.
    pub fn id(&mut self, shelf: usize, at: &str) -> VersionId {
        let known: Vec<VersionId> = self.shelves[shelf].versions(at).iter().map(|k| k.id).collect();
        match self.rng.below(8) {
            0 => VersionId::Null,
            1 => VersionId::Number(self.rng.next() as i64),
            _ if known.is_empty() => VersionId::Null,
            _ => *self.rng.pick(&known),
        }
    }

    /// A condition, mostly none, and what the model says of it.
    pub fn condition(&mut self, there: Option<There>) -> (Precondition, Option<Refused>) {
        let mut if_ = Precondition::default();
        let right = self.rng.chance(60);
        let known = there.as_ref().filter(|_| right);
        let tag = || ETag::from_text(known.map_or("other", |there| &there.etag));
        match self.rng.below(12) {
            0 => if_.if_match = Some(ETagList::Tags(vec![tag()])),
            1 => if_.if_match = Some(ETagList::Any),
            2 => if_.if_none_match = Some(ETagList::Any),
            3 => if_.if_none_match = Some(ETagList::Tags(vec![tag()])),
            4 => if_.if_size = Some(known.map_or(7, |there| there.size)),
            5 => if_.if_modified_time = Some(known.map_or(1, |there| there.modified_ms / 1000)),
            _ => {}
        }
        let refused = violation(&if_, there.as_ref()).map(Refused::Precondition);
        (if_, refused)
    }

    /// What conditions of writes see.
    pub fn object_there(&self, shelf: usize, at: &str) -> Option<There> {
        self.shelves[shelf].object(at).map(Kept::there)
    }

    fn tags(&mut self) -> Tags {
        Tags::new(vec![("k".to_owned(), self.rng.below(9).to_string())], 10).unwrap()
    }

    fn retention(&mut self) -> Retention {
        let mode = *self.rng.pick(&[RetentionMode::Governance, RetentionMode::Compliance]);
        // Some have run out already.
        let until_ms = if self.rng.chance(20) { 1 } else { FAR_MS + self.rng.below(3) as i64 };
        Retention { mode, until_ms }
    }

    fn acl(&mut self) -> Option<String> {
        self.rng.chance(50).then(|| format!("[{}]", self.rng.below(9)))
    }

    pub fn put(&mut self, shelf: usize, at: &str) {
        let (seed, len) = (self.rng.next(), self.rng.below(400));
        let bytes = content(seed, if self.rng.chance(10) { 0 } else { len });
        let (if_, refused) = self.condition(self.object_there(shelf, at));
        let bucket = self.shelves[shelf].bucket.clone();
        let blob = support::blob(self.store(), &bucket, &bytes).unwrap();
        let mut new = support::new_object(at, &bytes, blob.map_or(NewData::Empty, NewData::Blob));
        if self.rng.chance(30) {
            (new.extra.tags, new.extra.acl) = (self.tags(), self.acl());
        }
        if bucket.lock && self.rng.chance(30) {
            new.extra.lock.retention = Some(self.retention());
            new.extra.lock.legal_hold = self.rng.chance(30);
        }
        self.store_object(shelf, at, new, bytes, (if_, refused));
    }

    /// Puts an object; the model takes what became of it.
    fn store_object(
        &mut self,
        shelf: usize,
        at: &str,
        new: NewObject,
        bytes: Vec<u8>,
        (if_, refused): (Precondition, Option<Refused>),
    ) {
        let there = &self.shelves[shelf];
        let over = there.over(there.growth(at, bytes.len()));
        let (etag, extra) = (new.etag.as_str().to_owned(), new.extra.clone());
        let done = self.store().put_object(there.bucket.id, new, if_).unwrap();
        match (refused, over) {
            (Some(refused), _) => assert_eq!(done, Err(refused), "{at}"),
            (None, true) => assert_eq!(done, Err(Refused::QuotaExceeded), "{at}"),
            (None, false) => {
                let kept = Kept {
                    etag,
                    tags: extra.tags,
                    lock: extra.lock,
                    acl: extra.acl,
                    ..self.stored(shelf, bytes, &done.unwrap())
                };
                self.shelves[shelf].add(at, kept);
            }
        }
    }

    /// The version that a write has made.
    pub fn stored(&self, shelf: usize, bytes: Vec<u8>, stored: &Stored) -> Kept {
        let enabled = self.shelves[shelf].state == Versioning::Enabled;
        assert_eq!(stored.version_id, enabled.then_some(VersionId::Number(stored.version)));
        let id = stored.version_id.unwrap_or(VersionId::Null);
        Kept::of(id, bytes, stored.modified_ms)
    }

    /// Copies a version, also to where it is itself.
    pub fn copy(&mut self, shelf: usize, at: &str) {
        let from = self.rng.below(self.shelves.len());
        let source = *self.rng.pick(&KEYS);
        let id = self.id(from, source);
        let origin = self.shelves[from].bucket.clone();
        let found = self.store().version(origin.id, &key(source), id).unwrap();
        let Some(Found::Object(object)) = found else { return };
        let target = self.shelves[shelf].bucket.clone();
        let mut new = support::copy_of(self.store(), &origin, &object, (&target, at)).unwrap();
        new.extra.lock = Lock::default();
        let known = self.shelves[from].find(source, id).cloned().expect("it was found");
        assert_eq!((new.etag.as_str(), &new.extra.tags), (&*known.etag, &known.tags));
        let condition = self.condition(self.object_there(shelf, at));
        self.store_object(shelf, at, new, known.bytes.expect("it is an object"), condition);
    }

    pub fn delete(&mut self, shelf: usize, at: &str) {
        let there = &self.shelves[shelf];
        // A delete marker is there, too, once the bucket keeps versions.
        let newest = there.versions(at).first().map(Kept::there);
        let (if_, refused) = self.condition(newest);
        let bucket = self.shelves[shelf].bucket.id;
        let done = self.store().delete_object(bucket, &key(at), if_).unwrap();
        match refused {
            Some(refused) => assert_eq!(done, Err(refused), "{at}"),
            None => self.deleted(shelf, at, done.unwrap()),
        }
    }

    /// What a delete without a version did.
    fn deleted(&mut self, shelf: usize, at: &str, done: Deleted) {
        let there = &mut self.shelves[shelf];
        assert_eq!(done.existed, there.object(at).is_some(), "{at}");
        if there.state == Versioning::Unversioned {
            assert_eq!((done.version_id, done.marker), (None, false));
            there.remove(at, VersionId::Null);
            return;
        }
        let id = done.version_id.expect("a marker was made");
        assert!(done.marker && (id == VersionId::Null) == (there.state == Versioning::Suspended));
        let mut marker = Kept::marker(id);
        match self.store().version(self.shelves[shelf].bucket.id, &key(at), id).unwrap() {
            Some(Found::Marker(found)) => marker.modified_ms = found.modified_ms,
            // Another of the same request has removed it.
            other => assert_eq!(other, None),
        }
        self.shelves[shelf].add(at, marker);
    }

    pub fn delete_version(&mut self, shelf: usize, at: &str) {
        let id = self.id(shelf, at);
        let known = self.shelves[shelf].find(at, id).filter(|kept| kept.bytes.is_some());
        let (if_, refused) = self.condition(known.map(Kept::there));
        let bypass = self.rng.chance(30);
        let delete = Delete { version: Some(id), bypass, if_ };
        let bucket = self.shelves[shelf].bucket.id;
        let done = self.store().delete_object(bucket, &key(at), delete).unwrap();
        match refused {
            Some(refused) => assert_eq!(done, Err(refused), "{at} {id}"),
            None => self.deleted_version(shelf, at, id, bypass, done),
        }
    }

    fn deleted_version(
        &mut self,
        shelf: usize,
        at: &str,
        id: VersionId,
        bypass: bool,
        done: Result<Deleted, Refused>,
    ) {
        let there = &mut self.shelves[shelf];
        let known = there.find(at, id).cloned();
        if known.as_ref().is_some_and(|kept| kept.lock.protects(NOW_MS, bypass)) {
            assert_eq!(done, Err(Refused::Locked), "{at} {id}");
            return;
        }
        let done = done.unwrap();
        assert_eq!(done.existed, known.is_some(), "{at} {id}");
        assert_eq!(done.marker, known.is_some_and(|kept| kept.bytes.is_none()));
        let version_id = (there.state != Versioning::Unversioned).then_some(id);
        assert_eq!(done.version_id, version_id);
        there.remove(at, id);
    }

    /// Keys and versions in one request, some of them twice.
    pub fn delete_many(&mut self, shelf: usize) {
        let mut jobs = Vec::new();
        for _ in 0..self.rng.below(7) {
            let at = *self.rng.pick(&KEYS);
            let version = self.rng.chance(70).then(|| self.id(shelf, at));
            jobs.push((at, version, self.rng.chance(30)));
        }
        let delete = |(at, version, bypass): &(&str, _, _)| {
            let (version, bypass, if_) = (*version, *bypass, Precondition::default());
            (key(at), Delete { version, bypass, if_ })
        };
        let keys = jobs.iter().map(delete).collect();
        let bucket = self.shelves[shelf].bucket.id;
        let done = self.store().delete_objects(bucket, keys).unwrap().unwrap();
        assert_eq!(done.len(), jobs.len());
        for ((at, version, bypass), done) in jobs.into_iter().zip(done) {
            match version {
                Some(id) => self.deleted_version(shelf, at, id, bypass, done),
                None => self.deleted(shelf, at, done.unwrap()),
            }
        }
    }

    pub fn change(&mut self, shelf: usize, at: &str) {
        let asked = self.rng.chance(70).then(|| self.id(shelf, at));
        let new = self.rng.chance(70).then(|| self.retention());
        let (bypass, on) = (self.rng.chance(40), self.rng.chance(40));
        let (tags, acl) = (self.tags(), self.acl());
        let what = self.rng.below(4);
        let change = match what {
            0 => Change::Tags(tags.clone()),
            1 => Change::Acl(acl.clone()),
            2 => Change::Retention { new, bypass },
            _ => Change::LegalHold(on),
        };
        let bucket = self.shelves[shelf].bucket.clone();
        let done = self.store().change_version(bucket.id, &key(at), asked, change).unwrap();
        let there = &mut self.shelves[shelf];
        let id = asked.or_else(|| there.versions(at).first().map(|kept| kept.id));
        let kept = there.keys.get_mut(at).and_then(|all| all.iter_mut().find(|k| Some(k.id) == id));
        let Some(kept) = kept else {
            let none = if asked.is_some() { Refused::NoSuchVersion } else { Refused::NoSuchKey };
            return assert_eq!(done, Err(none), "{at} {asked:?}");
        };
        let refused = match what {
            _ if kept.bytes.is_none() => Some(Refused::DeleteMarker),
            2 | 3 if !bucket.lock => Some(Refused::NoObjectLock),
            2 if !kept.lock.may_become(new, NOW_MS, bypass) => Some(Refused::Locked),
            _ => None,
        };
        assert_eq!(done, refused.map_or(Ok(kept.id), Err), "{at} {asked:?}");
        match what {
            _ if refused.is_some() => {}
            0 => kept.tags = tags,
            1 => kept.acl = acl,
            2 => kept.lock.retention = new,
            _ => kept.lock.legal_hold = on,
        }
    }

    pub fn rename(&mut self, shelf: usize, at: &str) {
        let to = *self.rng.pick(&KEYS);
        let bucket = self.shelves[shelf].bucket.id;
        let found = self.store().object(bucket, &key(at)).unwrap();
        let stale = found.is_none() || self.rng.chance(10);
        let version = found.map_or(1, |found| found.version + i64::from(stale));
        let token = self.rng.chance(30).then(|| format!("token {}", self.rng.below(4)));
        let (if_, refused) = self.condition(self.object_there(shelf, to));
        let rename = Rename { from: key(at), version, to: key(to), if_, token: token.clone() };
        let done = self.store().telling(None).rename_object(bucket, rename).unwrap();
        let there = &mut self.shelves[shelf];
        let names = (at.to_owned(), to.to_owned());
        let known = token.as_ref().and_then(|token| there.tokens.get(token));
        if there.state != Versioning::Unversioned {
            assert_eq!(done, Err(Refused::VersionsKept));
        } else if let Some(known) = known {
            let same = if *known == names { Renamed::Done } else { Renamed::OtherRename };
            assert_eq!(done, Ok(same));
        } else if stale {
            assert_eq!(done, Ok(Renamed::SourceChanged));
        } else if let Some(refused) = refused {
            assert_eq!(done, Err(refused));
        } else {
            assert_eq!(done, Ok(Renamed::Done));
            there.tokens.extend(token.map(|token| (token, names)));
            let kept = there.remove(at, VersionId::Null).expect("it was found");
            there.add(to, kept);
        }
    }
}
