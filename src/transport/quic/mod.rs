//! QUIC as a transport: packets and frames as datagrams (RFC 9221) between ends that have shown each
//! other their certificates.
//!
//! This room never opens a socket. Read `certificate` and `trust` for who is who, `tls` for how that
//! is checked in a handshake.

pub mod certificate;
pub mod issue;
pub mod refusal;
mod session;
pub mod tls;
pub mod trust;

pub use certificate::{CertificateError, Credentials, Fingerprint, Validity};
pub use refusal::{Refusal, Refused};
pub use session::{Agreed, VERSION};
pub use tls::{ALPN, Tls, TlsError};
pub use trust::{Known, Trust, TrustError};

#[cfg(test)]
mod tests;
