//! The connection to the engine, and what is asked of it as a whole.

use std::collections::{BTreeSet, HashMap};

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};

use super::super::Error;
use super::LABEL;

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

    /// The ids of runs that have containers or images here.
    pub(in super::super) async fn runs(&self) -> Result<BTreeSet<String>, Error> {
        let mut runs = BTreeSet::new();
        let filters = HashMap::from([("label", vec![LABEL])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = self.api.list_containers(Some(options)).await;
        for container in containers.map_err(Error::docker("list containers"))? {
            runs.extend(container.labels.and_then(|mut labels| labels.remove(LABEL)));
        }
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = self.api.list_images(Some(options)).await;
        for mut image in images.map_err(Error::docker("list images"))? {
            runs.extend(image.labels.remove(LABEL));
        }
        Ok(runs)
    }

    /// Removes every container and image of a run.
    pub(in super::super) async fn remove_all_of(&self, run_id: &str) -> Result<(), Error> {
        let filters = HashMap::from([("label", vec![format!("{LABEL}={run_id}")])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = self.api.list_containers(Some(options)).await;
        for container in containers.map_err(Error::docker("list containers"))? {
            self.remove_container(&container.id.unwrap_or_default()).await?;
        }
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = self.api.list_images(Some(options)).await;
        for image in images.map_err(Error::docker("list images"))? {
            let options = RemoveImageOptionsBuilder::new().force(true).build();
            let removed = self.api.remove_image(&image.id, Some(options), None).await;
            removed.map_err(Error::docker(format!("remove the image `{}`", image.id)))?;
        }
        Ok(())
    }

    /// Removes a container, running or not; one that is gone already is no error.
    pub(super) async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.api.remove_container(id, Some(options)).await {
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            })
            | Ok(()) => Ok(()),
            Err(source) => Err(Error::docker(format!("remove the container `{id}`"))(source)),
        }
    }
}
