//! A circuit that opens when the model is down, so that nobody waits for what will not come.
//!
//! After some failures in a row requests fail at once for a while; then one is let through, and decides.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::error::LlmError;

/// So many failures in a row open the circuit.
const FAILURES: u32 = 5;
/// How long it stays open.
const REST: Duration = Duration::from_secs(20);

/// Counts failures in a row.
#[derive(Debug)]
pub(super) struct CircuitBreaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl CircuitBreaker {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Whether a request may be sent now. Half-open: the first request after the pause is let through, and the pause
    /// begins anew for all others until its result closes or reopens the circuit.
    pub(super) fn acquire(&self) -> Result<(), LlmError> {
        self.acquire_at(Instant::now())
    }

    /// Takes note of how a request went.
    pub(super) fn record(&self, error: Option<&LlmError>) {
        self.record_at(Instant::now(), error);
    }

    fn acquire_at(&self, now: Instant) -> Result<(), LlmError> {
        let mut state = self.0.lock().expect("nobody panics while holding this lock");
        match state.open_until {
            Some(until) if now < until => Err(LlmError::CircuitOpen(until - now)),
            Some(_) => {
                state.open_until = Some(now + REST);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn record_at(&self, now: Instant, error: Option<&LlmError>) {
        let mut state = self.0.lock().expect("nobody panics while holding this lock");
        if error.is_some_and(LlmError::is_outage) {
            state.failures = state.failures.saturating_add(1);
            if state.failures == FAILURES {
                tracing::warn!(rest_s = REST.as_secs(), "a model is down: it is left alone for a while");
            }
            if state.failures >= FAILURES {
                state.open_until = Some(now + REST);
            }
        } else if !matches!(error, Some(LlmError::CircuitOpen(_))) {
            *state = State::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_lets_one_through_and_closes_when_that_one_succeeds() {
        let (circuit, start) = (CircuitBreaker::new(), Instant::now());
        let later = start + REST + Duration::from_secs(1);
        let down = LlmError::ServerError { status: 503 };

        (1..FAILURES).for_each(|_| circuit.record_at(start, Some(&down)));
        assert_eq!(circuit.acquire_at(start), Ok(()));
        circuit.record_at(start, Some(&down));
        assert_eq!(circuit.acquire_at(start), Err(LlmError::CircuitOpen(REST)));
        assert_eq!((circuit.acquire_at(later), circuit.acquire_at(later).is_err()), (Ok(()), true));
        circuit.record_at(later, None);

        assert_eq!(circuit.acquire_at(later), Ok(()));
    }

    #[test]
    fn a_success_between_failures_and_refused_requests_keep_it_closed() {
        let (circuit, now) = (CircuitBreaker::new(), Instant::now());

        for _ in 0..FAILURES {
            circuit.record_at(now, Some(&LlmError::Truncated));
            circuit.record_at(now, Some(&LlmError::RateLimited { retry_after: None }));
        }

        assert_eq!(circuit.acquire_at(now), Ok(()));
    }
}
