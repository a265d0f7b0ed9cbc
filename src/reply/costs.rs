//! What deployments cost -> the answer.

use std::collections::BTreeSet;

use crate::id::TargetId;
use crate::store::record::{Cost, Deployment};

use super::view::{CostView, TargetCost};

/// What deployments cost, each and together. A target that several share is paid once.
#[must_use]
pub fn render(costs: &[CostView]) -> String {
    if costs.is_empty() {
        return "Nothing is deployed, so nothing costs anything.".to_owned();
    }
    let mut counted: BTreeSet<TargetId> = BTreeSet::new();
    let mut known: Vec<&Cost> = Vec::new();
    let mut unknown: Vec<&Deployment> = Vec::new();
    let mut lines = vec!["| application | where | cost |".to_owned(), "| --- | --- | --- |".to_owned()];
    for CostView { deployment, cost } in costs {
        let is_first = counted.insert(deployment.target);
        let said = if is_first || *cost == TargetCost::Nothing {
            cost.in_words(|it| amount(it.hour, it.month, &it.currency))
        } else {
            "shares it with the one above".to_owned()
        };
        match cost {
            TargetCost::Known(cost) if is_first => known.push(cost),
            TargetCost::Unknown if is_first => unknown.push(deployment),
            TargetCost::Nothing | TargetCost::Known(_) | TargetCost::Unknown => (),
        }
        lines.push(format!("| `{}` | {}, `{}` | {said} |", deployment.name, deployment.mode, deployment.target_name));
    }
    format!("{}\n\n{}", lines.join("\n"), total(&known, &unknown))
}

fn total(known: &[&Cost], unknown: &[&Deployment]) -> String {
    let names: Vec<String> = unknown.iter().map(|it| format!("`{}`", it.name)).collect();
    let names = names.join(", ");
    match (known.first(), unknown.is_empty()) {
        (None, true) => "**In all: nothing**, beside what this machine costs.".to_owned(),
        (None, false) => format!("**What it costs in all is not known here:** there is no price for {names}."),
        (Some(first), is_all) => {
            let (hour, month) = known.iter().fold((0.0, 0.0), |sum, it| (sum.0 + it.hour, sum.1 + it.month));
            let amount = amount(hour, month, &first.currency);
            let rest = if is_all { String::new() } else { format!(" Not in it is what is not known: {names}.") };
            let sources: BTreeSet<String> = known.iter().map(|it| it.source()).collect();
            let sources = sources.into_iter().collect::<Vec<_>>().join("; ");
            format!("**In all {amount}**, by {sources}, without traffic and taxes.{rest}")
        }
    }
}

fn amount(hour: f64, month: f64, currency: &str) -> String {
    format!("about {hour:.3} {currency} per hour, {month:.0} {currency} per month")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DeploymentName, Mode};
    use crate::reply::operation::tests::a_deployment;

    fn view(name: &str, target: TargetId, cost: TargetCost) -> CostView {
        let name = DeploymentName::parse(name).unwrap();
        CostView { deployment: Deployment { name, target, mode: Mode::CloudLocal, ..a_deployment() }, cost }
    }

    fn known(hour: f64) -> TargetCost {
        let (currency, as_of) = ("USD".to_owned(), Some("2025-01".to_owned()));
        TargetCost::Known(Cost { hour, month: hour * 730.0, currency, as_of, listed_on: None })
    }

    #[test]
    fn a_target_is_paid_once_and_what_is_not_known_is_named() {
        let shared = TargetId::new();
        let costs = [
            view("api", shared, known(0.057)),
            view("web", shared, known(0.057)),
            view("shop", TargetId::new(), known(0.27)),
            view("old", TargetId::new(), TargetCost::Unknown),
        ];

        insta::assert_snapshot!(render(&costs), @r"
        | application | where | cost |
        | --- | --- | --- |
        | `api` | cloud-local, `on-demand-infra` | about 0.057 USD per hour, 42 USD per month |
        | `web` | cloud-local, `on-demand-infra` | shares it with the one above |
        | `shop` | cloud-local, `on-demand-infra` | about 0.270 USD per hour, 197 USD per month |
        | `old` | cloud-local, `on-demand-infra` | not known here |

        **In all about 0.327 USD per hour, 239 USD per month**, by list prices of 2025-01, without traffic and taxes. Not in it is what is not known: `old`.
        ");
    }

    #[test]
    fn what_runs_here_costs_nothing() {
        let text = render(&[view("api", TargetId::new(), TargetCost::Nothing)]);

        assert!(text.ends_with("**In all: nothing**, beside what this machine costs."), "{text}");
        assert!(render(&[]).starts_with("Nothing is deployed"));
        assert!(render(&[view("api", TargetId::new(), TargetCost::Unknown)]).contains("there is no price for `api`"));
    }
}
