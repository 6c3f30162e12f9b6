//! Percent-encoding. In: a part of an address as it is written, such as a password. Out: the part as it is meant. It never fails: what is no
//! encoding stays as it stands.

/// Decodes a part of an address.
pub fn decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("a={}", text.replace('+', "%2B").replace('&', "%26")).as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_decoded_and_signs_stay() {
        assert_eq!(decoded("p%2Bw+d%26=%3A&%zz"), "p+w+d&=:&%zz");
        assert_eq!(decoded(""), "");
    }
}
