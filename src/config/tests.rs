//! Tests what the configuration says to people who write it.

use super::*;

const URL: (&str, &str) = ("ANDON_DATABASE_URL", "postgres://andon@db/plant");

fn variables(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(text: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    read_with(text, pairs, None)
}

fn read_with(text: &str, pairs: &[(&str, &str)], url: Option<&str>) -> Result<Config, ConfigError> {
    let file = Some(Path::new("andon.toml"));
    let (config, problems) = Config::read(text, file, variables(pairs), url)?;
    if problems.is_empty() { Ok(config) } else { Err(ConfigError::Problems { path: origin(file), problems }) }
}

fn url(config: &Config) -> &str {
    config.database.url.expose()
}

#[test]
fn the_reference_equals_the_defaults() {
    let by_reference = read(REFERENCE, &[URL]).unwrap();
    let by_default = read("", &[URL]).unwrap();

    assert_eq!(by_reference, by_default);
    assert_eq!(by_default.mqtt, MqttSettings::default());
    assert_eq!(by_default.webhook, WebhookSettings::default());
    assert_eq!(by_default.retention, Retention::default());
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let everything: String = REFERENCE.lines().map(|line| uncommented(line).to_owned() + "\n").collect();
    let mut table: toml::Table = everything.parse().unwrap();
    let mut layers = Layers::new(toml::Table::new(), None, Environment::new());
    Config::compose(&mut layers, None);

    let equipment = table.remove("equipment").unwrap();

    let named = |table: &toml::Table| table.keys().cloned().collect::<Vec<_>>();
    for (section, keys) in layers.asked().iter().filter(|(section, _)| *section != "equipment") {
        let Some(toml::Value::Table(written)) = table.remove(section) else { panic!("[{section}] is missing") };
        assert_eq!(named(&written), keys.iter().cloned().collect::<Vec<_>>(), "{section}");
    }
    assert!(table.is_empty(), "{table}");
    assert_eq!(named(equipment["Laser 1"].as_table().unwrap()), ["area", "enterprise", "line", "site"]);
}

/// A key that is commented out is `#key = …` without a space; prose has a space after the `#`.
fn uncommented(line: &str) -> &str {
    line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty()).unwrap_or(line)
}

#[test]
fn every_problem_is_reported_at_once_with_its_key() {
    let text = r#"
        loose = 1
        [database]
        url = "mysql://root:hunter2@db/plant"
        urll = "x"
        [gatway]
        [log]
        memory = "1KiB"
        [mqtt]
        window = 0
        keep_alive = 15
        ca_file = "/nonexistent/ca.pem"
        [webhook]
        retry = ["5s", "soon"]
        timeout = "1y"
        order = "fifo"
        timout = "5s"
        [equipment]
        saw = 3
        [equipment."Laser 1"]
        sight = "Chicago"
    "#;
    let pairs = [("ANDON_WEBHOOK_CONCURRENCY", "many"), ("ANDON_MQTT_WINDOWS", "3"), ("ANDON_DATABSE_URL", "x")];

    insta::assert_snapshot!(read(text, &pairs).unwrap_err(), @r#"
    configuration `andon.toml` cannot be used:
      loose: is not a section; write it below one, as in `[loose]`, or remove it
      database.url: is not the address of a PostgreSQL database; write postgres://user:password@host:5432/name?sslmode=require and percent-encode special characters of the password
      log.memory: `1KiB` is out of bounds; choose a value of at least 1048576 bytes
      mqtt.window: `0` is not a whole number from 1 to 1000
      mqtt.keep_alive: `15` has no unit; write a string such as "15s" or "1MiB"
      mqtt.ca_file: cannot read `/nonexistent/ca.pem`: No such file or directory (os error 2); name a readable file
      ANDON_WEBHOOK_CONCURRENCY: `many` is not a whole number from 1 to 256
      webhook.timeout: `1y` is not a duration; write a number and a unit, such as `500ms`, `15s`, `5m`, `2h` or `14d`
      webhook.retry: `soon` is not a duration; write a number and a unit, such as `500ms`, `15s`, `5m`, `2h` or `14d`
      webhook.order: "fifo" is not one of entity, strict, none
      equipment.saw: is not a table; write `[equipment."saw"]` above its keys
      database.urll: unknown key; did you mean `url`?
      equipment.Laser 1.sight: unknown key; known are area, enterprise, line, site
      gatway: unknown section; did you mean `gateway`?
      webhook.timout: unknown key; did you mean `timeout`?
      ANDON_DATABSE_URL: unknown variable; did you mean `ANDON_DATABASE_URL`?
      ANDON_MQTT_WINDOWS: unknown variable; did you mean `ANDON_MQTT_WINDOW`?
    "#);
}

#[test]
fn what_is_not_toml_is_located_without_showing_the_line() {
    let error = read("[database]\nurl = \"postgres://u:hunter2@db/plant\" x", &[]).unwrap_err();

    insta::assert_snapshot!(error, @"configuration `andon.toml` is not TOML: line 2, column 39: unexpected key or value, expected newline, `#`");
}

#[test]
fn a_variable_beats_the_file_and_an_empty_one_counts_as_none() {
    let text = "[mqtt]\nwindow = 16\norder = 'none'\nkeep_alive = '20s'\n[webhook]\nretry = []";
    let pairs = [
        URL,
        ("ANDON_MQTT_WINDOW", " 8 "),
        ("ANDON_MQTT_KEEP_ALIVE", ""),
        ("ANDON_WEBHOOK_RETRY", "1s, 2m"),
        ("ANDON_LOG_MEMORY", "2MiB"),
        ("ANDON_GATEWAY_GRACE", "1s"),
        ("ANDON_WEBHOOK_ORDER", "strict"),
    ];

    let config = read(text, &pairs).unwrap();

    assert_eq!((config.mqtt.window, config.mqtt.keep_alive), (8, Duration::from_secs(20)));
    assert_eq!(config.webhook.retry, Schedule::parse(&["1s", "2m"]).unwrap());
    assert_eq!((config.log_memory, config.grace), (2 << 20, Duration::from_secs(1)));
    assert_eq!((config.mqtt.order, config.webhook.order), (Order::None, Order::Strict));
}

#[test]
fn the_url_said_for_andon_beats_the_one_for_any_program() {
    let any = ("DATABASE_URL", "postgres://any@db/any");
    let file = "[database]\nurl = 'postgres://file@db/file'";
    let from_command_line = read_with(file, &[URL, any], Some("postgres://line@db/line")).unwrap();

    assert_eq!(url(&from_command_line), "postgres://line@db/line");
    assert_eq!(url(&read(file, &[URL, any]).unwrap()), URL.1);
    assert_eq!(url(&read(file, &[any]).unwrap()), "postgres://file@db/file");
    assert_eq!(url(&read("", &[any]).unwrap()), any.1);
    assert!(read("", &[]).unwrap_err().to_string().contains("database.url: is not set"));
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let path = std::env::temp_dir().join(format!("andon-url-{}", std::process::id()));
    std::fs::write(&path, "postgres://secret@db/plant\n").unwrap();
    let path_text = path.to_str().unwrap();

    let from_file = read(&format!("[database]\nurl_file = '{path_text}'"), &[]).unwrap();
    let from_variable =
        read("[database]\nurl = 'postgres://f@db/f'", &[("ANDON_DATABASE_URL_FILE", path_text)]).unwrap();
    let both = read(&format!("[database]\nurl_file = '{path_text}'\nurl = 'postgres://f@db/f'"), &[]).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    let none = read("", &[("ANDON_DATABASE_URL_FILE", path_text)]).unwrap_err();

    assert_eq!(url(&from_file), "postgres://secret@db/plant");
    assert_eq!(url(&from_variable), "postgres://secret@db/plant");
    assert!(both.to_string().contains("database.url: is set, and url_file as well"), "{both}");
    assert!(none.to_string().ends_with("name a readable file") && none.to_string().lines().count() == 2, "{none}");
}

#[test]
fn variables_that_a_platform_makes_up_are_left_alone() {
    let pairs =
        [URL, ("ANDON_SERVICE_HOST", "10.0.0.1"), ("ANDON_DATABASE_PORT", "tcp://10.0.0.1"), ("ANDON_LOG", "debug")];

    assert!(read("", &pairs).is_ok());
}

#[test]
fn no_debug_print_shows_the_password() {
    let config = read("", &[("DATABASE_URL", "postgres://andon:hunter2@db/plant")]).unwrap();

    assert!(!format!("{config:?}").contains("hunter2"));
}
