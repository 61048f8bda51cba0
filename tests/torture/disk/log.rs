//! The operations that the shim has logged, in the order of their effect. It does not know how a disk applies them.

const HEAD_BYTES: usize = 48;

/// An operation's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// A file was opened, and created if it did not exist. The name is relative, empty for the folder itself.
    Opened {
        name: &'a str,
        created: bool,
    },
    Wrote {
        offset: u64,
        data: &'a [u8],
    },
    Truncated {
        size: u64,
    },
    /// Covers everything that was written before. It is done when [`What::SyncEnded`] with the same number follows.
    SyncBegan {
        number: u64,
    },
    SyncEnded {
        number: u64,
    },
    /// The sync was reported as successful, but was not made.
    SyncIgnored,
    /// The sync was reported as failed. What it covered may never reach the disk, even if later syncs succeed.
    SyncFailed,
    Unlinked {
        name: &'a str,
    },
    Renamed {
        from: &'a str,
        to: &'a str,
    },
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    pub file: u64,
    /// On the monotonic clock. Before this time it had no effect, or had not been reported.
    pub at_ns: u64,
    pub what: What<'a>,
}

/// All operations of one process.
pub struct Log(Vec<u8>);

impl Log {
    pub fn new(bytes: Vec<u8>) -> Log {
        Log(bytes)
    }

    /// The operations in order. A last one that a kill has cut off is left out.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let (mut rest, mut found) = (self.0.as_slice(), Vec::new());
        while let Some((head, after)) = rest.split_at_checked(HEAD_BYTES) {
            let word = |at: usize| u64::from_ne_bytes(head[8 * at..8 * at + 8].try_into().expect("eight bytes"));
            let (kind, offset, length) = (word(0), word(4), word(5) as usize);
            let has_data = matches!(kind, 1 | 2 | 6 | 7);
            let Some((data, next)) = after.split_at_checked(if has_data { length } else { 0 }) else {
                break;
            };
            rest = next;
            found.push(Operation {
                file: word(1),
                at_ns: if kind == 5 { word(3) } else { word(2) },
                what: what(kind, offset, data),
            });
        }
        found
    }
}

fn what(kind: u64, offset: u64, data: &[u8]) -> What<'_> {
    match kind {
        1 => What::Opened {
            name: name(data),
            created: offset == 1,
        },
        2 => What::Wrote { offset, data },
        3 => What::Truncated { size: offset },
        4 => What::SyncBegan { number: offset },
        5 => What::SyncEnded { number: offset },
        6 => What::Unlinked { name: name(data) },
        7 => What::Renamed {
            from: name(&data[..offset as usize]),
            to: name(&data[offset as usize + 1..]),
        },
        8 => What::SyncIgnored,
        9 => What::SyncFailed,
        _ => panic!("the log has an operation of kind {kind}"),
    }
}

fn name(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes)
        .expect("names are text")
        .trim_start_matches('/')
}
