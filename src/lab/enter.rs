//! The step before the first host: privileges, and a directory that goes with the process.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::LabError;
use crate::sys::netns;

/// What the process has been given.
#[derive(Clone, Copy, Debug)]
pub struct Entered {
    /// A private directory for sockets and files, which goes with the process and its children.
    pub directory: &'static Path,
    /// Whether the process is now in a user namespace of its own, as its root.
    pub in_user_namespace: bool,
}

/// Gives the process what it needs to make hosts.
///
/// The process moves into a mount namespace of its own with a fresh tmpfs as the directory, and
/// before that, if it has no privilege for it, into a user namespace of its own. Both end with the
/// process and its children. To be called once, before the process has a second thread (a user
/// namespace takes single-threaded processes only).
///
/// # Errors
///
/// Says which sysctl or privilege is missing where neither way is open.
pub fn enter() -> Result<Entered, LabError> {
    let directory = if Path::new("/run").is_dir() { "/run" } else { "/tmp" };
    let failed = |source| LabError::MountNamespace { directory, source };
    let in_user_namespace = match netns::enter_mount_namespace() {
        Ok(()) => false,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            netns::enter_user_namespace().and_then(|()| netns::enter_mount_namespace()).map_err(
                |source| {
                    let advice = user_namespace_advice(&source);
                    LabError::UserNamespace { advice, source }
                },
            )?;
            true
        }
        Err(error) => return Err(failed(error)),
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = Some("mode=0700,size=64m");
    mount(Some("tunctl-lab"), directory, Some("tmpfs"), flags, options)
        .map_err(|errno| failed(errno.into()))?;
    Ok(Entered { directory: Path::new(directory), in_user_namespace })
}

/// Checks that TUN and TAP devices can be made.
///
/// # Errors
///
/// Names the mode of `/dev/net/tun` and the command that would help.
pub fn check_tun() -> Result<(), LabError> {
    let path = "/dev/net/tun";
    let Err(source) = OpenOptions::new().read(true).write(true).open(path) else { return Ok(()) };
    let advice = match source.kind() {
        io::ErrorKind::PermissionDenied => {
            let mode = fs::metadata(path).map_or(0, |meta| meta.permissions().mode() & 0o7777);
            format!("its mode is {mode:04o}; run `chmod 0666 {path}` as root, or run this as root")
        }
        io::ErrorKind::NotFound => {
            format!(
                "it does not exist; run `modprobe tun` as root (in a container: `--device {path}`)"
            )
        }
        _ => format!("{source}; the kernel needs CONFIG_TUN (`modprobe tun`)"),
    };
    Err(LabError::Tun { advice, source })
}

/// Gives the advice for a user namespace that was refused.
fn user_namespace_advice(error: &io::Error) -> String {
    switched_off("user/max_user_namespaces", "0", "10000")
        .or_else(|| switched_off("kernel/unprivileged_userns_clone", "0", "1"))
        .or_else(|| switched_off("kernel/apparmor_restrict_unprivileged_userns", "1", "0"))
        .unwrap_or_else(|| match error.raw_os_error() {
            Some(libc::EINVAL) => {
                "the kernel lacks CONFIG_USER_NS, or the process has several threads; run this as root".into()
            }
            _ => format!(
                "{error}; in a container its seccomp profile forbids it (`--privileged`), \
                 elsewhere run this as root"
            ),
        })
}

/// Gives the advice for a network namespace that was refused.
pub(super) fn network_namespace_advice(error: &io::Error) -> String {
    switched_off("user/max_net_namespaces", "0", "10000")
        .or_else(|| switched_off("kernel/apparmor_restrict_unprivileged_userns", "1", "0"))
        .unwrap_or_else(|| match error.raw_os_error() {
            Some(libc::EINVAL) => "the kernel lacks CONFIG_NET_NS".into(),
            Some(libc::ENOSPC) => "sysctl user.max_net_namespaces is reached".into(),
            _ => format!("{error}; run this as root"),
        })
}

/// Gives the advice to switch `sysctl` on if its value is `off`.
fn switched_off(sysctl: &str, off: &str, on: &str) -> Option<String> {
    let value = fs::read_to_string(Path::new("/proc/sys").join(sysctl)).ok()?;
    let name = sysctl.replace('/', ".");
    (value.trim() == off).then(|| {
        format!("sysctl {name} is {off}; run `sysctl -w {name}={on}` as root, or run this as root")
    })
}
