//! An image from a binary: a root file system as a tar archive, with what the binary needs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::{Error, elf};

/// Where the binary lies in the image.
pub(super) const DIRECTORY: &str = "app";

/// Directories that a program may count on, with their modes.
const DIRECTORIES: [(&str, u32); 6] = [
    ("app", 0o755),
    ("tmp", 0o1777),
    ("etc", 0o755),
    ("var", 0o755),
    ("run", 0o755),
    ("root", 0o700),
];

/// Small files that make names resolve.
const FILES: [(&str, &str); 3] = [
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
];

/// Where hosts keep their CA certificates, most common first.
const CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Where an image keeps them.
const IN_IMAGE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// All directories above these files, but for those that are made anyway, from the root on.
fn directories_of<'a>(files: impl Iterator<Item = &'a Path>) -> BTreeSet<String> {
    let above = files.flat_map(|file| file.ancestors().skip(1));
    let names = above.map(|dir| dir.to_string_lossy().trim_start_matches('/').to_owned());
    let made = |name: &str| name.is_empty() || DIRECTORIES.iter().any(|(made, _)| *made == name);
    names.filter(|name| !made(name)).collect()
}

/// Whether every loader looks in a library directory: `/lib`, `/usr/lib64`, `/lib/x86_64-linux-gnu`.
fn is_known_library(dir: &Path) -> bool {
    let below_usr = dir.strip_prefix("/usr").or_else(|_| dir.strip_prefix("/")).unwrap_or(dir);
    let multiarch = format!("lib/{}-linux-gnu", std::env::consts::ARCH);
    ["lib", "lib64", &multiarch].iter().any(|known| Path::new(known) == below_usr)
}

/// The path of a binary in the image.
pub(super) fn entry_point(binary: &Path) -> String {
    let name = binary.file_name().map_or_else(|| "target".into(), |name| name.to_string_lossy());
    format!("/{DIRECTORY}/{name}")
}

/// A root file system for a binary, written to `out`. Gives the library directories that its
/// loader must be told of.
pub(super) fn write_root(binary: &Path, out: impl Write) -> Result<Vec<PathBuf>, Error> {
    let needs = elf::needs(binary)?;
    let failed = |source| Error::File { action: "pack", path: binary.to_owned(), source };
    let mut tar = Builder::new(out);
    for (name, mode) in DIRECTORIES {
        append(&mut tar, name, EntryType::Directory, mode, 0, io::empty()).map_err(failed)?;
    }
    for (name, text) in FILES {
        append(&mut tar, name, EntryType::Regular, 0o644, text.len() as u64, text.as_bytes())
            .map_err(failed)?;
    }
    let certificates = CERTIFICATES.iter().find(|path| Path::new(path).exists());
    // What unpacks an archive may give directories that are not in it a mode of its own: without
    // root's rights nobody could look into these.
    let files = needs.files.iter().map(PathBuf::as_path);
    for name in directories_of(files.chain(certificates.map(|_| Path::new(IN_IMAGE)))) {
        append(&mut tar, &name, EntryType::Directory, 0o755, 0, io::empty()).map_err(failed)?;
    }
    if let Some(path) = certificates {
        append_file(&mut tar, Path::new(path), IN_IMAGE.trim_start_matches('/'), 0o644)?;
    }
    for file in &needs.files {
        let name = file.to_string_lossy();
        append_file(&mut tar, file, name.trim_start_matches('/'), 0o755)?;
    }
    append_file(&mut tar, binary, entry_point(binary).trim_start_matches('/'), 0o755)?;
    tar.into_inner().and_then(|mut out| out.flush()).map_err(failed)?;
    let mut unusual: Vec<PathBuf> = needs
        .files
        .iter()
        .filter_map(|file| file.parent())
        .filter(|dir| !is_known_library(dir))
        .map(Path::to_owned)
        .collect();
    unusual.sort();
    unusual.dedup();
    Ok(unusual)
}

/// A build context of one binary and the Dockerfile that puts it on a base image.
///
/// `label` comes first, so that what a build leaves that is cut off carries it, too.
pub(super) fn write_context(
    binary: &Path,
    base: &str,
    label: &str,
    out: impl Write,
) -> Result<(), Error> {
    let failed = |source| Error::File { action: "pack", path: binary.to_owned(), source };
    let entry = entry_point(binary);
    let dockerfile =
        format!("FROM {base}\nLABEL {label}\nCOPY binary {entry}\nENTRYPOINT [{entry:?}]\n");
    let mut tar = Builder::new(out);
    let length = dockerfile.len() as u64;
    append(&mut tar, "Dockerfile", EntryType::Regular, 0o644, length, dockerfile.as_bytes())
        .map_err(failed)?;
    append_file(&mut tar, binary, "binary", 0o755)?;
    tar.into_inner().and_then(|mut out| out.flush()).map_err(failed)
}

/// A directory as a build context, without what its `.dockerignore` names.
pub(super) fn write_directory(dir: &Path, out: impl Write) -> Result<(), Error> {
    let failed = |source| Error::File { action: "pack", path: dir.to_owned(), source };
    let mut ignore = ignore::gitignore::GitignoreBuilder::new(dir);
    ignore.add(dir.join(".dockerignore"));
    let ignore = ignore.build().unwrap_or_else(|_| ignore::gitignore::Gitignore::empty());
    let mut tar = Builder::new(out);
    tar.follow_symlinks(false);
    let walk = ignore::WalkBuilder::new(dir)
        .standard_filters(false)
        .filter_entry(move |entry| {
            let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
            !ignore.matched(entry.path(), is_dir).is_ignore()
        })
        .build();
    for entry in walk {
        let entry = entry.map_err(|error| failed(io::Error::other(error)))?;
        let Ok(name) = entry.path().strip_prefix(dir) else {
            continue;
        };
        if !name.as_os_str().is_empty() {
            tar.append_path_with_name(entry.path(), name).map_err(failed)?;
        }
    }
    tar.into_inner().and_then(|mut out| out.flush()).map_err(failed)
}

fn append_file(
    tar: &mut Builder<impl Write>,
    path: &Path,
    name: &str,
    mode: u32,
) -> Result<(), Error> {
    let failed = |source| Error::File { action: "pack", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    append(tar, name, EntryType::Regular, mode, length, file).map_err(failed)
}

/// One entry, with the same times whenever it is made.
fn append(
    tar: &mut Builder<impl Write>,
    name: &str,
    kind: EntryType,
    mode: u32,
    length: u64,
    data: impl io::Read,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(length);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, name, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_holds_the_binary_its_loader_and_a_writable_tmp() {
        let binary = std::env::current_exe().unwrap();
        let mut bytes = Vec::new();
        write_root(&binary, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries: Vec<(String, u32)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = entry.header().mode().unwrap();
                (entry.path().unwrap().to_string_lossy().into_owned(), mode)
            })
            .collect();
        let has = |wanted: &str| entries.iter().any(|(name, _)| name == wanted);
        assert!(has(entry_point(&binary).trim_start_matches('/')), "{entries:?}");
        assert!(entries.iter().any(|(name, _)| name.contains("ld-linux")), "{entries:?}");
        assert!(has("etc/passwd") && has("etc/nsswitch.conf"));
        // No directory is left to whoever unpacks it, and each comes before what is in it.
        for (index, (name, _)) in entries.iter().enumerate() {
            for dir in Path::new(name).ancestors().skip(1).filter(|dir| *dir != Path::new("")) {
                let before = &entries[..index];
                assert!(before.iter().any(|(name, _)| Path::new(name) == dir), "{dir:?}: {name}");
            }
        }
        let tmp = entries.iter().find(|(name, _)| name.trim_end_matches('/') == "tmp").unwrap();
        assert_eq!(tmp.1, 0o1777);
    }

    #[test]
    fn a_context_leaves_out_what_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in
            [("Dockerfile", "FROM scratch"), (".dockerignore", "big\n"), ("big", "x"), ("a", "y")]
        {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut bytes = Vec::new();
        write_directory(dir.path(), &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, [".dockerignore", "Dockerfile", "a"]);
    }
}
