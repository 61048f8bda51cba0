//! What a command is to the IM server that sends it. Plain types; knows no part of the bridge.

/// Whether the IM server waits for the answer to decide something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Before,
    After,
}

/// What a success answer carries beyond the provider's neutral one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Neutral,
    Echo(Vec<String>),
    ResultItem(String),
    Ignore,
}
