//! Scenarios as people write them: what is right compiles, what is wrong is told with its place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use highwater::plan::{LoadModel, Plan, Schedule};
use highwater::scenario::Overrides;
use proptest::prelude::*;

fn shipped() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// What is wrong with a text, as a person reads it.
fn faults(text: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/highwater.toml");
    let rendered = Plan::parse(&path, text, &Overrides::default())
        .map_or_else(|faults| faults.render(false), |_| String::new());
    rendered.replace(env!("CARGO_MANIFEST_DIR"), "")
}

fn with_target(rest: &str) -> String {
    format!("[target]\nimage = \"api\"\nport = 80\n{rest}")
}

const STEP: &str = "[[scenario]]\nname = \"a\"\n[[scenario.step]]\nget = \"/\"\n";

#[test]
fn every_shipped_scenario_compiles_and_says_how_it_ends() {
    let files = shipped();
    assert!(files.len() >= 12, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# expect: exit "), "{}", file.display());
        let plan = Plan::load(&file, &Overrides::default()).unwrap_or_else(|faults| {
            panic!("{}", faults.render(false));
        });
        assert_eq!(plan.name, file.file_stem().unwrap().to_str().unwrap());
        let steps: Vec<u16> =
            plan.traffic.scenarios.iter().flat_map(|s| &s.steps).map(|step| step.id).collect();
        assert_eq!(steps, (0..u16::try_from(steps.len()).unwrap()).collect::<Vec<_>>());
        assert_eq!(plan.outline().steps.len(), steps.len());
    }
}

#[test]
fn a_fault_shows_its_line_and_the_way_out() {
    insta::assert_snapshot!(faults(&with_target("limitz = { memory = \"64MiB\" }\n")), @r#"
      × unknown key `limitz` in `target`
       ╭─[/fixtures/highwater.toml:4:1]
     3 │ port = 80
     4 │ limitz = { memory = "64MiB" }
       · ───┬──
       ·    ╰── here
       ╰────
      help: did you mean `limits`?
    "#);
}

/// Sees to it that a mistake is told in these words.
fn expect_told(rest: &str, expected: &str) {
    let rendered = faults(&with_target(rest));
    let flat = rendered.replace("\n  │ ", " ").replace("\n    ", " ");
    assert!(flat.contains(expected), "`{expected}` is not in:\n{rendered}\nfor:\n{rest}");
}

#[test]
fn each_mistake_is_told() {
    let phase = |pace: &str| format!("{STEP}[[phase]]\nname = \"p\"\nfor = \"1s\"\n{pace}\n");
    let step = |keys: &str| format!("{STEP}{keys}\n");
    let target = |keys: &str| keys.to_owned();
    for (rest, expected) in [
        (target("port2 = 1"), "unknown key `port2`"),
        (target("limits = { memory = 64 }"), "`memory` is a whole number, not a string"),
        (target("limits = { memory = \"64Mb\" }"), "is not a size"),
        (target("limits = { memory = \"1MiB\" }"), "6 MiB"),
        (target("limits = { like = \"nomad\" }"), "limits can't be like `nomad`"),
        (target("limits = { request = \"9MiB\" }"), "this key has a meaning for Kubernetes only"),
        (
            target("limits = { memory = \"64MiB\", like = \"kubernetes\", request = \"128MiB\" }"),
            "the request of 128 MiB is above the limit of 64 MiB",
        ),
        (target("bin = \"x\""), "several times what to run"),
        (target("ready = { log = \"(\" }"), "no expression"),
        (target("ready = { http = \"health\" }"), "not a path"),
        (target("ready = { within = \"soon\" }"), "not a duration"),
        (target("stop = { signal = \"SIGNOTHING\" }"), "is no signal"),
        (target("env = { A = \"${HIGHWATER_TEST_NO_SUCH}\" }"), "is not set"),
        (target("on-oom = \"stop\""), "unknown key `on-oom` in `target`"),
        (phase("rate = \"80%\""), "`80%` of what?"),
        (phase("rate = -1"), "is not a rate"),
        (phase("rate = 5\nusers = 5"), "several of `rate`, `users` and `stages`"),
        (phase("rate = 5\nburst = { every = \"1s\" }"), "needs `every`, and `size`"),
        (phase("users = 5\nburst = { every = \"1s\", size = 5 }"), "needs arrivals"),
        (phase("load = [{ scenario = \"b\", rate = 5 }]"), "no scenario is called `b`"),
        (phase("stages = [{ users = 5 }]"), "a stage has no `for`"),
        (phase("stages = [{ users = 5, for = \"2s\" }]"), "lasts longer than the phase"),
        (phase("load = [{ rate = 5, start-after = \"5s\" }]"), "when its phase is over"),
        (phase("rate = 5\niterations = 5"), "counts what users do"),
        (phase("users = 5\narrivals = \"poisson\""), "`arrivals` spaces a `rate`"),
        (phase("rate = 1e300"), "is too high"),
        (phase("rate = 5\narrivals = \"sometimes\""), "`arrivals` can't be `sometimes`"),
        (phase("rate = 5\narrivals = { pareto = 1 }"), "1 is not between 1.05 and 10"),
        (phase("rate = 5\narrivals = { gamma = 2 }"), "unknown key `gamma`"),
        (phase("rate = 5\non = \"1s\""), "on and off by turns: say both"),
        (
            phase("rate = { to = 5 }\non = \"1s\"\noff = \"1s\""),
            "go with one rate that stands still",
        ),
        (phase("rate = 5\nsurge = { to = 50, at = \"1s\" }"), "needs `to`, `at` and `for`"),
        (
            phase("rate = 5\nsurge = { to = 50, at = \"1s\", for = \"1s\" }"),
            "is not over when its load is",
        ),
        (phase("users = 5\niterations = { all = 5 }"), "`iterations` has no `each`"),
        (step("think = { median = \"1s\", sigma = -1 }"), "`sigma` is not between"),
        (target("base = \"debian\""), "`base` goes with"),
        (target("tmpfs = [\"scratch\"]"), "no absolute path"),
        (target("ready = { status = 200 }"), "`status` goes with `http` only"),
        (step("body = { size = \"1KiB\", json = true, text = true }"), "JSON and text at once"),
        ("extends = 5".to_owned(), "unknown key `extends`"),
        (
            "[thresholds]\n\"http_reqs{scenario:b}\" = \"count>1\"".to_owned(),
            "no scenario is called",
        ),
        (phase("").replace("1s", "18446744073709551615s"), "longer than a year"),
        (phase("rate = 5\n[[phase]]\nname = \"p\"\nfor = \"1s\""), "two phases are called `p`"),
        ("[[phase]]\nname = \"p\"\nrate = 5\nfor = \"1s\"".to_owned(), "there is no scenario"),
        (step("capture = { id = \"jso:$.id\" }"), "`jso:$.id`"),
        (step("body = { file = \"none.json\" }"), "failed to read the body file"),
        (step("body = { size = { p50 = \"2KiB\", p99 = \"1KiB\" } }"), "smaller than a lower one"),
        (step("body = { text = \"a\", json = { b = 1 } }"), "exactly one content"),
        (step("think = \"3s..1s\""), "ends before it begins"),
        (step("post = \"/\""), "exactly one request"),
        (step("expect = { status = 999 }"), "no HTTP status"),
        (step("headers = { \"a b\" = \"c\" }"), "can't be sent as a header"),
        ("[thresholds]\n\"memory\" = [\"max<80%\"]".to_owned(), "no memory limit"),
        ("[thresholds]\n\"memry\" = [\"max<1MiB\"]".to_owned(), "did you mean `memory`?"),
        ("[thresholds]\n\"memory{phase:x}\" = \"max<1MiB\"".to_owned(), "no phase is called `x`"),
        ("[sampling]\ntick = \"1s\"".to_owned(), "not between"),
        ("[sampling".to_owned(), "×"),
    ] {
        expect_told(&rest, expected);
    }
}

#[test]
fn each_mistake_of_pacing_and_sending_is_told() {
    let phase = |pace: &str| format!("{STEP}[[phase]]\nname = \"p\"\nfor = \"1s\"\n{pace}\n");
    let step = |keys: &str| format!("{STEP}{keys}\n");
    for (rest, expected) in [
        (
            step("think = { mean = \"1s\", pace = \"1s\" }"),
            "several of `mean`, `median` and `pace`",
        ),
        (step("think = {}"), "`think` says no pause"),
        (step("think = { mean = \"0s\" }"), "a `mean` of no time is no pause"),
        (step("think = { mean = \"1s\", sigma = 1 }"), "`sigma` goes with `median`"),
        (step("think = { pace = \"1s\", max = \"2s\" }"), "`max` goes with"),
        (phase("rate = 5\nburst = { on = \"0s\", off = \"1s\" }"), "not with a `burst`"),
        (
            phase("rate = 5\nburst = { every = \"0s\", size = 1 }"),
            "`every` of a `burst` is no time",
        ),
        (phase("rate = 5\non = \"0s\"\noff = \"1s\""), "`on` for no time sends nothing"),
        (
            phase("users = 5\nsurge = { to = 50, at = \"1s\", for = \"1s\" }"),
            "`surge` goes with one `rate`",
        ),
        (phase("users = 5\non = \"1s\"\noff = \"1s\""), "`on` and `off` go with one `rate`"),
        (phase("surge = { to = 50, at = \"1s\", for = \"1s\" }"), "`surge` goes with one `rate`"),
        (phase("users = 0"), "a load of no users does nothing"),
        (phase("users = { from = 0, to = 0 }"), "a load of no users does nothing"),
        (step("headers = { Content-Length = \"7\" }"), "it goes by the body"),
        (step("headers = { transfer-encoding = \"chunked\" }"), "`chunked = true` in `body`"),
        (step("headers = { connection = \"upgrade\" }"), "write `close` or `keep-alive`"),
        (step("headers = { x = \"{{ 'a\\\\nb' }}\" }"), "gives no line of text"),
        (step("think = \"1s\"\nquery = { q = \"{{ 1 / 0 }}\" }"), "fails each time"),
        (step("query = { q = \"{{ user|upcase }}\" }"), "filter upcase is unknown"),
    ] {
        expect_told(&rest, expected);
    }
}

#[test]
fn loads_are_shaped_as_written() {
    let phase = |keys: &str| {
        let text = with_target(&format!("{STEP}[[phase]]\nname = \"p\"\nfor = \"60s\"\n{keys}\n"));
        let plan = Plan::parse(Path::new("/fixtures/highwater.toml"), &text, &Overrides::default());
        let plan = plan.unwrap_or_else(|faults| panic!("{faults:?}"));
        plan.phases[0].loads[0].model.clone()
    };
    let count = |keys: &str| match phase(keys) {
        LoadModel::Open(open) => Schedule::new(&open, Duration::from_secs(60), 1).count(),
        _ => panic!("{keys} is open"),
    };
    assert_eq!(count("rate = 10"), 600);
    assert_eq!(count("rate = 10\non = \"5s\"\noff = \"10s\""), 200);
    // 50 s at 10/s, 10 s at 100/s.
    assert_eq!(count("rate = 10\nsurge = { to = 100, at = \"20s\", for = \"10s\" }"), 1500);
    // Rising and falling, it is half-way on average: 40 s at 10/s, 10 s at 100/s, 10 s at 55/s.
    let slow = "rise = \"4s\", fall = \"6s\"";
    let slow = format!("rate = 10\nsurge = {{ to = 100, at = \"20s\", for = \"10s\", {slow} }}");
    assert_eq!(count(&slow), 1950);
    for keys in
        ["arrivals = \"pareto\"", "arrivals = { lognormal = 1.2 }", "arrivals = \"poisson\""]
    {
        let close = count(&format!("rate = 100\n{keys}"));
        assert!((4000..8000).contains(&close), "{keys}: {close}");
    }
    let each = phase("users = 3\niterations = { each = 4 }");
    assert!(matches!(
        each,
        LoadModel::Closed { iterations: Some(highwater::plan::Iterations::Each(4)), .. }
    ));
}

#[test]
fn what_is_of_the_wrong_kind_is_told_with_the_way_out() {
    let phase = |keys: &str| format!("{STEP}[[phase]]\nname = \"p\"\nfor = \"1s\"\n{keys}\n");
    let step = |keys: &str| format!("{STEP}{keys}\n");
    for (rest, way_out) in [
        ("[traffic]\nexpected = 200".to_owned(), "write `expected = \"200/s\"`"),
        (phase("rate = 5\narrivals = 5"), "`poisson`"),
        (phase("rate = 5\narrivals = { pareto = \"x\" }"), "write `pareto = 1.5`"),
        (phase("replay = 5"), "write `replay = \"access.log\"`"),
        (phase("users = 1\niterations = \"x\""), "write `iterations = 10`"),
        (phase("stop-early = \"yes\""), "write `stop-early = true`"),
        (phase("tags = [1]"), "write `tags = [\"…\", \"…\"]`"),
        (step("think = 5"), "write `think = \"1s..3s\"`"),
        (step("body = { sizes-from = 5 }"), "write `sizes-from = \"access.log\"`"),
        (step("drain = 5"), "write `drain = \"64KiB/s\"`"),
        (step("timeout = 5"), "write `timeout = \"10s\"`"),
    ] {
        let rendered = faults(&with_target(&rest));
        assert!(rendered.contains(way_out), "`{way_out}` is not in:\n{rendered}");
        assert!(!rendered.contains("faults; nothing was run"), "told twice:\n{rendered}");
    }
}

#[test]
fn what_follows_from_a_mistake_is_no_other() {
    let templated = "[[scenario]]\nname = \"a\"\nfeed = \"none.csv\"\n\
                     [[scenario.step]]\nget = \"/{{ column }}\"\n";
    let captured = "[[scenario]]\n[[scenario.step]]\nget = \"/\"\ncapture = { v = \"jso:$.v\" }\n\
                    [[scenario.step]]\nget = \"/{{ v }}\"\n";
    let iterated = "[[phase]]\nusers = 5\niterations = \"many\"\n";
    for (rest, told) in [
        (templated.to_owned(), "failed to read the feed"),
        (templated.replace("\"none.csv\"", "{ file = 5 }"), "`file` is a whole number"),
        (captured.to_owned(), "`jso:$.v`"),
        (format!("{STEP}{iterated}"), "`iterations` is a string"),
        (
            format!("{STEP}[[phase]]\nfor = \"1s\"\nburst = {{ every = \"1s\", size = 0 }}\n"),
            "`size` is 0",
        ),
        (format!("{STEP}{}", iterated.replace("\"many\"", "0")), "`iterations` is 0"),
    ] {
        let rendered = faults(&with_target(&rest));
        assert!(rendered.contains(told), "`{told}` is not in:\n{rendered}");
        assert!(!rendered.contains("faults; nothing was run"), "told twice:\n{rendered}");
    }
}

#[test]
fn one_mistake_is_told_once_and_hides_no_other() {
    let text = with_target(&format!(
        "{STEP}[[phase]]\nname = \"p\"\nfor = \"soon\"\n\
         load = [{{ scenario = \"b\", rate = 5, burst = {{ every = \"often\", size = 5 }} }}]\n\
         [[phase]]\nname = \"q\"\nstages = [{{ users = 1, for = \"x\" }}, {{ users = -1, for = \"1s\" }}]\n\
         [thresholds]\n\"memory\" = \"max<80%\"\n"
    ));
    let rendered = faults(&text);
    for told_once in [
        "`for`: `soon`",
        "called `b`",
        "`every`: `often`",
        "`for`: `x`",
        "no whole number",
        "of what?",
    ] {
        assert_eq!(rendered.matches(told_once).count(), 1, "{told_once} in:\n{rendered}");
    }
    assert!(rendered.contains("6 faults"), "{rendered}");
}

#[test]
fn every_key_of_the_design_is_known() {
    let text = r#"
        name = "shop-api"
        on-oom = "stop"
        [target]
        bin = "Cargo.toml"
        base = "debian:12"
        port = 8080
        args = ["--fast"]
        env = { RUST_LOG = "info", KEY = { from = "PATH", secret = true } }
        files = { "Cargo.toml" = "/etc/app.toml" }
        tmpfs = ["/scratch"]
        user = "1000"
        extra-hosts = ["db:127.0.0.1"]
        stop = { signal = "SIGINT", within = "3s" }
        ready = { http = "/health", status = 200, within = "30s" }
        limits = { memory = "256MiB", cpus = 1.0, pids = 512 }
        [sampling]
        tick = "1ms"
        window = "100ms"
        [startup]
        trials = 3
        settle = "2s"
        [traffic]
        expected = "200/s"
        timeout = "10s"
        drain = "5s"
        seed = 1
        max-in-flight = 10000
        [[scenario]]
        name = "orders"
        weight = 3
        [[scenario.step]]
        post = "/orders"
        headers = { content-type = "application/json" }
        body = { json = { product_id = "p1", quantity = 2 } }
        expect = { status = [201] }
        [[scenario.step]]
        get = "/orders/1"
        think = "1s..3s"
        [[phase]]
        name = "ramp"
        stages = [{ users = 100, for = "2m" }, { for = "5m" }, { users = 0, for = "1m" }]
        [[phase]]
        name = "mixed"
        for = "5m"
        load = [
            { scenario = "orders", users = { from = 0, to = 50 } },
            { scenario = "orders", rate = "10/s", start-after = "30s" },
        ]
        [[phase]]
        name = "burst"
        rate = 50
        arrivals = "poisson"
        burst = { every = "10s", rate = 2000, width = "500ms", jitter = 0.2 }
        for = "3m"
        tags = ["ci"]
        size = true
        [[phase]]
        name = "soak"
        rate = "80%"
        burst = { every = "60s", size = 100 }
        for = "8h"
        [thresholds]
        "memory" = ["max<80%", "oom_kills==0"]
        "memory{phase:soak}" = ["slope<1MiB/h"]
        "startup" = [{ rule = "max<128MiB", abort = true }]
        "http_req_duration{phase:burst}" = ["p(95)<200", "p(99)<500"]
        "http_req_failed" = ["rate<0.01"]
    "#;
    assert_eq!(faults(&text.replace("Cargo.toml", "../Cargo.toml")), "");
}

fn plan_of(text: &str, overrides: &Overrides) -> Result<Plan, String> {
    Plan::parse(Path::new("highwater.toml"), text, overrides).map_err(|faults| faults.render(false))
}

#[test]
fn the_command_line_changes_keys_and_chooses_phases() {
    let text = with_target(&format!(
        "{STEP}[[phase]]\nname = \"a\"\nrate = 5\nfor = \"1s\"\ntags = [\"ci\"]\n\
         [[phase]]\nname = \"soak\"\nrate = 5\nfor = \"8h\"\n"
    ));
    let overrides = |set: &[&str], only: &[&str], skip: &[&str]| {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Overrides { set: list(set), only: list(only), skip: list(skip), pattern: None }
    };
    let names = |overrides: &Overrides| -> Vec<String> {
        plan_of(&text, overrides).unwrap().phases.into_iter().map(|phase| phase.name).collect()
    };
    assert_eq!(names(&overrides(&[], &["ci"], &[])), ["a"]);
    assert_eq!(names(&overrides(&[], &[], &["ci"])), ["soak"]);
    let set = overrides(&["phase.soak.for=10m", "target.limits.memory=64MiB"], &[], &[]);
    let plan = plan_of(&text, &set).unwrap();
    assert_eq!(plan.phases[1].length.as_secs(), 600);
    assert_eq!(plan.target.limits.memory.to_string(), "64 MiB");
    let wrong = plan_of(&text, &overrides(&["phase.soka.for=10m"], &[], &[])).unwrap_err();
    assert!(wrong.contains("there is no `soka`"), "{wrong}");
    let wrong = plan_of(&text, &overrides(&["phase.soak.for=ten"], &[], &[])).unwrap_err();
    assert!(wrong.contains("not a duration") && wrong.contains("--set"), "{wrong}");
    let wrong = plan_of(&text, &overrides(&[], &["cii"], &[])).unwrap_err();
    assert!(wrong.contains("did you mean `ci`?"), "{wrong}");
}

#[test]
fn a_file_may_extend_another_and_wins() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "base.toml",
        "[target]\nimage = \"api\"\nport = 80\nlimits = { memory = \"64MiB\", pids = 9 }\n",
    );
    write("top.toml", "extends = \"base.toml\"\n[target]\nlimits = { memory = \"128MiB\" }\n");
    let plan = Plan::load(&dir.path().join("top.toml"), &Overrides::default()).unwrap();
    assert_eq!(plan.target.limits.memory.to_string(), "128 MiB");
    assert_eq!(plan.target.limits.pids, Some(9));
    write("base.toml", "extends = \"top.toml\"\n");
    let faults = Plan::load(&dir.path().join("top.toml"), &Overrides::default()).unwrap_err();
    assert!(faults.render(false).contains("leads back"), "{}", faults.render(false));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        let _ = faults(&text);
    }

    #[test]
    fn a_scenario_with_a_piece_cut_out_never_panics(from in 0_usize..1500, length in 0_usize..40) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios/demo.toml");
        let mut text: Vec<char> = std::fs::read_to_string(path).unwrap().chars().collect();
        let from = from.min(text.len());
        let to = (from + length).min(text.len());
        text.drain(from..to);
        let _ = faults(&text.into_iter().collect::<String>());
    }
}
