//! Reaching into a container that runs.

use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use bollard::query_parameters::KillContainerOptionsBuilder;
use futures_util::StreamExt;

use super::super::explain;
use super::super::hand::{Ending, outcome};
use super::super::mask::Mask;
use super::Engine;

/// Reaches into one container.
#[derive(Debug, Clone)]
pub(in super::super) struct Hand {
    pub(super) engine: Engine,
    pub(super) id: String,
    /// Keeps secrets out of what is told of a program.
    pub(super) mask: Option<Mask>,
}

impl Hand {
    pub(in super::super) async fn signal(&self, name: &str) -> Result<(), String> {
        let options = KillContainerOptionsBuilder::new().signal(name).build();
        let sent = self.engine.api.kill_container(&self.id, Some(options)).await;
        sent.map_err(|error| explain(&error))
    }

    pub(in super::super) async fn exec(&self, words: &[String]) -> Result<(), String> {
        self.run(words).await.unwrap_or_else(|error| Err(explain(&error)))
    }

    async fn run(&self, words: &[String]) -> Result<Result<(), String>, bollard::errors::Error> {
        let api = &self.engine.api;
        let config = ExecConfig {
            cmd: Some(words.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = api.create_exec(&self.id, config).await?;
        let mut printed = Ending::new(self.mask.clone());
        if let StartExecResults::Attached { mut output, .. } =
            api.start_exec(&exec.id, None).await?
        {
            while let Some(piece) = output.next().await {
                printed.add(&piece?.into_bytes());
            }
        }
        let ended = api.inspect_exec(&exec.id).await?;
        Ok(outcome(ended.exit_code, &printed.text()))
    }
}
