//! What Andon's sessions are, and who they talk to: addresses as people paste them, defaults of the server that could hurt, poolers, servers
//! that Andon cannot work with, encodings, and how many connections there are at most.

mod addresses;
mod connections;
mod encodings;
mod encryption;
mod fitness;
mod poolers;
mod queue;
mod sessions;
mod strangers;
