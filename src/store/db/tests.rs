//! One connection that writes for all, and several that read.

use super::*;
use std::sync::atomic::AtomicUsize;

fn writer() -> Writer {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("CREATE TABLE t (n INTEGER UNIQUE)").unwrap();
    Writer::new(conn, |_| ()).unwrap()
}

/// Inserts a number and then does `end`.
fn insert(n: i64, end: fn() -> Result<(), StoreError>) -> Work {
    Box::new(move |conn| {
        conn.execute("INSERT INTO t VALUES (?1)", [n])?;
        end()
    })
}

fn sum(writer: &Writer) -> i64 {
    let sql = "SELECT coalesce(sum(n), 0) FROM t";
    writer.exclusive(|c| Ok(c.query_row(sql, [], |r| r.get(0))?)).unwrap()
}

#[test]
fn a_failed_job_is_undone_alone() {
    let before: [Work; 2] = [Box::new(|_| Err(StoreError::Full)), Box::new(|_| panic!("early"))];
    let [full, panics] = before;
    let writer = writer();
    // What fails before it has changed anything, what fails after that, and all of them.
    for (batch, good, total) in [
        (
            vec![insert(1, || Ok(())), full, panics, insert(2, || Ok(()))],
            [true, false, false, true],
            3,
        ),
        (
            vec![
                insert(3, || Ok(())),
                insert(4, || Err(StoreError::Full)),
                insert(5, || panic!("late")),
                // It has been inserted already.
                insert(1, || Ok(())),
            ],
            [true, false, false, false],
            6,
        ),
        ((6..10).map(|n| insert(n, || Err(StoreError::Full))).collect(), [false; 4], 6),
    ] {
        let results = writer.commit(&batch);
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), good);
        assert_eq!(sum(&writer), total);
    }
    assert!(writer.commit(&[insert(6, || Err(StoreError::Full))])[0].is_err());
    assert_eq!(sum(&writer), 6);
}

/// As SQLite does it by itself after some errors.
#[test]
fn nothing_is_written_outside_of_a_transaction() {
    let writer = writer();
    let ends: Work = Box::new(|conn| {
        conn.execute_batch("ROLLBACK")?;
        Err(StoreError::Full)
    });
    let results = writer.commit(&[insert(1, || Ok(())), ends, insert(2, || Ok(()))]);
    assert!(results.iter().all(Result::is_err));
    assert_eq!(sum(&writer), 0);
    assert!(writer.commit(&[insert(3, || Ok(()))])[0].is_ok());
    assert_eq!(sum(&writer), 3);
}

#[test]
fn cutting_the_wal_waits_for_no_long_reader() {
    let name = format!("jog-cut-wal-{}.db", std::process::id());
    let path = std::env::temp_dir().join(name);
    let conn = open_writer(&path, false).unwrap();
    conn.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1)").unwrap();
    let writer = Writer::new(conn, |_| ()).unwrap();
    let reader = open_reader(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    let start = std::time::Instant::now();
    assert!(!writer.cut_wal().unwrap());
    assert!(start.elapsed() < Duration::from_millis(SQLITE_BUSY_MS / 2));
    let wal = path.with_extension("db-wal");
    assert_ne!(std::fs::metadata(&wal).unwrap().len(), 0);
    reader.execute_batch("COMMIT").unwrap();
    assert!(writer.cut_wal().unwrap());
    assert_eq!(std::fs::metadata(&wal).unwrap().len(), 0);
    drop((writer, reader));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_closed_pool_waits_for_those_who_read_and_lends_nothing() {
    let path = std::env::temp_dir().join(format!("jog-close-{}.db", std::process::id()));
    let writer = Writer::new(open_writer(&path, false).unwrap(), |_| ()).unwrap();
    writer
        .exclusive(|c| Ok(c.execute_batch("CREATE TABLE t (n INTEGER); SELECT * FROM t")?))
        .unwrap();
    let readers = Readers::new(&path);
    let reading = std::sync::Barrier::new(2);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            readers.snapshot(|conn| {
                conn.query_row("SELECT count(*) FROM t", [], |_| Ok(()))?;
                reading.wait();
                std::thread::sleep(Duration::from_millis(200));
                Ok(())
            })
        });
        reading.wait();
        readers.close(Duration::from_secs(10));
        assert_eq!(lock(&readers.state).in_use, 0);
    });
    assert!(matches!(readers.read(|_| Ok(())), Err(StoreError::Closed)));
    writer.close(false).unwrap();
    assert!(matches!(writer.write(|_| Ok(())), Err(StoreError::Closed)));
    assert!(matches!(writer.exclusive(|_| Ok(())), Err(StoreError::Closed)));
    assert!(!path.with_extension("db-wal").exists());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn every_writer_gets_its_own_answer() {
    let writer = Arc::new(writer());
    let done = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..16)
        .map(|t| {
            let (writer, done) = (Arc::clone(&writer), Arc::clone(&done));
            std::thread::spawn(move || {
                for i in 0..100 {
                    let n = t * 100 + i;
                    let got = writer.write(move |c| {
                        c.execute("INSERT INTO t VALUES (?1)", [n])?;
                        Ok(n)
                    });
                    assert_eq!(got.unwrap(), n);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(done.load(Ordering::SeqCst), 1600);
    assert!(writer.commits.load(Ordering::SeqCst) <= 1600);
}
