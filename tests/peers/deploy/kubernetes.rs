//! The manifests are valid by Kubernetes' schemas and agree with each other and with their configuration; and the end
//! of a pod, as the kubelet does it.

mod ending;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::python_tool;
use crate::harness::proxy::run;
use crate::tools::programs::tool;

const FOLDER: &str = "deploy/kubernetes";

/// The first release that enables sidecars by default, and the newest one that the validator knows.
const RELEASES: [&str; 2] = ["1.29", "1.37"];

/// A manifest as JSON, read like Kubernetes reads it: a number that begins with 0 is octal.
pub(super) fn manifest(name: &str) -> Value {
    let read = "import json, sys, yaml\nprint(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let path = format!("{FOLDER}/{name}.yaml");
    let output = Command::new(tool("WSGATE_PYTHON"))
        .args(["-c", read, &path])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the schemas of a release report for a file, one line per object.
fn judged(path: &str, release: &str) -> (bool, String) {
    let output = Command::new(python_tool("kubernetes-validate"))
        .args(["--strict", "-k", release, path])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), said)
}

/// The names of the folder's files without `kustomization`, which is not an object of a cluster.
fn names() -> Vec<String> {
    let files = fs::read_dir(FOLDER).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .filter(|name| name != "kustomization")
        .collect();
    names.sort();
    names
}

/// The `proxy.yaml` in the ConfigMap.
fn proxy_yaml() -> String {
    let text = &manifest("configmap")["data"]["proxy.yaml"];
    text.as_str().unwrap().to_owned()
}

/// The same, parsed.
fn proxy() -> Value {
    serde_yaml::from_str(&proxy_yaml()).unwrap()
}

/// The pod's template.
fn pod() -> Value {
    manifest("deployment")["spec"]["template"].clone()
}

/// The containers of the pod: the proxy, and the application.
fn containers() -> (Value, Value) {
    let spec = &pod()["spec"];
    (
        spec["initContainers"][0].clone(),
        spec["containers"][0].clone(),
    )
}

/// The port of an address such as `0.0.0.0:8443`.
#[track_caller]
fn port(address: &Value) -> u64 {
    let (_, port) = address.as_str().unwrap().rsplit_once(':').unwrap();
    port.parse().unwrap()
}

#[track_caller]
fn seconds(text: &Value) -> u64 {
    let duration = humantime::parse_duration(text.as_str().unwrap());
    duration.unwrap().as_secs()
}

/// An amount of memory in MiB.
#[track_caller]
fn mebibytes(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap();
    match text.strip_suffix("Gi") {
        Some(number) => number.parse::<u64>().unwrap() * 1024,
        None => text.strip_suffix("Mi").unwrap().parse().unwrap(),
    }
}

/// The command of a container's preStop hook.
fn hook(container: &Value) -> Vec<String> {
    let command = &container["lifecycle"]["preStop"]["exec"]["command"];
    serde_json::from_value(command.clone()).unwrap()
}

#[test]
fn manifests_are_valid_and_all_are_applied() {
    for name in names() {
        for release in RELEASES {
            let (is_valid, said) = judged(&format!("{FOLDER}/{name}.yaml"), release);
            assert!(is_valid, "{said}");
            // A kind without a schema would be a warning.
            assert!(said.starts_with("INFO "), "{said}");
            assert!(said.contains(" passed for resource "), "{said}");
        }
    }
    let applied = manifest("kustomization")["resources"].clone();
    let mut applied: Vec<String> = serde_json::from_value(applied).unwrap();
    applied.sort();
    let files: Vec<_> = names().iter().map(|name| format!("{name}.yaml")).collect();
    assert_eq!(applied, files);
}

#[test]
fn a_wrong_manifest_is_not_valid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deployment.yaml");
    let text = fs::read_to_string(format!("{FOLDER}/deployment.yaml")).unwrap();
    for (right, wrong) in [
        ("readOnlyRootFilesystem", "readonlyRootFilesystem"),
        (
            "terminationGracePeriodSeconds: 50",
            "terminationGracePeriodSeconds: long",
        ),
        ("restartPolicy: Always", "restartPolicies: Always"),
    ] {
        assert!(text.contains(right), "{right}");
        fs::write(&path, text.replace(right, wrong)).unwrap();
        let (is_valid, said) = judged(path.to_str().unwrap(), RELEASES[0]);
        assert!(!is_valid, "{wrong}: {said}");
    }
}

#[test]
fn the_configuration_passes_its_check() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = ending::certificate(folder.path());
    let yaml = proxy_yaml()
        .replace("/etc/wsgate-tls/tls.crt", cert.to_str().unwrap())
        .replace("/etc/wsgate-tls/tls.key", key.to_str().unwrap());
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let (code, report, said) = run(&["check"], folder.path());
    assert_eq!(code, 0, "{report}{said}");
    assert_eq!(report, "proxy.yaml: ok: 1 listener, 2 routes, 1 upstream\n");
}

#[test]
fn everything_selects_the_pods_and_nothing_else() {
    let label = json!({ "app.kubernetes.io/name": "app" });
    let deployment = manifest("deployment");
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], label);
    assert_eq!(pod()["metadata"]["labels"], label);
    let spread = &pod()["spec"]["topologySpreadConstraints"][0]["labelSelector"];
    assert_eq!(spread["matchLabels"], label);
    assert_eq!(manifest("service")["spec"]["selector"], label);
    assert_eq!(manifest("pdb")["spec"]["selector"]["matchLabels"], label);
    let policy = &manifest("networkpolicy")["spec"]["podSelector"];
    assert_eq!(policy["matchLabels"], label);
    let target = &manifest("hpa")["spec"]["scaleTargetRef"];
    assert_eq!(target["name"], deployment["metadata"]["name"]);
    assert_eq!(target["kind"], deployment["kind"]);
    assert_eq!(target["apiVersion"], deployment["apiVersion"]);
    // Two settings for the number of pods would overrule each other.
    assert_eq!(deployment["spec"].get("replicas"), None);
}

#[test]
fn ports_are_those_of_the_configuration() {
    let (sidecar, app) = containers();
    let config = proxy();
    let listener = port(&config["listeners"][0]["address"]);
    let probes = port(&config["probes"]["address"]);
    let ports: BTreeMap<_, _> = sidecar["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| {
            (
                port["name"].as_str().unwrap(),
                port["containerPort"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        ports,
        [("wss", Some(listener)), ("probes", Some(probes))].into()
    );
    // Only the pod itself can reach the admin service.
    let admin = config["admin"]["address"].as_str().unwrap();
    assert!(admin.starts_with("127.0.0.1:"), "{admin}");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(sidecar[probe]["httpGet"]["port"], "probes", "{probe}");
    }
    assert_eq!(sidecar["startupProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(sidecar["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(sidecar["readinessProbe"]["httpGet"]["path"], "/readyz");

    assert_eq!(
        manifest("service")["spec"]["ports"][0]["targetPort"],
        listener
    );
    let rules = &manifest("networkpolicy")["spec"]["ingress"];
    assert_eq!(rules[0], json!({ "ports": [{ "port": listener }] }));
    assert_eq!(rules[1]["ports"], json!([{ "port": probes }]));
    let scraped = &pod()["metadata"]["annotations"]["prometheus.io/port"];
    assert_eq!(scraped, &json!(probes.to_string()));

    // The application listens where the proxy expects it, and where only the proxy can reach it.
    let variables: BTreeMap<_, _> = app["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| {
            (
                variable["name"].as_str().unwrap(),
                variable["value"].as_str().unwrap(),
            )
        })
        .collect();
    let endpoint = format!("http://{}:{}", variables["HOST"], variables["PORT"]);
    assert_eq!(config["upstreams"]["app"]["endpoints"], json!([endpoint]));
    assert_eq!(variables["HOST"], "127.0.0.1");
    let probe = app["readinessProbe"]["exec"]["command"].to_string();
    assert!(probe.contains(&format!("{endpoint}/health")), "{probe}");
    assert!(hook(&app)[2].contains(&format!("http://{admin}/drain")));
}

#[test]
fn files_are_where_the_configuration_looks_for_them() {
    let (sidecar, app) = containers();
    let volumes = pod()["spec"]["volumes"].clone();
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    let folder = |of: &str| {
        let mount = mounts.iter().find(|mount| mount["name"] == of).unwrap();
        // A file that is mounted on its own never changes in a running pod.
        assert_eq!(mount.get("subPath"), None, "{mount}");
        assert_eq!(mount["readOnly"], true, "{mount}");
        mount["mountPath"].as_str().unwrap().to_owned()
    };
    let file = format!("{}/proxy.yaml", folder("config"));
    assert_eq!(sidecar["args"], json!(["--config", file]));
    assert_eq!(
        volumes[0]["configMap"]["name"],
        manifest("configmap")["metadata"]["name"]
    );
    let certificate = &proxy()["listeners"][0]["tls"]["certificates"][0];
    let tls = folder("tls");
    // A runtime can't make a mount point inside a read-only folder.
    assert!(!tls.starts_with(&format!("{}/", folder("config"))), "{tls}");
    assert_eq!(certificate["cert"], format!("{tls}/tls.crt"));
    assert_eq!(certificate["key"], format!("{tls}/tls.key"));
    // Only the group of the sidecar may read it.
    assert_eq!(volumes[1]["secret"]["defaultMode"], 0o440);
    let group = &pod()["spec"]["securityContext"]["fsGroup"];
    assert_eq!(group, &sidecar["securityContext"]["runAsGroup"]);
    // The application does not need the key.
    assert_eq!(app.get("volumeMounts"), None);
}

#[test]
fn nobody_has_a_right_too_many() {
    let pod = &pod()["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let seccomp = &pod["securityContext"]["seccompProfile"]["type"];
    assert_eq!(seccomp, "RuntimeDefault");
    let (sidecar, app) = containers();
    for container in [&sidecar, &app] {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
        assert!(context["runAsUser"].as_u64() > Some(0), "{container}");
    }
    // The image's own port.
    let image = fs::read_to_string("deploy/Dockerfile").unwrap();
    let user = &sidecar["securityContext"]["runAsUser"];
    assert!(image.contains(&format!("USER {user}:{user}\n")), "{user}");
    // The names to which kustomization.yaml adds registries and versions.
    let named = manifest("kustomization")["images"].clone();
    for (image, container) in named.as_array().unwrap().iter().zip([&sidecar, &app]) {
        assert_eq!(image["name"], container["image"]);
    }
}

#[test]
fn the_proxy_is_a_sidecar_and_everything_fits_into_the_grace_period() {
    let (sidecar, app) = containers();
    assert_eq!(sidecar["restartPolicy"], "Always");
    let drain = hook(&sidecar);
    assert_eq!(drain[..3], ["/wsgate", "drain", "--wait"]);
    let admin = proxy()["admin"]["address"].as_str().unwrap().to_owned();
    assert_eq!(drain[3..5], ["--address".to_owned(), admin]);
    assert_eq!(hook(&app)[..2], ["node", "-e"]);
    let shutdown = &proxy()["shutdown"];
    let hooks = seconds(&shutdown["delay"]) + seconds(&shutdown["drain"]);
    // The time that the example application gives its last connections, and the most that the proxy then needs: for
    // clients that are being refused, for tasks that were cut, and for a blocked standard output.
    let application = {
        let text = fs::read_to_string("deploy/express/app.js").unwrap();
        let (_, rest) = text.split_once("LAST_CONNECTIONS_MS = ").unwrap();
        rest.split_once(';').unwrap().0.parse::<u64>().unwrap() / 1000
    };
    let proxy = 2 + 1 + 2;
    let grace = pod()["spec"]["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap();
    let needed = hooks + application + proxy;
    assert!(grace >= needed + 5, "{grace} for {needed} and some more");
    // On nodes without another pod it counts as ready as long as it serves.
    let probe = &sidecar["readinessProbe"];
    let seen =
        probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
    assert!(seconds(&shutdown["delay"]) < seen, "{shutdown}");
}

#[test]
fn memory_is_enough_for_the_connections() {
    let (sidecar, _) = containers();
    let connections = proxy()["limits"]["connections"].as_u64().unwrap();
    let measured = fs::read_to_string("docs/performance.md").unwrap();
    let row = measured
        .lines()
        .find(|line| line.contains("is an idle wss tunnel"))
        .unwrap();
    let own: f64 = row.split('|').nth(2).unwrap().trim().parse().unwrap();
    // The kernel's part, which counts toward a container's limit too, and the idle process: from the same page.
    let tunnels = connections as f64 * (own + 10.0) / 1024.0;
    let requested = mebibytes(&sidecar["resources"]["requests"]["memory"]);
    assert!(
        requested as f64 > tunnels + 8.0,
        "{requested} for {tunnels}"
    );
    let limit = mebibytes(&sidecar["resources"]["limits"]["memory"]);
    assert!(limit >= 1024, "{limit}");
    // Pods are added before the others are full.
    let metrics = manifest("hpa")["spec"]["metrics"].clone();
    let metric = &metrics[0]["pods"];
    assert_eq!(metric["metric"]["name"], "wsgate_tunnels_open");
    let wanted: u64 = metric["target"]["averageValue"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(wanted < connections, "{wanted} of {connections}");
}
