//! Files that bodies are made of.

use std::path::PathBuf;

use serde_json::Value as Json;
use serde_json_path::JsonPath;

use super::Context;
use crate::scenario::reader::At;
use crate::units::Bytes;

/// The largest body, and the largest directory of them: they are kept in memory.
pub(super) const BODY_MAX: Bytes = Bytes::from_mib(256);

/// A file's path and content.
pub(super) fn read(at: &At<String>, context: &Context<'_>) -> Option<(PathBuf, Vec<u8>)> {
    let path = context.path(&at.value);
    let length = std::fs::metadata(&path).map_or(0, |meta| meta.len());
    if Bytes::new(length) > BODY_MAX {
        let message = format!("the body file `{}` is too large", path.display());
        context.notes.fault(&at.place, message, format!("{BODY_MAX} at most"));
        return None;
    }
    match std::fs::read(&path) {
        Ok(bytes) => Some((path, bytes)),
        Err(error) => {
            let message = format!("failed to read the body file `{}`: {error}", path.display());
            let help = "paths are relative to the scenario's directory";
            context.notes.fault(&at.place, message, help);
            None
        }
    }
}

/// All files of a directory, but for hidden ones, by name.
pub(super) fn read_all(at: &At<String>, context: &Context<'_>) -> Option<Vec<(PathBuf, Vec<u8>)>> {
    let directory = context.path(&at.value);
    let refused = |why: String| {
        let message = format!("failed to read bodies from `{}`: {why}", directory.display());
        let help = "a directory with the files to send; its path is relative to the scenario's";
        context.notes.fault(&at.place, message, help);
    };
    let listed = std::fs::read_dir(&directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<PathBuf> = match listed {
        Ok(entries) => entries.iter().map(std::fs::DirEntry::path).collect(),
        Err(error) => {
            refused(error.to_string());
            return None;
        }
    };
    let hidden = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
    };
    paths.retain(|path| path.is_file() && !hidden(path));
    paths.sort();
    let all: u64 =
        paths.iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum();
    if Bytes::new(all) > BODY_MAX {
        refused(format!("its files are larger than {BODY_MAX} together"));
        return None;
    }
    if paths.is_empty() {
        refused("there is no file in it".to_owned());
        return None;
    }
    let read = |path: PathBuf| match std::fs::read(&path) {
        Ok(bytes) => Some((path, bytes)),
        Err(error) => {
            refused(format!("{}: {error}", path.display()));
            None
        }
    };
    paths.into_iter().map(read).collect()
}

/// What stands before a list's items, the items, and what stands after.
type Split = (Vec<u8>, Vec<Vec<u8>>, Vec<u8>);

/// Splits JSON around the items of the list that a `JSONPath` leads to.
pub(super) fn split(bytes: &[u8], path: &str) -> Result<Split, String> {
    let json: Json = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let path = JsonPath::parse(path).map_err(|error| error.message().to_owned())?;
    let place = path
        .query_located(&json)
        .exactly_one()
        .map_err(|_| "the path leads to none or several places".to_owned())?
        .location()
        .to_json_pointer();
    let list = json.pointer(&place).and_then(Json::as_array).ok_or("there is no list")?;
    let items: Vec<Vec<u8>> = list.iter().map(|item| item.to_string().into_bytes()).collect();
    if items.is_empty() {
        return Err("the list is empty".to_owned());
    }
    // Marked by a text that the sample doesn't hold, and then cut there.
    let whole = json.to_string();
    let mark = (0..=u32::MAX)
        .map(|n| format!("highwater {n}"))
        .find(|mark| !whole.contains(mark.as_str()));
    let mark = mark.unwrap_or_default();
    let mut marked = json;
    if let Some(list) = marked.pointer_mut(&place) {
        *list = Json::from(vec![mark.clone()]);
    }
    let marked = marked.to_string();
    let (head, tail) =
        marked.split_once(&format!("\"{mark}\"")).ok_or("its place can't be found again")?;
    Ok((head.into(), items, tail.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_split_around_its_items() {
        let (head, items, tail) =
            split(br#"{"a": {"items": [1, {"b": 2}]}, "z": "highwater 0"}"#, "$.a.items").unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(
            (text(&head), text(&tail)),
            ("{\"a\":{\"items\":[".into(), "]},\"z\":\"highwater 0\"}".into())
        );
        assert_eq!(items.iter().map(|item| text(item)).collect::<Vec<_>>(), ["1", "{\"b\":2}"]);
    }

    #[test]
    fn what_can_not_grow_is_refused() {
        for (sample, path) in [
            ("[]", "$"),
            ("{\"a\": 1}", "$.a"),
            ("{\"a\": [[1],[2]]}", "$.a[*]"),
            ("{", "$.a"),
            ("[1]", "$["),
        ] {
            assert!(split(sample.as_bytes(), path).is_err(), "{sample} {path}");
        }
    }
}
