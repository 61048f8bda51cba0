pub mod callback;
pub mod spool;
