//! `report.html` in a real browser, opened from disk: it draws, zooms and tells values, asks for
//! nothing, and what a target says stays text.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::browser::Browser;
use support::made::MadeRun;

/// What a hostile target and its scenario may be called.
const HOSTILE: &str = "</script><script>document.hacked=1</script><!--<img src=x onerror=\"document.hacked=2\">'&\u{202e}";

/// Records a made-up run, and has the binary report on it.
fn reported(run: &MadeRun, directory: &Path) -> (PathBuf, Value) {
    let run_directory = directory.join("run");
    run.record(&run_directory);
    let output = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .arg("report")
        .arg(&run_directory)
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json = std::fs::read(run_directory.join("run.json")).expect("it is written");
    (run_directory.join("report.html"), serde_json::from_slice(&json).expect("JSON"))
}

fn shown(browser: &mut Browser) -> (f64, f64) {
    let span =
        browser.eval("(({ from, to }) => [+from, +to])(document.getElementById('chart').dataset)");
    (span[0].as_f64().expect("a time"), span[1].as_f64().expect("a time"))
}

fn text(browser: &mut Browser, selector: &str) -> String {
    let found = browser.eval(&format!("document.querySelector('{selector}').textContent"));
    found.as_str().expect("an element with text").to_owned()
}

#[test]
fn the_report_works_in_a_browser_and_hostile_text_stays_text() {
    let Some(mut browser) = Browser::start() else {
        return support::skip("no Chromium (Debian's package `chromium`)");
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = MadeRun { seconds: 120, spikes: 12, rate: Some(20), name: HOSTILE.to_owned() };
    let (page, json) = reported(&run, directory.path());
    browser.look(1200, 900, false);
    browser.open(&page);

    nothing_came_of_hostile_text(&mut browser);
    zooming_leads_to_the_peak(&mut browser, &json);
    hovering_tells_values(&mut browser);
    dragging_and_keys_zoom(&mut browser);
    spikes_are_shown_by_their_ticks(&mut browser, &json);
    every_width_and_ground_will_do(&mut browser);
    if let Some(pictures) = std::env::var_os("HIGHWATER_PICTURES") {
        browser.picture(&Path::new(&pictures).join("hostile.png"));
    }
    assert_eq!(browser.troubles(&page), Vec::<String>::new());
    without_scripts_the_essentials_are_there(&mut browser, &page);
}

fn nothing_came_of_hostile_text(browser: &mut Browser) {
    assert_eq!(browser.eval("typeof document.hacked"), "undefined");
    assert_eq!(browser.eval("document.querySelectorAll('script').length"), 2);
    assert_eq!(
        browser.eval("document.querySelectorAll('img, iframe, object, embed, link').length"),
        0
    );
    let heading = text(browser, "h1");
    assert!(
        heading.contains("</script><script>document.hacked=1</script><!--<img src=x"),
        "{heading}"
    );
    assert!(!heading.contains('\u{202e}'), "marks that turn text around are replaced");
    let body = text(browser, "main");
    for what in ["GET /0", "image", "kind", "process", "note", "it says so", "printed"] {
        assert!(body.contains(&format!("{what} </script><script>")), "{what} is not shown");
    }
}

fn zooming_leads_to_the_peak(browser: &mut Browser, json: &Value) {
    let at = browser.eval("run.peak.at").as_f64().expect("a time");
    let whole = shown(browser);
    browser.click("button[data-zoom=peak]");
    let near = shown(browser);
    assert!(near.1 - near.0 < (whole.1 - whole.0) / 20.0, "{near:?} of {whole:?}");
    assert!((near.0..=near.1).contains(&at), "{at} lies outside of {near:?}");
    let peak = json["memory"]["peak_bytes"].as_u64().expect("a peak");
    let named = highwater::units::Bytes::new(peak).to_string();
    let readout = text(browser, "#readout");
    assert!(readout.contains(&format!("peak {named}")), "{readout}");
    assert_eq!(browser.eval("run.peak.bytes"), peak);
    assert_eq!(browser.eval("Math.max(...run.memory.peak)"), peak);
    let tile = text(browser, ".tiles dd");
    assert_eq!(tile, named);
    let picture = text(browser, ".still svg");
    assert!(picture.contains(&format!("peak {named}")));
    browser.click("button[data-zoom=all]");
    assert_eq!(shown(browser), whole);
}

fn hovering_tells_values(browser: &mut Browser) {
    let values = |browser: &mut Browser| {
        let all = browser.eval("[...document.querySelectorAll('.value')].map(e => e.textContent)");
        let all = all.as_array().cloned().unwrap_or_default();
        all.iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).count()
    };
    let at = browser.middle(".plot");
    browser.mouse("mouseMoved", (at.0 + 40.0, at.1), false);
    assert!(values(browser) >= 10, "values of all panels are told");
    let readout = text(browser, "#readout");
    assert!(readout.starts_with("01:0"), "{readout}");
    assert_eq!(browser.eval("document.querySelectorAll('.cross:not([hidden])').length > 4"), true);
    browser.mouse("mouseMoved", (3.0, 3.0), false);
    assert_eq!(values(browser), 0);
}

fn dragging_and_keys_zoom(browser: &mut Browser) {
    let whole = shown(browser);
    let at = browser.middle(".plot");
    browser.mouse("mouseMoved", at, false);
    browser.mouse("mousePressed", at, true);
    browser.mouse("mouseMoved", (at.0 + 50.0, at.1), true);
    browser.mouse("mouseMoved", (at.0 + 100.0, at.1), true);
    browser.mouse("mouseReleased", (at.0 + 100.0, at.1), true);
    browser.settle();
    let part = shown(browser);
    let share = (part.1 - part.0) / (whole.1 - whole.0);
    assert!((0.05..0.15).contains(&share), "{part:?} of {whole:?}");
    browser.eval("document.getElementById('chart').focus()");
    browser.press("-");
    let wider = shown(browser);
    assert!((wider.1 - wider.0) > 1.9 * (part.1 - part.0));
    browser.press("Escape");
    assert_eq!(shown(browser), whole);
    browser.press("ArrowRight");
    assert!(!text(browser, ".value").is_empty());
    browser.eval("void (location.hash = '#ms-30000-45000')");
    browser.settle();
    assert_eq!(shown(browser), (30_000.0, 45_000.0), "a link can lead to a part");
    browser.press("Escape");
}

fn spikes_are_shown_by_their_ticks(browser: &mut Browser, json: &Value) {
    let spikes = json["spikes"].as_array().expect("spikes");
    assert_eq!(
        browser.eval("document.querySelectorAll('button[data-spike]').length"),
        spikes.len()
    );
    browser.click("button[data-spike='1']");
    let (from, to) = shown(browser);
    let at = spikes[1]["at_ms"].as_f64().expect("a time");
    assert!(from < at && at < to && to - from < 1000.0, "{at} in {from} to {to}");
    let readout = text(browser, "#readout");
    assert!(readout.contains("tick at"), "{readout}");
    browser.click("button[data-zoom=all]");
}

fn every_width_and_ground_will_do(browser: &mut Browser) {
    for (width, dark) in [(360, false), (800, true), (1600, false), (1200, true), (1200, false)] {
        browser.look(width, 900, dark);
        let wide = browser.eval("document.documentElement.scrollWidth");
        let widest = "[...document.querySelectorAll('main *')].reduce((a, b) => \
                      a.getBoundingClientRect().right > b.getBoundingClientRect().right ? a : b).outerHTML";
        let all = wide.as_f64() <= Some(f64::from(width));
        assert!(all, "{wide} in a window of {width}: {}", browser.eval(widest));
        let ground = browser.eval("getComputedStyle(document.body).backgroundColor");
        assert_eq!(ground == "rgb(254, 254, 254)", !dark, "{ground}");
    }
}

fn without_scripts_the_essentials_are_there(browser: &mut Browser, page: &Path) {
    browser.call("Emulation.setScriptExecutionDisabled", &serde_json::json!({ "value": true }));
    browser.call(
        "Page.navigate",
        &serde_json::json!({ "url": format!("file://{}?plain", page.display()) }),
    );
    let display = "(s => getComputedStyle(document.querySelector(s)).display)";
    let mut still = Value::Null;
    for _ in 0..200 {
        still = browser.eval(&format!(
            "document.readyState === 'complete' && location.search ? {display}('.still') : null"
        ));
        if !still.is_null() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(still, "block");
    assert_eq!(browser.eval(&format!("{display}('.live')")), "none");
    assert_eq!(browser.eval("document.querySelectorAll('.still svg text').length > 20"), true);
}
