//! A server in another network namespace.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::TcpStream;

use super::outcome::*;
use super::plans::*;
use super::server::*;

/// A server in a network namespace of its own; none where making one isn't allowed.
fn serve_elsewhere() -> Option<(SocketAddr, OwnedFd)> {
    let (found, place) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
            return;
        }
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        if !up.is_ok_and(|status| status.success()) {
            return;
        }
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (address, _seen) = serve().await;
            found.send((address, OwnedFd::from(namespace))).unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
    });
    place.recv().ok()
}

#[tokio::test]
async fn workers_connect_inside_the_network_namespace() {
    let Some((to, namespace)) = serve_elsewhere() else {
        eprintln!("skipped: no network namespace can be made here");
        return;
    };
    assert!(TcpStream::connect(to).await.is_err(), "the server is not in this namespace");
    let phases = vec![phase(open(100.0, vec![], HALF), HALF)];
    let plan = traffic(vec![step(0, "/")]);
    let outcome = run_within(plan, phases, to, 2, Some(namespace), |_| {}).await;
    assert_eq!((outcome.total.ended, outcome.total.failed), (50, 0));
}
