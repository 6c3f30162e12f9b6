//! Sets up what the tests stand on: a database with Andon's schema (`plant`), a gateway on it with its destinations and the judging of what
//! arrived (`line`), `andon run` as a process (`daemon`) with its role (`role`), and certificates (`authority`).

pub(crate) mod authority;
pub(crate) mod daemon;
pub(crate) mod line;
pub(crate) mod plant;
pub(crate) mod role;
