//! Multipart uploads that stay open while the bucket is turned and filled around them.

use super::*;

impl Run {
    fn any_upload(&mut self, shelf: usize) -> Option<usize> {
        let count = self.shelves[shelf].uploads.len();
        (count > 0).then(|| self.rng.below(count))
    }

    pub fn upload(&mut self, shelf: usize, at: &str) {
        let one = match self.any_upload(shelf) {
            Some(one) if self.shelves[shelf].uploads.len() > 2 || self.rng.chance(80) => one,
            _ => return self.start(shelf, at),
        };
        match self.rng.below(10) {
            0..=4 => self.put_part(shelf, one),
            5..=8 => self.complete(shelf, one),
            _ => self.abort(shelf, one),
        }
    }

    fn start(&mut self, shelf: usize, at: &str) {
        let upload = support::start(self.store(), &self.shelves[shelf].bucket, at);
        let upload = upload.unwrap().unwrap();
        let new = Unfinished { at: at.to_owned(), upload, parts: BTreeMap::new() };
        self.shelves[shelf].uploads.push(new);
    }

    fn put_part(&mut self, shelf: usize, one: usize) {
        let number = 1 + self.rng.below(4) as u32;
        let (seed, len) = (self.rng.next(), self.rng.below(200));
        let bytes = content(seed, len);
        let there = &self.shelves[shelf];
        let Unfinished { upload, parts, .. } = &there.uploads[one];
        let growth = len as i64 - parts.get(&number).map_or(0, |old| old.len() as i64);
        let over = there.over(growth);
        let done = support::put_part(self.store(), &there.bucket, upload, number, &bytes).unwrap();
        if over {
            return assert_eq!(done, Err(Refused::QuotaExceeded));
        }
        done.unwrap();
        self.shelves[shelf].uploads[one].parts.insert(number, bytes);
    }

    fn complete(&mut self, shelf: usize, one: usize) {
        let Unfinished { at, upload, parts } = self.shelves[shelf].uploads[one].clone();
        let all = self.rng.chance(70);
        let chosen = parts.keys().copied().filter(|_| all || self.rng.chance(60));
        let numbers: Vec<u32> = chosen.collect();
        if numbers.is_empty() {
            return;
        }
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| parts[n].clone()).collect();
        let (if_, refused) = self.condition(self.object_there(shelf, &at));
        let there = &self.shelves[shelf];
        // The parts that are left out make room, too.
        let freed = there.uploads[one].bytes();
        let over = there.over(there.growth(&at, bytes.len()) - freed);
        let bucket = &there.bucket;
        let done = support::complete(self.store(), bucket, &upload, &numbers, &bytes, if_).unwrap();
        match (refused, over) {
            (Some(refused), _) => assert_eq!(done, Err(refused), "{at}"),
            (None, true) => assert_eq!(done, Err(Refused::QuotaExceeded), "{at}"),
            (None, false) => {
                let stored = done.unwrap();
                let found = self.store().completed(bucket.id, &key(&at), &upload.upload_id);
                let found = found.unwrap().expect("it is remembered");
                assert_eq!(found.version_id, stored.version_id);
                let etag = format!("{}-{}", hex::encode(support::md5(&bytes)), numbers.len());
                let kept = Kept { etag, ..self.stored(shelf, bytes, &stored) };
                self.shelves[shelf].uploads.remove(one);
                self.shelves[shelf].add(&at, kept);
            }
        }
    }

    fn abort(&mut self, shelf: usize, one: usize) {
        let Unfinished { at, upload, .. } = self.shelves[shelf].uploads.remove(one);
        let bucket = self.shelves[shelf].bucket.id;
        let abort = || self.store().abort_upload(bucket, &key(&at), &upload.upload_id).unwrap();
        assert_eq!(abort(), Ok(()));
        assert_eq!(abort(), Err(Refused::NoSuchUpload));
    }
}
