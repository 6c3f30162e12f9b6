//! Knows the types whose values hold timestamps without a zone. In: a type. Out: whether it does, and its name for people.

use tokio_postgres::types::Kind;
use tokio_postgres::types::Type;

/// Returns the name of a type, for people.
pub(super) fn name_of(data_type: &Type) -> String {
    let name = data_type.name();
    name.strip_prefix('_').map_or(name.to_owned(), |element| format!("{element}[]"))
}

/// Returns whether values of the type hold timestamps without a zone, however deep.
pub(super) fn holds_timestamp(data_type: &Type) -> bool {
    match data_type.kind() {
        Kind::Array(inner) | Kind::Range(inner) | Kind::Multirange(inner) | Kind::Domain(inner) => {
            holds_timestamp(inner)
        }
        Kind::Composite(fields) => fields.iter().any(|field| holds_timestamp(field.type_())),
        _ => *data_type == Type::TIMESTAMP,
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::Type;

    use super::holds_timestamp;

    #[test]
    fn timestamps_without_a_zone_are_found_within_other_types() {
        for holds in [Type::TIMESTAMP, Type::TIMESTAMP_ARRAY, Type::TS_RANGE, Type::TSMULTI_RANGE, Type::TS_RANGE_ARRAY]
        {
            assert!(holds_timestamp(&holds), "{holds}");
        }
        for holds_none in [Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY, Type::TSTZ_RANGE, Type::DATE_RANGE, Type::TEXT] {
            assert!(!holds_timestamp(&holds_none), "{holds_none}");
        }
    }
}
