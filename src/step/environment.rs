//! The environment variables that came with a request.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::context::StepContext;
use super::error::StepError;
use crate::id::{EnvironmentName, Port};

/// Name of the sealed environment variables (a JSON object).
pub const ENVIRONMENT_SECRET: &str = "environment";

/// The variables of the request; none when it brought none.
pub(super) async fn environment_values(cx: &StepContext) -> Result<BTreeMap<EnvironmentName, SecretString>, StepError> {
    let Some(sealed) = cx.secret(ENVIRONMENT_SECRET).await? else { return Ok(BTreeMap::new()) };
    let values: BTreeMap<EnvironmentName, String> = serde_json::from_str(sealed.expose_secret()).map_err(|_| {
        StepError::permanent(
            "secret_unreadable",
            "the environment variables of this operation cannot be read",
            "Send the request again",
        )
    })?;
    Ok(values.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect())
}

/// The port that the variable `PORT` tells the application to listen on.
pub(super) async fn environment_port(cx: &StepContext) -> Result<Option<Port>, StepError> {
    let values = environment_values(cx).await?;
    let value = values.iter().find(|(name, _)| name.as_str() == "PORT").map(|(_, value)| value);
    Ok(value.and_then(|it| it.expose_secret().trim().parse().ok()))
}
