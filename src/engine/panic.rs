//! A panic of a step is a failure of that step: it is caught where the step is called, and ends nothing else.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

tokio::task_local! {
    /// Set while something is polled whose panic is caught: what it says may quote a secret, and is told redacted.
    static CAUGHT: ();
}

/// Logs where a panic was that the engine catches; others are printed as ever.
pub fn log_caught_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if CAUGHT.try_with(|()| ()).is_err() {
            return print(info);
        }
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "the program panicked");
    }));
}

/// What a future gives, or what it said when it panicked. Callers box theirs: each layer around it would copy it.
pub(super) async fn catch<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let caught = CAUGHT.scope((), AssertUnwindSafe(future).catch_unwind()).await;
    caught.map_err(|payload| text(payload.as_ref()).to_owned())
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    text.unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_panic_says_is_kept() {
        let number = 7;

        assert_eq!(catch(async { panic!("a bug") }).await, Err::<(), _>("a bug".to_owned()));
        assert_eq!(catch(async { panic!("bug {number}") }).await, Err::<(), _>("bug 7".to_owned()));
        assert_eq!(catch(async { number }).await, Ok(7));
    }
}
