//! Which master key a data directory was written with, so that another one is noticed at the start
//! and not with the first read that fails.
//!
//! metadata.db keeps 64 bits of a hash of the key, which say nothing of a key of 256 random bits.

use super::seal::{SealMode, bound};
use super::{Kek, Store, StoreError};
use rusqlite::{Connection, OptionalExtension, params};

/// How the master key of the settings fits a data directory.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MasterKey {
    /// It is the one that was there before, or nothing is encrypted with another one.
    Fits,
    /// Something is encrypted with another one.
    Other,
    /// There is none, and something may be encrypted with one.
    Missing,
}

impl Store {
    /// Compares the master key with that of earlier runs, and remembers it. Reads all rows, but only
    /// if the key is another one than before.
    pub fn check_master(&self, master: Option<&Kek>) -> Result<MasterKey, StoreError> {
        let fingerprint = master.map(Kek::fingerprint);
        self.writer.write(move |conn| {
            let known: Option<i64> = conn
                .prepare_cached("SELECT value FROM settings WHERE name = 'master_key'")?
                .query_row([], |row| row.get(0))
                .optional()?;
            match (known, fingerprint) {
                (None, None) => Ok(MasterKey::Fits),
                (Some(_), None) => Ok(MasterKey::Missing),
                (Some(known), Some(now)) if known == now => Ok(MasterKey::Fits),
                (_, Some(_)) if known.is_some() && is_used(conn)? => Ok(MasterKey::Other),
                (_, Some(now)) => {
                    let sql = "INSERT OR REPLACE INTO settings (name, value)
                               VALUES ('master_key', ?1)";
                    conn.prepare_cached(sql)?.execute([now])?;
                    Ok(MasterKey::Fits)
                }
            }
        })
    }
}

/// Whether anything is sealed with a master key.
fn is_used(conn: &Connection) -> Result<bool, StoreError> {
    let by_server = bound(SealMode::Server);
    for table in ["objects", "versions", "uploads", "parts"] {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE substr(seal, 1, 2) = ?1)");
        if conn.prepare_cached(&sql)?.query_row(params![&by_server[..]], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}
