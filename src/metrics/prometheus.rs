//! The text format of Prometheus, version 0.0.4: what `node_exporter`'s textfile collector and every
//! scraper read.
//!
//! Rejected: the crates `prometheus` and `prometheus-client`. The first is a registry of live floats,
//! and making its families by hand, only to have them printed, is as long as printing them; the
//! second writes `OpenMetrics`, whose counters the textfile collector takes for untyped.

use std::fmt::Write;

use super::{Family, Kind, Unit, Value};

/// What a server calls this text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics as text. One without values is left out.
#[must_use]
pub fn prometheus_text(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.points.is_empty()) {
        write_family(&mut out, family).expect("writing into a string never fails");
    }
    out
}

fn write_family(out: &mut String, family: &Family) -> std::fmt::Result {
    let name = name(family);
    let kind = match family.kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
    };
    let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
    for point in &family.points {
        out.push_str(&name);
        if !point.labels.is_empty() {
            let pairs: Vec<String> = point
                .labels
                .iter()
                .map(|(key, value)| format!("{key}=\"{}\"", label(value)))
                .collect();
            write!(out, "{{{}}}", pairs.join(","))?;
        }
        match point.value {
            Value::Whole(number) => writeln!(out, " {number}")?,
            Value::Real(number) => writeln!(out, " {number}")?,
        }
    }
    Ok(())
}

/// By the naming conventions: `memory.peak` in bytes is `highwater_memory_peak_bytes`.
fn name(family: &Family) -> String {
    let unit = match family.unit {
        Unit::Bytes => "_bytes",
        Unit::Seconds => "_seconds",
        Unit::Ratio => "_ratio",
        Unit::Count => "",
    };
    let total = match family.kind {
        Kind::Gauge => "",
        Kind::Counter => "_total",
    };
    format!("highwater_{}{unit}{total}", family.name.replace('.', "_"))
}

/// A label's value: any text, with what would end it escaped, and without control characters.
fn label(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_units_and_types_follow_the_conventions() {
        let families = [
            Family::gauge("memory.peak", Unit::Bytes, "Charged peak.")
                .value(Some(u64::MAX))
                .value(None::<u64>),
            Family::counter("requests", Unit::Count, "Requests\nthat ended.")
                .labelled(vec![("phase", "a\"b\\\n\u{1b}c".to_owned())], Some(7_u64))
                .labelled(vec![("phase", "x".to_owned()), ("step", "GET /".to_owned())], Some(1.5)),
            Family::gauge("headroom", Unit::Ratio, "Not known.").value(None::<f64>),
            Family::gauge("ready", Unit::Seconds, "Not a number.").value(Some(f64::NAN)),
        ];
        insta::assert_snapshot!(prometheus_text(&families), @r#"
        # HELP highwater_memory_peak_bytes Charged peak.
        # TYPE highwater_memory_peak_bytes gauge
        highwater_memory_peak_bytes 18446744073709551615
        # HELP highwater_requests_total Requests\nthat ended.
        # TYPE highwater_requests_total counter
        highwater_requests_total{phase="a\"b\\\n�c"} 7
        highwater_requests_total{phase="x",step="GET /"} 1.5
        "#);
    }

    proptest! {
        #[test]
        fn no_label_breaks_out_of_its_line(text: String) {
            let family = Family::gauge("a", Unit::Count, "A.").labelled(vec![("l", text)], Some(1_u64));
            let written = prometheus_text(&[family]);
            prop_assert_eq!(written.lines().count(), 3);
            let sample = written.lines().last().unwrap();
            let is_whole = sample.starts_with("highwater_a{l=\"") && sample.ends_with("\"} 1");
            prop_assert!(is_whole, "{}", sample);
        }
    }
}
