//! The caller's W3C trace context. It is passed from the request to the headers in Kafka unchanged, and the bridge
//! never makes one. A context that is not of the recommendation's form is dropped.

use serde::{Deserialize, Serialize};

/// Lengths of version, trace, span and flags, which dashes separate.
const PARENT_LENGTHS: [usize; 4] = [2, 32, 16, 2];
/// The recommendation requires every system to pass on so many bytes; more are dropped.
const STATE_BYTES_MAX: usize = 512;

/// A valid `traceparent`, and the `tracestate` that came with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The caller's trace and span: `00-<trace>-<span>-<flags>`.
    pub parent: String,
    /// Opaque data of tracing systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl Trace {
    /// The context of these headers; `None` without a valid `traceparent`. An invalid `tracestate` is left out.
    pub fn of(parent: Option<&str>, state: Option<&str>) -> Option<Trace> {
        let parent = parent.filter(|parent| is_parent(parent))?.to_owned();
        let state = state.map(str::trim).filter(|state| is_state(state)).map(str::to_owned);
        Some(Trace { parent, state })
    }

    /// 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.part(1)
    }

    /// The caller's span, 16 hexadecimal digits.
    pub fn span_id(&self) -> &str {
        self.part(2)
    }

    /// Whether the caller records this trace.
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(self.part(3), 16).is_ok_and(|flags| flags & 1 == 1)
    }

    /// A part of `parent`; empty if a spooled one was changed by hand.
    fn part(&self, index: usize) -> &str {
        self.parent.split('-').nth(index).unwrap_or_default()
    }
}

fn is_parent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    parts.iter().map(|part| part.len()).eq(PARENT_LENGTHS)
        && parts.iter().all(|part| is_hex(part))
        && parts[0] != "ff"
        && !is_zero(parts[1])
        && !is_zero(parts[2])
}

fn is_state(text: &str) -> bool {
    let printable = |byte| (b' '..=b'~').contains(&byte) || byte == b'\t';
    !text.is_empty() && text.len() <= STATE_BYTES_MAX && text.contains('=') && text.bytes().all(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_passed_on_unchanged() {
        let trace = Trace::of(Some(PARENT), Some("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")).unwrap();
        assert_eq!(trace.parent, PARENT);
        assert_eq!(
            (trace.trace_id(), trace.span_id(), trace.is_sampled()),
            ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", true)
        );
        assert!(
            !Trace::of(Some(&PARENT.replace("-01", "-00")), None)
                .unwrap()
                .is_sampled()
        );
        assert_eq!(trace.state.as_deref(), Some("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"));
    }

    #[test]
    fn a_context_that_is_not_of_the_form_is_dropped() {
        for parent in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47-3600f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::of(Some(parent), Some("a=b")), None, "{parent}");
        }
        assert_eq!(Trace::of(None, Some("a=b")), None);
        for state in [
            "",
            " ",
            "no member",
            "a=\u{e9}",
            "a=b\nc=d",
            &format!("a={}", "b".repeat(511)),
        ] {
            let trace = Trace::of(Some(PARENT), Some(state)).unwrap();
            assert_eq!(trace.state, None, "{state:?}");
        }
    }
}
