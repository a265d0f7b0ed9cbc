//! What a run says, without the secrets of its operation.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::{Run, cancelled, internal};
use crate::event::Failure;
use crate::secret::Redactor;
use crate::secret::redactor::{REDACTED, is_secret_name, is_secret_variable};
use crate::step::build_secrets::{BUILD_SECRET, secret_lines};
use crate::step::context::secret_context;
use crate::step::error::StepError;
use crate::store::record::Deployment;

impl Run {
    /// Knows all secrets of the operation.
    pub(super) async fn redactor(&self) -> Redactor {
        let known = || self.redactor.lock().expect("nobody panics while holding this lock");
        if let Some(redactor) = known().as_ref() {
            return redactor.clone();
        }
        let mut redactor = Redactor::from_settings(&self.shared.settings);
        let store = &self.shared.store;
        let names = match store.secret_names(self.operation.id).await {
            Ok(names) => names,
            Err(error) => {
                self.shared.fence(&error).await;
                Vec::new()
            }
        };
        for name in names {
            let Ok(Some(sealed)) = store.sealed_secret(self.operation.id, &name).await else { continue };
            let Ok(secret) = self.shared.sealer.unseal(&secret_context(self.operation.id, &name), &sealed) else {
                continue;
            };
            // An environment is sealed as one object; what an application may print are its values.
            let values: BTreeMap<String, SecretString> =
                serde_json::from_str(secret.expose_secret()).unwrap_or_default();
            let is_hidden = |name: &str, value: &str| {
                is_secret_name(name) || (is_secret_variable(name, value) && !self.is_public(value))
            };
            // All that a build gets as a secret is one, and a build prints it line by line.
            let is_build = name == BUILD_SECRET;
            let hidden = values.iter().filter(|(name, value)| is_build || is_hidden(name, value.expose_secret()));
            let lines: Vec<SecretString> = values.values().filter(|_| is_build).flat_map(secret_lines).collect();
            let all = hidden.map(|(_, value)| value).chain(&lines).chain([&secret]);
            redactor = redactor.with_unless(all, |it| self.is_public(it));
        }
        known().get_or_insert(redactor).clone()
    }

    /// Whether a value is part of what every answer names. Hiding it there would make names unreadable, and tell it.
    fn is_public(&self, value: &str) -> bool {
        let Deployment { name, namespace, repository, target_name, .. } = &self.deployment;
        let names = [name.as_str(), namespace.as_str(), target_name, &repository.name()];
        names.contains(&value) || repository.as_str().split(['/', ':', '@']).any(|part| part == value)
    }

    /// The failure without secrets. What can be done is always said in our own words; what happened, in those of programs
    /// and APIs, but for an explained failure.
    pub(super) async fn failure_of(&self, error: StepError) -> Failure {
        let redactor = self.redactor().await;
        let quoted = |text: String| redactor.redact(&text).into_owned();
        let own = |text: String| redactor.redact_sentence(&text).into_owned();
        let (Failure { code, message, next_step, output }, is_own) = match error {
            StepError::Transient(failure) | StepError::Settling(failure) | StepError::Permanent(failure) => {
                (failure, false)
            }
            StepError::Explained(failure) => (failure, true),
            StepError::Waiting(_) => return internal("a step waits where none can".to_owned()),
            StepError::Cancelled => return cancelled(),
        };
        let reported = |text: String| {
            let hide = |found: &str| if self.is_public(found) { found.to_owned() } else { REDACTED.to_owned() };
            redactor.replace(&text, hide).into_owned()
        };
        Failure {
            message: if is_own { own(message) } else { reported(message) },
            next_step: own(next_step),
            output: output.into_iter().map(quoted).collect(),
            code,
        }
    }
}
