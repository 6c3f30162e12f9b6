//! npm packages. In: a manifest with exact versions, and a directory that stays from run to run. Out: the packages installed there, in
//! exactly those versions, and node to run them. It runs no script of a package, and installs nothing that is there already.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

use rig::process;

/// The distribution's packages that hold node and npm.
const PROGRAMS: &str = "nodejs npm";

/// Where node and the packages are.
pub(crate) struct Packages {
    pub(crate) node: PathBuf,
    pub(crate) modules: PathBuf,
    wanted: Vec<Package>,
}

/// A package of a manifest: the name of its directory, and what npm installs there, such as `name@version`.
struct Package {
    directory: String,
    package: String,
}

impl Packages {
    /// Installs the packages that are not there yet, and blocks meanwhile.
    pub(crate) fn install(directory: &Path, manifest: &str) -> Result<Packages> {
        let node = process::program("node", PROGRAMS)?;
        let npm = process::program("npm", PROGRAMS)?;
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        let packages = Packages { node, modules: directory.join("node_modules"), wanted: wanted(manifest)? };
        if packages.are_there() {
            return Ok(packages);
        }
        std::fs::write(directory.join("package.json"), manifest).context("cannot write package.json")?;
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
    pub(crate) fn names(&self) -> String {
        self.wanted.iter().map(|wanted| wanted.package.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn are_there(&self) -> bool {
        self.wanted.iter().all(|wanted| {
            let manifest = self.modules.join(&wanted.directory).join("package.json");
            let manifest = std::fs::read_to_string(manifest).unwrap_or_default();
            serde_json::from_str::<Value>(&manifest).is_ok_and(|manifest| manifest["version"] == *wanted.version())
        })
    }
}

impl Package {
    fn version(&self) -> &str {
        self.package.rsplit('@').next().unwrap_or_default()
    }
}

/// Returns a manifest that names only one of the packages of another one.
pub(crate) fn only(manifest: &str, name: &str) -> Result<String> {
    let mut manifest: Value = serde_json::from_str(manifest).context("package.json is no JSON")?;
    let version = manifest["dependencies"][name].as_str().with_context(|| format!("package.json has no {name}"))?;
    manifest["dependencies"] = json!({name: version});
    Ok(manifest.to_string())
}

fn wanted(manifest: &str) -> Result<Vec<Package>> {
    let manifest: Value = serde_json::from_str(manifest).context("package.json is no JSON")?;
    let dependencies = manifest["dependencies"].as_object().context("package.json names no dependencies")?;
    let wanted = dependencies.iter().map(|(name, version)| {
        let version = version.as_str().with_context(|| format!("{name} has no version"))?;
        // `npm:` stands before a package that goes into a directory of another name.
        let package = version.strip_prefix("npm:").map_or_else(|| format!("{name}@{version}"), str::to_owned);
        Ok(Package { directory: name.clone(), package })
    });
    wanted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFESTS: [&str; 2] = [include_str!("../peers/package.json"), include_str!("../compat/package.json")];

    #[test]
    fn versions_are_exact() {
        for package in MANIFESTS.iter().flat_map(|manifest| wanted(manifest).unwrap()) {
            let version = package.version().split('-').next().unwrap();

            assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{}", package.package);
            assert_eq!(version.split('.').count(), 3, "{}", package.package);
        }
    }

    #[test]
    fn a_package_may_stand_in_a_directory_of_another_name() {
        let manifest =
            json!({"dependencies": {"postgresql-9": "npm:@servers/postgres@9.6.1-beta.2", "other": "1.0.0"}});

        let wanted = wanted(&only(&manifest.to_string(), "postgresql-9").unwrap()).unwrap();

        assert_eq!(wanted.len(), 1);
        assert_eq!((&*wanted[0].directory, &*wanted[0].package), ("postgresql-9", "@servers/postgres@9.6.1-beta.2"));
        assert_eq!(wanted[0].version(), "9.6.1-beta.2");
    }
}
