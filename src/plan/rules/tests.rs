//! The grammar: what people write, what k6's documentation shows, and what is refused.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::plan::{CustomKind, MetricName, Plan};
use crate::scenario::Overrides;

fn parse(selector: &str, text: &str) -> Result<Rule, RuleError> {
    Rule::parse(selector, text, None)
}

#[test]
fn reads_the_rules_that_people_write() {
    let rule = parse("memory{phase:soak}", "slope<1MiB/h").unwrap();
    assert_eq!(rule.metric, Metric::Memory);
    assert_eq!(rule.tags[&Tag::Phase], "soak");
    assert_eq!(rule.bound, Bound::PerHour(1_048_576.0));

    let rule = parse("memory", "max<80%").unwrap();
    assert_eq!(rule.bound, Bound::PercentOfLimit(80.0));
    assert!(rule.needs_limit());

    let rule = parse("http_req_duration{phase:burst,step:POST /orders}", "p(95) < 200").unwrap();
    assert_eq!(rule.aggregate, Aggregate::Percentile(95.0));
    assert_eq!(rule.tags[&Tag::Step], "POST /orders");

    assert_eq!(parse("http_req_failed", "rate<1%").unwrap().bound, Bound::Value(0.01));
    assert_eq!(parse("ready", "max<=2s").unwrap().bound, Bound::Value(2000.0));
    assert_eq!(parse("memory", "oom_kills==0").unwrap().aggregate, Aggregate::OomKills);
    let rule = parse("log_bytes{phase:soak}", "slope<10MiB/h").unwrap();
    assert_eq!(rule.bound, Bound::PerHour(10_485_760.0));
    assert_eq!(parse("disk_written", "max<1GiB").unwrap().metric, Metric::DiskWritten);
    assert_eq!(parse("startup", "max<128MiB").unwrap().bound, Bound::Value(134_217_728.0));
}

#[test]
fn a_scenarios_own_metrics_and_tags_are_words_of_rules() {
    let metric = |name: &str, kind| MetricName { name: name.to_owned(), kind };
    let words = Words {
        metrics: vec![metric("hits", CustomKind::Rate), metric("sold_items", CustomKind::Counter)],
        tags: ["team".to_owned()].into(),
    };
    let parse = |selector, text| Rule::parse_among(&words, selector, text, None);
    let rule = parse("hits{team:shop,phase:burst}", "rate>0.9").unwrap();
    assert_eq!(rule.metric, Metric::Custom(0, CustomKind::Rate));
    assert_eq!(rule.own_tags["team"], "shop");
    assert_eq!(rule.tags[&Tag::Phase], "burst");
    assert_eq!(parse("sold_items", "count>=100").unwrap().bound, Bound::Value(100.0));
    assert_eq!(parse("http_req_duration{team:shop}", "p(95)<1s").unwrap().own_tags.len(), 1);
    let refused = |selector, text| {
        let error = parse(selector, text).unwrap_err();
        format!("{} | {}", error.message, error.help)
    };
    assert!(refused("hits", "p(95)<1").contains("it takes `rate`"));
    assert!(refused("sold_item", "count>1").contains("did you mean `sold_items`?"));
    assert!(refused("hits{squad:x}", "rate>0").contains("steps also carry `team`"));
    assert!(refused("hits{team:a,team:b}", "rate>0").contains("twice"));
    assert!(refused("memory{team:shop}", "max<1").contains("not told apart by `team`"));
    assert!(refused("hits{status:200}", "rate>0").contains("not told apart by `status`"));
}

#[test]
fn refuses_with_a_way_out() {
    let help = |selector, text| parse(selector, text).unwrap_err().help;
    assert_eq!(help("memry", "max<1"), "did you mean `memory`?");
    assert!(help("memory", "max 80%").contains("operator"));
    assert!(help("http_req_failed", "p(95)<3").contains("rate"));
    assert!(help("memory{fase:x}", "max<1").contains("phase:burst"));
    assert!(help("memory", "max<80 apples").contains("200MiB"));
    assert!(help("memory", "slope<1MiB").contains("1MiB/h"));
    assert!(help("disk_written", "max<80%").contains("200MiB"));
    assert!(parse("http_reqs", "oom_kills==0").is_err());
    assert!(parse("memory{phase:a", "max<1").is_err());
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_condition_may_end_in_a_window() {
    let window = |selector, text| parse(selector, text).unwrap().window;
    assert_eq!(window("memory", "max<80% for 10s"), Some(Window::For(10 * SECOND)));
    assert_eq!(window("memory", "slope < 1MiB/h over 30m"), Some(Window::Over(1800 * SECOND)));
    assert_eq!(window("http_req_duration", "p(95)<200 over  1m"), Some(Window::Over(60 * SECOND)));
    assert_eq!(window("http_req_duration", "p(95)<200ms"), None);
    assert_eq!(parse("memory", "max<80% for 10s").unwrap().bound, Bound::PercentOfLimit(80.0));
    assert_eq!(window("vus", "value<=9 for 1m30s"), Some(Window::For(90 * SECOND)));
}

#[test]
fn windows_without_a_meaning_are_refused_with_a_way_out() {
    let help = |selector, text| parse(selector, text).unwrap_err().help;
    assert!(help("memory", "max<1 for 10s over 1m").contains("for 10s"));
    assert!(help("memory", "max<1 over").contains("over 1m"));
    assert!(help("memory", "max<1 over 10").contains("over 1m"));
    assert!(help("memory", "max<1 over 10ms").contains("over 1m"));
    assert!(help("memory", "last<1 over 1m").contains("avg"));
    assert!(help("memory", "oom_kills==0 for 1m").contains("leave"));
    assert!(help("memory", "limit_hits==0 over 1m").contains("leave"));
    assert!(help("ready", "max<1s over 1m").contains("leave"));
    assert!(help("http_req_duration", "p(95)<200 for 1m").contains("over"));
    assert!(help("memory", "avg<1 for 1m").contains("over"));
}

#[test]
fn tags_are_read_as_k6_writes_them() {
    let tags = |selector| parse(selector, "p(95)<200").unwrap().tags;
    assert_eq!(
        tags("http_req_duration{ scenario : x,name:http://a:80/b , status:503 }"),
        [
            (Tag::Scenario, "x".to_owned()),
            (Tag::Name, "http://a:80/b".to_owned()),
            (Tag::Status, "503".to_owned())
        ]
        .into()
    );
    assert_eq!(
        tags("http_req_duration{expected_response:true, method:'get'}"),
        [(Tag::Method, "GET".to_owned()), (Tag::ExpectedResponse, "true".to_owned())].into()
    );
    assert_eq!(tags("http_req_duration{step:GET /o/{{id}}}")[&Tag::Step], "GET /o/{{id}}");
    let help = |selector, text| parse(selector, text).unwrap_err().help;
    assert!(help("http_req_duration{group:::main}", "p(95)<1").contains("`step`"));
    assert!(help("http_req_duration{url:http://a/}", "p(95)<1").contains("name:GET /path"));
    assert!(help("checks{check:is 200}", "rate>0.9").contains("leave the tag"));
    assert!(help("http_req_duration{team:blue}", "p(95)<1").contains("expected_response"));
    assert!(help("http_req_duration{status:ok}", "p(95)<1").contains("503"));
    assert!(help("http_req_duration{expected_response:yes}", "p(95)<1").contains("true"));
    assert!(help("checks{status:200}", "rate>0.9").contains("`step`"));
    assert!(help("vus{scenario:a}", "max<9").contains("`phase`"));
    assert!(help("http_reqs{phase:a,phase:b}", "count>9").contains("a rule for each"));
}

#[test]
fn what_the_engine_does_not_measure_names_what_it_does() {
    let error = parse("http_req_tls_handshaking", "p(95)<100").unwrap_err();
    assert!(error.message.contains("not measured by this version"));
    for name in ["http_req_blocked", "http_req_connecting", "http_req_sending", "group_duration"] {
        let help = parse(name, "p(95)<100").unwrap_err().help;
        assert!(Metric::names().any(|known| help.contains(known)), "{name}: {help}");
    }
}

/// k6's own examples, carried over to TOML with nothing changed inside the quotes, and what they
/// mean.
#[test]
fn k6s_documented_thresholds_mean_the_same() {
    use Aggregate::{Avg, Count, Last, Max, Med, Percentile, Rate};
    let scenario = r#"
[target]
image = "none"
port = 1
[[scenario]]
name = "my_web_test"
[[scenario.step]]
get = "/"
[[phase]]
name = "load"
users = 1
for = "1s"
[thresholds]
http_req_failed = ["rate<0.01"]
http_req_duration = ["p(95)<200", "p(90) < 400", "p(99.9) < 2000", "avg<200", "med<=500", "max<1e4"]
iterations = ["rate>4", "count>=100"]
http_reqs = ["count>100", "rate > 10"]
checks = ["rate>0.9", "rate===1.00"]
"http_req_duration{scenario:my_web_test}" = ["p(95)<250", "p(99)<350"]
"http_req_duration{expected_response:true}" = "p(95)<300"
"http_req_duration{status:200}" = ["max>=0"]
"http_reqs{method:GET}" = [{ threshold = "count!=0", abortOnFail = true, delayAbortEval = "10s" }]
"http_req_waiting{name:GET /}" = [{ threshold = "p(99) < 300", abortOnFail = true }]
http_req_receiving = [{ threshold = "p(95)<100", abortOnFail = false, delayAbortEval = "1m" }]
iteration_duration = ["p(95)<30000"]
dropped_iterations = ["count<100"]
vus = ["value>0"]
vus_max = ["value<=100"]
data_received = ["count<10000000"]
"#;
    let overrides = Overrides::default();
    let plan = Plan::parse(Path::new("highwater.toml"), scenario, &overrides)
        .unwrap_or_else(|faults| panic!("{}", faults.render(false)));
    let expect = |metric, aggregate, operator, bound: f64| {
        let matches = |rule: &&Rule| {
            (rule.metric, rule.aggregate, rule.operator) == (metric, aggregate, operator)
                && rule.bound == Bound::Value(bound)
        };
        plan.rules.iter().find(matches).unwrap_or_else(|| panic!("{metric:?} {aggregate:?}"))
    };
    expect(Metric::HttpReqFailed, Rate, Operator::Less, 0.01);
    expect(Metric::HttpReqDuration, Percentile(95.0), Operator::Less, 200.0);
    expect(Metric::HttpReqDuration, Percentile(99.9), Operator::Less, 2000.0);
    expect(Metric::HttpReqDuration, Avg, Operator::Less, 200.0);
    expect(Metric::HttpReqDuration, Med, Operator::AtMost, 500.0);
    expect(Metric::HttpReqDuration, Max, Operator::Less, 1e4);
    expect(Metric::Iterations, Rate, Operator::More, 4.0);
    expect(Metric::Iterations, Count, Operator::AtLeast, 100.0);
    expect(Metric::Checks, Rate, Operator::Equal, 1.0);
    expect(Metric::IterationDuration, Percentile(95.0), Operator::Less, 30_000.0);
    expect(Metric::DroppedIterations, Count, Operator::Less, 100.0);
    expect(Metric::Vus, Last, Operator::More, 0.0);
    expect(Metric::VusMax, Last, Operator::AtMost, 100.0);
    expect(Metric::DataReceived, Count, Operator::Less, 1e7);
    let rule = expect(Metric::HttpReqDuration, Percentile(95.0), Operator::Less, 300.0);
    assert_eq!(rule.tags[&Tag::ExpectedResponse], "true");
    let aborts = expect(Metric::HttpReqs, Count, Operator::Differs, 0.0);
    assert_eq!((aborts.abort, &*aborts.tags[&Tag::Method]), (Some(10 * SECOND), "GET"));
    let waiting = expect(Metric::HttpReqWaiting, Percentile(99.0), Operator::Less, 300.0);
    assert_eq!(waiting.abort, Some(Duration::ZERO));
    assert_eq!(
        expect(Metric::HttpReqReceiving, Percentile(95.0), Operator::Less, 100.0).abort,
        None
    );
    assert_eq!(plan.rules.len(), 25);
}

fn any_window() -> impl Strategy<Value = Option<(bool, u64)>> {
    prop::option::of((any::<bool>(), 1_u64..100_000))
}

proptest! {
    #[test]
    fn never_panics(selector in ".{0,40}", text in ".{0,40}") {
        let _ = parse(&selector, &text);
    }

    #[test]
    fn never_panics_on_near_rules(
        selector in "(memory|http_reqs|ready|vus)[{}:,'\"a-zé ]{0,8}",
        text in "(max|p\\(|rate|slope)[<>=!]{0,3}[0-9.%MiBsh/é]{0,6}( for| over){0,2}[ 0-9smé]{0,4}",
    ) {
        let _ = parse(&selector, &text);
    }

    #[test]
    fn a_rule_that_was_written_out_reads_back(
        metric in prop::sample::select(Metric::names().collect::<Vec<_>>()),
        (phase, step) in ("[a-z][a-z -]{0,8}[a-z]", "[A-Z]{3} /[a-z/:{}]{0,8}[a-z]"),
        aggregate in prop::sample::select(vec!["max", "min", "last", "avg", "med", "count", "rate"]),
        sign in prop::sample::select(vec![
            ("<", Operator::Less),
            ("<=", Operator::AtMost),
            (">", Operator::More),
            (">=", Operator::AtLeast),
            ("==", Operator::Equal),
            ("!=", Operator::Differs),
        ]),
        (bound, space) in (0.0..1e9_f64, " {0,2}"),
        window in any_window(),
    ) {
        let of_request = metric.starts_with("http");
        let tags = if of_request { format!("step:{step}, phase : {phase}") } else { format!("phase:{phase}") };
        let tail = window.map_or_else(String::new, |(is_for, seconds)| {
            format!(" {} {seconds}s", if is_for { "for" } else { "over" })
        });
        let text = format!("{aggregate}{space}{}{space}{bound}{tail}", sign.0);
        let selector = format!("{metric}{{{tags}}}");
        // What does not go together is refused, which other tests are about.
        if let Ok(rule) = parse(&selector, &text) {
            prop_assert_eq!(rule.metric, Metric::parse(&Words::default(), metric).unwrap());
            prop_assert_eq!(rule.operator, sign.1);
            prop_assert_eq!(rule.bound, Bound::Value(bound));
            prop_assert_eq!(&rule.tags[&Tag::Phase], &phase);
            prop_assert_eq!(rule.tags.get(&Tag::Step), of_request.then_some(&step));
            let expected = window.map(|(is_for, seconds)| {
                let length = Duration::from_secs(seconds);
                if is_for { Window::For(length) } else { Window::Over(length) }
            });
            prop_assert_eq!(rule.window, expected);
            let again = parse(&rule.selector, &rule.text).unwrap();
            prop_assert_eq!(rule, again);
        } else {
            let plain = aggregate == "max" && window.is_none();
            prop_assert!(!(plain && metric.starts_with("memory")), "{} {}", selector, text);
        }
    }
}
