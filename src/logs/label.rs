//! Groups of paths.

/// What stands for a part of a path that names one thing among many.
const PLACE: &str = "{id}";

/// The fewest digits of a hexadecimal name.
const HEX_DIGITS_MIN: usize = 8;

/// The template that a path follows: its query is dropped, and `{id}` stands for each segment that
/// is a number, a UUID or a hexadecimal name of at least eight digits, one of them decimal (so that
/// no word counts as one).
#[must_use]
pub fn label(path: &str) -> String {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let mut label = String::with_capacity(end);
    for (index, segment) in path[..end].split('/').enumerate() {
        if index > 0 {
            label.push('/');
        }
        label.push_str(if is_name(segment) { PLACE } else { segment });
    }
    label
}

fn is_name(segment: &str) -> bool {
    let has_digit = segment.bytes().any(|byte| byte.is_ascii_digit());
    let all = |is: fn(&u8) -> bool| !segment.is_empty() && segment.as_bytes().iter().all(is);
    all(u8::is_ascii_digit)
        || segment.len() >= HEX_DIGITS_MIN && has_digit && all(u8::is_ascii_hexdigit)
        || is_uuid(segment)
}

/// Whether it is a UUID in the usual form, with hyphens.
fn is_uuid(segment: &str) -> bool {
    segment.len() == 36 && uuid::Uuid::try_parse(segment).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_collapse_and_words_stay() {
        for (path, expected) in [
            ("/", "/"),
            ("/users/42?x=1", "/users/{id}"),
            ("/users/42/", "/users/{id}/"),
            ("/a/67e55044-10b1-426f-9247-bb680e5fe0c8/b", "/a/{id}/b"),
            ("/a/DEADBEEF1", "/a/{id}"),
            ("/a/deadbeef", "/a/deadbeef"),
            ("/a/beef123", "/a/beef123"),
            ("/v1/facade?id=3#x", "/v1/facade"),
            ("//1", "//{id}"),
        ] {
            assert_eq!(label(path), expected, "{path}");
        }
    }
}
