//! Starting a process inside its cgroups and network namespace, before its first instruction.
//!
//! Between `fork` and `exec` only async-signal-safe calls are allowed: everything that allocates is
//! done before.

#![allow(
    unsafe_code,
    reason = "a hook between fork and exec, and the ioctl that brings an interface up, are unsafe \
              by nature; everything here is a plain system call on values made before the fork"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use tokio::process::Command;

nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);

/// What the new process enters before it runs its program.
#[derive(Debug)]
pub(super) struct Entry {
    /// The `cgroup.procs` files of its cgroups, open for writing.
    pub(super) groups: Vec<File>,
    /// The network that it sees.
    pub(super) network: Network,
}

/// The network that a new process sees.
#[derive(Debug)]
pub(super) enum Network {
    /// That of this process.
    Same,
    /// One of its own, with nothing but a loopback interface.
    Own,
    /// This one.
    Of(OwnedFd),
}

/// Makes a command enter its cgroups and namespace, in a session of its own, without a way to gain
/// rights.
pub(super) fn enter_before_exec(command: &mut Command, entry: Entry) {
    let hook = move || {
        for group in &entry.groups {
            // "0" stands for the writing process itself.
            nix::unistd::write(group, b"0")?;
        }
        match &entry.network {
            Network::Same => {}
            Network::Own => {
                unshare(CloneFlags::CLONE_NEWNET)?;
                bring_loopback_up()?;
            }
            Network::Of(namespace) => setns(namespace, CloneFlags::CLONE_NEWNET)?,
        }
        nix::unistd::setsid()?;
        // Whoever measures it is its reason to live.
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        nix::sys::prctl::set_no_new_privs()?;
        Ok(())
    };
    // SAFETY: the hook makes system calls only, on descriptors opened before the fork, and
    // allocates nothing.
    unsafe {
        command.pre_exec(hook);
    }
}

/// Brings `lo` up in this process's network namespace.
fn bring_loopback_up() -> io::Result<()> {
    // SAFETY: `socket` takes no pointers; a descriptor that is not negative is ours to own.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        // Signed on x86-64, unsigned on arm64.
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).expect("both flags are below 2^15");
    // SAFETY: the request lives across the call, and is what SIOCSIFFLAGS reads.
    unsafe { set_interface_flags(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}
