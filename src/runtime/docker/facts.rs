//! What an image says of itself.

use super::super::Error;
use super::Engine;

/// What an image says of the service in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// Ports that it exposes, as `8080/tcp`.
    pub exposed_ports: Vec<String>,
    /// The command of its health check, word by word.
    pub health_check: Vec<String>,
    /// Its environment, as `NAME=value`.
    pub env: Vec<String>,
}

/// Asks the engine about an image that it has.
///
/// # Errors
/// When no engine answers, or it has no such image.
pub async fn image_facts(name: &str) -> Result<ImageFacts, Error> {
    let engine = Engine::connect().await?;
    let found = engine.api.inspect_image(name).await;
    let found = found.map_err(|source| Error::NoImage { image: name.to_owned(), source })?;
    let config = found.config.unwrap_or_default();
    Ok(ImageFacts {
        exposed_ports: config.exposed_ports.unwrap_or_default(),
        health_check: config.healthcheck.and_then(|check| check.test).unwrap_or_default(),
        env: config.env.unwrap_or_default(),
    })
}
