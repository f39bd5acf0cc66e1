//! The server's side of SCRAM-SHA-512 (RFC 5802, RFC 7677 for the form), for one user.

use std::num::NonZeroU32;

use data_encoding::BASE64;
use ring::{digest, hmac, pbkdf2};

const ROUNDS: NonZeroU32 = NonZeroU32::new(4096).expect("not 0");
const SALT: &[u8] = b"a salt";

/// One conversation.
pub(super) struct Scram {
    user: String,
    password: String,
    first: Option<(String, String)>,
    done: bool,
}

impl Scram {
    pub(super) fn new((user, password): &(String, String)) -> Self {
        Self { user: user.clone(), password: password.clone(), first: None, done: false }
    }

    /// Whether the client has shown that it knows the password.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// What is said to the next message; `None` when it is wrong.
    pub(super) fn step(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let message = std::str::from_utf8(message).ok()?;
        let Some((client, server)) = self.first.take() else {
            let bare = message.strip_prefix("n,,")?;
            let nonce = bare.strip_prefix(&format!("n={},r=", self.user))?;
            let server = format!("r={nonce}theirs,s={},i={ROUNDS}", BASE64.encode(SALT));
            self.first = Some((bare.to_owned(), server.clone()));
            return Some(server.into_bytes());
        };
        let (without, proof) = message.rsplit_once(",p=")?;
        let nonce = server.split(',').next()?;
        assert_eq!(without, format!("c=biws,{nonce}"));
        let mut salted = [0; digest::SHA512_OUTPUT_LEN];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, ROUNDS, SALT, self.password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, key), text);
        let all = format!("{client},{server},{without}");
        let key = sign(&salted, b"Client Key");
        let signature = sign(digest::digest(&digest::SHA512, key.as_ref()).as_ref(), all.as_bytes());
        let wanted: Vec<u8> = key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        self.done = BASE64.decode(proof.as_bytes()).ok()? == wanted;
        let server = sign(sign(&salted, b"Server Key").as_ref(), all.as_bytes());
        self.done.then(|| format!("v={}", BASE64.encode(server.as_ref())).into_bytes())
    }
}
