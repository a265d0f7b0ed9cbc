//! The secrets of a build that came with a request.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::context::StepContext;
use super::error::StepError;
use crate::id::BuildSecretName;
use crate::repository::analysis::BuildNeeds;
use crate::repository::error::located;
use crate::store::build_options::BuildOptions;

/// Name of the sealed secrets of the build (a JSON object).
pub const BUILD_SECRET: &str = "build_secrets";

/// Bytes that a line of a secret has at least to be hidden by itself.
const SHORTEST_LINE: usize = 8;

/// Those of the request; none when it brought none.
pub(super) async fn build_secrets(cx: &StepContext) -> Result<BTreeMap<BuildSecretName, SecretString>, StepError> {
    let Some(sealed) = cx.secret(BUILD_SECRET).await? else { return Ok(BTreeMap::new()) };
    let values: BTreeMap<BuildSecretName, String> = serde_json::from_str(sealed.expose_secret()).map_err(|_| {
        StepError::permanent(
            "secret_unreadable",
            "the `build_secrets` of this operation cannot be read",
            "Send the request again",
        )
    })?;
    Ok(values.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect())
}

/// The lines of a secret that tell something by themselves: of a file such as `.npmrc` a build may print one alone.
pub(crate) fn secret_lines(secret: &SecretString) -> Vec<SecretString> {
    let lines = secret.expose_secret().lines().map(str::trim);
    lines.filter(|line| line.len() >= SHORTEST_LINE).map(SecretString::from).collect()
}

/// Refuses a build that lacks a secret which it cannot do without: one that its RUN line requires, or that the last build
/// had. It might succeed without, and give another image.
pub(super) fn check_secrets(
    dockerfile: &str,
    needs: &BuildNeeds,
    options: &BuildOptions,
    given: &BTreeMap<BuildSecretName, SecretString>,
) -> Result<(), StepError> {
    let lacks = |name: &str| given.keys().all(|it| it.as_str() != name);
    let had = |name: &str| options.secrets.iter().any(|it| it.as_str() == name);
    let missing = needs.secrets.iter().find(|mount| lacks(&mount.name) && (mount.required || had(&mount.name)));
    let Some(mount) = missing else { return Ok(()) };
    let name = &mount.name;
    let why = if had(name) { "which an earlier request brought; secrets are not kept" } else { "and requires it" };
    Err(StepError::permanent(
        "build_secret_missing",
        located(dockerfile, mount.line, &format!("RUN mounts the secret `{name}`, {why}")),
        format!("Send it in `build_secrets`: {{\"{name}\": \"...\"}}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::analysis::SecretMount;

    #[test]
    fn a_line_of_a_secret_is_one_by_itself() {
        let lines = secret_lines(&SecretString::from("registry=https://x\n\n a=b\r\n //x/:_authToken=npm-t0ken\n"));

        let shown: Vec<&str> = lines.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(shown, ["registry=https://x", "//x/:_authToken=npm-t0ken"]);
    }

    #[test]
    fn a_secret_is_missed_when_it_is_required_or_was_there_before() {
        let name = |text: &str| BuildSecretName::parse(text).unwrap();
        let mount = |text: &str, required| SecretMount { line: 3, name: text.to_owned(), required };
        let needs = BuildNeeds { secrets: vec![mount("npm", false), mount("key", true)], ..BuildNeeds::default() };
        let check = |before: &[&str], given: &[&str]| {
            let options = BuildOptions { secrets: before.iter().map(|it| name(it)).collect(), ..Default::default() };
            let given = given.iter().map(|it| (name(it), SecretString::from("x"))).collect();
            check_secrets("Dockerfile", &needs, &options, &given).map_err(|error| error.to_string())
        };

        assert_eq!(check(&[], &["key"]), Ok(()));
        assert_eq!(check(&["npm"], &["key", "npm"]), Ok(()));
        assert_eq!(
            check(&["npm"], &["key"]).unwrap_err(),
            "Dockerfile, line 3: RUN mounts the secret `npm`, which an earlier request brought; secrets are not kept"
        );
        assert_eq!(check(&[], &[]).unwrap_err(), "Dockerfile, line 3: RUN mounts the secret `key`, and requires it");
    }
}
