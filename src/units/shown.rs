//! Text that somebody else wrote, on its way to a terminal or a report.

/// Whether a character does more than show itself: it controls a terminal, hides, or turns text
/// around.
#[must_use]
pub const fn is_harmful(c: char) -> bool {
    is_control(c)
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// As `char::is_control`, which is not const.
const fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_itself_is_harmless() {
        for c in "aä漢🙂 \u{fffd}".chars() {
            assert!(!is_harmful(c), "{c:?}");
        }
        for c in "\u{1b}\n\t\0\u{7f}\u{9b}\u{202e}\u{200b}\u{2066}\u{feff}".chars() {
            assert!(is_harmful(c), "{c:?}");
        }
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| c.is_control()) {
            assert!(is_harmful(c), "{c:?}");
        }
    }
}
