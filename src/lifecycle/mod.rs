//! What every part needs of the process's life: being asked to stop, how long to wait before trying again, what time it is.

mod backoff;
mod clock;
mod stop;

pub use backoff::Backoff;
pub use clock::unix_ms;
pub use stop::Stop;
