//! Metrics of a scenario's own, and what is wrong with steps.

use std::collections::BTreeMap;

use highwater::event::MetricSums;

use super::runs::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_feed_metrics_of_the_scenarios_own() {
    let scenario = format!(
        r#"
[[scenario]]
tags = {{ team = "shop" }}
[[scenario.step]]
get  = "/orders"
tags = {{ kind = "list" }}
[scenario.step.metrics]
orders  = {{ counter = 1 }}
numbers = {{ counter = "json:$.id" }}
lost    = {{ counter = "json:$.nothing" }}
named   = {{ rate = "json:$.items[0].name", equals = "a b" }}
cookies = {{ rate = "header:set-cookie" }}
later   = {{ rate = 'regex:id": (\d+)', min = 3 }}
[[scenario.step]]
get     = "/broken"
metrics = {{ named = {{ rate = "status", max = 399 }} }}
[thresholds]
"named{{team:shop,kind:list}}" = "rate>0.9"
{}"#,
        once(2)
    );
    let (outcome, notes) = run(&scenario).await;
    assert_eq!(notes.len(), 4);
    // The shop numbers its requests, so that the orders have the numbers 1 and 3.
    let expected =
        [("cookies", 0, 2), ("later", 1, 2), ("named", 2, 4), ("numbers", 4, 2), ("orders", 2, 2)];
    let expected = expected.map(|(name, hits, of)| (name.to_owned(), MetricSums { hits, of }));
    assert_eq!(outcome.metrics, BTreeMap::from(expected));
    assert_eq!(outcome.counts.failed, 2);
}

#[test]
fn faults_of_metrics_and_tags_are_told() {
    let told = |step: &str| {
        let said =
            faults(&format!("[[scenario]]\n[[scenario.step]]\nget = \"/\"\n{step}\n{}", once(1)));
        let flat: Vec<&str> = said.split_whitespace().collect();
        flat.join(" ").replace("│ ", "")
    };
    let cases = [
        ("metrics = { memory = { rate = \"status\" } }", "a metric can't be called `memory`"),
        ("metrics = { a = { rate = \"status\", counter = 1 } }", "either `rate` or `counter`"),
        ("metrics = { a = { trend = \"status\" } }", "either `rate` or `counter`"),
        ("metrics = { a = { rate = \"xml:/x\" } }", "captures nothing"),
        ("metrics = { a = { rate = 1 } }", "can't be fed by a whole number"),
        ("metrics = { a = { counter = -1 } }", "can't be fed by a whole number"),
        ("metrics = { a = { counter = 1, min = 2 } }", "always the same"),
        ("metrics = { a = { rate = \"status\", bigger = 2 } }", "unknown key `bigger`"),
        ("tags = { status = \"x\" }", "a tag can't be called `status`"),
        ("tags = { team = [\"x\"] }", "`team` in `tags` is a list"),
        ("tags = { team = \"a,b\" }", "can't be `a,b`"),
        (
            "tags = { team = \"shop\" }\n[thresholds]\n\"http_reqs{team:ship}\" = \"count>1\"",
            "no step carries the tag `team:ship`",
        ),
        (
            "metrics = { a = { counter = 1 } }\n[[scenario.step]]\nget = \"/b\"\n\
             metrics = { a = { rate = \"status\" } }",
            "a rate in one step and a counter in another",
        ),
    ];
    for (step, wanted) in cases {
        let said = told(step);
        assert!(said.contains(wanted), "{step}:\n{said}");
    }
}

#[test]
fn faults_of_steps_name_the_place_and_the_way_out() {
    let told =
        |step: &str| faults(&format!("[[scenario]]\n[[scenario.step]]\n{step}\n{}", once(1)));
    let cases = [
        ("get = \"/{{ idd }}\"", "nothing gives `idd` a value here"),
        ("get = \"/{{ 1 + }}\"", "can't be read"),
        ("get = \"/{% if %}\"", "can't be read"),
        ("get = \"/\"\ncapture = { \"a b\" = \"status\" }", "can't be called `a b`"),
        ("get = \"/\"\ncapture = { a = \"xml:/x\" }", "captures nothing"),
        ("get = \"/\"\ncapture = { a = \"json:id[\" }", "is no JSONPath"),
        ("get = \"/\"\ncapture = { a = \"regex:(\" }", "is no regular expression"),
        ("get = \"/\"\nexpect = { status = 99 }", "is no HTTP status"),
        ("get = \"/\"\nexpect = { json = { \"$.a\" = { bigger = 1 } } }", "`bigger` is no test"),
        ("get = \"/{{ env('HIGHWATER_NEVER_SET') }}\"", "is not set"),
        ("get = \"/{{ file('nowhere.txt') }}\"", "failed to read the file `nowhere.txt`"),
        ("get = \"/{{ 1 / 0 }}\"", "fails each time"),
        ("get = \"{{ 'orders' }}\"", "the template `{{ 'orders' }}` gives no path"),
    ];
    for (step, wanted) in cases {
        let said = told(step);
        let flat: Vec<&str> = said.split_whitespace().collect();
        assert!(flat.join(" ").replace("│ ", "").contains(wanted), "{step}:\n{said}");
    }
    let feed = faults(&format!(
        "[[scenario]]\nfeed = \"none.csv\"\n[[scenario.step]]\nget = \"/\"\n{}",
        once(1)
    ));
    assert!(feed.contains("failed to read the feed `none.csv`"), "{feed}");
    // A captured value is known to later steps only.
    let early = told("get = \"/{{ v }}\"\ncapture = { v = \"status\" }");
    assert!(early.contains("nothing gives `v` a value"), "{early}");
}
