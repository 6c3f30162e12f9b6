//! Enumerations as text. In: an expression, and its type. Out: SQL that gives the label by PostgreSQL's own functions. To JSON or to text
//! PostgreSQL would go by a cast of the type, which its owner may make of a function of his own.

use tokio_postgres::types::Kind;
use tokio_postgres::types::Type;

use crate::capture::sensitivity::Use;
use crate::capture::sql::quote::identifier;

/// Returns an expression of a rule so that no cast of its type counts; `used` has the types of all expressions that become text or JSON.
pub(super) fn shown(sql: &str, used: &[(String, Use, Option<Type>)]) -> String {
    let typed = used.iter().filter(|(_, it, _)| *it != Use::Value).find(|(known, ..)| known == sql);
    typed.and_then(|(_, _, data_type)| data_type.as_ref()).map_or_else(|| sql.to_owned(), |it| labels(sql, it))
}

/// Returns the label of an enumeration, or an array of labels; other values as they are.
pub(super) fn labels(sql: &str, data_type: &Type) -> String {
    match data_type.kind() {
        // PostgreSQL says of a domain what it rests on, and its function takes no domain.
        Kind::Enum(_) => format!("textin(enum_out(({sql})::{}))", name(data_type)),
        Kind::Array(inner) if matches!(inner.kind(), Kind::Enum(_)) => format!("textin(array_out({sql}))::text[]"),
        Kind::Domain(inner) => {
            let base = format!("({sql})::{}", name(inner));
            let shown = labels(&base, inner);
            if shown == base { sql.to_owned() } else { shown }
        }
        _ => sql.to_owned(),
    }
}

fn name(data_type: &Type) -> String {
    format!("{}.{}", identifier(data_type.schema()), identifier(data_type.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_enumerations_are_shown_by_other_means_than_the_cast_of_their_type() {
        let mood = Type::new("mood".to_owned(), 100_000, Kind::Enum(vec!["good".to_owned()]), "mes".to_owned());
        let of = |name: &str, kind: Kind| Type::new(name.to_owned(), 100_001, kind, "mes".to_owned());

        assert_eq!(labels("this.mood", &mood), "textin(enum_out((this.mood)::mes.mood))");
        assert_eq!(labels("m", &of("_mood", Kind::Array(mood.clone()))), "textin(array_out(m))::text[]");
        assert_eq!(labels("m", &of("d", Kind::Domain(mood))), "textin(enum_out(((m)::mes.mood)::mes.mood))");
        assert_eq!(labels("m", &of("d", Kind::Domain(Type::INT4))), "m");
        assert_eq!(labels("m", &Type::TEXT_ARRAY), "m");
    }
}
