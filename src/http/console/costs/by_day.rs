//! What deployments cost on each of the last days, by list prices: what the target costs for the hours in which each of
//! them was there. Those that are on it at the same time share it evenly.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::id::TargetId;
use crate::store::record::Deployment;

/// How many days are told of. Today is the last one.
const DAYS: u16 = 30;
const DAY_MS: i64 = 86_400_000;
pub(super) const HOURS_PER_DAY: f64 = 24.0;
const SECONDS_PER_HOUR: f64 = 3600.0;
/// How many parts a bar has at the most beside what is left: there are as many colours.
const MOST_PARTS: usize = 5;
/// A day that costs less than this has no height that could be seen.
const LEAST_TOP: f64 = 0.04;

/// How wide and how high the chart is, in pixels, as all that follows.
const WIDTH: u16 = 570;
const HEIGHT: u16 = 224;
/// Where the first bar begins; the numbers of the axis are before it.
const BARS_X: u16 = 52;
/// From one bar to the next one, and how wide each is.
const BAR_STEP: u16 = 17;
const BAR_WIDTH: u16 = 12;
/// Where the highest bar ends, and where all of them begin; the days are below.
const TOP_Y: f64 = 30.0;
const BOTTOM_Y: f64 = 198.0;

/// What costs are summed up by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(super) enum Grouping {
    #[default]
    Namespace,
    Target,
    Deployment,
}

impl Grouping {
    /// The stable text.
    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }

    /// What a deployment is counted to.
    pub(super) fn name(self, deployment: &Deployment) -> String {
        let Deployment { name, namespace, target_name, mode, .. } = deployment;
        match self {
            Self::Namespace => namespace.to_string(),
            Self::Target => format!("{target_name} ({mode})"),
            Self::Deployment => format!("{name} in {namespace} on {target_name}"),
        }
    }
}

/// A deployment with what its target costs per hour, or did while it was there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Priced<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) hour: f64,
    /// When it or its target went; nothing while both are there.
    pub(super) until: Option<Timestamp>,
}

/// What it cost by day, as a chart and a table.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct DayCosts {
    currency: String,
    /// All days together.
    total: String,
    /// What the days are made of, the dearest first.
    parts: Vec<Part>,
    /// Oldest first.
    days: Vec<Day>,
    lines: Vec<Line>,
    width: u16,
    height: u16,
    bar_width: u16,
}

/// What all that belongs together cost in all days.
#[derive(Debug, PartialEq, Serialize)]
struct Part {
    name: String,
    total: String,
}

/// A day of UTC.
#[derive(Debug, PartialEq, Serialize)]
struct Day {
    date: String,
    total: String,
    /// What each part cost.
    amounts: Vec<String>,
    /// Where its bar is.
    x: u16,
    /// The pieces of its bar, one for each part, each on top of the one before.
    pieces: Vec<Piece>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Piece {
    y: String,
    height: String,
}

/// A line across the chart.
#[derive(Debug, PartialEq, Serialize)]
struct Line {
    y: String,
    text: String,
}

/// What something cost on each day.
type Amounts = Vec<f64>;

/// From when until when a deployment was there, in hours after the beginning of the first day.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: f64,
    to: f64,
}

/// When the first of the days begins.
pub(super) fn first_day(now: Timestamp) -> Timestamp {
    let today = now.as_millisecond().div_euclid(DAY_MS);
    Timestamp::from_millisecond((today + 1 - i64::from(DAYS)) * DAY_MS).unwrap_or(Timestamp::MIN)
}

/// What these have cost until now; nothing when they have cost nothing.
pub(super) fn costs(priced: &[Priced<'_>], grouping: Grouping, currency: &str, now: Timestamp) -> Option<DayCosts> {
    let parts = dearest(sums(priced, grouping, now));
    let totals: Amounts =
        (0..usize::from(DAYS)).map(|day| parts.iter().map(|(_, days)| days[day]).sum::<f64>()).collect();
    let most = totals.iter().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let lines = lines(most.max(LEAST_TOP));
    let top = lines.last().copied().unwrap_or(most);
    let first = first_day(now);
    let days = (0..DAYS).zip(&totals).map(|(day, total)| {
        let amounts: Amounts = parts.iter().map(|(_, days)| days[usize::from(day)]).collect();
        let date = Timestamp::from_millisecond(first.as_millisecond() + i64::from(day) * DAY_MS).unwrap_or(now);
        Day {
            date: date.strftime("%Y-%m-%d").to_string(),
            total: money(*total),
            amounts: amounts.iter().copied().map(money).collect(),
            x: BARS_X + day * BAR_STEP,
            pieces: pieces(&amounts, top),
        }
    });
    Some(DayCosts {
        currency: currency.to_owned(),
        total: money(totals.iter().sum()),
        days: days.collect(),
        parts: parts.iter().map(|(name, days)| Part { name: name.clone(), total: money(days.iter().sum()) }).collect(),
        lines: lines.iter().map(|it| Line { y: pixels(height_of(*it, top)), text: money(*it) }).collect(),
        width: WIDTH,
        height: HEIGHT,
        bar_width: BAR_WIDTH,
    })
}

/// What each group has cost.
fn sums(priced: &[Priced<'_>], grouping: Grouping, now: Timestamp) -> BTreeMap<String, Amounts> {
    let mut on_target: BTreeMap<TargetId, Vec<(&Priced<'_>, Span)>> = BTreeMap::new();
    for it in priced {
        on_target.entry(it.deployment.target).or_default().push((it, span(it, now)));
    }
    let mut sums: BTreeMap<String, Amounts> = BTreeMap::new();
    for users in on_target.values() {
        let shares = Shares::of(users.iter().map(|(_, span)| *span));
        for (Priced { deployment, hour, .. }, span) in users {
            let amounts = sums.entry(grouping.name(deployment)).or_insert_with(|| vec![0.0; usize::from(DAYS)]);
            for (day, amount) in (0..DAYS).zip(amounts) {
                let begin = f64::from(day) * HOURS_PER_DAY;
                let (from, to) = (span.from.max(begin), span.to.min(begin + HOURS_PER_DAY));
                if from < to {
                    *amount += hour * (shares.until(to) - shares.until(from));
                }
            }
        }
    }
    sums
}

/// It is there from when it was first asked for: what it runs on was made then.
fn span(Priced { deployment, until, .. }: &Priced<'_>, now: Timestamp) -> Span {
    let first = first_day(now);
    let hours = |moment: Timestamp| moment.duration_since(first).as_secs_f64() / SECONDS_PER_HOUR;
    let to = hours(until.map_or(now, |it| it.min(now))).max(0.0);
    Span { from: hours(deployment.created_at).clamp(0.0, to), to }
}

/// The hours that are paid by one of those who share a target: in order, each moment at which somebody comes or goes or a
/// day begins, with the hours until then of one who was there all the time.
struct Shares(Vec<(f64, f64)>);

impl Shares {
    fn of(spans: impl Iterator<Item = Span>) -> Self {
        let days = (0..=DAYS).map(|day| (f64::from(day) * HOURS_PER_DAY, 0));
        let mut changes: Vec<(f64, i32)> = spans.flat_map(|it| [(it.from, 1), (it.to, -1)]).chain(days).collect();
        changes.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let (mut before, mut users, mut hours) = (0.0_f64, 0_i32, 0.0_f64);
        let mut points = Vec::with_capacity(changes.len());
        for (moment, change) in changes {
            if users > 0 {
                hours += (moment - before) / f64::from(users);
            }
            users += change;
            before = moment;
            points.push((moment, hours));
        }
        Self(points)
    }

    /// How many hours until one of these moments.
    fn until(&self, moment: f64) -> f64 {
        let index = self.0.partition_point(|(at, _)| *at < moment);
        self.0.get(index).map_or(0.0, |(_, hours)| *hours)
    }
}

/// Those that have cost something, the dearest first; more than have a colour are one together.
fn dearest(sums: BTreeMap<String, Amounts>) -> Vec<(String, Amounts)> {
    let total = |(_, days): &(String, Amounts)| days.iter().sum::<f64>();
    let mut parts: Vec<(String, Amounts)> = sums.into_iter().filter(|it| it.1.iter().any(|day| *day > 0.0)).collect();
    parts.sort_by(|one, other| total(other).total_cmp(&total(one)));
    // One that would be alone among the others keeps its name.
    if parts.len() > MOST_PARTS + 1 {
        let rest = parts.split_off(MOST_PARTS);
        let sum = |day: usize| rest.iter().map(|(_, days)| days[day]).sum::<f64>();
        parts.push((format!("{} others", rest.len()), (0..usize::from(DAYS)).map(sum).collect()));
    }
    parts
}

/// Round amounts from nothing to at least the most.
fn lines(most: f64) -> Amounts {
    let magnitude = 10_f64.powf((most / 4.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|it| it * magnitude);
    let step = steps.into_iter().find(|it| it * 4.0 >= most).unwrap_or(most);
    (0..=4_u8).map(|it| f64::from(it) * step).take_while(|it| *it < most + step).collect()
}

fn pieces(amounts: &[f64], top: f64) -> Vec<Piece> {
    let mut below = 0.0_f64;
    let piece = |amount: &f64| {
        let (from, to) = (height_of(below, top), height_of(below + amount, top));
        below += amount;
        Piece { y: pixels(to), height: pixels(from - to) }
    };
    amounts.iter().map(piece).collect()
}

/// Where an amount is in the chart.
fn height_of(amount: f64, top: f64) -> f64 {
    BOTTOM_Y - amount / top * (BOTTOM_Y - TOP_Y)
}

fn pixels(number: f64) -> String {
    format!("{number:.1}")
}

fn money(amount: f64) -> String {
    format!("{amount:.2}")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::id::{DeploymentName, Mode, Namespace};
    use crate::reply::operation::tests::a_deployment;
    use crate::store::record::DeploymentState;

    /// Noon of the last day.
    const NOW: &str = "2027-01-30T12:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn days_ago(days: i64) -> Timestamp {
        now() - SignedDuration::from_hours(24 * days)
    }

    fn deployment(name: &str, namespace: &str, target: TargetId, created_at: Timestamp) -> Deployment {
        let (name, namespace) = (DeploymentName::parse(name).unwrap(), Namespace::parse(namespace).unwrap());
        let (mode, target_name) = (Mode::CloudLocal, "box".to_owned());
        Deployment { mode, target, target_name, name, namespace, created_at, ..a_deployment() }
    }

    fn removed(deployment: Deployment, updated_at: Timestamp) -> Deployment {
        Deployment { state: DeploymentState::Removed, updated_at, ..deployment }
    }

    fn told(deployments: &[Deployment], grouping: Grouping) -> Option<DayCosts> {
        let priced = deployments.iter().map(|deployment| {
            let until = (deployment.state == DeploymentState::Removed).then_some(deployment.updated_at);
            Priced { deployment, hour: 1.0, until }
        });
        costs(&priced.collect::<Vec<_>>(), grouping, "USD", now())
    }

    /// What each part cost on a day.
    fn amounts(costs: &DayCosts, date: &str) -> Vec<String> {
        costs.days.iter().find(|it| it.date == date).unwrap().amounts.clone()
    }

    #[test]
    fn a_day_costs_the_hours_in_which_something_was_there() {
        let here = deployment("api", "team-a", TargetId::new(), days_ago(2));

        let costs = told(&[here], Grouping::Namespace).unwrap();

        let totals: Vec<(&str, &str)> = costs.days.iter().map(|it| (it.date.as_str(), it.total.as_str())).collect();
        assert_eq!(totals.len(), 30);
        assert_eq!(totals[0], ("2027-01-01", "0.00"));
        assert_eq!(totals[27..], [("2027-01-28", "12.00"), ("2027-01-29", "24.00"), ("2027-01-30", "12.00")]);
        assert_eq!((costs.total.as_str(), costs.parts[0].name.as_str()), ("48.00", "team-a"));
    }

    #[test]
    fn a_target_is_split_between_those_that_were_on_it_at_the_same_time() {
        let target = TargetId::new();
        let alone = deployment("api", "team-a", target, days_ago(90));
        let beside = removed(deployment("web", "team-b", target, days_ago(3)), days_ago(1));

        let costs = told(&[alone, beside], Grouping::Namespace).unwrap();

        // It came and it went at noon.
        assert_eq!(amounts(&costs, "2027-01-26"), ["24.00", "0.00"]);
        assert_eq!(amounts(&costs, "2027-01-27"), ["18.00", "6.00"]);
        assert_eq!(amounts(&costs, "2027-01-28"), ["12.00", "12.00"]);
        assert_eq!(amounts(&costs, "2027-01-29"), ["18.00", "6.00"]);
        assert_eq!(costs.days[29].total, "12.00");
        assert_eq!(costs.total, "708.00");
    }

    #[test]
    fn a_name_that_was_used_again_is_one_part_and_too_many_are_the_others() {
        let again = [days_ago(1), days_ago(2)].map(|from| deployment("api", "team", TargetId::new(), from));
        let same = told(&again, Grouping::Deployment).unwrap();
        assert_eq!(same.parts.len(), 1);
        assert_eq!((same.parts[0].name.as_str(), same.total.as_str()), ("api in team on box", "72.00"));

        let many: Vec<Deployment> =
            (1..=8).map(|it| deployment(&format!("app-{it}"), "team", TargetId::new(), days_ago(it))).collect();
        let many = told(&many, Grouping::Deployment).unwrap();
        let names: Vec<&str> = many.parts.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((names.len(), names[0], names[5]), (6, "app-8 in team on box", "3 others"));
        assert_eq!(many.parts[5].total, "144.00");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(told(&[], Grouping::Target), None);
        let before = removed(deployment("api", "team", TargetId::new(), days_ago(90)), days_ago(60));
        assert_eq!(told(&[before], Grouping::Target), None);
    }

    #[test]
    fn pieces_stand_on_each_other_below_a_round_line() {
        let texts = |most: f64| lines(most).into_iter().map(money).collect::<Vec<_>>();
        assert_eq!(texts(24.0), ["0.00", "10.00", "20.00", "30.00"]);
        assert_eq!(texts(0.04), ["0.00", "0.01", "0.02", "0.03", "0.04"]);

        let pieces = pieces(&[5.0, 10.0], 20.0);

        assert_eq!((pieces[0].y.as_str(), pieces[0].height.as_str()), ("156.0", "42.0"));
        assert_eq!((pieces[1].y.as_str(), pieces[1].height.as_str()), ("72.0", "84.0"));
    }
}
