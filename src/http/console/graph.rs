//! The plan of an operation as a graph: where each step and each line between two of them is drawn.
//!
//! A plan is made of parts that run one after another and of parts that run at the same time, so its layout needs no
//! search: the former stand side by side, the latter below each other. A long row is broken like a line of text.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::Plan;
use crate::reply::view::StepState;

/// The size of a step, in pixels, as all that follows.
const NODE: (u32, u32) = (168, 66);
/// What is free between two steps.
const GAP: (u32, u32) = (30, 14);
/// From one step to the next.
const PITCH: (u32, u32) = (NODE.0 + GAP.0, NODE.1 + GAP.1);
/// What is free around all of it; a line that leads back to the left has its place there.
const MARGIN: u32 = 22;
/// What is free between two rows, for the line that leads from one to the other.
const ROW_GAP: u32 = 26;
/// How many steps stand side by side at the most, unless they cannot be parted.
const MOST_COLUMNS: u32 = 6;
/// How many letters of a title fit into one line of a step.
const LETTERS: usize = 17;

/// What is drawn.
#[derive(Debug, Serialize)]
pub(super) struct Graph {
    width: u32,
    height: u32,
    edges: Vec<Edge>,
    nodes: Vec<Node>,
}

/// A step.
#[derive(Debug, Serialize)]
struct Node {
    step: &'static str,
    title: String,
    state: StepState,
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    text_x: u32,
    lines: Vec<TextLine>,
    words: String,
    words_y: u32,
}

/// A line of a title.
#[derive(Debug, Serialize)]
struct TextLine {
    y: u32,
    text: String,
}

/// A line from a step to one that waits for it; the other way round while that one is taken back.
#[derive(Debug, Serialize)]
struct Edge {
    class: &'static str,
    state: StepState,
    path: String,
}

/// How a step looks.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// Where it stands, by which its lines are drawn.
    pub(super) state: StepState,
    /// What it is shown as itself.
    pub(super) shown_state: StepState,
    /// The same in words.
    pub(super) words: String,
}

/// Where a step is drawn, and where the row of the graph begins that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    x: u32,
    y: u32,
    row_y: u32,
}

type Places = BTreeMap<&'static str, Place>;

/// Draws a plan whose steps look so.
pub(super) fn draw(plan: &Plan, look: impl Fn(&str) -> Look) -> Graph {
    let mut places = Places::new();
    let (mut width, mut y) = (0, MARGIN);
    for row in rows(plan) {
        let (columns, height) = size_in_sequence(row.iter().copied());
        place_in_sequence(row.into_iter(), height, (MARGIN, y), y, &mut places);
        width = width.max(columns * PITCH.0);
        y += height * PITCH.1 + ROW_GAP;
    }
    let mut nodes = Vec::new();
    let mut edges = Vec::new();
    for (step, after) in plan.dependencies() {
        let Some(place) = places.get(step.name()) else { continue };
        let look = look(step.name());
        let befores = after.iter().filter_map(|it| places.get(it));
        edges.extend(befores.map(|before| edge(*before, *place, look.state)));
        nodes.push(node(step.name(), step.title().replace('`', ""), look, *place));
    }
    let height = y.saturating_sub(GAP.1 + ROW_GAP) + MARGIN;
    Graph { width: (width + 2 * MARGIN).saturating_sub(GAP.0), height, edges, nodes }
}

/// The parts of a plan, in rows that are not too long.
fn rows(plan: &Plan) -> Vec<Vec<&Plan>> {
    let mut rows: Vec<Vec<&Plan>> = Vec::new();
    let mut columns = 0;
    for part in in_a_row(plan) {
        let (more, _) = size(part);
        if rows.is_empty() || columns + more > MOST_COLUMNS {
            rows.push(Vec::new());
            columns = 0;
        }
        if let Some(row) = rows.last_mut() {
            row.push(part);
        }
        columns += more;
    }
    rows
}

fn in_a_row(plan: &Plan) -> Vec<&Plan> {
    match plan {
        Plan::Sequence(parts) => parts.iter().flat_map(in_a_row).collect(),
        Plan::Step(_) | Plan::Parallel(_) => vec![plan],
    }
}

/// How many steps of a plan stand side by side and below each other.
fn size(plan: &Plan) -> (u32, u32) {
    match plan {
        Plan::Step(_) => (1, 1),
        Plan::Sequence(parts) => size_in_sequence(parts.iter()),
        Plan::Parallel(parts) => parts.iter().map(size).fold((0, 0), |all, it| (all.0.max(it.0), all.1 + it.1)),
    }
}

fn size_in_sequence<'a>(parts: impl Iterator<Item = &'a Plan>) -> (u32, u32) {
    parts.map(size).fold((0, 0), |all, it| (all.0 + it.0, all.1.max(it.1)))
}

fn place(plan: &Plan, (x, y): (u32, u32), row_y: u32, places: &mut Places) {
    match plan {
        Plan::Step(step) => {
            places.insert(step.name(), Place { x, y, row_y });
        }
        Plan::Sequence(parts) => place_in_sequence(parts.iter(), size(plan).1, (x, y), row_y, places),
        Plan::Parallel(parts) => {
            let mut y = y;
            for part in parts {
                place(part, (x, y), row_y, places);
                y += size(part).1 * PITCH.1;
            }
        }
    }
}

/// Places parts side by side, each in the middle of the height.
fn place_in_sequence<'a>(
    parts: impl Iterator<Item = &'a Plan>,
    height: u32,
    (mut x, y): (u32, u32),
    row_y: u32,
    places: &mut Places,
) {
    for part in parts {
        let (columns, part_height) = size(part);
        place(part, (x, y + height.saturating_sub(part_height) * PITCH.1 / 2), row_y, places);
        x += columns * PITCH.0;
    }
}

fn node(step: &'static str, title: String, look: Look, Place { x, y, .. }: Place) -> Node {
    let lines = broken(&title, LETTERS);
    let first_y = y + if lines.len() > 1 { 20 } else { 27 };
    let lines = (0..).zip(lines).map(|(index, text)| TextLine { y: first_y + index * 16, text }).collect();
    Node {
        step,
        title,
        state: look.shown_state,
        x,
        y,
        width: NODE.0,
        height: NODE.1,
        text_x: x + 12,
        lines,
        words: look.words,
        words_y: y + 55,
    }
}

fn edge(before: Place, place: Place, state: StepState) -> Edge {
    let (from, from_y) = (before.x + NODE.0, before.y + NODE.1 / 2);
    let (to, to_y) = (place.x, place.y + NODE.1 / 2);
    // Up to the last gap it is alone on its height.
    let knee = to.saturating_sub(GAP.0).max(from);
    let middle = knee + GAP.0 / 2;
    let between = place.row_y.saturating_sub(ROW_GAP / 2 + GAP.1 / 2);
    let is_in_row = to > from;
    let is_undo = match state {
        StepState::Undoing | StepState::Undone | StepState::UndoFailed => true,
        StepState::Pending | StepState::Running | StepState::Succeeded | StepState::Failed => false,
    };
    let (out, back) = (from + GAP.0 / 2, to.saturating_sub(GAP.0 / 2));
    let line = match (is_in_row, is_undo) {
        (true, false) => format!("M{from} {from_y}H{knee}C{middle} {from_y} {middle} {to_y} {to} {to_y}"),
        (true, true) => format!("M{to} {to_y}C{middle} {to_y} {middle} {from_y} {knee} {from_y}H{from}"),
        (false, false) => format!("M{from} {from_y}H{out}V{between}H{back}V{to_y}H{to}"),
        (false, true) => format!("M{to} {to_y}H{back}V{between}H{out}V{from_y}H{from}"),
    };
    let head = if is_undo {
        format!("M{x} {above}L{from} {from_y}L{x} {below}", x = from + 6, above = from_y - 4, below = from_y + 4)
    } else {
        format!("M{x} {above}L{to} {to_y}L{x} {below}", x = to - 6, above = to_y - 4, below = to_y + 4)
    };
    Edge { class: if is_undo { "edge-undo" } else { "edge" }, state, path: format!("{line}{head}") }
}

/// A text in two lines at the most, cut to so many letters each.
fn broken(text: &str, letters: usize) -> Vec<String> {
    let mut first = String::new();
    let mut rest = text.trim();
    for word in rest.split_inclusive(' ') {
        if (first.clone() + word).trim_end().chars().count() > letters {
            break;
        }
        first.push_str(word);
    }
    if first.is_empty() {
        // A word that does not fit into a line is broken in itself.
        first = rest.chars().take(letters).collect();
    }
    rest = rest[first.len()..].trim();
    let lines = [first.trim_end().to_owned(), cut(rest, letters)];
    lines.into_iter().filter(|it| !it.is_empty()).collect()
}

/// A text of so many letters at the most.
pub(super) fn cut(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(letters.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::bootstrap_host::BootstrapHost;
    use crate::step::find_cluster::FindCluster;
    use crate::step::find_instance::FindInstance;
    use crate::step::remove_workspace::RemoveWorkspace;

    fn look(state: StepState) -> impl Fn(&str) -> Look {
        move |_| Look { state, shown_state: StepState::Failed, words: "words".to_owned() }
    }

    /// One step, then two rows at once (of one step and of two), then a step.
    fn plan() -> Plan {
        let beside = Plan::Sequence(vec![Plan::step(FindInstance {}), Plan::step(BootstrapHost {})]);
        let both = Plan::Parallel(vec![Plan::step(FindCluster {}), beside]);
        Plan::Sequence(vec![both, Plan::step(RemoveWorkspace {})])
    }

    #[test]
    fn what_runs_at_once_stands_below_each_other_and_what_follows_beside_it() {
        let graph = draw(&plan(), look(StepState::Pending));

        let places: Vec<(&str, u32, u32)> = graph.nodes.iter().map(|it| (it.step, it.x, it.y)).collect();
        assert_eq!(
            places,
            [
                ("find_cluster", MARGIN, MARGIN),
                ("find_instance", MARGIN, MARGIN + PITCH.1),
                ("bootstrap_host", MARGIN + PITCH.0, MARGIN + PITCH.1),
                ("remove_workspace", MARGIN + 2 * PITCH.0, MARGIN + PITCH.1 / 2),
            ]
        );
        assert_eq!((graph.width, graph.height), (2 * MARGIN + 3 * NODE.0 + 2 * GAP.0, 2 * MARGIN + 2 * NODE.1 + GAP.1));
        assert_eq!(graph.edges.len(), 3);
    }

    #[test]
    fn an_undo_is_drawn_backwards() {
        let graph = draw(&plan(), look(StepState::Undone));

        let edge = &graph.edges[0];
        assert_eq!(edge.class, "edge-undo");
        assert!(edge.path.starts_with(&format!("M{} ", MARGIN + PITCH.0)), "{}", edge.path);
        assert_eq!(graph.nodes[0].state, StepState::Failed);
    }

    #[test]
    fn a_long_row_goes_on_below() {
        let plan = Plan::Sequence((0..7).map(|_| Plan::step(FindCluster {})).collect());

        let rows: Vec<usize> = rows(&plan).iter().map(Vec::len).collect();

        assert_eq!(rows, [6, 1]);
    }

    #[test]
    fn a_title_is_cut_to_what_fits() {
        assert_eq!(broken("Build the image", 18), ["Build the image"]);
        assert_eq!(broken("Prepare the cluster on-demand-infra", 18), ["Prepare the", "cluster on-demand…"]);
        assert_eq!(broken("https://git.example.test/a/b", 10), ["https://gi", "t.example…"]);
        assert_eq!(broken("", 10), Vec::<String>::new());
    }
}
