//! The bridge as a library; the binary is a thin shell around it.

pub mod callback;
pub mod schema;
