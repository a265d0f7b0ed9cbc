//! The steps of an operation over time: a bar for each, with the pauses between attempts and with what took longest.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::graph::cut;
use super::history::{History, Span, SpanKind, StepHistory, ms_between};
use super::render::span as duration;
use crate::plan::Plan;
use crate::reply::view::StepState;
use crate::step::Step;

/// How wide all of it is, in pixels, as all that follows.
const WIDTH: u64 = 1200;
/// Where the bars begin and how much room they have; titles are before them, times behind.
const BARS_X: u64 = 210;
const BARS_WIDTH: u64 = 810;
/// The height of what the axis has, of a step, and of its bar.
const AXIS_HEIGHT: u64 = 26;
const ROW_HEIGHT: u64 = 28;
const BAR_HEIGHT: u64 = 14;
/// A bar that is shorter could not be seen.
const SHORTEST_BAR: u64 = 3;
/// How many letters of a title fit.
const LETTERS: usize = 26;
/// What may lie between two marks of the axis, in milliseconds.
const INTERVALS: [u64; 19] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
    3_600_000, 7_200_000, 21_600_000, DAY_MS,
];
const DAY_MS: u64 = 86_400_000;
/// How many marks it has at the most, beside the first.
const MOST_MARKS: u64 = 6;

/// What is drawn.
#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    width: u64,
    height: u64,
    marks: Vec<Mark>,
    /// Where the lines of the marks end.
    marks_y: u64,
    rows: Vec<Row>,
    /// The steps that it took so long for, each waiting for the one before it.
    longest: Vec<String>,
    longest_ms: u64,
}

/// A mark of the axis.
#[derive(Debug, Serialize)]
struct Mark {
    x: u64,
    text: String,
}

/// A step.
#[derive(Debug, Serialize)]
struct Row {
    title: String,
    shown_title: String,
    has_failed: bool,
    /// It is part of the longest path.
    is_longest: bool,
    text_y: u64,
    bars: Vec<Bar>,
    time_x: u64,
    time: String,
}

/// A span of time.
#[derive(Debug, Serialize)]
struct Bar {
    class: &'static str,
    state: StepState,
    x: u64,
    y: u64,
    width: u64,
    height: u64,
    words: String,
}

/// The span of time that is drawn, and how wide.
#[derive(Debug, Clone, Copy)]
struct Scale {
    from: Timestamp,
    now: Timestamp,
    total_ms: u64,
}

/// Draws what the steps of a plan have done until now; nothing before the first has begun.
pub(super) fn draw(plan: &Plan, history: &History, now: Timestamp) -> Option<Timeline> {
    let mut begun: Vec<(&Step, &StepHistory, Timestamp)> = plan
        .steps()
        .into_iter()
        .filter_map(|step| {
            let history = history.step(step.name())?;
            Some((step, history, history.began_at()?))
        })
        .collect();
    begun.sort_by_key(|(_, _, began_at)| *began_at);
    let from = begun.first()?.2;
    let spans = begun.iter().flat_map(|(_, history, _)| &history.spans);
    // A pause that has begun may end later than now.
    let until = spans.map(|it| it.to.unwrap_or(now).min(now)).max()?;
    let scale = Scale { from, now, total_ms: ms_between(from, until).max(1) };
    let took = |name: &str| history.step(name).and_then(|it| it.ran_ms(now)).unwrap_or(0);
    let longest: Vec<&str> = longest_path(plan, took).into_iter().filter(|it| took(it) > 0).collect();
    let longest_ms = longest.iter().map(|it| took(it)).sum();
    let mut rows = Vec::new();
    let mut y = AXIS_HEIGHT;
    for (step, history, _) in begun {
        rows.push(row(step, history, y, longest.contains(&step.name()), scale));
        y += ROW_HEIGHT;
    }
    let title = |name: &&str| plan.find(name).map_or_else(String::new, title_of);
    Some(Timeline {
        width: WIDTH,
        height: y + 6,
        marks: marks(scale.total_ms),
        marks_y: y,
        rows,
        longest: longest.iter().map(title).collect(),
        longest_ms,
    })
}

/// For each step how long the longest path to its end took, and which step is before it there.
type Paths = BTreeMap<&'static str, (u64, Option<&'static str>)>;

/// Steps that each wait for the one before them, and that together took longer than any others.
fn longest_path(plan: &Plan, took: impl Fn(&str) -> u64) -> Vec<&'static str> {
    let mut paths = Paths::new();
    for (step, after) in plan.dependencies() {
        let before = after.into_iter().max_by_key(|it| ms_until(&paths, it));
        let ms = before.map_or(0, |it| ms_until(&paths, it)) + took(step.name());
        paths.insert(step.name(), (ms, before));
    }
    let last = paths.iter().max_by_key(|(_, (ms, _))| *ms).map(|(name, _)| *name);
    let mut path: Vec<&'static str> =
        std::iter::successors(last, |name| paths.get(name).and_then(|(_, before)| *before)).collect();
    path.reverse();
    path
}

fn ms_until(paths: &Paths, name: &str) -> u64 {
    paths.get(name).map_or(0, |(ms, _)| *ms)
}

fn title_of(step: &Step) -> String {
    step.title().replace('`', "")
}

fn row(step: &Step, history: &StepHistory, y: u64, is_longest: bool, scale: Scale) -> Row {
    let title = title_of(step);
    let retries = match history.retries {
        0 => None,
        1 => Some("1 retry".to_owned()),
        retries => Some(format!("{retries} retries")),
    };
    let has_failed = history.failure.is_some();
    let words = [history.ran_ms(scale.now).map(duration), retries, has_failed.then(|| "failed".to_owned())];
    Row {
        shown_title: cut(&title, LETTERS),
        title,
        has_failed,
        is_longest,
        text_y: y + ROW_HEIGHT / 2 + 4,
        bars: history.spans.iter().map(|it| bar(it, history, y, is_longest, scale)).collect(),
        time_x: BARS_X + BARS_WIDTH + 14,
        time: words.into_iter().flatten().collect::<Vec<_>>().join(", "),
    }
}

fn bar(span: &Span, history: &StepHistory, y: u64, is_longest: bool, scale: Scale) -> Bar {
    let to = span.to.unwrap_or(scale.now).min(scale.now);
    let ms = ms_between(span.from, to);
    let width = (ms * BARS_WIDTH / scale.total_ms).clamp(SHORTEST_BAR, BARS_WIDTH);
    let after = ms_between(scale.from, span.from);
    let x = BARS_X + (after * BARS_WIDTH / scale.total_ms).min(BARS_WIDTH - width);
    let (class, what) = match (span.kind, is_longest) {
        (SpanKind::Run, true) => ("bar critical", run_words(span.state)),
        (SpanKind::Run, false) => ("bar", run_words(span.state)),
        (SpanKind::Pause, _) => ("bar-wait", "waited before the next attempt"),
        (SpanKind::Undo, _) if span.state == StepState::Undone && !history.was_taken_back => {
            ("bar-undo", "looked for something to take back")
        }
        (SpanKind::Undo, _) => ("bar-undo", "was taken back"),
    };
    let words = format!("{what} for {}, from {} after the beginning", duration(ms), duration(after));
    let y = y + (ROW_HEIGHT - BAR_HEIGHT) / 2;
    Bar { class, state: span.state, x, y, width, height: BAR_HEIGHT, words }
}

fn run_words(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "ran until it was broken off",
        StepState::Failed => "ran and failed",
        StepState::Running | StepState::Succeeded | StepState::Undoing | StepState::Undone | StepState::UndoFailed => {
            "ran"
        }
    }
}

fn marks(total_ms: u64) -> Vec<Mark> {
    let days = || (total_ms / MOST_MARKS / DAY_MS + 1) * DAY_MS;
    let interval = INTERVALS.into_iter().find(|it| total_ms / it <= MOST_MARKS).unwrap_or_else(days);
    let moments = (0..=MOST_MARKS).map(|it| it * interval).take_while(|it| *it <= total_ms);
    moments.map(|ms| Mark { x: BARS_X + ms * BARS_WIDTH / total_ms, text: mark_text(ms, interval, total_ms) }).collect()
}

/// A round time, in the unit of its axis: the largest that the interval is a whole number of.
fn mark_text(ms: u64, interval: u64, total_ms: u64) -> String {
    if ms == 0 {
        return "0".to_owned();
    }
    if interval < 1_000 && total_ms >= 1_000 {
        return format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
    }
    let units = [(DAY_MS, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let fitting = units.into_iter().find(|(unit, _)| interval.is_multiple_of(*unit));
    fitting.map_or_else(|| format!("{ms} ms"), |(unit, name)| format!("{} {name}", ms / unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::console::history::tests::{at, failed, started, succeeded, undoing};
    use crate::step::bootstrap_host::BootstrapHost;
    use crate::step::find_cluster::FindCluster;
    use crate::step::find_instance::FindInstance;

    /// Two rows at once: one step, and two in a row.
    fn plan() -> Plan {
        let beside = Plan::Sequence(vec![Plan::step(FindInstance {}), Plan::step(BootstrapHost {})]);
        Plan::Parallel(vec![Plan::step(FindCluster {}), beside])
    }

    #[test]
    fn bars_lie_where_their_time_is_and_the_longest_path_is_marked() {
        let events = [
            started(0, "find_instance"),
            started(0, "find_cluster"),
            succeeded(5_000, "find_instance"),
            started(5_000, "bootstrap_host"),
            succeeded(6_000, "find_cluster"),
            succeeded(10_000, "bootstrap_host"),
        ];

        let timeline = draw(&plan(), &History::of(&events), at(60_000)).unwrap();

        let bars: Vec<(&str, u64, u64)> =
            timeline.rows.iter().flat_map(|row| &row.bars).map(|it| (it.class, it.x, it.width)).collect();
        assert_eq!(bars, [("bar", 210, 486), ("bar critical", 210, 405), ("bar critical", 615, 405)]);
        assert_eq!((timeline.longest.len(), timeline.longest_ms), (2, 10_000));
        let marks: Vec<&str> = timeline.marks.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(marks, ["0", "2 s", "4 s", "6 s", "8 s", "10 s"]);
    }

    #[test]
    fn what_is_taken_back_right_now_lasts_until_now() {
        let events =
            [started(0, "find_cluster"), failed(1_000, "find_cluster", "not_there"), undoing(2_000, "find_cluster")];

        let timeline = draw(&plan(), &History::of(&events), at(4_000)).unwrap();

        let row = &timeline.rows[0];
        let last = row.bars.last().unwrap();
        assert_eq!((last.class, last.x + last.width), ("bar-undo", BARS_X + BARS_WIDTH));
        assert_eq!((row.bars[0].state, row.time.as_str()), (StepState::Failed, "1.0 s, failed"));
        assert!(draw(&plan(), &History::default(), at(0)).is_none());
    }

    #[test]
    fn the_marks_of_the_axis_are_round_times() {
        let text = |total_ms: u64| marks(total_ms).into_iter().map(|it| it.text).collect::<Vec<_>>().join(", ");

        assert_eq!(text(320), "0, 50 ms, 100 ms, 150 ms, 200 ms, 250 ms, 300 ms");
        assert_eq!(text(1_700), "0, 0.5 s, 1.0 s, 1.5 s");
        assert_eq!(text(1_100), "0, 0.2 s, 0.4 s, 0.6 s, 0.8 s, 1.0 s");
        assert_eq!(text(130_000), "0, 30 s, 60 s, 90 s, 120 s");
    }
}
