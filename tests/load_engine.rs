//! The load engine against a small server on 127.0.0.1 that answers, stalls, breaks off and lies.

#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highwater::clock::Clock;
use highwater::event::{
    Counts, ErrorKind, FlowWindow, GeneratorPath, GeneratorReport, Histogram, IterationWindow,
    Status, StatusWindow, UserWindow, What,
};
use highwater::load::{Endpoint, Engine, Job};
use highwater::plan::{
    Arrivals, Body, Burst, BurstForm, Check, Constants, Iterations, LoadModel, LoadPlan, OpenLoad,
    PhasePlan, RateStage, Reply, Samples, ScenarioChoice, ScenarioPlan, Shape, SizePoints,
    StepPlan, Test, Think, TrafficPlan, Transfer, UserStage, Wanted,
};
use highwater::units::{Bytes, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server noted.
#[derive(Debug, Default)]
struct Seen {
    connections: Mutex<u64>,
    bodies: Mutex<Vec<Vec<u8>>>,
    stalled: AtomicBool,
}

/// Serves until the test's runtime ends.
async fn serve() -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            *noted.connections.lock().unwrap() += 1;
            tokio::spawn(converse(stream, Arc::clone(&noted)));
        }
    });
    (address, seen)
}

/// Reads one head and its body; none at the end of the connection.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let split = loop {
        if let Some(split) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break split + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..split]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while buffer.len() < split + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[split..split + length].to_vec();
    buffer.drain(..split + length);
    Some((head.split(' ').nth(1).unwrap().to_owned(), body))
}

async fn converse(mut stream: TcpStream, seen: Arc<Seen>) -> Option<()> {
    let mut buffer = Vec::new();
    for number in 0.. {
        let (path, body) = read_request(&mut stream, &mut buffer).await?;
        if !body.is_empty() {
            seen.bodies.lock().unwrap().push(body);
        }
        while seen.stalled.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let reply = match path.as_str() {
            "/missing" => "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno",
            "/short" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfew",
            "/short_chunk" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
            "/half_a_head" => "HTTP/1.1 200 OK\r\ncontent-le",
            "/nothing" => "",
            "/switch" => "HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\n\r\n",
            "/nonsense" => "SSH-2.0-what\r\n\r\n",
            "/close" => "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            // Every second request of a connection meets a server that has had enough.
            "/tired" if number % 2 == 1 => return Some(()),
            "/endless" => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n")
                    .await
                    .ok()?;
                loop {
                    stream.write_all(b"more").await.ok()?;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            }
            "/silent" => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                ""
            }
            // The head at once, the body later.
            "/late" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await.ok()?;
                tokio::time::sleep(Duration::from_millis(50)).await;
                "ok"
            }
            "/moody" if number % 2 == 1 => {
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"
            }
            "/large" => {
                let size = 8 << 20;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.ok()?;
                stream.write_all(&vec![b'x'; size]).await.ok()?;
                ""
            }
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        };
        stream.write_all(reply.as_bytes()).await.ok()?;
        let ends = ["/short", "/short_chunk", "/half_a_head", "/nothing", "/nonsense", "/close"];
        if ends.contains(&path.as_str()) {
            return Some(());
        }
    }
    None
}

fn step(id: u16, path: &str) -> StepPlan {
    StepPlan {
        id,
        label: format!("GET {path}"),
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: vec![],
        body: Body::Empty,
        expect_status: vec![],
        reply: Reply::default(),
        transfer: Transfer::default(),
        think: Think::default(),
        tags: BTreeMap::default(),
    }
}

fn post(body: Body) -> StepPlan {
    StepPlan { method: "POST".to_owned(), body, ..step(0, "/") }
}

fn scenario(steps: Vec<StepPlan>) -> ScenarioPlan {
    ScenarioPlan { name: "test".to_owned(), weight: 1, steps, ..ScenarioPlan::default() }
}

fn traffic(steps: Vec<StepPlan>) -> TrafficPlan {
    TrafficPlan {
        seed: 1,
        timeout: Duration::from_secs(5),
        drain: Duration::from_millis(300),
        max_in_flight: 1000,
        scenarios: vec![scenario(steps)],
        constants: Constants::default(),
        samples: Samples::None,
    }
}

fn open(per_second: f64, bursts: Vec<Burst>, length: Duration) -> LoadModel {
    let rate = Rate::per_second(per_second).unwrap();
    LoadModel::Open(OpenLoad {
        stages: vec![RateStage { from: rate, to: rate, length }],
        arrivals: Arrivals::Even,
        bursts,
    })
}

fn users(count: u32, length: Duration, iterations: Option<u64>) -> LoadModel {
    LoadModel::Closed {
        stages: vec![UserStage { from: count, to: count, length }],
        iterations: iterations.map(Iterations::Shared),
    }
}

/// `size` arrivals at once, in the middle of the phase.
fn burst(size: u64, length: Duration) -> LoadModel {
    let burst = Burst { every: length, form: BurstForm::Size(size), jitter: 0.0, begins: 0.5 };
    open(0.0, vec![burst], length)
}

fn phase(model: LoadModel, length: Duration) -> PhasePlan {
    PhasePlan {
        name: "test".to_owned(),
        length,
        loads: vec![LoadPlan { scenario: ScenarioChoice::Mix, model, start_after: Duration::ZERO }],
        tags: vec![],
        size: false,
        stop_early: false,
        actions: Vec::new(),
    }
}

/// Everything that came out of one run of the engine.
#[derive(Debug)]
struct Outcome {
    total: Counts,
    phases: BTreeMap<u16, Counts>,
    steps: BTreeMap<u16, Counts>,
    status: BTreeMap<u16, u64>,
    errors: BTreeMap<ErrorKind, u64>,
    latency_us: Histogram,
    duration_us: Histogram,
    lateness_us: Histogram,
    waiting_us: Histogram,
    receiving_us: Histogram,
    by_status: Vec<StatusWindow>,
    iterations: Vec<IterationWindow>,
    users: Vec<UserWindow>,
    flows: Vec<FlowWindow>,
    report: GeneratorReport,
}

impl Outcome {
    fn errors(&self) -> Vec<(ErrorKind, u64)> {
        self.errors.iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    /// What holds of every finished run.
    fn check(&self) {
        assert_eq!(self.total.due, self.total.ended + self.total.unsent, "{self:?}");
        assert!(self.total.sent + self.total.unsent <= self.total.due);
        assert_eq!(self.total.failed, self.errors.values().sum::<u64>());
        let mut flow = Counts::default();
        for window in &self.flows {
            flow.add(&window.counts);
        }
        let plain =
            |counts: &Counts| (counts.due, counts.sent, counts.ended, counts.failed, counts.unsent);
        assert_eq!(plain(&flow), plain(&self.total));
        assert_eq!(flow.bytes_sent, self.total.bytes_sent);
        let ends = self.flows.last().map(|window| window.steps.clone()).unwrap_or_default();
        assert!(ends.iter().all(|step| step.in_flight_end == 0), "{ends:?}");
    }
}

async fn run(traffic: TrafficPlan, phases: Vec<PhasePlan>, to: SocketAddr) -> Outcome {
    run_with(traffic, phases, to, 2, |_| {}).await
}

async fn run_with(
    traffic: TrafficPlan,
    phases: Vec<PhasePlan>,
    to: SocketAddr,
    workers: usize,
    at_start: impl FnOnce(&Clock),
) -> Outcome {
    run_within(traffic, phases, to, workers, None, at_start).await
}

async fn run_within(
    traffic: TrafficPlan,
    phases: Vec<PhasePlan>,
    to: SocketAddr,
    workers: usize,
    netns: Option<OwnedFd>,
    at_start: impl FnOnce(&Clock),
) -> Outcome {
    let clock = Clock::start();
    let drain = traffic.drain;
    let job = Job {
        traffic: Arc::new(traffic),
        phases: phases.into(),
        window: Duration::from_millis(100),
    };
    let endpoint = Endpoint {
        address: to,
        host: "target.test".to_owned(),
        netns,
        path: GeneratorPath::Native,
    };
    let (events, mut received) = tokio::sync::mpsc::channel(8);
    let engine = Engine::start(&job, endpoint, clock.clone(), workers, events).unwrap();
    at_start(&clock);
    let finishing = tokio::spawn(async move {
        let mut at = clock.now() + Duration::from_millis(5);
        for (index, phase) in (0_u16..).zip(job.phases.iter()) {
            engine.begin_phase(index, at);
            let over = tokio::time::sleep(at.since(clock.now()) + phase.length);
            tokio::select! {
                () = over => at = at + phase.length,
                () = engine.phase_spent(index) => at = clock.now(),
            }
            engine.end_phase(index, at);
        }
        engine.finish(drain).await.unwrap()
    });
    let mut events = Vec::new();
    while let Some(event) = received.recv().await {
        events.push(event.what);
    }
    let report = finishing.await.unwrap();
    let outcome = sum_up(events, report);
    outcome.check();
    outcome
}

fn sum_up(events: Vec<What>, report: GeneratorReport) -> Outcome {
    let mut outcome = Outcome {
        total: Counts::default(),
        phases: BTreeMap::new(),
        steps: BTreeMap::new(),
        status: BTreeMap::new(),
        errors: BTreeMap::new(),
        latency_us: Histogram::new(),
        duration_us: Histogram::new(),
        lateness_us: Histogram::new(),
        waiting_us: Histogram::new(),
        receiving_us: Histogram::new(),
        by_status: Vec::new(),
        iterations: Vec::new(),
        users: Vec::new(),
        flows: Vec::new(),
        report,
    };
    assert!(matches!(events.last(), Some(What::GeneratorDone(last)) if *last == report));
    for event in events {
        match event {
            What::Traffic(window) => {
                outcome.total.add(&window.counts);
                outcome.phases.entry(window.phase).or_default().add(&window.counts);
                outcome.steps.entry(window.step).or_default().add(&window.counts);
                for (status, count) in window.status {
                    *outcome.status.entry(status).or_default() += count;
                }
                for (kind, count) in window.errors {
                    *outcome.errors.entry(kind).or_default() += count;
                }
                outcome.latency_us.add(&window.latency_us);
                outcome.duration_us.add(&window.duration_us);
                outcome.lateness_us.add(&window.lateness_us);
                outcome.waiting_us.add(&window.waiting_us);
                outcome.receiving_us.add(&window.receiving_us);
                outcome.by_status.extend(window.by_status);
            }
            What::Iterations(window) => outcome.iterations.push(window),
            What::Users(window) => outcome.users.push(window),
            What::Flow(window) => outcome.flows.push(window),
            _ => {}
        }
    }
    outcome
}

const SECOND: Duration = Duration::from_secs(1);
const HALF: Duration = Duration::from_millis(500);

#[tokio::test]
async fn an_open_load_sends_exactly_what_was_scheduled() {
    let (to, _) = serve().await;
    let outcome =
        run(traffic(vec![step(0, "/")]), vec![phase(open(200.0, vec![], SECOND), SECOND)], to)
            .await;
    assert_eq!((outcome.total.due, outcome.total.sent, outcome.total.failed), (200, 200, 0));
    assert_eq!(outcome.status, BTreeMap::from([(200, 200)]));
    assert_eq!(outcome.latency_us.count(), 200);
    assert_eq!(outcome.lateness_us.count(), 200);
    assert!(outcome.total.bytes_sent > 200 * 20 && outcome.total.bytes_received >= 200 * 40);
    assert_eq!((outcome.report.workers, outcome.report.saturated), (2, false));
    assert!(outcome.report.cpu_ns > 0 && outcome.report.rss_peak > 1 << 20);
}

#[tokio::test]
async fn a_phase_that_follows_at_once_loses_and_doubles_nothing() {
    let (to, seen) = serve().await;
    let phases = (0..3).map(|_| phase(open(300.0, vec![], HALF), HALF)).collect();
    let outcome = run(traffic(vec![step(0, "/slow")]), phases, to).await;
    for index in 0..3 {
        let counts = outcome.phases[&index];
        assert_eq!((counts.due, counts.ended), (150, 150), "phase {index}");
    }
    // 15 in flight on average: connections are used again, across phases too.
    assert!(*seen.connections.lock().unwrap() < 100, "{seen:?}");
}

#[tokio::test]
async fn a_stall_shows_in_latency_from_due_and_shrinks_nothing() {
    let (to, seen) = serve().await;
    seen.stalled.store(true, Ordering::SeqCst);
    let ends = Arc::clone(&seen);
    let outcome = run_with(
        traffic(vec![step(0, "/")]),
        vec![phase(open(200.0, vec![], SECOND), SECOND)],
        to,
        1,
        move |_| {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(600)).await;
                ends.stalled.store(false, Ordering::SeqCst);
            });
        },
    )
    .await;
    assert_eq!((outcome.total.due, outcome.total.ended, outcome.total.failed), (200, 200, 0));
    let p99 = outcome.latency_us.percentile(99.0).unwrap();
    assert!((500_000..800_000).contains(&p99), "{p99} µs");
    let most = outcome.flows.iter().flat_map(|flow| &flow.steps).map(|step| step.in_flight_max);
    assert!(most.max().unwrap() >= 100);
}

#[tokio::test]
async fn what_is_due_beyond_the_bound_is_unsent() {
    let (to, seen) = serve().await;
    seen.stalled.store(true, Ordering::SeqCst);
    let plan = TrafficPlan { max_in_flight: 20, ..traffic(vec![step(0, "/")]) };
    let outcome = run(plan, vec![phase(burst(100, HALF), HALF)], to).await;
    assert_eq!((outcome.total.due, outcome.total.unsent, outcome.total.sent), (100, 80, 20));
    // The stall outlasts the drain.
    assert_eq!(outcome.errors(), [(ErrorKind::Unfinished, 20)]);
}

#[tokio::test]
async fn failures_are_counted_by_kind() {
    let kinds = [
        ("/missing", ErrorKind::Status),
        ("/short", ErrorKind::CutShort),
        ("/short_chunk", ErrorKind::CutShort),
        ("/half_a_head", ErrorKind::CutShort),
        ("/nothing", ErrorKind::Reset),
        ("/switch", ErrorKind::Protocol),
        ("/nonsense", ErrorKind::Protocol),
        ("/endless", ErrorKind::Timeout),
        ("/silent", ErrorKind::Timeout),
    ];
    for (path, kind) in kinds {
        let (to, _) = serve().await;
        let plan =
            TrafficPlan { timeout: Duration::from_millis(100), ..traffic(vec![step(0, path)]) };
        let outcome = run(plan, vec![phase(open(20.0, vec![], HALF), HALF)], to).await;
        assert_eq!(outcome.errors(), [(kind, 10)], "{path}");
        assert_eq!(outcome.total.sent, 10);
        let timed = u64::from(kind == ErrorKind::Timeout || kind == ErrorKind::Status) * 10;
        assert_eq!(outcome.latency_us.count(), timed, "{path}");
        if kind == ErrorKind::Timeout {
            let most = outcome.duration_us.max().unwrap();
            assert!((100_000..300_000).contains(&most), "{path}: {most} µs");
        }
    }
}

#[tokio::test]
async fn the_first_byte_is_told_from_the_last() {
    let (to, _) = serve().await;
    let load = users(1, 5 * SECOND, Some(10));
    let outcome = run(traffic(vec![step(0, "/late")]), vec![phase(load, 5 * SECOND)], to).await;
    assert_eq!((outcome.waiting_us.count(), outcome.receiving_us.count()), (10, 10));
    let median = |times: &Histogram| times.percentile(50.0).unwrap();
    assert!(median(&outcome.waiting_us) < 40_000, "{} µs", median(&outcome.waiting_us));
    assert!((45_000..90_000).contains(&median(&outcome.receiving_us)));
    // All were answered alike.
    assert!(outcome.by_status.is_empty());
}

#[tokio::test]
async fn checks_and_times_are_told_apart_by_status() {
    let (to, _) = serve().await;
    let check = |text: &str| Check { what: Wanted::Body(Test::Contains(text.into())), warn: true };
    let reply = Reply { checks: vec![check("ok"), check("")], ..Reply::default() };
    let steps = vec![StepPlan { reply, ..step(0, "/moody") }];
    let load = users(1, 5 * SECOND, Some(40));
    let outcome = run_with(traffic(steps), vec![phase(load, 5 * SECOND)], to, 1, |_| {}).await;
    assert_eq!(outcome.status, BTreeMap::from([(200, 20), (503, 20)]));
    assert_eq!((outcome.total.checks_passed, outcome.total.checks_failed), (60, 20));
    let of = |code, expected| {
        let rows = outcome.by_status.iter();
        let rows = rows.filter(|row| (row.status, row.expected) == (Status::Code(code), expected));
        rows.fold((0, 0, 0, 0), |sum, row| {
            let (times, waits) = (row.duration_us.count(), row.waiting_us.count());
            (sum.0 + row.count, sum.1 + row.failed, sum.2 + times, sum.3 + waits)
        })
    };
    assert_eq!(of(200, true), (20, 0, 20, 20));
    assert_eq!(of(503, false), (20, 20, 20, 20));
    assert_eq!((outcome.duration_us.count(), outcome.waiting_us.count()), (40, 40));
}

#[tokio::test]
async fn runs_and_users_are_told() {
    let (to, _) = serve().await;
    let steps = vec![step(0, "/slow"), step(1, "/slow")];
    let phases = vec![
        phase(users(4, 5 * SECOND, Some(30)), 5 * SECOND),
        phase(open(20.0, vec![], SECOND), SECOND),
    ];
    let outcome = run(traffic(steps), phases, to).await;
    let sum = |phase, of: fn(&IterationWindow) -> u64| {
        let windows = outcome.iterations.iter().filter(|window| window.phase == phase);
        windows.map(of).sum::<u64>()
    };
    assert_eq!((sum(0, |window| window.begun), sum(0, |window| window.ended)), (30, 30));
    assert_eq!(sum(0, |window| window.duration_us.count()), 30);
    let least = outcome.iterations.iter().filter_map(|window| window.duration_us.min()).min();
    assert!(least.unwrap() >= 100_000, "{least:?}");
    // What the phase's end cuts short has begun, and is no whole run.
    assert_eq!((sum(1, |window| window.begun), sum(1, |window| window.dropped)), (20, 0));
    assert!((16..=20).contains(&sum(1, |window| window.ended)));
    let most = outcome.users.iter().filter(|window| window.phase == 0).map(|window| window.max);
    assert_eq!(most.max(), Some(4));
    assert!(outcome.users.iter().all(|window| window.min <= window.max));
}

#[tokio::test]
async fn arrivals_that_could_not_begin_are_dropped_runs() {
    let (to, seen) = serve().await;
    seen.stalled.store(true, Ordering::SeqCst);
    let plan = TrafficPlan { max_in_flight: 20, ..traffic(vec![step(0, "/")]) };
    let outcome = run(plan, vec![phase(burst(100, HALF), HALF)], to).await;
    let dropped: u64 = outcome.iterations.iter().map(|window| window.dropped).sum();
    assert_eq!(dropped, 80);
}

#[tokio::test]
async fn expected_statuses_are_no_failure() {
    let (to, _) = serve().await;
    let expecting = StepPlan { expect_status: vec![404], ..step(0, "/missing") };
    let outcome =
        run(traffic(vec![expecting]), vec![phase(open(20.0, vec![], HALF), HALF)], to).await;
    assert_eq!((outcome.total.failed, outcome.status), (0, BTreeMap::from([(404, 10)])));
}

#[tokio::test]
async fn a_refused_connection_is_counted_and_users_do_not_spin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    drop(listener);
    let outcome =
        run(traffic(vec![step(0, "/")]), vec![phase(users(4, HALF, None), HALF)], to).await;
    assert_eq!(outcome.errors.keys().collect::<Vec<_>>(), [&ErrorKind::Refused]);
    assert_eq!(outcome.total.sent, 0);
    // 4 users, at least 10 ms between two tries, 55 ms on average.
    assert!((12..200).contains(&outcome.total.ended), "{}", outcome.total.ended);
}

#[tokio::test]
async fn connections_that_the_server_closes_cost_no_request() {
    for path in ["/tired", "/close"] {
        let (to, seen) = serve().await;
        let model = users(2, SECOND, Some(40));
        let outcome = run(traffic(vec![step(0, path)]), vec![phase(model, SECOND)], to).await;
        assert_eq!((outcome.total.due, outcome.total.failed), (40, 0), "{path}");
        assert_eq!(outcome.total.sent, 40);
        assert!(*seen.connections.lock().unwrap() >= 20, "{path}: {seen:?}");
    }
}

#[tokio::test]
async fn users_keep_their_connections_and_iterations_are_shared() {
    let (to, seen) = serve().await;
    let long = Duration::from_secs(20);
    let steps = vec![step(0, "/"), step(1, "/slow")];
    let outcome = run(traffic(steps), vec![phase(users(5, long, Some(23)), long)], to).await;
    assert_eq!((outcome.steps[&0].ended, outcome.steps[&1].ended), (23, 23));
    assert_eq!(*seen.connections.lock().unwrap(), 5);
    // Users wait for answers: due is sent, and there is no lateness to speak of.
    assert_eq!(outcome.lateness_us.count(), 0);
    assert_eq!(outcome.latency_us.count(), 46);
    let most = outcome.flows.iter().flat_map(|flow| &flow.steps).map(|step| step.in_flight_max);
    assert!(most.max().unwrap() <= 5);
}

#[tokio::test]
async fn users_think_and_a_failed_step_ends_the_run_of_a_scenario() {
    let (to, _) = serve().await;
    let pause = Duration::from_millis(100);
    let thinking = StepPlan { think: Think::Between(pause, pause), ..step(0, "/") };
    let steps = vec![thinking, step(1, "/missing"), step(2, "/")];
    let outcome = run(traffic(steps), vec![phase(users(3, SECOND, None), SECOND)], to).await;
    let first = outcome.steps[&0].ended;
    assert!((15..=30).contains(&first), "{first} runs of 3 users in a second, each after 100 ms");
    assert!(!outcome.steps.contains_key(&2));
    assert_eq!(outcome.steps[&1].failed, outcome.steps[&1].ended);
}

#[tokio::test]
async fn each_user_does_its_runs_and_is_done() {
    let (to, _) = serve().await;
    let stages = vec![UserStage { from: 1, to: 5, length: SECOND }];
    let each = LoadModel::Closed { stages, iterations: Some(Iterations::Each(7)) };
    let began = std::time::Instant::now();
    let outcome = run(traffic(vec![step(0, "/")]), vec![phase(each, 10 * SECOND)], to).await;
    assert_eq!((outcome.total.ended, outcome.total.failed), (35, 0));
    assert!(began.elapsed() < 5 * SECOND, "the phase is over when all are done");
}

#[tokio::test]
async fn paced_users_keep_their_beat_whatever_the_answers_take() {
    let (to, _) = serve().await;
    let paced = StepPlan { think: Think::Paced(SECOND / 10), ..step(0, "/slow") };
    let outcome = run(traffic(vec![paced]), vec![phase(users(3, SECOND, None), SECOND)], to).await;
    assert!((29..=30).contains(&outcome.total.due), "{}", outcome.total.due);
}

#[tokio::test]
async fn later_steps_of_an_arrival_are_due_when_the_one_before_has_ended() {
    let (to, _) = serve().await;
    let pause = Duration::from_millis(20);
    let second = StepPlan { think: Think::Between(pause, pause), ..step(1, "/") };
    let plan = traffic(vec![step(0, "/slow"), second]);
    let outcome = run(plan, vec![phase(burst(30, SECOND), SECOND)], to).await;
    assert_eq!((outcome.steps[&0].ended, outcome.steps[&1].ended), (30, 30));
}

#[tokio::test]
async fn drawn_bodies_arrive_whole_and_json_is_json() {
    let (to, seen) = serve().await;
    let sizes = SizePoints::new(vec![
        (0.0, Bytes::new(10)),
        (0.5, Bytes::from_kib(20)),
        (1.0, Bytes::from_kib(300)),
    ]);
    let plan = traffic(vec![post(Body::Json(sizes.unwrap(), Shape::default()))]);
    let outcome = run(plan, vec![phase(open(80.0, vec![], HALF), HALF)], to).await;
    assert_eq!((outcome.total.ended, outcome.total.failed), (40, 0));
    let bodies = seen.bodies.lock().unwrap();
    assert_eq!(bodies.len(), 40);
    let mut lengths: Vec<_> = bodies.iter().map(Vec::len).collect();
    for body in bodies.iter() {
        serde_json::from_slice::<serde_json::Value>(body).unwrap();
    }
    assert!(outcome.total.bytes_sent >= lengths.iter().sum::<usize>() as u64);
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 30 && lengths[0] >= 10 && lengths[lengths.len() - 1] <= 300 << 10);
}

#[tokio::test]
async fn what_is_sent_does_not_depend_on_the_number_of_workers() {
    let mut sent = Vec::new();
    for workers in [1, 3] {
        let (to, seen) = serve().await;
        let plan = traffic(vec![post(Body::Text(
            SizePoints::new(vec![(0.0, Bytes::new(10)), (1.0, Bytes::from_kib(4))]).unwrap(),
        ))]);
        let phases = vec![phase(open(100.0, vec![], HALF), HALF)];
        run_with(plan, phases, to, workers, |_| {}).await;
        let mut bodies = std::mem::take(&mut *seen.bodies.lock().unwrap());
        bodies.sort();
        sent.push(bodies);
    }
    assert_eq!(sent[0].len(), 50);
    assert_eq!(sent[0], sent[1]);
}

#[tokio::test]
async fn large_answers_are_read_to_the_end_in_bounded_memory() {
    let (to, _) = serve().await;
    let outcome = run(
        traffic(vec![step(0, "/large")]),
        vec![phase(users(1, SECOND * 5, Some(4)), SECOND * 5)],
        to,
    )
    .await;
    assert_eq!((outcome.total.ended, outcome.total.failed), (4, 0));
    assert!(outcome.total.bytes_received > 4 * (8 << 20));
}

#[tokio::test]
async fn the_drain_waits_for_slow_answers_and_gives_up_on_silent_ones() {
    let (to, _) = serve().await;
    let steps = [(0, "/slow", 0), (1, "/silent", 20)];
    for (id, path, unfinished) in steps {
        let length = Duration::from_millis(40);
        let plan = traffic(vec![step(id, path)]);
        let outcome = run(plan, vec![phase(burst(20, length), length)], to).await;
        assert_eq!((outcome.total.ended, outcome.total.failed), (20, unfinished), "{path}");
    }
}

/// A server in a network namespace of its own; none where making one isn't allowed.
fn serve_elsewhere() -> Option<(SocketAddr, OwnedFd)> {
    let (found, place) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
            return;
        }
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        if !up.is_ok_and(|status| status.success()) {
            return;
        }
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (address, _seen) = serve().await;
            found.send((address, OwnedFd::from(namespace))).unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
    });
    place.recv().ok()
}

#[tokio::test]
async fn workers_connect_inside_the_network_namespace() {
    let Some((to, namespace)) = serve_elsewhere() else {
        eprintln!("skipped: no network namespace can be made here");
        return;
    };
    assert!(TcpStream::connect(to).await.is_err(), "the server is not in this namespace");
    let phases = vec![phase(open(100.0, vec![], HALF), HALF)];
    let plan = traffic(vec![step(0, "/")]);
    let outcome = run_within(plan, phases, to, 2, Some(namespace), |_| {}).await;
    assert_eq!((outcome.total.ended, outcome.total.failed), (50, 0));
}
