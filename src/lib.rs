pub mod callback;
pub mod lifecycle;
pub mod provider;
pub mod publish;
pub mod spool;
