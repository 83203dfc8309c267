//! Lines and areas of a picture in fewer characters: each point is told by how far it is from the
//! one before, which halves a picture of many points.

use std::fmt::Write as _;

/// Replaces each `<polyline … points="…"/>` and `<polygon … points="…"/>` by the `<path …/>` that
/// draws the same. Points are whole numbers.
pub(super) fn shortened(svg: &str) -> String {
    let mut short = String::with_capacity(svg.len());
    let mut rest = svg;
    while let Some((before, tag, after)) = next(rest) {
        short.push_str(before);
        match path(tag) {
            Some(path) => short.push_str(&path),
            None => short.push_str(tag),
        }
        rest = after;
    }
    short.push_str(rest);
    short
}

/// What is before the next such tag, the tag, and what comes after it. In texts, `<` is written
/// otherwise.
fn next(svg: &str) -> Option<(&str, &str, &str)> {
    let begin = svg.find("<poly")?;
    let end = begin + svg[begin..].find("/>")? + 2;
    Some((&svg[..begin], &svg[begin..end], &svg[end..]))
}

fn path(tag: &str) -> Option<String> {
    let (is_closed, inner) = match tag.strip_prefix("<polygon ") {
        Some(inner) => (true, inner),
        None => (false, tag.strip_prefix("<polyline ")?),
    };
    let (attributes, points) = inner.strip_suffix("/>")?.split_once("points=\"")?;
    let points = points.trim_end().strip_suffix('"')?;
    let mut path = format!("<path {attributes}d=\"");
    let (mut last, mut count) = ((0_i64, 0_i64), 0_usize);
    for point in points.split_ascii_whitespace() {
        let (x, y) = point.split_once(',')?;
        let (x, y): (i64, i64) = (x.parse().ok()?, y.parse().ok()?);
        // All pairs after the first step are steps, too.
        path.push_str(match count {
            0 => "M",
            1 => "l",
            _ => "",
        });
        push(&mut path, x - last.0);
        push(&mut path, y - last.1);
        (last, count) = ((x, y), count + 1);
    }
    path.push_str(if is_closed { "z\"/>" } else { "\"/>" });
    Some(path)
}

/// A number after others; its sign parts it from them, else a blank does.
fn push(path: &mut String, number: i64) {
    if number >= 0 && path.ends_with(|c: char| c.is_ascii_digit()) {
        path.push(' ');
    }
    let _ = write!(path, "{number}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_and_areas_become_paths_and_all_else_stays() {
        let svg = "<rect x=\"1\"/>\n<polyline fill=\"none\" stroke=\"#000\" points=\"10,20 13,18 13,25 \"/>\
                   <text>&lt;polygon points=\"1,2\"/></text>\
                   <polygon fill=\"#111\" points=\"1,1 5,1 5,-5 \"/>";
        let short = "<rect x=\"1\"/>\n<path fill=\"none\" stroke=\"#000\" d=\"M10 20l3-2 0 7\"/>\
                     <text>&lt;polygon points=\"1,2\"/></text>\
                     <path fill=\"#111\" d=\"M1 1l4 0 0-6z\"/>";
        assert_eq!(shortened(svg), short);
        assert_eq!(shortened("<polyline points=\"5,6\"/>"), "<path d=\"M5 6\"/>");
        for other in [
            "<polyline points=\"a,b\"/>",
            "<polyline x=\"1\"/>",
            "<poly",
            "<polygon points=\"1\"/>",
        ] {
            assert_eq!(shortened(other), other);
        }
    }

    /// The points that a path goes through.
    fn drawn(path: &str) -> Vec<(i32, i32)> {
        let data = path.split('"').nth(1).unwrap().replace('-', " -").replace(['M', 'l'], " ");
        let numbers: Vec<i32> = data.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let mut at = (0, 0);
        let step = |pair: &[i32]| {
            at = (at.0 + pair[0], at.1 + pair[1]);
            at
        };
        numbers.chunks(2).map(step).collect()
    }

    proptest! {
        #[test]
        fn every_point_is_where_it_was(points in prop::collection::vec((-9999..9999, -9999..9999), 1..50)) {
            let list: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
            let path = shortened(&format!("<polyline points=\"{} \"/>", list.join(" ")));
            prop_assert_eq!(drawn(&path), points);
        }
    }
}
