//! What a broker sends. In: any bytes on the connection. Out: packets of MQTT 5 and 3.1.1 within the bound that Andon sets, or an error, and
//! never more memory than the bytes have.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

/// The longest packet that Andon takes from a broker.
const LONGEST: u32 = 64 * 1024;

fuzz_target!(|bytes: &[u8]| {
    let mut stream = BytesMut::from(bytes);
    while let before @ 1.. = stream.len() {
        match rumqttc_v5::mqttbytes::v5::Packet::read(&mut stream, Some(LONGEST)) {
            Ok(_) => assert!(stream.len() < before, "a packet of no bytes would be read for ever"),
            Err(_) => break,
        }
    }
    let mut stream = BytesMut::from(bytes);
    while let before @ 1.. = stream.len() {
        match rumqttc_v4::mqttbytes::v4::Packet::read(&mut stream, LONGEST as usize) {
            Ok(_) => assert!(stream.len() < before, "a packet of no bytes would be read for ever"),
            Err(_) => break,
        }
    }
});
