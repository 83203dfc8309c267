//! What a target's container is made with: its program and limits, and no more rights than a
//! service needs.
//!
//! Whatever runs in it gains no rights by running something else (`no-new-privileges`). Of root's
//! own, an image that holds one binary of ours has none. Other images often start as root to take
//! over a directory, open a low port, and go on as somebody else: they keep what that takes
//! ([`IMAGE_RIGHTS`]) and nothing of what else Docker would give, as raw sockets or device files.
//! The root file system stays writable: services write there, and how much is measured.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding};

use super::{Docker, labels_of};
use crate::cgroup::Nest;
use crate::plan::{KUBELET_PERIOD_US, KubernetesPlan, TargetPlan, TargetSource};
use crate::units::Limit;

/// What the entry points of ordinary images need of root's rights: to own and read files of
/// others, to become somebody else, to stop whom they started, and to listen below port 1024.
const IMAGE_RIGHTS: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];

/// Ports below this are root's.
const FIRST_FREE_PORT: u16 = 1024;

/// The rights of root that a target keeps.
fn rights(target: &TargetPlan) -> Vec<String> {
    let base = match &target.source {
        TargetSource::Cargo(cargo) => cargo.base.as_ref(),
        TargetSource::Binary { base, .. } => base.as_ref(),
        TargetSource::Image { .. } | TargetSource::Dockerfile { .. } => {
            return IMAGE_RIGHTS.map(str::to_owned).into();
        }
    };
    let rights: &[&str] = match base {
        Some(_) => &IMAGE_RIGHTS,
        None if target.port < FIRST_FREE_PORT => &["NET_BIND_SERVICE"],
        None => &[],
    };
    rights.iter().map(|&name| name.to_owned()).collect()
}

impl Docker {
    /// What the engine is asked to make.
    pub(super) fn body(
        &self,
        image: &str,
        target: &TargetPlan,
        limit: Limit,
        nest: Option<&Nest>,
    ) -> ContainerCreateBody {
        let port = format!("{}/tcp", target.port);
        let within = i64::try_from(target.stop.within.as_secs().max(1)).unwrap_or(i64::MAX);
        ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: (!target.args.is_empty()).then(|| target.args.clone()),
            env: Some(target.env.iter().map(|v| format!("{}={}", v.name, v.value)).collect()),
            user: target.user.clone(),
            labels: Some(labels_of(&self.run_id)),
            stop_signal: Some(target.stop.signal.clone()),
            stop_timeout: Some(within),
            exposed_ports: (!self.is_inside()).then(|| vec![port.clone()]),
            host_config: Some(self.host_config(target, limit, nest, port)),
            ..ContainerCreateBody::default()
        }
    }

    fn host_config(
        &self,
        target: &TargetPlan,
        limit: Limit,
        nest: Option<&Nest>,
        port: String,
    ) -> HostConfig {
        let memory = limit.bytes().map(|bytes| i64::try_from(bytes.get()).unwrap_or(i64::MAX));
        #[expect(clippy::cast_possible_truncation, reason = "a scenario's cpus are below 10^6")]
        let nano_cpus = target.limits.cpus.map(|cpus| (cpus * 1e9).round() as i64);
        // Docker takes either its own measure or the kernel's.
        let kubelet_cpus = target.limits.cpus.filter(|_| target.limits.kubernetes.is_some());
        let binds =
            target.files.iter().map(|(from, to)| format!("{}:{}:ro", from.display(), to.display()));
        let tmpfs = target.tmpfs.iter().map(|dir| (dir.display().to_string(), String::new()));
        let loopback = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: None };
        let log = HashMap::from([
            ("max-size".to_owned(), "8m".to_owned()),
            ("max-file".to_owned(), "2".to_owned()),
        ]);
        HostConfig {
            memory,
            // Equal to the memory limit: no swap.
            memory_swap: memory,
            nano_cpus: nano_cpus.filter(|_| kubelet_cpus.is_none()),
            cpu_period: kubelet_cpus.map(|_| i64::from(KUBELET_PERIOD_US)),
            cpu_quota: kubelet_cpus.map(KubernetesPlan::quota_us),
            cpu_shares: kubelet_cpus.map(KubernetesPlan::shares),
            pids_limit: target.limits.pids.map(i64::from),
            cgroup_parent: nest.map(|nest| nest.inner.clone()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(rights(target)),
            binds: Some(binds.collect()),
            tmpfs: Some(tmpfs.collect()),
            extra_hosts: Some(target.extra_hosts.clone()),
            port_bindings: (!self.is_inside())
                .then(|| HashMap::from([(port, Some(vec![loopback]))])),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(log),
            }),
            ..HostConfig::default()
        }
    }
}
