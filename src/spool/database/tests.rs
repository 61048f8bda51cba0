//! The file alone: what it stores, and which files are refused.

use super::*;

#[test]
fn the_file_stores_its_records_its_positions_and_its_notes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let (database, created) = Database::open_writer(&path, "a").unwrap();
    assert_eq!((created.appended, created.delivered, created.retired), (0, 0, 0));
    database.begin().unwrap();
    database
        .insert(1, 5, &[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()])
        .unwrap();
    database.set_delivered(2).unwrap();
    database.set_note("topic/0", "17").unwrap();
    database.retire(1).unwrap();
    database.commit().unwrap();
    drop(database);
    let (database, state) = Database::open_writer(&path, "a").unwrap();
    assert_eq!(
        state,
        State {
            incarnation: created.incarnation,
            appended: 3,
            delivered: 2,
            retired: 1
        }
    );
    assert_eq!(database.notes().unwrap(), [("topic/0".to_owned(), "17".to_owned())]);
    let records = database.read(1, usize::MAX).unwrap();
    assert_eq!(
        records.iter().map(|record| record.data.as_ref()).collect::<Vec<_>>(),
        [&b"two"[..], b"three"]
    );
    assert!(records.iter().all(|record| record.intact));
    assert_eq!(database.read(1, 1).unwrap().len(), 1);
}

#[test]
fn a_file_whose_wal_cannot_be_copied_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let (database, _) = Database::open_writer(&path, "a").unwrap();
    database.insert(1, 5, &[b"one".to_vec()]).unwrap();
    let reader = Database::open(&path).unwrap();
    let mut statement = reader.connection.prepare("SELECT seq FROM record").unwrap();
    let mut rows = statement.query([]).unwrap();
    rows.next().unwrap();
    database.insert(2, 5, &[b"two".to_vec()]).unwrap();
    drop(database);
    assert!(matches!(Database::open_writer(&path, "a"), Err(DatabaseError::Busy)));
    drop(rows);
    assert_eq!(Database::open_writer(&path, "a").unwrap().1.appended, 2);
}

#[test]
fn a_changed_byte_is_found_by_the_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let (database, _) = Database::open_writer(&folder.path().join("spool.db"), "a").unwrap();
    database.insert(1, 5, &[b"one".to_vec()]).unwrap();
    database
        .connection
        .execute("UPDATE record SET data = x'6f6e66'", [])
        .unwrap();
    assert!(!database.read(0, usize::MAX).unwrap()[0].intact);
}

#[test]
fn a_file_of_another_spool_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    drop(Database::open_writer(&path, "a").unwrap());
    assert!(matches!(
        Database::open_writer(&path, "b"),
        Err(DatabaseError::OtherSpool { .. })
    ));
}

#[test]
fn a_file_system_without_shared_memory_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    // SQLite's own layer for file systems without locks. It has no shared memory, so SQLite chooses another mode.
    let uri = format!("file:{}?vfs=unix-dotfile", folder.path().join("spool.db").display());
    let refused = Database::open_writer(Path::new(&uri), "a")
        .err()
        .expect("it has no WAL");
    assert!(
        matches!(&refused, DatabaseError::NoWal { found } if found == "delete"),
        "{refused}"
    );
    assert!(!refused.may_pass() && !refused.is_damage());
    assert!(refused.to_string().contains("local disk"), "{refused}");
}

/// Writes a file of format 1 with three records. The second has a changed byte, the third stands for a lost one.
fn write_format_1(path: &Path) {
    let (database, _) = Database::open_writer(path, "a").unwrap();
    let crc = |seq, data: &[u8]| Checksum::Crc32.of(seq, 0, data);
    let rows = [
        (1, crc(1, b"one"), &b"one"[..]),
        (2, crc(2, b"two"), b"tow"),
        (3, -1, b""),
    ];
    for (seq, crc, data) in rows {
        database
            .connection
            .execute(
                "INSERT INTO record (seq, appended_at_ms, crc, data) VALUES (?1, 5, ?2, ?3)",
                params![seq, crc, data],
            )
            .unwrap();
    }
    database
        .connection
        .execute("DELETE FROM state WHERE key IN ('key', 'last')", [])
        .unwrap();
    database.set_state("format", 1).unwrap();
}

#[test]
fn a_file_of_format_1_gets_a_key_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    write_format_1(&path);
    for _ in 0..2 {
        let (database, state) = Database::open_writer(&path, "a").unwrap();
        assert_eq!(state.appended, 3);
        assert_eq!(database.state::<i64>("format").unwrap(), Some(FORMAT));
        assert!(matches!(database.checksum, Checksum::Keyed(_)));
        let records = database.read(0, usize::MAX).unwrap();
        let found: Vec<_> = records.iter().map(|record| (&record.data[..], record.intact)).collect();
        assert_eq!(found, [(&b"one"[..], true), (b"tow", false), (b"", false)]);
    }
}

#[test]
fn two_files_have_two_keys() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name| {
        Database::open_writer(&folder.path().join(name), "a")
            .unwrap()
            .0
            .checksum
    };
    assert_ne!(open("a.db"), open("b.db"));
}

#[test]
fn a_number_that_no_record_can_have_is_damage() {
    for change in [
        "INSERT INTO record VALUES (0, 5, 0, x'')",
        "INSERT INTO record VALUES (-7, 5, 0, x'')",
        "UPDATE state SET value = -1 WHERE key = 'delivered'",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool.db");
        let (database, _) = Database::open_writer(&path, "a").unwrap();
        database.connection.execute_batch(change).unwrap();
        drop(database);
        let refused = Database::open_writer(&path, "a").err().unwrap();
        assert!(refused.is_damage(), "{change}: {refused}");
    }
}
