//! What every part needs of the process's life: being asked to stop, and how long to wait before trying again.

mod backoff;
mod stop;

pub use backoff::Backoff;
pub use stop::Stop;
