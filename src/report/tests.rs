//! Renderers over made-up runs.

use crate::analysis::synthetic::Script;
use crate::event::Finish;

use super::*;

#[test]
#[ignore = "writes pictures to look at, into the directory HIGHWATER_PICTURES"]
fn pictures_to_look_at() {
    let directory = std::env::var("HIGHWATER_PICTURES").unwrap();
    let directory = std::path::Path::new(&directory);
    let killed = Script {
        kill: Some(0.93),
        phases: vec![("ramp", 30, false), ("burst", 95, true)],
        finish: Some(Finish::OomKilled),
        thresholds: vec![("memory", "max<80%"), ("http_req_duration", "p(95)<200")],
        ..Script::default()
    };
    let soak = Script {
        phases: vec![
            ("ramp", 60, false),
            ("burst", 120, true),
            ("soak", 2400, true),
        ],
        ..Script::default()
    };
    for (name, script) in [
        ("killed", killed),
        ("soak", soak),
        ("pass", Script::default()),
    ] {
        let findings = script.findings();
        let target = directory.join(name);
        std::fs::create_dir_all(&target).unwrap();
        write_all(&target, &findings).unwrap();
        let summary = Summary::default().render(&findings);
        std::fs::write(target.join("summary.txt"), summary).unwrap();
    }
}
