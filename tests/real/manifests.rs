//! What is put on clusters, against the schemas of several Kubernetes versions.

use std::fs;
use std::path::Path;

use crate::bed::must;
use crate::cloud_hosted::chart;

/// From the oldest version that EKS supports to the newest that has a schema here.
const VERSIONS: [&str; 6] = ["1.31", "1.32", "1.33", "1.34", "1.35", "1.37"];

/// Checks a file with manifests; properties that a version does not know are errors.
fn check(validate: &str, version: &str, file: &Path) {
    must(validate, &["--strict", "--no-warn", "--kubernetes-version", version, &file.display().to_string()]);
}

#[test]
fn applications_and_the_ingress_controller_fit_several_versions_of_kubernetes() {
    let root = env!("CARGO_MANIFEST_DIR");
    let validate = must(&format!("{root}/tests/rig/schemas/up"), &[]);
    let validate = validate.trim();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("manifests");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    // The unit tests keep each manifest as it is rendered, below a header of their own.
    let kept = format!("{root}/src/cloud/kube/snapshots");
    for entry in fs::read_dir(kept).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "snap") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let manifest = text.splitn(3, "---\n").nth(2).unwrap();
        if manifest.contains("\"apiVersion\"") {
            fs::write(folder.join(path.file_name().unwrap()).with_extension("json"), manifest).unwrap();
        }
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 5, "Deployment, Service, Ingress, Secret, Namespace");
    for version in VERSIONS {
        let rendered = must("helm", &["template", "nginx-ingress", &chart(), "--kube-version", version]);
        fs::write(folder.join("chart.yaml"), rendered).unwrap();
        for entry in fs::read_dir(&folder).unwrap() {
            check(validate, version, &entry.unwrap().path());
        }
    }
}
