//! What a binary needs beside itself: its loader and shared objects.

use std::path::{Path, PathBuf};
use std::process::Command;

use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Architecture, Endianness, Object};

use super::Error;

/// Name-service modules that glibc loads by itself, so that no binary names them.
const NAME_SERVICE: [&str; 3] = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/// What a binary needs beside itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Files of this host, each wanted at the same path in the container. Empty for a static one.
    pub(super) files: Vec<PathBuf>,
}

/// Finds out what a binary needs.
pub(super) fn needs(path: &Path) -> Result<Needs, Error> {
    let refused = |text: String| Error::Binary { path: path.to_owned(), text };
    let data = std::fs::read(path).map_err(|source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let Some(loader) = loader(&data).map_err(refused)? else {
        return Ok(Needs::default());
    };
    let mut files = shared_objects(&loader, path)?;
    files.push(loader);
    for name in NAME_SERVICE {
        let beside_libc = files
            .iter()
            .find(|file| file.ends_with("libc.so.6"))
            .map(|libc| libc.with_file_name(name))
            .filter(|module| module.exists());
        files.extend(beside_libc);
    }
    files.sort();
    files.dedup();
    Ok(Needs { files })
}

/// The loader that a binary for this machine names; none for a static one.
pub(super) fn loader(data: &[u8]) -> Result<Option<PathBuf>, String> {
    let elf = ElfFile64::<Endianness>::parse(data)
        .map_err(|error| format!("it is no 64-bit ELF binary ({error})"))?;
    let native =
        if cfg!(target_arch = "x86_64") { Architecture::X86_64 } else { Architecture::Aarch64 };
    if elf.architecture() != native {
        return Err(format!("it is built for {:?}, not for this machine", elf.architecture()));
    }
    let endian = elf.endian();
    let headers =
        elf.elf_header().program_headers(endian, data).map_err(|error| error.to_string())?;
    Ok(headers
        .iter()
        .find_map(|header| header.interpreter(endian, data).ok().flatten())
        .map(|bytes| PathBuf::from(String::from_utf8_lossy(bytes).into_owned())))
}

/// The shared objects that the binary's own loader would load. `--list` does not run the program;
/// glibc's and musl's loaders both know it.
fn shared_objects(loader: &Path, binary: &Path) -> Result<Vec<PathBuf>, Error> {
    let refused = |text: String| Error::Binary { path: binary.to_owned(), text };
    let output = Command::new(loader)
        .arg("--list")
        .arg(binary)
        .output()
        .map_err(|error| refused(format!("its loader `{}`: {error}", loader.display())))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(refused(format!("its loader says: {}", text.trim())));
    }
    parse_list(&String::from_utf8_lossy(&output.stdout))
        .map_err(|name| refused(format!("the shared object `{name}` is not on this host")))
}

/// Lines are `name => /path (address)`, `name => not found`, or `/path (address)`.
pub(super) fn parse_list(text: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let target = match line.split_once("=>") {
            Some((name, rest)) if rest.trim().starts_with("not found") => {
                return Err(name.trim().to_owned());
            }
            Some((_, rest)) => rest.trim(),
            None => line,
        };
        let path = target.split(" (").next().unwrap_or_default();
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_loaders_list() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(parse_list(text).unwrap(), expected.map(PathBuf::from));
        assert_eq!(parse_list("\tlibfoo.so => not found\n"), Err("libfoo.so".to_owned()));
    }

    #[test]
    fn this_very_test_needs_a_loader_and_a_libc() {
        let needs = needs(&std::env::current_exe().unwrap()).unwrap();
        assert!(needs.files.iter().any(|file| file.ends_with("libc.so.6")), "{needs:?}");
        assert!(needs.files.iter().all(|file| file.exists()), "{needs:?}");
    }

    #[test]
    fn a_static_binary_needs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (source, binary) = (dir.path().join("a.c"), dir.path().join("a"));
        std::fs::write(&source, "int main(void) { return 0; }").unwrap();
        let built = Command::new("cc").arg("-static").arg("-o").arg(&binary).arg(&source).status();
        assert!(built.expect("a C compiler is there").success());
        assert_eq!(needs(&binary).unwrap(), Needs::default());
    }

    #[test]
    fn a_script_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(matches!(needs(&path), Err(Error::Binary { .. })));
    }
}
