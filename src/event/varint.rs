//! Numbers of variable length (LEB128), and signed ones folded into them.

/// Folds a signed number so that those near 0 become small: 0, −1, 1, −2 become 0, 1, 2, 3.
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// What [`zigzag`] folded.
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Appends a number: seven bits a byte, the lowest first.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("what is left fits in seven bits"));
}

/// Takes a number off the front; none where it does not end.
#[inline]
pub(crate) fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    // Most numbers are small, and there are a hundred million of them in a day's recording.
    let (&first, tail) = rest.split_first()?;
    *rest = tail;
    if first & 0x80 == 0 {
        return Some(first.into());
    }
    let (mut value, mut shift) = (u64::from(first & 0x7f), 7);
    while shift < u64::BITS {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back(numbers in prop::collection::vec((any::<u64>(), 0_u32..64), 0..20)) {
            let numbers: Vec<u64> = numbers.iter().map(|(number, by)| number >> by).collect();
            let mut out = Vec::new();
            for number in &numbers {
                write_varint(&mut out, *number);
                prop_assert_eq!(unzigzag(zigzag(number.cast_signed())).cast_unsigned(), *number);
            }
            let mut rest = out.as_slice();
            let read: Vec<u64> = std::iter::from_fn(|| read_varint(&mut rest)).collect();
            prop_assert_eq!(read, numbers);
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_number_without_an_end_is_none() {
        assert_eq!(read_varint(&mut [0x80; 20].as_slice()), None);
        assert_eq!(read_varint(&mut [0x80; 3].as_slice()), None);
    }
}
