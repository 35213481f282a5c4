//! The system-call room: ioctls, control messages, namespaces, netlink. The only room with `unsafe`.
