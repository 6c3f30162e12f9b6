//! Watches what a server says before it lets Andon in. In: the bytes of PostgreSQL's protocol, in whatever pieces they come. Out: an error as soon
//! as the server asks for the password in the clear. The format is that of the messages in chapter "Frontend/Backend Protocol" of
//! PostgreSQL's documentation: a letter, the length of what follows in four bytes, which counts itself, and the content.

use thiserror::Error;

/// The server asks for the password as it is.
#[derive(Debug, Error)]
#[error(
    "the server asks for the password in the clear, and nobody has verified who it is; write sslmode=verify-full and name the server's CA in \
    sslrootcert, or let pg_hba.conf ask for scram-sha-256"
)]
pub(super) struct CleartextRefused;

/// The part of a conversation in which a server may ask for a password.
#[derive(Debug, Default)]
pub(super) struct PasswordGuard {
    /// The beginning of a message, until it says what has to be known of it.
    head: Vec<u8>,
    /// How many bytes of the message are still to come, and mean nothing here.
    skips: usize,
    is_done: bool,
}

/// The letter of each message that has to do with authentication. The number that follows its length says what it asks for.
const AUTHENTICATION: u8 = b'R';
const OK: [u8; 4] = [0, 0, 0, 0];
const CLEARTEXT: [u8; 4] = [0, 0, 0, 3];

impl PasswordGuard {
    /// Takes in what was read. After an error the driver must not get to see it.
    pub(super) fn watch(&mut self, mut bytes: &[u8]) -> Result<(), CleartextRefused> {
        while !self.is_done {
            let skipped = self.skips.min(bytes.len());
            self.skips -= skipped;
            let Some((byte, rest)) = bytes[skipped..].split_first() else { break };
            bytes = rest;
            self.head.push(*byte);
            match self.head.as_slice() {
                [AUTHENTICATION, _, _, _, _, number @ ..] if number.len() < OK.len() => {}
                [AUTHENTICATION, _, _, _, _, number @ ..] if number == CLEARTEXT => return Err(CleartextRefused),
                [AUTHENTICATION, _, _, _, _, number @ ..] if number == OK => self.is_done = true,
                [_, length @ ..] if length.len() >= OK.len() => {
                    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
                    self.skips = (length as usize).saturating_sub(self.head.len() - 1);
                    self.head.clear();
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns whether the server has let Andon in. It can get no password after that.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(letter: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
        [&[letter], length.as_slice(), content].concat()
    }

    /// Tells what comes of a conversation that arrives in pieces of these lengths: whether it was refused, and whether the server let us in.
    fn outcome(conversation: &[u8], pieces: &[usize]) -> (bool, bool) {
        let mut guard = PasswordGuard::default();
        let mut rest = conversation;
        for length in pieces.iter().chain(&[conversation.len()]) {
            let (piece, later) = rest.split_at((*length).min(rest.len()));
            rest = later;
            if guard.watch(piece).is_err() {
                return (true, false);
            }
        }
        (false, guard.is_done())
    }

    fn harmless() -> impl Strategy<Value = Vec<u8>> {
        let number = prop_oneof![Just(5_u32), Just(10), Just(11), Just(12)];
        let content = proptest::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            (number, content.clone())
                .prop_map(|(number, content)| message(b'R', &[&number.to_be_bytes()[..], &content].concat())),
            (prop_oneof![Just(b'N'), Just(b'v'), Just(b'S')], content)
                .prop_map(|(letter, content)| message(letter, &content)),
        ]
    }

    proptest! {
        #[test]
        fn a_request_in_the_clear_is_found_wherever_it_comes_and_however_it_is_cut(
            before in proptest::collection::vec(harmless(), 0..6),
            pieces in proptest::collection::vec(0_usize..12, 0..60),
        ) {
            let harmless = before.concat();

            prop_assert_eq!(outcome(&[&harmless[..], &message(b'R', &CLEARTEXT)].concat(), &pieces), (true, false));
            prop_assert_eq!(outcome(&[&harmless[..], &message(b'R', &OK)].concat(), &pieces), (false, true));
            prop_assert_eq!(outcome(&harmless, &pieces), (false, false));
        }

        #[test]
        fn what_comes_after_the_login_is_not_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(outcome(&[&message(b'R', &OK)[..], &message(b'R', &CLEARTEXT), &bytes].concat(), &[]), (false, true));
        }
    }
}
