//! What things on AWS cost: by AWS' price list, which is asked once a day, else by a table that is part of the program.
//!
//! A price never holds anything up, and none is an error: what is not known is said to be unknown.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Zoned;
use serde::Deserialize;

use crate::cloud::aws::Aws;
use crate::cloud::aws::price_list::Product;
use crate::config::section::Eks;
use crate::id::Region;
use crate::store::record::Cost;

/// Hours of a month, as AWS counts.
const HOURS_PER_MONTH: f64 = 730.0;
/// How long a price of AWS' list holds.
const LISTED_FOR: Duration = Duration::from_hours(24);
/// What tells a machine with Linux that is one's own for as long as it runs from others of its type.
const LINUX: &[(&str, &str)] =
    &[("operatingSystem", "Linux"), ("tenancy", "Shared"), ("preInstalledSw", "NA"), ("capacitystatus", "Used")];

/// The prices that were asked of AWS. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Prices(Arc<Mutex<HashMap<(Region, Item), Listed>>>);

/// A price of AWS' list.
#[derive(Debug, Clone)]
struct Listed {
    price: f64,
    /// The day on which it was asked.
    date: String,
    asked: Instant,
}

/// What is charged for, each by the hour but for a volume's GiB, which is by the month.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Item {
    Machine(String),
    VolumeGib,
    PublicAddress,
    ControlPlane,
    /// Comes on top of the control plane, for a version of Kubernetes that is no longer in standard support.
    ExtendedSupport,
    NatGateway,
    LoadBalancer,
}

/// What an EKS cluster is made of, as far as it costs by the hour.
#[derive(Debug, Clone, Copy)]
pub struct ClusterSize<'a> {
    /// Type of the nodes.
    pub instance_type: &'a str,
    /// Size of a node's volume.
    pub volume_gib: u32,
    /// How many nodes.
    pub nodes: u16,
    /// How many NAT gateways; without any, each node has a public address.
    pub gateways: u8,
    /// Availability zones, in each of which the load balancer has an address.
    pub zones: u8,
    /// Whether its version of Kubernetes is in extended support.
    pub is_in_extended_support: bool,
}

impl<'a> From<&'a Eks> for ClusterSize<'a> {
    fn from(eks: &'a Eks) -> Self {
        Self {
            instance_type: &eks.instance_type,
            volume_gib: eks.volume_gib,
            nodes: eks.nodes,
            gateways: eks.nat.gateways(eks.zones),
            zones: eks.zones,
            is_in_extended_support: false,
        }
    }
}

impl Prices {
    /// What an instance costs; `None` when neither AWS, where it can be asked, nor the table knows it.
    pub async fn instance(
        &self,
        aws: Option<&Aws>,
        region: &Region,
        instance_type: &str,
        volume_gib: u32,
    ) -> Option<Cost> {
        let items = [
            (Item::Machine(instance_type.to_owned()), 1.0),
            (Item::VolumeGib, f64::from(volume_gib)),
            (Item::PublicAddress, 1.0),
        ];
        self.cost(aws, region, &items).await
    }

    /// What an EKS cluster costs with its nodes, its network and one load balancer; `None` when neither AWS, where it can be
    /// asked, nor the table knows it.
    pub async fn cluster(&self, aws: Option<&Aws>, region: &Region, size: ClusterSize<'_>) -> Option<Cost> {
        let (nodes, gateways) = (f64::from(size.nodes), f64::from(size.gateways));
        let addresses = f64::from(size.zones) + if size.gateways == 0 { nodes } else { gateways };
        let mut items = vec![
            (Item::ControlPlane, 1.0),
            (Item::Machine(size.instance_type.to_owned()), nodes),
            (Item::VolumeGib, nodes * f64::from(size.volume_gib)),
            (Item::LoadBalancer, 1.0),
            (Item::PublicAddress, addresses),
        ];
        if size.gateways > 0 {
            items.push((Item::NatGateway, gateways));
        }
        if size.is_in_extended_support {
            items.push((Item::ExtendedSupport, 1.0));
        }
        self.cost(aws, region, &items).await
    }

    /// What so many of these cost together. All of them are asked at the same time.
    async fn cost(&self, aws: Option<&Aws>, region: &Region, items: &[(Item, f64)]) -> Option<Cost> {
        let table = Table::read();
        let listed = join_all(items.iter().map(|(item, _)| self.listed(aws, region, item))).await;
        let mut cost = Cost { hour: 0.0, month: 0.0, currency: table.currency.clone(), as_of: None, listed_on: None };
        for ((item, count), listed) in items.iter().zip(listed) {
            let price = if let Some(Listed { price, date, .. }) = listed {
                let oldest = cost.listed_on.take().map_or_else(|| date.clone(), |other| other.min(date.clone()));
                cost.listed_on = Some(oldest);
                price
            } else {
                cost.as_of = Some(table.as_of.clone());
                table.price(region, item)?
            };
            cost.hour += price * count / if *item == Item::VolumeGib { HOURS_PER_MONTH } else { 1.0 };
        }
        cost.month = cost.hour * HOURS_PER_MONTH;
        Some(cost)
    }

    /// The price of AWS' list; `None` when it is not to be had.
    async fn listed(&self, aws: Option<&Aws>, region: &Region, item: &Item) -> Option<Listed> {
        let key = (region.clone(), item.clone());
        let known = self.0.lock().expect("nobody panics while holding this lock").get(&key).cloned();
        if let Some(known) = known.filter(|it| it.asked.elapsed() < LISTED_FOR) {
            return Some(known);
        }
        match aws?.list_price(&item.product()).await {
            Ok(Some(price)) => {
                let listed = Listed { price, date: Zoned::now().date().to_string(), asked: Instant::now() };
                self.0.lock().expect("nobody panics while holding this lock").insert(key, listed.clone());
                Some(listed)
            }
            Ok(None) => {
                tracing::warn!(?item, %region, "AWS' price list does not tell a price; that of the program's table is used");
                None
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, ?item, %region, "AWS does not tell a price; that of the program's table is used");
                None
            }
        }
    }
}

impl Item {
    fn product(&self) -> Product {
        let of = |service, usage: &str, attributes| Product { service, usage: usage.to_owned(), attributes };
        match self {
            Self::Machine(instance_type) => of("AmazonEC2", &format!("BoxUsage:{instance_type}"), LINUX),
            Self::VolumeGib => of("AmazonEC2", "EBS:VolumeUsage.gp3", &[]),
            Self::PublicAddress => of("AmazonVPC", "PublicIPv4:InUseAddress", &[]),
            Self::ControlPlane => of("AmazonEKS", "AmazonEKS-Hours:perCluster", &[]),
            Self::ExtendedSupport => of("AmazonEKS", "AmazonEKS-Hours:extendedSupport", &[]),
            Self::NatGateway => of("AmazonEC2", "NatGateway-Hours", &[]),
            Self::LoadBalancer => of("AWSELB", "LoadBalancerUsage", &[("operation", "LoadBalancing:Network")]),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Table {
    as_of: String,
    currency: String,
    public_ipv4_hour: f64,
    eks_hour: f64,
    eks_extended_support_hour: f64,
    regions: BTreeMap<String, Regional>,
}

#[derive(Debug, Deserialize)]
struct Regional {
    gp3_gib_month: f64,
    nat_hour: f64,
    nlb_hour: f64,
    types: BTreeMap<String, f64>,
}

impl Table {
    fn read() -> Self {
        serde_json::from_str(include_str!("price/ec2.json")).expect("a test reads the table")
    }

    /// `None` when it does not know the region or the type.
    fn price(&self, region: &Region, item: &Item) -> Option<f64> {
        let regional = self.regions.get(region.as_str())?;
        match item {
            Item::Machine(instance_type) => regional.types.get(instance_type).copied(),
            Item::VolumeGib => Some(regional.gp3_gib_month),
            Item::PublicAddress => Some(self.public_ipv4_hour),
            Item::ControlPlane => Some(self.eks_hour),
            Item::ExtendedSupport => Some(self.eks_extended_support_hour),
            Item::NatGateway => Some(regional.nat_hour),
            Item::LoadBalancer => Some(regional.nlb_hour),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> Region {
        Region::parse(name).unwrap()
    }

    const SIZE: ClusterSize<'_> = ClusterSize {
        instance_type: "t3.medium",
        volume_gib: 20,
        nodes: 2,
        gateways: 1,
        zones: 2,
        is_in_extended_support: false,
    };

    #[tokio::test]
    async fn an_instance_costs_its_type_its_volume_and_its_address() {
        let cost = Prices::default().instance(None, &region("eu-central-1"), "t3.medium", 30).await.unwrap();

        assert_eq!(cost.to_string(), "about 0.057 USD per hour, 42 USD per month (list prices of 2025-01)");
    }

    #[tokio::test]
    async fn a_cluster_costs_its_control_plane_its_nodes_its_gateways_its_balancer_and_their_addresses() {
        let cost = Prices::default().cluster(None, &region("us-east-1"), SIZE).await.unwrap();

        // 0.1 + 2 x (0.0416 + 20 x 0.08 / 730) + 0.045 + 0.0225 + 3 x 0.005
        assert!((cost.hour - 0.2701).abs() < 0.0001, "{cost}");
    }

    #[tokio::test]
    async fn extended_support_costs_half_a_dollar_more() {
        let (prices, region) = (Prices::default(), region("us-east-1"));
        let standard = prices.cluster(None, &region, SIZE).await.unwrap();

        let extended = ClusterSize { is_in_extended_support: true, ..SIZE };
        let extended = prices.cluster(None, &region, extended).await.unwrap();

        assert!((extended.hour - standard.hour - 0.5).abs() < 1e-9, "{extended}");
    }

    #[tokio::test]
    async fn what_the_table_does_not_know_has_no_price() {
        let prices = Prices::default();

        assert_eq!(prices.instance(None, &region("eu-central-1"), "u-6tb1.metal", 30).await, None);
        assert_eq!(prices.instance(None, &region("mars-north-1"), "t3.medium", 30).await, None);
    }

    #[tokio::test]
    async fn a_price_that_was_asked_holds_for_a_day_and_a_cost_says_where_its_prices_are_from() {
        let prices = Prices::default();
        let known = |age: Duration| Listed {
            price: 1.0,
            date: "2026-11-30".to_owned(),
            asked: Instant::now().checked_sub(age).unwrap(),
        };
        let key = |item: Item| (region("eu-central-1"), item);
        let set = |item: Item, age: Duration| prices.0.lock().unwrap().insert(key(item), known(age));
        set(Item::PublicAddress, Duration::ZERO);
        set(Item::VolumeGib, Duration::ZERO);
        let in_part = prices.instance(None, &region("eu-central-1"), "t3.medium", 730).await.unwrap();
        set(Item::Machine("u-6tb1.metal".to_owned()), Duration::ZERO);
        let all = prices.instance(None, &region("eu-central-1"), "u-6tb1.metal", 730).await.unwrap();
        set(Item::Machine("u-6tb1.metal".to_owned()), LISTED_FOR);
        let too_old = prices.instance(None, &region("eu-central-1"), "u-6tb1.metal", 730).await;

        assert_eq!(
            in_part.to_string(),
            "about 2.048 USD per hour, 1495 USD per month (AWS' price list of 2026-11-30, in part list prices of 2025-01)"
        );
        assert_eq!(all.to_string(), "about 3.000 USD per hour, 2190 USD per month (AWS' price list of 2026-11-30)");
        assert_eq!(too_old, None);
    }
}
