//! Containers that somebody else started: found, and listened to.

use std::collections::HashMap;

use bollard::errors::Error as ApiError;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, EventMessage};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::{Stream, StreamExt};

use super::super::Error;
use super::{Engine, LABEL, pid_of};

/// A container, as the engine sees it now.
#[derive(Debug, Clone)]
pub(in super::super) struct Seen {
    pub(in super::super) id: String,
    pub(in super::super) name: String,
    pub(in super::super) image: Option<String>,
    /// Its first process, while it runs.
    pub(in super::super) pid: Option<i32>,
    /// Whether the engine is about to start it again.
    pub(in super::super) restarting: bool,
    pub(in super::super) oom_killed: bool,
    pub(in super::super) exit_code: Option<i64>,
    /// For people: `exited, with exit code 1`.
    pub(in super::super) state: String,
}

/// News of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum News {
    Oom,
    Died(Option<i64>),
    /// It was started again.
    Started,
    Other,
}

impl Engine {
    /// The container of this name, id, or unique start of an id; none where there is none.
    pub(in super::super) async fn look_for(&self, name: &str) -> Result<Option<Seen>, Error> {
        match self.api.inspect_container(name, None).await {
            Ok(inspected) => Ok(Some(seen(inspected))),
            Err(ApiError::DockerResponseServerError { status_code: 404 | 400, .. }) => Ok(None),
            Err(source) => Err(Error::docker(format!("inspect `{name}`"))(source)),
        }
    }

    /// Ids and names of running containers with all these labels, without those of our own runs.
    pub(in super::super) async fn running(
        &self,
        labels: &[String],
    ) -> Result<Vec<(String, String)>, Error> {
        let labels = labels.iter().map(String::as_str).collect::<Vec<_>>();
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::new().filters(&filters).build();
        let listed = self.api.list_containers(Some(options)).await;
        let listed = listed.map_err(Error::docker("list containers"))?;
        let theirs = listed
            .into_iter()
            .filter(|row| row.labels.as_ref().is_none_or(|labels| !labels.contains_key(LABEL)));
        Ok(theirs
            .filter_map(|row| {
                let name = row.names.unwrap_or_default().into_iter().next().unwrap_or_default();
                Some((row.id?, name.trim_start_matches('/').to_owned()))
            })
            .collect())
    }

    /// The ends, starts and OOM kills of one container, from now on.
    pub(in super::super) fn news(&self, id: &str) -> impl Stream<Item = News> + Send + 'static {
        let filters =
            HashMap::from([("container", vec![id]), ("event", vec!["oom", "die", "start"])]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let stream = self.api.events(Some(options));
        stream
            .take_while(|event| std::future::ready(event.is_ok()))
            .map(|event| event.map_or(News::Other, |event| news(&event)))
    }

    /// The ids of containers with all these labels that start from now on.
    pub(in super::super) fn starts(
        &self,
        labels: &[String],
    ) -> impl Stream<Item = String> + Send + 'static {
        let labels = labels.iter().map(String::as_str).collect::<Vec<_>>();
        let filters = HashMap::from([
            ("type", vec!["container"]),
            ("event", vec!["start"]),
            ("label", labels),
        ]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let stream = self.api.events(Some(options));
        stream.take_while(|event| std::future::ready(event.is_ok())).filter_map(|event| {
            let actor = event.ok().and_then(|event| event.actor);
            let ours = actor
                .as_ref()
                .and_then(|actor| actor.attributes.as_ref())
                .is_some_and(|labels| labels.contains_key(LABEL));
            std::future::ready(actor.and_then(|actor| actor.id).filter(|_| !ours))
        })
    }
}

fn news(event: &EventMessage) -> News {
    match event.action.as_deref() {
        Some("oom") => News::Oom,
        Some("start") => News::Started,
        Some("die") => {
            let attributes = event.actor.as_ref().and_then(|actor| actor.attributes.as_ref());
            let code = attributes.and_then(|attributes| attributes.get("exitCode"));
            News::Died(code.and_then(|code| code.parse().ok()))
        }
        _ => News::Other,
    }
}

fn seen(inspected: ContainerInspectResponse) -> Seen {
    let pid = pid_of(&inspected);
    let state = inspected.state.unwrap_or_default();
    let status = state.status.unwrap_or(ContainerStateStatusEnum::EMPTY);
    let code = state.exit_code.filter(|_| status == ContainerStateStatusEnum::EXITED);
    let code = code.map_or_else(String::new, |code| format!(", with exit code {code}"));
    Seen {
        id: inspected.id.unwrap_or_default(),
        name: inspected.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: inspected.config.and_then(|config| config.image),
        pid: pid.filter(|_| state.running == Some(true)),
        restarting: state.restarting == Some(true),
        oom_killed: state.oom_killed == Some(true),
        exit_code: state.exit_code.filter(|_| state.running != Some(true)),
        state: format!("{status}{code}"),
    }
}
