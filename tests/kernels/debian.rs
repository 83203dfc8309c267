//! Debian's kernels, fetched as packages when a test needs them and kept in the user's cache.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A kernel of one of Debian's releases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    /// The start of its version.
    pub(crate) version: &'static str,
    /// The release, as `apt` names it.
    suite: &'static str,
    /// Mirrors, most current first: old releases move to the archive.
    mirrors: &'static [&'static str],
}

const CURRENT: &[&str] = &["http://deb.debian.org/debian"];
const AGEING: &[&str] = &["http://deb.debian.org/debian", "http://archive.debian.org/debian"];

/// Peaks can be reset on one's own descriptor.
pub(crate) const V6_12: Kernel =
    Kernel { version: "6.12", suite: "bookworm-backports", mirrors: CURRENT };
/// Peaks are kept and can't be reset.
pub(crate) const V6_1: Kernel = Kernel { version: "6.1", suite: "bookworm", mirrors: CURRENT };
/// Peaks are not kept.
pub(crate) const V5_10: Kernel = Kernel { version: "5.10", suite: "bullseye", mirrors: AGEING };

/// The package that depends on the newest kernel for virtual machines.
const META: &str = "linux-image-cloud-amd64";

impl Kernel {
    /// The kernel's image, from the cache or from the network.
    pub(crate) fn image(&self) -> Result<PathBuf, String> {
        let dir = cache()?.join(self.version);
        let image = dir.join("vmlinuz");
        if image.exists() {
            return Ok(image);
        }
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let tried = self.mirrors.iter().map(|mirror| self.fetch(mirror, &dir, &image));
        let failed: Vec<String> = tried.map_while(Result::err).collect();
        if image.exists() { Ok(image) } else { Err(failed.join("; ")) }
    }

    fn fetch(&self, mirror: &str, cache: &Path, image: &Path) -> Result<(), String> {
        let work = tempfile::tempdir_in(cache).map_err(|error| error.to_string())?;
        let apt =
            Apt::new(work.path(), &format!("deb [trusted=yes] {mirror} {} main", self.suite))?;
        apt.run("apt-get", &["update"])?;
        let shown = apt.run("apt-cache", &["show", META])?;
        let package = shown
            .lines()
            .filter_map(|line| line.strip_prefix("Depends: "))
            .flat_map(|line| line.split([',', ' ']))
            .find(|name| name.starts_with(&format!("linux-image-{}", self.version)))
            .ok_or_else(|| format!("{META} of {} depends on no {}", self.suite, self.version))?;
        apt.run("apt-get", &["download", package])?;
        let file = fs::read_dir(work.path())
            .map_err(|error| error.to_string())?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or("nothing was downloaded")?;
        unpack(&file, image)
    }
}

/// Where kernels are kept, outside of the repository.
fn cache() -> Result<PathBuf, String> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    Ok(base.ok_or("there is no $HOME to keep kernels in")?.join("highwater/kernels"))
}

/// `apt` with lists and packages of its own, so that neither root nor the system's lists matter.
struct Apt<'a> {
    dir: &'a Path,
    options: Vec<String>,
}

impl<'a> Apt<'a> {
    fn new(dir: &'a Path, source: &str) -> Result<Self, String> {
        let at = |name: &str| dir.join(name).display().to_string();
        for name in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(dir.join(name)).map_err(|error| error.to_string())?;
        }
        fs::write(dir.join("sources.list"), format!("{source}\n")).map_err(|e| e.to_string())?;
        let options = [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("Dir::Etc::preferencesparts", "-".to_owned()),
            ("Dir::State::lists", at("lists")),
            ("Dir::Cache::archives", at("archives")),
            ("Dir::Cache::pkgcache", String::new()),
            ("Dir::Cache::srcpkgcache", String::new()),
            ("APT::Sandbox::User", String::new()),
            ("APT::Architecture", "amd64".to_owned()),
            ("Acquire::Check-Valid-Until", "false".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
        ];
        let options = options.map(|(key, value)| format!("-o{key}={value}")).to_vec();
        Ok(Self { dir, options })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(program)
            .args(&self.options)
            .args(arguments)
            .current_dir(self.dir)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("{program} {}: {}", arguments.join(" "), words.trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Takes the kernel's image out of a package, in one step.
fn unpack(package: &Path, image: &Path) -> Result<(), String> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("dpkg-deb: {error}"))?;
    let pipe = child.stdout.take().ok_or("dpkg-deb has no output")?;
    let found = take_image(pipe).map_err(|error| error.to_string());
    let _ = child.kill();
    let _ = child.wait();
    let bytes = found?.ok_or("the package holds no kernel")?;
    let part = image.with_extension(format!("part-{}", std::process::id()));
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, image))
        .map_err(|error| format!("{}: {error}", image.display()))
}

fn take_image(archive: impl Read) -> std::io::Result<Option<Vec<u8>>> {
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.is_some_and(|name| name.starts_with("vmlinuz-")) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
