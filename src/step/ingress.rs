//! The ingress controller of a cluster and the load balancer in front of it.
//!
//! TLS ends at the load balancer, which passes requests on without saying how they came. So the Service leads port 443
//! to the controller's port 80, and port 80 to a server beside it that sends people to https; only requests for the load
//! balancer's own name, which no certificate can be for, are let through there.

use std::time::Duration;

use serde_json::{Value, json};

use super::await_certificate::AwaitCertificate;
use super::context::StepContext;
use super::error::StepError;
use crate::cloud::aws::load_balancer::NetworkLoadBalancer;
use crate::cloud::aws::{Aws, TARGET_TAG};
use crate::cloud::kube::Kube;
use crate::cloud::kube::load_balancer_service::LoadBalancerService;
use crate::id::short_hash;
use crate::store::record::EksCluster;
use crate::tool::connection::Connection;
use crate::tool::helm::Helm;

/// Name of the release.
pub(super) const RELEASE: &str = "nginx-ingress";
/// Its namespace, in which nothing else lives.
pub(super) const NAMESPACE: &str = "on-demand-infra-ingress";
/// Annotation of the controller's Service with a hash of the values that it was installed with.
const VALUES_HASH_ANNOTATION: &str = "on-demand-infra/values";
/// How the annotations for a load balancer begin ("Service annotations" of the AWS cloud provider).
const ANNOTATION_PREFIX: &str = "service.beta.kubernetes.io/aws-load-balancer-";
/// Port of the controller's server that sends people to https.
const REDIRECT_PORT: u16 = 8080;
/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The load balancer in front of a cluster, as it is.
#[derive(Debug, Default)]
pub(super) struct IngressLoadBalancer {
    /// The load balancer.
    pub(super) balancer: Option<NetworkLoadBalancer>,
    /// The certificate that its Service names.
    pub(super) certificate: Option<String>,
    /// Its listener that ends TLS.
    pub(super) listener: Option<String>,
    /// The certificates that the listener serves beside that.
    pub(super) additional_certificates: Vec<String>,
}

impl IngressLoadBalancer {
    pub(super) async fn describe(aws: &Aws, service: &LoadBalancerService) -> Result<Self, StepError> {
        let mut front = Self {
            certificate: service.annotations.get(&format!("{ANNOTATION_PREFIX}ssl-cert")).cloned(),
            ..Self::default()
        };
        let Some(hostname) = &service.hostname else { return Ok(front) };
        front.balancer = aws.load_balancer(hostname).await?;
        let Some(balancer) = &front.balancer else { return Ok(front) };
        front.listener = aws.tls_listener(&balancer.arn).await?;
        if let Some(listener) = &front.listener {
            front.additional_certificates = aws.additional_certificates(listener).await?;
            front.additional_certificates.retain(|it| Some(it) != front.certificate.as_ref());
        }
        Ok(front)
    }

    /// Lets the listener serve these certificates too: it has many, and serves the one that a client asks for by name.
    pub(super) async fn add_certificates(&self, aws: &Aws, certificates: &[String]) -> Result<(), StepError> {
        let Some(listener) = &self.listener else { return Ok(()) };
        for certificate in certificates.iter().filter(|it| !self.serves(it)) {
            aws.add_certificate(listener, certificate).await?;
        }
        Ok(())
    }

    pub(super) fn serves(&self, certificate: &String) -> bool {
        self.listener.is_some()
            && (self.certificate.as_ref() == Some(certificate) || self.additional_certificates.contains(certificate))
    }
}

/// The application's certificate, of this plan or on record.
pub(super) fn own_certificate(cx: &StepContext) -> Result<Option<String>, StepError> {
    let issued = cx.try_output::<AwaitCertificate>()?.map(|it| it.arn);
    Ok(issued.or_else(|| cx.deployment.facts.acm_certificate_arn.clone()))
}

/// The Service of our ingress controller.
pub(super) async fn ingress_service(kube: &Kube) -> Result<Option<LoadBalancerService>, StepError> {
    Ok(kube.load_balancer_services(Some(NAMESPACE)).await?.into_iter().next())
}

/// Helm with a token for the cluster.
pub(super) async fn helm(cx: &StepContext, aws: &Aws, cluster: &EksCluster) -> Result<Helm, StepError> {
    use base64::Engine;
    let authority = base64::engine::general_purpose::STANDARD.decode(&cluster.authority).unwrap_or_default();
    let file = cx.target_folder().join("authority.pem");
    Connection::Local.write(&file, &authority).await?;
    let file = tokio::fs::canonicalize(&file).await.unwrap_or(file);
    Ok(Helm::new(&cx.settings, &cluster.endpoint, &file, aws.tokens(&cluster.name).sign()?))
}

/// Brings the ingress controller to the values for this certificate.
pub(super) async fn install(
    cx: &StepContext,
    aws: &Aws,
    cluster: &EksCluster,
    certificate: Option<&str>,
) -> Result<(), StepError> {
    let (text, _) = values(cx, certificate)?;
    let file = cx.target_folder().join("ingress.json");
    Connection::Local.write(&file, text.as_bytes()).await?;
    let file = tokio::fs::canonicalize(&file).await.unwrap_or(file);
    let (helm, calls) = (helm(cx, aws, cluster).await?, cx.calls());
    helm.install(RELEASE, NAMESPACE, &cx.settings.ingress, &file, &calls, &cx.lines, &cx.cancel).await?;
    Ok(())
}

/// Waits until the load balancer takes requests, with TLS when there is a certificate.
pub(super) async fn wait_until_serving(
    cx: &StepContext,
    aws: &Aws,
    kube: &Kube,
    certificate: Option<&str>,
) -> Result<IngressLoadBalancer, StepError> {
    let start = tokio::time::Instant::now();
    loop {
        let service = ingress_service(kube).await?;
        let front = match &service {
            Some(service) => IngressLoadBalancer::describe(aws, service).await?,
            None => IngressLoadBalancer::default(),
        };
        let state = match &front.balancer {
            None => "it is not there yet".to_owned(),
            Some(it) if it.state == "active" && certificate.is_some() != front.listener.is_some() => {
                "its listeners are being changed".to_owned()
            }
            Some(it) if it.state == "active" => return Ok(front),
            Some(it) => format!("it is {}", it.state),
        };
        let waited = start.elapsed();
        cx.lines.progress(format!("waiting for the load balancer: {state}, {} s", waited.as_secs()));
        if waited > cx.settings.ingress.load_balancer_timeout {
            let warning = match &service {
                Some(service) => kube.warning_about(service).await?,
                None => None,
            };
            return Err(load_balancer_timed_out(cx, &warning.unwrap_or(state)));
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => (),
            () = cx.cancel.cancelled() => return Err(StepError::Cancelled),
        }
    }
}

/// The load balancer is not ready in time.
pub(super) fn load_balancer_timed_out(cx: &StepContext, state: &str) -> StepError {
    StepError::permanent(
        "load_balancer_timed_out",
        format!(
            "the load balancer was not ready within {} s: {state}",
            cx.settings.ingress.load_balancer_timeout.as_secs()
        ),
        "Do the cluster's subnets carry the tag `kubernetes.io/role/elb`? Look at the events of its Service, or raise `LOAD_BALANCER_TIMEOUT_S`",
    )
}

/// Whether the controller was installed with the values that it would have now.
pub(super) fn has_current_values(
    cx: &StepContext,
    service: &LoadBalancerService,
    front: &IngressLoadBalancer,
) -> Result<bool, StepError> {
    let (_, hash) = values(cx, front.certificate.as_deref())?;
    Ok(service.annotations.get(VALUES_HASH_ANNOTATION) == Some(&hash))
}

/// Values of the chart, and a hash of all that decides what is installed.
fn values(cx: &StepContext, certificate: Option<&str>) -> Result<(String, String), StepError> {
    let mut annotations = json!({
        format!("{ANNOTATION_PREFIX}type"): "nlb",
        format!("{ANNOTATION_PREFIX}scheme"): "internet-facing",
        format!("{ANNOTATION_PREFIX}cross-zone-load-balancing-enabled"): "true",
        format!("{ANNOTATION_PREFIX}additional-resource-tags"): format!("{TARGET_TAG}={}", cx.target.id),
    });
    let mut service = json!({
        "httpPort": {"enable": true, "port": 80, "targetPort": 80},
        "httpsPort": {"enable": false},
    });
    let mut entries = json!({});
    if let Some(certificate) = certificate {
        annotations[format!("{ANNOTATION_PREFIX}ssl-cert")] = certificate.into();
        annotations[format!("{ANNOTATION_PREFIX}ssl-ports")] = "443".into();
        annotations[format!("{ANNOTATION_PREFIX}ssl-negotiation-policy")] =
            "ELBSecurityPolicy-TLS13-1-2-2021-06".into();
        service["httpPort"]["targetPort"] = REDIRECT_PORT.into();
        service["httpsPort"] = json!({"enable": true, "port": 443, "targetPort": 80});
        entries = json!({"http-snippets": redirects()});
    }
    let ingress = &cx.settings.ingress;
    let own = match &ingress.values {
        Some(path) => std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?,
        None => String::new(),
    };
    let text = json!([annotations, service, entries]).to_string();
    let hash = short_hash(&[&text, &ingress.chart, &ingress.chart_version, &own], 16);
    annotations[VALUES_HASH_ANNOTATION] = Value::from(hash.clone());
    service["annotations"] = annotations;
    let values = json!({"controller": {"service": service, "config": {"entries": entries}}});
    Ok((values.to_string(), hash))
}

/// The server that sends people to https, and lets requests for a load balancer's own name through.
fn redirects() -> String {
    format!(
        r"map $http_upgrade $passed_connection {{ default upgrade; '' close; }}
server {{
    listen {REDIRECT_PORT} default_server;
    location / {{ return 308 https://$host$request_uri; }}
}}
server {{
    listen {REDIRECT_PORT};
    server_name ~\.elb\.([a-z0-9-]+\.)?amazonaws\.com(\.cn)?$;
    client_max_body_size 0;
    location / {{
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $passed_connection;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_buffering off;
        proxy_read_timeout 1h;
        proxy_pass http://127.0.0.1:80;
    }}
}}
"
    )
}

fn unreadable(path: &std::path::Path, error: &std::io::Error) -> StepError {
    StepError::permanent(
        "chart_values_refused",
        format!("the file `{}` cannot be read: {error}", path.display()),
        "Correct `INGRESS_VALUES`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_load_balancers_are_let_through_and_no_others() {
        let name = redirects().lines().find_map(|line| line.trim().strip_prefix("server_name ~")).map(str::to_owned);
        let name = regex::Regex::new(name.unwrap().trim_end_matches(';')).unwrap();

        assert!(name.is_match("a1b2-0123.elb.us-east-1.amazonaws.com") && name.is_match("a.elb.amazonaws.com"));
        assert!(name.is_match("x.elb.cn-north-1.amazonaws.com.cn"));
        assert!(!name.is_match("shop.example.com") && !name.is_match("elb.amazonaws.com.example.com"));
    }
}
