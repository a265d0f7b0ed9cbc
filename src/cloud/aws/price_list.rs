//! AWS' price list (`pricing:GetProducts`): what is charged on demand, by service, region and type of usage.

use aws_sdk_pricing::types::{Filter, FilterType};
use serde_json::Value;

use super::{Aws, AwsError, AwsErrorKind};

const CALL: &str = "pricing:GetProducts";
/// The currency that is asked for.
const CURRENCY: &str = "USD";

/// What is charged for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Code of the service, such as `AmazonEC2`.
    pub service: &'static str,
    /// Type of usage without the region's prefix, such as `NatGateway-Hours` (in the list `EUC1-NatGateway-Hours`).
    pub usage: String,
    /// What else tells it from others of the same usage.
    pub attributes: &'static [(&'static str, &'static str)],
}

impl Aws {
    /// The price in USD of one unit of a product in this region; `None` when the list has none.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused, AWS does not answer in time, or the answer cannot be read.
    ///
    /// # Panics
    /// Never: every filter has what it takes.
    pub async fn list_price(&self, product: &Product) -> Result<Option<f64>, AwsError> {
        let filter = |kind: FilterType, field: &str, value: &str| {
            Filter::builder().r#type(kind).field(field).value(value).build().expect("all of its fields are set")
        };
        let attributes = product.attributes.iter().map(|(field, value)| filter(FilterType::TermMatch, field, value));
        let filters = [
            filter(FilterType::TermMatch, "regionCode", self.region.as_str()),
            filter(FilterType::Contains, "usagetype", &product.usage),
        ];
        let call = self.prices.get_products().service_code(product.service).format_version("aws_v1");
        let answer = call.set_filters(Some(filters.into_iter().chain(attributes).collect())).send().await;
        let answer = answer.map_err(|error| AwsError::from_sdk(CALL, &error))?;
        for text in answer.price_list() {
            let entry: Value = serde_json::from_str(text).map_err(|error| AwsError {
                kind: AwsErrorKind::Refused,
                call: CALL,
                code: None,
                message: format!("an entry of the list cannot be read: {error}"),
            })?;
            if is_of_usage(&entry, &product.usage)
                && let Some(price) = on_demand_price(&entry)
            {
                return Ok(Some(price));
            }
        }
        Ok(None)
    }
}

/// Whether an entry is of this usage, and not of one whose name only contains it.
fn is_of_usage(entry: &Value, usage: &str) -> bool {
    let name = entry["product"]["attributes"]["usagetype"].as_str().unwrap_or_default();
    name.strip_suffix(usage).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('-'))
}

/// The price on demand of the first units. What is reserved is listed with 0.
fn on_demand_price(entry: &Value) -> Option<f64> {
    let values = |it: &Value| it.as_object().map(|it| it.values().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut dimensions = values(&entry["terms"]["OnDemand"]).into_iter().flat_map(|it| values(&it["priceDimensions"]));
    let dimension = dimensions.find(|it| it["beginRange"].as_str().is_none_or(|it| it == "0"))?;
    let price: f64 = dimension["pricePerUnit"][CURRENCY].as_str()?.parse().ok()?;
    (price.is_finite() && price > 0.0).then_some(price)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(usage: &str, prices: &[(&str, &str)]) -> Value {
        let dimensions: serde_json::Map<String, Value> = prices
            .iter()
            .map(|(begin, usd)| {
                ((*begin).to_owned(), json!({"beginRange": begin, "unit": "Hrs", "pricePerUnit": {"USD": usd}}))
            })
            .collect();
        json!({
            "product": {"productFamily": "NAT Gateway", "attributes": {"usagetype": usage}},
            "terms": {"OnDemand": {"SKU.TERM": {"priceDimensions": dimensions}}},
        })
    }

    #[test]
    fn the_usage_has_the_prefix_of_its_region_or_none() {
        let fits = |usage: &str| is_of_usage(&entry(usage, &[]), "NatGateway-Hours");

        assert!(fits("NatGateway-Hours") && fits("EUC1-NatGateway-Hours"));
        assert!(!fits("EUC1-RegionalNatGateway-Hours") && !fits("EUC1-NatGateway-Hours-Prvd"));
    }

    #[test]
    fn a_price_is_that_of_the_first_units_on_demand() {
        let of = |prices: &[(&str, &str)]| on_demand_price(&entry("x", prices));

        assert_eq!(of(&[("0", "0.0520000000"), ("100", "0.04")]), Some(0.052));
        assert_eq!(of(&[("0", "0.0000000000")]), None);
        assert_eq!(of(&[("0", "dear")]), None);
        assert_eq!(on_demand_price(&json!({"terms": {"Reserved": {}}})), None);
    }
}
