//! Keeps secrets out of what is copied of a target's output.
//!
//! A secret is looked for as it is, as JSON and URLs write it, and by its lines where it has
//! several. A target that turns it into something else (base64, half of it) is not seen through.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::plan::EnvVar;

/// What stands in a secret's place.
const STARS: &[u8] = b"***";

/// Lines of a secret of several lines that are shorter than this are no secret of their own:
/// braces, a heading's dashes.
const LINE_BYTES_MIN: usize = 8;

/// Masks secrets in a stream that comes in pieces.
#[derive(Debug, Clone)]
pub(super) struct Mask {
    finder: AhoCorasick,
    secrets: Vec<Vec<u8>>,
}

impl Mask {
    /// Masks the secret ones of these variables; none where none is.
    pub(super) fn of(env: &[EnvVar]) -> Option<Self> {
        let values = env.iter().filter(|var| var.secret).map(|var| var.value.as_str());
        let mut secrets: Vec<Vec<u8>> = values.flat_map(forms).collect();
        secrets.sort();
        secrets.dedup();
        secrets.retain(|secret| !secret.is_empty());
        if secrets.is_empty() {
            return None;
        }
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&secrets);
        Some(Self { finder: finder.expect("an environment is too small to fail"), secrets })
    }

    /// The next piece of a stream as far as it can be shown. What may be the start of a secret
    /// waits in `held` for the rest.
    pub(super) fn pass(&self, held: &mut Vec<u8>, piece: &[u8]) -> Vec<u8> {
        let mut whole = std::mem::take(held);
        whole.extend_from_slice(piece);
        let mut shown = Vec::with_capacity(whole.len());
        let mut from = 0;
        let mut hold = whole.len() - self.begun(&whole);
        for found in self.finder.find_iter(&whole) {
            if found.start() >= hold {
                break;
            }
            shown.extend_from_slice(&whole[from..found.start()]);
            shown.extend_from_slice(STARS);
            from = found.end();
            if from > hold {
                hold = whole.len() - self.begun(&whole[from..]);
            }
        }
        shown.extend_from_slice(&whole[from..hold]);
        *held = whole.split_off(hold);
        shown
    }

    /// What was held, once nothing follows any more.
    pub(super) fn rest(&self, held: &mut Vec<u8>) -> Vec<u8> {
        let held = std::mem::take(held);
        self.finder.replace_all_bytes(&held, &vec![STARS; self.secrets.len()])
    }

    /// How many of the last bytes may be the start of a secret.
    fn begun(&self, bytes: &[u8]) -> usize {
        let begun = |secret: &Vec<u8>| {
            let most = bytes.len().min(secret.len() - 1);
            (1..=most).rev().find(|length| bytes.ends_with(&secret[..*length]))
        };
        self.secrets.iter().filter_map(begun).max().unwrap_or(0)
    }
}

/// The forms in which a value is looked for.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let json = serde_json::to_string(value).expect("a string has a JSON form");
    let in_url: Cow<'_, str> = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN);
    let mut forms: Vec<Vec<u8>> = lines.map(|line| line.as_bytes().to_vec()).collect();
    forms.push(value.as_bytes().to_vec());
    forms.push(json.as_bytes()[1..json.len() - 1].to_vec());
    forms.push(in_url.as_bytes().to_vec());
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(secrets: &[&str]) -> Mask {
        let env: Vec<EnvVar> = secrets
            .iter()
            .map(|value| EnvVar { name: "A".into(), value: (*value).into(), secret: true })
            .collect();
        Mask::of(&env).unwrap()
    }

    fn passed(mask: &Mask, pieces: &[&str]) -> String {
        let mut held = Vec::new();
        let mut shown: Vec<u8> =
            pieces.iter().flat_map(|piece| mask.pass(&mut held, piece.as_bytes())).collect();
        shown.extend(mask.rest(&mut held));
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn a_secret_is_masked_however_it_is_cut() {
        let mask = mask(&["s3cret!"]);
        assert_eq!(passed(&mask, &["a s3cret! b s3cret!"]), "a *** b ***");
        assert_eq!(passed(&mask, &["a s3c", "re", "t! b"]), "a *** b");
        assert_eq!(passed(&mask, &["s3s3cret!", "!"]), "s3***!");
        assert_eq!(passed(&mask, &["s3cre", "am"]), "s3cream");
    }

    #[test]
    fn nothing_waits_that_is_no_start_of_a_secret() {
        let (mask, mut held) = (mask(&["s3cret!"]), Vec::new());
        assert_eq!(mask.pass(&mut held, b"listening on 80\n"), b"listening on 80\n");
        assert_eq!(mask.pass(&mut held, b"is"), b"i");
        assert_eq!(held, b"s");
    }

    #[test]
    fn the_longer_of_two_secrets_is_masked_whole() {
        let mask = mask(&["abcd", "abcdefgh", "cdx"]);
        assert_eq!(passed(&mask, &["abcd", "efgh"]), "***");
        assert_eq!(passed(&mask, &["abcd", "ef"]), "***ef");
        assert_eq!(passed(&mask, &["abcdx"]), "***x");
    }

    #[test]
    fn other_ways_to_write_a_secret_are_masked_too() {
        let key = "-----BEGIN-----\nAbCdEfGh/+=\n-----END-----\n";
        let mask = mask(&["a \"b\"/c", key]);
        assert_eq!(passed(&mask, &[r#"{"k":"a \"b\"/c"}"#]), r#"{"k":"***"}"#);
        assert_eq!(passed(&mask, &["?k=a+%22b%22%2Fc&"]), "?k=***&");
        assert_eq!(passed(&mask, &["key AbCdEfGh/+= read"]), "key *** read");
        assert!(!passed(&mask, &[key]).contains("AbCd"));
    }

    #[test]
    fn what_is_no_secret_is_not_masked() {
        let var = |secret, value: &str| EnvVar { name: "A".into(), value: value.into(), secret };
        assert!(Mask::of(&[var(false, "info"), var(true, "")]).is_none());
    }

    proptest! {
        #[test]
        fn no_cut_lets_a_secret_through(
            text in "[abc]{0,60}",
            secrets in prop::collection::vec("[abc]{1,5}", 1..4),
            cuts in prop::collection::vec(0_usize..60, 0..8),
        ) {
            let mask = mask(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            let shown = passed(&mask, &pieces);
            prop_assert!(secrets.iter().all(|secret| !shown.contains(secret.as_str())), "{}", shown);
        }
    }
}
