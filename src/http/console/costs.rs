//! What it all costs by list prices: per deployment, target and namespace, now and by day. From the store; AWS is not
//! asked.
//!
//! A target that several deployments share is split evenly between those in sight, so that the sum is the same whichever
//! way it is taken.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::Html;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use strum::VariantArray;

use super::render::{self, Heading};
use super::session::Viewer;
use super::text::one_of;
use crate::app::App;
use crate::app::cost::CostHistory;
use crate::http::error::ApiError;
use crate::http::list::ListQuery;
use crate::id::TargetId;
use crate::reply::view::{CostView, TargetCost};
use crate::store::record::{Cost, Deployment};
use by_day::{DayCosts, Grouping, HOURS_PER_DAY, Priced};

mod by_day;

/// What nobody has changed for so long is named.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How many rows a table has at the most: the dearest.
const MOST_ROWS: usize = 50;
/// How many deployments a list of names has at the most.
const MOST_NAMES: usize = 20;

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
    /// What it cost by day; nothing when it has cost nothing.
    by_day: Option<DayCosts>,
    /// What the days are summed up by, and could be.
    grouping: Grouping,
    groupings: &'static [Grouping],
    /// Deployments that are gone, or whose target is, and that are not in these days.
    without_price: WithoutPrice,
    /// Names of deployments whose target has no price on record.
    unknown: Top<String>,
    /// What costs something and was not changed for long.
    forgotten: Top<DeploymentRow>,
}

/// Deployments that were removed, or whose target was, with no price of it on record.
#[derive(Debug, PartialEq, Serialize)]
struct WithoutPrice {
    count: usize,
    /// The last day of one of them.
    until: Option<String>,
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

/// Shows what it costs.
pub(super) async fn show(State(app): State<App>, viewer: Viewer, query: ListQuery) -> Result<Html<String>, ApiError> {
    let groupings: Vec<&str> = Grouping::VARIANTS.iter().map(|it| it.as_str()).collect();
    let grouping: Grouping = query.read("by", &one_of(&groupings), |text| text.parse().ok())?.unwrap_or_default();
    let now = Timestamp::now();
    let history = app.cost_history(&viewer.caller, by_day::first_day(now)).await?;
    let heading = Heading { title: "Costs", place: "/costs" };
    render::page(&viewer, "costs.html", heading, page(&history, grouping, now))
}

fn page(CostHistory { present: costs, removed }: &CostHistory, grouping: Grouping, now: Timestamp) -> CostsPage {
    let mut users: BTreeMap<TargetId, u32> = BTreeMap::new();
    for it in costs {
        *users.entry(it.deployment.target).or_default() += 1;
    }
    // A deployment that is new on a target may have no price on record yet when its neighbour has.
    let known = costs.iter().filter_map(|it| Some((it.deployment.target, price(it)?)));
    let known: BTreeMap<TargetId, &Cost> = known.collect();
    let first = known.values().copied().chain(removed.iter().filter_map(price)).next();
    let currency = first.map(|it| it.currency.clone()).unwrap_or_default();
    let at_removal = removed.iter().map(|it| (it, price(it), Some(it.deployment.updated_at)));
    let priced = costs.iter().map(|it| (it, None, None)).chain(at_removal).filter_map(|(it, at_removal, until)| {
        let cost = at_removal.or_else(|| known.get(&it.deployment.target).copied())?;
        Some(Priced { deployment: &it.deployment, hour: cost.hour, until })
    });
    let priced: Vec<Priced<'_>> = priced.collect();
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
        let of_target = by_target.entry(Grouping::Target.name(deployment)).or_default();
        *of_target = of_target.plus(share.amount());
        let of_namespace = by_namespace.entry(Grouping::Namespace.name(deployment)).or_default();
        *of_namespace = of_namespace.plus(share.amount());
        shares.push(share);
    }
    shares.sort_by(|one, other| other.amount().hour.total_cmp(&one.amount().hour));
    let is_forgotten =
        |it: &&Share<'_>| it.amount().hour > 0.0 && now.duration_since(it.deployment.updated_at) > FORGOTTEN_AFTER;
    let forgotten: Vec<&Share<'_>> = shares.iter().filter(is_forgotten).collect();
    let unknown: Vec<&Share<'_>> = shares.iter().filter(|it| it.amount.is_none()).collect();
    let without_price =
        removed.iter().filter(|it| it.cost == TargetCost::Unknown && !known.contains_key(&it.deployment.target));
    let without_price: Vec<Timestamp> = without_price.map(|it| it.deployment.updated_at).collect();
    let (targets, namespaces) = (sorted(by_target), sorted(by_namespace));
    let total = known.values().fold(Amount::default(), |sum, it| sum.plus(Amount::from(*it)));
    let sum = |(name, amount): &(String, Amount)| Sum { name: name.clone(), price: Price::new(*amount, &currency) };
    let of_sum = |(_, amount): &(String, Amount)| *amount;
    CostsPage {
        total: (!known.is_empty()).then(|| Price::new(total, &currency)),
        sources: known.values().map(|it| it.source()).collect::<BTreeSet<_>>().into_iter().collect(),
        deployments: top(&shares, MOST_ROWS, &currency, Share::amount, |it| it.row(&currency)),
        by_day: by_day::costs(&priced, grouping, &currency, now),
        grouping,
        groupings: Grouping::VARIANTS,
        without_price: WithoutPrice {
            count: without_price.len(),
            until: without_price.iter().max().map(|it| it.strftime("%Y-%m-%d").to_string()),
        },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DeploymentName, Mode, Namespace};
    use crate::reply::operation::tests::a_deployment;
    use crate::store::record::DeploymentState;

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

    fn page_of(present: Vec<CostView>, removed: Vec<CostView>) -> CostsPage {
        let now = a_deployment().updated_at + SignedDuration::from_hours(31 * 24);
        page(&CostHistory { present, removed }, Grouping::Namespace, now)
    }

    fn a_page() -> CostsPage {
        let shared = TargetId::new();
        let costs = vec![
            view("api", "team-a", shared, known(0.06)),
            view("web", "team-b", shared, TargetCost::Unknown),
            view("shop", "team-b", TargetId::new(), known(0.27)),
            view("old", "team-c", TargetId::new(), TargetCost::Unknown),
            view("here", "team-c", TargetId::new(), TargetCost::Nothing),
        ];
        page_of(costs, Vec::new())
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

        let page = page_of(costs, Vec::new());

        let Top { shown, left_out, rest } = &page.deployments;
        assert_eq!((shown.len(), *left_out, shown[0].name.as_str()), (50, 950, "app-999"));
        assert_eq!(rest.as_ref().unwrap().hour, "450.775");
        assert_eq!(page.total.as_ref().unwrap().hour, "499.500");
        assert_eq!((page.namespaces.shown.len(), page.forgotten.left_out), (50, 979));
        assert!(serde_json::to_string(&page).unwrap().len() < 60_000);
    }

    #[test]
    fn of_what_was_removed_the_days_are_told_or_that_its_price_is_not_known() {
        let removed = |name: &str, cost: TargetCost| {
            let CostView { deployment, cost } = view(name, "team", TargetId::new(), cost);
            let updated_at = deployment.updated_at + SignedDuration::from_hours(10 * 24);
            CostView { deployment: Deployment { state: DeploymentState::Removed, updated_at, ..deployment }, cost }
        };
        let gone = vec![removed("api", known(0.06)), removed("old", TargetCost::Unknown)];

        let page = page_of(Vec::new(), gone);

        assert_eq!((page.total, page.by_day.is_some(), page.without_price.count), (None, true, 1));
        assert!(page.without_price.until.is_some());
    }
}
