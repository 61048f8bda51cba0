//! Whether a field holds a value exactly. An integer must be in canonical text, a double must name the very number
//! that was sent; otherwise the value is left as it came. Knows text only, neither JSON nor Avro.

/// Longest text of an `i64`.
const LONG_MAX_CHARS: usize = 20;

/// The integer, if `text` is the one way to write it: no `+`, no leading zero, no `-0`.
pub(super) fn integer(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if bytes.len() <= LONG_MAX_CHARS => {}
        _ => return None,
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Counting downwards reaches i64::MIN, which has no positive counterpart.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// The double, if `text` is a JSON number and the double's shortest decimal form is that same number. `0.1` and `1e3` are held,
/// `144115225971632501` and `0.1000000000000000000001` are not.
pub(super) fn double(text: &str) -> Option<f64> {
    let sent = Decimal::parse(text)?;
    let value: f64 = text.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    let mut shortest = ShortText::default();
    std::fmt::Write::write_fmt(&mut shortest, format_args!("{value:e}")).ok()?;
    let held = Decimal::parse(shortest.as_str())?;
    (sent.negative == held.negative && sent.same_magnitude(&held)).then_some(value)
}

/// A JSON number taken apart, without reading its value.
struct Decimal<'t> {
    negative: bool,
    whole: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
}

impl<'t> Decimal<'t> {
    /// None if `text` is not a number by JSON's grammar.
    fn parse(text: &'t str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes() {
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

    fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        self.whole.iter().chain(self.fraction).copied()
    }

    fn leading_zeros(&self) -> usize {
        self.digits().take_while(|digit| *digit == b'0').count()
    }

    fn is_zero(&self) -> bool {
        self.digits().all(|digit| digit == b'0')
    }

    /// The power of ten of the first digit that is not zero.
    fn magnitude(&self) -> i64 {
        (self.whole.len() as i64 - self.leading_zeros() as i64).saturating_add(self.exponent)
    }

    fn same_magnitude(&self, other: &Decimal<'_>) -> bool {
        if self.is_zero() || other.is_zero() {
            return self.is_zero() && other.is_zero();
        }
        if self.magnitude() != other.magnitude() {
            return false;
        }
        let mut ours = self.digits().skip(self.leading_zeros());
        let mut theirs = other.digits().skip(other.leading_zeros());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (a, b) if a.unwrap_or(b'0') != b.unwrap_or(b'0') => return false,
                _ => {}
            }
        }
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// Saturates: a double is infinite or zero long before that.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (digits, rest) = digits(text);
    if digits.is_empty() || !rest.is_empty() {
        return None;
    }
    let value = digits.iter().fold(0_i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    Some(if negative { -value } else { value })
}

/// A double's shortest form in `e` notation; 24 characters are enough for every one.
#[derive(Default)]
struct ShortText {
    bytes: [u8; 32],
    len: usize,
}

impl ShortText {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("only whole strings are written")
    }
}

impl std::fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self
            .bytes
            .get_mut(self.len..self.len + text.len())
            .ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
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
