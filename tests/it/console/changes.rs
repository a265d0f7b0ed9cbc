//! What a person asks for by a form: a plan, a yes, an operation.

use super::{Browser, Page, another_key, first_key};
use crate::world::World;
use serde_json::json;

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

/// Sends a form that asks for a plan, and follows to the plan.
async fn planned(browser: &mut Browser, page: &Page, fields: &[(&str, String)]) -> Page {
    let sent = send(browser, "/plan", page, fields).await;
    let plan = browser.open(sent.leads_to()).await;
    assert_eq!(plan.status, 200, "{}", plan.text);
    plan
}

/// Asks for the plan of an action on the only deployment, from its page.
async fn planned_on_it(world: &World, browser: &mut Browser, fields: &[(&str, &str)]) -> Page {
    let id = world.get("/v1/deployments").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let page = browser.open(&format!("/deployments/{id}")).await;
    let mut all: Vec<(&str, String)> = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    all.extend(["deployment_mode", "instance_id"].map(|it| (it, page.hidden(it))));
    planned(browser, &page, &all).await
}

/// Says yes to a plan, and waits until it is done.
async fn done(world: &World, browser: &mut Browser, plan: &Page) {
    let begun = agree(browser, plan).await;
    let operation = begun.leads_to().strip_prefix("/operations/").unwrap();
    assert_eq!(world.ended(operation).await["state"], "succeeded");
}

/// A row of a plan.
fn row(name: &str, value: &str) -> String {
    format!("<dt>{name}</dt><dd>{value}</dd>")
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

    let plan = planned(&mut browser, &form, &typed(&world)).await;
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

    let plan = planned_on_it(&world, &mut browser, &[("action", "decommission")]).await;
    assert!(plan.says("Decommission appapp-notes"), "{}", plan.text);
    assert!(plan.says(&format!("href=\"/deployments/{id}\">Back")), "{}", plan.text);
    done(&world, &mut browser, &plan).await;
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
    assert!(!form.says("<code>instance_id</code>") && form.says("from 0 to 50;"), "{}", form.text);
    assert!(!form.says("MAX_REPLICAS") && !form.says("STOP_GRACE_S"), "{}", form.text);
    assert!(page.says("<code>deploy</code> also needs “Label below the zone”"), "{}", page.text);
    assert!(page.says("id=\"field-app_subdomain_label-error\""), "{}", page.text);
}

#[tokio::test]
async fn a_plan_that_has_changed_meanwhile_is_shown_again() {
    let world = World::start().await;
    world.deployed().await;
    let mut browser = Browser::of(&world);
    let plan = planned_on_it(&world, &mut browser, &[("action", "scale"), ("scale_replicas", "3")]).await;
    assert!(plan.says(&row("Replicas", "from 1 to 3")) && !plan.says("Something has changed"), "{}", plan.text);
    let mut other = world.request_for("scale");
    other["scale_replicas"] = json!(2);
    assert_eq!(world.chat(&other).await.state(), "succeeded");

    let sent = agree(&mut browser, &plan).await;
    let shown = browser.open(sent.leads_to()).await;
    assert!(shown.says("Something has changed") && shown.says(&row("Replicas", "from 2 to 3")), "{shown:?}");

    done(&world, &mut browser, &shown).await;
}

#[tokio::test]
async fn a_viewer_is_shown_plans_and_begins_nothing() {
    let world = World::start().await;
    world.deployed().await;
    let root = first_key(&world).await;
    let ann = another_key(&world, &root, json!({"name": "ann", "role": "viewer"})).await;
    let mut browser = Browser::signed_in(&world, &ann).await;

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
    let plan = planned(&mut browser, &page, &fields).await;
    assert!(!plan.says("Do it"), "{}", plan.text);
}

#[tokio::test]
async fn a_plan_says_what_the_yes_is_for() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let form = browser.open("/new").await;
    let mut first = typed(&world);
    first.push(("scale_replicas", "2".to_owned()));

    let deploy = planned(&mut browser, &form, &first).await;
    for (name, value) in [
        ("Branch, tag or commit", "the default branch"),
        ("Replicas", "2"),
        ("Environment variables", "GREETING, TOKEN"),
        ("Costs", "nothing: it runs on the machine of this server"),
    ] {
        assert!(deploy.says(&row(name, value)), "{name}: {}", deploy.text);
    }
    assert!(deploy.says("<dt>Repository</dt><dd>file://") && deploy.says(", the newest now"), "{}", deploy.text);
    assert!(deploy.says(&row("Port", "8080")), "{}", deploy.text);
    done(&world, &mut browser, &deploy).await;
    world.commit("notes", "new.txt", "new").await;
    let redeploy = planned_on_it(&world, &mut browser, &[("action", "redeploy")]).await;
    assert!(redeploy.says(&row("Environment variables", "as now: GREETING, TOKEN")), "{}", redeploy.text);
    done(&world, &mut browser, &redeploy).await;

    let back = planned_on_it(&world, &mut browser, &[("action", "rollback"), ("rollback_to", "1")]).await;
    assert!(back.says("Roll back ") && !back.says("Rollback"), "{}", back.text);
    assert!(back.says("<dt>Version</dt><dd>1, commit ") && back.says("; 2 runs now"), "{}", back.text);
    assert!(back.says(&row("Replicas", "2, as now")), "{}", back.text);
    assert!(back.says(&row("Environment variables", "those of its version: GREETING, TOKEN")), "{}", back.text);

    let away = planned_on_it(&world, &mut browser, &[("action", "decommission")]).await;
    assert!(away.says("<dt>Goes with it</dt><dd>nothing; the cluster "), "{}", away.text);
    let with_cluster = [("action", "decommission"), ("delete_cluster", "true")];
    let away = planned_on_it(&world, &mut browser, &with_cluster).await;
    assert!(away.says("<dt>Goes with it</dt><dd>the kind cluster "), "{}", away.text);
}

#[tokio::test]
async fn a_plan_has_an_address_until_it_is_used_for_whoever_asked_for_it() {
    let world = World::start().await;
    let root = first_key(&world).await;
    let bob = another_key(&world, &root, json!({"name": "bob", "role": "deployer"})).await;
    let mut browser = Browser::signed_in(&world, &root).await;
    let form = browser.open("/new").await;

    let sent = send(&mut browser, "/plan", &form, &typed(&world)).await;
    let place = sent.leads_to().to_owned();
    assert!(place.starts_with("/plan/") && !place.contains("it-secret-value"), "{place}");
    let plan = browser.open(&place).await;
    let again = browser.open(&place).await;
    assert_eq!(plan.hidden("plan"), again.hidden("plan"));
    let of_bob = Browser::signed_in(&world, &bob).await.open(&place).await;
    assert!(of_bob.status == 404 && of_bob.says("not there any more") && of_bob.says("/new"), "{of_bob:?}");

    let begun = agree(&mut browser, &plan).await;
    let used = browser.open(&place).await;
    assert!(used.status == 200 && used.says("was carried out") && used.says(begun.leads_to()), "{used:?}");
    assert!(!used.says("Do it"), "{}", used.text);
    let gone = browser.open("/plan/nothing").await;
    assert!(gone.status == 404 && gone.says("A plan is kept for an hour"), "{gone:?}");
    let nothing = browser.send("/confirm", &plan, &[("draft", "nothing"), ("plan", &plan.hidden("plan"))]).await;
    assert!(nothing.status == 404 && nothing.says("A plan is kept for an hour"), "{nothing:?}");
}

#[tokio::test]
async fn a_plan_leads_back_to_the_form_with_everything_but_the_secrets() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let form = browser.open("/new").await;
    let plan = planned(&mut browser, &form, &typed(&world)).await;
    let place = format!("/new?draft={}", plan.hidden("draft"));
    assert!(plan.says(&format!("href=\"{place}\">Change what was typed")), "{}", plan.text);

    let form = browser.open(&place).await;

    assert!(form.says("/repositories/notes") && form.says("value=\"team\""), "{}", form.text);
    assert!(form.says("Secrets are not sent back") && !form.says("it-secret-value"), "{}", form.text);
    assert!(form.says("href=\"#field-environment\">Environment variables"), "{}", form.text);
    let later = browser.open("/new?draft=nothing").await;
    assert!(later.status == 200 && later.says("is not kept any more"), "{}", later.text);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_on_top_and_leads_to_its_field() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let form = browser.open("/new").await;
    let wrong = [
        ("action", "deploy"),
        ("deployment_mode", "local"),
        ("target_namespace", "Team!"),
        ("scale_replicas", "many"),
        ("environment", "no variable"),
    ];
    let wrong = wrong.map(|(name, value)| (name, value.to_owned()));

    let page = send(&mut browser, "/plan", &form, &wrong).await;

    assert_eq!(page.status, 400);
    assert!(page.says("role=\"alert\" tabindex=\"-1\" autofocus"), "{}", page.text);
    for name in ["github_repo_url", "target_namespace", "scale_replicas", "environment"] {
        assert!(page.says(&format!("<a href=\"#field-{name}\">")), "{name}: {}", page.text);
        assert!(page.says(&format!("id=\"field-{name}-error\"")), "{name}: {}", page.text);
    }
    assert!(page.says("“Repository” is needed.") && page.says("Error: New deployment"), "{}", page.text);
}

#[tokio::test]
async fn a_new_deployment_that_is_there_already_is_a_change_and_is_called_so() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let form = browser.open("/new").await;
    assert!(form.says("without it the one that the deployment has"), "{}", form.text);
    let first = planned(&mut browser, &form, &typed(&world)).await;
    assert!(first.says("<h1>Deploy ") && !first.says("is there already"), "{}", first.text);
    done(&world, &mut browser, &first).await;

    let again = planned(&mut browser, &form, &typed(&world)).await;

    assert!(again.says("<h1>Change ") && again.says("</code> is there already: this changes it."), "{}", again.text);
    assert!(again.says(&row("Environment variables", "GREETING, TOKEN (new values)")), "{}", again.text);
    let redeploy = planned_on_it(&world, &mut browser, &[("action", "redeploy")]).await;
    assert!(redeploy.says("<h1>Redeploy ") && !redeploy.says("is there already"), "{}", redeploy.text);
}

#[tokio::test]
async fn a_plan_that_would_fail_leads_back_first_of_all() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let form = browser.open("/new").await;
    let mut nowhere = typed(&world);
    nowhere.push(("git_ref", "nowhere".to_owned()));

    let plan = planned(&mut browser, &form, &nowhere).await;

    assert!(plan.says("<p class=\"failure-message\">Nothing could be built of the repository: "), "{}", plan.text);
    assert!(plan.says("has no branch, tag or commit nowhere") && !plan.says("was looked at"), "{}", plan.text);
    let back = format!("<a class=\"button primary\" href=\"/new?draft={}\">Change", plan.hidden("draft"));
    assert!(plan.says(&back), "{}", plan.text);
    assert!(plan.says("<button class=\"button\">Do it anyway</button>") && !plan.says(">Do it<"), "{}", plan.text);
    let sound = planned(&mut browser, &form, &typed(&world)).await;
    assert!(sound.says(">Do it<") && !sound.says("Nothing could be built"), "{}", sound.text);
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_change_is_told_by_what_it_is() {
    let world = World::start().await;
    let answer = world.deployed().await;
    let mut browser = Browser::of(&world);
    let id = answer.body["deployment"]["id"].as_str().unwrap().to_owned();
    let page = browser.open(&format!("/deployments/{id}")).await;
    let restart = ["deployment_mode", "instance_id"].map(|it| (it, page.hidden(it)));
    let restart = [restart.to_vec(), vec![("action", "restart".to_owned())]].concat();
    let mut none = world.request_for("scale");
    none["scale_replicas"] = json!(0);
    assert_eq!(world.chat(&none).await.state(), "succeeded");

    let refused = send(&mut browser, "/plan", &page, &restart).await;

    assert!(refused.status == 409 && refused.says("nothing to restart"), "{refused:?}");
    assert!(refused.says("<h1>Could not restart notes</h1>"), "{}", refused.text);
    assert!(refused.says("does not go away by itself") && !refused.says("at work"), "{}", refused.text);
}

#[tokio::test]
async fn what_is_busy_leads_to_the_operation_that_is_at_work() {
    let world = World::start().await;
    world.failpoints.hold("kind-create");
    let mut browser = Browser::of(&world);
    let form = browser.open("/new").await;
    let plan = planned(&mut browser, &form, &typed(&world)).await;
    let begun = agree(&mut browser, &plan).await;

    let busy = send(&mut browser, "/plan", &form, &typed(&world)).await;

    assert!(busy.status == 409 && busy.says("Something else is at work on it"), "{busy:?}");
    assert!(busy.says(begun.leads_to()) && !busy.says("by itself"), "{}", busy.text);
    world.failpoints.release("kind-create");
}
