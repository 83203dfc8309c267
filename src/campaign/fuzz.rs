//! Searches of any bytes, for the fuzz targets.

/// The text of a `size.jsonl`.
pub fn size_state(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        super::size::fuzz(text);
    }
}
