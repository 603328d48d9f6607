//! The numbers of canonical IDs in memory, so that reads of objects need no second table. A number
//! once given stands for its ID for ever: rows of `owners` are only ever added.

use super::StoreError;
use crate::limits::CACHED_OWNERS;
use rusqlite::Connection;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// See the module's description.
#[derive(Default, Debug)]
pub struct Owners(RwLock<HashMap<i64, Arc<str>>>);

impl Owners {
    /// The canonical ID of a number. `conn` must be a reader's: what a transaction has not
    /// committed yet may be taken back, and the number then goes to somebody else.
    pub fn canonical(&self, conn: &Connection, id: i64) -> Result<Arc<str>, StoreError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let sql = "SELECT canonical FROM owners WHERE id = ?1";
        let found: String = conn.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
        let found: Arc<str> = found.into();
        let mut owners = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if owners.len() >= CACHED_OWNERS {
            owners.clear();
        }
        owners.insert(id, Arc::clone(&found));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_once() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "CREATE TABLE owners (id INTEGER PRIMARY KEY, canonical TEXT NOT NULL UNIQUE);
             INSERT INTO owners VALUES (1, 'a'), (2, 'b');",
        )
        .unwrap();
        let owners = Owners::default();
        assert_eq!(&*owners.canonical(&conn, 2).unwrap(), "b");
        assert!(owners.canonical(&conn, 3).is_err());
        conn.execute_batch("DELETE FROM owners WHERE id = 2").unwrap();
        assert_eq!(&*owners.canonical(&conn, 2).unwrap(), "b");
        assert_eq!(&*owners.canonical(&conn, 1).unwrap(), "a");
    }
}
