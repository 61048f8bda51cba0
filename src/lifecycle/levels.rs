//! The log levels, which can change while the process runs. It does not know who changes them or where lines are
//! written.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// What a text of levels may contain.
const ALLOWED: &str = "error, warn, info, debug, trace, off or <part>=<level>, separated by commas, are allowed, like warn,imbridge::forward=debug";
/// A longer text is refused.
const TEXT_BYTES_MAX: usize = 4096;

/// The current levels. Clones share them.
#[derive(Clone)]
pub struct Levels {
    handle: reload::Handle<EnvFilter, Registry>,
    text: Arc<Mutex<String>>,
}

/// A text that is not a list of levels: what is wrong, and what is allowed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; {ALLOWED}")]
pub struct LevelError(String);

impl Levels {
    /// The first levels, and the layer that applies them to log lines.
    ///
    /// # Errors
    /// [`LevelError`] if the text is wrong.
    pub fn new(text: &str) -> Result<(Levels, reload::Layer<EnvFilter, Registry>), LevelError> {
        let (layer, handle) = reload::Layer::new(filter(text)?);
        let text = Arc::new(Mutex::new(text.to_owned()));
        Ok((Levels { handle, text }, layer))
    }

    /// Checks a text of levels.
    ///
    /// # Errors
    /// [`LevelError`] if the text is wrong.
    pub fn check(text: &str) -> Result<(), LevelError> {
        filter(text).map(drop)
    }

    /// The text that was set last.
    pub fn get(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the levels, from the next log line on.
    ///
    /// # Errors
    /// [`LevelError`] if the text is wrong. The levels are then unchanged.
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
    // EnvFilter reads a word that is no level as the name of a part, logs everything of it and nothing of the others.
    let pieces: Vec<&str> = text.split(',').map(str::trim).collect();
    for piece in &pieces {
        if !piece.contains('=') && (piece.is_empty() || piece.parse::<LevelFilter>().is_err()) {
            return refuse(&format!("{piece:?} is no level"));
        }
    }
    // The HTTP server logs each malformed request, so a caller could fill the log. They are counted instead.
    let quiet = (!text.contains("actix_http")).then_some("actix_http=off");
    let full = [&pieces[..], quiet.as_slice()].concat().join(",");
    EnvFilter::try_new(full).or_else(|cause| refuse(&cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_text_changes_no_level() {
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
