//! Tests where a sealed value opens, and what is said where it does not.

use proptest::prelude::*;

use super::*;

const PLACE: Place<'_> = Place { table: "andon.webhooks", row: "7", column: "secret_key" };

fn keys(keys: &[&Key]) -> Keys {
    Keys::new(keys.iter().map(|key| ("plant".to_owned(), (*key).clone())).collect())
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

#[test]
fn what_is_sealed_opens_at_its_place_and_nowhere_else() {
    let keys = keys(&[&Key::generate()]);
    let sealed = keys.seal(&secret("hunter2"), PLACE).unwrap();

    assert_eq!(keys.open(&sealed, PLACE).unwrap().expose(), "hunter2");
    for elsewhere in [
        Place { table: "andon.webhook", row: "s7", ..PLACE },
        Place { table: "andon.mqtt_publishers", ..PLACE },
        Place { row: "8", ..PLACE },
        Place { row: "7s", column: "ecret_key", ..PLACE },
        Place { column: "previous_secret_key", ..PLACE },
    ] {
        assert_eq!(keys.open(&sealed, elsewhere), Err(SealProblem::NotHere), "{elsewhere:?}");
    }
}

#[test]
fn the_first_key_seals_and_all_open() {
    let (old, new) = (Key::generate(), Key::generate());
    let sealed = keys(&[&old]).seal(&secret("hunter2"), PLACE).unwrap();

    let both = keys(&[&new, &old]);
    assert_eq!(both.open(&sealed, PLACE).unwrap().expose(), "hunter2");
    assert!(!both.is_current(&sealed) && both.is_current(&both.seal(&secret("x"), PLACE).unwrap()));
    assert_eq!(keys(&[&new]).open(&sealed, PLACE), Err(SealProblem::NoKey(old.id().to_owned())));
    assert_eq!(Keys::default().seal(&secret("x"), PLACE), None);
}

#[test]
fn no_two_sealings_are_the_same_and_none_shows_the_secret_or_the_key() {
    let key = Key::generate();
    let keys = keys(&[&key]);
    let (one, other) = (keys.seal(&secret("hunter2"), PLACE).unwrap(), keys.seal(&secret("hunter2"), PLACE).unwrap());

    assert_ne!(one, other);
    let shown = format!("{one}{keys:?}{key:?}{:?}", keys.open("sealed:v1:x", PLACE));
    assert!(!shown.contains("hunter2") && !shown.contains(&key.text()), "{shown}");
}

#[test]
fn a_digest_is_made_with_the_key_that_seals() {
    let (old, new) = (Key::generate(), Key::generate());
    let plain = Sha256::digest("hunter2");

    let digest = |keys: &Keys| keys.digest(b"hunter2");
    assert_eq!(digest(&Keys::default())[..], plain[..], "of a text alone");
    assert_eq!(digest(&keys(&[&old])), digest(&keys(&[&old, &new])));
    assert_ne!(digest(&keys(&[&old])), digest(&keys(&[&new, &old])));
    assert_ne!(digest(&keys(&[&old])), keys(&[&old]).digest(b"hunter3"));
    assert_ne!(digest(&keys(&[&old]))[..], plain[..]);
}

#[test]
fn a_key_is_its_text_and_no_other_text_is_one() {
    let key = Key::generate();

    assert_eq!(Key::parse(&format!("{}\n", key.text())), Ok(key));
    for text in ["", "hunter2", "AAAA", &"A".repeat(44), &"A".repeat(88)] {
        assert_eq!(Key::parse(text), Err(KeyProblem), "{text}");
    }
}

#[test]
fn a_value_of_another_version_is_recognised_and_refused() {
    assert!(is_sealed("sealed:v2:x") && !is_sealed("a secret"));
    for text in ["sealed:", "sealed:v2:x:AAAA", "sealed:v1:", "sealed:v1:x"] {
        assert_eq!(Keys::default().open(text, PLACE), Err(SealProblem::Unknown), "{text}");
    }
}

proptest! {
    #[test]
    fn every_secret_comes_back_and_every_change_is_noticed(text in "\\PC{0,100}", at in any::<prop::sample::Index>(), by in 1u8..) {
        let key = Key::generate();
        let keys = keys(&[&key]);
        let sealed = keys.seal(&secret(&text), PLACE).unwrap();
        let opened = keys.open(&sealed, PLACE).unwrap();
        prop_assert_eq!(opened.expose(), text);

        let (head, encoded) = sealed.rsplit_once(':').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(encoded).unwrap();
        let place = at.index(bytes.len());
        bytes[place] ^= by;
        let changed = format!("{head}:{}", URL_SAFE_NO_PAD.encode(&bytes));
        prop_assert_eq!(keys.open(&changed, PLACE), Err(SealProblem::NotHere));
        let cut = format!("{head}:{}", URL_SAFE_NO_PAD.encode(&bytes[..place]));
        prop_assert_eq!(keys.open(&cut, PLACE), Err(SealProblem::NotHere));
    }
}
