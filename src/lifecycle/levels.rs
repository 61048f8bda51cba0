//! The log's levels, which can change while the process runs. It knows neither who changes them nor where lines go.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// What may be said.
const ALLOWED: &str = "error, warn, info, debug, trace, off or <part>=<level>, separated by commas, are allowed, like warn,imbridge::forward=debug";
/// More than anyone writes.
const TEXT_BYTES_MAX: usize = 4096;

/// The levels in force. Clones share them.
#[derive(Clone)]
pub struct Levels {
    handle: reload::Handle<EnvFilter, Registry>,
    text: Arc<Mutex<String>>,
}

/// A text that names no levels: what is wrong, and what is allowed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; {ALLOWED}")]
pub struct LevelError(String);

impl Levels {
    /// Levels to begin with, and the layer that lets through what they say.
    ///
    /// # Errors
    /// [`LevelError`] for a text that names none.
    pub fn new(text: &str) -> Result<(Levels, reload::Layer<EnvFilter, Registry>), LevelError> {
        let (layer, handle) = reload::Layer::new(filter(text)?);
        let text = Arc::new(Mutex::new(text.to_owned()));
        Ok((Levels { handle, text }, layer))
    }

    /// Whether a text names levels.
    ///
    /// # Errors
    /// [`LevelError`] where it does not.
    pub fn check(text: &str) -> Result<(), LevelError> {
        filter(text).map(drop)
    }

    /// As they were given last.
    pub fn get(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes them, from the next line on.
    ///
    /// # Errors
    /// [`LevelError`]; nothing has changed then.
    pub fn set(&self, text: &str) -> Result<(), LevelError> {
        let filter = filter(text)?;
        let mut current = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle
            .reload(filter)
            .map_err(|cause| LevelError(cause.to_string()))?;
        text.clone_into(&mut current);
        Ok(())
    }
}

fn filter(text: &str) -> Result<EnvFilter, LevelError> {
    let refuse = |why: &str| Err(LevelError(format!("{text:?}: {why}")));
    if text.len() > TEXT_BYTES_MAX {
        return Err(LevelError(format!("{} bytes are too many", text.len())));
    }
    // A word that is no level would be read as a part of which everything is logged, and nothing of any other.
    let pieces: Vec<&str> = text.split(',').map(str::trim).collect();
    for piece in &pieces {
        if !piece.contains('=') && (piece.is_empty() || piece.parse::<LevelFilter>().is_err()) {
            return refuse(&format!("{piece:?} is no level"));
        }
    }
    // The HTTP server has a line for each request that is none, as many as a caller likes; those are counted instead.
    let quiet = (!text.contains("actix_http")).then_some("actix_http=off");
    let full = [&pieces[..], quiet.as_slice()].concat().join(",");
    EnvFilter::try_new(full).or_else(|cause| refuse(&cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_names_no_levels_changes_nothing() {
        let (levels, _layer) = Levels::new("info").unwrap();
        for nonsense in ["", "loud", "info,", "info,imbridge::forward=loud", "imbridge::forward"] {
            let error = levels.set(nonsense).unwrap_err().to_string();
            assert!(error.contains("debug, trace"), "{nonsense}: {error}");
        }
        assert!(levels.set(&"info,".repeat(2000)).is_err());
        assert_eq!(levels.get(), "info");
        levels.set("warn, imbridge::forward=debug").unwrap();
        assert_eq!(levels.get(), "warn, imbridge::forward=debug");
    }
}
