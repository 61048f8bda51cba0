//! The file by itself: what it remembers, and what it refuses.

use super::*;

#[test]
fn the_file_remembers_its_records_its_position_and_its_notes() {
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
    let mut statement = reader.0.prepare("SELECT seq FROM record").unwrap();
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
    database.0.execute("UPDATE record SET data = x'6f6e66'", []).unwrap();
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
