//! `highwater load`: the load engine alone, hey-style.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderName, HeaderValue};
use tokio::net::TcpStream;
use url::Url;

use super::load_text::Account;
use super::options::{ArrivalsChoice, Load};
use super::print::print_all;
use super::report::{exit_of, give, print_json, write_reports};
use super::run::{allow_connections, tokio_runtime};
use super::signals::Signals;
use super::supervise::{KEPT, Supervision, shown};
use super::{Exit, Fault};
use crate::clock::Clock;
use crate::event::{ReleaseBuild, RunFacts};
use crate::plan::{
    Arrivals, Body, Budget, Constants, Iterations, LOAD_PHASE, LoadModel, LoadPlan, LoadRunPlan,
    OpenLoad, PhasePlan, RateStage, Reply, Rule, ScenarioChoice, ScenarioPlan, StepPlan, Think,
    TrafficPlan, Transfer, UserStage, is_template,
};
use crate::record::{Header, LastWords, Recorder, RunDirectory};
use crate::runtime::{Scratch, bare_host_facts};
use crate::scenario::unsendable;
use crate::session::{LoadRun, StopSignal};

/// How many requests there are where nothing says, as in hey.
const REQUESTS: u64 = 200;
/// The most requests in flight at once in an open loop.
const IN_FLIGHT: usize = 10_000;
/// How long what is in flight at the end is waited for, at most, as in a scenario.
const DRAIN: Duration = Duration::from_secs(5);
/// The longest that a run may take, and a request without a timeout.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the target may take to accept the first connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// What is left of a run without `--out` that was ended at once.
const NOT_KEPT: &str =
    "nothing is kept without `--out DIR`; a single Ctrl-C tells what was measured";
/// The largest body.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// `highwater load URL`
pub(super) fn load(options: &Load) -> Result<Exit, Fault> {
    options.output.machines.check()?;
    let url = parse_url(&options.url)?;
    let plan = plan(options, &url)?;
    allow_connections(std::slice::from_ref(&plan.phase))?;
    let tokio = tokio_runtime()?;
    let address = tokio.block_on(reach(&url))?;
    let kept = options.out.is_some();
    // Without a place to keep it, what is recorded goes when it was read.
    let scratch = match &options.out {
        Some(_) => None,
        None => {
            let run_id = format!("{:08x}", rand::random::<u32>());
            let scratch = Scratch::alone(&run_id, "load");
            Some(scratch.map_err(|error| Fault::new(Exit::HostCannot, &error, None))?)
        }
    };
    let scratch = scratch.as_ref().map_or(Path::new("."), Scratch::path);
    let place = options.out.clone().unwrap_or_else(|| scratch.join("load"));
    let directory = RunDirectory::create(&place)?;
    let account = Arc::new(Mutex::new(Account::default()));
    tokio.block_on(record(plan, options, &url, address, &directory, &account))?;
    let findings = write_reports(&directory)?;
    if options.output.json {
        print_json(&findings)?;
    } else {
        let account = account.lock().expect("counting never panics");
        let mut text = account.text(&findings);
        if kept {
            let _ = writeln!(text, "\nReports are in {}", place.display());
        }
        print_all(text.trim_end())?;
    }
    give(&findings, &options.output)?;
    Ok(exit_of(&findings, &options.output))
}

fn parse_url(text: &str) -> Result<Url, Fault> {
    let wrong =
        |why: &str, help: &str| Err(Fault::plain(Exit::BadUse, &format!("`{text}` {why}"), help));
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = match Url::parse(&whole) {
        Ok(url) => url,
        Err(error) => return wrong(&format!("is no URL: {error}"), "write http://127.0.0.1:8080/"),
    };
    match url.scheme() {
        "http" if url.has_host() => Ok(url),
        "http" => wrong("names no host", "write http://127.0.0.1:8080/"),
        "https" => wrong(
            "asks for TLS, which this version doesn't speak",
            "use http:// to a port without TLS",
        ),
        _ => wrong("is no http URL", "write http://127.0.0.1:8080/"),
    }
}

/// The first of the host's addresses that accepts a connection: all requests go there.
async fn reach(url: &Url) -> Result<SocketAddr, Fault> {
    // With brackets where it is an address of IPv6.
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let refused = |why: String| {
        let text = format!("nothing answers at {host}:{port}: {why}");
        Fault::plain(Exit::TargetFailed, &text, "is it running, and listening on that port?")
    };
    let addresses = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
    let addresses: Vec<SocketAddr> = addresses.map_err(|e| refused(e.to_string()))?.collect();
    first_that_accepts(&addresses).await.map_err(refused)
}

/// Tries addresses one after another; where none accepts, tells why.
async fn first_that_accepts(addresses: &[SocketAddr]) -> Result<SocketAddr, String> {
    let mut refused = Vec::new();
    for address in addresses {
        let why = match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(*address),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not accept".to_owned(),
        };
        refused.push((address, why));
    }
    Err(match refused.as_slice() {
        [] => "it has no address".to_owned(),
        [(_, why)] => why.clone(),
        several => several
            .iter()
            .map(|(address, why)| format!("{address}: {why}"))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

async fn record(
    plan: LoadRunPlan,
    options: &Load,
    url: &Url,
    address: SocketAddr,
    directory: &RunDirectory,
    account: &Arc<Mutex<Account>>,
) -> Result<(), Fault> {
    let mut signals = Signals::new().map_err(|e| Fault::new(Exit::HostCannot, &e, None))?;
    let (handle, stop) = StopSignal::new();
    let last_words = LastWords::default();
    let breakdowns = super::panics::listen(&last_words);
    let progress = super::run::progress_of(plan.outline(), &options.output);
    let clock = Clock::start();
    let header = Header { anchor: clock.anchor(), outline: plan.outline(), facts: facts() };
    let recorder = Recorder::begin(directory, &header, &plan.budget, last_words.clone())?;
    let (counted, viewed) = (Arc::clone(account), progress.clone());
    let run = LoadRun {
        plan,
        address,
        host: url[url::Position::BeforeHost..url::Position::AfterPort].to_owned(),
        clock,
        recorder,
        stop,
        breakdowns,
        observer: Box::new(move |event| {
            counted.lock().expect("counting never panics").take(event);
            if let Some(progress) = &viewed {
                shown(progress).take(event);
            }
        }),
    };
    let work =
        tokio::spawn(
            async move { run.run().await.map_err(|error| super::run::session_fault(&error)) },
        );
    let left = if options.out.is_some() { KEPT } else { NOT_KEPT };
    let supervision = Supervision {
        handle: &handle,
        deadline: None,
        progress: progress.as_ref(),
        last_words: &last_words,
        left,
    };
    supervision.wait(work, &mut signals).await.map(|_| ())
}

fn facts() -> RunFacts {
    RunFacts {
        run_id: format!("{:08x}", rand::random::<u32>()),
        highwater: env!("CARGO_PKG_VERSION").to_owned(),
        runtime: "none".to_owned(),
        image: None,
        release: ReleaseBuild::Unknown,
        release_evidence: "traffic does not tell how its target was built".to_owned(),
        cgroup: "unknown".to_owned(),
        host: bare_host_facts(),
        via: String::new(),
    }
}

fn plan(options: &Load, url: &Url) -> Result<LoadRunPlan, Fault> {
    let step = step(options, url)?;
    let (model, length) = model(options)?;
    let timeout = if options.timeout.is_zero() { LONGEST } else { options.timeout };
    Ok(LoadRunPlan {
        name: LOAD_PHASE.to_owned(),
        traffic: TrafficPlan {
            seed: 1,
            timeout,
            drain: timeout.min(DRAIN),
            max_in_flight: IN_FLIGHT,
            scenarios: vec![ScenarioPlan {
                name: LOAD_PHASE.to_owned(),
                weight: 1,
                steps: vec![step],
                ..ScenarioPlan::default()
            }],
            constants: Constants::default(),
            samples: options.samples.unwrap_or_default(),
        },
        phase: PhasePlan {
            name: LOAD_PHASE.to_owned(),
            length,
            loads: vec![LoadPlan {
                scenario: ScenarioChoice::One(0),
                model,
                start_after: Duration::ZERO,
            }],
            tags: Vec::new(),
            size: false,
            stop_early: false,
            actions: Vec::new(),
        },
        rules: options.threshold.iter().map(|text| rule(text)).collect::<Result<_, _>>()?,
        window: Duration::from_millis(100),
        budget: Budget::default(),
    })
}

/// How requests are paced, and for how long.
fn model(options: &Load) -> Result<(LoadModel, Duration), Fault> {
    let counted = options.duration.is_none();
    if options.duration.is_some_and(|length| length.is_zero()) {
        let help = "such as `-z 30s`; or `-n 1000` for a number of requests";
        return Err(Fault::plain(Exit::BadUse, "`-z` of no time sends nothing", help));
    }
    if options.rate.is_none() && options.arrivals.is_some() {
        let text = "`--arrivals` spaces the requests of an open loop, and this is none";
        return Err(Fault::plain(Exit::BadUse, text, "say how many: `--rate 500`"));
    }
    let Some(rate) = options.rate else {
        let length = options.duration.unwrap_or(LONGEST);
        let users = options.connections;
        let model = LoadModel::Closed {
            stages: vec![UserStage { from: users, to: users, length }],
            iterations: counted.then(|| Iterations::Shared(options.requests.unwrap_or(REQUESTS))),
        };
        return Ok((model, length));
    };
    let per_second = rate.as_per_second();
    if per_second <= 0.0 {
        return Err(sends_nothing());
    }
    let length = options.duration.unwrap_or_else(|| {
        #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 requests")]
        let seconds = options.requests.unwrap_or(REQUESTS) as f64 / per_second;
        Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST)
    });
    let model = LoadModel::Open(OpenLoad {
        stages: vec![RateStage { from: rate, to: rate, length }],
        arrivals: match options.arrivals.unwrap_or_default() {
            ArrivalsChoice::Even => Arrivals::Even,
            ArrivalsChoice::Poisson => Arrivals::Poisson,
        },
        bursts: Vec::new(),
    });
    Ok((model, length))
}

fn step(options: &Load, url: &Url) -> Result<StepPlan, Fault> {
    let body = body(options)?;
    let has_body = !matches!(body, Body::Empty);
    let default = if has_body { "POST" } else { "GET" };
    let method = options.method.as_deref().unwrap_or(default).to_uppercase();
    if hyper::Method::from_bytes(method.as_bytes()).is_err() {
        let text = format!("`{method}` is no HTTP method");
        return Err(Fault::plain(Exit::BadUse, &text, "such as `-m PUT`"));
    }
    let path = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    Ok(StepPlan {
        id: 0,
        label: format!("{method} {}", url.path()),
        method,
        path,
        headers: headers(options, url, has_body)?,
        body,
        expect_status: Vec::new(),
        reply: Reply::default(),
        transfer: Transfer::default(),
        think: pause(options)?,
        tags: BTreeMap::new(),
    })
}

/// A limit on each connection is the least time from one of its requests to the next.
fn pause(options: &Load) -> Result<Think, Fault> {
    let Some(limit) = options.limit else { return Ok(Think::None) };
    match Duration::try_from_secs_f64(1.0 / limit.as_per_second()) {
        Ok(every) => Ok(Think::Paced(every)),
        Err(_) => Err(sends_nothing()),
    }
}

fn sends_nothing() -> Fault {
    let help = "such as `--rate 500`, or `-q 30/min`";
    Fault::plain(Exit::BadUse, "a rate of 0 sends nothing", help)
}

fn body(options: &Load) -> Result<Body, Fault> {
    if let Some(text) = &options.data {
        return Ok(Body::Literal(text.as_bytes().into()));
    }
    let Some(path) = &options.body_file else { return Ok(Body::Empty) };
    let bytes = read_body(path).map_err(|why| {
        let text = format!("failed to read the body file `{}`: {why}", path.display());
        Fault::plain(Exit::BadUse, &text, "a file of up to 256 MiB")
    })?;
    Ok(Body::File { path: path.clone(), bytes: bytes.into() })
}

fn read_body(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // What is no regular file has no length that could be asked for.
    file.take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > BODY_BYTES_MAX { Err("it is too large".to_owned()) } else { Ok(bytes) }
}

fn headers(options: &Load, url: &Url, has_body: bool) -> Result<Vec<(String, String)>, Fault> {
    let mut headers = Vec::new();
    for line in &options.header {
        let pair = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let refused = pair.and_then(|(name, value)| unsendable(name, value));
        if let Some((text, help)) = refused {
            return Err(Fault::plain(Exit::BadUse, &text, help));
        }
        match pair {
            Some((name, value))
                if HeaderName::from_bytes(name.as_bytes()).is_ok()
                    && HeaderValue::from_str(value).is_ok() =>
            {
                headers.push((name.to_lowercase(), literal(value)));
            }
            _ => {
                let text = format!("`{line}` can't be sent as a header");
                return Err(Fault::plain(Exit::BadUse, &text, "write `-H 'Name: value'`"));
            }
        }
    }
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value
            && !headers.iter().any(|(given, _)| given == name)
        {
            headers.push((name.to_owned(), value));
        }
    };
    add("content-type", options.content_type.clone());
    add("content-type", has_body.then(|| "text/plain".to_owned()));
    add("accept", options.accept.clone());
    let in_url = (!url.username().is_empty())
        .then(|| format!("{}:{}", url.username(), url.password().unwrap_or_default()));
    let auth = options.auth.clone().or(in_url);
    add("authorization", auth.map(|pair| format!("Basic {}", STANDARD.encode(pair))));
    Ok(headers)
}

/// Text that is sent as it is, whatever templates would make of it.
fn literal(text: &str) -> String {
    if is_template(text) { format!("{{% raw %}}{text}{{% endraw %}}") } else { text.to_owned() }
}

/// `http_req_duration: p(95)<200` as a rule; what traffic alone does not tell is refused.
fn rule(text: &str) -> Result<Rule, Fault> {
    let wrong = |message: &str, help: &str| {
        Fault::plain(Exit::BadUse, &format!("`--threshold '{text}'`: {message}"), help)
    };
    let Some((selector, condition)) = text.rsplit_once(':') else {
        let help = "write it as `metric: condition`, such as `http_req_duration: p(95)<200`";
        return Err(wrong("there is no `:` after the metric", help));
    };
    let rule = Rule::parse(selector.trim(), condition.trim(), None)
        .map_err(|error| wrong(&error.message, &error.help))?;
    if !rule.metric.is_of_traffic() {
        let help = "`highwater run` and `watch` do";
        return Err(wrong("memory is not sampled here", help));
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_may_leave_out_what_goes_without_saying() {
        let url = parse_url("127.0.0.1:8080").unwrap();
        assert_eq!((url.path(), url.port()), ("/", Some(8080)));
        assert_eq!(parse_url("http://[::1]:9/a?b=c").unwrap().query(), Some("b=c"));
        for wrong in ["https://127.0.0.1/", "ftp://a/", "http://", "http://a:99999/", ""] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_tried_in_turn_and_all_are_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let closed = [SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), 1), {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        }];
        let tokio = tokio_runtime().unwrap();
        let try_all = |addresses: &[SocketAddr]| tokio.block_on(first_that_accepts(addresses));
        assert_eq!(try_all(&[closed[0], closed[1], open]), Ok(open));
        let why = try_all(&closed).unwrap_err();
        assert!(why.contains("[::1]:1: ") && why.contains(&closed[1].to_string()), "{why}");
        assert_eq!(try_all(&[]), Err("it has no address".to_owned()));
    }

    #[test]
    fn rules_are_about_traffic() {
        assert!(rule("http_req_failed: rate<0.01").is_ok());
        for wrong in ["memory: max<1MiB", "http_reqs", "http_reqs: most<3", "nothing: max<1"] {
            assert!(rule(wrong).is_err(), "{wrong}");
        }
    }
}
