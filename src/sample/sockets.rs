//! Sockets of a network namespace, counted by state.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Instant;

use crate::event::Sockets;
use crate::plan::Budget;

/// The longest table that is read: some 400 000 sockets.
const TABLE_MAX: u64 = Budget::SOCKET_TABLE;

/// The kernel walks all sockets of the machine for a table, which may take milliseconds and holds
/// locks that traffic needs: counting takes at most this part of the time.
const SHARE: u32 = 100;

/// Processes that are tried until one shows its namespace.
const TRIES: usize = 8;

/// Counts sockets from time to time.
#[derive(Debug, Default)]
pub(super) struct SocketWatch {
    not_before: Option<Instant>,
}

impl SocketWatch {
    /// The sockets in the namespace of the first of these processes that shows it. None where it
    /// is our own, whose sockets are those of the whole host, and where counting would take too
    /// much time.
    pub(super) fn count(&mut self, pids: &[i32]) -> Option<Sockets> {
        let began = Instant::now();
        if self.not_before.is_some_and(|time| began < time) {
            return None;
        }
        let counted = pids.iter().take(TRIES).find_map(|pid| {
            let process = Path::new("/proc").join(pid.to_string());
            // Where it may not be read, the process is somebody else's, in a container.
            let namespace = |of: &Path| fs::read_link(of.join("ns/net")).ok();
            let theirs = namespace(&process);
            let shared = theirs.is_some() && theirs == namespace(Path::new("/proc/self"));
            if shared { None } else { count_in(&process.join("net")) }
        });
        let took = began.elapsed();
        self.not_before = Some(began + took * SHARE);
        counted
    }
}

fn count_in(net: &Path) -> Option<Sockets> {
    let mut table = Table::default();
    each_line(&net.join("tcp"), &mut |line| table.add(line))?;
    // Without IPv6 there is no such table.
    let _ = each_line(&net.join("tcp6"), &mut |line| table.add(line));
    let rows = |name: &str| {
        let mut count = 0_u32;
        each_line(&net.join(name), &mut |_| count = count.saturating_add(1))?;
        Some(count)
    };
    let udp = rows("udp").map(|count| count.saturating_add(rows("udp6").unwrap_or(0)));
    Some(Sockets { tcp: table.by_state(), udp, unix: rows("unix") })
}

/// TCP sockets as they are read.
#[derive(Debug, Default)]
struct Table {
    by_state: BTreeMap<&'static str, u32>,
    /// Those whose other end is on this loopback, by that end's port.
    looped: BTreeMap<(u16, &'static str), u32>,
    listening: BTreeSet<u16>,
}

impl Table {
    fn add(&mut self, line: &[u8]) {
        let Some(row) = parse_tcp(line) else { return };
        if row.state == "listen" {
            self.listening.insert(row.local_port);
        }
        let count = match row.looped_to {
            Some(port) => self.looped.entry((port, row.state)).or_default(),
            None => self.by_state.entry(row.state).or_default(),
        };
        *count = count.saturating_add(1);
    }

    /// A connection on the loopback has both ends here, one of which may be the load's. It counts
    /// once, at the end that was connected to.
    fn by_state(self) -> BTreeMap<String, u32> {
        let mut sums = self.by_state;
        for ((port, state), more) in self.looped {
            if !self.listening.contains(&port) {
                let count = sums.entry(state).or_default();
                *count = count.saturating_add(more);
            }
        }
        sums.into_iter().map(|(state, count)| (state.to_owned(), count)).collect()
    }
}

/// Counts the sockets in a table's text, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(super) fn of_lines(text: &[u8]) {
    let mut table = Table::default();
    text.split(|byte| *byte == b'\n').for_each(|line| table.add(line));
    table.by_state();
}

/// Gives each line after the heading; none where the table can't be opened.
fn each_line(path: &Path, take: &mut dyn FnMut(&[u8])) -> Option<()> {
    let table = File::open(path).ok()?.take(TABLE_MAX);
    let mut reader = BufReader::with_capacity(64 * 1024, table);
    let (mut line, mut heading) = (Vec::new(), true);
    loop {
        line.clear();
        // A name in `unix` may hold anything, but no line is longer than this.
        let length = reader.by_ref().take(4096).read_until(b'\n', &mut line).ok()?;
        if length == 0 {
            return Some(());
        }
        if !heading {
            take(&line);
        }
        heading = false;
    }
}

/// A line of `/proc/net/tcp` or `tcp6`.
#[derive(Debug, PartialEq, Eq)]
struct TcpRow {
    state: &'static str,
    local_port: u16,
    /// The other end's port, where that end is on the loopback.
    looped_to: Option<u16>,
}

/// Reads `sl local:port remote:port state …`, all in hexadecimal.
fn parse_tcp(line: &[u8]) -> Option<TcpRow> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let (local, remote) = (fields.nth(1)?, fields.next()?);
    let state = state_name(fields.next()?)?;
    let port = |end: &[u8]| {
        let at = end.iter().position(|byte| *byte == b':')?;
        u16::from_str_radix(std::str::from_utf8(&end[at + 1..]).ok()?, 16).ok()
    };
    let looped_to = if is_loopback(remote) { port(remote) } else { None };
    Some(TcpRow { state, local_port: port(local)?, looped_to })
}

/// 127.0.0.0/8, the same mapped into IPv6, or `::1`: in words of 32 bits, each as this machine's
/// memory holds it.
fn is_loopback(end: &[u8]) -> bool {
    let address = end.split(|byte| *byte == b':').next().unwrap_or_default();
    match address.len() {
        8 => address.ends_with(b"7F"),
        32 => {
            address == b"00000000000000000000000001000000"
                || (address.starts_with(b"0000000000000000FFFF0000") && address.ends_with(b"7F"))
        }
        _ => false,
    }
}

/// The names of the states in `include/net/tcp_states.h`.
fn state_name(number: &[u8]) -> Option<&'static str> {
    Some(match number {
        b"01" => "established",
        b"02" => "syn_sent",
        b"03" | b"0C" => "syn_recv",
        b"04" => "fin_wait1",
        b"05" => "fin_wait2",
        b"06" => "time_wait",
        b"07" => "close",
        b"08" => "close_wait",
        b"09" => "last_ack",
        b"0A" => "listen",
        b"0B" => "closing",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n\
        0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1661\n\
        1: 0200000A:07E8 0300000A:C350 01 00000000:00000000 00:00000000 00000000     0        0 1662\n\
        2: 0200000A:C351 0300000A:1F90 06 00000000:00000000 03:00000900 00000000     0        0 0\n";

    #[test]
    fn counts_by_state_over_both_families() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("tcp", TABLE);
        write("tcp6", TABLE);
        write("udp", "heading\n1: a b 07\n");
        let sockets = count_in(dir.path()).unwrap();
        let states = [("established", 2), ("listen", 2), ("time_wait", 2)];
        assert_eq!(sockets.tcp, states.map(|(name, count)| (name.to_owned(), count)).into());
        assert_eq!((sockets.udp, sockets.unix), (Some(1), None));
        assert_eq!(count_in(Path::new("/nonexistent")), None);
    }

    #[test]
    fn a_connection_on_the_loopback_counts_once() {
        let mut table = Table::default();
        // A listener, both ends of a connection to it, and one to nobody.
        table.add(b"0: 00000000:07E8 00000000:0000 0A x");
        table.add(b"1: 0100007F:07E8 0100007F:C350 01 x");
        table.add(b"2: 0100007F:C350 0100007F:07E8 01 x");
        table.add(b"3: 0100007F:C351 0100007F:0001 02 x");
        // The same in IPv6, where one address is mapped.
        table.add(
            b"4: 0000000000000000FFFF00000100007F:07E8 0000000000000000FFFF00000100007F:C352 01 x",
        );
        table.add(
            b"5: 00000000000000000000000001000000:C353 00000000000000000000000001000000:07E8 06 x",
        );
        let counted = [("established", 2), ("listen", 1), ("syn_sent", 1)];
        assert_eq!(table.by_state(), counted.map(|(name, n)| (name.to_owned(), n)).into());
    }

    #[test]
    fn the_hosts_own_sockets_are_not_the_targets() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(SocketWatch::default().count(&[own]), None);
    }

    proptest! {
        #[test]
        fn tables_never_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("tcp"), &text).unwrap();
            prop_assert!(count_in(dir.path()).is_some());
            let _ = parse_tcp(&text);
        }
    }
}
