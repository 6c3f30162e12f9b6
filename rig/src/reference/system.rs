//! The reference systems. In: a name, or the path of a mapping next to its schema and shift. Out: the text of all three, with the shift
//! read. A further system needs only its three files; a line here makes it known by its name.

use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;

use serde::Deserialize;

use crate::reference::shift::Shift;

/// A system with everything that it takes to show it at work.
#[derive(Debug, Clone)]
pub struct System {
    /// Its name, from the mapping.
    pub name: String,
    /// The text of its mapping, which says which changes become events.
    pub mapping: String,
    /// Its own table of MQTT publishers, if it has one.
    pub mqtt_publishers: Option<String>,
    /// Its own table of webhooks, if it has one.
    pub webhooks: Option<String>,
    /// Its reference schema.
    pub schema: String,
    /// The work that happens in it.
    pub shift: Shift,
}

/// The part of a mapping that the rig has to know.
#[derive(Deserialize)]
struct Head {
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    name: String,
    mqtt_publishers: Option<String>,
    webhooks: Option<String>,
}

macro_rules! known {
    ($($name:literal),* $(,)?) => {
        /// Name, mapping, schema, shift.
        const KNOWN: &[(&str, [&str; 3])] = &[$((
            $name,
            [
                include_str!(concat!("../../../config/sources/", $name, ".toml")),
                include_str!(concat!("../../../config/sources/", $name, ".schema.sql")),
                include_str!(concat!("../../../config/sources/", $name, ".shift.sql")),
            ],
        )),*];
    };
}

known!["eryxon", "plant-mes", "leanops", "productions", "cnc-platform"];

/// Returns the names of the known systems.
pub fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

impl System {
    /// Finds a system by its name or by the path of its mapping.
    pub fn find(name: &str) -> Result<System> {
        if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
            return System::read(Path::new(name));
        }
        match KNOWN.iter().find(|(known, _)| *known == name) {
            Some((_, [mapping, schema, shift])) => System::new(&format!("{name}.toml"), mapping, schema, shift),
            None => {
                let all = names().collect::<Vec<_>>().join(", ");
                let nearest = nearest(name).map_or(String::new(), |found| format!("; did you mean `{found}`?"));
                bail!("there is no system `{name}`{nearest} Take one of {all}, or the path of a mapping (NAME.toml)")
            }
        }
    }

    fn read(path: &Path) -> Result<System> {
        let read = |extension: &str| {
            let path = path.with_extension(extension);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        System::new(&path.display().to_string(), &read("toml")?, &read("schema.sql")?, &read("shift.sql")?)
    }

    fn new(file: &str, mapping: &str, schema: &str, shift: &str) -> Result<System> {
        // The rest of the mapping is for Andon to read, which explains better what is wrong with it.
        let Head { source } = toml::from_str(mapping).with_context(|| format!("cannot read the mapping {file}"))?;
        Ok(System {
            name: source.name,
            mapping: mapping.to_owned(),
            mqtt_publishers: source.mqtt_publishers,
            webhooks: source.webhooks,
            schema: schema.to_owned(),
            shift: Shift::parse(shift).with_context(|| format!("the shift of {file}"))?,
        })
    }
}

/// Returns the known name that a mistyped one most likely meant. Up to a third of its letters may be wrong.
fn nearest(name: &str) -> Option<&'static str> {
    let (distance, known) = names().map(|known| (strsim::osa_distance(name, known), known)).min()?;
    (distance <= (name.chars().count() / 3).max(1)).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::System;
    use super::names;

    #[test]
    fn every_known_system_can_be_read_by_name_and_by_path() {
        for name in names() {
            let by_name = System::find(name).unwrap();
            let path = format!("{}/../config/sources/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            let by_path = System::find(&path).unwrap();

            assert_eq!(by_name.name, name);
            assert_eq!(by_name.shift, by_path.shift);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_and_the_list() {
        let said = System::find("eryxn").unwrap_err().to_string();

        assert!(said.contains("did you mean `eryxon`?") && said.contains("one of eryxon"), "{said}");
    }
}
