//! Refuses columns that PostgreSQL computes when they are read (virtual generated columns, since version 18). In: an entry and its table. Out:
//! a finding wherever the entry reads such a column of the changed row, because a trigger sees null there.

use crate::capture::check::checker::Checker;
use crate::capture::expression::columns_read;
use crate::capture::mapping::Capture;
use crate::capture::mapping::EventType;
use crate::capture::mapping::Text;
use crate::capture::table::Table;

/// Reports what the entry reads of such columns.
pub(super) fn refuse(checker: &mut Checker<'_>, capture: &Capture, table: &Table) {
    for (column, expression) in &table.computed {
        for text in readers(capture, column) {
            let message = format!(
                "column {column} of {} is computed when it is read (a virtual generated column), so that a trigger sees null; \
                 write what it is computed from, {expression}, with the row before each column, or make it `stored`",
                capture.table
            );
            checker.report(&capture.entry(), &text.field, text.location, message);
        }
    }
}

/// Returns what names the column, or reads it of the changed row.
fn readers<'c>(capture: &'c Capture, column: &str) -> Vec<&'c Text> {
    let listed = capture.of.iter().chain(&capture.columns).filter(|text| text.sql == column);
    let single = [&capture.when, &capture.entity_id, &capture.tenant, &capture.occurred_at].into_iter().flatten();
    let event = if let EventType::Sql(text) = &capture.event { Some(text) } else { None };
    let named = capture.context.iter().chain(&capture.data).map(|(_, text)| text);
    let expressions = single.chain(event).chain(named).chain(capture.lookups.iter().map(|lookup| &lookup.on));
    listed.chain(expressions.filter(|text| columns_read(&text.sql).contains(column))).collect()
}

#[cfg(test)]
mod tests {
    use super::readers;
    use crate::capture::mapping::Mapping;

    #[test]
    fn each_place_that_reads_the_column_is_found_and_no_column_of_another_row() {
        let text = "
            [source]
            name = 'plant'
            tenant = 'this.site'
            [[capture]]
            table = 'orders'
            on = 'update'
            of = ['total', 'price']
            when = 'new.total > 10'
            type = 'order.changed'
            lookup = [{ alias = 'rate', table = 'rates', on = 'rate.total = this.total' }]
            columns = ['total']
            context = { line = 'rate.total' }
            data = { twice = '2 * this.total', text = \"'new.total'\" }";
        let mapping = Mapping::parse("plant.toml", text).unwrap();

        let fields = |column: &str| -> Vec<String> {
            readers(&mapping.captures[0], column).iter().map(|text| text.field.clone()).collect()
        };

        assert_eq!(fields("total"), ["of", "columns", "when", "data.twice", "lookup.rate"]);
        assert_eq!((fields("price"), fields("site")), (vec!["of".to_owned()], vec!["tenant".to_owned()]));
        assert!(fields("pieces").is_empty());
    }
}
