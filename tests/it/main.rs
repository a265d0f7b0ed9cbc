//! Stories about the server as a client sees it.

mod http;
