//! The words in the names of a database. In: a name, in whatever style. Out: its words in lower case, the singular of a plural, and the
//! names that a mapping makes of them.

/// Returns the words of `workOrders`, `work_orders`, `WorkOrders` or `WORK ORDERS`, in lower case and without other characters.
pub(super) fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        let last = at.checked_sub(1).map(|at| letters[at]);
        let begins_word = letter.is_ascii_uppercase()
            && last.is_some_and(|last| {
                let next_is_lower = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
                last.is_ascii_lowercase() || last.is_ascii_digit() || (last.is_ascii_uppercase() && next_is_lower)
            });
        if begins_word || !letter.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(letter.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the name in one style: `work_orders`.
pub(super) fn snake(name: &str) -> String {
    words(name).join("_")
}

/// Returns the words of a table's name, the last in the singular, and without a prefix that says that it is a table.
pub(super) fn thing_words(table: &str) -> Vec<String> {
    let mut words = words(table);
    if words.len() > 1 && ["tbl", "tb", "t"].contains(&words[0].as_str()) {
        words.remove(0);
    }
    if let Some(last) = words.last_mut() {
        *last = singular(last);
    }
    words
}

/// Returns the name of the things in a table: `work_order` for `WorkOrders`.
pub(super) fn thing(table: &str) -> String {
    let name = thing_words(table).join("_");
    if name.is_empty() { "thing".to_owned() } else { name }
}

fn singular(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ies").filter(|stem| stem.len() > 1) {
        return format!("{stem}y");
    }
    let has_es = ["sses", "xes", "ches", "shes", "uses"].iter().any(|end| word.ends_with(end));
    let is_plural = word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    let cut = if has_es { 2 } else { usize::from(is_plural) };
    word[..word.len() - cut].to_owned()
}

#[cfg(test)]
mod tests {
    use super::thing;
    use super::words;

    #[test]
    fn every_style_has_the_same_words() {
        for name in ["work_order_items", "workOrderItems", "WorkOrderItems", "WORK-ORDER ITEMS", "\"work\" order.items"]
        {
            assert_eq!(words(name), ["work", "order", "items"], "{name}");
        }
        assert_eq!(words("MESOrder2Id"), ["mes", "order2", "id"]);
        assert!(words("工单").is_empty());
    }

    #[test]
    fn things_are_named_in_the_singular() {
        let names = ["jobs", "entries", "statuses", "boxes", "process", "Work Orders", "tblBatches", "status", "工单"];

        let things = ["job", "entry", "status", "box", "process", "work_order", "batch", "status", "thing"];
        assert_eq!(names.map(thing), things);
    }
}
