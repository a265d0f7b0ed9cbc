//! One run of a plan: how a step is driven forwards and backwards, whatever engine calls it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::patience::Patience;
use super::shared::{RunHandle, Shared};
use super::{failpoint, panic};
use crate::event::{EventKind, Failure, Line, Lines};
use crate::plan::Plan;
use crate::secret::Redactor;
use crate::step::Step;
use crate::step::context::StepContext;
use crate::step::error::{StepError, Waiting};
use crate::store::record::{Deployment, Operation, Target};
use crate::store::steps::{StepAttempt, StepPhase, StepRecord, StepRecords, outputs};

mod redaction;

/// Progress of one step is published at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Pause before a step looks again whose deadline has passed.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// One run of a plan.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) operation: Operation,
    pub(super) deployment: Deployment,
    pub(super) target: Target,
    pub(super) plan: Plan,
    /// Names the operation on every line of the log.
    pub(super) span: tracing::Span,
    /// Cancelled when a person asks for it or the store is lost.
    pub(super) cancel: CancellationToken,
    /// Told when somebody resumes the operation.
    wake: Arc<Notify>,
    /// Cancelled when a step has failed: the others stop, but for those that outlast failures.
    has_failed: CancellationToken,
    /// Why the plan does not succeed: the first failure.
    failure: OnceLock<Failure>,
    /// Why it could not be taken back: the first undo that failed in this run.
    stuck: OnceLock<Failure>,
    redactor: Arc<Mutex<Option<Redactor>>>,
    done: Mutex<u32>,
}

impl Run {
    pub(super) fn new(
        shared: Arc<Shared>,
        operation: Operation,
        deployment: Deployment,
        target: Target,
        plan: Plan,
        handle: RunHandle,
    ) -> Self {
        Self {
            shared,
            operation,
            deployment,
            target,
            plan,
            span: tracing::Span::current(),
            cancel: handle.cancel,
            wake: handle.wake,
            has_failed: CancellationToken::new(),
            failure: OnceLock::new(),
            stuck: OnceLock::new(),
            redactor: handle.redactor,
            done: Mutex::default(),
        }
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.get().cloned()
    }

    pub(super) fn stuck(&self) -> Option<Failure> {
        self.stuck.get().cloned()
    }

    /// Does one step, from its first look to its last retry. One that has come to its end before does not begin again.
    #[tracing::instrument(name = "step", skip_all, fields(step.name = name))]
    pub(super) async fn run_step(&self, name: &str) -> Result<(), Failure> {
        self.block_when_stopping().await;
        let Some(step) = self.plan.find(name) else { return Err(self.record_failure(unknown_step(name))) };
        let steps = self.steps().await.map_err(|failure| self.record_failure(failure))?;
        let known = steps.get(name);
        let is_taken_back =
            |it: &StepRecord| matches!(it.phase, StepPhase::Undoing | StepPhase::Undone | StepPhase::UndoFailed);
        if known.is_some_and(is_taken_back) {
            return Err(self.record_failure(cancelled()));
        }
        if known.is_some_and(|it| it.output.is_some()) {
            return Ok(());
        }
        if let Some(failure) = known.and_then(|it| it.failure.clone()) {
            return Err(self.record_failure(failure));
        }
        if self.cancel.is_cancelled() {
            return Err(self.record_failure(cancelled()));
        }
        if self.has_failed.is_cancelled() && !step.outlasts_failures() {
            return Err(cancelled());
        }
        let _working = InFlight::new(&self.shared.steps_in_flight);
        let (begun, store) = (Instant::now(), &self.shared.store);
        let started = EventKind::StepStarted { step: name.to_owned(), title: step.title() };
        let attempt = self.shared.or_fence(store.begin_step(self.operation.id, name, &started)).await;
        tracing::info!("step begins");
        let cancel = self.cancel.child_token();
        let (mut cx, mut receiver) = self.context(step, &attempt, outputs(&steps), cancel.clone()).await;
        let work = self.run_with_retries(step, &attempt, &mut cx, &mut receiver);
        let stop_with_others = async {
            if step.outlasts_failures() {
                std::future::pending::<()>().await;
            }
            self.has_failed.cancelled().await;
            cancel.cancel();
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            result = work => result,
            () = stop_with_others => unreachable!("it only cancels and never ends"),
        };
        let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let step_name = name.to_owned();
        match result {
            Ok(Done { output, already, summary }) => {
                let summary = self.redactor().await.redact_sentence(&summary).into_owned();
                tracing::info!(elapsed_ms, already, "step is done");
                let succeeded = EventKind::StepSucceeded { step: step_name, summary, already, elapsed_ms };
                self.shared.or_fence(store.end_step(&attempt, Ok(&output), succeeded)).await;
                self.advance(step.weight()).await;
                Ok(())
            }
            Err(error) => {
                let failure = self.failure_of(error).await;
                let failure = if self.cancel.is_cancelled() { cancelled() } else { failure };
                tracing::warn!(elapsed_ms, code = failure.code, reason = failure.message, "step failed");
                count_failure("run", step, &failure);
                let failed = EventKind::StepFailed { step: step_name, failure: failure.clone() };
                self.shared.or_fence(store.end_step(&attempt, Err(&failure), failed)).await;
                Err(self.record_failure(failure))
            }
        }
    }

    /// Takes one step back, if it was begun and is not taken back yet.
    #[tracing::instrument(name = "step", skip_all, fields(step.name = name))]
    pub(super) async fn undo_step(&self, name: &str) -> Result<(), Failure> {
        self.block_when_stopping().await;
        let Some(step) = self.plan.find(name) else { return Err(unknown_step(name)) };
        let outputs = outputs(&self.steps().await?);
        let _working = InFlight::new(&self.shared.steps_in_flight);
        let store = &self.shared.store;
        let undoing = EventKind::StepUndoing { step: name.to_owned() };
        let begun = self.shared.or_fence(store.begin_undo(self.operation.id, name, &undoing)).await;
        let Some(attempt) = begun else { return Ok(()) };
        let left = outputs.get(name).cloned();
        // A cancelled operation still has to be taken back: only the loss of the store stops an undo.
        let (cx, mut receiver) = self.context(step, &attempt, outputs, store.lost().child_token()).await;
        let mut patience = Patience::new(&self.shared.settings.engine);
        let result = loop {
            let call = self.run_publishing(
                name,
                &mut receiver,
                self.catch_panic(
                    step,
                    Box::pin(async {
                        self.hit_failpoint(step, "undo");
                        cx.await_orphans().await?;
                        step.undo(&cx, left.clone()).await
                    }),
                ),
            );
            let error = match call.await {
                Err(error) => error,
                Ok(removed) => break Ok(removed),
            };
            let Some(pause) = patience.pause_after(&error) else { break Err(error) };
            let is_settling = matches!(error, StepError::Settling(_));
            let reason = self.failure_of(error).await.message;
            tracing::warn!(reason, "taking back is tried again");
            if is_settling {
                self.tell_what_settles(name, &patience, &reason).await;
            }
            if let Err(error) = self.pause(tokio::time::sleep(pause), &cx.cancel).await {
                break Err(error);
            }
        };
        let step_name = name.to_owned();
        match result {
            Ok(removed) => {
                tracing::info!("step is taken back");
                let undone = EventKind::StepUndone { step: step_name, removed };
                self.shared.or_fence(store.end_undo(&attempt, Ok(()), undone)).await;
                Ok(())
            }
            Err(StepError::Cancelled) => std::future::pending().await,
            Err(error) => {
                let failure = self.failure_of(error).await;
                tracing::error!(reason = failure.message, "step could not be taken back");
                count_failure("undo", step, &failure);
                let _ = self.stuck.set(failure.clone());
                let undo_failed = EventKind::StepUndoFailed { step: step_name, failure: failure.clone() };
                self.shared.or_fence(store.end_undo(&attempt, Err(&failure), undo_failed)).await;
                Err(failure)
            }
        }
    }

    /// What is on record of the steps that were begun; a failure when it cannot be read.
    async fn steps(&self) -> Result<StepRecords, Failure> {
        let store = &self.shared.store;
        match store.steps(self.operation.id).await {
            Err(error) if error.is_unreadable() => Err(internal(error.to_string())),
            steps => Ok(self.shared.or_fence(std::future::ready(steps)).await),
        }
    }

    /// Looks, works, waits, and tries again after failures that may pass.
    async fn run_with_retries(
        &self,
        step: &Step,
        attempt: &StepAttempt,
        cx: &mut StepContext,
        receiver: &mut LineReceiver,
    ) -> Result<Done, StepError> {
        let mut patience = Patience::new(&self.shared.settings.engine);
        let (mut tries, mut has_waited, mut is_told) = (0, false, None);
        loop {
            tries += 1;
            let now: &StepContext = cx;
            let work = Box::pin(async {
                self.hit_failpoint(step, "check");
                now.await_orphans().await?;
                let (output, already) = match step.check(now).await? {
                    Some(output) => (output, !has_waited),
                    None => (step.run(now).await?, false),
                };
                self.hit_failpoint(step, "run");
                let already = already || step.had_nothing_to_do(&output);
                Ok(Done { summary: step.summary(&output), already, output })
            });
            let work = self.catch_panic(step, work);
            let error = match self.run_publishing(step.name(), receiver, work).await {
                Err(StepError::Waiting(waiting)) => {
                    let is_new = waiting.until != cx.waits_until || is_told != Some(waiting.missing.is_some());
                    (has_waited, is_told) = (true, Some(waiting.missing.is_some()));
                    if is_new {
                        self.park(attempt, step, &waiting).await;
                        cx.waits_until = waiting.until;
                    }
                    self.wait(&waiting, &cx.cancel).await?;
                    // What it was called for has come to an end: what may pass has all its time again.
                    (patience, tries) = (Patience::new(&self.shared.settings.engine), 0);
                    continue;
                }
                Err(error) if !cx.cancel.is_cancelled() => error,
                result => return result,
            };
            let Some(pause) = patience.pause_after(&error) else { return Err(error) };
            let is_settling = matches!(error, StepError::Settling(_));
            let reason = self.failure_of(error).await.message;
            tracing::warn!(attempt = tries, reason, "step is tried again");
            metrics::counter!("step_retries_total", "step" => step.name()).increment(1);
            // What somebody has to do is told anew after this.
            is_told = None;
            if is_settling {
                self.tell_what_settles(step.name(), &patience, &reason).await;
            } else {
                let delay_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                let step = step.name().to_owned();
                self.publish(EventKind::StepRetrying { step, attempt: tries, reason, delay_ms }).await;
            }
            self.pause(tokio::time::sleep(pause), &cx.cancel).await?;
        }
    }

    /// Puts on record until when a step waits, and says what somebody has to do.
    async fn park(&self, attempt: &StepAttempt, step: &Step, waiting: &Waiting) {
        let missing = match &waiting.missing {
            None => None,
            Some(text) => {
                let text = self.redactor().await.redact_sentence(text).into_owned();
                Some(EventKind::StepProgress { step: step.name().to_owned(), text })
            }
        };
        self.shared.or_fence(self.shared.store.park_step(attempt, waiting.until, missing)).await;
    }

    /// Waits until a step that waits has to look again: by itself, or because somebody resumes the operation.
    async fn wait(&self, waiting: &Waiting, cancel: &CancellationToken) -> Result<(), StepError> {
        // One that has passed is looked at again at once.
        let rest = |until: Timestamp| Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
        let pause = waiting.until.map_or(waiting.look_again, |it| rest(it).min(waiting.look_again)).max(SHORTEST_PAUSE);
        let look_again = async {
            tokio::select! {
                () = tokio::time::sleep(pause) => (),
                () = self.wake.notified() => (),
            }
        };
        self.pause(look_again, cancel).await
    }

    /// Says what of AWS is waited for, and why.
    async fn tell_what_settles(&self, name: &str, patience: &Patience, reason: &str) {
        let (waited, limit) = patience.settling_for();
        let (waited, limit) = (waited.as_secs(), limit.as_secs());
        let text = format!("waiting until AWS has settled this, {waited} s of {limit} s at the most: {reason}");
        self.publish(EventKind::StepProgress { step: name.to_owned(), text }).await;
    }

    /// Waits before a step is called again. A stop of the server does not wait for that, and then it is not.
    async fn pause(&self, pause: impl Future<Output = ()>, cancel: &CancellationToken) -> Result<(), StepError> {
        let suspended = Suspended::new(&self.shared.steps_in_flight);
        tokio::select! {
            () = pause => (),
            () = cancel.cancelled() => return Err(StepError::Cancelled),
        }
        self.block_when_stopping().await;
        drop(suspended);
        Ok(())
    }

    /// Makes a panic of a step the failure of that step, which does not pass.
    async fn catch_panic<T>(
        &self,
        step: &Step,
        work: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let caught = panic::catch(work).await;
        caught.unwrap_or_else(|said| Err(StepError::panicked(step.name(), self.operation.id, &said)))
    }

    fn hit_failpoint(&self, step: &Step, moment: &str) {
        failpoint::hit(&self.shared.settings.store.workspace, step.name(), moment);
    }

    /// Runs work while its lines are published, in order, before whatever comes after it.
    ///
    /// Work and publishing are polled together (`join!`): were the work not polled while a line is being stored, it
    /// could sit on the pooled database connection that storing the line waits for, and both would hang.
    async fn run_publishing<T>(
        &self,
        name: &str,
        receiver: &mut LineReceiver,
        work: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let ended = CancellationToken::new();
        let work = async {
            let result = work.await;
            ended.cancel();
            result
        };
        let (result, ()) = tokio::join!(work, self.publish_lines(name, receiver, &ended));
        result
    }

    /// Publishes the lines of a step until it has ended, and then those that are left.
    async fn publish_lines(&self, name: &str, receiver: &mut LineReceiver, ended: &CancellationToken) {
        let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
        loop {
            tokio::select! {
                Some(line) = receiver.lines.recv() => self.publish_line(name, line, receiver).await,
                _ = tick.tick() => {
                    if let Some(text) = receiver.pending.take() {
                        self.publish(EventKind::StepProgress { step: name.to_owned(), text }).await;
                        receiver.published = Instant::now();
                    }
                }
                () = ended.cancelled() => break,
            }
        }
        while let Ok(line) = receiver.lines.try_recv() {
            self.publish_line(name, line, receiver).await;
        }
        receiver.pending = None;
    }

    async fn publish_line(&self, name: &str, line: Line, receiver: &mut LineReceiver) {
        let redactor = self.redactor().await;
        let quoted = |text: &str| redactor.redact(text).into_owned();
        let own = |text: &str| redactor.redact_sentence(text).into_owned();
        let text = match line {
            Line::Output(text) => return tracing::debug!("{}", quoted(&text)),
            Line::Warning(text) => return self.publish(EventKind::Warning { text: own(&text) }).await,
            Line::Progress(text) => own(&text),
            Line::QuotedProgress(text) => quoted(&text),
        };
        if receiver.published.elapsed() < PROGRESS_INTERVAL {
            receiver.pending = Some(text);
            return;
        }
        self.publish(EventKind::StepProgress { step: name.to_owned(), text }).await;
        receiver.published = Instant::now();
        receiver.pending = None;
    }

    async fn context(
        &self,
        step: &Step,
        attempt: &StepAttempt,
        outputs: BTreeMap<String, Value>,
        cancel: CancellationToken,
    ) -> (StepContext, LineReceiver) {
        let (sender, lines) = mpsc::unbounded_channel();
        let cx = StepContext {
            operation: self.operation.id,
            deployment: self.deployment.clone(),
            target: self.target.clone(),
            hosts: self.shared.hosts.clone(),
            prices: self.shared.prices.clone(),
            store: self.shared.store.clone(),
            settings: Arc::clone(&self.shared.settings),
            sealer: self.shared.sealer.clone(),
            redactor: self.redactor().await,
            lines: Lines::new(move |line| {
                // Nobody reads any more once the step has ended.
                let _ = sender.send(line);
            }),
            cancel,
            outputs: Arc::new(outputs),
            step: step.name(),
            may_have_orphans: Arc::default(),
            begun_at: attempt.begun_at,
            waits_until: attempt.waits_until,
        };
        let long_ago = Instant::now().checked_sub(PROGRESS_INTERVAL).unwrap_or_else(Instant::now);
        (cx, LineReceiver { lines, pending: None, published: long_ago })
    }

    /// Keeps the first failure and stops the other steps.
    pub(super) fn record_failure(&self, failure: Failure) -> Failure {
        let _ = self.failure.set(failure.clone());
        self.has_failed.cancel();
        failure
    }

    async fn advance(&self, weight: u32) {
        let percent = {
            let mut done = self.done.lock().expect("nobody panics while holding this lock");
            *done += weight;
            u8::try_from(u64::from(*done) * 100 / u64::from(self.plan.weight().max(1))).unwrap_or(100).min(99)
        };
        if let Err(error) = self.shared.store.set_progress(self.operation.id, percent).await {
            self.shared.fence(&error).await;
        }
    }

    /// Counts steps that an earlier server did as done.
    pub(super) fn count_as_done(&self, names: impl Iterator<Item = String>) {
        let weight: u32 = names.filter_map(|name| self.plan.find(&name).map(Step::weight)).sum();
        *self.done.lock().expect("nobody panics while holding this lock") += weight;
    }

    /// No step begins any more once the server stops: the next start carries on.
    async fn block_when_stopping(&self) {
        if self.shared.stopping.is_cancelled() || self.shared.store.lost().is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    async fn publish(&self, kind: EventKind) {
        self.shared.publish(self.operation.id, kind).await;
    }
}

/// A step that has come to its end.
struct Done {
    output: Value,
    /// There was nothing to do.
    already: bool,
    summary: String,
}

/// The lines of one step on their way to the events.
struct LineReceiver {
    lines: mpsc::UnboundedReceiver<Line>,
    pending: Option<String>,
    published: Instant,
}

/// Counts a step as being at work for as long as it lives.
struct InFlight<'a>(&'a watch::Sender<usize>);

impl<'a> InFlight<'a> {
    fn new(steps: &'a watch::Sender<usize>) -> Self {
        steps.send_modify(|count| *count += 1);
        Self(steps)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A step that is not at work for a while: a stop of the server does not wait for it.
struct Suspended<'a>(&'a watch::Sender<usize>);

impl<'a> Suspended<'a> {
    fn new(steps: &'a watch::Sender<usize>) -> Self {
        steps.send_modify(|count| *count -= 1);
        Self(steps)
    }
}

impl Drop for Suspended<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count += 1);
    }
}

/// Counts a failure of a step, or of taking it back. Steps and codes are few: both are the program's own words.
fn count_failure(phase: &'static str, step: &Step, failure: &Failure) {
    let code = failure.code.clone();
    metrics::counter!("step_failures_total", "phase" => phase, "step" => step.name(), "code" => code).increment(1);
}

/// Why a step did not come to its end that was stopped.
pub(super) fn cancelled() -> Failure {
    Failure {
        code: Failure::CANCELLED.into(),
        message: "it was cancelled".into(),
        next_step: "Send the request again when you want it after all".into(),
        output: Vec::new(),
    }
}

/// What should not be.
pub(super) fn internal(message: String) -> Failure {
    Failure {
        code: "internal_error".into(),
        message,
        next_step: "Look at the server's log for this operation's id".into(),
        output: Vec::new(),
    }
}

fn unknown_step(name: &str) -> Failure {
    Failure {
        code: "internal_error".into(),
        message: format!("the plan has no step `{name}`"),
        next_step: "Was the server updated in between? Start the operation again".into(),
        output: Vec::new(),
    }
}
