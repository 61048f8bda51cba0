//! The head of a spool's file: its format, its spool id, the key of its checksums, its last record. It also converts a
//! file of an older format; otherwise it knows no records.

use rusqlite::types::Value;
use tracing::info;

use super::database::{Database, DatabaseError, FORMAT};
use super::record::{Checksum, Record};

/// The format whose checksums have no key.
const UNKEYED: i64 = 1;
/// Bytes of records that a conversion reads at a time.
const STEP_BYTES: usize = 1 << 20;

type Result<T> = std::result::Result<T, DatabaseError>;

/// Everything in a file except its records.
pub(super) struct Head {
    pub delivered: u64,
    /// The last record that the file is known to hold, or to have held.
    pub appended: u64,
    pub state: Vec<(String, Value)>,
    pub notes: Vec<(String, String)>,
}

impl Database {
    /// Initialises a new file for this spool. Checks that an existing file belongs to it, and converts an older format.
    pub fn claim(&mut self, spool_id: &str) -> Result<()> {
        if self.state::<i64>("format")?.is_none() {
            // There are records, so the page with the format is lost.
            if self.read_state()?.appended > 0 {
                return Err(DatabaseError::Incomplete("its format"));
            }
            self.initialise(spool_id)?;
        }
        let found: String = self.state("spool_id")?.unwrap_or_default();
        if found != spool_id {
            let wanted = spool_id.to_owned();
            return Err(DatabaseError::OtherSpool { found, wanted });
        }
        if self.load_checksum()? == UNKEYED {
            self.add_key()?;
        }
        Ok(())
    }

    /// Loads the kind and the key of the file's checksums. Returns the file's format.
    pub fn load_checksum(&mut self) -> Result<i64> {
        let format = self.state("format")?.ok_or(DatabaseError::Incomplete("its format"))?;
        self.checksum = match format {
            UNKEYED => Checksum::Crc32,
            FORMAT => {
                let key = self.state("key")?;
                Checksum::Keyed(key.ok_or(DatabaseError::Incomplete("the key of its checksums"))?)
            }
            found => return Err(DatabaseError::Format { found }),
        };
        Ok(format)
    }

    fn initialise(&self, spool_id: &str) -> Result<()> {
        self.begin()?;
        self.set_state("format", FORMAT)?;
        self.set_state("spool_id", spool_id)?;
        self.set_state("delivered", 0)?;
        self.connection.execute(
            "INSERT INTO state (key, value) VALUES ('incarnation', lower(hex(randomblob(6)))), ('key', randomblob(16))",
            [],
        )?;
        self.commit()
    }

    /// Converts a file of format 1 to this one, in one transaction. A record is intact after it exactly if it was
    /// before.
    fn add_key(&mut self) -> Result<()> {
        info!("the spool's file has format 1 and is converted: each record gets a checksum with a key");
        self.begin()?;
        self.connection
            .execute("INSERT INTO state (key, value) VALUES ('key', randomblob(16))", [])?;
        let key = self.state("key")?.ok_or(DatabaseError::Incomplete("its key"))?;
        let keyed = Checksum::Keyed(key);
        let mut after = 0;
        loop {
            let records = self.read(after, STEP_BYTES)?;
            let Some(last) = records.last() else { break };
            after = last.seq;
            let mut statement = self
                .connection
                .prepare_cached("UPDATE record SET crc = ?2 WHERE seq = ?1")?;
            for Record {
                seq,
                appended_at_ms,
                data,
                intact,
            } in &records
            {
                let sum = if *intact {
                    keyed.of(*seq, *appended_at_ms, data)
                } else {
                    keyed.of_lost(*seq, *appended_at_ms)
                };
                statement.execute([*seq as i64, sum])?;
            }
        }
        self.set_state("format", FORMAT)?;
        self.commit()?;
        self.checksum = keyed;
        Ok(())
    }

    /// Everything but the records.
    pub fn head(&self) -> Result<Head> {
        let delivered: i64 = self
            .state("delivered")?
            .filter(|delivered| *delivered >= 0)
            .ok_or(DatabaseError::Incomplete("its delivered position"))?;
        let _: String = self
            .state("incarnation")?
            .ok_or(DatabaseError::Incomplete("its incarnation"))?;
        // The records may go further than the last noted number, if they can be read.
        let counted = self.read_state().map_or(0, |state| state.appended);
        let mut statement = self.connection.prepare("SELECT key, value FROM state")?;
        let state = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Head {
            delivered: delivered as u64,
            appended: counted.max(self.noted_last().unwrap_or(0)),
            state: state.collect::<rusqlite::Result<_>>()?,
            notes: self.notes()?,
        })
    }

    /// The last record at the last opening or closing, if its checksum is right: a changed byte must not make up a
    /// number.
    pub fn noted_last(&self) -> Option<u64> {
        let noted: Vec<u8> = self.state("last").ok()??;
        let (last, sum) = noted.split_first_chunk()?;
        let last = u64::from_le_bytes(*last);
        (sum == self.checksum.of(last, 0, b"last").to_le_bytes()).then_some(last)
    }

    /// Notes the last record. If its page is destroyed, only this note shows that it was there.
    pub fn note_last(&self, last: u64) -> Result<()> {
        let sum = self.checksum.of(last, 0, b"last");
        self.set_state("last", [last.to_le_bytes(), sum.to_le_bytes()].concat())
    }
}
