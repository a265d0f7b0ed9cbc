//! What things on AWS cost, from a table that is part of the program and says of when it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Region;

/// Hours of a month, as AWS counts.
const HOURS_PER_MONTH: f64 = 730.0;

#[derive(Debug, Deserialize)]
struct Table {
    as_of: String,
    currency: String,
    public_ipv4_hour: f64,
    regions: BTreeMap<String, Prices>,
}

#[derive(Debug, Deserialize)]
struct Prices {
    gp3_gib_month: f64,
    types: BTreeMap<String, f64>,
}

/// What an instance costs with its volume and its address, without traffic and taxes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Per hour.
    pub hour: f64,
    /// Per month of 730 hours.
    pub month: f64,
    /// Currency.
    pub currency: String,
    /// Month of the prices, such as `2025-01`.
    pub as_of: String,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hour, month, currency, as_of } = self;
        write!(f, "about {hour:.3} {currency} per hour, {month:.0} {currency} per month (list prices of {as_of})")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_costs_its_type_its_volume_and_its_address() {
        let cost = instance(&Region::parse("eu-central-1").unwrap(), "t3.medium", 30).unwrap();

        assert_eq!(cost.to_string(), "about 0.057 USD per hour, 42 USD per month (list prices of 2025-01)");
    }

    #[test]
    fn what_the_table_does_not_know_has_no_price() {
        assert_eq!(instance(&Region::parse("eu-central-1").unwrap(), "u-6tb1.metal", 30), None);
        assert_eq!(instance(&Region::parse("mars-north-1").unwrap(), "t3.medium", 30), None);
    }
}
