//! What it all costs by list prices: per deployment, target and namespace. From the store; AWS is not asked.
//!
//! A target that several deployments share is split evenly between those in sight, so that the sum is the same whichever
//! way it is taken.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::Html;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::render::{self, Heading};
use super::session::Viewer;
use crate::app::App;
use crate::http::error::ApiError;
use crate::id::TargetId;
use crate::reply::view::{CostView, TargetCost};
use crate::store::record::{Cost, Deployment};

/// What nobody has changed for so long is named.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How many rows a table has at the most: the dearest.
const MOST_ROWS: usize = 50;
/// How many deployments a list of names has at the most.
const MOST_NAMES: usize = 20;
/// How many bars a chart has at the most.
const MOST_BARS: usize = 20;
/// How wide the longest bar is.
const BAR_WIDTH: f64 = 600.0;
/// How high a bar is with its text.
const BAR_HEIGHT: usize = 40;
/// Hours of a day.
const HOURS_PER_DAY: f64 = 24.0;

/// The page of costs.
#[derive(Debug, PartialEq, Serialize)]
struct CostsPage {
    /// In all; nothing when no price is known.
    total: Option<Price>,
    /// Where the prices are from.
    sources: Vec<String>,
    deployments: Top<DeploymentRow>,
    targets: Top<Sum>,
    namespaces: Top<Sum>,
    chart: Option<Chart>,
    /// Names of deployments whose target has no price on record.
    unknown: Top<String>,
    /// What costs something and was not changed for long.
    forgotten: Top<DeploymentRow>,
}

/// The first of a list, with what is not among them.
#[derive(Debug, PartialEq, Serialize)]
struct Top<T> {
    shown: Vec<T>,
    /// How many others there are.
    left_out: usize,
    /// What these cost together, as far as that is known; nothing when there are none.
    rest: Option<Price>,
}

/// What something costs, by hour and by month.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Amount {
    hour: f64,
    month: f64,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self { hour: self.hour + other.hour, month: self.month + other.month }
    }

    /// What each of so many pays of it.
    fn shared_by(self, users: u32) -> Self {
        Self { hour: self.hour / f64::from(users), month: self.month / f64::from(users) }
    }
}

impl From<&Cost> for Amount {
    fn from(cost: &Cost) -> Self {
        Self { hour: cost.hour, month: cost.month }
    }
}

/// A price, as numbers that are read.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Price {
    hour: String,
    day: String,
    month: String,
    currency: String,
}

impl Price {
    fn new(amount: Amount, currency: &str) -> Self {
        Self {
            hour: format!("{:.3}", amount.hour),
            day: format!("{:.2}", amount.hour * HOURS_PER_DAY),
            month: format!("{:.0}", amount.month),
            currency: currency.to_owned(),
        }
    }
}

/// A deployment with its share of what its target costs.
struct Share<'a> {
    deployment: &'a Deployment,
    /// Nothing where that is not known.
    amount: Option<Amount>,
    is_shared: bool,
}

impl Share<'_> {
    fn amount(&self) -> Amount {
        self.amount.unwrap_or_default()
    }

    fn row(&self, currency: &str) -> DeploymentRow {
        let deployment = self.deployment;
        DeploymentRow {
            id: deployment.id.to_string(),
            name: deployment.name.to_string(),
            namespace: deployment.namespace.to_string(),
            target: deployment.target_name.clone(),
            changed_at: deployment.updated_at.to_string(),
            price: self.amount.map(|it| Price::new(it, currency)),
            is_shared: self.is_shared,
        }
    }
}

/// A deployment, in a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct DeploymentRow {
    id: String,
    name: String,
    namespace: String,
    target: String,
    changed_at: String,
    /// Its share; nothing where that is not known.
    price: Option<Price>,
    is_shared: bool,
}

/// What all that belongs to something costs together.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Sum {
    name: String,
    price: Price,
}

/// Bars, the longest first.
#[derive(Debug, PartialEq, Serialize)]
struct Chart {
    height: usize,
    bars: Vec<Bar>,
}

/// A bar with its text above it.
#[derive(Debug, PartialEq, Serialize)]
struct Bar {
    name: String,
    price: String,
    text_y: usize,
    top: usize,
    width: String,
}

/// Shows what it costs.
pub(super) async fn show(State(app): State<App>, viewer: Viewer) -> Result<Html<String>, ApiError> {
    let costs = app.deployment_costs(&viewer.caller).await?;
    render::page(&viewer, "costs.html", Heading { title: "Costs", place: "/costs" }, page(&costs, Timestamp::now()))
}

fn page(costs: &[CostView], now: Timestamp) -> CostsPage {
    let mut users: BTreeMap<TargetId, u32> = BTreeMap::new();
    for it in costs {
        *users.entry(it.deployment.target).or_default() += 1;
    }
    // A deployment that is new on a target may have no price on record yet when its neighbour has.
    let known = costs.iter().filter_map(|it| Some((it.deployment.target, price(it)?)));
    let known: BTreeMap<TargetId, &Cost> = known.collect();
    let currency = known.values().next().map(|it| it.currency.clone()).unwrap_or_default();
    let mut shares = Vec::new();
    let mut by_target: BTreeMap<String, Amount> = BTreeMap::new();
    let mut by_namespace: BTreeMap<String, Amount> = BTreeMap::new();
    for CostView { deployment, cost } in costs {
        let users = users.get(&deployment.target).copied().unwrap_or(1);
        let amount = match known.get(&deployment.target) {
            Some(cost) => Some(Amount::from(*cost).shared_by(users)),
            None => (*cost == TargetCost::Nothing).then(Amount::default),
        };
        let share = Share { deployment, amount, is_shared: users > 1 };
        let target = format!("{} ({})", deployment.target_name, deployment.mode);
        let of_target = by_target.entry(target).or_default();
        *of_target = of_target.plus(share.amount());
        let of_namespace = by_namespace.entry(deployment.namespace.to_string()).or_default();
        *of_namespace = of_namespace.plus(share.amount());
        shares.push(share);
    }
    shares.sort_by(|one, other| other.amount().hour.total_cmp(&one.amount().hour));
    let is_forgotten =
        |it: &&Share<'_>| it.amount().hour > 0.0 && now.duration_since(it.deployment.updated_at) > FORGOTTEN_AFTER;
    let forgotten: Vec<&Share<'_>> = shares.iter().filter(is_forgotten).collect();
    let unknown: Vec<&Share<'_>> = shares.iter().filter(|it| it.amount.is_none()).collect();
    let (targets, namespaces) = (sorted(by_target), sorted(by_namespace));
    let total = known.values().fold(Amount::default(), |sum, it| sum.plus(Amount::from(*it)));
    let sum = |(name, amount): &(String, Amount)| Sum { name: name.clone(), price: Price::new(*amount, &currency) };
    let of_sum = |(_, amount): &(String, Amount)| *amount;
    CostsPage {
        total: (!known.is_empty()).then(|| Price::new(total, &currency)),
        sources: known.values().map(|it| it.source()).collect::<BTreeSet<_>>().into_iter().collect(),
        deployments: top(&shares, MOST_ROWS, &currency, Share::amount, |it| it.row(&currency)),
        chart: chart(&namespaces, &currency),
        targets: top(&targets, MOST_ROWS, &currency, of_sum, sum),
        namespaces: top(&namespaces, MOST_ROWS, &currency, of_sum, sum),
        unknown: top(&unknown, MOST_NAMES, &currency, |it| it.amount(), |it| it.deployment.name.to_string()),
        forgotten: top(&forgotten, MOST_NAMES, &currency, |it| it.amount(), |it| it.row(&currency)),
    }
}

fn price(it: &CostView) -> Option<&Cost> {
    match &it.cost {
        TargetCost::Known(cost) => Some(cost),
        TargetCost::Nothing | TargetCost::Unknown => None,
    }
}

/// What costs something, the dearest first.
fn sorted(sums: BTreeMap<String, Amount>) -> Vec<(String, Amount)> {
    let mut sums: Vec<(String, Amount)> = sums.into_iter().filter(|(_, amount)| amount.hour > 0.0).collect();
    sums.sort_by(|(_, one), (_, other)| other.hour.total_cmp(&one.hour));
    sums
}

/// The first of a list in rows, and what the others come to.
fn top<T, R>(all: &[T], most: usize, currency: &str, amount: impl Fn(&T) -> Amount, row: impl Fn(&T) -> R) -> Top<R> {
    let (shown, rest) = all.split_at(all.len().min(most));
    let left = rest.iter().map(amount).fold(Amount::default(), Amount::plus);
    Top {
        shown: shown.iter().map(row).collect(),
        left_out: rest.len(),
        rest: (!rest.is_empty()).then(|| Price::new(left, currency)),
    }
}

/// The bars of the dearest; nothing when nothing costs anything.
fn chart(sums: &[(String, Amount)], currency: &str) -> Option<Chart> {
    let most = sums.first().map(|(_, amount)| amount.hour).filter(|it| *it > 0.0)?;
    let bar = |(index, (name, amount)): (usize, &(String, Amount))| Bar {
        name: name.clone(),
        price: format!("{} {currency} per day", Price::new(*amount, currency).day),
        text_y: index * BAR_HEIGHT + 14,
        top: index * BAR_HEIGHT + 20,
        // A bar that is there is seen.
        width: format!("{:.1}", (BAR_WIDTH * amount.hour / most).max(2.0)),
    };
    let bars: Vec<Bar> = sums.iter().take(MOST_BARS).enumerate().map(bar).collect();
    Some(Chart { height: bars.len() * BAR_HEIGHT, bars })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DeploymentName, Mode, Namespace};
    use crate::reply::operation::tests::a_deployment;

    fn view(name: &str, namespace: &str, target: TargetId, cost: TargetCost) -> CostView {
        let (name, namespace) = (DeploymentName::parse(name).unwrap(), Namespace::parse(namespace).unwrap());
        let target_name = target.to_string();
        let mode = Mode::CloudLocal;
        CostView { deployment: Deployment { mode, target, target_name, name, namespace, ..a_deployment() }, cost }
    }

    fn known(hour: f64) -> TargetCost {
        let (currency, as_of) = ("USD".to_owned(), Some("2025-01".to_owned()));
        TargetCost::Known(Cost { hour, month: hour * 730.0, currency, as_of, listed_on: None })
    }

    fn a_page() -> CostsPage {
        let shared = TargetId::new();
        let costs = [
            view("api", "team-a", shared, known(0.06)),
            view("web", "team-b", shared, TargetCost::Unknown),
            view("shop", "team-b", TargetId::new(), known(0.27)),
            view("old", "team-c", TargetId::new(), TargetCost::Unknown),
            view("here", "team-c", TargetId::new(), TargetCost::Nothing),
        ];
        page(&costs, a_deployment().updated_at + SignedDuration::from_hours(31 * 24))
    }

    #[test]
    fn a_shared_target_is_split_and_paid_once() {
        let page = a_page();

        let sums = page.namespaces.shown.iter().map(|it| (it.name.as_str(), it.price.hour.as_str()));
        assert_eq!(sums.collect::<Vec<_>>(), [("team-b", "0.300"), ("team-a", "0.030")]);
        let total = page.total.unwrap();
        assert_eq!([total.hour, total.day, total.month], ["0.330", "7.92", "241"]);
        assert_eq!((page.targets.shown.len(), page.unknown.shown), (2, vec!["old".to_owned()]));
    }

    #[test]
    fn what_costs_and_was_not_changed_for_long_is_named() {
        let names: Vec<String> = a_page().forgotten.shown.into_iter().map(|it| it.name).collect();

        assert_eq!(names, ["shop", "api", "web"]);
    }

    #[test]
    fn a_thousand_deployments_are_a_short_page_that_tells_of_all() {
        let costs: Vec<CostView> = (0..1000)
            .map(|number: u32| {
                let name = format!("app-{number}");
                view(&name, &name, TargetId::new(), known(f64::from(number) / 1000.0))
            })
            .collect();

        let page = page(&costs, a_deployment().updated_at + SignedDuration::from_hours(31 * 24));

        let Top { shown, left_out, rest } = &page.deployments;
        assert_eq!((shown.len(), *left_out, shown[0].name.as_str()), (50, 950, "app-999"));
        assert_eq!(rest.as_ref().unwrap().hour, "450.775");
        assert_eq!(page.total.as_ref().unwrap().hour, "499.500");
        assert_eq!((page.namespaces.shown.len(), page.forgotten.left_out), (50, 979));
        assert!(serde_json::to_string(&page).unwrap().len() < 60_000);
    }

    #[test]
    fn the_dearest_has_the_longest_bar() {
        let chart = a_page().chart.unwrap();

        assert_eq!(chart.bars.iter().map(|it| it.width.as_str()).collect::<Vec<_>>(), ["600.0", "60.0"]);
        assert_eq!(chart.height, 80);
        assert_eq!(page(&[], Timestamp::now()).chart, None);
    }
}
