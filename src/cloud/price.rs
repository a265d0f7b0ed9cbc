//! What things on AWS cost, from a table that is part of the program and says of when it is.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::section::Eks;
use crate::id::Region;
use crate::store::record::Cost;

/// Hours of a month, as AWS counts.
const HOURS_PER_MONTH: f64 = 730.0;

#[derive(Debug, Deserialize)]
struct Table {
    as_of: String,
    currency: String,
    public_ipv4_hour: f64,
    eks_hour: f64,
    regions: BTreeMap<String, Prices>,
}

#[derive(Debug, Deserialize)]
struct Prices {
    gp3_gib_month: f64,
    nat_hour: f64,
    nlb_hour: f64,
    types: BTreeMap<String, f64>,
}

/// What an instance costs; `None` when the table does not know the region or the type.
///
/// # Panics
/// Never: the table is part of the program, and a test reads it.
#[must_use]
pub fn instance(region: &Region, instance_type: &str, volume_gib: u32) -> Option<Cost> {
    let table: Table = serde_json::from_str(include_str!("price/ec2.json")).expect("a test reads the table");
    let prices = table.regions.get(region.as_str())?;
    let machine = prices.types.get(instance_type)?;
    let hour = machine + table.public_ipv4_hour + prices.gp3_gib_month * f64::from(volume_gib) / HOURS_PER_MONTH;
    Some(Cost { hour, month: hour * HOURS_PER_MONTH, currency: table.currency, as_of: table.as_of })
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
}

impl<'a> From<&'a Eks> for ClusterSize<'a> {
    fn from(eks: &'a Eks) -> Self {
        Self {
            instance_type: &eks.instance_type,
            volume_gib: eks.volume_gib,
            nodes: eks.nodes,
            gateways: eks.nat.gateways(eks.zones),
            zones: eks.zones,
        }
    }
}

/// What an EKS cluster costs with its nodes, its network and one load balancer; `None` when the table does not know the
/// region or the type.
///
/// # Panics
/// Never: the table is part of the program, and a test reads it.
#[must_use]
pub fn cluster(region: &Region, size: ClusterSize<'_>) -> Option<Cost> {
    let table: Table = serde_json::from_str(include_str!("price/ec2.json")).expect("a test reads the table");
    let prices = table.regions.get(region.as_str())?;
    let volume = prices.gp3_gib_month * f64::from(size.volume_gib) / HOURS_PER_MONTH;
    let nodes = f64::from(size.nodes) * (prices.types.get(size.instance_type)? + volume);
    let of_nodes = if size.gateways == 0 { f64::from(size.nodes) } else { f64::from(size.gateways) };
    let addresses = table.public_ipv4_hour * (of_nodes + f64::from(size.zones));
    let hour = table.eks_hour + nodes + f64::from(size.gateways) * prices.nat_hour + prices.nlb_hour + addresses;
    Some(Cost { hour, month: hour * HOURS_PER_MONTH, currency: table.currency, as_of: table.as_of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_costs_its_type_its_volume_and_its_address() {
        let cost = instance(&Region::parse("eu-central-1").unwrap(), "t3.medium", 30).unwrap();

        assert_eq!(cost.to_string(), "about 0.057 USD per hour, 42 USD per month (list prices of 2025-01)");
    }

    #[test]
    fn a_cluster_costs_its_control_plane_its_nodes_its_gateways_its_balancer_and_their_addresses() {
        let size = ClusterSize { instance_type: "t3.medium", volume_gib: 20, nodes: 2, gateways: 1, zones: 2 };

        let cost = cluster(&Region::parse("us-east-1").unwrap(), size).unwrap();

        // 0.1 + 2 x (0.0416 + 20 x 0.08 / 730) + 0.045 + 0.0225 + 3 x 0.005
        assert!((cost.hour - 0.2701).abs() < 0.0001, "{cost}");
    }

    #[test]
    fn what_the_table_does_not_know_has_no_price() {
        assert_eq!(instance(&Region::parse("eu-central-1").unwrap(), "u-6tb1.metal", 30), None);
        assert_eq!(instance(&Region::parse("mars-north-1").unwrap(), "t3.medium", 30), None);
    }
}
