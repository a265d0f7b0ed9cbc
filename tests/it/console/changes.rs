//! What a person asks for by a form: a plan, a yes, an operation.

use super::{Browser, Page, first_key};
use crate::world::World;
use reqwest::Method;
use serde_json::{Value, json};

/// What a person types to deploy the repository `notes`.
fn typed(world: &World) -> Vec<(&'static str, String)> {
    vec![
        ("action", "deploy".to_owned()),
        ("deployment_mode", "local".to_owned()),
        ("github_repo_url", world.repository("notes")),
        ("target_namespace", "team".to_owned()),
        ("environment", "GREETING=hello\nTOKEN=it-secret-value".to_owned()),
    ]
}

async fn send(browser: &mut Browser, path: &str, page: &Page, fields: &[(&str, String)]) -> Page {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.send(path, page, &fields).await
}

async fn agree(browser: &mut Browser, plan: &Page) -> Page {
    let (draft, hash) = (plan.hidden("draft"), plan.hidden("plan"));
    browser.send("/confirm", plan, &[("draft", &draft), ("plan", &hash)]).await
}

#[tokio::test]
async fn an_application_is_deployed_and_taken_away_by_forms() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let form = browser.open("/new").await;

    let plan = send(&mut browser, "/plan", &form, &typed(&world)).await;
    assert_eq!(plan.status, 200, "{}", plan.text);
    assert!(plan.says("Nothing was done so far") && plan.says("Build the image"), "{}", plan.text);
    assert!(!plan.says("it-secret-value"), "{}", plan.text);
    assert_eq!(world.get("/v1/operations").await.body["data"], json!([]));

    let begun = agree(&mut browser, &plan).await;
    let again = agree(&mut browser, &plan).await;
    assert_eq!(begun.leads_to(), again.leads_to());
    let operation = begun.leads_to().strip_prefix("/operations/").unwrap().to_owned();
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
    let third = agree(&mut browser, &plan).await;
    assert_eq!(begun.leads_to(), third.leads_to());

    let page = browser.open(&format!("/operations/{operation}")).await;
    assert!(page.says("Build the image") && page.says("<svg") && !page.says("it-secret-value"), "{}", page.text);
    assert!(page.says("Dockerfile, line 1: the last stage has no <code>USER</code>"), "{}", page.text);
    let id = world.get("/v1/deployments").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let page = browser.open(&format!("/deployments/{id}")).await;
    assert!(page.says("GREETING") && page.says("TOKEN") && !page.says("it-secret-value"), "{}", page.text);

    let fields = ["deployment_mode", "instance_id"];
    let mut removal = vec![("action", "decommission".to_owned())];
    removal.extend(fields.map(|it| (it, page.hidden(it))));
    let plan = send(&mut browser, "/plan", &page, &removal).await;
    assert!(plan.says("Decommission appapp-notes"), "{}", plan.text);
    assert!(plan.says(&format!("href=\"/deployments/{id}\">Back")), "{}", plan.text);
    let gone = agree(&mut browser, &plan).await;
    let operation = gone.leads_to().strip_prefix("/operations/").unwrap().to_owned();
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_wrong_stands_at_its_field_and_what_was_typed_stays() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let form = browser.open("/new").await;
    let mut typed = typed(&world);
    typed.push(("scale_replicas", "many".to_owned()));

    let page = send(&mut browser, "/plan", &form, &typed).await;

    assert_eq!(page.status, 400);
    assert!(
        page.says("scale_replicas-error") && page.says("many") && page.says("/repositories/notes"),
        "{}",
        page.text
    );
    assert!(page.says("“Replicas”: <code>many</code> is not a whole number"), "{}", page.text);
    assert!(!page.says("it-secret-value"), "{}", page.text);
}

#[tokio::test]
async fn what_is_wanted_is_told_in_the_words_of_the_form() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let form = browser.open("/new").await;
    let mut typed = typed(&world);
    typed.push(("base_hosted_zone_id", "Z0ITITIT".to_owned()));

    let page = send(&mut browser, "/plan", &form, &typed).await;

    let hint = "when there is no “Cluster or instance”; derived from the repository";
    assert!(form.says(hint) && form.says("“Label below the zone”"), "{}", form.text);
    assert!(!form.says("<code>instance_id</code>") && form.says("<code>MAX_REPLICAS</code>"), "{}", form.text);
    assert!(page.says("<code>deploy</code> also needs “Label below the zone”"), "{}", page.text);
    assert!(page.says("id=\"field-app_subdomain_label-error\""), "{}", page.text);
}

#[tokio::test]
async fn a_plan_that_has_changed_meanwhile_is_shown_again() {
    let world = World::start().await;
    world.deployed().await;
    let mut browser = Browser::of(&world);
    let id = world.get("/v1/deployments").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let page = browser.open(&format!("/deployments/{id}")).await;
    let fields = ["deployment_mode", "instance_id"];
    let mut scale = vec![("action", "scale".to_owned()), ("scale_replicas", "3".to_owned())];
    scale.extend(fields.map(|it| (it, page.hidden(it))));
    let plan = send(&mut browser, "/plan", &page, &scale).await;
    let mut other = world.request_for("scale");
    other["scale_replicas"] = json!(2);
    assert_eq!(world.chat(&other).await.state(), "succeeded");

    let shown = agree(&mut browser, &plan).await;
    assert!(shown.status == 200 && shown.says("Something has changed"), "{shown:?}");

    let begun = agree(&mut browser, &shown).await;
    let operation = begun.leads_to().strip_prefix("/operations/").unwrap().to_owned();
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
}

#[tokio::test]
async fn a_viewer_is_shown_plans_and_begins_nothing() {
    let world = World::start().await;
    world.deployed().await;
    let root = first_key(&world).await;
    let made =
        world.request(Method::POST, "/v1/keys").bearer_auth(&root).json(&json!({"name": "ann", "role": "viewer"}));
    let key: Value = made.send().await.unwrap().json().await.unwrap();
    let mut browser = Browser::signed_in(&world, key["secret"].as_str().unwrap()).await;

    let page = browser.open("/").await;
    assert!(!page.says("New deployment") && !page.says("/audit"), "{}", page.text);
    let operations = browser.open("/operations").await;
    assert!(operations.says("notes") && !operations.says(">By</th>"), "{}", operations.text);
    let seen_by_root = Browser::signed_in(&world, &root).await.open("/operations").await;
    assert!(seen_by_root.says(">By</th>"), "{}", seen_by_root.text);
    for path in ["/keys", "/audit", "/doctor"] {
        assert_eq!(browser.open(path).await.status, 403, "{path}");
    }
    let fields = [("action", "decommission".to_owned()), ("deployment_mode", "local".to_owned())];
    let plan = send(&mut browser, "/plan", &page, &fields).await;
    assert!(plan.status == 200 && !plan.says("Do it"), "{}", plan.text);
}
