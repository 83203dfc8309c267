//! The connection to the engine, and what is asked of it as a whole.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::errors::Error as ApiError;
use bollard::models::{ContainerSummary, ImageSummary};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};

use super::super::Error;
use super::super::leftovers::{Owner, is_run_id};
use super::{LABEL, OWNER};

/// How long an engine that is away is waited for where nothing can be done without it, and how
/// often it is looked for.
const ENGINE_BACK_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A Docker engine that answers.
#[derive(Debug, Clone)]
pub(in super::super) struct Engine {
    pub(super) api: bollard::Docker,
    version: Option<String>,
    cgroup_driver: Option<String>,
    /// Whether it runs under this very kernel.
    local: bool,
}

/// The address that is tried.
fn address() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}

/// How often, and how long apart, it is looked whether all of a run is gone.
const REMOVE_TRIES: u32 = 40;
const REMOVE_PAUSE: Duration = Duration::from_millis(250);

/// Whether a container has a name of ours: others may have been made from an image of ours, and
/// carry its labels.
fn is_named_for(run_id: &str, names: &[String]) -> bool {
    let prefix = format!("highwater-{run_id}-");
    // One that is being removed has no name any more.
    names.is_empty() || names.iter().any(|name| name.trim_start_matches('/').starts_with(&prefix))
}

/// What of an image is ours to remove: the names that we gave, or itself where it has none.
fn ours_of(run_id: &str, image: &ImageSummary) -> Vec<String> {
    let prefix = format!("highwater-{run_id}:");
    let names = image.repo_tags.iter().filter(|name| *name != "<none>:<none>");
    let names: Vec<&String> = names.collect();
    if names.is_empty() {
        return vec![image.id.clone()];
    }
    names.into_iter().filter(|name| name.starts_with(&prefix)).cloned().collect()
}

impl Engine {
    /// Connects, and agrees on a version.
    pub(in super::super) async fn connect() -> Result<Self, Error> {
        let refused = |source| Error::NoDocker { address: address(), source };
        let api = bollard::Docker::connect_with_defaults().map_err(refused)?;
        let api = api.negotiate_version().await.map_err(refused)?;
        let info = api.info().await.map_err(refused)?;
        let cgroup_driver = info.cgroup_driver.map(|driver| driver.to_string());
        // A socket may lead into another machine, as Docker Desktop's does.
        let kernel = crate::runtime::bare_host_facts().kernel;
        let local = address().starts_with("unix://") && info.kernel_version == Some(kernel);
        Ok(Self { api, version: info.server_version, cgroup_driver, local })
    }

    /// Whether it runs on this host, as far as its address and kernel tell.
    pub(in super::super) const fn is_local(&self) -> bool {
        self.local
    }

    pub(in super::super) fn version(&self) -> Option<String> {
        self.version.clone()
    }

    pub(in super::super) fn cgroup_driver(&self) -> Option<String> {
        self.cgroup_driver.clone()
    }

    /// The runs that have containers or images here, and who started them, where that is told.
    pub(in super::super) async fn runs(&self) -> Result<BTreeMap<String, Option<Owner>>, Error> {
        let mut runs = BTreeMap::new();
        let mut take = |labels: &HashMap<String, String>| {
            let Some(run_id) = labels.get(LABEL).filter(|id| is_run_id(id)) else { return };
            let owner = labels.get(OWNER).and_then(|text| text.parse().ok());
            let known = runs.entry(run_id.clone()).or_insert(None);
            *known = known.take().or(owner);
        };
        for container in self.containers_with(LABEL).await? {
            let labels = container.labels.unwrap_or_default();
            let run_id = labels.get(LABEL).cloned().unwrap_or_default();
            if is_named_for(&run_id, container.names.as_deref().unwrap_or_default()) {
                take(&labels);
            }
        }
        for image in self.images_with(LABEL).await? {
            let run_id = image.labels.get(LABEL).cloned().unwrap_or_default();
            if !ours_of(&run_id, &image).is_empty() {
                take(&image.labels);
            }
        }
        Ok(runs)
    }

    async fn containers_with(&self, label: &str) -> Result<Vec<ContainerSummary>, Error> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = self.api.list_containers(Some(options)).await;
        containers.map_err(Error::docker("list containers"))
    }

    /// Images, those without a name too: what a build that was cut off has left.
    async fn images_with(&self, label: &str) -> Result<Vec<ImageSummary>, Error> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListImagesOptionsBuilder::new().all(true).filters(&filters).build();
        let images = self.api.list_images(Some(options)).await;
        images.map_err(Error::docker("list images"))
    }

    /// Removes every container and image of a run, those too that the engine is still making or
    /// removing.
    pub(in super::super) async fn remove_all_of(&self, run_id: &str) -> Result<(), Error> {
        let label = format!("{LABEL}={run_id}");
        let mut last = Ok(());
        for attempt in 0..REMOVE_TRIES {
            if attempt > 1 {
                tokio::time::sleep(REMOVE_PAUSE).await;
            }
            let containers = self.containers_with(&label).await?;
            let ours = containers
                .into_iter()
                .filter(|row| is_named_for(run_id, row.names.as_deref().unwrap_or_default()));
            let ours: Vec<String> = ours.filter_map(|row| row.id).collect();
            let images = self.images_with(&label).await?;
            let images: Vec<String> =
                images.iter().flat_map(|image| ours_of(run_id, image)).collect();
            if ours.is_empty() && images.is_empty() {
                return Ok(());
            }
            last = Ok(());
            for id in ours {
                last = last.and(self.remove_container(&id).await);
            }
            for name in images {
                last = last.and(self.remove_image(&name).await);
            }
        }
        last
    }

    async fn remove_image(&self, name: &str) -> Result<(), Error> {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        match self.api.remove_image(name, Some(options), None).await {
            // With the last image made of it, one goes by itself.
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
            | Ok(_) => Ok(()),
            Err(source) => Err(Error::docker(format!("remove the image `{name}`"))(source)),
        }
    }

    /// Removes a container, running or not; one that is gone already is no error.
    pub(super) async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.api.remove_container(id, Some(options)).await {
            Err(ApiError::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => {
                Ok(())
            }
            Err(source) => Err(Error::docker(format!("remove the container `{id}`"))(source)),
        }
    }

    /// Removes a container, and waits a while for an engine that is away.
    pub(super) async fn remove_patiently(&self, id: &str) -> Result<(), Error> {
        let mut tries = ENGINE_BACK_WITHIN.as_millis() / LOOK_EVERY.as_millis();
        loop {
            match self.remove_container(id).await {
                Err(Error::EngineAway { .. }) if tries > 0 => tries -= 1,
                done => return done,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
