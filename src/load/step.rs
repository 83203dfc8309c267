//! Scenarios as a worker uses them: everything of a request that is the same each time is made
//! once.

use std::fmt::Write as _;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName,
    HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::Error as HttpError;
use hyper::{Method, Uri};
use url::{Position, Url};

use crate::load::body::{Drawn, Source};
use crate::load::connection::{Exchange, Keep};
use crate::load::draw::Draw;
use crate::load::error::Error;
use crate::load::feed::Feeder;
use crate::load::payload::Payload;
use crate::load::reply::Reading;
use crate::load::template::{Sequences, Template, Templates, Values};
use crate::plan::{
    Body, Piece, ScenarioChoice, StepPlan, Think, TrafficPlan, Transfer, is_template,
};

/// All scenarios of a plan. Each worker makes its own, so that no reference count is shared.
#[derive(Debug)]
pub(super) struct Scenarios {
    all: Vec<Scenario>,
    weights: Vec<u64>,
    weight: u64,
    templates: Templates,
}

/// One request, but for what is drawn or rendered for each.
#[derive(Debug)]
pub(super) struct Step {
    /// The step's index in the plan.
    pub(super) id: u16,
    /// Its name.
    pub(super) label: String,
    /// The pause before it.
    pub(super) think: Think,
    pub(super) reading: Reading,
    pub(super) transfer: Transfer,
    method: Method,
    path: Path,
    headers: HeaderMap,
    header_templates: Vec<(HeaderName, Template)>,
    body: Content,
    /// Whether it asks for another protocol.
    upgrades: bool,
    expect_status: Vec<u16>,
    /// The head but for cookies and length, where it is the same each time.
    head: Vec<u8>,
}

#[derive(Debug)]
enum Path {
    Fixed(Uri),
    Template(Template),
}

#[derive(Debug)]
enum Content {
    Source(Source),
    Template(Template),
    Pieces(Vec<ContentPiece>),
}

#[derive(Debug)]
enum ContentPiece {
    Bytes(Bytes),
    Template(Template),
}

/// What is known of a recorded request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded<'a> {
    pub(super) path: &'a str,
    /// The size of its body, where known.
    pub(super) body_bytes: Option<u32>,
}

/// What was made for one request. The same makes the same request again.
#[derive(Debug, Clone)]
pub(super) enum Made {
    /// All but the body is the step's own.
    Drawn(Drawn),
    /// Something was rendered.
    Rendered(Rc<Rendered>),
}

#[derive(Debug)]
pub(super) struct Rendered {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: RenderedBody,
}

#[derive(Debug, Clone)]
enum RenderedBody {
    Drawn(Drawn),
    /// One after another.
    Bytes(Vec<Bytes>),
}

/// One scenario.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) setup: Vec<Step>,
    pub(super) on_start: Vec<Step>,
    pub(super) steps: Vec<Step>,
    pub(super) on_stop: Vec<Step>,
    pub(super) feeder: Option<Feeder>,
    /// Whether a request of it is made from values.
    pub(super) is_templated: bool,
}

/// What all workers' scenarios have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Common {
    /// By scenario and step, in the order of [`crate::plan::ScenarioPlan::all_steps`].
    sources: Vec<Vec<Source>>,
    /// By scenario: how many records of its feed were taken.
    taken: Vec<Arc<AtomicU64>>,
    sequences: Sequences,
}

impl Common {
    pub(super) fn new(traffic: &TrafficPlan) -> Self {
        let of_step = |step: &StepPlan| Source::new(&step.body, traffic.seed ^ u64::from(step.id));
        let scenarios = traffic.scenarios.iter();
        Self {
            sources: scenarios.map(|row| row.all_steps().map(of_step).collect()).collect(),
            taken: traffic.scenarios.iter().map(|_| Arc::default()).collect(),
            sequences: Sequences::default(),
        }
    }
}

impl Scenarios {
    pub(super) fn new(traffic: &TrafficPlan, host: &str, common: &Common) -> Result<Self, Error> {
        let mut templates = Templates::new(&traffic.constants, Arc::clone(&common.sequences));
        let mut all = Vec::with_capacity(traffic.scenarios.len());
        for (index, scenario) in traffic.scenarios.iter().enumerate() {
            let mut sources = common.sources[index].iter();
            let mut made = |plans: &[StepPlan]| {
                let steps = plans.iter().map(|plan| {
                    let source = sources.next().expect("a source for each step").clone();
                    Step::new(plan, host, source, &mut templates)
                        .map_err(|why| Error::Request { step: plan.label.clone(), why })
                });
                steps.collect::<Result<Vec<_>, _>>()
            };
            let feeder = scenario
                .feed
                .clone()
                .map(|feed| Feeder::new(Arc::new(feed), Arc::clone(&common.taken[index])));
            // In the order of `all_steps`, as the sources are.
            let (setup, on_start) = (made(&scenario.setup)?, made(&scenario.on_start)?);
            let (steps, on_stop) = (made(&scenario.steps)?, made(&scenario.on_stop)?);
            let is_templated =
                [&on_start, &steps, &on_stop].into_iter().flatten().any(Step::is_templated);
            all.push(Scenario { setup, on_start, steps, on_stop, feeder, is_templated });
        }
        let weights = traffic.scenarios.iter().map(|scenario| u64::from(scenario.weight));
        let weights: Vec<_> = weights.collect();
        Ok(Self { all, weight: weights.iter().sum(), weights, templates })
    }

    /// The index of the scenario to run: the one asked for, or one drawn by weight.
    pub(super) fn choose(&self, choice: ScenarioChoice, draw: &mut Draw) -> usize {
        match choice {
            ScenarioChoice::One(index) => index,
            ScenarioChoice::Mix if self.all.len() == 1 => 0,
            ScenarioChoice::Mix => {
                let mut at = draw.below(self.weight);
                let drawn = self.weights.iter().position(|weight| {
                    let here = at < *weight;
                    at = at.saturating_sub(*weight);
                    here
                });
                drawn.unwrap_or(0)
            }
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<&Scenario> {
        self.all.get(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Scenario> {
        self.all.iter()
    }

    /// One more than the greatest index of a step.
    pub(super) fn steps(&self) -> usize {
        let parts = |one: &'_ Scenario| {
            let parts = [&one.setup, &one.on_start, &one.steps, &one.on_stop];
            parts.into_iter().flatten().map(|step| usize::from(step.id) + 1).max()
        };
        self.all.iter().filter_map(parts).max().unwrap_or(0)
    }

    /// Draws and renders what is different in each request of a step.
    pub(super) fn make(
        &self,
        step: &Step,
        values: &Arc<Values>,
        draw: &mut Draw,
    ) -> Result<Made, MakeError> {
        if !step.is_templated() {
            return Ok(Made::Drawn(step.draw(draw)));
        }
        let uri = match &step.path {
            Path::Fixed(uri) => uri.clone(),
            Path::Template(template) => {
                let path = self.templates.render(template, values, draw)?;
                Uri::try_from(sendable_path(&path))?
            }
        };
        self.rendered(step, uri, values, draw)
    }

    /// A recorded request, made like its step's but for its path and the size of its body.
    pub(super) fn replayed(
        &self,
        step: &Step,
        recorded: &Recorded<'_>,
        values: &Arc<Values>,
        draw: &mut Draw,
    ) -> Result<Made, MakeError> {
        let made = self.rendered(step, Uri::try_from(recorded.path)?, values, draw)?;
        Ok(match (made, recorded.body_bytes) {
            (Made::Rendered(made), Some(size)) => {
                let body = match (&made.body, size) {
                    (_, 0) => RenderedBody::Bytes(Vec::new()),
                    (RenderedBody::Drawn(drawn), size) => RenderedBody::Drawn(drawn.sized(size)),
                    (RenderedBody::Bytes(bytes), _) => RenderedBody::Bytes(bytes.clone()),
                };
                let (method, uri) = (made.method.clone(), made.uri.clone());
                let headers = made.headers.clone();
                Made::Rendered(Rc::new(Rendered { method, uri, headers, body }))
            }
            (made, _) => made,
        })
    }

    fn rendered(
        &self,
        step: &Step,
        uri: Uri,
        values: &Arc<Values>,
        draw: &mut Draw,
    ) -> Result<Made, MakeError> {
        let mut render = |template| self.templates.render(template, values, draw);
        if !uri.path().starts_with('/') || uri.authority().is_some() {
            return Err(MakeError::NoPath(uri.to_string()));
        }
        let mut headers = step.headers.clone();
        for (name, template) in &step.header_templates {
            headers.append(name.clone(), HeaderValue::try_from(render(template)?)?);
        }
        let body = match &step.body {
            Content::Source(source) => RenderedBody::Drawn(source.draw(draw)),
            Content::Template(template) => RenderedBody::Bytes(vec![render(template)?.into()]),
            Content::Pieces(pieces) => {
                let rendered = pieces.iter().map(|piece| match piece {
                    ContentPiece::Bytes(bytes) => Ok(bytes.clone()),
                    ContentPiece::Template(template) => render(template).map(Bytes::from),
                });
                RenderedBody::Bytes(rendered.collect::<Result<_, _>>()?)
            }
        };
        let body = if step.transfer.gzip {
            RenderedBody::Bytes(vec![gzip(&step.content(&body).into_bytes())])
        } else {
            body
        };
        Ok(Made::Rendered(Rc::new(Rendered { method: step.method.clone(), uri, headers, body })))
    }
}

/// Whether a request without a body has to say so.
fn takes_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// A request's head without the empty line that ends it.
fn head(method: &Method, uri: &Uri, headers: &HeaderMap) -> Vec<u8> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut head = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    // RFC 9110, 7.2: the host comes first.
    let host = headers.get(HOST).map(|value| (&HOST, value));
    let others = headers.iter().filter(|(name, _)| *name != HOST);
    for (name, value) in host.into_iter().chain(others) {
        push_header(&mut head, name.as_str(), value);
    }
    head
}

fn push_header(head: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        head.extend_from_slice(part);
    }
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("writing to memory never fails");
    encoder.finish().expect("writing to memory never fails").into()
}

/// What is rendered into a path may hold what no request line may: spaces, quotes, letters beyond
/// ASCII. Those are percent-encoded; what has a meaning in paths is left alone.
fn sendable_path(path: &str) -> String {
    let mut sendable = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte) {
            sendable.push(char::from(byte));
        } else {
            // Writing to a string never fails.
            let _ = write!(sendable, "%{byte:02X}");
        }
    }
    sendable
}

/// Why a step gives no request.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A template that can't be read or rendered.
    #[error("its template fails")]
    Template(#[from] minijinja::Error),
    /// A method, path or header that can't be sent.
    #[error("it is no HTTP")]
    Http(#[from] hyper::http::Error),
    /// A path that can't be sent.
    #[error("its path can't be sent")]
    Path(#[from] hyper::http::uri::InvalidUri),
    /// A header's value that can't be sent.
    #[error("a header's value can't be sent")]
    Header(#[from] hyper::header::InvalidHeaderValue),
    /// A path that doesn't begin with a slash.
    #[error("`{0}` is no path")]
    NoPath(String),
    /// A check or capture that can't be read.
    #[error("a check or capture can't be read")]
    Reading,
}

impl Step {
    fn new(
        plan: &StepPlan,
        host: &str,
        body: Source,
        templates: &mut Templates,
    ) -> Result<Self, MakeError> {
        let method = Method::from_bytes(plan.method.as_bytes()).map_err(HttpError::from)?;
        let (mut headers, mut header_templates) = (HeaderMap::new(), Vec::new());
        for (name, value) in &plan.headers {
            let name = HeaderName::try_from(name).map_err(HttpError::from)?;
            if is_template(value) {
                header_templates.push((name, templates.add(value)?));
            } else {
                headers.append(name, HeaderValue::try_from(value)?);
            }
        }
        let given = |headers: &HeaderMap, wanted: &HeaderName| {
            headers.contains_key(wanted) || header_templates.iter().any(|(name, _)| name == wanted)
        };
        if !given(&headers, &HOST) {
            headers.insert(HOST, HeaderValue::try_from(host)?);
        }
        if let Some(kind) = body.content_type()
            && !given(&headers, &CONTENT_TYPE)
        {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let upgrades = given(&headers, &UPGRADE) || plan.expect_status.contains(&101);
        let body = match &plan.body {
            Body::Template(text) => Content::Template(templates.add(text)?),
            Body::Pieces(pieces) => {
                let pieces = pieces.iter().map(|piece| match piece {
                    Piece::Bytes(bytes) => {
                        Ok(ContentPiece::Bytes(Bytes::from_owner(Arc::clone(bytes))))
                    }
                    Piece::Template(text) => templates.add(text).map(ContentPiece::Template),
                });
                Content::Pieces(pieces.collect::<Result<_, _>>()?)
            }
            _ => Content::Source(body),
        };
        let path = if is_template(&plan.path) {
            Path::Template(templates.add(&plan.path)?)
        } else {
            Path::Fixed(Uri::try_from(&plan.path)?)
        };
        let head = match &path {
            Path::Fixed(uri) if header_templates.is_empty() => head(&method, uri, &headers),
            _ => Vec::new(),
        };
        Ok(Self {
            head,
            id: plan.id,
            label: plan.label.clone(),
            think: plan.think,
            reading: Reading::new(&plan.reply).ok_or(MakeError::Reading)?,
            transfer: plan.transfer.clone(),
            method,
            path,
            headers,
            header_templates,
            body,
            upgrades,
            expect_status: plan.expect_status.clone(),
        })
    }

    const fn is_templated(&self) -> bool {
        matches!(self.path, Path::Template(_))
            || !matches!(self.body, Content::Source(_))
            || self.transfer.gzip
            || !self.header_templates.is_empty()
    }

    fn draw(&self, draw: &mut Draw) -> Drawn {
        match &self.body {
            Content::Source(source) => source.draw(draw),
            Content::Template(_) | Content::Pieces(_) => Drawn::default(),
        }
    }

    fn drawn_content(&self, drawn: Drawn) -> Payload {
        match &self.body {
            Content::Source(source) => source.payload(drawn),
            Content::Template(_) | Content::Pieces(_) => Payload::default(),
        }
    }

    fn content(&self, body: &RenderedBody) -> Payload {
        match body {
            RenderedBody::Drawn(drawn) => self.drawn_content(*drawn),
            RenderedBody::Bytes(pieces) => {
                let mut payload = Payload::default();
                for piece in pieces {
                    payload.push(piece.clone());
                }
                payload
            }
        }
    }

    /// Writes a request's head into `out`, and gives what is to be exchanged after it.
    pub(super) fn request(
        &self,
        made: &Made,
        cookies: Option<&HeaderValue>,
        out: &mut Vec<u8>,
    ) -> Exchange {
        let (method, headers, mut payload) = match made {
            Made::Drawn(drawn) => {
                out.extend_from_slice(&self.head);
                (&self.method, &self.headers, self.drawn_content(*drawn))
            }
            Made::Rendered(made) => {
                out.extend_from_slice(&head(&made.method, &made.uri, &made.headers));
                (&made.method, &made.headers, self.content(&made.body))
            }
        };
        if let Some(cookies) = cookies {
            push_header(out, COOKIE.as_str(), cookies);
        }
        let left = payload.left();
        if self.transfer.chunked {
            payload = payload.in_chunks();
            if !headers.contains_key(TRANSFER_ENCODING) {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
        } else if (left > 0 || takes_body(method)) && !headers.contains_key(CONTENT_LENGTH) {
            // Writing to memory never fails.
            let _ = write!(out, "content-length: {left}\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if let Some(rate) = self.transfer.upload_rate {
            payload = payload.slowly(rate);
        }
        let bodiless = method == Method::HEAD;
        Exchange { payload, bodiless, may_switch: self.upgrades, keep: self.keep() }
    }

    /// The request that a redirect asks for; none where it leads to another host.
    pub(super) fn redirected(&self, made: &Made, status: u16, location: &str) -> Option<Made> {
        let (method, uri, mut headers, body) = match made {
            Made::Drawn(drawn) => {
                let Path::Fixed(uri) = &self.path else { return None };
                (&self.method, uri, self.headers.clone(), RenderedBody::Drawn(*drawn))
            }
            Made::Rendered(made) => {
                (&made.method, &made.uri, made.headers.clone(), made.body.clone())
            }
        };
        let host = headers.get(HOST)?.to_str().ok()?.to_owned();
        let here = Url::parse(&format!("http://{host}{uri}")).ok()?;
        let there = here.join(location).ok()?;
        if there.host() != here.host()
            || there.port_or_known_default() != here.port_or_known_default()
        {
            return None;
        }
        let uri = Uri::try_from(&there[Position::BeforePath..Position::AfterQuery]).ok()?;
        // As browsers do: 307 and 308 repeat the request, the others turn a POST into a GET.
        let repeats = matches!(status, 307 | 308)
            || (status != 303 && !takes_body(method))
            || method == Method::HEAD;
        let (method, body) = if repeats {
            (method.clone(), body)
        } else {
            for gone in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
                headers.remove(gone);
            }
            (Method::GET, RenderedBody::Bytes(Vec::new()))
        };
        Some(Made::Rendered(Rc::new(Rendered { method, uri, headers, body })))
    }

    /// The host and the path that a request went to.
    pub(super) fn place<'a>(&'a self, made: &'a Made) -> (Option<&'a HeaderValue>, &'a str) {
        let (headers, uri) = match (made, &self.path) {
            (Made::Rendered(made), _) => (&made.headers, made.uri.path()),
            (Made::Drawn(_), Path::Fixed(uri)) => (&self.headers, uri.path()),
            (Made::Drawn(_), Path::Template(_)) => (&self.headers, "/"),
        };
        (headers.get(HOST), uri)
    }

    /// Whether the scenario says which statuses are expected; that is a check like others.
    pub(super) const fn checks_status(&self) -> bool {
        !self.expect_status.is_empty()
    }

    pub(super) fn expects(&self, status: u16) -> bool {
        if self.expect_status.is_empty() {
            status < 400
        } else {
            self.expect_status.contains(&status)
        }
    }

    /// How much of an answer must be kept.
    pub(super) const fn keep(&self) -> Keep {
        if self.reading.needs_body {
            Keep::Body
        } else if !self.reading.is_empty() || self.reading.redirects > 0 {
            Keep::Head
        } else {
            Keep::Status
        }
    }
}
