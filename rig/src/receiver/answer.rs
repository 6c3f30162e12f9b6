//! The answer to a request as a value. In: the wishes of a test. Out: a status, a delay, headers and the way in which the rest comes.

use std::time::Duration;

use hyper::header::HeaderName;
use hyper::header::LOCATION;
use hyper::header::RETRY_AFTER;

/// How a request is answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) delay: Duration,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) manner: Manner,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    Plain,
    EndlessBody,
    /// The body comes in two chunks, with this pause before each.
    SlowBody(Duration),
    /// The answer never comes to its status: only interim answers (1xx) are sent, as fast as they are taken.
    EndlessInterim,
    Hang,
    Drop,
}

impl Answer {
    /// Answers with a status code and a short body.
    pub fn status(status: u16) -> Answer {
        Answer { status, delay: Duration::ZERO, headers: Vec::new(), manner: Manner::Plain }
    }

    /// Answers with a redirect (301) to this URL.
    pub fn redirect(location: &str) -> Answer {
        let mut answer = Answer::status(301);
        answer.headers.push((LOCATION, location.to_owned()));
        answer
    }

    /// Answers with 200 and a body that never ends.
    pub fn endless() -> Answer {
        Answer { manner: Manner::EndlessBody, ..Answer::status(200) }
    }

    /// Answers with a status code at once, and with a body in two chunks, with this pause before each.
    pub fn slow_body(status: u16, pause: Duration) -> Answer {
        Answer { manner: Manner::SlowBody(pause), ..Answer::status(status) }
    }

    /// Answers with interim answers (103) without end.
    pub fn endless_interim() -> Answer {
        Answer { manner: Manner::EndlessInterim, ..Answer::status(200) }
    }

    /// Never answers, and keeps the connection open.
    pub fn hang() -> Answer {
        Answer { manner: Manner::Hang, ..Answer::status(200) }
    }

    /// Closes the connection without an answer.
    pub fn drop_connection() -> Answer {
        Answer { manner: Manner::Drop, ..Answer::status(200) }
    }

    /// Delays the answer.
    pub fn after(self, delay: Duration) -> Answer {
        Answer { delay, ..self }
    }

    /// Adds a `Retry-After` header to the answer.
    pub fn retry_after(mut self, value: &str) -> Answer {
        self.headers.push((RETRY_AFTER, value.to_owned()));
        self
    }
}
