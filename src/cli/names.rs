//! Tells destinations of one name apart. In: the names of several, with their tenants and lanes. Out: each as people read it: its name, and where
//! another one has the same, its tenant and its lane beside it, which every command takes. It never does I/O.

use std::collections::HashMap;

/// How often each name is taken.
pub(super) struct Names(HashMap<String, usize>);

impl Names {
    /// Takes one name for each destination.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Names {
        let mut taken = HashMap::new();
        names.for_each(|name| *taken.entry(name.to_owned()).or_default() += 1);
        Names(taken)
    }

    /// Returns the name, with the lane and the tenant if it is not the only one.
    pub(super) fn shown(&self, name: &str, tenant: &str, lane: &str) -> String {
        format!("{name}{}", self.beside(name, tenant, lane))
    }

    /// Returns what stands beside the name, which is nothing if it is the only one.
    pub(super) fn beside(&self, name: &str, tenant: &str, lane: &str) -> String {
        match self.0.get(name) {
            Some(2..) => format!(" ({})", with_tenant(lane, tenant)),
            _ => String::new(),
        }
    }
}

/// Returns a lane or an id with the tenant beside it, if there is one.
pub(super) fn with_tenant(key: &str, tenant: &str) -> String {
    if tenant.is_empty() { key.to_owned() } else { format!("{key} of tenant {tenant}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_two_have_is_told_apart_and_another_stays_as_it_is() {
        let names = Names::of(["erp", "quality", "erp"].into_iter());

        assert_eq!(names.shown("erp", "acme", "andon.webhooks/1"), "erp (andon.webhooks/1 of tenant acme)");
        assert_eq!(names.shown("erp", "", "andon.webhooks/2"), "erp (andon.webhooks/2)");
        assert_eq!(names.shown("quality", "acme", "andon.webhooks/3"), "quality");
    }
}
