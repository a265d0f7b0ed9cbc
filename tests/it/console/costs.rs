//! What it costs, now and by day, and who is told.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Browser, another_key, first_key};
use crate::world::World;

fn days_ago(days: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(24 * days)
}

/// The row of a day on which one thing cost so much.
fn row(days: i64, amount: &str) -> String {
    let date = days_ago(days).strftime("%Y-%m-%d");
    let cell = format!("<td class=\"number\">{amount}</td>");
    format!("<tr><th scope=\"row\" class=\"number\">{date}</th>{cell}{cell}</tr>")
}

/// An instance that costs 0.0569 USD per hour, which was asked for ten days ago.
async fn with_instance() -> World {
    let world = World::on_instance().await;
    world.deployed().await;
    world.change(&format!("UPDATE deployments SET created_ms = {}", days_ago(10).as_millisecond())).await;
    world
}

/// The same, removed five days ago.
async fn with_removed_instance() -> World {
    let world = with_instance().await;
    let removed = world.chat(&world.request_for("decommission")).await;
    assert_eq!(removed.state(), "succeeded", "{}", removed.text());
    world.change(&format!("UPDATE deployments SET updated_ms = {}", days_ago(5).as_millisecond())).await;
    world
}

#[tokio::test]
async fn each_of_the_last_days_is_told_of_what_is_there() {
    let world = with_instance().await;
    let mut browser = Browser::of(&world);

    let page = browser.open("/costs").await;

    assert!(page.says("<strong>1.37 USD per day</strong>"), "{}", page.text);
    assert!(page.says(&row(3, "1.37")) && page.says(&row(20, "0.00")), "{}", page.text);
    page.runs_nothing_foreign();
    assert!(page.says("class=\"series\"") && page.says("<li data-series=\"1\">team: "), "{}", page.text);
    for (grouping, name) in [("target", "box (cloud-local): "), ("deployment", "notes in team on box: ")] {
        let page = browser.open(&format!("/costs?by={grouping}")).await;

        assert!(page.says(&format!("<li data-series=\"1\">{name}")), "{grouping}: {}", page.text);
        assert!(page.says(&row(3, "1.37")), "{grouping}: {}", page.text);
    }
    assert_eq!(browser.open("/costs?by=moon").await.status, 400);
}

#[tokio::test]
async fn what_was_removed_is_told_of_until_it_went() {
    let world = with_removed_instance().await;
    let mut browser = Browser::of(&world);

    let page = browser.open("/costs").await;

    assert!(page.says("Nothing is deployed, so nothing costs anything"), "{}", page.text);
    assert!(page.says(&row(7, "1.37")) && page.says(&row(3, "0.00")), "{}", page.text);
    let list = browser.open("/?state=removed").await;
    assert!(list.says("<td class=\"number\">nothing</td>"), "{}", list.text);
}

#[tokio::test]
async fn what_has_lost_its_target_is_told_of_until_then() {
    let world = with_instance().await;
    world.change("UPDATE targets SET instance = NULL").await;
    let failed = format!("UPDATE deployments SET state = 'failed', updated_ms = {}", days_ago(5).as_millisecond());
    world.change(&failed).await;

    let page = Browser::of(&world).open("/costs").await;

    assert!(page.says(&row(7, "1.37")) && page.says(&row(3, "0.00")), "{}", page.text);
    assert!(!page.says("Not included"), "{}", page.text);
}

#[tokio::test]
async fn days_that_lack_what_has_no_price_on_record_are_said_to() {
    let world = with_removed_instance().await;
    world.change("UPDATE deployments SET facts = '{}'").await;

    let page = Browser::of(&world).open("/costs").await;

    let date = days_ago(5).strftime("%Y-%m-%d");
    let lacking = format!("Not included: 1 removed deployment without a price on record (removed on {date})");
    assert!(page.says(&lacking) && !page.says("By day"), "{}", page.text);
}

#[tokio::test]
async fn nobody_is_told_what_others_have_paid() {
    let world = with_removed_instance().await;
    let root = first_key(&world).await;
    let wanted = json!({"name": "ann", "role": "viewer", "rights": [{"mode": "cloud-local", "namespace": "other"}]});
    let ann = another_key(&world, &root, wanted).await;

    let page = Browser::signed_in(&world, &ann).await.open("/costs").await;

    assert_eq!(page.status, 200, "{page:?}");
    assert!(!page.says("By day") && !page.says("Not included"), "{}", page.text);
}
