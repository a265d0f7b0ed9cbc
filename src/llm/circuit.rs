//! A circuit that opens when the model is down, so that nobody waits for what will not come.
//!
//! After some failures in a row requests fail at once for a while; then one is let through, and decides.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::LlmError;

/// So many failures in a row open the circuit.
const FAILURES: u32 = 5;
/// How long it stays open.
const REST: Duration = Duration::from_secs(20);

/// Counts failures in a row.
#[derive(Debug)]
pub(super) struct Circuit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Circuit {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Whether a request may be sent now. After the rest, the first who asks tries it for all.
    pub(super) fn ask(&self) -> Result<(), LlmError> {
        self.ask_at(Instant::now())
    }

    /// Takes note of how a request went.
    pub(super) fn note(&self, error: Option<&LlmError>) {
        self.note_at(Instant::now(), error);
    }

    fn ask_at(&self, now: Instant) -> Result<(), LlmError> {
        let mut state = self.0.lock().expect("nobody panics while holding this lock");
        match state.open_until {
            Some(until) if now < until => Err(LlmError::Resting(until - now)),
            Some(_) => {
                state.open_until = Some(now + REST);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn note_at(&self, now: Instant, error: Option<&LlmError>) {
        let mut state = self.0.lock().expect("nobody panics while holding this lock");
        if error.is_some_and(LlmError::is_outage) {
            state.failures = state.failures.saturating_add(1);
            if state.failures == FAILURES {
                tracing::warn!(rest_s = REST.as_secs(), "the chat model is down: it is left alone for a while");
            }
            if state.failures >= FAILURES {
                state.open_until = Some(now + REST);
            }
        } else if !matches!(error, Some(LlmError::Resting(_))) {
            *state = State::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_lets_one_through_and_closes_when_that_one_succeeds() {
        let (circuit, start) = (Circuit::new(), Instant::now());
        let later = start + REST + Duration::from_secs(1);
        let down = LlmError::Failing { status: 503 };

        (1..FAILURES).for_each(|_| circuit.note_at(start, Some(&down)));
        assert_eq!(circuit.ask_at(start), Ok(()));
        circuit.note_at(start, Some(&down));
        assert_eq!(circuit.ask_at(start), Err(LlmError::Resting(REST)));
        assert_eq!((circuit.ask_at(later), circuit.ask_at(later).is_err()), (Ok(()), true));
        circuit.note_at(later, None);

        assert_eq!(circuit.ask_at(later), Ok(()));
    }

    #[test]
    fn a_success_between_failures_and_refused_requests_keep_it_closed() {
        let (circuit, now) = (Circuit::new(), Instant::now());

        for _ in 0..FAILURES {
            circuit.note_at(now, Some(&LlmError::Broken));
            circuit.note_at(now, Some(&LlmError::RateLimited { retry_after: None }));
        }

        assert_eq!(circuit.ask_at(now), Ok(()));
    }
}
