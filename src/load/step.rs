//! Scenarios as a worker uses them: everything of a request that is the same each time is made
//! once.

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::Error as HttpError;
use hyper::{Method, Request, Uri};

use crate::load::body::{Drawn, Payload, Source};
use crate::load::draw::Draw;
use crate::load::error::Error;
use crate::plan::{ScenarioChoice, StepPlan, Think, TrafficPlan};

/// All scenarios of a plan. Each worker makes its own, so that no reference count is shared.
#[derive(Debug)]
pub(super) struct Scenarios {
    all: Vec<Vec<Step>>,
    weights: Vec<u64>,
    weight: u64,
}

/// One request, but for its body.
#[derive(Debug)]
pub(super) struct Step {
    /// The step's index in the plan.
    pub(super) id: u16,
    /// The pause before it.
    pub(super) think: Think,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Source,
    expect_status: Vec<u16>,
}

/// The bodies of all steps, made once for all workers.
pub(super) fn sources(traffic: &TrafficPlan) -> Vec<Vec<Source>> {
    let of_step = |step: &StepPlan| Source::new(&step.body, traffic.seed ^ u64::from(step.id));
    let scenarios = traffic.scenarios.iter();
    scenarios.map(|scenario| scenario.steps.iter().map(of_step).collect()).collect()
}

impl Scenarios {
    pub(super) fn new(
        traffic: &TrafficPlan,
        host: &str,
        sources: &[Vec<Source>],
    ) -> Result<Self, Error> {
        let mut all = Vec::with_capacity(sources.len());
        for (scenario, sources) in traffic.scenarios.iter().zip(sources) {
            let steps = scenario.steps.iter().zip(sources);
            let steps = steps.map(|(step, source)| {
                Step::new(step, host, source.clone())
                    .map_err(|source| Error::Request { step: step.label.clone(), source })
            });
            all.push(steps.collect::<Result<Vec<_>, _>>()?);
        }
        let weights = traffic.scenarios.iter().map(|scenario| u64::from(scenario.weight));
        let weights: Vec<_> = weights.collect();
        Ok(Self { all, weight: weights.iter().sum(), weights })
    }

    /// The steps to run: those asked for, or drawn by weight.
    pub(super) fn choose(&self, choice: ScenarioChoice, draw: &mut Draw) -> &[Step] {
        let index = match choice {
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
        };
        self.all.get(index).map_or(&[], Vec::as_slice)
    }

    /// One more than the greatest index of a step.
    pub(super) fn steps(&self) -> usize {
        let ids = self.all.iter().flatten().map(|step| usize::from(step.id) + 1);
        ids.max().unwrap_or(0)
    }
}

impl Step {
    fn new(plan: &StepPlan, host: &str, body: Source) -> Result<Self, HttpError> {
        let method = Method::from_bytes(plan.method.as_bytes())?;
        let mut headers = HeaderMap::new();
        for (name, value) in &plan.headers {
            headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        if !headers.contains_key(HOST) {
            headers.insert(HOST, HeaderValue::try_from(host)?);
        }
        if let Some(kind) = body.content_type()
            && !headers.contains_key(CONTENT_TYPE)
        {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let takes_body = [Method::POST, Method::PUT, Method::PATCH].contains(&method);
        if takes_body && body.is_empty() && !headers.contains_key(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(Self {
            id: plan.id,
            think: plan.think,
            method,
            uri: Uri::try_from(&plan.path)?,
            headers,
            body,
            expect_status: plan.expect_status.clone(),
        })
    }

    pub(super) fn draw(&self, draw: &mut Draw) -> Drawn {
        self.body.draw(draw)
    }

    pub(super) fn request(&self, drawn: Drawn) -> Request<Payload> {
        let mut request = Request::new(self.body.payload(drawn));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    pub(super) fn expects(&self, status: u16) -> bool {
        if self.expect_status.is_empty() {
            status < 400
        } else {
            self.expect_status.contains(&status)
        }
    }
}
