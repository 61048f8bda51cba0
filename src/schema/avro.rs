//! The parts of Avro's binary encoding that the encoder writes. Knows no schema.

/// The index of the branch `null` in `["null", T]`.
pub(super) const NULL: u8 = 0;
/// The index of the branch `T` in `["null", T]`.
pub(super) const PRESENT: u8 = 2;

/// The longest encoding of a `long`.
const LONG_MAX_BYTES: usize = 10;

#[inline]
pub(super) fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[inline]
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_long(out, text.len() as i64);
    out.extend_from_slice(text.as_bytes());
}

/// Writes a `["null", T]`; `put` writes the value.
pub(super) fn put_optional<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => out.push(NULL),
        Some(value) => {
            out.push(PRESENT);
            put(out, value);
        }
    }
}

/// Opens an array whose length is not known yet. Returns its position for [`close_array`].
#[inline]
pub(super) fn open_array(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len() - 1
}

/// Closes the array opened at `at`, after its items have been written. One byte was reserved for the count: a count of 64
/// or more needs more bytes, so the items are moved.
pub(super) fn close_array(out: &mut Vec<u8>, at: usize, count: usize) {
    if count == 0 {
        return;
    }
    if count < 64 {
        out[at] = (count as u8) << 1;
    } else {
        let mut prefix = Vec::with_capacity(LONG_MAX_BYTES);
        put_long(&mut prefix, count as i64);
        out.splice(at..=at, prefix);
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put_long(&mut out, value);
        out
    }

    #[test]
    fn longs_are_zigzag_varints() {
        for (value, bytes) in [
            (0, vec![0]),
            (-1, vec![1]),
            (1, vec![2]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 1]),
            (i64::MAX, [vec![0xfe], vec![0xff; 8], vec![1]].concat()),
            (i64::MIN, [vec![0xff; 9], vec![1]].concat()),
        ] {
            assert_eq!(long(value), bytes, "{value}");
        }
    }

    #[test]
    fn a_count_is_put_in_front_of_the_items_whatever_its_length() {
        for count in [1_usize, 63, 64, 8191, 8192] {
            let mut out = vec![9];
            let at = open_array(&mut out);
            out.resize(out.len() + count, 7);
            close_array(&mut out, at, count);
            let expected = [vec![9], long(count as i64), vec![7; count], vec![0]].concat();
            assert_eq!(out, expected, "{count}");
        }
    }

    #[test]
    fn an_empty_array_is_one_zero() {
        let mut out = Vec::new();
        let at = open_array(&mut out);
        close_array(&mut out, at, 0);
        assert_eq!(out, [0]);
    }
}
