//! What a look ahead finds wrong, all of it in one answer.

use super::error::StepError;
use crate::cloud::aws::{AwsError, AwsErrorKind};
use crate::event::Failure;

/// Everything that is wrong, so that a person corrects it in one go.
#[derive(Default)]
pub(super) struct Problems(Vec<Failure>);

impl Problems {
    pub(super) fn add(&mut self, code: &str, message: String, next_step: &str) {
        self.0.push(Failure { code: code.into(), message, next_step: next_step.into(), output: Vec::new() });
    }

    /// Takes an answer of AWS: a passing fault ends the look, another one is a problem like all.
    pub(super) fn collect<T>(&mut self, answer: Result<T, AwsError>) -> Result<Option<T>, StepError> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(error) => self.add_error(error),
        }
    }

    pub(super) fn add_error<T>(&mut self, error: AwsError) -> Result<Option<T>, StepError> {
        if error.kind.is_transient() {
            return Err(error.into());
        }
        // The same refusal by several calls is one problem.
        let is_known = error.kind == AwsErrorKind::Credentials && self.0.iter().any(|it| it.code == error.kind.code());
        if !is_known {
            self.0.push(Failure::from(&error));
        }
        Ok(None)
    }

    pub(super) fn into_result(mut self) -> Result<(), StepError> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(StepError::Permanent(self.0.remove(0))),
            count => Err(StepError::permanent(
                "preflight_failed",
                format!(
                    "{count} things are not as they must be, and nothing was made: {}",
                    joined(&self.0, |it| &it.message)
                ),
                joined(&self.0, |it| &it.next_step),
            )),
        }
    }
}

fn joined(failures: &[Failure], part: impl Fn(&Failure) -> &String) -> String {
    let numbered = |(index, it): (usize, &Failure)| format!("({}) {}", index + 1, part(it));
    failures.iter().enumerate().map(numbered).collect::<Vec<_>>().join("; ")
}
