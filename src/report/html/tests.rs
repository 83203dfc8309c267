//! The page over made-up findings; a real browser opens it in `tests/report_html.rs`.

use serde_json::Value;

use super::ReportHtml;
use crate::analysis::{
    Clip, Findings, FlowColumn, LatencyColumn, MemoryColumn, SpikeFinding, TickColumn,
};
use crate::clock::Moment;
use crate::event::Band;
use crate::report::tests::{check_svg, killed};
use crate::report::{Renderer, TimelineSvg};
use crate::units::Bytes;

/// What the page's script draws from.
pub(in crate::report) fn data_of(html: &str) -> Value {
    let begin = "<script id=\"data\" type=\"application/json\">";
    let block = html.split_once(begin).expect("a data block").1;
    serde_json::from_str(block.split_once("</script>").expect("it ends").0).unwrap()
}

/// As many columns as a timeline can have, and spikes with as many ticks.
fn full_day() -> Findings {
    let mut findings = killed().findings();
    let day = 86_400_000;
    let noise = |n: u64| Bytes::from_kib(4 * (n.wrapping_mul(2_654_435_761) >> 7 & 0xfff));
    let at = |n: u64, of: u64| Moment::from_millis(n * day / of);
    let timeline = &mut findings.timeline;
    (timeline.start, timeline.end) = (Moment::START, Moment::from_millis(day));
    let first = timeline.memory[0];
    timeline.memory = (0..6000)
        .map(|n| MemoryColumn {
            start: at(n, 6000),
            end: at(n + 1, 6000),
            usage: Band { min: noise(n), max: Bytes::from_mib(60) + noise(n), last: noise(n) },
            peak: Bytes::from_mib(80) + noise(n * 3),
            peak_at: at(2 * n + 1, 12_000),
            rss: Band::of(Bytes::from_mib(30) + noise(n * 5)),
            low: Band { min: noise(n * 7), max: Bytes::from_mib(40) + noise(n), last: noise(n) },
            high: Band { min: noise(n), max: Bytes::from_mib(60) + noise(n * 9), last: noise(n) },
            cache: Band::of(noise(n * 11)),
            ..first
        })
        .collect();
    let flow = timeline.flow[0];
    timeline.flow = (0..6000)
        .map(|n| FlowColumn {
            start: at(n, 6000),
            end: at(n + 1, 6000),
            rate: (noise(n).as_mib(), 50.0 + noise(n).as_mib()),
            in_flight: noise(n).get() >> 12,
            ..flow
        })
        .collect();
    let latency = timeline.latency[0];
    timeline.latency = (0..1000)
        .map(|n| LatencyColumn {
            start: at(n, 1000),
            end: at(n + 1, 1000),
            p50: noise(n).as_mib(),
            p99: 20.0 + noise(n * 3).as_mib(),
            ..latency
        })
        .collect();
    let spike = findings.spikes[0].clone();
    findings.spikes = (0..200).map(|n| SpikeFinding { at: at(n, 200), ..spike.clone() }).collect();
    let tick = |n: u64, m: u64| TickColumn {
        at: Moment::from_millis(n * day / 200 + m),
        least: noise(m * n),
        most: noise(m * n) + Bytes::from_mib(1),
        peak: noise(m * n) + Bytes::from_mib(3),
    };
    timeline.clips = (0..200)
        .map(|n| Clip { at: at(n, 200), ticks: (0..240).map(|m| tick(n, m)).collect() })
        .collect();
    findings
}

#[test]
fn a_day_fits_into_the_page_and_the_picture() {
    let findings = full_day();
    let (html, svg) = (ReportHtml.render(&findings), TimelineSvg.render(&findings));
    assert!(html.len() <= 3 << 20, "{} bytes", html.len());
    check_svg(&svg);
    let data = data_of(&html);
    assert_eq!(data["memory"]["peak"]["d"].as_array().unwrap().len(), 6000);
    assert_eq!(data["spikes"][7]["ticks"]["at"]["d"].as_array().unwrap().len(), 240);
}
