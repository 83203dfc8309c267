//! Files of `/proc` of any bytes, for the fuzz targets.

use super::{processes, program, sockets};

/// Lists of processes, sockets and mappings, environments, names, executables.
pub fn proc_files(data: &[u8]) {
    processes::pids(data);
    let name = processes::name(&String::from_utf8_lossy(data));
    assert!(name.chars().count() <= 32 && !name.chars().any(char::is_control), "{name:?}");
    sockets::of_lines(data);
    program::judged(data);
    // What the crate for `/proc` makes of a process's own files.
    use procfs::FromRead;
    // The kernel writes what is around the name, which is all that a process chooses.
    let named = &data[..data.len().min(15)];
    let rest = b") S 1 2 2 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 3 0 9 8 7 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0";
    let stat = [b"4711 (", named, rest].concat();
    let stat = procfs::process::Stat::from_read(stat.as_slice()).expect("any name is read");
    assert_eq!((stat.pid, stat.num_threads), (4711, 3));
    // The kernel writes keys and numbers there, nothing that a process chooses; the crate would
    // panic at a key that ends in a character of several bytes.
    if data.is_ascii() {
        let _ = procfs::process::Io::from_read(data);
    }
}
