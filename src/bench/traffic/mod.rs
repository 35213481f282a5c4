//! Traffic between two hosts: TCP streams, UDP packets, requests and responses.
