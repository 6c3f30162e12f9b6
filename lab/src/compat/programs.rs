//! Where the programs come from that the distribution does not have in these versions. In: a directory that stays from run to run. Out:
//! packages of npm and pip, installed there in the versions of `lab/compat`, and what has to be done for them to run. An absent installer
//! or package is an error that names it.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use serde::Deserialize;

use rig::process;

use crate::packages;
use crate::packages::Packages;

const NPM: &str = include_str!("../../compat/package.json");
const PIP: &str = include_str!("../../compat/requirements.txt");

/// The directory of the packages.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    directory: PathBuf,
}

/// A Python that finds the packages in a directory.
pub(super) struct Python {
    pub(super) program: PathBuf,
    pub(super) modules: PathBuf,
    /// The package and its version, as people write them.
    pub(super) title: String,
}

/// A symbolic link that npm cannot carry: where it points to, and where it stands.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

impl Programs {
    pub(super) fn new(directory: &Path) -> Result<Programs> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Programs { directory: directory.canonicalize()? })
    }

    /// Installs one package of `package.json`, in a directory of its own, so that one that cannot be had costs no other.
    pub(super) fn npm(&self, name: &str) -> Result<Packages> {
        Packages::install(&self.directory.join(name), &packages::only(NPM, name)?)
    }

    /// Installs a PostgreSQL and returns the directory of its programs.
    pub(super) fn postgres(&self, name: &str) -> Result<PathBuf> {
        let root = self.npm(name)?.modules.join(name);
        // The script of the package would make these links, but no script of a package is run.
        let links =
            std::fs::read_to_string(root.join("native/pg-symlinks.json")).context("the package has no links")?;
        for link in serde_json::from_str::<Vec<Link>>(&links).context("cannot read the links of the package")? {
            let (file, place) = (link.source.file_name().context("a link points nowhere")?, root.join(&link.target));
            if !place.exists() {
                std::os::unix::fs::symlink(file, &place)
                    .with_context(|| format!("cannot make the link {}", place.display()))?;
            }
        }
        Ok(root.join("native/bin"))
    }

    /// Installs amqtt.
    pub(super) fn amqtt(&self) -> Result<Python> {
        let program = python()?;
        let wanted = PIP.trim();
        let (name, version) = wanted.split_once("==").context("requirements.txt names no version")?;
        let modules = self.directory.join(name);
        if !modules.join(format!("{name}-{version}.dist-info")).exists() {
            let installed = Command::new(&program)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"])
                .arg(&modules)
                .arg(wanted)
                .stdin(Stdio::null())
                .output()
                .context("cannot run pip")?;
            let told = String::from_utf8_lossy(&installed.stderr);
            ensure!(
                installed.status.success(),
                "pip cannot install {wanted} (apt-get install python3-pip, if it is not there):\n{told}"
            );
        }
        Ok(Python { program, modules, title: format!("{name} {version}") })
    }
}

/// Returns Python itself. What stands in `PATH` may be a script that chooses one.
fn python() -> Result<PathBuf> {
    let chosen = process::program("python3", "python3")?;
    let itself = Command::new(chosen).args(["-c", "import sys; print(sys.executable)"]).stdin(Stdio::null()).output();
    let itself = String::from_utf8(itself.context("cannot run python3")?.stdout).context("python3 has an odd name")?;
    Ok(PathBuf::from(itself.trim()))
}

/// Returns the version of a package of the distribution, as its authors number it, or nothing where the distribution cannot say.
pub(super) fn version(package: &str) -> String {
    let asked =
        Command::new("dpkg-query").args(["--show", "--showformat=${Version}", package]).stdin(Stdio::null()).output();
    asked.map(|asked| upstream(&String::from_utf8_lossy(&asked.stdout)).to_owned()).unwrap_or_default()
}

/// Cuts the epoch and the revision off the version of a package.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.split(['-', '+']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_that_of_its_authors() {
        assert_eq!(upstream("3.10.8-1.1+deb12u1"), "3.10.8");
        assert_eq!(upstream("1:25.2.3+dfsg-1"), "25.2.3");
        assert_eq!(upstream(""), "");
    }

    #[test]
    fn what_pip_installs_has_an_exact_version() {
        assert!(PIP.lines().all(|line| line.contains("==")), "{PIP}");
    }
}
