//! Looks at a data directory from outside: metadata.db by SQL, `buckets/` by walking it.

use super::crc;
use jog::store::Seal;
use rusqlite::{Connection, OpenFlags};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Everything in which the store in a folder is not as it must be when nothing is being written.
/// A store should have it open, so that what a crash left is cleared away.
pub fn audit(dir: &Path) -> Vec<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = Connection::open_with_flags(dir.join("metadata.db"), flags).unwrap();
    let mut audit = Audit { problems: Vec::new(), files: files(dir), owners: BTreeMap::new() };
    audit.strangers(dir);
    audit.database(&conn);
    audit.versions(&conn);
    audit.objects(&conn);
    audit.manifests(&conn);
    audit.garbage(&conn);
    audit.unclaimed();
    audit.problems
}

/// How many rows a query counts.
pub fn rows(dir: &Path, sql: &str) -> i64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = Connection::open_with_flags(dir.join("metadata.db"), flags).unwrap();
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// What a row says of its file: size and CRC of its bytes, and the seal if they are encrypted.
struct Named {
    size: i64,
    sum: i64,
    seal: Option<Vec<u8>>,
}

struct Audit {
    problems: Vec<String>,
    /// The files below `buckets/` by bucket and number.
    files: HashMap<(String, i64), PathBuf>,
    /// What names each file.
    owners: BTreeMap<(String, i64), String>,
}

/// All files below `buckets/`; one that has no number gets a negative one.
fn files(dir: &Path) -> HashMap<(String, i64), PathBuf> {
    let mut found = HashMap::new();
    for bucket in list(&dir.join("buckets")) {
        let name = bucket.file_name().unwrap().to_string_lossy().into_owned();
        let mut folders = vec![bucket];
        while let Some(folder) = folders.pop() {
            for path in list(&folder) {
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let file = path.file_name().unwrap().to_string_lossy().into_owned();
                let unknown = -1 - found.len() as i64;
                let id = i64::from_str_radix(&file, 16).unwrap_or(unknown);
                if let Some(other) = found.insert((name.clone(), id), path.clone()) {
                    panic!("{} and {} have one number", other.display(), path.display());
                }
            }
        }
    }
    found
}

fn list(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

impl Audit {
    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    /// Files beside those that a data directory has.
    fn strangers(&mut self, dir: &Path) {
        for path in list(dir) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !matches!(
                name.as_str(),
                "metadata.db"
                    | "metadata.db-wal"
                    | "metadata.db-shm"
                    | "jog.lock"
                    | "jog.sock"
                    | "buckets"
            ) {
                self.problem(format!("{name} does not belong here"));
            }
        }
    }

    fn database(&mut self, conn: &Connection) {
        let found: String = conn.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
        if found != "ok" {
            self.problem(format!("metadata.db: {found}"));
        }
        let homeless = "SELECT count(*) FROM (SELECT bucket FROM objects UNION ALL
            SELECT bucket FROM versions UNION ALL SELECT bucket FROM uploads) WHERE bucket NOT IN (SELECT id FROM buckets)";
        let count: i64 = conn.query_row(homeless, [], |r| r.get(0)).unwrap();
        if count > 0 {
            self.problem(format!("{count} objects or uploads are in no bucket"));
        }
    }

    /// What is counted of every bucket is what is there, and the newest version of a key is its
    /// object unless it is a delete marker.
    fn versions(&mut self, conn: &Connection) {
        let wrong = "SELECT b.name FROM buckets b LEFT JOIN usage u ON u.bucket = b.id WHERE
            u.bucket IS NULL
            OR u.objects != (SELECT count(*) FROM objects WHERE bucket = b.id)
            OR u.versions != (SELECT count(*) FROM objects WHERE bucket = b.id)
                + (SELECT count(*) FROM versions WHERE bucket = b.id)
            OR u.bytes != (SELECT coalesce(sum(size), 0) FROM objects WHERE bucket = b.id)
                + (SELECT coalesce(sum(size), 0) FROM versions WHERE bucket = b.id)
            OR u.uploading != (SELECT coalesce(sum(p.size), 0) FROM uploads l
                JOIN parts p USING (manifest) WHERE l.bucket = b.id AND l.done_ms IS NULL)";
        self.none(conn, wrong, "its usage is counted wrong");
        let newer = "SELECT hex(v.key) FROM versions v JOIN objects o USING (bucket, key)
            WHERE v.version >= o.version";
        self.none(conn, newer, "a version is newer than the object");
        let hidden = "SELECT hex(key) FROM versions v WHERE marker = 0
            AND NOT EXISTS (SELECT 1 FROM versions n WHERE n.bucket = v.bucket AND n.key = v.key
                AND n.version > v.version)
            AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.bucket = v.bucket AND o.key = v.key)";
        self.none(conn, hidden, "the newest version is no delete marker and not the object");
        let nulls = "SELECT hex(key) FROM (SELECT bucket, key FROM objects WHERE null_version = 1
            UNION ALL SELECT bucket, key FROM versions WHERE null_version = 1)
            GROUP BY bucket, key HAVING count(*) > 1";
        self.none(conn, nulls, "more than one null version");
    }

    /// A query that finds what must not be.
    fn none(&mut self, conn: &Connection, sql: &str, problem: &str) {
        let mut statement = conn.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            self.problem(format!("{}: {problem}", row.get::<_, String>(0).unwrap()));
        }
    }

    /// A file that a row names: it must be there, be of that size, and have that CRC. Gives its
    /// bytes.
    fn claim(&mut self, bucket: &str, blob: i64, file: Named, by: &str) -> Vec<u8> {
        let Named { mut size, mut sum, seal } = file;
        if let Some(seal) = seal {
            // Each piece of 64 KiB has a tag of 16 bytes.
            size += (size as u64).div_ceil(65_536) as i64 * 16;
            sum = Seal::decode(&seal).expect("a seal").stored_crc64 as i64;
        }
        let at = (bucket.to_owned(), blob);
        let Some(path) = self.files.get(&at).cloned() else {
            self.problem(format!("{by}: the file {bucket}/{blob:016x} is not there"));
            return Vec::new();
        };
        let bytes = std::fs::read(&path).unwrap();
        if bytes.len() as i64 != size {
            self.problem(format!("{by}: {} bytes instead of {size}", bytes.len()));
        }
        if crc(&bytes) as i64 != sum {
            self.problem(format!("{by}: its CRC is another"));
        }
        self.own(at, by);
        bytes
    }

    fn own(&mut self, at: (String, i64), by: &str) {
        if let Some(other) = self.owners.insert(at, by.to_owned()) {
            self.problem(format!("{other} and {by} name the same file"));
        }
    }

    /// Objects with one file or none.
    fn objects(&mut self, conn: &Connection) {
        let sql = "SELECT b.name, o.key, o.size, o.crc64, o.blob, o.manifest, o.seal FROM
            (SELECT bucket, key, size, crc64, blob, manifest, seal FROM objects UNION ALL
             SELECT bucket, key, size, crc64, blob, manifest, seal FROM versions) o
            JOIN buckets b ON b.id = o.bucket";
        let mut statement = conn.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (bucket, key): (String, Vec<u8>) = (row.get(0).unwrap(), row.get(1).unwrap());
            let (size, sum): (i64, i64) = (row.get(2).unwrap(), row.get(3).unwrap());
            let (blob, manifest): (Option<i64>, Option<i64>) =
                (row.get(4).unwrap(), row.get(5).unwrap());
            let by = format!("object {bucket}/{:?}", String::from_utf8_lossy(&key));
            match (blob, manifest) {
                (Some(blob), None) => {
                    let file = Named { size, sum, seal: row.get(6).unwrap() };
                    self.claim(&bucket, blob, file, &by);
                }
                (None, Some(manifest)) => {
                    let (bytes, sealed) = self.parts(conn, &bucket, manifest, &by);
                    if !sealed && (bytes.len() as i64 != size || crc(&bytes) as i64 != sum) {
                        self.problem(format!("{by}: its parts are not its bytes"));
                    }
                }
                (None, None) if size == 0 => {}
                _ => self.problem(format!("{by}: {size} bytes in {blob:?} and {manifest:?}")),
            }
        }
    }

    /// The bytes of the files of all parts of a manifest, in order, and whether one is encrypted.
    fn parts(
        &mut self,
        conn: &Connection,
        bucket: &str,
        manifest: i64,
        of: &str,
    ) -> (Vec<u8>, bool) {
        let sql = "SELECT number, size, crc64, blob, seal FROM parts WHERE manifest = ?1
            ORDER BY number";
        let mut statement = conn.prepare(sql).unwrap();
        let mut rows = statement.query([manifest]).unwrap();
        let (mut all, mut sealed) = (Vec::new(), false);
        while let Some(row) = rows.next().unwrap() {
            let (number, size): (i64, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
            let (sum, blob): (i64, Option<i64>) = (row.get(2).unwrap(), row.get(3).unwrap());
            let by = format!("part {number} of {of}");
            let file = Named { size, sum, seal: row.get(4).unwrap() };
            sealed |= file.seal.is_some();
            match blob {
                Some(blob) => all.extend(self.claim(bucket, blob, file, &by)),
                None if size == 0 => {}
                None => self.problem(format!("{by}: {size} bytes and no file")),
            }
        }
        (all, sealed)
    }

    /// Unfinished uploads, and parts that belong to nothing.
    fn manifests(&mut self, conn: &Connection) {
        let sql = "SELECT b.name, u.manifest, u.upload_id FROM uploads u
            JOIN buckets b ON b.id = u.bucket WHERE u.done_ms IS NULL";
        let mut statement = conn.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (bucket, manifest): (String, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
            let upload: String = row.get(2).unwrap();
            self.parts(conn, &bucket, manifest, &format!("upload {bucket}/{upload}"));
        }
        let orphans = "SELECT count(*) FROM parts WHERE manifest NOT IN
            (SELECT manifest FROM objects WHERE manifest IS NOT NULL
             UNION ALL SELECT manifest FROM versions WHERE manifest IS NOT NULL
             UNION ALL SELECT manifest FROM uploads WHERE done_ms IS NULL
             UNION ALL SELECT manifest FROM garbage WHERE manifest IS NOT NULL)";
        let count: i64 = conn.query_row(orphans, [], |r| r.get(0)).unwrap();
        if count > 0 {
            self.problem(format!("{count} parts belong to nothing"));
        }
    }

    /// Garbage names files too; they may be gone already.
    fn garbage(&mut self, conn: &Connection) {
        let sql = "SELECT bucket, blob FROM garbage WHERE blob IS NOT NULL UNION ALL
            SELECT g.bucket, p.blob FROM garbage g JOIN parts p ON p.manifest = g.manifest
            WHERE p.blob IS NOT NULL";
        let mut statement = conn.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let at = (row.get(0).unwrap(), row.get(1).unwrap());
            self.own(at, "garbage");
        }
    }

    fn unclaimed(&mut self) {
        let owners = &self.owners;
        let lost = self.files.iter().filter(|(at, _)| !owners.contains_key(*at));
        let lost: Vec<String> =
            lost.map(|(_, path)| format!("no row names {}", path.display())).collect();
        self.problems.extend(lost);
    }
}
