//! Expressions and what can change them.

use super::*;

fn rows() -> Rows {
    let columns: &[(&str, Type)] = &[
        ("id", Type::INT4),
        ("status", Type::TEXT),
        ("uid", Type::UUID),
        ("amount", Type::NUMERIC),
        ("day", Type::DATE),
        ("at", Type::TIMESTAMPTZ),
        ("took", Type::INTERVAL),
        ("speed", Type::FLOAT8),
        ("raw", Type::BYTEA),
        ("cost", Type::MONEY),
        ("span", Type::TSTZ_RANGE),
        ("speeds", Type::FLOAT8_ARRAY),
        ("doc", Type::JSONB),
    ];
    let columns = Arc::new(columns.iter().map(|(name, data_type)| ((*name).to_owned(), data_type.clone())).collect());
    vec![
        ("new".to_owned(), Arc::clone(&columns)),
        ("old".to_owned(), Arc::clone(&columns)),
        ("this".to_owned(), columns),
    ]
}

fn condition(sql: &str) -> Vec<Setting> {
    of_expression(sql, &rows(), Use::Value, Some(&Type::BOOL)).into_iter().collect()
}

fn sent(column: &str, used: Use) -> Vec<Setting> {
    let (rows, sql) = (rows(), format!("new.{column}"));
    let result = columns(&sql, &rows)[0].clone();
    of_expression(&sql, &rows, used, Some(&result)).into_iter().collect()
}

#[test]
fn what_most_mappings_say_depends_on_no_setting() {
    for sql in [
        "new.status = 'completed'",
        "old.at is null and new.at is not null",
        "new.status in ('a', 'b2') and old.status not in ('c')",
        "new.id > 3 and new.speed > 1.5 and coalesce(new.amount, 0) >= 7",
        "lower(new.status) = 'x' or new.uid = old.uid",
        "new.id::text = '7'",
        "new.uid::text || '-' || new.status = 'a-1'",
        "new.day > old.day",
        "new.at > now()",
        "new.at::date > old.at::date",
        "date_trunc('day', new.at) = new.at",
        "new.doc ->> 'k1' = 'v'",
        "extract(epoch from new.at - old.at) > 60",
        "case when new.status = 'x1' then new.speed > 3 else new.uid is null end",
    ] {
        assert_eq!(condition(sql), [], "{sql}");
    }
    for column in ["id", "status", "uid", "amount", "doc"] {
        assert_eq!(sent(column, Use::Json), [], "{column}");
        assert_eq!(sent(column, Use::Text), [], "{column}");
    }
}

#[test]
fn a_value_depends_on_the_settings_of_its_type() {
    assert_eq!(sent("day", Use::Text), [Setting::DateStyle]);
    assert_eq!(sent("at", Use::Text), [Setting::DateStyle]);
    assert_eq!((sent("day", Use::Json), sent("at", Use::Json)), (vec![], vec![]));
    assert_eq!(sent("span", Use::Json), [Setting::DateStyle], "the ends of a range are text");
    assert_eq!(sent("took", Use::Json), [Setting::IntervalStyle]);
    assert_eq!(sent("speed", Use::Json), [Setting::ExtraFloatDigits]);
    assert_eq!(sent("speeds", Use::Json), [Setting::ExtraFloatDigits]);
    assert_eq!(sent("raw", Use::Json), [Setting::ByteaOutput]);
    assert_eq!(sent("cost", Use::Json), [Setting::LcMonetary]);
}

#[test]
fn what_is_made_text_or_read_from_text_depends_on_what_it_is_made_of() {
    for (sql, expected) in [
        ("new.day::text = 'x'", vec![Setting::DateStyle]),
        ("cast(new.day as text) = 'x'", vec![Setting::DateStyle]),
        ("new.status || new.took = 'x'", vec![Setting::IntervalStyle]),
        ("concat(new.speed, 'x') = 'y'", vec![Setting::ExtraFloatDigits]),
        ("new.day = '03/04/2026'", vec![Setting::DateStyle]),
        ("new.took > '-1 2:03'", vec![Setting::IntervalStyle]),
        ("new.cost > '7'", vec![Setting::LcMonetary]),
        ("new.status::date > old.day", vec![Setting::DateStyle]),
        ("(new.doc ->> 'at')::date > old.day", vec![Setting::DateStyle]),
        ("date '03/04/2026' < new.day", vec![Setting::DateStyle]),
        ("(new.at - old.at)::text = 'x'", vec![Setting::DateStyle, Setting::IntervalStyle]),
        ("to_jsonb(new.took) is null", vec![Setting::IntervalStyle]),
        ("new.status = null", vec![Setting::TransformNullEquals]),
        (r"new.status ~ '^a\d'", vec![Setting::StandardConformingStrings, Setting::BackslashQuote]),
        ("new.status = any ('{a,null}')", vec![Setting::ArrayNulls]),
    ] {
        assert_eq!(condition(sql), expected, "{sql}");
    }
    assert!(condition("to_char(new.at, 'TMDay') = 'x'").contains(&Setting::LcTime));
}

#[test]
fn what_a_function_of_the_plant_depends_on_is_not_known() {
    assert_eq!(condition("public.is_late(new.id)"), Setting::ALL);
    assert_eq!(condition("to_tsvector(new.status) @@ 'x'"), Setting::ALL);
    assert_eq!(condition("new.status::public.mine is null").len(), 5);
}
