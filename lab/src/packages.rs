//! The peers as npm packages. In: a directory that stays from run to run. Out: the packages of `lab/peers/package.json` installed there, in
//! exactly those versions, and node to run them. It runs no script of a package, and installs nothing that is there already.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;

use rig::process;

/// The distribution's packages that hold node and npm.
const PROGRAMS: &str = "nodejs npm";
const WANTED: &str = include_str!("../../../peers/package.json");

/// Where node and the packages are.
pub(super) struct Packages {
    pub(super) node: PathBuf,
    pub(super) modules: PathBuf,
    versions: Vec<(String, String)>,
}

impl Packages {
    /// Installs the packages that are not there yet, and blocks meanwhile.
    pub(super) fn install(directory: &Path) -> Result<Packages> {
        let node = process::program("node", PROGRAMS)?;
        let npm = process::program("npm", PROGRAMS)?;
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        let packages = Packages { node, modules: directory.join("node_modules"), versions: wanted(WANTED)? };
        if packages.are_there() {
            return Ok(packages);
        }
        std::fs::write(directory.join("package.json"), WANTED).context("cannot write package.json")?;
        let installed = Command::new(npm)
            .args(["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .output()
            .context("cannot run npm")?;
        let told = String::from_utf8_lossy(&installed.stderr);
        ensure!(installed.status.success(), "npm cannot install {} ({}):\n{told}", packages.names(), installed.status);
        ensure!(packages.are_there(), "npm did not install {} in these versions:\n{told}", packages.names());
        Ok(packages)
    }

    /// Returns the names and versions of the packages.
    pub(super) fn names(&self) -> String {
        self.versions.iter().map(|(name, version)| format!("{name}@{version}")).collect::<Vec<_>>().join(" ")
    }

    fn are_there(&self) -> bool {
        self.versions.iter().all(|(name, version)| {
            let manifest = std::fs::read_to_string(self.modules.join(name).join("package.json")).unwrap_or_default();
            serde_json::from_str::<Value>(&manifest).is_ok_and(|manifest| manifest["version"] == **version)
        })
    }
}

fn wanted(manifest: &str) -> Result<Vec<(String, String)>> {
    let manifest: Value = serde_json::from_str(manifest).context("package.json is no JSON")?;
    let dependencies = manifest["dependencies"].as_object().context("package.json names no dependencies")?;
    let versions = dependencies.iter().map(|(name, version)| {
        Ok((name.clone(), version.as_str().with_context(|| format!("{name} has no version"))?.to_owned()))
    });
    versions.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_exact() {
        let versions = wanted(WANTED).unwrap();

        assert!(versions.iter().any(|(name, _)| name == "node-red"));
        assert!(versions.iter().any(|(name, _)| name == "graphile-worker"));
        for (name, version) in versions {
            assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{name}: {version}");
        }
    }
}
