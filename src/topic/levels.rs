//! The ISA-95 levels that a publisher and the equipment map give to topics, by name. They are plain values.

use std::collections::HashMap;

use crate::topic::pattern::Level;

/// The levels of ISA-95, from broad to narrow, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Levels {
    /// The company.
    pub enterprise: Option<String>,
    /// The plant.
    pub site: Option<String>,
    /// The part of the plant.
    pub area: Option<String>,
    /// The production line: the work center of a discrete plant.
    pub line: Option<String>,
    /// The work cell: the work unit of a discrete plant.
    pub cell: Option<String>,
}

impl Levels {
    pub(super) fn get(&self, level: Level) -> Option<&str> {
        let value = match level {
            Level::Enterprise => &self.enterprise,
            Level::Site => &self.site,
            Level::Area => &self.area,
            Level::Line => &self.line,
            Level::Cell => &self.cell,
        };
        value.as_deref().filter(|text| !text.is_empty())
    }
}

/// The levels of each cell, for databases that do not know them. The key is the name of the cell as events give it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Equipment(pub HashMap<String, Levels>);
