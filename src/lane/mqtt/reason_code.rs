//! What the reason codes of a broker mean. In: a packet's type and its code. Out: whether the event or the broker is the trouble, and the
//! code's name for people. It is one table, so that no code is judged in two places, and it knows codes that a broker should not send in
//! that packet: a broker that does so is in trouble, and the event is not.

/// The packets of a broker that carry a reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet {
    /// CONNACK
    Connack,
    /// PUBACK
    Puback,
    /// DISCONNECT
    Disconnect,
}

/// The meaning of a code in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The broker agrees: it has the message, or the connection is made.
    Fine,
    /// The broker does not speak this version of MQTT.
    OtherVersion,
    /// The broker keeps no retained messages.
    NoRetained,
    /// Another connection with the same client id has taken the place of this one.
    TakenOver,
    /// The broker will never take this message.
    Refused,
    /// The message or the broker may be the trouble; only the fate of other messages can tell.
    Unclear,
    /// The broker is the trouble: its load, a quota, its policy at this time. It says nothing against a message.
    Broker,
}

/// Judges a code of MQTT 5.
pub(super) fn meaning(packet: Packet, code: u8) -> Meaning {
    match (packet, code) {
        (Packet::Connack, 0x00) | (Packet::Puback, 0x00 | 0x10) => Meaning::Fine,
        // An old broker answers with a code of 3.1.1, whatever it refuses; that version has the right words for it.
        (Packet::Connack, 0x84 | 0x01..=0x05) => Meaning::OtherVersion,
        (Packet::Connack | Packet::Disconnect, 0x9a) => Meaning::NoRetained,
        (Packet::Disconnect, 0x8e) => Meaning::TakenOver,
        (Packet::Puback, 0x87 | 0x90 | 0x99) => Meaning::Refused,
        // The broker failed, and does not say on what.
        (Packet::Puback | Packet::Disconnect, 0x80 | 0x83) => Meaning::Unclear,
        // A broker that finds fault with what it read may mean the event that it read last.
        (Packet::Disconnect, 0x81 | 0x82 | 0x87 | 0x90 | 0x95 | 0x99) => Meaning::Unclear,
        _ => Meaning::Broker,
    }
}

/// Describes a code of MQTT 5 as people know it, with its number.
pub(super) fn describe(code: u8) -> String {
    let name = match code {
        0x00 => "success",
        0x04 => "disconnect with will message",
        0x10 => "no matching subscribers",
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "unsupported protocol version",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8a => "banned",
        0x8b => "server shutting down",
        0x8c => "bad authentication method",
        0x8d => "keep alive timeout",
        0x8e => "session taken over: another connection uses the same client id",
        0x8f => "topic filter invalid",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x92 => "packet identifier not found",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9a => "retain not supported",
        0x9b => "QoS not supported",
        0x9c => "use another server",
        0x9d => "server moved",
        0x9e => "shared subscriptions not supported",
        0x9f => "connection rate exceeded",
        0xa0 => "maximum connect time",
        0xa1 => "subscription identifiers not supported",
        0xa2 => "wildcard subscriptions not supported",
        _ => "unknown reason",
    };
    format!("{name} (0x{code:02x})")
}

/// Returns what to do about a code with which a broker refuses or ends a connection, where its name does not say it.
pub(super) fn cure(code: u8) -> &'static str {
    match code {
        0x9b => "; Andon publishes at QoS 1, which alone is acknowledged: let the broker take it",
        _ => "",
    }
}

/// Describes a code with which a broker of MQTT 3.1.1 refuses a connection.
pub(super) fn describe_v4(code: u8) -> String {
    let name = match code {
        1 => "unsupported protocol version",
        2 => "client identifier not valid",
        3 => "server unavailable",
        4 => "bad user name or password",
        5 => "not authorized",
        _ => "unknown reason",
    };
    format!("{name} ({code})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(packet: Packet, wanted: Meaning) -> Vec<u8> {
        (0..=255).filter(|code| meaning(packet, *code) == wanted).collect()
    }

    #[test]
    fn of_all_codes_only_those_that_speak_of_the_message_can_count_against_it() {
        let no_codes: [u8; 0] = [];
        assert_eq!(codes(Packet::Puback, Meaning::Fine), [0x00, 0x10]);
        assert_eq!(codes(Packet::Puback, Meaning::Refused), [0x87, 0x90, 0x99]);
        assert_eq!(codes(Packet::Puback, Meaning::Unclear), [0x80, 0x83]);
        assert_eq!(codes(Packet::Puback, Meaning::Broker).len(), 256 - 7);

        assert_eq!(codes(Packet::Disconnect, Meaning::Unclear), [0x80, 0x81, 0x82, 0x83, 0x87, 0x90, 0x95, 0x99]);
        assert_eq!(codes(Packet::Disconnect, Meaning::NoRetained), [0x9a]);
        assert_eq!(codes(Packet::Disconnect, Meaning::Refused), no_codes);
        assert_eq!(codes(Packet::Disconnect, Meaning::TakenOver), [0x8e]);
        assert_eq!(codes(Packet::Disconnect, Meaning::Broker).len(), 256 - 10);

        assert_eq!(codes(Packet::Connack, Meaning::Fine), [0x00]);
        assert_eq!(codes(Packet::Connack, Meaning::OtherVersion), [0x01, 0x02, 0x03, 0x04, 0x05, 0x84]);
        assert_eq!(codes(Packet::Connack, Meaning::NoRetained), [0x9a]);
        assert_eq!(codes(Packet::Connack, Meaning::Broker).len(), 256 - 8);
    }

    #[test]
    fn a_reason_of_load_quota_policy_or_takeover_is_the_brokers_in_every_packet() {
        for packet in [Packet::Connack, Packet::Puback, Packet::Disconnect] {
            for code in [0x88, 0x89, 0x8b, 0x8d, 0x8e, 0x93, 0x96, 0x97, 0x98, 0x9c, 0x9d, 0x9f, 0xa0] {
                assert!(matches!(meaning(packet, code), Meaning::Broker | Meaning::TakenOver), "{packet:?} {code:#x}");
            }
        }
    }

    #[test]
    fn each_code_of_the_standard_has_its_name() {
        let known = (0..=255).filter(|code| !describe(*code).starts_with("unknown")).count();

        assert_eq!(known, 38);
        assert_eq!(describe(0x95), "packet too large (0x95)");
        assert_eq!(describe(0xff), "unknown reason (0xff)");
        assert_eq!(describe_v4(5), "not authorized (5)");
    }
}
