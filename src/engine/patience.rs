//! How long and how often a step that failed is tried again, by the kind of fault.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::config::section;
use crate::step::error::StepError;

/// The longest pause between two attempts after a fault that passes: of a connection, say.
const MAX_PASSING_PAUSE: Duration = Duration::from_secs(15);
/// The longest pause between two attempts while AWS settles something; the jitter doubles it at the most.
const MAX_SETTLING_PAUSE: Duration = Duration::from_secs(10);

/// What is left of the patience with one step.
#[derive(Debug)]
pub(super) struct Patience {
    passing: ExponentialBackoff,
    settling: ExponentialBackoff,
    settle_timeout: Duration,
    settling_since: Option<Instant>,
}

impl Patience {
    pub(super) fn new(settings: &section::Engine) -> Self {
        let attempts = usize::try_from(settings.retry_attempts).unwrap_or(usize::MAX);
        let pauses = ExponentialBuilder::default().with_min_delay(settings.retry_base).with_jitter();
        Self {
            passing: pauses.with_max_delay(MAX_PASSING_PAUSE).with_max_times(attempts.saturating_sub(1)).build(),
            settling: pauses.with_max_delay(MAX_SETTLING_PAUSE).without_max_times().build(),
            settle_timeout: settings.settle_timeout,
            settling_since: None,
        }
    }

    /// The pause before the next attempt; `None` when there is none any more.
    pub(super) fn pause_after(&mut self, error: &StepError) -> Option<Duration> {
        match error {
            StepError::Transient(_) => self.passing.next(),
            StepError::Settling(_) => {
                let waited = self.settling_since.get_or_insert_with(Instant::now).elapsed();
                let rest = self.settle_timeout.checked_sub(waited).filter(|rest| !rest.is_zero())?;
                Some(self.settling.next()?.min(rest))
            }
            StepError::Permanent(_) | StepError::Explained(_) | StepError::Waiting(_) | StepError::Cancelled => None,
        }
    }

    /// How long AWS has been waited for, and how long it may take.
    pub(super) fn settling_for(&self) -> (Duration, Duration) {
        (self.settling_since.map(|it| it.elapsed()).unwrap_or_default(), self.settle_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Failure;

    fn patience(settle_timeout: Duration) -> Patience {
        let retry_base = Duration::from_millis(500);
        Patience::new(&section::Engine { retry_attempts: 5, retry_base, settle_timeout })
    }

    fn failure() -> Failure {
        Failure { code: "aws_in_use".into(), message: String::new(), next_step: String::new(), output: Vec::new() }
    }

    #[test]
    fn a_connection_has_seconds_and_what_aws_settles_has_minutes() {
        let passing = StepError::Transient(failure());
        let settling = StepError::Settling(failure());
        let (mut first, mut second) = (patience(Duration::from_mins(10)), patience(Duration::from_mins(10)));

        let passing: Vec<Duration> = std::iter::from_fn(|| first.pause_after(&passing)).collect();
        let settling: Vec<Duration> = std::iter::from_fn(|| second.pause_after(&settling)).take(40).collect();

        let total: Duration = passing.iter().sum();
        assert_eq!(passing.len(), 4);
        assert!(total >= Duration::from_secs(7) && total < Duration::from_secs(16), "{passing:?}");
        assert_eq!(settling.len(), 40);
        assert!(settling.iter().all(|it| *it <= MAX_SETTLING_PAUSE * 2), "{settling:?}");
        assert!(settling[39] >= MAX_SETTLING_PAUSE, "{settling:?}");
    }

    #[test]
    fn the_patience_with_aws_ends_and_nothing_else_is_tried_again() {
        assert_eq!(patience(Duration::ZERO).pause_after(&StepError::Settling(failure())), None);
        assert_eq!(patience(Duration::from_mins(10)).pause_after(&StepError::Permanent(failure())), None);
        assert!(
            patience(Duration::from_millis(1)).pause_after(&StepError::Settling(failure())).unwrap().as_millis() <= 1
        );
    }
}
