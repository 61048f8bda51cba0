//! What every part of the process needs: the request to stop, backoff between attempts, the wall clock, the log levels,
//! the watch over its threads, and the registration of its metrics.

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
