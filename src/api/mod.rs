//! The daemon's Unix-socket API: questions, answers, server and client.
