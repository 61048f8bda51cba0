//! Whether a field can hold a value exactly. An integer must be in canonical form. A double must be exactly the number that
//! was sent. Other values go into `unmapped` as they were sent. Knows text only, neither JSON nor Avro.

use std::io::Write;
use std::num::IntErrorKind;
use std::ops::RangeInclusive;

/// The integer, if `text` is its canonical form: no `+`, no leading zero, no `-0`.
pub(super) fn integer(text: &str) -> Option<i64> {
    match text.as_bytes() {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..] => text.parse().ok(),
        _ => None,
    }
}

/// The years 1 to 9999 in milliseconds since 1970. Python's `datetime`, Spark and others cannot represent other instants,
/// and a query fails at the first one.
const MILLIS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// The instant in milliseconds since 1970, if `text` is an integer in units of `unit_ms` and within [`MILLIS`].
pub(super) fn instant_ms(text: &str, unit_ms: i64) -> Option<i64> {
    integer(text)?
        .checked_mul(unit_ms)
        .filter(|at_ms| MILLIS.contains(at_ms))
}

/// The double, if `text` is a JSON number and the double's shortest decimal form is the same number. This is so for `0.1`
/// and `1e3`, not for `144115225971632501` and `0.1000000000000000000001`.
pub(super) fn double(text: &str) -> Option<f64> {
    let sent = Decimal::parse(text.as_bytes())?;
    let value: f64 = text.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    // In `e` notation, every double fits into 24 characters.
    let mut shortest = [0; 32];
    let mut room = &mut shortest[..];
    write!(room, "{value:e}").ok()?;
    let unused = room.len();
    let held = Decimal::parse(&shortest[..shortest.len() - unused])?;
    sent.equals(&held).then_some(value)
}

/// The parts of a JSON number, as text.
struct Decimal<'t> {
    negative: bool,
    whole: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
}

impl<'t> Decimal<'t> {
    /// None if `text` is not a number by JSON's grammar.
    fn parse(text: &'t [u8]) -> Option<Self> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let (whole, rest) = digits(rest);
        if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
            return None;
        }
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => match digits(rest) {
                ([], _) => return None,
                split => split,
            },
            rest => (&[][..], rest),
        };
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return None,
        };
        Some(Self {
            negative,
            whole,
            fraction,
            exponent,
        })
    }

    fn digits(&self) -> impl DoubleEndedIterator<Item = u8> + '_ {
        self.whole.iter().chain(self.fraction).copied()
    }

    /// Its digits without leading and trailing zeros. Zero has none.
    fn significant(&self) -> impl Iterator<Item = u8> + '_ {
        let trailing = self.digits().rev().take_while(|digit| *digit == b'0').count();
        let kept = self.whole.len() + self.fraction.len() - trailing;
        self.digits().take(kept).skip_while(|digit| *digit == b'0')
    }

    /// The power of ten of the first digit that is not zero. None for zero.
    fn magnitude(&self) -> Option<i64> {
        let first = self.digits().position(|digit| digit != b'0')?;
        Some((self.whole.len() as i64 - first as i64).saturating_add(self.exponent))
    }

    /// Whether both are the same number with the same sign.
    fn equals(&self, other: &Decimal<'_>) -> bool {
        self.negative == other.negative
            && self.magnitude() == other.magnitude()
            && self.significant().eq(other.significant())
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// The exponent. It saturates, since a double is infinite or zero long before that.
fn exponent(text: &[u8]) -> Option<i64> {
    match std::str::from_utf8(text).ok()?.parse::<i64>() {
        Ok(exponent) => Some(exponent),
        Err(cause) => match cause.kind() {
            IntErrorKind::PosOverflow => Some(i64::MAX),
            IntErrorKind::NegOverflow => Some(i64::MIN),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_has_one_way_to_be_written() {
        for text in [
            "0",
            "7",
            "-7",
            "9007199254740993",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert_eq!(integer(text).map(|value| value.to_string()).as_deref(), Some(text));
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "07",
            "+7",
            " 7",
            "7 ",
            "1e3",
            "1.0",
            "0x7",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
            "\u{0661}",
        ] {
            assert_eq!(integer(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_instant_is_of_the_years_1_to_9999() {
        for (text, unit_ms, instant) in [
            ("-62135596800000", 1, Some(-62_135_596_800_000)),
            ("-62135596800001", 1, None),
            ("253402300799999", 1, Some(253_402_300_799_999)),
            ("253402300800000", 1, None),
            ("9223372036854775807", 1, None),
            ("253402300799", 1000, Some(253_402_300_799_000)),
            ("253402300800", 1000, None),
            ("9223372036854776", 1000, None),
            ("1.5", 1, None),
        ] {
            assert_eq!(instant_ms(text, unit_ms), instant, "{text} by {unit_ms}");
        }
    }

    #[test]
    fn a_double_must_name_the_number_that_was_sent() {
        for (text, value) in [
            ("0", 0.0),
            ("-0.0", -0.0),
            ("0.1", 0.1),
            ("1.50", 1.5),
            ("1e3", 1000.0),
            ("1E+2", 100.0),
            ("120.00e-2", 1.2),
            ("0e99999999999999999999", 0.0),
            ("9007199254740992", 9_007_199_254_740_992.0),
            ("1.7976931348623157e308", f64::MAX),
            ("5e-324", 5e-324),
            ("144115225971632500", 144_115_225_971_632_500.0),
        ] {
            assert_eq!(double(text).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
        for text in [
            "",
            ".5",
            "5.",
            "01",
            "+1",
            "1e",
            "inf",
            "NaN",
            "1e400",
            "1e-400",
            "9007199254740993",
            "144115225971632501",
            "0.1000000000000000055511151231257827",
            "1_0",
            " 1",
            "0x1",
        ] {
            assert_eq!(double(text), None, "{text:?}");
        }
    }
}
