//! A container of our own beside the target, which sees the host's cgroups and may enter the
//! target's network: see [`crate::helper`](../../../helper/index.html) for what it does.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::StreamReader;

use super::super::Error;
use super::{Docker, Engine, LABEL, labels_of};

/// What the helper needs of root's rights, and all that it has: to enter networks, to look at other
/// containers' processes and their files, to end those that a life left, to wake in time.
const CAPABILITIES: [&str; 5] = ["SYS_ADMIN", "SYS_PTRACE", "DAC_OVERRIDE", "KILL", "SYS_NICE"];

/// The name of the label that tells a run's helper from its targets.
const ROLE: &str = "highwater.role";

/// How long a helper is waited for, and how often it is looked for meanwhile.
const HELPER_ENDS_WITHIN: Duration = Duration::from_secs(5);
const HELPER_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Both directions of the talk with a helper.
pub struct Pipe {
    /// What it says.
    pub output: Pin<Box<dyn AsyncRead + Send>>,
    /// What it hears.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pipe")
    }
}

impl Docker {
    /// Starts a helper for this run: the program that is running now, as `highwater helper`.
    pub(in super::super) async fn start_helper(&self) -> Result<Pipe, Error> {
        self.engine.start_helper(&self.run_id).await
    }
}

impl Engine {
    /// Starts a helper. It ends when its input does.
    async fn start_helper(&self, run_id: &str) -> Result<Pipe, Error> {
        let id = self.create_helper(run_id, "helper", &["helper"]).await?;
        let attach = AttachContainerOptionsBuilder::new()
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .stream(true)
            .build();
        let attached = self.api.attach_container(&id, Some(attach)).await;
        let attached = attached.map_err(Error::docker("attach to a helper container"))?;
        let started = self.api.start_container(&id, None).await;
        started.map_err(Error::docker("start a helper container"))?;
        let said = attached.output.filter_map(|piece| async {
            match piece {
                Ok(LogOutput::StdOut { message }) => Some(Ok(message)),
                Ok(_) => None,
                Err(error) => Some(Err(std::io::Error::other(error))),
            }
        });
        Ok(Pipe { output: Box::pin(StreamReader::new(said.boxed())), input: attached.input })
    }

    /// Makes the container that this program, as its own image, is to run in.
    async fn create_helper(
        &self,
        run_id: &str,
        role: &str,
        command: &[&str],
    ) -> Result<String, Error> {
        let binary = std::env::current_exe().map_err(|source| Error::File {
            action: "find the path of",
            path: "highwater".into(),
            source,
        })?;
        let image = format!("highwater-{run_id}:helper");
        self.import_binary(&binary, &image, run_id).await?;
        let name = format!("highwater-{run_id}-{role}");
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let body = body(&image, run_id, role, command);
        let created = self.api.create_container(Some(options), body).await;
        Ok(created.map_err(Error::docker(format!("create `{name}`")))?.id)
    }

    /// Removes what cgroups a dead run left, for somebody who may not do it from here.
    pub(in super::super) async fn remove_groups_by_helper(
        &self,
        run_id: &str,
    ) -> Result<(), Error> {
        let command = ["helper", "--remove", run_id];
        let id = self.create_helper(run_id, "cleaner", &command).await?;
        let options = WaitContainerOptionsBuilder::new().condition("next-exit").build();
        let mut wait = std::pin::pin!(self.api.wait_container(&id, Some(options)));
        let started = self.api.start_container(&id, None);
        let (ended, started) = tokio::join!(wait.next(), started);
        started.map_err(Error::docker("start a helper container"))?;
        match ended {
            Some(Err(source)) => Err(Error::docker("remove cgroups by a helper container")(source)),
            _ => Ok(()),
        }
    }

    /// Waits a while for a run's helper to end, whose input is closed already: it removes the run's
    /// cgroups before.
    pub(super) async fn let_helper_end(&self, run_id: &str) {
        for _ in 0..HELPER_ENDS_WITHIN.as_millis() / HELPER_LOOK_EVERY.as_millis() {
            if !self.has_helper(run_id).await {
                return;
            }
            tokio::time::sleep(HELPER_LOOK_EVERY).await;
        }
    }

    /// Whether a run's helper is at work: then so is the run.
    pub(in super::super) async fn has_helper(&self, run_id: &str) -> bool {
        let labels = vec![format!("{LABEL}={run_id}"), format!("{ROLE}=helper")];
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::new().filters(&filters).build();
        let found = self.api.list_containers(Some(options)).await;
        found.is_ok_and(|found| !found.is_empty())
    }
}

fn body(image: &str, run_id: &str, role: &str, command: &[&str]) -> ContainerCreateBody {
    let hears = role == "helper";
    let mut labels = labels_of(run_id);
    labels.insert(ROLE.to_owned(), role.to_owned());
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
        user: Some("0:0".to_owned()),
        labels: Some(labels),
        attach_stdin: Some(hears),
        attach_stdout: Some(hears),
        attach_stderr: Some(hears),
        open_stdin: Some(hears),
        // It sees the end of its input when whoever attached is gone.
        stdin_once: Some(hears),
        host_config: Some(HostConfig {
            auto_remove: Some(true),
            binds: Some(vec!["/sys/fs/cgroup:/sys/fs/cgroup:rw".to_owned()]),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(CAPABILITIES.map(str::to_owned).into()),
            readonly_rootfs: Some(true),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::HOST),
            network_mode: Some("none".to_owned()),
            pid_mode: Some("host".to_owned()),
            userns_mode: Some("host".to_owned()),
            security_opt: Some(
                ["apparmor=unconfined", "label=disable", "no-new-privileges"]
                    .map(str::to_owned)
                    .into(),
            ),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}
