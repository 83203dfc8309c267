//! What a process is, as far as it decides how memory is handed out: its allocator or its runtime.
//!
//! Looked at in the running process, so that it is the same for an image and a binary, and counts
//! what was preloaded: names of mapped objects, symbols of the program, and in a stripped one the
//! texts that an allocator carries. Where nothing tells, the answer is `unknown`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use object::elf::FileHeader64;
use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, ReadCache, ReadRef};
use regex::bytes::RegexSet;

use crate::event::{LifeId, ProgramFacts};
use crate::plan::Budget;
use crate::units::is_harmful;

/// The largest section of a program that is searched, and the longest list of mappings.
const SECTION_MAX: u64 = Budget::PROGRAM_SECTION;
const LIST_MAX: u64 = Budget::MAPPINGS;

/// The most files that are looked at among those that a process has mapped.
const MAPPED_MAX: usize = 4096;

/// How much of a section is in memory at once, and by how much two pieces overlap: more than the
/// longest mark.
const PIECE: u64 = 1024 * 1024;
const OVERLAP: u64 = 64;

/// What a process shows of itself.
#[derive(Debug, Default)]
struct Signs {
    /// The executable's file name.
    executable: String,
    /// File names of what is mapped as code or data, each once.
    mapped: Vec<String>,
    /// `LD_PRELOAD`.
    preload: Option<String>,
    /// Marks found in the executable.
    marks: Vec<&'static Mark>,
}

/// Where a mark is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// The name of a section.
    Section,
    /// A symbol's whole name.
    Symbol,
    /// A part of a text.
    Text,
}

/// Something that gives an allocator away.
#[derive(Debug)]
struct Mark {
    allocator: &'static str,
    place: Where,
    name: &'static str,
}

const fn mark(allocator: &'static str, place: Where, name: &'static str) -> Mark {
    Mark { allocator, place, name }
}

/// In order of weight: what replaces an allocator comes before what is replaced.
static MARKS: [Mark; 16] = [
    mark("go", Where::Section, ".go.buildinfo"),
    mark("jemalloc", Where::Symbol, "_rjem_malloc"),
    mark("jemalloc", Where::Symbol, "_rjem_mallocx"),
    mark("jemalloc", Where::Symbol, "je_malloc"),
    mark("jemalloc", Where::Symbol, "mallctl"),
    mark("mimalloc", Where::Symbol, "mi_malloc"),
    mark("mimalloc", Where::Symbol, "mi_malloc_aligned"),
    mark("tcmalloc", Where::Symbol, "tc_malloc"),
    mark("jemalloc", Where::Text, "<jemalloc>: "),
    mark("mimalloc", Where::Text, "mimalloc: warning: "),
    mark("tcmalloc", Where::Text, "tcmalloc: large alloc "),
    mark("musl", Where::Symbol, "__libc_malloc_impl"),
    mark("musl", Where::Symbol, "__malloc_donate"),
    mark("musl", Where::Symbol, "__expand_heap"),
    mark("glibc", Where::Symbol, "_int_malloc"),
    mark("glibc", Where::Text, "malloc(): corrupted top size"),
];

/// Looks at a process of a life; none where it is gone or may not be read.
pub(super) fn look_at(life: LifeId, pid: i32) -> Option<ProgramFacts> {
    let process = Path::new("/proc").join(pid.to_string());
    let executable = fs::read_link(process.join("exe")).ok()?;
    let name = executable.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let maps = read(&process.join("maps"))?;
    let environment = read(&process.join("environ")).unwrap_or_default();
    let signs = Signs {
        executable: name,
        mapped: mapped_files(&maps),
        preload: preload(&environment),
        marks: marks_in(&process.join("exe")).unwrap_or_default(),
    };
    let (allocator, evidence) = judge(&signs);
    Some(ProgramFacts { life, allocator: allocator.to_owned(), evidence })
}

/// Judges a program by any bytes, as its executable, mappings and environment, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(super) fn judged(data: &[u8]) {
    let mut program = tempfile::NamedTempFile::new().expect("a temporary file");
    std::io::Write::write_all(&mut program, data).expect("room for a file");
    let signs = Signs {
        executable: String::from_utf8_lossy(data).into_owned(),
        mapped: mapped_files(data),
        preload: preload(data),
        marks: marks_in(program.path()).unwrap_or_default(),
    };
    let (_, evidence) = judge(&signs);
    assert!(!evidence.chars().any(char::is_control), "{evidence:?}");
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(LIST_MAX).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The file names in a `/proc/<pid>/maps`: what follows the last slash of a line.
fn mapped_files(maps: &[u8]) -> Vec<String> {
    let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
    for line in maps.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().rposition(|byte| *byte == b'/') else { continue };
        let name = &line[at + 1..];
        if names.len() < MAPPED_MAX && seen.insert(name) {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    names
}

/// `LD_PRELOAD` of a `/proc/<pid>/environ`. No other variable is looked at: they hold secrets.
fn preload(environment: &[u8]) -> Option<String> {
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(b"LD_PRELOAD="))?;
    let value: String =
        String::from_utf8_lossy(value).chars().filter(|c| !c.is_control()).take(200).collect();
    (!value.trim().is_empty()).then_some(value)
}

/// The marks in an executable; none where it is no 64-bit ELF binary.
fn marks_in(path: &Path) -> Option<Vec<&'static Mark>> {
    let file = File::open(path).ok()?;
    let cache = ReadCache::new(file.try_clone().ok()?);
    let header = FileHeader64::<Endianness>::parse(Bounded(&cache)).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, Bounded(&cache)).ok()?;
    let section = |name: &str| sections.section_by_name(endian, name.as_bytes());
    let pieces = |name: &str| {
        let range = section(name).and_then(|(_, section)| section.file_range(endian));
        let (at, size) = range.filter(|(_, size)| *size <= SECTION_MAX).unwrap_or_default();
        Pieces { file: &file, at, end: at.saturating_add(size) }
    };
    let in_names = found(Where::Symbol, pieces(".strtab").chain(pieces(".dynstr")));
    // A program may speak of an allocator that it does not have (this one does): where it has kept
    // its symbols, they alone count.
    let is_stripped = section(".symtab").is_none();
    let in_texts =
        if is_stripped { found(Where::Text, pieces(".rodata")) } else { BTreeSet::new() };
    let is_there = |mark: &&Mark| match mark.place {
        Where::Section => section(mark.name).is_some(),
        Where::Symbol => in_names.contains(&mark.name),
        Where::Text => in_texts.contains(&mark.name),
    };
    Some(MARKS.iter().filter(is_there).collect())
}

/// Reads of a file that are never large: what an executable says of its own size is not believed.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a ReadCache<File>);

impl<'a> ReadRef<'a> for Bounded<'a> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > PIECE { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

/// A stretch of a file, in pieces that overlap.
struct Pieces<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Iterator for Pieces<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let length = self.end.saturating_sub(self.at).min(PIECE);
        let mut piece = vec![0; usize::try_from(length).ok()?];
        // A section of no bytes, or one that the file does not hold.
        let read = self.file.read_at(&mut piece, self.at).ok().filter(|read| *read > 0)?;
        piece.truncate(read);
        let is_last = self.at + read as u64 >= self.end;
        self.at =
            if is_last { self.end } else { self.at + read as u64 - OVERLAP.min(read as u64 - 1) };
        Some(piece)
    }
}

/// The names of the marks of one kind that are in these parts, each of which is passed once. A
/// symbol's name stands between two zero bytes.
fn found(place: Where, parts: impl IntoIterator<Item: AsRef<[u8]>>) -> BTreeSet<&'static str> {
    let marks: Vec<_> = MARKS.iter().filter(|mark| mark.place == place).collect();
    let patterns = marks.iter().map(|mark| {
        let name = regex::escape(mark.name);
        if place == Where::Symbol { format!("\\x00{name}\\x00") } else { name }
    });
    let set = RegexSet::new(patterns).expect("escaped names are patterns");
    let hits = |part: &[u8]| set.matches(part).into_iter().collect::<Vec<_>>();
    let hits = parts.into_iter().flat_map(|part| hits(part.as_ref()));
    hits.map(|index| marks[index].name).collect()
}

/// Who hands out memory, and what says so.
fn judge(signs: &Signs) -> (&'static str, String) {
    let mapped = |start: &str| signs.mapped.iter().find(|name| name.starts_with(start));
    let objects = [
        ("jemalloc", "libjemalloc"),
        ("mimalloc", "libmimalloc"),
        ("tcmalloc", "libtcmalloc"),
        ("jvm", "libjvm.so"),
        ("node", "libnode.so"),
        ("python", "libpython"),
    ];
    for (allocator, start) in objects {
        if let Some(name) = mapped(start) {
            let preloaded = signs.preload.as_ref().is_some_and(|value| value.contains(start));
            let how = if preloaded { "preloaded by LD_PRELOAD" } else { "mapped" };
            return (allocator, format!("`{}` is {how}", shown(name)));
        }
    }
    let runs = |start: &str| signs.executable.starts_with(start);
    for (runtime, start) in [("jvm", "java"), ("node", "node"), ("python", "python")] {
        if runs(start) {
            return (runtime, format!("the program is `{}`", shown(&signs.executable)));
        }
    }
    let marks = || signs.marks.iter();
    let own = |mark: &&&Mark| !matches!(mark.allocator, "glibc" | "musl");
    if let Some(mark) = marks().find(own) {
        return (mark.allocator, words(mark));
    }
    for (libc, start) in [("musl", "ld-musl-"), ("musl", "libc.musl-"), ("glibc", "libc.so.6")] {
        if let Some(name) = mapped(start) {
            return (
                libc,
                format!("`{}` is mapped, and no other allocator was found", shown(name)),
            );
        }
    }
    match marks().next() {
        Some(mark) => (mark.allocator, words(mark)),
        None => ("unknown", "nothing in the program tells".to_owned()),
    }
}

fn words(mark: &Mark) -> String {
    match mark.place {
        Where::Section => format!("the program has a section `{}`", mark.name),
        Where::Symbol => format!("the program has a symbol `{}`", mark.name),
        Where::Text => format!("the program holds the text `{}`", mark.name.trim()),
    }
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !is_harmful(*c)).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signs(executable: &str, mapped: &[&str], marks: &[&str]) -> Signs {
        Signs {
            executable: executable.to_owned(),
            mapped: mapped.iter().map(|name| (*name).to_owned()).collect(),
            preload: None,
            marks: MARKS.iter().filter(|mark| marks.contains(&mark.name)).collect(),
        }
    }

    #[test]
    fn tells_allocators_apart() {
        let told = |executable, mapped: &[&str], marks: &[&str]| {
            judge(&signs(executable, mapped, marks)).0
        };
        let libc = ["app", "libc.so.6"];
        assert_eq!(told("app", &libc, &[]), "glibc");
        assert_eq!(told("app", &libc, &["_rjem_malloc"]), "jemalloc");
        assert_eq!(told("app", &["app", "libjemalloc.so.2", "libc.so.6"], &[]), "jemalloc");
        assert_eq!(told("app", &libc, &["mi_malloc"]), "mimalloc");
        assert_eq!(told("app", &["ld-musl-x86_64.so.1"], &[]), "musl");
        assert_eq!(told("app", &["app"], &["__malloc_donate"]), "musl");
        assert_eq!(told("app", &["app"], &["malloc(): corrupted top size"]), "glibc");
        assert_eq!(told("app", &["app"], &[".go.buildinfo"]), "go");
        assert_eq!(told("java", &["java", "libjvm.so", "libc.so.6"], &[]), "jvm");
        assert_eq!(told("python3.11", &libc, &[]), "python");
        assert_eq!(told("app", &["app"], &[]), "unknown");
    }

    #[test]
    fn what_is_preloaded_is_named_and_other_variables_are_not_read() {
        let environment = b"KEY=secret\0LD_PRELOAD=/usr/lib/libjemalloc.so.2\0A=b\0";
        let preload = preload(environment);
        assert_eq!(preload.as_deref(), Some("/usr/lib/libjemalloc.so.2"));
        let signs = Signs { preload, ..signs("app", &["libjemalloc.so.2"], &[]) };
        let evidence = judge(&signs).1;
        assert_eq!(evidence, "`libjemalloc.so.2` is preloaded by LD_PRELOAD");
    }

    #[test]
    fn a_symbol_is_found_as_a_whole_name_only() {
        let names = b"\0main\0my_mi_malloc\0mi_malloc_x\0je_malloc\0mallctl\0";
        let told = |place, parts: &[&[u8]]| found(place, parts).into_iter().collect::<Vec<_>>();
        assert_eq!(told(Where::Symbol, &[names]), ["je_malloc", "mallctl"]);
        assert_eq!(told(Where::Symbol, &[b"", b"\0mi_malloc\0"]), ["mi_malloc"]);
        assert_eq!(told(Where::Text, &[b"x<jemalloc>: y"]), ["<jemalloc>: "]);
    }

    #[test]
    fn a_mark_is_found_wherever_two_pieces_meet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("section");
        let mark = b"\0mi_malloc\0";
        let longest = MARKS.iter().map(|mark| mark.name.len()).max().unwrap() as u64;
        assert!(longest + 2 < OVERLAP);
        for before in (PIECE - 70..PIECE + 5).step_by(7) {
            let mut bytes = vec![b'x'; usize::try_from(before).unwrap()];
            bytes.extend(mark);
            bytes.extend([b'x'; 100]);
            fs::write(&path, &bytes).unwrap();
            let file = File::open(&path).unwrap();
            let pieces = Pieces { file: &file, at: 0, end: bytes.len() as u64 };
            assert_eq!(found(Where::Symbol, pieces).len(), 1, "{before}");
        }
    }

    #[test]
    fn this_very_test_has_the_libcs_allocator() {
        let own = i32::try_from(std::process::id()).unwrap();
        let facts = look_at(LifeId(1), own).unwrap();
        assert_eq!(facts.allocator, "glibc", "{facts:?}");
        assert_eq!(look_at(LifeId(1), i32::MAX), None);
    }

    #[test]
    fn a_static_program_is_told_by_its_symbols_or_texts() {
        let dir = tempfile::tempdir().unwrap();
        let (source, binary) = (dir.path().join("a.c"), dir.path().join("a"));
        let text = "#include <stdlib.h>\nint main(int n, char **v) { return malloc(n) == 0; }";
        fs::write(&source, text).unwrap();
        for flags in [["-static", "-g"], ["-static", "-s"]] {
            let mut cc = std::process::Command::new("cc");
            let built = cc.args(flags).arg("-o").arg(&binary).arg(&source).status();
            assert!(built.expect("a C compiler is there").success());
            let marks = marks_in(&binary).unwrap();
            let signs = Signs { marks, ..signs("a", &["a"], &[]) };
            assert_eq!(judge(&signs).0, "glibc", "{flags:?}: {signs:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_input_never_panics(text in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = (mapped_files(&text), preload(&text));
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            fs::write(&path, [b"\x7fELF\x02\x01\x01".as_slice(), &text].concat()).unwrap();
            let _ = marks_in(&path);
        }
    }
}
