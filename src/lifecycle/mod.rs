//! What every part needs of the process's life: being asked to stop, how long to wait before trying again, what time it
//! is, how much to log, whether its threads are there, how its metrics are registered.

mod backoff;
mod clock;
mod levels;
mod metrics;
mod pulse;
mod stop;

pub use backoff::Backoff;
pub use clock::unix_ms;
pub use levels::{LevelError, Levels};
pub(crate) use metrics::metrics;
pub use pulse::{Pulse, Watched};
pub use stop::Stop;
