//! Binaries, output and host files of any bytes, for the fuzz targets.

use regex::Regex;

use super::mask::Mask;
use super::output::Channel;
use super::{elf, host, output};
use crate::clock::Clock;
use crate::plan::{Budget, EnvVar};
use crate::units::Bytes;

/// A binary that is to be run.
pub fn elf(data: &[u8]) {
    let _ = elf::loader(data);
    drop(elf::parse_list(&String::from_utf8_lossy(data)));
}

/// What a target prints, in pieces.
pub fn output(data: &[u8]) {
    let [piece, data @ ..] = data else { return };
    let budget = Budget { target_output: Bytes::new(64), ..Budget::default() };
    let (clock, _hand) = Clock::by_hand();
    let pattern = Regex::new("ready on [0-9]+").ok();
    let path = std::path::Path::new("/dev/null");
    let key = EnvVar { name: "KEY".to_owned(), value: "hunter2 & \"co\"".to_owned(), secret: true };
    let mask = Mask::of(&[key]);
    let output = output::Output::create(path, &budget, pattern, mask, &clock).expect("it opens");
    for (number, piece) in data.chunks(usize::from(*piece).max(1)).enumerate() {
        let channel = if number % 3 == 2 { Channel::Err } else { Channel::Out };
        output.write(channel, piece);
    }
    let quoted = output.quote();
    assert!(quoted.chars().all(|c| c == '\n' || !c.is_control()), "{quoted:?}");
    let room = budget.quoted_log_lines * 3 * 4200;
    assert!(quoted.len() <= room, "{} bytes are quoted", quoted.len());
    output.finish().expect("it is written");
}

/// What a host says of itself.
pub fn host_files(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    host::meminfo(&text, "MemTotal");
    host::chosen(&text);
}
